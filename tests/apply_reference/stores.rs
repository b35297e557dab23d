//! Whole stores: replicas that write, grant, part and meet, whose `apply` fails, stops in the middle and forgets what
//! it was handed, whose clocks jump and whose processes end; and the reference over what they hold in the end.

use super::device::{Answer, Device};
use super::history::{self, Change, Command};
use super::support::{Wire, connect};
use multi_hyperbee::apply::Outcome;
use multi_hyperbee::types::FeedKey;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Instant;

const DEVICES: u8 = 4;
const START: u64 = 1_700_000_000_000;

/// More would not fit into the reference's masks.
const MAX_BATCHES: usize = 90;

#[derive(Debug, Clone)]
pub enum Act {
    Append {
        device: u8,
        commands: Vec<Command>,
        answer: Answer,
    },
    /// Whoever is no writer tries all the same.
    Connect(u8, u8),
    Cut(u8),
    /// Bytes are carried on all connections, so many times.
    Carry(u8),
    Step {
        device: u8,
        force: bool,
        answer: Answer,
    },
    Drain(u8),
    Reopen(u8),
    Acknowledge(u8),
    Remember(u8),
    /// A clock jumps, by seconds.
    Jump(u8, i32),
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        5 => Just(Answer::All),
        3 => (0..3_u8).prop_map(Answer::First),
        1 => Just(Answer::Never),
        1 => Just(Answer::Late),
    ]
}

pub fn act() -> impl Strategy<Value = Act> {
    let device = || 0..DEVICES;
    let commands = prop::collection::vec(history::command(DEVICES), 1..4);
    let jump = prop_oneof![3 => -5..5_i32, 1 => -100_000..100_000_i32];
    prop_oneof![
        10 => (device(), commands, answer()).prop_map(|(device, commands, answer)| Act::Append { device, commands, answer }),
        3 => (device(), device()).prop_map(|(a, b)| Act::Connect(a, b)),
        2 => (0..6_u8).prop_map(Act::Cut),
        6 => (1..12_u8).prop_map(Act::Carry),
        5 => (device(), any::<bool>(), answer()).prop_map(|(device, force, answer)| Act::Step { device, force, answer }),
        2 => device().prop_map(Act::Drain),
        1 => device().prop_map(Act::Reopen),
        2 => device().prop_map(Act::Acknowledge),
        2 => device().prop_map(Act::Remember),
        1 => (device(), jump).prop_map(|(device, seconds)| Act::Jump(device, seconds)),
    ]
}

pub struct World {
    pub devices: Vec<Device>,
    pub wires: Vec<(usize, usize, Wire)>,
    pub asking: BTreeSet<(FeedKey, u64)>,
    pub batches: usize,
}

impl World {
    /// The first one creates; the others are granted, every second one as an indexer.
    pub fn new(count: usize) -> Self {
        let mut devices = vec![Device::new(None, START)];
        let key = devices[0].local();
        devices.extend((1..count).map(|_| Device::new(Some(key), START)));
        let mut world = Self { devices, wires: Vec::new(), asking: BTreeSet::new(), batches: 1 };
        for device in 1..count {
            let text = world
                .text(&Command::Change(Change::Add(u8::try_from(device).unwrap(), device % 2 == 1)))
                .unwrap();
            world.append(0, &[text], Answer::All);
        }
        world.converge();
        world
    }

    pub fn key(&self, device: u8) -> FeedKey {
        self.devices[usize::from(device) % self.devices.len()].local()
    }

    fn text(&self, command: &Command) -> Option<String> {
        // Who was declared lost and speaks all the same is not placed by everybody alike: that is no promise.
        let text = history::text(command, |device| self.key(device))?;
        Some(text.replace("lost ", "rm "))
    }

    pub fn append(&mut self, device: usize, values: &[String], answer: Answer) {
        if values.is_empty() || self.batches >= MAX_BATCHES {
            return;
        }
        let count = values.len() as u64;
        let device = &mut self.devices[device];
        let asks = !device.db().status().unwrap().writable;
        if let Some(length) = device.append(values, asks, answer) {
            self.batches += 1;
            if asks {
                self.asking.insert((device.local(), length - count));
            }
        }
    }

    pub fn acknowledge(&mut self, device: usize) -> bool {
        let spoke = self.devices[device].db().acknowledge().wait().unwrap();
        self.batches += usize::from(spoke);
        spoke
    }

    pub fn connect(&mut self, a: usize, b: usize) {
        if a != b && !self.wires.iter().any(|(x, y, _)| (*x, *y) == (a, b) || (*x, *y) == (b, a)) {
            let wire = connect(self.devices[a].db(), self.devices[b].db());
            self.wires.push((a, b, wire));
        }
    }

