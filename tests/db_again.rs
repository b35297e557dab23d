//! A store copied by hand, put back, and written to before it has met anybody: what peers have comes first, and what was
//! written comes again after it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

mod support;

use multi_hyperbee::db::{
    Db, Event, FeedChoice, Location, Store, StoreOptions, Subscription, Transport, Write,
};
use multi_hyperbee::types::FeedKey;
use std::path::Path;
use std::sync::Arc;
use support::{Wire, carry_until, connect, create, del, edit, get, join, options, put, put_write};
use tempfile::TempDir;

fn open(dir: &Path) -> Store {
    Store::open(&Location::Path(dir.to_owned()), &StoreOptions::default()).unwrap()
}

fn local(db: &Db) -> FeedKey {
    db.info().unwrap().local
}

fn have(db: &Db, feed: FeedKey) -> u64 {
    db.progress().unwrap().iter().find(|progress| progress.key == feed).map_or(0, |progress| progress.have)
}

fn sync(a: &Db, b: &Db) {
    let wire = connect(a, b);
    let (one, two) = (local(a), local(b));
    carry_until(&[&wire], || {
        a.is_flushed().unwrap()
            && b.is_flushed().unwrap()
            && have(a, one) == have(b, one)
            && have(a, two) == have(b, two)
            && a.state_hash().unwrap() == b.state_hash().unwrap()
    });
    wire.close();
}

fn events(dbs: &[&Db]) -> Vec<Subscription> {
    dbs.iter().map(|db| db.subscribe(Arc::new(|| {})).unwrap()).collect()
}

fn forks(subscriptions: &[Subscription]) -> usize {
    subscriptions.iter().flat_map(Subscription::take).filter(|e| matches!(e, Event::Fork { .. })).count()
}

/// The creator's store went on after it was copied, and all of that is known to a peer.
struct Copied {
    _dir: TempDir,
    copy: Db,
    peer: Db,
    stores: Vec<Store>,
}

fn written(db: &Db, pairs: &[(&str, &str)]) {
    for (key, value) in pairs {
        put(db, key, value);
    }
}

/// `early` before the copy is made; `later` by the original afterwards.
fn copied(early: impl Fn(&Db), later: impl Fn(&Db)) -> Copied {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir.path().join("original"));
    let a = create(&first);
    let second = support::memory();
    let peer = join(&second, a.info().unwrap().key);
    a.add_writer(local(&peer), false).wait().unwrap();
    early(&a);
    sync(&a, &peer);
    a.close().wait().unwrap();
    first.close().wait().unwrap();
    let to = dir.path().join("copy");
    std::fs::create_dir(&to).unwrap();
    std::fs::copy(dir.path().join("original/data.mdb"), to.join("data.mdb")).unwrap();
    let first = open(&dir.path().join("original"));
    let a = create(&first);
    later(&a);
    sync(&a, &peer);
    a.close().wait().unwrap();
    first.close().wait().unwrap();
    let third = open(&to);
    let copy = create(&third);
    Copied { _dir: dir, copy, peer, stores: vec![second, third] }
}

