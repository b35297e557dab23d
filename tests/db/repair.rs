//! What `verify` finds, `verify_with` of `repair` mends: bits flipped in rows of every table, in both modes, plain and
//! encrypted; and a block that nobody has stays named and is never served.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::semicolon_if_nothing_returned,
    clippy::too_many_lines,
    reason = "a test that cannot go on should stop"
)]

use crate::apply_support::Applier;
use crate::support::{carry_until, connect, del, edit, get, put};
use multi_hyperbee::db::{
    Code, DatabaseOptions, Db, EncryptionKey, Expect, FeedChoice, Keep, Location, Repaired, Report, Store,
    StoreOptions, VerifyOptions, Write,
};
use multi_hyperbee::feed::{self, Flaw};
use multi_hyperbee::store::{
    Environment, Options, Read as _, StoreError, Table, WriteTxn, block_key, tree_key,
};
use multi_hyperbee::types::{FeedKey, Hash};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

fn open(dir: &Path) -> Store {
    Store::open(&Location::Path(dir.to_owned()), &StoreOptions::default()).unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    apply: bool,
    encrypted: bool,
}

const KINDS: [Kind; 4] = [
    Kind { apply: false, encrypted: false },
    Kind { apply: false, encrypted: true },
    Kind { apply: true, encrypted: false },
    Kind { apply: true, encrypted: true },
];

impl Kind {
    fn key(self) -> Option<EncryptionKey> {
        self.encrypted.then(|| EncryptionKey::new([0xe5; 32]))
    }

    fn open(self, store: &Store, key: Option<FeedKey>) -> Device {
        let options = if self.apply {
            crate::apply_support::options(key)
        } else {
            DatabaseOptions { key, ..crate::support::database() }
        };
        let options = DatabaseOptions { name: Some("db".into()), encryption_key: self.key(), ..options };
        let db = store.database(options).wait().unwrap();
        if self.apply { Device::Apply(Applier::new(db)) } else { Device::Merge(db) }
    }

    fn verify(self, store: &Store, repair: bool) -> Report {
        let options = VerifyOptions { repair, encryption_key: self.key() };
        store.verify_with(options, |_| ()).wait().unwrap()
    }

    fn repair(self, store: &Store) -> Repaired {
        self.verify(store, true).repair.unwrap()
    }
}

enum Device {
    Merge(Db),
    Apply(Applier),
}

impl Device {
    fn db(&self) -> &Db {
        match self {
            Device::Merge(db) => db,
            Device::Apply(applier) => &applier.db,
        }
    }

    fn local(&self) -> FeedKey {
        self.db().info().unwrap().local
    }

    fn settle(&self) {
        if let Device::Apply(applier) = self {
            applier.drain(true);
        }
    }

