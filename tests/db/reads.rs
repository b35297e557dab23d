//! Cursors, history and state hashes against a plain map.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::*;
use multi_hyperbee::db::{Code, Db, Location, Range, Store, StoreOptions};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Model = BTreeMap<Vec<u8>, String>;

/// A scan to its end, a few entries at a time.
fn scanned(db: &Db, range: Range, at: Option<u64>, step: usize) -> Vec<(Vec<u8>, String)> {
    let mut scan = db.scan(range, at).unwrap();
    let mut found = Vec::new();
    loop {
        let some = scan.next(step, 1 << 20).unwrap();
        if some.is_empty() {
            return found;
        }
        found.extend(some.into_iter().map(|entry| (entry.key, String::from_utf8(entry.value).unwrap())));
    }
}

fn expected(model: &Model, range: &Range) -> Vec<(Vec<u8>, String)> {
    let above = |key: &Vec<u8>| match (&range.gt, &range.gte) {
        (Some(gt), _) => key > gt,
        (None, Some(gte)) => key >= gte,
        (None, None) => true,
    };
    let below = |key: &Vec<u8>| match (&range.lt, &range.lte) {
        (Some(lt), _) => key < lt,
        (None, Some(lte)) => key <= lte,
        (None, None) => true,
    };
    let mut found: Vec<_> = model
        .iter()
        .filter(|(key, _)| above(key) && below(key))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    if range.reverse {
        found.reverse();
    }
    found.truncate(range.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap()));
    found
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "a\0", "aa", "ab", "b", "\u{7f}", "\u{10ffff}", "ab\0\0\0\0\0\0\0\0"])
        .prop_map(str::to_owned)
}

