//! What a connection allows, it allows once: not anew each time a topic is withdrawn and opened again, nor on each of two
//! topics. The other side is a session that is driven by hand.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test says so by panicking"
)]

use crate::support::topics::*;
use crate::support::*;
use ed25519_dalek::{Signer as _, SigningKey};
use multi_hyperbee::db::{Event as DbEvent, FeedChoice, Peer, Store, Transport};
use multi_hyperbee::types::FeedKey;
use multi_hyperbee::wire::{Config, Event, FeedState, Role, Session, StateClaim, Topic, TopicId, TopicKind};
use std::sync::Arc;

const HASH: [u8; 64] = [6; 64];

/// The other side of a connection of a whole store.
struct Hand {
    store: Store,
    peer: Peer,
    session: Session,
}

impl Hand {
    fn new(store: &Store) -> Self {
        let transport = Transport::Attached { initiator: false, handshake_hash: HASH };
        let peer = store.replicate(options(transport)).unwrap();
        let session = Session::attached(Role::Initiator, HASH, Config::default());
        Self { store: store.clone(), peer, session }
    }

    /// Carries until nothing moves; what was heard.
    fn rest(&mut self) -> Vec<Event> {
        let (mut heard, mut quiet) = (Vec::new(), 0);
        while quiet < 3 {
            self.store.settled().wait().unwrap();
            quiet += 1;
            while let Some(bytes) = self.session.pull(1 << 16) {
                self.peer.receive(&bytes).unwrap();
                quiet = 0;
            }
            while let Some(bytes) = self.peer.pull(1 << 16) {
                self.session.receive(&bytes).unwrap();
                quiet = 0;
            }
            heard.extend(std::iter::from_fn(|| self.session.event()));
        }
        heard
    }

    /// Opens a topic, and says that it has nothing.
    fn open(&mut self, topic: Topic) -> TopicId {
        self.session.offer(&[topic]).unwrap();
        let heard = self.rest();
        let opened = heard.iter().find_map(|event| match event {
            Event::TopicOpen { topic, .. } => Some(*topic),
            _ => None,
        });
        let id = opened.unwrap();
        self.session.announce(id, &[], true).unwrap();
        self.rest();
        id
    }

    fn tick(&mut self) -> Vec<Event> {
        self.peer.tick();
        self.rest()
    }

    /// Asks to write, as so many writers that nobody knows.
    fn ask(&mut self, id: TopicId, first: u8, count: u8) {
        for seed in first..first + count {
            let key = SigningKey::from_bytes(&[seed; 32]);
            let writer = key.verifying_key().to_bytes();
            let proof = key.sign(&self.session.writer_proof_message(id).unwrap()).to_bytes();
            self.session.prove_writer(id, FeedKey(writer), &proof).unwrap();
            let request = [&[seed; 8][..], &writer, &[0], &[0]].concat();
            self.session.access(id, 1, &request).unwrap();
        }
        self.rest();
    }
}

fn database_topic(key: FeedKey) -> Topic {
    Topic { kind: TopicKind::Database, key }
}

#[test]
fn who_withdraws_a_topic_and_opens_it_again_is_heard_no_more_often() {
    const AT_ONCE: u8 = 16;
    let store = memory();
    let db = create(&store);
    let news = db.subscribe(Arc::new(|| {})).unwrap();
    let asked = || news.take().iter().filter(|event| matches!(event, DbEvent::AccessRequest { .. })).count();
    let mut hand = Hand::new(&store);
    let topic = database_topic(key_of(&db));
    let mut raised = 0;
    for round in 0..3 {
        let id = hand.open(topic);
        hand.ask(id, 1 + round * AT_ONCE, AT_ONCE);
        raised += asked();
        hand.session.withdraw(&topic).unwrap();
        hand.rest();
    }
    assert_eq!(raised, usize::from(AT_ONCE));
    // One a second, whatever the topic's number.
    hand.tick();
    hand.tick();
    let id = hand.open(topic);
    hand.ask(id, 101, AT_ONCE);
    assert_eq!(asked(), 2);
}

