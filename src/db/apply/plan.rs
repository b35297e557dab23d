//! What comes next: whether anything does, where the sequence would change, and whether now is the time.

use super::source::{Source, StagedBatches, StagedPlace};
use super::{InFlight, Next, Piece};
use crate::apply::{AppliedState, Outcome};
use crate::causal::{Divergence, Past, WalkSource as _};
use crate::db::engine::Work;
use crate::db::error::{Error, Failure};
use crate::db::events::Event;
use crate::db::state::DatabaseState;
use crate::store::Read;
use std::time::Duration;

/// How long nothing must have come before an undo starts: what arrives together is replayed together.
const QUIET: Duration = Duration::from_millis(250);

/// How long entries that need an undo wait at most.
const MAX_WAIT: Duration = Duration::from_secs(5);

impl DatabaseState {
    /// The sequence; only in apply mode.
    pub fn applied(&self) -> Result<&AppliedState, Failure> {
        self.applied.as_ref().ok_or_else(|| wrong_mode().into())
    }

    pub(super) fn source<'a, T: Read>(&'a self, txn: &'a T, staged: &'a [StagedPlace]) -> Source<'a, T> {
        Source {
            batches: self.batches(txn),
            writers: &self.writers,
            staged: StagedBatches { local: self.row.local, batches: staged },
        }
    }
}

pub(super) fn wrong_mode() -> Error {
    let message = "this database merges: write with put, del or batch; append and apply are for apply mode";
    Error::new(crate::db::error::Code::Mode, message)
}

impl Work<'_, '_> {
    /// Hands out the next piece.
    pub(super) fn next_piece(&mut self, id: u32, force: bool) -> Result<Next, Failure> {
        let open = self.engine.board.database(id).ok_or_else(Error::closed)?;
        open.apply.lock().reading = None;
        Ok(match self.advance(id, force)? {
            Advance::Idle => Next::Idle,
            Advance::Wait(time) => Next::Wait(time),
            Advance::Piece(piece, in_flight) => {
                Next::Piece(open.apply.lock().hand_out(piece, *in_flight, &open.pins))
            }
        })
    }

    /// Brings the sequence on as far as nothing needs `apply`.
    pub fn place_silent(&mut self, id: u32) -> Result<(), Failure> {
        if self.database(id)?.row.apply {
            self.advance(id, false)?;
        }
        Ok(())
    }

    fn advance(&mut self, id: u32, force: bool) -> Result<Advance, Failure> {
        loop {
            let in_flight = match self.plan(id, force)? {
                None => return Ok(Advance::Idle),
                Some(Planned::Wait(time)) => return Ok(Advance::Wait(time)),
                Some(Planned::Go(in_flight)) => in_flight,
            };
            let piece = self.hand_out(id, &in_flight)?;
            if !piece.batches.is_empty() {
                return Ok(Advance::Piece(piece, in_flight));
            }
            self.commit_piece(id, &in_flight, &[])?;
        }
    }

    fn plan(&mut self, id: u32, force: bool) -> Result<Option<Planned>, Failure> {
        let open = self.engine.board.database(id).ok_or_else(Error::closed)?;
        let now = self.now();
        let database = self.database(id)?;
        let all = database.order.placed().clone();
        let state = database.applied()?.clone();
        let in_wave = state.open_wave.is_some();
        // A wave goes on with what it began with: else a steady drip would keep its readers waiting for ever.
        let wave = open.apply.lock().wave.clone();
        let ready = if in_wave { wave.unwrap_or_else(|| all.clone()) } else { all.clone() };
        if !is_news(&ready, state.cursor.placed()) {
            if in_wave {
                self.publish_wave(id)?;
                return if is_news(&all, state.cursor.placed()) { self.plan(id, force) } else { Ok(None) };
            }
            return Ok(None);
        }
        let divergence = self.divergence(id, &ready)?;
        let (cut, end) = (divergence.cursor.index(), state.cursor.index());
        if cut < state.last.length {
            return self.keep_final(id, &ready, &state);
        }
        let go = |divergence: Divergence, ready: Past, replays_since| {
            if divergence.cursor.index() < end {
                open.apply.lock().wave = Some(ready.clone());
            }
            let Divergence { cursor: start, retaken } = divergence;
            let (generation, staged) = (state.generation, Vec::new());
            Ok(Some(Planned::Go(Box::new(InFlight {
                piece: 0,
                generation,
                ready,
                start,
                retaken,
                replays_since,
                staged,
            }))))
        };
        if cut == end || in_wave {
            return go(divergence, ready, None);
        }
        let replayed = self.entries_applied(id, cut, end)?;
        if replayed == 0 {
            return go(divergence, ready, None);
        }
        let Some(wait) = self.must_wait(id, &ready, &state, replayed, force, now)? else {
            open.apply.lock().waiting_since = None;
            return go(divergence, ready, Some(now));
        };
        // What only comes at the end need not wait for it.
        let at_end = self.what_appends(id, &state, &ready)?;
        if is_news(&at_end, state.cursor.placed()) {
            let divergence = self.divergence(id, &at_end)?;
            if divergence.cursor.index() == end {
                return go(divergence, at_end, None);
            }
        }
        Ok(Some(Planned::Wait(wait)))
    }