fn range() -> impl Strategy<Value = Range> {
    let bound = || prop::option::of(key().prop_map(String::into_bytes));
    (bound(), bound(), bound(), bound(), any::<bool>(), prop::option::of(0..5_u64))
        .prop_map(|(gt, gte, lt, lte, reverse, limit)| Range { gt, gte, lt, lte, reverse, limit })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_scan_at_every_version_is_what_a_map_says(
        writes in prop::collection::vec((key(), prop::option::weighted(0.7, 0..5_u32)), 1..60),
        ranges in prop::collection::vec((range(), 1..4_usize), 12),
    ) {
        let store = memory();
        // A neighbour on either side, so that a scan that leaves its database is noticed.
        let neighbour = |name: &str| {
            let options = multi_hyperbee::db::DatabaseOptions { name: Some(name.into()), ..crate::support::database() };
            let db = store.database(options).wait().unwrap();
            put(&db, "", "{}");
            put(&db, "\u{10ffff}", "{}");
        };
        neighbour("before");
        let db = create(&store);
        neighbour("after");
        let mut models = vec![Model::new()];
        for (key, value) in &writes {
            let mut model = models.last().unwrap().clone();
            if let Some(n) = value {
                let text = format!(r#"{{"n":{n}}}"#);
                put(&db, key, &text);
                model.insert(key.clone().into_bytes(), text);
            } else {
                del(&db, key);
                model.remove(key.as_bytes());
            }
            if *models.last().unwrap() != model {
                models.push(model);
            }
        }
        prop_assert_eq!(db.status().unwrap().version, models.len() as u64 - 1);
        for (range, step) in ranges {
            for (version, model) in models.iter().enumerate() {
                let found = scanned(&db, range.clone(), Some(version as u64), step);
                prop_assert_eq!(&found, &expected(model, &range), "version {} {:?}", version, range);
            }
        }
        for (version, pair) in models.windows(2).enumerate() {
            let entry = &db.history(version as u64 + 1, None, false).unwrap().next(1, 1 << 20).unwrap()[0];
            prop_assert_eq!(entry.seq, version as u64 + 1);
            let now = pair[1].get(&entry.key).cloned();
            prop_assert_eq!(entry.entry.as_ref().map(|e| String::from_utf8(e.value.clone()).unwrap()), now.clone());
            prop_assert_ne!(pair[0].get(&entry.key).cloned(), now);
        }
        let mut back = db.history(1, None, true).unwrap();
        let seqs: Vec<u64> = std::iter::from_fn(|| back.next(2, 1 << 20).ok().filter(|some| !some.is_empty()))
            .flatten()
            .map(|entry| entry.seq)
            .collect();
        prop_assert_eq!(seqs, (1..models.len() as u64).rev().collect::<Vec<_>>());
    }
}

#[test]
fn a_scan_goes_on_at_its_version_across_writes() {
    for reverse in [false, true] {
        let db = create(&memory());
        for n in 0..20 {
            put(&db, &format!("k{n:02}"), r#"{"old":1}"#);
        }
        let mut scan = db.scan(Range { reverse, ..Range::default() }, None).unwrap();
        let mut seen = scan.next(5, 1 << 20).unwrap();
        for n in 0..20 {
            for round in 0..12 {
                put(&db, &format!("k{n:02}"), &format!(r#"{{"new":{round}}}"#));
            }
            put(&db, &format!("k{n:02}+"), "{}");
        }
        for n in (0..20).step_by(2) {
            del(&db, &format!("k{n:02}"));
        }
        loop {
            let some = scan.next(3, 1 << 20).unwrap();
            if some.is_empty() {
                break;
            }
            seen.extend(some);
        }
        assert_eq!(seen.len(), 20);
        assert!(seen.iter().all(|entry| entry.value == br#"{"old":1}"#));
        assert_eq!(scanned(&db, Range { reverse, ..Range::default() }, None, 4).len(), 30);
    }
}

#[test]
fn a_scan_over_many_deleted_keys_gives_way_and_goes_on() {
    let db = create(&memory());
    for n in 0..200 {
        put(&db, &format!("k{n:03}"), "{}");
    }
    for n in 0..199 {
        del(&db, &format!("k{n:03}"));
    }
    for reverse in [false, true] {
        let mut scan = db.scan(Range { reverse, ..Range::default() }, None).unwrap();
        let mut calls = 0;
        let mut found = Vec::new();
        while scan.visit(1, 100, |row| found.push(row.key.to_vec())).unwrap() {
            calls += 1;
            assert!(calls < 100);
        }
        assert_eq!(found, [b"k199".to_vec()]);
        assert!(calls > 5 || reverse);
    }
}

#[test]
fn a_scan_at_an_old_version_over_many_newer_keys_gives_way_and_goes_on() {
    let db = create(&memory());
    put(&db, "a", "{}");
    let writes = (0..12_000).map(|n| put_write(&format!("k{n:05}"), "{}")).collect();
    db.write(writes).wait().unwrap();
    for reverse in [false, true] {
        let mut scan = db.scan(Range { reverse, ..Range::default() }, Some(1)).unwrap();
        let mut calls = 1;
        let mut found = Vec::new();
        while scan.visit(256, 1 << 20, |row| found.push(row.key.to_vec())).unwrap() {
            calls += 1;
        }
        assert_eq!(found, [b"a".to_vec()]);
        assert!((2..100).contains(&calls), "{calls} calls");
    }
}

#[test]
fn a_history_of_a_prefix_passes_over_the_rest_and_gives_way() {
    let db = create(&memory());
    put(&db, "s/1", "{}");
    let writes = (0..9_000).map(|n| put_write(&format!("k{n:05}"), "{}")).collect();
    db.write(writes).wait().unwrap();
    put(&db, "s/2", "{}");
    for reverse in [false, true] {
        let mut history = db.history_of(b"s/", 1, None, reverse).unwrap();
        let mut calls = 1;
        let mut found = Vec::new();
        while history.visit(256, 1 << 20, |seq, key, _| found.push((seq, key.to_vec()))).unwrap() {
            calls += 1;
        }
        let mut expected = vec![(1, b"s/1".to_vec()), (9_002, b"s/2".to_vec())];
        if reverse {
            expected.reverse();
        }
        assert_eq!(found, expected);
        assert_eq!(calls, 3);
        let mut middle = db.history_of(b"s/", 2, Some(9_001), reverse).unwrap();
        assert!(middle.next(9, 1 << 20).unwrap().is_empty());
    }
}

#[test]
fn a_version_that_is_not_there_yet_is_refused() {
    let db = create(&memory());
    put(&db, "k", "{}");
    assert_eq!(db.scan(Range::default(), Some(2)).err().unwrap().code, Code::VersionGone);
    assert!(db.scan(Range::default(), Some(0)).unwrap().next(9, 99).unwrap().is_empty());
    assert!(db.history(5, None, false).unwrap().next(9, 99).unwrap().is_empty());
    assert_eq!(db.history(0, Some(9), true).unwrap().next(9, 99).unwrap().len(), 1);
}

#[test]
fn the_state_hash_brought_forward_is_the_one_from_scratch() {
    let dir = tempfile::tempdir().unwrap();
    let location = Location::Path(dir.path().to_owned());
    let open = || Store::open(&location, &StoreOptions::default()).unwrap();
    let store = open();
    let db = create(&store);
    let empty = db.state_hash().unwrap();
    let mut hashes = Vec::new();
    for n in 0..30 {
        put(&db, &format!("k{}", n % 7), &format!(r#"{{"n":{n},"s":[{n}]}}"#));
        if n % 3 == 0 {
            del(&db, &format!("k{}", (n + 1) % 7));
        }
        hashes.push(db.state_hash().unwrap());
    }
    let last = db.state_hash().unwrap();
    db.close().wait().unwrap();
    store.close().wait().unwrap();
    let store = open();
    let db = create(&store);
    assert_eq!(db.state_hash().unwrap(), last);
    // Enough for the hash to be kept on disk, and forward from there after opening again.
    for round in 0..3 {
        let many = (0..600).map(|n| put_write(&format!("m{n}"), &format!(r#"{{"r":{round}}}"#))).collect();
        db.write(many).wait().unwrap();
    }
    let kept = db.state_hash().unwrap();
    store.settled().wait().unwrap();
    db.close().wait().unwrap();
    store.close().wait().unwrap();
    let store = open();
    let db = create(&store);
    assert_eq!(db.state_hash().unwrap(), kept);
    for n in 0..600 {
        del(&db, &format!("m{n}"));
    }
    assert_eq!(db.state_hash().unwrap(), last);
    let other = create(&memory());
    for (key, value) in scanned(&db, Range::default(), None, 100) {
        put(&other, std::str::from_utf8(&key).unwrap(), &value);
    }
    assert_eq!(other.state_hash().unwrap(), last);
    for n in 0..7 {
        del(&other, &format!("k{n}"));
    }
    assert_eq!(other.state_hash().unwrap(), empty);
}
