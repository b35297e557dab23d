//! Writers whom nobody has granted: their feeds are learned from whoever announces them, within bounds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::apply_support::*;
use crate::support::{Wire, carry_until, connect, get, memory, put};
use multi_hyperbee::db::{DatabaseOptions, Db, Store};
use multi_hyperbee::types::FeedKey;

/// As src/db/strangers.rs has them.
const MAX_STRANGERS: usize = 256;
const MAX_STRANGER_BLOCKS: u64 = 256;

fn optimistic(store: &Store) -> Applier {
    let options = DatabaseOptions { optimistic: true, ..options(None) };
    Applier::new(store.database(options).wait().unwrap())
}

fn sync(wires: &[&Wire], appliers: &[&Applier], mut done: impl FnMut() -> bool) {
    carry_until(wires, || {
        for applier in appliers {
            applier.drain(true);
        }
        done()
    });
}

fn have(db: &Db, feed: &FeedKey) -> u64 {
    db.progress().unwrap().iter().find(|known| known.key == *feed).map_or(0, |known| known.have)
}

fn is_joined(applier: &Applier, creator: &FeedKey) -> bool {
    applier.db.progress().unwrap().iter().any(|feed| feed.key == *creator && feed.placed > 0)
}

/// A joiner that has what the creator says, and may ask.
fn joiner(of: &Applier) -> (Applier, Wire) {
    let b = join_apply(&memory(), of.local());
    let wire = connect(&of.db, &b.db);
    sync(&[&wire], &[of, &b], || is_joined(&b, &of.local()));
    (b, wire)
}

fn ask(applier: &Applier, text: &str) {
    applier.append_with(vec![text.as_bytes().to_vec(), b"ack me".to_vec()], true).unwrap();
}

#[test]
fn what_a_stranger_writes_is_heard_by_whoever_it_meets() {
    let a = optimistic(&memory());
    let (b, wire) = joiner(&a);
    ask(&b, "put k 1");
    sync(&[&wire], &[&a, &b], || a.get("k").is_some());
    // And live, though nothing is granted.
    ask(&b, "put k 2");
    sync(&[&wire], &[&a, &b], || a.get("k").as_deref() == Some("2"));
    b.append_with(vec![b"put k 3".to_vec()], true).unwrap();
    sync(&[&wire], &[&a, &b], || have(&a.db, &b.local()) == 5);
    assert_eq!(a.get("k").as_deref(), Some("2"));
    assert_eq!(a.db.state_hash().unwrap(), b.db.state_hash().unwrap());
    assert!(!b.db.status().unwrap().writable);
}

#[test]
fn who_joins_hears_of_strangers_from_the_first_connection_on() {
    let a = optimistic(&memory());
    let (b, wire) = joiner(&a);
    ask(&b, "put k 1");
    sync(&[&wire], &[&a, &b], || a.get("k").is_some());
    // Nothing of the creator's is newer: no link of anybody leads to the stranger.
    let c = join_apply(&memory(), a.local());
    let between = connect(&b.db, &c.db);
    sync(&[&wire, &between], &[&a, &b, &c], || c.get("k").is_some());
    assert_eq!(c.db.state_hash().unwrap(), a.db.state_hash().unwrap());
}

#[test]
fn where_strangers_are_not_allowed_nothing_is_learned() {
    let a = create_apply(&memory());
    let b = join_apply(&memory(), a.local());
    let wire = connect(&a.db, &b.db);
    sync(&[&wire], &[&a, &b], || is_joined(&b, &a.local()));
    let (c, own) = (optimistic(&memory()), b.local());
    assert!(b.append_with(vec![b"put k 1".to_vec()], true).is_err());
    a.append(&["put k 1"]);
    sync(&[&wire], &[&a, &b], || b.get("k").is_some());
    assert!(a.db.progress().unwrap().iter().all(|feed| feed.key != own));
    drop(c);
}

