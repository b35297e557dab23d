//! Rules broken by who knows the key, and blocks that are not what they are said to be.

use crate::attacker::*;
use crate::scene::Scene;
use multi_hyperbee::codec::limits::MAX_FEED_LENGTH;
use multi_hyperbee::db::Code;
use multi_hyperbee::merkle::{Node, Parting, Side};
use multi_hyperbee::types::FeedKey;
use multi_hyperbee::wire::limits;

fn wait_failed(scene: &Scene, attacker: &mut Attacker) -> (Code, String) {
    scene.settle();
    attacker.failed().unwrap()
}

#[test]
fn each_broken_rule_ends_that_connection_names_the_rule_and_leaves_the_others_alone() {
    let mut scene = Scene::new();
    let zeros = |length: usize| vec![0; length];
    let mut huge = Vec::new();
    multi_hyperbee::codec::put_varint(&mut huge, limits::MAX_FRAME as u64 + 1);
    let total = limits::MAX_PIECED as u64 + 1;
    let show = [varints(&[limits::MAX_TOPICS_SHOWN as u64 + 1]), zeros(32 * (limits::MAX_TOPICS_SHOWN + 1))]
        .concat();
    let list = limits::MAX_FEEDS_PER_VECTOR as u64 + 1;
    let billion = 1_000_000_000;
    let proof = [varints(&[0]), zeros(96)].concat();
    let attacks: Vec<(&str, Vec<u8>, Code, &str)> = vec![
        ("an oversized frame", huge, Code::Protocol, "the limit is 4194304"),
        ("an unknown type", frame(200, &zeros(40)), Code::Protocol, "message type 200 is unknown"),
        (
            "an oversized message in pieces",
            frame(PIECE, &varints(&[total, 0, 1, 0])),
            Code::Protocol,
            "the limit is",
        ),
        (
            "pieces of nothing",
            frame(PIECE, &varints(&[limits::MAX_FRAME as u64, 0, 1, 0])),
            Code::Protocol,
            "pieces",
        ),
        ("too many topics", frame(SHOW, &show), Code::Protocol, "topics shown"),
        ("too many feeds", frame(VECTOR, &varints(&[0, 0, list])), Code::Protocol, "feeds in a vector"),
        ("a billion feeds", frame(VECTOR, &varints(&[0, 0, billion])), Code::Protocol, "feeds in a vector"),
        (
            "a length beyond any feed",
            frame(HAVE, &[varints(&[0]), held(MAX_FEED_LENGTH + 1)].concat()),
            Code::Protocol,
            "Have",
        ),
        (
            "a feed never announced",
            frame(HAVE, &[varints(&[7]), held(1)].concat()),
            Code::Protocol,
            "feed number 7 was never announced",
        ),
        (
            "a request for nothing",
            frame(REQUEST, &varints(&[900, 0, 1])),
            Code::Protocol,
            "feed number 900 was never announced",
        ),
        (
            "a request for a billion blocks",
            frame(REQUEST, &varints(&[0, 0, billion])),
            Code::Protocol,
            "beyond what was announced",
        ),
        ("a refusal of nothing", frame(REFUSE, &[9]), Code::Protocol, "request 9 was never made"),
        ("a false writer proof", frame(8, &proof), Code::Auth, "should prove the writer"),
        ("a second first vector", frame(VECTOR, &[0, 1, 0]), Code::Protocol, "came twice"),
        ("a second Hello", frame(0, &zeros(9)), Code::Protocol, "Hello came twice"),
        (
            "pings that are not waited for",
            [frame(PING, &[]), frame(PING, &[])].concat(),
            Code::Protocol,
            "before the answer to the last one was read",
        ),
        ("an answer to nothing", frame(5, &[0]), Code::Protocol, "Answer"),
        (
            "junk for an access request",
            frame(ACCESS, &[&[0, 1, 40][..], &zeros(40)].concat()),
            Code::Protocol,
            "a rule of access",
        ),
        (
            "junk for an access answer",
            frame(ACCESS, &[&[0, 2, 40][..], &zeros(40)].concat()),
            Code::Protocol,
            "a rule of access",
        ),
        (
            "junk for a fork",
            frame(ACCESS, &[&[0, 3, 40][..], &zeros(40)].concat()),
            Code::Protocol,
            "a fork that is none",
        ),
        (
            "an access message beyond its limit",
            frame(ACCESS, &[vec![0, 0], varints(&[65_537]), zeros(65_537)].concat()),
            Code::Protocol,
            "the message",
        ),
    ];
    for (name, bytes, code, rule) in attacks {
        let mut attacker = Attacker::member(&scene.a);
        attacker.bytes(&bytes);
        let (found, message) = attacker.failed().unwrap_or_else(|| panic!("{name}: it goes on"));
        assert!(found == code && message.contains(rule), "{name}: {found:?}, {message}");
        scene.undisturbed();
    }
    scene.sound();
}

#[test]
fn what_may_come_of_a_later_version_of_the_layer_above_is_ignored() {
    let mut scene = Scene::new();
    let mut attacker = Attacker::member(&scene.a);
    for kind in 5..=255 {
        attacker.say(ACCESS, &[0, kind, 3, 1, 2, 3]);
    }
    assert_eq!(attacker.failed(), None);
    scene.undisturbed();
}

#[test]
fn an_endless_frame_is_refused_once_it_cannot_be_a_message() {
    let mut scene = Scene::new();
    let mut attacker = Attacker::member(&scene.a);
    attacker.bytes(&varints(&[limits::MAX_FRAME as u64]));
    let zeros = vec![16; 1 << 16];
    let mut sent = 0;
    while attacker.failed().is_none() {
        attacker.bytes(&zeros);
        sent += zeros.len();
        assert!(sent <= limits::MAX_FRAME + zeros.len());
    }
    scene.undisturbed();
}

