//! Connections whose room is used up: as after years, or with thousands of databases.

use super::offering::DATABASE_TOPICS;
use super::{Peer, PeerEvent, PeerOptions, Transport};
use crate::db::{Code, DatabaseOptions, Db, Event, Expect, FeedChoice, Location, Store, StoreOptions, Write};
use crate::types::FeedKey;
use crate::wire::limits::MAX_TOPICS;
use crate::wire::{Config, Event as Said, Role, Session, Topic, TopicId, TopicKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

fn memory() -> Store {
    Store::open(&Location::Memory, &StoreOptions::default()).unwrap()
}

fn open(store: &Store, name: &str, key: Option<FeedKey>) -> Db {
    let options = DatabaseOptions { key, name: Some(name.into()), ..DatabaseOptions::default() };
    store.database(options).wait().unwrap()
}

fn key_of(db: &Db) -> FeedKey {
    db.info().unwrap().key
}

fn put(db: &Db, key: &str) {
    let (key, value) = (key.as_bytes().to_vec(), b"{}".to_vec());
    db.write(vec![Write::Put { key, value, base: None, diff: None, expect: Expect::Any }]).wait().unwrap();
}

fn has(db: &Db, key: &str) -> bool {
    db.get_entry(key.as_bytes(), None).unwrap().is_some()
}

fn options(transport: Transport) -> PeerOptions {
    let wake = Arc::new(|| {});
    PeerOptions { transport, live: true, download: true, upload: true, user_data: Vec::new(), wake }
}

fn connect(initiator: &Store, responder: &Store) -> [Peer; 2] {
    [
        initiator.replicate(options(Transport::Initiator)).unwrap(),
        responder.replicate(options(Transport::Responder)).unwrap(),
    ]
}

fn carry(ends: &[Peer; 2]) -> bool {
    let mut moved = false;
    for (from, to) in [(0, 1), (1, 0)] {
        while let Some(bytes) = ends[from].pull(1 << 16) {
            moved = true;
            let _ = ends[to].receive(&bytes);
        }
    }
    moved
}

fn carry_until(ends: &[Peer; 2], mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        if !carry(ends) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(start.elapsed() < Duration::from_mins(1), "the connection came to rest before the goal");
    }
}

/// Carries until nothing moves.
fn rest(ends: &[Peer; 2], stores: &[Store]) {
    let mut quiet = 0;
    while quiet < 3 {
        for store in stores {
            store.settled().wait().unwrap();
        }
        quiet = if carry(ends) { 0 } else { quiet + 1 };
    }
}

fn failure(peer: &Peer) -> Option<Code> {
    let events = peer.take_events();
    events.into_iter().find_map(|event| match event {
        PeerEvent::Failed(error) => Some(error.code),
        _ => None,
    })
}

#[test]
fn who_cannot_name_a_feed_ends_the_connection_and_the_next_one_brings_it() {
    let [ours, theirs] = [memory(), memory()];
    let here = open(&ours, "x", None);
    put(&here, "first");
    let there = open(&theirs, "x", Some(key_of(&here)));
    let ends = connect(&ours, &theirs);
    carry_until(&ends, || has(&there, "first"));
    for peer in &ends {
        peer.0.state.lock().session.spend_feeds(0);
        peer.take_events();
    }
    let feed = ours.feed(FeedChoice::Name("added".into())).wait().unwrap();
    feed.append(vec![b"block".to_vec()]).wait().unwrap();
    here.add_writer(feed.key(), false).wait().unwrap();
    put(&here, "second");
    let news = there.subscribe(Arc::new(|| {})).unwrap();
    let mut failed = [None; 2];
    carry_until(&ends, || {
        for (failed, peer) in failed.iter_mut().zip(&ends) {
            *failed = failed.or(failure(peer));
        }
        failed.iter().all(Option::is_some)
    });
    assert!(!news.take().iter().any(|event| matches!(event, Event::Synced { .. })));
    let ends = connect(&ours, &theirs);
    let came = || there.progress().unwrap().iter().any(|known| known.key == feed.key() && known.have == 1);
    carry_until(&ends, || has(&there, "second") && came());
    assert_eq!([failure(&ends[0]), failure(&ends[1])], [None, None]);
}

