//! The beginning of a connection.

use super::asking::Asking;
use super::kept::Kept;
use super::spoken::Spoken;
use super::status::Meter;
use super::transport::noise;
use super::watch::Watch;
use super::{Connection, Peer, PeerOptions, State, Transport};
use crate::db::database::{Db, Inner};
use crate::db::error::Error;
use crate::db::store::{Shared, Store};
use crate::wire::{Config, Role, Session};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

impl Store {
    /// A connection that offers every open database of this store.
    pub fn replicate(&self, options: PeerOptions) -> Result<Peer, Error> {
        Peer::open(&self.shared()?, None, options)
    }
}

impl Db {
    /// A connection that offers this database.
    pub fn replicate(&self, options: PeerOptions) -> Result<Peer, Error> {
        let Inner { shared, open } = self.inner()?;
        Peer::open(&shared, Some(open.id), options)
    }
}

impl Peer {
    fn open(shared: &Arc<Shared>, scope: Option<u32>, options: PeerOptions) -> Result<Self, Error> {
        let PeerOptions { transport, live, download, upload, user_data, wake } = options;
        let config = Config { live, upload, download, user_data, ..Config::default() };
        let has_begun = !matches!(transport, Transport::Attached { .. });
        let session = match transport {
            Transport::Initiator => noise(Role::Initiator, config)?,
            Transport::Responder => noise(Role::Responder, config)?,
            Transport::Attached { initiator, handshake_hash } => {
                let role = if initiator { Role::Initiator } else { Role::Responder };
                Session::attached(role, handshake_hash, config)
            }
        };
        let state = State {
            shared: Some(Arc::clone(shared)),
            session,
            events: VecDeque::new(),
            topics: BTreeMap::new(),
            spoken: Spoken::default(),
            compared: BTreeMap::new(),
            kept: Kept::default(),
            remote: BTreeMap::new(),
            yielding: BTreeSet::new(),
            second: BTreeMap::new(),
            full: BTreeSet::new(),
            unmet: BTreeMap::new(),
            watch: Watch::default(),
            serving: VecDeque::new(),
            asks: BTreeMap::new(),
            unverified: 0,
            received: Meter::default(),
            sent: Meter::default(),
            downloads: download,
            released: false,
            shown_all: false,
            heard_at: 0,
            pieced: 0,
            stalled: false,
            ticks: 0,
            has_begun,
            nameless: 0,
            asking: Asking::default(),
            own_allowed: false,
            awaited: BTreeMap::new(),
            claimed: 0,
            owes_lengths: false,
            is_meeting: false,
            waited: 0,
            is_noting: false,
            is_heard_news: false,
            was_synced: false,
            told_synced: BTreeSet::new(),
            said_done: false,
            heard_done: false,
            finished: false,
            failed: None,
        };
        let connection = Connection {
            id: shared.next_number(),
            scope: RwLock::new(scope.map(|id| BTreeSet::from([id]))),
            live,
            wake,
            unheard: AtomicBool::new(false),
            fresh: AtomicBool::new(true),
            own: RwLock::new(BTreeSet::new()),
            claims: AtomicBool::new(false),
            state: Mutex::new(state),
        };
        let peer = Self(Arc::new(connection));
        shared.board.add_peer(peer.clone());
        peer.with_state(State::look);
        Ok(peer)
    }
}
