//! The numbers feeds have in one direction: the side that announces a feed numbers it, from 0 in order of first mention.

use super::TopicId;
use super::limits::{MAX_FEEDS_PER_SESSION, MAX_FEEDS_PER_TOPIC};
use super::message::{Held, Named};
use super::outbox::Place;
use crate::types::FeedKey;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
struct Announced {
    feed: FeedKey,
    /// The greatest length ever announced: what may be asked for.
    reach: u64,
    /// Open topics it is announced on.
    topics: u32,
    /// Where the last Have of it stands in what is sent.
    have: Place,
}

/// The feeds one side has announced.
#[derive(Debug, Default)]
pub struct Feeds {
    by_alias: Vec<Announced>,
    by_key: BTreeMap<FeedKey, u64>,
    members: BTreeSet<(TopicId, u64)>,
    /// How many are announced on a topic, by its number.
    per_topic: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedsError {
    Unknown { alias: u64 },
    Twice { feed: FeedKey },
    TooMany { what: &'static str, limit: usize },
}

/// A feed by its number.
#[derive(Debug, Clone, Copy)]
pub struct Numbered {
    pub feed: FeedKey,
    pub reach: u64,
    /// It is announced on a topic that is open.
    pub live: bool,
}

impl Feeds {
    /// Whether all of `feeds` can be announced on `topic`.
    pub fn check_room(&self, topic: TopicId, feeds: impl Iterator<Item = FeedKey>) -> Result<(), FeedsError> {
        let is_member = |alias: &u64| self.members.contains(&(topic, *alias));
        let (mut joining, mut unnamed) = (0, 0);
        for feed in feeds {
            let alias = self.by_key.get(&feed);
            unnamed += usize::from(alias.is_none());
            joining += usize::from(!alias.is_some_and(is_member));
        }
        if self.on_topic(topic) + joining > MAX_FEEDS_PER_TOPIC {
            return Err(FeedsError::TooMany { what: "feeds on one topic", limit: MAX_FEEDS_PER_TOPIC });
        }
        if (self.members.len() + joining).max(self.by_alias.len() + unnamed) > MAX_FEEDS_PER_SESSION {
            return Err(FeedsError::TooMany {
                what: "feeds on one connection",
                limit: MAX_FEEDS_PER_SESSION,
            });
        }
        Ok(())
    }

    /// How a feed is named in the next message, and its number from then on.
    pub fn name(&mut self, feed: FeedKey) -> Result<(Named, u64), FeedsError> {
        match self.by_key.get(&feed) {
            Some(alias) => Ok((Named::Known(*alias), *alias)),
            None => self.introduce(feed).map(|alias| (Named::New(feed), alias)),
        }
    }

    /// The number of a feed named by the other side.
    pub fn resolve(&mut self, named: Named) -> Result<u64, FeedsError> {
        match named {
            Named::New(feed) if self.by_key.contains_key(&feed) => Err(FeedsError::Twice { feed }),
            Named::New(feed) => self.introduce(feed),
            Named::Known(alias) => self.numbered(alias).map(|_| alias),
        }
    }

    fn introduce(&mut self, feed: FeedKey) -> Result<u64, FeedsError> {
        if self.by_alias.len() >= MAX_FEEDS_PER_SESSION {
            return Err(FeedsError::TooMany {
                what: "feeds on one connection",
                limit: MAX_FEEDS_PER_SESSION,
            });
        }
        let alias = self.by_alias.len() as u64;
        self.by_alias.push(Announced { feed, reach: 0, topics: 0, have: 0 });
        self.by_key.insert(feed, alias);
        Ok(alias)
    }

    /// Feed `alias` is announced on `topic`.
    pub fn join(&mut self, topic: TopicId, alias: u64) -> Result<(), FeedsError> {
        if self.members.contains(&(topic, alias)) {
            return Ok(());
        }
        if self.on_topic(topic) >= MAX_FEEDS_PER_TOPIC {
            return Err(FeedsError::TooMany { what: "feeds on one topic", limit: MAX_FEEDS_PER_TOPIC });
        }
        if self.members.len() >= MAX_FEEDS_PER_SESSION {
            return Err(FeedsError::TooMany {
                what: "feeds on one connection",
                limit: MAX_FEEDS_PER_SESSION,
            });
        }
        let place = topic.0 as usize;
        if self.per_topic.len() <= place {
            self.per_topic.resize(place + 1, 0);
        }
        if let Some(here) = self.per_topic.get_mut(place) {
            *here += 1;
        }
        self.members.insert((topic, alias));
        if let Some(announced) = self.announced_mut(alias) {
            announced.topics += 1;
        }
        Ok(())
    }

    /// Topic `topic` is over: feeds announced on no other are not live any more.
    pub fn leave(&mut self, topic: TopicId) {
        let gone: Vec<u64> =
            self.members.range((topic, 0)..=(topic, u64::MAX)).map(|(_, alias)| *alias).collect();
        for alias in gone {
            self.members.remove(&(topic, alias));
            if let Some(announced) = self.announced_mut(alias) {
                announced.topics = announced.topics.saturating_sub(1);
            }
        }
        if let Some(here) = self.per_topic.get_mut(topic.0 as usize) {
            *here = 0;
        }
    }

    #[cfg(test)]
    pub fn named(&self) -> usize {
        self.by_alias.len()
    }

    /// How many more can be announced on `topic`.
    pub fn room_on(&self, topic: TopicId) -> usize {
        MAX_FEEDS_PER_TOPIC.saturating_sub(self.on_topic(topic))
    }

    fn on_topic(&self, topic: TopicId) -> usize {
        self.per_topic.get(topic.0 as usize).map_or(0, |count| *count as usize)
    }

    pub fn heard(&mut self, alias: u64, held: &Held) {
        self.reached(alias, held.length.max(held.signed));
    }

    pub fn reached(&mut self, alias: u64, length: u64) {
        if let Some(announced) = self.announced_mut(alias) {
            announced.reach = announced.reach.max(length);
        }
    }

    pub fn numbered(&self, alias: u64) -> Result<Numbered, FeedsError> {
        let announced = usize::try_from(alias).ok().and_then(|place| self.by_alias.get(place));
        announced
            .map(|a| Numbered { feed: a.feed, reach: a.reach, live: a.topics > 0 })
            .ok_or(FeedsError::Unknown { alias })
    }

    /// The number of a feed that is live.
    pub fn live(&self, feed: &FeedKey) -> Option<(u64, Numbered)> {
        let alias = *self.by_key.get(feed)?;
        self.numbered(alias).ok().filter(|numbered| numbered.live).map(|numbered| (alias, numbered))
    }

    /// Where the last Have of a feed stands in what is sent.
    pub fn last_have(&mut self, alias: u64) -> Option<&mut Place> {
        self.announced_mut(alias).map(|announced| &mut announced.have)
    }

    fn announced_mut(&mut self, alias: u64) -> Option<&mut Announced> {
        usize::try_from(alias).ok().and_then(|place| self.by_alias.get_mut(place))
    }
}
