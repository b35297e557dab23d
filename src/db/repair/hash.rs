//! A kept state hash that is not that of its version, computed anew from the content.

use super::Mender;
use super::mark::dropped;
use super::rows::database_of;
use crate::db::error::Error;
use crate::db::rows::DatabaseRow;
use crate::db::state_hash;
use crate::db::verify::Damage;
use crate::seal::Sealing;
use crate::store::Table;
use crate::view::{self, LatticeHash, Space};
use std::collections::BTreeSet;

impl Mender<'_> {
    pub(super) fn hashes(&mut self, damages: &[Damage]) -> Result<(), Error> {
        let databases = self.databases()?;
        let mut seen = BTreeSet::new();
        for damage in damages.iter().filter(|damage| damage.table.as_deref() == Some(Table::Hashes.name())) {
            let id = damage.key.as_deref().map(database_of);
            let found = match &damage.database {
                Some(name) => databases.get_key_value(name),
                None => databases.iter().find(|(_, row)| Some(row.id) == id),
            };
            if let Some((name, row)) = found.filter(|(_, row)| seen.insert(row.id)) {
                self.hash(name, row)?;
            }
        }
        Ok(())
    }

    /// Where the past is gone, what is there is gone over; else whoever asks next goes over all of the past.
    fn hash(&mut self, name: &str, row: &DatabaseRow) -> Result<(), Error> {
        let (id, shared) = (row.id, self.shared()?);
        let txn = shared.read()?;
        let kept = if view::floor(&txn, id)? > 1 || dropped(&txn, id)? > 0 {
            let version = state_hash::version(&txn, id)?;
            let Some(space) = self.space_of(row)? else { return Ok(()) };
            // What cannot be read of the view is named by itself, and then all of it is made anew.
            let Ok(hash) = view::hash_anew(&txn, &space, version, || !shared.is_closed()) else {
                return Ok(());
            };
            if shared.is_closed() {
                return Err(Error::closed());
            }
            (version, hash)
        } else {
            (0, LatticeHash::default())
        };
        drop(txn);
        let done = shared.job(move |work| {
            let (version, hash) = &kept;
            // Of what is trimmed meanwhile, or made anew, the next round says more.
            if work.is_made_anew(id) || version.saturating_add(1) < view::floor(work.txn, id)? {
                return Ok(false);
            }
            view::keep_hash(work.txn, id, *version, hash)?;
            work.engine.effects.rehashed.insert(id);
            Ok(true)
        });
        if done.wait()? {
            self.done.push(format!("the state hash of {name} that was kept is computed anew"));
        }
        Ok(())
    }

    /// How the rows of a database are opened; none: they are sealed, and nobody here has the key.
    fn space_of(&self, row: &DatabaseRow) -> Result<Option<Space>, Error> {
        if let Some(open) = self.shared()?.board.database(row.id) {
            return Ok(Some(open.space.clone()));
        }
        let key = self.options.encryption_key.as_ref();
        let key = key.filter(|key| row.check.is_some_and(|check| key.check(&row.key) == check));
        let is_readable = row.check.is_none() || key.is_some();
        Ok(is_readable.then(|| Space::new(row.id, Sealing::new(key, &row.key))))
    }
}
