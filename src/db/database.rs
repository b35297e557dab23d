//! A database's public handle: its reads, on the calling thread, and the way of its writes to the owner.

use super::board::{DbInfo, DbStats, DbStatus, OpenDatabase};
use super::compact::{Keep, Pin};
use super::engine::Work;
use super::error::{Code, Error, Failure};
use super::events::{Replier, Reply, Subscription, Wake};
use super::members::{FeedProgress, Member};
use super::owner::Job;
use super::relay::RelayLimits;
use super::store::Shared;
use super::write::{Write, Written};
use crate::codec::limits::MAX_KEY_BYTES;
use crate::crdt::Live;
use crate::seal::EncryptionKey;
use crate::store::ReadTxn;
use crate::types::FeedKey;
use crate::view::{self, ViewError};
use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How to open a database of a store.
#[derive(Clone, Debug)]
pub struct DatabaseOptions {
    /// Which database of the store; by default `db` without a key, else the key in hex.
    pub name: Option<String>,
    /// The creator's feed; none: this store's own, a new database.
    pub key: Option<FeedKey>,
    pub key_encoding: String,
    pub value_encoding: String,
    /// Seed of the local writer's key pair, instead of a new one.
    pub secret: Option<[u8; 32]>,
    /// Seals its blocks and its rows in this store; all its replicas need the same.
    pub encryption_key: Option<EncryptionKey>,
    /// Every feed announced by a peer that proves the key counts.
    pub open: bool,
    /// Apply mode: values are opaque, and the caller's `apply` makes the view of them.
    pub apply: bool,
    /// Apply mode, said by the creator: batches of unknown writers may be acknowledged.
    pub optimistic: bool,
    /// Stores and forwards the feeds of `key`, and reads nothing: reads and writes are refused.
    pub relay: Option<RelayLimits>,
    /// How far ahead of the wall clock a timestamp may be before it is reported and not followed.
    pub max_drift: std::time::Duration,
    /// How much of the past stays readable; none: as much as other handles say, all if none does.
    pub history: Option<Keep>,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self {
            name: None,
            key: None,
            key_encoding: "utf-8".into(),
            value_encoding: "json".into(),
            secret: None,
            encryption_key: None,
            open: false,
            apply: false,
            optimistic: false,
            relay: None,
            max_drift: std::time::Duration::from_mins(1),
            history: None,
        }
    }
}

/// One handle on an open database; clones are the same handle.
#[derive(Clone)]
pub struct Db(Arc<Handle>);

/// Counts as one handle until it is closed or dropped.
struct Handle {
    inner: RwLock<Option<Inner>>,
    /// Names it among all handles of the store.
    number: u64,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // A dropped handle queues nothing: the database stays loaded until it is closed or the store is.
        if let Some(inner) = self.inner.get_mut().take() {
            inner.release_apply(self.number);
            inner.open.keepers.remove(self.number);
            inner.open.release();
        }
    }
}

#[derive(Clone)]
pub(super) struct Inner {
    pub shared: Arc<Shared>,
    pub open: Arc<OpenDatabase>,
}

impl Db {
    pub(super) fn new(shared: Arc<Shared>, open: Arc<OpenDatabase>, history: Option<Keep>) -> Self {
        let number = shared.next_number();
        if let Some(keep) = history {
            open.keepers.add(number, keep);
        }
        Self(Arc::new(Handle { inner: RwLock::new(Some(Inner { shared, open })), number }))
    }

    pub(super) fn number(&self) -> u64 {
        self.0.number
    }

    pub(super) fn inner(&self) -> Result<Inner, Error> {
        self.0.inner.read().clone().filter(|inner| !inner.shared.is_closed()).ok_or_else(Error::closed)
    }

    /// As [`Db::inner`], for what reads or writes: a relay does neither.
    pub(super) fn whole(&self) -> Result<Inner, Error> {
        let inner = self.inner()?;
        if inner.open.info.relay.is_some() { Err(super::relay::refusal()) } else { Ok(inner) }
    }

    pub fn info(&self) -> Result<DbInfo, Error> {
        let open = self.inner()?.open;
        Ok(DbInfo { local: open.local(), ..open.info.clone() })
    }

    /// Version and rights as of the last commit.
    pub fn status(&self) -> Result<DbStatus, Error> {
        Ok(*self.inner()?.open.status.read())
    }

    /// What was done, and committed, since the database was opened.
    pub fn stats(&self) -> Result<DbStats, Error> {
        Ok(*self.inner()?.open.stats.lock())
    }

