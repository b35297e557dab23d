//! What a live connection is about changes: databases and feeds are closed and opened again while it lasts.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test says so by panicking"
)]

mod support;

use multi_hyperbee::db::{
    DatabaseOptions, Db, Event, Feed, FeedChoice, PeerEvent, PeerOptions, Store, Transport,
};
use multi_hyperbee::types::FeedKey;
use std::sync::Arc;
use support::*;

/// A connection of two whole stores.
fn replicate(initiator: &Store, responder: &Store) -> Wire {
    let a = initiator.replicate(options(Transport::Initiator)).unwrap();
    let b = responder.replicate(options(Transport::Responder)).unwrap();
    Wire { a, b }
}

fn named(store: &Store, name: &str, key: Option<FeedKey>) -> Db {
    store.database(DatabaseOptions { key, name: Some(name.into()), ..database() }).wait().unwrap()
}

fn key_of(db: &Db) -> FeedKey {
    db.info().unwrap().key
}

fn local(db: &Db) -> FeedKey {
    db.info().unwrap().local
}

fn have(db: &Db, feed: FeedKey) -> u64 {
    db.progress().unwrap().iter().find(|progress| progress.key == feed).map_or(0, |progress| progress.have)
}

/// Two databases that both stores have, `x` and `y`, each store a writer of both.
struct Two {
    stores: [Store; 2],
    x: [Db; 2],
    y: [Db; 2],
}

impl Two {
    fn new() -> Self {
        let stores = [memory(), memory()];
        let both = |name| {
            let ours = named(&stores[0], name, None);
            let theirs = named(&stores[1], name, Some(key_of(&ours)));
            ours.add_writer(local(&theirs), false).wait().unwrap();
            put(&ours, "first", "{}");
            [ours, theirs]
        };
        let (x, y) = (both("x"), both("y"));
        Self { x, y, stores }
    }

    /// `first`: which of them has opened the connection.
    fn connect(&self, first: usize) -> Wire {
        replicate(&self.stores[first], &self.stores[1 - first])
    }

    /// The first connection has brought everything.
    fn connected(first: usize) -> (Self, Wire) {
        let two = Self::new();
        let wire = two.connect(first);
        carry_until(&[&wire], || {
            [&two.x, &two.y]
                .iter()
                .all(|[_, theirs]| get(theirs, "first").is_some() && theirs.status().unwrap().writable)
        });
        (two, wire)
    }
}

/// Whether anything of a database is spoken of over the connections of its store.
fn is_spoken_of(db: &Db) -> bool {
    db.sync_status().unwrap().peers.iter().any(|peer| !peer.feeds.is_empty())
}

/// Carries until nothing moves.
fn rest(wire: &Wire, stores: &[Store]) {
    let mut quiet = 0;
    while quiet < 3 {
        for store in stores {
            store.settled().wait().unwrap();
        }
        quiet = if wire.carry(usize::MAX) { 0 } else { quiet + 1 };
    }
}

#[test]
fn a_database_that_is_closed_is_withdrawn_and_goes_on_when_it_is_opened_again() {
    for (first, closing) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let (two, wire) = Two::connected(first);
        let staying = 1 - closing;
        two.x[closing].close().wait().unwrap();
        carry_until(&[&wire], || !is_spoken_of(&two.x[staying]));
        // The other one goes on over the same connection, and of this one nothing is waited for.
        put(&two.x[staying], "while", "{}");
        put(&two.y[staying], "meanwhile", "{}");
        carry_until(&[&wire], || get(&two.y[closing], "meanwhile").is_some());
        rest(&wire, &two.stores);
        assert!(!is_spoken_of(&two.x[staying]) && two.x[staying].is_flushed().unwrap());
        let again = named(&two.stores[closing], "x", Some(key_of(&two.x[staying])));
        assert_eq!(get(&again, "while"), None, "nothing of it came while it was closed");
        let news = again.subscribe(Arc::new(|| {})).unwrap();
        carry_until(&[&wire], || get(&again, "while").is_some());
        put(&again, "back", "{}");
        carry_until(&[&wire], || get(&two.x[staying], "back").is_some());
        assert_eq!(again.state_hash().unwrap(), two.x[staying].state_hash().unwrap());
        carry_until(&[&wire], || news.take().iter().any(|event| matches!(event, Event::Synced { .. })));
        // And as often as one likes.
        again.close().wait().unwrap();
        rest(&wire, &two.stores);
        put(&two.x[staying], "once more", "{}");
        let again = named(&two.stores[closing], "x", Some(key_of(&two.x[staying])));
        carry_until(&[&wire], || get(&again, "once more").is_some());
    }
}