/// A feed of a writer's, as an attacker shows it: `message` is pushed as its blocks.
fn refused(scene: &mut Scene, feed: FeedKey, message: &Message) -> String {
    let mut attacker = Attacker::member(&scene.a);
    attacker.announce(&[(feed, 0)]);
    attacker.push(0, message);
    let (code, rule) = wait_failed(scene, &mut attacker);
    assert_eq!(code, Code::Protocol, "{rule}");
    assert!(rule.contains("blocks that are refused"), "{rule}");
    rule
}

#[test]
fn blocks_that_no_signature_of_their_feed_leads_to_are_refused_and_nothing_of_them_is_stored() {
    let mut scene = Scene::new();
    let mine = Feed::new(9, vec![b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    // A writer that has written nothing yet: whatever came first would be believed.
    let theirs = Feed::new(8, mine.blocks.clone());
    scene.a.add_writer(theirs.key(), false).wait().unwrap();
    let signed = mine.whole();
    // Valid blocks, of another feed.
    refused(&mut scene, theirs.key(), &signed);
    let mut attacks = Vec::new();
    // A block that was changed, left out, repeated, or has changed places.
    let with = |change: &dyn Fn(&mut Message)| {
        let mut message = theirs.whole();
        change(&mut message);
        message
    };
    attacks.push(with(&|message| message.blocks[1] = b"twO".to_vec()));
    attacks.push(with(&|message| drop(message.blocks.pop())));
    attacks.push(with(&|message| message.blocks[1] = message.blocks[0].clone()));
    attacks.push(with(&|message| message.blocks.swap(0, 1)));
    // The signature over another length, in blocks or in bytes.
    attacks.push(with(&|message| message.head.signature = theirs.head(2).signature));
    attacks.push(with(&|message| message.head.length = 4));
    attacks.push(with(&|message| message.head.byte_length += 1));
    attacks.push(with(&|message| message.head.byte_length = u64::MAX));
    // Nodes that nothing needs, and as many as a message may hold.
    let junk = Node { hash: [1; 32], bytes: 1 };
    attacks.push(with(&|message| message.nodes = vec![junk; limits::MAX_PROOF_NODES]));
    attacks.push(with(&|message| (message.nodes, message.blocks[2]) = (vec![junk; 3], vec![])));
    for message in &attacks {
        refused(&mut scene, theirs.key(), message);
        assert_eq!(scene.have(&theirs.key()), Some(0));
    }
    // In its place, all the same.
    let mut attacker = Attacker::member(&scene.a);
    attacker.announce(&[(theirs.key(), 3)]);
    attacker.push(0, &theirs.whole());
    scene.settle();
    assert_eq!((attacker.failed(), scene.have(&theirs.key())), (None, Some(3)));
    // Once more, and again: it changes nothing.
    for _ in 0..50 {
        attacker.push(0, &theirs.whole());
    }
    scene.settle();
    assert_eq!((attacker.failed(), scene.have(&theirs.key())), (None, Some(3)));
    scene.undisturbed();
    scene.sound();
}

#[test]
fn blocks_in_another_order_are_stored_in_theirs_or_not_at_all() {
    let mut scene = Scene::new();
    let feed = Feed::new(8, (0..6).map(|n| vec![n; 20]).collect());
    scene.a.add_writer(feed.key(), false).wait().unwrap();
    let mut attacker = Attacker::member(&scene.a);
    attacker.announce(&[(feed.key(), 0)]);
    let first = Feed::new(8, feed.blocks[..4].to_vec());
    // What follows something that is not here.
    attacker.push(0, &feed.from(4));
    scene.settle();
    assert_eq!(scene.have(&feed.key()), Some(0));
    attacker.push(0, &first.whole());
    scene.settle();
    assert_eq!(scene.have(&feed.key()), Some(4));
    attacker.push(0, &feed.from(4));
    scene.settle();
    assert_eq!(scene.have(&feed.key()), Some(6));
    scene.undisturbed();
    scene.sound();
}

#[test]
fn a_proof_of_a_fork_that_is_none_ends_the_connection_and_freezes_nobody() {
    let mut scene = Scene::new();
    let victim = scene.c.info().unwrap().local;
    let [one, two] = [b"one", b"two"].map(|block| Feed::new(9, vec![block.to_vec()]));
    let side = |feed: &Feed| Side { head: feed.head(1), leaf: Node::leaf(&feed.blocks[0]), after: vec![] };
    let parting = |sides: [Side; 2]| Parting { common: 0, roots: Vec::new(), sides };
    let show = |scene: &mut Scene, feed: FeedKey, parting: &Parting| {
        let mut bytes = feed.as_bytes().to_vec();
        parting.encode_into(&mut bytes);
        let mut attacker = Attacker::member(&scene.a);
        let body = [&[0, 3][..], &varints(&[bytes.len() as u64]), &bytes].concat();
        // Shown over and over: it is looked at once.
        attacker.bytes(&[frame(ACCESS, &body), frame(ACCESS, &body)].concat());
        scene.settle();
        attacker.failed()
    };
    // A true proof, of another feed; and one whose sides are the same.
    let same = parting([side(&one), side(&one)]);
    for false_proof in [&parting([side(&one), side(&two)]), &same] {
        let (code, rule) = show(&mut scene, victim, false_proof).unwrap();
        assert!(code == Code::Protocol && rule.contains("a fork that is none"), "{rule}");
        scene.undisturbed();
    }
    // Of a feed that is nobody's here: nothing.
    assert_eq!(show(&mut scene, one.key(), &same), None);
    scene.undisturbed();
    scene.sound();
}
