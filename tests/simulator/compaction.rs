//! Users who drop old versions, and give room back.

use super::check::{same, text};
use super::coverage::{count, count_if};
use super::device::Device;
use super::disk;
use super::random::Random;
use super::replica::Replica;
use multi_hyperbee::db::{Code, Keep, Range};

/// What was seen at versions from the oldest that is kept on stays so; what is below is refused.
fn trim(replica: &mut Replica, random: &mut Random) -> Result<(), String> {
    let most = random.pick(&[1, 1, 6]);
    let keep = Keep::Versions(1 + random.below(most) as u64);
    if random.chance(40) {
        replica.let_go();
    }
    let done = replica.db().compact(Some(keep), |_| ()).wait().map_err(text)?;
    count("compact");
    count_if(done.versions > 0, "compact: something went");
    let oldest = done.oldest;
    same("the oldest version", replica.db().oldest_version().map_err(text)?, oldest)?;
    for held in &replica.get().held {
        let is_kept = oldest <= held.version().max(1);
        same(&format!("version {} is held, below {oldest}", held.version()), is_kept, true)?;
    }
    if oldest > 1 {
        let refused = replica.db().scan(Range::default(), Some(oldest - 1)).err().map(|error| error.code);
        same("what is below the oldest version", refused, Some(Code::VersionGone))?;
    }
    replica.forget_below(oldest);
    Ok(())
}

impl Device {
    pub fn compact(&mut self, random: &mut Random) -> Result<(), String> {
        self.settle();
        for replica in &mut self.replicas {
            trim(replica, random)?;
        }
        if random.chance(40) {
            count("compact: the file");
            // It is another file afterwards, all of which is on disk.
            disk::end(self.path());
            let done = self.store().compact(|_| ()).wait().map_err(text)?;
            disk::begin(self.path());
            same("versions that nobody wanted to go", done.versions, 0)?;
        }
        Ok(())
    }
}
