//! **What.** Orchestration: the owner thread and its group commits, databases, connections, events. This is the Rust API
//! of the project; the Node binding is a thin layer over it.
//!
//! **Owns.** The order in which the stages run inside one transaction; tables `Databases`, `Members`, `Commits`, `Invites`, `Unmerged`; and
//! everything that is in memory only: queues, sessions, subscriptions. All of that is rebuilt from the store.
//!
//! **Invariants.** 1. One thread writes. 2. Everything one operation changes is in one transaction, and its reply
//! comes after that transaction is synced. 3. An operation that fails changes nothing. 4. The owner's memory is a
//! function of the store: after a failed transaction it is thrown away and read again. 5. No block that is not synced
//! is offered to anybody.
//!
//! **Not here.** What a diff does (`crdt`), who counts (`causal`), rows (`view`, `order`, `feed`), bytes on the wire
//! (`wire`).

mod access;
mod admit;
mod again;
mod apply;
mod board;
mod branches;
mod compact;
mod compare;
mod conflicts;
mod counting;
mod create;
mod database;
mod diffs;
mod engine;
mod error;
mod events;
mod feeds;
mod forks;
mod handler;
mod ingest;
mod invite;
mod kept;
mod members;
mod open;
mod opened;
mod owner;
mod peer;
mod place;
mod publish;
mod published;
mod raw;
mod reads;
mod relay;
mod repair;
mod reread;
mod restore;
mod rows;
#[cfg(test)]
mod scale_tests;
mod state;
mod state_hash;
mod status;
mod store;
mod strangers;
mod streams;
#[cfg(test)]
mod tests;
mod verify;
mod windows;
mod withdraw;
mod write;

pub use crate::crdt::Live;
pub use crate::seal::EncryptionKey;
pub use crate::store::Location;
pub use crate::wire::StateClaim;
pub use access::{Access, MAX_ACCESS_DATA, Refusal};
pub use admit::InviteOptions;
pub use apply::{
    Append, Asked, Committed, Done, DoneBatch, Finality, Next, Piece, PieceBatch, SequenceEntry, Step,
};
pub use board::{DbInfo, DbStats, DbStatus, Wrote};
pub use compact::{CompactProgress, CompactStage, Compacted, Compaction, Held, Keep, StoreCompacted};
pub use compare::Comparison;
pub use conflicts::{Claim, Conflict, Part};
pub use database::{DatabaseOptions, Db, LiveRow};
pub use diffs::{DiffChange, DiffEntry, DiffRange, Diffs};
pub use engine::WallClock;
pub use error::{Code, Error, Mismatch};
pub use events::{Event, Reply, Subscription, Wake};
pub use feeds::{Feed, FeedChoice, FeedInfo};
pub use handler::{ANY_KEY, Candidate, Functions, Question, Round, Runner};
pub use invite::Invite;
pub use members::{FeedProgress, Member};
pub use open::discovery_key;
pub use peer::{Idle, Peer, PeerEvent, PeerFeed, PeerOptions, PeerStatus, Transport};
pub use reads::{History, HistoryEntry, Range, Scan, ViewEntry};
pub use relay::{MAX_RELAY_BYTES, MAX_RELAY_FEEDS, RelayLimits};
pub use repair::Repaired;
#[doc(hidden)]
pub use reread::{reread_access, reread_row};
pub use status::{FeedStatus, Reason, StoreStatus, SyncStatus, Why};
pub use store::{Store, StoreOptions};
pub use verify::{Damage, Progress, Report, Stage, VerifyOptions};
pub use write::{Expect, Write, Written};
