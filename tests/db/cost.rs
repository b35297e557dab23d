//! What a late diff costs, by counters: it depends on its own key alone, and there on what sorts after it.
//!
//! The large database has 200,000 keys; a million takes about a minute without optimisation:
//! `MULTI_HYPERBEE_KEYS=1000000 cargo test --no-default-features --test db cost::`.
#![allow(clippy::unwrap_used, reason = "a failing test says so by panicking")]

use crate::support::*;
use multi_hyperbee::db::{
    Db, DbStats, Location, PeerOptions, Store, StoreOptions, Transport, Write, Written,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Keys of the large database, without optimisation.
const KEYS: usize = 200_000;

/// Diffs that sort after the late one.
const AFTER: usize = 10;

struct Device {
    clock: Arc<AtomicU64>,
    _store: Store,
    db: Db,
}

impl Device {
    fn new(of: Option<&Device>) -> Self {
        let clock = Arc::new(AtomicU64::new(1_000));
        let theirs = Arc::clone(&clock);
        let wall = move || Duration::from_secs(theirs.load(Ordering::Relaxed));
        let options = StoreOptions { clock: Some(Arc::new(wall)), ..StoreOptions::default() };
        let store = Store::open(&Location::Memory, &options).unwrap();
        let db = of.map_or_else(|| create(&store), |of| join(&store, of.db.info().unwrap().key));
        Self { clock, _store: store, db }
    }

    fn at(&self, second: u64) -> &Db {
        self.clock.store(second, Ordering::Relaxed);
        &self.db
    }
}

fn keys(db: &Db, count: usize) {
    let all: Vec<usize> = (0..count).collect();
    for some in all.chunks(10_000) {
        let puts = some.iter().map(|n| put_write(&format!("key/{n}"), r#"{"n":0}"#)).collect();
        let written = db.write(vec![Write::Batch(puts)]).wait().unwrap().remove(0).unwrap();
        assert!(matches!(written, Written::Yes { .. }));
    }
}

/// As many diffs of one key, a commit for many.
fn diffs(db: &Db, count: usize) {
    let all: Vec<usize> = (0..count).collect();
    for some in all.chunks(10_000) {
        let puts = some.iter().map(|n| put_write("hot", &format!(r#"{{"n":{n}}}"#))).collect();
        let written = db.write(puts).wait().unwrap();
        assert!(written.iter().all(|written| matches!(written, Ok(Written::Yes { .. }))));
    }
}

/// Both have what the first two say; then one writes `before` and `after` diffs of a key in a database of so many, and
/// the other, in between, one that is heard of last. What that cost.
fn late_diff(count: usize, before: usize, after: usize) -> DbStats {
    let a = Device::new(None);
    let b = Device::new(Some(&a));
    a.db.add_writer(b.db.info().unwrap().local, false).wait().unwrap();
    put(&a.db, "hot", r#"{"n":-1}"#);
    let wire = connect(&a.db, &b.db);
    carry_until(&[&wire], || b.db.status().unwrap().writable && get(&b.db, "hot").is_some());
    wire.close();
    keys(a.at(2_000), count);
    diffs(a.at(3_000), before);
    put(b.at(4_000), "hot", r#"{"n":-1,"late":true}"#);
    diffs(a.at(5_000), after);

    let stats = a.db.stats().unwrap();
    // It only gives: what the other has written since is none of this.
    let giving = PeerOptions { download: false, ..options(Transport::Initiator) };
    let b_peer = b.db.replicate(giving).unwrap();
    let wire = Wire { a: b_peer, b: a.db.replicate(options(Transport::Responder)).unwrap() };
    carry_until(&[&wire], || get(&a.db, "hot").unwrap().contains("late"));
    let DbStats { merged, folded, searched } = a.db.stats().unwrap();
    DbStats {
        merged: merged - stats.merged,
        folded: folded - stats.folded,
        searched: searched - stats.searched,
    }
}

#[test]
fn a_late_diff_costs_the_same_in_a_large_database_as_in_a_small_one() {
    let many = std::env::var("MULTI_HYPERBEE_KEYS").map_or(KEYS, |text| text.parse().unwrap());
    let cost = late_diff(1_000, 20, AFTER);
    assert_eq!(cost, DbStats { merged: 1, folded: AFTER as u64 + 1, searched: AFTER as u64 + 1 });
    assert_eq!(late_diff(many, 20, AFTER), cost);
}

#[test]
fn on_a_key_with_many_diffs_those_after_it_are_folded_again_from_the_nearest_saved_state() {
    let cost = late_diff(0, 100_000, AFTER);
    assert_eq!(cost, DbStats { merged: 1, folded: AFTER as u64 + 1, searched: AFTER as u64 + 1 });
    // Before all but the first.
    assert_eq!(late_diff(0, 0, 1_000), DbStats { merged: 1, folded: 1_001, searched: 1_001 });
    // The latest of all is folded onto what is there.
    assert_eq!(late_diff(0, 1_000, 0), DbStats { merged: 1, folded: 1, searched: 0 });
}
