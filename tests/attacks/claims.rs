//! Heads that are claimed and never delivered, and silence: nobody is kept from what others have.

use crate::attacker::*;
use crate::flood::stand_still;
use crate::scene::Scene;
use crate::support::{get, put, put_write};
use multi_hyperbee::db::Code;
use multi_hyperbee::merkle::Head;
use multi_hyperbee::wire::{Config, Event};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// As src/db/peer has them.
const STALL_PATIENCE: u32 = 10;
const FEED_PATIENCE: u32 = 60;
const OWN_FEED_PATIENCE: u32 = 5;
const CLAIM_PATIENCE: u32 = 30;

/// Claims much of a third device's feed, and has been asked for it.
fn claimant(scene: &mut Scene) -> Attacker {
    let feed = scene.c.info().unwrap().local;
    scene.disconnect();
    let mut attacker = Attacker::member(&scene.a);
    attacker.announce(&[(feed, 1_000)]);
    attacker.read();
    assert_eq!(attacker.count(REQUEST), 1);
    scene.reconnect();
    attacker
}

#[test]
fn a_claimed_head_that_never_comes_keeps_nobody_from_the_feed() {
    let mut scene = Scene::new();
    let mut attacker = claimant(&mut scene);
    scene.undisturbed_within(STALL_PATIENCE + 1, &mut [(&mut attacker, &mut |_| ())]);
    scene.undisturbed();
    scene.sound();
}

#[test]
fn who_owes_blocks_buys_no_time_with_other_words() {
    let mut scene = Scene::new();
    let mut attacker = claimant(&mut scene);
    let mut chat = |attacker: &mut Attacker| {
        attacker.read();
        attacker.say(PING, &[]);
    };
    scene.undisturbed_within(STALL_PATIENCE + 1, &mut [(&mut attacker, &mut chat)]);
    scene.sound();
}

#[test]
fn who_owes_blocks_buys_no_time_with_the_first_piece_of_one() {
    let mut scene = Scene::new();
    let mut attacker = claimant(&mut scene);
    let mut offset = 0;
    let mut dribble = |attacker: &mut Attacker| {
        attacker.say(PIECE, &[varints(&[5 << 20, offset, 1]), vec![BLOCKS]].concat());
        offset += 1;
    };
    scene.undisturbed_within(STALL_PATIENCE + 1, &mut [(&mut attacker, &mut dribble)]);
    scene.sound();
}

#[test]
fn who_serves_one_feed_holds_another_no_longer_than_its_patience() {
    let mut scene = Scene::new();
    let blocks: Vec<Vec<u8>> = (0..100).map(|n| vec![n; 10]).collect();
    let own = Feed::new(8, Vec::new()).key();
    scene.a.add_writer(own, false).wait().unwrap();
    scene.undisturbed();
    let feed = scene.c.info().unwrap().local;
    scene.disconnect();
    let mut attacker = Attacker::member(&scene.a);
    attacker.announce(&[(feed, 1_000), (own, 100)]);
    attacker.read();
    assert_eq!(attacker.count(REQUEST), 2);
    scene.reconnect();
    let mut next = 0;
    let mut serve = |attacker: &mut Attacker| {
        attacker.read();
        // The request for its own feed (the second announced) that the next block answers.
        let requests = attacker.heard.iter().filter(|(tag, _)| *tag == REQUEST);
        let has_next =
            |body: &[u8]| body[0] == 1 && (body[1]..body[2]).contains(&u8::try_from(next).unwrap());
        let request = requests.map(|(_, body)| body).position(|body| has_next(body)).unwrap() as u64;
        let one = Feed::new(8, blocks[..=next].to_vec()).from(next);
        attacker.say(BLOCKS, &one.encode(1, request + 1));
        next += 1;
    };
    scene.undisturbed_within(FEED_PATIENCE + 1, &mut [(&mut attacker, &mut serve)]);
    assert_eq!(attacker.failed(), None);
    assert!(next > STALL_PATIENCE as usize);
    scene.sound();
}

#[test]
fn who_brings_a_block_now_and_then_holds_a_feed_no_longer_than_its_patience() {
    let mut scene = Scene::new();
    let blocks: Vec<Vec<u8>> = (0..30).map(|n| vec![n; 10]).collect();
    let own = Feed::new(8, Vec::new()).key();
    scene.a.add_writer(own, false).wait().unwrap();
    scene.undisturbed();
    let mut attackers = [Attacker::member(&scene.a), Attacker::member(&scene.a)];
    for attacker in &mut attackers {
        attacker.announce(&[(own, 30)]);
        attacker.read();
    }
    let [slow, honest] = &mut attackers;
    assert_eq!([slow.count(REQUEST), honest.count(REQUEST)], [1, 0]);
    let mut brought = 0;
    for second in 0..=FEED_PATIENCE + 1 {
        if second.is_multiple_of(STALL_PATIENCE - 1) {
            slow.say(BLOCKS, &Feed::new(8, blocks[..=brought].to_vec()).from(brought).encode(0, 1));
            brought += 1;
        }
        scene.settle();
        slow.peer.tick();
        honest.peer.tick();
        honest.read();
    }
    let requests: Vec<Vec<u8>> =
        honest.heard.iter().filter(|(tag, _)| *tag == REQUEST).map(|(_, body)| body.clone()).collect();
    assert!(brought < 30 && requests.len() == 1, "{requests:?}");
    let [start, end] = [requests[0][1], requests[0][2]].map(usize::from);
    honest.say(BLOCKS, &Feed::new(8, blocks[..end].to_vec()).from(start).encode(0, 1));
    scene.settle();
    assert_eq!((scene.have(&own), slow.failed(), honest.failed()), (Some(30), None, None));
    scene.sound();
}

