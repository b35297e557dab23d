//! Encrypted databases: who may open them, that no file shows what is in them, and that a changed row is never data.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test says so by panicking"
)]

use crate::support::needles::{base64, files, forms, holds};
use crate::support::*;
use multi_hyperbee::db::{
    Code, DatabaseOptions, Db, EncryptionKey, Error, Event, FeedChoice, Location, Range, RelayLimits, Store,
    StoreOptions,
};
use multi_hyperbee::seal::block::{FORMAT, OVERHEAD, epoch_of};
use multi_hyperbee::store::{Environment, Options, Read as _, Table};
use multi_hyperbee::types::FeedKey;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

fn sealed(byte: u8) -> DatabaseOptions {
    DatabaseOptions { encryption_key: Some(EncryptionKey::new([byte; 32])), ..DatabaseOptions::default() }
}

fn open(path: &Path) -> Store {
    Store::open(&Location::Path(path.to_owned()), &StoreOptions::default()).unwrap()
}

fn code(store: &Store, options: DatabaseOptions) -> Option<Code> {
    store.database(options).wait().err().map(|error: Error| error.code)
}

const NEEDLES: [&str; 4] =
    ["needle-in-a-key", "needle-in-a-value", "needle-of-a-register", "needle-named-property"];

fn write_needles(db: &Db) {
    put(db, "needle-in-a-key", r#"{"needle-named-property":"needle-in-a-value"}"#);
    edit(db, "needle-in-a-key", |text| text.replace("in-a-value", "in-a-value-again"));
    let key = b"needle-in-a-key/2".to_vec();
    let write = multi_hyperbee::db::Write::Register {
        key,
        value: b"needle-of-a-register".to_vec(),
        expect: multi_hyperbee::db::Expect::Any,
    };
    db.write(vec![write]).wait().unwrap().remove(0).unwrap();
    del(db, "needle-in-a-key/2");
}

fn must_show_nothing(folder: &Path) {
    needles::must_show_nothing(folder, &NEEDLES);
}

#[test]
fn the_forms_of_a_needle_are_found_where_they_are() {
    let hidden = [b"..", b"needle-in-a-key".as_slice(), b"."].concat();
    assert!(holds(&hidden, &forms("needle-in-a-key")[0]));
    let coded = base64(&[&hidden[..], b"...."].concat()[..18]);
    assert!(forms("needle-in-a-key").iter().any(|form| holds(&coded, form)));
}

#[test]
fn no_file_shows_keys_or_values_here_or_at_a_replica_or_in_a_copy() {
    let (here, there, copy) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (open(here.path()), open(there.path()));
    let one = a.database(sealed(1)).wait().unwrap();
    let key = one.info().unwrap().key;
    assert!(one.info().unwrap().encrypted);
    write_needles(&one);
    let two = b.database(DatabaseOptions { key: Some(key), ..sealed(1) }).wait().unwrap();
    one.add_writer(two.info().unwrap().local, false).wait().unwrap();
    let wire = connect(&one, &two);
    carry_until(&[&wire], || two.status().unwrap().writable && get(&two, "needle-in-a-key").is_some());
    put(&two, "needle-in-a-key/3", r#"{"needle-named-property":"needle-in-a-value"}"#);
    let both = |db: &Db| db.scan(Range::default(), None).unwrap().next(9, 9_999).unwrap().len();
    carry_until(&[&wire], || both(&one) == 2 && both(&two) == 2);
    assert_eq!(one.state_hash().unwrap(), two.state_hash().unwrap());
    wire.close();
    std::fs::copy(here.path().join("data.mdb"), copy.path().join("data.mdb")).unwrap();
    // Files are read while they are open, and after.
    must_show_nothing(here.path());
    a.close().wait().unwrap();
    b.close().wait().unwrap();
    for folder in [&here, &there, &copy] {
        must_show_nothing(folder.path());
    }
    // The same search finds them where they are in clear.
    let plain = tempfile::tempdir().unwrap();
    let store = open(plain.path());
    write_needles(&store.database(DatabaseOptions::default()).wait().unwrap());
    store.close().wait().unwrap();
    let files = files(plain.path());
    assert!(NEEDLES.iter().all(|needle| files.iter().any(|file| holds(file, needle.as_bytes()))));
}

#[test]
fn two_members_who_never_meet_sync_through_a_relay_whose_disk_shows_nothing() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let [a, b, middle] = [0, 1, 2].map(|n: usize| open(folders[n].path()));
    let one = a.database(sealed(1)).wait().unwrap();
    let key = one.info().unwrap().key;
    let two = b.database(DatabaseOptions { key: Some(key), ..sealed(1) }).wait().unwrap();
    let local = two.info().unwrap().local;
    one.add_writer(local, false).wait().unwrap();
    write_needles(&one);
    // Neither key nor apply: the database's own key alone.
    let limits = Some(RelayLimits::default());
    let options = DatabaseOptions { key: Some(key), relay: limits, ..DatabaseOptions::default() };
    let relay = middle.database(options).wait().unwrap();
    let pass = |member: &Db, done: &dyn Fn() -> bool| {
        let wire = connect(member, &relay);
        carry_until(&[&wire], done);
        wire.close();
    };
    let have = |db: &Db, feed| {
        db.progress()
            .unwrap()
            .iter()
            .find(|progress| progress.key == feed)
            .map_or(0, |progress| progress.have)
    };
    let length = have(&one, key);
    pass(&one, &|| have(&relay, key) == length);
    pass(&two, &|| get(&two, "needle-in-a-key").is_some() && two.status().unwrap().writable);
    put(&two, "needle-in-a-key/3", r#"{"needle-named-property":"needle-in-a-value"}"#);
    let length = have(&two, local);
    pass(&two, &|| have(&relay, local) == length);
    pass(&one, &|| get(&one, "needle-in-a-key/3").is_some());
    assert_eq!(one.state_hash().unwrap(), two.state_hash().unwrap());
    must_show_nothing(folders[2].path());
    middle.close().wait().unwrap();
    must_show_nothing(folders[2].path());
}

#[test]
fn the_secret_key_and_the_encryption_key_are_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let secret = *b"the seed of this device's writer";
    let encryption_key = *b"what the user keeps for the disk";
    let options = DatabaseOptions {
        secret: Some(secret),
        encryption_key: Some(EncryptionKey::new(encryption_key)),
        ..DatabaseOptions::default()
    };
    let db = store.database(options.clone()).wait().unwrap();
    put(&db, "a", r#"{"n":1}"#);
    store.close().wait().unwrap();
    for file in files(folder.path()) {
        assert!(!holds(&file, &secret) && !holds(&file, &encryption_key));
    }
    // It is there, and the key opens it: the writer goes on.
    let store = open(folder.path());
    let db = store.database(DatabaseOptions { secret: None, ..options }).wait().unwrap();
    put(&db, "a", r#"{"n":2}"#);
    assert_eq!(get(&db, "a").unwrap(), r#"{"n":2}"#);
}

#[test]
fn a_wrong_missing_or_superfluous_key_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let db = store.database(sealed(1)).wait().unwrap();
    let plain = store.database(DatabaseOptions { name: Some("plain".into()), ..Default::default() });
    plain.wait().unwrap();
    put(&db, "a", r#"{"n":1}"#);
    for closed in [false, true] {
        if closed {
            store.close().wait().unwrap();
        }
        let store = if closed { open(folder.path()) } else { store.clone() };
        let before = closed.then(|| std::fs::read(folder.path().join("data.mdb")).unwrap());
        assert_eq!(code(&store, sealed(2)), Some(Code::EncryptionKey));
        assert_eq!(code(&store, DatabaseOptions::default()), Some(Code::EncryptionKey));
        let superfluous = DatabaseOptions { name: Some("plain".into()), ..sealed(1) };
        assert_eq!(code(&store, superfluous), Some(Code::EncryptionKey));
        if let Some(before) = before {
            let blocks = |bytes: &[u8]| bytes[8_192..].to_vec();
            let after = std::fs::read(folder.path().join("data.mdb")).unwrap();
            assert!(blocks(&before) == blocks(&after), "only the meta pages of empty commits may differ");
        }
        let db = store.database(sealed(1)).wait().unwrap();
        assert_eq!(get(&db, "a").unwrap(), r#"{"n":1}"#);
        if closed {
            store.close().wait().unwrap();
        }
    }
}

/// Joins with other options than the creator had; says what the joiner was told.
fn refused(creator: DatabaseOptions, joiner: DatabaseOptions) -> (Store, Db, FeedKey, Db) {
    let (a, b) = (memory(), memory());
    let one = a.database(creator).wait().unwrap();
    let key = one.info().unwrap().key;
    put(&one, "a", r#"{"n":1}"#);
    let two = b.database(DatabaseOptions { key: Some(key), ..joiner }).wait().unwrap();
    let events = two.subscribe(Arc::new(|| {})).unwrap();
    let wire = connect(&one, &two);
    let mut told = Vec::new();
    carry_until(&[&wire], || {
        told.extend(events.take().into_iter().filter_map(|event| match event {
            Event::Error { error } => Some(error.code),
            _ => None,
        }));
        !told.is_empty()
    });
    assert_eq!(told[0], Code::EncryptionKey);
    assert_eq!(get(&two, "a"), None);
    assert!(!two.status().unwrap().writable);
    wire.close();
    (b, one, key, two)
}

#[test]
fn who_joins_with_another_key_is_told_by_the_genesis_and_can_join_again_with_the_right_one() {
    for open in [false, true] {
        for (creator, joiner) in [(Some(1), Some(2)), (Some(1), None), (None, Some(1))] {
            let of = |byte: Option<u8>| {
                let options = byte.map_or_else(DatabaseOptions::default, sealed);
                DatabaseOptions { open, ..options }
            };
            if open && joiner.is_none() {
                // Without a key an open database is writable before it has seen its genesis.
                continue;
            }
            let (store, one, key, two) = refused(of(creator), of(joiner));
            two.close().wait().unwrap();
            let again = DatabaseOptions { key: Some(key), ..of(creator) };
            let two = store.database(again).wait().unwrap();
            let wire = connect(&one, &two);
            carry_until(&[&wire], || get(&two, "a").is_some());
        }
    }
}

#[test]
fn who_joins_with_a_key_pair_and_a_wrong_key_joins_again_with_the_same_key_pair() {
    let pair = |options: DatabaseOptions| DatabaseOptions { secret: Some([7; 32]), ..options };
    let plain = DatabaseOptions::default;
    for (creator, joiner) in [(sealed(1), sealed(2)), (sealed(1), plain()), (plain(), sealed(1))] {
        let (store, one, key, two) = refused(creator.clone(), pair(joiner));
        let local = two.info().unwrap().local;
        two.close().wait().unwrap();
        let elsewhere = DatabaseOptions { name: Some("elsewhere".into()), ..pair(creator.clone()) };
        assert_eq!(code(&store, elsewhere), Some(Code::Options), "the key pair writes that database");
        let two = store.database(DatabaseOptions { key: Some(key), ..pair(creator) }).wait().unwrap();
        assert_eq!(two.info().unwrap().local, local);
        one.add_writer(local, false).wait().unwrap();
        let wire = connect(&one, &two);
        carry_until(&[&wire], || get(&two, "a").is_some() && two.status().unwrap().writable);
        put(&two, "b", "{}");
        carry_until(&[&wire], || get(&one, "b").is_some());
        let report = store.verify(|_| ()).wait().unwrap();
        assert!(report.is_clean(), "{:?}", report.damages);
    }
}

#[test]
fn a_changed_byte_of_a_sealed_row_is_corruption_and_never_data() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store.database(sealed(1)).wait().unwrap(), "a", r#"{"n":1}"#);
    store.close().wait().unwrap();
    let location = Location::Path(folder.path().to_owned());
    let row = {
        let environment = Environment::open(&location, &Options::default()).unwrap();
        let txn = environment.read().unwrap();
        let (key, value) = txn.first(Table::View, Bound::Unbounded, Bound::Unbounded).unwrap().unwrap();
        (key.to_vec(), value.to_vec())
    };
    assert!(row.1.len() > OVERHEAD);
    for at in 0..row.1.len() {
        let mut changed = row.1.clone();
        changed[at] ^= 0x10;
        write_row(&location, &row.0, &changed);
        let store = open(folder.path());
        let db = store.database(sealed(1)).wait().unwrap();
        let error = db.get_entry(b"a", None).err().unwrap();
        assert_eq!(error.code, Code::Corrupt, "byte {at}");
        assert!(!error.message.contains(r#""n""#));
        assert_eq!(scan_error(&db), Code::Corrupt, "byte {at}");
        store.close().wait().unwrap();
    }
    write_row(&location, &row.0, &row.1);
    let store = open(folder.path());
    assert_eq!(get(&store.database(sealed(1)).wait().unwrap(), "a").unwrap(), r#"{"n":1}"#);
}

fn write_row(location: &Location, key: &[u8], value: &[u8]) {
    let environment = Environment::open(location, &Options::default()).unwrap();
    let closed = environment.closed();
    let mut txn = environment.write().unwrap();
    txn.put(Table::View, key, value).unwrap();
    txn.commit().unwrap();
    drop(environment);
    closed.wait(std::time::Duration::from_secs(5));
}

fn scan_error(db: &Db) -> Code {
    let mut scan = db.scan(Range::default(), None).unwrap();
    loop {
        match scan.visit(10, 1_000, |_| panic!("a changed row was shown")) {
            Ok(true) => {}
            Ok(false) => panic!("a changed row was passed over"),
            Err(error) => return error.code,
        }
    }
}

#[test]
fn a_row_put_in_the_place_of_another_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let db = store.database(sealed(1)).wait().unwrap();
    put(&db, "a", r#"{"n":1}"#);
    put(&db, "b", r#"{"n":2}"#);
    store.close().wait().unwrap();
    let location = Location::Path(folder.path().to_owned());
    let rows: Vec<(Vec<u8>, Vec<u8>)> = {
        let environment = Environment::open(&location, &Options::default()).unwrap();
        let txn = environment.read().unwrap();
        let rows = txn.range(Table::View, Bound::Unbounded, Bound::Unbounded).unwrap();
        rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
    };
    write_row(&location, &rows[0].0, &rows[1].1);
    write_row(&location, &rows[1].0, &rows[0].1);
    let store = open(folder.path());
    let db = store.database(sealed(1)).wait().unwrap();
    for key in [b"a", b"b"] {
        assert_eq!(db.get_entry(key, None).err().unwrap().code, Code::Corrupt);
    }
}

#[test]
fn every_block_but_the_genesis_travels_sealed_and_forks_at_one_index_share_no_nonce() {
    let blocks = |value: &str| {
        let store = memory();
        let options = DatabaseOptions { secret: Some([9; 32]), ..sealed(1) };
        let db = store.database(options).wait().unwrap();
        put(&db, "a", value);
        let local = db.info().unwrap().local;
        let opened = store.feed(FeedChoice::Key(local)).wait().unwrap().get(1).unwrap().unwrap();
        assert!(holds(&opened, b"needle"), "an open database opens its blocks");
        db.close().wait().unwrap();
        let feed = store.feed(FeedChoice::Key(local)).wait().unwrap();
        [0, 1].map(|seq| feed.get(seq).unwrap().unwrap())
    };
    let (one, two) = (blocks(r#"{"needle":1}"#), blocks(r#"{"needle":2}"#));
    assert_eq!(one[0][0], 1, "the genesis is in clear");
    for block in [&one[1], &two[1]] {
        assert_eq!(block[0], FORMAT);
        assert_eq!(epoch_of(block), Ok(0));
        assert!(!holds(block, b"needle"));
    }
    assert_ne!(one[1][5..29], two[1][5..29]);
}

#[test]
fn errors_show_no_key_and_no_value() {
    let store = memory();
    let db = store.database(sealed(1)).wait().unwrap();
    for value in [r#"{"needle-in-a-value":"#, "[1]", r#"{"needle-in-a-value":1e999}"#] {
        let write = put_write("needle-in-a-key", value);
        let error = db.write(vec![write]).wait().unwrap().remove(0).err().unwrap();
        assert_eq!(error.code, Code::InvalidValue);
        assert!(!format!("{error:?}").contains("needle"), "{error:?}");
    }
    let options = format!("{:?}", sealed(7));
    assert!(options.contains("EncryptionKey(..)") && !options.contains("7, 7"));
}

#[test]
fn an_invite_to_an_encrypted_database_carries_its_key() {
    let store = memory();
    let db = store.database(sealed(1)).wait().unwrap();
    let invite = db.create_invite(multi_hyperbee::db::InviteOptions::default()).wait().unwrap();
    let read: multi_hyperbee::db::Invite = invite.to_string().parse().unwrap();
    assert_eq!(read.encryption_key, Some(EncryptionKey::new([1; 32])));
}

#[test]
fn a_feed_that_is_not_sealed_with_the_key_freezes_and_harms_nobody() {
    let (a, b) = (memory(), memory());
    let one = a.database(sealed(1)).wait().unwrap();
    let other = b.database(sealed(2)).wait().unwrap();
    put(&one, "a", r#"{"n":1}"#);
    put(&other, "a", r#"{"n":2}"#);
    let key = other.info().unwrap().key;
    one.add_peer(key).wait().unwrap();
    let wire = connect_feed(&one, &other);
    carry_until(&[&wire], || one.progress().unwrap().iter().any(|feed| feed.key == key && feed.have == 2));
    assert_eq!(get(&one, "a").unwrap(), r#"{"n":1}"#);
    put(&one, "b", r#"{"n":3}"#);
    assert!(get(&one, "b").is_some());
    let placed = one.progress().unwrap().into_iter().find(|feed| feed.key == key).unwrap().placed;
    assert_eq!(placed, 1, "its genesis, and nothing that would have to be opened");
}

/// Two databases of which the first has added the other's feed.
fn connect_feed(a: &Db, b: &Db) -> Wire {
    connect(a, b)
}
