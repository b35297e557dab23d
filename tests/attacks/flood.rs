//! Floods: of announcements, requests and blocks that cost nothing to send; and a peer that reads nothing.

use crate::attacker::*;
use crate::scene::Scene;
use crate::support::{carry_until, create, join, memory, options, put};
use multi_hyperbee::db::{PeerOptions, Transport};
use multi_hyperbee::merkle::Node;
use multi_hyperbee::types::FeedKey;
use multi_hyperbee::wire::limits;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bytes, as src/db/peer/mod.rs has them: `MAX_UNVERIFIED`, and `MAX_OUTGOING`.
const MAX_UNVERIFIED: usize = 8 << 20;
const MAX_OUTGOING: usize = 256 << 10;

pub fn key(n: u32) -> FeedKey {
    let mut key = [0xee; 32];
    key[..4].copy_from_slice(&n.to_be_bytes());
    FeedKey(key)
}

fn million(scene: &mut Scene) -> u32 {
    let mut attacker = Attacker::member(&scene.a);
    let mut named = 0;
    while attacker.failed().is_none() && named < 1_000_000 {
        let feeds: Vec<_> = (named..named + 1_024).map(|n| (key(n), 9)).collect();
        attacker.announce(&feeds);
        named += 1_024;
    }
    let (_, rule) = attacker.failed().unwrap();
    assert!(rule.contains("feeds on one topic: more than 16384"), "{rule}");
    named
}

#[test]
fn a_million_announced_feeds_end_at_the_limit_of_a_topic() {
    let mut scene = Scene::new();
    let named = million(&mut scene);
    assert!(named as usize <= limits::MAX_FEEDS_PER_TOPIC + 1_024);
    assert_eq!(scene.a.progress().unwrap().len(), 2, "none of them is one of the database's");
    scene.undisturbed();
    scene.sound();
}

#[test]
fn announced_feeds_in_an_open_database_take_their_room_and_little_time() {
    let mut scene = Scene::open();
    let start = Instant::now();
    million(&mut scene);
    scene.settle();
    assert!(scene.a.progress().unwrap().len() <= 15_360 + 2);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    let start = Instant::now();
    scene.undisturbed();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "an honest entry took {took:?}");
    scene.sound();
}

#[test]
fn requests_that_flood_end_at_their_limit_and_little_is_queued() {
    let mut scene = Scene::new();
    let mut attacker = Attacker::member(&scene.a);
    attacker.read();
    let length = scene.a.progress().unwrap()[0].have;
    assert!(length > 0);
    let mut made = 0;
    while attacker.failed().is_none() {
        attacker.say(REQUEST, &varints(&[0, 0, 1]));
        made += 1;
        assert!(made <= limits::MAX_REQUESTS + 1);
    }
    assert!(attacker.failed().unwrap().1.contains("requests open at once: more than 256"));
    scene.undisturbed();
}

/// A database whose owner thread stands still while the flag is set: nothing that came is taken from the queue.
pub fn stand_still(scene: &Scene) -> (multi_hyperbee::db::Peer, Arc<AtomicBool>) {
    let still = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&still);
    let main = std::thread::current().id();
    let wake = Arc::new(move || {
        while flag.load(Ordering::Acquire) && std::thread::current().id() != main {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let transport = Transport::Attached { initiator: false, handshake_hash: [1; 64] };
    (scene.a.replicate(PeerOptions { wake, ..options(transport) }).unwrap(), still)
}

/// How many of `send` are taken before the attacker is asked to hold back.
fn taken(scene: &mut Scene, attacker: &mut Attacker, send: &mut dyn FnMut(&mut Attacker) -> bool) -> usize {
    let (bystander, still) = stand_still(scene);
    still.store(true, Ordering::Release);
    scene.round += 1;
    let write = scene.a.write(vec![crate::support::put_write(&format!("still/{}", scene.round), "{}")]);
    std::thread::sleep(Duration::from_millis(50));
    let mut count = 0;
    while count < 5_000 && send(attacker) {
        count += 1;
    }
    still.store(false, Ordering::Release);
    write.wait().unwrap();
    bystander.close();
    scene.settle();
    count
}

#[test]
fn blocks_and_heads_that_are_small_to_send_count_as_what_they_take_to_hold() {
    let mut scene = Scene::new();
    let feed = scene.c.info().unwrap().local;
    let empty = Feed::new(7, vec![Vec::new(); limits::MAX_BLOCKS_PER_MESSAGE]).whole();
    let mut alone = Feed::new(7, vec![b"x".to_vec()]).whole();
    alone.blocks = Vec::new();
    let mut heavy = alone.clone();
    heavy.nodes = vec![Node { hash: [1; 32], bytes: 1 }; limits::MAX_PROOF_NODES];
    // Each takes at least so many bytes while it waits.
    for (message, size) in
        [(empty, 24 * limits::MAX_BLOCKS_PER_MESSAGE), (heavy, 40 * limits::MAX_PROOF_NODES)]
    {
        let mut attacker = Attacker::member(&scene.a);
        attacker.announce(&[(feed, 0)]);
        let count = taken(&mut scene, &mut attacker, &mut |attacker| attacker.push(0, &message));
        assert!(count <= MAX_UNVERIFIED / size, "{count} messages of {size} bytes wait");
        scene.undisturbed();
    }
    scene.sound();
}

#[test]
fn strangers_that_are_announced_over_and_over_are_looked_at_once() {
    let mut scene = Scene::open();
    let mut attacker = Attacker::member(&scene.a);
    let mut count = 0;
    attacker.announce(&[(key(0), 1)]);
    let taken = taken(&mut scene, &mut attacker, &mut |attacker| {
        count += 1;
        attacker.have(0, 2 + count)
    });
    assert!(taken >= 5_000, "they cost nothing: {taken}");
    scene.undisturbed();
}

/// What a peer finds queued that has read nothing while `a` wrote 2,000 entries.
fn unread(is_up_to_date: bool) -> (usize, Attacker) {
    drop(std::panic::take_hook());
    let stores = [memory(), memory()];
    let a = create(&stores[0]);
    let c = join(&stores[1], a.info().unwrap().key);
    let wire = crate::support::connect(&a, &c);
    let mut attacker = Attacker::member(&a);
    put(&a, "first", "{}");
    carry_until(&[&wire], || crate::support::get(&c, "first").is_some());
    attacker.read();
    if is_up_to_date {
        let length = a.progress().unwrap()[0].have;
        attacker.say(REQUEST, &varints(&[0, 0, length]));
        attacker.read();
    }
    attacker.heard.clear();
    for n in 0..2_000 {
        put(&a, &format!("k{n}"), "{}");
    }
    carry_until(&[&wire], || crate::support::get(&c, "k1999").is_some());
    let first = attacker.peer.pull(usize::MAX).unwrap_or_default();
    let queued = first.len();
    attacker.read_after(first);
    (queued, attacker)
}

#[test]
fn who_reads_nothing_while_we_write_makes_us_remember_one_range() {
    let (queued, attacker) = unread(true);
    assert!(queued <= 2 * MAX_OUTGOING, "{queued} bytes");
    assert!(attacker.count(BLOCKS) < 50, "{} messages for one range", attacker.count(BLOCKS));
}

#[test]
fn who_reads_nothing_and_is_behind_is_told_the_last_length_alone() {
    let (queued, attacker) = unread(false);
    let said = attacker.count(HAVE);
    assert!((1..50).contains(&said), "{said} lengths");
    assert!(queued < MAX_OUTGOING);
}
