//! A merge of the user's own, through the Rust API: a closure stands in for JavaScript.
#![allow(
    clippy::unwrap_used,
    clippy::unnecessary_wraps,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test says so by panicking"
)]

use crate::support::*;
use multi_hyperbee::db::{
    Code, DatabaseOptions, Db, DiffChange, DiffEntry, Expect, Functions, Keep, Location, Question, Round,
    Runner, Store, StoreOptions, Write,
};
use multi_hyperbee::types::{Effective, FeedKey, Stamp};
use proptest::prelude::*;

const MERGE: Functions = Functions { merge: true, resolve: false };
const RESOLVE: Functions = Functions { merge: false, resolve: true };

fn next_round(runner: &Runner, retry: bool) -> Option<Round> {
    futures::executor::block_on(runner.round(retry)).unwrap()
}

/// Answers everything that is asked, until a question has no answer any more.
fn work(round: &mut Round, answer: &dyn Fn(&Question, Option<&str>) -> Option<String>) {
    while let Some(question) = round.ask().unwrap() {
        let merged = round.merged().map(|entry| String::from_utf8(entry.value).unwrap());
        match (answer(&question, merged.as_deref()), &question) {
            (Some(text), Question::Merge { .. }) => round.answer_object(&text).unwrap(),
            (Some(text), Question::Resolve { .. }) => round.choose(text == "b"),
            (None, _) => round.fail(),
        }
    }
}

/// Commits, working out again what has changed meanwhile.
fn commit(round: &mut Round, answer: &dyn Fn(&Question, Option<&str>) -> Option<String>) {
    loop {
        let changed = round.commit().wait().unwrap();
        if !round.again(&changed).unwrap() {
            return;
        }
        work(round, answer);
    }
}

fn settle(runner: &Runner, answer: &dyn Fn(&Question, Option<&str>) -> Option<String>) {
    while let Some(mut round) = next_round(runner, false) {
        work(&mut round, answer);
        commit(&mut round, answer);
    }
}

fn text_of(change: &DiffChange) -> String {
    match change {
        DiffChange::List(text) => text.clone(),
        DiffChange::Register(bytes) => format!("{bytes:?}"),
        DiffChange::Delete => "delete".to_owned(),
    }
}

/// The same for values that differ in the order of properties only.
fn canonical(text: &str) -> String {
    // The values are flat: sorting the names of the top is enough.
    let sorted: std::collections::BTreeMap<String, serde_json::Value> = serde_json::from_str(text).unwrap();
    serde_json::to_string(&sorted).unwrap()
}

/// Says all that it was asked, so that another order, another `current` or a diff too many shows.
fn chained(current: Option<&str>, diff: &DiffEntry) -> String {
    let current = current.map(canonical).unwrap_or_default();
    let said = format!("{current}|{}|{}", diff.stamp, text_of(&diff.change));
    format!(r#"{{"said":"{}","list":[{}]}}"#, blake3::hash(said.as_bytes()), diff.seq)
}

fn chain(question: &Question, _: Option<&str>) -> Option<String> {
    let Question::Merge { current, diff, .. } = question else { panic!("{question:?}") };
    let current = current.as_ref().map(|entry| String::from_utf8(entry.value.clone()).unwrap());
    Some(chained(current.as_deref(), diff))
}

/// What a key's diffs come to under [`chained`], from the document alone.
fn expected(db: &Db, key: &str) -> Option<String> {
    let mut live: Option<String> = None;
    let mut kept: Option<String> = None;
    let mut tombstone: Option<Stamp> = None;
    let mut diffs = db.key_diffs(key.as_bytes(), Effective::default()).unwrap();
    while let Some(found) = diffs.next(1_000, 1 << 20).unwrap() {
        for diff in found {
            if diff.change == DiffChange::Delete {
                kept = live.take().or(kept);
                tombstone = Some(diff.stamp);
                continue;
            }
            let unseen = diff.prev.zip(tombstone).is_some_and(|(prev, tombstone)| prev < tombstone);
            let from = if live.is_some() || unseen { live.take().or(kept.take()) } else { None };
            live = Some(chained(from.as_deref(), &diff));
            (kept, tombstone) = (None, None);
        }
    }
    live.as_deref().map(canonical)
}

fn shown(db: &Db, key: &str) -> Option<String> {
    get(db, key).as_deref().map(canonical)
}

fn grouped(stores: &[Store]) -> Vec<Db> {
    let mut dbs = vec![create(&stores[0])];
    let key = dbs[0].info().unwrap().key;
    dbs.extend(stores[1..].iter().map(|store| join(store, key)));
    for db in &dbs[1..] {
        dbs[0].add_writer(db.info().unwrap().local, false).wait().unwrap();
    }
    for db in &dbs[1..] {
        let wire = connect(&dbs[0], db);
        carry_until(&[&wire], || db.status().unwrap().writable);
        wire.close();
    }
    dbs
}

/// Whether two replicas hold the same of every feed.
fn level(a: &Db, b: &Db) -> bool {
    let placed = |db: &Db| -> Vec<(FeedKey, u64)> {
        let all = db.progress().unwrap().into_iter().filter(|feed| feed.placed > 0);
        all.map(|feed| (feed.key, feed.placed)).collect()
    };
    placed(a) == placed(b)
}

fn meet(a: &Db, b: &Db) {
    let wire = connect(a, b);
    carry_until(&[&wire], || level(a, b));
    wire.close();
}

const KEYS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    Put {
        who: usize,
        key: usize,
        n: u8,
    },
    Delete {
        who: usize,
        key: usize,
    },
    Batch {
        who: usize,
        n: u8,
    },
    Meet {
        a: usize,
        b: usize,
    },
    /// The round runs to its end, or stays open over the next steps.
    Round {
        who: usize,
        open: bool,
    },
    /// Another handle takes over.
    Replace {
        who: usize,
    },
}

