//! A store copied by hand, put back, and written to before it has met anybody: what peers have comes first, and what was
//! written comes again after it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test says so by panicking"
)]

use crate::apply_support::{Applier, create_apply, join_apply, settle};
use crate::support::{Wire, carry_until, connect, create, del, edit, get, join, options, put, put_write};
use multi_hyperbee::db::{
    Append, Committed, DatabaseOptions, Db, Done, DoneBatch, Event, FeedChoice, Keep, Location, Next, Store,
    StoreOptions, Subscription, Transport, Write,
};
use multi_hyperbee::types::FeedKey;
use std::path::Path;
use std::sync::Arc;
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

fn put_one(db: &Db, key: &str) {
    put(db, key, "{}");
}

/// `early` before the copy is made; `later` by the original afterwards.
fn copied(early: impl Fn(&Db), later: impl Fn(&Db)) -> Copied {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir.path().join("original"));
    let a = create(&first);
    let second = crate::support::memory();
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
fn it_comes_again_though_the_store_was_closed_before_contact() {
    let Copied { copy, peer, _dir: dir, stores } = copied(|a| put_one(a, "early"), |a| put_one(a, "later"));
    put_one(&copy, "new");
    copy.close().wait().unwrap();
    stores[1].close().wait().unwrap();
    // Nothing of the own feed is in memory now, its secret key neither.
    let store = open(&dir.path().join("copy"));
    let copy = create(&store);
    sync(&copy, &peer);
    for key in ["early", "later", "new"] {
        assert!(get(&copy, key).is_some() && get(&peer, key).is_some(), "{key}");
    }
}

#[test]
fn a_contradicting_peer_that_is_shorter_or_as_long_is_found_too() {
    for count in 1..4 {
        let Copied { copy, peer, _dir, stores: _stores } =
            copied(|a| written(a, &[("k", "{}")]), |a| written(a, &[("l", "{}"), ("m", "{}")]));
        for n in 0..count {
            put(&copy, &format!("mine/{n}"), "{}");
        }
        let heard = events(&[&copy, &peer]);
        sync(&copy, &peer);
        assert_eq!(forks(&heard), 0);
        for n in 0..count {
            assert!(get(&peer, &format!("mine/{n}")).is_some());
        }
        assert!(get(&copy, "m").is_some());
    }
}

#[test]
fn grants_that_never_left_are_made_again() {
    let third = crate::support::memory();
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
    let third = crate::support::memory();
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
    let third = crate::support::memory();
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

/// As [`copied`], in apply mode. `original` writes while the copy lies aside, and only `peers[0]` hears of that. All of
/// them are writers, those of `indexers` indexers too.
struct CopiedApply {
    dir: TempDir,
    copy: Applier,
    peers: Vec<Applier>,
    /// The peers', then the copy's.
    stores: Vec<Store>,
}

fn copied_apply(indexers: &[bool], later: impl Fn(&Applier)) -> CopiedApply {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&dir.path().join("original"));
    let a = create_apply(&first);
    let mut stores: Vec<Store> = indexers.iter().map(|_| crate::support::memory()).collect();
    let peers: Vec<Applier> = stores.iter().map(|store| join_apply(store, a.local())).collect();
    for (peer, is_indexer) in peers.iter().zip(indexers) {
        a.append(&[&format!("add {}{}", peer.local(), if *is_indexer { " indexer" } else { "" })]);
    }
    a.append(&["log all 0"]);
    for peer in &peers {
        sync_apply(&a, peer);
    }
    a.db.close().wait().unwrap();
    first.close().wait().unwrap();
    let to = dir.path().join("copy");
    std::fs::create_dir(&to).unwrap();
    std::fs::copy(dir.path().join("original/data.mdb"), to.join("data.mdb")).unwrap();
    let first = open(&dir.path().join("original"));
    let a = create_apply(&first);
    later(&a);
    sync_apply(&a, &peers[0]);
    a.db.close().wait().unwrap();
    first.close().wait().unwrap();
    stores.push(open(&to));
    let copy = create_apply(stores.last().unwrap());
    CopiedApply { dir, copy, peers, stores }
}

