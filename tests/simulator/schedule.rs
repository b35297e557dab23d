//! What one seed stands for: the devices, and the steps that happen to them. A step carries its own randomness, so that a
//! schedule from which steps were taken out still means the same for those that are left.

use super::random::Random;

/// Devices, at most.
pub const MOST: usize = 8;

/// Of a hundred times that something is carried a second has passed after so many: what is only partly here is told of
/// with the seconds.
const TICKS: usize = 25;

/// How a database makes its view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Merge,
    Apply,
}

impl Step {
    /// Devices that it is about.
    pub fn devices(&self) -> [Option<usize>; 2] {
        match *self {
            Self::Write { at, .. }
            | Self::Read { at, .. }
            | Self::Snapshot { at }
            | Self::Check { at }
            | Self::Compact { at, .. }
            | Self::Append { at, .. }
            | Self::Apply { at, .. }
            | Self::Drain { at }
            | Self::Acknowledge { at }
            | Self::Clock { at, .. }
            | Self::Reopen { at }
            | Self::Crash { at, .. }
            | Self::Full { at, .. }
            | Self::Backup { at, .. }
            | Self::Fork { at, .. }
            | Self::Lie { at, .. }
            | Self::Local { at, .. }
            | Self::Lost { by: at }
            | Self::Restore { at } => [Some(at), None],
            Self::Connect { a, b, .. } | Self::Meet { a, b, .. } | Self::Chain { a, b, .. } => {
                [Some(a), Some(b)]
            }
            Self::Grant { by: at, who, .. }
            | Self::Revoke { by: at, who }
            | Self::Wake { at, who }
            | Self::AddPeer { at, who }
            | Self::RemovePeer { at, who } => [Some(at), Some(who)],
            Self::Carry { .. }
            | Self::Cut { .. }
            | Self::Tick
            | Self::Part { .. }
            | Self::Heal
            | Self::Rest => [None; 2],
        }
    }
}

impl Step {
    /// In a seed with a fork the creator alone says who takes part, the forked writer never judges, who does judge is not
    /// taken back (feed.md, *Not promised*), and nobody else goes back to a backup.
    fn spare(&mut self, forking: usize, copy: usize) {
        let judges = |who: usize| who == 0 || (who % 2 == 1 && who != forking && who != copy);
        match self {
            Self::Grant { by, who, indexer } => {
                *by = 0;
                *indexer = judges(*who);
            }
            Self::Revoke { by, who } if !judges(*who) => *by = 0,
            Self::Revoke { .. } | Self::Restore { .. } => *self = Self::Rest,
            _ => {}
        }
    }
}

