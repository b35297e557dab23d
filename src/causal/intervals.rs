use std::collections::BTreeMap;

use super::encoding::place;
use crate::codec::limits::MAX_FEED_LENGTH;
use crate::codec::{DecodeError, Reader, put_varint};

/// Seqs of one feed, as half-open intervals: sorted, disjoint, with at least one seq between two of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intervals {
    /// From, to (exclusive).
    ends: BTreeMap<u64, u64>,
}

impl Intervals {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `from..to`, merging with what it overlaps or touches. Empty intervals add nothing.
    pub fn insert(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let (mut from, mut to) = (from, to);
        // From the right: every interval that begins at or before `to` and reaches `from` melts into one.
        while let Some((&begin, &end)) = self.ends.range(..=to).next_back() {
            if end < from {
                break;
            }
            self.ends.remove(&begin);
            from = from.min(begin);
            to = to.max(end);
        }
        self.ends.insert(from, to);
    }

    /// Takes out everything from `from` on.
    pub fn cut(&mut self, from: u64) {
        drop(self.ends.split_off(&from));
        if let Some((_, end)) = self.ends.iter_mut().next_back() {
            *end = from.min(*end);
        }
    }

    pub fn contains(&self, seq: u64) -> bool {
        self.ends.range(..=seq).next_back().is_some_and(|(_, end)| seq < *end)
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Ascending `(from, to)`.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u64, u64)> + '_ {
        self.ends.iter().map(|(from, to)| (*from, *to))
    }

    /// What is here and not in `other`, ascending.
    pub fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (u64, u64)> + 'a {
        self.iter().flat_map(move |(from, to)| {
            let before = other.ends.range(..from).next_back();
            let holes = before.into_iter().chain(other.ends.range(from..to));
            let mut next = from;
            // An empty hole at `to` closes the last piece.
            holes.map(|(a, b)| (*a, *b)).chain([(to, to)]).filter_map(move |(a, b)| {
                let piece = (next, a);
                next = next.max(b);
                (piece.0 < piece.1).then_some(piece)
            })
        })
    }

    /// `count varint ‖ (gap varint ‖ length varint)*`: the gap to the end before (to 0 the first time), then the
    /// interval's length. Lengths, and all gaps but the first, are 1 and more.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        put_varint(out, self.ends.len() as u64);
        let mut last = 0;
        for (from, to) in self.iter() {
            put_varint(out, from - last);
            put_varint(out, to - from);
            last = to;
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let what = "intervals";
        let count = reader.length(what, reader.remaining() / 2)?;
        let mut ends = BTreeMap::new();
        let mut last = 0;
        for index in 0..count {
            let (gap, length) = (place(reader, what)?, place(reader, what)?);
            if length == 0 || (gap == 0 && index > 0) {
                return Err(DecodeError::Malformed { what });
            }
            let (from, to) = (last + gap, last + gap + length);
            if to > MAX_FEED_LENGTH {
                return Err(DecodeError::TooLarge { what, found: to, limit: MAX_FEED_LENGTH });
            }
            ends.insert(from, to);
            last = to;
        }
        Ok(Self { ends })
    }
}