    /// Ends this handle, after everything accepted before. Closing twice is harmless.
    pub fn close(&self) -> Reply<()> {
        let Some(Inner { shared, open }) = self.0.inner.write().take() else { return Reply::ready(Ok(())) };
        let inner = Inner { shared, open };
        inner.release_apply(self.number());
        let Inner { shared, open } = inner;
        open.keepers.remove(self.number());
        open.release();
        let (replier, reply) = Reply::channel();
        shared.owner.submit(Box::new(Closing { id: open.id, replier }));
        reply
    }

    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Inner, &ReadTxn) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let inner = self.whole()?;
        let txn = inner.shared.read()?;
        read(&inner, &txn)
    }

    /// Looks a key up, now or as of a version, and hands its live row to `found`.
    pub fn get<T>(
        &self,
        key: &[u8],
        at: Option<u64>,
        found: impl FnOnce(&LiveRow<'_>) -> T,
    ) -> Result<Option<T>, Error> {
        if key.len() > MAX_KEY_BYTES {
            return Ok(None);
        }
        let handle = self.0.inner.read();
        let open = handle.as_ref().filter(|inner| !inner.shared.is_closed());
        let inner = open.ok_or_else(Error::closed)?;
        if inner.open.info.relay.is_some() {
            return Err(super::relay::refusal());
        }
        inner.shared.with_read(|txn| {
            if let Some(at) = at {
                inner.must_be_here(at, txn)?;
            }
            // While a wave is not through, the newest rows are not for readers.
            let at = at.or_else(|| inner.open.info.apply.then(|| inner.open.status.read().version));
            let Some(row) = view::newest(txn, &inner.open.space, key, at)? else { return Ok(None) };
            Ok(LiveRow::of(row.version, key, &row)?.map(|row| found(&row)))
        })
    }

    /// Writes in order, each atomic, all in one commit if they fit. One result for each: what is wrong with one does
    /// not touch the others.
    pub fn write(&self, writes: Vec<Write>) -> Reply<Vec<Result<Written, Error>>> {
        match self.whole() {
            Ok(Inner { shared, open }) => shared.job(move |work| work.write_all(open.id, &writes)),
            Err(error) => Reply::ready(Err(error)),
        }
    }

    /// Merges a feed into this replica's view, whatever the database grants. False: it was added before.
    pub fn add_peer(&self, feed: FeedKey) -> Reply<bool> {
        self.job(move |work, id| work.add_peer(id, feed))
    }

    /// Merges nothing more of a feed that was added; what was merged stays. False: it was not added.
    pub fn remove_peer(&self, feed: FeedKey) -> Reply<bool> {
        self.job(move |work, id| work.remove_peer(id, feed))
    }

    /// Grants, for everybody, from here on in the order.
    pub fn add_writer(&self, writer: FeedKey, indexer: bool) -> Reply<Written> {
        self.job(move |work, id| work.grant(id, writer, indexer))
    }

    pub fn remove_writer(&self, writer: FeedKey, lost: bool) -> Reply<Written> {
        self.job(move |work, id| work.revoke(id, writer, lost))
    }

    pub(super) fn job<T: Send + 'static>(
        &self,
        mut run: impl FnMut(&mut Work<'_, '_>, u32) -> Result<T, Failure> + Send + 'static,
    ) -> Reply<T> {
        match self.whole() {
            Ok(Inner { shared, open }) => shared.job(move |work| run(work, open.id)),
            Err(error) => Reply::ready(Err(error)),
        }
    }

    /// Every feed of this database known here, and how it counts.
    pub fn members(&self) -> Result<Vec<Member>, Error> {
        self.read(|inner, txn| super::members::list(txn, inner))
    }

    /// Whether `length` entries of `writer` are in the order here, and the last of them in the view.
    pub fn applied(&self, writer: &FeedKey, length: u64) -> Result<bool, Error> {
        let inner = self.whole()?;
        let placed = inner.open.feeds.read().get(writer).map_or(0, |feed| feed.placed);
        Ok(length == 0 || (placed >= length && !self.is_merging_entry(writer, length - 1)?))
    }

    /// Whether all that live connections have announced of this database is here, placed, and merged.
    pub fn is_flushed(&self) -> Result<bool, Error> {
        let inner = self.inner()?;
        Ok(inner.has_arrived() && !self.is_merging(super::handler::ANY_KEY)?)
    }

    /// Per feed: what is here, what is placed, what somebody announced.
    pub fn progress(&self) -> Result<Vec<FeedProgress>, Error> {
        Ok(super::members::progress(&self.inner()?))
    }

    /// `wake` is called, from any thread, when there are events to take.
    pub fn subscribe(&self, wake: Wake) -> Result<Subscription, Error> {
        Ok(self.inner()?.open.subscribers.subscribe(wake))
    }
}

