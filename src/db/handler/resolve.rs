//! Which registers of a key stand beside each other: no other of them had seen them.

use crate::causal::Past;
use crate::db::error::Failure;
use crate::entry::{Change, Entry, Op};
use crate::order;
use crate::store::{Read, block};
use crate::types::{Effective, FeedKey, Position, Stamp};
use crate::view::{self, Space, Writers};

/// The latest diffs of a key that are looked at: bounds the time of a write to a key that is written over and over.
const MAX_LOOKED_AT: usize = 1_024;
/// What those that stand beside each other have together: bounds the memory of one question.
const MAX_BYTES: usize = 32 << 20;

/// A whole-value write that stands beside others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub value: Vec<u8>,
    pub stamp: Stamp,
    pub writer: FeedKey,
    pub seq: u64,
}

/// The registers of `key` that stand beside each other, in the shared order: those since the last diff that is none.
/// Empty if the last diff is none.
pub(super) fn beside(
    txn: &impl Read,
    space: &Space,
    writers: &Writers,
    key: &[u8],
) -> Result<Vec<Candidate>, Failure> {
    let places = view::diff_positions(txn, space, writers, key, Effective::default())?;
    let mut seen = Past::new();
    let mut found = Vec::new();
    let mut left = MAX_BYTES;
    for (position, feed) in places.into_iter().rev().take(MAX_LOOKED_AT) {
        let Some(value) = register(txn, space, feed, position)? else { break };
        if seen.contains(position.dot()) {
            continue;
        }
        let Some(rest) = left.checked_sub(value.len()) else { break };
        left = rest;
        let Position { writer, seq, .. } = position;
        found.push(Candidate { value, stamp: position.stamp(), writer, seq });
        // Whoever had seen one that remains had seen all that this one had: the others need not be asked.
        seen.join(&order::past_at(txn, space.database(), writer, feed, seq.saturating_add(1))?);
    }
    found.reverse();
    Ok(found)
}

fn register(
    txn: &impl Read,
    space: &Space,
    feed: u32,
    position: Position,
) -> Result<Option<Vec<u8>>, Failure> {
    let seq = position.seq;
    let unreadable = || Failure::from(view::ViewError::Block { feed, seq });
    let bytes = block(txn, feed, seq)?.ok_or_else(unreadable)?;
    let bytes = space.blocks(position.writer).open(seq, bytes).map_err(|_| unreadable())?;
    match Entry::decode(&bytes) {
        Ok(Entry { op: Op::Diff(diff), .. }) => Ok(match diff.change {
            Change::Register(value) => Some(value.to_vec()),
            Change::List(_) | Change::Delete => None,
        }),
        _ => Err(unreadable()),
    }
}
