//! Who takes part: grants, revokes, feeds of one's own choice, and feeds that stop.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::*;
use multi_hyperbee::db::{Code, DatabaseOptions, Db, Event, Feed, FeedChoice, Location, Store, StoreOptions};
use multi_hyperbee::entry::{BatchHead, Change, Diff, Entry, Op, Place};
use multi_hyperbee::seal::Sealing;
use multi_hyperbee::types::{FeedKey, Link};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn block(place: Place, op: Op<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    Entry { place, op }.encode_into(&mut out);
    out
}

fn first(length: u64, timestamp: u64, links: Vec<Link>) -> Place {
    Place::First(BatchHead { timestamp, length, links, optimistic: false })
}

fn raw(store: &Store, name: &str) -> Feed {
    store.feed(FeedChoice::Name(name.into())).wait().unwrap()
}

/// Appends blocks as their database has them: sealed, if it is encrypted.
fn append(feed: &Feed, blocks: Vec<Vec<u8>>) {
    let sealing = Sealing::new(encryption_key().as_ref(), &feed.key()).blocks(feed.key());
    let blocks = blocks.into_iter().zip(feed.info().unwrap().length..);
    let blocks = blocks.map(|(block, seq)| sealing.seal(seq, &block, false).unwrap().into_owned());
    feed.append(blocks.collect()).wait().unwrap();
}

fn register<'a>(key: &'a str, value: &'a str) -> Op<'a> {
    Op::Diff(Diff { key: key.as_bytes(), prev: None, change: Change::Register(value.as_bytes()) })
}

fn local(db: &Db) -> FeedKey {
    db.info().unwrap().local
}

fn placed(db: &Db, feed: FeedKey) -> u64 {
    db.members().unwrap().iter().find(|member| member.key == feed).map_or(0, |member| member.length)
}

#[test]
fn databases_of_one_store_merge_each_other() {
    let store = memory();
    let a = create(&store);
    let b = store
        .database(DatabaseOptions { name: Some("b".into()), ..crate::support::database() })
        .wait()
        .unwrap();
    put(&b, "before", "{}");
    a.add_peer(local(&b)).wait().unwrap();
    assert_eq!(get(&a, "before").as_deref(), Some("{}"));
    put(&b, "after", "{}");
    assert_eq!(get(&a, "after").as_deref(), Some("{}"));
    assert_eq!(a.state_hash().unwrap(), b.state_hash().unwrap());
}

#[test]
fn a_raw_feed_that_grows_is_merged() {
    let store = memory();
    let db = create(&store);
    let feed = raw(&store, "raw");
    db.add_peer(feed.key()).wait().unwrap();
    append(&feed, vec![block(first(1, 5, Vec::new()), register("k", "v"))]);
    assert!(get(&db, "k").is_some());
}

#[test]
fn a_link_into_a_batch_fetches_all_of_the_batch() {
    let (s1, s2) = (memory(), memory());
    // Apply mode reads every link, and learns nothing from announcements.
    let open = |store: &Store, key| {
        store.database(DatabaseOptions { apply: true, key, ..crate::support::database() }).wait().unwrap()
    };
    let a = open(&s1, None);
    let key = a.info().unwrap().key;
    let linked = raw(&s1, "linked");
    let batch = vec![
        block(first(3, 5, Vec::new()), Op::Value(b"0")),
        block(Place::Later { offset: 1 }, Op::Value(b"1")),
        block(Place::Later { offset: 2 }, Op::Value(b"2")),
        block(first(1, 6, Vec::new()), Op::Value(b"beyond")),
    ];
    append(&linked, batch);
    let root = linked.tree_hash(Some(1)).unwrap()[..16].try_into().unwrap();
    let link = Link { feed: linked.key(), length: 1, root };
    let linking = raw(&s1, "linking");
    append(&linking, vec![block(first(1, 7, vec![link]), Op::Value(b"f"))]);
    let b = open(&s2, Some(key));
    for db in [&a, &b] {
        db.wakeup(linking.key(), 1).wait().unwrap();
    }
    let wire = connect(&a, &b);
    let have =
        |feed| b.progress().unwrap().iter().find(|known| known.key == feed).map_or(0, |known| known.have);
    let mut rounds_after = 0;
    carry_until(&[&wire], || {
        rounds_after += u32::from(have(linked.key()) >= 3);
        rounds_after > 20
    });
    assert_eq!((have(linked.key()), have(linking.key())), (3, 1));
}