    fn write(&self, n: usize) {
        match self {
            Device::Merge(db) => {
                put(db, &format!("key {}", n % 17), &format!(r#"{{"number":{n},"list":[1,2,3]}}"#));
                edit(db, &format!("key {}", n % 17), |text| text.replace("[1,", "[0,1,"));
                if n.is_multiple_of(5) {
                    del(db, &format!("key {}", n % 17));
                }
            }
            Device::Apply(applier) => {
                let [put, log] = [format!("put key{} {n}", n % 17), format!("log all {n};")];
                applier.append(&[&put, &log, "inc count"]);
            }
        }
    }

    fn grant(&self, key: FeedKey) {
        match self {
            Device::Merge(db) => {
                db.add_writer(key, false).wait().unwrap();
            }
            Device::Apply(applier) => {
                applier.append(&[&format!("add {key}")]);
            }
        }
    }

    fn hash(&self) -> Hash {
        self.db().state_hash().unwrap()
    }

    fn have(&self) -> Vec<(FeedKey, u64)> {
        let progress = self.db().progress().unwrap();
        progress.iter().filter(|feed| feed.have > 0).map(|feed| (feed.key, feed.have)).collect()
    }
}

fn sync(a: &Device, b: &Device) {
    let wire = connect(a.db(), b.db());
    carry_until(&[&wire], || {
        a.settle();
        b.settle();
        a.db().is_flushed().unwrap()
            && b.db().is_flushed().unwrap()
            && a.have() == b.have()
            && a.hash() == b.hash()
    });
    wire.close();
}

/// A closed store with some hundred blocks of two writers, and a peer that has all of it.
struct World {
    kind: Kind,
    dir: tempfile::TempDir,
    _peers: Store,
    peer: Device,
    local: FeedKey,
}

fn world(kind: Kind) -> World {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let a = kind.open(&store, None);
    let peers = crate::support::memory();
    let peer = kind.open(&peers, Some(a.local()));
    a.grant(peer.local());
    sync(&a, &peer);
    for n in 0..12 {
        a.write(n);
    }
    peer.write(3);
    peer.write(40);
    sync(&a, &peer);
    for n in 12..30 {
        a.write(n);
    }
    sync(&a, &peer);
    // So that a hash is kept.
    let local = a.local();
    drop(a);
    store.close().wait().unwrap();
    World { kind, dir, _peers: peers, peer, local }
}

impl World {
    /// A copy of the closed store.
    fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(self.dir.path().join("data.mdb"), copy.path().join("data.mdb")).unwrap();
        copy
    }
}

fn tamper(dir: &Path, change: impl FnMut(&mut WriteTxn<'_>) -> Result<(), StoreError>) {
    let env = Environment::open(&Location::Path(dir.to_owned()), &Options::default()).unwrap();
    env.write_with(change).unwrap();
    assert!(env.close().wait(SOON));
}

/// Flips bits of one row's value; false: the table has no row with a value.
fn flip(dir: &Path, table: Table, random: &mut SmallRng, bits: usize) -> bool {
    let env = Environment::open(&Location::Path(dir.to_owned()), &Options::default()).unwrap();
    let rows: Vec<(Vec<u8>, Vec<u8>)> = {
        let txn = env.read().unwrap();
        let rows = txn.range(table, Bound::Unbounded, Bound::Unbounded).unwrap();
        rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap())
            .filter(|(key, value)| !value.is_empty() && (table != Table::Databases || key[0] == 1))
            .collect()
    };
    let found = !rows.is_empty();
    if found {
        let (key, mut value) = rows[random.random_range(0..rows.len())].clone();
        for _ in 0..bits {
            let at = random.random_range(0..value.len());
            value[at] ^= 1 << random.random_range(0..8);
        }
        env.write_with(|txn| txn.put(table, &key, &value)).unwrap();
    }
    assert!(env.close().wait(SOON));
    found
}

fn said(report: &Report) -> Vec<String> {
    report.damages.iter().map(ToString::to_string).collect()
}

/// Mends a damaged store, with its peer if it waits for one, until nothing is named and both have one view.
fn must_be_mended(world: &World, dir: &Path, what: &str) {
    let kind = world.kind;
    let store = open(dir);
    let mut repaired = kind.repair(&store);
    assert_eq!(repaired.remaining, [], "{what}: {:?}", repaired.done);
    let device = kind.open(&store, None);
    for _ in 0..5 {
        if repaired.waiting.is_empty() {
            break;
        }
        let wire = connect(device.db(), world.peer.db());
        for _ in 0..30 {
            wire.carry(usize::MAX);
            store.settled().wait().unwrap();
        }
        wire.close();
        repaired = kind.repair(&store);
    }
    assert_eq!(said(&kind.verify(&store, false)), [""; 0], "{what}: {repaired:?}");
    sync(&device, &world.peer);
    assert_eq!(said(&kind.verify(&store, false)), [""; 0], "{what}, after syncing");
    drop(device);
    store.close().wait().unwrap();
}

/// Tables whose rows are compared with something, so that whatever changes in a value is found.
const NAMED: [Table; 8] = [
    Table::Blocks,
    Table::Tree,
    Table::Pasts,
    Table::Effectives,
    Table::Controls,
    Table::Order,
    Table::Log,
    Table::Hashes,
];

/// Others: some changes of their values leave what is just as possible.
const OTHERS: [Table; 7] = [
    Table::Applied,
    Table::View,
    Table::Sequence,
    Table::Feeds,
    Table::Databases,
    Table::Diffs,
    Table::Commits,
];

/// `MULTI_HYPERBEE_REPAIR_SEEDS` makes it more than one of each table; with one they differ from table to table.
fn flips_are_mended(kind: Kind) {
    let seeds = std::env::var("MULTI_HYPERBEE_REPAIR_SEEDS").map_or(1, |seeds| seeds.parse::<u64>().unwrap());
    let world = world(kind);
    let mut tables = 0;
    for (first, table) in (0..).zip(NAMED.into_iter().chain(OTHERS)) {
        for seed in first..first + seeds {
            let mut random = SmallRng::seed_from_u64(seed);
            let dir = world.copy();
            let bits = if seed % 2 == 0 { 1 } else { 5 };
            // A record is mended by its only copy: itself.
            let bits = if table == Table::Feeds { 1 } else { bits };
            if !flip(dir.path(), table, &mut random, bits) {
                break;
            }
            tables += usize::from(seed == first);
            let what = format!("{kind:?} {} {seed}", table.name());
            let store = open(dir.path());
            let report = kind.verify(&store, false);
            store.close().wait().unwrap();
            if NAMED.contains(&table) || (kind.encrypted && table == Table::View) {
                assert!(!report.is_clean(), "{what}: not named");
            }
            if !report.is_clean() {
                must_be_mended(&world, dir.path(), &what);
            }
        }
    }
    assert!(tables >= 9, "{tables}");
}

#[test]
fn flips_are_mended_in_merge_mode() {
    flips_are_mended(KINDS[0]);
}

#[test]
fn flips_are_mended_in_merge_mode_encrypted() {
    flips_are_mended(KINDS[1]);
}

#[test]
fn flips_are_mended_in_apply_mode() {
    flips_are_mended(KINDS[2]);
}

#[test]
fn flips_are_mended_in_apply_mode_encrypted() {
    flips_are_mended(KINDS[3]);
}

/// Makes a block nobody's hash fits.
fn spoil(txn: &mut WriteTxn<'_>, feed: u32, seq: u64) {
    let key = block_key(feed, seq);
    let mut block = txn.get(Table::Blocks, &key).unwrap().unwrap().to_vec();
    for byte in block.iter_mut().skip(1).step_by(2) {
        *byte = !*byte;
    }
    txn.put(Table::Blocks, &key, &block).unwrap();
}

#[test]
fn a_block_that_nobody_has_is_never_served_and_stays_named_and_comes_back_with_a_peer() {
    for kind in KINDS {
        let world = world(kind);
        let dir = world.copy();
        tamper(dir.path(), |txn| {
            for seq in [7, 8, 21] {
                spoil(txn, 0, seq);
            }
            Ok(())
        });
        let store = open(dir.path());
        let device = kind.open(&store, None);
        for _ in 0..2 {
            let repaired = kind.repair(&store);
            let seqs: Vec<_> = repaired
                .waiting
                .iter()
                .filter(|damage| damage.database.is_none())
                .filter_map(|damage| damage.seq)
                .collect();
            assert_eq!((seqs, repaired.remaining), (vec![7, 8, 21], vec![]), "{kind:?}");
        }
        let feed = store.feed(FeedChoice::Key(world.local)).wait().unwrap();
        assert_eq!(feed.info().unwrap().contiguous, 7);
        assert_eq!(feed.get(7).unwrap(), None);
        assert!(feed.get(9).unwrap().is_some());
        // Whoever has nothing gets what is before the damage.
        let others = crate::support::memory();
        let other = kind.open(&others, Some(world.local));
        let wire = connect(device.db(), other.db());
        for _ in 0..100 {
            wire.carry(usize::MAX);
            std::thread::sleep(Duration::from_millis(1));
        }
        wire.close();
        assert!(other.have().iter().all(|(feed, have)| *feed != world.local || *have <= 7), "{kind:?}");
        // What is written meanwhile stands after all that was signed.
        device.write(31);
        let length = feed.info().unwrap().length;
        drop((device, feed));
        store.close().wait().unwrap();
        // Reopened it still knows what is missing, and a peer brings it.
        let store = open(dir.path());
        let device = kind.open(&store, None);
        sync(&device, &world.peer);
        let feed = store.feed(FeedChoice::Key(world.local)).wait().unwrap();
        let wire = connect(device.db(), world.peer.db());
        carry_until(&[&wire], || feed.info().unwrap().contiguous == length);
        wire.close();
        assert_eq!(said(&kind.verify(&store, false)), [""; 0]);
        sync(&device, &other);
        sync(&device, &world.peer);
    }
}

#[test]
fn a_damaged_block_that_a_peer_has_not_either_keeps_nothing_else_from_coming() {
    let kind = KINDS[0];
    let world = world(kind);
    let dir = world.copy();
    let store = open(dir.path());
    let device = kind.open(&store, None);
    for n in 30..40 {
        device.write(n);
    }
    sync(&device, &world.peer);
    drop(device);
    store.close().wait().unwrap();
    let theirs = tempfile::tempdir().unwrap();
    let store = open(theirs.path());
    let other = kind.open(&store, Some(world.local));
    sync(&other, &world.peer);
    drop(other);
    store.close().wait().unwrap();
    tamper(theirs.path(), |txn| {
        let row = txn.get(Table::Feeds, world.local.as_bytes()).unwrap().unwrap();
        let id = u32::from_be_bytes(row[1..5].try_into().unwrap());
        spoil(txn, id, 7);
        Ok(())
    });
    tamper(dir.path(), |txn| {
        // More than are asked for at a time.
        for seq in 5..75 {
            spoil(txn, 0, seq);
        }
        Ok(())
    });
    let [other_store, store] = [open(theirs.path()), open(dir.path())];
    let [other, device] = [kind.open(&other_store, Some(world.local)), kind.open(&store, None)];
    for store in [&other_store, &store] {
        kind.repair(store);
    }
    let feed = store.feed(FeedChoice::Key(world.local)).wait().unwrap();
    let wire = connect(device.db(), other.db());
    carry_until(&[&wire], || (5..75).all(|seq| seq == 7 || feed.get(seq).unwrap().is_some()));
    assert_eq!(feed.info().unwrap().contiguous, 7);
    // It is not asked again and again for what it has not, nor believed to have less than it says.
    let known = device.db().sync_status().unwrap().peers;
    let known = known.iter().flat_map(|peer| &peer.feeds).find(|known| known.key == world.local).unwrap();
    assert_eq!(known.theirs, feed.info().unwrap().length);
    wire.close();
    sync(&device, &world.peer);
    let wire = connect(device.db(), world.peer.db());
    carry_until(&[&wire], || feed.info().unwrap().contiguous == feed.info().unwrap().length);
    wire.close();
}

#[test]
fn a_leaf_and_another_block_damaged_are_told_apart_or_asked_for() {
    let kind = KINDS[0];
    let world = world(kind);
    // In one row of leaves; in two; in the last, which no node stands above; more than one transaction mends.
    let everywhere = (&[1, 17, 20, 33, 50][..], &(2..55).step_by(2).collect::<Vec<u64>>()[..]);
    let few: [(&[u64], &[u64]); 6] =
        [(&[5], &[9]), (&[5], &[20]), (&[40], &[3]), (&[], &[50]), (&[65], &[]), (&[65], &[66])];
    for (leaves, blocks) in few.into_iter().chain([everywhere]) {
        let dir = world.copy();
        tamper(dir.path(), |txn| {
            for leaf in leaves {
                spoil_leaf(txn, *leaf);
            }
            for block in blocks {
                spoil(txn, 0, *block);
            }
            Ok(())
        });
        must_be_mended(&world, dir.path(), &format!("leaves {leaves:?}, blocks {blocks:?}"));
    }
}

fn spoil_leaf(txn: &mut WriteTxn<'_>, leaf: u64) {
    let key = tree_key(0, 0, leaf / 16);
    let mut row = txn.get(Table::Tree, &key).unwrap().unwrap().to_vec();
    let at = usize::try_from(leaf % 16).unwrap() * 40 + 13;
    row[at..at + 5].fill(0xaa);
    txn.put(Table::Tree, &key, &row).unwrap();
}

#[test]
fn a_tree_is_not_made_of_leaves_that_lead_to_no_signed_head() {
    let world = world(KINDS[0]);
    let dir = world.copy();
    tamper(dir.path(), |txn| {
        let record = feed::load(&*txn, &world.local).unwrap().unwrap();
        let above = txn.get(Table::Tree, &tree_key(0, 1, 0))?.unwrap().to_vec();
        assert!(feed::tree_of_leaves(txn, &record).unwrap());
        assert_eq!(txn.get(Table::Tree, &tree_key(0, 1, 0))?.unwrap(), above);
        spoil_leaf(txn, 20);
        assert!(!feed::tree_of_leaves(txn, &record).unwrap());
        assert_eq!(txn.get(Table::Tree, &tree_key(0, 1, 0))?.unwrap(), above);
        Ok(())
    });
    must_be_mended(&world, dir.path(), "a leaf");
}

#[test]
fn a_damaged_tree_is_never_signed() {
    let world = world(KINDS[0]);
    let dir = world.copy();
    // The last row of leaves: its nodes are roots of the whole.
    tamper(dir.path(), |txn| {
        let (key, mut row) = {
            let (from, to) = (tree_key(0, 0, 0), tree_key(0, 0, u64::MAX));
            let last = txn.last(Table::Tree, Bound::Included(&from), Bound::Included(&to))?.unwrap();
            (last.0.to_vec(), last.1.to_vec())
        };
        row[20] ^= 1;
        txn.put(Table::Tree, &key, &row)
    });
    let store = open(dir.path());
    let Device::Merge(db) = KINDS[0].open(&store, None) else { panic!() };
    let refused = db.write(vec![crate::support::put_write("k", "{}")]).wait().unwrap().remove(0).unwrap_err();
    assert_eq!(refused.code, Code::Corrupt);
    drop(db);
    store.close().wait().unwrap();
    must_be_mended(&world, dir.path(), "a root");
}

#[test]
fn a_damaged_anchor_that_nobody_has_linked_keeps_no_view_from_being_made_anew_and_comes_back_with_it() {
    for kind in KINDS.into_iter().filter(|kind| kind.apply) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let Device::Apply(applier) = kind.open(&store, None) else { panic!() };
        applier.append(&["put k 1", "anchor"]);
        applier.append(&["put k 2"]);
        let anchor = applier.anchors.borrow()[0];
        drop(applier);
        store.close().wait().unwrap();
        tamper(dir.path(), |txn| {
            let record = txn.get(Table::Feeds, anchor.as_bytes())?.unwrap();
            spoil(txn, u32::from_be_bytes(record[1..5].try_into().unwrap()), 0);
            let first = txn.range(Table::Sequence, Bound::Unbounded, Bound::Unbounded)?.next().unwrap();
            let key = first.unwrap().0.to_vec();
            txn.delete(Table::Sequence, &key).map(drop)
        });
        let store = open(dir.path());
        assert!(kind.verify(&store, false).damages.len() >= 2);
        kind.repair(&store);
        let device = kind.open(&store, None);
        device.settle();
        assert_eq!(said(&kind.verify(&store, false)), [""; 0], "{kind:?}");
        drop(device);
        store.close().wait().unwrap();
    }
}

