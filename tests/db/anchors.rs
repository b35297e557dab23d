//! Anchors: the same feed wherever their batch is applied, part of the order where somebody links them, and nobody's to
//! write.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::apply_support::*;
use crate::support::{Wire, carry_until, connect, encryption_key, memory};
use multi_hyperbee::db::{DatabaseOptions, Db, Feed, FeedChoice, Store};
use multi_hyperbee::entry::{BatchHead, Entry, Op, Place};
use multi_hyperbee::seal::Sealing;
use multi_hyperbee::types::{FeedKey, Link};

/// Of who writes by hand.
const SECRET: [u8; 32] = [78; 32];

fn sync(wires: &[&Wire], appliers: &[&Applier], mut done: impl FnMut() -> bool) {
    carry_until(wires, || {
        for applier in appliers {
            applier.drain(true);
        }
        done()
    });
}

fn creator(store: &Store) -> Applier {
    let options = DatabaseOptions { optimistic: true, ..options(None) };
    Applier::new(store.database(options).wait().unwrap())
}

fn feed(store: &Store, key: FeedKey) -> Feed {
    store.feed(FeedChoice::Key(key)).wait().unwrap()
}

fn knows(db: &Db, key: FeedKey) -> bool {
    db.progress().unwrap().iter().any(|feed| feed.key == key)
}

fn placed(db: &Db, key: FeedKey) -> u64 {
    db.progress().unwrap().iter().find(|feed| feed.key == key).map_or(0, |feed| feed.placed)
}

fn have(db: &Db, key: FeedKey) -> u64 {
    db.progress().unwrap().iter().find(|feed| feed.key == key).map_or(0, |feed| feed.have)
}

/// One who nobody has granted, whose first batch links the anchor and asks to be heard.
fn linking(store: &Store, of: FeedKey, anchor: &Feed) -> Applier {
    let own = store.feed(FeedChoice::Secret(SECRET)).wait().unwrap();
    let root = anchor.tree_hash(Some(1)).unwrap()[..16].try_into().unwrap();
    let links = vec![Link { feed: anchor.key(), length: 1, root }];
    let head = BatchHead { timestamp: 1 << 60, length: 2, links, optimistic: true };
    let entries = [
        Entry { place: Place::First(head), op: Op::Value(b"put s 1") },
        Entry { place: Place::Later { offset: 1 }, op: Op::Value(b"ack me") },
    ];
    let sealing = Sealing::new(encryption_key().as_ref(), &of).blocks(own.key());
    let sealed =
        |(entry, seq): (&Entry<'_>, u64)| sealing.seal(seq, &entry.encode(), false).unwrap().into_owned();
    own.append(entries.iter().zip(0..).map(sealed).collect()).wait().unwrap();
    let options = DatabaseOptions { secret: Some(SECRET), ..options(Some(of)) };
    Applier::new(store.database(options).wait().unwrap())
}

#[test]
fn an_anchor_is_the_same_feed_wherever_its_batch_is_applied_and_nobodys_to_write() {
    let stores = [memory(), memory()];
    let a = creator(&stores[0]);
    let b = join_apply(&stores[1], a.local());
    a.append(&["put k 1", "anchor"]);
    let wire = connect(&a.db, &b.db);
    sync(&[&wire], &[&a, &b], || b.get("k").is_some());
    let anchor = a.anchors.borrow()[0];
    assert_eq!(*b.anchors.borrow(), [anchor]);
    let found = [feed(&stores[0], anchor), feed(&stores[1], anchor)];
    let [one, two] = &found;
    assert_eq!((one.info().unwrap().length, two.info().unwrap().length), (1, 1));
    assert_eq!(one.get(0).unwrap(), two.get(0).unwrap());
    assert!(found.iter().all(|feed| !feed.info().unwrap().writable));
    assert!(one.append(vec![b"more".to_vec()]).wait().is_err());
    // Another batch has another.
    a.append(&["put k 2", "anchor"]);
    assert_ne!(a.anchors.borrow()[1], anchor);
    assert!(stores.iter().all(|store| store.verify(|_| {}).wait().unwrap().damages.is_empty()));
}

#[test]
fn who_does_not_apply_hears_of_no_anchor_that_nobody_has_linked() {
    let stores = [memory(), memory()];
    let a = creator(&stores[0]);
    a.append(&["put k 1", "anchor"]);
    let anchor = a.anchors.borrow()[0];
    let reads = stores[1].database(options(Some(a.local()))).wait().unwrap();
    let wire = connect(&a.db, &reads);
    carry_until(&[&wire], || have(&reads, a.local()) == 3);
    a.append(&["put k 2"]);
    carry_until(&[&wire], || have(&reads, a.local()) == 4);
    assert!(knows(&a.db, anchor) && !knows(&reads, anchor));
}

#[test]
fn who_links_an_anchor_is_heard_by_those_who_made_it_and_those_who_will() {
    let stores = [(); 4].map(|()| memory());
    let a = creator(&stores[0]);
    let b = join_apply(&stores[1], a.local());
    a.append(&["put k 1", "anchor"]);
    let wire = connect(&a.db, &b.db);
    sync(&[&wire], &[&a, &b], || b.get("k").is_some());
    let key = a.anchors.borrow()[0];
    let anchor = feed(&stores[0], key);
    let e = linking(&stores[2], a.local(), &anchor);
    let third = connect(&e.db, &a.db);
    sync(&[&wire, &third], &[&a, &b, &e], || [&a, &b, &e].iter().all(|one| one.get("s").is_some()));
    assert!([&a, &b, &e].iter().all(|one| placed(&one.db, key) == 1));
    // One to whom the link comes before the batch is applied.
    let c = join_apply(&stores[3], a.local());
    let last = connect(&b.db, &c.db);
    carry_until(&[&last], || c.db.is_flushed().unwrap());
    sync(&[&last], &[&b, &c], || c.get("s").is_some());
    let hashes = [&a, &b, &c, &e].map(|one| one.db.state_hash().unwrap());
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
    assert!(stores.iter().all(|store| store.verify(|_| {}).wait().unwrap().damages.is_empty()));
}
