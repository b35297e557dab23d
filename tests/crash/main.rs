//! Real processes that write and replicate, killed by SIGKILL at random moments; and disks that fill.
//!
//! Some dozens of kills run with every `cargo test`; `npm run soak:kill -- --rounds N` runs as many as asked (the variable
//! `MULTI_HYPERBEE_KILLS`). After each kill: every acknowledged write is there, `verify` finds nothing, and what a peer
//! had received is what the writer's feed still says (so it never forks).
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

mod child;
mod full;
mod line;
#[path = "../support/mod.rs"]
mod support;

use child::{Acks, Child};
use line::Line;
use multi_hyperbee::db::{
    DatabaseOptions, Db, Event, FeedChoice, Location, Store, StoreOptions, Subscription,
};
use multi_hyperbee::types::FeedKey;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Kills of every `cargo test`.
const KILLS: u64 = 30;

/// A process that has not begun to write after this never will.
const PATIENCE: Duration = Duration::from_mins(1);

/// Does nothing unless started by another test.
#[test]
fn a_child_of_another_test() {
    child::run();
    full::run();
}

fn open(dir: &Path, key: Option<FeedKey>) -> (Store, Db) {
    let store = Store::open(&Location::Path(dir.to_owned()), &StoreOptions::default()).unwrap();
    let db = store.database(DatabaseOptions { key, name: Some("db".into()), ..support::database() });
    let db = db.wait().unwrap();
    (store, db)
}

fn must_be_clean(store: &Store, who: &str) {
    let report = store.verify(|_| ()).wait().unwrap();
    assert!(report.is_clean(), "{who}: {:?}", report.damages);
}

/// One writer over all rounds.
struct Writer {
    name: &'static str,
    dir: PathBuf,
    key: FeedKey,
    local: FeedKey,
    next: u64,
    acknowledged: u64,
}

/// The peer that is never killed.
struct Witness {
    store: Store,
    db: Db,
    events: Subscription,
}

