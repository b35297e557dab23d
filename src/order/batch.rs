//! Batches out of blocks.

use super::OrderError;
use crate::causal::{BatchFacts, Control};
use crate::entry::{BatchHead, Entry, EntryError, Op, Place};
use crate::store::{Read, StoreError, block};
use crate::types::FeedKey;

/// A complete batch as it stands in the store.
pub struct Batch<'t> {
    pub facts: BatchFacts,
    /// One op for each entry.
    pub ops: Vec<Op<'t>>,
    /// Its writer asks to be heard though it may not be granted.
    pub optimistic: bool,
}

/// Why the next batch of a feed cannot be read.
#[derive(Debug)]
pub enum BatchError {
    /// Not all of it is here yet: it ends at `end`.
    Incomplete {
        end: u64,
    },
    /// A block of a newer version: the feed waits.
    Newer,
    /// No version could decode it: the feed is frozen here, alike everywhere.
    Invalid,
    Store(StoreError),
}

impl From<StoreError> for BatchError {
    fn from(error: StoreError) -> Self {
        BatchError::Store(error)
    }
}

impl From<EntryError> for BatchError {
    fn from(error: EntryError) -> Self {
        match error {
            EntryError::Newer { .. } => BatchError::Newer,
            EntryError::Invalid(_) => BatchError::Invalid,
        }
    }
}

/// The batch that begins at `seq` of a feed that holds `length` blocks. Of its grants and revokes only those for
/// `database` are facts.
pub fn read_batch(
    txn: &impl Read,
    database: FeedKey,
    writer: FeedKey,
    feed: u32,
    seq: u64,
    length: u64,
) -> Result<Batch<'_>, BatchError> {
    let missing = |end| BatchError::Incomplete { end };
    if seq >= length {
        return Err(missing(seq.saturating_add(1)));
    }
    let first = Entry::decode(block(txn, feed, seq)?.ok_or_else(|| missing(length))?)?;
    let Place::First(BatchHead { timestamp, length: count, links, optimistic }) = first.place else {
        return Err(BatchError::Invalid);
    };
    let end = seq.saturating_add(count);
    if end > length {
        return Err(missing(end));
    }
    let mut ops = vec![first.op];
    for offset in 1..count {
        let entry = Entry::decode(block(txn, feed, seq + offset)?.ok_or_else(|| missing(end))?)?;
        if entry.place != (Place::Later { offset }) {
            return Err(BatchError::Invalid);
        }
        ops.push(entry.op);
    }
    let controls = ops.iter().zip(seq..).filter_map(|(op, seq)| control(op, database, seq)).collect();
    Ok(Batch {
        facts: BatchFacts { writer, seq, length: count, timestamp, links, controls },
        ops,
        optimistic,
    })
}

/// The grant or revoke for `database` in an op.
pub fn control(op: &Op<'_>, database: FeedKey, seq: u64) -> Option<Control> {
    match *op {
        Op::Grant { database: of, writer, indexer } if of == database => {
            Some(Control::Grant { writer, indexer, seq })
        }
        Op::Revoke { database: of, writer, lost } if of == database => {
            Some(Control::Revoke { writer, lost, seq })
        }
        _ => None,
    }
}

/// Where the batch that entry `seq` of a placed feed belongs to begins, and its head.
pub fn batch_start(txn: &impl Read, feed: u32, seq: u64) -> Result<(u64, BatchHead), OrderError> {
    let unreadable = |seq| OrderError::Block { feed, seq };
    let entry_at = |seq: u64| -> Result<Place, OrderError> {
        let bytes = block(txn, feed, seq)?.ok_or(unreadable(seq))?;
        Entry::decode(bytes).map(|entry| entry.place).map_err(|_| unreadable(seq))
    };
    match entry_at(seq)? {
        Place::First(head) => Ok((seq, head)),
        Place::Later { offset } => {
            let start = seq.checked_sub(offset).ok_or(unreadable(seq))?;
            match entry_at(start)? {
                Place::First(head) if offset < head.length => Ok((start, head)),
                _ => Err(unreadable(start)),
            }
        }
    }
}