#[test]
fn one_stranger_is_taken_so_far_and_further_with_what_is_acknowledged() {
    let a = optimistic(&memory());
    let (b, wire) = joiner(&a);
    for _ in 0..MAX_STRANGER_BLOCKS + 40 {
        b.append_with(vec![b"put k bad".to_vec()], true).unwrap();
    }
    let local = b.local();
    sync(&[&wire], &[&a, &b], || have(&a.db, &local) == MAX_STRANGER_BLOCKS);
    // A writer's entry after it comes: nobody waits for the rest.
    a.append(&["put k good"]);
    sync(&[&wire], &[&a, &b], || b.get("k").as_deref() == Some("good"));
    assert_eq!(have(&a.db, &local), MAX_STRANGER_BLOCKS);
    // Once granted it is an ordinary writer's feed.
    a.append(&[&format!("add {local}")]);
    sync(&[&wire], &[&a, &b], || have(&a.db, &local) >= MAX_STRANGER_BLOCKS + 40);

    let (c, wire) = joiner(&a);
    let local = c.local();
    for n in 0..MAX_STRANGER_BLOCKS {
        ask(&c, &format!("put n {n}"));
    }
    let last = (MAX_STRANGER_BLOCKS - 1).to_string();
    sync(&[&wire], &[&a, &c], || a.get("n").as_ref() == Some(&last));
    assert_eq!(have(&a.db, &local), 2 * MAX_STRANGER_BLOCKS);
}

#[test]
fn strangers_take_no_more_than_their_room_and_hold_up_nobody() {
    let a = optimistic(&memory());
    let (member, members_wire) = joiner(&a);
    a.append(&[&format!("add {}", member.local())]);
    let (b, wire) = joiner(&a);
    wire.close();
    for n in 0..MAX_STRANGERS + 10 {
        // Another key pair each time; the batches before stay announced.
        b.append_with(vec![b"put k bad".to_vec()], true).unwrap();
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
        b.db.set_local(seed).wait().unwrap();
    }
    let wire = connect(&a.db, &b.db);
    let known = || a.db.progress().unwrap().iter().filter(|feed| feed.have == 1).count();
    sync(&[&wire, &members_wire], &[&a, &b, &member], || known() >= MAX_STRANGERS - 1);
    member.append(&["put k good"]);
    sync(&[&wire, &members_wire], &[&a, &b, &member], || a.get("k").as_deref() == Some("good"));
    let strangers = a.db.progress().unwrap().len() - 2;
    assert!(strangers <= MAX_STRANGERS, "{strangers} strangers");
}

#[test]
fn what_a_stranger_links_is_bounded_as_it_is() {
    let a = optimistic(&memory());
    let (b, wire) = joiner(&a);
    wire.close();
    // `b` accepts `c` by its own `apply` and links it; `a` meets `c` through that link only.
    let c = join_apply(&memory(), a.local());
    let between = connect(&b.db, &c.db);
    sync(&[&between], &[&b, &c], || is_joined(&c, &a.local()));
    for n in 0..MAX_STRANGER_BLOCKS {
        ask(&c, &format!("put n {n}"));
    }
    let all = 2 * MAX_STRANGER_BLOCKS;
    sync(&[&between], &[&b, &c], || b.db.applied(&c.local(), all).unwrap());
    between.close();
    ask(&b, "put k 1");
    let wire = connect(&a.db, &b.db);
    sync(&[&wire], &[&a, &b], || a.get("k").as_deref() == Some("1"));
    assert_eq!(have(&a.db, &c.local()), all);
    assert_eq!(a.db.state_hash().unwrap(), b.db.state_hash().unwrap());
}

#[test]
fn in_open_mode_every_announced_feed_counts() {
    let open = |store: &Store, key| {
        let options = DatabaseOptions { open: true, key, ..DatabaseOptions::default() };
        store.database(options).wait().unwrap()
    };
    let a = open(&memory(), None);
    let key = a.info().unwrap().key;
    let [b, c] = [(); 2].map(|()| open(&memory(), Some(key)));
    put(&a, "a", "{}");
    put(&b, "b", "{}");
    put(&c, "c", "{}");
    let wires = [connect(&a, &b), connect(&b, &c)];
    carry_until(&[&wires[0], &wires[1]], || {
        [&a, &b, &c].iter().all(|db| ["a", "b", "c"].iter().all(|key| get(db, key).is_some()))
    });
    assert_eq!(a.state_hash().unwrap(), c.state_hash().unwrap());
}
