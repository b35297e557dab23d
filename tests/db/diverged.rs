//! State hashes compared between replicas: a fault is told by both, with both hashes; nothing else is.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test says so by panicking"
)]

use crate::support::*;
use multi_hyperbee::db::{
    Db, Event, Location, Peer, StateClaim, Store, StoreOptions, Subscription, Transport,
};
use multi_hyperbee::seal::Sealing;
use multi_hyperbee::store::{Environment, Options, Read, Table};
use multi_hyperbee::types::{FeedKey, Hash};
use multi_hyperbee::view::Space;
use multi_hyperbee::wire::{self, Config, Role, Session, Topic, TopicKind};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

/// Ticks after which whoever is quiet has made its claim, said it, and may say the next.
const A_WHILE: usize = 14;

struct Device {
    store: Store,
    db: Db,
    events: Subscription,
}

impl Device {
    fn of(store: Store, key: Option<FeedKey>) -> Self {
        let db = key.map_or_else(|| create(&store), |key| join(&store, key));
        let events = db.subscribe(Arc::new(|| {})).unwrap();
        Self { store, db, events }
    }

    fn at(path: &Path, key: Option<FeedKey>) -> Self {
        Self::of(Store::open(&Location::Path(path.into()), &StoreOptions::default()).unwrap(), key)
    }

    fn key(&self) -> FeedKey {
        self.db.info().unwrap().key
    }

    fn local(&self) -> FeedKey {
        self.db.info().unwrap().local
    }

    fn close(self) {
        self.db.close().wait().unwrap();
        self.store.close().wait().unwrap();
    }

    /// What was told of differences: ours, theirs.
    fn diverged(&self) -> Vec<(Hash, Hash)> {
        let of = |event| match event {
            Event::Diverged { ours, theirs, .. } => Some((ours, theirs)),
            Event::Error { error } => panic!("{error}"),
            _ => None,
        };
        self.events.take().into_iter().filter_map(of).collect()
    }
}