#[test]
fn a_liar_that_withdraws_a_topic_and_opens_it_again_tells_of_no_difference_twice() {
    let store = memory();
    let db = create(&store);
    put(&db, "key", "{}");
    let news = db.subscribe(Arc::new(|| {})).unwrap();
    let mut hand = Hand::new(&store);
    let topic = database_topic(key_of(&db));
    let (mut said, mut told) = (Vec::new(), 0);
    for _ in 0..3 {
        let id = hand.open(topic);
        for _ in 0..3 {
            let claims = hand.tick().into_iter().filter_map(|event| match event {
                Event::StateHash { claim, .. } => Some(claim),
                _ => None,
            });
            said.extend(claims);
            if let Some(claim) = said.last() {
                let lie = StateClaim { state: [0x77; 32], ..*claim };
                hand.session.state_hash(id, &lie).unwrap();
                hand.rest();
            }
        }
        let differs = |event: &DbEvent| matches!(event, DbEvent::Diverged { .. });
        told += news.take().iter().filter(|event| differs(event)).count();
        hand.session.withdraw(&topic).unwrap();
        hand.rest();
    }
    assert_eq!((said.len(), told), (1, 1));
}

#[test]
fn of_a_feed_that_stands_on_two_topics_nothing_is_pushed_that_was_told_partly() {
    let writer = create(&memory());
    let value = format!(r#"{{"text":"{}"}}"#, "x".repeat(4_000));
    let entries = (0..200).map(|n| put_write(&format!("k{n}"), &value)).collect();
    writer.write(entries).wait().unwrap();
    let key = key_of(&writer);
    let store = memory();
    let db = join(&store, key);
    let feed = store.feed(FeedChoice::Key(key)).wait().unwrap();
    let wire = connect(&writer, &db);
    while have(&db, key) < 60 {
        for (from, to) in [(&wire.a, &wire.b), (&wire.b, &wire.a)] {
            if let Some(bytes) = from.pull(16 << 10) {
                to.receive(&bytes).unwrap();
            }
        }
        store.settled().wait().unwrap();
    }
    let mut hand = Hand::new(&store);
    hand.session.offer(&[database_topic(key), Topic { kind: TopicKind::Feed, key }]).unwrap();
    let heard = hand.rest();
    let said: Vec<(TopicId, FeedState)> = heard
        .iter()
        .filter_map(|event| match event {
            Event::Vector { topic, feeds, .. } => feeds.first().map(|state| (*topic, *state)),
            _ => None,
        })
        .collect();
    assert_eq!(said.len(), 2, "the feed is said on both");
    let all = have(&writer, key);
    for (topic, state) in said {
        assert!(state.length < all && state.signed == all, "{state:?}");
        hand.session.announce(topic, &[state], true).unwrap();
    }
    hand.rest();
    let pushed = |heard: &[Event]| {
        heard
            .iter()
            .filter(|event| matches!(event, Event::Blocks { blocks, .. } if blocks.answer.is_none()))
            .count()
    };
    let mut heard = Vec::new();
    carry_until(&[&wire], || {
        heard.extend(hand.rest());
        have(&db, key) == all
    });
    heard.extend(hand.rest());
    heard.extend(hand.tick());
    let lengths: Vec<u64> = heard
        .iter()
        .filter_map(|event| match event {
            Event::Have(state) => Some(state.length),
            _ => None,
        })
        .collect();
    assert_eq!((pushed(&heard), lengths.last()), (0, Some(&all)), "{lengths:?}");
    assert_eq!(lengths.iter().filter(|length| **length == all).count(), 1, "{lengths:?}");
    drop(feed);
}

#[test]
fn synced_is_said_at_once_where_the_other_side_holds_a_single_feed_only() {
    let stores = [memory(), memory()];
    let x = named(&stores[1], "x", None);
    put(&x, "first", "{}");
    let own = local(&x);
    x.close().wait().unwrap();
    let held = stores[0].feed(FeedChoice::Key(own)).wait().unwrap();
    let wire = replicate(&stores[0], &stores[1]);
    rest(&wire, &stores);
    let x = named(&stores[1], "x", None);
    let news = x.subscribe(Arc::new(|| {})).unwrap();
    held.want(0, 1).unwrap();
    let mut is_synced = false;
    for _ in 0..3 {
        rest(&wire, &stores);
        is_synced |= news.take().iter().any(|event| matches!(event, DbEvent::Synced { .. }));
    }
    assert!(held.has_all(0, 1).unwrap());
    assert!(is_synced, "without a tick");
}
