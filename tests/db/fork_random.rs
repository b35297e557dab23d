//! Feeds that fork in random histories: whoever has the same blocks has the same view, and it is the one that a naive
//! reading of docs/design/feed.md (*A feed that has forked*) says.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::{Wire, connect, create, get, join, put_write};
use multi_hyperbee::codec::Reader;
use multi_hyperbee::db::{Code, Db, Event, FeedChoice, Location, Store, StoreOptions, Subscription};
use multi_hyperbee::entry::{Entry, Op, Place};
use multi_hyperbee::feed::branches;
use multi_hyperbee::merkle::{Node, Parting, Roots};
use multi_hyperbee::types::FeedKey;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const CREATOR: usize = 0;
/// The device that forks; the copy of its store comes after it.
const FORKER: usize = 3;
const DEVICES: usize = 5;

struct Device {
    dir: PathBuf,
    store: Store,
    db: Db,
    heard: Subscription,
    /// Whom it joined; none: it is the creator's.
    key: Option<FeedKey>,
}

fn open(dir: &Path, key: Option<FeedKey>) -> Device {
    let store = Store::open(&Location::Path(dir.to_owned()), &StoreOptions::default()).unwrap();
    let db = key.map_or_else(|| create(&store), |key| join(&store, key));
    let heard = db.subscribe(Arc::new(|| {})).unwrap();
    Device { dir: dir.to_owned(), store, db, heard, key }
}

impl Device {
    fn local(&self) -> FeedKey {
        self.db.info().unwrap().local
    }

    fn close(&self) {
        self.db.close().wait().unwrap();
        self.store.close().wait().unwrap();
    }

    fn blocks(&self, feed: FeedKey) -> Vec<Vec<u8>> {
        self.blocks_from(feed, 0)
    }

    fn blocks_from(&self, feed: FeedKey, from: u64) -> Vec<Vec<u8>> {
        let feed = self.store.feed(FeedChoice::Key(feed)).wait().unwrap();
        (from..feed.info().unwrap().length).map(|seq| feed.get(seq).unwrap().unwrap()).collect()
    }
}

#[derive(Clone, Debug)]
enum Act {
    Write(usize),
    /// All that flows between two devices flows.
    Meet(usize, usize),
    Reopen(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..DEVICES).prop_map(Act::Write),
        // The two that sign one feed write more than others.
        2 => (FORKER..DEVICES).prop_map(Act::Write),
        5 => (0..DEVICES, 0..DEVICES).prop_map(|(a, b)| Act::Meet(a, b)),
        1 => (0..DEVICES).prop_map(Act::Reopen),
    ]
}

struct World {
    _dir: TempDir,
    devices: Vec<Device>,
    key: FeedKey,
    feed: FeedKey,
    /// Keys that were acknowledged to a writer that signs one history.
    written: Vec<String>,
    number: u64,
    proof: Option<Parting>,
}

impl World {
    /// `before`: entries that the histories have in common beyond the first. `is_creator`: the creator's feed forks.
    fn new(before: u64, is_creator: bool, indexer: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let creator = open(&path("0"), None);
        let key = creator.local();
        let mut devices = vec![creator];
        for name in ["1", "2", "3"] {
            devices.push(open(&path(name), Some(key)));
        }
        for (at, is_indexer) in [(1, indexer), (2, false), (FORKER, false)] {
            let feed = devices[at].local();
            devices[CREATOR].db.add_writer(feed, is_indexer).wait().unwrap();
        }
        let mut world = Self {
            _dir: dir,
            key,
            feed: devices[FORKER].local(),
            devices,
            written: Vec::new(),
            number: 0,
            proof: None,
        };
        world.meet_all(3);
        let at = if is_creator { CREATOR } else { FORKER };
        for _ in 0..before {
            world.write(at);
        }
        world.meet_all(3);
        if is_creator {
            // The devices change places: the one that is copied is always the fourth.
            world.devices.swap(CREATOR, FORKER);
            world.feed = key;
        }
        let forker = &world.devices[FORKER];
        forker.close();
        let (from, to, key) = (forker.dir.clone(), from_to(&forker.dir), forker.key);
        std::fs::create_dir(&to).unwrap();
        std::fs::copy(from.join("data.mdb"), to.join("data.mdb")).unwrap();
        world.devices[FORKER] = open(&from, key);
        world.devices.push(open(&to, key));
        world
    }

