//! Two sessions in memory: what an honest pair comes to, over any split of its bytes.

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
use multi_hyperbee::types::FeedKey;
use multi_hyperbee::wire::{
    Blocks, CloseReason, CommandError, Config, Event, Role, Session, Topic, TopicId, TopicKind, limits,
};
use proptest::prelude::*;
use wire_support::{HASH, Peer, attached, database, head, key, noise, pair, pump, pump_all, toy_blocks};

fn pairs() -> Vec<(Peer, Peer)> {
    vec![
        pair(noise(Role::Initiator, 1), noise(Role::Responder, 2)),
        pair(attached(Role::Initiator), attached(Role::Responder)),
    ]
}

fn assert_converged(a: &Peer, b: &Peer) {
    assert_eq!((&a.error, &b.error), (&None, &None));
    assert_eq!(a.feeds, b.feeds, "the first feed that differs");
    assert_eq!(a.feeds[&key(1)].len(), 40);
    assert_eq!((a.blocks_twice, b.blocks_twice), (0, 0), "a block was sent twice");
    assert_eq!((a.gaps, b.gaps, a.refused, b.refused), (0, 0, 0, 0));
}

#[test]
fn two_peers_converge_and_no_block_is_sent_twice() {
    for (mut a, mut b) in pairs() {
        pump_all(&mut a, &mut b);
        assert_converged(&a, &b);
        assert_eq!((a.session.requests_open(), b.session.requests_open()), (0, 0));
    }
}

#[test]
fn frames_split_at_every_byte_converge_with_the_same_bytes() {
    for (mut a, mut b) in pairs() {
        let (sent_a, sent_b) = pump(&mut a, &mut b, || 1);
        assert_converged(&a, &b);
        assert!(sent_a.len() > 1_000 && sent_b.len() > 1_000);
        assert!(sent_a.iter().all(|chunk| chunk.len() == 1));
    }
}

/// What the initiator said, chunk by chunk, and a fresh responder to say it to: it answers with the same bytes.
fn recorded() -> (Vec<Vec<u8>>, Peer) {
    let (mut a, mut b) = pair(noise(Role::Initiator, 1), noise(Role::Responder, 2));
    let (said, _) = pump_all(&mut a, &mut b);
    assert_converged(&a, &b);
    (said, b)
}

fn fresh() -> Peer {
    pair(noise(Role::Initiator, 1), noise(Role::Responder, 2)).1
}

#[test]
fn a_transcript_split_in_two_at_every_byte_gives_the_same_events() {
    let (said, b) = recorded();
    for (n, chunk) in said.iter().enumerate() {
        for cut in 1..chunk.len() {
            let mut again = fresh();
            said[..n].iter().for_each(|whole| again.receive(whole));
            again.receive(&chunk[..cut]);
            again.receive(&chunk[cut..]);
            said[n + 1..].iter().for_each(|whole| again.receive(whole));
            assert_eq!(again.error, None);
            assert_eq!(again.seen, b.seen, "chunk {n} cut at {cut}");
        }
    }
}