#[test]
fn who_lies_and_leaves_keeps_nobody_from_the_feed() {
    let mut scene = Scene::new();
    let feed = scene.c.info().unwrap().local;
    let here = scene.have(&feed).unwrap();
    scene.disconnect();
    let mut attacker = Attacker::member(&scene.a);
    attacker.announce(&[(feed, here + 1)]);
    attacker.read();
    assert_eq!(attacker.count(REQUEST), 1);
    put(&scene.c, "news", "{}");
    scene.reconnect();
    scene.carry_a_while();
    assert!(get(&scene.a, "news").is_none(), "it is asked of the attacker");
    // It is gone before what it sent is looked at.
    let (_bystander, still) = stand_still(&scene);
    still.store(true, Ordering::Release);
    let write = scene.a.write(vec![put_write("still", "{}")]);
    std::thread::sleep(Duration::from_millis(50));
    let lie = Message { start: here, extending: here, ..Feed::new(7, vec![b"x".to_vec()]).whole() };
    let lie = Message { head: Head { length: here + 1, ..lie.head }, ..lie };
    attacker.say(BLOCKS, &lie.encode(0, 1));
    attacker.peer.ended();
    scene.carry_a_while();
    still.store(false, Ordering::Release);
    write.wait().unwrap();
    for _ in 0..100 {
        scene.carry_a_while();
        if get(&scene.a, "news").is_some() {
            return scene.sound();
        }
    }
    panic!("nobody asks for it any more");
}

#[test]
fn who_refuses_and_claims_again_is_asked_after_the_others() {
    let mut scene = Scene::new();
    let mut attacker = claimant(&mut scene);
    let refused = std::cell::Cell::new(0);
    let mut again = |attacker: &mut Attacker| {
        attacker.read();
        while refused.get() < attacker.count(REQUEST) as u64 {
            attacker.bytes(
                &[
                    frame(REFUSE, &varints(&[refused.get()])),
                    frame(HAVE, &[varints(&[0]), held(1_000)].concat()),
                ]
                .concat(),
            );
            refused.set(refused.get() + 1);
        }
    };
    scene.undisturbed_within(2, &mut [(&mut attacker, &mut again)]);
    assert!(refused.get() > 0);
    scene.undisturbed_within(2, &mut [(&mut attacker, &mut again)]);
    scene.sound();
}

#[test]
fn a_claim_to_have_more_of_our_own_feed_silences_us_once() {
    let mut scene = Scene::new();
    let own = scene.a.info().unwrap().local;
    let mut attacker = Attacker::member(&scene.a);
    attacker.announce(&[(own, 1_000)]);
    let mut more = 1_000;
    let mut claim = |attacker: &mut Attacker| {
        more += 1;
        attacker.have(0, more);
    };
    scene.undisturbed_within(CLAIM_PATIENCE + 1, &mut [(&mut attacker, &mut claim)]);
    scene.undisturbed();
    claim(&mut attacker);
    scene.undisturbed();
    scene.sound();
}

#[test]
fn a_claim_is_over_with_its_topic() {
    let mut scene = Scene::new();
    let own = scene.a.info().unwrap().local;
    let mut attacker = Attacker::member(&scene.a);
    attacker.announce(&[(own, 1_000)]);
    attacker.say(WITHDRAW, &[0]);
    scene.undisturbed();
    assert_eq!(attacker.failed(), None);
    scene.sound();
}

#[test]
fn a_first_vector_that_never_ends_silences_us_once() {
    let mut scene = Scene::new();
    let mut attacker = Attacker::proved(&scene.a, Config::default());
    scene.undisturbed_within(OWN_FEED_PATIENCE + 1, &mut [(&mut attacker, &mut |_| ())]);
    scene.undisturbed();
    assert_eq!(attacker.failed(), None);
    scene.sound();
}

/// What a device says of itself so that what is new goes over one of its connections: the mark.
#[test]
fn who_says_the_mark_of_another_device_takes_nothing_from_it() {
    const MARK: u8 = 5;
    let mut scene = Scene::new();
    let thief = Attacker::member(&scene.c);
    let mark_of = |event: &Event| match event {
        Event::Access { kind: MARK, bytes, .. } => Some(bytes.clone()),
        _ => None,
    };
    let stolen = thief.greeting.iter().find_map(mark_of).unwrap();
    let stolen = [&[0, MARK, u8::try_from(stolen.len()).unwrap()][..], &stolen].concat();
    // Which connection goes first follows from the handshake: of many one is the attacker's.
    for _ in 0..8 {
        let mut attacker = Attacker::member(&scene.a);
        attacker.say(ACCESS, &stolen);
        scene.undisturbed();
        let (code, rule) = attacker.failed().unwrap();
        assert!(code == Code::Protocol && rule.contains("a mark that is another's"), "{rule}");
        scene.disconnect();
        scene.reconnect();
        scene.undisturbed();
    }
    scene.sound();
}