    fn write(&mut self, at: usize) {
        self.number += 1;
        let name = format!("{at}/{}", self.number);
        let result = self.devices[at].db.write(vec![put_write(&name, "{}")]).wait().unwrap().remove(0);
        match result {
            Ok(_) if at < FORKER => self.written.push(name),
            Ok(_) => {}
            Err(error) => assert!(
                at >= FORKER && [Code::Forked, Code::Restored, Code::NotWritable].contains(&error.code),
                "{error}"
            ),
        }
    }

    fn carry(&self, wires: &[&Wire], mut done: impl FnMut() -> bool) -> bool {
        let start = Instant::now();
        let mut still = 0;
        while still < 12 && start.elapsed() < Duration::from_secs(20) {
            let mut moved = false;
            for wire in wires {
                moved |= wire.carry(usize::MAX);
            }
            // What came is on disk, and what that made is ready to be sent.
            self.devices.iter().for_each(|device| drop(device.store.settled().wait()));
            if done() {
                return true;
            }
            still = if moved { 0 } else { still + 1 };
            if !moved {
                for wire in wires {
                    wire.a.tick();
                    wire.b.tick();
                }
            }
        }
        false
    }

    fn meet(&self, a: usize, b: usize) {
        if a != b {
            let wire = connect(&self.devices[a].db, &self.devices[b].db);
            self.carry(&[&wire], || false);
            wire.close();
        }
    }

    fn meet_all(&self, rounds: usize) {
        for _ in 0..rounds {
            for a in 0..self.devices.len() {
                (0..a).for_each(|b| self.meet(a, b));
            }
        }
    }

    fn reopen(&mut self, at: usize) {
        self.devices[at].close();
        let (dir, key) = (self.devices[at].dir.clone(), self.devices[at].key);
        self.devices[at] = open(&dir, key);
    }

    /// Takes what was reported.
    fn listen(&mut self) {
        for event in self.devices.iter().flat_map(|device| device.heard.take()) {
            if let Event::Fork { feed, proof, .. } = event {
                let parting = Parting::decode(&mut Reader::new(&proof)).unwrap();
                assert_eq!((feed, parting.verify(&feed)), (self.feed, Ok(())));
                self.proof = Some(parting);
            }
        }
    }

    /// Which of two histories counts: read from the blocks alone.
    fn expected(&self, common: usize, [a, b]: [&Vec<Vec<u8>>; 2]) -> usize {
        let mut indexers = BTreeSet::from([self.key]);
        let creators = self.devices[0].blocks(self.key);
        let undoubted = if self.feed == self.key { common } else { creators.len() };
        for block in &creators[..undoubted.min(creators.len())] {
            if let Op::Grant { writer, indexer: true, .. } = Entry::decode(block).unwrap().op {
                indexers.insert(writer);
            }
        }
        let mut first = None;
        for at in 0..FORKER {
            let writer = self.devices[at].local();
            for (seq, block) in self.devices[at].blocks(writer).iter().enumerate() {
                let Place::First(head) = Entry::decode(block).unwrap().place else { continue };
                for link in head.links.iter().filter(|link| link.feed == self.feed) {
                    let length = usize::try_from(link.length).unwrap();
                    if length <= common {
                        continue;
                    }
                    for (side, history) in [a, b].into_iter().enumerate() {
                        if length <= history.len() && root(&history[..length]) == link.root {
                            let rank = (!indexers.contains(&writer), head.timestamp, writer, seq, side);
                            first =
                                Some(first.map_or(rank, |first: (bool, u64, FeedKey, usize, usize)| {
                                    first.min(rank)
                                }));
                        }
                    }
                }
            }
        }
        let by_leaf = usize::from(leaf(&a[common]) > leaf(&b[common]));
        first.map_or(by_leaf, |(.., side)| side)
    }
}

