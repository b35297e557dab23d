//! What happens to a key whose diffs begin or cease to count: the built-in fold merges it at once, or it is noted for
//! whoever merges instead.

use super::resolve;
use super::rows::{Standing, Unmerged};
use crate::db::engine::Work;
use crate::db::error::{Error, Failure};
use crate::types::Position;
use crate::view::{self, Added, Removed};

impl Work<'_, '_> {
    /// Makes diffs of a key count, or count no more, and brings its value up to date, now or later.
    pub(in crate::db) fn merge_key(
        &mut self,
        id: u32,
        key: &[u8],
        added: Vec<Added>,
        removed: &[Removed],
    ) -> Result<(), Failure> {
        self.database(id)?;
        let Some(database) = self.engine.databases.get_mut(&id) else { return Err(Error::closed().into()) };
        let (functions, epoch) = (database.handler.functions, database.handler.epoch);
        let version = database.state.version + 1;
        if functions.any() {
            let positions = added.iter().map(|diff| diff.change.position);
            let first = positions.chain(removed.iter().map(|diff| diff.position)).min();
            view::index(self.txn, &database.space, key, &added, removed, version)?;
            let asks = functions.merge
                || resolve::beside(self.txn, &database.space, &database.writers, key)?.len() > 1;
            let noted = Unmerged::of(self.txn, &database.space, key)?;
            if asks {
                let Some(low) = first else { return Ok(()) };
                return self.note(id, key, low, noted);
            }
            if let Some((Unmerged { low, .. }, standing)) = noted {
                // Nobody need be asked any more, but its newest row lacks more than what has come now.
                let low = first.map_or(low, |first| first.min(low));
                Unmerged::delete(self.txn, &database.space, standing, key)?;
                view::remerge(self.txn, &database.space, &database.writers, key, low, version, epoch)?;
                database.state.version = version;
                database.dirty.state = true;
                return Ok(());
            }
        }
        // While keys are being marked some that wait have no row, and are not known to wait any more.
        let trimmed = database.trimmed || database.handler.marking.is_some();
        let (space, writers) = (&database.space, &database.writers);
        let merged = view::merge(self.txn, space, writers, key, added, removed, version, epoch, trimmed)?;
        self.engine.effects.merged.entry(id).or_default().count(merged);
        database.state.version = version;
        database.dirty.state = true;
        Ok(())
    }

    /// Notes that a key waits to be merged, from `low` on at least.
    pub(super) fn note(
        &mut self,
        id: u32,
        key: &[u8],
        low: Position,
        noted: Option<(Unmerged, Standing)>,
    ) -> Result<(), Failure> {
        let space = self.database(id)?.space.clone();
        if let Some((_, Standing::Failed)) = noted {
            Unmerged::delete(self.txn, &space, Standing::Failed, key)?;
        }
        let row = match noted {
            Some((before, _)) => {
                Unmerged { low: before.low.min(low), changes: before.changes.saturating_add(1) }
            }
            None => Unmerged { low, changes: 1 },
        };
        row.put(self.txn, &space, Standing::Waiting, key)?;
        self.engine.effects.databases.insert(id);
        Ok(())
    }
}