fn says(applier: &Applier, text: &str) {
    applier.append(&[text]);
}

fn sync_apply(a: &Applier, b: &Applier) {
    let wire = connect(&a.db, &b.db);
    let heads = |one: &Applier| -> Vec<(FeedKey, u64, u64)> {
        let progress = one.db.progress().unwrap().into_iter();
        progress.map(|feed| (feed.key, feed.have, feed.placed)).collect()
    };
    carry_until(&[&wire], || {
        settle(&[a, b]);
        a.db.is_flushed().unwrap()
            && b.db.is_flushed().unwrap()
            && heads(a) == heads(b)
            && a.view() == b.view()
    });
    wire.close();
}

/// The latest of the events that tell what is no longer final.
fn moved(subscription: &Subscription) -> Option<(FeedKey, u64)> {
    let moved = |event| match event {
        Event::Moved { feed, length } => Some((feed, length)),
        _ => None,
    };
    subscription.take().into_iter().filter_map(moved).next_back()
}

fn whole(stores: &[Store]) {
    for store in stores {
        let report = store.verify(|_| ()).wait().unwrap();
        assert!(report.is_clean(), "{:?}", report.damages);
    }
}

#[test]
fn a_sequence_is_taken_back_and_what_was_final_alone_comes_again() {
    let CopiedApply { copy, peers, stores, dir: _dir } = copied_apply(&[false], |a| {
        says(a, "log all 1");
        says(a, "log all 2");
    });
    let peer = &peers[0];
    // The only indexer: all it says is final at once.
    copy.append(&["log all 3", "put k v"]);
    copy.append(&[&format!("add {}", FeedKey([9; 32]))]);
    copy.append(&["log all 4"]);
    assert_eq!(copy.get("all").as_deref(), Some("034"));
    let finality = copy.db.finality().unwrap();
    assert_eq!((finality.length, finality.placed), (6, 6));
    let writers = copy.db.members().unwrap().len();
    let heard = [copy.db.subscribe(Arc::new(|| {})).unwrap(), peer.db.subscribe(Arc::new(|| {})).unwrap()];
    let told = copy.db.subscribe(Arc::new(|| {})).unwrap();
    sync_apply(&copy, peer);
    assert_eq!(moved(&told), Some((copy.local(), 3)));
    assert_eq!(forks(&heard), 0);
    for one in [&copy, peer] {
        assert_eq!(one.get("all").as_deref(), Some("01234"));
        assert_eq!(one.get("k").as_deref(), Some("v"));
        assert_eq!(one.db.finality().unwrap().length, 8);
        assert_eq!(one.db.members().unwrap().len(), writers);
    }
    assert_eq!(copy.db.state_hash().unwrap(), peer.db.state_hash().unwrap());
    whole(&stores);
    // And on it goes, in both directions.
    copy.append(&["log all 5"]);
    sync_apply(&copy, peer);
    peer.append(&["log all 6"]);
    sync_apply(&copy, peer);
    assert_eq!(copy.get("all").as_deref(), Some("0123456"));
}

#[test]
fn a_sequence_whose_old_versions_are_gone_is_taken_back_to_nothing_and_applied_anew() {
    let CopiedApply { copy, peers, stores, dir: _dir } = copied_apply(&[false], |a| says(a, "log all 1"));
    let peer = &peers[0];
    copy.append(&["log all 2", "put k v"]);
    copy.append(&["del k", "put l v"]);
    let done = copy.db.compact(Some(Keep::Versions(1)), |_| ()).wait().unwrap();
    assert_eq!(done.oldest, copy.db.status().unwrap().version, "all of it is final here");
    let told = copy.db.subscribe(Arc::new(|| {})).unwrap();
    sync_apply(&copy, peer);
    assert_eq!(moved(&told), Some((copy.local(), 0)));
    for one in [&copy, peer] {
        assert_eq!(one.get("all").as_deref(), Some("012"));
        assert_eq!((one.get("k"), one.get("l").as_deref()), (None, Some("v")));
    }
    assert_eq!(copy.view(), peer.view());
    assert_eq!(copy.db.finality().unwrap(), peer.db.finality().unwrap());
    assert_eq!(copy.db.state_hash().unwrap(), peer.db.state_hash().unwrap());
    whole(&stores);
}

