//! The mapped file and the handles of its tables: how it is reserved, opened and created.

use std::fs;
use std::io::{self, Seek, Write};
use std::path::Path;

use heed::{CommitOrAbort, Env, EnvFlags, EnvOpenOptions, WithoutTls};

use super::error::is_full;
use super::rows::Handle;
use super::tables::{FORMAT, FORMAT_KEY, Table};
use super::{MAX_READERS, MAX_ROW_KEY, StoreError};
use crate::fault::{self, Fault};

/// LMDB's name of the data file.
pub(super) const DATA_FILE: &str = "data.mdb";

/// A store is made here and moved into place when it is whole: `data.mdb` exists only after its first commit.
pub(super) const CREATING: &str = "multi-hyperbee-creating";

/// A store's file is written anew here before it takes the old one's place; left by a crash, removed at opening.
pub(super) const COMPACTING: &str = "multi-hyperbee-compacting";

/// Address space reserved at first. Nothing of it is taken from disk or memory before it is used.
#[cfg(all(target_pointer_width = "64", not(windows)))]
const RESERVE: usize = 64 << 30;
/// Windows counts a reservation of a mapped file against more than addresses, and 32 bits have few of them.
#[cfg(not(all(target_pointer_width = "64", not(windows))))]
const RESERVE: usize = 256 << 20;

/// Below this no smaller reservation is tried.
const LEAST_RESERVE: usize = if RESERVE < 1 << 30 { RESERVE } else { 1 << 30 };

/// Map sizes are multiples of this, which every page size divides.
const ROUND: usize = 64 << 10;

/// Room for the tables and for those of later versions.
const MAX_TABLES: u32 = 64;

/// Map of a store while it is made: eighteen empty tables.
const CREATING_MAP: usize = 4 << 20;

/// What LMDB makes of a write that was cut short; no name in the standard library.
const EIO: i32 = 5;

/// More than can be left where a write was cut short for lack of room.
const EXTEND: usize = 256 << 10;

/// How a file is opened.
#[derive(Clone, Copy)]
pub(super) struct Mapping {
    pub(super) read_only: bool,
    /// Commits are not synced: for stores that do not outlive the process.
    pub(super) volatile: bool,
    /// Bytes to reserve; the default with its fallbacks when none.
    pub(super) map_size: Option<usize>,
}

/// A mapped file.
pub(super) struct Opened {
    pub(super) env: Env<WithoutTls>,
    tables: Vec<Handle<'static>>,
}

