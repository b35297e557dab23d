//! Devices whose keys come to sign two histories.

use super::coverage::count;
use super::random::Random;
use super::world::World;

impl World {
    /// A device's store is copied and both go on, or it goes on from an older copy that is said to be the newest. Once in
    /// a seed: a third history has no name.
    pub fn fork(&mut self, at: usize, copied: bool) -> Result<(), String> {
        if self.devices.iter().flat_map(|device| &device.replicas).any(|replica| replica.forks) {
            return Ok(());
        }
        if copied {
            let twin = self.devices[at].twin()?;
            self.devices.push(twin);
            count("fork: a store copied");
        } else if self.devices[at].has_backup() {
            self.end_lines(&mut Random::new(15), |line| line.ends.contains(&at))?;
            self.devices[at].restore_wrongly()?;
            count("fork: an older copy said to be the newest");
        } else {
            return Ok(());
        }
        let replicas = self.devices.iter_mut().flat_map(|device| &mut device.replicas);
        replicas.for_each(|replica| replica.is_weak = true);
        Ok(())
    }
}
