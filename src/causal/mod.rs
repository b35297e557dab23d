//! **What.** The order, as a pure function of the blocks: which links a batch's readers follow, when it is ready, its
//! effective timestamp ([`resolve`]); which links a writer names ([`links()`]); the walk over what is placed, which says
//! who is granted and what counts ([`walk()`]); and the same brought forward batch by batch ([`OrderState`]).
//!
//! **Owns.** The formats of what the engine persists of it: [`Past`], [`Intervals`], [`Membership`],
//! [`ControlBatch`], [`OrderState`] (a head and a row for each feed). `docs/design/order.md` has the bytes.
//!
//! **Invariants.** 1. Nothing is read but the batches: not arrival order, clocks, or what this replica has added.
//! 2. The linear order extends causality; effective timestamps rise strictly in a feed. 3. [`OrderState`] equals a walk
//! from scratch after every placement (a walk it asked for included). 4. What is encoded has one form; hostile bytes
//! give errors.
//!
//! **Not here.** Bytes of entries (`entry`), roots of links and forks (`feed`), rows (`store`, `order`), finality and
//! waves (`order`).

mod control;
mod cursor;
mod digest;
mod divergence;
mod encoding;
mod incremental;
mod intervals;
mod kept;
mod kept_cursor;
mod links;
mod membership;
mod past;
mod resolve;
mod standing;
#[cfg(test)]
mod tests;
mod walk;

pub use control::{Control, ControlBatch, Controls};
pub use cursor::{Cursor, Placement, Plan, Sequence, Turn};
pub use digest::{Agreement, FeedStanding};
pub use divergence::Divergence;
pub use incremental::{OrderState, Verdict};
pub use intervals::Intervals;
pub use kept::{OrderFeed, OrderHead};
pub use kept_cursor::{CursorFeed, CursorHead, differing};
pub use links::links;
pub use membership::{Member, Membership};
pub use past::Past;
pub use resolve::{LinkRule, Placed, Readiness, resolve};
pub use standing::{Change, Standing, StandingFeed};
pub use walk::{PlacedBatch, WalkOutcome, WalkRule, WalkSource, walk};

use crate::types::{Effective, FeedKey, Link, Position};

/// One batch, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchFacts {
    pub writer: FeedKey,
    /// Of its first entry.
    pub seq: u64,
    /// Entries in it, at least 1.
    pub length: u64,
    /// The writer's own time, NTP64.
    pub timestamp: u64,
    pub links: Vec<Link>,
    /// Its grants and revokes for **this** database, in their order.
    pub controls: Vec<Control>,
}

impl BatchFacts {
    /// The exclusive end.
    pub fn end(&self) -> u64 {
        self.seq.saturating_add(self.length)
    }

    pub fn position(&self, effective: Effective) -> Position {
        Position { effective, writer: self.writer, seq: self.seq }
    }
}
