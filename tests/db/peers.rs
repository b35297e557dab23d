//! Connections that are not what they should be: silent ones, and such that share nothing.
#![allow(clippy::unwrap_used, reason = "a failing test says so by panicking")]

use crate::support::*;
use multi_hyperbee::db::{PeerEvent, PeerOptions, Transport};

#[test]
fn a_feed_that_a_silent_connection_owes_is_fetched_over_another() {
    let stores = [memory(), memory(), memory()];
    let a = create(&stores[0]);
    for index in 0..50 {
        put(&a, &format!("k{index}"), r#"{"v":1}"#);
    }
    let key = a.info().unwrap().key;
    let (b, c) = (join(&stores[1], key), join(&stores[2], key));
    let first = connect(&a, &b);
    carry_until(&[&first], || get(&b, "k49").is_some());
    first.close();
    // C asks B, and B's answers never come.
    let silent = connect(&b, &c);
    let mut asked = 0;
    while asked < 3 {
        while let Some(bytes) = silent.a.pull(1 << 16) {
            silent.b.receive(&bytes).unwrap();
        }
        let mut said = false;
        while let Some(bytes) = silent.b.pull(1 << 16) {
            said = true;
            // The first words open the topic; what asks for blocks is lost.
            if asked < 2 {
                silent.a.receive(&bytes).unwrap();
            }
        }
        asked += u32::from(said);
        for store in &stores {
            store.settled().wait().unwrap();
        }
    }
    let other = connect(&a, &c);
    for _ in 0..12 {
        other.carry(usize::MAX);
        silent.b.tick();
        for store in &stores {
            store.settled().wait().unwrap();
        }
    }
    carry_until(&[&other], || get(&c, "k49").is_some());
}

#[test]
fn a_connection_that_is_not_live_ends_though_the_stores_share_nothing() {
    let (s1, s2) = (memory(), memory());
    let (_a, _b) = (create(&s1), create(&s2));
    let once = |transport| PeerOptions { live: false, ..options(transport) };
    let wire = Wire {
        a: s1.replicate(once(Transport::Initiator)).unwrap(),
        b: s2.replicate(once(Transport::Responder)).unwrap(),
    };
    let (mut ends, mut events) = ([false; 2], [Vec::new(), Vec::new()]);
    carry_until(&[&wire], || {
        let (a, b) = wire.events();
        events[0].extend(a);
        events[1].extend(b);
        for (end, events) in ends.iter_mut().zip(&events) {
            *end = events.contains(&PeerEvent::Finished);
        }
        ends == [true; 2]
    });
}
