//! A device: a store in a directory, its virtual clock, and a replica of each database.

use super::coverage::count;
use super::disk;
use super::random::Random;
use super::replica::Replica;
use super::schedule::{Mode, Setup};
use multi_hyperbee::db::{Location, Store, StoreOptions};
use multi_hyperbee::types::FeedKey;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

pub struct Device {
    dir: TempDir,
    map: Option<usize>,
    /// Microseconds since 1970.
    clock: Arc<AtomicU64>,
    /// How far its clock is from the world's.
    pub skew: i64,
    store: Option<Store>,
    /// One of each database.
    pub replicas: Vec<Replica>,
    backup: Option<Backup>,
}

struct Backup {
    dir: TempDir,
    made: bool,
}

pub fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("multi-hyperbee-simulator-");
    if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() }.unwrap()
}

impl Device {
    /// `keys`: of the databases that are there already.
    pub fn new(setup: &Setup, index: usize, keys: &[Option<FeedKey>]) -> Result<Self, String> {
        let clock = Arc::new(AtomicU64::new(0));
        let replicas = setup.modes.iter().zip(keys).enumerate();
        let replicas = replicas
            .map(|(number, (mode, key))| Replica::new(setup, index, number, *mode, *key, Arc::clone(&clock)));
        let replicas = replicas.collect();
        let map = setup.maps[index];
        let mut device = Self { dir: directory(), map, clock, skew: 0, store: None, replicas, backup: None };
        device.set_clock(super::world::BEGIN);
        device.open()?;
        disk::begin(device.dir.path());
        device.learn_own()?;
        Ok(device)
    }

