//! The file written anew, without what is free, and put in the place of the one in use.
//! `docs/design/compaction.md`, *The file*, has the steps and what a crash at each leaves.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use heed::{CompactionOption, Error};

use super::StoreError;
use super::check;
use super::environment::{Environment, Options};
use super::location::Location;
use super::opened::{COMPACTING, DATA_FILE, Opened};
use super::tables::Table;
use super::txn::{Read, ReadTxn};

/// Rows between two calls of the progress callback.
const ROWS_PER_CALL: u64 = 16_384;

/// Rows and bytes copied in one transaction, where LMDB does not copy: bounds its memory.
const COPY_ROWS: usize = 10_000;
const COPY_BYTES: usize = 16 << 20;

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compacting {
    Copy,
    Pages,
    Rows,
}

/// Length of the data file before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSizes {
    pub before: u64,
    pub after: u64,
}

impl Environment {
    /// Writes the file anew without its free pages and goes on with that. Writes wait until it is done, reads only while
    /// the files change places. `progress` is told done and total, and ends it by saying false; then, and after any other
    /// failure but that of the change itself, everything is as it was. `alone` gives up read transactions that are kept,
    /// and keeps others from being kept while what it returns lives.
    ///
    /// The caller holds no transaction.
    pub fn compact<G>(
        &self,
        progress: &mut dyn FnMut(Compacting, u64, u64) -> bool,
        alone: impl FnOnce() -> Option<G>,
    ) -> Result<FileSizes, StoreError> {
        let writing = self.stop_writing()?;
        let before = self.stat()?.file;
        let dir = self.directory().join(COMPACTING);
        let done = self.copy_and_compare(&dir, progress).and_then(|()| {
            let _alone = alone().ok_or(StoreError::ReadInProgress)?;
            self.swap(&writing, &dir.join(DATA_FILE))
        });
        // What cannot be removed now is removed by the next opening. Whoever compacts next makes it anew.
        let _ = fs::remove_dir_all(&dir);
        drop(writing);
        done?;
        Ok(FileSizes { before, after: self.stat()?.file })
    }

    fn copy_and_compare(
        &self,
        dir: &Path,
        progress: &mut dyn FnMut(Compacting, u64, u64) -> bool,
    ) -> Result<(), StoreError> {
        let file = dir.join(DATA_FILE);
        let mut tell =
            |what, done, total| if progress(what, done, total) { Ok(()) } else { Err(StoreError::Stopped) };
        tell(Compacting::Copy, 0, 0)?;
        Opened::clear_creating(dir)?;
        let copied = self.with_map(|opened| {
            opened.env.copy_to_path(&file, CompactionOption::Enabled).map(drop).map_err(|error| match error {
                Error::Mdb(_) => StoreError::Lmdb(error),
                error => opened.explain(error.into()),
            })
        });
        match copied {
            // LMDB compacts no file that has lost pages (harmless otherwise): its rows are copied.
            Err(StoreError::Lmdb(Error::Mdb(_))) => {
                Opened::clear_creating(dir)?;
                self.copy_rows(dir, &mut tell)?;
            }
            copied => copied?,
        }
        walk(&file, dir, &mut tell)?;
        let options = Options { read_only: true, map_size: None };
        let copy = Environment::open(&Location::Path(dir.to_owned()), &options)?;
        let rows = rows_of(&self.read()?)?;
        let ours = digest(&self.read()?, &mut |done| tell(Compacting::Rows, done, rows * 2))?;
        let theirs = digest(&copy.read()?, &mut |done| tell(Compacting::Rows, rows + done, rows * 2))?;
        copy.close().wait(Duration::MAX);
        if ours != theirs {
            return Err(StoreError::Corrupt { path: dir.to_owned(), why: "the copy has other rows".into() });
        }
        // Not every system syncs what is open for reading alone.
        let synced = File::options().write(true).open(&file).and_then(|file| file.sync_all());
        synced.map_err(|error| StoreError::io("sync", file, error))
    }

    /// Row by row, in order, into a store of its own: as dense as LMDB's copy.
    fn copy_rows(
        &self,
        dir: &Path,
        tell: &mut dyn FnMut(Compacting, u64, u64) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let copy = Environment::open(&Location::Path(dir.to_owned()), &Options::default())?;
        let txn = self.read()?;
        let (total, mut done) = (rows_of(&txn)?, 0);
        for table in Table::ALL {
            let (from, to) = (std::ops::Bound::Unbounded, std::ops::Bound::Unbounded);
            let mut rows = txn.range(table, from, to)?.peekable();
            while rows.peek().is_some() {
                let mut chunk = Vec::new();
                let mut bytes = 0;
                while chunk.len() < COPY_ROWS && bytes < COPY_BYTES {
                    let Some(row) = rows.next() else { break };
                    let (key, value) = row?;
                    bytes += key.len() + value.len();
                    chunk.push((key, value));
                }
                copy.write_with(|to| chunk.iter().try_for_each(|(key, value)| to.append(table, key, value)))?;
                done += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                tell(Compacting::Copy, done, total)?;
            }
        }
        copy.close().wait(Duration::MAX);
        Ok(())
    }
}

