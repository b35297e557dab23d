//! What a commit writes, and what a connection looks at, does not grow with the feeds of a database. Counted, not timed.

use super::board::Wrote;
use super::{
    DatabaseOptions, Db, Expect, Location, Peer, PeerOptions, Store, StoreOptions, Transport, Write,
};
use crate::entry::{BatchHead, Change, Diff, Entry, Op, Place};
use crate::feed::{self, Received, Seed};
use crate::merkle::{Head, Node, Roots};
use crate::types::{FeedKey, Link};
use std::sync::Arc;

struct Writer {
    seed: Seed,
    roots: Roots,
}

struct Grown {
    store: Store,
    db: Db,
    writers: Vec<Writer>,
}

impl Grown {
    /// A database whose creator has granted so many writers, each of which has written one entry.
    fn new(count: usize, location: &Location) -> Self {
        let store = Store::open(location, &StoreOptions::default()).unwrap();
        let db = store.database(DatabaseOptions::default()).wait().unwrap();
        let seed = |number: usize| {
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&number.to_be_bytes());
            Seed::new(seed)
        };
        let writers = (0..count).map(|number| Writer { seed: seed(number), roots: Roots::new() }).collect();
        let mut grown = Self { store, db, writers };
        let (id, database) = (grown.db.inner().unwrap().open.id, grown.db.info().unwrap().key);
        let keys: Vec<FeedKey> = grown.writers.iter().map(|writer| writer.seed.feed()).collect();
        for keys in keys.chunks(500) {
            let keys = keys.to_vec();
            let grant = move |writer: &FeedKey| Op::Grant { database, writer: *writer, indexer: false };
            let job = grown
                .store
                .shared()
                .unwrap()
                .job(move |work| work.append(id, &keys.iter().map(&grant).collect::<Vec<_>>()).map(drop));
            job.wait().unwrap();
        }
        for first in (0..count).step_by(500) {
            grown.receive(first..count.min(first + 500));
        }
        grown
    }

    /// Each of these writers has written one entry more, and it comes, all in one commit.
    fn receive(&mut self, which: std::ops::Range<usize>) {
        let database = self.db.info().unwrap().key;
        let shared = self.store.shared().unwrap();
        let link = {
            let txn = shared.read().unwrap();
            let record = feed::load(&txn, &database).unwrap().unwrap();
            // Of the creator's entries only what was granted is linked, so that none of them has more in its past.
            let length = record.length.min(1 + self.writers.len() as u64);
            let root = feed::root_at(&txn, &record, length).unwrap();
            Link { feed: database, length, root: *root.first_chunk().unwrap() }
        };
        let mut all = Vec::new();
        for writer in &mut self.writers[which] {
            let start = writer.roots.length();
            let timestamp = crate::clock::ntp64(
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap(),
            );
            let links = if start == 0 { vec![link] } else { Vec::new() };
            let place = Place::First(BatchHead { optimistic: false, timestamp, length: 1, links });
            let op = Op::Diff(Diff { key: b"shared", prev: None, change: Change::Register(b"x") });
            let block = Entry { place, op }.encode();
            writer.roots.push(Node::leaf(&block), |_, _, _| ());
            let head = Head::sign(&writer.seed.signing_key(), &writer.roots);
            all.push((writer.seed.feed(), start, head, block));
        }
        let job = shared.job(move |work| {
            for (feed, start, head, block) in &all {
                let Head { length, byte_length, signature, .. } = *head;
                let (nodes, blocks) = (Vec::new(), vec![block.as_slice()]);
                let extending = *start > 0;
                let received =
                    Received { start: *start, length, byte_length, signature, nodes, blocks, extending };
                work.ingest(*feed, &received)?.unwrap();
            }
            Ok(())
        });
        job.wait().unwrap();
    }

    fn put(&self, key: &str) {
        let (key, value) = (key.as_bytes().to_vec(), b"{}".to_vec());
        self.db
            .write(vec![Write::Put { key, value, base: None, diff: None, expect: Expect::Any }])
            .wait()
            .unwrap();
    }

    /// What `act` writes.
    fn writes(&mut self, act: impl FnOnce(&mut Self)) -> Wrote {
        let before = self.store.wrote().unwrap();
        act(self);
        let after = self.store.wrote().unwrap();
        Wrote {
            commits: after.commits - before.commits,
            rows: after.rows - before.rows,
            bytes: after.bytes - before.bytes,
        }
    }
}

