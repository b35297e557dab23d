//! A database that writes another feed from now on (`setLocal`), and what becomes of the feed it wrote before.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::apply_support::{Applier, options, settle};
use crate::support::fork::open;
use crate::support::{carry_until, connect, memory};
use multi_hyperbee::db::{DatabaseOptions, EncryptionKey, Store};
use multi_hyperbee::types::FeedKey;
use std::path::Path;

fn applier(store: &Store, key: Option<FeedKey>, is_encrypted: bool) -> Applier {
    let encryption_key = is_encrypted.then(|| EncryptionKey::new([0xe5; 32]));
    Applier::new(store.database(DatabaseOptions { encryption_key, ..options(key) }).wait().unwrap())
}

fn sync(a: &Applier, b: &Applier, done: impl Fn() -> bool) {
    let wire = connect(&a.db, &b.db);
    carry_until(&[&wire], || {
        settle(&[a, b]);
        done() && a.db.is_flushed().unwrap() && b.db.is_flushed().unwrap() && a.view() == b.view()
    });
    wire.close();
}

fn copy_of(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::copy(from.join("data.mdb"), to.join("data.mdb")).unwrap();
}

/// A creator, and the copy of a writer's store that has written what never left, while the original went on and the
/// creator heard of that.
struct Copied {
    dir: tempfile::TempDir,
    stores: [Store; 2],
    creator: Applier,
    copy: Applier,
    /// The feed both have written.
    feed: FeedKey,
}

fn copied(is_encrypted: bool) -> Copied {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("one"), dir.path().join("two"));
    let first = memory();
    let creator = applier(&first, None, is_encrypted);
    let key = creator.local();
    let second = open(&from);
    let writer = applier(&second, Some(key), is_encrypted);
    let feed = writer.local();
    creator.append(&[&format!("add {feed}")]);
    sync(&creator, &writer, || writer.db.status().unwrap().writable);
    writer.append(&["put early 1"]);
    sync(&creator, &writer, || creator.get("early").is_some());
    writer.db.close().wait().unwrap();
    second.close().wait().unwrap();
    copy_of(&from, &to);
    let second = open(&from);
    let writer = applier(&second, Some(key), is_encrypted);
    writer.append(&["put theirs 1"]);
    writer.append(&["put theirs 2", "put theirs 3"]);
    sync(&creator, &writer, || creator.get("theirs").as_deref() == Some("3"));
    let third = open(&to);
    let copy = applier(&third, Some(key), is_encrypted);
    copy.append(&["put mine 1"]);
    copy.append(&["put mine 2", "put mine 3"]);
    Copied { dir, stores: [first, third], creator, copy, feed }
}

fn is_whole(store: &Store) {
    let report = store.verify(|_| ()).wait().unwrap();
    assert!(report.is_clean(), "{:?}", report.damages);
}

#[test]
fn what_never_left_of_the_feed_it_wrote_before_comes_again_where_everybody_can_read_it() {
    let _ = std::panic::take_hook();
    for is_encrypted in [false, true] {
        let Copied { creator, copy, stores, feed, dir: _dir } = copied(is_encrypted);
        let new = copy.db.set_local([7; 32]).wait().unwrap();
        creator.append(&[&format!("add {new}")]);
        sync(&creator, &copy, || creator.get("mine").is_some());
        for one in [&creator, &copy] {
            assert_eq!(one.get("theirs").as_deref(), Some("3"), "encrypted: {is_encrypted}");
            assert_eq!(one.get("mine").as_deref(), Some("3"));
            let held = one.db.sync_status().unwrap().feeds.into_iter().find(|held| held.key == feed).unwrap();
            assert_eq!((held.have, held.placed, held.reason), (7, 7, None));
        }
        copy.append(&["put on 1"]);
        sync(&creator, &copy, || creator.get("on").is_some());
        stores.iter().for_each(is_whole);
    }
}
