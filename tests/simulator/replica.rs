//! One device: a store in a directory, its virtual clock, and what its user remembers.

use super::random::Random;
use super::schedule::Setup;
use multi_hyperbee::db::{
    DatabaseOptions, Db, EncryptionKey, Event, FeedChoice, Location, Range, Store, StoreOptions,
    Subscription, ViewEntry,
};
use multi_hyperbee::entry::{Entry, Op, Place};
use multi_hyperbee::types::{FeedKey, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// What a user read, to be put back changed.
#[derive(Clone)]
pub struct Seen {
    pub key: Vec<u8>,
    pub text: String,
    pub base: (Stamp, u64),
}

pub struct Replica {
    dir: TempDir,
    secret: [u8; 32],
    encrypted: bool,
    map: Option<usize>,
    /// The database's key, once known.
    pub key: Option<FeedKey>,
    /// Microseconds since 1970.
    clock: Arc<AtomicU64>,
    /// How far its clock is from the world's.
    pub skew: i64,
    open: Option<Open>,
    /// How much of which feeds counts by this device's own choice.
    pub chosen: BTreeMap<FeedKey, u64>,
    pub seen: Vec<Seen>,
    pub snapshots: Vec<(u64, Vec<ViewEntry>)>,
    /// The own feed's blocks, as acknowledged.
    pub ledger: Vec<Vec<u8>>,
    /// An older copy was restored, whose own feed had so many blocks, and not all of the ledger has come back yet.
    mute: Option<usize>,
    /// What was acknowledged there meanwhile: it has to come again, after the ledger.
    loose: Vec<Vec<u8>>,
    /// It is out of a backup made by the store, and has not written since.
    pub cautious: bool,
    backup: Option<Backup>,
}

struct Backup {
    dir: TempDir,
    chosen: BTreeMap<FeedKey, u64>,
    snapshots: usize,
    made: bool,
}

pub struct Open {
    pub store: Store,
    pub db: Db,
    pub local: FeedKey,
    events: Subscription,
    /// What the events so far say.
    version: u64,
    writers: BTreeSet<FeedKey>,
    writable: bool,
}

fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("multi-hyperbee-simulator-");
    if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() }.unwrap()
}

/// What a block says, whatever it is called: when it comes again, names of what came with it are others.
fn said(block: &[u8]) -> String {
    let Entry { place, op } = Entry::decode(block).unwrap();
    let when = match place {
        Place::First(head) => format!("{} {} {:?}", head.timestamp, head.length, head.links),
        Place::Later { offset } => format!("{offset}"),
    };
    let what = match op {
        Op::Diff(diff) => format!("{:?} {:?}", diff.key, std::mem::discriminant(&diff.change)),
        other => format!("{other:?}"),
    };
    format!("{when} {what}")
}

pub fn scan(db: &Db, at: Option<u64>) -> Result<(u64, Vec<ViewEntry>), String> {
    let mut scan = db.scan(Range::default(), at).map_err(|error| format!("scan at {at:?}: {error}"))?;
    let mut all = Vec::new();
    loop {
        let some = scan.next(3, 1 << 20).map_err(|error| format!("scan at {at:?}: {error}"))?;
        if some.is_empty() {
            return Ok((scan.version(), all));
        }
        all.extend(some);
    }
}

impl Replica {
    pub fn new(setup: &Setup, index: usize, key: Option<FeedKey>) -> Result<Self, String> {
        let mut replica = Self {
            dir: directory(),
            secret: setup.secrets[index],
            encrypted: setup.encrypted,
            map: setup.maps[index],
            key,
            clock: Arc::new(AtomicU64::new(0)),
            skew: 0,
            open: None,
            chosen: BTreeMap::new(),
            seen: Vec::new(),
            snapshots: Vec::new(),
            ledger: Vec::new(),
            mute: None,
            loose: Vec::new(),
            cautious: false,
            backup: None,
        };
        replica.set_clock(super::world::BEGIN);
        replica.open()?;
        replica.learn_own()?;
        Ok(replica)
    }

    pub fn set_clock(&self, now: u64) {
        self.clock.store(now.saturating_add_signed(self.skew), Ordering::Relaxed);
    }

    pub fn get(&self) -> &Open {
        self.open.as_ref().unwrap()
    }

    pub fn db(&self) -> &Db {
        &self.get().db
    }

    pub fn store(&self) -> &Store {
        &self.get().store
    }

    pub fn local(&self) -> FeedKey {
        self.get().local
    }

