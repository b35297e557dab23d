//! Who is asked for single blocks of a feed (Ask), and asks for them: answers that prove nothing, that are forged, that never
//! come, and floods. The feed is opened by itself, and wanted in part; another device has all of it.

use crate::attacker::*;
use crate::scene::Scene;
use crate::support::{Wire, memory, options};
use multi_hyperbee::codec::Reader;
use multi_hyperbee::db::{Code, Feed as Opened, FeedChoice, Store, Transport};
use multi_hyperbee::merkle::{Head, Node};
use multi_hyperbee::types::FeedKey;
use multi_hyperbee::wire::{Event, limits};
use std::time::{Duration, Instant};

/// As src/db/peer has them.
const STALL_PATIENCE: u32 = 10;
const MAX_OUTGOING: usize = 256 << 10;

const SEED: u8 = 9;
const LENGTH: u64 = 40;
/// What is wanted of it.
const WANTED: (u64, u64) = (20, 22);

fn blocks() -> Vec<Vec<u8>> {
    (0..u8::try_from(LENGTH).unwrap()).map(|n| vec![n; 100]).collect()
}

/// A victim that wants two blocks of a feed, and who has them.
struct Wanting {
    store: Store,
    feed: Opened,
    honest: Store,
}

impl Wanting {
    fn new() -> Self {
        let [store, honest] = [memory(), memory()];
        // The binding, which is linked in here, silences panics: what fails should say so.
        drop(std::panic::take_hook());
        let theirs = honest.feed(FeedChoice::Secret([SEED; 32])).wait().unwrap();
        theirs.append(blocks()).wait().unwrap();
        let feed = store.feed(FeedChoice::Key(theirs.key())).wait().unwrap();
        feed.want(WANTED.0, WANTED.1).unwrap();
        Self { store, feed, honest }
    }

    /// Who claims to have all of the feed, and has been asked for some: for what, by the request's number.
    fn attacker(&self) -> (Attacker, Vec<(u64, u64)>) {
        let mut attacker = Attacker::of_feed(&self.store, self.feed.key());
        attacker.say(VECTOR, &[0, 1, 0]);
        attacker.announce(&[(self.feed.key(), LENGTH)]);
        let asked = asked(&mut attacker);
        assert!(asked.contains(&WANTED), "{asked:?}");
        (attacker, asked)
    }

    fn is_here(&self) -> bool {
        self.feed.has_all(WANTED.0, WANTED.1).unwrap()
    }

    /// Connects whoever has it; within so many seconds what is wanted is here.
    fn comes_within(&self, seconds: u32, attacker: &mut Attacker) {
        let attached = |initiator| options(Transport::Attached { initiator, handshake_hash: [3; 64] });
        let wire = Wire {
            a: self.honest.replicate(attached(true)).unwrap(),
            b: self.store.replicate(attached(false)).unwrap(),
        };
        let mut passed = 0;
        let mut since = Instant::now();
        while !self.is_here() {
            if wire.carry(usize::MAX) {
                since = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(1));
            if since.elapsed() > Duration::from_millis(if passed < seconds { 100 } else { 20_000 }) {
                assert!(passed < seconds, "not there after {passed} seconds");
                (passed, since) = (passed + 1, Instant::now());
                wire.a.tick();
                wire.b.tick();
                attacker.peer.tick();
            }
        }
        assert_eq!(self.feed.get(WANTED.0).unwrap(), Some(blocks()[20].clone()));
        let report = self.store.verify(|_| ()).wait().unwrap();
        assert!(report.is_clean(), "{:?}", report.damages);
    }
}

/// The ranges of all Asks that were heard, by the request's number.
fn asked(attacker: &mut Attacker) -> Vec<(u64, u64)> {
    attacker.read();
    assert_eq!(attacker.count(REQUEST), 0, "nobody who wants some of a feed asks for its beginning");
    let asks = attacker.heard.iter().filter(|(tag, _)| *tag == ASK);
    asks.map(|(_, body)| (u64::from(body[1]), u64::from(body[2]))).collect()
}

/// Blocks of the feed as its writer signed them, without a proof.
fn answer(start: u64, end: u64) -> Message {
    let [from, to] = [start, end].map(|seq| usize::try_from(seq).unwrap());
    let feed = Feed::new(SEED, blocks());
    let head = feed.head(feed.blocks.len());
    Message { start, extending: 0, head, nodes: Vec::new(), blocks: feed.blocks[from..to].to_vec() }
}

/// What the victim says to that answer, if it ends the connection.
fn answered(
    wanting: &Wanting,
    attacker: &mut Attacker,
    asked: &[(u64, u64)],
    message: &Message,
) -> Option<(Code, String)> {
    let id = asked.iter().position(|range| *range == WANTED).unwrap() as u64;
    attacker.say(BLOCKS, &message.encode(0, id + 1));
    wanting.store.settled().wait().unwrap();
    attacker.failed()
}

#[test]
fn who_answers_an_ask_with_less_than_a_complete_proof_is_left() {
    let wanting = Wanting::new();
    for extending in [1, WANTED.0, LENGTH] {
        let (mut attacker, asked) = wanting.attacker();
        let message = Message { extending, ..answer(WANTED.0, WANTED.1) };
        let failed = answered(&wanting, &mut attacker, &asked, &message);
        let (code, rule) = failed
            .unwrap_or_else(|| panic!("it goes on, and has asked for {:?}", self::asked(&mut attacker)));
        assert_eq!(code, Code::Protocol);
        assert!(rule.contains("without a proof from the beginning"), "{rule}");
        assert!(!wanting.is_here());
    }
    let mut attacker = Attacker::stranger_to(&wanting.store);
    wanting.comes_within(0, &mut attacker);
}

