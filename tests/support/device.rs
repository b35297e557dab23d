//! A device of a test: a store in memory with a clock that the test sets.

use super::{carry_until, connect, database};
use multi_hyperbee::db::{DatabaseOptions, Db, Location, Store, StoreOptions, WallClock};
use multi_hyperbee::types::FeedKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub struct Device {
    pub store: Store,
    pub db: Db,
    seconds: Arc<AtomicU64>,
    pub name: &'static str,
}

impl Device {
    /// Without a key it creates a database.
    pub fn new(name: &'static str, key: Option<FeedKey>) -> Self {
        Self::of(name, DatabaseOptions { key, ..database() })
    }

    /// As [`Device::new`], its database opened otherwise.
    pub fn of(name: &'static str, options: DatabaseOptions) -> Self {
        let seconds = Arc::new(AtomicU64::new(1_000));
        let now = Arc::clone(&seconds);
        let clock: WallClock = Arc::new(move || Duration::from_secs(now.load(Ordering::Relaxed)));
        let of_store = StoreOptions { clock: Some(clock), ..StoreOptions::default() };
        let store = Store::open(&Location::Memory, &of_store).unwrap();
        let db = store.database(options).wait().unwrap();
        Self { store, db, seconds, name }
    }

    pub fn local(&self) -> FeedKey {
        self.db.info().unwrap().local
    }

    /// From now on its clock stands there.
    pub fn at(&self, seconds: u64) {
        self.seconds.store(1_000 + seconds, Ordering::Relaxed);
    }
}

/// Everything that flows between the two, until both have it.
pub fn meet(a: &Device, b: &Device) {
    let wire = connect(&a.db, &b.db);
    let have = |device: &Device| {
        let feeds = device.db.progress().unwrap();
        feeds.iter().filter(|feed| feed.placed > 0).map(|feed| (feed.key, feed.placed)).collect::<Vec<_>>()
    };
    carry_until(&[&wire], || {
        a.store.settled().wait().unwrap();
        b.store.settled().wait().unwrap();
        a.db.is_flushed().unwrap() && b.db.is_flushed().unwrap() && have(a) == have(b)
    });
    wire.close();
}
