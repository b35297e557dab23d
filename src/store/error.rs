//! What can go wrong between a caller and the disk.

use std::io;
use std::path::PathBuf;

/// Every failure of the store. Codes at the edge are made from the variants; messages are free to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory cannot be used: missing rights, a file where a directory should be, no such parent.
    #[error("cannot open a store at {path:?}: {why}")]
    Open { path: PathBuf, why: String },
    /// Another process, or a second copy of this library in this one, has the store open. The pid is a hint.
    #[error("the store at {path:?} is in use by another process{}", pid_hint(*pid))]
    Locked { path: PathBuf, pid: Option<u32> },
    /// The data file is not one that may be mapped into memory.
    #[error("the store at {path:?} is damaged: {why}")]
    Corrupt { path: PathBuf, why: String },
    /// The store was written by a newer version (or LMDB's file format is another one).
    #[error("the store at {path:?} has format {found}, this version knows {known}")]
    FormatVersion { path: PathBuf, found: u32, known: u32 },
    /// An earlier version wrote the store: opened for writing it gets the tables that are new, for reading it cannot.
    #[error("the store at {path:?} was written by an earlier version, without the table {table}")]
    Older { path: PathBuf, table: &'static str },
    /// No room in the file system, a quota, or the largest file it allows. What was committed before is still there.
    #[error("no room left on the disk: {0}")]
    DiskFull(#[source] io::Error),
    /// The reserved map is used up: abort the transaction, `grow`, run it again (`write_with` does).
    #[error("the store's map is full")]
    MapFull,
    /// A map larger than this cannot be had from the system.
    #[error("the store cannot reserve more than {bytes} bytes of address space")]
    NoAddressSpace { bytes: u64 },
    /// All reader slots are taken: read transactions are being kept instead of closed.
    #[error("too many open read transactions (at most {max})")]
    TooManyReaders { max: u32 },
    /// A row's key is empty or longer than LMDB takes.
    #[error("a row key of {bytes} bytes; allowed are 1 to {max}")]
    KeySize { bytes: usize, max: usize },
    /// The linked LMDB takes shorter keys than the row formats need: a build without `longer-keys`.
    #[error("this build of LMDB takes keys of {found} bytes, {needed} are needed")]
    KeyLimit { found: usize, needed: usize },
    /// A write on an environment opened for reading only.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// `grow` while a write transaction is open: the caller must abort it first.
    #[error("a write transaction is open")]
    WriteInProgress,
    /// Whoever asked for something long has ended it.
    #[error("stopped")]
    Stopped,
    /// The file cannot change places with another while a read transaction is kept.
    #[error("a read transaction is open, of a verification or a backup")]
    ReadInProgress,
    /// The file could not be mapped again after it was unmapped to grow; every later call fails alike. Open it anew.
    #[error("the store was closed by an earlier failure")]
    Unmapped,
    /// A row that is not what its table holds.
    #[error("{what} is damaged")]
    Row { what: &'static str },
    /// A block is not what its hash says: it has changed since it was stored.
    #[error("block {seq} of the feed that is number {feed} here is damaged")]
    Block { feed: u32, seq: u64 },
    /// LMDB refused for a reason that has no variant of its own.
    #[error("LMDB: {0}")]
    Lmdb(#[source] heed::Error),
    /// Reading or writing outside LMDB failed.
    #[error("cannot {doing} {path:?}: {source}")]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

fn pid_hint(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

/// True for "the disk is full" in each of its forms.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

impl From<heed::Error> for StoreError {
    fn from(error: heed::Error) -> Self {
        match error {
            heed::Error::Io(error) if is_full(&error) => Self::DiskFull(error),
            heed::Error::Mdb(heed::MdbError::MapFull) => Self::MapFull,
            heed::Error::Mdb(heed::MdbError::ReadersFull) => Self::TooManyReaders { max: super::MAX_READERS },
            other => Self::Lmdb(other),
        }
    }
}

impl StoreError {
    /// An error of the file system at `path`; a full disk is told apart from the rest.
    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        if is_full(&source) { Self::DiskFull(source) } else { Self::Io { doing, path: path.into(), source } }
    }
}
