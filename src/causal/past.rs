use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::encoding::{map, place, put_map};
use crate::codec::{DecodeError, Reader, put_varint};
use crate::types::{Dot, FeedKey};

/// A prefix of every feed: feed to exclusive length, lengths above 0. The causal past of a batch is one, and so is
/// what is placed, and what a walk has placed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past(BTreeMap<FeedKey, u64>);

impl Past {
    pub fn new() -> Self {
        Self::default()
    }

    /// 0 for a feed of which nothing is in it.
    pub fn get(&self, feed: &FeedKey) -> u64 {
        self.0.get(feed).copied().unwrap_or(0)
    }

    pub fn contains(&self, dot: Dot) -> bool {
        dot.seq < self.get(&dot.writer)
    }

    /// Takes in `feed` up to `length`; never shortens. True if that added anything.
    pub fn raise(&mut self, feed: FeedKey, length: u64) -> bool {
        if length == 0 {
            return false;
        }
        match self.0.entry(feed) {
            Entry::Vacant(vacant) => {
                vacant.insert(length);
                true
            }
            Entry::Occupied(mut occupied) => {
                let longer = *occupied.get() < length;
                if longer {
                    occupied.insert(length);
                }
                longer
            }
        }
    }

    /// Leaves `feed` only up to `length`: for going back over what was placed.
    pub fn lower(&mut self, feed: FeedKey, length: u64) {
        if length == 0 {
            self.0.remove(&feed);
        } else if let Some(known) = self.0.get_mut(&feed) {
            *known = length.min(*known);
        }
    }

    /// The union: the pointwise maximum. True if that added anything.
    pub fn join(&mut self, other: &Self) -> bool {
        let mut added = false;
        for (feed, length) in other.iter() {
            added |= self.raise(feed, length);
        }
        added
    }

    /// Ascending by feed.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (FeedKey, u64)> + '_ {
        self.0.iter().map(|(feed, length)| (*feed, *length))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A feed map of varint lengths, 1 and more.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        put_map(out, self.0.iter(), |out, length| put_varint(out, *length));
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let what = "a past";
        let length = |reader: &mut Reader<'_>| match place(reader, what)? {
            0 => Err(DecodeError::Malformed { what }),
            length => Ok(length),
        };
        map(reader, what, length).map(Self)
    }
}

impl FromIterator<(FeedKey, u64)> for Past {
    fn from_iter<I: IntoIterator<Item = (FeedKey, u64)>>(lengths: I) -> Self {
        let mut past = Self::new();
        for (feed, length) in lengths {
            past.raise(feed, length);
        }
        past
    }
}
