//! Raising a database's floor, a bounded part of the way in each transaction.

use super::task::go_on;
use super::{CompactProgress, CompactStage, Compaction, Keep};
use crate::db::database::{Db, Inner};
use crate::db::engine::Work;
use crate::db::error::{Error, Failure};
use crate::db::events::Event;
use crate::db::store::Shared;
use crate::store::{Read as _, Table};
use crate::view::{self, Dead, LatticeHash};
use std::ops::Bound;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

/// Versions that one transaction of a compaction passes: some milliseconds, after which others write.
const SLICE: u64 = 1_000;

/// Versions over which the state hash is brought forward on one read transaction, before they are trimmed: a key that was
/// written many times in them is looked at twice.
const HASHED_AT_ONCE: u64 = 20_000;

/// Versions too many that a commit leaves before it trims: so the state hash is written seldom.
const TRIM_AFTER: u64 = 256;

/// Versions that a commit passes at least where it trims.
const TRIM_AT_LEAST: u64 = 512;

/// What a compaction of a database has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Versions that can be read no more.
    pub versions: u64,
    /// The oldest version that still can.
    pub oldest: u64,
}

/// How far one transaction came.
#[derive(Clone, Copy)]
pub(super) struct Slice {
    from: u64,
    reached: u64,
    /// Where the next one goes on to; what is reached, if nothing is left.
    goal: u64,
}

impl Db {
    /// Drops versions beyond what is kept: by this call if it says so, else by what the database's handles say. Others
    /// write meanwhile. Versions that somebody reads are kept, and those that are not final.
    pub fn compact(
        &self,
        keep: Option<Keep>,
        progress: impl FnMut(CompactProgress) + Send + 'static,
    ) -> Compaction<Compacted> {
        let begun = self.whole().map(|Inner { shared, open }| (Arc::downgrade(&shared), open.id));
        Compaction::start(begun, move |(shared, id), stop| {
            trim_all(&shared, id, keep, &stop, &mut Box::new(progress))
        })
    }

    /// The oldest version that can be read; 0 or 1: all can.
    pub fn oldest_version(&self) -> Result<u64, Error> {
        self.read(|inner, txn| Ok(view::floor(txn, inner.open.id)?))
    }
}

/// Trims a database as far as can be now, a transaction at a time.
pub(super) fn trim_all(
    shared: &Weak<Shared>,
    id: u32,
    keep: Option<Keep>,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(CompactProgress),
) -> Result<Compacted, Error> {
    let mut begun: Option<Slice> = None;
    loop {
        go_on(stop)?;
        let goal = begun.map(|begun| begun.goal);
        // Not held while waiting: who closes the store ends this.
        let slice = {
            let shared = shared.upgrade().filter(|shared| !shared.is_closed()).ok_or_else(Error::closed)?;
            shared.job(move |work| work.trim_slice(id, keep, goal))
        };
        let slice = slice.wait()?;
        if begun.is_none() && slice.goal > slice.reached {
            hash_ahead(shared, id, slice.goal, stop)?;
        }
        let first = *begun.get_or_insert(slice);
        let versions = slice.reached - first.from;
        progress(CompactProgress {
            stage: CompactStage::Versions,
            done: versions,
            total: first.goal.max(slice.reached) - first.from,
        });
        if slice.reached >= slice.goal || slice.reached == slice.from {
            return Ok(Compacted { versions, oldest: slice.reached });
        }
    }
}

/// Nothing goes past the state hash: it is brought forward first, while others write.
fn hash_ahead(shared: &Weak<Shared>, id: u32, goal: u64, stop: &AtomicBool) -> Result<(), Error> {
    loop {
        go_on(stop)?;
        let shared = shared.upgrade().filter(|shared| !shared.is_closed()).ok_or_else(Error::closed)?;
        let open = shared.board.database(id).ok_or_else(Error::closed)?;
        let txn = shared.read()?;
        let (from, mut hash) = view::kept_hash(&txn, id)?;
        let reached = view::advance(&txn, &open.space, &mut hash, from, goal, HASHED_AT_ONCE)?;
        // Queued after the read has ended: a full queue waits for the owner, which may wait for reads to end.
        drop(txn);
        if reached == from {
            return Ok(());
        }
        let kept = shared.job(move |work| work.keep_hash(id, reached, &hash));
        drop(shared);
        kept.wait()?;
    }
}

impl Work<'_, '_> {
    /// Unless a later one is kept, up to which versions may have gone; or the database is being made anew, and it may be
    /// the hash of what is going.
    pub fn keep_hash(&mut self, id: u32, version: u64, hash: &LatticeHash) -> Result<(), Failure> {
        if !self.is_made_anew(id) && version > view::kept_hash(self.txn, id)?.0 {
            view::keep_hash(self.txn, id, version, hash)?;
        }
        Ok(())
    }

