//! Handles, group commits and closing: what was accepted is whole, whatever shares its transaction.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::*;
use multi_hyperbee::db::{
    Code, DatabaseOptions, Db, FeedChoice, Location, Reply, Store, StoreOptions, Written,
};

fn at(dir: &tempfile::TempDir) -> Store {
    Store::open(&Location::Path(dir.path().to_owned()), &StoreOptions::default()).unwrap()
}

fn named(store: &Store, name: &str) -> Reply<Db> {
    store.database(DatabaseOptions { name: Some(name.into()), ..crate::support::database() })
}

/// Keeps the owner thread at work, so that what is queued next shares one transaction.
fn keep_busy(db: &Db) -> Reply<Vec<Result<Written, multi_hyperbee::db::Error>>> {
    db.write((0..400).map(|n| put_write(&format!("busy {n}"), r#"{"n":1}"#)).collect())
}

/// A job that writes and then fails, so that the transaction is run again without it.
fn spoil(store: &Store) -> impl FnOnce() {
    let feed = store.feed(FeedChoice::Name("raw".into())).wait().unwrap();
    move || {
        let refused = feed.append(vec![vec![1], vec![0; 18 << 20]]);
        std::thread::spawn(move || assert_eq!(refused.wait().unwrap_err().code, Code::ValueTooLarge));
    }
}

#[test]
fn a_put_and_a_close_in_one_commit_are_both_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = at(&dir);
    let busy = create(&store);
    let db = named(&store, "other").wait().unwrap();
    let busy_done = keep_busy(&busy);
    let written = db.write(vec![put_write("k", r#"{"a":1}"#)]);
    let closed = db.close();
    busy_done.wait().unwrap();
    assert_eq!(written.wait().unwrap(), [Ok(Written::Yes { length: 2, version: 1 })]);
    closed.wait().unwrap();
    let db = named(&store, "other").wait().unwrap();
    assert_eq!(db.status().unwrap().version, 1);
    assert_eq!(put(&db, "k", r#"{"a":2}"#), Written::Yes { length: 3, version: 2 });
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"a":2}"#));
}

#[test]
fn a_commit_run_again_without_a_failed_job_keeps_what_the_others_did() {
    let dir = tempfile::tempdir().unwrap();
    let store = at(&dir);
    let busy = create(&store);
    let closing = named(&store, "closing").wait().unwrap();
    let spoiler = spoil(&store);
    let busy_done = keep_busy(&busy);
    let opened = named(&store, "opened");
    let written = closing.write(vec![put_write("k", r#"{"a":1}"#)]);
    let closed = closing.close();
    spoiler();
    busy_done.wait().unwrap();
    assert_eq!(written.wait().unwrap(), [Ok(Written::Yes { length: 2, version: 1 })]);
    closed.wait().unwrap();
    let opened = opened.wait().unwrap();
    let info = opened.info().unwrap();
    assert_eq!(put(&opened, "k", "{}"), Written::Yes { length: 2, version: 1 });
    opened.close().wait().unwrap();
    busy.close().wait().unwrap();
    store.close().wait().unwrap();

    let store = at(&dir);
    let opened = named(&store, "opened").wait().unwrap();
    assert_eq!(opened.info().unwrap(), info);
    assert_eq!(get(&opened, "k").as_deref(), Some("{}"));
    let closing = named(&store, "closing").wait().unwrap();
    assert_eq!(get(&closing, "k").as_deref(), Some(r#"{"a":1}"#));
}

#[test]
fn a_full_map_grows_under_a_database_that_is_being_opened() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { map_size: Some(1 << 20), ..StoreOptions::default() };
    let store = Store::open(&Location::Path(dir.path().to_owned()), &options).unwrap();
    let first = create(&store);
    let big = format!(r#"{{"x":"{}"}}"#, "y".repeat(200_000));
    let mut infos = Vec::new();
    for round in 0..12 {
        let busy = keep_busy(&first);
        let opened = named(&store, &format!("db {round}"));
        let written = first.write(vec![put_write(&format!("big {round}"), &big)]);
        busy.wait().unwrap();
        let db = opened.wait().unwrap();
        assert!(matches!(written.wait().unwrap()[0], Ok(Written::Yes { .. })));
        put(&db, "k", "{}");
        infos.push(db.info().unwrap());
    }
    store.close().wait().unwrap();
    let store = Store::open(&Location::Path(dir.path().to_owned()), &options).unwrap();
    for info in infos {
        let db = named(&store, &info.name).wait().unwrap();
        assert_eq!(db.info().unwrap(), info);
        assert_eq!(get(&db, "k").as_deref(), Some("{}"));
    }
}

#[test]
fn a_handle_is_counted_once_however_often_its_commit_ran() {
    let dir = tempfile::tempdir().unwrap();
    let store = at(&dir);
    let busy = create(&store);
    let db = named(&store, "other").wait().unwrap();
    let spoiler = spoil(&store);
    let busy_done = keep_busy(&busy);
    let again = named(&store, "other");
    spoiler();
    busy_done.wait().unwrap();
    let again = again.wait().unwrap();
    db.close().wait().unwrap();
    put(&again, "k", "{}");
    again.close().wait().unwrap();
    let wrong = DatabaseOptions {
        name: Some("other".into()),
        value_encoding: "binary".into(),
        ..crate::support::database()
    };
    assert_eq!(store.database(wrong).wait().err().unwrap().code, Code::Options);
    assert_eq!(get(&named(&store, "other").wait().unwrap(), "k").as_deref(), Some("{}"));
}

#[test]
fn two_handles_share_a_database_and_end_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (at(&dir), at(&dir));
    let (a, b) = (create(&first), create(&second));
    put(&a, "k", r#"{"a":1}"#);
    assert_eq!(get(&b, "k").as_deref(), Some(r#"{"a":1}"#));
    a.close().wait().unwrap();
    first.close().wait().unwrap();
    assert_eq!(a.write(vec![put_write("k", "{}")]).wait().unwrap_err().code, Code::Closed);
    assert_eq!(first.database(crate::support::database()).wait().err().unwrap().code, Code::Closed);
    put(&b, "k", r#"{"a":2}"#);
    assert_eq!(get(&b, "k").as_deref(), Some(r#"{"a":2}"#));
    second.close().wait().unwrap();
    assert_eq!(b.write(vec![put_write("k", "{}")]).wait().unwrap_err().code, Code::Closed);
    // The store is closed, and this handle with it: closing it too is harmless.
    b.close().wait().unwrap();
    b.close().wait().unwrap();
    second.close().wait().unwrap();
}

#[test]
fn a_store_is_opened_again_while_it_still_closes() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let store = at(&dir);
        let db = create(&store);
        let written = db.write((0..200).map(|n| put_write(&format!("{round} {n}"), "{}")).collect());
        let closed = store.close();
        let again = at(&dir);
        let db = create(&again);
        assert!(get(&db, &format!("{round} 199")).is_some());
        put(&db, "round", &format!(r#"{{"n":{round}}}"#));
        assert!(written.wait().unwrap().iter().all(Result::is_ok));
        closed.wait().unwrap();
        again.close().wait().unwrap();
    }
    let db = create(&at(&dir));
    assert_eq!(get(&db, "round").as_deref(), Some(r#"{"n":1}"#));
    assert_eq!(db.status().unwrap().version, 2 * 201);
}

#[test]
fn a_database_opened_with_other_options_is_refused() {
    let store = memory();
    let db = create(&store);
    let code = |options| store.database(options).wait().err().map(|error| error.code);
    let fits = crate::support::database;
    assert_eq!(code(DatabaseOptions { key_encoding: "binary".into(), ..fits() }), Some(Code::Options));
    assert_eq!(code(DatabaseOptions { open: true, ..fits() }), Some(Code::Options));
    assert_eq!(code(DatabaseOptions { secret: Some([7; 32]), ..fits() }), Some(Code::Options));
    let other = multi_hyperbee::types::FeedKey([9; 32]);
    let named = DatabaseOptions { name: Some("db".into()), key: Some(other), ..fits() };
    assert_eq!(code(named), Some(Code::InvalidKey));
    assert_eq!(code(DatabaseOptions { name: Some("n".repeat(2_000)), ..fits() }), Some(Code::Options));
    let secret = DatabaseOptions { name: Some("two".into()), secret: Some([7; 32]), ..fits() };
    assert_eq!(code(secret.clone()), None);
    let reused = DatabaseOptions { name: Some("three".into()), ..secret };
    assert_eq!(code(reused), Some(Code::Options));
    put(&db, "k", "{}");
}

#[test]
fn a_closed_store_lets_go_of_its_files_though_handles_of_databases_are_about() {
    let dir = tempfile::tempdir().unwrap();
    let location = Location::Path(dir.path().to_owned());
    let store = Store::open(&location, &StoreOptions::default()).unwrap();
    let db = create(&store);
    let scan = db.scan(multi_hyperbee::db::Range::default(), None).unwrap();
    store.close().wait().unwrap();
    let lock = std::fs::File::open(dir.path().join("lock")).unwrap();
    lock.try_lock().unwrap();
    assert_eq!(db.get_entry(b"k", None).unwrap_err().code, Code::Closed);
    drop(scan);
}
