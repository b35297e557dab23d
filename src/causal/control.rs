use std::collections::BTreeMap;

use super::encoding::{effective, place, put_effective};
use super::{BatchFacts, Past};
use crate::codec::limits::{MAX_BATCH_ENTRIES, MAX_FEED_LENGTH};
use crate::codec::{DecodeError, Reader, put_varint};
use crate::types::{Effective, FeedKey, Position};

/// A grant or revoke entry naming this database; `seq` is the entry's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    Grant { writer: FeedKey, indexer: bool, seq: u64 },
    Revoke { writer: FeedKey, lost: bool, seq: u64 },
}

impl Control {
    pub fn seq(&self) -> u64 {
        match self {
            Self::Grant { seq, .. } | Self::Revoke { seq, .. } => *seq,
        }
    }

    /// Whom it is about.
    pub fn writer(&self) -> FeedKey {
        match self {
            Self::Grant { writer, .. } | Self::Revoke { writer, .. } => *writer,
        }
    }
}

/// A placed batch with at least one control: all that the walk ever reads of a batch beyond its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlBatch {
    pub writer: FeedKey,
    pub seq: u64,
    /// Exclusive.
    pub end: u64,
    pub effective: Effective,
    /// In their order, none empty.
    pub controls: Vec<Control>,
}

const GRANT: u8 = 0;
const GRANT_INDEXER: u8 = 1;
const REVOKE: u8 = 2;
const REVOKE_LOST: u8 = 3;

impl ControlBatch {
    /// None if the batch has no controls.
    pub fn of(batch: &BatchFacts, effective: Effective) -> Option<Self> {
        let controls = batch.controls.clone();
        let (writer, seq, end) = (batch.writer, batch.seq, batch.end());
        (!controls.is_empty()).then_some(Self { writer, seq, end, effective, controls })
    }

    pub fn position(&self) -> Position {
        Position { effective: self.effective, writer: self.writer, seq: self.seq }
    }

    /// `writer 32 ‖ seq varint ‖ length varint ‖ time u64 ‖ tick varint ‖ count varint ‖ control*`, where
    /// `control = offset varint ‖ tag u8 ‖ writer 32`: its offset in the batch, strictly ascending, and 0 grant, 1 grant
    /// as indexer, 2 revoke, 3 revoke as lost.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.writer.as_bytes());
        put_varint(out, self.seq);
        put_varint(out, self.end.saturating_sub(self.seq));
        put_effective(out, self.effective);
        put_varint(out, self.controls.len() as u64);
        for control in &self.controls {
            put_varint(out, control.seq().saturating_sub(self.seq));
            out.push(match control {
                Control::Grant { indexer: false, .. } => GRANT,
                Control::Grant { indexer: true, .. } => GRANT_INDEXER,
                Control::Revoke { lost: false, .. } => REVOKE,
                Control::Revoke { lost: true, .. } => REVOKE_LOST,
            });
            out.extend_from_slice(control.writer().as_bytes());
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let what = "a control batch";
        let writer = FeedKey(reader.array(what)?);
        let seq = place(reader, what)?;
        let length = reader.length(what, MAX_BATCH_ENTRIES)? as u64;
        let effective = effective(reader)?;
        let count = reader.length(what, (reader.remaining() / 34).min(MAX_BATCH_ENTRIES))?;
        if count == 0 || seq + length > MAX_FEED_LENGTH {
            return Err(DecodeError::Malformed { what });
        }
        let mut controls: Vec<Control> = Vec::new();
        for _ in 0..count {
            let offset = reader.varint(what)?;
            let tag = reader.u8(what)?;
            let named = FeedKey(reader.array(what)?);
            if offset >= length || controls.last().is_some_and(|last| last.seq() >= seq + offset) {
                return Err(DecodeError::Malformed { what });
            }
            let seq = seq + offset;
            controls.push(match tag {
                GRANT | GRANT_INDEXER => Control::Grant { writer: named, indexer: tag == GRANT_INDEXER, seq },
                REVOKE | REVOKE_LOST => Control::Revoke { writer: named, lost: tag == REVOKE_LOST, seq },
                tag => return Err(DecodeError::UnknownTag { what, tag: tag.into() }),
            });
        }
        Ok(Self { writer, seq, end: seq + length, effective, controls })
    }
}

/// Every placed control batch, counted or not. The engine keeps each as a row of its own and reads them all at open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Controls {
    /// Per writer, by seq: which is also by position.
    batches: BTreeMap<FeedKey, BTreeMap<u64, ControlBatch>>,
    /// Whom grants name: per writer of such a grant, the seq of the first.
    named: BTreeMap<FeedKey, BTreeMap<FeedKey, u64>>,
}

impl Controls {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn insert(&mut self, batch: ControlBatch) {
        for control in &batch.controls {
            if let Control::Grant { writer, seq, .. } = control {
                let first = self.named.entry(*writer).or_default().entry(batch.writer).or_insert(*seq);
                *first = (*first).min(*seq);
            }
        }
        self.batches.entry(batch.writer).or_default().insert(batch.seq, batch);
    }

    /// Takes out the batches of `writer` that begin at or after `from`.
    pub fn cut(&mut self, writer: FeedKey, from: u64) {
        if let Some(batches) = self.batches.get_mut(&writer) {
            drop(batches.split_off(&from));
        }
        for grants in self.named.values_mut() {
            // The first grant says it all: what is cut off is after it, or it is.
            if grants.get(&writer).is_some_and(|first| *first >= from) {
                grants.remove(&writer);
            }
        }
        self.named.retain(|_, grants| !grants.is_empty());
        self.batches.retain(|_, batches| !batches.is_empty());
    }

    /// Does a grant in `past`, counted or not, name `feed`? (What [`super::Placed::names`] asks.)
    pub fn names(&self, past: &Past, feed: FeedKey) -> bool {
        let grants = self.named.get(&feed).into_iter().flatten();
        grants.into_iter().any(|(writer, first)| *first < past.get(writer))
    }

    /// The control batches of `writer` that begin in `from..to`, ascending.
    pub fn range(&self, writer: FeedKey, from: u64, to: u64) -> impl Iterator<Item = &ControlBatch> {
        let batches = if from < to { self.batches.get(&writer) } else { None };
        batches.into_iter().flat_map(move |batches| batches.range(from..to).map(|(_, batch)| batch))
    }

    pub fn iter(&self) -> impl Iterator<Item = &ControlBatch> {
        self.batches.values().flat_map(BTreeMap::values)
    }
}

impl FromIterator<ControlBatch> for Controls {
    fn from_iter<I: IntoIterator<Item = ControlBatch>>(batches: I) -> Self {
        let mut controls = Self::new();
        for batch in batches {
            controls.insert(batch);
        }
        controls
    }
}
