//! **What.** The newtypes every part of the system speaks in: feed keys, dots, links, timestamps, positions.
//!
//! **Owns.** Nothing but values.
//!
//! **Invariants.** 1. `Position` is a total order, equal only for the same dot of one effective timestamp. 2. The
//! text of a [`Stamp`] sorts as text exactly as the stamp does.
//!
//! **Not here.** How these travel as bytes (`codec`), how effective timestamps are computed (`causal`).

mod key;
mod stamp;

pub use key::{FeedKey, KeyError};
pub use stamp::{Effective, Stamp, StampError, put_state_id};

/// A blake3 hash.
pub type Hash = [u8; 32];

/// The first half of a root hash, as links carry it.
pub type ShortRoot = [u8; 16];

/// One block of one feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    pub writer: FeedKey,
    pub seq: u64,
}

/// "I had seen this much of this branch": `length` blocks of `feed`, whose root hash there begins with `root`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub feed: FeedKey,
    pub length: u64,
    pub root: ShortRoot,
}

/// A place in the linear order. Compared by effective timestamp, then writer key, then seq (`docs/design.md`, Order).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub effective: Effective,
    pub writer: FeedKey,
    pub seq: u64,
}

impl Position {
    pub fn dot(&self) -> Dot {
        Dot { writer: self.writer, seq: self.seq }
    }

    /// The part of a position that `_timestamp` shows.
    pub fn stamp(&self) -> Stamp {
        Stamp { effective: self.effective, writer: self.writer.prefix() }
    }
}