#[test]
fn what_was_written_before_contact_comes_again_after_what_had_left() {
    let Copied { copy, peer, _dir, stores: _stores } = copied(
        |a| written(a, &[("k", r#"{"list":["a"],"n":1}"#)]),
        |a| {
            put(a, "later", r#"{"n":1}"#);
            put(a, "k", r#"{"list":["a","b"],"n":1}"#);
        },
    );
    // Each names what the one before it made: elements, and what was made against what.
    put(&copy, "new", r#"{"list":["x","y"]}"#);
    edit(&copy, "new", |text| text.replace(r#""x""#, r#""w","x""#));
    edit(&copy, "new", |text| text.replace(r#","y""#, ""));
    put(&copy, "k", r#"{"list":["a","c"],"n":1}"#);
    del(&copy, "k");
    put(&copy, "k", r#"{"again":true}"#);
    let batch = vec![put_write("batch/1", r#"{"l":[1]}"#), put_write("batch/2", "{}")];
    copy.write(vec![Write::Batch(batch)]).wait().unwrap().remove(0).unwrap();
    let before: Vec<_> = ["new", "k", "batch/1", "batch/2"].map(|key| get(&copy, key)).to_vec();
    let mine = have(&copy, local(&copy));
    let heard = events(&[&copy, &peer]);
    sync(&copy, &peer);
    assert_eq!(forks(&heard), 0);
    for db in [&copy, &peer] {
        assert_eq!(get(db, "later").as_deref(), Some(r#"{"n":1}"#));
        let after: Vec<_> = ["new", "k", "batch/1", "batch/2"].map(|key| get(db, key)).to_vec();
        assert_eq!(after, before);
    }
    assert_eq!(have(&peer, local(&copy)), mine + 2);
    // And on it goes, in both directions.
    put(&copy, "on", "{}");
    edit(&peer, "new", |text| text.replace(r#""x""#, r#""x","z""#));
    sync(&copy, &peer);
    assert_eq!(get(&copy, "new").as_deref(), Some(r#"{"list":["w","x","z"]}"#));
}

#[test]
fn a_contradicting_peer_that_is_shorter_or_as_long_is_found_too() {
    for written in 1..4 {
        let Copied { copy, peer, _dir, stores: _stores } =
            copied(|a| written(a, &[("k", "{}")]), |a| written(a, &[("l", "{}"), ("m", "{}")]));
        for n in 0..written {
            put(&copy, &format!("mine/{n}"), "{}");
        }
        let heard = events(&[&copy, &peer]);
        sync(&copy, &peer);
        assert_eq!(forks(&heard), 0);
        for n in 0..written {
            assert!(get(&peer, &format!("mine/{n}")).is_some());
        }
        assert!(get(&copy, "m").is_some());
    }
}

#[test]
fn grants_that_never_left_are_made_again() {
    let third = support::memory();
    let Copied { copy, peer, _dir, stores: _stores } =
        copied(|a| written(a, &[("k", "{}")]), |a| written(a, &[("l", "{}")]));
    let c = join(&third, copy.info().unwrap().key);
    copy.add_writer(local(&c), false).wait().unwrap();
    put(&copy, "mine", "{}");
    sync(&copy, &peer);
    sync(&peer, &c);
    put(&c, "by c", "{}");
    sync(&c, &peer);
    assert!(get(&peer, "by c").is_some());
    assert!(get(&c, "mine").is_some());
}

#[test]
fn it_survives_a_restart_between_taking_and_appending_again() {
    let Copied { copy, peer, _dir: dir, stores } = copied(
        |a| written(a, &[("k", "{}")]),
        |a| {
            for n in 0..40 {
                put(a, &format!("later/{n}"), &format!(r#"{{"text":"{}"}}"#, "x".repeat(20_000)));
            }
        },
    );
    put(&copy, "mine", r#"{"n":1}"#);
    let before = have(&copy, local(&copy));
    let attached = |initiator| Transport::Attached { initiator, handshake_hash: [1; 64] };
    let wire = Wire {
        a: copy.replicate(options(attached(true))).unwrap(),
        b: peer.replicate(options(attached(false))).unwrap(),
    };
    // Little by little, until some of the peer's is here and some is not.
    while have(&copy, local(&copy)) <= before + 3 {
        while let Some(bytes) = wire.a.pull(1 << 16) {
            wire.b.receive(&bytes).unwrap();
        }
        if let Some(bytes) = wire.b.pull(1 << 12) {
            wire.a.receive(&bytes).unwrap();
        }
        stores[1].settled().wait().unwrap();
    }
    assert!(have(&copy, local(&copy)) < have(&peer, local(&copy)));
    assert_eq!(get(&copy, "mine"), None);
    wire.close();
    copy.close().wait().unwrap();
    stores[1].close().wait().unwrap();
    let store = open(&dir.path().join("copy"));
    let copy = create(&store);
    let refused = copy.write(vec![put_write("too early", "{}")]).wait().unwrap().remove(0).unwrap_err();
    assert_eq!(refused.code, multi_hyperbee::db::Code::Restored);
    sync(&copy, &peer);
    for db in [&copy, &peer] {
        assert_eq!(get(db, "mine").as_deref(), Some(r#"{"n":1}"#));
        assert!(get(db, "later/39").is_some());
    }
}

#[test]
fn what_was_written_while_a_peer_still_shows_more_does_not_leave() {
    let Copied { copy, peer, _dir, stores } = copied(
        |a| written(a, &[("k", "{}")]),
        |a| {
            for n in 0..10 {
                put(a, &format!("later/{n}"), "{}");
            }
        },
    );
    let third = support::memory();
    let other = join(&third, copy.info().unwrap().key);
    // The vector of the peer is here, and no block yet.
    let wire = connect(&copy, &peer);
    let heads =
        || copy.progress().unwrap().iter().any(|feed| feed.key == local(&copy) && feed.want > feed.have);
    while !heads() {
        while let Some(bytes) = wire.a.pull(1 << 16) {
            wire.b.receive(&bytes).unwrap();
        }
        if let Some(bytes) = wire.b.pull(64) {
            wire.a.receive(&bytes).unwrap();
        }
    }
    put(&copy, "between", r#"{"n":1}"#);
    stores[1].settled().wait().unwrap();
    let beside = connect(&copy, &other);
    for _ in 0..50 {
        beside.carry(usize::MAX);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(have(&other, local(&copy)), 0);
    let heard = events(&[&copy, &peer, &other]);
    carry_until(&[&wire, &beside], || {
        get(&other, "between").is_some()
            && get(&peer, "between").is_some()
            && get(&other, "later/9").is_some()
    });
    assert_eq!(forks(&heard), 0);
}

#[test]
fn raw_feeds_come_again_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("one");
    let first = open(&path);
    let raw = first.feed(FeedChoice::Name("raw".into())).wait().unwrap();
    raw.append(vec![vec![0]]).wait().unwrap();
    let key = raw.key();
    first.close().wait().unwrap();
    let to = dir.path().join("two");
    std::fs::create_dir(&to).unwrap();
    std::fs::copy(path.join("data.mdb"), to.join("data.mdb")).unwrap();
    let [first, second] = [&path, &to].map(|path| open(path));
    let third = support::memory();
    let dbs: Vec<Db> = [&first, &second, &third].map(create).to_vec();
    for db in &dbs {
        db.add_peer(key).wait().unwrap();
    }
    let append = |store: &Store, block: u8| {
        let feed = store.feed(FeedChoice::Name("raw".into())).wait().unwrap();
        feed.append(vec![vec![block]]).wait().unwrap();
    };
    append(&first, 1);
    let wire = connect(&dbs[0], &dbs[2]);
    carry_until(&[&wire], || have(&dbs[2], key) == 2);
    wire.close();
    append(&second, 2);
    let wire = connect(&dbs[1], &dbs[2]);
    carry_until(&[&wire], || have(&dbs[2], key) == 3);
    let feed = third.feed(FeedChoice::Key(key)).wait().unwrap();
    let blocks: Vec<_> = (0..3).map(|seq| feed.get(seq).unwrap().unwrap()).collect();
    assert_eq!(blocks, [[0], [1], [2]]);
}
