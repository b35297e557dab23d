//! Devices, the connections between them, and what each step does to them.

use super::apply_user::{self, Answer};
use super::coverage::{count, count_if};
use super::device::Device;
use super::line::{Kind, Line};
use super::random::Random;
use super::replica::{Replica, scan};
use super::schedule::{Mode, Setup, Step};
use super::{check, check_apply, user};
use multi_hyperbee::db::{Code, Error, Written};
use multi_hyperbee::types::FeedKey;

/// When the world begins: microseconds since 1970.
pub const BEGIN: u64 = 1_790_000_000_000_000;

/// Connections at a time.
const MOST_LINES: usize = 8;

/// Rounds of carrying everything after which it must have come to rest.
const MOST_ROUNDS: usize = 2_000;

pub struct World {
    setup: Setup,
    now: u64,
    devices: Vec<Device>,
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
        let first = Device::new(setup, 0, &vec![None; setup.modes.len()])?;
        let is_joined = |replica: &Replica| setup.shared || replica.mode == Mode::Apply;
        let replicas = first.replicas.iter();
        let keys: Vec<Option<FeedKey>> =
            replicas.map(|replica| is_joined(replica).then(|| replica.local())).collect();
        let mut devices = vec![first];
        for index in 1..setup.devices {
            devices.push(Device::new(setup, index, &keys)?);
        }
        Ok(Self { setup: setup.clone(), now: BEGIN, devices, lines: Vec::new(), groups: 0 })
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        self.now += 700_000;
        self.devices.iter().for_each(|device| device.set_clock(self.now));
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
                for replica in &mut self.devices[at].replicas {
                    let snapshot = scan(replica.db(), None)?;
                    replica.snapshots.push(snapshot);
                }
                Ok(())
            }
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
                let values = apply_user::values(random, &self.feeds());
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
    fn feeds(&mut self) -> Vec<FeedKey> {
        self.devices.iter_mut().filter_map(|device| device.replica(Mode::Apply)).map(|r| r.local()).collect()
    }

    fn wake(&mut self, at: usize, feed: FeedKey) -> Result<(), String> {
        let Some(replica) = self.devices[at].replica(Mode::Apply) else { return Ok(()) };
        replica.db().wakeup(feed, u64::MAX).wait().map_err(text)
    }

    fn write_on_full_disk(&mut self, at: usize, random: &mut Random, crash: bool) -> Result<(), String> {
        if !cfg!(all(target_os = "linux", target_env = "gnu")) {
            return Ok(());
        }
        if crash {
            self.end_lines(&mut Random::new(14), |line| line.ends.contains(&at))?;
        }
        let feeds = self.feeds();
        let device = &mut self.devices[at];
        device.settle();
        device.fill_disk(random.below(4));
        let mut done = Ok(());
        for replica in &mut device.replicas {
            done = done.and_then(|()| match replica.mode {
                Mode::Merge => {
                    let write = user::write(replica, random);
                    user::act(replica, &write)
                }
                Mode::Apply => {
                    let values = apply_user::values(random, &feeds);
                    apply_user::act(replica, &values, Answer::All)
                }
            });
        }
        if !crash {
            count_if(device.empty_disk(), "full disk");
            return done;
        }
        // What was being written is there in part: the copy is of the disk as it is.
        let gone_on = done.and_then(|()| device.crash_full());
        count("crash: in the middle of a commit");
        gone_on
    }

    fn write_unseen(&mut self, at: usize, random: &mut Random) {
        count("crash: with an unseen write");
        let feeds = self.feeds();
        for replica in &mut self.devices[at].replicas {
            match replica.mode {
                Mode::Merge => {
                    let write = user::write(replica, random);
                    drop(replica.db().write(vec![write]));
                }
                Mode::Apply => apply_user::act_unseen(replica, &apply_user::values(random, &feeds)),
            }
        }
    }

    fn connect(&mut self, a: usize, b: usize, kind: Kind, random: &mut Random) -> Result<(), String> {
        if a == b || is_parted(self.groups, [a, b]) || self.lines.len() >= MOST_LINES && kind == Kind::Weak {
            return Ok(());
        }
        for (older, with) in [(a, b), (b, a)] {
            if self.devices[older].is_older() && !self.has_ledger(with, older, Replica::is_older)? {
                return Ok(());
            }
        }
        count("connect");
        let line = Line::new(&self.devices, [a, b], kind, random)?;
        self.lines.push(line);
        Ok(())
    }

    /// A connection of its own beside those there are, for as long as it has something to say.
    fn meet(&mut self, a: usize, b: usize, once: bool) -> Result<(), String> {
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
            if feeds.iter().any(|feed| feed.placed != feed.have) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn end_lines(&mut self, random: &mut Random, which: impl Fn(&Line) -> bool) -> Result<(), String> {
        let (end, stay): (Vec<_>, Vec<_>) = self.lines.drain(..).partition(|line| which(line));
        self.lines = stay;
        end.iter().for_each(|line| count(if line.is_broken() { "cut after so many bytes" } else { "cut" }));
        end.into_iter().try_for_each(|line| line.end(&self.devices, random))
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
        count(if by.abs() > 86_400 * second { "clock: years" } else { "clock: seconds" });
        self.devices[at].skew = by;
        self.devices[at].set_clock(self.now);
    }

    /// Whether one has all that another has written, in the databases where that one `is_asked`.
    fn has_ledger(&self, at: usize, of: usize, is_asked: fn(&Replica) -> bool) -> Result<bool, String> {
        let pairs = self.devices[at].replicas.iter().zip(&self.devices[of].replicas);
        for (here, there) in pairs.filter(|(_, there)| is_asked(there)) {
            let (feed, written) = (there.local(), there.ledger.len());
            if written > 0 && (!here.knows(feed)? || here.blocks(feed)?.len() != written) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn who_has(&self, of: usize, is_asked: fn(&Replica) -> bool) -> Result<Vec<usize>, String> {
        let mut found = Vec::new();
        for at in (0..self.setup.devices).filter(|at| *at != of) {
            if self.has_ledger(at, of, is_asked)? {
                found.push(at);
            }
        }
        Ok(found)
    }

    /// Back to the last copy; in reach of a device that has the rest, and that nobody else needs as it is.
    fn restore(&mut self, at: usize) -> Result<(), String> {
        let count_of = self.setup.devices;
        let mut near = (0..count_of).map(|next| (at + next) % count_of);
        let Some(at) = near.find(|at| self.devices[*at].has_backup()) else { return Ok(()) };
        if (0..count_of).any(|other| other != at && self.devices[other].is_older()) {
            return Ok(());
        }
        if self.who_has(at, |_| true)?.is_empty() {
            self.meet(at, (at + 1) % count_of, false)?;
        }
        if self.who_has(at, |_| true)?.is_empty() {
            return Ok(());
        }
        self.end_lines(&mut Random::new(10), |line| line.ends.contains(&at))?;
        count("restore");
        self.devices[at].restore()?;
        // Of the users who know that nothing is missing some say so.
        let written: usize = self.devices[at].replicas.iter().map(|replica| replica.ledger.len()).sum();
        if self.devices[at].is_mute() || written % 2 == 0 { Ok(()) } else { self.devices[at].resume() }
    }

    /// Who was put back meets first who has the rest. Returns who was.
    fn bring_back(&mut self) -> Result<Vec<usize>, String> {
        let older: Vec<usize> = (0..self.setup.devices).filter(|at| self.devices[*at].is_older()).collect();
        for at in older.iter().copied() {
            let holders = self.who_has(at, Replica::is_older)?;
            for with in holders.iter().copied() {
                self.connect(at, with, Kind::Whole, &mut Random::new(11))?;
            }
            self.rest()?;
            self.end_lines(&mut Random::new(12), |_| true)?;
            for replica in &mut self.devices[at].replicas {
                replica.learn_own()?;
                if !replica.has_ledger()? {
                    let (here, all) = (replica.blocks(replica.local())?.len(), replica.ledger.len());
                    let (loose, holders) = (replica.written_loose(), &holders);
                    return Err(format!(
                        "{at} does not have its own feed back from {holders:?}: {here} of {all}, and wrote {loose}; {:?}",
                        replica.take_events(true)
                    ));
                }
                // Nobody confirms a feed of which there is nothing: that takes the user's word.
                if replica.cautious && replica.ledger.is_empty() {
                    replica.get().store.resume().wait().map_err(text)?;
                }
            }
        }
        Ok(older)
    }

    /// Who was put back, and has met everybody, writes again.
    fn write_again(&mut self, older: &[usize]) -> Result<(), String> {
        for at in older {
            for replica in &mut self.devices[*at].replicas {
                replica.settle();
                replica.learn_own()?;
                if replica.is_mute() {
                    return Err(format!(
                        "{at} does not have its own feed back, with what was written meanwhile"
                    ));
                }
                replica.cautious = false;
                let done = match replica.mode {
                    Mode::Merge => {
                        let write = user::write(replica, &mut Random::new(13));
                        user::act(replica, &write)
                    }
                    Mode::Apply => apply_user::act(replica, &["mix k0 13".to_owned()], Answer::All),
                };
                done.map_err(|what| format!("{at}, put back and confirmed: {what}"))?;
            }
        }
        if older.is_empty() { Ok(()) } else { self.rest() }
    }

    /// Grants or revokes a writer, if the device may: in each of the databases.
    fn control(&mut self, by: usize, who: usize, grant: Option<bool>) -> Result<(), String> {
        let writers: Vec<FeedKey> = self.devices[who].replicas.iter().map(Replica::local).collect();
        for (replica, writer) in self.devices[by].replicas.iter_mut().zip(writers) {
            if replica.is_mute() || replica.cautious {
                continue;
            }
            match (replica.mode, grant) {
                (Mode::Merge, _) => control(replica, writer, grant)?,
                (Mode::Apply, Some(true)) => apply_control(replica, &format!("add {writer} indexer"))?,
                (Mode::Apply, Some(false)) => apply_control(replica, &format!("add {writer}"))?,
                (Mode::Apply, None) => apply_control(replica, &format!("rm {writer}"))?,
            }
        }
        Ok(())
    }

    fn add_peer(&mut self, at: usize, who: usize) -> Result<(), String> {
        if at == who {
            return Ok(());
        }
        let Some(feed) = self.devices[who].replica(Mode::Merge).map(|replica| replica.local()) else {
            return Ok(());
        };
        let Some(replica) = self.devices[at].replica(Mode::Merge) else { return Ok(()) };
        count("add peer");
        let new = replica.chosen.insert(feed, u64::MAX) != Some(u64::MAX);
        let reply = replica.db().add_peer(feed).wait().map_err(text)?;
        if reply == new { Ok(()) } else { Err(format!("added: {reply}")) }
    }

    fn remove_peer(&mut self, at: usize, who: usize) -> Result<(), String> {
        let Some(feed) = self.devices[who].replica(Mode::Merge).map(|replica| replica.local()) else {
            return Ok(());
        };
        let Some(replica) = self.devices[at].replica(Mode::Merge) else { return Ok(()) };
        count("remove peer");
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

    /// Everyone meets everyone, and all that was written must be everywhere; then once more after opening again.
    fn finish(&mut self) -> Result<(), String> {
        self.groups = 0;
        self.end_lines(&mut Random::new(5), |_| true)?;
        let older = self.bring_back()?;
        for a in 0..self.setup.devices {
            for b in 0..a {
                self.connect(a, b, Kind::Whole, &mut Random::new(6))?;
            }
        }
        // What strangers say is fetched on request alone.
        for feed in self.feeds() {
            (0..self.setup.devices).try_for_each(|at| self.wake(at, feed))?;
        }
        self.rest()?;
        self.write_again(&older)?;
        self.check()?;
        self.quieten()?;
        self.end_lines(&mut Random::new(7), |_| true)?;
        for (at, device) in self.devices.iter_mut().enumerate() {
            device.reopen().map_err(|what| format!("at {at}: {what}"))?;
        }
        self.check()
    }

    /// Everything of everybody, at rest.
    fn check(&mut self) -> Result<(), String> {
        for (number, mode) in self.setup.modes.iter().enumerate() {
            let is_shared = self.setup.shared || *mode == Mode::Apply;
            let devices = self.devices.iter_mut();
            let mut replicas: Vec<_> = devices.map(|device| &mut device.replicas[number]).collect();
            check::all(&mut replicas, is_shared, self.setup.lying)
                .map_err(|what| format!("{mode:?}: {what}"))?;
        }
        for (at, device) in self.devices.iter().enumerate() {
            let damages = device.store().verify(|_| ()).wait().map_err(text)?.damages;
            check::same(&format!("at {at}: what verify finds"), &damages, &Vec::new())?;
        }
        Ok(())
    }

    /// Acknowledgements until nobody wants one: then all that did anything is final.
    fn quieten(&mut self) -> Result<(), String> {
        if !self.setup.has(Mode::Apply) {
            return Ok(());
        }
        for _ in 0..4 + 2 * self.setup.devices {
            let mut any = false;
            for device in &mut self.devices {
                let Some(replica) = device.replica(Mode::Apply) else { continue };
                apply_user::drain(replica)?;
                any |= apply_user::acknowledge(replica)?;
            }
            if !any {
                let replicas = self.devices.iter_mut().filter_map(|device| device.replica(Mode::Apply));
                return replicas.map(|replica| check_apply::quiet(replica)).collect();
            }
            self.rest()?;
        }
        Err("acknowledgements go on and on".into())
    }
}

fn control(replica: &mut Replica, writer: FeedKey, grant: Option<bool>) -> Result<(), String> {
    let may = replica.db().status().map_err(text)?.indexer;
    let reply = match grant {
        Some(indexer) => replica.db().add_writer(writer, indexer),
        None => replica.db().remove_writer(writer, false),
    };
    match reply.wait() {
        Ok(Written::Yes { length, .. }) if may && length == replica.ledger.len() as u64 + 1 => {
            count(if grant.is_some() { "grant" } else { "revoke" });
            replica.learn_own()
        }
        Err(error) if !may && error.code == Code::NotPermitted => {
            count("grant: refused");
            Ok(())
        }
        other => Err(format!("an indexer: {may}, length {}: {other:?}", replica.ledger.len())),
    }
}

fn apply_control(replica: &mut Replica, command: &str) -> Result<(), String> {
    count(if command.starts_with("add") { "grant" } else { "revoke" });
    apply_user::act(replica, &[command.to_owned()], Answer::All)
}

fn is_parted(groups: u64, [a, b]: [usize; 2]) -> bool {
    (groups >> a) & 1 != (groups >> b) & 1
}