#[test]
fn forged_answers_to_an_ask_are_refused_and_nothing_of_them_is_stored() {
    let wanting = Wanting::new();
    let true_head = answer(0, 1).head;
    let other = Feed::new(8, blocks());
    let junk = Node { hash: [1; 32], bytes: 100 };
    let attacks = [
        answer(WANTED.0, WANTED.1),
        Message { nodes: vec![junk; 6], ..answer(WANTED.0, WANTED.1) },
        Message { nodes: vec![junk; limits::MAX_PROOF_NODES], ..answer(WANTED.0, WANTED.1) },
        Message { head: other.head(40), ..answer(WANTED.0, WANTED.1) },
        Message { head: Head { length: 22, ..true_head }, ..answer(WANTED.0, WANTED.1) },
        Message { blocks: vec![vec![0; 100]; 2], ..answer(WANTED.0, WANTED.1) },
    ];
    let mut left = 0;
    for message in &attacks {
        let (mut attacker, asked) = wanting.attacker();
        if let Some((code, rule)) = answered(&wanting, &mut attacker, &asked, message) {
            assert_eq!(code, Code::Protocol);
            assert!(rule.contains("blocks that are refused"), "{rule}");
            left += 1;
        } else {
            // What looks as if the name were no key, but that of a branch, is not taken, and asked for no more.
            let before = crate::apart::asked(&mut attacker).len();
            attacker.have(0, LENGTH + 5);
            attacker.peer.tick();
            assert_eq!(crate::apart::asked(&mut attacker).len(), before);
        }
        assert!(!wanting.is_here());
    }
    assert!(left >= 2, "what proves nothing at all is left at once: {left}");
    let mut attacker = Attacker::stranger_to(&wanting.store);
    wanting.comes_within(0, &mut attacker);
}

#[test]
fn who_is_asked_and_never_answers_keeps_nobody_from_the_blocks() {
    let wanting = Wanting::new();
    let (mut attacker, _) = wanting.attacker();
    wanting.comes_within(STALL_PATIENCE + 1, &mut attacker);
}

#[test]
fn who_refuses_an_ask_and_claims_again_is_asked_after_the_others() {
    let wanting = Wanting::new();
    let (mut attacker, asked) = wanting.attacker();
    let mut refused = 0;
    let mut asks = asked.len();
    // Each time it has more.
    for more in 1..50 {
        while refused < asks {
            attacker.say(REFUSE, &varints(&[refused as u64]));
            refused += 1;
        }
        attacker.have(0, LENGTH + more);
        asks = crate::apart::asked(&mut attacker).len();
    }
    assert_eq!(attacker.failed(), None);
    wanting.comes_within(STALL_PATIENCE + 1, &mut attacker);
}

/// The feeds the victim has announced, by the numbers it gave them.
fn named(attacker: &Attacker) -> Vec<FeedKey> {
    let states = attacker.greeting.iter().filter_map(|event| match event {
        Event::Vector { feeds, .. } => Some(feeds.iter().map(|state| state.feed).collect::<Vec<_>>()),
        _ => None,
    });
    let mut named: Vec<FeedKey> = states.flatten().collect();
    for (_, body) in attacker.heard.iter().filter(|(tag, _)| *tag == VECTOR) {
        let mut reader = Reader::new(body);
        let [_topic, _is_last, count] = [(); 3].map(|()| reader.varint("a number").unwrap());
        for _ in 0..count {
            if reader.varint("a feed").unwrap() == 0 {
                named.push(FeedKey(reader.array("a key").unwrap()));
            }
            reader.varint("a length").unwrap();
            reader.take(16, "a root").unwrap();
            reader.varint("a signed length").unwrap();
        }
    }
    named
}

#[test]
fn asks_that_flood_end_at_their_limit_and_little_is_queued() {
    let mut scene = Scene::new();
    for n in 0..300 {
        crate::support::put(&scene.a, &format!("k{n}"), &format!(r#"{{"text":"{}"}}"#, "x".repeat(2_000)));
    }
    scene.undisturbed();
    let mut attacker = Attacker::member(&scene.a);
    scene.settle();
    attacker.read();
    let own = scene.a.info().unwrap().local;
    let length = scene.have(&own).unwrap();
    let alias = named(&attacker).iter().position(|key| *key == own).unwrap() as u64;
    for n in 0..limits::MAX_REQUESTS as u64 {
        assert_eq!(attacker.failed(), None, "ask {n}");
        let start = (n * 97) % length;
        attacker.say(ASK, &varints(&[alias, start, length]));
    }
    let queued = attacker.peer.pull(usize::MAX).unwrap_or_default().len();
    assert!(queued <= 2 * MAX_OUTGOING, "{queued} bytes");
    // As many may be made again as have been answered, and the answers been taken.
    let mut made = 0;
    while attacker.failed().is_none() {
        attacker.say(ASK, &varints(&[alias, 0, 1]));
        made += 1;
        assert!(made <= limits::MAX_REQUESTS + 1);
    }
    assert!(attacker.failed().unwrap().1.contains("requests open at once: more than 256"));
    scene.undisturbed();
    scene.sound();
}