    fn divergence(&mut self, id: u32, ready: &Past) -> Result<Divergence, Failure> {
        self.database(id)?;
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        database.applied()?.cursor.divergence(ready, &database.source(&*self.txn, &[]))
    }

    /// Entries in `from..to` of the sequence that `apply` would be shown again.
    fn entries_applied(&mut self, id: u32, from: u64, to: u64) -> Result<u64, Failure> {
        self.database(id)?;
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let source = database.source(&*self.txn, &[]);
        let mut entries = 0;
        for index in from..to {
            let row = source.row(index)?;
            if matches!(row.outcome, Outcome::Applied | Outcome::Rejected) {
                entries += row.placement.turn.end - row.placement.turn.at.seq;
            }
        }
        Ok(entries)
    }

    /// How long an undo has to wait; none: it may begin.
    fn must_wait(
        &mut self,
        id: u32,
        ready: &Past,
        state: &AppliedState,
        replayed: u64,
        force: bool,
        now: Duration,
    ) -> Result<Option<Duration>, Failure> {
        let open = self.engine.board.database(id).ok_or_else(Error::closed)?;
        let has_delivered = self.engine.board.peers().iter().all(|peer| peer.has_delivered(id));
        let mut desk = open.apply.lock();
        // A clock that jumped back would make all of this wait for it: what lies ahead counts as over.
        let left = |from: Option<Duration>, time: Duration| match from.map(|from| now.checked_sub(from)) {
            Some(Some(elapsed)) => time.saturating_sub(elapsed),
            Some(None) | None => Duration::ZERO,
        };
        if let Some((since, time)) = desk.rest {
            let rest = left(Some(since), time);
            if !rest.is_zero() {
                return Ok(Some(rest));
            }
            desk.rest = None;
        }
        let since = *desk.waiting_since.get_or_insert(now);
        let news: u64 = ready.iter().map(|(feed, to)| to - state.cursor.placed().get(&feed)).sum();
        if force || has_delivered || news >= replayed {
            return Ok(None);
        }
        let wait = left(desk.heard_at, QUIET).min(left(Some(since), MAX_WAIT));
        Ok((!wait.is_zero()).then_some(wait))
    }

    /// Of what is ready, what stands behind everything placed: of each feed as much as has nothing else in its past.
    fn what_appends(&mut self, id: u32, state: &AppliedState, ready: &Past) -> Result<Past, Failure> {
        self.database(id)?;
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let source = database.source(&*self.txn, &[]);
        let placed = state.cursor.placed();
        let mut all = placed.clone();
        for (feed, to) in ready.iter() {
            let mut with = placed.clone();
            let mut seq = placed.get(&feed);
            while seq < to {
                let end = source.batch(feed, seq)?.end;
                let is_free =
                    source.past(feed, end)?.iter().all(|(of, to)| of == feed || placed.get(&of) >= to);
                if !is_free {
                    break;
                }
                with.raise(feed, end);
                seq = end;
            }
            if seq > placed.get(&feed)
                && state.cursor.divergence(&with, &source)?.cursor.index() == state.cursor.index()
            {
                all.raise(feed, seq);
            }
        }
        Ok(all)
    }

    /// Something would move what is final: a writer that was declared lost has said more than was promised. What it
    /// said beyond that is not placed, nor what has it in its past.
    fn keep_final(
        &mut self,
        id: u32,
        ready: &Past,
        state: &AppliedState,
    ) -> Result<Option<Planned>, Failure> {
        self.database(id)?;
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let source = database.source(&*self.txn, &[]);
        let placed = state.cursor.placed();
        let promised = |feed: &crate::types::FeedKey, length: u64| match state.cursor.walk().lost().get(feed)
        {
            Some(promised) => length <= placed.get(feed).max(*promised),
            None => true,
        };
        let mut kept = placed.clone();
        let mut refused = None;
        for (feed, to) in ready.iter() {
            let mut seq = placed.get(&feed);
            while seq < to {
                let end = source.batch(feed, seq)?.end;
                if !source.past(feed, end)?.iter().all(|(feed, to)| promised(&feed, to)) {
                    refused = Some(feed);
                    break;
                }
                seq = end;
                kept.raise(feed, end);
            }
        }
        let divergence = state.cursor.divergence(&kept, &source)?;
        let is_kept = divergence.cursor.index() >= state.last.length;
        if let Some(feed) = refused
            .or_else(|| (!is_kept).then_some(state.cursor.walk().members().indexers().next()).flatten())
        {
            let open = self.engine.board.database(id).ok_or_else(Error::closed)?;
            if open.apply.lock().refused.insert(feed) {
                self.event(id, Event::Moved { feed, length: state.last.length });
            }
        }
        if !is_kept || !is_news(&kept, placed) {
            return Ok(None);
        }
        let Divergence { cursor: start, retaken } = divergence;
        let (generation, staged, replays_since) = (state.generation, Vec::new(), None);
        let ready = kept;
        let in_flight = InFlight { piece: 0, generation, ready, start, retaken, replays_since, staged };
        Ok(Some(Planned::Go(Box::new(in_flight))))
    }
}

pub(super) fn is_news(ready: &Past, placed: &Past) -> bool {
    ready.iter().any(|(feed, to)| placed.get(&feed) < to)
}

enum Advance {
    Idle,
    Wait(Duration),
    Piece(Piece, Box<InFlight>),
}

enum Planned {
    Wait(Duration),
    Go(Box<InFlight>),
}
