//! What is published: the committed state of every open database, for readers, subscribers and peers on any thread.

use super::access::AccessState;
use super::apply::{ApplyDesk, Finality};
use super::compact::{Keepers, Pins};
use super::engine::DatabaseState;
use super::error::Error;
use super::events::{Event, Subscribers};
use super::handler::Functions;
use super::peer::Peer;
use super::raw::Wants;
use super::relay::RelayLimits;
use super::rows::Halt;
use super::state_hash::StateHash;
use crate::feed::FeedRecord;
use crate::merkle::Head;
use crate::seal::Sealing;
use crate::store::ReadTxn;
use crate::types::FeedKey;
use crate::view::{Merged, Space};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

pub(super) struct Board {
    pub databases: RwLock<BTreeMap<u32, Arc<OpenDatabase>>>,
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
    /// Why the last transaction was not committed; none: it was.
    pub failure: Mutex<Option<Error>>,
    /// There may be damaged blocks that are wanted from peers.
    pub has_holes: AtomicBool,
    /// Databases that are being made anew from their feeds: nothing else places or writes in them meanwhile.
    pub repairing: Mutex<BTreeSet<u32>>,
    /// Which connection is fetching a feed: no block is asked for twice.
    pub claims: Mutex<BTreeMap<FeedKey, u64>>,
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
    pub feeds: RwLock<BTreeMap<FeedKey, PublishedFeed>>,
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

/// The committed state of a feed in a database.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing of a feed, independent of the others")]
pub(super) struct PublishedFeed {
    pub length: u64,
    pub byte_length: u64,
    /// The head this store can prove blocks against.
    pub head: Option<Head>,
    /// The longest signed head seen.
    pub tip: u64,
    pub left: u64,
    pub writable: bool,
    pub forked: bool,
    pub unconfirmed: bool,
    pub placed: u64,
    pub added: bool,
    pub granted: bool,
    pub indexer: bool,
    /// How much of it is wanted.
    pub until: u64,
    pub halt: Halt,
    /// What the next batch of it waits for: a feed, and how much of that.
    pub waits: Option<(FeedKey, u64)>,
    pub stranger: bool,
}

impl PublishedFeed {
    /// What may be shown and served: of an own feed nothing that has not been noted as leaving, and nothing while
    /// there may be more of it elsewhere.
    pub fn offered(&self) -> u64 {
        if self.is_cautious() || self.waits_to_leave() { 0 } else { self.complete() }
    }

    fn complete(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.length)
    }

    /// An own feed of which more is here than was noted as leaving, and may leave.
    pub fn waits_to_leave(&self) -> bool {
        self.writable && self.left < self.complete() && !self.is_cautious()
    }

    /// An own feed of which there is, or may be, more elsewhere than here.
    pub fn is_cautious(&self) -> bool {
        self.writable && !self.forked && (self.unconfirmed || self.tip > self.length)
    }

    /// Whether `length`, or all of it that is wanted, is here, as far as it ever can be.
    pub fn has(&self, length: u64) -> bool {
        self.length >= length.min(self.until)
    }

    /// Whether `length`, or all of it that is wanted, is here and in the order, as far as it ever can be.
    pub fn is_up_to(&self, length: u64) -> bool {
        let wanted = length.min(self.until);
        match self.halt {
            Halt::None => self.length >= wanted && self.placed >= wanted,
            Halt::Branch => self.length >= wanted,
            Halt::Frozen | Halt::Newer => true,
        }
    }
}

impl Default for Board {
    fn default() -> Self {
        Self {
            databases: RwLock::default(),
            peers: Mutex::default(),
            reads: Mutex::default(),
            listeners: Mutex::default(),
            raw: Arc::new(super::raw::place()),
            wants: Mutex::default(),
            failure: Mutex::default(),
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

    /// Takes a database off the board, unless somebody has opened it again.
    pub fn close_database(&self, id: u32) -> bool {
        let mut databases = self.databases.write();
        let unused = databases.get(&id).is_some_and(|open| open.handles.load(Ordering::Acquire) == 0);
        unused && databases.remove(&id).is_some()
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
        self.peers().iter().any(|peer| peer.may_carry(feed))
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
        self.claims.lock().retain(|_, holder| *holder != id);
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

    /// Shows readers what a commit has changed in a database.
    pub fn publish_database(&self, state: &DatabaseState, records: &BTreeMap<FeedKey, FeedRecord>) {
        let Some(open) = self.database(state.id()) else { return };
        let mut feeds = open.feeds.write();
        for (key, member) in &state.members {
            let published = feeds.entry(*key).or_insert_with(PublishedFeed::empty);
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
        }
        // What a relay, or who refuses strangers, has taken out.
        if feeds.len() > state.members.len() {
            feeds.retain(|feed, _| state.members.contains_key(feed));
        }
        drop(feeds);
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
            if let Some(open) = self.database(*id)
                && let Some(feed) = open.feeds.write().get_mut(&record.key)
            {
                feed.take(record);
            }
        }
    }

    /// Tells connections and databases that feeds have grown or that databases have changed.
    pub fn notify_peers(&self, feeds: &BTreeSet<FeedKey>, databases: &BTreeSet<u32>) {
        if feeds.is_empty() && databases.is_empty() {
            return;
        }
        for peer in self.peers() {
            peer.notify(feeds, databases);
        }
        for id in databases {
            self.send(*id, &Event::Progress);
        }
    }
}

impl PublishedFeed {
    pub fn empty() -> Self {
        Self {
            length: 0,
            byte_length: 0,
            head: None,
            tip: 0,
            left: 0,
            writable: false,
            forked: false,
            unconfirmed: false,
            placed: 0,
            added: false,
            granted: false,
            indexer: false,
            until: u64::MAX,
            halt: Halt::None,
            waits: None,
            stranger: false,
        }
    }

    pub fn take(&mut self, record: &FeedRecord) {
        self.length = record.length;
        self.byte_length = record.byte_length;
        self.head.clone_from(&record.head);
        self.tip = record.signed().max(record.length);
        self.left = record.left;
        self.writable = record.secret.is_some();
        self.forked = record.forked;
        self.unconfirmed = record.unconfirmed;
    }
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
