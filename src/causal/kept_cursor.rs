//! A [`Cursor`] as it is kept: a head, and a row for each feed, so that a commit writes the feeds it has changed, however
//! many there are.

use super::encoding::{place, position, put_position};
use super::standing::StandingFeed;
use super::{Cursor, Past, Standing, Turn};
use crate::codec::{DecodeError, Reader, put_varint};
use crate::types::{FeedKey, Position};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// What is kept once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CursorHead {
    pub index: u64,
    pub last_taken: Option<Position>,
    pub step: Option<Turn>,
    /// Where the tail begins.
    pub tail: Option<u64>,
}

/// What is kept of a feed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CursorFeed {
    pub placed: u64,
    pub ever_indexer: bool,
    pub walk: StandingFeed,
    /// In the tail; as in the walk, if there is none.
    pub tail: StandingFeed,
}

impl CursorHead {
    /// `index varint ‖ last taken ‖ step (0x00 | 0x01 ‖ position ‖ end varint) ‖ tail (0x00 | 0x01 ‖ start varint)`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        put_varint(out, self.index);
        put_position(out, self.last_taken);
        put_position(out, self.step.map(|step| step.at));
        if let Some(step) = self.step {
            put_varint(out, step.end);
        }
        out.push(self.tail.is_some().into());
        if let Some(start) = self.tail {
            put_varint(out, start);
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let index = reader.varint("the length of the sequence")?;
        let last_taken = position(reader)?;
        let step = match position(reader)? {
            Some(at) => Some(Turn { at, end: place(reader, "a step's end")? }),
            None => None,
        };
        let tail = if reader.bool("the tail")? { Some(reader.varint("the tail's start")?) } else { None };
        Ok(Self { index, last_taken, step, tail })
    }
}

impl Cursor {
    pub fn kept_head(&self) -> CursorHead {
        let Self { index, last_taken, step, .. } = *self;
        CursorHead { index, last_taken, step, tail: self.tail_start() }
    }

    pub fn kept(&self, feed: &FeedKey) -> CursorFeed {
        CursorFeed {
            placed: self.placed.get(feed),
            ever_indexer: self.ever_indexer.contains(feed),
            walk: self.walk.feed(feed),
            tail: self.standing().feed(feed),
        }
    }

    /// # Errors
    /// Rows that no walk leaves behind.
    pub fn restore(head: CursorHead, feeds: &BTreeMap<FeedKey, CursorFeed>) -> Result<Self, DecodeError> {
        let standing = |of: fn(&CursorFeed) -> StandingFeed| {
            Standing::restore(feeds.iter().map(|(feed, kept)| (*feed, of(kept))))
        };
        let tail = match head.tail {
            Some(start) => Some((start, standing(|kept| kept.tail)?)),
            None => None,
        };
        Ok(Self {
            index: head.index,
            placed: feeds.iter().map(|(feed, kept)| (*feed, kept.placed)).collect::<Past>(),
            walk: standing(|kept| kept.walk)?,
            last_taken: head.last_taken,
            step: head.step,
            tail,
            ever_indexer: feeds.iter().filter(|(_, kept)| kept.ever_indexer).map(|(feed, _)| *feed).collect(),
        })
    }

    /// Adds the feeds of which something else is kept than of `before`; none: than of nothing.
    pub fn changed_since(&self, before: Option<&Self>, out: &mut BTreeSet<FeedKey>) {
        differing(self.placed.iter(), before.into_iter().flat_map(|before| before.placed.iter()), out);
        let of_before = before.into_iter().flat_map(|before| before.ever_indexer.iter());
        let with_nothing = |feed: &FeedKey| (*feed, ());
        differing(self.ever_indexer.iter().map(with_nothing), of_before.map(with_nothing), out);
        self.walk.changed_since(before.map(|before| &before.walk), out);
        self.standing().changed_since(before.map(Self::standing), out);
    }
}

/// Adds the feeds of which two lists, each ascending by feed, do not say the same.
pub fn differing<V: PartialEq>(
    a: impl Iterator<Item = (FeedKey, V)>,
    b: impl Iterator<Item = (FeedKey, V)>,
    out: &mut BTreeSet<FeedKey>,
) {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    loop {
        let order = match (a.peek(), b.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let [left, right] = [order.is_le(), order.is_ge()];
        let found = (left.then(|| a.next()).flatten(), right.then(|| b.next()).flatten());
        match found {
            (Some((_, one)), Some((_, other))) if one == other => {}
            (Some((feed, _)), _) | (None, Some((feed, _))) => {
                out.insert(feed);
            }
            (None, None) => return,
        }
    }
}