#[test]
fn both_ends_may_close_and_open_at_once() {
    for first in [0, 1] {
        let (mut two, wire) = Two::connected(first);
        for round in 0..3 {
            let key = key_of(&two.x[0]);
            for db in &two.x {
                db.close().wait().unwrap();
            }
            if round > 0 {
                wire.carry(7);
            }
            two.x = [0, 1].map(|n| named(&two.stores[n], "x", Some(key)));
            let names = ["a", "b"].map(|side| format!("{side}{round}"));
            for (db, name) in two.x.iter().zip(&names) {
                put(db, name, "{}");
            }
            carry_until(&[&wire], || two.x.iter().all(|db| names.iter().all(|name| get(db, name).is_some())));
        }
        assert_eq!(two.x[0].state_hash().unwrap(), two.x[1].state_hash().unwrap());
    }
}

#[test]
fn what_was_on_its_way_when_a_database_was_closed_is_asked_for_when_it_is_opened_again() {
    for (first, closing) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for carried in [2, 6, 10, 20] {
            let (two, wire) = Two::connected(first);
            let staying = 1 - closing;
            let value = format!(r#"{{"text":"{}"}}"#, "x".repeat(20_000));
            wire.close();
            for n in 0..60 {
                put(&two.x[staying], &format!("k{n}"), &value);
            }
            let wire = two.connect(first);
            for _ in 0..carried {
                // In small pieces, so that it is closed in the middle of an answer.
                for (from, to) in [(&wire.a, &wire.b), (&wire.b, &wire.a)] {
                    if let Some(bytes) = from.pull(16 << 10) {
                        to.receive(&bytes).unwrap();
                    }
                }
            }
            two.x[closing].close().wait().unwrap();
            if carried > 5 {
                rest(&wire, &two.stores);
            }
            let again = named(&two.stores[closing], "x", Some(key_of(&two.x[staying])));
            // Without a tick: nobody waits until somebody was silent for long enough.
            carry_until(&[&wire], || get(&again, "k59").is_some());
            assert_eq!(again.state_hash().unwrap(), two.x[staying].state_hash().unwrap());
        }
    }
}

#[test]
fn a_feed_that_the_other_side_holds_by_itself_goes_on_over_its_own_topic() {
    for (first, closing) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let (two, wire) = Two::connected(first);
        let staying = 1 - closing;
        let written = local(&two.x[staying]);
        // Who closes the database holds one of its feeds by itself too.
        let feed = two.stores[closing].feed(FeedChoice::Key(written)).wait().unwrap();
        rest(&wire, &two.stores);
        two.x[closing].close().wait().unwrap();
        rest(&wire, &two.stores);
        let reach = have(&two.x[staying], written);
        put(&two.x[staying], "more", "{}");
        assert_eq!(have(&two.x[staying], written), reach + 1);
        feed.want(reach, reach + 1).unwrap();
        carry_until(&[&wire], || feed.has_all(reach, reach + 1).unwrap());
        let again = named(&two.stores[closing], "x", Some(key_of(&two.x[staying])));
        carry_until(&[&wire], || get(&again, "more").is_some());
        // When that is closed too, what is left is the database's.
        feed.close();
        put(&two.x[staying], "last", "{}");
        carry_until(&[&wire], || get(&again, "last").is_some());
    }
}

