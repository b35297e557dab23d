//! Placing: from blocks that are here to entries in the order.

use super::counting::{Changes, Pending};
use super::engine::Work;
use super::error::{Error, Failure};
use super::events::Event;
use super::rows::{Halt, MemberRow};
use super::write::link_rule;
use crate::causal::{BatchFacts, ControlBatch, Past, Readiness, Verdict, resolve};
use crate::clock::Drift;
use crate::entry::Op;
use crate::feed;
use crate::order::{self, Batch, BatchError, OrderError, read_blocks};
use crate::store::WriteTxn;
use crate::types::{Effective, FeedKey};

/// A batch that is ready to be placed.
pub(super) struct Placement {
    pub facts: BatchFacts,
    pub past: Past,
    pub effective: Effective,
    /// It read links, so its past is more than its feed's.
    pub has_read: bool,
}

/// What became of the next batch of a feed.
enum Step {
    Placed,
    /// Nothing more of this feed can be placed now.
    Stays,
}

impl Work<'_, '_> {
    /// Places everything of a database that is ready, and brings its view up to date.
    pub fn place_ready(&mut self, id: u32) -> Result<(), Failure> {
        self.place_ready_with(id, Pending::default())
    }

    /// As [`Work::place_ready`], with what has ceased to count.
    pub fn place_ready_with(&mut self, id: u32, mut pending: Pending) -> Result<(), Failure> {
        // A relay reads nothing.
        if self.database(id)?.row.relay {
            return Ok(());
        }
        self.place_all(id, &mut pending, usize::MAX)?;
        self.rewalk_if_due(id, &mut pending)?;
        self.merge(id, pending)
    }

    /// As [`Work::place_ready`], at most so many batches. True: there may be more.
    pub fn place_piece(&mut self, id: u32, most: usize) -> Result<bool, Failure> {
        let mut pending = Pending::default();
        let more = self.place_all(id, &mut pending, most)?;
        self.rewalk_if_due(id, &mut pending)?;
        self.merge(id, pending)?;
        Ok(more)
    }

    fn place_all(&mut self, id: u32, pending: &mut Pending, mut most: usize) -> Result<bool, Failure> {
        loop {
            let behind: Vec<FeedKey> = self.database(id)?.behind.iter().copied().collect();
            let mut progress = false;
            for feed in &behind {
                while let Step::Placed = self.place_next(id, *feed, pending)? {
                    progress = true;
                    most = most.saturating_sub(1);
                    if most == 0 {
                        return Ok(true);
                    }
                }
            }
            // What was waited for may be here already, in a feed that was no part of the database before.
            let learned = !self.database(id)?.behind.iter().all(|feed| behind.contains(feed));
            if !progress && !learned {
                return Ok(false);
            }
        }
    }

