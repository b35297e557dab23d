use std::collections::BTreeMap;

use super::Control;
use super::encoding::{map, position, put_map, put_position};
use crate::codec::{DecodeError, Reader};
use crate::fault::{self, Fault};
use crate::types::{FeedKey, Position};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Where the grant stands that began the present membership; none for the creator, who needs no grant.
    pub since: Option<Position>,
    pub indexer: bool,
}

/// Who is granted, and who of them is an indexer: the state of a walk. It always has an indexer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership(BTreeMap<FeedKey, Member>);

impl Membership {
    /// What every walk begins with: the creator, an indexer.
    pub fn of_creator(creator: FeedKey) -> Self {
        Self(BTreeMap::from([(creator, Member { since: None, indexer: true })]))
    }

    /// As it was kept.
    pub(super) fn of(members: BTreeMap<FeedKey, Member>) -> Result<Self, DecodeError> {
        if members.values().any(|member| member.indexer) {
            Ok(Self(members))
        } else {
            Err(DecodeError::Malformed { what: "a membership" })
        }
    }

    pub fn get(&self, feed: &FeedKey) -> Option<Member> {
        self.0.get(feed).copied()
    }

    pub fn is_indexer(&self, feed: &FeedKey) -> bool {
        self.get(feed).is_some_and(|member| member.indexer)
    }

    /// Ascending by feed.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (FeedKey, Member)> + '_ {
        self.0.iter().map(|(feed, member)| (*feed, *member))
    }

    pub fn indexers(&self) -> impl Iterator<Item = FeedKey> + '_ {
        self.iter().filter(|(_, member)| member.indexer).map(|(feed, _)| feed)
    }

    /// Lets a grant or revoke standing at `at` take effect; whether it was allowed to is the caller's question. False
    /// if nothing changed: it said nothing new, or would have left no indexer.
    pub fn change(&mut self, control: &Control, at: Position) -> bool {
        match *control {
            Control::Grant { writer, indexer, .. } => match self.get(&writer) {
                Some(member) if member.indexer == indexer => false,
                Some(_) if !indexer && self.is_last_indexer(&writer) => false,
                // A further grant changes only the right: the membership goes on since the grant that began it.
                Some(member) => {
                    self.0.insert(writer, Member { indexer, ..member });
                    true
                }
                None => {
                    self.0.insert(writer, Member { since: Some(at), indexer });
                    true
                }
            },
            Control::Revoke { writer, .. } => {
                !fault::is(Fault::RevokeIgnored)
                    && !self.is_last_indexer(&writer)
                    && self.0.remove(&writer).is_some()
            }
        }
    }

    /// Puts back what a feed was, or is again.
    pub(super) fn set(&mut self, feed: FeedKey, member: Option<Member>) {
        match member {
            Some(member) => self.0.insert(feed, member),
            None => self.0.remove(&feed),
        };
    }

    fn is_last_indexer(&self, feed: &FeedKey) -> bool {
        let mut indexers = self.indexers();
        indexers.next() == Some(*feed) && indexers.next().is_none()
    }

    /// A feed map of `indexer bool ‖ since`, where `since = 0x00 | 0x01 ‖ position`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        put_map(out, self.0.iter(), |out, member| {
            out.push(member.indexer.into());
            put_position(out, member.since);
        });
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let what = "a membership";
        let members =
            map(reader, what, |reader| Ok(Member { indexer: reader.bool(what)?, since: position(reader)? }))?;
        Self::of(members)
    }
}