#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each turns on one thing, independent of the others")]
pub struct Setup {
    pub devices: usize,
    /// The databases: one, or one of each.
    pub modes: Vec<Mode>,
    /// In apply mode: strangers may ask.
    pub optimistic: bool,
    /// One database, created by the first device and joined by the others; else each has its own. In apply mode it is
    /// always one.
    pub shared: bool,
    /// Clocks that jump by minutes and years.
    pub lying: bool,
    /// Devices may add each other's feeds by choice.
    pub choosing: bool,
    /// All databases are encrypted, with one key.
    pub encrypted: bool,
    /// A device, no indexer, comes to sign two histories. What the document does not promise then stays away: clocks that
    /// lie, and grants that hang on what the forked writer says.
    pub forking: Option<usize>,
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
    /// Old versions go, and perhaps the file is written anew.
    Compact {
        at: usize,
        seed: u64,
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
    /// Much that one has written comes in parts to another, and from there to a third, for a while.
    Chain {
        a: usize,
        b: usize,
        seed: u64,
    },
    Cut {
        seed: u64,
    },
    Tick,
    /// Apply mode: a batch.
    Append {
        at: usize,
        seed: u64,
    },
    /// Apply mode: one piece is asked for, and answered or not.
    Apply {
        at: usize,
        seed: u64,
    },
    /// Apply mode: pieces, until there is none.
    Drain {
        at: usize,
    },
    Acknowledge {
        at: usize,
    },
    /// Apply mode: a device asks for another's feed, granted or not.
    Wake {
        at: usize,
        who: usize,
    },
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
    /// While it writes the disk is full, or the power goes in the middle of the commit.
    Full {
        at: usize,
        seed: u64,
        crash: bool,
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
    /// Its store is copied, and both copies go on: the other as a device more. Or (`!copied`) it goes on from an older
    /// copy, whose user says wrongly that nothing is missing.
    Fork {
        at: usize,
        copied: bool,
    },
    /// A liar meets it.
    Lie {
        at: usize,
        seed: u64,
    },
    /// Apply mode: it writes another feed from now on.
    Local {
        at: usize,
        seed: u64,
    },
    /// Apply mode: an indexer who has all of a feed that its writer writes no more declares it lost.
    Lost {
        by: usize,
    },
    /// Devices whose bits differ cannot reach each other.
    Part {
        groups: u64,
    },
    Heal,
    /// All that can flow over the connections there are flows.
    Rest,
}

impl Setup {
    /// One shared database in merge mode, and nothing odd.
    pub fn plain(devices: usize) -> Self {
        Self {
            devices,
            modes: vec![Mode::Merge],
            optimistic: false,
            shared: true,
            lying: false,
            choosing: false,
            encrypted: false,
            forking: None,
            secrets: (1..).take(devices).map(|byte| [byte; 32]).collect(),
            maps: vec![None; devices],
        }
    }

    pub fn has(&self, mode: Mode) -> bool {
        self.modes.contains(&mode)
    }
}

pub fn setup(random: &mut Random) -> Setup {
    // Three mostly: what needs more is rare, and what two do is done by three.
    let devices = random.pick(&[2, 3, 3, 3, 3, 4, 4, 5, 6, MOST]);
    let modes = match random.below(100) {
        0..45 => vec![Mode::Merge],
        45..80 => vec![Mode::Apply],
        _ => vec![Mode::Merge, Mode::Apply],
    };
    let forks = devices < MOST && random.chance(18);
    let forking = forks.then(|| 1 + random.below(devices - 1));
    Setup {
        encrypted: false,
        devices,
        modes,
        optimistic: random.chance(50) && !forks,
        shared: random.chance(75) || forks,
        lying: random.chance(50) && !forks,
        choosing: random.chance(25) && !forks,
        forking,
        secrets: (0..devices).map(|_| random.secret()).collect(),
        maps: (0..devices).map(|_| random.chance(50).then_some(64 << 10)).collect(),
    }
}

pub fn steps(setup: &Setup, random: &mut Random) -> Vec<Step> {
    let count = 100 + random.below(220);
    let mut steps = Vec::new();
    // Most devices are there from the beginning; others are granted later, if ever.
    for who in 1..setup.devices {
        if (setup.shared || setup.has(Mode::Apply)) && random.chance(70) {
            steps.push(Step::Grant { by: 0, who, indexer: random.chance(30) });
            steps.push(Step::Meet { a: 0, b: who, once: random.chance(20) });
        }
        if !setup.shared && setup.has(Mode::Merge) {
            steps.push(Step::AddPeer { at: random.below(setup.devices), who });
        }
    }
    // A device more than there were: the copy, once there is one.
    let mut more = setup.clone();
    let fork_at = setup.forking.map(|at| (at, count / 8 + random.below(count / 2)));
    let copied = random.chance(70);
    for number in 0..count {
        if let Some((at, _)) = fork_at.filter(|(_, then)| *then == number) {
            steps.push(Step::Fork { at, copied });
            more.devices += usize::from(copied);
        }
        if let Some((at, _)) = fork_at.filter(|(_, then)| !copied && then / 2 == number) {
            steps.push(Step::Backup { at, made: random.chance(50) });
        }
        let next = step(&more, random);
        // Mostly the creator has all that was written before, and says that no more of it will come.
        let left = match next {
            Step::Local { at, .. } if at > 0 && random.chance(60) => Some(at),
            _ => None,
        };
        steps.extend(left.map(|at| Step::Meet { a: 0, b: at, once: false }));
        let is_second = matches!(next, Step::Carry { .. }) && random.chance(TICKS);
        steps.push(next);
        steps.extend(is_second.then_some(Step::Tick));
        steps.extend(left.map(|_| Step::Lost { by: 0 }));
    }
    if let Some(forking) = setup.forking {
        steps.iter_mut().for_each(|step| step.spare(forking, setup.devices));
    }
    steps
}

/// What users do: in a store of both modes to either.
fn use_it(setup: &Setup, random: &mut Random, [at, who]: [usize; 2]) -> Step {
    let seed = random.next();
    let is_apply = setup.has(Mode::Apply) && (!setup.has(Mode::Merge) || random.chance(50));
    match (is_apply, random.below(36)) {
        (false, 0..30) => Step::Write { at, seed },
        (false, _) => Step::Read { at, seed },
        (true, 0..19) => Step::Append { at, seed },
        (true, 19..29) => Step::Apply { at, seed },
        (true, 29..32) => Step::Drain { at },
        (true, 32..34) => Step::Acknowledge { at },
        (true, _) => Step::Wake { at, who },
    }
}

#[expect(clippy::match_same_arms, reason = "the arms stand in the order of their chances")]
fn step(setup: &Setup, random: &mut Random) -> Step {
    let device = |random: &mut Random| random.below(setup.devices);
    let at = device(random);
    let seed = random.next();
    // The creator, who may grant, does so more often.
    let by = if random.chance(50) { 0 } else { device(random) };
    let who = device(random);
    let choosing = setup.has(Mode::Merge) && (setup.choosing || !setup.shared);
    match random.below(100) {
        0..36 => use_it(setup, random, [at, who]),
        36..38 => Step::Snapshot { at },
        38..41 => Step::Check { at },
        41..50 => Step::Connect { a: at, b: who, seed },
        50..68 => Step::Carry { seed },
        68..74 => Step::Meet { a: at, b: who, once: random.chance(30) },
        74..77 => Step::Cut { seed },
        77..78 if random.chance(25) => Step::Lie { at, seed },
        77..78 if setup.forking.is_none() && random.chance(35) => Step::Local { at, seed },
        77..78 if random.chance(50) => Step::Lost { by },
        77..78 => Step::Tick,
        78..81 => Step::Clock { at, seed },
        81..86 => Step::Grant { by, who, indexer: random.chance(40) },
        86..88 => Step::Revoke { by, who },
        88..90 if choosing => Step::AddPeer { at, who },
        90..91 if choosing => Step::RemovePeer { at, who },
        88..91 => use_it(setup, random, [at, who]),
        91..93 => Step::Reopen { at },
        93 => Step::Crash { at, unseen: random.chance(40).then_some(seed) },
        94 if random.chance(50) => Step::Crash { at, unseen: random.chance(40).then_some(seed) },
        94 => Step::Full { at, seed, crash: random.chance(50) },
        95 if random.chance(75) => Step::Backup { at, made: random.chance(60) },
        95 => Step::Part { groups: random.next() },
        96 if random.chance(60) => Step::Heal,
        96 => Step::Chain { a: at, b: who, seed },
        97 => Step::Compact { at, seed },
        98 if random.chance(60) => Step::Compact { at, seed },
        99 if random.chance(75) => Step::Restore { at },
        _ => Step::Rest,
    }
}
