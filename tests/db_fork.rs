//! A writer whose key has signed two histories: proved, kept, shown to everyone, and nobody is held up by it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

mod support;

use multi_hyperbee::codec::Reader;
use multi_hyperbee::db::{Code, Db, Event, Location, Store, StoreOptions, Subscription};
use multi_hyperbee::merkle::Parting;
use multi_hyperbee::types::FeedKey;
use std::path::Path;
use std::sync::Arc;
use support::{carry_until, connect, create, get, join, put, put_write};
use tempfile::TempDir;

fn open(dir: &Path) -> Store {
    Store::open(&Location::Path(dir.to_owned()), &StoreOptions::default()).unwrap()
}

fn local(db: &Db) -> FeedKey {
    db.info().unwrap().local
}

fn have(db: &Db, feed: FeedKey) -> u64 {
    db.progress().unwrap().iter().find(|progress| progress.key == feed).map_or(0, |progress| progress.have)
}

/// Connects until both have what they had of two feeds.
fn sync(a: &Db, b: &Db, feeds: &[FeedKey]) {
    let wire = connect(a, b);
    carry_until(&[&wire], || {
        a.is_flushed().unwrap()
            && b.is_flushed().unwrap()
            && feeds.iter().all(|feed| have(a, *feed) == have(b, *feed))
    });
    wire.close();
}

fn listen(db: &Db) -> Subscription {
    db.subscribe(Arc::new(|| {})).unwrap()
}

/// The fork that was reported, if one was, its proof checked with nothing but the key.
fn fork(heard: &Subscription, feed: FeedKey) -> Option<u64> {
    let forks: Vec<_> = heard
        .take()
        .into_iter()
        .filter_map(|event| match event {
            Event::Fork { feed: of, length, proof } => Some((of, length, proof)),
            _ => None,
        })
        .collect();
    assert!(forks.len() <= 1, "a fork is reported once");
    forks.into_iter().next().map(|(of, length, proof)| {
        let mut reader = Reader::new(&proof);
        let parting = Parting::decode(&mut reader).unwrap();
        assert_eq!((of, parting.common, reader.remaining()), (feed, length, 0));
        parting.verify(&feed).unwrap();
        length
    })
}

/// Two copies of one writer's store that both wrote and were both heard, by different peers.
struct Forked {
    _dir: TempDir,
    _stores: Vec<Store>,
    creator: Db,
    /// The writer of the forked feed, as it went on, and its copy.
    one: Db,
    two: Db,
    /// Has the copy's branch.
    other: Db,
    common: u64,
}

fn forked() -> Forked {
    let dir = tempfile::tempdir().unwrap();
    let [first, third] = [support::memory(), support::memory()];
    let creator = create(&first);
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
    Forked { _dir: dir, _stores: vec![first, second, third, copied], creator, one, two, other, common }
}

#[test]
fn a_fork_is_proved_kept_and_shown_on_and_nobody_waits() {
    let Forked { creator, one, two, other, common, _stores, _dir } = forked();
    let feed = local(&one);
    let heard: Vec<_> = [&creator, &one, &two, &other].map(listen).into_iter().collect();
    let (theirs, own) = (local(&other), local(&creator));
    let wire = connect(&creator, &other);
    let mut found = [None; 4];
    carry_until(&[&wire], || {
        for (found, heard) in found.iter_mut().zip(&heard) {
            *found = found.or(fork(heard, feed));
        }
        found[0].is_some() && found[3].is_some()
    });
    assert_eq!((found[0], found[3]), (Some(common), Some(common)));
    // What was here stays, on either side; what others write goes both ways.
    assert!(get(&creator, "one/2").is_some() && get(&other, "two/2").is_some());
    carry_until(&[&wire], || get(&creator, "other saw").is_some() && get(&other, "creator saw").is_some());
    put(&creator, "more", "{}");
    put(&other, "more too", "{}");
    carry_until(&[&wire], || {
        have(&creator, theirs) == have(&other, theirs) && have(&creator, own) == have(&other, own)
    });
    carry_until(&[&wire], || get(&creator, "more too").is_some() && get(&other, "more").is_some());
    wire.close();
    // Both writers learn it from those who know, and write no more.
    for (at, writer, peer) in [(1, &one, &creator), (2, &two, &other)] {
        let wire = connect(writer, peer);
        carry_until(&[&wire], || {
            found[at] = found[at].or(fork(&heard[at], feed));
            found[at].is_some()
        });
        wire.close();
        let refused = writer.write(vec![put_write("refused", "{}")]).wait().unwrap().remove(0).unwrap_err();
        assert_eq!(refused.code, Code::Forked, "{refused}");
        assert!(get(writer, "before").is_some());
    }
    // It is reported once: not to those who know it.
    let wire = connect(&creator, &other);
    for _ in 0..50 {
        wire.carry(usize::MAX);
    }
    assert!(heard.iter().all(|heard| fork(heard, feed).is_none()));
}

#[test]
fn a_fork_that_is_known_is_still_known_after_a_restart() {
    let Forked { creator, one, other, _stores: stores, _dir: dir, .. } = forked();
    let feed = local(&one);
    let heard = listen(&one);
    let wire = connect(&one, &other);
    let mut found = None;
    carry_until(&[&wire], || {
        found = found.or(fork(&heard, feed));
        found.is_some()
    });
    wire.close();
    one.close().wait().unwrap();
    stores[1].close().wait().unwrap();
    let store = open(&dir.path().join("one"));
    let one = join(&store, creator.info().unwrap().key);
    let refused = one.write(vec![put_write("refused", "{}")]).wait().unwrap().remove(0).unwrap_err();
    assert_eq!(refused.code, Code::Forked);
    // It shows the proof to who does not know.
    let heard = listen(&creator);
    let wire = connect(&one, &creator);
    let mut found = None;
    carry_until(&[&wire], || {
        found = found.or(fork(&heard, feed));
        found.is_some()
    });
}