    fn place_next(&mut self, id: u32, feed: FeedKey, pending: &mut Pending) -> Result<Step, Failure> {
        let length = self.feed(&feed)?.map_or(0, |record| record.length);
        let now = crate::clock::ntp64(self.now());
        self.database(id)?;
        // The pieces of the work are borrowed apart: blocks are read from the transaction while the state changes.
        let Some(database) = self.engine.databases.get_mut(&id) else { return Err(Error::closed().into()) };
        let Some(&member) = database.members.get(&feed) else { return Ok(Step::Stays) };
        let seq = database.order.placed().get(&feed);
        // Nobody has linked it, granted or asked for it: it is known, and no part of the order.
        let is_unwanted = member.until == 0 && !database.forks.contains_key(&feed);
        if matches!(member.halt, Halt::Frozen | Halt::Branch) || seq >= length || is_unwanted {
            database.behind.remove(&feed);
            return Ok(Step::Stays);
        }
        if database.must_see_genesis(&feed) {
            return Ok(Step::Stays);
        }
        let blocks = read_blocks(self.txn, &database.space.blocks(feed), member.feed, seq, length);
        let batch = match blocks {
            Ok(ref blocks) => blocks.batch(database.row.key, feed, seq),
            Err(error) => Err(error),
        };
        if let Ok(first) = &batch
            && (seq, feed) == (0, database.row.key)
            && let Err(refusal) = database.agrees_with_genesis(first)
        {
            return self.refuse_genesis(id, feed, refusal);
        }
        let batch = match batch {
            Ok(batch) => batch,
            // A link may have ended in the middle of it.
            Err(BatchError::Incomplete { end }) => return self.wait_for(id, feed, feed, end),
            Err(BatchError::Store(error)) => return Err(error.into()),
            Err(BatchError::Newer) => return self.halt(id, feed, Halt::Newer),
            Err(BatchError::Invalid) => return self.halt(id, feed, Halt::Frozen),
        };
        let merges = !database.row.apply;
        let ops = if merges { batch.ops.as_slice() } else { &[] };
        let Some(mut changes) = Changes::of(ops) else { return self.halt(id, feed, Halt::Frozen) };
        if let (true, Some(Op::Genesis(genesis))) = (feed == database.row.key && seq == 0, batch.ops.first())
            && genesis.optimistic != database.row.optimistic
        {
            // The creator's word: whoever joins learns it here.
            database.row.optimistic = genesis.optimistic;
            database.dirty.row = true;
        }
        let seen = database.witnesses_in(&batch.facts);
        let readiness = resolve(&batch.facts, link_rule(database), &database.placing(&*self.txn))?;
        let (past, effective, read) = match readiness {
            Readiness::Ready { past, effective, read } => (past, effective, read),
            Readiness::Waits { feed: on, length } => {
                self.note_witnesses(id, &seen)?;
                return self.wait_for(id, feed, on, length);
            }
        };
        if let Err(Drift { ahead }) = database.clock.observe(batch.facts.timestamp, now, database.max_drift) {
            let ahead_ms = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
            self.engine.effects.events.push((id, Event::Drift { writer: feed, ahead_ms }));
        }
        let Batch { mut facts, .. } = batch;
        if !merges {
            // Who is granted is what `apply` makes of it.
            facts.controls.clear();
        }
        database.waits.remove(&feed);
        // A build before this one may not have been able to read it.
        database.set_halt(&feed, Halt::None);
        changes.stand_at(facts.position(effective));
        if feed == database.row.local {
            // Own entries of which this store is an older copy, or whose commit ended before they were placed.
            database.own_past.clone_from(&past);
            database.own_past.raise(feed, facts.end());
            database.own_last = effective;
        }
        self.note_witnesses(id, &seen)?;
        let placed = Placement { facts, past, effective, has_read: !read.is_empty() };
        if self.place(id, member.feed, placed)? {
            pending.add(member.feed, changes);
        }
        Ok(Step::Placed)
    }

    /// Puts a ready batch into the order and keeps what the next ones need. True if it counts, as far as is known
    /// before the walk that may be due.
    pub fn place(&mut self, id: u32, number: u32, batch: Placement) -> Result<bool, Failure> {
        let Placement { facts, past, effective, has_read } = batch;
        let database = self.database(id)?;
        let counts_by_choice = facts.seq < database.counted_by_choice(&facts.writer);
        let verdict = database.order.place(&facts, facts.position(effective), &past);
        // A grant lets feeds be linked that were placed before it.
        database.links_due |= facts.writer != database.row.local || !facts.controls.is_empty();
        database.dirty.order = true;
        keep(self.txn, id, number, &facts, &past, effective, has_read)?;
        for control in &facts.controls {
            self.learn(id, control.writer(), u64::MAX)?;
        }
        Ok(verdict == Verdict::Placed { counts: true } || counts_by_choice)
    }

    /// A feed of which nothing more can be placed: alike everywhere, or until this package is updated.
    fn halt(&mut self, id: u32, feed: FeedKey, halt: Halt) -> Result<Step, Failure> {
        let database = self.database(id)?;
        database.behind.remove(&feed);
        let is_news = database.set_halt(&feed, halt);
        if is_news && halt == Halt::Newer {
            self.event(id, Event::UpgradeNeeded { feed });
        }
        Ok(Step::Stays)
    }

    /// The creator's feed does not begin as this database was opened: nothing of it is placed, and its user is told.
    fn refuse_genesis(&mut self, id: u32, feed: FeedKey, refusal: Error) -> Result<Step, Failure> {
        self.database(id)?.behind.remove(&feed);
        self.event(id, Event::Error { error: refusal });
        Ok(Step::Stays)
    }