#[test]
fn what_was_final_on_the_word_of_what_is_withdrawn_is_so_no_more() {
    // A peer's entry stands between what the original wrote and what its copy does; the copy's heard it, and that made
    // it final. What the original wrote moves it.
    let CopiedApply { copy, peers, stores, dir: _dir } =
        copied_apply(&[false, true], |a| says(a, "log all 1"));
    let [knows, other] = peers.as_slice() else { panic!("two peers") };
    other.append(&["log all 2"]);
    sync_apply(&copy, other);
    assert_eq!(copy.get("all").as_deref(), Some("02"));
    let before = copy.db.finality().unwrap();
    assert_eq!(before.waiting_for, [copy.local()]);
    copy.append(&["log all 3"]);
    let length = copy.db.finality().unwrap().length;
    assert!(length > before.length);
    let told = copy.db.subscribe(Arc::new(|| {})).unwrap();
    sync_apply(&copy, knows);
    let (feed, left) = moved(&told).unwrap();
    assert_eq!((feed, left), (copy.local(), before.length));
    sync_apply(&copy, other);
    sync_apply(&copy, knows);
    for one in [&copy, knows, other] {
        assert_eq!(one.get("all").as_deref(), Some("0123"));
    }
    assert_eq!(copy.db.finality().unwrap(), knows.db.finality().unwrap());
    assert!(copy.db.finality().unwrap().length > length);
    whole(&stores);
}

#[test]
fn what_apply_was_handed_before_is_not_committed_and_not_lost() {
    let CopiedApply { copy, peers, stores, dir: _dir } = copied_apply(&[false], |a| says(a, "log all 1"));
    copy.append(&["log all 2"]);
    let append = Append { optimistic: false, values: vec![b"log all 3".to_vec()] };
    let Next::Piece(piece) = copy.db.stage(vec![append]).wait().unwrap().next else { panic!("staged") };
    let wire = connect(&copy.db, &peers[0].db);
    // Nobody applies here meanwhile: a step would end what was handed out.
    carry_until(&[&wire], || {
        peers[0].drain(true);
        peers[0].get("all").as_deref() == Some("012")
    });
    // Until the wave is through, readers see what they saw.
    assert_eq!(copy.get("all").as_deref(), Some("02"));
    let wrong =
        DoneBatch { writes: vec![(b"all".to_vec(), Some(b"wrong".to_vec()))], ..DoneBatch::default() };
    let done = Done { generation: piece.generation, batches: vec![wrong] };
    let step = copy.db.apply_step(true, Some(done)).wait().unwrap();
    assert_eq!((step.committed, step.appended.len()), (Committed::Stale, 1));
    wire.close();
    sync_apply(&copy, &peers[0]);
    assert_eq!(copy.get("all").as_deref(), Some("0123"));
    whole(&stores);
}

#[test]
fn a_piece_of_a_peers_is_not_committed_once_it_hangs_on_what_was_withdrawn() {
    let CopiedApply { copy, peers, stores, dir: _dir } =
        copied_apply(&[false, false], |a| says(a, "log all 1"));
    let [knows, other] = peers.as_slice() else { panic!("two peers") };
    other.append(&["log all 3"]);
    let wire = connect(&copy.db, &other.db);
    carry_until(&[&wire], || have(&copy.db, other.local()) == 1);
    wire.close();
    copy.append(&["log all 2"]);
    let Next::Piece(piece) = copy.db.apply_step(true, None).wait().unwrap().next else { panic!("a piece") };
    let wire = connect(&copy.db, &knows.db);
    carry_until(&[&wire], || have(&copy.db, copy.local()) == 6);
    wire.close();
    let wrong =
        DoneBatch { writes: vec![(b"all".to_vec(), Some(b"wrong".to_vec()))], ..DoneBatch::default() };
    let done = Done { generation: piece.generation, batches: vec![wrong] };
    assert_eq!(copy.db.apply_step(true, Some(done)).wait().unwrap().committed, Committed::Stale);
    for peer in [knows, other, knows] {
        sync_apply(&copy, peer);
    }
    for one in [&copy, knows, other] {
        assert_eq!(one.get("all").map(|all| all.len()), Some(4));
    }
    whole(&stores);
}