    pub fn database(&self) -> FeedKey {
        self.key.unwrap_or_else(|| self.local())
    }

    fn open(&mut self) -> Result<(), String> {
        let clock = Arc::clone(&self.clock);
        let clock = move || Duration::from_micros(clock.load(Ordering::Relaxed));
        let options =
            StoreOptions { map_size: self.map, clock: Some(Arc::new(clock)), ..StoreOptions::default() };
        let location = Location::Path(self.dir.path().to_owned());
        let store = Store::open(&location, &options).map_err(|error| format!("open: {error}"))?;
        let options = DatabaseOptions {
            key: self.key,
            secret: Some(self.secret),
            encryption_key: self.encrypted.then(|| EncryptionKey::new([0xe5; 32])),
            ..DatabaseOptions::default()
        };
        let db = store.database(options).wait().map_err(|error| format!("open the database: {error}"))?;
        let events = db.subscribe(Arc::new(|| {})).map_err(|error| error.to_string())?;
        let status = db.status().map_err(|error| error.to_string())?;
        let local = db.info().map_err(|error| error.to_string())?.local;
        let members = db.members().map_err(|error| format!("members: {error}"))?;
        let writers = members.iter().filter(|member| member.granted).map(|member| member.key).collect();
        let (version, writable) = (status.version, status.writable);
        self.open = Some(Open { store, db, local, events, version, writers, writable });
        self.settle();
        Ok(())
    }

    /// Waits for the owner thread to have done all that is queued, and what that queues.
    pub fn settle(&self) {
        for _ in 0..2 {
            // An owner that has stopped shows in the next call whose result is looked at.
            let _ = self.get().store.settled().wait();
        }
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(open) = self.open.take() else { return Ok(()) };
        drop(open.events);
        open.db.close().wait().map_err(|error| format!("close the database: {error}"))?;
        open.store.close().wait().map_err(|error| format!("close: {error}"))
    }

    pub fn reopen(&mut self) -> Result<(), String> {
        self.take_events(true)?;
        let before = (self.db().status(), self.db().state_hash(), scan(self.db(), None)?);
        self.close()?;
        self.open()?;
        let after = (self.db().status(), self.db().state_hash(), scan(self.db(), None)?);
        if before != after {
            return Err(format!("closed with {before:?}, opened with {after:?}"));
        }
        self.learn_own()
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
        // The process that is gone is closed all the same, or its threads would stay: its files are nobody's any more.
        self.close()?;
        self.dir = dir;
        self.open()?;
        self.learn_own()
    }

    /// Goes on from the files as they are now, as after a sudden end of the process.
    pub fn crash(&mut self) -> Result<(), String> {
        let copy = self.copy();
        self.go_on_in(copy)
    }

    pub fn back_up(&mut self, made: bool) -> Result<(), String> {
        self.settle();
        if self.is_mute() {
            return Ok(());
        }
        let (chosen, snapshots) = (self.chosen.clone(), self.snapshots.len());
        let dir = if made { directory() } else { self.copy() };
        if made {
            let reply = self.get().store.backup(dir.path().to_owned());
            reply.wait().map_err(|error| format!("backup: {error}"))?;
        }
        self.backup = Some(Backup { dir, chosen, snapshots, made });
        Ok(())
    }

    pub fn restore(&mut self) -> Result<(), String> {
        let Some(Backup { dir, chosen, snapshots, made }) = self.backup.take() else { return Ok(()) };
        self.chosen = chosen;
        self.snapshots.truncate(snapshots);
        self.cautious = made;
        // What was written in an older copy and never left is lost with it.
        self.loose.clear();
        self.mute = Some(0);
        self.go_on_in(dir)?;
        let here = self.blocks(self.local())?.len();
        self.mute = (here < self.ledger.len()).then_some(here);
        Ok(())
    }

    pub fn has_backup(&self) -> bool {
        self.backup.is_some()
    }

    /// Whether less of the own feed is here than was written.
    pub fn is_mute(&self) -> bool {
        self.mute.is_some()
    }

    /// Whether a feed is one of the database's.
    pub fn knows(&self, feed: FeedKey) -> Result<bool, String> {
        let members = self.db().members().map_err(|error| format!("members: {error}"))?;
        Ok(members.iter().any(|member| member.key == feed))
    }

