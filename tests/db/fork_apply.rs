//! A forked feed in apply mode: what is final stays, whatever a stolen key signs; who has linked another branch goes on.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::apply_support::{Applier, options, settle};
use crate::support::{Wire, connect};
use multi_hyperbee::codec::Reader;
use multi_hyperbee::db::{
    DatabaseOptions, Event, FeedChoice, Location, Store, StoreOptions, Subscription, WallClock,
};
use multi_hyperbee::feed::branches;
use multi_hyperbee::merkle::Parting;
use multi_hyperbee::types::FeedKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The key that is in two hands.
const STOLEN: [u8; 32] = [77; 32];

struct Device {
    store: Store,
    one: Applier,
    heard: Subscription,
    clock: Arc<AtomicU64>,
}

impl Device {
    fn new(key: Option<FeedKey>, secret: Option<[u8; 32]>) -> Self {
        let seconds = Arc::new(AtomicU64::new(1_000));
        let now = Arc::clone(&seconds);
        let clock: WallClock = Arc::new(move || Duration::from_secs(now.load(Ordering::Relaxed)));
        let with_clock = StoreOptions { clock: Some(clock), ..StoreOptions::default() };
        let store = Store::open(&Location::Memory, &with_clock).unwrap();
        let db = store.database(DatabaseOptions { secret, ..options(key) }).wait().unwrap();
        let heard = db.subscribe(Arc::new(|| {})).unwrap();
        Self { store, one: Applier::new(db), heard, clock: seconds }
    }

    fn local(&self) -> FeedKey {
        self.one.local()
    }

    /// From now on its clock stands there.
    fn at(&self, seconds: u64) -> &Self {
        self.clock.store(1_000 + seconds, Ordering::Relaxed);
        self
    }

    fn put(&self, key: &str) {
        self.one.append(&[&format!("put {key} 1")]);
    }

    fn has(&self, key: &str) -> bool {
        self.one.get(key).is_some()
    }

    /// The part that is final: writers and seqs.
    fn finals(&self) -> Vec<(FeedKey, u64)> {
        let length = self.one.db.finality().unwrap().length;
        let mut found = Vec::new();
        self.one
            .db
            .sequence(0, length, |entry| {
                found.push((entry.batch.writer, entry.batch.seq));
                true
            })
            .unwrap();
        found
    }
}