impl Opened {
    pub(super) fn table(&self, table: Table) -> Option<&Handle<'static>> {
        // `Table::ALL` is in the order of declaration, and so are the handles.
        self.tables.get(table as usize)
    }

    /// Maps the checked data file in `dir`.
    pub(super) fn open(dir: &Path, mapping: Mapping) -> Result<Self, StoreError> {
        let env = reserve(dir, mapping)?;
        let found = env.max_key_size();
        if found < MAX_ROW_KEY {
            return Err(StoreError::KeyLimit { found, needed: MAX_ROW_KEY });
        }
        env.clear_stale_readers()?;
        let tables =
            if mapping.read_only { open_tables(&env, dir)? } else { create_tables(&env, dir, false)? };
        Ok(Self { env, tables })
    }

    /// Makes a store in `dir`, which has none: first in a directory of its own, then moved into place in one step.
    pub(super) fn create(dir: &Path) -> Result<(), StoreError> {
        let creating = dir.join(CREATING);
        Self::clear_creating(&creating)?;
        let mapping = Mapping { read_only: false, volatile: false, map_size: Some(CREATING_MAP) };
        let env = reserve(&creating, mapping)?;
        create_tables(&env, dir, true)?;
        let closing = env.clone().prepare_for_closing();
        drop(env);
        closing.wait();
        let data = dir.join(DATA_FILE);
        fs::rename(creating.join(DATA_FILE), &data)
            .map_err(|error| StoreError::io("create", &data, error))?;
        sync_dir(dir)?;
        fs::remove_dir_all(&creating).map_err(|error| StoreError::io("remove", creating, error))
    }

    /// An empty directory to make a store in: what an earlier try left is removed.
    pub(super) fn clear_creating(creating: &Path) -> Result<(), StoreError> {
        match fs::remove_dir_all(creating) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("remove", creating, error));
            }
            _ => {}
        }
        fs::create_dir(creating).map_err(|error| StoreError::io("create", creating, error))
    }

    /// Unmaps; returns when it is done. The caller has made sure that no transaction is open.
    pub(super) fn close(self) {
        let closing = self.env.prepare_for_closing();
        closing.wait();
    }

    /// Tells a full disk from a broken one: LMDB calls a write that was cut short by either an I/O error, so a few
    /// more bytes are written behind the file's end, which says what is wrong, and taken back.
    pub(super) fn explain(&self, error: StoreError) -> StoreError {
        match &error {
            StoreError::Lmdb(heed::Error::Io(io)) if io.raw_os_error() == Some(EIO) => {}
            _ => return error,
        }
        match extend(&self.env.path().join(DATA_FILE)) {
            Err(io) if is_full(&io) => StoreError::DiskFull(io),
            _ => error,
        }
    }

    /// Bytes reserved now.
    pub(super) fn map_size(&self) -> usize {
        self.env.info().map_size
    }
}

fn extend(data: &Path) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(data)?;
    let length = file.seek(io::SeekFrom::End(0))?;
    let written = file.write_all(&vec![0; EXTEND]);
    // Behind the end nothing is mapped that is in use: LMDB writes a page before it counts it.
    file.set_len(length)?;
    written
}

/// Makes a rename in `dir` durable. Windows has no such call; there a lost rename is a store never created.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    if cfg!(windows) {
        return Ok(());
    }
    let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| StoreError::io("sync", dir, error))
}

/// Maps with as much address space as can be had, and at least what is asked.
fn reserve(dir: &Path, mapping: Mapping) -> Result<Env<WithoutTls>, StoreError> {
    // A large file has room to grow before it has to be mapped anew, which waits for all that reads.
    let room = || {
        let length = fs::metadata(dir.join(DATA_FILE)).map_or(0, |data| data.len());
        RESERVE.max(usize::try_from(length.saturating_mul(2)).unwrap_or(RESERVE))
    };
    let mut size = mapping.map_size.unwrap_or_else(room).max(ROUND).next_multiple_of(ROUND);
    loop {
        match map(dir, mapping, size) {
            Err(heed::Error::Io(error)) if error.kind() == io::ErrorKind::OutOfMemory => {
                if mapping.map_size.is_some() || size / 4 < LEAST_RESERVE {
                    return Err(StoreError::NoAddressSpace {
                        bytes: u64::try_from(size).unwrap_or(u64::MAX),
                    });
                }
                size /= 4;
            }
            other => return Ok(other?),
        }
    }
}

fn map(dir: &Path, mapping: Mapping, size: usize) -> Result<Env<WithoutTls>, heed::Error> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(size).max_readers(MAX_READERS).max_dbs(MAX_TABLES);
    let mut flags = EnvFlags::empty();
    flags.set(EnvFlags::READ_ONLY, mapping.read_only);
    flags.set(EnvFlags::NO_SYNC, mapping.volatile || fault::is(Fault::LostSync));
    // SAFETY: of the unsafe flags only NO_SYNC is used, and only on a store that is removed when it is closed: there
    // is no state after a power loss that could be wrong.
    unsafe { options.flags(flags) };
    // SAFETY: the file must not change under the map except through LMDB. The store's lock file keeps out every
    // other process and every other copy of this library, the registry (and heed's own) a second map in this one;
    // the meta pages and the length were checked with plain reads before. Who truncates the file by hand while it is
    // open is outside of what can be kept.
    unsafe { options.open(dir) }
}

