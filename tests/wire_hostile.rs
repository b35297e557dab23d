//! What a hostile peer, or someone between, gets: an error that names the rule, and nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::needless_for_each,
    reason = "a test fails by panicking"
)]

mod wire_support;

use ed25519_dalek::{Signer, SigningKey};
use multi_hyperbee::codec::put_varint;
use multi_hyperbee::types::FeedKey;
use multi_hyperbee::wire::{
    Event, ProtocolError, RequestId, Role, Session, StateClaim, Topic, TopicId, TopicKind, limits,
};
use proptest::prelude::*;
use wire_support::{HASH, Peer, attached, database, key, noise, pair, pump_all};

/// A frame written by hand, from the document.
fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, 1 + body.len() as u64);
    out.push(tag);
    out.extend_from_slice(body);
    out
}

fn varints(numbers: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    numbers.iter().for_each(|number| put_varint(&mut out, *number));
    out
}

/// An honest responder in an open session of topic 0; the initiator is played by hand from here on.
fn victim() -> Peer {
    let (mut a, mut b) = pair(attached(Role::Initiator), attached(Role::Responder));
    pump_all(&mut a, &mut b);
    assert_eq!(b.error, None);
    b
}

fn error_after(frames: &[Vec<u8>]) -> ProtocolError {
    let mut peer = victim();
    for bytes in frames {
        peer.receive(bytes);
    }
    assert!(peer.session.is_closed());
    peer.error.expect("a rule was broken")
}

fn vector(topic: u64, keys: &[[u8; 32]]) -> Vec<u8> {
    let mut body = varints(&[topic]);
    body.push(0);
    put_varint(&mut body, keys.len() as u64);
    for key in keys {
        body.push(0);
        body.extend_from_slice(key);
        put_varint(&mut body, 0);
        body.extend_from_slice(&[0; 16]);
        put_varint(&mut body, 9);
    }
    frame(9, &body)
}

fn numbered_key(n: usize) -> [u8; 32] {
    let mut key = [0xf0; 32];
    key[..8].copy_from_slice(&(n as u64).to_be_bytes());
    key
}

fn blocks(alias: u64, answer: u64, start: u64, count: usize) -> Vec<u8> {
    let mut body = varints(&[alias, answer, start, 0, 50, 0]);
    body.extend_from_slice(&[1; 64]);
    body.push(0);
    put_varint(&mut body, count as u64);
    body.extend(std::iter::repeat_n(0, count));
    frame(14, &body)
}