/// A database of one feed more than its topic takes, and who joins it.
fn crowded(stores: &[Store; 2], live: bool) -> ([Db; 2], FeedKey, [Peer; 2]) {
    let here = open(&stores[0], "x", None);
    let far = [stores[0].clone(), memory()];
    let written = far[1].feed(FeedChoice::Name("added".into())).wait().unwrap();
    written.append(vec![b"block".to_vec()]).wait().unwrap();
    let feed = stores[0].feed(FeedChoice::Key(written.key())).wait().unwrap();
    feed.want(0, 1).unwrap();
    let ends = connect(&far[0], &far[1]);
    carry_until(&ends, || feed.has_all(0, 1).unwrap());
    ends.iter().for_each(Peer::close);
    here.add_writer(feed.key(), false).wait().unwrap();
    put(&here, "first");
    let there = open(&stores[1], "x", Some(key_of(&here)));
    feed.close();
    let once = |transport| PeerOptions { live, ..options(transport) };
    let ends = [
        stores[0].replicate(once(Transport::Initiator)).unwrap(),
        stores[1].replicate(once(Transport::Responder)).unwrap(),
    ];
    for (peer, is_ours) in ends.iter().zip([true, false]) {
        peer.0.state.lock().session.fill_topic(TopicId(0), is_ours, 1);
    }
    ([here, there], feed.key(), ends)
}

#[test]
fn of_a_database_of_more_feeds_than_a_topic_takes_the_own_one_is_said_and_all_else_goes_on() {
    let stores = [memory(), memory()];
    let ([here, there], beyond, ends) = crowded(&stores, true);
    let news = [&here, &there].map(|db| db.subscribe(Arc::new(|| {})).unwrap());
    carry_until(&ends, || has(&there, "first"));
    let other = open(&stores[0], "y", None);
    put(&other, "first");
    let other = open(&stores[1], "y", Some(key_of(&other)));
    carry_until(&ends, || has(&other, "first"));
    put(&here, "second");
    carry_until(&ends, || has(&there, "second"));
    for _ in 0..3 {
        ends.iter().for_each(Peer::tick);
        rest(&ends, &stores);
    }
    assert!(there.progress().unwrap().iter().any(|known| known.key == beyond && known.have == 0));
    assert_eq!([failure(&ends[0]), failure(&ends[1])], [None, None]);
    let told = news.map(|news| news.take());
    let errors = told.each_ref().map(|events| {
        let all = events.iter().filter(|event| matches!(event, Event::Error { .. }));
        all.count()
    });
    assert_eq!(errors, [1, 0], "{told:?}");
    assert!(!told.iter().flatten().any(|event| matches!(event, Event::Synced { .. })), "{told:?}");
}

#[test]
fn an_own_feed_that_is_empty_when_its_topic_opens_keeps_its_place_there() {
    let stores = [memory(), memory()];
    let here = open(&stores[0], "x", None);
    put(&here, "first");
    let there = open(&stores[1], "x", Some(key_of(&here)));
    let ends = connect(&stores[0], &stores[1]);
    for (peer, is_ours) in ends.iter().zip([false, true]) {
        peer.0.state.lock().session.fill_topic(TopicId(0), is_ours, 1);
    }
    carry_until(&ends, || has(&there, "first"));
    (0..3).for_each(|_| rest(&ends, &stores));
    here.add_writer(there.info().unwrap().local, false).wait().unwrap();
    carry_until(&ends, || there.status().unwrap().writable);
    put(&there, "second");
    carry_until(&ends, || has(&here, "second"));
    assert_eq!([failure(&ends[0]), failure(&ends[1])], [None, None]);
}

#[test]
fn a_connection_that_is_not_live_ends_though_a_topic_has_no_room_for_all() {
    let stores = [memory(), memory()];
    let ([_here, there], _, ends) = crowded(&stores, false);
    let mut finished = [false; 2];
    carry_until(&ends, || {
        for (finished, peer) in finished.iter_mut().zip(&ends) {
            *finished |= peer.take_events().contains(&PeerEvent::Finished);
        }
        finished == [true; 2]
    });
    assert!(has(&there, "first"));
}

/// A database, a connection that its store has begun, and its other side, driven by hand.
struct Hand {
    store: Store,
    db: Db,
    peer: Peer,
    session: Session,
}

impl Hand {
    fn new() -> Self {
        const HASH: [u8; 64] = [6; 64];
        let store = memory();
        let db = open(&store, "x", None);
        put(&db, "first");
        let transport = Transport::Attached { initiator: true, handshake_hash: HASH };
        let peer = store.replicate(options(transport)).unwrap();
        let session = Session::attached(Role::Responder, HASH, Config::default());
        let mut hand = Self { store, db, peer, session };
        hand.show();
        hand
    }

    fn topic(&self) -> Topic {
        Topic { kind: TopicKind::Database, key: key_of(&self.db) }
    }

