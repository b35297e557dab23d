//! Apply mode over whole stores: what is appended is applied, in one order everywhere.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::apply_support::*;
use crate::support::{Wire, carry_until, connect, memory};
use multi_hyperbee::db::{Code, Event, FeedChoice, Location, Store, StoreOptions, Transport};
use std::sync::Arc;

/// Carries the connections, and applies on all, until `done`.
fn sync(wires: &[&Wire], appliers: &[&Applier], mut done: impl FnMut() -> bool) {
    carry_until(wires, || {
        for applier in appliers {
            applier.drain(true);
        }
        done()
    });
}

fn flushed(appliers: &[&Applier]) -> bool {
    appliers.iter().all(|applier| applier.db.is_flushed().unwrap())
}

fn same(appliers: &[&Applier]) -> bool {
    let first = appliers[0].view();
    appliers
        .iter()
        .all(|applier| applier.view() == first && applier.db.heads_of() == appliers[0].db.heads_of())
}

trait Heads {
    fn heads_of(&self) -> Vec<(multi_hyperbee::types::FeedKey, u64)>;
}

impl Heads for multi_hyperbee::db::Db {
    fn heads_of(&self) -> Vec<(multi_hyperbee::types::FeedKey, u64)> {
        self.progress().unwrap().into_iter().map(|feed| (feed.key, feed.placed)).collect()
    }
}

#[test]
fn what_is_appended_is_applied_in_the_same_commit() {
    let a = create_apply(&memory());
    assert_eq!(a.append(&["put k 1"]), 2);
    assert_eq!(a.get("k").as_deref(), Some("1"));
    assert_eq!(a.append(&["inc k", "inc k"]), 4);
    assert_eq!(a.get("k").as_deref(), Some("3"));
    assert_eq!(a.db.status().unwrap().version, 2);
    assert!(a.db.applied(&a.local(), 4).unwrap());
    assert_eq!(a.counts.borrow().undos, 0);
}

#[test]
fn it_goes_on_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let location = Location::Path(directory.path().to_owned());
    let mut versions = Vec::new();
    for round in 1..4 {
        let store = Store::open(&location, &StoreOptions::default()).unwrap();
        let a = create_apply(&store);
        a.append(&["inc k"]);
        assert_eq!(a.get("k"), Some(round.to_string()));
        versions.push(a.db.status().unwrap().version);
        a.db.close().wait().unwrap();
        store.close().wait().unwrap();
    }
    assert_eq!(versions, [1, 2, 3]);
}

#[test]
fn two_writers_who_wrote_apart_agree() {
    let stores = [memory(), memory()];
    let a = create_apply(&stores[0]);
    let b = join_apply(&stores[1], a.local());
    a.append(&[&format!("add {} indexer", b.local())]);
    let wire = connect(&a.db, &b.db);
    sync(&[&wire], &[&a, &b], || b.db.status().unwrap().writable);
    wire.close();
    for _ in 0..20 {
        a.append(&["log all a"]);
        b.append(&["log all b"]);
    }
    let before = b.counts.borrow().applies + a.counts.borrow().applies;
    let wire = connect(&a.db, &b.db);
    sync(&[&wire], &[&a, &b], || flushed(&[&a, &b]) && same(&[&a, &b]));
    let all = a.get("all").unwrap();
    assert_eq!((all.len(), all.matches('a').count()), (40, 20));
    let applies = b.counts.borrow().applies + a.counts.borrow().applies - before;
    assert!(applies <= 2 * 40, "{applies} applications for 20 new entries on each side");
    assert!(a.counts.borrow().undos <= 1 && b.counts.borrow().undos <= 1);
    assert_eq!(a.db.state_hash().unwrap(), b.db.state_hash().unwrap());
}

/// Of a feed that is only linked a database wants what is linked. More of it may be here all the same, brought by something
/// else, and nothing that arrives later says so.
#[test]
fn what_was_here_before_it_was_wanted_is_placed_when_it_is() {
    let stores = [memory(), memory(), memory()];
    let a = create_apply(&stores[0]);
    let b = join_apply(&stores[1], a.local());
    let writer = b.local();
    a.append(&[&format!("add {writer}")]);
    let wire = connect(&a.db, &b.db);
    sync(&[&wire], &[&a, &b], || b.db.status().unwrap().writable);
    b.append(&["log all b"]);
    sync(&[&wire], &[&a, &b], || same(&[&a, &b]));
    a.append(&["log all a"]);
    sync(&[&wire], &[&a, &b], || same(&[&a, &b]));

    // It is not applied there: nobody is granted yet.
    let found = |db: &multi_hyperbee::db::Db| {
        db.progress()
            .unwrap()
            .iter()
            .find(|feed| feed.key == writer)
            .map_or((0, 0), |feed| (feed.have, feed.placed))
    };
    let c = join_apply(&stores[2], a.local());
    let to_c = connect(&a.db, &c.db);
    carry_until(&[&to_c], || found(&c.db).0 == 1);
    to_c.close();
    c.db.close().wait().unwrap();

    for _ in 0..2 {
        b.append(&["log all b"]);
    }
    sync(&[&wire], &[&a, &b], || same(&[&a, &b]));
    let feeds = [&stores[0], &stores[2]].map(|store| store.feed(FeedChoice::Key(writer)).wait().unwrap());
    let by_itself = Wire {
        a: stores[0].replicate(crate::support::options(Transport::Initiator)).unwrap(),
        b: stores[2].replicate(crate::support::options(Transport::Responder)).unwrap(),
    };
    feeds[1].want(0, 3).unwrap();
    carry_until(&[&by_itself], || feeds[1].has_all(0, 3).unwrap());
    by_itself.close();

    let c = join_apply(&stores[2], a.local());
    c.drain(true);
    assert_eq!((found(&c.db), c.view()), ((3, 3), a.view()));
}

