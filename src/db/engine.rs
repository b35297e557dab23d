//! What the owner thread holds between transactions, and the view of it that a job works on.

use super::apply::Committed;
use super::board::{Board, DbStats};
use super::error::{Error, Failure};
use super::events::Event;
use super::rows::{DatabaseRow, MemberRow, StateRow};
use super::state::{DatabaseState, Dirty, Touched};
use crate::apply;
use crate::clock::ntp64;
use crate::feed::{Appender, FeedRecord};
use crate::order;
use crate::store::{Environment, Table, WriteTxn};
use crate::types::FeedKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The wall clock, as a duration since 1970. The simulator brings its own.
pub type WallClock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The owner's memory: all of it can be read again from the store, and is, after a transaction that failed.
pub(super) struct Engine {
    environment: Environment,
    pub(super) board: Arc<Board>,
    pub(super) now: WallClock,
    pub(super) databases: BTreeMap<u32, DatabaseState>,
    pub(super) feeds: BTreeMap<FeedKey, FeedRecord>,
    /// What to tell the world once the transaction is synced.
    pub(super) effects: Effects,
    /// A transaction failed, and none was committed since: the file may have to be mapped anew.
    pub(super) is_suspect: bool,
}

#[derive(Default)]
pub(super) struct Effects {
    pub events: Vec<(u32, Event)>,
    pub feeds: BTreeSet<FeedKey>,
    pub databases: BTreeSet<u32>,
    /// What merging has cost, by database.
    pub merged: BTreeMap<u32, DbStats>,
    /// Databases whose opening is part of the transaction.
    pub opened: BTreeSet<u32>,
    /// Databases whose last handle was closed: they stay until what was queued before is synced.
    pub closed: BTreeSet<u32>,
    /// Databases that are to be made anew from here on.
    pub marked: BTreeSet<u32>,
    /// Databases that were made anew.
    pub repaired: BTreeSet<u32>,
    /// Databases whose state hash has to be gone over again.
    pub rehashed: BTreeSet<u32>,
    /// The last that is known of databases which are not in memory any more.
    pub let_go: BTreeMap<u32, DatabaseState>,
    /// How far readers of databases in apply mode are moved.
    pub moved: BTreeMap<u32, Committed>,
}

impl Engine {
    pub fn new(environment: Environment, board: Arc<Board>, now: WallClock) -> Self {
        Self {
            environment,
            board,
            now,
            databases: BTreeMap::new(),
            feeds: BTreeMap::new(),
            effects: Effects::default(),
            is_suspect: false,
        }
    }

    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Throws away what a failed transaction may have changed in memory; what is needed is read again.
    pub fn forget(&mut self) {
        self.is_suspect = true;
        self.databases.clear();
        self.feeds.clear();
        let Effects { opened, marked, .. } = std::mem::take(&mut self.effects);
        for id in opened {
            self.board.remove_database(id, |_| true);
        }
        self.board.repairing.lock().retain(|id| !marked.contains(id));
    }

    /// Tells readers, subscribers and peers what the transaction that was just synced has changed.
    pub fn publish(&mut self) {
        self.is_suspect = false;
        self.board.reads.lock().take();
        let mut effects = std::mem::take(&mut self.effects);
        for id in &effects.databases {
            if let Some(database) = self.databases.get_mut(id).or(effects.let_go.get_mut(id)) {
                self.board.publish_database(database, &self.feeds, &effects.feeds);
                database.published = database.state.version;
            }
        }
        for (id, merged) in &effects.merged {
            if let Some(open) = self.board.database(*id) {
                open.stats.lock().add(merged);
            }
        }
        for feed in &effects.feeds {
            if let Some(record) = self.feeds.get(feed) {
                self.board.publish_raw(record);
                self.board.publish_growth(record);
                self.board.publish_feed(feed, record.length);
            }
        }
        for (id, event) in &effects.events {
            self.board.send(*id, event);
        }
        self.board.notify_peers(!effects.feeds.is_empty(), &effects.databases);
        for id in effects.repaired.union(&effects.rehashed) {
            if let Some(open) = self.board.database(*id) {
                open.state_hash.forget();
            }
        }
        for id in &effects.repaired {
            self.board.repairing.lock().remove(id);
        }
        let mut is_any_closed = false;
        for id in &effects.closed {
            if self.board.close_database(*id) {
                self.databases.remove(id);
                is_any_closed = true;
            }
        }
        self.board.notify_peers(is_any_closed, &BTreeSet::new());
    }
}

/// A transaction and everything a job may touch in it.
pub(super) struct Work<'e, 't> {
    pub engine: &'e mut Engine,
    pub txn: &'e mut WriteTxn<'t>,
    pub appenders: BTreeMap<FeedKey, Appender>,
    /// The database that is being made anew by this job.
    pub repairs: Option<u32>,
    /// An anchor was made that somebody has linked already.
    pub is_anchor_due: bool,
}

impl<'e, 't> Work<'e, 't> {
    pub fn new(engine: &'e mut Engine, txn: &'e mut WriteTxn<'t>) -> Self {
        Self { engine, txn, appenders: BTreeMap::new(), repairs: None, is_anchor_due: false }
    }