    pub(in crate::db) fn is_made_anew(&self, id: u32) -> bool {
        self.engine.board.repairing.lock().contains(&id)
    }

    /// Goes on to `goal`, which the first slice finds.
    fn trim_slice(&mut self, id: u32, keep: Option<Keep>, goal: Option<u64>) -> Result<Slice, Failure> {
        let open = self.engine.board.database(id).ok_or_else(Error::closed)?;
        let published = self.database(id)?.published;
        let from = view::floor(self.txn, id)?;
        let wanted = keep.unwrap_or_else(|| open.keepers.keep()).floor(published);
        let Some(goal) = goal.or(wanted) else { return Ok(Slice { from, reached: from, goal: from }) };
        let reached = self.trim(id, goal, SLICE)?;
        Ok(Slice { from, reached, goal: goal.max(from) })
    }

    /// Raises the floor of a database to `wanted`, as far as that may be done, passing `most` versions at most. Returns
    /// the floor as it is then.
    pub(super) fn trim(&mut self, id: u32, wanted: u64, most: u64) -> Result<u64, Failure> {
        let open = self.engine.board.database(id).ok_or_else(Error::closed)?;
        let from = view::floor(self.txn, id)?;
        let pinned = open.pins.lowest().unwrap_or(u64::MAX);
        let limit = wanted.min(self.database(id)?.published).min(pinned).min(self.must_stay(id)?);
        let limit = limit.min(from.saturating_add(most));
        // A repair takes out the past by itself, and begins the state hash anew.
        if from == 0 || limit <= from || self.is_made_anew(id) {
            return Ok(from);
        }
        let hashed = self.hash_up_to(id, limit, most)?;
        let to = open.pins.raise(limit.min(hashed));
        if to <= from {
            return Ok(from);
        }
        let dead = self.dead_rows(id)?;
        let reached = view::trim(self.txn, &open.space, to, most, dead)?;
        self.database(id)?.trimmed = true;
        let (low, high) = (view::log_key(id, 0), view::log_key(id, reached));
        let mut gone = Vec::new();
        for row in self.txn.range(Table::Commits, Bound::Included(&low), Bound::Excluded(&high))? {
            gone.push(row?.0.to_vec());
        }
        for row in gone {
            self.txn.delete(Table::Commits, &row)?;
        }
        Ok(reached)
    }

    /// What becomes of rows without a live value.
    fn dead_rows(&mut self, id: u32) -> Result<Dead, Failure> {
        let database = self.database(id)?;
        if database.row.apply {
            return Ok(Dead::Go);
        }
        // A user's functions are not asked again for what they have said; and where rows are sealed, ranges of keys with
        // diffs go by them.
        let stays = database.handler.functions.any()
            || database.handler.marking.is_some()
            || database.space.is_encrypted();
        Ok(if stays { Dead::Stay } else { Dead::Fold })
    }

    /// The state hash is brought forward from what is kept of it: nothing below that may go. Returns how far it is.
    fn hash_up_to(&mut self, id: u32, version: u64, most: u64) -> Result<u64, Failure> {
        let space = self.database(id)?.space.clone();
        let (from, mut hash) = view::kept_hash(self.txn, id)?;
        let reached = view::advance(self.txn, &space, &mut hash, from, version, most)?;
        if reached > from {
            view::keep_hash(self.txn, id, reached, &hash)?;
        }
        Ok(reached)
    }

    /// Up to which version nothing is needed to go on.
    fn must_stay(&mut self, id: u32) -> Result<u64, Failure> {
        self.database(id)?;
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        if database.row.apply { database.movable_from(&*self.txn) } else { Ok(u64::MAX) }
    }

    /// Where a commit has left too many versions of a database, it takes some away.
    pub fn trim_as_it_goes(&mut self) -> Result<(), Failure> {
        let mut due = Vec::new();
        for (id, database) in &self.engine.databases {
            let grown = database.state.version.saturating_sub(database.published);
            let open = self.engine.board.database(*id).filter(|_| grown > 0 && !database.row.relay);
            let open = open.filter(|open| !open.keepers.has_failed() && !self.is_made_anew(*id));
            let keep = open.as_ref().map_or(Keep::All, |open| open.keepers.keep());
            if let Some(wanted) = keep.floor(database.published) {
                due.push((*id, wanted, grown));
            }
        }
        for (id, wanted, grown) in due {
            let from = view::floor(self.txn, id)?;
            if wanted < from.saturating_add(TRIM_AFTER) {
                continue;
            }
            match self.trim(id, wanted, grown.saturating_mul(2).max(TRIM_AT_LEAST)) {
                // What cannot be read is no reason not to write: it is told, and all stays.
                Err(Failure::Refused(error)) => {
                    let open = self.engine.board.database(id);
                    if open.is_some_and(|open| open.keepers.fail()) {
                        self.event(id, Event::Error { error });
                    }
                }
                trimmed => drop(trimmed?),
            }
        }
        Ok(())
    }
}
