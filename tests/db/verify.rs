//! What `verify` finds: nothing in a sound store, and each damage by its name. And that what is damaged is not served.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::too_many_lines,
    clippy::semicolon_if_nothing_returned,
    reason = "a table of cases is one; a test that cannot go on should stop"
)]

use crate::apply_support::{create_apply, join_apply, settle};
use crate::support::{
    carry_until, connect, create, database, del, edit, encryption_key, get, join, memory, put,
};
use multi_hyperbee::db::{
    Code, Db, FeedChoice, Functions, Location, Progress, Report, Stage, Store, StoreOptions,
};
use multi_hyperbee::feed::{self, FeedError, StoredTree};
use multi_hyperbee::merkle::{self, Known};
use multi_hyperbee::seal::Sealing;
use multi_hyperbee::store::{
    Environment, Options, Read as _, StoreError, Table, WriteTxn, block_key, tree_key,
};
use multi_hyperbee::types::FeedKey;
use parking_lot::Mutex;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn open(dir: &Path) -> Store {
    Store::open(&Location::Path(dir.to_owned()), &StoreOptions::default()).unwrap()
}

/// Of an encrypted database that is not open nothing sealed is looked at: it is opened, as far as it can be.
fn verify(store: &Store) -> Report {
    let _db = encryption_key().map(|_| store.database(database()).wait());
    store.verify(|_| ()).wait().unwrap()
}

/// What stands for a key in rows.
fn name(database: &FeedKey, key: &[u8]) -> Vec<u8> {
    Sealing::new(encryption_key().as_ref(), database).name(key).into_owned()
}

