//! Encryption at rest where others than the built-in fold make the view: no file shows keys or values, at nobody; and
//! what is damaged is never data.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::apply_support::{Applier, settle};
use crate::support::needles::{files, holds, must_show_nothing};
use crate::support::{carry_until, connect, put};
use multi_hyperbee::db::{
    Code, DatabaseOptions, Db, DiffRange, EncryptionKey, FeedChoice, Functions, Location, Store, StoreOptions,
};
use multi_hyperbee::seal::{SEALED_SECRET, block::OVERHEAD};
use multi_hyperbee::store::{Environment, Options, Read, Table};
use multi_hyperbee::types::FeedKey;
use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

const NEEDLES: [&str; 5] =
    ["needle-in-a-key", "needle-in-a-value", "needle-unapplied", "needle-of-a-diff", "needle-named"];

fn sealed(options: DatabaseOptions) -> DatabaseOptions {
    DatabaseOptions { encryption_key: Some(EncryptionKey::new([1; 32])), ..options }
}

fn plain(options: DatabaseOptions) -> DatabaseOptions {
    DatabaseOptions { encryption_key: None, ..options }
}

fn open(path: &Path) -> Store {
    Store::open(&Location::Path(path.to_owned()), &StoreOptions::default()).unwrap()
}

fn applier(store: &Store, key: Option<FeedKey>) -> Applier {
    Applier::new(store.database(sealed(crate::apply_support::options(key))).wait().unwrap())
}

/// Rows of a table of a closed store.
fn rows(path: &Path, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
    let environment = Environment::open(&Location::Path(path.to_owned()), &Options::default()).unwrap();
    let closed = environment.closed();
    let rows = {
        let txn = environment.read().unwrap();
        let rows = txn.range(table, Bound::Unbounded, Bound::Unbounded).unwrap();
        rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
    };
    drop(environment);
    assert!(closed.wait(Duration::from_secs(10)));
    rows
}

fn write_row(path: &Path, table: Table, key: &[u8], value: &[u8]) {
    let environment = Environment::open(&Location::Path(path.to_owned()), &Options::default()).unwrap();
    let closed = environment.closed();
    let mut txn = environment.write().unwrap();
    txn.put(table, key, value).unwrap();
    txn.commit().unwrap();
    drop(environment);
    assert!(closed.wait(Duration::from_secs(10)));
}

#[test]
fn in_apply_mode_no_file_shows_keys_or_values_here_there_in_a_backup_or_where_no_key_is() {
    let folders = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let [here, there, relay, copy] = &folders;
    let (a, b, c) = (open(here.path()), open(there.path()), open(relay.path()));
    let one = applier(&a, None);
    let key = one.db.info().unwrap().key;
    let two = applier(&b, Some(key));
    one.append(&[&format!("add {} indexer", two.local()), "put needle-in-a-key needle-in-a-value"]);
    let wire = connect(&one.db, &two.db);
    carry_until(&[&wire], || {
        settle(&[&one, &two]);
        two.db.status().unwrap().writable
    });
    wire.close();
    // Both write for themselves: one of them undoes and applies again.
    for _ in 0..5 {
        one.append(&["log needle-in-a-key/log needle-in-a-value", "del needle-in-a-key"]);
        two.append(&["log needle-in-a-key/log needle-in-a-value", "put needle-in-a-key needle-in-a-value"]);
    }
    let wire = connect(&one.db, &two.db);
    let have = |db: &Db| db.progress().unwrap().iter().map(|feed| (feed.key, feed.have)).collect::<Vec<_>>();
    carry_until(&[&wire], || {
        settle(&[&one, &two]);
        have(&one.db) == have(&two.db)
    });
    settle(&[&one, &two]);
    assert!(one.counts.borrow().undos + two.counts.borrow().undos > 0);
    assert_eq!(one.view(), two.view());
    assert_eq!(one.db.state_hash().unwrap(), two.db.state_hash().unwrap());
    // On disk, and not applied.
    two.db.stage(vec![]).wait().unwrap();
    wire.close();
    let replies = one.db.stage(vec![multi_hyperbee::db::Append {
        optimistic: false,
        values: vec![b"put needle-unapplied needle-unapplied".to_vec(), b"fail".to_vec()],
    }]);
    drop(replies.wait().unwrap());
    // Whoever has no key takes the feeds all the same, and passes them on.
    let relayed = c.database(plain(crate::apply_support::options(Some(key)))).wait().unwrap();
    let wire = connect(&one.db, &relayed);
    carry_until(&[&wire], || have(&relayed).iter().any(|(feed, length)| *feed == key && *length > 5));
    assert_eq!(relayed.get_entry(b"needle-in-a-key", None).unwrap().map(|entry| entry.value), None);
    wire.close();
    a.backup(copy.path().join("backup")).wait().unwrap();
    must_show_nothing(here.path(), &NEEDLES);
    for store in [a, b, c] {
        store.close().wait().unwrap();
    }
    for folder in &folders {
        must_show_nothing(folder.path(), &NEEDLES);
    }
}

