//! **What.** What a user is told of replication: per feed and per connection what each side has, what is on its way, how
//! fast, and, where nothing moves, why: as a code that stays and in words that say what to do.
//!
//! **Invariants.** 1. Nothing here is stored, waits, or reaches the network: it is what was committed last and what the
//! connections know. 2. No lock is held while another is taken. 3. A reason is given only for what is not whole: a feed
//! that is here and applied has none, unless it does not count. 4. What it lists is bounded ([`MAX_STRANGERS`]) beyond
//! the feeds of the database.
//!
//! **Not here.** What apply mode's JavaScript knows: an `apply` that threw (`lib/status.js` adds it).

mod feeds;
mod reason;

pub use reason::{Reason, Why};

use super::board::DbInfo;
use super::database::{Db, Inner};
use super::error::Error;
use super::peer::PeerStatus;
use super::store::{Shared, Store};
use crate::types::FeedKey;

/// Feeds listed that peers announce and this database does not fetch: a peer may announce thousands.
const MAX_STRANGERS: usize = 64;

/// Where the replication of a database stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncStatus {
    /// Somebody is connected, and all that is announced is here and in the view.
    pub synced: bool,
    pub feeds: Vec<FeedStatus>,
    /// Feeds that peers announce, that nobody granted, and that are not listed.
    pub unlisted: u64,
    pub peers: Vec<PeerStatus>,
    /// The gravest of the reasons; none: all is here, or something moves.
    pub reason: Option<Reason>,
}

/// Where one feed stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedStatus {
    pub key: FeedKey,
    /// Blocks here.
    pub have: u64,
    /// Blocks in the view.
    pub placed: u64,
    /// The most that a peer announces, a signed head says, or an entry links to.
    pub want: u64,
    pub writable: bool,
    /// Why it is not whole, if nothing moves.
    pub reason: Option<Reason>,
}

/// Where a whole store stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    pub databases: Vec<(DbInfo, SyncStatus)>,
    pub peers: Vec<PeerStatus>,
    /// Why nothing can be written.
    pub reason: Option<Reason>,
}

impl Db {
    /// Where replication stands now. Reads memory only.
    pub fn sync_status(&self) -> Result<SyncStatus, Error> {
        let inner = self.inner()?;
        let peers = inner.shared.board.peers().iter().map(|peer| peer.status(Some(&inner.open))).collect();
        Ok(feeds::status(&inner, self.is_flushed()?, peers))
    }
}

impl Store {
    /// Where replication of every open database stands now.
    pub fn status(&self) -> Result<StoreStatus, Error> {
        let shared = self.shared()?;
        let peers: Vec<PeerStatus> = shared.board.peers().iter().map(|peer| peer.status(None)).collect();
        let open: Vec<_> = shared.board.databases.read().values().cloned().collect();
        let mut databases = Vec::with_capacity(open.len());
        for open in open {
            let info = open.info.clone();
            let inner = Inner { shared: std::sync::Arc::clone(&shared), open };
            let of_it = shared.board.peers().iter().map(|peer| peer.status(Some(&inner.open))).collect();
            databases.push((info, feeds::status(&inner, inner.has_arrived(), of_it)));
        }
        Ok(StoreStatus { databases, peers, reason: disk(&shared) })
    }
}

impl Inner {
    /// Whether all that live connections have announced of the database is here and in the order.
    pub(super) fn has_arrived(&self) -> bool {
        let peers = self.shared.board.peers();
        super::members::is_placed(self) && peers.iter().all(|peer| peer.has_delivered(self.open.id))
    }
}

/// What keeps the store from writing.
fn disk(shared: &Shared) -> Option<Reason> {
    shared.board.failure.lock().as_ref().map(Reason::of_failure)
}
