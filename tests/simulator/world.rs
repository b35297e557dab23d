//! Devices, the connections between them, and what each step does to them.

use super::line::{Kind, Line};
use super::random::Random;
use super::replica::{Replica, scan};
use super::schedule::{Setup, Step};
use super::{check, user};
use multi_hyperbee::db::{Code, Error, Written};

/// When the world begins: microseconds since 1970.
pub const BEGIN: u64 = 1_790_000_000_000_000;

/// Connections at a time.
const MOST_LINES: usize = 8;

/// Rounds of carrying everything after which it must have come to rest.
const MOST_ROUNDS: usize = 2_000;

pub struct World {
    setup: Setup,
    now: u64,
    replicas: Vec<Replica>,
    lines: Vec<Line>,
    /// Devices with different bits cannot reach each other.
    groups: u64,
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
fn text(error: Error) -> String {
    format!("{error} ({:?})", error.code)
}

impl World {
    fn new(setup: &Setup) -> Result<Self, String> {
        let first = Replica::new(setup, 0, None)?;
        let key = setup.shared.then(|| first.local());
        let mut replicas = vec![first];
        for index in 1..setup.devices {
            replicas.push(Replica::new(setup, index, key)?);
        }
        Ok(Self { setup: setup.clone(), now: BEGIN, replicas, lines: Vec::new(), groups: 0 })
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        self.now += 700_000;
        self.replicas.iter().for_each(|replica| replica.set_clock(self.now));
        match *step {
            Step::Write { at, seed } => {
                let random = &mut Random::new(seed);
                self.replicas[at].learn_own()?;
                let write = user::write(&self.replicas[at], random);
                user::act(&mut self.replicas[at], &write)
            }
            Step::Read { at, seed } => self.replicas[at].read(&mut Random::new(seed)),
            Step::Snapshot { at } => {
                let replica = &mut self.replicas[at];
                let snapshot = scan(replica.db(), None)?;
                replica.snapshots.push(snapshot);
                Ok(())
            }
            Step::Check { at } => check::device(&mut self.replicas[at], self.setup.lying),
            Step::Connect { a, b, seed } => self.connect(a, b, Kind::Weak, &mut Random::new(seed)),
            Step::Carry { seed } => {
                let random = &mut Random::new(seed);
                if self.lines.is_empty() {
                    return Ok(());
                }
                let line = random.below(self.lines.len());
                self.lines[line].carry(&self.replicas, random)?;
                self.end_lines(random, Line::is_broken)
            }
            Step::Meet { a, b, once } => self.meet(a, b, once),
            Step::Cut { seed } => {
                let random = &mut Random::new(seed);
                let ends = [random.below(self.setup.devices), random.below(self.setup.devices)];
                self.end_lines(random, |line| line.ends.contains(&ends[0]) && line.ends.contains(&ends[1]))
            }
            Step::Tick => self.lines.iter_mut().try_for_each(|line| line.tick(&self.replicas)),
            Step::Clock { at, seed } => {
                self.set_clock(at, &mut Random::new(seed));
                Ok(())
            }
            Step::Grant { by, who, indexer } => self.control(by, who, Some(indexer)),
            Step::Revoke { by, who } => self.control(by, who, None),
            Step::AddPeer { at, who } => self.add_peer(at, who),
            Step::RemovePeer { at, who } => self.remove_peer(at, who),
            Step::Reopen { at } => {
                self.end_lines(&mut Random::new(1), |line| line.ends.contains(&at))?;
                self.replicas[at].reopen()
            }
            Step::Crash { at, unseen } => {
                self.end_lines(&mut Random::new(2), |line| line.ends.contains(&at))?;
                if let Some(seed) = unseen.filter(|_| !self.replicas[at].is_mute()) {
                    let write = user::write(&self.replicas[at], &mut Random::new(seed));
                    drop(self.replicas[at].db().write(vec![write]));
                }
                self.replicas[at].settle();
                self.replicas[at].crash()
            }
            Step::Backup { at, made } => self.replicas[at].back_up(made),
            Step::Restore { at } => self.restore(at),
            Step::Part { groups } => {
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

    fn connect(&mut self, a: usize, b: usize, kind: Kind, random: &mut Random) -> Result<(), String> {
        if a == b || is_parted(self.groups, [a, b]) || self.lines.len() >= MOST_LINES && kind == Kind::Weak {
            return Ok(());
        }
        for (older, with) in [(a, b), (b, a)] {
            if self.is_older(older) && !self.has_ledger(with, older)? {
                return Ok(());
            }
        }
        let line = Line::new(&self.replicas, [a, b], kind, random)?;
        self.lines.push(line);
        Ok(())
    }

    /// A connection of its own beside those there are, for as long as it has something to say.
    fn meet(&mut self, a: usize, b: usize, once: bool) -> Result<(), String> {
        let before = self.lines.len();
        let kind = if once { Kind::Once } else { Kind::Whole };
        self.connect(a, b, kind, &mut Random::new(8))?;
        let Some(mut line) = (self.lines.len() > before).then(|| self.lines.pop()).flatten() else {
            return Ok(());
        };
        let mut still = 0;
        for _ in 0..MOST_ROUNDS {
            still = if line.carry_all(&self.replicas)? { 0 } else { still + 1 };
            if still > 7 {
                // What another connection is at is waited for, and so is what only a third device has: until then this
                // one is not over. Without a database in common it never is.
                let alone =
                    self.lines.iter().all(|other| !other.ends.contains(&a) && !other.ends.contains(&b));
                if self.setup.shared && alone && self.is_placed(a)? && self.is_placed(b)? {
                    line.must_be_finished()?;
                }
                return line.end(&self.replicas, &mut Random::new(9));
            }
            line.tick(&self.replicas)?;
        }
        Err(format!("bytes still move after {MOST_ROUNDS} rounds"))
    }

    fn is_placed(&self, at: usize) -> Result<bool, String> {
        let feeds = self.replicas[at].db().progress().map_err(text)?;
        Ok(feeds.iter().all(|feed| feed.placed == feed.have))
    }

    fn end_lines(&mut self, random: &mut Random, which: impl Fn(&Line) -> bool) -> Result<(), String> {
        let (end, stay): (Vec<_>, Vec<_>) = self.lines.drain(..).partition(|line| which(line));
        self.lines = stay;
        end.into_iter().try_for_each(|line| line.end(&self.replicas, random))
    }

    fn set_clock(&mut self, at: usize, random: &mut Random) {
        let second = 1_000_000;
        let by: i64 = match random.below(if self.setup.lying { 12 } else { 6 }) {
            0..3 => i64::try_from(random.below(20)).unwrap() * second - 10 * second,
            3..6 => 0,
            6 => i64::try_from(random.below(7_200)).unwrap() * second - 3_600 * second,
            7 => 365 * 86_400 * second,
            8 => -365 * 86_400 * second,
            9 => -i64::try_from(BEGIN).unwrap() - 86_400 * second,
            // The last second that a timestamp can say is in 2106.
            10 => (i64::from(u32::MAX) - 30) * second - i64::try_from(self.now).unwrap(),
            _ => i64::MAX / 2,
        };
        self.replicas[at].skew = by;
        self.replicas[at].set_clock(self.now);
    }

    /// Whether a device may not meet somebody who knows less of its feed than it has written.
    fn is_older(&self, at: usize) -> bool {
        self.replicas[at].is_mute() || self.replicas[at].cautious
    }

    /// Whether one has all that another has written.
    fn has_ledger(&self, at: usize, of: usize) -> Result<bool, String> {
        let (feed, written) = (self.replicas[of].local(), &self.replicas[of].ledger);
        Ok(self.replicas[at].knows(feed)? && self.replicas[at].blocks(feed)?.len() == written.len())
    }

    fn who_has(&self, of: usize) -> Result<Vec<usize>, String> {
        let mut found = Vec::new();
        for at in (0..self.setup.devices).filter(|at| *at != of) {
            if self.has_ledger(at, of)? {
                found.push(at);
            }
        }
        Ok(found)
    }

    /// Back to the last copy; in reach of a device that has the rest, and that nobody else needs as it is.
    fn restore(&mut self, at: usize) -> Result<(), String> {
        let needed = (0..self.setup.devices).any(|other| other != at && self.is_older(other));
        if !self.replicas[at].has_backup() || needed || self.who_has(at)?.is_empty() {
            return Ok(());
        }
        self.end_lines(&mut Random::new(10), |line| line.ends.contains(&at))?;
        self.replicas[at].restore()
    }

    /// Who was put back meets first who has the rest, and writes then.
    fn bring_back(&mut self) -> Result<(), String> {
        for at in 0..self.setup.devices {
            if !self.is_older(at) {
                continue;
            }
            for with in self.who_has(at)? {
                self.connect(at, with, Kind::Whole, &mut Random::new(11))?;
            }
            self.rest()?;
            self.end_lines(&mut Random::new(12), |_| true)?;
            let replica = &mut self.replicas[at];
            replica.learn_own()?;
            if replica.is_mute() {
                return Err(format!("{at} does not have its own feed back"));
            }
            // Nobody confirms a feed of which there is nothing.
            if replica.ledger.is_empty() {
                continue;
            }
            replica.cautious = false;
            let write = user::write(replica, &mut Random::new(13));
            user::act(replica, &write).map_err(|what| format!("{at}, put back and confirmed: {what}"))?;
        }
        Ok(())
    }

    /// Grants or revokes a writer, if the device may.
    fn control(&mut self, by: usize, who: usize, grant: Option<bool>) -> Result<(), String> {
        let writer = self.replicas[who].local();
        let replica = &mut self.replicas[by];
        if replica.is_mute() || replica.cautious {
            return Ok(());
        }
        let may = replica.db().status().map_err(text)?.indexer;
        let reply = match grant {
            Some(indexer) => replica.db().add_writer(writer, indexer),
            None => replica.db().remove_writer(writer, false),
        };
        match reply.wait() {
            Ok(Written::Yes { length, .. }) if may && length == replica.ledger.len() as u64 + 1 => {
                replica.learn_own()
            }
            Err(error) if !may && error.code == Code::NotPermitted => Ok(()),
            other => Err(format!("an indexer: {may}, length {}: {other:?}", replica.ledger.len())),
        }
    }

    fn add_peer(&mut self, at: usize, who: usize) -> Result<(), String> {
        if at == who {
            return Ok(());
        }
        let feed = self.replicas[who].local();
        let replica = &mut self.replicas[at];
        let new = replica.chosen.insert(feed, u64::MAX) != Some(u64::MAX);
        let reply = replica.db().add_peer(feed).wait().map_err(text)?;
        if reply == new { Ok(()) } else { Err(format!("added: {reply}")) }
    }

    fn remove_peer(&mut self, at: usize, who: usize) -> Result<(), String> {
        let feed = self.replicas[who].local();
        let replica = &mut self.replicas[at];
        replica.settle();
        let was = replica.chosen.get(&feed) == Some(&u64::MAX);
        let members = replica.db().members().map_err(text)?;
        let placed = members.iter().find(|member| member.key == feed).map_or(0, |member| member.length);
        let reply = replica.db().remove_peer(feed).wait().map_err(text)?;
        if reply != was {
            return Err(format!("removed: {reply}"));
        }
        if was {
            replica.chosen.insert(feed, placed);
        }
        Ok(())
    }

    /// Carries everything until nothing moves, not even after a while.
    fn rest(&mut self) -> Result<(), String> {
        let mut still = 0;
        for _ in 0..MOST_ROUNDS {
            let mut moved = false;
            for line in &mut self.lines {
                moved |= line.carry_all(&self.replicas)?;
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
            self.lines.iter_mut().try_for_each(|line| line.tick(&self.replicas))?;
        }
        Err(format!("bytes still move after {MOST_ROUNDS} rounds"))
    }

    /// Everyone meets everyone, and all that was written must be everywhere; then once more after opening again.
    fn finish(&mut self) -> Result<(), String> {
        self.groups = 0;
        self.end_lines(&mut Random::new(5), |_| true)?;
        self.bring_back()?;
        for a in 0..self.setup.devices {
            for b in 0..a {
                self.connect(a, b, Kind::Whole, &mut Random::new(6))?;
            }
        }
        self.rest()?;
        check::all(&mut self.replicas, self.setup.shared, self.setup.lying)?;
        self.end_lines(&mut Random::new(7), |_| true)?;
        for (at, replica) in self.replicas.iter_mut().enumerate() {
            replica.reopen().map_err(|what| format!("at {at}: {what}"))?;
        }
        check::all(&mut self.replicas, self.setup.shared, self.setup.lying)
    }
}

fn is_parted(groups: u64, [a, b]: [usize; 2]) -> bool {
    (groups >> a) & 1 != (groups >> b) & 1
}
