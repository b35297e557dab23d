//! SKELETON of the Rust API: signatures are final enough to code against; bodies are being written.
#![allow(unused)]

use super::Error;
use crate::types::{Dot, FeedKey, Stamp};
use std::path::PathBuf;
use std::sync::Arc;

/// A reply that comes after the commit. A `Future`, or `wait()` in a thread that may block.
pub struct Reply<T>(futures::channel::oneshot::Receiver<Result<T, Error>>);
impl<T> Reply<T> {
    pub fn wait(self) -> Result<T, Error> {
        unimplemented!()
    }
}
impl<T> std::future::Future for Reply<T> {
    type Output = Result<T, Error>;
    fn poll(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        unimplemented!()
    }
}

#[derive(Clone, Debug)]
pub enum Location {
    Path(PathBuf),
    Memory,
}

#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    pub read_only: bool,
}

/// One handle on a store. Handles on one path share one environment and one owner thread; each is closed once.
#[derive(Clone)]
pub struct Store;
impl Store {
    pub fn open(location: &Location, options: &StoreOptions) -> Result<Store, Error> {
        unimplemented!()
    }
    /// Waits for everything accepted; when this was the last handle of the path, the files are closed when it resolves.
    pub fn close(&self) -> Reply<()> {
        unimplemented!()
    }
    pub fn database(&self, options: DatabaseOptions) -> Reply<Db> {
        unimplemented!()
    }
    /// A feed by key (stored or not) or a local one by name (created on first use) or by key pair.
    pub fn feed(&self, which: FeedChoice) -> Reply<Feed> {
        unimplemented!()
    }
    /// A connection that offers every open database of this store. See `Db::replicate`.
    pub fn replicate(&self, options: PeerOptions) -> Result<Peer, Error> {
        unimplemented!()
    }
}

#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    pub name: Option<String>, // default 'db' without key, else the key's hex
    pub key: Option<FeedKey>,
    pub key_encoding: String, // name; 'custom' for codecs
    pub value_encoding: String,
    pub secret: Option<[u8; 32]>, // seed of a caller's key pair
    pub open: bool,               // writers: 'open'
    pub max_drift_ms: u64,
}

pub enum FeedChoice {
    Key(FeedKey),
    Name(String),
    Secret([u8; 32]),
}

/// Everything about a database that never changes once it is open.
#[derive(Clone, Debug)]
pub struct DbInfo {
    pub name: String,
    pub key: FeedKey,
    pub discovery_key: [u8; 32],
    pub local: FeedKey,
    pub key_encoding: String,
    pub value_encoding: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DbStatus {
    pub version: u64,
    pub writable: bool,
    pub indexer: bool,
}

/// One handle on an open database.
#[derive(Clone)]
pub struct Db;

/// A live entry of the view. `value`: JSON text in merge mode with `json` values, else the register's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewEntry {
    pub seq: u64,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub register: bool,
    pub stamp: Stamp,
    pub prev: Option<Stamp>,
    pub state: u64,
}

#[derive(Clone, Debug)]
pub enum Write {
    /// `value`: JSON text without the reserved properties. `base`: the state named by the `_timestamp` the value carried (None: none carried).
    Put {
        key: Vec<u8>,
        value: Vec<u8>,
        base: Option<(Stamp, u64)>,
        diff: Option<String>,
        expect: Expect,
    },
    /// A last-writer-wins register (value encoding not json).
    Register {
        key: Vec<u8>,
        value: Vec<u8>,
        expect: Expect,
    },
    Delete {
        key: Vec<u8>,
        expect: Expect,
    },
    /// Atomic.
    Batch(Vec<Write>),
}
/// A condition of the write: the key's `seq` must still be this (cas).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Any,
    Seq(u64),
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    No,       /* nothing changed */
    Conflict, /* `expect` did not hold */
    Yes { length: u64 /* of the local feed after the entry */, version: u64 },
}

