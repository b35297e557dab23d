//! Apply mode: what comes next in the sequence (`plan`), what of it the caller's `apply` is shown (`piece`), how its
//! results become the view (`commit`), local appends (`stage`), what is final (`finality`, `ahead`),
//! what leaves again (`withdraw`). `docs/design/apply.md`.
//!
//! `apply` never runs inside a transaction. A piece of the sequence is handed out, and what `apply` made of it is
//! committed if the sequence is still what it was made from (`generation`); otherwise it is handed out again.

mod ahead;
mod anchor;
mod commit;
mod finality;
mod handle;
mod piece;
mod plan;
mod source;
mod stage;
mod withdraw;

pub(super) use ahead::Ahead;
pub use finality::Finality;
pub use handle::SequenceEntry;
pub(super) use withdraw::Stays;

use super::compact::{Pin, Pins};
use super::error::{Error, Failure};
use crate::apply::ApplyError;
use crate::causal::{Cursor, Past};
use crate::types::{FeedKey, Link};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Entries in a piece, unless one batch has more: bounds what is lost if the order changes under it, and how much its
/// caller holds.
const MAX_PIECE_ENTRIES: u64 = 4_096;

/// Bytes of values in a piece, unless one batch has more.
const MAX_PIECE_BYTES: usize = 4 << 20;

/// Batches looked at for one piece, also where few of them need `apply`: bounds a transaction.
const MAX_PIECE_BATCHES: u64 = 16_384;

/// A run of batches for `apply`, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its number: an answer names it, and answers to earlier ones are refused.
    pub generation: u64,
    /// What `apply` reads is the view at this version.
    pub version: u64,
    /// Batches applied before the first of these.
    pub clock: u64,
    /// Positions that are undone before them.
    pub undone: u64,
    /// They are the ones staged last: the caller has the values.
    pub staged: bool,
    pub batches: Vec<PieceBatch>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceBatch {
    pub writer: FeedKey,
    pub seq: u64,
    pub entries: u64,
    /// The writer's own time, NTP64.
    pub timestamp: u64,
    /// Its writer is not granted: it counts if `apply` acknowledges it.
    pub optimistic: bool,
    pub links: Vec<(FeedKey, u64)>,
    /// The values, each with its offset in the batch.
    pub values: Vec<(u64, Vec<u8>)>,
}

/// What `apply` made of the first batches of a piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub generation: u64,
    pub batches: Vec<DoneBatch>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoneBatch {
    /// An optimistic one that was not acknowledged: it did nothing.
    pub rejected: bool,
    pub asked: Vec<Asked>,
    /// Keys written, each once; no value deletes.
    pub writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// What `apply` asked of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Grant { writer: FeedKey, indexer: bool },
    Revoke { writer: FeedKey, lost: bool },
}

/// A batch to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    pub optimistic: bool,
    pub values: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub committed: Committed,
    /// The local feed's length after each batch that this step put on disk.
    pub appended: Vec<u64>,
    pub next: Next,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    Nothing,
    /// Kept, but readers stay where they are until the wave is through.
    Hidden,
    /// Readers see version `to` instead of `from`; what both orders share ends at `shared`.
    Published {
        from: u64,
        to: u64,
        shared: u64,
    },
    /// The sequence is another by now: nothing of it was kept.
    Stale,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    Idle,
    /// Nothing to do before then, unless something arrives.
    Wait(Duration),
    Piece(Piece),
}

/// A piece that is handed out.
#[derive(Clone)]
pub(super) struct InFlight {
    /// The number of the piece.
    pub piece: u64,
    /// Of the sequence that it continues.
    pub generation: u64,
    /// What was ready when it was planned.
    pub ready: Past,
    /// After what stays.
    pub start: Cursor,
    pub retaken: Vec<(u64, bool)>,
    /// When it was planned, if it undoes anything.
    pub replays_since: Option<Duration>,
    pub staged: Vec<Staged>,
}

/// A local batch that is not on disk yet.
#[derive(Clone, Debug)]
pub(super) struct Staged {
    pub optimistic: bool,
    pub seq: u64,
    pub timestamp: u64,
    pub links: Vec<Link>,
    pub values: Arc<Vec<Vec<u8>>>,
}

/// What is in memory only, of an open database in apply mode.
#[derive(Default)]
pub(super) struct ApplyDesk(Mutex<Desk>);

#[derive(Default)]
pub(super) struct Desk {
    /// The handle that runs `apply`.
    pub claimed_by: Option<u64>,
    pub in_flight: Option<Arc<InFlight>>,
    /// What `apply` reads while a piece is out.
    pub reading: Option<Pin>,
    /// What was ready when the wave began that is not through.
    pub wave: Option<Past>,
    /// Since when entries wait that need an undo.
    pub waiting_since: Option<Duration>,
    /// When something arrived last.
    pub heard_at: Option<Duration>,
    /// Since when, and how long, no undo begins.
    pub rest: Option<(Duration, Duration)>,
    /// Pieces handed out.
    pub pieces: u64,
    /// Batches whose anchors were asked for: writer, and where the batch ends.
    pub anchors: BTreeSet<(FeedKey, u64)>,
    /// The generation at which nobody was found to wait for an acknowledgement.
    pub quiet_at: Option<u64>,
    /// Feeds of which it was told that they would move what is final.
    pub refused: BTreeSet<FeedKey>,
    /// When the wave that is not through began to replay.
    pub replays_since: Option<Duration>,
}

impl Desk {
    /// The sequence is made anew: what was handed out is of another.
    pub fn start_over(&mut self) {
        let Self { claimed_by, pieces, .. } = *self;
        *self = Self { claimed_by, pieces, ..Self::default() };
    }

    /// Makes `piece` the one that is out. Its number is its own, so that nothing else is taken for its answer.
    pub fn hand_out(&mut self, mut piece: Piece, mut in_flight: InFlight, pins: &Arc<Pins>) -> Piece {
        self.reading = pins.hold(piece.version);
        self.pieces += 1;
        self.anchors.clear();
        (piece.generation, in_flight.piece) = (self.pieces, self.pieces);
        self.in_flight = Some(Arc::new(in_flight));
        piece
    }
}

impl ApplyDesk {
    pub fn lock(&self) -> parking_lot::MutexGuard<'_, Desk> {
        self.0.lock()
    }
}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Store(error) => Failure::Store(error),
            other => Failure::damaged(&other),
        }
    }
}

impl From<ApplyError> for Error {
    fn from(error: ApplyError) -> Self {
        Failure::from(error).into()
    }
}