#[test]
fn each_rule_of_a_message_is_enforced_and_named() {
    let unread_pings = [frame(2, &[]), frame(2, &[])];
    assert_eq!(error_after(&[frame(20, &[])]), ProtocolError::UnknownMessage { tag: 20 });
    assert_eq!(error_after(&[frame(255, &[0; 40])]), ProtocolError::UnknownMessage { tag: 255 });
    assert!(matches!(error_after(&[frame(0, &[])]), ProtocolError::Twice { message: "Hello" }));
    assert!(matches!(error_after(&unread_pings), ProtocolError::Unread { message: "Ping" }));
    assert!(matches!(error_after(&[frame(3, &[])]), ProtocolError::Unasked { message: "Pong" }));
    assert!(matches!(
        error_after(&[frame(5, &[0])]),
        ProtocolError::WrongDirection { message: "Answer", .. }
    ));
    assert!(matches!(error_after(&[frame(6, &[])]), ProtocolError::WrongDirection { message: "Nudge", .. }));
    assert!(matches!(
        error_after(&[frame(4, &[0]), frame(4, &[0])]),
        ProtocolError::Unread { message: "Show" }
    ));
    for (tag, tail) in [(7, 0), (8, 96), (9, 2), (16, 2), (18, 64)] {
        let body = [varints(&[77]), vec![0; tail]].concat();
        assert_eq!(error_after(&[frame(tag, &body)]), ProtocolError::UnknownTopic { topic: 77 });
    }
    let have = [varints(&[900, 0]), vec![0; 17]].concat();
    assert_eq!(error_after(&[frame(10, &have)]), ProtocolError::UnknownFeed { alias: 900 });
    assert_eq!(error_after(&[frame(11, &varints(&[900, 0, 1]))]), ProtocolError::UnknownFeed { alias: 900 });
    assert_eq!(error_after(&[frame(19, &varints(&[900, 0, 1]))]), ProtocolError::UnknownFeed { alias: 900 });
    assert_eq!(error_after(&[blocks(900, 0, 0, 1)]), ProtocolError::UnknownFeed { alias: 900 });
    assert_eq!(error_after(&[frame(12, &[99])]), ProtocolError::UnknownRequest { id: RequestId(99) });
    assert_eq!(error_after(&[frame(13, &[99])]), ProtocolError::UnknownRequest { id: RequestId(99) });
    assert_eq!(error_after(&[blocks(0, 100, 0, 1)]), ProtocolError::UnknownRequest { id: RequestId(99) });
    assert!(matches!(
        error_after(&[frame(17, &[]), frame(17, &[])]),
        ProtocolError::Twice { message: "Done" }
    ));
    assert!(matches!(
        error_after(&[frame(17, &[]), frame(11, &[0, 0, 1])]),
        ProtocolError::AfterDone { message: "Request" }
    ));
    assert!(matches!(
        error_after(&[frame(17, &[]), frame(19, &[0, 0, 1])]),
        ProtocolError::AfterDone { message: "Request" }
    ));
    assert_eq!(error_after(&[[frame(1, &[0]), vec![0]].concat()]), ProtocolError::AfterClose);
    assert!(matches!(error_after(&[vec![0]]), ProtocolError::Malformed { message: "a frame", .. }));
    assert!(matches!(error_after(&[vec![0x80; 11]]), ProtocolError::Malformed { .. }));
}

#[test]
fn ranges_that_are_empty_or_long_or_beyond_what_was_announced_are_refused() {
    for (start, end) in [(1, 1), (2, 1), (0, 8), (6, u64::MAX)] {
        for request_or_ask in [11, 19] {
            let error = error_after(&[frame(request_or_ask, &varints(&[0, start, end]))]);
            assert_eq!(error, ProtocolError::Range { start, end, reach: 7 });
        }
    }
}

#[test]
fn an_answer_that_does_not_continue_its_request_is_refused() {
    for (start, count) in [(1, 1), (0, 4)] {
        let (mut a, mut b) = pair(attached(Role::Initiator), attached(Role::Responder));
        pump_all(&mut a, &mut b);
        let id = b.session.request(key(2), 0, 3).unwrap();
        // Feed 2 is the initiator's second: number 1.
        b.receive(&blocks(1, id.0 + 1, start, count));
        assert!(matches!(b.error, Some(ProtocolError::WrongAnswer { next: 0, .. })), "{:?}", b.error);
    }
}

#[test]
fn an_answer_to_an_ask_that_is_no_complete_proof_or_does_not_continue_it_is_refused() {
    // Feed 2 is the initiator's second: number 1.
    let answered = |ask: bool, start: u64, extending: u64| {
        let (mut a, mut b) = pair(attached(Role::Initiator), attached(Role::Responder));
        pump_all(&mut a, &mut b);
        let id = if ask { b.session.ask(key(2), 1, 3) } else { b.session.request(key(2), 1, 3) }.unwrap();
        let mut body = varints(&[1, id.0 + 1, start, extending, 50, 0]);
        body.extend_from_slice(&[1; 64]);
        body.extend([0, 1, 0]);
        b.receive(&frame(14, &body));
        (b.error, id)
    };
    for extending in [1, 3, 50] {
        assert_eq!(answered(false, 1, extending).0, None);
        let (error, id) = answered(true, 1, extending);
        assert_eq!(error, Some(ProtocolError::Incomplete { id, extending }));
    }
    assert_eq!(answered(true, 1, 0).0, None);
    for start in [0, 2, 3] {
        assert!(matches!(answered(true, start, 0).0, Some(ProtocolError::WrongAnswer { next: 1, .. })));
    }
}