#[test]
fn who_is_not_granted_cannot_append_and_harms_nothing() {
    let stores = [memory(), memory()];
    let a = create_apply(&stores[0]);
    let b = join_apply(&stores[1], a.local());
    let error = b.append_with(vec![b"put k 1".to_vec()], false).unwrap_err();
    assert_eq!(error.code, Code::NotWritable);
    assert!(error.message.contains("Not writable"));
    assert!(b.db.progress().unwrap().iter().all(|feed| feed.have == 0));
}

#[test]
fn an_append_whose_apply_fails_is_kept_and_applied_later() {
    let a = create_apply(&memory());
    a.append(&["put k 1"]);
    assert_eq!(a.append(&["fail", "put k 2"]), 4);
    assert_eq!(a.get("k").as_deref(), Some("1"));
    assert_eq!(a.append(&["put k 3"]), 5);
    a.drain(true);
    assert_eq!(a.get("k").as_deref(), Some("1"));
    *a.fails.borrow_mut() = false;
    a.drain(true);
    assert_eq!(a.get("k").as_deref(), Some("3"));
    assert_eq!(a.counts.borrow().undos, 0);
}

#[test]
fn with_every_indexer_speaking_all_becomes_final_and_then_it_is_quiet() {
    let stores = [memory(), memory(), memory()];
    let a = create_apply(&stores[0]);
    let (b, c) = (join_apply(&stores[1], a.local()), join_apply(&stores[2], a.local()));
    let finalized = a.db.subscribe(Arc::new(|| {})).unwrap();
    a.append(&[&format!("add {} indexer", b.local()), &format!("add {} indexer", c.local())]);
    let wires = [connect(&a.db, &b.db), connect(&b.db, &c.db)];
    let wires: Vec<&Wire> = wires.iter().collect();
    let all = [&a, &b, &c];
    sync(&wires, &all, || b.db.status().unwrap().writable && c.db.status().unwrap().writable);
    b.append(&["put k b"]);
    let mut acks = 0;
    for _ in 0..20 {
        sync(&wires, &all, || flushed(&all) && same(&all));
        let spoke = all.iter().filter(|one| one.db.acknowledge().wait().unwrap()).count();
        acks += spoke;
        if spoke == 0 {
            break;
        }
    }
    assert!((1..=9).contains(&acks), "{acks} acknowledgements");
    assert!(all.iter().all(|one| !one.db.status().unwrap().ack_wanted));
    let finality: Vec<_> = all.iter().map(|one| one.db.finality().unwrap().length).collect();
    // Genesis, the grants and b's entry at least; at most acknowledgements remain.
    assert!(finality.iter().all(|length| *length >= 3), "{finality:?}");
    let longest = finalized.take().into_iter().filter_map(|event| match event {
        Event::Finalized { length } => Some(length),
        _ => None,
    });
    assert_eq!(longest.max(), Some(finality[0]));
}

#[test]
fn a_silent_indexer_holds_finality_until_it_is_declared_lost() {
    let stores = [memory(), memory()];
    let a = create_apply(&stores[0]);
    let b = join_apply(&stores[1], a.local());
    a.append(&[&format!("add {} indexer", b.local())]);
    a.append(&["put k 1"]);
    let finality = a.db.finality().unwrap();
    assert_eq!((finality.length, finality.waiting_for), (2, vec![b.local()]));
    assert_eq!(a.get("k").as_deref(), Some("1"));
    a.append(&[&format!("lost {}", b.local())]);
    let finality = a.db.finality().unwrap();
    assert_eq!((finality.length, finality.waiting_for), (4, Vec::new()));
    // Its key is granted nothing any more.
    a.append(&[&format!("add {} indexer", b.local())]);
    a.append(&["put k 2"]);
    assert_eq!(a.db.finality().unwrap().length, 6);
}