/// The end of a handle, after everything queued before it.
struct Closing {
    id: u32,
    replier: Replier<()>,
}

impl Job for Closing {
    fn run(&mut self, work: &mut Work<'_, '_>) -> Result<(), Failure> {
        work.engine.effects.closed.insert(self.id);
        Ok(())
    }

    fn done(self: Box<Self>, _: Result<(), Error>) {
        // The handle has ended, whatever became of the store; writes have replies of their own. A caller that no longer
        // listens has chosen not to know.
        let _ = self.replier.send(Ok(()));
    }
}

impl Inner {
    /// The version that this transaction sees.
    pub fn version(&self, txn: &ReadTxn) -> Result<u64, Error> {
        super::state_hash::version(txn, self.open.id)
    }

    /// Keeps a version readable until the pin is dropped; none: the newest that readers see.
    pub fn hold(&self, version: Option<u64>) -> Result<(Pin, u64), Error> {
        loop {
            let wanted = version.unwrap_or_else(|| self.open.status.read().version);
            match self.open.pins.hold(wanted) {
                // Looked up after it was pinned: what is committed from now on keeps it.
                Some(pin) => {
                    self.must_be_here(wanted, &self.shared.read()?)?;
                    return Ok((pin, wanted));
                }
                // The newest has become another meanwhile.
                None if version.is_none() => {}
                None => return Err(gone(wanted, view::floor(&self.shared.read()?, self.open.id)?)),
            }
        }
    }

    /// What reading at a version needs: nothing, of the empty view.
    pub fn hold_to_read(&self, version: u64) -> Result<Option<Pin>, Error> {
        if version == 0 { Ok(None) } else { self.hold(Some(version)).map(|(pin, _)| Some(pin)) }
    }

    /// As [`Inner::hold`], of the newest version that a transaction of now sees; and that transaction.
    pub fn hold_newest(&self) -> Result<(Pin, u64, ReadTxn), Error> {
        loop {
            let txn = self.shared.read()?;
            let version = self.version(&txn)?;
            if let Some(pin) = self.open.pins.hold(version) {
                return Ok((pin, version, txn));
            }
        }
    }

    /// Refuses a version that the view does not have.
    pub fn must_be_here(&self, version: u64, txn: &ReadTxn) -> Result<u64, Error> {
        let latest = self.version(txn)?;
        // While nothing is written since a repair, the log does not say it. Version 0, the empty view, is always there.
        let dropped =
            if (1..latest).contains(&version) { super::repair::dropped(txn, self.open.id)? } else { 0 };
        if version < dropped {
            return Err(gone(version, dropped));
        }
        // Whoever runs `apply` reads what a wave that is not through has written.
        if version <= latest || version <= self.open.written.load(Ordering::Acquire) {
            // Version 0, the empty view, is always there.
            let oldest = if version == 0 { 0 } else { view::floor(txn, self.open.id)? };
            return if version >= oldest { Ok(version) } else { Err(gone(version, oldest)) };
        }
        Err(Error::new(
            Code::VersionGone,
            format!(
                "version {version} is not here: the newest is {latest}; take one from version or snapshot()"
            ),
        ))
    }
}

pub(super) fn gone(version: u64, oldest: u64) -> Error {
    Error::new(
        Code::VersionGone,
        format!(
            "version {version} is not kept any more: the oldest is {oldest}; keep more with the option history, or hold \
             what is read with snapshot()"
        ),
    )
}

/// A live row as a reader gets it: borrowed from the store.
pub struct LiveRow<'t> {
    pub version: u64,
    pub key: &'t [u8],
    pub value: Live<'t>,
    pub stamp: crate::types::Stamp,
    pub prev: Option<crate::types::Stamp>,
    /// The state id: what exactly was folded.
    pub state: u64,
}

impl<'t> LiveRow<'t> {
    /// `None` for a key that is deleted.
    pub(super) fn of(version: u64, key: &'t [u8], row: &'t view::Row<'_>) -> Result<Option<Self>, ViewError> {
        let state = row.view()?;
        let (Some(value), Some(last)) = (state.live, state.last) else { return Ok(None) };
        Ok(Some(Self { version, key, value, stamp: last.stamp(), prev: state.prev, state: state.id }))
    }
}

impl From<ViewError> for Error {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::Store(error) => error.into(),
            other => Error::new(Code::Corrupt, format!("{other}; restore the store from a peer or a backup")),
        }
    }
}
