//! A copy of an open store, whole and marked before it exists.

use std::fs;
use std::path::Path;
use std::time::Duration;

use heed::{CompactionOption, Error};

use super::environment::{Environment, Options};
use super::location::Location;
use super::opened::{CREATING, DATA_FILE, sync_dir};
use super::txn::WriteTxn;
use super::{Opened, StoreError};

impl Environment {
    /// Copies what is committed now into the directory `to`, which holds no store yet, and commits there what `mark`
    /// writes before the copy can be opened: no copy is ever found unmarked.
    ///
    /// Writing goes on meanwhile, on another thread: this one has no write transaction open. A growth of the map
    /// waits. What was freed is left out of the copy.
    pub fn copy<E: From<StoreError>>(
        &self,
        to: &Path,
        mark: impl FnMut(&mut WriteTxn<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let data = to.join(DATA_FILE);
        if data.symlink_metadata().is_ok() {
            let why = "there is a store already".into();
            return Err(StoreError::Open { path: to.to_owned(), why }.into());
        }
        let creating = to.join(CREATING);
        self.copy_pages(to, &creating)?;
        let copy = Environment::open(&Location::Path(creating.clone()), &Options::default())?;
        copy.write_with(mark)?;
        // Waits, so that nothing of it is in use when it moves.
        copy.close().wait(Duration::MAX);
        fs::rename(creating.join(DATA_FILE), &data)
            .map_err(|error| StoreError::io("create", &data, error))?;
        sync_dir(to)?;
        fs::remove_dir_all(&creating).map_err(|error| StoreError::io("remove", creating, error))?;
        Ok(())
    }

    fn copy_pages(&self, to: &Path, creating: &Path) -> Result<(), StoreError> {
        fs::create_dir_all(to).map_err(|error| StoreError::io("create", to, error))?;
        Opened::clear_creating(creating)?;
        let into = creating.join(DATA_FILE);
        self.with_map(|opened| {
            let copied = match opened.env.copy_to_path(&into, CompactionOption::Enabled) {
                // LMDB compacts no file that has lost pages (harmless otherwise): such a one is copied as it is.
                Err(Error::Mdb(_)) => opened.env.copy_to_path(&into, CompactionOption::Disabled),
                copied => copied,
            };
            copied.map(drop).map_err(|error| opened.explain(error.into()))
        })
    }
}