#[test]
fn keys_that_wait_for_a_merge_of_the_users_own_are_sealed_and_a_changed_byte_of_them_is_corruption() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let db = store.database(sealed(DatabaseOptions::default())).wait().unwrap();
    put(&db, "needle-in-a-key/merged", r#"{"needle-named":"needle-in-a-value"}"#);
    let runner = db.attach(Functions { merge: true, resolve: false }).unwrap();
    assert!(futures::executor::block_on(runner.round(false)).unwrap().is_some());
    for n in 0..3 {
        put(&db, &format!("needle-in-a-key/{n}"), r#"{"needle-named":"needle-of-a-diff"}"#);
    }
    let mut round = futures::executor::block_on(runner.round(false)).unwrap().unwrap();
    let mut asked = Vec::new();
    while let Some(question) = round.ask().unwrap() {
        let multi_hyperbee::db::Question::Merge { key, .. } = question else { unreachable!() };
        // One of them fails, and is told apart in the file.
        if key.ends_with(b"/1") {
            round.fail();
        } else {
            round.answer_object("{}").unwrap();
        }
        asked.push(String::from_utf8(key).unwrap());
    }
    let expected = ["needle-in-a-key/0", "needle-in-a-key/1", "needle-in-a-key/2", "needle-in-a-key/merged"];
    assert_eq!(asked, expected, "in the order of keys");
    round.commit().wait().unwrap();
    put(&db, "needle-in-a-key/2", r#"{"needle-named":"needle-in-a-value"}"#);
    // The diffs of a feed by key are those of keys without a row in the view too.
    let local = db.info().unwrap().local;
    for reverse in [false, true] {
        let range = DiffRange { single: Vec::new(), from: Vec::new(), to: None, reverse };
        let mut diffs = db.feed_diffs(local, range).unwrap();
        let mut keys = Vec::new();
        while let Some(found) = diffs.next(10, 10_000).unwrap() {
            keys.extend(found.into_iter().map(|diff| String::from_utf8(diff.key).unwrap()));
        }
        keys.dedup();
        let mut wanted = expected.to_vec();
        if reverse {
            wanted.reverse();
        }
        assert_eq!(keys, wanted, "reverse: {reverse}");
    }
    drop((runner, db));
    store.close().wait().unwrap();
    must_show_nothing(folder.path(), &NEEDLES);
    let unmerged = rows(folder.path(), Table::Unmerged);
    let (key, value) = unmerged.iter().find(|(key, _)| key.get(4) == Some(&1)).unwrap().clone();
    assert_eq!(key.len(), 5 + 16);
    assert!(value.len() > OVERHEAD);
    for at in 0..value.len() {
        let mut changed = value.clone();
        changed[at] ^= 0x04;
        write_row(folder.path(), Table::Unmerged, &key, &changed);
        let store = open(folder.path());
        let db = store.database(sealed(DatabaseOptions::default())).wait().unwrap();
        let runner = db.attach(Functions { merge: true, resolve: false }).unwrap();
        let round = futures::executor::block_on(runner.round(false));
        assert_eq!(round.err().map(|error| error.code), Some(Code::Corrupt), "byte {at}");
        drop((runner, db));
        store.close().wait().unwrap();
    }
}

#[test]
fn a_changed_byte_of_a_sealed_block_or_secret_is_corruption_and_never_data() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let db = store.database(sealed(DatabaseOptions::default())).wait().unwrap();
    put(&db, "a", r#"{"needle-named":1}"#);
    let local = db.info().unwrap().local;
    drop(db);
    store.close().wait().unwrap();
    let blocks = rows(folder.path(), Table::Blocks);
    let (key, block) = &blocks[1];
    for at in 0..block.len() {
        let mut changed = block.clone();
        changed[at] ^= 0x20;
        write_row(folder.path(), Table::Blocks, key, &changed);
        let store = open(folder.path());
        // It is the last of the local feed, which opening looks at.
        let opened = store.database(sealed(DatabaseOptions::default())).wait();
        assert_eq!(opened.err().map(|error| error.code), Some(Code::Corrupt), "byte {at} of the block");
        let got = store.feed(FeedChoice::Key(local)).wait().unwrap().get(1);
        assert_eq!(got.err().map(|error| error.code), Some(Code::Corrupt), "byte {at} of the block");
        store.close().wait().unwrap();
    }
    write_row(folder.path(), Table::Blocks, key, block);
    let feeds = rows(folder.path(), Table::Feeds);
    let (key, record) = &feeds[0];
    for at in record.len() - SEALED_SECRET..record.len() {
        let mut changed = record.clone();
        changed[at] ^= 0x20;
        write_row(folder.path(), Table::Feeds, key, &changed);
        let store = open(folder.path());
        let db = store.database(sealed(DatabaseOptions::default())).wait().unwrap();
        let write = crate::support::put_write("b", "{}");
        let refused = db.write(vec![write]).wait().map(|mut all| all.remove(0));
        let code = refused.and_then(|one| one).err().map(|error| error.code);
        assert_eq!(code, Some(Code::Corrupt), "byte {at} of the record");
        assert!(db.get_entry(b"a", None).unwrap().is_some(), "it is read all the same");
        drop(db);
        store.close().wait().unwrap();
    }
}

#[test]
fn verify_looks_at_what_is_sealed_only_with_the_key_and_finds_what_was_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let db = store.database(sealed(DatabaseOptions::default())).wait().unwrap();
    put(&db, "a", r#"{"n":1}"#);
    put(&db, "a", r#"{"n":2}"#);
    drop(db);
    store.close().wait().unwrap();
    let view = rows(folder.path(), Table::View);
    let verify = |with_key: bool| {
        let store = open(folder.path());
        let db = with_key.then(|| store.database(sealed(DatabaseOptions::default())).wait().unwrap());
        let report = store.verify(|_| ()).wait().unwrap();
        drop(db);
        store.close().wait().unwrap();
        (report.sealed, report.keys, report.is_clean())
    };
    assert_eq!(verify(false), (1, 0, true));
    assert_eq!(verify(true), (0, 1, true));
    // Another version's row in its place, or anything that is not sealed: only the latter shows without the key.
    write_row(folder.path(), Table::View, &view[0].0, &view[1].1);
    assert_eq!(verify(false), (1, 0, true));
    assert_eq!(verify(true), (0, 1, false));
    write_row(folder.path(), Table::View, &view[0].0, b"in clear");
    assert_eq!(verify(false), (1, 0, false));
    assert!(files(folder.path()).iter().any(|file| holds(file, b"in clear")));
}
