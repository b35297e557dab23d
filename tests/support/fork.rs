//! A writer whose store was copied, so that its key signs two histories, each heard by another peer.

use super::{Wire, carry_until, connect, create, join, memory, put};
use multi_hyperbee::db::{Db, Location, Store, StoreOptions};
use multi_hyperbee::types::FeedKey;
use std::path::Path;
use tempfile::TempDir;

pub fn open(dir: &Path) -> Store {
    Store::open(&Location::Path(dir.to_owned()), &StoreOptions::default()).unwrap()
}

pub fn local(db: &Db) -> FeedKey {
    db.info().unwrap().local
}

pub fn have(db: &Db, feed: FeedKey) -> u64 {
    db.progress().unwrap().iter().find(|progress| progress.key == feed).map_or(0, |progress| progress.have)
}

/// Everything that decides what a view is, and the view: equal, or not.
pub fn agree(dbs: &[&Db]) -> bool {
    let claims: Vec<_> = dbs.iter().map(|db| db.state_claim().unwrap()).collect();
    claims.iter().all(|claim| *claim == claims[0])
}

/// Connects until both have what they had of two feeds.
pub fn sync(a: &Db, b: &Db, feeds: &[FeedKey]) {
    let wire = connect(a, b);
    carry_until(&[&wire], || {
        a.is_flushed().unwrap()
            && b.is_flushed().unwrap()
            && feeds.iter().all(|feed| have(a, *feed) == have(b, *feed))
    });
    wire.close();
}

/// Carries all that flows, and lets every store come to rest between two pieces: the same bytes make the same history.
pub fn carry_in_steps(wires: &[&Wire], stores: &[&Store]) {
    let rest = || (0..4).for_each(|_| stores.iter().for_each(|store| drop(store.settled().wait())));
    let mut still = 0;
    while still < 4 {
        rest();
        let mut moved = false;
        for (from, to) in wires.iter().flat_map(|wire| [(&wire.a, &wire.b), (&wire.b, &wire.a)]) {
            while let Some(bytes) = from.pull(64 << 10) {
                moved = true;
                to.receive(&bytes).unwrap();
                rest();
            }
        }
        still = if moved { 0 } else { still + 1 };
    }
}

/// Two copies of one writer's store that both wrote and were both heard, by different peers.
pub struct Forked {
    pub dir: TempDir,
    pub stores: Vec<Store>,
    pub creator: Db,
    /// The writer of the forked feed, as it went on, and its copy.
    pub one: Db,
    pub two: Db,
    /// Has the copy's branch.
    pub other: Db,
    pub common: u64,
}

pub fn forked() -> Forked {
    forked_in(&|store, key| key.map_or_else(|| create(store), |key| join(store, key)))
}

/// `open` opens a database of a store: its own, or that with a key.
pub fn forked_in(open_db: &dyn Fn(&Store, Option<FeedKey>) -> Db) -> Forked {
    let dir = tempfile::tempdir().unwrap();
    let [first, third] = [memory(), memory()];
    let join = |store: &Store, key| open_db(store, Some(key));
    let creator = open_db(&first, None);
    let key = creator.info().unwrap().key;
    let (from, to) = (dir.path().join("one"), dir.path().join("two"));
    let second = open(&from);
    let one = join(&second, key);
    let other = join(&third, key);
    let feed = local(&one);
    for db in [&one, &other] {
        creator.add_writer(local(db), false).wait().unwrap();
    }
    sync(&creator, &other, &[key]);
    sync(&creator, &one, &[key]);
    put(&one, "before", "{}");
    sync(&creator, &one, &[key, feed]);
    sync(&creator, &other, &[key, feed]);
    let common = have(&one, feed);
    one.close().wait().unwrap();
    second.close().wait().unwrap();
    std::fs::create_dir(&to).unwrap();
    std::fs::copy(from.join("data.mdb"), to.join("data.mdb")).unwrap();
    let [second, copied] = [&from, &to].map(|path| open(path));
    let [one, two] = [join(&second, key), join(&copied, key)];
    for (db, name, peer) in [(&one, "one", &creator), (&two, "two", &other)] {
        for n in 0..3 {
            put(db, &format!("{name}/{n}"), "{}");
        }
        sync(db, peer, &[feed]);
    }
    put(&creator, "creator saw", "{}");
    put(&other, "other saw", "{}");
    Forked { dir, stores: vec![first, second, third, copied], creator, one, two, other, common }
}