#[test]
fn oversized_frames_are_refused_at_their_length_field() {
    for (length, proved) in [(limits::MAX_FRAME + 1, true), (limits::MAX_UNPROVED_FRAME + 1, false)] {
        let mut peer = if proved { victim() } else { Peer::new(attached(Role::Responder), &[]) };
        peer.receive(&varints(&[length as u64]));
        assert!(matches!(peer.error, Some(ProtocolError::FrameTooLarge { .. })));
    }
    let body = varints(&[limits::MAX_PIECED as u64 + 1, 0, 1]);
    let huge = frame(15, &[body, vec![0]].concat());
    assert!(matches!(error_after(&[huge]), ProtocolError::FrameTooLarge { .. }));
}

#[test]
fn pieces_must_fit_together_and_be_needed() {
    let piece = |total: usize, offset: u64, bytes: &[u8]| {
        let mut body = varints(&[total as u64, offset, bytes.len() as u64]);
        body.extend_from_slice(bytes);
        frame(15, &body)
    };
    let total = limits::MAX_FRAME + 1;
    assert_eq!(error_after(&[piece(total - 1, 0, &[14])]), ProtocolError::PiecedMessage);
    for bad in [
        vec![piece(total, 1, &[14])],
        vec![piece(total, 0, &[])],
        vec![piece(total, 0, &[14]), piece(total, 0, &[14])],
        vec![piece(total, 0, &[14]), piece(total + 1, 1, &[14])],
    ] {
        assert!(matches!(error_after(&bad), ProtocolError::Piece { .. }));
    }
    let mut not_blocks: Vec<_> = (0..4).map(|n| piece(total, n << 20, &vec![16; 1 << 20])).collect();
    not_blocks.push(piece(total, 4 << 20, &[0]));
    assert_eq!(error_after(&not_blocks), ProtocolError::PiecedMessage);
    let mut stranger = Peer::new(attached(Role::Responder), &[]);
    let hello = Session::attached(Role::Initiator, HASH, multi_hyperbee::wire::Config::default()).pull(999);
    stranger.receive(&hello.unwrap());
    stranger.receive(&piece(total, 0, &[14]));
    assert_eq!(stranger.error, Some(ProtocolError::Unproved { message: "Piece" }));
}

#[test]
fn a_million_feeds_end_at_the_limit() {
    let mut peer = victim();
    for first in (0..1_000_000).step_by(1_000) {
        let keys: Vec<_> = (first..first + 1_000).map(numbered_key).collect();
        peer.session.receive(&vector(0, &keys)).unwrap_or_else(|error| peer.error = Some(error));
        while peer.session.event().is_some() {}
        if peer.error.is_some() {
            assert!(first < limits::MAX_FEEDS_PER_TOPIC);
            break;
        }
    }
    let limit = limits::MAX_FEEDS_PER_TOPIC;
    assert_eq!(peer.error, Some(ProtocolError::TooMany { what: "feeds on one topic", limit }));
    assert!(matches!(error_after(&[vector(0, &[[3; 32], [3; 32]])]), ProtocolError::FeedTwice { .. }));
}

#[test]
fn floods_end_at_a_limit_while_nothing_is_read() {
    // Requests, honest at first.
    let mut peer = victim();
    for n in 0..=limits::MAX_REQUESTS {
        assert_eq!(peer.error, None, "request {n} is allowed");
        peer.session.receive(&frame(11, &[0, 0, 1])).unwrap_or_else(|error| peer.error = Some(error));
    }
    let limit = limits::MAX_REQUESTS;
    assert_eq!(peer.error, Some(ProtocolError::TooMany { what: "requests open at once", limit }));
    // Asks are counted with them.
    let mut peer = victim();
    for n in 0..=limits::MAX_REQUESTS {
        assert_eq!(peer.error, None, "request {n} is allowed");
        let tag = if n % 2 == 0 { 11 } else { 19 };
        peer.session.receive(&frame(tag, &[0, 6, 7])).unwrap_or_else(|error| peer.error = Some(error));
    }
    assert_eq!(peer.error, Some(ProtocolError::TooMany { what: "requests open at once", limit }));
    // Requests and Cancels in turn: refusals that are not read still count.
    let mut peer = victim();
    let mut made = 0;
    while peer.error.is_none() && made < 10_000 {
        let bytes = [frame(11, &[0, 0, 1]), frame(12, &varints(&[made]))].concat();
        peer.session.receive(&bytes).unwrap_or_else(|error| peer.error = Some(error));
        while peer.session.event().is_some() {}
        made += 1;
    }
    assert_eq!(made as usize, limits::MAX_REQUESTS + 1);
}