/// Everything flows between all of them until it rests.
fn flow(devices: &[&Device]) {
    let pairs = (0..devices.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
    let wires: Vec<Wire> = pairs.map(|(a, b)| connect(&devices[a].one.db, &devices[b].one.db)).collect();
    let (mut still, start) = (0, Instant::now());
    while still < 10 {
        assert!(start.elapsed() < Duration::from_secs(30), "it never rests");
        let mut moved = false;
        for wire in &wires {
            moved |= wire.carry(usize::MAX);
        }
        for device in devices {
            device.store.settled().wait().unwrap();
            settle(&[&device.one]);
        }
        still = if moved { 0 } else { still + 1 };
        if !moved {
            for wire in &wires {
                wire.a.tick();
                wire.b.tick();
            }
        }
    }
    wires.iter().for_each(Wire::close);
}

fn acknowledge(devices: &[&Device]) {
    for _ in 0..3 {
        for device in devices {
            device.one.db.acknowledge().wait().unwrap();
            settle(&[&device.one]);
        }
        flow(devices);
    }
}

fn claims(devices: &[&Device]) -> bool {
    let claims: Vec<_> = devices.iter().map(|device| device.one.db.state_claim().unwrap()).collect();
    claims.iter().all(|claim| *claim == claims[0])
}

fn events(device: &Device) -> (usize, usize) {
    let events = device.heard.take();
    let of = |which: fn(&Event) -> bool| events.iter().filter(|event| which(event)).count();
    (of(|event| matches!(event, Event::Fork { .. })), of(|event| matches!(event, Event::Moved { .. })))
}

/// A creator and a second indexer with a long history of a third writer, all of it final; a fourth device that has seen
/// nothing of it and was shown another history, from block 0 on, signed with the third one's key.
struct Stolen {
    creator: Device,
    indexer: Device,
    writer: Device,
    misled: Device,
    thief: Device,
}

fn stolen(length: usize, misled_at: u64) -> Stolen {
    let creator = Device::new(None, None);
    let key = creator.local();
    let [indexer, misled] = [Device::new(Some(key), None), Device::new(Some(key), None)];
    let writer = Device::new(Some(key), Some(STOLEN));
    creator.one.append(&[&format!("add {} indexer", hex::encode(indexer.local().0))]);
    for device in [&writer, &misled] {
        creator.one.append(&[&format!("add {}", hex::encode(device.local().0))]);
    }
    flow(&[&creator, &indexer, &misled]);
    flow(&[&creator, &writer]);
    for n in 0..length {
        writer.at(10 + n as u64).put(&format!("true/{n}"));
    }
    for device in [&creator, &indexer] {
        device.at(2_000);
    }
    flow(&[&creator, &indexer, &writer]);
    acknowledge(&[&creator, &indexer, &writer]);
    let thief = Device::new(Some(key), Some(STOLEN));
    flow(&[&thief, &misled]);
    for n in 0..3 {
        thief.at(5 + n).put(&format!("false/{n}"));
    }
    misled.at(misled_at);
    flow(&[&thief, &misled]);
    misled.put("misled/1");
    flow(&[&thief, &misled]);
    Stolen { creator, indexer, writer, misled, thief }
}

fn nothing_final_changes(misled_at: u64) {
    let Stolen { creator, indexer, writer, misled, thief } = stolen(60, misled_at);
    let finals = creator.finals();
    assert!(finals.iter().filter(|(feed, _)| *feed == writer.local()).count() == 60, "the history is final");
    assert!(misled.has("false/2"), "it was misled");
    for device in [&creator, &indexer, &writer, &misled, &thief] {
        events(device);
    }
    let all = [&creator, &indexer, &writer, &misled, &thief];
    flow(&all);
    for device in all {
        let (forks, moved) = events(device);
        assert_eq!(forks, 1, "it is told, once");
        assert!(moved == 0, "what was final stays final");
        assert!(device.has("true/59") && !device.has("false/0"), "what the indexers had linked counts");
        assert!(device.has("misled/1"), "who linked the other branch is applied");
    }
    for device in [&creator, &indexer] {
        assert_eq!(device.finals()[..finals.len()], finals, "and stands where it stood");
    }
    // Everything goes on, but for the feed that forked.
    misled.put("misled/2");
    creator.put("creator/1");
    flow(&all);
    acknowledge(&[&creator, &indexer]);
    flow(&all);
    for device in all {
        assert!(device.has("misled/2") && device.has("creator/1"));
    }
    assert!(claims(&all));
    for device in all {
        let report = device.store.verify(|_| ()).wait().unwrap();
        assert_eq!(report.damages.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
    }
    assert!(creator.finals().len() > finals.len(), "finality goes on");
}

#[test]
fn a_fork_at_block_0_of_a_long_final_feed_changes_nothing_that_was_final() {
    nothing_final_changes(5_000);
}

#[test]
fn nor_does_it_if_the_one_who_was_misled_has_a_clock_that_is_behind() {
    nothing_final_changes(1);
}

#[test]
fn a_key_in_two_hands_makes_nobody_store_without_bound() {
    let Stolen { creator, writer, misled, thief, .. } = stolen(3, 5_000);
    let all = [&creator, &writer, &misled, &thief];
    // Nobody has seen this, and so nobody has linked it.
    let large = vec![b'x'; 8 << 20];
    for _ in 0..11 {
        thief.one.append_with(vec![large.clone()], false).unwrap();
    }
    flow(&all);
    let proof = creator.heard.take().into_iter().find_map(|event| match event {
        Event::Fork { proof, .. } => Some(proof),
        _ => None,
    });
    let parting = Parting::decode(&mut Reader::new(&proof.unwrap())).unwrap();
    for branch in branches(&writer.local(), &parting) {
        let feed = creator.store.feed(FeedChoice::Key(branch)).wait().unwrap();
        let bytes = feed.info().unwrap().byte_length;
        assert!(bytes < 80 << 20, "{bytes} bytes are kept of a branch that does not count");
    }
    assert!(creator.has("misled/1") && creator.has("true/2"), "and it holds up nobody");
}
