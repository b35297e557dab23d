//! An [`OrderState`](super::OrderState) as it is kept: a head, and a row for each feed, so that a commit writes the feeds
//! it has changed, however many there are.

use super::encoding::{place, position, put_position};
use super::{Intervals, Member, WalkRule};
use crate::codec::{DecodeError, Reader, put_varint};
use crate::types::{FeedKey, Position};

/// What is kept once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderHead {
    pub creator: FeedKey,
    pub rule: WalkRule,
    /// A walk is due.
    pub due: bool,
    pub last_taken: Option<Position>,
    pub last_change: Option<Position>,
}

/// What is kept of a feed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderFeed {
    pub placed: u64,
    pub walked: u64,
    pub member: Option<Member>,
    pub ever_indexer: bool,
    pub counted: Intervals,
}

const MEMBER: u8 = 1;
const INDEXER: u8 = 2;
const EVER_INDEXER: u8 = 4;

impl OrderHead {
    /// ```text
    /// creator 32 ‖ rule u8 (0 merge, 1 apply) ‖ due bool ‖ last taken ‖ last change
    /// last taken, last change = 0x00 | 0x01 ‖ position
    /// ```
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.creator.as_bytes());
        out.push(match self.rule {
            WalkRule::Merge => 0,
            WalkRule::Apply => 1,
        });
        out.push(self.due.into());
        put_position(out, self.last_taken);
        put_position(out, self.last_change);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            creator: FeedKey(reader.array("the creator")?),
            rule: match reader.u8("the walk's rule")? {
                0 => WalkRule::Merge,
                1 => WalkRule::Apply,
                tag => return Err(DecodeError::UnknownTag { what: "the walk's rule", tag: tag.into() }),
            },
            due: reader.bool("whether a walk is due")?,
            last_taken: position(reader)?,
            last_change: position(reader)?,
        })
    }
}

impl OrderFeed {
    /// Nothing: it needs no row.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// ```text
    /// placed varint ‖ walked varint ‖ flags u8 (1 member, 2 indexer, 4 ever an indexer) ‖ [since, of a member] ‖ intervals
    /// since = 0x00 | 0x01 ‖ position
    /// ```
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        put_varint(out, self.placed);
        put_varint(out, self.walked);
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let is_indexer = self.member.is_some_and(|member| member.indexer);
        out.push(
            flag(self.member.is_some(), MEMBER)
                | flag(is_indexer, INDEXER)
                | flag(self.ever_indexer, EVER_INDEXER),
        );
        if let Some(member) = self.member {
            put_position(out, member.since);
        }
        self.counted.encode_into(out);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let what = "the order of a feed";
        let (placed, walked) = (place(reader, what)?, place(reader, what)?);
        let flags = reader.u8(what)?;
        if flags & !(MEMBER | INDEXER | EVER_INDEXER) != 0 || flags & (MEMBER | INDEXER) == INDEXER {
            return Err(DecodeError::UnknownTag { what, tag: flags.into() });
        }
        let member = if flags & MEMBER != 0 {
            Some(Member { since: position(reader)?, indexer: flags & INDEXER != 0 })
        } else {
            None
        };
        let counted = Intervals::decode(reader)?;
        let kept = Self { placed, walked, member, ever_indexer: flags & EVER_INDEXER != 0, counted };
        if kept.is_nothing() { Err(DecodeError::Malformed { what }) } else { Ok(kept) }
    }
}