/// What a link to all of these blocks carries; that it is the document's root is tested with the tree.
fn root(blocks: &[Vec<u8>]) -> [u8; 16] {
    let mut roots = Roots::new();
    for block in blocks {
        roots.push(Node::leaf(block), |_, _, _| ());
    }
    roots.hash()[..16].try_into().unwrap()
}

fn leaf(block: &[u8]) -> [u8; 32] {
    let length = (block.len() as u64).to_be_bytes();
    *blake3::hash(&[&[0][..], &length, block].concat()).as_bytes()
}

fn from_to(dir: &Path) -> PathBuf {
    dir.with_extension("copy")
}

fn settle(world: &World) {
    let devices = &world.devices;
    let pairs = (0..DEVICES).flat_map(|a| (0..a).map(move |b| (a, b)));
    let wires: Vec<Wire> = pairs.map(|(a, b)| connect(&devices[a].db, &devices[b].db)).collect();
    let all: Vec<&Wire> = wires.iter().collect();
    let claims = || devices.iter().map(|device| device.db.state_claim().unwrap()).collect::<Vec<_>>();
    let same = world.carry(&all, || {
        let claims = claims();
        claims.iter().all(|claim| *claim == claims[0])
            && devices.iter().all(|device| device.db.is_flushed().unwrap())
    });
    let progress: Vec<_> = devices.iter().map(|device| device.db.progress().unwrap()).collect();
    assert!(same, "views that stay different: {progress:#?}");
}

fn check(mut world: World, acts: &[Act]) {
    for act in acts {
        match *act {
            Act::Write(at) => world.write(at),
            Act::Meet(a, b) => world.meet(a, b),
            Act::Reopen(at) => world.reopen(at),
        }
        world.listen();
    }
    settle(&world);
    world.listen();
    for at in 0..DEVICES {
        world.reopen(at);
    }
    settle(&world);
    for device in &world.devices {
        for name in &world.written {
            assert!(get(&device.db, name).is_some(), "{name} was acknowledged to who signs one history");
        }
    }
    let here: Vec<_> = world.devices.iter().map(|device| device.blocks(world.feed)).collect();
    assert!(here.iter().all(|blocks| *blocks == here[0]), "all hold the same of it");
    if let Some(parting) = &world.proof {
        check_choice(&world, parting, &here[0]);
    }
    for device in &world.devices {
        let report = device.store.verify(|_| ()).wait().unwrap();
        assert_eq!(report.damages.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
        device.close();
    }
}

/// What counts, against the document.
fn check_choice(world: &World, parting: &Parting, here: &[Vec<u8>]) {
    // Both branches can be read everywhere, under names of their own.
    let common = usize::try_from(parting.common).unwrap();
    let sides = branches(&world.feed, parting).map(|branch| {
        let of_each: Vec<_> =
            world.devices.iter().map(|device| device.blocks_from(branch, parting.common)).collect();
        assert!(of_each.iter().all(|blocks| *blocks == of_each[0]), "all hold the same of each branch");
        [&here[..common], &of_each[0]].concat()
    });
    let expected = &sides[world.expected(common, sides.each_ref())];
    assert_eq!(here, expected, "and it is what was linked first");
}

/// Each opens five stores some times: `PROPTEST_CASES` makes it more.
fn cases() -> ProptestConfig {
    let default = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() {
        default
    } else {
        ProptestConfig { cases: 8, ..default }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 50, ..cases() })]

    #[test]
    fn whoever_has_the_same_blocks_has_the_same_view(
        before in 0_u64..4,
        is_creator in prop::bool::weighted(0.2),
        indexer in any::<bool>(),
        acts in prop::collection::vec(act(), 8..40),
    ) {
        let _ = std::panic::take_hook();
        check(World::new(before, is_creator, indexer), &acts);
    }
}
