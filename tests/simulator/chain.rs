//! One device is brought the beginning of what another has written and passes it on; then the first is gone.

use super::apply_user::{self, Answer};
use super::coverage::count;
use super::line::Kind;
use super::random::Random;
use super::schedule::Mode;
use super::user;
use super::world::World;
use multi_hyperbee::db::{Expect, Write};

/// Bytes of each of two values: a message carries one of them.
const VALUE: usize = 33_000;

impl World {
    /// From one over another to a third, as far as it comes.
    pub fn chain(&mut self, from: usize, over: usize, random: &mut Random) -> Result<(), String> {
        let to = random.below(self.devices.len());
        if from == over || from == to || over == to {
            return Ok(());
        }
        // Who was put back waits half a minute for more of its own feed (docs/security.md, *Connections and time*): over a
        // line that is slower, as these are, it forks.
        if [from, over, to].iter().any(|at| self.devices[*at].is_older()) {
            return Ok(());
        }
        self.write_much(from)?;
        let before = self.lines.len();
        self.connect(from, over, Kind::Whole, random)?;
        self.connect(over, to, Kind::Whole, random)?;
        let mut lines = self.lines.split_off(before);
        if let [first, second] = lines.as_mut_slice() {
            count("chain");
            for _ in 0..8 + random.below(32) {
                first.carry(&self.devices, random)?;
                second.carry_whole(&self.devices)?;
                second.tick(&self.devices)?;
            }
        }
        lines.into_iter().try_for_each(|line| line.end(&self.devices, random))
    }

    fn write_much(&mut self, at: usize) -> Result<(), String> {
        for letter in ["x", "y"] {
            let text = letter.repeat(VALUE);
            for replica in &mut self.devices[at].replicas {
                match replica.mode {
                    Mode::Merge => {
                        replica.learn_own()?;
                        let (key, value) = (b"much".to_vec(), text.clone().into_bytes());
                        user::act(replica, &Write::Register { key, value, expect: Expect::Any })?;
                    }
                    Mode::Apply => apply_user::act(replica, &[format!("mix k0 1 {text}")], Answer::All)?,
                }
            }
        }
        Ok(())
    }
}
