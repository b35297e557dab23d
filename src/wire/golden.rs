//! The exact bytes of every message, as `docs/protocol.md` lists them.

use super::message::{self, Held, Message, Named, Tag};
use super::{
    Blocks, Config, Head, ProofNode, RequestId, Role, StateClaim, Topic, TopicId, TopicKind, capability,
    decode,
};
use crate::codec::Reader;
use crate::types::FeedKey;
use proptest::prelude::*;

fn held() -> Held {
    Held { length: 3, root: [0xcc; 16], signed: 300 }
}

fn blocks() -> Blocks {
    Blocks {
        answer: Some(RequestId(4)),
        start: 1,
        extending: 1,
        head: Head { length: 3, byte_length: 200, signature: [0xdd; 64] },
        nodes: vec![ProofNode { hash: [0xee; 32], bytes: 129 }],
        blocks: vec![b"ab".to_vec(), Vec::new()],
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    crate::codec::put_bytes(&mut out, body);
    out
}

/// Each message with its frame in hex. `|` and spaces are for the eye.
fn golden() -> Vec<(&'static str, Message, Vec<u8>, String)> {
    let key = FeedKey([0xaa; 32]);
    let (aa, bb, cc, dd, ee) =
        ("aa".repeat(32), "bb".repeat(32), "cc".repeat(16), "dd".repeat(64), "ee".repeat(32));
    let topic = TopicId(2);
    let claim = StateClaim { digest: [0xaa; 32], state: [0xbb; 32] };
    vec![
        ("close", Message::Close { code: 5 }, message::close(5), "02 01 05".into()),
        ("ping", Message::Ping, message::bare(Tag::Ping), "01 02".into()),
        ("pong", Message::Pong, message::bare(Tag::Pong), "01 03".into()),
        (
            "show",
            Message::Show { macs: vec![[0xbb; 32], [0xaa; 32]] },
            message::show(&[[0xbb; 32], [0xaa; 32]]),
            format!("42 04 02 {bb} {aa}"),
        ),
        (
            "answer",
            Message::Answer { proofs: vec![(1, [0xbb; 32])] },
            message::answer(&[(1, [0xbb; 32])]),
            format!("23 05 01 01 {bb}"),
        ),
        ("nudge", Message::Nudge, message::bare(Tag::Nudge), "01 06".into()),
        ("withdraw", Message::Withdraw { topic: 2 }, message::numbered(Tag::Withdraw, 2), "02 07 02".into()),
        (
            "writer proof",
            Message::WriterProof { topic: 2, feed: key, signature: [0xdd; 64] },
            message::writer_proof(topic, key, &[0xdd; 64]),
            format!("62 08 02 {aa} {dd}"),
        ),
        (
            "vector",
            Message::Vector {
                topic: 2,
                first_complete: true,
                feeds: vec![(Named::New(key), held()), (Named::Known(0), held())],
            },
            message::vector(topic, true, &[(Named::New(key), held()), (Named::Known(0), held())]),
            format!("4c 09 02 01 02 | 00 {aa} 03 {cc} ac02 | 01 03 {cc} ac02"),
        ),
        (
            "have",
            Message::Have { alias: 1, held: held() },
            message::have(1, &held()),
            format!("15 0a 01 03 {cc} ac02"),
        ),
        (
            "request",
            Message::Request { alias: 1, start: 2, end: 300 },
            message::request(1, 2, 300),
            "05 0b 01 02 ac02".into(),
        ),
        ("cancel", Message::Cancel { request: 4 }, message::numbered(Tag::Cancel, 4), "02 0c 04".into()),
        ("refuse", Message::Refuse { request: 4 }, message::numbered(Tag::Refuse, 4), "02 0d 04".into()),
        (
            "blocks",
            Message::Blocks { alias: 1, blocks: blocks() },
            framed(&message::blocks_body(1, &blocks())),
            format!("70 0e 01 05 01 01 03 c801 {dd} 01 {ee} 8101 02 02 6162 00"),
        ),
        (
            "piece",
            Message::Piece { total: 5_000_000, offset: 128, bytes: b"abc".to_vec() },
            message::piece(5_000_000, 128, b"abc"),
            "0b 0f c096b102 8001 03 616263".into(),
        ),
        (
            "access",
            Message::Access { topic: 2, kind: 9, bytes: b"hi".to_vec() },
            message::access(topic, 9, b"hi"),
            "06 10 02 09 02 6869".into(),
        ),
        ("done", Message::Done, message::bare(Tag::Done), "01 11".into()),
        (
            "state hash",
            Message::StateHash { topic: 2, claim },
            message::state_hash(topic, &claim),
            format!("42 12 02 {aa} {bb}"),
        ),
        (
            "ask",
            Message::Ask { alias: 1, start: 2, end: 300 },
            message::ask(1, 2, 300),
            "05 13 01 02 ac02".into(),
        ),
    ]
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    hex::decode(digits).unwrap()
}

fn body_of(frame: &[u8]) -> (Tag, &[u8]) {
    let mut reader = Reader::new(frame);
    let mut body = Reader::new(reader.bytes("f", super::limits::MAX_FRAME).unwrap());
    reader.finish("f").unwrap();
    (Tag::try_from(body.u8("t").unwrap()).unwrap(), body.rest())
}

#[test]
fn every_message_has_its_exact_bytes_and_every_truncation_fails() {
    let mut tags = vec![0];
    for (name, expected, written, golden) in golden() {
        assert_eq!(hex::encode(&written), hex::encode(unhex(&golden)), "{name}");
        let (tag, body) = body_of(&written);
        tags.push(tag as u8);
        assert_eq!(decode::message(tag, body), Ok(expected), "{name}");
        for cut in 0..body.len() {
            assert!(decode::message(tag, &body[..cut]).is_err(), "{name} cut at {cut}");
        }
        assert!(decode::message(tag, &[body, &[0]].concat()).is_err(), "{name} with a byte more");
    }
    assert_eq!(tags, (0..=19).collect::<Vec<u8>>(), "every tag has a golden message");
    assert!(Tag::try_from(20).is_err());
}

#[test]
fn hello_has_its_exact_bytes_and_every_truncation_fails() {
    let config = Config { upload: false, user_data: vec![0xaa, 0xbb], ..Config::default() };
    let written = message::hello(Role::Responder, &config);
    let name = hex::encode("multi-hyperbee");
    assert_eq!(hex::encode(&written), hex::encode(unhex(&format!("17 00 01 00 0e {name} 01 05 02 aabb"))));
    let (_, body) = body_of(&written);
    let read = |body: &[u8]| decode::hello(body, Role::Initiator, config.version, &config.client);
    assert_eq!(read(body).unwrap().user_data, [0xaa, 0xbb]);
    for cut in 0..body.len() {
        assert!(read(&body[..cut]).is_err());
    }
    for (at, wrong) in [(17, 2), (17, 0), (18, 8)] {
        let mut bytes = body.to_vec();
        bytes[at] = wrong;
        assert_eq!(read(&bytes).is_err(), (at, wrong) != (17, 1), "byte {at} as {wrong}");
    }
}

/// The document's list, expanded (`aa×32`), is what this file checks.
#[test]
fn the_document_lists_these_bytes() {
    let document = include_str!("../../docs/protocol.md");
    let (_, list) = document.split_once("### Golden bytes").unwrap();
    let lines = list.split("```").nth(1).unwrap().trim().lines();
    let listed: Vec<(String, Vec<u8>)> = lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap().to_owned();
            let expand = |word: &str| match word.split_once('×') {
                Some((byte, times)) => byte.repeat(times.parse().unwrap()),
                None => word.to_owned(),
            };
            (name, unhex(&words.map(expand).collect::<String>()))
        })
        .collect();
    assert_eq!(listed.len(), 20);
    for (name, bytes) in &listed[1..] {
        let checked = golden().into_iter().find(|(_, _, frame, _)| body_of(frame).0.name() == name);
        assert_eq!(&checked.unwrap().2, bytes, "{name}");
    }
    let config = Config { upload: false, user_data: vec![0xaa, 0xbb], ..Config::default() };
    assert_eq!(listed[0], ("Hello".into(), message::hello(Role::Responder, &config)));
}