    pub fn set_clock(&self, now: u64) {
        self.clock.store(now.saturating_add_signed(self.skew), Ordering::Relaxed);
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub fn replica(&mut self, mode: Mode) -> Option<&mut Replica> {
        self.replicas.iter_mut().find(|replica| replica.mode == mode)
    }

    fn open(&mut self) -> Result<(), String> {
        let clock = Arc::clone(&self.clock);
        let clock = move || Duration::from_micros(clock.load(Ordering::Relaxed));
        let options =
            StoreOptions { map_size: self.map, clock: Some(Arc::new(clock)), ..StoreOptions::default() };
        let location = Location::Path(self.dir.path().to_owned());
        let store = Store::open(&location, &options).map_err(|error| format!("open: {error}"))?;
        self.replicas.iter_mut().try_for_each(|replica| replica.open(&store))?;
        self.store = Some(store);
        self.settle();
        Ok(())
    }

    /// Waits for the owner thread to have done all that is queued, and what that queues.
    pub fn settle(&self) {
        for _ in 0..2 {
            // An owner that has stopped shows in the next call whose result is looked at.
            let _ = self.store().settled().wait();
        }
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(store) = self.store.take() else { return Ok(()) };
        self.replicas.iter_mut().try_for_each(Replica::close)?;
        store.close().wait().map_err(|error| format!("close: {error}"))
    }

    pub fn reopen(&mut self) -> Result<(), String> {
        let before: Vec<_> = self.replicas.iter_mut().map(Replica::shown).collect::<Result<_, _>>()?;
        self.close()?;
        self.open()?;
        let after: Vec<_> = self.replicas.iter_mut().map(Replica::shown).collect::<Result<_, _>>()?;
        if before != after {
            return Err(format!("closed with {before:?}, opened with {after:?}"));
        }
        self.learn_own()
    }

    pub fn learn_own(&mut self) -> Result<(), String> {
        self.replicas.iter_mut().try_for_each(Replica::learn_own)
    }

    fn copy(&self) -> TempDir {
        let copy = directory();
        for file in std::fs::read_dir(self.dir.path()).unwrap() {
            let path: PathBuf = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.contains("lock") {
                std::fs::copy(&path, copy.path().join(&name)).unwrap();
            }
        }
        copy
    }

    fn go_on_in(&mut self, dir: TempDir) -> Result<(), String> {
        self.replicas.iter_mut().for_each(Replica::hear_what_moved);
        // The process that is gone is closed all the same, or its threads would stay: its files are nobody's any more.
        self.close()?;
        disk::end(self.dir.path());
        self.dir = dir;
        disk::begin(self.dir.path());
        self.open()?;
        self.learn_own()
    }

    /// Goes on from what is on disk now, as after a power loss.
    pub fn crash(&mut self) -> Result<(), String> {
        let copy = self.copy();
        disk::lose(self.dir.path(), copy.path());
        self.go_on_in(copy)
    }

    /// From so many writes on there is no room on its disk.
    pub fn fill_disk(&mut self, writes: usize) {
        disk::fill(self.dir.path(), writes);
        self.replicas.iter_mut().for_each(|replica| replica.is_full = true);
    }

    /// There is room again. True if it was missed.
    pub fn empty_disk(&mut self) -> bool {
        self.replicas.iter_mut().for_each(|replica| replica.is_full = false);
        disk::empty(self.dir.path())
    }

    /// Goes on, with room, from what is on a full disk.
    pub fn crash_full(&mut self) -> Result<(), String> {
        let copy = self.copy();
        disk::lose(self.dir.path(), copy.path());
        self.empty_disk();
        self.go_on_in(copy)
    }

    /// True if there is a backup now.
    pub fn back_up(&mut self, made: bool) -> Result<bool, String> {
        self.settle();
        if self.is_mute() {
            return Ok(false);
        }
        let dir = if made { directory() } else { self.copy() };
        if made {
            let reply = self.store().backup(dir.path().to_owned());
            reply.wait().map_err(|error| format!("backup: {error}"))?;
        }
        self.replicas.iter_mut().try_for_each(|replica| replica.take_events(true))?;
        self.replicas.iter_mut().for_each(Replica::keep);
        self.backup = Some(Backup { dir, made });
        Ok(true)
    }

    pub fn restore(&mut self) -> Result<(), String> {
        let Some(Backup { dir, made }) = self.backup.take() else { return Ok(()) };
        self.replicas.iter_mut().for_each(Replica::hear_what_moved);
        self.replicas.iter_mut().for_each(|replica| replica.forget(made));
        self.go_on_in(dir)?;
        self.replicas.iter_mut().try_for_each(Replica::look_what_is_left)
    }

    /// A copy of it, that goes on beside it.
    pub fn twin(&mut self) -> Result<Self, String> {
        self.settle();
        self.learn_own()?;
        self.replicas.iter_mut().try_for_each(|replica| replica.take_events(true))?;
        let clock = Arc::new(AtomicU64::new(self.clock.load(Ordering::Relaxed)));
        let replicas = self.replicas.iter_mut().map(|replica| replica.fork(Arc::clone(&clock))).collect();
        let (dir, map, skew) = (self.copy(), self.map, self.skew);
        self.backup = None;
        let mut twin = Self { dir, map, clock, skew, store: None, replicas, backup: None };
        disk::begin(twin.dir.path());
        twin.open()?;
        Ok(twin)
    }

    /// Goes on from the backup, whose user says wrongly that nothing is missing.
    pub fn restore_wrongly(&mut self) -> Result<(), String> {
        self.restore()?;
        self.resume()?;
        self.replicas.iter_mut().for_each(Replica::is_said_to_be_newest);
        self.learn_own()
    }

    /// The user's word that nothing is missing.
    pub fn resume(&mut self) -> Result<(), String> {
        count("resume");
        self.store().resume().wait().map_err(|error| format!("resume: {error}"))?;
        self.replicas.iter_mut().for_each(|replica| replica.cautious = false);
        Ok(())
    }

    pub fn forget_backup(&mut self) {
        self.backup = None;
    }

    pub fn has_backup(&self) -> bool {
        self.backup.is_some()
    }

    /// Whether less of an own feed is here than was written.
    pub fn is_mute(&self) -> bool {
        self.replicas.iter().any(Replica::is_mute)
    }

    /// Whether it may not meet somebody who knows less of its feeds than it has written.
    pub fn is_older(&self) -> bool {
        self.replicas.iter().any(Replica::is_older)
    }

    pub fn read(&mut self, random: &mut Random) -> Result<(), String> {
        self.replica(Mode::Merge).map_or(Ok(()), |replica| replica.read(random))
    }
}

impl Drop for Device {
    /// Also after a failure: what is tried next needs the room.
    fn drop(&mut self) {
        let _ = self.close();
        disk::end(self.dir.path());
    }
}
