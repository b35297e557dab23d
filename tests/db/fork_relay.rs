//! Feeds that have forked, where devices meet through relays alone: a relay cannot choose, so it has both branches.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::fork::{Forked, agree, carry_in_steps, forked, forked_in, local};
use crate::support::{Wire, carry_until, connect, database, get, join, memory, options};
use multi_hyperbee::codec::Reader;
use multi_hyperbee::db::{
    DatabaseOptions, Db, Event, FeedChoice, PeerOptions, RelayLimits, Store, Transport,
};
use multi_hyperbee::feed::branches;
use multi_hyperbee::merkle::{Node, Parting};
use multi_hyperbee::types::FeedKey;
use std::cell::Cell;
use std::sync::Arc;

fn relay(store: &Store, key: FeedKey) -> Db {
    relay_within(store, key, RelayLimits::default())
}

fn relay_within(store: &Store, key: FeedKey, limits: RelayLimits) -> Db {
    let options = DatabaseOptions { key: Some(key), relay: Some(limits), ..DatabaseOptions::default() };
    store.database(options).wait().unwrap()
}

/// All that flows flows, whatever comes first.
fn carry_all(wires: &[&Wire], stores: &[&Store]) {
    let mut still = 0;
    while still < 6 {
        let mut moved = false;
        for wire in wires {
            moved |= wire.carry(usize::MAX);
        }
        if !moved {
            for store in stores {
                store.settled().wait().unwrap();
            }
        }
        still = if moved { 0 } else { still + 1 };
    }
}

/// All that flows between a relay and a member flows, and they part.
fn meet(relay: (&Store, &Db), member: (&Store, &Db)) {
    let wire = connect(relay.1, member.1);
    carry_in_steps(&[&wire], &[relay.0, member.0]);
    wire.close();
}

/// Lets all but the copy know of the fork and of both branches; what those are called.
fn both_known(forked: &Forked) -> [FeedKey; 2] {
    let heard = forked.creator.subscribe(Arc::new(|| {})).unwrap();
    let wires = [connect(&forked.creator, &forked.other), connect(&forked.one, &forked.creator)];
    carry_until(&wires.each_ref(), || agree(&[&forked.creator, &forked.other, &forked.one]));
    wires.iter().for_each(Wire::close);
    let proof = heard.take().into_iter().find_map(|event| match event {
        Event::Fork { proof, .. } => Some(proof),
        _ => None,
    });
    let parting = Parting::decode(&mut Reader::new(&proof.unwrap())).unwrap();
    branches(&local(&forked.one), &parting)
}

/// How much of a feed a store has.
fn held(store: &Store, feed: FeedKey) -> u64 {
    store.feed(FeedChoice::Key(feed)).wait().unwrap().info().unwrap().length
}

#[test]
fn a_relay_that_hears_the_proof_before_any_block_has_both_branches_all_the_same() {
    let _ = std::panic::take_hook();
    let forked = forked();
    let branches = both_known(&forked);
    let Forked { one, other, stores, common, .. } = &forked;
    let feed = local(one);
    let (middle, last) = (memory(), memory());
    let key = other.info().unwrap().key;
    let relay = relay(&middle, key);
    let late = join(&last, key);
    // Of who gives no blocks it hears the feeds' names and the proof alone.
    let mute = PeerOptions { upload: false, ..options(Transport::Responder) };
    let wire = Wire {
        a: relay.replicate(options(Transport::Initiator)).unwrap(),
        b: other.replicate(mute).unwrap(),
    };
    carry_in_steps(&[&wire], &[&middle, &stores[2]]);
    wire.close();
    let feeds: Vec<FeedKey> = relay.progress().unwrap().iter().map(|feed| feed.key).collect();
    assert!(feeds.contains(&feed) && !branches.iter().any(|branch| feeds.contains(branch)), "{feeds:?}");
    meet((&middle, &relay), (&stores[2], other));
    assert_eq!(branches.map(|branch| held(&middle, branch)), [common + 3; 2]);
    meet((&middle, &relay), (&last, &late));
    assert!(agree(&[other, &late]), "{:#?}", late.sync_status().unwrap().feeds);
}

#[test]
fn two_who_meet_through_a_relay_alone_get_both_branches_and_the_proof() {
    let Forked { creator, one, two, other, stores: _stores, dir: _dir, .. } = forked();
    let store = memory();
    let key = creator.info().unwrap().key;
    let first = relay(&store, key);
    let wires = [connect(&creator, &first), connect(&other, &first), connect(&one, &creator)];
    carry_until(&wires.each_ref(), || agree(&[&creator, &other, &one]));
    wires.iter().for_each(Wire::close);
    // A relay that is opened again, and one that comes when all has happened.
    first.close().wait().unwrap();
    let again = relay(&store, key);
    let wires = [connect(&two, &again), connect(&creator, &again)];
    carry_until(&wires.each_ref(), || agree(&[&creator, &two]));
    wires.iter().for_each(Wire::close);
    let [store, third] = [memory(), memory()];
    let fresh = relay(&store, key);
    let late = join(&third, key);
    let wires = [connect(&other, &fresh), connect(&fresh, &late)];
    carry_until(&wires.each_ref(), || agree(&[&other, &late]));
}

