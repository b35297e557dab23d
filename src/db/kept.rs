//! Own blocks that were set aside to be appended again: their rows, and which of them are whole batches.
//!
//! ```text
//! Kept  Key: feed u32 ‖ seq u64, where it stood   Value: time u64 ‖ tick varint ‖ the block, as it was: sealed, in an
//!                                                      encrypted database
//! ```
//!
//! time and tick: the effective timestamp of its batch then.

use super::verify::Unreadable;
use crate::codec::{DecodeError, Reader, put_varint};
use crate::entry::{Entry, Place};
use crate::seal::BlockSealing;
use crate::types::Effective;

/// A block that was taken out.
pub(super) struct Kept {
    pub seq: u64,
    pub effective: Effective,
    pub block: Vec<u8>,
}

impl Kept {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.effective.time.to_be_bytes().to_vec();
        put_varint(&mut out, self.effective.tick);
        out.extend_from_slice(&self.block);
        out
    }

    fn seq_of(key: &[u8]) -> Result<u64, DecodeError> {
        let mut at = Reader::new(key);
        at.u32("a kept block's feed")?;
        let seq = at.u64("a kept block's seq")?;
        at.finish("a kept block's place")?;
        Ok(seq)
    }

    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, DecodeError> {
        let seq = Self::seq_of(key)?;
        let mut reader = Reader::new(value);
        let effective = Effective {
            time: reader.u64("a kept block's time")?,
            tick: reader.varint("a kept block's tick")?,
        };
        Ok(Self { seq, effective, block: reader.rest().to_vec() })
    }

    /// As its writer wrote it; none if it is not what was sealed, or no entry.
    pub fn opened(self, sealing: &BlockSealing) -> Option<Self> {
        let block = sealing.open(self.seq, &self.block).ok()?.into_owned();
        Entry::decode(&block).ok()?;
        Some(Self { block, ..self })
    }

    /// Whether this is block `seq`, and a later one of its batch.
    fn continues(block: Option<&Self>, seq: u64) -> bool {
        let block = block.filter(|block| block.seq == seq);
        let place = block.and_then(|block| Entry::decode(&block.block).ok()).map(|entry| entry.place);
        matches!(place, Some(Place::Later { .. }))
    }

    /// Whether a row holds what was kept, where it can be told.
    pub fn check(key: &[u8], value: &[u8], sealing: Option<&BlockSealing>) -> Result<(), Unreadable> {
        let Self { seq, block, .. } = Self::decode(key, value)?;
        match sealing {
            Some(sealing) => Entry::decode(&sealing.open(seq, &block)?).map(drop).map_err(Into::into),
            None => Ok(()),
        }
    }
}

/// A row's key, and what it holds if it can be read.
pub(super) type KeptRow = (Vec<u8>, Option<Kept>);

/// What becomes of rows that were set aside: batches that are whole, in order; rows of batches that began below the common
/// length, which have no batch any more; and how many stay, since they or others of their batch cannot be read.
#[derive(Default)]
pub(super) struct Sorted {
    pub whole: Vec<Vec<(Vec<u8>, Kept)>>,
    pub headless: Vec<Vec<u8>>,
    pub stay: u64,
}

impl Sorted {
    pub fn of(rows: Vec<KeptRow>) -> Self {
        let mut sorted = Self::default();
        let lowest = rows.first().and_then(|(key, _)| Kept::seq_of(key).ok()).unwrap_or_default();
        let mut rows = rows.into_iter().peekable();
        while let Some((key, block)) = rows.next() {
            let place =
                block.as_ref().and_then(|block| Entry::decode(&block.block).ok()).map(|entry| entry.place);
            match (place, block) {
                (Some(Place::First(head)), Some(first)) => {
                    let mut end = first.seq.saturating_add(1);
                    let to = first.seq.saturating_add(head.length);
                    let mut batch = vec![(key, first)];
                    while end < to
                        && let Some((key, Some(next))) =
                            rows.next_if(|(_, next)| Kept::continues(next.as_ref(), end))
                    {
                        batch.push((key, next));
                        end += 1;
                    }
                    if end == to {
                        sorted.whole.push(batch);
                    } else {
                        sorted.stay = sorted.stay.saturating_add(batch.len() as u64);
                    }
                }
                (Some(Place::Later { offset }), Some(block)) if block.seq.saturating_sub(offset) < lowest => {
                    sorted.headless.push(key);
                }
                _ => sorted.stay = sorted.stay.saturating_add(1),
            }
        }
        sorted
    }
}