#[test]
fn writer_proofs_that_are_wrong_or_too_many_are_refused() {
    let proof = frame(8, &[vec![0], vec![0; 96]].concat());
    assert!(matches!(error_after(&[proof]), ProtocolError::WriterProof { topic: TopicId(0), .. }));
    let (mut a, mut b) = pair(attached(Role::Initiator), attached(Role::Responder));
    pump_all(&mut a, &mut b);
    let secret = SigningKey::from_bytes(&[3; 32]);
    let feed = FeedKey(secret.verifying_key().to_bytes());
    let signature = secret.sign(&a.session.writer_proof_message(TopicId(0)).unwrap()).to_bytes();
    for n in 0..=limits::MAX_WRITER_PROOFS {
        assert_eq!(b.error, None, "proof {n}");
        a.session.prove_writer(TopicId(0), feed, &signature).unwrap();
        pump_all(&mut a, &mut b);
    }
    let limit = limits::MAX_WRITER_PROOFS as usize;
    assert_eq!(b.error, Some(ProtocolError::TooMany { what: "writer proofs on one topic", limit }));
}

#[test]
fn an_endless_frame_is_never_held_beyond_its_limit() {
    let mut peer = victim();
    peer.receive(&varints(&[limits::MAX_FRAME as u64]));
    peer.receive(&[16]);
    let zeros = vec![0; 65_536];
    for _ in 0..=limits::MAX_FRAME / zeros.len() {
        peer.receive(&zeros);
    }
    assert!(matches!(peer.error, Some(ProtocolError::Malformed { message: "Access", .. })));
}

#[test]
fn nothing_but_hello_is_taken_first() {
    for tag in 1..20 {
        let mut peer = Peer::new(attached(Role::Responder), &[]);
        peer.receive(&frame(tag, &[0]));
        match tag {
            1 => assert!(peer.closed.is_some()),
            _ => assert!(matches!(peer.error, Some(ProtocolError::BeforeHello { .. })), "tag {tag}"),
        }
    }
}

#[test]
fn own_bytes_fed_back_are_refused() {
    let mut a = Peer::new(attached(Role::Initiator), &[]);
    a.session.offer(&[database(1)]).unwrap();
    let own = a.session.pull(9_999).unwrap();
    a.receive(&own);
    assert_eq!(a.error, Some(ProtocolError::SameRole { role: Role::Initiator }));
    let mut a = Peer::new(noise(Role::Initiator, 1), &[]);
    let own = a.session.pull(9_999).unwrap();
    a.receive(&own);
    assert!(matches!(a.error, Some(ProtocolError::NoiseLength { .. })));
    assert!(!a.session.handshake_done());
}

#[test]
fn two_initiators_or_two_responders_do_not_get_on() {
    let (mut a, mut b) = pair(attached(Role::Initiator), attached(Role::Initiator));
    pump_all(&mut a, &mut b);
    assert!(matches!((a.error, b.error), (Some(ProtocolError::SameRole { .. }), Some(_))));
    let (mut a, mut b) = pair(noise(Role::Initiator, 1), noise(Role::Initiator, 2));
    pump_all(&mut a, &mut b);
    assert!(a.error.is_some() && b.error.is_some());
}