#[test]
fn a_repair_that_was_interrupted_is_named_and_goes_on() {
    for kind in [KINDS[0], KINDS[3]] {
        let world = world(kind);
        // As a crash right after the mark was set, and in each phase after.
        for phase in 1..=3_u8 {
            let dir = world.copy();
            tamper(dir.path(), |txn| {
                let version = {
                    let row = txn.get(Table::Databases, &[1, 0, 0, 0, 1])?.unwrap();
                    row[0]
                };
                assert!(version < 128);
                let mark = [&[phase, version, version][..], &[0; 8]].concat();
                if phase == 2 {
                    for table in [Table::Order, Table::Applied] {
                        let rows = txn.range(table, Bound::Unbounded, Bound::Unbounded)?;
                        let keys: Vec<_> = rows.map(|row| row.unwrap().0.to_vec()).collect();
                        for key in keys {
                            txn.delete(table, &key)?;
                        }
                    }
                }
                txn.put(Table::Meta, b"repair \0\0\0\x01", &mark)
            });
            let store = open(dir.path());
            let report = kind.verify(&store, false);
            assert!(
                said(&report).iter().any(|said| said.contains("repair has begun")),
                "{:?}",
                said(&report)
            );
            if phase < 3 && !kind.apply {
                let Device::Merge(db) = kind.open(&store, None) else { panic!() };
                assert!(get(&db, "key 4").is_some());
                let refused = db.write(vec![crate::support::put_write("k", "{}")]).wait();
                let refused = refused.map(|mut all| all.remove(0)).and_then(|one| one);
                assert_eq!(refused.unwrap_err().code, Code::Corrupt);
            }
            store.close().wait().unwrap();
            if phase < 3 {
                must_be_mended(&world, dir.path(), &format!("{kind:?}, phase {phase}"));
            }
        }
    }
}