#[test]
fn a_link_to_another_history_than_ours_waits() {
    let store = memory();
    let db = store.database(DatabaseOptions { open: true, ..DatabaseOptions::default() }).wait().unwrap();
    let (linked, linking) = (raw(&store, "linked"), raw(&store, "linking"));
    linked.append(vec![block(first(1, 5, Vec::new()), register("there", "v"))]).wait().unwrap();
    let link = Link { feed: linked.key(), length: 1, root: [0; 16] };
    linking.append(vec![block(first(1, 7, vec![link]), register("f", "v"))]).wait().unwrap();
    for feed in [&linked, &linking] {
        db.add_peer(feed.key()).wait().unwrap();
    }
    assert!(get(&db, "there").is_some() && get(&db, "f").is_none());
    put(&db, "mine", "{}");
    assert!(get(&db, "mine").is_some());
}

#[test]
fn a_block_nobody_can_read_freezes_its_feed_and_nothing_else() {
    let store = memory();
    let db = create(&store);
    let feed = raw(&store, "raw");
    let bad = multi_hyperbee::entry::Change::List("not a list");
    let blocks = vec![
        block(first(1, 5, Vec::new()), register("k", "v")),
        block(first(1, 6, Vec::new()), Op::Diff(Diff { key: b"bad", prev: None, change: bad })),
        block(first(1, 7, Vec::new()), register("never", "v")),
    ];
    append(&feed, blocks);
    db.add_peer(feed.key()).wait().unwrap();
    assert!(get(&db, "k").is_some());
    assert_eq!(get(&db, "never"), None);
    assert!(db.is_flushed().unwrap());
    put(&db, "mine", "{}");
    let garbage = raw(&store, "garbage");
    append(&garbage, vec![Vec::new()]);
    db.add_peer(garbage.key()).wait().unwrap();
    assert_eq!(placed(&db, garbage.key()), 0);
}

#[test]
fn a_block_of_a_newer_version_is_reported() {
    let store = memory();
    let db = create(&store);
    let events = db.subscribe(Arc::new(|| {})).unwrap();
    let feed = raw(&store, "raw");
    append(&feed, vec![vec![2, 0, 0]]);
    db.add_peer(feed.key()).wait().unwrap();
    assert!(events.take().contains(&Event::UpgradeNeeded { feed: feed.key() }));
    assert_eq!(placed(&db, feed.key()), 0);
    put(&db, "mine", "{}");
    append(&feed, vec![vec![2, 0, 0]]);
    assert!(!events.take().contains(&Event::UpgradeNeeded { feed: feed.key() }), "said once");
}

#[test]
fn a_timestamp_far_ahead_is_reported_and_merged() {
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let now = Arc::clone(&clock);
    let options = StoreOptions {
        clock: Some(Arc::new(move || Duration::from_secs(now.load(Ordering::Relaxed)))),
        ..StoreOptions::default()
    };
    let store = Store::open(&Location::Memory, &options).unwrap();
    let db = create(&store);
    let events = db.subscribe(Arc::new(|| {})).unwrap();
    let feed = raw(&store, "raw");
    let ahead = |seconds: u64| (1_000_000 + seconds) << 32;
    append(&feed, vec![block(first(1, ahead(50), Vec::new()), register("near", "v"))]);
    db.add_peer(feed.key()).wait().unwrap();
    assert!(!events.take().iter().any(|event| matches!(event, Event::Drift { .. })));
    append(&feed, vec![block(first(1, ahead(100), Vec::new()), register("k", "v"))]);
    assert!(get(&db, "k").is_some());
    let drift = Event::Drift { writer: feed.key(), ahead_ms: 100_000 };
    assert!(events.take().contains(&drift));
}

