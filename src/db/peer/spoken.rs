//! What was said of which feed on which topic, by this side and by the other: in rows for the whole connection, so that a
//! topic of one feed takes the room of one row.

use crate::types::FeedKey;
use crate::wire::TopicId;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

#[derive(Default)]
pub(super) struct Spoken {
    /// Feeds this side has announced, and up to what length.
    said: BTreeMap<(TopicId, FeedKey), u64>,
    /// Feeds the other side has announced, both ways round; the session bounds how many.
    announced: BTreeSet<(TopicId, FeedKey)>,
    announced_on: BTreeSet<(FeedKey, TopicId)>,
}

fn all_of(topic: TopicId) -> RangeInclusive<(TopicId, FeedKey)> {
    (topic, FeedKey([0; 32]))..=(topic, FeedKey([0xff; 32]))
}

impl Spoken {
    pub fn say(&mut self, topic: TopicId, feed: FeedKey, length: u64) {
        self.said.insert((topic, feed), length);
    }

    pub fn said(&self, topic: TopicId, feed: &FeedKey) -> Option<u64> {
        self.said.get(&(topic, *feed)).copied()
    }

    pub fn all_said(&self) -> impl Iterator<Item = (TopicId, &FeedKey, u64)> {
        self.said.iter().map(|((topic, feed), length)| (*topic, feed, *length))
    }

    pub fn hear(&mut self, topic: TopicId, feed: FeedKey) {
        self.announced.insert((topic, feed));
        self.announced_on.insert((feed, topic));
    }

    pub fn announced(&self, topic: TopicId) -> impl Iterator<Item = &FeedKey> {
        self.announced.range(all_of(topic)).map(|(_, feed)| feed)
    }

    pub fn all_announced(&self) -> impl Iterator<Item = (TopicId, &FeedKey)> {
        self.announced.iter().map(|(topic, feed)| (*topic, feed))
    }

    /// The topics on which the other side has announced a feed.
    pub fn topics_of(&self, feed: &FeedKey) -> Vec<TopicId> {
        let range = (*feed, TopicId(0))..=(*feed, TopicId(u32::MAX));
        self.announced_on.range(range).map(|(_, topic)| *topic).collect()
    }

    pub fn is_announced(&self, feed: &FeedKey) -> bool {
        let range = (*feed, TopicId(0))..=(*feed, TopicId(u32::MAX));
        self.announced_on.range(range).next().is_some()
    }

    /// The topic is over. The feeds that this side has announced on it.
    pub fn forget(&mut self, topic: TopicId) -> Vec<FeedKey> {
        let said: Vec<FeedKey> = self.said.range(all_of(topic)).map(|((_, feed), _)| *feed).collect();
        for feed in &said {
            self.said.remove(&(topic, *feed));
        }
        let announced: Vec<_> = self.announced.range(all_of(topic)).copied().collect();
        for (topic, feed) in announced {
            self.announced.remove(&(topic, feed));
            self.announced_on.remove(&(feed, topic));
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_is_over_leaves_nothing_and_others_as_they_are() {
        let mut spoken = Spoken::default();
        let feeds = [FeedKey([0; 32]), FeedKey([7; 32]), FeedKey([0xff; 32])];
        for topic in [TopicId(0), TopicId(1), TopicId(2)] {
            for (feed, length) in feeds.into_iter().zip(1..) {
                spoken.say(topic, feed, length);
                spoken.hear(topic, feed);
            }
        }
        assert_eq!(spoken.said(TopicId(1), &feeds[2]), Some(3));
        assert_eq!(spoken.forget(TopicId(1)), feeds);
        assert_eq!(spoken.said(TopicId(1), &feeds[2]), None);
        assert_eq!(spoken.announced(TopicId(1)).count(), 0);
        for feed in feeds {
            assert_eq!(spoken.topics_of(&feed), [TopicId(0), TopicId(2)]);
        }
        for topic in [TopicId(0), TopicId(2)] {
            assert_eq!(spoken.announced(topic).copied().collect::<Vec<_>>(), feeds);
        }
        assert_eq!((spoken.all_said().count(), spoken.all_announced().count()), (6, 6));
    }
}
