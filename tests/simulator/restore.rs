//! Who goes on from an older copy, and how it gets back what it had written since.

use super::apply_user::{self, Answer};
use super::coverage::count;
use super::line::Kind;
use super::random::Random;
use super::replica::Replica;
use super::schedule::Mode;
use super::user;
use super::world::{World, text};

impl World {
    /// Whether one has all that another has written, in the databases where that one `is_asked`.
    pub fn has_ledger(&self, at: usize, of: usize, is_asked: fn(&Replica) -> bool) -> Result<bool, String> {
        let pairs = self.devices[at].replicas.iter().zip(&self.devices[of].replicas);
        for (here, there) in pairs.filter(|(_, there)| is_asked(there)) {
            // It may have more: what was written after going back came again behind the rest.
            let (feed, written) = (there.local(), &there.ledger);
            if !written.is_empty() && (!here.knows(feed)? || !here.blocks(feed)?.starts_with(written)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub fn who_has(&self, of: usize, is_asked: fn(&Replica) -> bool) -> Result<Vec<usize>, String> {
        let mut found = Vec::new();
        for at in (0..self.setup.devices).filter(|at| *at != of) {
            if self.has_ledger(at, of, is_asked)? {
                found.push(at);
            }
        }
        Ok(found)
    }

    /// Back to the last copy; in reach of a device that has the rest, and that nobody else needs as it is.
    pub fn restore(&mut self, at: usize) -> Result<(), String> {
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
        if !self.devices[at].is_mute() && !written.is_multiple_of(2) {
            return self.devices[at].resume();
        }
        self.try_to_write(at, written as u64)
    }

    /// A user who does not know that something is missing goes on as ever.
    fn try_to_write(&mut self, at: usize, seed: u64) -> Result<(), String> {
        let mut random = Random::new(seed);
        for replica in &mut self.devices[at].replicas {
            match replica.mode {
                Mode::Merge => {
                    let write = user::write(replica, &mut random);
                    user::act(replica, &write)?;
                }
                Mode::Apply => apply_user::act(replica, &["mix k0 14".to_owned()], Answer::All)?,
            }
        }
        Ok(())
    }

    /// Who was put back meets first who has the rest. Returns who was.
    pub fn bring_back(&mut self) -> Result<Vec<usize>, String> {
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
    pub fn write_again(&mut self, older: &[usize]) -> Result<(), String> {
        for at in older {
            for replica in &mut self.devices[*at].replicas {
                replica.settle();
                replica.learn_own()?;
                if replica.is_mute() {
                    let (mode, loose) = (replica.mode, replica.written_loose());
                    let (here, all) = (replica.blocks(replica.local())?.len(), replica.ledger.len());
                    let feeds = replica.db().sync_status().map_err(text)?.feeds;
                    return Err(format!(
                        "{at} does not have its own feed back, with what was written meanwhile: {mode:?}, {here} of \
                         {all}, and wrote {loose}: {feeds:#?}"
                    ));
                }
                replica.cautious = false;
            }
            self.try_to_write(*at, 13).map_err(|what| format!("{at}, put back and confirmed: {what}"))?;
        }
        if older.is_empty() { Ok(()) } else { self.rest() }
    }
}