    /// A batch of `feed` needs what is not here or not placed: that feed is fetched so far at least. What a stranger
    /// links to is a stranger too, and its own batches are not longer than what is taken of one.
    fn wait_for(&mut self, id: u32, feed: FeedKey, on: FeedKey, length: u64) -> Result<Step, Failure> {
        let is_anchor = self.feed(&on)?.is_some_and(|record| record.is_anchor());
        let database = self.database(id)?;
        database.waits.insert(feed, (on, length));
        database.touched.add([&feed]);
        if database.is_stranger(&feed) && !database.row.open {
            if is_anchor && database.members.get(&on).is_some_and(|member| !member.stranger) {
                // One that was made here is no stranger's feed, and takes no stranger's room. Anybody can make up others.
                self.learn(id, on, 1)?;
            } else if on != feed {
                self.meet(id, on)?;
            }
        } else if database.forks.contains_key(&on) {
            self.want_branches(id, &on, None, length)?;
        } else {
            self.learn(id, on, length)?;
        }
        Ok(Step::Stays)
    }

    /// Makes a feed one of the database's, wanted up to `until`.
    pub fn learn(&mut self, id: u32, feed: FeedKey, until: u64) -> Result<(), Failure> {
        let database = self.database(id)?;
        if let Some(member) = database.members.get(&feed) {
            if member.stranger
                && !database.row.open
                && let Some(member) = database.member_mut(&feed)
            {
                member.stranger = false;
            }
            let Some(member) = database.members.get(&feed) else { return Ok(()) };
            if member.until < until
                && !database.forks.contains_key(&feed)
                && let Some(member) = database.member_mut(&feed)
            {
                let is_first = member.until == 0;
                member.until = until;
                if is_first {
                    database.behind.insert(feed);
                }
            }
            return Ok(());
        }
        let record = self.feed_or_new(&feed)?;
        let (number, length, is_forked) = (record.id, record.length, record.forked);
        let database = self.database(id)?;
        let member =
            MemberRow { feed: number, added: false, merged: 0, until, halt: Halt::None, stranger: false };
        database.members.insert(feed, member);
        database.writers.insert(number, feed);
        database.dirty.members.insert(feed);
        if length > 0 && until > 0 {
            database.behind.insert(feed);
        }
        self.engine.effects.feeds.insert(feed);
        if is_forked {
            // Another database of this store knows.
            self.begin_fork(id, feed)?;
            self.database(id)?.forks_due.insert(feed);
        }
        Ok(())
    }

    /// What is kept of a feed, from memory or the store.
    pub fn feed(&mut self, key: &FeedKey) -> Result<Option<&mut feed::FeedRecord>, Failure> {
        if !self.engine.feeds.contains_key(key)
            && let Some(record) = feed::load(self.txn, key)?
        {
            self.engine.feeds.insert(*key, record);
        }
        let Some(record) = self.engine.feeds.get_mut(key) else { return Ok(None) };
        if let Some(secret) = record.secret.as_mut().filter(|secret| !secret.is_open()) {
            for open in self.engine.board.databases.read().values() {
                // One that opens with no key that is here is refused where it is needed.
                let _ = secret.open(*key, open.space.sealing().encryption_key());
            }
        }
        Ok(Some(record))
    }

    pub fn feed_or_new(&mut self, key: &FeedKey) -> Result<&mut feed::FeedRecord, Failure> {
        if self.feed(key)?.is_none() {
            let record = feed::create(self.txn, *key, None)?;
            self.engine.feeds.insert(*key, record);
        }
        self.engine.feeds.get_mut(key).ok_or_else(|| Error::stopped().into())
    }
}

/// The rows that a placed batch needs.
pub(super) fn keep(
    txn: &mut WriteTxn<'_>,
    database: u32,
    number: u32,
    facts: &BatchFacts,
    past: &Past,
    effective: Effective,
    has_read: bool,
) -> Result<(), Failure> {
    let own = Effective { time: facts.timestamp, tick: 0 };
    let past = has_read.then_some(past);
    order::note_placed(
        txn,
        database,
        (facts.writer, number),
        facts.seq,
        past,
        (effective != own).then_some(effective),
    )?;
    if let Some(control) = ControlBatch::of(facts, effective) {
        order::save_control(txn, database, number, &control)?;
    }
    Ok(())
}

impl From<OrderError> for Failure {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::Store(error) => error.into(),
            other => Failure::damaged(&other),
        }
    }
}
