//! From what `apply` made of a piece to the view: undo, writes, places in the sequence.

use super::piece::Need;
use super::{Append, Asked, Committed, Done, DoneBatch, InFlight, Staged, Step};
use crate::apply::{self, AppliedState, OpenWave, Outcome, Row};
use crate::causal::{Change, Control, Cursor, Placement, Plan, Turn, WalkSource as _};
use crate::db::counting::Rights;
use crate::db::engine::Work;
use crate::db::error::{Code, Error, Failure};
use crate::fault::{self, Fault};
use crate::types::FeedKey;
use crate::view;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The longest rest after a wave that replayed: a clock that jumped ahead meanwhile makes readers wait this long and not
/// for years.
const MAX_REST: Duration = Duration::from_mins(10);

impl Work<'_, '_> {
    /// Commits what was made of the piece handed out last, and hands out the next one.
    pub(super) fn apply_step(
        &mut self,
        id: u32,
        force: bool,
        done: Option<&(Done, Arc<InFlight>)>,
    ) -> Result<Step, Failure> {
        let mut committed = Committed::Nothing;
        let mut appended = Vec::new();
        if let Some((done, in_flight)) = done {
            let generation = self.database(id)?.applied()?.generation;
            let is_current = generation == in_flight.generation && done.generation == in_flight.piece
                || fault::is(Fault::StaleAnswer);
            // Of staged batches those that were applied go to disk with what they did, the rest alone.
            let applied = if is_current { done.batches.as_slice() } else { &[] };
            let applied = self.append_staged(id, &in_flight.staged, applied, &mut appended)?;
            committed = match applied {
                // The walk may have begun a step for a batch that is not on disk: nothing of it is kept.
                Some([]) if is_current && !in_flight.staged.is_empty() => Committed::Nothing,
                Some(batches) if is_current && batches.len() < in_flight.staged.len() => {
                    let in_flight = self.without_rest(id, in_flight, batches.len())?;
                    self.commit_piece(id, &in_flight, batches)?
                }
                Some(batches) if is_current => self.commit_piece(id, in_flight, batches)?,
                _ => Committed::Stale,
            };
            for staged in in_flight.staged.get(appended.len()..).unwrap_or_default() {
                let append = Append { optimistic: staged.optimistic, values: staged.values.as_ref().clone() };
                appended.push(self.append_alone(id, &append)?);
            }
        }
        let next = self.next_piece(id, force)?;
        committed = self.engine.effects.moved.remove(&id).unwrap_or(committed);
        Ok(Step { committed, appended, next })
    }

