//! A stale copy of a store opens a database while it is connected: what others have of its own feed is heard first.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test says so by panicking"
)]

use crate::support::topics::*;
use crate::support::*;
use multi_hyperbee::db::{Db, Event, Location, Store, StoreOptions, Subscription};
use std::path::Path;
use std::sync::Arc;

/// What the device that has heard more has of the database.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Far {
    Database,
    FeedAlone,
    /// It was told nothing either, and shares another database only.
    Nothing,
}

/// A copy of a store, made before the last entry of its own feed was written and went to `far`.
struct Stale {
    copy: Store,
    stores: [Store; 2],
    near: Wire,
    far: Wire,
    near_y: Db,
    _others: Vec<Db>,
}

fn open(dir: &Path, name: &str) -> Store {
    Store::open(&Location::Path(dir.join(name)), &StoreOptions::default()).unwrap()
}

impl Stale {
    /// `first`: whether the copy opens the connections. They are about `x` so far: `y` is closed.
    fn new(dir: &Path, far_has: Far, first: bool) -> Self {
        let original = open(dir, "original");
        let (x, y) = (named(&original, "x", None), named(&original, "y", None));
        let own = local(&y);
        let stores = [memory(), memory()];
        let [near, far] = &stores;
        let near_y = named(near, "y", Some(own));
        let mut others: Vec<Db> = stores.iter().map(|store| named(store, "x", Some(key_of(&x)))).collect();
        match far_has {
            Far::Database => others.push(named(far, "y", Some(own))),
            Far::FeedAlone => {
                let other = named(far, "other", None);
                other.add_peer(own).wait().unwrap();
                others.push(other);
            }
            Far::Nothing => {}
        }
        let has_all = |others: &[Db], y: &Db| {
            far_has == Far::Nothing || others.last().is_some_and(|db| have(db, own) == have(y, own))
        };
        put(&y, "early", "{}");
        let wires = [replicate(&original, near), replicate(far, &original)];
        carry_until(&[&wires[0], &wires[1]], || get(&near_y, "early").is_some() && has_all(&others, &y));
        wires.iter().for_each(Wire::close);
        original.close().wait().unwrap();
        std::fs::create_dir(dir.join("copy")).unwrap();
        std::fs::copy(dir.join("original/data.mdb"), dir.join("copy/data.mdb")).unwrap();
        let original = open(dir, "original");
        let y = named(&original, "y", None);
        put(&y, "later", "{}");
        let wire = replicate(far, &original);
        if far_has != Far::Nothing {
            carry_until(&[&wire], || has_all(&others, &y));
        }
        wire.close();
        original.close().wait().unwrap();
        let copy = open(dir, "copy");
        others.push(named(&copy, "x", None));
        let wire = |to| if first { replicate(&copy, to) } else { replicate(to, &copy) };
        let stale = Self { near: wire(near), far: wire(far), copy, near_y, _others: others, stores };
        stale.rest(&stale.near);
        stale.rest(&stale.far);
        stale
    }

    fn rest(&self, wire: &Wire) {
        rest(wire, &[self.copy.clone(), self.stores[0].clone(), self.stores[1].clone()]);
    }

    /// Opens `y`, and writes to it when all is said with `near`, and nothing yet with `far`.
    fn write(&self) -> (Db, Subscription) {
        let y = named(&self.copy, "y", None);
        let news = y.subscribe(Arc::new(|| {})).unwrap();
        self.rest(&self.near);
        put(&y, "new", "{}");
        self.rest(&self.near);
        (y, news)
    }

    fn close(&self) {
        for store in [&self.copy].into_iter().chain(&self.stores) {
            store.close().wait().unwrap();
        }
    }
}

#[test]
fn what_others_have_of_a_database_that_is_opened_late_is_heard_before_its_own_feed_leaves() {
    for (far_has, first) in [
        (Far::Database, true),
        (Far::Database, false),
        (Far::FeedAlone, true),
        (Far::FeedAlone, false),
        (Far::Nothing, true),
        (Far::Nothing, false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let stale = Stale::new(dir.path(), far_has, first);
        let (_y, news) = stale.write();
        assert_eq!(get(&stale.near_y, "new"), None, "{far_has:?} {first}: it left too early");
        // Without a tick: who is asked says what it has, also that it has nothing.
        let due: &[&str] = if far_has == Far::Nothing { &["new"] } else { &["later", "new"] };
        carry_until(&[&stale.near, &stale.far], || due.iter().all(|key| get(&stale.near_y, key).is_some()));
        assert!(!news.take().iter().any(|event| matches!(event, Event::Fork { .. })), "{far_has:?} {first}");
        stale.close();
    }
}

#[test]
fn who_does_not_say_whether_it_has_a_database_holds_nothing_back_for_long_and_only_once() {
    const PATIENCE: usize = 5;
    for first in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let stale = Stale::new(dir.path(), Far::Nothing, first);
        let (y, _) = stale.write();
        let ends = if first { [&stale.near.a, &stale.far.a] } else { [&stale.near.b, &stale.far.b] };
        let mut waited = 0;
        while get(&stale.near_y, "new").is_none() {
            for peer in ends {
                peer.tick();
            }
            stale.rest(&stale.near);
            waited += 1;
            assert!(waited <= PATIENCE + 1, "{first}");
        }
        assert!(waited >= PATIENCE, "{first}: {waited}");
        // It was asked, and is silent: of another one it is not waited for.
        let z = named(&stale.copy, "z", None);
        stale.rest(&stale.near);
        put(&z, "own", "{}");
        put(&y, "more", "{}");
        stale.rest(&stale.near);
        assert!(get(&stale.near_y, "more").is_some(), "{first}");
        stale.close();
    }
}
