//! Sessions: two honest ones whose bytes are split anywhere; one against made-up bytes, which it takes alike however
//! they are split.

#[path = "../../tests/wire_support/mod.rs"]
#[allow(dead_code, reason = "the tests count more")]
mod support;

use super::bytes::Bytes;
use multi_hyperbee::codec::put_varint;
use multi_hyperbee::types::FeedKey;
use multi_hyperbee::wire::{
    CloseReason, Event, ProtocolError, RequestId, Role, Session, StateClaim, Topic, TopicId, TopicKind,
};
use support::{Peer, attached, database, key, noise, pair, pump_all};

/// What a peer makes us keep or owe, with the few bytes it sends here.
const MOST_HELD: usize = 1 << 20;

pub fn session(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    match bytes.u8() % 4 {
        0 => two_honest(&mut bytes, false),
        1 => two_honest(&mut bytes, true),
        2 => hostile(&mut bytes, true),
        _ => hostile(&mut bytes, false),
    }
}

fn feed(bytes: &mut Bytes<'_>) -> FeedKey {
    key(1 + bytes.u8() % 5)
}

/// A command of the layer above; whether the session takes it is its own business.
fn command(peer: &mut Peer, bytes: &mut Bytes<'_>) {
    let topic = TopicId((bytes.u8() % 3).into());
    let session = &mut peer.session;
    match bytes.u8() % 12 {
        0 => drop(session.offer(&[database(1), database(1 + bytes.u8() % 4)])),
        1 => drop(session.offer(&[Topic { kind: TopicKind::Feed, key: feed(bytes) }])),
        2 => drop(session.withdraw(&database(1 + bytes.u8() % 4))),
        3 => drop(session.request(feed(bytes), bytes.u64(), bytes.u64())),
        4 => drop(session.ping()),
        5 => drop(session.done()),
        6 => drop(session.access(topic, bytes.u8(), bytes.take(20))),
        7 => drop(session.state_hash(topic, &StateClaim { digest: [bytes.u8(); 32], state: [2; 32] })),
        8 => drop(session.cancel(RequestId(bytes.u64()))),
        9 => drop(session.refuse(RequestId(bytes.u64()))),
        10 => {
            let feed = feed(bytes);
            peer.feeds.entry(feed).or_default().push(vec![bytes.u8()]);
            let state = peer.state(feed);
            let _ = peer.session.have(&state);
        }
        _ => {
            let feeds: Vec<FeedKey> = peer.feeds.keys().copied().collect();
            let states: Vec<_> = feeds.into_iter().map(|feed| peer.state(feed)).collect();
            let _ = peer.session.announce(topic, &states, bytes.chance(50));
        }
    }
}

fn carry(from: &mut Peer, to: &mut Peer, most: usize) {
    if let Some(sent) = from.session.pull(most) {
        to.receive(&sent);
    }
}

/// Whatever they are told to do, neither breaks a rule of the protocol.
fn two_honest(bytes: &mut Bytes<'_>, encrypted: bool) {
    let (mut a, mut b) = if encrypted {
        pair(noise(Role::Initiator, 1), noise(Role::Responder, 2))
    } else {
        pair(attached(Role::Initiator), attached(Role::Responder))
    };
    while !bytes.is_empty() {
        match bytes.u8() % 8 {
            0..3 => carry(&mut a, &mut b, usize::from(bytes.u8()) + 1),
            3..6 => carry(&mut b, &mut a, usize::from(bytes.u8()) + 1),
            6 => command(&mut a, bytes),
            _ => command(&mut b, bytes),
        }
    }
    pump_all(&mut a, &mut b);
    for peer in [&a, &b] {
        assert_eq!(peer.error, None);
        assert_eq!((peer.session.unprocessed(), peer.session.outgoing()), (0, 0));
    }
    a.session.finish(CloseReason::Finished);
    pump_all(&mut a, &mut b);
    assert!(b.session.is_closed());
    assert_eq!((a.error, b.error), (None, None));
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, 1 + body.len() as u64);
    out.push(tag);
    out.extend_from_slice(body);
    out
}

/// What a session makes of bytes: events, how it ended, and what it says.
type Taken = (Vec<Event>, Option<ProtocolError>, Vec<u8>);

fn takes<'s>(mut session: Session, parts: impl Iterator<Item = &'s [u8]>) -> Taken {
    let mut events = Vec::new();
    for part in parts {
        let received = session.receive(part);
        assert_eq!(received.as_ref().err(), session.error());
        assert!(session.unprocessed() <= MOST_HELD && session.outgoing() <= MOST_HELD);
        while let Some(event) = session.event() {
            events.push(event);
        }
        assert_eq!(session.unprocessed(), 0);
    }
    let error = session.error().cloned();
    if let Some(error) = &error {
        assert_eq!(session.receive(b"more").as_ref(), Err(error), "after an error it is dead");
    }
    let mut said = Vec::new();
    while let Some(bytes) = session.pull(1 << 16) {
        said.extend_from_slice(&bytes);
    }
    (events, error, said)
}

/// Frames of known tags, and bytes as they are.
fn stream(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let tag = bytes.u8() % 24;
        let length = usize::from(bytes.u8());
        match tag {
            0..20 => out.extend(frame(tag, bytes.take(length))),
            // A vector that names a feed, so that what follows may speak of it.
            20 => {
                let mut body = vec![0, 1, 1, 0];
                body.extend_from_slice(&[bytes.u8(); 32]);
                put_varint(&mut body, 5);
                body.extend_from_slice(&[7; 16]);
                put_varint(&mut body, 9);
                out.extend(frame(9, &body));
            }
            _ => out.extend_from_slice(bytes.take(length)),
        }
    }
    out
}

/// A session that has an open topic, its peer played by the input, or one that has just begun.
fn victim(is_open: bool) -> Session {
    if !is_open {
        return attached(Role::Responder);
    }
    let (mut a, mut b) = pair(attached(Role::Initiator), attached(Role::Responder));
    pump_all(&mut a, &mut b);
    let _ = b.session.request(key(2), 0, 3);
    b.session
}

fn hostile(bytes: &mut Bytes<'_>, is_open: bool) {
    let cut = 1 + bytes.below(40);
    let stream = stream(bytes);
    let whole = takes(victim(is_open), std::iter::once(&stream[..]));
    let parts = takes(victim(is_open), stream.chunks(cut));
    assert_eq!(whole, parts, "in parts of {cut}");
    // The same bytes where a handshake is due: whoever sends them holds no key.
    let (events, ..) = takes(noise(Role::Responder, 3), stream.chunks(cut));
    assert_eq!(events, []);
}