#[test]
fn a_feed_is_withdrawn_when_nothing_that_is_open_has_it() {
    for first in [0, 1] {
        let stores = [memory(), memory()];
        let ours = stores[0].feed(FeedChoice::Name("raw".into())).wait().unwrap();
        ours.append(vec![b"one".to_vec()]).wait().unwrap();
        let open = || stores[1].feed(FeedChoice::Key(ours.key())).wait().unwrap();
        let theirs = open();
        let wire = replicate(&stores[first], &stores[1 - first]);
        let wanted = |feed: &Feed, seq: u64| {
            feed.want(seq, seq + 1).unwrap();
            carry_until(&[&wire], || feed.has_all(seq, seq + 1).unwrap());
        };
        wanted(&theirs, 0);
        let spoken_of =
            || stores[0].status().unwrap().peers.iter().map(|peer| peer.feeds.len()).sum::<usize>();
        assert_eq!(spoken_of(), 1);
        theirs.close();
        carry_until(&[&wire], || spoken_of() == 0);
        ours.append(vec![b"two".to_vec()]).wait().unwrap();
        rest(&wire, &stores);
        let theirs = open();
        assert!(!theirs.has_all(1, 2).unwrap());
        wanted(&theirs, 1);
    }
}

#[test]
fn a_connection_that_is_not_live_ends_though_what_it_was_about_is_closed_meanwhile() {
    for (first, closing) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for carried in [0, 1, 2, 3, 5, 9] {
            let (two, wire) = Two::connected(first);
            wire.close();
            let once = |transport| PeerOptions { live: false, ..options(transport) };
            let wire = Wire {
                a: two.stores[first].replicate(once(Transport::Initiator)).unwrap(),
                b: two.stores[1 - first].replicate(once(Transport::Responder)).unwrap(),
            };
            for _ in 0..carried {
                for (from, to) in [(&wire.a, &wire.b), (&wire.b, &wire.a)] {
                    if let Some(bytes) = from.pull(100) {
                        to.receive(&bytes).unwrap();
                    }
                }
            }
            two.x[closing].close().wait().unwrap();
            two.y[closing].close().wait().unwrap();
            let mut ends = [false; 2];
            carry_until(&[&wire], || {
                let (a, b) = wire.events();
                ends[0] |= a.contains(&PeerEvent::Finished);
                ends[1] |= b.contains(&PeerEvent::Finished);
                ends == [true; 2]
            });
        }
    }
}

/// Feeds that the initiator's connection has looked at.
fn looked(store: &Store) -> u64 {
    store.status().unwrap().peers.iter().map(|peer| peer.looked).sum()
}

#[test]
fn a_burst_of_closed_databases_costs_one_walk_over_their_feeds() {
    const DATABASES: usize = 12;
    const FEEDS: usize = 30;
    let cost = |one_by_one: bool| {
        let stores = [memory(), memory()];
        let ours: Vec<Db> = (0..DATABASES).map(|n| named(&stores[0], &format!("db {n}"), None)).collect();
        for (n, db) in ours.iter().enumerate() {
            for feed in 0..FEEDS {
                let mut writer = [1; 32];
                writer[0] = u8::try_from(n).unwrap();
                writer[1] = u8::try_from(feed).unwrap();
                db.add_peer(FeedKey(writer)).wait().unwrap();
            }
        }
        let theirs: Vec<Db> = ours
            .iter()
            .enumerate()
            .map(|(n, db)| named(&stores[1], &format!("db {n}"), Some(key_of(db))))
            .collect();
        let wire = replicate(&stores[0], &stores[1]);
        carry_until(&[&wire], || ours.iter().all(is_spoken_of));
        rest(&wire, &stores);
        let before = looked(&stores[0]);
        for db in &theirs {
            db.close().wait().unwrap();
            if one_by_one {
                rest(&wire, &stores);
            }
        }
        rest(&wire, &stores);
        assert!(!ours.iter().any(is_spoken_of));
        looked(&stores[0]) - before
    };
    let all = (DATABASES * (FEEDS + 2)) as u64;
    for one_by_one in [false, true] {
        let cost = cost(one_by_one);
        println!("one by one: {one_by_one}; {cost} looks, {all} feeds");
        assert!(cost >= all / 2 && cost <= 4 * all, "{cost} looks, {all} feeds");
    }
}
