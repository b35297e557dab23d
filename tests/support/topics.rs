//! Connections of whole stores, and databases of which a store has several.

use super::{Wire, database, options};
use multi_hyperbee::db::{DatabaseOptions, Db, Store, Transport};
use multi_hyperbee::types::FeedKey;

/// A connection of two whole stores.
pub fn replicate(initiator: &Store, responder: &Store) -> Wire {
    let a = initiator.replicate(options(Transport::Initiator)).unwrap();
    let b = responder.replicate(options(Transport::Responder)).unwrap();
    Wire { a, b }
}

pub fn named(store: &Store, name: &str, key: Option<FeedKey>) -> Db {
    store.database(DatabaseOptions { key, name: Some(name.into()), ..database() }).wait().unwrap()
}

pub fn key_of(db: &Db) -> FeedKey {
    db.info().unwrap().key
}

pub fn local(db: &Db) -> FeedKey {
    db.info().unwrap().local
}

pub fn have(db: &Db, feed: FeedKey) -> u64 {
    db.progress().unwrap().iter().find(|progress| progress.key == feed).map_or(0, |progress| progress.have)
}

/// Carries until nothing moves.
pub fn rest(wire: &Wire, stores: &[Store]) {
    let mut quiet = 0;
    while quiet < 3 {
        for store in stores {
            store.settled().wait().unwrap();
        }
        quiet = if wire.carry(usize::MAX) { 0 } else { quiet + 1 };
    }
}
