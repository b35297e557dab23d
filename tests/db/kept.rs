//! Own blocks that were set aside, to be written again: one that cannot be read any more holds up nothing else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use crate::support::{Wire, carry_until, connect, get, options, put, put_write};
use multi_hyperbee::db::{Code, Db, EncryptionKey, Event, Location, Store, StoreOptions, Transport};
use multi_hyperbee::db::{DatabaseOptions, VerifyOptions, Write};
use multi_hyperbee::store::{Environment, Options, Read as _, Table};
use multi_hyperbee::types::FeedKey;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn open(dir: &Path) -> Store {
    Store::open(&Location::Path(dir.to_owned()), &StoreOptions::default()).unwrap()
}

fn database(store: &Store, encrypted: bool, key: Option<FeedKey>) -> Db {
    let encryption_key = encrypted.then(|| EncryptionKey::new([0xe5; 32]));
    store.database(DatabaseOptions { key, encryption_key, ..DatabaseOptions::default() }).wait().unwrap()
}

fn local(db: &Db) -> FeedKey {
    db.info().unwrap().local
}

fn have(db: &Db, feed: FeedKey) -> u64 {
    db.progress().unwrap().iter().find(|progress| progress.key == feed).map_or(0, |progress| progress.have)
}

fn sync(a: &Db, b: &Db) {
    let wire = connect(a, b);
    carry_until(&[&wire], || {
        a.is_flushed().unwrap()
            && b.is_flushed().unwrap()
            && have(a, local(a)) == have(b, local(a))
            && a.state_hash().unwrap() == b.state_hash().unwrap()
    });
    wire.close();
}

/// A store put back from an old copy whose own new writes (`mine/0`, then a batch of `batch/0..3`, then `mine/1`) are set
/// aside, and which has not yet all that a peer shows. Closed. With the peer, and the stores' folder.
fn set_aside(encrypted: bool) -> (tempfile::TempDir, Store, Db) {
    let dir = tempfile::tempdir().unwrap();
    let [original, copy] = ["original", "copy"].map(|name| dir.path().join(name));
    let store = open(&original);
    let a = database(&store, encrypted, None);
    let peers = crate::support::memory();
    let peer = database(&peers, encrypted, Some(local(&a)));
    put(&a, "early", "{}");
    sync(&a, &peer);
    drop(a);
    store.close().wait().unwrap();
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(original.join("data.mdb"), copy.join("data.mdb")).unwrap();
    let store = open(&original);
    let a = database(&store, encrypted, None);
    for n in 0..12 {
        put(&a, &format!("later/{n}"), &format!(r#"{{"text":"{}"}}"#, "x".repeat(20_000)));
    }
    sync(&a, &peer);
    drop(a);
    store.close().wait().unwrap();
    let store = open(&copy);
    let db = database(&store, encrypted, None);
    put(&db, "mine/0", r#"{"n":0}"#);
    let batch = (0..3).map(|n| put_write(&format!("batch/{n}"), "{}")).collect();
    db.write(vec![Write::Batch(batch)]).wait().unwrap().remove(0).unwrap();
    put(&db, "mine/1", r#"{"n":1}"#);
    let before = have(&db, local(&db));
    let attached = |initiator| Transport::Attached { initiator, handshake_hash: [1; 64] };
    let wire = Wire {
        a: db.replicate(options(attached(true))).unwrap(),
        b: peer.replicate(options(attached(false))).unwrap(),
    };
    while have(&db, local(&db)) <= before + 3 {
        while let Some(bytes) = wire.a.pull(1 << 16) {
            wire.b.receive(&bytes).unwrap();
        }
        if let Some(bytes) = wire.b.pull(1 << 12) {
            wire.a.receive(&bytes).unwrap();
        }
        store.settled().wait().unwrap();
    }
    wire.close();
    drop(db);
    store.close().wait().unwrap();
    (dir, peers, peer)
}

/// Changes a byte of the row at `index` of those set aside, within the block.
fn damage(dir: &Path, index: usize) {
    let env = Environment::open(&Location::Path(dir.to_owned()), &Options::default()).unwrap();
    let rows: Vec<(Vec<u8>, Vec<u8>)> = {
        let txn = env.read().unwrap();
        let rows = txn.range(Table::Kept, Bound::Unbounded, Bound::Unbounded).unwrap();
        rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
    };
    assert_eq!(rows.len(), 5);
    let (key, value) = &rows[index];
    let mut value = value.clone();
    value[9] ^= 0x7e;
    env.write_with(|txn| txn.put(Table::Kept, key, &value)).unwrap();
    assert!(env.close().wait(Duration::from_secs(10)));
}

#[test]
fn one_damaged_row_that_was_set_aside_holds_up_nothing_else() {
    for (encrypted, index) in [(true, 0), (true, 2), (false, 4)] {
        let (dir, _peers, peer) = set_aside(encrypted);
        let copy = dir.path().join("copy");
        damage(&copy, index);
        let store = open(&copy);
        let db = database(&store, encrypted, None);
        let told = db.subscribe(Arc::new(|| {})).unwrap();
        sync(&db, &peer);
        let lost: &[&str] = match index {
            0 => &["mine/0"],
            4 => &["mine/1"],
            _ => &["batch/0", "batch/1", "batch/2"],
        };
        for key in ["early", "later/11", "mine/0", "batch/0", "batch/1", "batch/2", "mine/1"] {
            for db in [&db, &peer] {
                assert_eq!(get(db, key).is_none(), lost.contains(&key), "{encrypted} {index} {key}");
            }
        }
        let errors = told.take().into_iter().filter_map(|event| match event {
            Event::Error { error } => Some(error.code),
            _ => None,
        });
        assert_eq!(errors.collect::<Vec<_>>(), [Code::Corrupt]);
        let named = |store: &Store| {
            let damages = store.verify(|_| ()).wait().unwrap().damages;
            damages.iter().filter(|damage| damage.table.as_deref() == Some("kept-1")).count()
        };
        assert_eq!(named(&store), 1, "{encrypted} {index}");
        put(&db, "on", "{}");
        drop(db);
        store.close().wait().unwrap();
        // All that is known of the feed is here now, so it would be written again at opening.
        let store = open(&copy);
        let db = database(&store, encrypted, None);
        assert!(get(&db, "on").is_some());
        assert_eq!(named(&store), 1);
        sync(&db, &peer);
        let repair = VerifyOptions { repair: true, encryption_key: None };
        let repaired = store.verify_with(repair, |_| ()).wait().unwrap().repair.unwrap();
        assert!(!repaired.done.is_empty() && repaired.remaining.is_empty(), "{repaired:?}");
        assert_eq!(named(&store), 0);
    }
}
