//! What one seed stands for: the devices, and the steps that happen to them. A step carries its own randomness, so that a
//! schedule from which steps were taken out still means the same for those that are left.

use super::random::Random;

/// Devices, at most.
pub const MOST: usize = 5;

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each turns on one thing, independent of the others")]
pub struct Setup {
    pub devices: usize,
    /// One database, created by the first device and joined by the others; else each has its own.
    pub shared: bool,
    /// Clocks that jump by minutes and years.
    pub lying: bool,
    /// Devices may add each other's feeds by choice.
    pub choosing: bool,
    /// All databases are encrypted, with one key.
    pub encrypted: bool,
    pub secrets: Vec<[u8; 32]>,
    /// Address space of each store at first.
    pub maps: Vec<Option<usize>>,
}

#[derive(Clone, Debug)]
pub enum Step {
    Write {
        at: usize,
        seed: u64,
    },
    /// A user looks at a key, and may put later what it saw.
    Read {
        at: usize,
        seed: u64,
    },
    Snapshot {
        at: usize,
    },
    Check {
        at: usize,
    },
    Connect {
        a: usize,
        b: usize,
        seed: u64,
    },
    Carry {
        seed: u64,
    },
    /// Two devices are in reach of each other until both have all that the other has. `once`: the connection is over
    /// when they have.
    Meet {
        a: usize,
        b: usize,
        once: bool,
    },
    Cut {
        seed: u64,
    },
    Tick,
    Clock {
        at: usize,
        seed: u64,
    },
    Grant {
        by: usize,
        who: usize,
        indexer: bool,
    },
    Revoke {
        by: usize,
        who: usize,
    },
    AddPeer {
        at: usize,
        who: usize,
    },
    RemovePeer {
        at: usize,
        who: usize,
    },
    /// Closed and opened again.
    Reopen {
        at: usize,
    },
    /// The process ends at a commit, perhaps one with a write whose reply nobody saw.
    Crash {
        at: usize,
        unseen: Option<u64>,
    },
    /// Its files are copied, by hand or by the store itself (`made`).
    Backup {
        at: usize,
        made: bool,
    },
    /// It goes on from the last copy, if somebody else has all it has written since. Until that has come back it meets
    /// nobody who has less, and what is written there stands after that.
    Restore {
        at: usize,
    },
    /// Devices whose bits differ cannot reach each other.
    Part {
        groups: u64,
    },
    Heal,
    /// All that can flow over the connections there are flows.
    Rest,
}

pub fn setup(random: &mut Random) -> Setup {
    let devices = 2 + random.below(MOST - 1);
    Setup {
        encrypted: false,
        devices,
        shared: random.chance(75),
        lying: random.chance(50),
        choosing: random.chance(25),
        secrets: (0..devices).map(|_| random.secret()).collect(),
        maps: (0..devices).map(|_| random.chance(50).then_some(64 << 10)).collect(),
    }
}

pub fn steps(setup: &Setup, random: &mut Random) -> Vec<Step> {
    let count = 20 + random.below(140);
    let mut steps = Vec::new();
    // Most devices are there from the beginning; others are granted later, if ever.
    for who in 1..setup.devices {
        if setup.shared && random.chance(70) {
            steps.push(Step::Grant { by: 0, who, indexer: random.chance(30) });
            steps.push(Step::Meet { a: 0, b: who, once: random.chance(20) });
        }
        if !setup.shared {
            steps.push(Step::AddPeer { at: random.below(setup.devices), who });
        }
    }
    for _ in 0..count {
        steps.push(step(setup, random));
    }
    steps
}

#[expect(clippy::match_same_arms, reason = "the arms stand in the order of their chances")]
fn step(setup: &Setup, random: &mut Random) -> Step {
    let device = |random: &mut Random| random.below(setup.devices);
    let at = device(random);
    let seed = random.next();
    // The creator, who may grant, does so more often.
    let by = if random.chance(50) { 0 } else { device(random) };
    let who = device(random);
    let choosing = setup.choosing || !setup.shared;
    match random.below(100) {
        0..30 => Step::Write { at, seed },
        30..36 => Step::Read { at, seed },
        36..38 => Step::Snapshot { at },
        38..41 => Step::Check { at },
        41..50 => Step::Connect { a: at, b: who, seed },
        50..68 => Step::Carry { seed },
        68..74 => Step::Meet { a: at, b: who, once: random.chance(30) },
        74..77 => Step::Cut { seed },
        77..78 => Step::Tick,
        78..81 => Step::Clock { at, seed },
        81..86 => Step::Grant { by, who, indexer: random.chance(40) },
        86..88 => Step::Revoke { by, who },
        88..90 if choosing => Step::AddPeer { at, who },
        90..91 if choosing => Step::RemovePeer { at, who },
        88..91 => Step::Write { at, seed },
        91..93 => Step::Reopen { at },
        93..95 => Step::Crash { at, unseen: random.chance(40).then_some(seed) },
        95 if random.chance(40) => Step::Backup { at, made: random.chance(50) },
        95 if random.chance(75) => Step::Restore { at },
        95..96 => Step::Part { groups: random.next() },
        96..98 => Step::Heal,
        _ => Step::Rest,
    }
}