#[test]
fn a_sequence_survives_a_restart_between_taking_and_appending_again() {
    let CopiedApply { copy, peers, mut stores, dir } = copied_apply(&[false], |a| {
        for n in 0..40 {
            a.append(&[&format!("put later/{n} {}", "x".repeat(20_000))]);
        }
    });
    copy.append(&["log all 1"]);
    let before = have(&copy.db, copy.local());
    let attached = |initiator| Transport::Attached { initiator, handshake_hash: [1; 64] };
    let wire = Wire {
        a: copy.db.replicate(options(attached(true))).unwrap(),
        b: peers[0].db.replicate(options(attached(false))).unwrap(),
    };
    while have(&copy.db, copy.local()) <= before + 3 {
        while let Some(bytes) = wire.a.pull(1 << 16) {
            wire.b.receive(&bytes).unwrap();
        }
        if let Some(bytes) = wire.b.pull(1 << 12) {
            wire.a.receive(&bytes).unwrap();
        }
        stores[1].settled().wait().unwrap();
    }
    whole(&stores[1..]);
    copy.drain(true);
    assert_eq!(copy.get("all").as_deref(), Some("0"));
    assert!(copy.get("later/0").is_some());
    wire.close();
    copy.db.close().wait().unwrap();
    let store = stores.pop().unwrap();
    store.close().wait().unwrap();
    stores.push(open(&dir.path().join("copy")));
    let copy = create_apply(&stores[1]);
    let refused = copy.append_with(vec![b"log all 9".to_vec()], false).unwrap_err();
    assert_eq!(refused.code, multi_hyperbee::db::Code::Restored);
    sync_apply(&copy, &peers[0]);
    for one in [&copy, &peers[0]] {
        assert_eq!(one.get("all").as_deref(), Some("01"));
        assert!(one.get("later/39").is_some());
    }
    whole(&stores);
}

/// A connection for another database of the same store takes nothing of this one with it.
#[test]
fn what_is_written_while_another_database_alone_is_connected_has_not_left() {
    let Copied { copy, peer, _dir, stores } = copied(|a| put_one(a, "early"), |a| put_one(a, "later"));
    let options = DatabaseOptions { name: Some("another".into()), ..crate::support::database() };
    let another = stores[1].database(options).wait().unwrap();
    let third = crate::support::memory();
    let theirs = join(&third, another.info().unwrap().key);
    put_one(&another, "k");
    let whole = crate::support::options(Transport::Initiator);
    // All of the store is offered, and the other side has that database alone.
    let wire = Wire {
        a: stores[1].replicate(whole).unwrap(),
        b: theirs.replicate(crate::support::options(Transport::Responder)).unwrap(),
    };
    carry_until(&[&wire], || get(&theirs, "k").is_some());
    put_one(&copy, "mine");
    for _ in 0..20 {
        wire.a.tick();
        wire.carry(usize::MAX);
        stores[1].settled().wait().unwrap();
    }
    let heard = events(&[&copy, &peer]);
    let beside = connect(&copy, &peer);
    let mut forked = 0;
    carry_until(&[&wire, &beside], || {
        forked += forks(&heard);
        forked > 0 || get(&peer, "mine").is_some()
    });
    assert_eq!(forked, 0, "nobody had seen it");
    assert!(get(&copy, "later").is_some() && get(&copy, "mine").is_some());
    // And what is written to either while both are connected leaves at once.
    put_one(&copy, "more");
    put_one(&another, "more");
    carry_until(&[&wire, &beside], || get(&peer, "more").is_some() && get(&theirs, "more").is_some());
}