/// The creator and one that it has granted, both in memory, with the same content.
fn pair() -> (Device, Device) {
    let a = Device::of(memory(), None);
    let b = Device::of(memory(), Some(a.key()));
    a.db.add_writer(b.local(), false).wait().unwrap();
    put(&a.db, "k", r#"{"n":1}"#);
    (a, b)
}

/// Carries until nothing moves, then lets seconds pass, again and again.
fn for_a_while(devices: &[&Device], wires: &[&Wire]) {
    for _ in 0..A_WHILE {
        at_rest(devices, wires);
        for wire in wires {
            wire.a.tick();
            wire.b.tick();
        }
    }
    at_rest(devices, wires);
}

fn at_rest(devices: &[&Device], wires: &[&Wire]) {
    let mut moved = true;
    while moved {
        moved = false;
        for wire in wires {
            moved |= wire.carry(usize::MAX);
        }
        // Twice: what is settled may queue more.
        for device in devices.iter().chain(devices) {
            device.store.settled().wait().unwrap();
        }
    }
}

/// Changes a value in the view, behind the back of the diffs it was folded from.
fn plant(path: &Path, database: FeedKey, from: &[u8], to: &[u8]) {
    let space = Space::new(1, Sealing::new(encryption_key().as_ref(), &database));
    let options = Options { read_only: false, map_size: None };
    let environment = Environment::open(&Location::Path(path.into()), &options).unwrap();
    let mut txn = environment.write().unwrap();
    let rows = txn.range(Table::View, Bound::Unbounded, Bound::Unbounded).unwrap();
    let rows: Vec<(Vec<u8>, Vec<u8>)> =
        rows.map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect();
    let mut planted = 0;
    for (row, value) in rows {
        let opened = space.open_row(Table::View, &row, &value).unwrap();
        let mut value = opened.value().to_vec();
        if let Some(at) = value.windows(from.len()).position(|part| part == from) {
            value.splice(at..at + from.len(), to.iter().copied());
            let value = space.seal(Table::View, &row, opened.key(&[]), &value).unwrap();
            txn.put(Table::View, &row, &value).unwrap();
            planted += 1;
        }
    }
    assert_eq!(planted, 1);
    txn.commit().unwrap();
}

#[test]
fn a_planted_fault_is_told_once_by_both_sides_with_both_hashes() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let a = Device::at(here.path(), None);
    let key = a.key();
    let b = Device::at(there.path(), Some(key));
    put(&a.db, "k", r#"{"n":1}"#);
    put(&a.db, "l", r#"{"n":2}"#);
    let wire = connect(&a.db, &b.db);
    for_a_while(&[&a, &b], &[&wire]);
    assert_eq!(get(&b.db, "l").as_deref(), Some(r#"{"n":2}"#));
    assert_eq!((a.diverged(), b.diverged()), (vec![], vec![]));
    let right = a.db.state_hash().unwrap();
    wire.close();
    b.close();
    plant(there.path(), key, br#"{"n":2}"#, br#"{"n":7}"#);
    let b = Device::at(there.path(), Some(key));
    let wrong = b.db.state_hash().unwrap();
    assert_ne!(right, wrong);
    let wire = connect(&a.db, &b.db);
    for_a_while(&[&a, &b], &[&wire]);
    assert_eq!(a.diverged(), [(right, wrong)]);
    assert_eq!(b.diverged(), [(wrong, right)]);
    // Nothing new, nothing told; after a write both are elsewhere, and still differ.
    for_a_while(&[&a, &b], &[&wire]);
    assert_eq!((a.diverged(), b.diverged()), (vec![], vec![]));
    put(&a.db, "m", "{}");
    for_a_while(&[&a, &b], &[&wire]);
    let (right, wrong) = (a.db.state_hash().unwrap(), b.db.state_hash().unwrap());
    assert_eq!((a.diverged(), b.diverged()), (vec![(right, wrong)], vec![(wrong, right)]));
    // Written anew, the key is what it should be.
    put(&a.db, "l", r#"{"n":3}"#);
    put(&a.db, "l", r#"{"o":4}"#);
    del(&a.db, "l");
    for_a_while(&[&a, &b], &[&wire]);
    assert_eq!(a.db.state_claim().unwrap(), b.db.state_claim().unwrap());
    assert_eq!((a.diverged(), b.diverged()), (vec![], vec![]));
}

#[test]
fn different_choices_of_peers_are_no_difference() {
    let (a, b) = pair();
    let other = Device::of(memory(), None);
    put(&other.db, "theirs", r#"{"x":1}"#);
    assert!(a.db.add_peer(other.local()).wait().unwrap());
    let wires = [connect(&a.db, &b.db), connect(&a.db, &other.db)];
    let (all, wires) = ([&a, &b, &other], [&wires[0], &wires[1]]);
    for_a_while(&all, &wires);
    assert!(get(&a.db, "theirs").is_some() && get(&b.db, "theirs").is_none());
    let claims = [a.db.state_claim().unwrap(), b.db.state_claim().unwrap()];
    assert_ne!(claims[0].digest, claims[1].digest);
    assert_ne!(claims[0].state, claims[1].state);
    // What was merged goes on counting when nothing more of it does.
    assert!(a.db.remove_peer(other.local()).wait().unwrap());
    put(&other.db, "later", "{}");
    for_a_while(&all, &wires);
    for device in all {
        assert_eq!(device.diverged(), []);
    }
}

#[test]
fn what_the_digest_says_is_the_same_whatever_the_way_there() {
    let (a, b) = pair();
    let wire = connect(&a.db, &b.db);
    at_rest(&[&a, &b], &[&wire]);
    let before = a.db.state_claim().unwrap();
    assert_eq!(before, b.db.state_claim().unwrap());
    for n in 0..30 {
        put(&a.db, &format!("a{n}"), "{}");
        put(&b.db, &format!("b{n}"), "{}");
        edit(&b.db, "k", |_| format!(r#"{{"n":{n}}}"#));
    }
    at_rest(&[&a, &b], &[&wire]);
    let claim = a.db.state_claim().unwrap();
    assert_eq!(claim, b.db.state_claim().unwrap());
    assert_ne!(claim.digest, before.digest);
    // A third that gets all at once, in another order, from one of them.
    let c = Device::of(memory(), Some(a.key()));
    let late = connect(&b.db, &c.db);
    at_rest(&[&b, &c], &[&late]);
    assert_eq!(c.db.state_claim().unwrap(), claim);
    // It is what it counts that makes the difference, also where the view stays as it is.
    let stranger = FeedKey([3; 32]);
    a.db.add_peer(stranger).wait().unwrap();
    assert_eq!(a.db.state_claim().unwrap(), claim);
}

/// A side that speaks the protocol by hand.
struct Stranger {
    session: Session,
    peer: Peer,
    topic: Option<wire::TopicId>,
    heard: Vec<StateClaim>,
}

impl Stranger {
    fn of(device: &Device) -> Self {
        let hash = [9; 64];
        let mut session = Session::attached(Role::Initiator, hash, Config::default());
        session.offer(&[Topic { kind: TopicKind::Database, key: device.key() }]).unwrap();
        let options = options(Transport::Attached { initiator: false, handshake_hash: hash });
        let mut stranger =
            Self { session, peer: device.db.replicate(options).unwrap(), topic: None, heard: Vec::new() };
        stranger.carry();
        let topic = stranger.topic.unwrap();
        stranger.session.announce(topic, &[], true).unwrap();
        stranger.carry();
        stranger
    }

    fn carry(&mut self) {
        loop {
            let (out, back) = (self.session.pull(1 << 20), self.peer.pull(1 << 20));
            if out.is_none() && back.is_none() {
                return;
            }
            if let Some(bytes) = out {
                assert!(self.peer.receive(&bytes).unwrap());
            }
            if let Some(bytes) = back {
                self.session.receive(&bytes).unwrap();
            }
            while let Some(event) = self.session.event() {
                match event {
                    wire::Event::TopicOpen { topic, .. } => self.topic = Some(topic),
                    wire::Event::StateHash { claim, .. } => self.heard.push(claim),
                    _ => {}
                }
            }
        }
    }

    fn tick(&mut self, times: usize) {
        for _ in 0..times {
            self.peer.tick();
            self.carry();
        }
    }

    fn claim(&mut self, claim: StateClaim) {
        self.session.state_hash(self.topic.unwrap(), &claim).unwrap();
        self.carry();
    }
}

#[test]
fn a_liar_costs_one_event_for_each_state_of_ours() {
    let a = Device::of(memory(), None);
    put(&a.db, "k", "{}");
    let mut stranger = Stranger::of(&a);
    let lie = [66; 32];
    // Of states that we are not in: nothing.
    for n in 0..3_000_u32 {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&n.to_be_bytes());
        stranger.claim(StateClaim { digest, state: lie });
    }
    stranger.tick(3);
    assert_eq!(a.diverged(), []);
    for round in 0..3 {
        stranger.tick(A_WHILE);
        let ours = a.db.state_claim().unwrap();
        assert_eq!(stranger.heard.last(), Some(&ours));
        for n in 0..1_000_u32 {
            let mut state = lie;
            state[..4].copy_from_slice(&n.to_be_bytes());
            stranger.claim(StateClaim { digest: ours.digest, state });
        }
        stranger.tick(A_WHILE);
        let told = a.diverged();
        assert_eq!(told.len(), 1, "round {round}: {told:?}");
        assert_eq!(told[0].0, ours.state);
        put(&a.db, &format!("k{round}"), "{}");
    }
}

#[test]
fn a_claim_of_a_state_that_we_come_to_later_is_kept_until_then() {
    let (a, b) = pair();
    let mut stranger = Stranger::of(&b);
    put(&a.db, "later", "{}");
    let StateClaim { digest, state } = a.db.state_claim().unwrap();
    stranger.claim(StateClaim { digest, state: [1; 32] });
    stranger.tick(3);
    assert_eq!(b.diverged(), []);
    let wire = connect(&a.db, &b.db);
    at_rest(&[&a, &b], &[&wire]);
    stranger.tick(3);
    assert_eq!(b.diverged(), [(state, [1; 32])]);
    // The honest one says the same as we do.
    for_a_while(&[&a, &b], &[&wire]);
    assert_eq!((a.diverged(), b.diverged()), (vec![], vec![]));
}

#[test]
fn claims_are_said_when_quiet_and_not_again_before_there_is_news_and_time_has_passed() {
    let a = Device::of(memory(), None);
    put(&a.db, "k", "{}");
    let mut stranger = Stranger::of(&a);
    // Never quiet for a second: never said.
    for n in 0..20 {
        put(&a.db, &format!("{n}"), "{}");
        a.store.settled().wait().unwrap();
        stranger.tick(1);
        assert_eq!(stranger.heard, [], "{n}");
    }
    stranger.tick(1);
    assert_eq!(stranger.heard, [a.db.state_claim().unwrap()]);
    stranger.tick(30);
    assert_eq!(stranger.heard.len(), 1, "nothing has changed");
    // Written every third second: one in ten.
    for n in 0..20 {
        put(&a.db, &format!("k{n}"), "{}");
        a.store.settled().wait().unwrap();
        stranger.tick(3);
    }
    assert!((5..=7).contains(&stranger.heard.len()), "{}", stranger.heard.len());
}

#[test]
fn a_long_way_is_gone_on_a_thread_of_its_own_and_the_hash_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let a = Device::at(dir.path(), None);
    let batch = |from: usize| {
        let puts = (from..from + 500).map(|n| put_write(&format!("{n}"), r#"{"n":1}"#)).collect();
        multi_hyperbee::db::Write::Batch(puts)
    };
    for from in (0..3_000).step_by(500) {
        a.db.write(vec![batch(from)]).wait().unwrap().remove(0).unwrap();
    }
    let mut stranger = Stranger::of(&a);
    let start = Instant::now();
    while stranger.heard.is_empty() {
        stranger.tick(1);
        std::thread::sleep(Duration::from_millis(1));
        assert!(start.elapsed() < PATIENCE);
    }
    let claim = a.db.state_claim().unwrap();
    assert_eq!(stranger.heard, [claim]);
    stranger.peer.ended();
    drop(stranger);
    a.close();
    let environment =
        Environment::open(&Location::Path(dir.path().into()), &Options { read_only: false, map_size: None });
    let kept = {
        let txn = environment.unwrap().read().unwrap();
        let (_, row) = txn.first(Table::Hashes, Bound::Unbounded, Bound::Unbounded).unwrap().unwrap();
        u64::from_be_bytes(row[..8].try_into().unwrap())
    };
    assert!(kept >= 2_000, "{kept} of 3,000 versions");
    assert_eq!(Device::at(dir.path(), None).db.state_claim().unwrap(), claim);
}

#[test]
fn a_view_that_cannot_be_read_is_told_and_replication_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let a = Device::at(dir.path(), None);
    put(&a.db, "k", r#"{"n":1}"#);
    let key = a.key();
    a.close();
    plant(dir.path(), key, br#"{"n":1}"#, br#"["n":1}"#);
    let a = Device::at(dir.path(), None);
    let mut stranger = Stranger::of(&a);
    stranger.tick(5);
    let errors: Vec<_> =
        a.events.take().into_iter().filter(|event| matches!(event, Event::Error { .. })).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let b = Device::of(memory(), Some(a.key()));
    let wire = connect(&a.db, &b.db);
    carry_until(&[&wire], || get(&b.db, "k").is_some());
}
