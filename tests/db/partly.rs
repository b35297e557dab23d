//! A feed of which a device has only a part goes on to others as far as it is there: when its writer is gone in the middle
//! of a transfer, along a chain, through a relay, after a restart.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

use crate::support::{Wire, carry_until, connect, get, memory, options, put, put_write};
use multi_hyperbee::db::{
    Code, DatabaseOptions, Db, EncryptionKey, Event, Location, PeerEvent, PeerOptions, RelayLimits, Store,
    StoreOptions, Transport, VerifyOptions, Why, Write,
};
use multi_hyperbee::store::{Environment, Options, Read as _, Table, WriteTxn, tree_key};
use multi_hyperbee::types::FeedKey;
use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

/// Bytes of each value: a message carries sixteen.
const VALUE: usize = 4_000;

/// Entries that the writer commits at once, under one head.
const ENTRIES: usize = 400;

fn entries() -> Vec<Write> {
    let value = format!(r#"{{"text":"{}"}}"#, "x".repeat(VALUE));
    (0..ENTRIES).map(|n| put_write(&format!("k{n}"), &value)).collect()
}

/// How databases are opened: in clear, encrypted, as a relay.
#[derive(Clone, Copy)]
struct Kind {
    encrypted: bool,
    relay: bool,
}

const PLAIN: Kind = Kind { encrypted: false, relay: false };

impl Kind {
    fn open(self, store: &Store, key: Option<FeedKey>) -> Db {
        let encryption_key = if self.encrypted {
            Some(EncryptionKey::new([0xe5; 32]))
        } else {
            crate::support::encryption_key()
        };
        let relay = self.relay.then(RelayLimits::default);
        // It has no key but the database's.
        let encryption_key = encryption_key.filter(|_| !self.relay);
        store
            .database(DatabaseOptions { key, encryption_key, relay, ..crate::support::database() })
            .wait()
            .unwrap()
    }
}

fn writer(kind: Kind) -> Db {
    let writer = kind.open(&memory(), None);
    writer.write(entries()).wait().unwrap();
    writer
}

fn key(db: &Db) -> FeedKey {
    db.info().unwrap().key
}

fn have(db: &Db) -> u64 {
    have_of(db, key(db))
}

fn have_of(db: &Db, feed: FeedKey) -> u64 {
    db.progress().unwrap().iter().find(|progress| progress.key == feed).map_or(0, |progress| progress.have)
}

/// Carries a few bytes at a time until the second end has at least so many blocks; then the connection is gone, as when a
/// device dies.
fn bring(from: &Db, to: &Db, to_store: &Store, blocks: u64) {
    bring_of(from, to, to_store, key(from), blocks);
}

fn bring_of(from: &Db, to: &Db, to_store: &Store, feed: FeedKey, blocks: u64) {
    let wire = connect(from, to);
    for _ in 0..100_000 {
        while let Some(bytes) = wire.b.pull(64 << 10) {
            wire.a.receive(&bytes).unwrap();
        }
        if let Some(bytes) = wire.a.pull(4_096) {
            wire.b.receive(&bytes).unwrap();
        }
        to_store.settled().wait().unwrap();
        if have_of(to, feed) >= blocks {
            wire.close();
            return;
        }
    }
    panic!("it never came");
}

/// A device that has been brought about half of the writer's entries.
fn half(writer: &Db, kind: Kind, store: &Store) -> (Db, u64) {
    let db = kind.open(store, Some(key(writer)));
    bring(writer, &db, store, ENTRIES as u64 / 2);
    let there = have(&db);
    assert!(there < have(writer), "the writer was gone in the middle");
    (db, there)
}

/// Carries, a second passing between two rounds, until `done`.
fn carry(wires: &[&Wire], mut done: impl FnMut() -> bool) {
    carry_until(wires, || {
        for wire in wires {
            wire.a.tick();
            wire.b.tick();
        }
        done()
    });
}

fn agree(dbs: &[&Db]) -> bool {
    let claims: Vec<_> = dbs.iter().map(|db| db.state_claim().unwrap()).collect();
    claims.iter().all(|claim| *claim == claims[0])
}

fn goes_on(kind: Kind, middle: Kind) {
    let a = writer(kind);
    let stores = [memory(), memory(), memory()];
    let (b, there) = half(&a, kind, &stores[0]);
    let c = middle.open(&stores[1], Some(key(&a)));
    let d = kind.open(&stores[2], Some(key(&a)));
    // The writer is gone: from one to the next.
    for (from, to) in [(&b, &c), (&c, &d)] {
        let wire = connect(from, to);
        carry_until(&[&wire], || have(to) == there);
        wire.close();
    }
    let last = format!("k{}", there - 2);
    assert!(get(&d, &last).is_some() && get(&d, &format!("k{}", there - 1)).is_none());
    assert!(agree(&[&b, &d]));
    for store in &stores {
        assert!(store.verify(|_| ()).wait().unwrap().is_clean());
    }
    // It comes back, to the last of them, and the rest goes the other way.
    let wires = [connect(&b, &c), connect(&c, &d), connect(&d, &a)];
    let all: Vec<&Wire> = wires.iter().collect();
    carry(&all, || [&b, &c, &d].iter().all(|db| have(db) == have(&a)));
    carry(&all, || agree(&[&a, &b, &d]));
}

#[test]
fn what_one_device_has_of_a_writer_that_is_gone_goes_on_to_all_and_the_rest_when_it_is_back() {
    goes_on(PLAIN, PLAIN);
}

#[test]
fn so_it_does_encrypted_and_through_a_relay() {
    let encrypted = Kind { encrypted: true, relay: false };
    goes_on(encrypted, encrypted);
    goes_on(PLAIN, Kind { relay: true, ..PLAIN });
    goes_on(encrypted, Kind { relay: true, ..PLAIN });
}

#[test]
fn the_end_of_a_chain_has_blocks_before_its_middle_has_all() {
    let a = writer(PLAIN);
    let stores = [memory(), memory()];
    let [b, c] = [0, 1].map(|at| PLAIN.open(&stores[at], Some(key(&a))));
    let (first, second) = (connect(&a, &b), connect(&b, &c));
    let mut ahead = Vec::new();
    for round in 0..100_000 {
        while let Some(bytes) = first.b.pull(64 << 10) {
            first.a.receive(&bytes).unwrap();
        }
        if let Some(bytes) = first.a.pull(16 << 10) {
            first.b.receive(&bytes).unwrap();
        }
        stores[0].settled().wait().unwrap();
        second.carry(usize::MAX);
        stores[1].settled().wait().unwrap();
        if round % 10 == 0 {
            for peer in [&first.a, &first.b, &second.a, &second.b] {
                peer.tick();
            }
        }
        if have(&b) < have(&a) {
            ahead.push(have(&c));
        }
        if have(&c) == have(&a) {
            break;
        }
    }
    assert_eq!(have(&c), have(&a));
    ahead.dedup();
    assert!(ahead.len() > 3, "what came to the end before the middle had all: {ahead:?}");
    let most = ahead.last().unwrap();
    println!("{most} of {ENTRIES} entries were at the end when the middle had all");
    assert!(most * 2 > ENTRIES as u64, "{most} of {ENTRIES} came before the middle had all");
    assert!(agree(&[&a, &b, &c]));
    // Each block once.
    let peers = c.sync_status().unwrap().peers;
    let came: u64 = peers.iter().flat_map(|peer| &peer.feeds).map(|feed| feed.received).sum();
    assert_eq!(came, have(&a));
}

#[test]
fn who_are_connected_to_each_other_and_to_the_writer_get_each_block_once() {
    all_to_all(|round| round % 5 == 0);
    // What comes between the last time it was told and the end is as much as comes in a second.
    all_to_all(|round| round == 20);
}

/// A second passes in such rounds.
fn all_to_all(is_second: impl Fn(usize) -> bool) {
    let a = writer(PLAIN);
    let stores = [memory(), memory(), memory()];
    let all: Vec<Db> = stores.iter().map(|store| PLAIN.open(store, Some(key(&a)))).collect();
    let mut wires: Vec<Wire> = all.iter().map(|db| connect(&a, db)).collect();
    wires.extend([connect(&all[0], &all[1]), connect(&all[1], &all[2]), connect(&all[2], &all[0])]);
    for round in 0..100_000 {
        for wire in &wires {
            for (from, to) in [(&wire.a, &wire.b), (&wire.b, &wire.a)] {
                if let Some(bytes) = from.pull(16 << 10) {
                    to.receive(&bytes).unwrap();
                }
            }
        }
        for store in &stores {
            store.settled().wait().unwrap();
        }
        if is_second(round) {
            for wire in &wires {
                wire.a.tick();
                wire.b.tick();
            }
        }
        if all.iter().all(|db| have(db) == have(&a)) {
            break;
        }
    }
    for db in &all {
        assert_eq!(have(db), have(&a));
        let peers = db.sync_status().unwrap().peers;
        let came: u64 = peers.iter().flat_map(|peer| &peer.feeds).map(|feed| feed.received).sum();
        // What was on its way when another brought it.
        assert!(came <= have(&a) + 64, "{came} blocks came of {}", have(&a));
    }
}

#[test]
fn two_who_were_told_of_a_part_do_not_both_push_the_rest() {
    let a = writer(PLAIN);
    let stores = [memory(), memory(), memory()];
    let [b, c, d] = [0, 1, 2].map(|at| PLAIN.open(&stores[at], Some(key(&a))));
    let first = [connect(&a, &b), connect(&a, &c)];
    let second = [connect(&b, &d), connect(&c, &d)];
    let step = || {
        for wire in &first {
            while let Some(bytes) = wire.b.pull(64 << 10) {
                wire.a.receive(&bytes).unwrap();
            }
            if let Some(bytes) = wire.a.pull(16 << 10) {
                wire.b.receive(&bytes).unwrap();
            }
        }
        for store in &stores {
            store.settled().wait().unwrap();
        }
    };
    while have(&b).min(have(&c)) < ENTRIES as u64 / 2 {
        step();
    }
    let there = have(&b).min(have(&c));
    carry(&second.each_ref(), || have(&d) >= there);
    // In less than a second both have the rest.
    while have(&b).min(have(&c)) < have(&a) {
        step();
    }
    carry_until(&second.each_ref(), || have(&d) == have(&a));
    for _ in 0..100 {
        for wire in &second {
            wire.carry(usize::MAX);
        }
    }
    stores[2].settled().wait().unwrap();
    let peers = d.sync_status().unwrap().peers;
    let came: u64 = peers.iter().flat_map(|peer| &peer.feeds).map(|feed| feed.received).sum();
    assert_eq!(came, have(&a), "nothing came twice");
}

#[test]
fn a_connection_that_is_not_live_ends_when_it_has_brought_the_part_there_is() {
    let a = writer(PLAIN);
    let stores = [memory(), memory()];
    let (b, there) = half(&a, PLAIN, &stores[0]);
    let c = PLAIN.open(&stores[1], Some(key(&a)));
    let once = |db: &Db, transport| db.replicate(PeerOptions { live: false, ..options(transport) }).unwrap();
    let wire = Wire { a: once(&b, Transport::Initiator), b: once(&c, Transport::Responder) };
    let mut ended = [false, false];
    carry_until(&[&wire], || {
        let (a, b) = wire.events();
        for (ended, events) in ended.iter_mut().zip([a, b]) {
            assert!(!events.iter().any(|event| matches!(event, PeerEvent::Failed(_))), "{events:?}");
            *ended |= events.iter().any(|event| matches!(event, PeerEvent::Finished | PeerEvent::Closed));
        }
        ended == [true, true]
    });
    assert_eq!(have(&c), there);
    assert!(agree(&[&b, &c]));
}

#[test]
fn who_has_the_beginning_of_a_batch_is_in_sync_with_who_has_no_more_of_it() {
    let a = PLAIN.open(&memory(), None);
    put(&a, "before", r#"{"n":1}"#);
    a.write(vec![Write::Batch(entries())]).wait().unwrap().remove(0).unwrap();
    let stores = [memory(), memory()];
    let (b, there) = half(&a, PLAIN, &stores[0]);
    let c = PLAIN.open(&stores[1], Some(key(&a)));
    let wire = connect(&b, &c);
    carry_until(&[&wire], || have(&c) == there && c.is_flushed().unwrap() && b.is_flushed().unwrap());
    assert!(get(&c, "before").is_some() && get(&c, "k0").is_none(), "a batch is there whole or not at all");
    carry_until(&[&wire], || {
        let status = c.sync_status().unwrap();
        let mut reasons = status.feeds.iter().filter_map(|feed| feed.reason.as_ref());
        status.synced && status.peers[0].synced && reasons.any(|reason| reason.why == Why::NoPeer)
    });
    let back = connect(&a, &c);
    carry(&[&wire, &back], || get(&b, "k399").is_some());
    assert!(agree(&[&a, &b, &c]));
}

/// A device goes on from a backup, and another has the beginning of what it had written since; the rest is nowhere.
#[test]
fn what_a_restored_device_wrote_comes_back_when_its_user_says_that_the_rest_is_lost() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let store = at(dirs[0].path());
    let a = PLAIN.open(&store, None);
    put(&a, "before", r#"{"n":1}"#);
    store.backup(dirs[1].path().to_owned()).wait().unwrap();
    a.write(entries()).wait().unwrap();
    let stores = [memory(), memory()];
    let (b, there) = half(&a, PLAIN, &stores[0]);
    let id = key(&a);
    a.close().wait().unwrap();
    store.close().wait().unwrap();
    let restored = at(dirs[1].path());
    let a = PLAIN.open(&restored, None);
    restored.resume().wait().unwrap();
    put(&a, "since", r#"{"n":2}"#);
    let wire = connect(&a, &b);
    carry(&[&wire], || have(&a) == there);
    // What was written waits behind what may still come.
    let refused = a.write(vec![put_write("more", "{}")]).wait().unwrap().remove(0).unwrap_err();
    assert_eq!(refused.code, Code::Restored);
    assert!(refused.message.contains("resume"), "{}", refused.message);
    restored.resume().wait().unwrap();
    assert!(get(&a, "since").is_some() && get(&a, "k0").is_some());
    put(&a, "more", r#"{"n":3}"#);
    carry(&[&wire], || get(&b, "more").is_some());
    assert!(agree(&[&a, &b]));
    wire.close();
    let c = PLAIN.open(&stores[1], Some(id));
    let wire = connect(&b, &c);
    carry(&[&wire], || agree(&[&a, &b, &c]));
    assert!(get(&c, "since").is_some());
}

#[test]
fn a_feed_that_cannot_be_ended_where_it_is_says_why_and_keeps_no_other_back() {
    for is_damaged in [false, true] {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let store = at(dirs[0].path());
        let a = PLAIN.open(&store, None);
        put(&a, "before", r#"{"n":1}"#);
        let second = || DatabaseOptions { name: Some("second".into()), ..crate::support::database() };
        store.database(second()).wait().unwrap();
        store.backup(dirs[1].path().to_owned()).wait().unwrap();
        let writes = if is_damaged { entries() } else { vec![Write::Batch(entries())] };
        a.write(writes).wait().unwrap();
        let (b, there) = half(&a, PLAIN, &memory());
        let id = key(&a);
        a.close().wait().unwrap();
        store.close().wait().unwrap();
        let restored = at(dirs[1].path());
        let a = PLAIN.open(&restored, None);
        let wire = connect(&a, &b);
        carry(&[&wire], || have(&a) == there);
        wire.close();
        a.close().wait().unwrap();
        restored.close().wait().unwrap();
        if is_damaged {
            tamper(dirs[1].path(), |txn| {
                let row_key = tree_key(id_of(txn, id), 0, (there - 1) / 16);
                let mut row = txn.get(Table::Tree, &row_key).unwrap().unwrap().to_vec();
                row[20] ^= 1;
                txn.put(Table::Tree, &row_key, &row).unwrap();
            });
        }
        let restored = at(dirs[1].path());
        let a = PLAIN.open(&restored, None);
        let second = restored.database(second()).wait().unwrap();
        let heard = a.subscribe(std::sync::Arc::new(|| {})).unwrap();
        restored.resume().wait().unwrap();
        let code = if is_damaged { Code::Corrupt } else { Code::Restored };
        let events = heard.take();
        assert!(
            events.iter().any(|event| matches!(event, Event::Error { error } if error.code == code)),
            "{events:?}"
        );
        let refused = a.write(vec![put_write("more", "{}")]).wait().unwrap().remove(0);
        assert_eq!(refused.unwrap_err().code, Code::Restored);
        put(&second, "more", "{}");
    }
}

/// A connection on which all that flows flows.
fn meet(a: &Db, b: &Db, mut done: impl FnMut() -> bool) {
    let wire = connect(a, b);
    carry(&[&wire], || a.is_flushed().unwrap() && b.is_flushed().unwrap() && done());
    wire.close();
}

#[test]
fn parts_of_both_branches_of_a_feed_prove_the_fork_and_go_on_to_all() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("one"), dir.path().join("two"));
    let creator = PLAIN.open(&memory(), None);
    let key = key(&creator);
    let stores = [memory(), memory(), memory()];
    let [b, c, d] = [0, 1, 2].map(|at| PLAIN.open(&stores[at], Some(key)));
    let first = at(&from);
    let one = PLAIN.open(&first, Some(key));
    let feed = one.info().unwrap().local;
    creator.add_writer(feed, false).wait().unwrap();
    meet(&creator, &one, || have(&one) == have(&creator));
    put(&one, "before", r#"{"n":1}"#);
    let common = have_of(&one, feed);
    for db in [&b, &c] {
        meet(&creator, db, || have(db) == have(&creator));
        meet(&one, db, || have_of(db, feed) == common);
    }
    one.close().wait().unwrap();
    first.close().wait().unwrap();
    std::fs::create_dir(&to).unwrap();
    std::fs::copy(from.join("data.mdb"), to.join("data.mdb")).unwrap();
    // Each copy writes a great deal at once, and is gone when half of it has come to somebody.
    let mut held = Vec::new();
    for (path, db, store, name) in [(&from, &b, &stores[0], "one"), (&to, &c, &stores[1], "two")] {
        let copy = PLAIN.open(&at(path), Some(key));
        let writes = std::iter::once(put_write(name, r#"{"n":2}"#)).chain(entries()).collect();
        copy.write(writes).wait().unwrap();
        bring_of(&copy, db, store, feed, ENTRIES as u64 / 2);
        assert!(have_of(db, feed) < have_of(&copy, feed));
        held.push(have_of(db, feed));
    }
    let forked = |db: &Db| {
        let feeds = db.sync_status().unwrap().feeds;
        let reason = feeds.into_iter().find(|status| status.key == feed).and_then(|status| status.reason);
        reason.is_some_and(|reason| reason.why == Why::Forked)
    };
    // Nobody has all that any head above the common length signs.
    meet(&b, &c, || forked(&b) && forked(&c) && agree(&[&b, &c]));
    assert!(get(&b, "one").is_some() != get(&b, "two").is_some(), "one of both branches counts");
    assert!(held.contains(&have_of(&b, feed)), "{} of {held:?}", have_of(&b, feed));
    meet(&c, &d, || forked(&d) && agree(&[&b, &c, &d]));
    assert_eq!(have_of(&d, feed), have_of(&b, feed));
    for store in &stores {
        assert!(store.verify(|_| ()).wait().unwrap().is_clean());
    }
}

fn at(dir: &Path) -> Store {
    Store::open(&Location::Path(dir.to_owned()), &StoreOptions::default()).unwrap()
}

/// Changes rows of a closed store behind everyone's back.
fn tamper(dir: &Path, change: impl FnOnce(&mut WriteTxn<'_>)) {
    let env = Environment::open(&Location::Path(dir.to_owned()), &Options::default()).unwrap();
    let mut txn = env.write().unwrap();
    change(&mut txn);
    txn.commit().unwrap();
    assert!(env.close().wait(Duration::from_secs(10)));
}

/// The one row of `covers-1`.
fn row(txn: &WriteTxn<'_>) -> (Vec<u8>, Vec<u8>) {
    let (key, row) = txn.first(Table::Covers, Bound::Unbounded, Bound::Unbounded).unwrap().unwrap();
    assert_eq!(txn.entries(Table::Covers).unwrap(), 1);
    (key.to_vec(), row.to_vec())
}

/// A store on disk that has a half, closed again; and how much that is.
fn half_on_disk(a: &Db) -> (tempfile::TempDir, u64) {
    let dir = tempfile::tempdir().unwrap();
    let store = at(dir.path());
    let (db, there) = half(a, PLAIN, &store);
    db.close().wait().unwrap();
    store.close().wait().unwrap();
    (dir, there)
}

#[test]
fn what_was_there_before_a_restart_is_passed_on_after_it() {
    let a = writer(PLAIN);
    let (dir, there) = half_on_disk(&a);
    let [store, other] = [at(dir.path()), memory()];
    let [b, c] = [&store, &other].map(|store| PLAIN.open(store, Some(key(&a))));
    assert_eq!(have(&b), there);
    let wire = connect(&b, &c);
    carry_until(&[&wire], || have(&c) == there);
    // In the middle of what it passes on, it is brought the rest.
    let back = connect(&a, &b);
    carry(&[&wire, &back], || have(&c) == have(&a));
    assert!(agree(&[&a, &b, &c]));
}

#[test]
fn a_store_from_before_there_were_such_rows_passes_on_what_it_is_brought_from_then_on() {
    let a = writer(PLAIN);
    let (dir, there) = half_on_disk(&a);
    tamper(dir.path(), |txn| {
        let (key, _) = row(txn);
        txn.delete(Table::Covers, &key).unwrap();
    });
    let [store, other] = [at(dir.path()), memory()];
    let [b, c] = [&store, &other].map(|store| PLAIN.open(store, Some(key(&a))));
    assert!(store.verify(|_| ()).wait().unwrap().is_clean());
    let wire = connect(&b, &c);
    (0..50).for_each(|_| {
        wire.carry(usize::MAX);
        other.settled().wait().unwrap();
        wire.b.tick();
    });
    assert_eq!((have(&b), have(&c)), (there, 0));
    bring(&a, &b, &store, there + 1);
    carry(&[&wire], || have(&c) == have(&b));
}

/// What covers all that is here says which of a block and its leaf is right.
#[test]
fn a_damaged_leaf_beyond_the_last_whole_head_is_no_fork_and_costs_no_block() {
    let a = writer(PLAIN);
    let (dir, there) = half_on_disk(&a);
    tamper(dir.path(), |txn| {
        // The row that is not full yet.
        let row_key = tree_key(id_of(txn, key(&a)), 0, (there - 1) / 16);
        let mut row = txn.get(Table::Tree, &row_key).unwrap().unwrap().to_vec();
        row[20] ^= 1;
        txn.put(Table::Tree, &row_key, &row).unwrap();
    });
    let store = at(dir.path());
    let b = PLAIN.open(&store, Some(key(&a)));
    let wire = connect(&a, &b);
    for _ in 0..50 {
        wire.carry(usize::MAX);
        store.settled().wait().unwrap();
    }
    // It is said to be damaged here: not a fork, and nobody else's fault.
    let (_, events) = wire.events();
    let failed = |event: &PeerEvent| matches!(event, PeerEvent::Failed(error) if error.code == Code::Corrupt);
    assert!(events.iter().any(failed), "{events:?}");
    wire.close();
    let options = VerifyOptions { repair: true, encryption_key: None };
    let repaired = store.verify_with(options, |_| ()).wait().unwrap().repair.unwrap();
    assert_eq!((repaired.waiting, repaired.remaining), (vec![], vec![]));
    assert!(store.verify(|_| ()).wait().unwrap().is_clean());
    let wire = connect(&a, &b);
    carry(&[&wire], || have(&b) == have(&a) && agree(&[&a, &b]));
}

/// The store's number of a feed.
fn id_of(txn: &WriteTxn<'_>, feed: FeedKey) -> u32 {
    multi_hyperbee::feed::load(txn, &feed).unwrap().unwrap().id
}

#[test]
fn a_damaged_row_is_named_taken_out_by_a_repair_and_serves_nothing_false() {
    let a = writer(PLAIN);
    let (dir, there) = half_on_disk(&a);
    tamper(dir.path(), |txn| {
        let (key, mut row) = row(txn);
        *row.last_mut().unwrap() ^= 1;
        txn.put(Table::Covers, &key, &row).unwrap();
    });
    let [store, other] = [at(dir.path()), memory()];
    let [b, c] = [&store, &other].map(|store| PLAIN.open(store, Some(key(&a))));
    let wire = connect(&b, &c);
    (0..50).for_each(|_| {
        wire.carry(usize::MAX);
        other.settled().wait().unwrap();
        wire.b.tick();
    });
    assert_eq!(have(&c), 0, "what does not lead to the signed root does not leave");
    assert!(wire.events().1.iter().all(|event| !matches!(event, PeerEvent::Failed(_))));
    let report = store.verify(|_| ()).wait().unwrap();
    let tables: Vec<_> = report.damages.iter().map(|damage| damage.table.as_deref()).collect();
    assert_eq!(tables, [Some(Table::Covers.name())]);
    let repair = || VerifyOptions { repair: true, encryption_key: crate::support::encryption_key() };
    let repaired = store.verify_with(repair(), |_| ()).wait().unwrap().repair.unwrap();
    assert_eq!((repaired.done.len(), repaired.waiting.len(), repaired.remaining.len()), (1, 0, 0));
    assert!(store.verify(|_| ()).wait().unwrap().is_clean());
    bring(&a, &b, &store, there + 1);
    carry(&[&wire], || have(&c) == have(&b));
}