    fn carry(&self) {
        let moved = self.wires.iter().fold(false, |moved, (_, _, wire)| wire.carry(usize::MAX) || moved);
        if !moved {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    pub fn cut_all(&mut self) {
        self.wires.drain(..).for_each(|(_, _, wire)| wire.close());
    }

    pub fn act(&mut self, act: &Act) {
        let count = self.devices.len();
        let of = |device: &u8| usize::from(*device) % count;
        match act {
            Act::Append { device, commands, answer } => {
                let values: Vec<String> = commands.iter().filter_map(|command| self.text(command)).collect();
                self.append(of(device), &values, *answer);
            }
            Act::Connect(a, b) => self.connect(of(a), of(b)),
            Act::Cut(wire) => {
                if !self.wires.is_empty() {
                    let (_, _, wire) = self.wires.remove(usize::from(*wire) % self.wires.len());
                    wire.close();
                }
            }
            Act::Carry(times) => (0..*times).for_each(|_| self.carry()),
            Act::Step { device, force, answer } => drop(self.devices[of(device)].step(*force, *answer)),
            Act::Drain(device) => self.devices[of(device)].drain(),
            Act::Reopen(device) => {
                let device = of(device);
                self.wires.retain(|(a, b, wire)| {
                    let stays = *a != device && *b != device;
                    if !stays {
                        wire.close();
                    }
                    stays
                });
                self.devices[device].reopen();
            }
            Act::Acknowledge(device) => drop(self.acknowledge(of(device))),
            Act::Remember(device) => self.devices[of(device)].remember(),
            Act::Jump(device, seconds) => {
                let clock = &self.devices[of(device)].clock;
                let jump = |now: u64| Some(now.saturating_add_signed(i64::from(*seconds) * 1_000));
                let order = std::sync::atomic::Ordering::Relaxed;
                clock.fetch_update(order, order, jump).unwrap();
            }
        }
        for device in &mut self.devices {
            device.pass(7);
            device.check();
        }
    }

    /// Everybody meets, in a line, until all have and have applied the same.
    pub fn converge(&mut self) {
        self.cut_all();
        for device in 1..self.devices.len() {
            self.connect(device - 1, device);
        }
        // Optimistic entries are fetched on request alone.
        for at in 0..self.devices.len() {
            for of in 0..self.devices.len() {
                let feed = self.devices[of].local();
                self.devices[at].db().wakeup(feed, u64::MAX).wait().unwrap();
            }
        }
        let start = Instant::now();
        loop {
            self.carry();
            self.devices.iter_mut().for_each(Device::drain);
            let placed = |device: &Device| {
                let progress = device.db().progress().unwrap();
                let lengths = progress.into_iter().filter(|feed| feed.placed > 0);
                lengths.map(|feed| (feed.key, feed.placed)).collect::<Vec<_>>()
            };
            let first = placed(&self.devices[0]);
            let all = self.devices.iter().all(|device| {
                device.db().is_flushed().unwrap()
                    && placed(device) == first
                    && device.db().own_is_placed(&first)
            });
            if all {
                break;
            }
            assert!(start.elapsed().as_secs() < 60, "the connections came to rest before the goal");
        }
        self.devices.iter_mut().for_each(Device::check);
    }

    pub fn check(&self) {
        let first = self.devices[0].sequence();
        let hash = self.devices[0].db().state_hash().unwrap();
        for device in &self.devices {
            let creator = device.db().info().unwrap().key;
            device.check_against_reference(creator, &self.asking);
            let sequence = device.sequence();
            let same = |(a, b): (&multi_hyperbee::db::SequenceEntry, &multi_hyperbee::db::SequenceEntry)| {
                (&a.batch, a.outcome) == (&b.batch, b.outcome)
            };
            assert!(sequence.len() == first.len() && sequence.iter().zip(&first).all(same));
            assert_eq!(device.db().state_hash().unwrap(), hash);
        }
    }
}

/// Acknowledgements until nobody wants one; then all that did anything is final.
fn quieten(world: &mut World) {
    for round in 0.. {
        let spoke = (0..world.devices.len()).filter(|device| world.acknowledge(*device)).count();
        if spoke == 0 {
            break;
        }
        assert!(round < 12, "acknowledgements go on and on");
        world.converge();
    }
    let lost = |change: &multi_hyperbee::causal::Change| change.lost.is_some();
    for device in &world.devices {
        let sequence = device.sequence();
        if sequence.iter().any(|entry| entry.changes.iter().any(lost)) {
            return;
        }
        let length = usize::try_from(device.db().finality().unwrap().length).unwrap();
        let rest = sequence[length..].iter();
        let open: Vec<_> = rest.filter(|entry| entry.outcome == Outcome::Applied).collect();
        assert!(open.is_empty(), "not final, and nobody is asked to speak: {open:#?}");
    }
}

#[test]
fn a_stranger_that_is_rejected_makes_nobody_acknowledge_for_ever() {
    let mut world = World::new(2);
    world.append(0, &[format!("rm {}", world.key(1))], Answer::All);
    world.converge();
    world.append(1, &["mix k0 1".to_owned()], Answer::All);
    world.converge();
    assert!(world.devices[0].sequence().iter().any(|entry| entry.outcome == Outcome::Rejected));
    quieten(&mut world);
    world.check();
}

/// What stands in the tail stands after every step: whoever is waited for in any of them speaks.
#[test]
fn whoever_holds_up_what_stands_in_the_tail_is_asked_to_speak() {
    let mut world = World::new(2);
    let (a, b) = (world.key(0), world.key(1));
    world.act(&Act::Connect(0, 1));
    world.append(0, &[format!("if k0 0 rm {b}")], Answer::All);
    world.append(1, &["mix k0 0".to_owned()], Answer::All);
    world.append(0, &[format!("if k0 0 add {b} indexer"), format!("add {a}")], Answer::All);
    world.converge();
    quieten(&mut world);
    world.check();
}

trait Own {
    fn own_is_placed(&self, placed: &[(FeedKey, u64)]) -> bool;
}

impl Own for multi_hyperbee::db::Db {
    fn own_is_placed(&self, placed: &[(FeedKey, u64)]) -> bool {
        let own = self.progress().unwrap().into_iter().find(|feed| feed.key == self.info().unwrap().local);
        own.is_none_or(|own| own.have == 0 || placed.contains(&(own.key, own.have)))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 150, ..super::config(16) })]

    #[test]
    fn replicas_end_alike_and_nothing_final_or_read_changes(
        count in 2..usize::from(DEVICES) + 1,
        acts in prop::collection::vec(act(), 5..60),
    ) {
        let mut world = World::new(count);
        for act in &acts {
            world.act(act);
        }
        world.converge();
        world.check();
        quieten(&mut world);
    }
}
