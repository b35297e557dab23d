//! The file lock that keeps other processes, and second copies of this library, out of a store.
//!
//! LMDB itself would let them in, but clock and heads are also kept in memory. The system releases the lock when the
//! process ends, however it ends. The pid in the file is a hint for the message, no part of the decision.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::StoreError;

/// Name of the lock file in the store's directory.
pub(super) const LOCK_FILE: &str = "lock";

/// Longest text of a pid that is believed.
const PID_BYTES: u64 = 16;

/// Held until it is dropped.
pub(super) struct LockFile(Option<File>);

impl Drop for LockFile {
    /// Unlocks, and does not leave it to the closing of the file: a child that another thread is starting at this moment
    /// still has the file open, and would hold the lock until it runs its own program.
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            // What cannot be unlocked is when the file is closed.
            let _ = file.unlock();
        }
    }
}

impl LockFile {
    /// Locks the store in `dir`: alone, or with other readers when it is only read.
    pub(super) fn acquire(dir: &Path, read_only: bool) -> Result<Self, StoreError> {
        let path = dir.join(LOCK_FILE);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = match opened {
            Ok(file) => file,
            Err(_) if read_only => match File::open(&path) {
                Ok(file) => file,
                // Nobody writes to a file system that cannot be written.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ReadOnlyFilesystem) => {
                    return Ok(Self(None));
                }
                Err(error) => return Err(StoreError::Open { path: dir.to_owned(), why: error.to_string() }),
            },
            Err(error) => return Err(StoreError::Open { path: dir.to_owned(), why: error.to_string() }),
        };
        match if read_only { file.try_lock_shared() } else { file.try_lock() } {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { path: dir.to_owned(), pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", path, error)),
        }
        if !read_only {
            // A hint only: a full disk must not keep a store from opening.
            let _ = write_pid(&mut file);
        }
        Ok(Self(Some(file)))
    }
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(std::process::id().to_string().as_bytes())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_BYTES).read_to_string(&mut text).ok()?;
    text.parse().ok()
}
