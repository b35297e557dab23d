//! A writer whose key has signed two histories: proved, kept, shown to everyone, and nobody is held up by it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::fork::{Forked, agree, carry_in_steps, forked, forked_in, have, local, open, sync};
use crate::support::{Wire, carry_until, connect, create, get, join, options, put, put_write};
use multi_hyperbee::codec::Reader;
use multi_hyperbee::db::{
    Code, DatabaseOptions, Db, Event, FeedChoice, Location, PeerEvent, Repaired, Store, Subscription,
    Transport, VerifyOptions, Write,
};
use multi_hyperbee::merkle::Parting;
use multi_hyperbee::store::{Environment, Options, Read as _, Table, block_key};
use multi_hyperbee::types::FeedKey;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

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

#[test]
fn a_fork_is_proved_kept_and_shown_on_and_nobody_waits() {
    let Forked { creator, one, two, other, common, stores: _stores, dir: _dir } = forked();
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

/// A writer whose feed has forked, which does not know it, and has lost a block after where the histories part.
fn damaged(forked: &mut Forked) -> (Store, Db) {
    let (feed, key) = (local(&forked.one), forked.creator.info().unwrap().key);
    forked.one.close().wait().unwrap();
    forked.stores.remove(1).close().wait().unwrap();
    let path = forked.dir.path().join("one");
    spoil(&path, feed, forked.common + 1);
    let store = open(&path);
    assert!(!repair(&store).waiting.is_empty());
    let one = join(&store, key);
    (store, one)
}

/// Makes a block of a store that is closed another than it was.
fn spoil(path: &Path, feed: FeedKey, seq: u64) {
    let env = Environment::open(&Location::Path(path.to_owned()), &Options::default()).unwrap();
    env.write_with(|txn| {
        let record = multi_hyperbee::feed::load(&*txn, &feed).unwrap().unwrap();
        assert!(record.length > seq + 1);
        txn.put(Table::Blocks, &block_key(record.id, seq), b"something else altogether")
    })
    .unwrap();
    assert!(env.close().wait(Duration::from_secs(10)));
}

fn repair(store: &Store) -> Repaired {
    let options = VerifyOptions { repair: true, encryption_key: None };
    store.verify_with(options, |_| ()).wait().unwrap().repair.unwrap()
}

#[test]
fn an_own_feed_with_a_damaged_block_gets_it_back_and_its_fork_is_noted() {
    let mut forked = forked();
    let (store, one) = damaged(&mut forked);
    let Forked { creator, other, common, .. } = &forked;
    let heard = listen(&one);
    let wires = [connect(creator, other), connect(&one, creator)];
    let mut found = None;
    carry_until(&wires.each_ref(), || {
        found = found.or(fork(&heard, local(&one)));
        found.is_some()
    });
    assert_eq!(found, Some(*common));
    carry_until(&wires.each_ref(), || agree(&[creator, &one, other]));
    for wire in &wires {
        wire.close();
    }
    assert_eq!(get(&one, "one/1"), get(other, "one/1"));
    let left = repair(&store);
    assert_eq!((left.waiting, left.remaining), (vec![], vec![]));
}

#[test]
fn an_own_feed_with_a_damaged_block_that_meets_only_the_other_history_knows_that_it_has_forked() {
    let mut forked = forked();
    let (store, one) = damaged(&mut forked);
    let Forked { creator, other, common, .. } = &forked;
    let heard = listen(&one);
    let wire = connect(&one, other);
    let mut found = None;
    carry_until(&[&wire], || {
        found = found.or(fork(&heard, local(&one)));
        found.is_some()
    });
    assert_eq!(found, Some(*common));
    // What it lost comes under the name of its branch, from whoever has that.
    let wires = [wire, connect(&one, creator)];
    carry_until(&wires.each_ref(), || agree(&[creator, &one, other]));
    for wire in &wires {
        wire.close();
    }
    assert_eq!(get(&one, "one/1"), get(other, "one/1"));
    let left = repair(&store);
    assert_eq!((left.waiting, left.remaining), (vec![], vec![]));
}

/// While any block is missing no branch is exchanged for the other; with the last that comes back it is, though nothing is
/// heard of the fork then.
#[test]
fn the_last_damaged_block_that_comes_back_settles_which_branch_counts() {
    let Forked { creator, one, other, stores, dir, .. } = forked();
    let (key, feed, theirs) = (creator.info().unwrap().key, local(&one), local(&other));
    put(&other, "other saw more", "{}");
    // It has what the other has, and hears of the fork, but of nobody who has linked the other branch.
    let path = dir.path().join("late");
    let store = open(&path);
    let late = join(&store, key);
    sync(&late, &other, &[key, feed, theirs]);
    let heard = listen(&late);
    let wire = connect(&late, &one);
    let mut found = None;
    carry_until(&[&wire], || {
        found = found.or(fork(&heard, feed));
        found.is_some()
    });
    carry_in_steps(&[&wire], &[&store, &stores[1]]);
    wire.close();
    // Then it loses a block that the creator does not have, and hears the creator, who is believed before others.
    let there = have(&late, theirs);
    assert!(there > have(&creator, theirs) + 1);
    drop(heard);
    late.close().wait().unwrap();
    store.close().wait().unwrap();
    spoil(&path, theirs, there - 2);
    let store = open(&path);
    assert!(!repair(&store).waiting.is_empty());
    let late = join(&store, key);
    let wire = connect(&late, &creator);
    carry_in_steps(&[&wire], &[&store, &stores[0]]);
    wire.close();
    assert_eq!(have(&late, key), have(&creator, key));
    // The creator has linked the other branch.
    assert!(get(&late, "two/2").is_some() && get(&late, "one/2").is_none());
    let wire = connect(&late, &other);
    carry_until(&[&wire], || get(&late, "two/2").is_none() && agree(&[&late, &other]));
    wire.close();
    assert!(get(&late, "one/2").is_some() && get(&late, "other saw").is_some());
    let left = repair(&store);
    assert_eq!((left.waiting, left.remaining), (vec![], vec![]));
}

/// What a damaged block has said of a branch is not known when the fork is heard of; it is heard when the block is back.
#[test]
fn who_misses_a_block_that_links_a_branch_hears_of_the_fork_all_the_same() {
    let Forked { creator, one, other, stores, dir, .. } = forked();
    let (key, feed, theirs) = (creator.info().unwrap().key, local(&one), local(&other));
    put(&other, "other saw more", "{}");
    let path = dir.path().join("late");
    let store = open(&path);
    let late = join(&store, key);
    sync(&late, &other, &[key, feed, theirs]);
    let there = have(&late, theirs);
    late.close().wait().unwrap();
    store.close().wait().unwrap();
    spoil(&path, theirs, there - 2);
    let store = open(&path);
    assert!(!repair(&store).waiting.is_empty());
    let late = join(&store, key);
    let heard = listen(&late);
    let wire = connect(&late, &one);
    carry_in_steps(&[&wire], &[&store, &stores[1]]);
    wire.close();
    assert!(fork(&heard, feed).is_some());
    let wire = connect(&late, &other);
    carry_until(&[&wire], || agree(&[&late, &other]) && repair(&store).waiting.is_empty());
    wire.close();
    assert!(get(&late, "two/2").is_some() && get(&late, "other saw").is_some());
}

/// A block that says which branch counts comes back for another reader of its feed, while the database is closed.
#[test]
fn what_came_back_while_the_database_was_closed_is_heard_when_it_opens() {
    let Forked { creator, one, other, stores, dir, .. } = forked();
    let (key, feed) = (creator.info().unwrap().key, local(&one));
    put(&creator, "creator saw more", "{}");
    let path = dir.path().join("late");
    let store = open(&path);
    let late = join(&store, key);
    sync(&late, &creator, &[key, feed]);
    let lost = have(&late, key) - 2;
    late.close().wait().unwrap();
    store.close().wait().unwrap();
    spoil(&path, key, lost);
    let store = open(&path);
    assert!(!repair(&store).waiting.is_empty());
    let late = join(&store, key);
    // The other has linked the other branch, and is not believed before the creator.
    let heard = listen(&late);
    let wire = connect(&late, &other);
    carry_in_steps(&[&wire], &[&store, &stores[2]]);
    assert!(fork(&heard, feed).is_some());
    drop(heard);
    wire.close();
    late.close().wait().unwrap();

    let read = store.feed(FeedChoice::Key(key)).wait().unwrap();
    let wire = Wire {
        a: store.replicate(options(Transport::Initiator)).unwrap(),
        b: stores[0].replicate(options(Transport::Responder)).unwrap(),
    };
    carry_until(&[&wire], || read.get(lost).is_ok_and(|block| block.is_some()));
    wire.close();
    read.close();
    let late = join(&store, key);
    late.close().wait().unwrap();
    store.close().wait().unwrap();
    // Of the creator and of the other it is kept what they have linked.
    let env = Environment::open(&Location::Path(path), &Options::default()).unwrap();
    assert_eq!(env.read().unwrap().entries(Table::Witnesses).unwrap(), 2);
}

#[test]
fn a_fork_that_is_known_is_still_known_after_a_restart() {
    let Forked { creator, one, other, stores, dir, .. } = forked();
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

#[test]
fn replicas_that_held_different_branches_come_to_one_view() {
    let Forked { creator, one, two, other, stores: _stores, dir: _dir, .. } = forked();
    let wires = [connect(&creator, &other), connect(&one, &creator), connect(&two, &other)];
    carry_until(&wires.each_ref(), || agree(&[&creator, &other, &one, &two]));
    // The creator has linked the first branch, and is believed before others.
    for db in [&creator, &other, &one, &two] {
        assert!(get(db, "one/2").is_some(), "what the creator had linked counts");
        assert!(get(db, "two/0").is_none(), "of the other branch nothing does");
        assert!(get(db, "before").is_some(), "what both branches have in common counts");
        assert!(get(db, "creator saw").is_some() && get(db, "other saw").is_some(), "linkers go on");
    }
    put(&other, "later", "{}");
    carry_until(&wires.each_ref(), || get(&one, "later").is_some());
    carry_until(&wires.each_ref(), || agree(&[&creator, &other, &one, &two]));
}

#[test]
fn a_third_history_is_not_taken_and_holds_up_only_who_built_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let stores = [crate::support::memory(), crate::support::memory(), crate::support::memory()];
    let creator = create(&stores[0]);
    let key = creator.info().unwrap().key;
    let [other, misled] = [join(&stores[1], key), join(&stores[2], key)];
    let first = open(&dir.path().join("one"));
    let one = join(&first, key);
    let feed = local(&one);
    for db in [&one, &other, &misled] {
        creator.add_writer(local(db), false).wait().unwrap();
    }
    for db in [&other, &misled, &one] {
        sync(&creator, db, &[key]);
    }
    one.close().wait().unwrap();
    first.close().wait().unwrap();
    let mut copies = Vec::new();
    for name in ["one", "two", "three"] {
        let to = dir.path().join(name);
        std::fs::create_dir_all(&to).unwrap();
        if name != "one" {
            std::fs::copy(dir.path().join("one/data.mdb"), to.join("data.mdb")).unwrap();
        }
    }
    for (name, peer) in [("one", &creator), ("two", &other), ("three", &misled)] {
        let store = open(&dir.path().join(name));
        let db = join(&store, key);
        put(&db, name, "{}");
        sync(&db, peer, &[feed]);
        copies.push((store, db));
    }
    put(&creator, "creator saw", "{}");
    put(&other, "other saw", "{}");
    put(&misled, "misled saw", "{}");
    let wires = [connect(&creator, &other)];
    carry_until(&wires.each_ref(), || agree(&[&creator, &other]) && get(&creator, "other saw").is_some());
    let more = [connect(&creator, &misled), connect(&other, &misled)];
    let all: Vec<_> = wires.iter().chain(&more).collect();
    let mut refused = None;
    carry_until(&all, || {
        refused = misled.write(vec![put_write("later", "{}")]).wait().unwrap().remove(0).err();
        refused.is_some()
    });
    assert_eq!(refused.unwrap().code, Code::Restored, "it goes on with a new key");
    put(&other, "goes on", "{}");
    carry_until(&all, || get(&creator, "goes on").is_some() && get(&misled, "goes on").is_some());
    for db in [&creator, &other, &misled] {
        assert!(get(db, "one").is_some() && get(db, "two").is_none() && get(db, "three").is_none());
    }
}

#[test]
fn who_joins_after_a_fork_hears_of_the_branches_before_the_proof_and_agrees_all_the_same() {
    let open_mode = |store: &Store, key| {
        let options = DatabaseOptions { open: true, key, ..DatabaseOptions::default() };
        store.database(options).wait().unwrap()
    };
    // In open mode the names of the branches are taken in like any other announced feed's.
    for is_open in [false, true] {
        let Forked { creator, one, two, other, stores: _stores, dir: _dir, .. } =
            if is_open { forked_in(&open_mode) } else { forked() };
        let wires = [connect(&creator, &other), connect(&one, &creator), connect(&two, &other)];
        carry_until(&wires.each_ref(), || agree(&[&creator, &other, &one, &two]));
        let store = crate::support::memory();
        let key = creator.info().unwrap().key;
        let late = if is_open { open_mode(&store, Some(key)) } else { join(&store, key) };
        let wire = connect(&late, &other);
        // Whoever waits to hear from another says nothing of its own feed: those connections go on too.
        let wires: Vec<_> = wires.iter().chain([&wire]).collect();
        carry_until(&wires, || agree(&[&other, &late]));
        assert!(get(&late, "one/2").is_some() && get(&late, "two/0").is_none());
    }
}

/// Bytes of one piece of what goes over a connection, below.
const PIECE: usize = 256;

/// Who has one branch, as a database's feed and open by itself, asks somebody who has the other one and one block more, and
/// has heard of no proof either. After so many pieces of what they say a third one shows the proof. False: they had said
/// everything before.
fn hears_of_the_fork_after(pieces: usize) -> bool {
    let Forked { creator, one, two, other, stores, dir: _dir, .. } = forked();
    let (key, feed) = (creator.info().unwrap().key, local(&one));
    let store = crate::support::memory();
    let late = join(&store, key);
    sync(&late, &creator, &[key, feed]);
    let _open = store.feed(FeedChoice::Key(feed)).wait().unwrap();
    put(&two, "two/more", "{}");
    assert_eq!(have(&late, feed) + 1, have(&two, feed));
    let wire = connect(&creator, &other);
    carry_until(&[&wire], || agree(&[&creator, &other]));
    wire.close();

    let [a, b] = [(&store, Transport::Initiator), (&stores[3], Transport::Responder)]
        .map(|(store, transport)| store.replicate(options(transport)).unwrap());
    let wire = Wire { a, b };
    let (ways, is_all) = carry_pieces(&wire, &[&store, &stores[3]], pieces);
    let third = connect(&late, &creator);
    carry_in_steps(&[&third], &[&store, &stores[0]]);
    for (to, way) in [&wire.b, &wire.a].into_iter().zip(&ways) {
        to.receive(way).unwrap();
    }
    carry_in_steps(&[&wire, &third], &[&store, &stores[0], &stores[3]]);
    assert!(!has_ended(&wire), "after {pieces} pieces");
    assert!(agree(&[&late, &two, &creator]), "after {pieces} pieces");
    !is_all
}

fn has_ended(wire: &Wire) -> bool {
    let (ours, theirs) = wire.events();
    ours.iter().chain(&theirs).any(|event| matches!(event, PeerEvent::Failed(_) | PeerEvent::Closed))
}

/// Carries so many pieces of what is said. Returns what has left and not arrived, both ways, and whether that is all.
fn carry_pieces(wire: &Wire, stores: &[&Store], pieces: usize) -> ([Vec<u8>; 2], bool) {
    let rest = || (0..4).for_each(|_| stores.iter().for_each(|store| store.settled().wait().unwrap()));
    let (mut left, mut still) = (pieces, 0);
    let mut ways = [Vec::new(), Vec::new()];
    while left > 0 && still < 4 {
        still += 1;
        for ((from, to), way) in [(&wire.a, &wire.b), (&wire.b, &wire.a)].into_iter().zip(&mut ways) {
            rest();
            while let Some(bytes) = from.pull(64 << 10) {
                way.extend(bytes);
            }
            while left > 0 && !way.is_empty() {
                (left, still) = (left - 1, 0);
                let piece: Vec<u8> = way.drain(..way.len().min(PIECE)).collect();
                to.receive(&piece).unwrap();
            }
        }
    }
    (ways, left > 0)
}

/// Who is in the middle of taking one branch in, and has no head of it whole yet, meets the other, longer one: what it has
/// may not suffice to prove anything. False: the first had said everything before.
fn meets_the_other_branch_after(pieces: usize) -> bool {
    let Forked { creator, one, two, stores, dir: _dir, .. } = forked();
    let key = creator.info().unwrap().key;
    let long = format!(r#"{{"long":"{}"}}"#, "x".repeat(20_000));
    let writes = (0..8).map(|n| put_write(&format!("one/long {n}"), &long)).collect();
    one.write(vec![Write::Batch(writes)]).wait().unwrap();
    for n in 0..20 {
        put(&two, &format!("two/{n}"), "{}");
    }
    let store = crate::support::memory();
    let late = join(&store, key);
    let first = connect(&late, &one);
    let (_, is_all) = carry_pieces(&first, &[&store, &stores[1]], pieces);
    first.close();
    let second = connect(&late, &two);
    carry_in_steps(&[&second], &[&store, &stores[3]]);
    let first = connect(&late, &one);
    carry_in_steps(&[&first, &second], &[&store, &stores[1], &stores[3]]);
    assert!(!has_ended(&first) && !has_ended(&second), "after {pieces} pieces");
    assert!(agree(&[&late, &one, &two]), "after {pieces} pieces");
    for store in stores.iter().chain([&store]) {
        store.close().wait().unwrap();
    }
    !is_all
}

#[test]
fn who_meets_the_other_branch_in_the_middle_of_one_keeps_both_connections() {
    let pieces = (0..2_000).step_by(30).find(|pieces| !meets_the_other_branch_after(*pieces)).unwrap();
    assert!(pieces > 300, "{pieces}");
}

#[test]
fn whatever_is_on_its_way_when_a_fork_is_heard_of_who_sent_it_is_not_sent_away() {
    let pieces = (0..200).step_by(2).find(|pieces| !hears_of_the_fork_after(*pieces)).unwrap();
    assert!(pieces > 10, "{pieces}");
}