#[derive(Clone, Debug, Default)]
pub struct Range {
    pub gt: Option<Vec<u8>>,
    pub gte: Option<Vec<u8>>,
    pub lt: Option<Vec<u8>>,
    pub lte: Option<Vec<u8>>,
    pub reverse: bool,
    pub limit: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct Member {
    pub key: FeedKey,
    pub length: u64,
    pub indexer: bool,
    pub granted: bool,
    pub added: bool, /* by addPeer */
    pub removed_by: Option<FeedKey>,
}

impl Db {
    pub fn info(&self) -> &DbInfo {
        unimplemented!()
    }
    pub fn status(&self) -> DbStatus {
        unimplemented!()
    } // atomics; cheap
    pub fn close(&self) -> Reply<()> {
        unimplemented!()
    }
    // reads: synchronous, on the calling thread
    pub fn get(&self, key: &[u8], at: Option<u64>) -> Result<Option<ViewEntry>, Error> {
        unimplemented!()
    }
    pub fn scan(&self, range: Range, at: Option<u64>) -> Result<Scan, Error> {
        unimplemented!()
    }
    /// Entries by version, oldest first or newest first; `None` bound: open.
    pub fn history(&self, from: u64, to: Option<u64>, reverse: bool) -> Result<History, Error> {
        unimplemented!()
    }
    pub fn state_hash(&self) -> Result<[u8; 32], Error> {
        unimplemented!()
    }
    // writes: one reply per call, one result per item; a bad item rejects alone
    pub fn write(&self, writes: Vec<Write>) -> Reply<Vec<Result<Written, Error>>> {
        unimplemented!()
    }
    pub fn add_peer(&self, feed: FeedKey) -> Reply<bool> {
        unimplemented!()
    }
    pub fn remove_peer(&self, feed: FeedKey) -> Reply<bool> {
        unimplemented!()
    }
    pub fn add_writer(&self, writer: FeedKey, indexer: bool) -> Reply<Written> {
        unimplemented!()
    }
    pub fn remove_writer(&self, writer: FeedKey, lost: bool) -> Reply<Written> {
        unimplemented!()
    }
    pub fn members(&self) -> Result<Vec<Member>, Error> {
        unimplemented!()
    }
    /// Whether `length` entries of `writer` are placed here.
    pub fn applied(&self, writer: FeedKey, length: u64) -> Result<bool, Error> {
        unimplemented!()
    }
    /// What every live connection has announced of this database is here and applied.
    pub fn is_flushed(&self) -> bool {
        unimplemented!()
    }
    /// Events since the last call; `wake` is called (from any thread, coalesced) when there are some.
    pub fn subscribe(&self, wake: Arc<dyn Fn() + Send + Sync>) -> Subscription {
        unimplemented!()
    }
    pub fn replicate(&self, options: PeerOptions) -> Result<Peer, Error> {
        unimplemented!()
    }
    pub fn progress(&self) -> Vec<FeedProgress> {
        unimplemented!()
    }
}
#[derive(Clone, Debug)]
pub struct FeedProgress {
    pub key: FeedKey,
    pub have: u64,
    pub placed: u64,
    pub want: u64,
}

/// A cursor over live entries at one version. Renews its read transaction between calls, so it pins no pages.
pub struct Scan;
impl Scan {
    pub fn next(&mut self, max_entries: usize, max_bytes: usize) -> Result<Vec<ViewEntry>, Error> {
        unimplemented!()
    }
    pub fn version(&self) -> u64 {
        unimplemented!()
    }
}
pub struct HistoryEntry {
    pub put: bool,
    pub seq: u64,
    pub key: Vec<u8>,
    pub entry: Option<ViewEntry>,
}
pub struct History;
impl History {
    pub fn next(&mut self, max_entries: usize, max_bytes: usize) -> Result<Vec<HistoryEntry>, Error> {
        unimplemented!()
    }
}

pub struct Subscription;
impl Subscription {
    pub fn take(&self) -> Vec<Event> {
        unimplemented!()
    }
}

#[derive(Clone, Debug)]
pub enum Event {
    Update {
        from: u64,
        to: u64,
    },
    Writable,
    Unwritable,
    Writer {
        key: FeedKey,
        added: bool,
    },
    PeerAdd {
        key: FeedKey,
    },
    PeerRemove {
        key: FeedKey,
    },
    Drift {
        writer: FeedKey,
        ahead_ms: u64,
    },
    Fork {
        feed: FeedKey,
        length: u64,
    },
    UpgradeNeeded {
        feed: FeedKey,
    },
    Synced {
        peer: u64,
    },
    /// Anything that may change `is_flushed`.
    Progress,
    AccessRequest {
        key: FeedKey,
        user_data: Vec<u8>,
    },
    Error {
        error: Error,
    },
}

pub struct PeerOptions {
    pub role: Transport,
    pub live: bool,
    pub download: bool,
    pub upload: bool,
    pub user_data: Vec<u8>,
    pub wake: Arc<dyn Fn() + Send + Sync>,
}
pub enum Transport {
    Initiator,
    Responder,
    /// Already encrypted (Protomux): whether we are the initiator, and the 64-byte handshake hash.
    Attached {
        initiator: bool,
        handshake_hash: Vec<u8>,
    },
}

/// One connection. `receive` and `pull` are synchronous and never wait for the network or the disk's sync.
#[derive(Clone)]
pub struct Peer;
impl Peer {
    pub fn id(&self) -> u64 {
        unimplemented!()
    }
    /// Bytes from the other side, split anywhere. `Ok(false)`: too much is unprocessed, hold back more until `wake`.
    pub fn receive(&self, bytes: &[u8]) -> Result<bool, Error> {
        unimplemented!()
    }
    /// The next bytes to send, about `max` at most; `None`: nothing now, `wake` will be called.
    pub fn pull(&self, max: usize) -> Result<Option<Vec<u8>>, Error> {
        unimplemented!()
    }
    pub fn ready_for_more(&self) -> bool {
        unimplemented!()
    }
    pub fn take_events(&self) -> Vec<PeerEvent> {
        unimplemented!()
    }
    /// Called about once a second by whoever owns a clock.
    pub fn tick(&self) {
        unimplemented!()
    }
    pub fn close(&self) {
        unimplemented!()
    }
}
#[derive(Clone, Debug)]
pub enum PeerEvent {
    Open {
        user_data: Vec<u8>,
    },
    RemoteFeeds,
    Synced,
    /// live: false and both sides have everything.
    Finished,
    Closed,
    Error {
        error: Error,
    },
}

/// A raw feed.
#[derive(Clone)]
pub struct Feed;
#[derive(Clone, Debug)]
pub struct FeedInfo {
    pub key: FeedKey,
    pub discovery_key: [u8; 32],
    pub writable: bool,
    pub length: u64,
    pub byte_length: u64,
}
impl Feed {
    pub fn info(&self) -> Result<FeedInfo, Error> {
        unimplemented!()
    }
    pub fn get(&self, seq: u64) -> Result<Option<Vec<u8>>, Error> {
        unimplemented!()
    }
    pub fn append(&self, blocks: Vec<Vec<u8>>) -> Reply<(u64, u64)> {
        unimplemented!()
    }
    pub fn tree_hash(&self, length: Option<u64>) -> Result<[u8; 32], Error> {
        unimplemented!()
    }
    /// Woken on append.
    pub fn subscribe(&self, wake: Arc<dyn Fn() + Send + Sync>) -> Subscription {
        unimplemented!()
    }
    pub fn close(&self) {}
}
