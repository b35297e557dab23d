//! What is published: the committed state of every open database, for readers, subscribers and peers on any thread.

use super::access::AccessState;
use super::apply::{ApplyDesk, Finality};
use super::compact::{Keepers, Pins};
use super::error::Error;
use super::events::{Event, Subscribers};
use super::handler::Functions;
use super::peer::{Marks, Peer};
pub(super) use super::published::PublishedFeed;
use super::published::{Changes, Feeds};
use super::raw::{RAW, Wants};
use super::relay::RelayLimits;
use super::rows::MemberRow;
use super::state::{DatabaseState, Touched};
use super::state_hash::StateHash;
use super::windows::Fetching;
use crate::feed::FeedRecord;
use crate::seal::Sealing;
use crate::store::ReadTxn;
use crate::types::FeedKey;
use crate::view::{Merged, Space};
use crate::wire::{Topic, TopicKind};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

pub(super) struct Board {
    pub databases: RwLock<BTreeMap<u32, Arc<OpenDatabase>>>,
    /// What of them has changed. Taken before the lock of any database's feeds.
    changes: Mutex<Changes>,
    peers: Mutex<Vec<Peer>>,
    /// A read transaction of what is committed now, for reads that take microseconds: beginning one costs as much as
    /// they do. It is let go with the next commit, so it pins nothing older.
    pub reads: Mutex<Option<ReadTxn>>,
    /// Who listens to single feeds.
    listeners: Mutex<BTreeMap<FeedKey, Arc<Subscribers>>>,
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

/// Everything about a database that never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, as its creator said it")]
pub struct DbInfo {
    pub name: String,
    pub key: FeedKey,
    pub discovery_key: [u8; 32],
    pub local: FeedKey,
    pub key_encoding: String,
    pub value_encoding: String,
    pub open: bool,
    pub encrypted: bool,
    pub apply: bool,
    pub optimistic: bool,
    /// There if its feeds are stored and forwarded, never read: how much of them.
    pub relay: Option<RelayLimits>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing, independent of the others")]
pub struct DbStatus {
    pub version: u64,
    pub writable: bool,
    pub indexer: bool,
    /// Feeds are learned from peers that announce them.
    pub takes_strangers: bool,
    /// Apply mode: finality may wait for an acknowledgement of this replica; `acknowledge` finds out.
    pub ack_wanted: bool,
}

/// What was done since the database was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DbStats {
    /// Keys merged: each time one key's diffs of a wave, into one version.
    pub merged: u64,
    /// Diffs folded for that.
    pub folded: u64,
    /// Versions of keys looked at to find a state to fold from. None where a diff sorts after all that its key has.
    pub searched: u64,
}

impl DbStats {
    pub(super) fn count(&mut self, merged: Merged) {
        self.add(&Self { merged: 1, folded: merged.folded, searched: merged.searched });
    }

    pub(super) fn add(&mut self, more: &Self) {
        self.merged += more.merged;
        self.folded += more.folded;
        self.searched += more.searched;
    }
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

/// A database that somebody has open.
pub(super) struct OpenDatabase {
    pub id: u32,
    pub info: DbInfo,
    /// Its rows, and the keys they are sealed with.
    pub space: Space,
    /// The local feed now: `info` has the one it was opened with.
    local: RwLock<FeedKey>,
    pub max_drift: Duration,
    pub handles: AtomicUsize,
    pub status: RwLock<DbStatus>,
    pub stats: Mutex<DbStats>,
    pub feeds: RwLock<Feeds>,
    pub subscribers: Subscribers,
    /// Who asks to write, this replica or others.
    pub access: Mutex<AccessState>,
    /// Apply mode: what is handed out, and what waits.
    pub apply: ApplyDesk,
    /// Apply mode: versions written, published or not.
    pub written: AtomicU64,
    /// Apply mode: what nothing can move any more.
    pub finality: Mutex<Finality>,
    pub state_hash: StateHash,
    /// Handles with functions that merge, in the order in which they were opened: the first one's do.
    pub runners: Mutex<Vec<(u64, Functions)>>,
    /// Versions that somebody reads.
    pub pins: Arc<Pins>,
    /// How much of the past its handles want kept.
    pub keepers: Keepers,
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
}

impl Board {
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
    fn let_go(&self, database: Option<u32>, topics: &[Topic]) {
        if !topics.is_empty() {
            self.peers().iter().for_each(|peer| peer.let_go(database, topics));
        }
    }