fn options(transport: Transport, download: bool) -> PeerOptions {
    let wake = Arc::new(|| {});
    PeerOptions { transport, live: true, download, upload: true, user_data: Vec::new(), wake }
}

fn carry(a: &Peer, b: &Peer) {
    for _ in 0..10_000 {
        let mut moved = false;
        for (from, to) in [(a, b), (b, a)] {
            while let Some(bytes) = from.pull(1 << 16) {
                moved = true;
                to.receive(&bytes).unwrap();
            }
        }
        if !moved {
            return;
        }
    }
    panic!("two connections that never come to rest");
}

/// The same acts at two sizes: a local write, one after something was received, a received entry.
fn costs(grown: &mut Grown) -> Vec<Wrote> {
    // The first write links what all have written: it costs what is new to it, once.
    grown.put("first");
    grown.put("second");
    let mut costs = vec![grown.writes(|grown| grown.put("third0"))];
    costs.push(grown.writes(|grown| grown.receive(3..4)));
    grown.put("fourth");
    grown.receive(5..6);
    costs.push(grown.writes(|grown| grown.put("fifth0")));
    costs.push(grown.writes(|grown| grown.receive(3..6)));
    costs
}

/// Sixteen, so that the creator's feed ends at the same place of a row of its tree as with some thousands.
const FEW: usize = 16;

/// Two thousand; `MULTI_HYPERBEE_FEEDS=10000` takes half a minute.
fn many() -> usize {
    std::env::var("MULTI_HYPERBEE_FEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(2_000)
}

/// How many feeds a connection looks at for ten commits of two feeds each.
fn looks(grown: &mut Grown) -> u64 {
    let other = Store::open(&Location::Memory, &StoreOptions::default()).unwrap();
    let key = Some(grown.db.info().unwrap().key);
    let joined = other.database(DatabaseOptions { key, ..DatabaseOptions::default() }).wait().unwrap();
    let here = grown.db.replicate(options(Transport::Initiator, true)).unwrap();
    let there = joined.replicate(options(Transport::Responder, false)).unwrap();
    carry(&here, &there);
    let looked = |grown: &Grown| grown.db.sync_status().unwrap().peers[0].looked;
    let all = looked(grown);
    assert!(all > grown.writers.len() as u64, "each was announced");
    for _ in 0..10 {
        grown.receive(3..5);
        carry(&here, &there);
        here.tick();
    }
    let after = looked(grown);
    here.close();
    after - all
}

#[test]
fn thousands_of_feeds_cost_what_changes_of_them() {
    let (few, few_looks) = {
        let mut grown = Grown::new(FEW, &Location::Memory);
        (costs(&mut grown), looks(&mut grown))
    };
    let dir = tempfile::tempdir().unwrap();
    let location = Location::Path(dir.path().to_owned());
    let count = many();
    let mut grown = Grown::new(count, &location);
    let (many, many_looks) = (costs(&mut grown), looks(&mut grown));
    println!("a commit of {FEW} feeds: {few:?}, of {count}: {many:?}; looks: {few_looks}, {many_looks}");
    for (few, many) in few.iter().zip(&many) {
        assert_eq!((few.commits, few.rows), (many.commits, many.rows));
        // A row of the creator's tree may be fuller (at most 16 nodes of 40 bytes), and numbers longer.
        assert!(many.bytes <= few.bytes + 700, "{few:?} {many:?}");
    }
    // A commit that comes while the one before is looked at is looked at with it, or by itself.
    assert!(few_looks.abs_diff(many_looks) <= 20, "{few_looks} {many_looks}");
    assert!((20..200).contains(&few_looks), "{few_looks}");

    let Grown { store, db, .. } = grown;
    drop(db);
    store.close().wait().unwrap();
    let begun = std::time::Instant::now();
    let store = Store::open(&location, &StoreOptions::default()).unwrap();
    let opened = begun.elapsed();
    let db = store.database(DatabaseOptions::default()).wait().unwrap();
    println!("{count} feeds: store {opened:?}, database {:?}", begun.elapsed());
    assert_eq!(db.members().unwrap().iter().filter(|member| member.granted).count(), count + 1);
    assert_eq!(store.wrote().unwrap().rows, 0, "nothing is written to open it");
}
