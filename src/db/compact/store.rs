//! All of a store: its databases, then its file.

use super::trim::{Compaction, go_on, trim_all};
use super::{CompactProgress, CompactStage};
use crate::db::error::Error;
use crate::db::store::Store;
use crate::store::{Compacting, FileSizes};
use std::time::Duration;

/// How long the file waits for a read transaction that others keep to be let go.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a compaction of a store has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCompacted {
    /// Versions that can be read no more, of all databases that are open.
    pub versions: u64,
    /// Bytes of the file before and after.
    pub before: u64,
    pub after: u64,
}

impl Store {
    /// Drops versions beyond what is kept of every database that is open, then writes the file anew without what is
    /// free. Reads go on meanwhile; writes wait while the file is written.
    pub fn compact(
        &self,
        mut progress: impl FnMut(CompactProgress) + Send + 'static,
    ) -> Compaction<StoreCompacted> {
        let begun = self.shared().map(|shared| std::sync::Arc::downgrade(&shared));
        Compaction::start(begun, move |weak, stop| {
            let shared = || weak.upgrade().filter(|shared| !shared.is_closed()).ok_or_else(Error::closed);
            let open: Vec<_> = shared()?.board.databases.read().values().cloned().collect();
            let mut compacted = StoreCompacted::default();
            for open in open.iter().filter(|open| open.info.relay.is_none()) {
                compacted.versions += match trim_all(&weak, open.id, None, &stop, &mut progress) {
                    Ok(done) => done.versions,
                    // Closed meanwhile.
                    Err(_) if shared()?.board.database(open.id).is_none() => 0,
                    Err(error) => return Err(error),
                };
            }
            drop(open);
            go_on(&stop)?;
            let shared = shared()?;
            let environment = shared.environment()?;
            let mut tell = |what, done, total| {
                let stage = match what {
                    Compacting::Copy => CompactStage::Copy,
                    Compacting::Pages => CompactStage::Pages,
                    Compacting::Rows => CompactStage::Rows,
                };
                progress(CompactProgress { stage, done, total });
                go_on(&stop).is_ok() && !shared.is_closed()
            };
            // The read transaction that is kept for point reads is let go, and no other is kept meanwhile.
            let alone = || {
                let mut kept = shared.board.reads.try_lock_for(PATIENCE)?;
                kept.take();
                Some(kept)
            };
            let FileSizes { before, after } = environment.compact(&mut tell, alone)?;
            Ok(StoreCompacted { before, after, ..compacted })
        })
    }
}
