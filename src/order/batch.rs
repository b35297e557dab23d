//! Batches out of blocks.

use super::OrderError;
use crate::causal::{BatchFacts, Control};
use crate::entry::{BatchHead, Entry, EntryError, Op, Place};
use crate::seal::{BlockSealing, SealError};
use crate::store::{Read, StoreError, block};
use crate::types::FeedKey;
use std::borrow::Cow;

/// The blocks of a complete batch, opened.
pub struct Blocks<'t>(Vec<Cow<'t, [u8]>>);

/// A complete batch as it stands in the store.
pub struct Batch<'b> {
    pub facts: BatchFacts,
    /// One op for each entry.
    pub ops: Vec<Op<'b>>,
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

impl From<SealError> for BatchError {
    fn from(error: SealError) -> Self {
        match error {
            // Of an epoch that a build after this one has.
            SealError::Epoch { .. } => BatchError::Newer,
            _ => BatchError::Invalid,
        }
    }
}

/// The blocks of the batch that begins at `seq` of a feed that holds `length` blocks.
pub fn read_blocks<'t>(
    txn: &'t impl Read,
    sealing: &BlockSealing,
    feed: u32,
    seq: u64,
    length: u64,
) -> Result<Blocks<'t>, BatchError> {
    let missing = |end| BatchError::Incomplete { end };
    let open = |seq, end| -> Result<Cow<'t, [u8]>, BatchError> {
        let bytes = block(txn, feed, seq)?.ok_or_else(|| missing(end))?;
        Ok(sealing.open(seq, bytes)?)
    };
    if seq >= length {
        return Err(missing(seq.saturating_add(1)));
    }
    let first = open(seq, length)?;
    let entry = Entry::decode(&first)?;
    // What is not sealed is read by anybody: a genesis has to be, and nothing else may.
    let is_clear = matches!(first, Cow::Borrowed(_));
    if sealing.is_encrypted() && is_clear && !matches!(entry.op, Op::Genesis(_)) {
        return Err(BatchError::Invalid);
    }
    let Place::First(BatchHead { length: count, .. }) = entry.place else {
        return Err(BatchError::Invalid);
    };
    let end = seq.saturating_add(count);
    if end > length {
        return Err(missing(end));
    }
    let mut blocks = vec![first];
    for seq in seq.saturating_add(1)..end {
        blocks.push(open(seq, end)?);
    }
    Ok(Blocks(blocks))
}

impl Blocks<'_> {
    /// The batch that `writer` wrote in them, the first at `seq`. Of its grants and revokes only those for `database` are
    /// facts.
    pub fn batch(&self, database: FeedKey, writer: FeedKey, seq: u64) -> Result<Batch<'_>, BatchError> {
        let mut ops = Vec::with_capacity(self.0.len());
        let mut head = None;
        for (block, offset) in self.0.iter().zip(0..) {
            let Entry { place, op } = Entry::decode(block)?;
            match place {
                Place::First(first) if offset == 0 => head = Some(first),
                Place::Later { offset: found } if found == offset && offset > 0 => {}
                _ => return Err(BatchError::Invalid),
            }
            ops.push(op);
        }
        let Some(BatchHead { timestamp, length, links, optimistic }) = head else {
            return Err(BatchError::Invalid);
        };
        let controls = ops.iter().zip(seq..).filter_map(|(op, seq)| control(op, database, seq)).collect();
        Ok(Batch { facts: BatchFacts { writer, seq, length, timestamp, links, controls }, ops, optimistic })
    }
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
pub fn batch_start(
    txn: &impl Read,
    sealing: &BlockSealing,
    feed: u32,
    seq: u64,
) -> Result<(u64, BatchHead), OrderError> {
    let unreadable = |seq| OrderError::Block { feed, seq };
    let entry_at = |seq: u64| -> Result<Place, OrderError> {
        let bytes = block(txn, feed, seq)?.ok_or(unreadable(seq))?;
        let opened = sealing.open(seq, bytes).map_err(|_| unreadable(seq))?;
        Entry::decode(&opened).map(|entry| entry.place).map_err(|_| unreadable(seq))
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
