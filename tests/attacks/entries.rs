//! A writer that signs what nobody can use. What it writes counts nowhere, or waits for ever; the others go on.

use crate::attacker::{Attacker, Feed, Message};
use crate::scene::Scene;
use crate::support::memory;
use multi_hyperbee::codec::put_varint;
use multi_hyperbee::db::DatabaseOptions;
use multi_hyperbee::entry::{BatchHead, Change, Diff, Entry, Op, Place};
use multi_hyperbee::merkle::anchor;
use multi_hyperbee::types::{FeedKey, Link};

fn batch(length: u64, links: Vec<Link>) -> Vec<u8> {
    let place = Place::First(BatchHead { timestamp: 1 << 62, length, links, optimistic: false });
    let change = Change::Register(b"1");
    Entry { place, op: Op::Diff(Diff { key: b"evil", prev: None, change }) }.encode()
}

fn link(feed: FeedKey, length: u64) -> Link {
    Link { feed, length, root: [7; 16] }
}

/// Announces the feeds and pushes all of them; how far each is placed then.
fn placed(scene: &mut Scene, feeds: &[&Feed]) -> Vec<u64> {
    let mut attacker = Attacker::member(&scene.a);
    let named: Vec<_> = feeds.iter().map(|feed| (feed.key(), feed.blocks.len() as u64)).collect();
    attacker.announce(&named);
    scene.settle();
    for (alias, feed) in (0..).zip(feeds) {
        attacker.push(alias, &feed.whole());
    }
    scene.settle();
    assert_eq!(attacker.failed(), None, "only its writer is at fault, and whoever carries it may be honest");
    for feed in feeds {
        assert_eq!(scene.have(&feed.key()), Some(feed.blocks.len() as u64));
    }
    scene.undisturbed();
    feeds.iter().map(|feed| scene.placed(&feed.key()).unwrap()).collect()
}

#[test]
fn a_stranger_that_links_a_made_up_anchor_gets_no_further_than_a_stranger() {
    /// As src/db/strangers.rs has it.
    const MAX_STRANGER_BLOCKS: u64 = 256;
    let store = memory();
    let options = DatabaseOptions { apply: true, optimistic: true, ..DatabaseOptions::default() };
    let db = store.database(options).wait().unwrap();
    let far = Feed::new(62, vec![batch(1, vec![])]);
    let block = batch(1, vec![link(far.key(), 1 << 30)]);
    let (name, head) = anchor(&block);
    let made_up = Message { start: 0, extending: 0, head, nodes: Vec::new(), blocks: vec![block] };
    let linking = Feed::new(61, vec![batch(1, vec![link(name, 1)])]);
    let mut attacker = Attacker::member(&db);
    attacker.announce(&[(name, 1), (linking.key(), 1), (far.key(), 600)]);
    store.settled().wait().unwrap();
    for (alias, message) in [(0, made_up), (1, linking.whole()), (2, far.whole())] {
        attacker.push(alias, &message);
        store.settled().wait().unwrap();
    }
    assert_eq!(attacker.failed(), None);
    let feeds = db.progress().unwrap();
    let of = |key: FeedKey| feeds.iter().find(|feed| feed.key == key).unwrap();
    assert_eq!((of(name).have, of(linking.key()).have), (1, 1));
    assert_eq!(of(far.key()).want, MAX_STRANGER_BLOCKS);
}

#[test]
fn an_attacker_that_writes_what_counts_is_heard() {
    let mut scene = Scene::open();
    let honest = Feed::new(1, vec![batch(1, vec![])]);
    assert_eq!(placed(&mut scene, &[&honest]), [1], "what is changed below is the reason");
}

#[test]
fn a_feed_whose_blocks_never_decode_stays_where_it_is() {
    let mut scene = Scene::open();
    let junk: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![1, 9, 9],
        vec![1, 0, 0],
        vec![255; 4_000],
        batch(0, vec![]),
        batch(1 << 17, vec![]),
    ];
    for (seed, block) in (10..).zip(junk) {
        let feed = Feed::new(seed, vec![block, batch(1, vec![])]);
        assert_eq!(placed(&mut scene, &[&feed]), [0]);
    }
    scene.sound();
}

#[test]
fn a_header_of_a_billion_elements_reserves_nothing() {
    let mut scene = Scene::open();
    let header = |length: u64, links: u64| {
        let mut block = vec![1, 0, 0];
        block.extend_from_slice(&(1_u64 << 62).to_be_bytes());
        put_varint(&mut block, length);
        put_varint(&mut block, links);
        block.push(5);
        block
    };
    for (seed, block) in (20..).zip([
        header(1_000_000_000, 0),
        header(1, 1_000_000_000),
        header(1, 5_000),
        header(u64::MAX, 0),
    ]) {
        let feed = Feed::new(seed, vec![block]);
        assert_eq!(placed(&mut scene, &[&feed]), [0]);
    }
    // As long as a batch may be, and never finished.
    let feed = Feed::new(30, vec![batch(65_536, vec![])]);
    assert_eq!(placed(&mut scene, &[&feed]), [0]);
    scene.sound();
}

#[test]
fn links_to_nothing_to_itself_and_in_circles_hold_up_their_own_writers_alone() {
    let mut scene = Scene::open();
    let nothing = Feed::new(40, vec![batch(1, vec![link(FeedKey([3; 32]), 1)]), batch(1, vec![])]);
    let far = Feed::new(41, vec![batch(1, vec![link(scene.c.info().unwrap().local, 1 << 39)])]);
    let itself = Feed::new(42, vec![batch(1, vec![link(Feed::new(42, vec![]).key(), 1)])]);
    let ahead = Feed::new(43, vec![batch(1, vec![link(Feed::new(43, vec![]).key(), 2)]), batch(1, vec![])]);
    let mut links: Vec<Link> = (0..1_000_u32)
        .map(|n| {
            let mut key = [4; 32];
            key[..4].copy_from_slice(&n.to_be_bytes());
            link(FeedKey(key), 1)
        })
        .collect();
    links.sort_by_key(|link| link.feed);
    let many = Feed::new(44, vec![batch(1, links)]);
    let waits = [&nothing, &far, &itself, &ahead, &many].map(|feed| placed(&mut scene, &[feed]));
    // A link to itself says nothing: what its own feed had before is in its past anyway.
    assert_eq!(waits.concat(), [0, 0, 1, 2, 0]);
    // Three that wait for each other.
    let keys: Vec<FeedKey> = (50..53).map(|seed| Feed::new(seed, vec![]).key()).collect();
    let circle: Vec<Feed> = (50..53)
        .zip([1, 2, 0])
        .map(|(seed, next)| Feed::new(seed, vec![batch(1, vec![link(keys[next], 1)])]))
        .collect();
    assert_eq!(placed(&mut scene, &[&circle[0], &circle[1], &circle[2]]), [0, 0, 0]);
    scene.sound();
}