#[test]
fn what_readers_saw_stays_until_the_view_is_made_anew_and_then_its_past_is_gone() {
    let kind = KINDS[0];
    let world = world(kind);
    let dir = world.copy();
    let mut random = SmallRng::seed_from_u64(9);
    let store = open(dir.path());
    let Device::Merge(db) = kind.open(&store, None) else { panic!() };
    let (version, hash) = (db.status().unwrap().version, db.state_hash().unwrap());
    drop(db);
    store.close().wait().unwrap();
    assert!(flip(dir.path(), Table::Log, &mut random, 3));
    let store = open(dir.path());
    let Device::Merge(db) = kind.open(&store, None) else { panic!() };
    let repaired = kind.repair(&store);
    assert!(repaired.remaining.is_empty() && !repaired.done.is_empty(), "{repaired:?}");
    assert!(db.status().unwrap().version > version);
    assert_eq!(db.state_hash().unwrap(), hash);
    assert_eq!(db.get_entry(b"key 3", Some(version - 3)).unwrap_err().code, Code::VersionGone);
    put(&db, "on", "{}");
    assert!(kind.verify(&store, false).is_clean());
}

/// Everything of a database that readers see of its content, as one: in its own thread, for it may not end.
fn hash_in_time(device: &Device) -> Hash {
    let (db, (say, hear)) = (device.db().clone(), std::sync::mpsc::channel());
    std::thread::spawn(move || say.send(db.state_hash().unwrap()));
    hear.recv_timeout(Duration::from_secs(30)).unwrap()
}

