//! What a live connection is about changes: databases and feeds are closed and opened again while it lasts.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test says so by panicking"
)]

use crate::support::fork::{Forked, forked};
use crate::support::topics::*;
use crate::support::*;
use multi_hyperbee::db::{
    Db, Event, Feed, FeedChoice, Location, Peer, PeerEvent, PeerOptions, Store, StoreOptions, Transport,
};
use multi_hyperbee::types::FeedKey;
use std::sync::Arc;

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
        Self { stores, x, y }
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

/// A process has room for so many stores: a connection that is not closed keeps its own.
fn close(two: &Two) {
    for store in &two.stores {
        store.close().wait().unwrap();
    }
}

/// Whether anything of a database is spoken of over the connections of its store.
fn is_spoken_of(db: &Db) -> bool {
    db.sync_status().unwrap().peers.iter().any(|peer| !peer.feeds.is_empty())
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
            close(&two);
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

/// A connection whose bytes may be carried one at a time.
fn attached(initiator: &Store, responder: &Store) -> Wire {
    let end = |store: &Store, initiator| {
        store.replicate(options(Transport::Attached { initiator, handshake_hash: [4; 64] })).unwrap()
    };
    Wire { a: end(initiator, true), b: end(responder, false) }
}

/// Carries until something was said to `to`, and no byte more; the answers all.
fn carry_until_said(from: &Peer, to: &Peer, event: &PeerEvent) {
    for _ in 0..1_000_000 {
        while let Some(bytes) = to.pull(1 << 16) {
            from.receive(&bytes).unwrap();
        }
        match from.pull(1) {
            Some(byte) => drop(to.receive(&byte).unwrap()),
            None => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
        if to.take_events().contains(event) {
            return;
        }
    }
    panic!("{event:?} was never said");
}

#[test]
fn a_stale_copy_of_an_own_feed_says_nothing_new_before_a_connection_has_shown_all_its_topics() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let open = |name: &str| Store::open(&Location::Path(path(name)), &StoreOptions::default()).unwrap();
    let original = open("original");
    let (x, y) = (named(&original, "x", None), named(&original, "y", None));
    let (key, own) = (key_of(&x), local(&y));
    // One has the database, the other one only its feed, and another database that is shared too.
    let [near, far] = [memory(), memory()];
    let near_y = named(&near, "y", Some(own));
    let _far_x = named(&far, "x", Some(key));
    let other = named(&far, "other", None);
    other.add_peer(own).wait().unwrap();
    put(&y, "early", "{}");
    let wires = [replicate(&original, &near), replicate(&far, &original)];
    carry_until(&[&wires[0], &wires[1]], || {
        get(&near_y, "early").is_some() && have(&other, own) == have(&y, own)
    });
    wires.iter().for_each(Wire::close);
    original.close().wait().unwrap();
    std::fs::create_dir(path("copy")).unwrap();
    std::fs::copy(path("original").join("data.mdb"), path("copy").join("data.mdb")).unwrap();
    let original = open("original");
    let (_x, y) = (named(&original, "x", None), named(&original, "y", None));
    put(&y, "later", "{}");
    let wire = replicate(&far, &original);
    carry_until(&[&wire], || have(&other, own) == have(&y, own));
    wire.close();
    original.close().wait().unwrap();
    let copy = open("copy");
    let (_x, y) = (named(&copy, "x", None), named(&copy, "y", None));
    let news = y.subscribe(Arc::new(|| {})).unwrap();
    let near_wire = replicate(&copy, &near);
    rest(&near_wire, &[copy.clone(), near.clone()]);
    let far_wire = attached(&far, &copy);
    // The topic that both have is open, and all is said of it; the feed is shown with the next message.
    carry_until_said(&far_wire.a, &far_wire.b, &PeerEvent::RemoteFeeds);
    put(&y, "new", "{}");
    rest(&near_wire, &[copy.clone(), near.clone()]);
    assert_eq!(get(&near_y, "new"), None);
    carry_until(&[&near_wire, &far_wire], || ["later", "new"].iter().all(|key| get(&near_y, key).is_some()));
    assert!(!news.take().iter().any(|event| matches!(event, Event::Fork { .. })));
}

#[test]
fn a_feed_that_one_side_has_added_is_offered_beside_the_database_that_both_have() {
    for first in [0, 1] {
        let (two, wire) = Two::connected(first);
        // Who has the feed has it apart from the database, and does not speak of it there.
        let add = |name: &str| {
            let feed = two.stores[1].feed(FeedChoice::Name(name.into())).wait().unwrap();
            feed.append(vec![b"block".to_vec()]).wait().unwrap();
            two.x[0].add_peer(feed.key()).wait().unwrap();
            feed
        };
        let live = add("while they are connected");
        carry_until(&[&wire], || have(&two.x[0], live.key()) == 1);
        wire.close();
        let before = add("before they are");
        let wire = two.connect(first);
        carry_until(&[&wire], || have(&two.x[0], before.key()) == 1);
    }
}

#[test]
fn who_has_nothing_to_show_says_so_and_a_connection_that_is_not_live_ends() {
    for empty in [0, 1] {
        let stores = [memory(), memory()];
        let _db = create(&stores[1 - empty]);
        let once = |store: &Store, transport| {
            store.replicate(PeerOptions { live: false, ..options(transport) }).unwrap()
        };
        let wire =
            Wire { a: once(&stores[0], Transport::Initiator), b: once(&stores[1], Transport::Responder) };
        let mut ends = [false; 2];
        carry_until(&[&wire], || {
            let (a, b) = wire.events();
            ends[0] |= a.contains(&PeerEvent::Finished);
            ends[1] |= b.contains(&PeerEvent::Finished);
            ends == [true; 2]
        });
    }
}

#[test]
fn synced_is_said_when_all_topics_were_shown() {
    let (two, wire) = Two::connected(0);
    wire.close();
    let feed = two.stores[0].feed(FeedChoice::Name("raw".into())).wait().unwrap();
    feed.append(vec![b"block".to_vec()]).wait().unwrap();
    let other = named(&two.stores[0], "other", None);
    other.add_peer(feed.key()).wait().unwrap();
    feed.close();
    let held = two.stores[1].feed(FeedChoice::Key(feed.key())).wait().unwrap();
    let wire = attached(&two.stores[0], &two.stores[1]);
    carry_until_said(&wire.a, &wire.b, &PeerEvent::Synced);
    let peers = two.stores[1].status().unwrap().peers;
    let theirs = peers.iter().flat_map(|peer| &peer.feeds).find(|feed| feed.key == held.key());
    assert_eq!(theirs.map(|feed| feed.theirs), Some(1), "what is shown last is known too");
}

#[test]
fn who_knows_a_branch_by_its_name_alone_asks_for_it_in_vain_and_goes_on() {
    for first in [0, 1] {
        let Forked { stores, creator, one, other, common, .. } = forked();
        let feed = local(&one);
        let meeting = connect(&creator, &other);
        let length = |key| stores[0].feed(FeedChoice::Key(key)).wait().unwrap().info().unwrap().length;
        let known = [key_of(&creator), feed, local(&other)];
        let mut branch = None;
        carry_until(&[&meeting], || {
            let peers = stores[0].status().unwrap().peers;
            let said = peers.iter().flat_map(|peer| &peer.feeds);
            let mut names = said.map(|feed| feed.key).filter(|key| !known.contains(key));
            branch = names.find(|name| length(*name) > common);
            branch.is_some()
        });
        meeting.close();
        let (branch, length) = (branch.unwrap(), length(branch.unwrap()));
        let stranger = memory();
        let open = |key| stranger.feed(FeedChoice::Key(key)).wait().unwrap();
        let (named, plain) = (open(branch), open(known[0]));
        named.want(0, length).unwrap();
        let ends = [&stores[0], &stranger];
        let wire = replicate(ends[first], ends[1 - first]);
        let rested = || rest(&wire, &[stores[0].clone(), stranger.clone()]);
        rested();
        for _ in 0..3 {
            wire.a.tick();
            wire.b.tick();
            rested();
        }
        plain.want(0, 1).unwrap();
        carry_until(&[&wire], || plain.has_all(0, 1).unwrap());
        let (a, b) = wire.events();
        let failed: Vec<_> =
            a.into_iter().chain(b).filter(|event| matches!(event, PeerEvent::Failed(_))).collect();
        assert_eq!(failed, []);
        assert!(!named.has_all(length - 1, length).unwrap());
    }
}

fn failures(wire: &Wire) -> Vec<PeerEvent> {
    let (a, b) = wire.events();
    a.into_iter().chain(b).filter(|event| matches!(event, PeerEvent::Failed(_))).collect()
}

#[test]
fn a_connection_for_one_database_lasts_while_the_other_side_closes_it_and_opens_it_again() {
    for (first, closing, both) in [(0, 1, false), (1, 0, true), (0, 0, true)] {
        // Bytes that come before it is closed again: also between the initiator's last Show and its Answer.
        for carried in [0, 1, 3] {
            let (two, wire) = Two::connected(first);
            wire.close();
            let (ours, theirs) = (&two.x[first], &two.stores[1 - first]);
            let b = if both {
                two.x[1 - first].replicate(options(Transport::Responder)).unwrap()
            } else {
                theirs.replicate(options(Transport::Responder)).unwrap()
            };
            let wire = Wire { a: ours.replicate(options(Transport::Initiator)).unwrap(), b };
            let staying = 1 - closing;
            carry_until(&[&wire], || is_spoken_of(&two.x[staying]));
            for turn in 0..carried {
                let (from, to) = if turn % 2 == 0 { (&wire.a, &wire.b) } else { (&wire.b, &wire.a) };
                if let Some(bytes) = from.pull(64 << 10) {
                    to.receive(&bytes).unwrap();
                }
            }
            two.x[closing].close().wait().unwrap();
            rest(&wire, &two.stores);
            assert_eq!(failures(&wire), [], "{first} {closing} {both} {carried}");
            put(&two.x[staying], "while", "{}");
            rest(&wire, &two.stores);
            let again = named(&two.stores[closing], "x", Some(key_of(&two.x[staying])));
            carry_until(&[&wire], || get(&again, "while").is_some());
            assert_eq!(failures(&wire), []);
            close(&two);
        }
    }
}

#[test]
fn a_database_that_is_opened_again_costs_one_topic_however_many_feeds_it_has() {
    const FEEDS: u8 = 60;
    for first in [0, 1] {
        let (two, wire) = Two::connected(first);
        for feed in 0..FEEDS {
            let mut writer = [1; 32];
            writer[0] = feed;
            two.x[0].add_writer(FeedKey(writer), false).wait().unwrap();
        }
        carry_until(&[&wire], || two.x.iter().all(|x| x.progress().unwrap().len() >= usize::from(FEEDS)));
        rest(&wire, &two.stores);
        let mut again = None;
        for round in 0..5 {
            match again.take() {
                None => two.x[1 - first].close(),
                Some(db) => Db::close(&db),
            }
            .wait()
            .unwrap();
            rest(&wire, &two.stores);
            let received = || two.stores[first].status().unwrap().peers[0].received;
            let before = received();
            let db = named(&two.stores[1 - first], "x", Some(key_of(&two.x[first])));
            let name = format!("round {round}");
            put(&two.x[first], &name, "{}");
            carry_until(&[&wire], || get(&db, &name).is_some());
            rest(&wire, &two.stores);
            again = Some(db);
            let proofs = (received() - before) / 32;
            println!("round {round}: {} bytes", received() - before);
            assert!(proofs < u64::from(FEEDS) / 2, "round {round}: {} bytes", received() - before);
        }
    }
}

#[test]
fn synced_is_said_of_a_database_that_is_opened_again_when_what_came_meanwhile_is_here() {
    for first in [0, 1] {
        for closing in [0, 1] {
            let (two, wire) = Two::connected(first);
            let staying = 1 - closing;
            // Who closes the database holds one of its feeds by itself.
            let held = two.stores[closing].feed(FeedChoice::Key(local(&two.x[closing]))).wait().unwrap();
            rest(&wire, &two.stores);
            two.x[closing].close().wait().unwrap();
            rest(&wire, &two.stores);
            let stays = two.x[staying].subscribe(Arc::new(|| {})).unwrap();
            put(&two.x[staying], "while", "{}");
            rest(&wire, &two.stores);
            let again = named(&two.stores[closing], "x", Some(key_of(&two.x[staying])));
            let news = again.subscribe(Arc::new(|| {})).unwrap();
            put(&again, "back", "{}");
            let is_synced =
                |events: Vec<Event>| events.iter().any(|event| matches!(event, Event::Synced { .. }));
            let mut told = [false; 2];
            for _ in 0..20_000 {
                for (from, to) in [(&wire.a, &wire.b), (&wire.b, &wire.a)] {
                    match from.pull(16) {
                        Some(bytes) => drop(to.receive(&bytes).unwrap()),
                        None => std::thread::sleep(std::time::Duration::from_micros(50)),
                    }
                    if is_synced(news.take()) {
                        assert!(get(&again, "while").is_some(), "{first} {closing}: too early");
                        told[0] = true;
                    }
                    if is_synced(stays.take()) {
                        assert!(get(&two.x[staying], "back").is_some(), "{first} {closing}: too early");
                        told[1] = true;
                    }
                }
                if told == [true; 2] {
                    break;
                }
            }
            assert_eq!(told, [true; 2], "{first} {closing}");
            drop(held);
            close(&two);
        }
    }
}