fn must_be_clean(store: &Store) -> Report {
    let report = verify(store);
    assert_eq!(report.damages.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
    assert_eq!((report.more, report.stopped_at), (0, None));
    report
}

/// Changes rows of a closed store behind everyone's back.
fn tamper(dir: &Path, change: impl FnMut(&mut WriteTxn<'_>) -> Result<(), StoreError>) {
    let env = Environment::open(&Location::Path(dir.to_owned()), &Options::default()).unwrap();
    env.write_with(change).unwrap();
    assert!(env.close().wait(Duration::from_secs(10)));
}

/// Rewrites the first row of a table at or after `from`.
fn alter(txn: &mut WriteTxn<'_>, table: Table, from: &[u8], change: impl Fn(&mut Vec<u8>)) {
    let (key, mut value) = {
        let (key, value) = txn.first(table, Bound::Included(from), Bound::Unbounded).unwrap().unwrap();
        (key.to_vec(), value.to_vec())
    };
    change(&mut value);
    txn.put(table, &key, &value).unwrap();
}

/// A store with 60 blocks, keys of several versions, deletes and a grant. Closed.
fn filled() -> (tempfile::TempDir, FeedKey) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let db = create(&store);
    for key in 0..20 {
        put(&db, &format!("key {key}"), &format!(r#"{{"number":{key},"list":[1,2,3]}}"#));
        edit(&db, &format!("key {key}"), |text| text.replace("[1,", "[0,1,"));
    }
    for key in 0..5 {
        del(&db, &format!("key {key}"));
    }
    db.add_writer(FeedKey([7; 32]), false).wait().unwrap();
    put(&db, "key 3", r#"{"again":true}"#);
    let local = db.info().unwrap().local;
    drop(db);
    store.close().wait().unwrap();
    (dir, local)
}

#[test]
fn a_sound_store_is_clean_and_counted() {
    let (dir, _) = filled();
    let store = open(dir.path());
    let told: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let telling = Arc::clone(&told);
    let _db = encryption_key().map(|_| create(&store));
    let report = store.verify(move |progress| telling.lock().push(progress)).wait().unwrap();
    assert!(report.is_clean(), "{:?}", report.damages);
    assert_eq!((report.feeds, report.databases, report.keys), (2, 1, 20));
    assert_eq!(report.blocks, 48);
    assert!(report.pages > 20 && report.rows > 150, "{report:?}");
    let told = told.lock();
    let stages: Vec<Stage> = told.iter().map(|progress| progress.stage).collect();
    assert!(stages.is_sorted());
    for stage in [Stage::Pages, Stage::Feeds, Stage::Rows, Stage::Views] {
        let last = told.iter().rfind(|progress| progress.stage == stage).unwrap();
        assert_eq!(last.done, last.total);
    }
    store.close().wait().unwrap();
    assert_eq!(store.verify(|_| ()).wait().unwrap_err().code, Code::Closed);
}

#[test]
fn stores_that_replicated_merged_late_and_chose_feeds_are_clean() {
    let (a, b) = (memory(), memory());
    let first = create(&a);
    put(&first, "shared", r#"{"from":"a"}"#);
    let second = join(&b, first.info().unwrap().key);
    first.add_writer(second.info().unwrap().local, false).wait().unwrap();
    let wire = connect(&first, &second);
    carry_until(&[&wire], || second.status().unwrap().writable);
    wire.close();
    for round in 0..30 {
        put(&first, "shared", &format!(r#"{{"from":"a","a":{round}}}"#));
        edit(&second, "shared", |text| text.replace("\"from\"", &format!("\"b{round}\":1,\"from\"")));
    }
    let other = create(&memory());
    put(&other, "elsewhere", r#"{"x":1}"#);
    first.add_peer(other.info().unwrap().local).wait().unwrap();
    let wire = connect(&first, &second);
    carry_until(&[&wire], || first.is_flushed().unwrap() && second.is_flushed().unwrap());
    first.state_hash().unwrap();
    first.remove_writer(second.info().unwrap().local, false).wait().unwrap();
    for store in [&a, &b] {
        must_be_clean(store);
    }
}

#[test]
fn a_sequence_that_was_taken_back_and_not_brought_on_is_clean() {
    let (a, b) = (memory(), memory());
    let first = create_apply(&a);
    let second = join_apply(&b, first.local());
    first.append(&[&format!("add {} indexer", second.local())]);
    let wire = connect(&first.db, &second.db);
    carry_until(&[&wire], || {
        settle(&[&first, &second]);
        second.db.status().unwrap().writable
    });
    wire.close();
    for _ in 0..10 {
        first.append(&["log all a", "del other"]);
        second.append(&["put other b", "log all b"]);
    }
    let wire = connect(&first.db, &second.db);
    let have = |db: &Db| db.progress().unwrap().iter().map(|feed| (feed.key, feed.have)).collect::<Vec<_>>();
    carry_until(&[&wire], || have(&first.db) == have(&second.db));
    for store in [&a, &b] {
        must_be_clean(store);
    }
    settle(&[&first, &second]);
    assert!(first.counts.borrow().undos + second.counts.borrow().undos > 0);
    first.db.state_hash().unwrap();
    for store in [&a, &b] {
        must_be_clean(store);
    }
}

#[test]
fn each_damage_of_a_sequence_is_named() {
    type Change = fn(&mut WriteTxn<'_>);
    const DATABASE: [u8; 4] = 1_u32.to_be_bytes();
    fn at(index: u8) -> Vec<u8> {
        [&DATABASE[..], &[0, 0, 0, 0, 0, 0, 0, index]].concat()
    }
    let cases: [(&str, Change, &str); 7] = [
        ("a row that is gone", |txn| assert!(txn.delete(Table::Sequence, &at(3)).unwrap()), "position 3 of"),
        ("a row too many", |txn| txn.put(Table::Sequence, &at(9), b"x").unwrap(), "table sequence-1"),
        (
            "a row at another place",
            |txn| {
                let row = txn.get(Table::Sequence, &at(3)).unwrap().unwrap().to_vec();
                txn.put(Table::Sequence, &at(2), &row).unwrap();
            },
            "position 2 of the sequence is not where",
        ),
        (
            "the last row again",
            |txn| {
                let row = txn.get(Table::Sequence, &at(4)).unwrap().unwrap().to_vec();
                txn.put(Table::Sequence, &at(5), &row).unwrap();
            },
            "does not end where its walk stands",
        ),
        (
            "a state cut short",
            |txn| alter(txn, Table::Applied, &DATABASE, |row| row.truncate(9)),
            "applied-1",
        ),
        (
            "a value that cannot be read",
            |txn| alter(txn, Table::View, &DATABASE, |row| row.truncate(1)),
            "database",
        ),
        (
            "a version that is gone",
            |txn| assert!(txn.delete(Table::Log, &at(2)).unwrap()),
            "version 2 is missing",
        ),
    ];
    for (what, change, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let db = create_apply(&store);
        for text in ["put a 1", "put b 2", "put a 3", "del b"] {
            db.append(&[text]);
        }
        drop(db);
        store.close().wait().unwrap();
        tamper(dir.path(), |txn| {
            change(txn);
            Ok(())
        });
        let store = open(dir.path());
        let _db = encryption_key().map(|_| store.database(crate::apply_support::options(None)).wait());
        let report = store.verify(|_| ()).wait().unwrap();
        let said: Vec<String> = report.damages.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|said| said.contains(expected)), "{what}: {said:?}");
    }
}

#[test]
fn values_of_a_merge_of_the_users_own_are_not_taken_for_damage() {
    let store = memory();
    let db = create(&store);
    let runner = db.attach(Functions { merge: true, resolve: false }).unwrap();
    for n in 0..3 {
        put(&db, "k", &format!(r#"{{"n":{n}}}"#));
    }
    must_be_clean(&store);
    while let Some(mut round) = futures::executor::block_on(runner.round(false)).unwrap() {
        while round.ask().unwrap().is_some() {
            round.answer_object(r#"{"its":"own"}"#).unwrap();
        }
        round.commit().wait().unwrap();
    }
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"its":"own"}"#));
    must_be_clean(&store);
}

#[test]
fn writing_goes_on_during_a_verification_which_sees_one_state() {
    let store = memory();
    let db = create(&store);
    for round in 0..50 {
        let verification = store.verify(|_| ());
        for key in 0..20 {
            put(&db, &format!("{}", (key * 7 + round) % 40), &format!(r#"{{"round":{round},"key":{key}}}"#));
        }
        let report = verification.wait().unwrap();
        assert!(report.is_clean(), "{:?}", report.damages);
    }
}

/// Which row is changed, how, and what must be said: a part of the text of some damage.
#[test]
fn each_damage_is_named() {
    type Change = fn(&mut WriteTxn<'_>, &FeedKey);
    const DATABASE: [u8; 4] = 1_u32.to_be_bytes();
    let cases: [(&str, Change, &str); 17] = [
        (
            "a bit of a block",
            |txn, _| alter(txn, Table::Blocks, &block_key(0, 17), |block| block[20] ^= 4),
            "table blocks-1, feed FEED, block 17,",
        ),
        (
            "a block that is gone",
            |txn, _| assert!(txn.delete(Table::Blocks, &block_key(0, 30)).unwrap()),
            "feed FEED, block 30,",
        ),
        (
            "the last block",
            |txn, _| assert!(txn.delete(Table::Blocks, &block_key(0, 47)).unwrap()),
            "feed FEED, block 47,",
        ),
        (
            "a block too many",
            |txn, _| txn.put(Table::Blocks, &block_key(0, 48), b"x").unwrap(),
            "table feeds-1, feed FEED, its rows",
        ),
        (
            "a bit of a leaf",
            |txn, _| alter(txn, Table::Tree, &tree_key(0, 0, 1), |row| row[300] ^= 1),
            "table tree-1, feed FEED, row 1 of tier 0",
        ),
        (
            "a bit of a node",
            |txn, _| alter(txn, Table::Tree, &tree_key(0, 1, 0), |row| row[47] ^= 1),
            "table tree-1, feed FEED, row 0 of tier 1",
        ),
        (
            "a tree row that is gone",
            |txn, _| assert!(txn.delete(Table::Tree, &tree_key(0, 0, 2)).unwrap()),
            "row 2 of tier 0",
        ),
        (
            "a signature",
            |txn, local| alter(txn, Table::Feeds, local.as_bytes(), |row| row[29 + 60] ^= 1),
            "not signed",
        ),
        (
            "a member cut short",
            |txn, _| alter(txn, Table::Members, &DATABASE, |row| assert!(row.pop().is_some())),
            "table members-1",
        ),
        ("the order", |txn, _| alter(txn, Table::Order, &DATABASE, |row| row[32] = 9), "table order-1"),
        (
            "a fold",
            |txn, _| {
                alter(txn, Table::View, &DATABASE, |row| {
                    let at = row.windows(6).position(|text| text == b"number").unwrap();
                    row[at] = b'N'
                })
            },
            "database db, key key 0",
        ),
        (
            "a state that is none",
            |txn, _| alter(txn, Table::View, &DATABASE, |row| row[1] = 0xee),
            "table view-1",
        ),
        (
            "a diff out of its index",
            |txn, _| {
                let key = txn
                    .first(Table::Diffs, Bound::Included(&DATABASE), Bound::Unbounded)
                    .unwrap()
                    .unwrap()
                    .0
                    .to_vec();
                txn.delete(Table::Diffs, &key).unwrap();
            },
            "missing in the index of its key",
        ),
        (
            "a diff of nobody",
            |txn, _| {
                let mut key = txn
                    .first(Table::Diffs, Bound::Included(&DATABASE), Bound::Unbounded)
                    .unwrap()
                    .unwrap()
                    .0
                    .to_vec();
                let at = key.len() - 7;
                key[at] = 99;
                txn.put(Table::Diffs, &key, &[1]).unwrap();
            },
            "database db, key key 0",
        ),
        (
            "a version out of the log",
            |txn, _| {
                assert!(txn.delete(Table::Log, &[&DATABASE[..], &9_u64.to_be_bytes()].concat()).unwrap())
            },
            "version 9 is missing",
        ),
        (
            "a view row that is gone",
            |txn, local| {
                let key = [&DATABASE[..], &name(local, b"key 9"), &(!19_u64).to_be_bytes()].concat();
                assert!(txn.delete(Table::View, &key).unwrap());
            },
            "version 19 is missing",
        ),
        (
            "a kept hash",
            |txn, _| {
                let row = [&7_u64.to_be_bytes()[..], &[1; 2_048]].concat();
                txn.put(Table::Hashes, &DATABASE, &row).unwrap();
            },
            "the state hash kept of version 7",
        ),
    ];
    for (name, change, said) in cases {
        // What a sealed row holds is changed by nobody without the key.
        if name == "a fold" && encryption_key().is_some() {
            continue;
        }
        let (dir, local) = filled();
        tamper(dir.path(), |txn| {
            change(txn, &local);
            Ok(())
        });
        let store = open(dir.path());
        let report = verify(&store);
        let mut said = said.replace("FEED", &local.to_string());
        if encryption_key().is_some() {
            said = said.replace("key key 0", "key ");
        }
        let damages: Vec<_> = report.damages.iter().map(ToString::to_string).collect();
        assert!(damages.iter().any(|damage| damage.contains(&said)), "{name}: {damages:#?}");
        // One flipped bit of a feed is one damage, not a report of all that hangs on it.
        if name.starts_with("a bit") {
            let feeds = report.damages.iter().filter(|damage| damage.stage == Stage::Feeds).count();
            assert_eq!(feeds, 1, "{name}: {damages:#?}");
        }
        store.close().wait().unwrap();
    }
}

#[test]
fn with_damaged_pages_nothing_is_read_through_the_map() {
    let (dir, _) = filled();
    let store = open(dir.path());
    let data = dir.path().join("data.mdb");
    let mut bytes = std::fs::read(&data).unwrap();
    let page = u32::from_ne_bytes(bytes[40..44].try_into().unwrap()) as usize;
    // All pages but the meta pages: only where the file is looked at, not where it is mapped.
    let leaf = (2..bytes.len() / page).rfind(|at| bytes[at * page + 10..][..2] == 4_u16.to_ne_bytes());
    let leaf = leaf.unwrap_or_else(|| {
        (2..bytes.len() / page).rfind(|at| bytes[at * page + 10..][..2] == 2_u16.to_ne_bytes()).unwrap()
    });
    let was = bytes[leaf * page + 12..leaf * page + 14].to_vec();
    let mut file = std::fs::OpenOptions::new().write(true).open(&data).unwrap();
    let mut write = |with: &[u8]| {
        use std::io::{Seek as _, SeekFrom, Write as _};
        file.seek(SeekFrom::Start(u64::try_from(leaf * page + 12).unwrap())).unwrap();
        file.write_all(with).unwrap();
    };
    write(&[0xff, 0xff]);
    let report = verify(&store);
    write(&was);
    bytes.clear();
    if report.is_clean() {
        // The page was free.
        return;
    }
    assert_eq!(report.stopped_at, Some(Stage::Pages));
    assert_eq!((report.blocks, report.rows), (0, 0));
    assert!(report.damages.iter().any(|damage| damage.page == Some(leaf as u64)), "{:?}", report.damages);
    must_be_clean(&store);
}

/// Opens the database of a tampered store.
fn reopen(dir: &Path) -> (Store, Db) {
    let store = open(dir);
    let db = store.database(crate::support::database()).wait().unwrap();
    (store, db)
}

#[test]
fn a_flipped_bit_in_a_block_is_found_when_it_is_read_and_never_served() {
    for seq in [0, 5, 31] {
        let (dir, local) = filled();
        tamper(dir.path(), |txn| {
            alter(txn, Table::Blocks, &block_key(0, seq), |block| block[1] ^= 1);
            Ok(())
        });
        let (store, db) = reopen(dir.path());
        let feed = store.feed(FeedChoice::Key(local)).wait().unwrap();
        let error = feed.get(seq).unwrap_err();
        assert_eq!(error.code, Code::Corrupt);
        assert!(
            error.message.contains(&format!("block {seq} ")) && error.message.contains("verify"),
            "{error}"
        );
        assert!(feed.get(seq + 1).unwrap().is_some());
        must_serve_nothing_from(&db, seq);
    }
}

#[test]
fn a_flipped_bit_in_a_tree_node_is_found_when_it_would_be_sent() {
    let (dir, local) = filled();
    let sound = {
        let env = Environment::open(&Location::Path(dir.path().to_owned()), &Options::default()).unwrap();
        let txn = env.read().unwrap();
        let record = feed::load(&txn, &local).unwrap().unwrap();
        let tree = StoredTree { txn: &txn, feed_id: record.id };
        (0..=record.length).map(|length| tree.roots(length).unwrap()).collect::<Vec<_>>()
    };
    let mut found = 0;
    // A leaf's hash, a leaf's size, and the top of sixteen leaves.
    for (tier, group, byte) in [(0, 0, 20), (0, 1, 7), (1, 0, 50)] {
        let flip = |txn: &mut WriteTxn<'_>| {
            alter(txn, Table::Tree, &tree_key(0, tier, group), |row| row[byte] ^= 1);
            Ok(())
        };
        tamper(dir.path(), flip);
        let env = Environment::open(&Location::Path(dir.path().to_owned()), &Options::default()).unwrap();
        let txn = env.read().unwrap();
        let record = feed::load(&txn, &local).unwrap().unwrap();
        let head = record.head.unwrap();
        for (start, end) in
            (0..48).step_by(5).flat_map(|start| (start..=48).step_by(3).map(move |end| (start, end)))
        {
            for known in [Known::Nothing, Known::Start] {
                match feed::prove(&txn, &record, (start, end), 1 << 20, &head, known) {
                    Err(FeedError::Corrupt { .. }) => found += 1,
                    Err(other) => panic!("{other}"),
                    Ok(out) => {
                        let before = (known == Known::Start).then(|| &sound[usize::try_from(start).unwrap()]);
                        merkle::verify(start, &out.blocks, &out.nodes, before, &head).unwrap();
                    }
                }
            }
        }
        drop(txn);
        assert!(env.close().wait(Duration::from_secs(10)));
        tamper(dir.path(), flip);
    }
    assert!(found > 20, "{found}");
}

/// Whoever fetches gets what is before the damage at most, and nothing that is false; and the connection goes on.
fn must_serve_nothing_from(db: &Db, seq: u64) {
    let taker_store = memory();
    let taker = join(&taker_store, db.info().unwrap().key);
    let wire = connect(db, &taker);
    for _ in 0..200 {
        wire.carry(usize::MAX);
        std::thread::sleep(Duration::from_millis(1));
    }
    let progress = taker.progress().unwrap();
    let key = db.info().unwrap().local;
    let length = progress.iter().find(|feed| feed.key == key).map_or(0, |feed| feed.have);
    assert!(length <= seq, "{length}");
    let (a, b) = wire.events();
    let failed =
        |events: &[_]| events.iter().any(|event| matches!(event, multi_hyperbee::db::PeerEvent::Failed(_)));
    assert!(!failed(&a) && !failed(&b), "{a:?} {b:?}");
    assert!(get(db, "key 7").is_some());
    must_be_clean(&taker_store);
}
