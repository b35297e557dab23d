//! What the tests of whole databases share: stores in memory, and connections whose bytes the test carries.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "each test file uses a part of it"
)]

pub mod device;
pub mod fork;
pub mod needles;
pub mod topics;

use multi_hyperbee::db::{
    DatabaseOptions, Db, EncryptionKey, Expect, Live, Location, Peer, PeerEvent, PeerOptions, Store,
    StoreOptions, Transport, Write, Written,
};
use multi_hyperbee::types::FeedKey;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub fn memory() -> Store {
    Store::open(&Location::Memory, &StoreOptions::default()).unwrap()
}

/// How the tests open databases: `MULTI_HYPERBEE_TEST_ENCRYPTED=1` runs them all encrypted.
pub fn database() -> DatabaseOptions {
    DatabaseOptions { encryption_key: encryption_key(), ..DatabaseOptions::default() }
}

pub fn encryption_key() -> Option<EncryptionKey> {
    std::env::var_os("MULTI_HYPERBEE_TEST_ENCRYPTED").map(|_| EncryptionKey::new([0xe5; 32]))
}

pub fn create(store: &Store) -> Db {
    store.database(database()).wait().unwrap()
}

pub fn join(store: &Store, key: FeedKey) -> Db {
    store.database(DatabaseOptions { key: Some(key), ..database() }).wait().unwrap()
}

pub fn put_write(key: &str, value: &str) -> Write {
    let (key, value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    Write::Put { key, value, base: None, diff: None, expect: Expect::Any }
}

pub fn put(db: &Db, key: &str, value: &str) -> Written {
    db.write(vec![put_write(key, value)]).wait().unwrap().remove(0).unwrap()
}

pub fn del(db: &Db, key: &str) -> Written {
    let write = Write::Delete { key: key.as_bytes().to_vec(), expect: Expect::Any };
    db.write(vec![write]).wait().unwrap().remove(0).unwrap()
}

/// The value's JSON text.
pub fn get(db: &Db, key: &str) -> Option<String> {
    db.get(key.as_bytes(), None, |row| match row.value {
        Live::Object(text) => text.to_owned(),
        Live::Register(bytes) => format!("register {bytes:?}"),
    })
    .unwrap()
}

/// Reads an object, changes its text, and puts it back against what was read.
pub fn edit(db: &Db, key: &str, change: impl Fn(&str) -> String) -> Written {
    let (text, base) = db
        .get(key.as_bytes(), None, |row| match row.value {
            Live::Object(text) => (text.to_owned(), (row.stamp, row.state)),
            Live::Register(_) => unreachable!(),
        })
        .unwrap()
        .unwrap();
    let write = Write::Put {
        key: key.as_bytes().to_vec(),
        value: change(&text).into_bytes(),
        base: Some(base),
        diff: None,
        expect: Expect::Any,
    };
    db.write(vec![write]).wait().unwrap().remove(0).unwrap()
}

pub fn options(transport: Transport) -> PeerOptions {
    PeerOptions {
        transport,
        live: true,
        download: true,
        upload: true,
        user_data: Vec::new(),
        wake: Arc::new(|| {}),
    }
}

/// Two ends of one connection.
pub struct Wire {
    pub a: Peer,
    pub b: Peer,
}

pub fn connect(a: &Db, b: &Db) -> Wire {
    let a = a.replicate(options(Transport::Initiator)).unwrap();
    let b = b.replicate(options(Transport::Responder)).unwrap();
    Wire { a, b }
}

/// What the second end of a connection does otherwise than usual.
pub struct PeerSide {
    pub download: bool,
}

pub fn connect_with(a: &Db, b: &Db, side: &PeerSide) -> Wire {
    let a = a.replicate(options(Transport::Initiator)).unwrap();
    let download = side.download;
    let b = b.replicate(PeerOptions { download, ..options(Transport::Responder) }).unwrap();
    Wire { a, b }
}

impl Wire {
    /// Carries what is there, both ways, in pieces of `size`. True if there was anything.
    pub fn carry(&self, size: usize) -> bool {
        let mut any = false;
        for (from, to) in [(&self.a, &self.b), (&self.b, &self.a)] {
            while let Some(bytes) = from.pull(64 << 10) {
                any = true;
                for piece in bytes.chunks(size) {
                    to.receive(piece).unwrap();
                }
            }
        }
        any
    }

    pub fn close(&self) {
        self.a.close();
        self.b.close();
    }

    pub fn events(&self) -> (Vec<PeerEvent>, Vec<PeerEvent>) {
        (self.a.take_events(), self.b.take_events())
    }
}

/// Carries all connections until `done`; fails after a while that no machine is slow enough to need.
pub fn carry_until(wires: &[&Wire], mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    loop {
        let mut moved = false;
        for wire in wires {
            moved |= wire.carry(usize::MAX);
        }
        if done() {
            return;
        }
        if !moved {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(start.elapsed() < Duration::from_mins(2), "the connections came to rest before the goal");
    }
}
