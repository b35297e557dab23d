//! Local appends. What can be applied at once is staged: handed to `apply` first, and put on disk with what that did.

use super::plan::wrong_mode;
use super::source::StagedPlace;
use super::{Append, Committed, InFlight, MAX_PIECE_ENTRIES, Next, Piece, PieceBatch, Staged, Step};
use crate::causal::{BatchFacts, WalkSource as _};
use crate::codec::limits::{MAX_BATCH_ENTRIES, MAX_LINKS, MAX_VALUE_BYTES};
use crate::db::counting::Rights;
use crate::db::engine::Work;
use crate::db::error::{Code, Error, Failure};
use crate::entry::Op;
use crate::feed::{Secret, Seed};
use crate::types::{FeedKey, Link};
use std::sync::Arc;

impl Work<'_, '_> {
    /// Stages local batches for `apply`, or puts them on disk alone where they cannot be applied at once.
    pub(super) fn stage(&mut self, id: u32, appends: &[Append], holds_claim: bool) -> Result<Step, Failure> {
        self.must_be_appendable(id, appends)?;
        self.place_silent(id)?;
        if holds_claim && let Some((piece, in_flight)) = self.staged(id, appends)? {
            let open = self.engine.board.database(id).ok_or_else(Error::closed)?;
            let next = Next::Piece(open.apply.lock().hand_out(piece, in_flight, &open.pins));
            return Ok(Step { committed: Committed::Nothing, appended: Vec::new(), next });
        }
        let mut appended = Vec::new();
        for append in appends {
            appended.push(self.append_alone(id, append)?);
        }
        Ok(Step { committed: Committed::Nothing, appended, next: Next::Idle })
    }

    fn must_be_appendable(&mut self, id: u32, appends: &[Append]) -> Result<(), Failure> {
        let database = self.database(id)?;
        let (may_ask, local) = (database.row.optimistic, database.row.local);
        if !database.row.apply {
            return Err(wrong_mode().into());
        }
        if appends.iter().any(|append| !(append.optimistic && may_ask)) {
            self.must_be_writable(id)?;
        } else if database.must_see_genesis(&local) {
            let message = "this encrypted database has not met its creator's feed yet, which tells whether the \
                           encryptionKey is the right one: connect to a peer that has it, and append then";
            return Err(Error::new(Code::NotWritable, message).into());
        }
        for append in appends {
            if append.values.is_empty() || append.values.len() > MAX_BATCH_ENTRIES {
                let message = format!("append takes 1 to {MAX_BATCH_ENTRIES} values at once");
                return Err(Error::new(Code::BatchTooLarge, message).into());
            }
            if let Some(large) = append.values.iter().map(Vec::len).find(|length| *length > MAX_VALUE_BYTES) {
                let message = format!("a value of {large} bytes: the most is {MAX_VALUE_BYTES}");
                return Err(Error::new(Code::ValueTooLarge, message).into());
            }
        }
        Ok(())
    }

    /// One batch on disk, to be applied when its turn comes. Returns the local feed's length.
    pub(super) fn append_alone(&mut self, id: u32, append: &Append) -> Result<u64, Failure> {
        let ops: Vec<Op<'_>> = append.values.iter().map(|value| Op::Value(value)).collect();
        let is_writable = self.database(id)?.is_writable();
        Ok(self.append_batch(id, &ops, append.optimistic && !is_writable)?.length)
    }

    /// One batch on disk as it was staged.
    pub(super) fn append_as_staged(&mut self, id: u32, staged: &Staged) -> Result<u64, Failure> {
        let local = self.database(id)?.row.local;
        self.open_appender(id, local)?;
        let ops: Vec<Op<'_>> = staged.values.iter().map(|value| Op::Value(value)).collect();
        let now = crate::clock::ntp64(self.now());
        let database = self.database(id)?;
        // The clock may have been read again from the store since.
        let drift = database.max_drift;
        let _ = database.clock.observe(staged.timestamp, now.max(staged.timestamp), drift);
        let Staged { timestamp, links, optimistic, .. } = staged;
        Ok(self.append_at(id, &ops, *timestamp, links.clone(), *optimistic)?.length)
    }

