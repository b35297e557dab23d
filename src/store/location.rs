//! Where a store stands: a directory of the user's, or a private one that goes when it is closed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::StoreError;
use super::check::check;
use super::lockfile::LockFile;
use super::opened::{DATA_FILE, Opened};

/// Names of memory stores' directories: this and [`MEMORY_DIGITS`] hexadecimal digits.
const MEMORY_PREFIX: &str = "multi-hyperbee-memory-";

const MEMORY_DIGITS: usize = 32;

/// An empty file in each memory store's directory, and in no other: whatever its name, no store of a user's is removed.
const MEMORY_MARK: &str = "removed-when-closed";

/// A memory store's directory younger than this is not swept: its process may not have locked it yet.
const LEAST_AGE: Duration = Duration::from_mins(1);

/// Where a store is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Location {
    /// A directory; made if it is missing.
    Path(PathBuf),
    /// A store of its own that is gone when it is closed.
    Memory,
}

/// A directory that exists; a memory store's is removed when this is dropped.
pub(super) struct Place {
    dir: PathBuf,
    memory: bool,
}

impl Place {
    /// The directory of a location, made if need be, by its one canonical name.
    pub(super) fn prepare(location: &Location, read_only: bool) -> Result<Self, StoreError> {
        match location {
            Location::Memory => memory_dir(),
            Location::Path(path) => {
                let open = |error: io::Error| StoreError::Open { path: path.clone(), why: error.to_string() };
                if !read_only {
                    fs::create_dir_all(path).map_err(open)?;
                }
                let dir = path.canonicalize().map_err(open)?;
                if !dir.is_dir() {
                    return Err(StoreError::Open { path: dir, why: "it is not a directory".into() });
                }
                Ok(Self { dir, memory: false })
            }
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn is_memory(&self) -> bool {
        self.memory
    }

    /// Makes sure that there is a data file fit to be mapped.
    pub(super) fn check_or_create(&self, read_only: bool) -> Result<(), StoreError> {
        match fs::symlink_metadata(self.dir.join(DATA_FILE)) {
            Ok(_) => check(&self.dir),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !read_only => Opened::create(&self.dir),
            Err(error) => Err(StoreError::Open { path: self.dir.clone(), why: error.to_string() }),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.memory {
            // What cannot be removed now is swept by the next memory store.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// File systems in memory, and last the one for temporary files.
fn memory_bases() -> Vec<PathBuf> {
    let mut bases = Vec::new();
    if cfg!(target_os = "linux") {
        bases.push(PathBuf::from("/dev/shm"));
    }
    bases.push(std::env::temp_dir());
    bases
}

fn memory_dir() -> Result<Place, StoreError> {
    let mut name = [0_u8; 16];
    getrandom::fill(&mut name)
        .map_err(|error| StoreError::Open { path: PathBuf::from(":memory:"), why: error.to_string() })?;
    let name = format!("{MEMORY_PREFIX}{:0MEMORY_DIGITS$x}", u128::from_be_bytes(name));
    let mut why = String::new();
    for base in memory_bases() {
        sweep(&base);
        let dir = base.join(&name);
        let marked = || fs::File::create_new(dir.join(MEMORY_MARK));
        match private_dir(&dir).and_then(|()| marked()).and_then(|_| dir.canonicalize()) {
            Ok(dir) => return Ok(Place { dir, memory: true }),
            Err(error) => why = error.to_string(),
        }
    }
    Err(StoreError::Open { path: PathBuf::from(":memory:"), why })
}

/// Removes what killed processes left behind: memory stores nobody holds the lock of. As far as it can.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten().filter(is_memory) {
        let old = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > LEAST_AGE));
        // Directories of other users cannot be locked, and stay.
        if old && LockFile::acquire(&entry.path(), false).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether this is a memory store's directory, by its name and by what is in it.
fn is_memory(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let digits = name.to_str().and_then(|name| name.strip_prefix(MEMORY_PREFIX));
    digits.is_some_and(|digits| {
        digits.len() == MEMORY_DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    }) && entry.file_type().is_ok_and(|kind| kind.is_dir())
        && entry.path().join(MEMORY_MARK).is_file()
}

#[cfg(unix)]
fn private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(dir)
}

#[cfg(not(unix))]
fn private_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir(dir)
}
