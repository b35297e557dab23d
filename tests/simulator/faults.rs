//! What goes wrong on a device: its clock, its disk, its power.

use super::apply_user::{self, Answer};
use super::coverage::{count, count_if};
use super::random::Random;
use super::schedule::Mode;
use super::user;
use super::world::{BEGIN, World};

impl World {
    pub fn write_on_full_disk(&mut self, at: usize, random: &mut Random, crash: bool) -> Result<(), String> {
        if !cfg!(all(target_os = "linux", target_env = "gnu")) {
            return Ok(());
        }
        if crash {
            self.end_lines(&mut Random::new(14), |line| line.ends.contains(&at))?;
        }
        let feeds = self.about();
        let device = &mut self.devices[at];
        device.settle();
        // What came again since the last write is no part of this one.
        device.learn_own()?;
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

    pub fn write_unseen(&mut self, at: usize, random: &mut Random) {
        count("crash: with an unseen write");
        let feeds = self.about();
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

    pub fn set_clock(&mut self, at: usize, random: &mut Random) {
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
}