#[test]
fn a_relay_that_was_closed_when_its_store_heard_of_the_fork_has_both_branches_once_it_is_opened() {
    let forked = forked();
    let Forked { creator, two, other, stores, .. } = &forked;
    let (middle, last) = (memory(), memory());
    let key = creator.info().unwrap().key;
    let first = relay(&middle, key);
    meet((&middle, &first), (&stores[0], creator));
    first.close().wait().unwrap();
    // The same store has the database itself, which hears of it.
    let whole = join(&middle, key);
    let wires = [connect(&whole, creator), connect(&whole, other)];
    carry_until(&wires.each_ref(), || agree(&[&whole, creator, other]));
    wires.iter().for_each(Wire::close);
    whole.close().wait().unwrap();
    let again = relay(&middle, key);
    let late = join(&last, key);
    meet((&middle, &again), (&stores[0], creator));
    meet((&middle, &again), (&last, &late));
    meet((&middle, &again), (&stores[3], two));
    assert!(agree(&[creator, &late]), "{:#?}", late.sync_status().unwrap().feeds);
    assert!(agree(&[creator, two]), "{:#?}", two.sync_status().unwrap().feeds);
}

/// A feed of no database whose key signs two histories of one block each, in two stores; whoever has them shows them.
fn raw_fork(stores: [&Store; 2], dbs: [&Db; 2], bytes: usize) -> (FeedKey, [FeedKey; 2]) {
    let mut leaves = Vec::new();
    let mut key = None;
    for ((store, db), byte) in stores.into_iter().zip(dbs).zip([b'a', b'b']) {
        let feed = store.feed(FeedChoice::Secret([7; 32])).wait().unwrap();
        let block = vec![byte; bytes];
        leaves.push(Node::leaf(&block));
        feed.append(vec![block]).wait().unwrap();
        db.add_peer(feed.key()).wait().unwrap();
        key = Some(feed.key());
        // Somebody has seen it: nothing of it makes way any more.
        let seen = memory();
        meet((&seen, &relay(&seen, db.info().unwrap().key)), (store, db));
        assert_eq!(held(&seen, feed.key()), 1);
    }
    let key = key.unwrap();
    let name = |leaf: &Node| {
        let mut input = [key.as_bytes().as_slice(), &[0; 8]].concat();
        leaf.encode_into(&mut input);
        FeedKey(blake3::derive_key("multi-hyperbee 2026 branch of a feed v1", &input))
    };
    (key, [name(&leaves[0]), name(&leaves[1])])
}

#[test]
fn a_forked_feed_of_another_has_a_tenth_for_itself_and_its_branches_and_gives_way_whole() {
    let _ = std::panic::take_hook();
    // Two strangers fit one history each of 2,192; with what a fork copies only the larger relay has both.
    for (bytes, both) in [(60_000, false), (100_000, true)] {
        let [one, two, three, middle] = [memory(), memory(), memory(), memory()];
        let member = crate::support::create(&one);
        let key = local(&member);
        let strangers = [join(&two, key), join(&three, key)];
        let (feed, branches) = raw_fork([&two, &three], strangers.each_ref(), 2_000);
        let relay = relay_within(&middle, key, RelayLimits { feeds: 100, bytes });
        for _ in 0..2 {
            meet((&middle, &relay), (&two, &strangers[0]));
            meet((&middle, &relay), (&three, &strangers[1]));
        }
        assert_eq!(held(&middle, feed), 1);
        assert_eq!(branches.map(|branch| held(&middle, branch)), [1, u64::from(both)], "of {bytes}");
        // What a member has needs the room.
        let own = one.feed(FeedChoice::Name("own".into())).wait().unwrap();
        let rest = usize::try_from(bytes).unwrap() - 3_000;
        own.append(vec![vec![0; rest]]).wait().unwrap();
        member.add_peer(own.key()).wait().unwrap();
        meet((&middle, &relay), (&one, &member));
        assert_eq!(held(&middle, own.key()), 1);
        assert_eq!([feed, branches[0], branches[1]].map(|feed| held(&middle, feed)), [0; 3]);
        let report = middle.verify(|_| ()).wait().unwrap();
        assert!(report.damages.is_empty(), "{report:?}");
    }
}