    fn show(&mut self) {
        self.session.offer(&[self.topic()]).unwrap();
        assert!(self.rest().iter().any(|said| matches!(said, Said::TopicOpen { .. })));
    }

    /// What is said to the hand waits.
    fn withdraw(&mut self) {
        self.session.withdraw(&self.topic()).unwrap();
        while let Some(bytes) = self.session.pull(1 << 16) {
            self.peer.receive(&bytes).unwrap();
        }
    }

    /// Carries until nothing moves, with empty vectors of the hand's; what it was told.
    fn rest(&mut self) -> Vec<Said> {
        let (mut said, mut quiet) = (Vec::new(), 0);
        while quiet < 3 {
            self.store.settled().wait().unwrap();
            quiet += 1;
            while let Some(bytes) = self.peer.pull(1 << 16) {
                self.session.receive(&bytes).unwrap();
                quiet = 0;
            }
            while let Some(event) = self.session.event() {
                if let Said::TopicOpen { topic, .. } = event {
                    self.session.announce(topic, &[], true).unwrap();
                }
                said.push(event);
            }
            while let Some(bytes) = self.session.pull(1 << 16) {
                self.peer.receive(&bytes).unwrap();
                quiet = 0;
            }
        }
        said
    }
}

#[test]
fn who_withdraws_a_topic_and_opens_it_again_holds_own_blocks_back_once() {
    let mut hand = Hand::new();
    let far = memory();
    let there = open(&far, "x", Some(key_of(&hand.db)));
    let stores = [hand.store.clone(), far];
    let ends = connect(&stores[0], &stores[1]);
    carry_until(&ends, || has(&there, "first"));
    for round in 0..3 {
        hand.withdraw();
        let is_asked = hand.peer.0.fresh.load(Ordering::Acquire);
        assert_eq!(is_asked, round == 0, "its feed is offered by itself, and that was answered in round 0");
        if !is_asked {
            let name = format!("round {round}");
            put(&hand.db, &name);
            rest(&ends, &stores);
            assert!(has(&there, &name), "without a tick");
        }
        hand.rest();
        hand.show();
    }
    // What was closed here is asked about as what is new.
    hand.db.close().wait().unwrap();
    hand.rest();
    assert!(hand.peer.0.state.lock().asking.is_about_nothing());
}

#[test]
fn what_was_told_on_a_topic_is_told_again_on_the_next_one() {
    let mut hand = Hand::new();
    let own = hand.db.info().unwrap().local;
    {
        // As if the feed had been longer, and was emptied since.
        let mut state = hand.peer.0.state.lock();
        let remote = state.remote.get_mut(&own).unwrap();
        (remote.told, remote.sent) = (1_000, 1_000);
    }
    hand.withdraw();
    hand.rest();
    hand.show();
    put(&hand.db, "second");
    let said = hand.rest();
    assert!(said.iter().any(|event| matches!(event, Said::Have(state) if state.feed == own)), "{said:?}");
}

#[test]
fn what_there_was_no_room_for_is_offered_when_there_is() {
    // Feeds of databases take half of the room, databases all of it.
    for (limit, has_database) in [(DATABASE_TOPICS, false), (MAX_TOPICS, true)] {
        let stores = [memory(), memory()];
        let [here, there] = &stores;
        let db = open(there, "x", None);
        put(&db, "first");
        let key = key_of(&db);
        db.close().wait().unwrap();
        let database = has_database.then(|| open(here, "x", Some(key)));
        let feed = here.feed(FeedChoice::Key(key)).wait().unwrap();
        feed.want(0, 1).unwrap();
        let ends = connect(here, there);
        rest(&ends, &stores);
        let dummies: Vec<Topic> = (ends[1].0.state.lock().session.offered()..limit)
            .map(|number| {
                let mut key = [0xdd; 32];
                key[..8].copy_from_slice(&number.to_be_bytes());
                Topic { kind: TopicKind::Feed, key: FeedKey(key) }
            })
            .collect();
        ends[1].0.state.lock().session.offer(&dummies).unwrap();
        let _db = open(there, "x", None);
        let came = || database.as_ref().map_or_else(|| feed.has_all(0, 1).unwrap(), |db| has(db, "first"));
        rest(&ends, &stores);
        ends[1].tick();
        rest(&ends, &stores);
        assert!(!came(), "there is no room");
        ends[1].let_go(None, &dummies[..9]);
        ends[1].tick();
        carry_until(&ends, came);
        assert_eq!([failure(&ends[0]), failure(&ends[1])], [None, None]);
    }
}
