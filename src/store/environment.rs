//! The environment: one open store of this process.

use std::any::Any;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard, RwLock};

use super::StoreError;
use super::check::{self, Meta};
use super::location::{Location, Place};
use super::lockfile::LockFile;
use super::opened::{COMPACTING, DATA_FILE, Mapping, Opened, sync_dir};
use super::pages::{self, Walk};
use super::registry::{self, Claim, Closed, Lookup};
use super::txn::{MapGuard, ReadTxn, WriteTxn};

/// How long a new read steps aside for a map that wants to grow. After it the read goes first: whoever holds a read
/// transaction and opens another must not wait for a growth that waits for the first.
const STEP_ASIDE: Duration = Duration::from_millis(50);

/// How long the change of a file waits for reads that are under way.
const SWAP_PATIENCE: Duration = Duration::from_secs(5);

/// How to open a store.
#[derive(Clone, Copy, Default, Debug)]
pub struct Options {
    /// Never write: several processes may do so at once, none while one writes.
    pub read_only: bool,
    /// Bytes of address space to reserve instead of the default; it grows from there all the same.
    pub map_size: Option<usize>,
}

/// One open store, shared by all who open its path in this process. Cheap to clone.
///
/// It is closed when the last clone and the last read transaction are gone.
#[derive(Clone)]
pub struct Environment(Arc<Shared>);

/// An environment that does not keep the store open.
#[derive(Clone)]
pub struct WeakEnvironment(Weak<Shared>);

pub(super) struct Shared {
    // Dropped in this order: what the layers above keep here, the map, the file lock, a memory store's directory,
    // and last the claim, which lets the next one in.
    extensions: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
    map: Arc<RwLock<Option<Opened>>>,
    writing: Mutex<()>,
    mapping: Mapping,
    _lock: LockFile,
    place: Place,
    claim: Claim,
}

/// Sizes of an open store, in bytes unless said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Address space reserved.
    pub map: u64,
    /// Length of the data file.
    pub file: u64,
    /// Pages ever used, in bytes; those freed since are used again before the file grows.
    pub used: u64,
    /// Read transactions' slots in use (a number; slots of closed ones count until taken again).
    pub readers: u32,
}

/// One committed state, kept as it is: its pages can be walked and its rows read while writing goes on.
///
/// As any read transaction it pins what is freed since, and a map that is full waits for it.
pub struct Snapshot {
    txn: ReadTxn,
    meta: Meta,
    file: File,
    path: PathBuf,
}

impl Snapshot {
    pub fn txn(&self) -> &ReadTxn {
        &self.txn
    }

    /// Walks every page by plain reads. `progress` is told pages visited and pages to visit.
    pub fn walk(&self, progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<Walk, StoreError> {
        pages::walk(&self.file, &self.meta, progress)
            .map_err(|error| StoreError::io("read", self.path.join(DATA_FILE), error))
    }
}

impl Environment {
    /// Opens the store at a location, making it if there is none; shares it if this process has it open already.
    pub fn open(location: &Location, options: &Options) -> Result<Environment, StoreError> {
        let place = Place::prepare(location, options.read_only)?;
        let claim = match registry::look_up(place.dir()) {
            Lookup::Shared(shared) if shared.mapping.read_only && !options.read_only => {
                let why = "it is open for reading only in this process".into();
                return Err(StoreError::Open { path: place.dir().to_owned(), why });
            }
            Lookup::Shared(shared) => return Ok(Environment(shared)),
            Lookup::Claimed(claim) => claim,
        };
        let mut lock = LockFile::acquire(place.dir(), options.read_only)?;
        let mapping =
            Mapping { read_only: options.read_only, volatile: place.is_memory(), map_size: options.map_size };
        if !options.read_only {
            clear_compacting(place.dir())?;
        }
        place.check_or_create(options.read_only)?;
        if lock.was_cut_off() {
            walk_first(place.dir())?;
        }
        let opened = Opened::open(place.dir(), mapping)?;
        if !mapping.read_only && !mapping.volatile {
            lock.mark_open();
        }
        let shared = Arc::new(Shared {
            extensions: Mutex::default(),
            map: Arc::new(RwLock::new(Some(opened))),
            writing: Mutex::new(()),
            mapping,
            _lock: lock,
            place,
            claim,
        });
        shared.claim.publish(&shared);
        Ok(Environment(shared))
    }

    pub fn is_read_only(&self) -> bool {
        self.0.mapping.read_only
    }

    /// A snapshot of what is committed now.
    pub fn read(&self) -> Result<ReadTxn, StoreError> {
        ReadTxn::begin(self.0.map_guard(), self.0.clone())
    }