#[test]
fn a_capability_shown_on_one_connection_is_worth_nothing_on_another() {
    // The thief saw everything a real initiator said on a connection with another handshake hash.
    let (mut a, mut b) = pair(attached(Role::Initiator), attached(Role::Responder));
    let (said, _) = pump_all(&mut a, &mut b);
    let other = Session::attached(Role::Responder, [8; 64], multi_hyperbee::wire::Config::default());
    let mut b = Peer::new(other, &[(1, 7)]);
    b.session.offer(&[database(1)]).unwrap();
    said.iter().for_each(|chunk| b.receive(chunk));
    assert!(!b.seen.iter().any(|event| matches!(event, Event::TopicOpen { .. })));
    assert_eq!(b.error, Some(ProtocolError::UnknownTopic { topic: 0 }));
    // And over Noise: the recorded bytes meet another ephemeral key.
    let (mut a, mut b) = pair(noise(Role::Initiator, 1), noise(Role::Responder, 2));
    let (said, _) = pump_all(&mut a, &mut b);
    let (_, mut b) = pair(noise(Role::Initiator, 1), noise(Role::Responder, 3));
    said.iter().for_each(|chunk| b.receive(chunk));
    assert!(matches!(b.error, Some(ProtocolError::Handshake { message: 3, .. })));
    assert!(b.seen.is_empty());
}

#[test]
fn a_man_in_the_middle_who_does_not_know_the_key_opens_nothing() {
    // Two Noise connections, and someone who decrypts and passes the messages on: two handshake hashes.
    let config = multi_hyperbee::wire::Config::default;
    let mut a = Peer::new(Session::attached(Role::Initiator, [1; 64], config()), &[(1, 7)]);
    let mut b = Peer::new(Session::attached(Role::Responder, [2; 64], config()), &[(1, 9)]);
    a.session.offer(&[database(1)]).unwrap();
    b.session.offer(&[database(1)]).unwrap();
    pump_all(&mut a, &mut b);
    for peer in [&a, &b] {
        assert_eq!(peer.error, None);
        assert!(peer.seen.iter().any(|event| matches!(event, Event::Shown { opened: 0, .. })));
        assert!(!peer.seen.iter().any(|event| matches!(event, Event::TopicOpen { .. })));
    }
}

#[test]
fn a_wrong_answer_is_an_authentication_error() {
    let mut a = Peer::new(attached(Role::Initiator), &[]);
    a.session.offer(&[database(1)]).unwrap();
    let shown = a.session.pull(9_999).unwrap();
    let hello = attached(Role::Responder).pull(999).unwrap();
    a.receive(&hello);
    // The initiator's own proof, shown back.
    let mac = &shown[shown.len() - 32..];
    a.receive(&frame(5, &[&[1, 0][..], mac].concat()));
    assert_eq!(a.error, Some(ProtocolError::Auth));
    // Answers to what was not shown, and in the wrong order.
    for proofs in [vec![(1_u8, 1)], vec![(0, 0), (0, 0)]] {
        let mut a = Peer::new(attached(Role::Initiator), &[]);
        a.session.offer(&[database(1)]).unwrap();
        a.session.pull(9_999).unwrap();
        a.receive(&hello);
        let mut body = vec![proofs.len() as u8];
        proofs.iter().for_each(|(index, byte)| body.extend([&[*index][..], &[*byte; 32]].concat()));
        a.receive(&frame(5, &body));
        assert!(matches!(a.error, Some(ProtocolError::Unasked { .. } | ProtocolError::Auth)));
    }
}

#[test]
fn who_does_not_know_the_key_sees_the_same_bytes_whatever_is_held() {
    let answer_of = |held: &[u8]| {
        let mut b = Peer::new(attached(Role::Responder), &[(1, 7)]);
        b.session.offer(&held.iter().map(|byte| database(*byte)).collect::<Vec<_>>()).unwrap();
        let mut stranger = Peer::new(attached(Role::Initiator), &[]);
        stranger.session.offer(&[database(99)]).unwrap();
        pump_all(&mut stranger, &mut b).1.concat()
    };
    let of_none = answer_of(&[]);
    assert_eq!(answer_of(&[1]), of_none);
    assert_eq!(answer_of(&[1, 2, 3]), of_none);
    assert_eq!(of_none[of_none.len() - 3..], frame(5, &[0]), "an empty Answer");
}

