//! Devices, the connections between them, and what each step does to them.

use super::apply_user::{self, is_anchor};
use super::coverage::{count, count_if};
use super::device::Device;
use super::line::{Kind, Line};
use super::random::Random;
use super::replica::Replica;
use super::schedule::{Mode, Setup, Step};
use super::{check, user};
use multi_hyperbee::db::Error;
use multi_hyperbee::types::FeedKey;

/// When the world begins: microseconds since 1970.
pub const BEGIN: u64 = 1_790_000_000_000_000;

/// Connections at a time.
const MOST_LINES: usize = 8;

/// Rounds of carrying everything after which it must have come to rest.
const MOST_ROUNDS: usize = 2_000;

pub struct World {
    pub setup: Setup,
    pub now: u64,
    pub devices: Vec<Device>,
    pub lines: Vec<Line>,
    /// Devices with different bits cannot reach each other.
    pub groups: u64,
    /// Everyone has what was acknowledged of its own feeds: anybody may be met.
    pub all_are_back: bool,
}

/// Runs a schedule; the error says at which step, and the first difference.
pub fn run(setup: &Setup, steps: &[Step]) -> Result<(), String> {
    let mut world = World::new(setup)?;
    for (number, step) in steps.iter().enumerate() {
        world.step(step).map_err(|what| format!("step {number}, {step:?}: {what}"))?;
    }
    world.finish().map_err(|what| format!("after all steps: {what}"))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub fn text(error: Error) -> String {
    format!("{error} ({:?})", error.code)
}

impl World {
    fn new(setup: &Setup) -> Result<Self, String> {
        let first = Device::new(setup, 0, &vec![None; setup.modes.len()])?;
        let is_joined = |replica: &Replica| setup.shared || replica.mode == Mode::Apply;
        let replicas = first.replicas.iter();
        let keys: Vec<Option<FeedKey>> =
            replicas.map(|replica| is_joined(replica).then(|| replica.local())).collect();
        let mut devices = vec![first];
        for index in 1..setup.devices {
            devices.push(Device::new(setup, index, &keys)?);
        }
        Ok(Self {
            setup: setup.clone(),
            now: BEGIN,
            devices,
            lines: Vec::new(),
            groups: 0,
            all_are_back: false,
        })
    }

    #[expect(clippy::too_many_lines, reason = "a table: what each step is")]
    fn step(&mut self, step: &Step) -> Result<(), String> {
        self.now += 700_000;
        self.devices.iter().for_each(|device| device.set_clock(self.now));
        // The copy of a device that was never copied, where steps were left out.
        if step.devices().into_iter().flatten().any(|at| at >= self.devices.len()) {
            return Ok(());
        }
        match *step {
            Step::Write { at, seed } => {
                let Some(replica) = self.devices[at].replica(Mode::Merge) else { return Ok(()) };
                let random = &mut Random::new(seed);
                replica.learn_own()?;
                let write = user::write(replica, random);
                user::act(replica, &write)
            }
            Step::Read { at, seed } => {
                count("read");
                self.devices[at].read(&mut Random::new(seed))
            }
            Step::Snapshot { at } => {
                count("snapshot");
                self.devices[at].replicas.iter_mut().try_for_each(Replica::look)
            }
            Step::Compact { at, seed } => self.devices[at].compact(&mut Random::new(seed)),
            Step::Check { at } => {
                count("check");
                let lying = self.setup.lying;
                self.devices[at].replicas.iter_mut().try_for_each(|replica| check::replica(replica, lying))
            }
            Step::Connect { a, b, seed } => self.connect(a, b, Kind::Weak, &mut Random::new(seed)),
            Step::Carry { seed } => {
                let random = &mut Random::new(seed);
                if self.lines.is_empty() {
                    return Ok(());
                }
                count("carry");
                let line = random.below(self.lines.len());
                self.lines[line].carry(&self.devices, random)?;
                self.end_lines(random, Line::is_broken)
            }
            Step::Meet { a, b, once } => self.meet(a, b, once),
            Step::Chain { a, b, seed } => self.chain(a, b, &mut Random::new(seed)),
            Step::Cut { seed } => {
                let random = &mut Random::new(seed);
                let ends = [random.below(self.setup.devices), random.below(self.setup.devices)];
                self.end_lines(random, |line| line.ends.contains(&ends[0]) && line.ends.contains(&ends[1]))
            }
            Step::Tick => {
                count("tick");
                self.lines.iter_mut().try_for_each(|line| line.tick(&self.devices))
            }
            Step::Append { at, seed } => {
                let random = &mut Random::new(seed);
                let values = apply_user::values(random, &self.about());
                let Some(replica) = self.devices[at].replica(Mode::Apply) else { return Ok(()) };
                apply_user::act(replica, &values, apply_user::answer(random))
            }
            Step::Apply { at, seed } => {
                let random = &mut Random::new(seed);
                let Some(replica) = self.devices[at].replica(Mode::Apply) else { return Ok(()) };
                apply_user::step(replica, random.chance(50), apply_user::answer(random)).map(drop)
            }
            Step::Drain { at } => {
                let Some(replica) = self.devices[at].replica(Mode::Apply) else { return Ok(()) };
                count("drain");
                apply_user::drain(replica)
            }
            Step::Acknowledge { at } => {
                let Some(replica) = self.devices[at].replica(Mode::Apply) else { return Ok(()) };
                apply_user::acknowledge(replica).map(drop)
            }
            Step::Wake { at, who } => {
                let Some(replica) = self.devices[who].replica(Mode::Apply) else { return Ok(()) };
                count("wake");
                let feed = replica.local();
                self.wake(at, feed)
            }
            Step::Clock { at, seed } => {
                self.set_clock(at, &mut Random::new(seed));
                Ok(())
            }
            Step::Grant { by, who, indexer } => self.control(by, who, Some(indexer)),
            Step::Revoke { by, who } => self.control(by, who, None),
            Step::AddPeer { at, who } => self.add_peer(at, who),
            Step::RemovePeer { at, who } => self.remove_peer(at, who),
            Step::Reopen { at } => {
                count("reopen");
                self.end_lines(&mut Random::new(1), |line| line.ends.contains(&at))?;
                self.devices[at].reopen()
            }
            Step::Crash { at, unseen } => {
                count("crash");
                self.end_lines(&mut Random::new(2), |line| line.ends.contains(&at))?;
                if let Some(seed) = unseen.filter(|_| !self.devices[at].is_mute()) {
                    self.write_unseen(at, &mut Random::new(seed));
                }
                self.devices[at].settle();
                self.devices[at].crash()
            }
            Step::Full { at, seed, crash } => self.write_on_full_disk(at, &mut Random::new(seed), crash),
            Step::Backup { at, made } => {
                let done = self.devices[at].back_up(made)?;
                count_if(done, if made { "backup by the store" } else { "backup by hand" });
                Ok(())
            }
            Step::Restore { at } => self.restore(at),
            Step::Fork { at, copied } => self.fork(at, copied),
            Step::Lie { at, seed } => self.lie(at, &mut Random::new(seed)),
            Step::Lost { by } => self.declare_lost(by),
            Step::Local { at, seed } => self.set_local(at, &mut Random::new(seed)),
            Step::Part { groups } => {
                count("partition");
                self.groups = groups;
                self.end_lines(&mut Random::new(3), |line| is_parted(groups, line.ends))
            }
            Step::Heal => {
                self.groups = 0;
                Ok(())
            }
            Step::Rest => self.rest(),
        }
    }

    /// The writers there may be, of the database in apply mode.
    pub fn feeds(&mut self) -> Vec<FeedKey> {
        self.devices.iter_mut().filter_map(|device| device.replica(Mode::Apply)).map(|r| r.local()).collect()
    }

    /// Whom what is appended may grant or revoke: where a feed forks that must not hang on the view.
    pub fn about(&mut self) -> Vec<FeedKey> {
        if self.setup.forking.is_some() { Vec::new() } else { self.feeds() }
    }

    pub fn wake(&mut self, at: usize, feed: FeedKey) -> Result<(), String> {
        let Some(replica) = self.devices[at].replica(Mode::Apply) else { return Ok(()) };
        replica.db().wakeup(feed, u64::MAX).wait().map_err(text)
    }

    pub fn connect(&mut self, a: usize, b: usize, kind: Kind, random: &mut Random) -> Result<(), String> {
        if a == b || is_parted(self.groups, [a, b]) || self.lines.len() >= MOST_LINES && kind == Kind::Weak {
            return Ok(());
        }
        for (older, with) in [(a, b), (b, a)] {
            if !self.all_are_back
                && self.devices[older].is_older()
                && !self.has_ledger(with, older, Replica::is_older)?
            {
                return Ok(());
            }
        }
        count("connect");
        let line = Line::new(&self.devices, [a, b], kind, random)?;
        self.lines.push(line);
        Ok(())
    }

    /// A connection of its own beside those there are, for as long as it has something to say.
    pub fn meet(&mut self, a: usize, b: usize, once: bool) -> Result<(), String> {
        let before = self.lines.len();
        count(if once { "meet once" } else { "meet" });
        let kind = if once { Kind::Once } else { Kind::Whole };
        self.connect(a, b, kind, &mut Random::new(8))?;
        let Some(mut line) = (self.lines.len() > before).then(|| self.lines.pop()).flatten() else {
            return Ok(());
        };
        let mut still = 0;
        for _ in 0..MOST_ROUNDS {
            still = if line.carry_all(&self.devices)? { 0 } else { still + 1 };
            if still > 7 {
                // What another connection is at is waited for, and so is what only a third device has: until then this
                // one is not over. Without a database in common it never is.
                let alone =
                    self.lines.iter().all(|other| !other.ends.contains(&a) && !other.ends.contains(&b));
                if self.setup.shared && alone && self.is_placed(a)? && self.is_placed(b)? {
                    line.must_be_finished()?;
                }
                return line.end(&self.devices, &mut Random::new(9));
            }
            line.tick(&self.devices)?;
        }
        Err(format!("bytes still move after {MOST_ROUNDS} rounds"))
    }

    fn is_placed(&self, at: usize) -> Result<bool, String> {
        for replica in &self.devices[at].replicas {
            let feeds = replica.db().progress().map_err(text)?;
            if feeds.iter().any(|feed| feed.placed != feed.have && !is_anchor(&feed.key)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub fn end_lines(&mut self, random: &mut Random, which: impl Fn(&Line) -> bool) -> Result<(), String> {
        let (end, stay): (Vec<_>, Vec<_>) = self.lines.drain(..).partition(|line| which(line));
        self.lines = stay;
        end.iter().for_each(|line| count(if line.is_broken() { "cut after so many bytes" } else { "cut" }));
        end.into_iter().try_for_each(|line| line.end(&self.devices, random))
    }

    /// Carries everything until nothing moves, not even after a while.
    pub fn rest(&mut self) -> Result<(), String> {
        let mut still = 0;
        for _ in 0..MOST_ROUNDS {
            let mut moved = false;
            for line in &mut self.lines {
                moved |= line.carry_all(&self.devices)?;
            }
            self.end_lines(&mut Random::new(4), Line::is_broken)?;
            if moved {
                still = 0;
                continue;
            }
            still += 1;
            if still > 7 {
                return Ok(());
            }
            self.lines.iter_mut().try_for_each(|line| line.tick(&self.devices))?;
        }
        Err(format!("bytes still move after {MOST_ROUNDS} rounds"))
    }
}

fn is_parted(groups: u64, [a, b]: [usize; 2]) -> bool {
    (groups >> a) & 1 != (groups >> b) & 1
}
