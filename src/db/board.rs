//! **What.** The board of a store: what is open, who is connected, who listens; for readers, subscribers and connections on
//! any thread.
//!
//! **Owns.** That, in memory only. It is the one place where the owner thread and all others meet.
//!
//! **Invariants.** 1. The lock of what has changed is taken before that of the databases, and both before that of any
//! database's feeds. 2. No lock of the board is held when a connection is told something. 3. What is taken off the board is
//! withdrawn by every connection, unless somebody has opened it again.
//!
//! **Not here.** What is published of a database, and when (`opened`, `publish`), what has changed (`published`).

use super::error::Error;
use super::events::{Event, Subscribers};
pub(super) use super::opened::OpenDatabase;
pub use super::opened::{DbInfo, DbStats, DbStatus};
use super::peer::{Marks, Peer};
use super::published::Changes;
pub(super) use super::published::PublishedFeed;
use super::raw::{RAW, Wants};
use super::windows::Fetching;
use crate::seal::Sealing;
use crate::store::ReadTxn;
use crate::types::FeedKey;
use crate::wire::{Topic, TopicKind};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) struct Board {
    pub databases: RwLock<BTreeMap<u32, Arc<OpenDatabase>>>,
    /// What of them has changed. Taken before the lock of any database's feeds.
    pub(super) changes: Mutex<Changes>,
    peers: Mutex<Vec<Peer>>,
    /// A read transaction of what is committed now, for reads that take microseconds: beginning one costs as much as
    /// they do. It is let go with the next commit, so it pins nothing older.
    pub reads: Mutex<Option<ReadTxn>>,
    /// Who listens to single feeds.
    pub(super) listeners: Mutex<BTreeMap<FeedKey, Arc<Subscribers>>>,
    /// Feeds that are open without a database, as connections see them.
    pub raw: Arc<OpenDatabase>,
    /// What is wanted of those.
    pub wants: Mutex<Wants>,
    /// What was written since the store was opened.
    pub wrote: Mutex<Wrote>,
    /// Why the last transaction was not committed; none: it was.
    pub failure: Mutex<Option<Error>>,
    /// There may be damaged blocks that are wanted from peers.
    pub has_holes: AtomicBool,
    /// Databases that are being made anew from their feeds: nothing else places or writes in them meanwhile.
    pub repairing: Mutex<BTreeSet<u32>>,
    /// Which connections lead to the same store.
    pub marks: Mutex<Marks>,
    /// What this store's marks are made of, while it is open.
    pub secret: [u8; 32],
    /// Which connections are fetching which parts of a feed: no block is asked for twice.
    pub claims: Mutex<BTreeMap<FeedKey, Fetching>>,
}

/// What the commits of a store have written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wrote {
    /// Commits that wrote anything.
    pub commits: u64,
    /// Rows put and taken out.
    pub rows: u64,
    /// Bytes of keys and values that were put: pages are the file's business.
    pub bytes: u64,
}

impl Wrote {
    pub(super) fn add(&mut self, more: Self) {
        self.commits += more.commits;
        self.rows += more.rows;
        self.bytes += more.bytes;
    }
}

impl Board {
    /// `secret`: random.
    pub fn new(secret: [u8; 32]) -> Self {
        Self {
            databases: RwLock::default(),
            changes: Mutex::default(),
            peers: Mutex::default(),
            reads: Mutex::default(),
            listeners: Mutex::default(),
            raw: Arc::new(super::raw::place()),
            wants: Mutex::default(),
            wrote: Mutex::default(),
            failure: Mutex::default(),
            marks: Mutex::default(),
            secret,
            has_holes: AtomicBool::new(false),
            repairing: Mutex::default(),
            claims: Mutex::default(),
        }
    }

    pub fn database(&self, id: u32) -> Option<Arc<OpenDatabase>> {
        self.databases.read().get(&id).cloned()
    }

    /// What connections may speak of: databases, and under [`RAW`] the feeds that are open by themselves.
    fn shown(&self, ids: Vec<u32>) -> Vec<Arc<OpenDatabase>> {
        let databases = self.databases.read();
        let raw = |id: u32| (id == RAW).then_some(&self.raw);
        ids.into_iter().filter_map(|id| raw(id).or_else(|| databases.get(&id)).cloned()).collect()
    }

    pub fn database_or_raw(&self, id: u32) -> Option<Arc<OpenDatabase>> {
        if id == RAW { Some(Arc::clone(&self.raw)) } else { self.database(id) }
    }

    /// What has changed after change number `seen`, and the number of the last change.
    pub fn changed_since(&self, seen: u64) -> (u64, Vec<Arc<OpenDatabase>>) {
        let (now, changed) = self.changes.lock().since(seen);
        (now, if changed.is_empty() { Vec::new() } else { self.shown(changed) })
    }

    /// Open databases with this key: one store may have several.
    pub fn with_key(&self, key: &FeedKey) -> Vec<Arc<OpenDatabase>> {
        let ids = self.changes.lock().with_key(key);
        self.shown(ids)
    }