#[test]
fn a_declaration_that_loses_its_effect_has_made_nothing_final() {
    let stores = [memory(), memory(), memory()];
    let a = create_apply(&stores[0]);
    let (b, c) = (join_apply(&stores[1], a.local()), join_apply(&stores[2], a.local()));
    a.append(&[&format!("add {} indexer", b.local()), &format!("add {} indexer", c.local())]);
    a.append(&["put k 1"]);
    let wire = connect(&a.db, &b.db);
    sync(&[&wire], &[&a, &b], || b.db.status().unwrap().writable);
    b.append(&["put k 2"]);
    sync(&[&wire], &[&a, &b], || flushed(&[&a, &b]) && same(&[&a, &b]));
    wire.close();
    let before = a.db.finality().unwrap();
    assert!(before.waiting_for.contains(&c.local()), "{before:?}");
    b.append(&[&format!("rm {}", a.local())]);
    a.append(&[&format!("lost {}", c.local())]);
    // What b may have said meanwhile can still take the declaration's effect.
    let declared = a.db.finality().unwrap();
    assert_eq!((declared.length, declared.waiting_for), (before.length, vec![b.local()]));
    let wire = connect(&a.db, &b.db);
    sync(&[&wire], &[&a, &b], || flushed(&[&a, &b]) && same(&[&a, &b]));
    let after = a.db.finality().unwrap();
    assert_eq!(after, b.db.finality().unwrap());
    assert_eq!((after.length, after.waiting_for), (before.length, vec![c.local()]));
    // b's own, which nobody takes back, counts with all before it.
    b.append(&[&format!("lost {}", c.local())]);
    let finality = b.db.finality().unwrap();
    assert_eq!((finality.length, finality.waiting_for), (finality.placed, Vec::new()));
}

#[test]
fn strangers_count_only_where_apply_acknowledges_them() {
    let stores = [memory(), memory()];
    let optimistic = |key| multi_hyperbee::db::DatabaseOptions { optimistic: true, ..options(key) };
    let a = Applier::new(stores[0].database(optimistic(None)).wait().unwrap());
    let b = Applier::new(stores[1].database(options(Some(a.local()))).wait().unwrap());
    let wire = connect(&a.db, &b.db);
    sync(&[&wire], &[&a, &b], || flushed(&[&a, &b]) && b.db.progress().unwrap().iter().any(|f| f.placed > 0));
    let length = b.append_with(vec![b"put k bad".to_vec()], true).unwrap();
    b.append_with(vec![b"put k good".to_vec(), b"ack me".to_vec()], true).unwrap();
    b.drain(true);
    assert_eq!((length, b.get("k").as_deref()), (1, Some("good")));
    assert!(!b.db.status().unwrap().writable);
    a.db.wakeup(b.local(), 3).wait().unwrap();
    sync(&[&wire], &[&a, &b], || a.get("k").is_some());
    assert_eq!(a.get("k").as_deref(), Some("good"));
    assert_eq!(a.db.state_hash().unwrap(), b.db.state_hash().unwrap());
}

#[test]
fn an_append_writes_as_much_with_thousands_of_writers_as_with_few() {
    let cost = |writers: usize| {
        let store = memory();
        let a = create_apply(&store);
        let grants: Vec<String> = (0..writers).map(|n| format!("add {n:08x}{}", "07".repeat(28))).collect();
        for grants in grants.chunks(500) {
            a.append(&grants.iter().map(String::as_str).collect::<Vec<_>>());
        }
        a.append(&["put k 1"]);
        let before = store.wrote().unwrap();
        a.append(&["put k 2"]);
        let after = store.wrote().unwrap();
        (after.commits - before.commits, after.rows - before.rows, after.bytes - before.bytes)
    };
    let many =
        std::env::var("MULTI_HYPERBEE_FEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(2_000);
    let (few, many) = (cost(16), cost(many));
    println!("an append of 16 writers, and of many: {few:?}, {many:?}");
    assert_eq!((few.0, few.1), (many.0, many.1));
    // Numbers are longer, and a row of the tree may be fuller.
    assert!(many.2 <= few.2 + 700, "{few:?} {many:?}");
}

/// Found by the simulator (seed 11106299): what was undone showed in which entry was said to have written a value.
#[test]
fn who_wrote_a_value_does_not_depend_on_what_was_undone() {
    let stores = [memory(), memory(), memory()];
    let a = create_apply(&stores[0]);
    let [b, c] = [1, 2].map(|at: usize| join_apply(&stores[at], a.local()));
    a.append(&[&format!("add {} indexer", b.local()), &format!("add {}", c.local()), "put k v"]);
    let meet = |one: &Applier, two: &Applier| {
        let wire = connect(&one.db, &two.db);
        carry_until(&[&wire], || {
            one.drain(true);
            two.drain(true);
            one.db.state_claim().unwrap() == two.db.state_claim().unwrap() && one.get("k") == two.get("k")
        });
        wire.close();
    };
    meet(&a, &b);
    meet(&a, &c);
    b.append(&[&format!("rm {}", c.local())]);
    c.append(&["put k w"]);
    meet(&a, &c);
    assert_eq!(a.get("k").as_deref(), Some("w"));
    a.append(&["put k v"]);
    meet(&a, &b);
    let written = |one: &Applier| one.db.get_entry(b"k", None).unwrap().unwrap().stamp;
    assert_eq!(a.get("k").as_deref(), Some("v"));
    assert_eq!(written(&a), written(&b));
}