    /// The write transaction; waits for the one before. Only the thread that owns writing calls this, and never
    /// twice at once.
    pub fn write(&self) -> Result<WriteTxn<'_>, StoreError> {
        if self.0.mapping.read_only {
            return Err(StoreError::ReadOnly);
        }
        let mut writing = self.0.writing.lock();
        // SAFETY: the guard is of `self.0.map`; its value stands in that Arc's allocation, which `self` keeps for '_.
        match unsafe { WriteTxn::begin(self.0.map_guard(), writing) } {
            // After a meta page could not be written LMDB takes no more writes until the file is opened anew.
            Err(StoreError::Lmdb(heed::Error::Mdb(heed::MdbError::Panic))) => {
                writing = self.0.writing.lock();
                self.remap(&writing, 1)?;
                // SAFETY: as above.
                unsafe { WriteTxn::begin(self.0.map_guard(), writing) }
            }
            begun => begun,
        }
    }

    /// Runs a transaction and commits it; when the map is full, grows it and runs the closure again.
    ///
    /// The closure may run more than once: what it changed outside the transaction must be reset at its start. An
    /// error of the closure aborts; so does a full disk, with everything committed before still there.
    pub fn write_with<T, E: From<StoreError>>(
        &self,
        mut act: impl FnMut(&mut WriteTxn<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        loop {
            let mut txn = self.write()?;
            let result = act(&mut txn);
            if txn.is_full() {
                txn.abort();
                self.grow()?;
                continue;
            }
            let value = result?;
            match txn.commit() {
                Err(StoreError::MapFull) => self.grow()?,
                Err(error) => {
                    // If the failure left LMDB unusable, beginning anew mends it; readers need not wait for a write.
                    let _ = self.write();
                    return Err(error.into());
                }
                Ok(()) => return Ok(value),
            }
        }
    }

    /// Doubles the reserved map. Waits for every read transaction to be closed, and holds new ones up meanwhile.
    ///
    /// The caller holds no transaction of this environment: a write transaction is an error, a read transaction of
    /// the calling thread would be waited for in vain.
    pub fn grow(&self) -> Result<(), StoreError> {
        let writing = self.0.writing.try_lock().ok_or(StoreError::WriteInProgress)?;
        self.remap(&writing, 2)
    }

    /// Waits until no write transaction is open and nothing keeps one from beginning. The caller has none open.
    pub fn wait_for_writing(&self) {
        drop(self.0.writing.lock());
    }

    /// Maps the file anew with `times` the room: not resized in place, for LMDB unmaps first, and if it then fails to
    /// map it is left pointing nowhere.
    fn remap(&self, _writing: &MutexGuard<'_, ()>, times: usize) -> Result<(), StoreError> {
        let mut map = self.0.map.write();
        let opened = map.take().ok_or(StoreError::Unmapped)?;
        let size = opened.map_size();
        opened.close();
        let larger = Mapping { map_size: Some(size.saturating_mul(times)), ..self.0.mapping };
        match Opened::open(self.0.place.dir(), larger) {
            Ok(opened) => {
                *map = Some(opened);
                Ok(())
            }
            Err(error) => {
                let same = Mapping { map_size: Some(size), ..self.0.mapping };
                *map = Some(Opened::open(self.0.place.dir(), same)?);
                Err(error)
            }
        }
    }

    /// Keeps write transactions from beginning; waits for the one that is open.
    pub(super) fn stop_writing(&self) -> Result<MutexGuard<'_, ()>, StoreError> {
        if self.0.mapping.read_only {
            return Err(StoreError::ReadOnly);
        }
        Ok(self.0.writing.lock())
    }

    /// Puts a file that holds the same rows in the place of the one that is mapped. If the directory cannot be synced
    /// nothing is mapped: what would be committed from here on could be lost with the new name.
    pub(super) fn swap(&self, _writing: &MutexGuard<'_, ()>, file: &Path) -> Result<(), StoreError> {
        let dir = self.0.place.dir();
        // While this waits, new reads step aside one after the other: not for as long as a verification takes.
        let mut map = self.0.map.try_write_for(SWAP_PATIENCE).ok_or(StoreError::ReadInProgress)?;
        let opened = map.take().ok_or(StoreError::Unmapped)?;
        let same = Mapping { map_size: Some(opened.map_size()), ..self.0.mapping };
        opened.close();
        let data = dir.join(DATA_FILE);
        let renamed = std::fs::rename(file, &data).map_err(|error| StoreError::io("replace", data, error));
        if renamed.is_ok() {
            sync_dir(dir)?;
        }
        *map = Some(Opened::open(dir, same)?);
        renamed
    }