#[test]
fn a_stream_cut_at_every_byte_dies_cleanly() {
    let (said, _) = recorded();
    for (n, chunk) in said.iter().enumerate() {
        for cut in 0..chunk.len() {
            let mut again = fresh();
            said[..n].iter().for_each(|whole| again.receive(whole));
            again.receive(&chunk[..cut]);
            assert_eq!(again.error, None);
            let error = again.session.remote_ended().unwrap_err();
            assert_eq!(error.to_string(), "the stream ended without Close");
            assert_eq!(again.session.receive(b"x"), Err(error), "dead, and says why");
            assert!(again.session.is_closed());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_converges(sizes in prop::collection::vec(1_usize..3_000, 1..40)) {
        for (mut a, mut b) in pairs() {
            let mut turn = 0;
            pump(&mut a, &mut b, || { turn += 1; sizes[turn % sizes.len()] });
            assert_converged(&a, &b);
        }
    }
}

#[test]
fn a_session_may_move_to_another_thread() {
    fn may_move<T: Send + 'static>(_: &T) {}
    let session = noise(Role::Initiator, 1);
    may_move(&session);
    assert!(format!("{session:?}").contains("handshake_done: false"));
}

/// With fixed keys a session's bytes are fixed: pattern, prologue, framing, Hello and Show in one digest.
#[test]
fn golden_bytes_of_the_handshake_and_what_follows() {
    let mut a = Peer::new(noise(Role::Initiator, 1), &[]);
    let mut b = Peer::new(noise(Role::Responder, 2), &[]);
    a.session.offer(&[database(1)]).unwrap();
    let first = a.session.pull(9_999).unwrap();
    let ephemeral = "823ffa5082d8cd43eff42af39423dd18fa9245c711e9ec38b863801490447a06";
    assert_eq!(hex::encode(&first), format!("0020{ephemeral}"));
    b.receive(&first);
    let second = b.session.pull(9_999).unwrap();
    a.receive(&second);
    let third = a.session.pull(9_999).unwrap();
    assert_eq!(second[..2], [0, 96]);
    assert_eq!(third[..2], [0, 64]);
    // Hello and Show share the next Noise frame.
    let (hello, show) = (22, 35);
    assert_eq!(third[66..68], [0, hello + show + 16]);
    assert_eq!(third.len(), 66 + 2 + usize::from(hello + show + 16));
    let digest = blake3::hash(&[first, second, third].concat());
    assert_eq!(digest.to_hex().as_str(), "3196762fa193369934ebf41da648f1850d720105c3ad9fed0c6bcde62eab8599");
}

#[test]
fn live_pushes_arrive_without_a_request() {
    for (mut a, mut b) in pairs() {
        pump_all(&mut a, &mut b);
        a.feeds.get_mut(&key(1)).unwrap().push(b"new".to_vec());
        a.session.send_blocks(key(1), &toy_blocks(None, 40, vec![b"new".to_vec()])).unwrap();
        pump_all(&mut a, &mut b);
        assert_eq!(b.feeds[&key(1)][40], b"new");
        assert_eq!((b.blocks_twice, &b.error), (0, &None));
    }
}

#[test]
fn many_topics_share_one_connection_and_only_common_ones_open() {
    let (mut a, mut b) = pair(noise(Role::Initiator, 1), noise(Role::Responder, 2));
    let feed_1 = Topic { kind: TopicKind::Feed, key: key(5) };
    a.session.offer(&(10..200).map(database).collect::<Vec<_>>()).unwrap();
    // The same key as another kind of topic is another topic.
    a.session.offer(&[feed_1]).unwrap();
    b.session.offer(&[database(5)]).unwrap();
    b.session.offer(&(100..255).map(database).collect::<Vec<_>>()).unwrap();
    for peer in [&mut a, &mut b] {
        peer.feeds.clear();
    }
    pump_all(&mut a, &mut b);
    let opened = |peer: &Peer| -> Vec<(TopicId, FeedKey)> {
        let open = |event: &Event| match event {
            Event::TopicOpen { topic, key, .. } => Some((*topic, *key)),
            _ => None,
        };
        peer.seen.iter().filter_map(open).collect()
    };
    assert_eq!(opened(&a), opened(&b), "both sides number topics alike");
    assert_eq!(opened(&a).len(), 101);
}

#[test]
fn more_topics_than_one_show_takes_open_in_rounds_and_that_was_all_is_said_once() {
    let (mut a, mut b) = pair(attached(Role::Initiator), attached(Role::Responder));
    let count = 2 * limits::MAX_TOPICS_SHOWN as u32 + 7;
    let topics: Vec<Topic> = (0..count)
        .map(|n| {
            let mut bytes = [0xee; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            Topic { kind: TopicKind::Feed, key: FeedKey(bytes) }
        })
        .collect();
    a.session.offer(&topics).unwrap();
    // Every second one is both sides'.
    b.session.offer(&topics.iter().step_by(2).copied().collect::<Vec<_>>()).unwrap();
    pump_all(&mut a, &mut b);
    assert_eq!((&a.error, &b.error), (&None, &None));
    let opened = |peer: &Peer| peer.seen.iter().filter(|e| matches!(e, Event::TopicOpen { .. })).count();
    let both = count.div_ceil(2) as usize + 1;
    assert_eq!((opened(&a), opened(&b)), (both, both));
    let rounds = |peer: &Peer| peer.seen.iter().filter(|e| matches!(e, Event::Shown { .. })).count();
    // The first Show is that of the topic a pair begins with.
    assert_eq!((rounds(&a), rounds(&b)), (1, 4), "the initiator's ends when all is shown");
    let is_end =
        |peer: &Peer| peer.seen.iter().any(|event| matches!(event, Event::Shown { is_all: true, .. }));
    assert!(is_end(&a) && !is_end(&b));
    a.session.end_show().unwrap();
    assert!(a.session.is_showing());
    pump_all(&mut a, &mut b);
    assert!(is_end(&b) && !a.session.is_showing());
}

#[test]
fn topics_offered_later_open_on_a_live_connection_from_either_side() {
    for (mut a, mut b) in pairs() {
        pump_all(&mut a, &mut b);
        a.session.offer(&[database(20)]).unwrap();
        pump_all(&mut a, &mut b);
        assert_eq!(a.topics.len(), 1);
        b.session.offer(&[database(20), database(21)]).unwrap();
        pump_all(&mut a, &mut b);
        assert_eq!(a.topics.len(), 2, "the responder's Nudge made the initiator show again");
        a.session.offer(&[database(21)]).unwrap();
        pump_all(&mut a, &mut b);
        assert_eq!((a.topics.len(), b.topics.len()), (3, 3));
        assert_converged(&a, &b);
    }
}

#[test]
fn after_a_nudge_the_initiator_says_once_more_that_all_was_shown() {
    for (mut a, mut b) in pairs() {
        let ends = |peer: &Peer| {
            peer.seen.iter().filter(|event| matches!(event, Event::Shown { is_all: true, .. })).count()
        };
        pump_all(&mut a, &mut b);
        a.session.end_show().unwrap();
        pump_all(&mut a, &mut b);
        assert_eq!(ends(&b), 1);
        let before = ends(&a);
        // There is nothing to show again, however often it is asked for.
        for _ in 0..3 {
            b.session.nudge().unwrap();
        }
        pump_all(&mut a, &mut b);
        assert_eq!((ends(&a) - before, ends(&b), a.session.owes_end()), (1, 1, true));
        a.session.end_show().unwrap();
        pump_all(&mut a, &mut b);
        assert_eq!((ends(&b), a.session.owes_end()), (2, false));
        // What is offered meanwhile is shown first.
        b.session.offer(&[database(20)]).unwrap();
        a.session.offer(&[database(20)]).unwrap();
        pump_all(&mut a, &mut b);
        assert_eq!((a.topics.len(), a.session.owes_end()), (2, true));
        a.session.end_show().unwrap();
        pump_all(&mut a, &mut b);
        assert_eq!(ends(&b), 3);
    }
}

#[test]
fn a_withdrawn_topic_ends_and_may_open_again() {
    for (mut a, mut b) in pairs() {
        pump_all(&mut a, &mut b);
        // Crossing: a asks while b gives the topic up.
        b.session.have(&multi_hyperbee::wire::FeedState { signed: 90, ..b.state(key(4)) }).unwrap();
        pump_all(&mut a, &mut b);
        let asked = a.session.request(key(4), 1, 9).unwrap();
        b.session.withdraw(&database(1)).unwrap();
        pump_all(&mut a, &mut b);
        assert_eq!((&a.error, &b.error), (&None, &None));
        assert!(a.seen.contains(&Event::TopicClosed { topic: TopicId(0) }));
        assert!(a.seen.contains(&Event::Refused { id: asked, feed: key(4), next: 1, end: 9 }));
        assert!(!b.seen.iter().any(|e| matches!(e, Event::Request { id, .. } if *id == asked)));
        assert_eq!(a.session.have(&a.state(key(1))), Err(CommandError::UnknownFeed { feed: key(1) }));
        b.session.offer(&[database(1)]).unwrap();
        pump_all(&mut a, &mut b);
        assert_eq!(a.topics, [TopicId(0), TopicId(1)]);
        assert_converged(&a, &b);
    }
}

#[test]
fn an_answer_that_crosses_a_withdrawal_ends_its_request_and_brings_nothing() {
    for (mut a, mut b) in pairs() {
        pump_all(&mut a, &mut b);
        b.session.have(&multi_hyperbee::wire::FeedState { signed: 90, ..b.state(key(3)) }).unwrap();
        pump_all(&mut a, &mut b);
        let asked = a.session.request(key(3), 0, 7).unwrap();
        let request = a.session.pull(64 << 10).unwrap();
        b.receive(&request);
        a.session.withdraw(&database(1)).unwrap();
        let before = a.seen.len();
        pump_all(&mut a, &mut b);
        assert_eq!((&a.error, &b.error), (&None, &None));
        // Blocks 0 to 5 came first, and were ignored; it is as if the last of them had been refused.
        assert_eq!(a.seen[before..], [Event::Refused { id: asked, feed: key(3), next: 5, end: 7 }]);
        assert_eq!((a.session.requests_open(), a.blocks_twice), (0, 0));
    }
}

#[test]
fn a_topic_withdrawn_while_it_is_shown_does_not_stay_open() {
    let (mut a, mut b) = pair(attached(Role::Initiator), attached(Role::Responder));
    a.session.withdraw(&database(1)).unwrap();
    pump_all(&mut a, &mut b);
    assert_eq!((&a.error, &b.error), (&None, &None));
    assert!(!a.seen.iter().any(|e| matches!(e, Event::TopicOpen { .. })));
    assert!(b.seen.contains(&Event::TopicClosed { topic: TopicId(0) }));
}

#[test]
fn a_block_larger_than_a_frame_travels_in_pieces() {
    for (mut a, mut b) in pairs() {
        pump_all(&mut a, &mut b);
        let large: Vec<u8> =
            (0..multi_hyperbee::codec::limits::MAX_BLOCK_BYTES as u32).map(|i| (i >> 7) as u8).collect();
        let push = Blocks { head: head(41), ..toy_blocks(None, 40, vec![large.clone()]) };
        a.session.send_blocks(key(1), &push).unwrap();
        pump_all(&mut a, &mut b);
        assert_eq!(b.error, None);
        assert!(b.feeds[&key(1)][40] == large, "the block arrived whole");
        let larger = toy_blocks(None, 41, vec![large, vec![0; 70_000]]);
        assert!(matches!(a.session.send_blocks(key(1), &larger), Err(CommandError::TooLarge { .. })));
    }
}

#[test]
fn cancelled_requests_end_on_both_sides_even_when_the_answer_crosses() {
    let (mut a, mut b) = pair(attached(Role::Initiator), attached(Role::Responder));
    pump_all(&mut a, &mut b);
    a.session.have(&multi_hyperbee::wire::FeedState { signed: 99, ..a.state(key(1)) }).unwrap();
    pump_all(&mut a, &mut b);
    // Answered in full before the Cancel is read.
    let id = b.session.request(key(1), 0, 10).unwrap();
    b.session.cancel(id).unwrap();
    let bytes = b.session.pull(1 << 20).unwrap();
    a.receive(&bytes[..bytes.len() - 3]);
    a.receive(&bytes[bytes.len() - 3..]);
    pump_all(&mut a, &mut b);
    assert_eq!((&a.error, &b.error, b.session.requests_open()), (&None, &None, 0));
    // Cancelled before anything was sent.
    let id = b.session.request(key(1), 0, 10).unwrap();
    let bytes = b.session.pull(1 << 20).unwrap();
    a.session.receive(&bytes).unwrap();
    while a.session.event().is_some() {}
    b.session.cancel(id).unwrap();
    pump_all(&mut a, &mut b);
    assert!(a.seen.contains(&Event::Cancelled { id }));
    assert!(b.seen.contains(&Event::Refused { id, feed: key(1), next: 0, end: 10 }));
}

#[test]
fn an_ask_is_numbered_and_answered_as_a_request_and_says_that_it_is_one() {
    for (mut a, mut b) in pairs() {
        pump_all(&mut a, &mut b);
        let first = b.session.request(key(1), 0, 2).unwrap();
        let asked = b.session.ask(key(1), 30, 37).unwrap();
        let last = b.session.request(key(1), 39, 40).unwrap();
        assert_eq!([asked.0, last.0], [first.0 + 1, first.0 + 2]);
        let (from_a, from_b) = (a.seen.len(), b.seen.len());
        pump_all(&mut a, &mut b);
        let asks: Vec<_> = a.seen[from_a..]
            .iter()
            .filter_map(|event| match event {
                Event::Request { id, start, end, apart, .. } => Some((*id, *start, *end, *apart)),
                _ => None,
            })
            .collect();
        assert_eq!(asks, [(first, 0, 2, false), (asked, 30, 37, true), (last, 39, 40, false)]);
        let answers: Vec<_> = b.seen[from_b..]
            .iter()
            .filter_map(|event| match event {
                Event::Blocks { blocks, finished, .. } if blocks.answer == Some(asked) => {
                    Some((blocks.start, blocks.blocks.len(), *finished))
                }
                _ => None,
            })
            .collect();
        assert_eq!(answers, [(30, 5, false), (35, 2, true)]);
        assert_eq!((&a.error, &b.error, b.session.requests_open()), (&None, &None, 0));
    }
}

#[test]
fn an_ask_is_refused_and_cancelled_as_a_request_and_has_its_limits() {
    for (mut a, mut b) in pairs() {
        pump_all(&mut a, &mut b);
        // The blocks that came were proved under heads of that length.
        let reach = 100;
        for (start, end) in [(3, 3), (4, 3), (99, 101), (0, u64::MAX)] {
            let refused = b.session.ask(key(1), start, end);
            assert_eq!(refused, Err(CommandError::Range { start, end, reach }));
        }
        assert_eq!(b.session.ask(key(9), 0, 1), Err(CommandError::UnknownFeed { feed: key(9) }));
        let [refused, cancelled] = [20, 10].map(|start| b.session.ask(key(1), start, start + 4).unwrap());
        while let Some(bytes) = b.session.pull(1 << 16) {
            a.session.receive(&bytes).unwrap();
        }
        while a.session.event().is_some() {}
        a.session.refuse(refused).unwrap();
        b.session.cancel(cancelled).unwrap();
        pump_all(&mut a, &mut b);
        assert!(b.seen.contains(&Event::Refused { id: refused, feed: key(1), next: 20, end: 24 }));
        assert!(b.seen.contains(&Event::Refused { id: cancelled, feed: key(1), next: 10, end: 14 }));
        assert_eq!((&a.error, &b.error, b.session.requests_open()), (&None, &None, 0));
        for n in 0..limits::MAX_REQUESTS as u64 {
            let range = (n % 30, n % 30 + 1);
            let made = if n % 2 == 0 {
                b.session.ask(key(1), range.0, range.1)
            } else {
                b.session.request(key(1), range.0, range.1)
            };
            made.unwrap();
        }
        assert!(matches!(b.session.ask(key(1), 0, 1), Err(CommandError::TooMany { .. })));
        pump_all(&mut a, &mut b);
        b.session.done().unwrap();
        assert_eq!(b.session.ask(key(1), 0, 1), Err(CommandError::Twice { what: "Done" }));
        pump_all(&mut a, &mut b);
        assert_eq!((&a.error, &b.error, b.session.requests_open()), (&None, &None, 0));
    }
}

#[test]
fn an_answer_to_an_ask_without_a_proof_from_the_beginning_cannot_be_said() {
    for (mut a, mut b) in pairs() {
        pump_all(&mut a, &mut b);
        let asked = b.session.ask(key(1), 30, 32).unwrap();
        while let Some(bytes) = b.session.pull(1 << 16) {
            a.session.receive(&bytes).unwrap();
        }
        while a.session.event().is_some() {}
        let short = Blocks { extending: 30, ..toy_blocks(Some(asked), 30, vec![vec![1], vec![2]]) };
        assert_eq!(a.session.send_blocks(key(1), &short), Err(CommandError::Incomplete { id: asked }));
        a.session.send_blocks(key(1), &Blocks { extending: 0, ..short }).unwrap();
        pump_all(&mut a, &mut b);
        assert_eq!((&a.error, &b.error), (&None, &None));
    }
}

#[test]
fn a_writer_proves_itself_and_only_on_this_connection_and_topic() {
    for (mut a, mut b) in pairs() {
        pump_all(&mut a, &mut b);
        let secret = SigningKey::from_bytes(&[3; 32]);
        let feed = FeedKey(secret.verifying_key().to_bytes());
        let message = a.session.writer_proof_message(TopicId(0)).unwrap();
        let signature = secret.sign(&message).to_bytes();
        a.session.prove_writer(TopicId(0), feed, &signature).unwrap();
        pump_all(&mut a, &mut b);
        assert!(b.seen.contains(&Event::WriterProved { topic: TopicId(0), feed }));
        // The same signature in the other direction.
        b.session.prove_writer(TopicId(0), feed, &signature).unwrap();
        pump_all(&mut a, &mut b);
        assert!(a.error.unwrap().to_string().contains("writer"));
        // On another topic, and on another connection.
        let (mut c, mut d) = pair(attached(Role::Initiator), attached(Role::Responder));
        c.session.offer(&[database(9)]).unwrap();
        d.session.offer(&[database(9)]).unwrap();
        pump_all(&mut c, &mut d);
        let other = c.session.writer_proof_message(TopicId(1)).unwrap();
        assert_ne!(other, message);
        c.session.prove_writer(TopicId(1), feed, &signature).unwrap();
        pump_all(&mut c, &mut d);
        assert!(d.error.is_some());
    }
}

#[test]
fn pings_access_messages_done_and_close_arrive() {
    for (mut a, mut b) in pairs() {
        pump_all(&mut a, &mut b);
        a.session.ping().unwrap();
        a.session.ping().unwrap();
        b.session.access(TopicId(0), 3, b"may I?").unwrap();
        b.session.done().unwrap();
        pump_all(&mut a, &mut b);
        assert_eq!(a.seen.iter().filter(|e| **e == Event::Pong).count(), 1);
        assert!(a.seen.contains(&Event::Access { topic: TopicId(0), kind: 3, bytes: b"may I?".to_vec() }));
        assert!(a.seen.contains(&Event::Done));
        assert!(matches!(b.session.request(key(1), 0, 1), Err(CommandError::Twice { .. })));
        a.session.finish(CloseReason::Finished);
        pump_all(&mut a, &mut b);
        assert_eq!(b.closed, Some(CloseReason::Finished));
        assert!(a.session.is_closed() && b.session.is_closed());
        assert_eq!(b.session.remote_ended(), Ok(()));
        assert_eq!(b.session.ping(), Err(CommandError::Closed));
    }
}

#[test]
fn versions_and_clients_that_do_not_fit_are_named_on_both_sides() {
    let with = |role, major, minor, client: &str| {
        let version = multi_hyperbee::wire::Version { major, minor };
        let config = Config { version, client: client.into(), ..Config::default() };
        Peer::new(Session::attached(role, HASH, config), &[])
    };
    let run = |major, minor, client: &str| {
        let mut a = with(Role::Initiator, 1, 0, "x");
        let mut b = with(Role::Responder, major, minor, client);
        pump_all(&mut a, &mut b);
        (a.error.map(|e| e.to_string()), b.error.map(|e| e.to_string()))
    };
    assert_eq!(run(1, 7, "x"), (None, None), "another minor version fits");
    let (a, b) = run(2, 0, "x");
    assert!(a.unwrap().contains("version 2.0, this side 1.0"));
    assert!(b.unwrap().contains("version 1.0, this side 2.0"));
    let (a, b) = run(1, 0, "y");
    assert!(a.unwrap().contains(r#"is a "y", this side a "x""#));
    assert!(b.unwrap().contains(r#"is a "x", this side a "y""#));
}

#[test]
fn what_the_remote_says_of_itself_arrives() {
    let config = Config { live: false, upload: false, user_data: vec![1, 2], ..Config::default() };
    let mut a = Peer::new(Session::attached(Role::Initiator, HASH, config), &[]);
    let mut b = Peer::new(attached(Role::Responder), &[]);
    pump_all(&mut a, &mut b);
    let remote = b.session.remote().unwrap();
    assert_eq!((remote.live, remote.upload, remote.download), (false, false, true));
    assert_eq!(remote.user_data, [1, 2]);
    assert_eq!(b.seen[0], Event::Open(remote.clone()));
}

#[test]
fn a_side_that_declines_is_not_asked() {
    let config = Config { upload: false, ..Config::default() };
    let (mut a, _) = pair(attached(Role::Initiator), attached(Role::Responder));
    let mut b = Peer::new(Session::attached(Role::Responder, HASH, config), &[(9, 3)]);
    b.session.offer(&[database(1)]).unwrap();
    a.feeds.clear();
    a.receive(&b.session.pull(1 << 20).unwrap());
    b.receive(&a.session.pull(1 << 20).unwrap());
    a.session.receive(&b.session.pull(1 << 20).unwrap()).unwrap();
    for refused in [a.session.request(key(9), 0, 3), a.session.ask(key(9), 0, 3)] {
        assert_eq!(refused, Err(CommandError::Declined { what: "transfer blocks this way" }));
    }
}

#[test]
fn outgoing_counts_what_waits_and_pull_respects_its_maximum() {
    for (mut a, mut b) in pairs() {
        pump_all(&mut a, &mut b);
        assert_eq!(a.session.outgoing(), 0);
        for start in 40..60 {
            a.session.send_blocks(key(1), &toy_blocks(None, start, vec![vec![0; 10_000]])).unwrap();
        }
        assert!(a.session.outgoing() > 200_000);
        assert_eq!(a.session.pull(0), None);
        while let Some(bytes) = a.session.pull(777) {
            assert!(bytes.len() <= 777);
            b.session.receive(&bytes).unwrap();
        }
        assert_eq!(a.session.outgoing(), 0);
        assert!(b.session.unprocessed() > 200_000);
        while b.session.event().is_some() {}
        assert_eq!(b.session.unprocessed(), 0);
    }
}

#[test]
fn commands_beyond_a_limit_are_refused_before_anything_is_sent() {
    let (mut a, mut b) = pair(attached(Role::Initiator), attached(Role::Responder));
    pump_all(&mut a, &mut b);
    let topics: Vec<Topic> = (0..limits::MAX_TOPICS as u32)
        .map(|n| {
            let mut bytes = [1; 32];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            Topic { kind: TopicKind::Feed, key: FeedKey(bytes) }
        })
        .collect();
    assert!(matches!(a.session.offer(&topics), Err(CommandError::TooMany { .. })));
    let states: Vec<_> = topics
        .iter()
        .cycle()
        .enumerate()
        .take(limits::MAX_FEEDS_PER_TOPIC)
        .map(|(n, topic)| {
            let mut feed = topic.key;
            feed.0[31] = (n / limits::MAX_TOPICS) as u8;
            a.state(feed)
        })
        .collect();
    assert!(matches!(a.session.announce(TopicId(0), &states, false), Err(CommandError::TooMany { .. })));
    assert!(matches!(a.session.announce(TopicId(0), &[], true), Err(CommandError::Twice { .. })));
    let empty =
        Blocks { answer: Some(multi_hyperbee::wire::RequestId(0)), ..toy_blocks(None, 0, Vec::new()) };
    assert!(matches!(a.session.send_blocks(key(1), &empty), Err(CommandError::Range { .. })));
    assert_eq!(a.session.outgoing(), 0);
    // Three feeds are announced already: the rest of the room is taken in full.
    let room = &states[..limits::MAX_FEEDS_PER_TOPIC - 3];
    a.session.announce(TopicId(0), room, false).unwrap();
    pump_all(&mut a, &mut b);
    assert_eq!(b.error, None);
}