    /// Changes feeds that are open by themselves.
    pub fn change_raw(
        &self,
        key: &FeedKey,
        change: impl FnOnce(Option<PublishedFeed>) -> Option<PublishedFeed>,
    ) {
        let mut changes = self.changes.lock();
        let mut feeds = self.raw.feeds.write();
        if let Some(feed) = change(feeds.get(key).cloned()) {
            let number = changes.begin(RAW);
            changes.put(RAW, &mut feeds, *key, feed, number);
        } else {
            changes.take_out(RAW, &mut feeds, key);
            drop((changes, feeds));
            self.let_go(None, &[topic_of(key)]);
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

    /// Tells those who listen to the feed alone how long it is now.
    pub fn publish_feed(&self, feed: &FeedKey, length: u64) {
        let subscribers = self.listeners.lock().get(feed).cloned();
        if let Some(subscribers) = subscribers {
            subscribers.send(&Event::Update { from: 0, to: length });
        }
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

    /// Shows readers what a commit has changed in a database. `grown`: feeds whose records it has changed.
    pub fn publish_database(
        &self,
        state: &mut DatabaseState,
        records: &BTreeMap<FeedKey, FeedRecord>,
        grown: &BTreeSet<FeedKey>,
    ) {
        let Some(open) = self.database(state.id()) else { return };
        let mut changes = self.changes.lock();
        let number = changes.begin(open.id);
        let mut feeds = open.feeds.write();
        let touched = std::mem::take(&mut state.touched);
        let mut publish = |key: &FeedKey, member: &MemberRow| {
            let mut published = feeds.get(key).cloned().unwrap_or_else(PublishedFeed::empty);
            published.placed = state.in_view().get(key);
            published.added = member.added;
            let granted = state.membership().get(key);
            published.granted = granted.is_some();
            published.indexer = granted.is_some_and(|member| member.indexer);
            published.until = member.until;
            published.halt = member.halt;
            published.waits = state.waits.get(key).copied();
            published.stranger = member.stranger;
            if let Some(record) = records.get(key) {
                published.take(record);
            }
            if state.row.relay {
                published.placed = published.length;
            }
            let rest = published.waits.filter(|(on, _)| on == key);
            published.is_cut = rest.is_some_and(|(_, end)| end > published.length);
            changes.put(open.id, &mut feeds, *key, published, number);
        };
        match touched {
            Touched::All => state.members.iter().for_each(|(key, member)| publish(key, member)),
            Touched::Feeds(touched) => {
                let touched = touched.union(grown).filter_map(|key| state.members.get_key_value(key));
                touched.for_each(|(key, member)| publish(key, member));
            }
        }
        // What a relay, or who refuses strangers, has taken out.
        let mut gone: Vec<FeedKey> = Vec::new();
        if feeds.len() > state.members.len() {
            gone.extend(feeds.keys().filter(|feed| !state.members.contains_key(feed)));
            for feed in &gone {
                changes.take_out(open.id, &mut feeds, feed);
            }
        }
        drop(changes);
        drop(feeds);
        self.let_go(None, &gone.iter().map(topic_of).collect::<Vec<_>>());
        let is_granted = |writer: &FeedKey| state.membership().get(writer).is_some();
        open.access.lock().settle(state.is_writable(), is_granted);
        *open.status.write() = DbStatus {
            version: state.state.version,
            writable: state.is_writable(),
            indexer: state.is_indexer(),
            takes_strangers: state.takes_strangers(),
            ack_wanted: state.may_acknowledge(open.apply.lock().quiet_at),
        };
        *open.local.write() = state.row.local;
        *open.finality.lock() = state.finality();
        open.written.store(state.applied.as_ref().map_or(0, |applied| applied.version), Ordering::Release);
        open.state_hash.changed();
    }

    /// Shows a feed's growth in databases that are being made anew: nothing else of them is published.
    pub fn publish_growth(&self, record: &FeedRecord) {
        for id in self.repairing.lock().iter() {
            let Some(open) = self.database(*id) else { continue };
            let mut changes = self.changes.lock();
            let mut feeds = open.feeds.write();
            if let Some(mut feed) = feeds.get(&record.key).cloned() {
                feed.take(record);
                let number = changes.begin(*id);
                changes.put(*id, &mut feeds, record.key, feed, number);
            }
        }
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
fn topic_of(feed: &FeedKey) -> Topic {
    Topic { kind: TopicKind::Feed, key: *feed }
}

impl OpenDatabase {
    pub fn new(id: u32, info: DbInfo, space: Space, max_drift: Duration) -> Self {
        Self {
            id,
            local: RwLock::new(info.local),
            info,
            space,
            max_drift,
            handles: AtomicUsize::new(0),
            status: RwLock::default(),
            stats: Mutex::default(),
            feeds: RwLock::default(),
            subscribers: Subscribers::default(),
            access: Mutex::default(),
            apply: ApplyDesk::default(),
            written: AtomicU64::new(0),
            finality: Mutex::default(),
            state_hash: StateHash::default(),
            runners: Mutex::default(),
            pins: Arc::default(),
            keepers: Keepers::default(),
        }
    }

    /// The feed this replica writes.
    pub fn local(&self) -> FeedKey {
        *self.local.read()
    }

    /// Counts a handle out; true if it was the last.
    pub fn release(&self) -> bool {
        self.handles.fetch_sub(1, Ordering::AcqRel) == 1
    }
}
