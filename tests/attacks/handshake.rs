//! Before the topic is open: handshakes that are not finished, captured, or begun in a loop.

use crate::attacker::Attacker;
use crate::scene::Scene;
use crate::support::options;
use multi_hyperbee::db::{Code, Peer, PeerEvent, Transport};

/// As src/db/peer/mod.rs has it.
const HANDSHAKE_PATIENCE: u32 = 20;

fn failure(peer: &Peer) -> Option<(Code, String)> {
    peer.take_events().into_iter().find_map(|event| match event {
        PeerEvent::Failed(error) => Some((error.code, error.message)),
        _ => None,
    })
}

#[test]
fn a_handshake_that_is_not_finished_ends_after_its_patience() {
    let mut scene = Scene::new();
    let silent = scene.a.replicate(options(Transport::Responder)).unwrap();
    let slow = scene.a.replicate(options(Transport::Responder)).unwrap();
    let hello = Attacker::stranger(&scene.a).peer;
    // The channel is open: the victim's Hello has left.
    assert!(hello.pull(1 << 16).is_some());
    let mut dripping = [0, 32].into_iter().chain(std::iter::repeat(7));
    for second in 0..=HANDSHAKE_PATIENCE {
        for peer in [&silent, &slow, &hello] {
            assert_eq!(failure(peer), None, "after {second} seconds");
            peer.tick();
        }
        let _ = slow.receive(&[dripping.next().unwrap()]);
        if second == 5 {
            scene.undisturbed_within(1, &mut []);
        }
    }
    for peer in [silent, slow, hello] {
        let (code, message) = failure(&peer).unwrap();
        assert_eq!((code, message.as_str()), (Code::Timeout, "the other side did not say who it is in time"));
    }
    scene.undisturbed();
}

/// Others use the connection too, and the other side opens our channel whenever it likes: until then nothing is pulled.
#[test]
fn a_channel_that_is_not_open_yet_costs_nobody_patience() {
    let mut scene = Scene::new();
    let waiting = Attacker::stranger(&scene.a).peer;
    for _ in 0..3 * HANDSHAKE_PATIENCE {
        waiting.tick();
    }
    assert_eq!(failure(&waiting), None);
    // It holds nothing back.
    scene.undisturbed();
    assert!(waiting.pull(1 << 16).is_some());
    for second in 0..=HANDSHAKE_PATIENCE {
        assert_eq!(failure(&waiting), None, "after {second} seconds");
        waiting.tick();
    }
    assert_eq!(failure(&waiting).unwrap().0, Code::Timeout);
}

#[test]
fn a_captured_handshake_opens_nothing_on_another_connection() {
    let mut scene = Scene::new();
    let client = scene.c.replicate(options(Transport::Initiator)).unwrap();
    let server = scene.a.replicate(options(Transport::Responder)).unwrap();
    let mut said = Vec::new();
    loop {
        let (out, back) = (client.pull(1 << 16), server.pull(1 << 16));
        if out.is_none() && back.is_none() {
            break;
        }
        if let Some(bytes) = out {
            server.receive(&bytes).unwrap();
            said.push(bytes);
        }
        if let Some(bytes) = back {
            client.receive(&bytes).unwrap();
        }
    }
    client.close();
    server.close();
    let again = scene.a.replicate(options(Transport::Responder)).unwrap();
    let mut refused = None;
    for bytes in &said {
        refused = refused.or(again.receive(bytes).err());
    }
    let error = refused.unwrap();
    assert_eq!(error.code, Code::Auth);
    assert!(error.message.contains("the Noise handshake failed at message 3"), "{}", error.message);
    assert_eq!(again.take_events().len(), 1, "nothing but the failure");
    scene.undisturbed();
    scene.sound();
}
