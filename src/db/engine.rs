//! What the owner thread holds between transactions, and the view of it that a job works on.

use super::apply::Committed;
use super::board::{Board, DbStats};
use super::error::{Error, Failure};
use super::events::Event;
use super::handler::HandlerRow;
use super::relay::RelayState;
use super::rows::{DatabaseRow, Halt, MemberRow, StateRow};
use super::write::PutsFrom;
use crate::apply::{self, AppliedState};
use crate::causal::{Membership, OrderState, Past};
use crate::clock::{Clock, ntp64};
use crate::entry::Op;
use crate::feed::{Appender, FeedRecord};
use crate::order::{self, Batch, Batches, Forked, Numbers};
use crate::store::{Environment, Table, WriteTxn};
use crate::types::{Effective, FeedKey};
use crate::view::{Space, Writers};
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

/// One open database, as of the last row written.
pub(super) struct DatabaseState {
    pub row: DatabaseRow,
    pub space: Space,
    pub state: StateRow,
    pub clock: Clock,
    pub max_drift: Duration,
    pub members: BTreeMap<FeedKey, MemberRow>,
    pub writers: Writers,
    /// In apply mode: what is ready to be applied.
    pub order: OrderState,
    /// Apply mode: what is applied, in which order.
    pub applied: Option<AppliedState>,
    /// Apply mode: for whom finality waits.
    pub waiting_for: Vec<FeedKey>,
    /// What the local feed's last batch has in its past, itself included.
    pub own_past: Past,
    /// The effective timestamp of that batch.
    pub own_last: Effective,
    /// What puts of objects that were read have made since.
    pub puts_from: PutsFrom,
    /// Something was placed since the local feed last linked.
    pub links_due: bool,
    /// Feeds that have forked.
    pub forks: BTreeMap<FeedKey, Forked>,
    /// Those of which something was linked that was not known yet.
    pub forks_due: BTreeSet<FeedKey>,
    /// Own blocks wait to be appended again.
    pub again: bool,
    /// Feeds that hold blocks beyond what is placed.
    pub behind: BTreeSet<FeedKey>,
    /// What the next batch of a feed waits for: a feed, and how much of that.
    pub waits: BTreeMap<FeedKey, (FeedKey, u64)>,
    /// The version when the transaction began.
    pub published: u64,
    pub dirty: Dirty,
    /// What of it readers do not see yet.
    pub touched: Touched,
    /// Who merges.
    pub handler: HandlerRow,
    /// Old versions have gone, and tombstones with them.
    pub trimmed: bool,
    /// Of a relay: what of its limits is used.
    pub relay: Option<RelayState>,
}

/// Feeds of which something has changed that is published.
pub(super) enum Touched {
    /// It was just read, or so much has changed that all are looked at.
    All,
    Feeds(BTreeSet<FeedKey>),
}

impl Default for Touched {
    fn default() -> Self {
        Self::Feeds(BTreeSet::new())
    }
}

impl Touched {
    pub fn add<'a>(&mut self, feeds: impl IntoIterator<Item = &'a FeedKey>) {
        if let Self::Feeds(touched) = self {
            touched.extend(feeds);
        }
    }
}

#[derive(Default)]
pub(super) struct Dirty {
    pub state: bool,
    pub order: bool,
    pub applied: Option<apply::Changed>,
    pub row: bool,
    pub members: BTreeSet<FeedKey>,
}

impl DatabaseState {
    /// Puts the state of an apply-mode database, and notes what of it the commit has to write.
    pub fn put_applied(&mut self, state: AppliedState) {
        let changed = self.dirty.applied.get_or_insert_default();
        state.changed_since(self.applied.as_ref(), changed);
        self.applied = Some(state);
        self.dirty.state = true;
    }

    pub fn id(&self) -> u32 {
        self.row.id
    }

    /// Who is granted in the view as readers see it.
    pub fn membership(&self) -> &Membership {
        match &self.applied {
            Some(applied) => applied.members(),
            None => self.order.membership(),
        }
    }

    /// What is in the view as readers see it: of every feed, how much.
    pub fn in_view(&self) -> &Past {
        match &self.applied {
            Some(applied) => applied.shown(),
            None => self.order.placed(),
        }
    }

    pub fn is_writable(&self) -> bool {
        let is_open = self.row.open && !self.must_see_genesis(&self.row.local);
        !self.row.relay && (is_open || self.membership().get(&self.row.local).is_some())
    }

    /// In an encrypted database nothing is opened or written before the genesis has confirmed the key: what does not
    /// open with a wrong key would be taken for damaged.
    pub fn must_see_genesis(&self, feed: &FeedKey) -> bool {
        self.space.is_encrypted() && *feed != self.row.key && self.order.placed().get(&self.row.key) == 0
    }

    /// Whether the creator's feed begins as this database was opened: encrypted with the same key, or not at all.
    pub fn agrees_with_genesis(&self, first: &Batch<'_>) -> Result<(), Error> {
        let check = match first.ops.first() {
            Some(Op::Genesis(genesis)) => genesis.encrypted,
            _ => None,
        };
        super::open::same_key(check, self.row.check, &self.row.key)
    }

    /// What is asked about placed batches.
    pub fn batches<'a, T>(&'a self, txn: &'a T) -> Batches<'a, T, BTreeMap<FeedKey, MemberRow>> {
        Batches { txn, database: self.row.id, sealing: self.space.sealing(), numbers: &self.members }
    }

    pub fn is_indexer(&self) -> bool {
        !self.row.relay && self.membership().is_indexer(&self.row.local)
    }

    /// Whether everything of `feed` counts here whatever the walk says, up to the returned length.
    pub fn counted_by_choice(&self, feed: &FeedKey) -> u64 {
        counted_by_choice(self.row.open, self.members.get(feed))
    }

    /// True if it is another than before.
    pub fn set_halt(&mut self, feed: &FeedKey, halt: Halt) -> bool {
        let is_news = self.members.get(feed).is_some_and(|member| member.halt != halt);
        if is_news && let Some(member) = self.member_mut(feed) {
            member.halt = halt;
        }
        is_news
    }

    pub fn member_mut(&mut self, feed: &FeedKey) -> Option<&mut MemberRow> {
        self.dirty.members.insert(*feed);
        self.members.get_mut(feed)
    }
}

/// Up to which length all of a feed counts here, whatever the walk says. `open`: the database is.
pub(super) fn counted_by_choice(open: bool, member: Option<&MemberRow>) -> u64 {
    match member {
        _ if open => u64::MAX,
        Some(member) if member.added => u64::MAX,
        Some(member) => member.merged,
        None => 0,
    }
}

impl Numbers for BTreeMap<FeedKey, MemberRow> {
    fn number(&self, feed: &FeedKey) -> Option<u32> {
        self.get(feed).map(|member| member.feed)
    }
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
}

impl<'e, 't> Work<'e, 't> {
    pub fn new(engine: &'e mut Engine, txn: &'e mut WriteTxn<'t>) -> Self {
        Self { engine, txn, appenders: BTreeMap::new(), repairs: None }
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
