//! Connections whose numbers of feeds or topics are used up, as after years: tests begin there.

use super::limits::{MAX_FEEDS_PER_SESSION, MAX_TOPICS_EVER};
use super::message::Named;
use super::topics::Opened;
use super::{CloseReason, Config, Event, FeedState, ProtocolError, Role, Session, Topic, TopicId, TopicKind};
use crate::types::FeedKey;

fn dummy(number: usize) -> FeedKey {
    let mut key = [0xdd; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    FeedKey(key)
}

impl Session {
    /// Uses up all numbers of feeds but so many, in both directions; to be done at both ends.
    pub(crate) fn spend_feeds(&mut self, left: usize) {
        for feeds in [&mut self.ours, &mut self.theirs] {
            let mut number = 0;
            while feeds.named() + left < MAX_FEEDS_PER_SESSION {
                feeds.resolve(Named::New(dummy(number))).unwrap();
                number += 1;
            }
        }
    }

    /// Uses up the room of a topic but for so many feeds, for what this end announces (`is_ours`) or the other one; to be
    /// done at both ends, before it opens.
    pub(crate) fn fill_topic(&mut self, topic: TopicId, is_ours: bool, left: usize) {
        let feeds = if is_ours { &mut self.ours } else { &mut self.theirs };
        for number in left..feeds.room_on(topic) {
            let alias = feeds.resolve(Named::New(dummy(number))).unwrap();
            feeds.join(topic, alias).unwrap();
        }
    }

    /// The same with the numbers of topics.
    fn spend_topics(&mut self, left: usize) {
        while self.topics.opened() + left < MAX_TOPICS_EVER {
            let topic = Topic { kind: TopicKind::Feed, key: dummy(self.topics.opened()) };
            self.topics.spend(Opened {
                topic,
                live: false,
                said_first: true,
                heard_first: true,
                writer_proofs: 0,
            });
        }
    }
}

fn pair() -> [Session; 2] {
    [Role::Initiator, Role::Responder].map(|role| Session::attached(role, [7; 64], Config::default()))
}

/// Carries until nothing moves; what happened at each end, and how each ended.
fn carry(ends: &mut [Session; 2]) -> [(Vec<Event>, Option<ProtocolError>); 2] {
    let mut seen = [(Vec::new(), None), (Vec::new(), None)];
    loop {
        let mut moved = false;
        for (from, to) in [(0, 1), (1, 0)] {
            while let Some(bytes) = ends[from].pull(1 << 16) {
                moved = true;
                let taken = ends[to].receive(&bytes);
                seen[to].1 = taken.err().or(seen[to].1.take());
            }
            while let Some(event) = ends[to].event() {
                seen[to].0.push(event);
            }
        }
        if !moved {
            return seen;
        }
    }
}

#[test]
fn who_has_no_number_left_for_a_topic_ends_the_connection_and_breaks_no_rule() {
    let mut ends = pair();
    let topics: Vec<Topic> =
        (0..2).map(|number| Topic { kind: TopicKind::Database, key: dummy(number) }).collect();
    for session in &mut ends {
        session.spend_topics(1);
        session.offer(&topics[..1]).unwrap();
    }
    let [(initiator, _), _] = carry(&mut ends);
    assert!(initiator.iter().any(|event| matches!(event, Event::TopicOpen { .. })), "{initiator:?}");
    for session in &mut ends {
        session.offer(&topics[1..]).unwrap();
    }
    let [(initiator, none), (_, responder)] = carry(&mut ends);
    let spent = ProtocolError::Spent { what: "topics ever opened", limit: MAX_TOPICS_EVER };
    assert_eq!((responder, none), (Some(spent), None));
    assert!(initiator.contains(&Event::Closed(CloseReason::Busy)), "{initiator:?}");
}

#[test]
fn what_is_named_beyond_the_last_number_is_refused_whole() {
    let mut ends = pair();
    let topic = Topic { kind: TopicKind::Database, key: dummy(0) };
    for session in &mut ends {
        session.offer(&[topic]).unwrap();
    }
    carry(&mut ends);
    let state = |byte| FeedState { feed: FeedKey([byte; 32]), length: 1, root: [1; 16], signed: 1 };
    for session in &mut ends {
        session.spend_feeds(1);
    }
    assert!(ends[0].announce(TopicId(0), &[state(1), state(2)], false).is_err());
    ends[0].announce(TopicId(0), &[state(1)], false).unwrap();
    let [_, (_, error)] = carry(&mut ends);
    assert_eq!(error, None);
}
