use std::collections::{BTreeMap, BTreeSet};

use super::encoding::{place, position, put_position};
use super::kept_cursor::differing;
use super::{Control, Member, Membership};
use crate::codec::{DecodeError, Reader, put_varint};
use crate::types::{FeedKey, Position};

/// Who is granted at a place of an apply-mode sequence, and who was declared lost before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    members: Membership,
    /// How much of a lost writer's feed there is, as promised.
    lost: BTreeMap<FeedKey, u64>,
}

/// What one grant or revoke did, so that it can be taken back, and done again where the order agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub feed: FeedKey,
    pub before: Option<Member>,
    pub after: Option<Member>,
    /// It declared the feed lost, of this length.
    pub lost: Option<u64>,
}

/// What is kept of one feed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StandingFeed {
    pub member: Option<Member>,
    /// It is lost: how much of it is promised to be placed all the same.
    pub lost: Option<u64>,
}

impl Standing {
    pub fn of_creator(creator: FeedKey) -> Self {
        Self { members: Membership::of_creator(creator), lost: BTreeMap::new() }
    }

    pub fn members(&self) -> &Membership {
        &self.members
    }

    pub fn lost(&self) -> &BTreeMap<FeedKey, u64> {
        &self.lost
    }

    /// Lets a control of the batch at `at` take effect; none if it changes nothing. `promised`: how much of the feed it
    /// is about that batch has in its past. Only an indexer declares another writer lost; a lost writer is granted
    /// nothing any more.
    pub fn change(&mut self, control: &Control, at: Position, promised: u64) -> Option<Change> {
        let feed = control.writer();
        if matches!(control, Control::Grant { .. }) && self.lost.contains_key(&feed) {
            return None;
        }
        let is_loss = matches!(control, Control::Revoke { lost: true, .. })
            && feed != at.writer
            && self.members.is_indexer(&at.writer);
        let before = self.members.get(&feed);
        let changed = self.members.change(control, at);
        // Who was revoked before can still be declared lost: what is waited for are steps in which it was an indexer.
        let newly_lost = is_loss && (changed || before.is_none()) && !self.lost.contains_key(&feed);
        if !changed && !newly_lost {
            return None;
        }
        let lost = newly_lost.then_some(promised);
        if let Some(length) = lost {
            self.lost.insert(feed, length);
        }
        Some(Change { feed, before, after: self.members.get(&feed), lost })
    }

    pub fn redo(&mut self, change: &Change) {
        self.members.set(change.feed, change.after);
        if let Some(length) = change.lost {
            self.lost.insert(change.feed, length);
        }
    }

    pub fn undo(&mut self, change: &Change) {
        self.members.set(change.feed, change.before);
        if change.lost.is_some() {
            self.lost.remove(&change.feed);
        }
    }

    /// What is kept of one feed.
    pub fn feed(&self, feed: &FeedKey) -> StandingFeed {
        StandingFeed { member: self.members.get(feed), lost: self.lost.get(feed).copied() }
    }

    /// # Errors
    /// Without an indexer it is nobody's.
    pub fn restore(feeds: impl Iterator<Item = (FeedKey, StandingFeed)>) -> Result<Self, DecodeError> {
        let (mut members, mut lost) = (BTreeMap::new(), BTreeMap::new());
        for (feed, kept) in feeds {
            kept.member.map(|member| members.insert(feed, member));
            kept.lost.map(|length| lost.insert(feed, length));
        }
        Ok(Self { members: Membership::of(members)?, lost })
    }

    /// Adds the feeds of which something else is kept than of `before`; none: than of nothing.
    pub fn changed_since(&self, before: Option<&Self>, out: &mut BTreeSet<FeedKey>) {
        differing(self.members.iter(), before.into_iter().flat_map(|before| before.members.iter()), out);
        let lost = |(feed, length): (&FeedKey, &u64)| (*feed, *length);
        let of_before = before.into_iter().flat_map(|before| &before.lost);
        differing(self.lost.iter().map(lost), of_before.map(lost), out);
    }
}

const MEMBER: u8 = 1;
const INDEXER: u8 = 2;
const LOST: u8 = 4;

impl StandingFeed {
    /// `flags u8 (1 granted, 2 indexer, 4 lost) ‖ [since: 0x00 | 0x01 ‖ position] ‖ [promised length varint]`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let is_indexer = self.member.is_some_and(|member| member.indexer);
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        out.push(
            flag(self.member.is_some(), MEMBER) | flag(is_indexer, INDEXER) | flag(self.lost.is_some(), LOST),
        );
        if let Some(member) = self.member {
            put_position(out, member.since);
        }
        if let Some(length) = self.lost {
            put_varint(out, length);
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let what = "a feed's standing";
        let flags = reader.u8(what)?;
        if flags & !(MEMBER | INDEXER | LOST) != 0 || flags & (MEMBER | INDEXER) == INDEXER {
            return Err(DecodeError::UnknownTag { what, tag: flags.into() });
        }
        let member = if flags & MEMBER != 0 {
            Some(Member { since: position(reader)?, indexer: flags & INDEXER != 0 })
        } else {
            None
        };
        let lost = if flags & LOST != 0 { Some(place(reader, "a lost writer's length")?) } else { None };
        Ok(Self { member, lost })
    }
}

impl Change {
    /// `feed 32 ‖ before ‖ after ‖ lost`, where `before, after = 0x00 | 0x01 ‖ indexer bool ‖ since` and
    /// `lost = 0x00 | 0x01 ‖ length varint`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.feed.as_bytes());
        for member in [self.before, self.after] {
            out.push(member.is_some().into());
            if let Some(Member { since, indexer }) = member {
                out.push(indexer.into());
                put_position(out, since);
            }
        }
        out.push(self.lost.is_some().into());
        if let Some(length) = self.lost {
            put_varint(out, length);
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let what = "a change of membership";
        let feed = FeedKey(reader.array(what)?);
        let mut member = || -> Result<Option<Member>, DecodeError> {
            if !reader.bool(what)? {
                return Ok(None);
            }
            let indexer = reader.bool(what)?;
            Ok(Some(Member { indexer, since: position(reader)? }))
        };
        let (before, after) = (member()?, member()?);
        let lost = if reader.bool(what)? { Some(place(reader, what)?) } else { None };
        Ok(Self { feed, before, after, lost })
    }
}