    /// Directory of the store; none for one in memory.
    pub fn path(&self) -> Option<&Path> {
        (!self.0.place.is_memory()).then(|| self.0.place.dir())
    }

    /// Directory of the files, also of a store in memory.
    pub fn directory(&self) -> &Path {
        self.0.place.dir()
    }

    /// Tells when this environment is closed: all clones and read transactions gone and the file released.
    pub fn closed(&self) -> Closed {
        self.0.claim.closed()
    }

    /// Gives up this handle. Others keep the store open; the result tells when it is closed.
    pub fn close(self) -> Closed {
        self.closed()
    }

    /// A handle that does not keep the store open.
    pub fn downgrade(&self) -> WeakEnvironment {
        WeakEnvironment(Arc::downgrade(&self.0))
    }

    /// Sizes now.
    pub fn stat(&self) -> Result<Sizes, StoreError> {
        self.with_map(|opened| {
            let info = opened.env.info();
            let bytes = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
            let page = u64::from(opened.env.unnamed_database_stat().page_size);
            Ok(Sizes {
                map: bytes(info.map_size),
                file: opened.env.real_disk_size()?,
                used: bytes(info.last_page_number).saturating_add(1).saturating_mul(page),
                readers: info.number_of_readers,
            })
        })
    }

    /// What is committed now, to be walked and read. Called where nothing is committed meanwhile: by the thread that
    /// owns writing, within a transaction or between two.
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let path = self.0.place.dir();
        let data = path.join(DATA_FILE);
        let file = File::open(&data).map_err(|error| StoreError::io("open", data, error))?;
        let txn = self.read()?;
        let meta = check::committed(&file, path)?;
        Ok(Snapshot { txn, meta, file, path: path.to_owned() })
    }

    /// Something done with the mapped file, which stays where it is meanwhile.
    pub(super) fn with_map<T>(
        &self,
        act: impl FnOnce(&Opened) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        act(self.0.map_guard().as_ref().ok_or(StoreError::Unmapped)?)
    }

    /// The one object of type `T` kept with this environment; made by the first who asks.
    ///
    /// `T` must not own an `Environment`, which would keep itself open for ever: a `WeakEnvironment` does. `init` must
    /// not ask for extensions.
    pub fn extension<T: Any + Send + Sync>(&self, init: impl FnOnce() -> T) -> Arc<T> {
        match self.try_extension(|| Ok::<T, std::convert::Infallible>(init())) {
            Ok(extension) => extension,
            Err(never) => match never {},
        }
    }

    /// As `extension`, for objects whose making can fail; nothing is kept then.
    pub fn try_extension<T: Any + Send + Sync, E>(
        &self,
        init: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let mut extensions = self.0.extensions.lock();
        let found = extensions.iter().find_map(|extension| extension.clone().downcast::<T>().ok());
        if let Some(found) = found {
            return Ok(found);
        }
        let made = Arc::new(init()?);
        extensions.push(made.clone());
        Ok(made)
    }
}

/// Removes what a compaction that was cut off has left: the store's own file is whole without it.
fn clear_compacting(dir: &Path) -> Result<(), StoreError> {
    let left = dir.join(COMPACTING);
    match std::fs::remove_dir_all(&left) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::io("remove", left, error))
        }
        _ => Ok(()),
    }
}

/// Refuses a store whose pages are damaged, by a walk over all of them.
fn walk_first(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(DATA_FILE);
    let file = File::open(&path)
        .map_err(|error| StoreError::Open { path: dir.to_owned(), why: error.to_string() })?;
    let walk = check::walk(&file, dir, &mut |_, _| true)?;
    match walk.damages.first() {
        None => Ok(()),
        Some(first) => {
            let others = walk.more.saturating_add(u64::try_from(walk.damages.len()).unwrap_or(u64::MAX)) - 1;
            let why = format!("since the machine went down while it was open: {first}; {others} more");
            Err(StoreError::Corrupt { path: dir.to_owned(), why })
        }
    }
}

impl WeakEnvironment {
    /// The environment, if it is still open.
    pub fn upgrade(&self) -> Option<Environment> {
        self.0.upgrade().map(Environment)
    }
}

impl Shared {
    fn map_guard(&self) -> MapGuard {
        self.map.try_read_arc_for(STEP_ASIDE).unwrap_or_else(|| self.map.read_arc_recursive())
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("path", &self.path()).finish_non_exhaustive()
    }
}

/// Where a store stands, for `Location` values made from text: `:memory:` or a path.
impl From<&str> for Location {
    fn from(text: &str) -> Self {
        if text == ":memory:" { Location::Memory } else { Location::Path(PathBuf::from(text)) }
    }
}
