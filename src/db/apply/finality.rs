//! What nothing can move any more, who is waited for, and when this replica should speak.

use crate::apply::{AppliedState, Outcome};
use crate::causal::{Change, Past};
use crate::db::engine::Work;
use crate::db::error::{Error, Failure};
use crate::db::events::Event;
use crate::db::state::DatabaseState;
use crate::entry::Op;
use crate::store::Read;
use crate::types::{FeedKey, Position};
use std::collections::{BTreeMap, BTreeSet};

/// How far a sequence is final. In merge mode nothing of it applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finality {
    /// Batches at the front of the sequence that nothing can move any more.
    pub length: u64,
    /// Batches in the sequence.
    pub placed: u64,
    /// The effective time of the last of them, NTP64.
    pub timestamp: Option<u64>,
    /// Indexers still to be heard before the next can be final.
    pub waiting_for: Vec<FeedKey>,
}

impl DatabaseState {
    pub fn finality(&self) -> Finality {
        let Some(applied) = &self.applied else { return Finality::default() };
        Finality {
            length: applied.last.length,
            placed: applied.cursor.index(),
            timestamp: applied.last.at.map(|at| at.effective.time),
            waiting_for: self.waiting_for.clone(),
        }
    }

    /// Whether anything final stands at or after what `from` says of its feed.
    pub fn has_final(&self, txn: &impl Read, from: &BTreeMap<FeedKey, u64>) -> Result<bool, Failure> {
        let Some(applied) = &self.applied else { return Ok(false) };
        let source = self.source(txn, &[]);
        for index in (0..applied.last.length).rev() {
            let turn = source.row(index)?.placement.turn;
            if from.get(&turn.at.writer).is_some_and(|from| turn.end > *from) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The version before the first position that may still move: an undo writes back from none below it.
    pub fn movable_from(&self, txn: &impl Read) -> Result<u64, Failure> {
        let applied = self.applied()?;
        if applied.last.length < applied.cursor.index() {
            return Ok(self.source(txn, &[]).row(applied.last.length)?.begin);
        }
        Ok(applied.version)
    }

    /// Whom the sequence has ever made an indexer.
    pub fn indexers_made(&self, txn: &impl Read) -> Result<BTreeSet<FeedKey>, Failure> {
        let mut found = BTreeSet::new();
        let Some(applied) = &self.applied else { return Ok(found) };
        let source = self.source(txn, &[]);
        for index in 0..applied.cursor.index() {
            let made = source.row(index)?.placement.changes.into_iter();
            found.extend(made.filter(makes_indexer).map(|change| change.feed));
        }
        Ok(found)
    }

    /// Where the last batch of `feed` in the sequence stands.
    pub(super) fn last_heard(
        &self,
        txn: &impl Read,
        placed: &Past,
        feed: FeedKey,
    ) -> Result<Option<Position>, Failure> {
        use crate::causal::WalkSource as _;
        let Some(last) = placed.get(&feed).checked_sub(1) else { return Ok(None) };
        let batch = self.source(txn, &[]).batch(feed, last)?;
        Ok(Some(Position { effective: batch.effective, writer: feed, seq: batch.seq }))
    }

    /// Whether an acknowledgement might help: cheap, asked with every commit. `quiet_at`: the generation at which it was
    /// found not to.
    pub fn may_acknowledge(&self, quiet_at: Option<u64>) -> bool {
        self.applied.as_ref().is_some_and(|applied| {
            applied.cursor.ever_indexer().contains(&self.row.local)
                && applied.cursor.index() > applied.last.length
                && quiet_at != Some(applied.generation)
        })
    }

    /// Whether an acknowledgement of the local writer would help something to become final.
    pub(super) fn wants_ack(&self, txn: &impl Read, state: &AppliedState) -> Result<bool, Failure> {
        let local = self.row.local;
        let (cursor, last) = (&state.cursor, &state.last);
        if !cursor.ever_indexer().contains(&local) || cursor.walk().lost().contains_key(&local) {
            return Ok(false);
        }
        let source = self.source(txn, &[]);
        // What did nothing needs nobody to speak; and of a stranger that was only ever rejected nothing is linked, so
        // no acknowledgement could take it out of the tail.
        let speaks = |outcome| matches!(outcome, Outcome::Applied);
        let walk_end = cursor.tail_start().unwrap_or_else(|| cursor.index());
        let mut is_indexer =
            last.standing.members().is_indexer(&local) || cursor.walk().members().is_indexer(&local);
        // In the tail: something that is no acknowledgement, and that the own feed has not seen, or of which its last
        // entry is not taken: it was no indexer's then.
        let (mut speaks_in_tail, mut stands_in_tail) = (false, false);
        for index in walk_end..cursor.index() {
            let row = source.row(index)?;
            let turn = row.placement.turn;
            speaks_in_tail |= speaks(row.outcome);
            stands_in_tail |= turn.at.writer == local;
            if is_indexer && speaks(row.outcome) && self.own_past.get(&turn.at.writer) < turn.end {
                return Ok(true);
            }
        }
        if speaks_in_tail && stands_in_tail && cursor.walk().members().is_indexer(&local) {
            return Ok(true);
        }
        let heard = self.last_heard(txn, cursor.placed(), local)?;
        // Before it: a step, not later than the one where the last such entry stands, that waits for this writer.
        let mut indexers = last.standing.clone();
        // What stands in the tail stands after every step.
        let mut spoken_until = if speaks_in_tail { walk_end } else { last.length };
        let before_tail = if speaks_in_tail { 0..0 } else { last.length..walk_end };
        for index in before_tail {
            if speaks(source.row(index)?.outcome) {
                spoken_until = index + 1;
            }
        }
        let mut from = last.length;
        while from < spoken_until {
            let Some(step) = self.step_after(txn, state, from)? else { break };
            is_indexer = indexers.members().is_indexer(&local);
            if is_indexer && step.taken.writer != local && heard.is_none_or(|heard| heard < step.taken) {
                return Ok(true);
            }
            for index in from..step.end {
                for change in &source.row(index)?.placement.changes {
                    indexers.redo(change);
                }
            }
            from = step.end;
        }
        Ok(false)
    }
}

impl Work<'_, '_> {
    /// After the sequence changed: what is final now.
    pub(super) fn advance_final(&mut self, id: u32, state: &mut AppliedState) -> Result<(), Failure> {
        let before = state.last.length;
        self.database(id)?;
        let Some(database) = self.engine.databases.get_mut(&id) else { return Err(Error::closed().into()) };
        database.finalize(&*self.txn, state)?;
        let length = state.last.length;
        if length > before {
            self.event(id, Event::Finalized { length });
        }
        Ok(())
    }

    /// The same of a database that was just read from the store.
    pub fn look_at_final(&self, database: &mut DatabaseState) -> Result<(), Failure> {
        let Some(mut applied) = database.applied.clone() else { return Ok(()) };
        database.finalize(&*self.txn, &mut applied)
    }

    /// Appends an acknowledgement, if one helps. It is no write of its user: whoever is being removed speaks too.
    pub(super) fn acknowledge(&mut self, id: u32) -> Result<bool, Failure> {
        self.database(id)?;
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let state = database.applied()?;
        if !database.wants_ack(&*self.txn, state)? {
            // Looked for once: it reads all that is not final.
            let open = self.engine.board.database(id).ok_or_else(Error::closed)?;
            open.apply.lock().quiet_at = Some(state.generation);
            self.engine.effects.databases.insert(id);
            return Ok(false);
        }
        self.append(id, &[Op::Acknowledgement])?;
        self.place_silent(id)?;
        Ok(true)
    }
}

pub(super) fn makes_indexer(change: &Change) -> bool {
    change.after.is_some_and(|member| member.indexer)
}
