//! What the core costs without Node: writes against bare LMDB rows, reads, catch-up of an empty peer.
//! `cargo bench --no-default-features`. Compare the lines of one run with each other; the machine is not quiet.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a benchmark that fails may panic")]

#[path = "../tests/support/mod.rs"]
mod support;

use multi_hyperbee::db::{Location, Range, Store, StoreOptions};
use multi_hyperbee::store::{Environment, Options, Table};
use std::time::Instant;
use support::{connect, create, join, put_write};

const ENTRIES: usize = 100_000;
const PER_TICK: usize = 1_000;

fn key(index: usize) -> String {
    format!("key/{index:08}")
}

fn value(index: usize) -> String {
    format!(r#"{{"name":"entry {index}","text":"{}","n":{index}}}"#, "x".repeat(60))
}

fn report(what: &str, count: usize, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    println!("{what:<58} {:>10.0} /s {:>9.1} ms", count as f64 / seconds, seconds * 1e3);
}

fn bare(dir: &std::path::Path) {
    let environment = Environment::open(&Location::Path(dir.join("bare")), &Options::default()).unwrap();
    let start = Instant::now();
    for tick in 0..ENTRIES / PER_TICK {
        let mut txn = environment.write().unwrap();
        for index in tick * PER_TICK..(tick + 1) * PER_TICK {
            let row = (index as u64).to_be_bytes();
            let (key, value) = (key(index), value(index));
            txn.append(Table::Blocks, &row, value.as_bytes()).unwrap();
            txn.append(Table::Log, &row, key.as_bytes()).unwrap();
            txn.put(Table::Pasts, key.as_bytes(), value.as_bytes()).unwrap();
            txn.put(Table::Members, key.as_bytes(), &row).unwrap();
        }
        txn.commit().unwrap();
    }
    report("bare LMDB: the same four rows, 1,000 per synced commit", ENTRIES, start);
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    bare(dir.path());
    let store = Store::open(&Location::Path(dir.path().join("a")), &StoreOptions::default()).unwrap();
    let db = create(&store);
    let start = Instant::now();
    for tick in 0..ENTRIES / PER_TICK {
        let writes =
            (tick * PER_TICK..(tick + 1) * PER_TICK).map(|index| put_write(&key(index), &value(index)));
        db.write(writes.collect()).wait().unwrap();
    }
    report("put: new keys, 1,000 at once", ENTRIES, start);
    let start = Instant::now();
    for tick in 0..ENTRIES / PER_TICK / 10 {
        let writes = (0..PER_TICK).map(|n| put_write(&key(n * 97 % ENTRIES), &value(tick + n + 1)));
        db.write(writes.collect()).wait().unwrap();
    }
    report("put: existing keys, 1,000 at once", ENTRIES / 10, start);
    let start = Instant::now();
    for index in 0..ENTRIES {
        let name = key(index * 7_919 % ENTRIES);
        assert!(db.get(name.as_bytes(), None, |row| row.version).unwrap().is_some());
    }
    report("get: random keys", ENTRIES, start);
    let start = Instant::now();
    let mut scan = db.scan(Range::default(), None).unwrap();
    let mut found = 0;
    while scan.visit(256, 64 << 10, |_| found += 1).unwrap() {}
    report("scan: all", found, start);
    let start = Instant::now();
    db.state_hash().unwrap();
    report("state hash: from nothing", ENTRIES, start);

    let other = Store::open(&Location::Path(dir.path().join("b")), &StoreOptions::default()).unwrap();
    let copy = join(&other, db.info().unwrap().key);
    let start = Instant::now();
    let wire = connect(&db, &copy);
    let wanted = db.status().unwrap().version;
    let all = || copy.status().unwrap().version >= ENTRIES as u64 && copy.is_flushed().unwrap();
    let (mut waiting_a, mut waiting_b) = (0_u32, 0_u32);
    while !all() {
        if let Some(bytes) = wire.a.pull(64 << 10) {
            while !wire.b.ready_for_more() {
                waiting_b += 1;
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
            wire.b.receive(&bytes).unwrap();
        }
        match wire.b.pull(64 << 10) {
            Some(bytes) => drop(wire.a.receive(&bytes).unwrap()),
            None => waiting_a += 1,
        }
    }
    report("catch-up of an empty peer", ENTRIES + ENTRIES / 10, start);
    println!("versions {wanted} and {}; waits {waiting_a} {waiting_b}", copy.status().unwrap().version);
    assert_eq!(db.state_hash().unwrap(), copy.state_hash().unwrap());
}