#[test]
fn the_state_hash_goes_on_from_where_a_repair_begins_the_past() {
    for kind in [KINDS[0], KINDS[2]] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let device = kind.open(&store, None);
        for n in 0..150 {
            device.write(n);
        }
        device.settle();
        let before = device.hash();
        assert!(device.db().status().unwrap().version > 300);
        drop(device);
        store.close().wait().unwrap();
        assert!(flip(dir.path(), Table::Log, &mut SmallRng::seed_from_u64(3), 3));
        let store = open(dir.path());
        let repaired = kind.repair(&store);
        assert!(repaired.remaining.is_empty() && !repaired.done.is_empty(), "{repaired:?}");
        let device = kind.open(&store, None);
        device.settle();
        assert_eq!(hash_in_time(&device), before, "{kind:?}");
        assert_eq!(device.db().state_claim().unwrap().state, before);
        device.write(151);
        device.settle();
        hash_in_time(&device);
        assert_eq!(said(&kind.verify(&store, false)), [""; 0]);
    }
}

#[test]
fn a_key_whose_tombstone_went_is_after_a_repair_what_it_was() {
    let kind = KINDS[0];
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let Device::Merge(db) = kind.open(&store, None) else { panic!() };
    put(&db, "gone", r#"{"kept":1}"#);
    let base = db.get(b"gone", None, |row| (row.stamp, row.state)).unwrap();
    del(&db, "gone");
    put(&db, "there", r#"{"a":1}"#);
    db.compact(Some(Keep::Versions(1)), |_| ()).wait().unwrap();
    let hash = db.state_hash().unwrap();
    drop(db);
    store.close().wait().unwrap();
    assert!(flip(dir.path(), Table::Log, &mut SmallRng::seed_from_u64(3), 3));
    let store = open(dir.path());
    let Device::Merge(db) = kind.open(&store, None) else { panic!() };
    let repaired = kind.repair(&store);
    assert!(repaired.remaining.is_empty() && !repaired.done.is_empty(), "{repaired:?}");
    assert_eq!((db.state_hash().unwrap(), get(&db, "gone")), (hash, None));
    let value = br#"{"kept":1,"more":2}"#.to_vec();
    let write = Write::Put { key: b"gone".to_vec(), value, base, diff: None, expect: Expect::Any };
    db.write(vec![write]).wait().unwrap().remove(0).unwrap();
    assert_eq!(get(&db, "gone").as_deref(), Some(r#"{"kept":1,"more":2}"#));
    assert_eq!(said(&kind.verify(&store, false)), [""; 0]);
}

#[test]
fn a_state_hash_that_is_damaged_where_the_past_is_gone_is_made_of_what_is_there() {
    let gone = |txn: &mut WriteTxn<'_>| assert!(txn.delete(Table::Hashes, &1_u32.to_be_bytes()).unwrap());
    let flipped = |txn: &mut WriteTxn<'_>| {
        let mut row = txn.get(Table::Hashes, &1_u32.to_be_bytes()).unwrap().unwrap().to_vec();
        row[100] ^= 4;
        txn.put(Table::Hashes, &1_u32.to_be_bytes(), &row).unwrap();
    };
    let short = |txn: &mut WriteTxn<'_>| txn.put(Table::Hashes, &1_u32.to_be_bytes(), b"short").unwrap();
    let changes: [fn(&mut WriteTxn<'_>); 3] = [gone, flipped, short];
    for (kind, change) in [KINDS[0], KINDS[1], KINDS[2]].into_iter().zip(changes) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let device = kind.open(&store, None);
        for n in 0..40 {
            device.write(n);
        }
        device.settle();
        device.db().compact(Some(Keep::Versions(3)), |_| ()).wait().unwrap();
        assert!(device.db().oldest_version().unwrap() > 1);
        let before = device.hash();
        drop(device);
        store.close().wait().unwrap();
        tamper(dir.path(), |txn| {
            change(txn);
            Ok(())
        });
        let store = open(dir.path());
        assert!(!kind.verify(&store, false).is_clean(), "{kind:?}");
        let repaired = kind.repair(&store);
        assert!(repaired.remaining.is_empty(), "{repaired:?}");
        let device = kind.open(&store, None);
        assert!(device.db().oldest_version().unwrap() > 1);
        assert_eq!(hash_in_time(&device), before, "{kind:?}");
        assert_eq!(said(&kind.verify(&store, false)), [""; 0]);
    }
}

#[test]
fn a_block_that_came_back_since_it_was_found_damaged_stays() {
    let world = world(KINDS[0]);
    let dir = world.copy();
    for is_mixed in [false, true] {
        tamper(dir.path(), |txn| {
            let record = feed::load(&*txn, &world.local).unwrap().unwrap();
            let before = txn.get(Table::Blocks, &block_key(record.id, 7))?.unwrap().to_vec();
            let blocks = [7, record.length + 3].map(|seq| Flaw::Block { seq });
            feed::mend(txn, &record, &blocks, is_mixed).unwrap();
            assert_eq!(txn.get(Table::Blocks, &block_key(record.id, 7))?, Some(&before[..]));
            assert_eq!(feed::holes(&*txn, &record, 0, 9).unwrap(), []);
            Ok(())
        });
    }
    must_be_mended(&world, dir.path(), "nothing");
}

/// What a peer does that has one block of those in doubt: the block is what its leaf says.
fn bring_back(txn: &mut WriteTxn<'_>, seq: u64, block: &[u8]) {
    txn.put(Table::Blocks, &block_key(0, seq), block).unwrap();
    assert!(txn.delete(Table::Holes, &block_key(0, seq)).unwrap());
}

#[test]
fn a_block_that_was_in_doubt_is_no_hole_any_more_once_what_was_wrong_beside_it_is_back() {
    let kind = KINDS[0];
    let world = world(kind);
    let dir = world.copy();
    // Of the last row of leaves, which no node stands above.
    let mut block = Vec::new();
    tamper(dir.path(), |txn| {
        let length = feed::load(&*txn, &world.local).unwrap().unwrap().length;
        assert!((67..80).contains(&length), "{length}");
        block = txn.get(Table::Blocks, &block_key(0, 66))?.unwrap().to_vec();
        spoil_leaf(txn, 65);
        spoil(txn, 0, 66);
        Ok(())
    });
    let contiguous =
        |store: &Store| store.feed(FeedChoice::Key(world.local)).wait().unwrap().info().unwrap().contiguous;
    let store = open(dir.path());
    kind.repair(&store);
    assert_eq!(contiguous(&store), 65);
    store.close().wait().unwrap();
    tamper(dir.path(), |txn| {
        bring_back(txn, 66, &block);
        Ok(())
    });
    let store = open(dir.path());
    let repaired = kind.repair(&store);
    assert_eq!((repaired.waiting, repaired.remaining), (vec![], vec![]), "{:?}", repaired.done);
    assert!(contiguous(&store) > 66, "{}", contiguous(&store));
    assert_eq!(said(&kind.verify(&store, false)), [""; 0]);
}

#[test]
fn of_many_in_doubt_those_are_holes_no_more_that_the_node_above_tells_apart_once_few_are_left() {
    let world = world(KINDS[0]);
    let dir = world.copy();
    tamper(dir.path(), |txn| {
        let record = feed::load(&*txn, &world.local).unwrap().unwrap();
        let block_of =
            |txn: &WriteTxn<'_>, seq| txn.get(Table::Blocks, &block_key(0, seq)).unwrap().unwrap().to_vec();
        let damaged: Vec<(u64, Vec<u8>)> = (4..15).map(|seq| (seq, block_of(txn, seq))).collect();
        spoil_leaf(txn, 3);
        for (seq, _) in &damaged {
            spoil(txn, 0, *seq);
        }
        let flaws = |seqs: std::ops::Range<u64>| seqs.map(|seq| Flaw::Block { seq }).collect::<Vec<_>>();
        // One more than are tried.
        feed::mend(txn, &record, &flaws(3..15), true).unwrap();
        let all: Vec<_> = (3..15).map(|seq| (seq, true)).collect();
        assert_eq!(feed::holes(&*txn, &record, 0, 99).unwrap(), all);
        for (seq, block) in &damaged[2..] {
            bring_back(txn, *seq, block);
        }
        feed::mend(txn, &record, &flaws(3..6), true).unwrap();
        assert_eq!(feed::holes(&*txn, &record, 0, 99).unwrap(), [(4, false), (5, false)]);
        Ok(())
    });
    must_be_mended(&world, dir.path(), "two blocks");
}

#[test]
fn a_repair_says_all_that_was_mended_and_all_that_was_lost_where_one_feed_has_both() {
    type Change = fn(&mut WriteTxn<'_>);
    fn flip(txn: &mut WriteTxn<'_>, table: Table, key: &[u8]) {
        let mut row = txn.get(table, key).unwrap().unwrap().to_vec();
        row[9] ^= 1;
        txn.put(table, key, &row).unwrap();
    }
    let kind = KINDS[0];
    let world = world(kind);
    let cases: [(Change, &[&str]); 4] = [
        // A block that nobody has, another with a flipped bit, and a row of the tree.
        (
            |txn| {
                spoil(txn, 0, 7);
                flip(txn, Table::Blocks, &block_key(0, 8));
                flip(txn, Table::Tree, &tree_key(0, 1, 0));
            },
            &["2 damages of feed", "1 damaged blocks of feed"],
        ),
        // Two of which it cannot be told, and a flipped bit.
        (
            |txn| {
                spoil_leaf(txn, 65);
                spoil(txn, 0, 66);
                flip(txn, Table::Blocks, &block_key(0, 64));
            },
            &["1 damages of feed", "2 blocks of feed"],
        ),
        // A database whose row of its state is damaged, and that waits for a block.
        (
            |txn| {
                spoil(txn, 0, 7);
                let key = [&[1][..], &1_u32.to_be_bytes()].concat();
                txn.put(Table::Databases, &key, b"short").unwrap();
            },
            &["1 damaged blocks of feed", "the version and the clock of database number 1"],
        ),
        (
            |txn| txn.put(Table::Blocks, &block_key(0, 1_000), b"x").unwrap(),
            &["1 damages", "1 blocks of feed"],
        ),
    ];
    for (change, says) in cases {
        let dir = world.copy();
        tamper(dir.path(), |txn| {
            change(txn);
            Ok(())
        });
        let store = open(dir.path());
        let done = kind.repair(&store).done;
        let is_said = |what: &&str| done.iter().any(|line| line.starts_with(what));
        assert!(done.len() == says.len() && says.iter().all(is_said), "{done:#?}, not {says:?}");
        // A repair that finds no more to do says nothing.
        assert_eq!(kind.repair(&store).done, [""; 0]);
        store.close().wait().unwrap();
        must_be_mended(&world, dir.path(), says[0]);
    }
}

#[test]
fn rows_that_stand_alone_are_mended_or_taken_out() {
    type Change = fn(&mut WriteTxn<'_>);
    fn alter(txn: &mut WriteTxn<'_>, table: Table, from: &[u8], change: impl Fn(&mut Vec<u8>)) {
        let (key, mut value) = {
            let row = txn.first(table, Bound::Included(from), Bound::Unbounded).unwrap().unwrap();
            (row.0.to_vec(), row.1.to_vec())
        };
        change(&mut value);
        txn.put(table, &key, &value).unwrap();
    }
    const DATABASE: [u8; 4] = 1_u32.to_be_bytes();
    let cases: [(&str, Change); 10] = [
        ("a member cut short", |txn| {
            alter(txn, Table::Members, &DATABASE, |row| assert!(row.pop().is_some()))
        }),
        ("a member with another's number", |txn| alter(txn, Table::Members, &DATABASE, |row| row[3] ^= 1)),
        ("a state cut short", |txn| alter(txn, Table::Databases, &[1], |row| assert!(row.pop().is_some()))),
        ("a part of nothing", |txn| txn.put(Table::Parts, &block_key(1, 9), &[1, 2, 3]).unwrap()),
        ("an invite of nothing", |txn| {
            txn.put(Table::Invites, &[&DATABASE[..], &[7; 16]].concat(), b"x").unwrap()
        }),
        ("the next feed", |txn| txn.put(Table::Meta, b"next-feed", &[0; 4]).unwrap()),
        ("the next database", |txn| txn.put(Table::Meta, b"next database", &[0]).unwrap()),
        ("a cover of a feed that is whole", |txn| {
            txn.put(Table::Covers, &[0; 4], &[0; 8 + 32 + 40]).unwrap()
        }),
        ("a cover of no feed", |txn| txn.put(Table::Covers, &[9; 4], &[7]).unwrap()),
        ("a hole cut short", |txn| txn.put(Table::Holes, &block_key(0, 3), &[]).unwrap()),
    ];
    for kind in [KINDS[0], KINDS[3]] {
        let world = world(kind);
        for (what, change) in cases {
            let dir = world.copy();
            tamper(dir.path(), |txn| {
                change(txn);
                Ok(())
            });
            let store = open(dir.path());
            assert!(!kind.verify(&store, false).is_clean(), "{what}");
            store.close().wait().unwrap();
            must_be_mended(&world, dir.path(), what);
        }
    }
}

#[test]
fn a_file_with_damaged_pages_is_not_written_to() {
    let world = world(KINDS[0]);
    let dir = world.copy();
    let path = dir.path().join("data.mdb");
    let mut bytes = std::fs::read(&path).unwrap();
    let page = usize::try_from(u32::from_ne_bytes(bytes[40..44].try_into().unwrap())).unwrap();
    let store = open(dir.path());
    // Leaves: the walk that opening does not do is what finds them.
    let leaves = (2..bytes.len() / page).filter(|at| bytes[at * page + 10] == 2).count();
    assert!(leaves > 5);
    store.close().wait().unwrap();
    for at in (2..bytes.len() / page).filter(|at| at % 3 == 0) {
        if bytes[at * page + 10] == 2 {
            bytes[at * page + 12] = 3;
            bytes[at * page + 13] = 0;
        }
    }
    std::fs::write(&path, &bytes).unwrap();
    let store = open(dir.path());
    let report = KINDS[0].verify(&store, true);
    if report.is_clean() {
        return;
    }
    let repaired = report.repair.unwrap();
    assert!(repaired.done.is_empty() && repaired.waiting.is_empty());
    assert_eq!(repaired.remaining, report.damages);
}
