//! Many databases, and many feeds, over one connection: that they fit, and what they cost in memory and, while nothing
//! happens, on the wire. Counted, not timed. A test program of its own, since it counts every allocation of the process.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::needless_for_each,
    reason = "a failing test says so by panicking"
)]

mod support;

use multi_hyperbee::db::{DatabaseOptions, Db, Feed, FeedChoice, Peer, Store, Transport};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::*;

/// Bytes allocated and not freed, of the whole process; with each, what the system's allocator keeps beside it.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

const BESIDE: usize = 8;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, whose promises are the ones asked for; counting
// allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() + BESIDE, Ordering::Relaxed);
        // SAFETY: the caller's promise is the one that is needed.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() + BESIDE, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(old, layout) }
    }
}

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// What is counted is the whole process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A number that the environment may ask for instead.
fn count(name: &str, usual: usize) -> usize {
    std::env::var(name).ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
}

fn replicate(a: &Store, b: &Store) -> Wire {
    let a = a.replicate(options(Transport::Initiator)).unwrap();
    let b = b.replicate(options(Transport::Responder)).unwrap();
    Wire { a, b }
}

/// Carries until nothing has moved for a while; how many bytes.
fn rest(wire: &Wire) -> usize {
    let (mut bytes, mut quiet) = (0, 0);
    let start = Instant::now();
    while quiet < 5 {
        quiet += 1;
        for (from, to) in [(&wire.a, &wire.b), (&wire.b, &wire.a)] {
            while let Some(more) = from.pull(64 << 10) {
                quiet = 0;
                bytes += more.len();
                to.receive(&more).unwrap();
            }
        }
        if quiet > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(start.elapsed() < Duration::from_mins(2), "it does not come to rest");
    }
    bytes
}

/// So many seconds pass.
fn tick(wire: &Wire, seconds: usize) -> usize {
    let tick = |_| {
        wire.a.tick();
        wire.b.tick();
        rest(wire)
    };
    (0..seconds).map(tick).sum()
}

/// What each end of a connection holds of a database, or a feed; and of itself: buffers, which do not grow.
const BYTES_OF_EACH: usize = 1_744;
const BYTES_OF_ITSELF: usize = 256 << 10;

#[test]
fn a_connection_of_a_thousand_databases_costs_little_while_nothing_happens() {
    let _alone = ALONE.lock();
    let databases = count("MULTI_HYPERBEE_DATABASES", 300);
    let (from, to) = (memory(), memory());
    let open = |store: &Store, key, n: usize| -> Db {
        store.database(DatabaseOptions { key, name: Some(format!("db {n}")), ..database() }).wait().unwrap()
    };
    let theirs: Vec<Db> = (0..databases).map(|n| open(&from, None, n)).collect();
    theirs.iter().for_each(|db| {
        put(db, "k", "{}");
    });
    let ours: Vec<Db> =
        theirs.iter().enumerate().map(|(n, db)| open(&to, Some(db.info().unwrap().key), n)).collect();
    // The first connection brings what there is; all that is said of it is said in twelve seconds.
    let wire = replicate(&from, &to);
    let mut here = 0;
    carry_until(&[&wire], || {
        here += ours[here..].iter().take_while(|db| get(db, "k").is_some()).count();
        here == databases
    });
    tick(&wire, 12);
    wire.close();
    rest(&wire);
    drop(wire);
    let before = live();
    let wire = replicate(&from, &to);
    rest(&wire);
    tick(&wire, 12);
    let idle = tick(&wire, 20);
    let bytes = live() - before;
    println!("{databases} databases: {bytes} bytes in memory at both ends, {idle} on the wire in 20 s");
    assert_eq!(idle, 0);
    assert!(bytes < 2 * (databases * BYTES_OF_EACH + BYTES_OF_ITSELF), "{bytes}");
    // And it is as live as any.
    let last = databases - 1;
    put(&theirs[last], "live", "{}");
    carry_until(&[&wire], || get(&ours[last], "live").is_some());
}

#[test]
fn thousands_of_feeds_come_over_one_connection() {
    let _alone = ALONE.lock();
    let feeds = count("MULTI_HYPERBEE_FEEDS", 5_000);
    let (from, to) = (memory(), memory());
    let begun = Instant::now();
    let name = |n: usize| FeedChoice::Name(format!("feed {n}"));
    let open = |store: &Store, which: Vec<FeedChoice>| -> Vec<Feed> {
        let opening: Vec<_> = which.into_iter().map(|which| store.feed(which)).collect();
        opening.into_iter().map(|feed| feed.wait().unwrap()).collect()
    };
    let theirs = open(&from, (0..feeds).map(name).collect());
    let appends: Vec<_> = theirs.iter().map(|feed| feed.append(vec![b"block".to_vec()])).collect();
    appends.into_iter().for_each(|append| {
        append.wait().unwrap();
    });
    let ours = open(&to, theirs.iter().map(|feed| FeedChoice::Key(feed.key())).collect());
    ours.iter().for_each(|feed| feed.want(0, 1).unwrap());
    println!("{feeds} feeds are there after {:?}", begun.elapsed());
    let wire = replicate(&to, &from);
    let mut here = 0;
    let mut second = Instant::now();
    carry_until(&[&wire], || {
        // Own feeds may leave with the ticks.
        if second.elapsed() > Duration::from_millis(200) {
            second = Instant::now();
            [&wire.a, &wire.b].into_iter().for_each(Peer::tick);
        }
        let is_here = |feed: &&Feed| feed.get(0).unwrap().as_deref() == Some(b"block");
        here += ours[here..].iter().take_while(is_here).count();
        here == feeds
    });
    println!("all are here after {:?}", begun.elapsed());
    tick(&wire, 6);
    assert_eq!(tick(&wire, 6), 0);
    // What it holds is what goes with it.
    let before = live();
    wire.close();
    rest(&wire);
    drop(wire);
    let bytes = before.saturating_sub(live());
    println!("{bytes} bytes in memory at both ends");
    assert!(bytes < 2 * (feeds * BYTES_OF_EACH + BYTES_OF_ITSELF), "{bytes}");
    assert!(bytes > feeds * 200, "it was counted: {bytes}");
}