#[test]
fn a_revoked_writer_counts_no_more_and_a_new_grant_lets_it_count_again() {
    let (s1, s2) = (memory(), memory());
    let a = create(&s1);
    let b = join(&s2, a.info().unwrap().key);
    a.add_writer(local(&b), false).wait().unwrap();
    let wire = connect(&a, &b);
    carry_until(&[&wire], || b.status().unwrap().writable);
    put(&b, "seen", "{}");
    carry_until(&[&wire], || get(&a, "seen").is_some());
    wire.close();
    // The creator has not placed this before it revokes, so it does not count.
    put(&b, "unseen", "{}");
    a.remove_writer(local(&b), false).wait().unwrap();
    let wire = connect(&a, &b);
    carry_until(&[&wire], || !b.status().unwrap().writable && placed(&a, local(&b)) == 2);
    for db in [&a, &b] {
        assert_eq!(get(db, "seen").as_deref(), Some("{}"));
        assert_eq!(get(db, "unseen"), None);
    }
    let refused = b.write(vec![put_write("k", "{}")]).wait().unwrap().remove(0).unwrap_err();
    assert_eq!(refused.code, Code::NotWritable);
    let of = |db: &Db, key| db.members().unwrap().into_iter().find(|member| member.key == key).unwrap();
    let member = of(&a, local(&b));
    assert_eq!((member.granted, member.counted, member.removed_by), (false, 1, Some(local(&a))));
    a.add_writer(local(&b), false).wait().unwrap();
    carry_until(&[&wire], || b.status().unwrap().writable);
    put(&b, "again", "{}");
    carry_until(&[&wire], || get(&a, "again").is_some());
    assert_eq!(get(&a, "unseen"), None);
    assert_eq!(of(&a, local(&b)).removed_by, None);
    assert_eq!(a.state_hash().unwrap(), b.state_hash().unwrap());
}

#[test]
fn a_revoke_that_does_not_count_removes_nobody() {
    let (s1, s2) = (memory(), memory());
    let a = create(&s1);
    let b = join(&s2, a.info().unwrap().key);
    a.add_writer(local(&b), true).wait().unwrap();
    let wire = connect(&a, &b);
    carry_until(&[&wire], || b.status().unwrap().indexer);
    wire.close();
    // Both revoke each other without having seen it: the first in the order stands.
    a.remove_writer(local(&b), false).wait().unwrap();
    b.remove_writer(local(&a), false).wait().unwrap();
    let wire = connect(&a, &b);
    let settled =
        |db: &Db| db.members().unwrap().iter().all(|member| member.length >= 3 || member.key == local(&b));
    carry_until(&[&wire], || {
        settled(&a)
            && settled(&b)
            && placed(&a, local(&b)) == placed(&b, local(&b))
            && placed(&a, local(&b)) > 0
    });
    for db in [&a, &b] {
        let members = db.members().unwrap();
        let of = |key| members.iter().find(|member| member.key == key).unwrap();
        assert!(of(local(&a)).granted && !of(local(&b)).granted);
        assert_eq!(of(local(&a)).removed_by, None);
        assert_eq!(of(local(&b)).removed_by, Some(local(&a)));
    }
}

