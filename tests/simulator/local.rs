//! A device that writes another feed from now on.

use super::apply_user::{self, Answer};
use super::coverage::{count, count_if};
use super::random::Random;
use super::schedule::Mode;
use super::world::{World, text};
use multi_hyperbee::types::FeedKey;

impl World {
    /// In apply mode. What it wrote as another stays everybody's.
    pub fn set_local(&mut self, at: usize, random: &mut Random) -> Result<(), String> {
        let device = &mut self.devices[at];
        if device.is_older() {
            return Ok(());
        }
        let Some(replica) = device.replica(Mode::Apply) else { return Ok(()) };
        replica.settle();
        replica.learn_own()?;
        // What moved was said of the feed that it wrote.
        replica.take_events(true)?;
        let was_indexer = replica.db().status().map_err(text)?.indexer;
        let secret = random.secret();
        let local = replica.db().set_local(secret).wait().map_err(text)?;
        replica.change_local(secret, local);
        count("local writer changed");
        count_if(was_indexer, "local writer changed: an indexer's");
        // A backup of before belongs to another writer.
        device.forget_backup();
        device.learn_own()
    }

    /// Truly: nothing of the feed exists that the declaring batch does not have in its past.
    pub fn declare_lost(&mut self, by: usize) -> Result<(), String> {
        let pasts = self.devices.iter_mut().filter_map(|device| device.replica(Mode::Apply));
        let gone: Vec<(FeedKey, u64)> = pasts
            .flat_map(|replica| replica.past.iter().map(|(feed, blocks)| (*feed, blocks.len() as u64)))
            .collect();
        if self.devices[by].is_older() {
            return Ok(());
        }
        let Some(replica) = self.devices[by].replica(Mode::Apply) else { return Ok(()) };
        apply_user::drain(replica)?;
        if !replica.db().status().map_err(text)?.indexer {
            return Ok(());
        }
        let feeds = replica.db().progress().map_err(text)?;
        let is_whole = |(feed, length): &&(FeedKey, u64)| {
            *length > 0 && feeds.iter().any(|here| here.key == *feed && here.placed == *length)
        };
        let Some((feed, _)) = gone.iter().find(is_whole) else { return Ok(()) };
        count("lost");
        apply_user::act(replica, &[format!("lost {feed}")], Answer::All)
    }
}
