//! The file lock that keeps other processes, and second copies of this library, out of a store.
//!
//! LMDB itself would let them in, but clock and heads are also kept in memory. The system releases the lock when the
//! process ends, however it ends.
//!
//! ```text
//! text = nothing                     nobody has it open, and whoever had it closed it
//!      | pid ‖ " " ‖ boot id         open, or was not closed: by this process, under this start of the machine
//! ```
//!
//! The pid is a hint for the message, no part of the decision. The boot id decides whether a store that was not closed
//! is walked before it is opened: a process that was killed leaves the system's memory whole, and with it every page;
//! a machine that went down may not.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::StoreError;

/// Name of the lock file in the store's directory.
pub(super) const LOCK_FILE: &str = "lock";

/// Longest text that is read.
const TEXT_BYTES: u64 = 64;

/// Where Linux names this start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Stands for the boot id where the system has none: equal to nothing, so that after every such end the store is walked.
const NO_BOOT_ID: &str = "unknown";

/// Held until it is dropped.
pub(super) struct LockFile {
    file: Option<File>,
    /// The boot id found when it was locked; none if the store was closed.
    left_open: Option<String>,
    /// The text says now that it is open.
    marked: bool,
}

impl Drop for LockFile {
    /// Unlocks, and does not leave it to the closing of the file: a child that another thread is starting at this moment
    /// still has the file open, and would hold the lock until it runs its own program.
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            if self.marked {
                // If this is lost, the store is walked once for nothing.
                let _ = file.set_len(0);
            }
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
                    return Ok(Self { file: None, left_open: None, marked: false });
                }
                Err(error) => return Err(StoreError::Open { path: dir.to_owned(), why: error.to_string() }),
            },
            Err(error) => return Err(StoreError::Open { path: dir.to_owned(), why: error.to_string() }),
        };
        match if read_only { file.try_lock_shared() } else { file.try_lock() } {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { path: dir.to_owned(), pid: read_text(&mut file).0 });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", path, error)),
        }
        let left_open = read_text(&mut file).1;
        if !read_only {
            // A hint only: a full disk must not keep a store from opening.
            let _ = write_text(&mut file, left_open.as_deref());
        }
        Ok(Self { file: Some(file), left_open, marked: false })
    }

    /// Whether the store was open when the machine, and not only the process, ended.
    pub(super) fn was_cut_off(&self) -> bool {
        self.left_open.as_ref().is_some_and(|left| boot_id().as_ref() != Some(left))
    }

    /// Notes that the store is open from now on. What was to be done about [`Self::was_cut_off`] is done.
    pub(super) fn mark_open(&mut self) {
        let Some(file) = &mut self.file else { return };
        let boot = boot_id().unwrap_or_else(|| NO_BOOT_ID.to_owned());
        self.marked = true;
        if self.left_open.as_ref() == Some(&boot) {
            return;
        }
        // On a disk without room for forty bytes the mark is missing, and nothing is walked after a power loss.
        let _ = write_text(file, Some(&boot)).and_then(|()| file.sync_data());
    }
}

/// Names this start of the machine.
fn boot_id() -> Option<String> {
    let text = std::fs::read_to_string(BOOT_ID).ok()?;
    let id = text.trim();
    (!id.is_empty()).then(|| id.to_owned())
}

fn write_text(file: &mut File, boot: Option<&str>) -> std::io::Result<()> {
    let pid = std::process::id();
    let text = boot.map_or_else(|| pid.to_string(), |boot| format!("{pid} {boot}"));
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())
}

/// Pid and boot id, as far as they are there.
fn read_text(file: &mut File) -> (Option<u32>, Option<String>) {
    let mut text = String::new();
    if file.take(TEXT_BYTES).read_to_string(&mut text).is_err() {
        return (None, None);
    }
    let mut words = text.split_whitespace();
    (words.next().and_then(|pid| pid.parse().ok()), words.next().map(str::to_owned))
}