#[test]
fn a_feed_removed_and_added_again_counts_once() {
    let store = memory();
    let db = create(&store);
    let feed = raw(&store, "raw");
    let append = |seq: u64, key: &str| {
        append(&feed, vec![block(first(1, seq + 5, Vec::new()), register(key, "v"))]);
    };
    append(0, "a");
    assert!(db.add_peer(feed.key()).wait().unwrap());
    assert!(db.remove_peer(feed.key()).wait().unwrap());
    assert!(!db.remove_peer(feed.key()).wait().unwrap());
    append(1, "b");
    store.settled().wait().unwrap();
    assert!(get(&db, "a").is_some() && get(&db, "b").is_none());
    let version = db.status().unwrap().version;
    assert!(db.add_peer(feed.key()).wait().unwrap());
    assert!(get(&db, "b").is_some());
    assert_eq!(db.status().unwrap().version, version + 1);
    // Granted as well: nothing counts twice; revoked: what was chosen here stays.
    db.add_writer(feed.key(), false).wait().unwrap();
    append(2, "c");
    db.remove_writer(feed.key(), false).wait().unwrap();
    assert!(["a", "b", "c"].iter().all(|key| get(&db, key).is_some()));
    assert_eq!(db.status().unwrap().version, version + 2);
}

#[test]
fn who_removed_a_writer_is_whoever_counted() {
    let (s1, s2, s3) = (memory(), memory(), memory());
    let a = create(&s1);
    let key = a.info().unwrap().key;
    let (b, c) = (join(&s2, key), join(&s3, key));
    a.add_writer(local(&b), true).wait().unwrap();
    a.add_writer(local(&c), false).wait().unwrap();
    let wire = connect(&a, &b);
    carry_until(&[&wire], || b.status().unwrap().indexer && placed(&b, local(&a)) == 3);
    wire.close();
    // Revoked, without knowing it, b revokes c after a did, and somebody who was never granted.
    a.remove_writer(local(&b), false).wait().unwrap();
    a.remove_writer(local(&c), false).wait().unwrap();
    b.remove_writer(local(&c), false).wait().unwrap();
    b.remove_writer(FeedKey([7; 32]), false).wait().unwrap();
    let wire = connect(&a, &b);
    carry_until(&[&wire], || placed(&a, local(&b)) == 2);
    let members = a.members().unwrap();
    let removed_by = |key| members.iter().find(|member| member.key == key).unwrap().removed_by;
    assert_eq!(removed_by(local(&b)), Some(local(&a)));
    assert_eq!(removed_by(local(&c)), Some(local(&a)));
    assert_eq!(removed_by(FeedKey([7; 32])), None);
}

#[test]
fn a_feed_that_is_frozen_is_relayed_all_the_same() {
    let (s1, s2) = (memory(), memory());
    let (a, b) = (create(&s1), create(&s2));
    let feed = raw(&s1, "raw");
    append(&feed, vec![Vec::new()]);
    for db in [&a, &b] {
        db.add_peer(feed.key()).wait().unwrap();
    }
    let wire = connect(&a, &b);
    let have =
        |n: u64| b.progress().unwrap().iter().any(|feed_of| feed_of.key == feed.key() && feed_of.have == n);
    carry_until(&[&wire], || have(1));
    append(&feed, vec![vec![1, 2, 3]]);
    carry_until(&[&wire], || have(2));
}

#[test]
fn nothing_is_written_while_own_entries_are_not_in_the_order() {
    let store = memory();
    let feed = store.feed(FeedChoice::Secret([5; 32])).wait().unwrap();
    let key = feed.key();
    let link = Link { feed: FeedKey([8; 32]), length: 1, root: [0; 16] };
    append(&feed, vec![block(first(1, 5, vec![link]), register("k", "v"))]);
    let options = DatabaseOptions { secret: Some([5; 32]), open: true, ..crate::support::database() };
    let db = store.database(options).wait().unwrap();
    assert_eq!(placed(&db, key), 0);
    let refused = db.write(vec![put_write("l", "{}")]).wait().unwrap().remove(0).unwrap_err();
    assert_eq!(refused.code, Code::Restored);
    assert_eq!(feed.info().unwrap().length, 1);
}
