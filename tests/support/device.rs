//! A device of a test: a store in memory with a clock that the test sets.

use super::{carry_until, connect, create, join};
use multi_hyperbee::db::{Db, Location, Store, StoreOptions, WallClock};
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
        let seconds = Arc::new(AtomicU64::new(1_000));
        let now = Arc::clone(&seconds);
        let clock: WallClock = Arc::new(move || Duration::from_secs(now.load(Ordering::Relaxed)));
        let options = StoreOptions { clock: Some(clock), ..StoreOptions::default() };
        let store = Store::open(&Location::Memory, &options).unwrap();
        let db = key.map_or_else(|| create(&store), |key| join(&store, key));
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