fn steps() -> impl Strategy<Value = (usize, Vec<Step>)> {
    (2..5_usize).prop_flat_map(|count| {
        let (who, key) = (0..count, 0..KEYS.len());
        let step = prop_oneof![
            6 => (who.clone(), key.clone(), 0..9_u8).prop_map(|(who, key, n)| Step::Put { who, key, n }),
            1 => (who.clone(), key).prop_map(|(who, key)| Step::Delete { who, key }),
            1 => (who.clone(), 0..9_u8).prop_map(|(who, n)| Step::Batch { who, n }),
            3 => (who.clone(), who.clone()).prop_map(|(a, b)| Step::Meet { a, b }),
            4 => (who.clone(), any::<bool>()).prop_map(|(who, open)| Step::Round { who, open }),
            1 => who.prop_map(|who| Step::Replace { who }),
        ];
        (Just(count), prop::collection::vec(step, 1..40))
    })
}

fn a_write(key: &str, n: u8) -> Write {
    put_write(key, &format!(r#"{{"n":{n},"list":[{n},1]}}"#))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn i1_replicas_with_one_function_converge_on_what_the_diffs_say((count, steps) in steps()) {
        let stores: Vec<Store> = (0..count).map(|_| memory()).collect();
        let dbs = grouped(&stores);
        let mut runners: Vec<Runner> = dbs.iter().map(|db| db.attach(MERGE).unwrap()).collect();
        let mut open: Vec<Option<Round>> = dbs.iter().map(|_| None).collect();
        for step in steps {
            match step {
                Step::Put { who, key, n } => {
                    dbs[who].write(vec![a_write(KEYS[key], n)]).wait().unwrap().remove(0).unwrap();
                }
                Step::Delete { who, key } => {
                    del(&dbs[who], KEYS[key]);
                }
                Step::Batch { who, n } => {
                    let batch = Write::Batch(KEYS.iter().map(|key| a_write(key, n)).collect());
                    dbs[who].write(vec![batch]).wait().unwrap().remove(0).unwrap();
                }
                Step::Meet { a, b } if a == b => {}
                Step::Meet { a, b } => meet(&dbs[a], &dbs[b]),
                Step::Round { who, open: stays } => {
                    let taken = open[who].take().or_else(|| next_round(&runners[who], false));
                    if let Some(mut round) = taken {
                        work(&mut round, &chain);
                        if stays {
                            open[who] = Some(round);
                        } else {
                            commit(&mut round, &chain);
                        }
                    }
                }
                Step::Replace { who } => {
                    let next = dbs[who].attach(MERGE).unwrap();
                    let late = open[who].take();
                    runners[who] = next;
                    if let Some(mut late) = late {
                        prop_assert_eq!(late.commit().wait().unwrap_err().code, Code::Closed);
                    }
                }
            }
        }
        drop(open);
        for _ in 0..2 {
            for db in &dbs[1..] {
                meet(&dbs[0], db);
            }
        }
        for runner in &runners {
            settle(runner, &chain);
            prop_assert!(!runner.is_due().unwrap());
        }
        for key in KEYS {
            let wanted = expected(&dbs[0], key);
            for db in &dbs {
                prop_assert_eq!(shown(db, key), wanted.clone(), "{}", key);
            }
        }
        let hashes: Vec<_> = dbs.iter().map(|db| db.state_hash().unwrap()).collect();
        prop_assert!(hashes.iter().all(|hash| *hash == hashes[0]));
    }
}

#[test]
fn a_function_that_returns_what_is_merged_changes_nothing_not_even_ids() {
    let stores = [memory(), memory(), memory()];
    let dbs = grouped(&stores);
    let same = |_: &Question, merged: Option<&str>| merged.map(str::to_owned);
    let runner = dbs[0].attach(MERGE).unwrap();
    put(&dbs[1], "k", r#"{"l":["x",{"id":1,"n":[1]},"z"],"o":{"p":1}}"#);
    meet(&dbs[0], &dbs[1]);
    meet(&dbs[0], &dbs[2]);
    settle(&runner, &same);
    edit(&dbs[0], "k", |text| text.replace("\"x\"", "\"w\",\"x\""));
    edit(&dbs[1], "k", |text| text.replace("[1]", "[1,2]").replace("\"p\":1", "\"q\":2"));
    edit(&dbs[2], "k", |text| text.replace(",\"z\"", ""));
    settle(&runner, &same);
    for db in &dbs[1..] {
        meet(&dbs[0], db);
    }
    meet(&dbs[0], &dbs[1]);
    settle(&runner, &same);
    assert_eq!(get(&dbs[0], "k").as_deref(), Some(r#"{"l":["w","x",{"id":1,"n":[1,2]}],"o":{"q":2}}"#));
    assert_eq!(get(&dbs[0], "k"), get(&dbs[1], "k"));
    assert_eq!(dbs[0].state_hash().unwrap(), dbs[1].state_hash().unwrap());
}

#[test]
fn i2_what_waits_survives_reopening_and_is_not_merged_by_a_handle_without_functions() {
    let dir = tempfile::tempdir().unwrap();
    let location = Location::Path(dir.path().to_owned());
    let open = || Store::open(&location, &StoreOptions::default()).unwrap();
    let store = open();
    let db = create(&store);
    let runner = db.attach(MERGE).unwrap();
    assert!(next_round(&runner, false).is_none());
    put(&db, "k", r#"{"n":1}"#);
    assert!(runner.is_due().unwrap() && db.is_merging(&["k"]).unwrap());
    let round = next_round(&runner, false);
    assert_eq!(get(&db, "k"), None);
    drop((round, runner));
    assert!(!db.is_merging(&["k"]).unwrap());
    db.close().wait().unwrap();
    store.close().wait().unwrap();

    let store = open();
    let db = create(&store);
    assert_eq!(db.functions().unwrap(), MERGE);
    put(&db, "k", r#"{"n":2}"#);
    assert_eq!(get(&db, "k"), None);
    let runner = db.attach(MERGE).unwrap();
    settle(&runner, &chain);
    assert_eq!(shown(&db, "k"), expected(&db, "k"));
    assert!(get(&db, "k").is_some());
    assert_eq!(db.status().unwrap().version, 1);
}

#[test]
fn a_key_that_fails_keeps_its_value_and_is_tried_again_when_asked_or_when_it_changes() {
    let store = memory();
    let db = create(&store);
    let runner = db.attach(MERGE).unwrap();
    put(&db, "k", r#"{"n":1}"#);
    put(&db, "other", r#"{"n":1}"#);
    settle(&runner, &chain);
    let good = get(&db, "k");
    put(&db, "k", r#"{"n":2}"#);
    put(&db, "other", r#"{"n":2}"#);
    let only_other = |question: &Question, merged: Option<&str>| match question {
        Question::Merge { key, .. } if key == b"k" => None,
        _ => chain(question, merged),
    };
    settle(&runner, &only_other);
    assert_eq!(get(&db, "k"), good);
    assert_eq!(shown(&db, "other"), expected(&db, "other"));
    assert!(!runner.is_due().unwrap() && !db.is_merging(&["k"]).unwrap());
    assert!(next_round(&runner, false).is_none());
    let mut round = next_round(&runner, true).unwrap();
    work(&mut round, &chain);
    commit(&mut round, &chain);
    assert_eq!(shown(&db, "k"), expected(&db, "k"));

    put(&db, "k", r#"{"n":3}"#);
    settle(&runner, &only_other);
    assert_ne!(shown(&db, "k"), expected(&db, "k"));
    put(&db, "k", r#"{"n":4}"#);
    settle(&runner, &chain);
    assert_eq!(shown(&db, "k"), expected(&db, "k"));
    // What cannot be stored is refused, and the question stands.
    put(&db, "k", r#"{"n":5}"#);
    let mut round = next_round(&runner, false).unwrap();
    round.ask().unwrap().unwrap();
    for bad in ["[]", "{", r#""text""#, r#"{"a":1e999}"#] {
        assert_eq!(round.answer_object(bad).unwrap_err().code, Code::InvalidValue);
    }
    round.answer_object(r#"{"ok":true}"#).unwrap();
    assert!(round.ask().unwrap().is_none());
    assert_eq!(round.commit().wait().unwrap(), Vec::<usize>::new());
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"ok":true}"#));
}

#[test]
fn i4_keys_that_change_during_a_round_are_worked_out_again_and_all_become_visible_at_once() {
    let store = memory();
    let db = create(&store);
    let runner = db.attach(MERGE).unwrap();
    assert!(next_round(&runner, false).is_none());
    let batch = Write::Batch(KEYS.iter().map(|key| a_write(key, 1)).collect());
    db.write(vec![batch]).wait().unwrap().remove(0).unwrap();
    let mut round = next_round(&runner, false).unwrap();
    work(&mut round, &chain);
    put(&db, "b", r#"{"n":7}"#);
    let changed = round.commit().wait().unwrap();
    assert_eq!(changed, [1]);
    assert!(KEYS.iter().all(|key| get(&db, key).is_none()));
    assert!(round.again(&changed).unwrap());
    let mut asked = Vec::new();
    while let Some(question) = round.ask().unwrap() {
        let Question::Merge { key, .. } = &question else { panic!() };
        asked.push(String::from_utf8(key.clone()).unwrap());
        round.answer_object(&chain(&question, None).unwrap()).unwrap();
    }
    assert_eq!(asked, ["b", "b"]);
    assert_eq!(round.commit().wait().unwrap(), Vec::<usize>::new());
    assert!(KEYS.iter().all(|key| get(&db, key).is_some() && shown(&db, key) == expected(&db, key)));
    // A key that never comes to rest does not hold the others up for ever.
    let batch = Write::Batch(KEYS.iter().map(|key| a_write(key, 2)).collect());
    db.write(vec![batch]).wait().unwrap().remove(0).unwrap();
    let mut round = next_round(&runner, false).unwrap();
    let mut times = 0;
    loop {
        work(&mut round, &chain);
        put(&db, "b", &format!(r#"{{"n":{times},"x":1}}"#));
        times += 1;
        let changed = round.commit().wait().unwrap();
        if !round.again(&changed).unwrap() {
            break;
        }
    }
    assert_eq!(times, 4);
    assert_eq!(shown(&db, "a"), expected(&db, "a"));
    assert_ne!(shown(&db, "b"), expected(&db, "b"));
    settle(&runner, &chain);
    assert_eq!(shown(&db, "b"), expected(&db, "b"));
}

#[test]
fn other_functions_work_out_everything_anew_and_none_return_to_the_built_in_merge() {
    let store = memory();
    let db = create(&store);
    let reference = create(&memory());
    for n in 0..1_500 {
        put(&db, &format!("k{n}"), r#"{"n":1}"#);
    }
    put(&db, "k0", r#"{"n":2}"#);
    for db in [&db, &reference] {
        put(db, "gone", "{}");
        del(db, "gone");
    }
    let before = db.state_hash().unwrap();
    let runner = db.attach(MERGE).unwrap();
    assert!(runner.is_due().unwrap());
    settle(&runner, &chain);
    for key in ["k0", "k7", "k1499", "gone"] {
        assert_eq!(shown(&db, key), expected(&db, key), "{key}");
    }
    assert_ne!(db.state_hash().unwrap(), before);
    drop(runner);
    let built_in = db.attach(Functions::default()).unwrap();
    assert!(next_round(&built_in, false).is_none());
    drop(built_in);
    assert_eq!(db.state_hash().unwrap(), before);
    put(&db, "k0", r#"{"n":3}"#);
    assert_eq!(get(&db, "k0").as_deref(), Some(r#"{"n":3}"#));
}

/// While keys are being marked those that wait may have no row that says so.
#[test]
fn a_key_that_changes_before_it_is_marked_keeps_what_waited() {
    let stores = [memory(), memory()];
    let dbs = grouped(&stores);
    let (db, reference) = (&dbs[0], &dbs[1]);
    for n in 0..1_500 {
        put(db, &format!("k{n}"), r#"{"n":1}"#);
    }
    let runner = db.attach(MERGE).unwrap();
    settle(&runner, &chain);
    drop(runner);
    // Never merged so far: no row of the view is there to go on from.
    put(db, "z", r#"{"a":1}"#);
    for functions in [Functions::default(), MERGE, Functions::default()] {
        let runner = db.attach(functions).unwrap();
        let mut round = Box::pin(runner.round(false));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        // Each poll asks for the next slice, and the write comes behind it.
        for n in 0..3 {
            if round.as_mut().poll(&mut context).is_ready() {
                break;
            }
            put(db, "z", &format!(r#"{{"c":{n}}}"#));
        }
        drop(round);
        settle(&runner, &chain);
        if functions.any() {
            assert_eq!(shown(db, "z"), expected(db, "z"));
        } else {
            meet(db, reference);
            assert_eq!(get(db, "z"), get(reference, "z"));
            assert_eq!(db.state_hash().unwrap(), reference.state_hash().unwrap());
        }
    }
}

#[test]
fn i5_the_first_handle_merges_and_the_next_takes_over() {
    let store = memory();
    let db = create(&store);
    let other = create(&store);
    let (first, second) = (db.attach(MERGE).unwrap(), other.attach(MERGE).unwrap());
    settle(&first, &chain);
    put(&other, "k", r#"{"n":1}"#);
    assert!(first.is_due().unwrap() && !second.is_due().unwrap());
    assert!(next_round(&second, false).is_none());
    let mut late = next_round(&first, false).unwrap();
    work(&mut late, &chain);
    drop(first);
    assert!(second.is_due().unwrap());
    assert_eq!(late.commit().wait().unwrap_err().code, Code::Closed);
    assert_eq!(get(&db, "k"), None);
    settle(&second, &chain);
    assert_eq!(shown(&db, "k"), expected(&db, "k"));
}

fn register(key: &str, value: &str) -> Write {
    let (key, value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    Write::Register { key, value, expect: Expect::Any }
}

fn put_register(db: &Db, value: &str) {
    db.write(vec![register("k", value)]).wait().unwrap().remove(0).unwrap();
}

fn get_register(db: &Db) -> Option<String> {
    db.get_entry(b"k", None).unwrap().map(|entry| String::from_utf8(entry.value).unwrap())
}

/// The greatest stands, whoever wrote it when.
fn greatest(question: &Question, _: Option<&str>) -> Option<String> {
    let Question::Resolve { a, b, .. } = question else { panic!("{question:?}") };
    assert!(a.stamp < b.stamp);
    Some(if b.value > a.value { "b" } else { "a" }.to_owned())
}

#[test]
fn registers_that_had_not_seen_each_other_are_resolved_and_those_that_had_are_not() {
    let stores = [memory(), memory(), memory()];
    let dbs = grouped(&stores);
    let runners: Vec<Runner> = dbs.iter().map(|db| db.attach(RESOLVE).unwrap()).collect();
    let all = || {
        for _ in 0..2 {
            for db in &dbs[1..] {
                meet(&dbs[0], db);
            }
        }
        for runner in &runners {
            settle(runner, &greatest);
        }
        let values: Vec<_> = dbs.iter().map(get_register).collect();
        assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
        let hashes: Vec<_> = dbs.iter().map(|db| db.state_hash().unwrap()).collect();
        assert!(hashes.iter().all(|hash| *hash == hashes[0]));
        values[0].clone()
    };
    for runner in &runners {
        settle(runner, &greatest);
    }
    put_register(&dbs[0], "m");
    assert!(!runners[0].is_due().unwrap());
    put_register(&dbs[0], "a");
    assert_eq!(get_register(&dbs[0]).as_deref(), Some("a"));
    assert_eq!(all().as_deref(), Some("a"));
    // Three at once: the middle one in time is the greatest.
    put_register(&dbs[0], "x");
    put_register(&dbs[1], "z");
    put_register(&dbs[2], "y");
    assert_eq!(all().as_deref(), Some("z"));
    // A later one that had seen all of them stands, though it is less.
    put_register(&dbs[2], "b");
    assert_eq!(all().as_deref(), Some("b"));
    // One had seen "d" but not "c": "c" still stands beside it.
    put_register(&dbs[0], "c");
    put_register(&dbs[1], "d");
    meet(&dbs[1], &dbs[2]);
    put_register(&dbs[2], "a");
    assert_eq!(all().as_deref(), Some("c"));
    // A delete takes what stands before it with it.
    put_register(&dbs[1], "q");
    dbs[0].write(vec![Write::Delete { key: b"k".to_vec(), expect: Expect::Any }]).wait().unwrap();
    assert_eq!(all(), None);
    put_register(&dbs[1], "after");
    assert_eq!(all().as_deref(), Some("after"));
}

#[test]
fn diffs_are_handed_out_up_to_the_one_asked_about() {
    let store = memory();
    let db = create(&store);
    let runner = db.attach(MERGE).unwrap();
    for n in 0..3 {
        put(&db, "k", &format!(r#"{{"n":{n}}}"#));
    }
    let mut round = next_round(&runner, false).unwrap();
    let mut counts = Vec::new();
    while let Some(question) = round.ask().unwrap() {
        let diffs = round.diffs(10, 1 << 20).unwrap();
        let Question::Merge { diff, .. } = &question else { panic!() };
        assert_eq!(diffs.last(), Some(diff));
        assert_eq!(round.diffs(1, 1 << 20).unwrap(), std::slice::from_ref(diff));
        counts.push(diffs.len());
        round.answer_object(&chain(&question, None).unwrap()).unwrap();
    }
    assert_eq!(counts, [1, 2, 3]);
}

/// Puts what was read, changed, though the key was deleted meanwhile.
fn put_back(db: &Db, base: (Stamp, u64), text: &str) {
    let value = text.as_bytes().to_vec();
    let write = Write::Put { key: b"k".to_vec(), value, base: Some(base), diff: None, expect: Expect::Any };
    db.write(vec![write]).wait().unwrap().remove(0).unwrap();
}

/// Where a tombstone went with old versions, functions that come later are asked about all of the key's diffs; what they
/// have said of a deleted key stays.
#[test]
fn functions_are_asked_about_keys_whose_tombstones_went_before_they_came() {
    let store = memory();
    let db = store.database(DatabaseOptions::default()).wait().unwrap();
    let trim = || {
        put(&db, "another", &format!(r#"{{"v":{}}}"#, db.status().unwrap().version));
        db.compact(Some(Keep::Versions(1)), |_| ()).wait().unwrap();
    };
    let base = || db.get(b"k", None, |row| (row.stamp, row.state)).unwrap().unwrap();
    put(&db, "k", r#"{"a":1}"#);
    let first = base();
    del(&db, "k");
    trim();
    let runner = db.attach(MERGE).unwrap();
    settle(&runner, &chain);
    assert_eq!((shown(&db, "k"), expected(&db, "k")), (None, None));
    put_back(&db, first, r#"{"a":1,"b":2}"#);
    settle(&runner, &chain);
    assert!(shown(&db, "k").is_some() && shown(&db, "k") == expected(&db, "k"));
    let second = base();
    del(&db, "k");
    settle(&runner, &chain);
    trim();
    settle(&runner, &chain);
    put_back(&db, second, r#"{"c":3}"#);
    settle(&runner, &chain);
    assert!(shown(&db, "k").is_some() && shown(&db, "k") == expected(&db, "k"));
    // And the other way round: what they have said is folded anew when they are gone.
    drop(runner);
    let none = db.attach(Functions::default()).unwrap();
    settle(&none, &chain);
    del(&db, "k");
    trim();
    assert_eq!(get(&db, "k"), None);
    put(&db, "k", r#"{"d":4}"#);
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"d":4}"#));
    let damages = store.verify(|_| ()).wait().unwrap().damages;
    assert_eq!(damages.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
}