    /// Open databases that have the feed; [`RAW`] if it is open by itself.
    pub fn holders(&self, feed: &FeedKey) -> Vec<Arc<OpenDatabase>> {
        let ids = self.changes.lock().holders(feed);
        self.shown(ids)
    }

    pub fn open_database(&self, open: &Arc<OpenDatabase>) {
        let mut changes = self.changes.lock();
        self.databases.write().insert(open.id, Arc::clone(open));
        changes.open(open.id, open.info.key);
    }

    /// Takes a database off the board, unless somebody has opened it again.
    pub fn close_database(&self, id: u32) -> bool {
        self.remove_database(id, |open| open.handles.load(Ordering::Acquire) == 0)
    }

    pub fn remove_database(&self, id: u32, may: impl FnOnce(&OpenDatabase) -> bool) -> bool {
        let mut changes = self.changes.lock();
        let mut databases = self.databases.write();
        if !databases.get(&id).is_some_and(|open| may(open)) {
            return false;
        }
        let removed = databases.remove(&id);
        drop(databases);
        let Some(open) = removed else { return false };
        let mut topics = vec![Topic { kind: TopicKind::Database, key: open.info.key }];
        {
            let feeds = open.feeds.read();
            changes.close(id, &open.info.key, &feeds);
            topics.extend(feeds.keys().map(topic_of));
        }
        drop(changes);
        self.let_go(Some(id), &topics);
        true
    }

    /// Tells connections that a database, or feeds, are held no more. No lock of the board is held.
    pub(super) fn let_go(&self, database: Option<u32>, topics: &[Topic]) {
        if !topics.is_empty() {
            self.peers().iter().for_each(|peer| peer.let_go(database, topics));
        }
    }

    /// How the blocks of a feed are sealed, as far as a database that has it is open here.
    pub fn sealing_of(&self, feed: &FeedKey) -> Sealing {
        let databases = self.databases.read();
        let mut of = databases.values().filter(|open| open.space.is_encrypted());
        let found = of.find(|open| open.feeds.read().contains_key(feed));
        found.map_or(Sealing::PLAIN, |open| open.space.sealing().clone())
    }

    pub fn send(&self, database: u32, event: &Event) {
        if let Some(open) = self.database(database) {
            open.subscribers.send(event);
        }
    }

    pub fn feed_subscribers(&self, feed: FeedKey) -> Arc<Subscribers> {
        let mut listeners = self.listeners.lock();
        listeners.retain(|_, subscribers| Arc::strong_count(subscribers) > 1 || subscribers.is_listened_to());
        Arc::clone(listeners.entry(feed).or_default())
    }

    /// Whether own blocks may leave now: somebody is connected, and nobody who is may still show more of an own feed than
    /// is here. Who keeps silent, or claims what does not come, is waited for no longer than some ticks.
    pub fn own_may_leave(&self, waited: u32) -> bool {
        let peers = self.peers();
        !peers.is_empty() && !peers.iter().any(|peer| peer.may_show_more(waited))
    }

    /// Whether any connection speaks of an own feed: over one for other databases it cannot leave.
    pub fn is_carried(&self, feed: &FeedKey) -> bool {
        !self.holders(feed).is_empty() && self.peers().iter().any(|peer| peer.may_carry(feed))
    }

    /// A transaction was not committed: whoever looks at the status sees why.
    pub fn failed(&self, error: &Error) {
        *self.failure.lock() = Some(error.clone());
        self.tell_all(&Event::Progress);
    }

    pub fn tell_all(&self, event: &Event) {
        let open: Vec<_> = self.databases.read().values().cloned().collect();
        for open in open {
            open.subscribers.send(event);
        }
    }

    pub fn add_peer(&self, peer: Peer) {
        self.peers.lock().push(peer);
    }

    pub fn remove_peer(&self, id: u64) {
        self.peers.lock().retain(|peer| peer.id() != id);
        self.claims.lock().retain(|_, fetching| {
            fetching.leave(id);
            !fetching.is_over()
        });
        self.marks.lock().leave(id);
        self.wants.lock().give_up(id);
    }

    pub fn peers(&self) -> Vec<Peer> {
        self.peers.lock().clone()
    }

    /// The most that anyone connected says there is of each feed.
    pub fn announced(&self) -> BTreeMap<FeedKey, u64> {
        let mut most = BTreeMap::new();
        for peer in self.peers() {
            peer.announced(|feed, length| {
                let known: &mut u64 = most.entry(feed).or_default();
                *known = length.max(*known);
            });
        }
        most
    }

    /// Connections look at these databases again, though nothing was committed.
    pub fn look_again(&self, databases: &BTreeSet<u32>) {
        for id in databases {
            self.changes.lock().begin(*id);
        }
        self.notify_peers(true, databases);
    }

    /// Tells connections and databases that something was published.
    pub fn notify_peers(&self, changed: bool, databases: &BTreeSet<u32>) {
        if changed || !databases.is_empty() {
            self.peers().iter().for_each(Peer::notify);
        }
        for id in databases {
            self.send(*id, &Event::Progress);
        }
    }
}

/// What a feed that is spoken of by itself is shown as.
pub(super) fn topic_of(feed: &FeedKey) -> Topic {
    Topic { kind: TopicKind::Feed, key: *feed }
}
