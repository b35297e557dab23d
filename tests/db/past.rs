//! What a database says of its past, against a reference that keeps every version as a map.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::*;
use multi_hyperbee::db::{Code, Db, Range};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

type Map = BTreeMap<String, String>;

/// Key, value at the left, value at the right.
type Pair = (String, Option<String>, Option<String>);

fn compared(db: &Db, left: u64, right: u64, reverse: bool) -> Vec<Pair> {
    let mut comparison = db.compare(Some(left), Some(right), Range { reverse, ..Range::default() }).unwrap();
    let mut found = Vec::new();
    loop {
        // One entry at a time: the cursor goes on where it was.
        let more = comparison.visit(1, 1, |left, right| {
            let text = |row: Option<&multi_hyperbee::db::LiveRow<'_>>| {
                row.map(|row| String::from_utf8(row.to_entry().value).unwrap())
            };
            let key = left.or(right).unwrap().key;
            found.push((String::from_utf8(key.to_vec()).unwrap(), text(left), text(right)));
        });
        if !more.unwrap() {
            return found;
        }
    }
}

fn expected(left: &Map, right: &Map) -> Vec<Pair> {
    let keys: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    let pair = |key: &String| (key.clone(), left.get(key).cloned(), right.get(key).cloned());
    keys.into_iter().map(pair).filter(|(_, left, right)| left != right).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_comparison_is_what_differs_between_the_maps(
        ops in proptest::collection::vec((0..6_u8, 0..40_u32), 1..30)
    ) {
        let store = memory();
        let db = create(&store);
        let mut versions = vec![Map::new()];
        // No value twice: a key that was written in between then differs.
        for (n, (key, op)) in ops.into_iter().enumerate() {
            let (mut map, key) = (versions.last().unwrap().clone(), format!("k{key}"));
            if op < 10 {
                if map.remove(&key).is_none() { continue }
                del(&db, &key);
            } else {
                let text = format!(r#"{{"n":{n}}}"#);
                put(&db, &key, &text);
                map.insert(key, text);
            }
            versions.push(map);
        }
        for (left, left_map) in (0..).zip(&versions) {
            for (right, right_map) in (0..).zip(&versions) {
                let mut pairs = expected(left_map, right_map);
                prop_assert_eq!(compared(&db, left, right, false), pairs.clone());
                pairs.reverse();
                prop_assert_eq!(compared(&db, left, right, true), pairs);
            }
        }
    }
}

#[test]
fn a_version_that_is_not_there_yet_is_refused() {
    let store = memory();
    let db = create(&store);
    put(&db, "k", "{}");
    for (left, right) in [(Some(2), None), (None, Some(2))] {
        assert_eq!(db.compare(left, right, Range::default()).err().unwrap().code, Code::VersionGone);
    }
}

#[test]
fn the_version_at_a_time_is_the_last_committed_by_then() {
    let now = Arc::new(AtomicU64::new(1_000_000));
    let wall = Arc::clone(&now);
    let clock: multi_hyperbee::db::WallClock =
        Arc::new(move || Duration::from_millis(wall.load(Ordering::Relaxed)));
    let options = multi_hyperbee::db::StoreOptions { clock: Some(clock), ..Default::default() };
    let store = multi_hyperbee::db::Store::open(&multi_hyperbee::db::Location::Memory, &options).unwrap();
    let db = create(&store);
    for n in 1..=20_u64 {
        now.store(1_000_000 + n * 1_000, Ordering::Relaxed);
        put(&db, "k", &format!(r#"{{"n":{n}}}"#));
    }
    let at = |milliseconds: u64| db.version_at((milliseconds << 32) / 1_000).unwrap();
    assert_eq!(at(0), 0);
    assert_eq!(at(1_000_999), 0);
    for n in 1..=20 {
        assert_eq!(at(1_000_500 + n * 1_000), n);
    }
    assert_eq!(at(9_000_000), 20);
}