/// Every page of the copy, by plain reads, before it is mapped.
fn walk(
    file: &Path,
    dir: &Path,
    tell: &mut dyn FnMut(Compacting, u64, u64) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let open = File::open(file).map_err(|error| StoreError::io("open", file, error))?;
    let mut stopped = None;
    let walk = check::walk(&open, dir, &mut |done, total| {
        stopped = tell(Compacting::Pages, done, total).err();
        stopped.is_none()
    })?;
    if let Some(stopped) = stopped {
        return Err(stopped);
    }
    match walk.damages.first() {
        None => Ok(()),
        Some(first) => Err(StoreError::Corrupt {
            path: PathBuf::from(dir),
            why: format!("the copy is damaged: {first}"),
        }),
    }
}

fn rows_of(txn: &ReadTxn) -> Result<u64, StoreError> {
    Table::ALL.into_iter().try_fold(0, |sum, table| Ok(sum + txn.entries(table)?))
}

/// Of every row of every table, in order.
fn digest(
    txn: &ReadTxn,
    tell: &mut dyn FnMut(u64) -> Result<(), StoreError>,
) -> Result<[u8; 32], StoreError> {
    let mut hasher = blake3::Hasher::new();
    let mut done = 0_u64;
    for table in Table::ALL {
        hasher.update(&txn.entries(table)?.to_be_bytes());
        for row in txn.range(table, std::ops::Bound::Unbounded, std::ops::Bound::Unbounded)? {
            let (key, value) = row?;
            for part in [key, value] {
                hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
                hasher.update(part);
            }
            done += 1;
            if done.is_multiple_of(ROWS_PER_CALL) {
                tell(done)?;
            }
        }
    }
    Ok(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(dir: &Path) -> Environment {
        Environment::open(&Location::Path(dir.to_owned()), &Options::default()).unwrap()
    }

    fn filled(dir: &Path) -> Environment {
        let environment = environment(dir);
        for round in 0..20_u32 {
            environment
                .write_with(|txn| {
                    for n in 0..700_u32 {
                        let key = [n.to_be_bytes(), (n * 7).to_be_bytes(), [0xff; 4]].concat();
                        for table in [Table::Blocks, Table::View, Table::Diffs] {
                            txn.put(table, &key, &vec![1; usize::try_from(n % 90 * round).unwrap()])?;
                        }
                    }
                    Ok::<_, StoreError>(())
                })
                .unwrap();
        }
        environment
    }

    fn all(environment: &Environment) -> [u8; 32] {
        digest(&environment.read().unwrap(), &mut |_| Ok(())).unwrap()
    }

    #[test]
    fn a_copy_row_by_row_is_the_same_as_one_of_pages() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let environment = filled(from.path());
        environment.copy_rows(to.path(), &mut |_, _, _| Ok(())).unwrap();
        walk(&to.path().join(DATA_FILE), to.path(), &mut |_, _, _| Ok(())).unwrap();
        assert_eq!(all(&super::tests::environment(to.path())), all(&environment));
    }

    #[test]
    fn i7_who_stops_it_or_keeps_a_read_leaves_everything_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let environment = filled(dir.path());
        let (before, rows) = (environment.stat().unwrap().file, all(&environment));
        for stopped in [Compacting::Copy, Compacting::Pages] {
            let failed = environment.compact(&mut |at, _, _| at != stopped, || Some(()));
            assert!(matches!(failed, Err(StoreError::Stopped)), "{stopped:?}: {failed:?}");
        }
        let refused = environment.compact(&mut |_, _, _| true, || None::<()>);
        assert!(matches!(refused, Err(StoreError::ReadInProgress)));
        let reading = environment.read().unwrap();
        let refused = environment.compact(&mut |_, _, _| true, || Some(()));
        assert!(matches!(refused, Err(StoreError::ReadInProgress)));
        drop(reading);
        assert_eq!((environment.stat().unwrap().file, all(&environment)), (before, rows));
        assert!(!dir.path().join(COMPACTING).exists());
        let sizes = environment.compact(&mut |_, _, _| true, || Some(())).unwrap();
        assert!(sizes.after < before && sizes.before == before, "{sizes:?}");
        assert_eq!(all(&environment), rows);
        environment.write_with(|txn| txn.put(Table::Meta, b"after", b"")).unwrap();
    }
}