#[test]
fn a_relay_without_room_for_both_branches_says_so_and_has_them_once_it_is_larger() {
    let _ = std::panic::take_hook();
    let [one, two, middle, last] = [memory(), memory(), memory(), memory()];
    let member = crate::support::create(&one);
    let key = local(&member);
    let other = join(&two, key);
    member.add_writer(local(&other), false).wait().unwrap();
    let (feed, branches) = raw_fork([&one, &two], [&member, &other], 10_000);
    let relay = relay_within(&middle, key, RelayLimits { feeds: 100, bytes: 15_000 });
    for _ in 0..2 {
        meet((&middle, &relay), (&one, &member));
        meet((&middle, &relay), (&two, &other));
    }
    // A branch and the copy of it that the feed holds are more than there is.
    assert_eq!([feed, branches[0], branches[1]].map(|feed| held(&middle, feed)), [0; 3]);
    relay.close().wait().unwrap();
    let relay = relay_within(&middle, key, RelayLimits::default());
    for _ in 0..2 {
        meet((&middle, &relay), (&one, &member));
        meet((&middle, &relay), (&two, &other));
    }
    assert_eq!([feed, branches[0], branches[1]].map(|feed| held(&middle, feed)), [1; 3]);
    let late = join(&last, key);
    late.add_peer(feed).wait().unwrap();
    meet((&middle, &relay), (&last, &late));
    assert_eq!(branches.map(|branch| held(&last, branch)), [1; 2]);
}

/// splitmix64: a seed says everything that is random here.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }

    fn secret(&mut self) -> [u8; 32] {
        std::array::from_fn(|_| u8::try_from(self.below(256)).unwrap())
    }
}

/// Six devices, two relays, nobody meets anybody else: in any order, whoever has the same blocks has the same view.
fn any_order(seed: u64) {
    let mut random = Random(seed);
    // Which branch is the lower, and in what order feeds are asked for, hangs on the keys.
    let secrets: Vec<[u8; 32]> = (0..4).map(|_| random.secret()).collect();
    let opened = Cell::new(0);
    let open = |store: &Store, key: Option<FeedKey>| {
        let at = opened.replace(opened.get() + 1);
        // After the third the same stores are opened again.
        let secret = secrets.get(at).copied().filter(|_| at < 3);
        store.database(DatabaseOptions { key, secret, ..database() }).wait().unwrap()
    };
    let Forked { creator, one, two, other, mut stores, dir: _dir, .. } = forked_in(&open);
    let key = creator.info().unwrap().key;
    stores.extend([memory(), memory()]);
    let late = join(&stores[4], key);
    let granted =
        stores[5].database(DatabaseOptions { key: Some(key), secret: Some(secrets[3]), ..database() });
    let granted = granted.wait().unwrap();
    creator.add_writer(local(&granted), random.below(2) == 0).wait().unwrap();
    let members = [creator, one, other, two, late, granted];
    let middles = [memory(), memory()];
    let mut relays = middles.each_ref().map(|store| relay(store, key));
    for step in 0..10 + random.below(10) {
        let (a, b, r) = (random.below(6), random.below(6), random.below(2));
        match random.below(8) {
            0 => {
                relays[r].close().wait().unwrap();
                relays[r] = relay(&middles[r], key);
            }
            1 if members[a].status().unwrap().writable => {
                let text = format!("{step}");
                // A writer that is known to have forked is refused.
                drop(members[a].write(vec![crate::support::put_write(&text, "{}")]).wait().unwrap());
            }
            2 | 3 if a != b => {
                let wires = [connect(&relays[r], &members[a]), connect(&relays[r], &members[b])];
                let rests = [&middles[r], &stores[a], &stores[b]];
                match random.below(2) {
                    0 => carry_in_steps(&wires.each_ref(), &rests),
                    _ => carry_all(&wires.each_ref(), &rests),
                }
                wires.iter().for_each(Wire::close);
            }
            4 => {
                let wire = connect(&relays[0], &relays[1]);
                carry_in_steps(&[&wire], &middles.each_ref());
                wire.close();
            }
            _ => meet((&middles[r], &relays[r]), (&stores[a], &members[a])),
        }
    }
    let all: Vec<&Db> = members.iter().collect();
    for _ in 0..4 {
        for (store, member) in stores.iter().zip(&members) {
            meet((&middles[0], &relays[0]), (store, member));
        }
    }
    let feeds: Vec<_> = members.iter().map(|db| db.progress().unwrap()).collect();
    assert!(agree(&all), "seed {seed}: views that stay different: {feeds:#?}");
    assert!(
        get(&members[0], "creator saw").is_some() && get(&members[4], "other saw").is_some(),
        "seed {seed}"
    );
}

/// `MULTI_HYPERBEE_SEEDS=200` runs as many, `MULTI_HYPERBEE_FIRST_SEED` says from which on.
#[test]
fn in_any_order_of_meetings_through_relays_all_come_to_one_view() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("MULTI_HYPERBEE_FIRST_SEED").unwrap_or(0);
    for seed in first..first + number("MULTI_HYPERBEE_SEEDS").unwrap_or(12) {
        any_order(seed);
    }
}
