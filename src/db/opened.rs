//! **What.** A database that somebody has open: what of it never changes, what is published of it, and the desks at which
//! calls, subscribers and connections wait for it.
//!
//! **Owns.** All of that, in memory only, while a handle on the database is open.
//!
//! **Invariants.** 1. What is published is what was last committed. 2. The last handle that is let go closes it.
//!
//! **Not here.** Which databases are open (`board`), when what is published of them changes (`publish`), what the owner
//! thread knows of them (`state`).

use super::access::AccessState;
use super::apply::{ApplyDesk, Finality};
use super::compact::{Keepers, Pins};
use super::events::Subscribers;
use super::handler::Functions;
use super::published::Feeds;
use super::relay::RelayLimits;
use super::state_hash::StateHash;
use crate::types::FeedKey;
use crate::view::{Merged, Space};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

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
    pub(super) local: RwLock<FeedKey>,
    pub max_drift: Duration,
    pub handles: AtomicUsize,
    pub status: RwLock<DbStatus>,
    pub stats: Mutex<DbStats>,
    pub feeds: RwLock<Feeds>,
    pub subscribers: Subscribers,
    /// Its users were told that it has more feeds than its topic.
    pub told_full: AtomicBool,
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
            told_full: AtomicBool::new(false),
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