    /// Rows written so far.
    pub fn writes(&self) -> u64 {
        self.txn.writes()
    }

    /// An open database's state, read from the store when it is not in memory.
    pub fn database(&mut self, id: u32) -> Result<&mut DatabaseState, Failure> {
        if self.repairs != Some(id) && self.engine.board.repairing.lock().contains(&id) {
            return Err(super::repair::under_repair().into());
        }
        if !self.engine.databases.contains_key(&id) {
            let state = self.load_database(id)?;
            self.engine.databases.insert(id, state);
        }
        self.engine.databases.get_mut(&id).ok_or_else(|| Error::closed().into())
    }

    pub fn event(&mut self, database: u32, event: Event) {
        self.engine.effects.events.push((database, event));
    }

    pub fn now(&self) -> Duration {
        (self.engine.now)()
    }

    /// Signs the heads, once each, and writes the rows that change with every commit.
    pub fn finish(&mut self) -> Result<(), Failure> {
        self.finish_feeds()?;
        self.trim_as_it_goes()?;
        for id in self.engine.databases.keys().copied().collect::<Vec<_>>() {
            self.finish_database(id)?;
        }
        Ok(())
    }

    /// Writes all that is known of a database, and lets it be read again by whoever asks for it next.
    pub fn let_go_of(&mut self, id: u32) -> Result<(), Failure> {
        self.finish_feeds()?;
        self.finish_database(id)?;
        if let Some(database) = self.engine.databases.remove(&id) {
            self.engine.effects.let_go.insert(id, database);
        }
        Ok(())
    }

    fn finish_database(&mut self, id: u32) -> Result<(), Failure> {
        let now = ntp64(self.now());
        let Some(database) = self.engine.databases.get_mut(&id) else { return Ok(()) };
        let dirty = &database.dirty;
        let changed = dirty.state || dirty.order || dirty.row || !dirty.members.is_empty();
        if !changed {
            return Ok(());
        }
        // What only others wrote is committed now, not when they wrote it. The wall clock is never ahead of itself.
        let _ = database.clock.observe(now, now, Duration::ZERO);
        database.state.clock = database.clock.last();
        self.txn.put(Table::Databases, &StateRow::key_of(id), &database.state.encode())?;
        if database.state.version > database.published {
            let key = crate::view::log_key(id, database.state.version);
            self.txn.append(Table::Commits, &key, &database.state.clock.to_be_bytes())?;
            let event = Event::Update { from: database.published, to: database.state.version };
            self.engine.effects.events.push((id, event));
        }
        if let (Some(changed), Some(applied)) = (&database.dirty.applied, &database.applied) {
            apply::save(self.txn, id, applied, changed)?;
        }
        if database.dirty.row
            && let Some(open) = self.engine.board.database(id)
        {
            self.txn.put(Table::Databases, &DatabaseRow::key_of(&open.info.name), &database.row.encode())?;
        }
        if database.dirty.order {
            let feeds = database.order.take_touched();
            order::save_order(self.txn, id, &database.order, &feeds)?;
            database.touched.add(&feeds);
        }
        if let Some(changed) = &database.dirty.applied {
            if changed.wave {
                // Who is granted and what is shown may be another for any of them.
                database.touched = Touched::All;
            }
            database.touched.add(&changed.feeds);
        }
        database.touched.add(&database.dirty.members);
        for feed in &database.dirty.members {
            if let Some(member) = database.members.get(feed) {
                self.txn.put(Table::Members, &MemberRow::key_of(id, feed), &member.encode())?;
            }
        }
        database.dirty = Dirty::default();
        self.engine.effects.databases.insert(id);
        Ok(())
    }

    /// Signs what was appended to one feed; what reads it next sees all of it.
    pub fn finish_feed(&mut self, key: &FeedKey) -> Result<(), Failure> {
        let Some(appender) = self.appenders.remove(key) else { return Ok(()) };
        let mut record = appender.finish(self.txn)?;
        // Where a connection that speaks of the feed is live the block may leave as soon as it is synced: that is noted in this commit. Not
        // while a peer may still show more of an own feed: then it can yet be appended again after that.
        if self.engine.board.is_carried(key) && self.engine.board.own_may_leave(0) {
            record.left = record.length;
            crate::feed::save(self.txn, &record)?;
        }
        self.engine.feeds.insert(*key, record);
        self.engine.effects.feeds.insert(*key);
        Ok(())
    }

    pub fn finish_feeds(&mut self) -> Result<(), Failure> {
        for key in self.appenders.keys().copied().collect::<Vec<_>>() {
            self.finish_feed(&key)?;
            for id in self.databases_of(&key)? {
                let database = self.database(id)?;
                // The database that writes the feed has placed it by now; others of this store may merge it too.
                if database.row.local != key || database.row.relay {
                    database.behind.insert(key);
                    self.place_ready(id)?;
                    self.engine.effects.databases.insert(id);
                }
            }
        }
        self.settle_due()
    }
}
