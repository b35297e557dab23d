//! The end of a seed: everyone meets everyone, and all that must be so then.

use super::line::Kind;
use super::random::Random;
use super::schedule::Mode;
use super::world::{World, text};
use super::{apply_user, check, check_apply};
use multi_hyperbee::types::FeedKey;

impl World {
    /// Everyone meets everyone, and all that was written must be everywhere; then once more after opening again.
    pub fn finish(&mut self) -> Result<(), String> {
        self.groups = 0;
        self.end_lines(&mut Random::new(5), |_| true)?;
        let older = self.bring_back()?;
        self.all_are_back = true;
        for a in 0..self.devices.len() {
            for b in 0..a {
                self.connect(a, b, Kind::Whole, &mut Random::new(6))?;
            }
        }
        // What strangers say is fetched on request alone.
        for feed in self.feeds().into_iter().chain(self.gone()) {
            (0..self.devices.len()).try_for_each(|at| self.wake(at, feed))?;
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

    /// Feeds, of the database in apply mode, whose writers write others now.
    fn gone(&mut self) -> Vec<FeedKey> {
        let replicas = self.devices.iter_mut().filter_map(|device| device.replica(Mode::Apply));
        replicas.flat_map(|replica| replica.past.iter().map(|(feed, _)| *feed)).collect()
    }

    /// Everything of everybody, at rest.
    pub fn check(&mut self) -> Result<(), String> {
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
    pub fn quieten(&mut self) -> Result<(), String> {
        if !self.setup.has(Mode::Apply) {
            return Ok(());
        }
        for _ in 0..4 + 2 * self.devices.len() {
            let mut any = false;
            for device in &mut self.devices {
                let Some(replica) = device.replica(Mode::Apply) else { continue };
                apply_user::drain(replica)?;
                any |= apply_user::acknowledge(replica)?;
            }
            if !any {
                let gone: Vec<FeedKey> = self.gone();
                let mut replicas = self.devices.iter_mut().filter_map(|device| device.replica(Mode::Apply));
                return replicas.try_for_each(|replica| check_apply::quiet(replica, &gone));
            }
            self.rest()?;
        }
        Err("acknowledgements go on and on".into())
    }
}