/// Written from the document alone: blake3's two modes over the named contexts.
#[test]
fn a_capability_is_what_the_document_says() {
    let topic = Topic { kind: TopicKind::Database, key: FeedKey([1; 32]) };
    let secret = blake3::derive_key("multi-hyperbee 1 capability database initiator", &[1; 32]);
    let expected = blake3::Hasher::new_keyed(&secret).update(&[7; 64]).finalize();
    assert_eq!(capability::capability(&topic, Role::Initiator, &[7; 64]), *expected.as_bytes());
    let fixed = "8a60a398114d56563aed475350a15265a20f69ed19dc20479570711eba3e232d";
    assert_eq!(hex::encode(expected.as_bytes()), fixed);
    let mut all = Vec::new();
    for kind in [TopicKind::Database, TopicKind::Feed] {
        for role in [Role::Initiator, Role::Responder] {
            for hash in [[7; 64], [8; 64]] {
                for key in [[1; 32], [2; 32]] {
                    all.push(capability::capability(&Topic { kind, key: FeedKey(key) }, role, &hash));
                }
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 16, "each differs by kind, role, connection and key");
}

#[test]
fn what_a_writer_signs_is_what_the_document_says() {
    let topic = Topic { kind: TopicKind::Feed, key: FeedKey([1; 32]) };
    let expected = [&b"multi-hyperbee 1 writer proof\0\0\0"[..], &[1, 1], &[7; 32], &[1; 32]].concat();
    assert_eq!(capability::writer_message(&topic, Role::Responder, &[7; 32]), expected);
}

#[test]
fn a_binding_is_what_the_document_says() {
    let topic = Topic { kind: TopicKind::Feed, key: FeedKey([2; 32]) };
    let said = [&[1, 1][..], &[2; 32], &[7; 64]].concat();
    let expected = blake3::derive_key("multi-hyperbee 1 binding", &said);
    assert_eq!(capability::binding(&topic, Role::Responder, &[7; 64]), expected);
    assert_ne!(capability::binding(&topic, Role::Initiator, &[7; 64]), expected);
}

proptest! {
    #[test]
    fn no_body_panics_and_what_decodes_encodes_back(tag in 0_u8..20, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let tag = Tag::try_from(tag).unwrap();
        let Ok(read) = decode::message(tag, &body) else { return Ok(()) };
        let written = match read {
            Message::Close { code } => message::close(code),
            Message::Show { macs } => message::show(&macs),
            Message::Answer { proofs } => message::answer(&proofs),
            Message::Withdraw { topic: n } | Message::Cancel { request: n } | Message::Refuse { request: n } => {
                message::numbered(tag, n)
            }
            Message::Have { alias, held } => message::have(alias, &held),
            Message::Request { alias, start, end } => message::request(alias, start, end),
            Message::Ask { alias, start, end } => message::ask(alias, start, end),
            Message::Blocks { alias, blocks } => framed(&message::blocks_body(alias, &blocks)),
            Message::Piece { total, offset, bytes } => message::piece(total, offset, &bytes),
            Message::StateHash { topic, claim } if u32::try_from(topic).is_ok() => {
                message::state_hash(TopicId(u32::try_from(topic).unwrap()), &claim)
            }
            _ => return Ok(()),
        };
        prop_assert_eq!(written, framed(&[&[tag as u8], &body[..]].concat()));
    }

    #[test]
    fn a_changed_golden_message_never_panics(which in 0_usize..18, at in any::<prop::sample::Index>(), byte: u8) {
        let (_, _, mut frame, _) = golden().swap_remove(which);
        let (tag, body) = body_of(&frame);
        let start = frame.len() - body.len();
        if start < frame.len() {
            let at = start + at.index(frame.len() - start);
            frame[at] = byte;
            let _ = decode::message(tag, &frame[start..]);
        }
    }
}