/// Why tables could not be opened, carried out of heed's closure.
enum Refused {
    Heed(heed::Error),
    Store(StoreError),
}

impl From<heed::Error> for Refused {
    fn from(error: heed::Error) -> Self {
        Self::Heed(error)
    }
}

impl From<Refused> for StoreError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Heed(error) => error.into(),
            Refused::Store(error) => error,
        }
    }
}

fn missing(dir: &Path, table: Table) -> Refused {
    Refused::Store(StoreError::Corrupt {
        path: dir.to_owned(),
        why: format!("an LMDB file without the table {}", table.name()),
    })
}

/// Of a format that is known: an earlier version had fewer tables, and what opens for reading makes none.
fn older(dir: &Path, table: Table) -> Refused {
    Refused::Store(StoreError::Older { path: dir.to_owned(), table: table.name() })
}

/// Refuses a file whose format this version does not know.
fn check_format(dir: &Path, meta: &Handle<'_>, txn: &heed::RoTxn<'_>) -> Result<(), Refused> {
    let path = || dir.to_owned();
    let row = meta.get(txn, FORMAT_KEY).map_err(Refused::Store)?;
    let found = row.and_then(|row| row.try_into().ok()).map(u32::from_be_bytes);
    match found {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(Refused::Store(StoreError::FormatVersion { path: path(), found, known: FORMAT })),
        None => Err(Refused::Store(StoreError::Corrupt {
            path: path(),
            why: "no format is written in it".into(),
        })),
    }
}

fn open_tables(env: &Env<WithoutTls>, dir: &Path) -> Result<Vec<Handle<'static>>, StoreError> {
    let txn = env.read_txn()?;
    let tables = env.open_databases_and_commit(txn, |opener, txn| {
        let meta = Handle::open(opener, txn, Table::Meta)?.ok_or_else(|| missing(dir, Table::Meta))?;
        check_format(dir, &meta, txn)?;
        let tables = Table::ALL
            .into_iter()
            .map(|table| Handle::open(opener, txn, table)?.ok_or_else(|| older(dir, table)))
            .collect::<Result<Vec<_>, Refused>>()?;
        Ok::<_, Refused>(CommitOrAbort::<_, ()>::Commit(Tables(tables)))
    })?;
    tables.commit().ok_or(StoreError::Unmapped)
}

/// Opens all tables and makes those that an older version of this format did not have. An unchanged file commits
/// nothing.
fn create_tables(env: &Env<WithoutTls>, dir: &Path, new: bool) -> Result<Vec<Handle<'static>>, StoreError> {
    let txn = env.write_txn()?;
    let tables = env.create_databases_and_commit(txn, |opener, txn| {
        if !new {
            let meta = Handle::open(opener, txn, Table::Meta)?.ok_or_else(|| missing(dir, Table::Meta))?;
            check_format(dir, &meta, txn)?;
        }
        let mut tables = Vec::with_capacity(Table::ALL.len());
        for table in Table::ALL {
            let handle = Handle::create(opener, txn, table)?;
            if new && table == Table::Meta {
                handle.put(txn, FORMAT_KEY, &FORMAT.to_be_bytes()).map_err(Refused::Store)?;
            }
            tables.push(handle);
        }
        Ok::<_, Refused>(CommitOrAbort::<_, ()>::Commit(Tables(tables)))
    })?;
    tables.commit().ok_or(StoreError::Unmapped)
}

/// Handles that become usable for ever once their transaction is committed.
struct Tables<'e>(Vec<Handle<'e>>);

impl heed::OnCommit for Tables<'_> {
    type Committed = Vec<Handle<'static>>;

    fn on_commit(self, token: &heed::CommitToken) -> Vec<Handle<'static>> {
        self.0.into_iter().map(|handle| handle.on_commit(token)).collect()
    }
}