#[test]
fn an_answer_invented_before_the_show_has_left_is_refused() {
    let mut a = Peer::new(attached(Role::Initiator), &[]);
    a.session.offer(&[database(1)]).unwrap();
    a.receive(&attached(Role::Responder).pull(999).unwrap());
    a.session.pull(9_999).unwrap();
    a.receive(&[frame(5, &[0]), frame(6, &[]), frame(5, &[0])].concat());
    assert_eq!(a.error, Some(ProtocolError::Unasked { message: "Answer" }));
}

#[test]
fn nudges_in_a_loop_make_one_show_wait_and_no_more_work_than_that() {
    let mut a = Peer::new(attached(Role::Initiator), &[]);
    let topics: Vec<Topic> = (0..limits::MAX_TOPICS as u32)
        .map(|n| {
            let mut bytes = [7; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            Topic { kind: TopicKind::Feed, key: FeedKey(bytes) }
        })
        .collect();
    a.session.offer(&topics).unwrap();
    a.receive(&attached(Role::Responder).pull(999).unwrap());
    let show = 32 * limits::MAX_TOPICS_SHOWN;
    for _ in 0..50_000 {
        a.receive(&frame(6, &[]));
    }
    assert!(a.session.outgoing() < show + 100);
    // What was shown before the Nudges is shown once more, with the rest.
    let mut rounds = 0;
    while a.session.outgoing() > 0 {
        while a.session.pull(1 << 20).is_some() {}
        a.receive(&frame(5, &[0]));
        assert!(a.session.outgoing() < show + 100);
        rounds += 1;
    }
    assert_eq!((rounds, &a.error), (1 + limits::MAX_TOPICS / limits::MAX_TOPICS_SHOWN, &None));
}

#[test]
fn a_feed_topic_opens_that_feed_only() {
    use multi_hyperbee::wire::{CommandError, Topic, TopicKind};
    let topic = Topic { kind: TopicKind::Feed, key: key(5) };
    let mut a = Peer::new(attached(Role::Initiator), &[(5, 2)]);
    let mut b = Peer::new(attached(Role::Responder), &[(5, 1)]);
    a.session.offer(&[topic]).unwrap();
    b.session.offer(&[topic]).unwrap();
    pump_all(&mut a, &mut b);
    assert_eq!(b.feeds[&key(5)].len(), 2);
    let state = a.state(key(6));
    let foreign = CommandError::ForeignFeed { topic: TopicId(0), feed: key(6) };
    assert_eq!(a.session.announce(TopicId(0), &[state], false), Err(foreign));
    let claim = StateClaim { digest: [1; 32], state: [2; 32] };
    let about_a_feed = CommandError::NotForFeeds { what: "a state hash", topic: TopicId(0) };
    assert_eq!(a.session.state_hash(TopicId(0), &claim), Err(about_a_feed));
    a.receive(&state_hash(0, 64));
    assert_eq!(a.error, Some(ProtocolError::NotForFeeds { message: "StateHash", topic: TopicId(0) }));
    b.receive(&vector(0, &[[6; 32]]));
    assert_eq!(b.error, Some(ProtocolError::ForeignFeed { topic: TopicId(0), feed: FeedKey([6; 32]) }));
}

fn state_hash(topic: u64, length: usize) -> Vec<u8> {
    frame(18, &[varints(&[topic]), vec![5; length]].concat())
}

#[test]
fn a_state_hash_of_another_length_is_refused() {
    for length in [0, 32, 63, 65, 96] {
        let error = error_after(&[state_hash(0, length)]);
        assert!(matches!(error, ProtocolError::Malformed { message: "StateHash", .. }), "{length}: {error}");
    }
}

#[test]
fn a_flood_of_state_hashes_makes_nothing_be_sent_or_held() {
    let mut peer = victim();
    while peer.session.pull(1 << 16).is_some() {}
    for _ in 0..10_000 {
        peer.session.receive(&state_hash(0, 64)).unwrap();
        let event = peer.session.event();
        assert!(matches!(event, Some(Event::StateHash { topic: TopicId(0), .. })), "{event:?}");
        assert_eq!((peer.session.unprocessed(), peer.session.outgoing()), (0, 0));
    }
    assert!(peer.session.event().is_none());
}

#[test]
fn the_error_reaches_the_peer_as_a_reason() {
    let (mut a, mut b) = pair(noise(Role::Initiator, 1), noise(Role::Responder, 2));
    pump_all(&mut a, &mut b);
    for _ in 0..40 {
        b.session.send_blocks(key(4), &wire_support::toy_blocks(None, 1, vec![vec![0; 9_000]])).unwrap();
    }
    // Part of a frame has left when the error comes: that frame is finished, the rest is dropped, then comes Close.
    let first = b.session.pull(100).unwrap();
    b.receive(&[0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
    assert_eq!(b.error, Some(ProtocolError::Decrypt));
    assert!(b.session.outgoing() < 80_000);
    a.session.receive(&first).unwrap();
    while let Some(bytes) = b.session.pull(4_000) {
        a.session.receive(&bytes).unwrap();
    }
    let last = std::iter::from_fn(|| a.session.event()).last();
    assert_eq!(last, Some(Event::Closed(multi_hyperbee::wire::CloseReason::Protocol)));
}

#[test]
fn noise_frames_repeated_dropped_or_swapped_are_errors() {
    let record = || {
        let (mut a, mut b) = pair(noise(Role::Initiator, 1), noise(Role::Responder, 2));
        pump_all(&mut a, &mut b);
        let mut frames = Vec::new();
        for start in 40..44 {
            let push = wire_support::toy_blocks(None, start, vec![b"x".to_vec()]);
            a.session.send_blocks(key(1), &push).unwrap();
            frames.push(a.session.pull(9_999).unwrap());
        }
        (b, frames)
    };
    for order in [vec![0, 0], vec![1, 0], vec![0, 2], vec![3]] {
        let (mut b, frames) = record();
        order.iter().for_each(|n| b.receive(&frames[*n]));
        assert_eq!(b.error, Some(ProtocolError::Decrypt), "{order:?}");
    }
}

fn transcript(kind: bool) -> (Peer, Vec<u8>) {
    let fresh = || {
        if kind {
            pair(noise(Role::Initiator, 1), noise(Role::Responder, 2))
        } else {
            pair(attached(Role::Initiator), attached(Role::Responder))
        }
    };
    let (mut a, mut b) = fresh();
    let (said, _) = pump_all(&mut a, &mut b);
    (fresh().1, said.concat())
}

/// Drives a victim: no panic, after an error it stays dead, and what it holds stays bounded.
fn drive(mut peer: Peer, bytes: &[u8], chunk: usize) {
    let mut dead = None;
    for part in bytes.chunks(chunk) {
        peer.receive(part);
        if let Some(error) = &dead {
            assert_eq!(peer.session.receive(part).as_ref(), Err(error));
        }
        dead.clone_from(&peer.error);
        assert_eq!(peer.session.unprocessed(), 0);
        assert!(peer.session.outgoing() < 64 << 10);
    }
    while peer.session.pull(1 << 16).is_some() {}
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), chunk in 1_usize..64, open: bool, encrypted: bool) {
        let peer = match (open, encrypted) {
            (true, _) => victim(),
            (false, true) => Peer::new(noise(Role::Responder, 2), &[]),
            (false, false) => Peer::new(attached(Role::Responder), &[]),
        };
        drive(peer, &bytes, chunk);
    }

    #[test]
    fn random_frames_never_panic(frames in prop::collection::vec((0_u8..21, prop::collection::vec(0_u8..6, 0..40)), 1..20)) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(tag, body)| frame(*tag, body)).collect();
        drive(victim(), &bytes, 7);
    }

    #[test]
    fn changed_transcripts_never_panic(
        kind: bool,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..4),
        chunk in 1_usize..400,
    ) {
        let (peer, mut said) = transcript(kind);
        for (at, byte, how) in changes {
            let at = at.index(said.len());
            match how {
                0 => said[at] = byte,
                1 => said.insert(at, byte),
                2 => { said.remove(at); }
                _ => { let again = said[at..].to_vec(); said.extend(again); }
            }
        }
        drive(peer, &said, chunk);
    }
}