    /// Blocks of a feed that are here.
    pub fn blocks(&self, feed: FeedKey) -> Result<Vec<Vec<u8>>, String> {
        let wrong = |error: multi_hyperbee::db::Error| format!("blocks of {feed}: {error}");
        let feed = self.get().store.feed(FeedChoice::Key(feed)).wait().map_err(wrong)?;
        let length = feed.info().map_err(wrong)?.length;
        (0..length)
            .map(|seq| feed.get(seq).map_err(wrong)?.ok_or_else(|| format!("no block {seq}")))
            .collect()
    }

    /// Blocks of every feed of the database.
    pub fn feeds(&self) -> Result<BTreeMap<FeedKey, Vec<Vec<u8>>>, String> {
        let members = self.db().members().map_err(|error| format!("members: {error}"))?;
        members.iter().map(|member| Ok((member.key, self.blocks(member.key)?))).collect()
    }

    /// Takes what the own feed has grown by into the ledger: what was acknowledged is there and never changes, but for
    /// what a restored copy wrote before it had the rest: that comes again after it.
    pub fn learn_own(&mut self) -> Result<(), String> {
        let blocks = self.blocks(self.local())?;
        let Some(base) = self.mute else {
            if !blocks.starts_with(&self.ledger) {
                let (here, acknowledged) = (blocks.len(), self.ledger.len());
                return Err(format!(
                    "the own feed has {here} blocks, acknowledged were {acknowledged} or others"
                ));
            }
            self.ledger = blocks;
            return Ok(());
        };
        if let Some(rest) = blocks.strip_prefix(self.ledger.as_slice()) {
            let [again, loose] = [rest, &self.loose].map(|blocks| blocks.iter().map(|block| said(block)));
            let (again, loose) = (again.collect::<Vec<_>>(), loose.collect::<Vec<_>>());
            if !again.starts_with(&loose) {
                return Err(format!("written before the rest was here: {loose:?}, come again: {again:?}"));
            }
            (self.ledger, self.mute) = (blocks, None);
            self.loose.clear();
            return Ok(());
        }
        if self.ledger.starts_with(&blocks) && (blocks.len() > base || self.loose.is_empty()) {
            return Ok(());
        }
        match blocks.strip_prefix(&self.ledger[..base]) {
            Some(rest) if rest.starts_with(&self.loose) => {
                self.loose = rest.to_vec();
                Ok(())
            }
            _ => Err(format!("of {} blocks written in a restored copy some are gone", self.loose.len())),
        }
    }

    /// Blocks written here while less than the ledger was.
    pub fn written_loose(&self) -> usize {
        self.loose.len()
    }

    /// Reads the events and checks that they tell what has happened.
    pub fn take_events(&mut self, lying: bool) -> Result<(), String> {
        self.settle();
        let open = self.open.as_mut().unwrap();
        for event in open.events.take() {
            match event {
                Event::Update { from, to } if from == open.version && to > from => open.version = to,
                Event::Writable if !open.writable => open.writable = true,
                Event::Unwritable if open.writable => open.writable = false,
                Event::Writer { key, added: true } if open.writers.insert(key) => {}
                Event::Writer { key, added: false } if open.writers.remove(&key) => {}
                Event::Drift { .. } if lying => {}
                Event::PeerAdd { .. } | Event::PeerRemove { .. } | Event::Synced { .. } | Event::Progress => {
                }
                other => return Err(format!("the event {other:?} at version {}", open.version)),
            }
        }
        let status = open.db.status().map_err(|error| error.to_string())?;
        if (status.version, status.writable) != (open.version, open.writable) {
            let (version, writable) = (open.version, open.writable);
            return Err(format!(
                "events say version {version}, writable {writable}; the status is {status:?}"
            ));
        }
        let members = open.db.members().map_err(|error| format!("members: {error}"))?;
        let writers: BTreeSet<FeedKey> = members.iter().filter(|m| m.granted).map(|m| m.key).collect();
        if writers != open.writers {
            return Err(format!("events say the writers are {:?}, they are {writers:?}", open.writers));
        }
        Ok(())
    }

    /// Looks at a key and remembers what was there.
    pub fn read(&mut self, random: &mut Random) -> Result<(), String> {
        let key = super::user::key(random);
        let found = self.db().get_entry(&key, None).map_err(|error| format!("get: {error}"))?;
        if let Some(entry) = found.filter(|entry| !entry.register) {
            let text = String::from_utf8(entry.value).unwrap();
            self.seen.push(Seen { key, text, base: (entry.stamp, entry.state) });
        }
        Ok(())
    }
}
