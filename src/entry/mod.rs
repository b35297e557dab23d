//! **What.** The entry: what one block of a database's feed says. Encoding, decoding, and nothing else.
//!
//! **Owns.** The entry format, version 1:
//!
//! ```text
//! block  = 0x01 (version) ‖ kind
//! kind   = 0x00 ‖ flags u8 (0, or 1: optimistic) ‖ timestamp u64 ‖ batch length varint ‖ links ‖ op      the first entry of a batch
//!        | 0x01 ‖ offset varint (1 ..) ‖ op                                           a later entry of it
//! links  = count varint ‖ (feed 32 ‖ length varint ‖ root 16)*      feeds strictly ascending, lengths above 0
//! op     = 0x00 genesis ‖ mode u8 ‖ key encoding text ‖ value encoding text ‖ encrypted ‖ open bool ‖ optimistic bool
//!        | 0x01 value   ‖ the rest of the block
//!        | 0x02 diff    ‖ key bytes ‖ prev ‖ change
//!        | 0x03 grant   ‖ database 32 ‖ writer 32 ‖ indexer bool
//!        | 0x04 revoke  ‖ database 32 ‖ writer 32 ‖ lost bool
//!        | 0x05 acknowledgement
//! encrypted = 0x00 | 0x01 ‖ check of the encryption key 16 (`seal`)
//! prev   = 0x00 | 0x01 ‖ time u64 ‖ tick varint ‖ writer prefix 8
//! change = 0x00 list (JSON text, the rest) | 0x01 register (the rest) | 0x02 delete
//! ```
//!
//! **Invariants.** 1. Every entry has exactly one encoding; anything else is an error. 2. A first byte above 1 is a
//! newer version ([`EntryError::Newer`]): the feed waits there. Every other error freezes the feed there, alike on
//! every replica. 3. Decoding reads nothing but the bytes.
//!
//! **Not here.** What a list says (`crdt`), what links mean (`causal`), sealing (`seal`).

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use crate::codec::DecodeError;
use crate::types::{FeedKey, Link, Stamp};

pub const VERSION: u8 = 1;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("the block is in entry format {version}; this build reads up to {VERSION}: update the package")]
    Newer { version: u8 },
    #[error("the block is no entry: {0}")]
    Invalid(#[from] DecodeError),
}

/// One decoded block. `key`s, lists and values borrow from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    pub place: Place,
    pub op: Op<'a>,
}

/// Where an entry stands in its batch; the first carries what belongs to the whole batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    First(BatchHead),
    /// This entry is the `offset`-th after the first of its batch.
    Later {
        offset: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchHead {
    /// The writer's own hybrid logical time, NTP64.
    pub timestamp: u64,
    /// Entries in the batch, the first included; 1 to [`crate::codec::limits::MAX_BATCH_ENTRIES`].
    pub length: u64,
    pub links: Vec<Link>,
    /// Apply mode: its writer may not be granted; `apply` decides whether it counts.
    pub optimistic: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Merge,
    Apply,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op<'a> {
    Genesis(Genesis<'a>),
    Value(&'a [u8]),
    Diff(Diff<'a>),
    Grant { database: FeedKey, writer: FeedKey, indexer: bool },
    Revoke { database: FeedKey, writer: FeedKey, lost: bool },
    Acknowledgement,
}

/// Block 0 of a creator's feed: what everyone who joins must agree with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis<'a> {
    pub mode: Mode,
    pub key_encoding: &'a str,
    pub value_encoding: &'a str,
    /// Whether its blocks are sealed, and how a key is told to be the right one.
    pub encrypted: Option<[u8; 16]>,
    pub open: bool,
    pub optimistic: bool,
}

/// One key's change, made against the state whose last diff was `prev` (none: against nothing, or a tombstone).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff<'a> {
    pub key: &'a [u8],
    pub prev: Option<Stamp>,
    pub change: Change<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// JSON text of a diff list.
    List(&'a str),
    /// The whole value of a last-writer-wins register.
    Register(&'a [u8]),
    Delete,
}
