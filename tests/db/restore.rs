//! Stores put back from an older copy: what they may write, and that nothing of it forks or is lost.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::{Wire, carry_until, connect, create, get, join, options, put, put_write};
use multi_hyperbee::db::{Code, Db, Error, FeedChoice, Location, Store, StoreOptions, Transport};
use multi_hyperbee::types::FeedKey;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

fn open(dir: &Path) -> Store {
    Store::open(&Location::Path(dir.to_owned()), &StoreOptions::default()).unwrap()
}

fn refused(db: &Db) -> Error {
    db.write(vec![put_write("refused", "{}")]).wait().unwrap().remove(0).unwrap_err()
}

fn local(db: &Db) -> FeedKey {
    db.info().unwrap().local
}

fn have(db: &Db, feed: FeedKey) -> u64 {
    db.progress().unwrap().iter().find(|progress| progress.key == feed).map_or(0, |progress| progress.have)
}

/// The creator's store in a directory, and a peer's in memory that is granted and has all of it.
struct Two {
    dir: TempDir,
    first: Store,
    a: Db,
    second: Store,
    b: Db,
}

fn two() -> Two {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let a = create(&first);
    put(&a, "before", r#"{"n":1}"#);
    let second = crate::support::memory();
    let b = join(&second, a.info().unwrap().key);
    a.add_writer(local(&b), false).wait().unwrap();
    sync(&a, &b);
    Two { dir, first, a, second, b }
}

fn sync(a: &Db, b: &Db) {
    let wire = connect(a, b);
    let (one, two) = (local(a), local(b));
    carry_until(&[&wire], || {
        a.is_flushed().unwrap()
            && b.is_flushed().unwrap()
            && have(a, one) == have(b, one)
            && have(a, two) == have(b, two)
    });
    wire.close();
}

#[test]
fn a_backup_is_whole_and_the_store_goes_on_writing_while_it_is_made() {
    let Two { first, a, dir: _dir, .. } = two();
    let to = tempfile::tempdir().unwrap();
    let copy = to.path().join("copy");
    let reply = first.backup(copy.clone());
    for n in 0..20 {
        put(&a, &format!("during/{n}"), "{}");
    }
    reply.wait().unwrap();
    let store = open(&copy);
    let restored = create(&store);
    assert_eq!(get(&restored, "before").as_deref(), Some(r#"{"n":1}"#));
    assert_eq!((restored.info().unwrap().key, local(&restored)), (a.info().unwrap().key, local(&a)));
    // The original is not touched by it.
    put(&a, "after", "{}");
    let again = first.backup(copy).wait().unwrap_err();
    assert_eq!(again.code, Code::StoreOpen, "{again}");
}

#[test]
fn a_restored_backup_writes_nothing_before_a_peer_has_confirmed_it() {
    let Two { first, a, b, dir: _dir, second: _second } = two();
    let to = tempfile::tempdir().unwrap();
    first.backup(to.path().to_owned()).wait().unwrap();
    // Written after the backup, and sent.
    put(&a, "later", r#"{"n":2}"#);
    sync(&a, &b);
    let written = have(&a, local(&a));
    first.close().wait().unwrap();

    let store = open(to.path());
    let restored = create(&store);
    let error = refused(&restored);
    assert_eq!(error.code, Code::Restored);
    assert!(error.message.contains("resume({ mine: true })"), "{error}");
    assert!(have(&restored, local(&restored)) < written);
    sync(&restored, &b);
    assert_eq!(have(&restored, local(&restored)), written);
    assert_eq!(get(&restored, "later").as_deref(), Some(r#"{"n":2}"#));
    put(&restored, "again", r#"{"n":3}"#);
    sync(&restored, &b);
    assert_eq!(get(&b, "again").as_deref(), Some(r#"{"n":3}"#));
    // It stays confirmed.
    restored.close().wait().unwrap();
    store.close().wait().unwrap();
    let store = open(to.path());
    put(&create(&store), "and again", "{}");
}

#[test]
fn a_peer_that_knows_less_than_had_left_confirms_nothing() {
    let Two { first, a, b, dir: _dir, second: _second } = two();
    let third = crate::support::memory();
    let c = join(&third, a.info().unwrap().key);
    sync(&b, &c);
    put(&a, "left", "{}");
    sync(&a, &b);
    let to = tempfile::tempdir().unwrap();
    first.backup(to.path().to_owned()).wait().unwrap();
    put(&a, "after the backup", "{}");
    sync(&a, &b);
    let store = open(to.path());
    let restored = create(&store);
    let behind = have(&c, local(&a));
    let wire = connect(&restored, &c);
    for _ in 0..200 {
        wire.carry(usize::MAX);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(refused(&restored).code, Code::Restored);
    // Nothing of the own feed was said to it either: it could not be told from a confirmation later.
    assert_eq!(have(&c, local(&a)), behind);
    wire.close();
    sync(&restored, &b);
    put(&restored, "now", "{}");
}

#[test]
fn resume_lets_a_backup_write_that_nobody_can_confirm() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let a = create(&first);
    put(&a, "k", "{}");
    let to = tempfile::tempdir().unwrap();
    first.backup(to.path().to_owned()).wait().unwrap();
    first.close().wait().unwrap();
    let store = open(to.path());
    let restored = create(&store);
    assert_eq!(refused(&restored).code, Code::Restored);
    let feed = store.feed(FeedChoice::Key(local(&restored))).wait().unwrap();
    store.resume().wait().unwrap();
    put(&restored, "l", "{}");
    assert_eq!(feed.info().unwrap().length, 3);
    // A database made in the restored store has a feed that no backup knows.
    let store = open(to.path());
    let other = store
        .database(multi_hyperbee::db::DatabaseOptions {
            name: Some("other".into()),
            ..crate::support::database()
        })
        .wait()
        .unwrap();
    put(&other, "k", "{}");
}

/// A connection on which all that `c` says has come but for the last byte of its last vector, which says that it has
/// nothing.
fn unheard(a: &Db, c: &Db) -> (Wire, Vec<u8>) {
    let attached = |initiator| Transport::Attached { initiator, handshake_hash: [1; 64] };
    let slow = Wire {
        a: a.replicate(options(attached(true))).unwrap(),
        b: c.replicate(options(attached(false))).unwrap(),
    };
    loop {
        while let Some(bytes) = slow.a.pull(1 << 16) {
            slow.b.receive(&bytes).unwrap();
        }
        while let Some(mut bytes) = slow.b.pull(1 << 16) {
            let is_vector = bytes.ends_with(&[1, 0]) && bytes.get(bytes.len() - 4) == Some(&9);
            let held = if is_vector { bytes.split_off(bytes.len() - 1) } else { Vec::new() };
            slow.a.receive(&bytes).unwrap();
            if !held.is_empty() {
                return (slow, held);
            }
        }
    }
}

#[test]
fn an_own_feed_leaves_only_after_the_first_vectors_of_all_who_are_connected() {
    let Two { first: _first, a, b, second: _second, dir: _dir } = two();
    let third = crate::support::memory();
    let c = join(&third, a.info().unwrap().key);
    let (slow, held) = unheard(&a, &c);
    put(&a, "new", "{}");
    let written = have(&a, local(&a));
    let wire = connect(&a, &b);
    for _ in 0..100 {
        wire.carry(usize::MAX);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(have(&b, local(&a)), written - 1);
    slow.a.receive(&held).unwrap();
    carry_until(&[&wire, &slow], || have(&b, local(&a)) == written && have(&c, local(&a)) == written);
}

#[test]
fn who_keeps_silent_keeps_nobody_from_an_own_feed() {
    let Two { first: _first, a, b, second: _second, dir: _dir } = two();
    let third = crate::support::memory();
    let c = join(&third, a.info().unwrap().key);
    let (_silent, _) = unheard(&a, &c);
    put(&a, "new", "{}");
    let written = have(&a, local(&a));
    let wire = connect(&a, &b);
    for _ in 0..100 {
        wire.carry(usize::MAX);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(have(&b, local(&a)), written - 1);
    for _ in 0..8 {
        wire.a.tick();
        wire.carry(usize::MAX);
    }
    carry_until(&[&wire], || have(&b, local(&a)) == written);
}
