//! Connections whose room is used up: as after years, or with thousands of databases.

use super::offering::DATABASE_TOPICS;
use super::{Peer, PeerEvent, PeerOptions, Transport};
use crate::db::{Code, DatabaseOptions, Db, Event, Expect, FeedChoice, Location, Store, StoreOptions, Write};
use crate::types::FeedKey;
use crate::wire::limits::MAX_TOPICS;
use crate::wire::{Topic, TopicKind};
use std::sync::Arc;
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
