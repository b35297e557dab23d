//! Databases and connections through the Rust API.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::*;
use multi_hyperbee::db::{Code, Location, Range, Store, StoreOptions, Written};

#[test]
fn what_is_put_is_read_and_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let location = Location::Path(dir.path().to_owned());
    let store = Store::open(&location, &StoreOptions::default()).unwrap();
    let db = create(&store);
    assert_eq!(put(&db, "a", r#"{"x":1}"#), Written::Yes { length: 2, version: 1 });
    assert_eq!(put(&db, "a", r#"{"x":1}"#), Written::No);
    put(&db, "a", r#"{"x":2,"l":[1,2,3]}"#);
    put(&db, "b", r#"{"y":null}"#);
    del(&db, "b");
    assert_eq!(get(&db, "a").as_deref(), Some(r#"{"x":2,"l":[1,2,3]}"#));
    assert_eq!(get(&db, "b"), None);
    let hash = db.state_hash().unwrap();
    let key = db.info().unwrap().key;
    db.close().wait().unwrap();
    store.close().wait().unwrap();
    assert_eq!(db.status().unwrap_err().code, Code::Closed);

    let store = Store::open(&location, &StoreOptions::default()).unwrap();
    let db = create(&store);
    assert_eq!(db.info().unwrap().key, key);
    assert_eq!(get(&db, "a").as_deref(), Some(r#"{"x":2,"l":[1,2,3]}"#));
    assert_eq!(db.state_hash().unwrap(), hash);
    assert_eq!(put(&db, "c", "{}"), Written::Yes { length: 6, version: 5 });
    let all = db.scan(Range::default(), None).unwrap().next(100, 10_000).unwrap();
    assert_eq!(all.iter().map(|entry| entry.key.as_slice()).collect::<Vec<_>>(), [b"a", b"c"]);
}

#[test]
fn a_joiner_reads_then_writes_once_granted() {
    let (s1, s2) = (memory(), memory());
    let a = create(&s1);
    put(&a, "k", r#"{"from":"a"}"#);
    let b = join(&s2, a.info().unwrap().key);
    let refused = b.write(vec![put_write("k", "{}")]).wait().unwrap().remove(0).unwrap_err();
    assert_eq!(refused.code, Code::NotWritable);
    let wire = connect(&a, &b);
    carry_until(&[&wire], || get(&b, "k").is_some());
    a.add_writer(b.info().unwrap().local, false).wait().unwrap();
    carry_until(&[&wire], || b.status().unwrap().writable);
    edit(&b, "k", |text| text.replace('}', r#","more":[1]}"#));
    carry_until(&[&wire], || get(&a, "k").as_deref() == Some(r#"{"from":"a","more":[1]}"#));
    assert_eq!(a.state_hash().unwrap(), b.state_hash().unwrap());
}

#[test]
fn five_devices_of_which_only_neighbours_meet_converge() {
    const COUNT: usize = 5;
    let stores: Vec<Store> = (0..COUNT).map(|_| memory()).collect();
    let mut dbs = vec![create(&stores[0])];
    let key = dbs[0].info().unwrap().key;
    dbs.extend(stores[1..].iter().map(|store| join(store, key)));
    for db in &dbs[1..] {
        dbs[0].add_writer(db.info().unwrap().local, false).wait().unwrap();
    }
    put(&dbs[0], "k", r#"{"list":["x","y"],"n":0}"#);
    let neighbours = || dbs.windows(2).map(|pair| connect(&pair[0], &pair[1])).collect::<Vec<_>>();
    let wires = neighbours();
    let all: Vec<_> = wires.iter().collect();
    carry_until(&all, || dbs.iter().all(|db| get(db, "k").is_some() && db.status().unwrap().writable));
    wires.iter().for_each(crate::support::Wire::close);

    edit(&dbs[0], "k", |text| text.replace("[\"x\"", "[\"a\",\"x\""));
    edit(&dbs[2], "k", |text| text.replace("\"n\":0", "\"n\":1"));
    edit(&dbs[4], "k", |text| text.replace("\"y\"]", "\"y\",\"c\"]"));
    for (n, db) in dbs.iter().enumerate() {
        put(db, &format!("only/{n}"), "{}");
    }
    let wires = neighbours();
    let all: Vec<_> = wires.iter().collect();
    let expected = r#"{"list":["a","x","y","c"],"n":1}"#;
    let has_all = |db| (0..COUNT).all(|n| get(db, &format!("only/{n}")).is_some());
    carry_until(&all, || dbs.iter().all(|db| get(db, "k").as_deref() == Some(expected) && has_all(db)));
    let hashes: Vec<_> = dbs.iter().map(|db| db.state_hash().unwrap()).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
}

#[test]
fn two_databases_that_add_each_other_converge() {
    let (s1, s2) = (memory(), memory());
    let (a, b) = (create(&s1), create(&s2));
    put(&a, "k", r#"{"a":1}"#);
    put(&b, "k", r#"{"b":1}"#);
    let (ka, kb) = (a.info().unwrap().local, b.info().unwrap().local);
    assert!(a.add_peer(kb).wait().unwrap());
    assert!(!a.add_peer(kb).wait().unwrap());
    assert!(b.add_peer(ka).wait().unwrap());
    assert_eq!(a.add_peer(ka).wait().unwrap_err().code, Code::InvalidKey);
    let wire = connect(&a, &b);
    let both = |db| get(db, "k").is_some_and(|text| text.contains("\"a\":1") && text.contains("\"b\":1"));
    carry_until(&[&wire], || both(&a) && both(&b));
    assert_eq!(a.state_hash().unwrap(), b.state_hash().unwrap());
    assert!(a.remove_peer(kb).wait().unwrap());
    put(&b, "later", "{}");
    put(&a, "mine", "{}");
    carry_until(&[&wire], || get(&b, "mine").is_some());
    assert_eq!(get(&a, "later"), None);
    a.add_peer(kb).wait().unwrap();
    carry_until(&[&wire], || get(&a, "later").is_some());
}