    /// Puts the first staged batches on disk, as many as `apply` has done. None: the local feed has grown since.
    fn append_staged<'d>(
        &mut self,
        id: u32,
        staged: &[Staged],
        done: &'d [DoneBatch],
        appended: &mut Vec<u64>,
    ) -> Result<Option<&'d [DoneBatch]>, Failure> {
        let Some(first) = staged.first() else { return Ok(Some(done)) };
        let database = self.database(id)?;
        if database.order.placed().get(&database.row.local) != first.seq {
            return Ok(None);
        }
        for (staged, _) in staged.iter().zip(done) {
            appended.push(self.append_as_staged(id, staged)?);
        }
        Ok(Some(done))
    }

    /// Of a staged piece what is on disk: its first batches.
    fn without_rest(&mut self, id: u32, in_flight: &InFlight, kept: usize) -> Result<InFlight, Failure> {
        let local = self.database(id)?.row.local;
        let mut ready = in_flight.ready.clone();
        if let Some(next) = in_flight.staged.get(kept) {
            ready.lower(local, next.seq);
        }
        Ok(InFlight { ready, ..in_flight.clone() })
    }

    /// Brings the sequence on over what `in_flight` found ready, as far as there are results.
    pub(super) fn commit_piece(
        &mut self,
        id: u32,
        in_flight: &InFlight,
        results: &[DoneBatch],
    ) -> Result<Committed, Failure> {
        let database = self.database(id)?;
        let before = Rights::of(database);
        let published = database.state.version;
        let mut state = database.applied()?.clone();
        let is_replay = in_flight.start.index() < state.cursor.index();
        self.undo(id, &mut state, in_flight)?;
        let (mut granted, mut acknowledged) = (BTreeSet::new(), Vec::new());
        self.replay(id, &mut state, in_flight, results, &mut granted, &mut acknowledged)?;
        state.generation += 1;
        let is_through = !super::plan::is_news(&in_flight.ready, state.cursor.placed());
        let shared = state.open_wave.as_ref().map_or(published, |wave| wave.shared);
        if is_through {
            state.open_wave = None;
        }
        let is_visible = state.open_wave.is_none();
        self.advance_final(id, &mut state)?;
        let database = self.database(id)?;
        if is_visible {
            database.state.version = state.version;
        }
        let to = state.version;
        database.put_applied(state);
        database.links_due = true;
        if is_replay || !granted.is_empty() {
            // Who is believed first about a feed that has forked may be another now.
            database.forks_due.extend(database.forks.keys().copied());
        }
        let after = Rights::of(database);
        before.changed_to(&after, |event| self.engine.effects.events.push((id, event)));
        for writer in granted {
            self.learn(id, writer, u64::MAX)?;
        }
        for (writer, length) in acknowledged {
            self.hear_more(id, writer, length)?;
        }
        if std::mem::take(&mut self.is_anchor_due) {
            self.place_ready(id)?;
        }
        if !is_visible {
            return Ok(Committed::Hidden);
        }
        self.note_rest(id, in_flight)?;
        self.note_moved(id, published, to, shared);
        Ok(Committed::Published { from: published, to, shared: shared.min(published) })
    }

    /// Joins what one transaction moves for readers.
    fn note_moved(&mut self, id: u32, from: u64, to: u64, shared: u64) {
        let moved = match self.engine.effects.moved.get(&id) {
            Some(Committed::Published { from, shared: before, .. }) => {
                Committed::Published { from: *from, to, shared: shared.min(*before) }
            }
            _ => Committed::Published { from, to, shared: shared.min(from) },
        };
        self.engine.effects.moved.insert(id, moved);
    }

    /// After a wave that replayed there is a rest as long as it took, up to a limit.
    fn note_rest(&mut self, id: u32, in_flight: &InFlight) -> Result<(), Failure> {
        let open = self.engine.board.database(id).ok_or_else(Error::closed)?;
        let now = self.now();
        let mut desk = open.apply.lock();
        desk.wave = None;
        if let Some(since) = in_flight.replays_since.or(desk.replays_since) {
            desk.rest = Some((now, now.saturating_sub(since).min(MAX_REST)));
        }
        desk.replays_since = None;
        Ok(())
    }

    /// A wave that ended without anything left to place becomes visible.
    pub(super) fn publish_wave(&mut self, id: u32) -> Result<(), Failure> {
        let database = self.database(id)?;
        let before = Rights::of(database);
        let mut state = database.applied()?.clone();
        let from = database.state.version;
        let shared = state.open_wave.take().map_or(from, |wave| wave.shared.min(from));
        let to = state.version;
        database.state.version = to;
        database.put_applied(state);
        let after = Rights::of(database);
        before.changed_to(&after, |event| self.engine.effects.events.push((id, event)));
        let open = self.engine.board.database(id).ok_or_else(Error::closed)?;
        open.apply.lock().wave = None;
        self.note_moved(id, from, to, shared);
        Ok(())
    }

    /// Takes back what stands after the start of the piece: its values of before are written again.
    fn undo(&mut self, id: u32, state: &mut AppliedState, in_flight: &InFlight) -> Result<(), Failure> {
        let (start, end) = (in_flight.start.index(), state.cursor.index());
        let retaken = in_flight.retaken.iter().map(|(index, _)| *index);
        self.database(id)?.rows_change_from(retaken.fold(start, u64::min));
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        for (index, taken) in &in_flight.retaken {
            let mut row = database.source(&*self.txn, &[]).row(*index)?;
            row.placement.taken = *taken;
            let number = number_of(database, &row.placement.turn.at.writer)?;
            apply::put_row(self.txn, id, *index, number, &row)?;
        }
        if start < end {
            self.take_back(id, state, start)?;
            let open = self.engine.board.database(id).ok_or_else(Error::closed)?;
            let mut desk = open.apply.lock();
            desk.replays_since = desk.replays_since.or(in_flight.replays_since);
        }
        state.cursor = in_flight.start.clone();
        Ok(())
    }

    /// Makes the view again what it was before position `start`, and removes the rows from there on. A wave is open
    /// then: readers stay where they are until it is through.
    pub(super) fn take_back(&mut self, id: u32, state: &mut AppliedState, start: u64) -> Result<(), Failure> {
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let first = database.source(&*self.txn, &[]).row(start)?;
        // What own batches that leave again had written may be older than what is kept: then it is all applied anew.
        let keys = if first.begin.saturating_add(1) < view::floor(self.txn, id)? {
            view::all_keys(self.txn, &database.space)?
        } else {
            view::written_between(self.txn, &database.space, first.begin, state.version)?
        };
        for key in keys.into_iter().skip(usize::from(fault::is(Fault::ShortUndo))) {
            if view::write_back(self.txn, &database.space, &key, first.begin, state.version + 1)? {
                state.version += u64::from(!fault::is(Fault::ReusedVersion));
            }
        }
        apply::cut(self.txn, id, start, state.cursor.index())?;
        state.clock = first.clock;
        let (placed, members) = (state.shown().clone(), state.members().clone());
        let shared = state.open_wave.as_ref().map_or(u64::MAX, |wave| wave.shared).min(first.begin);
        state.open_wave = Some(OpenWave { shared, placed, members });
        Ok(())
    }

    fn replay(
        &mut self,
        id: u32,
        state: &mut AppliedState,
        in_flight: &InFlight,
        results: &[DoneBatch],
        granted: &mut BTreeSet<FeedKey>,
        acknowledged: &mut Vec<(FeedKey, u64)>,
    ) -> Result<(), Failure> {
        let space = self.database(id)?.space.clone();
        let mut plan = Plan::default();
        let mut results = results.iter();
        let mut cursor = state.cursor.clone();
        loop {
            let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
            let source = database.source(&*self.txn, &[]);
            let Some(turn) = cursor.next(&in_flight.ready, &mut plan, &source)? else { break };
            let (outcome, done, optimistic) = match database.need(&*self.txn, &cursor, turn)? {
                Need::Settled(outcome) => (outcome, None, false),
                Need::Apply(batch) => match results.next() {
                    Some(done) if done.rejected => (Outcome::Rejected, None, batch.optimistic),
                    Some(done) => {
                        if batch.optimistic {
                            acknowledged.push((turn.at.writer, turn.end));
                        }
                        (Outcome::Applied, Some(done), batch.optimistic)
                    }
                    None => break,
                },
            };
            let number = number_of(database, &turn.at.writer)?;
            let (index, begin, clock) = (cursor.index(), state.version, state.clock);
            let taken = cursor.place(turn, &mut plan);
            let mut changes = Vec::new();
            if let Some(done) = done {
                changes = self.change(id, &mut cursor, turn, &done.asked)?;
                granted
                    .extend(changes.iter().filter(|change| change.after.is_some()).map(|change| change.feed));
                for (key, value) in &done.writes {
                    check(key, value.as_deref())?;
                    if view::write_whole(self.txn, &space, key, value.as_deref(), turn.at, state.version + 1)?
                    {
                        state.version += 1;
                    }
                }
                state.clock += 1;
                self.make_anchor(id, turn)?;
                if !changes.is_empty() {
                    // What comes next may be another batch: its results are made anew.
                    results = [].iter();
                }
            }
            if matches!(outcome, Outcome::Applied | Outcome::Silent) {
                state.counted.insert(turn.at.writer);
            }
            let end = state.version;
            let placement = Placement { turn, taken, changes };
            let row = Row { placement, outcome, optimistic, begin, end, clock };
            apply::put_row(self.txn, id, index, number, &row)?;
        }
        state.cursor = cursor;
        Ok(())
    }

    fn change(
        &mut self,
        id: u32,
        cursor: &mut Cursor,
        turn: Turn,
        asked: &[Asked],
    ) -> Result<Vec<Change>, Failure> {
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let source = database.source(&*self.txn, &[]);
        let mut changes = Vec::new();
        for asked in asked {
            let seq = turn.at.seq;
            let (control, promised) = match *asked {
                Asked::Grant { writer, indexer } => (Control::Grant { writer, indexer, seq }, 0),
                Asked::Revoke { writer, lost } => {
                    (Control::Revoke { writer, lost, seq }, source.reach(turn.at.writer, turn.end, writer)?)
                }
            };
            changes.extend(cursor.change(&control, turn.at, promised));
        }
        Ok(changes)
    }
}

fn number_of(database: &crate::db::state::DatabaseState, writer: &FeedKey) -> Result<u32, Failure> {
    let member = database.members.get(writer).ok_or(crate::order::OrderError::Feed { feed: *writer })?;
    Ok(member.feed)
}

/// What `apply` wrote was checked when it wrote it: this only keeps a caller that did not from damaging the store.
fn check(key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
    use crate::codec::limits::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
    if key.len() > MAX_KEY_BYTES {
        return Err(Error::new(Code::KeyTooLarge, format!("apply wrote a key of {} bytes", key.len())));
    }
    match value {
        Some(value) if value.len() > MAX_VALUE_BYTES => {
            Err(Error::new(Code::ValueTooLarge, format!("apply wrote a value of {} bytes", value.len())))
        }
        _ => Ok(()),
    }
}
