//! Batches that leave the order again (`db/withdraw`) leave the sequence, with all that stands after them.

use crate::apply::AppliedState;
use crate::causal::{Cursor, Sequence as _};
use crate::db::engine::Work;
use crate::db::error::{Error, Failure};
use crate::db::events::Event;
use crate::db::state::DatabaseState;
use crate::db::withdraw::Finals;
use crate::store::Read;
use crate::types::{FeedKey, Position};
use crate::view;
use std::collections::BTreeSet;

/// A feed, and how much of it stays.
pub type Stays = (FeedKey, u64);

impl Work<'_, '_> {
    /// Takes back the sequence to before the first batch that is above what `stays` of its feed. What `apply` was handed
    /// is not committed any more. What was final without anybody else's word may be so no longer: that is told.
    pub fn withdraw_applied(
        &mut self,
        id: u32,
        feed: FeedKey,
        stays: &[Stays],
        finals: Finals,
    ) -> Result<(), Failure> {
        let database = self.database(id)?;
        let mut state = database.applied()?.clone();
        let final_before = state.last.length;
        state.generation += 1;
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        if let Some((mut cursor, unheard)) = database.before_any(&*self.txn, &state, stays)? {
            let source = database.source(&*self.txn, &[]);
            if cursor.index() < state.cursor.index()
                && (1..view::floor(self.txn, id)?).contains(&source.row(cursor.index())?.begin)
            {
                // What the view was there is not kept any more: it is all applied anew, from nothing.
                cursor.back_to(0, &source)?;
            }
            if finals == Finals::Go {
                database.leave_final(&*self.txn, &mut state, &cursor, &unheard)?;
            }
            if cursor.index() < state.cursor.index() {
                self.take_back(id, &mut state, cursor.index())?;
            }
            state.cursor = cursor;
        }
        if let Some(wave) = &mut state.open_wave {
            // Readers still see what came of it, but nobody may be told to have it in his past.
            for (feed, to) in stays {
                wave.placed.lower(*feed, *to);
            }
        }
        let Some(database) = self.engine.databases.get_mut(&id) else { return Err(Error::closed().into()) };
        // What was found behind the final part hung on words that have gone.
        database.ahead = None;
        database.finalize(&*self.txn, &mut state)?;
        let length = state.last.length;
        database.put_applied(state);
        if length < final_before {
            self.event(id, Event::Moved { feed, length });
        }
        let open = self.engine.board.database(id).ok_or_else(Error::closed)?;
        open.apply.lock().wave = None;
        Ok(())
    }
}

impl DatabaseState {
    /// The walk before the first batch that does not stay, and whose word was heard in what does not stand before it any
    /// more. None: all of the sequence stays.
    fn before_any(
        &self,
        txn: &impl Read,
        state: &AppliedState,
        stays: &[Stays],
    ) -> Result<Option<(Cursor, BTreeSet<FeedKey>)>, Failure> {
        let source = self.source(txn, &[]);
        let placed = state.cursor.placed();
        let stays_of =
            |feed: FeedKey| stays.iter().find(|(of, _)| *of == feed).map_or(u64::MAX, |(_, to)| *to);
        let mut left: u64 = stays.iter().map(|(feed, to)| placed.get(feed).saturating_sub(*to)).sum();
        let is_step_open = state.cursor.open_step().is_some_and(|step| step.end > stays_of(step.at.writer));
        if left == 0 && !is_step_open {
            return Ok(None);
        }
        let mut index = state.cursor.index();
        while left > 0 && index > 0 {
            index -= 1;
            let turn = source.placement(index)?.turn;
            if turn.end > stays_of(turn.at.writer) {
                left = left.saturating_sub(turn.end - turn.at.seq);
            }
        }
        let mut cursor = state.cursor.clone();
        cursor.back_to(index, &source)?;
        let mut unheard: BTreeSet<FeedKey> = stays.iter().map(|(feed, _)| *feed).collect();
        for index in cursor.index()..state.cursor.index() {
            let changes = source.placement(index)?.changes;
            unheard.extend(changes.iter().filter(|change| change.lost.is_some()).map(|change| change.feed));
        }
        Ok(Some((cursor, unheard)))
    }

    /// Takes back what is final to where it hangs neither on what stands after `cursor`, nor on the word of a feed of
    /// `unheard` later than what is left of it. What still is final is found so again.
    fn leave_final(
        &self,
        txn: &impl Read,
        state: &mut AppliedState,
        cursor: &Cursor,
        unheard: &BTreeSet<FeedKey>,
    ) -> Result<(), Failure> {
        let source = self.source(txn, &[]);
        // An indexer that is no longer heard at all: before every position.
        let mut heard: Option<Option<Position>> = None;
        for feed in unheard.intersection(cursor.ever_indexer()) {
            let last = self.last_heard(txn, cursor.placed(), *feed)?;
            heard = Some(heard.map_or(last, |heard| heard.min(last)));
        }
        let last = &mut state.last;
        while last.length > 0 && (last.length > cursor.index() || heard.is_some_and(|heard| last.at > heard))
        {
            let mut is_within = false;
            last.at = None;
            while let Some(index) = last.length.checked_sub(1) {
                let placement = source.placement(index)?;
                if placement.taken && is_within {
                    last.at = Some(placement.turn.at);
                    break;
                }
                is_within = true;
                for change in placement.changes.iter().rev() {
                    last.standing.undo(change);
                    // Nor is who was declared lost there: earlier steps may have been final by that.
                    if change.lost.is_some() && cursor.ever_indexer().contains(&change.feed) {
                        let said = self.last_heard(txn, cursor.placed(), change.feed)?;
                        heard = Some(heard.map_or(said, |heard| heard.min(said)));
                    }
                }
                last.length = index;
            }
        }
        Ok(())
    }
}