#[test]
fn killed_at_random_moments_nothing_acknowledged_is_lost_and_no_peer_sees_a_fork() {
    let kills = std::env::var("MULTI_HYPERBEE_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let seed =
        std::env::var("MULTI_HYPERBEE_KILL_SEED").map_or_else(|_| moment(), |text| text.parse().unwrap());
    eprintln!("{kills} kills, moments from MULTI_HYPERBEE_KILL_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let base = tempfile::tempdir().unwrap();
    let (mut writers, witness) = prepare(base.path());
    let (mut killed, began) = (0, Instant::now());
    while killed < kills {
        let both = random.random_bool(0.5);
        let alone = random.random_range(0..2);
        let running: Vec<usize> = if both { vec![0, 1] } else { vec![alone] };
        round(&mut writers, &running, &witness, &mut random);
        killed += running.len() as u64;
        if kills > KILLS && killed / 100 > (killed - running.len() as u64) / 100 {
            let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
            eprintln!("{killed} of {kills} kills, {acknowledged} writes acknowledged, {:?}", began.elapsed());
        }
    }
    let acknowledged: u64 = writers.iter().map(|writer| writer.acknowledged).sum();
    assert!(acknowledged > kills, "a kill that cut nothing short shows nothing: {acknowledged} writes");
    must_be_clean(&witness.store, "the witness");
    converge(&writers, &witness);
    eprintln!("{killed} kills, {acknowledged} acknowledged writes, none lost, in {:?}", began.elapsed());
}

/// Two writers, both granted, and a witness who has their key.
fn prepare(base: &Path) -> (Vec<Writer>, Witness) {
    let dirs = [base.join("a"), base.join("b"), base.join("witness")];
    let (store_a, a) = open(&dirs[0], None);
    let key = a.info().unwrap().key;
    let (store_b, b) = open(&dirs[1], Some(key));
    let (store, db) = open(&dirs[2], Some(key));
    let locals = [a.info().unwrap().local, b.info().unwrap().local];
    a.add_writer(locals[1], false).wait().unwrap();
    let (first, second) = (support::connect(&a, &b), support::connect(&a, &db));
    support::carry_until(&[&first, &second], || b.status().unwrap().writable && db.is_flushed().unwrap());
    first.close();
    second.close();
    for store in [store_a, store_b] {
        store.close().wait().unwrap();
    }
    let writer = |at: usize, name| Writer {
        name,
        dir: dirs[at].clone(),
        key,
        local: locals[at],
        next: 0,
        acknowledged: 0,
    };
    let events = db.subscribe(Arc::new(|| {})).unwrap();
    (vec![writer(0, "a"), writer(1, "b")], Witness { store, db, events })
}

/// Starts processes, lets them write and replicate for a while, kills them, and looks at what they have left.
fn round(writers: &mut [Writer], running: &[usize], witness: &Witness, random: &mut SmallRng) {
    let mut children: Vec<_> = running
        .iter()
        .map(|at| Child::start(&writers[*at].dir, writers[*at].name, writers[*at].next))
        .collect();
    let mut lines: Vec<Line> = Vec::new();
    // Now and then in the middle of opening, mostly while it writes.
    let opening = random.random_bool(0.15);
    let until_killed = Duration::from_micros(random.random_range(0..if opening { 60_000 } else { 150_000 }));
    let mut writing_since = opening.then(Instant::now);
    let started = Instant::now();
    while writing_since.is_none_or(|since| since.elapsed() < until_killed) {
        assert!(started.elapsed() < PATIENCE, "the children do not begin to write");
        for child in &children {
            if let Some(stream) = child.accept() {
                lines.push(Line::new(stream, &witness.db, false));
            }
        }
        lines.iter_mut().for_each(Line::carry);
        if writing_since.is_none() && children.iter().all(|child| child.acks().length > 0) {
            writing_since = Some(Instant::now());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    for child in &mut children {
        child.kill();
    }
    // What was on its way arrives.
    for line in &mut lines {
        line.carry();
        line.end();
    }
    for (at, child) in running.iter().zip(children) {
        examine(&mut writers[*at], &child.finish(), witness);
    }
}

/// What the killed process acknowledged is there, and what it sent is what it has.
fn examine(writer: &mut Writer, acks: &Acks, witness: &Witness) {
    let (store, db) = open(&writer.dir, Some(writer.key));
    let who = writer.name;
    for n in &acks.written {
        let expected = format!(r#"{{"n":{n}}}"#);
        assert_eq!(
            support::get(&db, &format!("{who} {n}")).as_deref(),
            Some(&*expected),
            "{who}: an acknowledged write"
        );
    }
    let feed = store.feed(FeedChoice::Key(writer.local)).wait().unwrap();
    let length = feed.info().unwrap().length;
    assert!(length >= acks.length, "{who}: {length} blocks, {} were acknowledged", acks.length);
    let seen = witness.store.feed(FeedChoice::Key(writer.local)).wait().unwrap();
    let received = seen.info().unwrap().length;
    assert!(received <= length, "{who}: a peer has {received} blocks of {length}");
    assert_eq!(seen.tree_hash(None).unwrap(), feed.tree_hash(Some(received)).unwrap(), "{who}: a fork");
    let forks = |event: &Event| matches!(event, Event::Fork { .. });
    assert!(!witness.events.take().iter().any(forks), "{who}: a fork was reported");
    must_be_clean(&store, who);
    store.close().wait().unwrap();
    writer.next = acks.reached.max(writer.next);
    writer.acknowledged += acks.written.len() as u64;
}

/// All three together in the end: one state.
fn converge(writers: &[Writer], witness: &Witness) {
    let open: Vec<_> = writers.iter().map(|writer| open(&writer.dir, Some(writer.key))).collect();
    let wires: Vec<_> = open.iter().map(|(_, db)| support::connect(db, &witness.db)).collect();
    let dbs: Vec<&Db> = open.iter().map(|(_, db)| db).chain([&witness.db]).collect();
    // Each knows its own feed, empty or not.
    let lengths = |db: &Db| {
        let feeds = db.progress().unwrap().into_iter().filter(|feed| feed.placed > 0);
        feeds.map(|feed| (feed.key, feed.placed)).collect::<std::collections::BTreeMap<_, _>>()
    };
    let longest = |key: &FeedKey| dbs.iter().filter_map(|db| lengths(db).get(key).copied()).max();
    let began = Instant::now();
    while !dbs
        .iter()
        .all(|db| writers.iter().all(|w| lengths(db).get(&w.local).copied() == longest(&w.local)))
    {
        for wire in &wires {
            wire.carry(usize::MAX);
            wire.a.tick();
            wire.b.tick();
        }
        std::thread::sleep(Duration::from_millis(5));
        let found: Vec<_> = dbs.iter().map(|db| lengths(db)).collect();
        assert!(began.elapsed() < PATIENCE, "they do not converge: {found:?}");
    }
    let hashes: Vec<_> = dbs.iter().map(|db| db.state_hash().unwrap()).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
    for (store, _) in &open {
        must_be_clean(store, "in the end");
    }
}

/// Another number for each run.
fn moment() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |now| u64::from(now.subsec_nanos()))
}
