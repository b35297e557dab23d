//! The innocent: the victim, and a third device that replicates with it all the time.

use crate::attacker::Attacker;
use crate::support::{Wire, carry_until, connect, get, join, memory, put};
use multi_hyperbee::db::{DatabaseOptions, Db, Store};
use multi_hyperbee::types::FeedKey;
use std::time::Duration;

/// An attacker, and what it does in each second.
type Acting<'a> = (&'a mut Attacker, &'a mut dyn FnMut(&mut Attacker));

pub struct Scene {
    /// The victim, and the third device.
    pub a: Db,
    pub c: Db,
    stores: [Store; 2],
    wire: Option<Wire>,
    pub round: u32,
}

impl Scene {
    /// Both are writers; attackers know at most the key.
    pub fn new() -> Self {
        let stores = [memory(), memory()];
        let a = crate::support::create(&stores[0]);
        let c = join(&stores[1], a.info().unwrap().key);
        a.add_writer(c.info().unwrap().local, false).wait().unwrap();
        Self::with(a, c, stores)
    }

    /// Every announced feed counts: attackers are writers.
    pub fn open() -> Self {
        let stores = [memory(), memory()];
        let open = |store: &Store, key| {
            let options = DatabaseOptions { open: true, key, ..DatabaseOptions::default() };
            store.database(options).wait().unwrap()
        };
        let a = open(&stores[0], None);
        let c = open(&stores[1], Some(a.info().unwrap().key));
        Self::with(a, c, stores)
    }

    fn with(a: Db, c: Db, stores: [Store; 2]) -> Self {
        // The binding, which is linked in here, silences panics: what fails should say so.
        drop(std::panic::take_hook());
        let mut scene = Self { a, c, stores, wire: None, round: 0 };
        scene.reconnect();
        let wire = scene.wire.as_ref().unwrap();
        carry_until(&[wire], || scene.c.status().unwrap().writable);
        scene.undisturbed();
        scene
    }

    pub fn reconnect(&mut self) {
        self.wire = Some(connect(&self.a, &self.c));
    }

    pub fn disconnect(&mut self) {
        self.wire.take().unwrap().close();
    }

    /// Carries what there is, and what follows from it at once.
    pub fn carry_a_while(&self) {
        for _ in 0..10 {
            self.wire.as_ref().unwrap().carry(usize::MAX);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn settle(&self) {
        for store in &self.stores {
            store.settled().wait().unwrap();
        }
    }

    /// Both write, and have each other's entry without a second passing.
    pub fn undisturbed(&mut self) {
        self.undisturbed_within(0, &mut []);
    }

    /// As [`Scene::undisturbed`], within so many seconds, in each of which the attackers do something.
    pub fn undisturbed_within(&mut self, seconds: u32, attackers: &mut [Acting<'_>]) {
        self.round += 1;
        let [from_a, from_c] = ["a", "c"].map(|who| format!("{who}/{}", self.round));
        put(&self.a, &from_a, "{}");
        put(&self.c, &from_c, "{}");
        let wire = self.wire.as_ref().unwrap();
        let mut passed = 0;
        let mut idle = 0;
        loop {
            let moved = wire.carry(usize::MAX);
            if get(&self.a, &from_c).is_some() && get(&self.c, &from_a).is_some() {
                return;
            }
            if moved {
                idle = 0;
                continue;
            }
            std::thread::sleep(Duration::from_millis(1));
            idle += 1;
            // What is ready moves long before that; then only time helps.
            if idle >= if passed < seconds { 100 } else { 20_000 } {
                assert!(passed < seconds, "not there after {passed} seconds");
                (passed, idle) = (passed + 1, 0);
                wire.a.tick();
                wire.b.tick();
                for (attacker, act) in attackers.iter_mut() {
                    attacker.peer.tick();
                    act(attacker);
                }
            }
        }
    }

    pub fn placed(&self, feed: &FeedKey) -> Option<u64> {
        self.a.progress().unwrap().iter().find(|known| known.key == *feed).map(|known| known.placed)
    }

    pub fn have(&self, feed: &FeedKey) -> Option<u64> {
        self.a.progress().unwrap().iter().find(|known| known.key == *feed).map(|known| known.have)
    }

    /// Everything that is stored is verified, on both sides.
    pub fn sound(&self) {
        for store in &self.stores {
            let report = store.verify(|_| ()).wait().unwrap();
            assert!(report.is_clean(), "{:?}", report.damages);
        }
    }
}
