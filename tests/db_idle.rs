//! What a connection costs while nothing happens: bytes on the wire, and memory, counted and not timed. A test program of
//! its own, since it counts every allocation of the process.
#![allow(clippy::unwrap_used, reason = "a failing test says so by panicking")]

mod support;

use multi_hyperbee::db::{Db, Store, Transport};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::*;

/// Bytes allocated and not freed, of the whole process. A size class costs the system's allocator up to 16 bytes more.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, whose promises are the ones asked for; counting
// allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() + 8, Ordering::Relaxed);
        // SAFETY: the caller's promise is the one that is needed.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() + 8, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(old, layout) }
    }
}

const DATABASES: usize = 1_000;

fn replicate(a: &Store, b: &Store) -> Wire {
    let a = a.replicate(options(Transport::Initiator)).unwrap();
    let b = b.replicate(options(Transport::Responder)).unwrap();
    Wire { a, b }
}

/// Carries until nothing has moved for a while; how many bytes.
fn rest(wire: &Wire) -> usize {
    let mut bytes = 0;
    let mut quiet = 0;
    let start = Instant::now();
    while quiet < 20 {
        let mut any = false;
        for (from, to) in [(&wire.a, &wire.b), (&wire.b, &wire.a)] {
            while let Some(more) = from.pull(64 << 10) {
                any = true;
                bytes += more.len();
                to.receive(&more).unwrap();
            }
        }
        if any {
            quiet = 0;
        } else {
            quiet += 1;
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(start.elapsed() < Duration::from_secs(60), "it does not come to rest");
    }
    bytes
}

fn tick(wire: &Wire) -> usize {
    wire.a.tick();
    wire.b.tick();
    rest(wire)
}

#[test]
fn a_connection_of_a_thousand_databases_costs_little_while_nothing_happens() {
    let (from, to) = (memory(), memory());
    let named = |n: usize| format!("db {n}");
    let open = |store: &Store, key, n| -> Db {
        let options = multi_hyperbee::db::DatabaseOptions { key, name: named(n).into(), ..database() };
        store.database(options).wait().unwrap()
    };
    let theirs: Vec<Db> = (0..DATABASES).map(|n| open(&from, None, n)).collect();
    theirs.iter().for_each(|db| drop(put(db, "k", "{}")));
    let ours: Vec<Db> =
        theirs.iter().enumerate().map(|(n, db)| open(&to, Some(db.info().unwrap().key), n)).collect();
    let start = Instant::now();
    // The first connection brings what there is.
    let wire = replicate(&from, &to);
    let mut first = rest(&wire);
    for _ in 0..12 {
        first += tick(&wire);
    }
    assert!(ours.iter().all(|db| get(db, "k").is_some()));
    wire.close();
    rest(&wire);
    drop(wire);
    println!("first {first} bytes, {:?}", start.elapsed());
    let before = LIVE.load(Ordering::Relaxed);
    let wire = replicate(&from, &to);
    let mut second = rest(&wire);
    println!("peak-ish {}", LIVE.load(Ordering::Relaxed) - before);
    for n in 0..12 {
        let t = Instant::now();
        second += tick(&wire);
        println!("tick {n} {:?} {} {}", t.elapsed(), second, LIVE.load(Ordering::Relaxed) - before);
    }
    let idle: usize = (0..30).map(|_| tick(&wire)).sum();
    let after = LIVE.load(Ordering::Relaxed);
    println!("second {second} bytes, idle {idle} bytes, {} live, {} after", after - before, after);
}
