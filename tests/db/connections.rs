//! Connections as networks make them: split, cut, doubled, slow, and with strangers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::*;
use multi_hyperbee::db::{
    Code, Db, FeedChoice, Location, Peer, PeerEvent, PeerOptions, Store, StoreOptions, Transport,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

fn pair() -> (Db, Db) {
    let a = create(&memory());
    let b = join(&memory(), a.info().unwrap().key);
    (a, b)
}

fn local(db: &Db) -> multi_hyperbee::types::FeedKey {
    db.info().unwrap().local
}

fn have(db: &Db, feed: multi_hyperbee::types::FeedKey) -> u64 {
    db.progress().unwrap().iter().find(|progress| progress.key == feed).map_or(0, |progress| progress.have)
}

fn failed(events: &[PeerEvent]) -> Option<Code> {
    events.iter().find_map(|event| match event {
        PeerEvent::Failed(error) => Some(error.code),
        _ => None,
    })
}

#[test]
fn bytes_that_come_one_at_a_time_say_the_same() {
    let (a, b) = pair();
    a.add_writer(local(&b), false).wait().unwrap();
    put(&a, "k", r#"{"list":[1,2,3]}"#);
    let wire = connect(&a, &b);
    let start = Instant::now();
    while get(&b, "k").is_none() || !b.status().unwrap().writable {
        if !wire.carry(1) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(start.elapsed() < Duration::from_secs(30));
    }
    put(&b, "l", "{}");
    while get(&a, "l").is_none() {
        wire.carry(1);
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn a_connection_cut_at_any_byte_is_gone_on_with_by_the_next() {
    let (a, b) = pair();
    a.add_writer(local(&b), false).wait().unwrap();
    for round in 0..60_usize {
        let (mine, theirs) = (format!("a{round}"), format!("b{round}"));
        put(&a, &mine, &format!(r#"{{"text":"{}"}}"#, "x".repeat(300)));
        if b.status().unwrap().writable {
            put(&b, &theirs, "{}");
        }
        let wire = connect(&a, &b);
        let mut left = 40 + round * 37;
        let start = Instant::now();
        while left > 0 && start.elapsed() < Duration::from_millis(20) {
            for (from, to) in [(&wire.a, &wire.b), (&wire.b, &wire.a)] {
                if let Some(bytes) = from.pull(left.min(7)) {
                    let piece = &bytes[..bytes.len().min(left)];
                    left -= piece.len();
                    let _ = to.receive(piece);
                }
            }
        }
        wire.a.ended();
        wire.b.ended();
    }
    let wire = connect(&a, &b);
    carry_until(&[&wire], || get(&b, "a59").is_some() && b.status().unwrap().writable);
    put(&b, "last", "{}");
    carry_until(&[&wire], || get(&a, "last").is_some());
    assert_eq!(a.state_hash().unwrap(), b.state_hash().unwrap());
}

#[test]
fn a_connection_that_is_not_live_ends_by_itself() {
    let (a, b) = pair();
    a.add_writer(local(&b), false).wait().unwrap();
    for round in 0..3 {
        put(&a, "k", &format!(r#"{{"n":{round}}}"#));
        if b.status().unwrap().writable {
            put(&b, "l", &format!(r#"{{"n":{round}}}"#));
        }
        let once = |transport| PeerOptions { live: false, ..options(transport) };
        let wire = Wire {
            a: a.replicate(once(Transport::Initiator)).unwrap(),
            b: b.replicate(once(Transport::Responder)).unwrap(),
        };
        let (mut ended_a, mut ended_b) = (false, false);
        carry_until(&[&wire], || {
            let (events_a, events_b) = wire.events();
            assert_eq!((failed(&events_a), failed(&events_b)), (None, None));
            ended_a |= events_a.contains(&PeerEvent::Finished);
            ended_b |= events_b.contains(&PeerEvent::Finished);
            ended_a && ended_b
        });
        assert_eq!(a.state_hash().unwrap(), b.state_hash().unwrap());
        wire.close();
    }
}

#[test]
fn a_peer_with_another_key_learns_nothing_and_is_told() {
    let (a, stranger) = (create(&memory()), create(&memory()));
    put(&a, "k", "{}");
    let wire = connect(&a, &stranger);
    let (mut code_a, mut code_b) = (None, None);
    carry_until(&[&wire], || {
        let (events_a, events_b) = wire.events();
        code_a = code_a.or(failed(&events_a));
        code_b = code_b.or(failed(&events_b));
        code_a.is_some() && code_b.is_some()
    });
    assert_eq!((code_a, code_b), (Some(Code::Auth), Some(Code::Auth)));
    assert_eq!(get(&stranger, "k"), None);
}

#[test]
fn a_peer_that_speaks_garbage_is_refused_and_harms_nothing() {
    let a = create(&memory());
    put(&a, "k", "{}");
    for (role, byte) in [(Transport::Initiator, 0_u8), (Transport::Responder, 255), (Transport::Responder, 7)]
    {
        let peer = a.replicate(options(role)).unwrap();
        let mut refused = None;
        for _ in 0..2_000 {
            if let Err(error) = peer.receive(&[byte; 100]) {
                refused = Some(error.code);
                break;
            }
        }
        assert!(matches!(refused, Some(Code::Auth | Code::Protocol)), "{refused:?}");
        assert!(
            peer.receive(&[byte; 100]).is_ok(),
            "after its end a connection takes nothing and says nothing"
        );
        assert!(failed(&peer.take_events()).is_some());
    }
    put(&a, "l", "{}");
    assert!(a.is_flushed().unwrap());
}

#[test]
fn a_value_larger_than_a_frame_travels_in_pieces_and_once() {
    let (a, b) = pair();
    let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(12 << 20));
    put(&a, "large", &text);
    let wire = connect(&a, &b);
    let mut carried = [0, 0];
    let start = Instant::now();
    while get(&b, "large").is_none() {
        for (n, (from, to)) in [(&wire.a, &wire.b), (&wire.b, &wire.a)].into_iter().enumerate() {
            while let Some(bytes) = from.pull(256 << 10) {
                carried[n] += bytes.len();
                to.receive(&bytes).unwrap();
            }
        }
        assert!(start.elapsed() < Duration::from_mins(1));
    }
    assert_eq!(get(&b, "large"), Some(text));
    assert!(carried[0] < (12 << 20) + (200 << 10), "{carried:?}");
    assert!(carried[1] < 20_000, "nothing is echoed: {carried:?}");
}

#[test]
fn who_is_asked_to_hold_back_is_woken_when_it_may_go_on() {
    let (a, b) = pair();
    for n in 0..40 {
        put(&a, &format!("k{n}"), &format!(r#"{{"text":"{}"}}"#, "x".repeat(1 << 20)));
    }
    let woken = Arc::new(AtomicBool::new(false));
    let wake = Arc::clone(&woken);
    let there = a.replicate(options(Transport::Initiator)).unwrap();
    let here = b
        .replicate(PeerOptions {
            wake: Arc::new(move || wake.store(true, Ordering::Release)),
            ..options(Transport::Responder)
        })
        .unwrap();
    let (mut held_back, mut open) = (0, true);
    let start = Instant::now();
    while get(&b, "k39").is_none() {
        while let Some(bytes) = here.pull(64 << 10) {
            there.receive(&bytes).unwrap();
        }
        if !open {
            // Only a wake makes this side look again.
            if !woken.swap(false, Ordering::AcqRel) {
                std::thread::sleep(Duration::from_millis(1));
                assert!(
                    start.elapsed() < Duration::from_mins(1),
                    "held back {held_back} times, then never woken"
                );
                continue;
            }
            open = here.ready_for_more();
            continue;
        }
        if let Some(bytes) = there.pull(64 << 10) {
            woken.store(false, Ordering::Release);
            open = here.receive(&bytes).unwrap();
            held_back += usize::from(!open);
        }
        assert!(start.elapsed() < Duration::from_mins(1));
    }
}

#[test]
fn two_connections_between_the_same_devices_do_no_harm() {
    let (a, b) = pair();
    a.add_writer(local(&b), false).wait().unwrap();
    let wires = [connect(&a, &b), connect(&b, &a)];
    for n in 0..20 {
        put(&a, &format!("a{n}"), "{}");
    }
    carry_until(&[&wires[0], &wires[1]], || get(&b, "a19").is_some() && b.status().unwrap().writable);
    for n in 0..20 {
        put(&b, &format!("b{n}"), "{}");
    }
    wires[0].close();
    carry_until(&[&wires[1]], || get(&a, "b19").is_some());
    assert_eq!(a.state_hash().unwrap(), b.state_hash().unwrap());
}

#[test]
fn what_one_peer_lacks_is_fetched_from_the_other_once_the_first_is_done() {
    let a = create(&memory());
    let key = a.info().unwrap().key;
    let (old, new, reader) = (join(&memory(), key), join(&memory(), key), join(&memory(), key));
    put(&a, "early", "{}");
    let first = connect(&a, &old);
    carry_until(&[&first], || get(&old, "early").is_some());
    first.close();
    put(&a, "late", "{}");
    let second = connect(&a, &new);
    carry_until(&[&second], || get(&new, "late").is_some());
    second.close();
    let (slow, other) = (connect(&old, &reader), connect(&new, &reader));
    // The reader asks the old copy first; its answer is still on its way when the newer copy is heard of.
    let until_asked = |wire: &Wire| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            while let Some(bytes) = wire.a.pull(1 << 16) {
                wire.b.receive(&bytes).unwrap();
            }
            if let Some(bytes) = wire.b.pull(1 << 16) {
                wire.a.receive(&bytes).unwrap();
                if wire.b.take_events().contains(&PeerEvent::RemoteFeeds) {
                    break;
                }
            }
        }
    };
    until_asked(&slow);
    until_asked(&other);
    carry_until(&[&slow, &other], || get(&reader, "late").is_some());
}

#[test]
fn what_a_connection_was_fetching_is_fetched_by_another_when_it_ends() {
    let a = create(&memory());
    let key = a.info().unwrap().key;
    let (copy, reader) = (join(&memory(), key), join(&memory(), key));
    put(&a, "k", "{}");
    let wire = connect(&a, &copy);
    carry_until(&[&wire], || get(&copy, "k").is_some());
    let (first, second) = (connect(&a, &reader), connect(&copy, &reader));
    // Carries everything but the answers: whoever asked first waits.
    for wire in [&first, &second] {
        for _ in 0..20 {
            if let Some(bytes) = wire.a.pull(1 << 16) {
                wire.b.receive(&bytes).unwrap();
            }
            if let Some(bytes) = wire.b.pull(1 << 16) {
                wire.a.receive(&bytes).unwrap();
                if wire.b.take_events().contains(&PeerEvent::RemoteFeeds) {
                    break;
                }
            }
        }
    }
    first.b.ended();
    carry_until(&[&second], || get(&reader, "k").is_some());
}

#[test]
fn a_feed_longer_than_one_request_is_fetched_whole() {
    const BLOCKS: usize = 66_000;
    let (s1, s2) = (memory(), memory());
    let (a, b) = (create(&s1), create(&s2));
    let feed = s1.feed(FeedChoice::Name("raw".into())).wait().unwrap();
    for _ in 0..3 {
        feed.append(vec![vec![0]; BLOCKS / 3]).wait().unwrap();
    }
    a.add_peer(feed.key()).wait().unwrap();
    b.add_peer(feed.key()).wait().unwrap();
    let wire = connect(&a, &b);
    carry_until(&[&wire], || have(&b, feed.key()) == BLOCKS as u64);
}

#[test]
fn a_wake_may_call_the_connection_it_comes_from() {
    let (a, b) = pair();
    let depth = Arc::new(AtomicUsize::new(0));
    let eager = |transport| {
        let (own, depth) = (Arc::new(OnceLock::<Peer>::new()), Arc::clone(&depth));
        let queue = Arc::new(parking_lot::Mutex::new(Vec::<u8>::new()));
        let (theirs, filled) = (Arc::clone(&own), Arc::clone(&queue));
        let wake = Arc::new(move || {
            let Some(peer) = theirs.get() else { return };
            assert!(depth.fetch_add(1, Ordering::AcqRel) < 50, "a wake wakes itself");
            if peer.ready_for_more()
                && let Some(bytes) = peer.pull(1 << 10)
            {
                filled.lock().extend_from_slice(&bytes);
            }
            depth.fetch_sub(1, Ordering::AcqRel);
        });
        (PeerOptions { wake, ..options(transport) }, own, queue)
    };
    for n in 0..50 {
        put(&a, &format!("k{n}"), &format!(r#"{{"text":"{}"}}"#, "x".repeat(2_000)));
    }
    let (options_a, own_a, queue_a) = eager(Transport::Initiator);
    let (options_b, own_b, queue_b) = eager(Transport::Responder);
    let (there, here) = (a.replicate(options_a).unwrap(), b.replicate(options_b).unwrap());
    assert!(own_a.set(there.clone()).is_ok() && own_b.set(here.clone()).is_ok());
    let start = Instant::now();
    while get(&b, "k49").is_none() {
        for (from, queue, to) in [(&there, &queue_a, &here), (&here, &queue_b, &there)] {
            if let Some(bytes) = from.pull(1 << 10) {
                queue.lock().extend_from_slice(&bytes);
            }
            let bytes = std::mem::take(&mut *queue.lock());
            to.receive(&bytes).unwrap();
        }
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn stores_close_in_the_middle_of_everything() {
    for carried in [0, 3, 10, 30] {
        let (s1, s2) = (memory(), memory());
        let a = create(&s1);
        let b = join(&s2, a.info().unwrap().key);
        for n in 0..30 {
            put(&a, &format!("k{n}"), &format!(r#"{{"text":"{}"}}"#, "x".repeat(20_000)));
        }
        let wire = connect(&a, &b);
        for _ in 0..carried {
            wire.carry(1_000);
        }
        let closed = [s2.close(), s1.close()];
        for _ in 0..20 {
            wire.carry(1_000);
        }
        for closed in closed {
            closed.wait().unwrap();
        }
        assert_eq!(a.status().unwrap_err().code, Code::Closed);
    }
}

#[test]
fn an_older_copy_of_a_store_catches_up_with_itself_and_writes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| Location::Path(dir.path().join(name));
    let at = |hours: u64| StoreOptions {
        clock: Some(Arc::new(move || Duration::from_secs(1_700_000_000 + hours * 3_600))),
        ..StoreOptions::default()
    };
    let store = Store::open(&path("original"), &at(0)).unwrap();
    let a = create(&store);
    let b = join(&Store::open(&Location::Memory, &at(0)).unwrap(), a.info().unwrap().key);
    put(&a, "k", r#"{"n":1}"#);
    let wire = connect(&a, &b);
    carry_until(&[&wire], || get(&b, "k").is_some());
    wire.close();
    a.close().wait().unwrap();
    store.close().wait().unwrap();
    std::fs::create_dir(dir.path().join("copy")).unwrap();
    for file in std::fs::read_dir(dir.path().join("original")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), dir.path().join("copy").join(file.file_name())).unwrap();
    }
    // The original goes on, with a clock that is hours ahead, and is lost.
    let store = Store::open(&path("original"), &at(5)).unwrap();
    let a = create(&store);
    put(&a, "k", r#"{"n":2}"#);
    let wire = connect(&a, &b);
    carry_until(&[&wire], || get(&b, "k").as_deref() == Some(r#"{"n":2}"#));
    wire.close();
    store.close().wait().unwrap();
    let copy = Store::open(&path("copy"), &at(0)).unwrap();
    let a = create(&copy);
    let wire = connect(&a, &b);
    carry_until(&[&wire], || get(&a, "k").as_deref() == Some(r#"{"n":2}"#));
    put(&a, "k", r#"{"n":3}"#);
    carry_until(&[&wire], || have(&b, local(&a)) == 4);
    for db in [&a, &b] {
        assert_eq!(get(db, "k").as_deref(), Some(r#"{"n":3}"#));
    }
}

/// Blocks that have come over the connections of `db`, counted as often as they came.
fn came(db: &Db) -> u64 {
    let peers = db.sync_status().unwrap().peers;
    peers.iter().flat_map(|peer| &peer.feeds).map(|feed| feed.received).sum()
}

fn here(db: &Db) -> u64 {
    db.progress().unwrap().iter().map(|feed| feed.have).sum()
}

#[test]
fn over_two_connections_of_the_same_devices_each_block_comes_once() {
    let (a, b) = pair();
    a.add_writer(local(&b), false).wait().unwrap();
    // Both ways round: which of them is the first does not depend on who began.
    let wires = [connect(&a, &b), connect(&b, &a)];
    let both = [&wires[0], &wires[1]];
    put(&a, "before", "{}");
    carry_until(&both, || get(&b, "before").is_some() && b.status().unwrap().writable);
    for wire in both {
        for peer in [&wire.a, &wire.b] {
            peer.tick();
        }
    }
    carry_until(&both, || wires.iter().all(|wire| !wire.carry(usize::MAX)));
    let before = [came(&a), came(&b), here(&a)];
    for round in 0..20 {
        let (mine, theirs) = (format!("a{round}"), format!("b{round}"));
        put(&a, &mine, "{}");
        carry_until(&both, || get(&b, &mine).is_some());
        put(&b, &theirs, "{}");
        carry_until(&both, || get(&a, &theirs).is_some());
        for wire in both {
            for peer in [&wire.a, &wire.b] {
                peer.tick();
            }
        }
    }
    carry_until(&both, || wires.iter().all(|wire| !wire.carry(usize::MAX)));
    let written = here(&a) - before[2];
    assert!(written >= 40, "{written}");
    assert_eq!(came(&a) - before[0] + came(&b) - before[1], written);
}

#[test]
fn of_two_connections_of_the_same_devices_either_may_be_cut_or_stand_still() {
    for cut in [true, false] {
        for first in [0, 1] {
            let (a, b) = pair();
            let wires = [connect(&a, &b), connect(&a, &b)];
            put(&a, "before", "{}");
            carry_until(&[&wires[0], &wires[1]], || get(&b, "before").is_some());
            let (gone, left) = (&wires[first], &wires[1 - first]);
            if cut {
                gone.close();
            }
            let begun = Instant::now();
            for round in 0..3 {
                let key = format!("k{round}");
                put(&a, &key, "{}");
                while get(&b, &key).is_none() {
                    // The other one stands still: nobody carries its bytes.
                    left.carry(usize::MAX);
                    for peer in [&gone.a, &gone.b, &left.a, &left.b] {
                        peer.tick();
                    }
                    std::thread::sleep(Duration::from_millis(5));
                    assert!(begun.elapsed() < Duration::from_secs(30));
                }
            }
        }
    }
}