    /// The piece of local batches alone. None: they would not stand last, or something of the own feed waits.
    fn staged(&mut self, id: u32, appends: &[Append]) -> Result<Option<(Piece, InFlight)>, Failure> {
        let database = self.database(id)?;
        let local = database.row.local;
        let state = database.applied()?.clone();
        let writer = state.cursor.standing().members().get(&local);
        let entries: usize = appends.iter().map(|append| append.values.len()).sum();
        let is_simple = database.order.placed().get(&local) == state.cursor.placed().get(&local)
            && state.open_wave.is_none()
            // A step that is not through comes first, with what else it places.
            && state.cursor.open_step().is_none()
            && (writer.is_some() || (database.row.open && !database.must_see_genesis(&local)))
            && entries as u64 <= MAX_PIECE_ENTRIES.max(MAX_BATCH_ENTRIES as u64);
        if !is_simple {
            return Ok(None);
        }
        self.open_appender(id, local)?;
        self.must_have_placed_own(id, local)?;
        let links_were_due = self.database(id)?.links_due;
        let links = self.due_links(id)?;
        // Until it is on disk, a later batch has to link it again.
        self.database(id)?.links_due = links_were_due;
        if links.len() > MAX_LINKS {
            return Ok(None);
        }
        let places = self.staged_places(id, appends, links)?;
        let mut ready = state.cursor.placed().clone();
        if let Some(last) = places.last() {
            ready.raise(local, last.end());
        }
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let divergence = state.cursor.divergence(&ready, &database.source(&*self.txn, &places))?;
        if divergence.cursor.index() < state.cursor.index() {
            return Ok(None);
        }
        let batches = places.iter().map(|place| PieceBatch {
            writer: local,
            seq: place.staged.seq,
            entries: place.staged.values.len() as u64,
            timestamp: place.staged.timestamp,
            optimistic: false,
            links: place.staged.links.iter().map(|link| (link.feed, link.length)).collect(),
            values: Vec::new(),
        });
        let piece = Piece {
            generation: state.generation,
            version: state.version,
            clock: state.clock,
            undone: 0,
            staged: true,
            batches: batches.collect(),
        };
        let in_flight = InFlight {
            piece: 0,
            generation: state.generation,
            ready,
            start: divergence.cursor,
            retaken: divergence.retaken,
            replays_since: None,
            staged: places.into_iter().map(|place| place.staged).collect(),
        };
        Ok(Some((piece, in_flight)))
    }

    fn staged_places(
        &mut self,
        id: u32,
        appends: &[Append],
        mut links: Vec<Link>,
    ) -> Result<Vec<StagedPlace>, Failure> {
        links.sort_unstable_by_key(|link| link.feed);
        let now = crate::clock::ntp64(self.now());
        let database = self.database(id)?;
        let local = database.row.local;
        let mut seq = database.order.placed().get(&local);
        let (mut past, mut last) = (database.own_past.clone(), database.own_last);
        let mut places: Vec<StagedPlace> = Vec::with_capacity(appends.len());
        for append in appends {
            let timestamp = self.database(id)?.clock.tick(now);
            let links = std::mem::take(&mut links);
            let values = Arc::new(append.values.clone());
            let (writer, length) = (local, values.len() as u64);
            let facts =
                BatchFacts { writer, seq, length, timestamp, links: links.clone(), controls: Vec::new() };
            let (reached, effective, _) = self.own_readiness(id, &facts, &past, last)?;
            past = reached;
            let staged = Staged { optimistic: false, seq, timestamp, links, values };
            seq += staged.values.len() as u64;
            places.push(StagedPlace { staged, past: past.clone(), effective });
            past.raise(local, seq);
            last = effective;
        }
        Ok(places)
    }

    /// Writes another feed from now on.
    pub(super) fn set_local(&mut self, id: u32, seed: [u8; 32]) -> Result<FeedKey, Failure> {
        let seed = Seed::new(seed);
        let local = seed.feed();
        let database = self.database(id)?;
        database.applied()?;
        if database.row.local == local {
            return Ok(local);
        }
        if database.again {
            let message = "what was written before a restore is still to be appended again, by the present local \
                           writer: wait until a peer has brought what it lacks";
            return Err(Error::new(Code::Restored, message).into());
        }
        self.refuse_used(&local)?;
        let key = self.database(id)?.space.sealing().encryption_key().cloned();
        let number = self.feed_to_write(local, Secret::new(seed, key.as_ref())?)?;
        self.learn(id, local, u64::MAX)?;
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let batches = database.batches(&*self.txn);
        let (past, last) = match database.order.placed().get(&local) {
            0 => Default::default(),
            length => (batches.past(local, length)?, batches.batch(local, length - 1)?.effective),
        };
        let database = self.database(id)?;
        let before = Rights::of(database);
        (database.own_past, database.own_last, database.links_due) = (past, last, true);
        database.row.local = local;
        database.writers.insert(number, local);
        database.dirty.row = true;
        let after = Rights::of(database);
        before.changed_to(&after, |event| self.engine.effects.events.push((id, event)));
        Ok(local)
    }
}
