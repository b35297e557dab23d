//! A database made anew from its feeds, a bounded piece with each commit.

use super::mark::{Mark, Phase, under_repair};
use crate::apply::{self, AppliedState};
use crate::clock::ntp64;
use crate::db::board::{DbInfo, OpenDatabase};
use crate::db::engine::Work;
use crate::db::error::{Error, Failure};
use crate::db::handler::HandlerRow;
use crate::db::open::discovery_key;
use crate::db::rows::{DatabaseRow, Halt, MemberRow, StateRow, members_of};
use crate::order;
use crate::seal::{EncryptionKey, Sealing};
use crate::store::{Read as _, Table};
use crate::view::{self, Space};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// Rows taken out with one commit.
const ROWS: usize = 4_096;

/// Batches placed with one commit.
const BATCHES: usize = 2_048;

/// What is a function of feeds, members and choices.
const DERIVED: [Table; 9] = [
    Table::Pasts,
    Table::Effectives,
    Table::Controls,
    Table::Order,
    Table::Witnesses,
    Table::Diffs,
    Table::Hashes,
    Table::Sequence,
    Table::Applied,
];

/// The same of readers, which in merge mode stays until the rest is there.
const SEEN: [Table; 3] = [Table::View, Table::Log, Table::Commits];

/// What a piece came to.
pub(super) enum Piece {
    /// Where the old view was swept to, in the phase that does.
    More(Option<Vec<u8>>),
    Done,
}

impl Work<'_, '_> {
    /// Makes a database that nobody has open known to this store's memory, so that it can be worked on. False: it is
    /// sealed, and this is not its key.
    pub(super) fn open_to_repair(
        &mut self,
        name: &str,
        row: &DatabaseRow,
        key: Option<&EncryptionKey>,
    ) -> bool {
        if self.engine.board.database(row.id).is_some() {
            return true;
        }
        let key = key.filter(|key| row.check.is_some_and(|check| key.check(&row.key) == check));
        if row.check.is_some() && key.is_none() {
            return false;
        }
        let info = DbInfo {
            name: name.to_owned(),
            key: row.key,
            discovery_key: discovery_key(&row.key),
            local: row.local,
            key_encoding: row.key_encoding.clone(),
            value_encoding: row.value_encoding.clone(),
            open: row.open,
            encrypted: row.check.is_some(),
            apply: row.apply,
            optimistic: row.optimistic,
            relay: None,
        };
        let space = Space::new(row.id, Sealing::new(key, &row.key));
        let open = Arc::new(OpenDatabase::new(row.id, info, space, Duration::from_mins(1)));
        self.engine.board.databases.write().insert(row.id, open);
        self.engine.effects.opened.insert(row.id);
        true
    }

    /// Marks a database as one to be made anew, unless it is.
    pub(super) fn begin_anew(&mut self, id: u32) -> Result<(), Failure> {
        self.let_go_of(id)?;
        if self.engine.board.repairing.lock().insert(id) {
            self.engine.effects.marked.insert(id);
        }
        if Mark::load(self.txn, id)?.is_some() {
            return Ok(());
        }
        let state = self.txn.get(Table::Databases, &StateRow::key_of(id))?.map(StateRow::decode);
        let state = state.and_then(Result::ok).unwrap_or_default();
        // In a wave that is not through more versions were given than are seen.
        let (from, to) = (view::log_key(id, 0), view::log_key(id, u64::MAX));
        let last = self.txn.last(Table::Log, Bound::Included(&from), Bound::Included(&to))?;
        let last = last.and_then(|(key, _)| key.last_chunk().copied()).map_or(0, u64::from_be_bytes);
        let floor = state.version.max(last);
        let clock = state.clock;
        self.txn.put(
            Table::Databases,
            &StateRow::key_of(id),
            &StateRow { version: floor, clock }.encode(),
        )?;
        Mark { phase: Phase::Clear, floor, version: floor, clock }.save(self.txn, id)?;
        Ok(())
    }

    /// The next piece of making a database anew; `swept`: what the one before said.
    pub(super) fn anew_piece(&mut self, id: u32, swept: Option<&[u8]>) -> Result<Piece, Failure> {
        let Some(mark) = Mark::load(self.txn, id)? else { return Ok(Piece::Done) };
        self.finish_feeds()?;
        self.repairs = Some(id);
        let piece = match mark.phase {
            Phase::Clear => self.clear_piece(id, mark),
            Phase::Place => self.place_again(id, mark),
            Phase::Sweep => self.sweep_piece(id, mark, swept),
        };
        self.repairs = None;
        piece
    }

    fn clear_piece(&mut self, id: u32, mark: Mark) -> Result<Piece, Failure> {
        let open = self.engine.board.database(id).ok_or_else(Error::closed)?;
        let is_apply = open.info.apply;
        let seen = if is_apply { SEEN.as_slice() } else { &[] };
        for table in DERIVED.iter().chain(seen) {
            if self.take_rows_out(id, *table)? {
                return Ok(Piece::More(None));
            }
        }
        if self.take_rows_out(id, Table::Unmerged)? {
            return Ok(Piece::More(None));
        }
        open.space.forget_keys();
        let mut handler = HandlerRow::load(self.txn, id)?;
        (handler.epoch, handler.marking) = (mark.floor, None);
        handler.save(self.txn, id)?;
        for (feed, member) in members_of(self.txn, id)? {
            if matches!(member.halt, Halt::Frozen | Halt::Newer) {
                let member = MemberRow { halt: Halt::None, ..member };
                self.txn.put(Table::Members, &MemberRow::key_of(id, &feed), &member.encode())?;
            }
        }
        if is_apply {
            let mut state = AppliedState::new(open.info.key);
            state.version = mark.floor;
            // Whatever `apply` was handed before is of another sequence.
            state.generation = ntp64(self.now());
            apply::save(self.txn, id, &state, &apply::Changed::default())?;
            open.apply.lock().start_over();
        }
        Mark { phase: Phase::Place, ..mark }.save(self.txn, id)?;
        Ok(Piece::More(None))
    }

    /// Takes rows of a database out of a table. True: there may be more.
    fn take_rows_out(&mut self, id: u32, table: Table) -> Result<bool, Failure> {
        let (from, to) = (id.to_be_bytes(), id.saturating_add(1).to_be_bytes());
        let mut gone = Vec::new();
        for row in self.txn.range(table, Bound::Included(&from), Bound::Excluded(&to))? {
            let (key, _) = row?;
            // Who merges is a choice.
            if table != Table::Unmerged || key.get(4) != Some(&0) {
                gone.push(key.to_vec());
            }
            if gone.len() == ROWS {
                break;
            }
        }
        for key in &gone {
            self.txn.delete(table, key)?;
        }
        Ok(gone.len() == ROWS)
    }

    fn place_again(&mut self, id: u32, mark: Mark) -> Result<Piece, Failure> {
        self.engine.databases.remove(&id);
        let events = self.engine.effects.events.len();
        let database = self.database(id)?;
        database.state.version = mark.version;
        database.clock.restore(mark.clock);
        let more = self.place_piece(id, BATCHES)?;
        if more {
            self.settle_due()?;
        }
        let database = self.database(id)?;
        let (version, clock) = (database.state.version, database.clock.last());
        // Nobody is told of what is on the way.
        if more {
            let Some(mut database) = self.engine.databases.remove(&id) else {
                return Err(under_repair().into());
            };
            let feeds = database.order.take_touched();
            order::save_order(self.txn, id, &database.order, &feeds)?;
            for (feed, member) in &database.members {
                self.txn.put(Table::Members, &MemberRow::key_of(id, feed), &member.encode())?;
            }
            self.engine.effects.events.truncate(events);
            Mark { version, clock, ..mark }.save(self.txn, id)?;
            return Ok(Piece::More(None));
        }
        // All of it is there: with this commit readers see it.
        database.dirty.state = true;
        database.dirty.order = true;
        self.settle_due()?;
        self.engine.effects.events.truncate(events);
        self.engine.effects.databases.insert(id);
        Mark { phase: Phase::Sweep, version, clock, ..mark }.save(self.txn, id)?;
        Ok(Piece::More(None))
    }

    fn sweep_piece(&mut self, id: u32, mark: Mark, from: Option<&[u8]>) -> Result<Piece, Failure> {
        let open = self.engine.board.database(id).ok_or_else(Error::closed)?;
        // In apply mode it is gone, and so is what the floor named.
        if !open.info.apply {
            if !view::sweep_log(self.txn, id, mark.floor, ROWS)? {
                return Ok(Piece::More(None));
            }
            if let Some(next) = view::sweep(self.txn, id, from, mark.floor, ROWS)? {
                return Ok(Piece::More(Some(next)));
            }
        }
        open.space.forget_keys();
        // Nothing is left of what was up to the floor: from there the state hash goes on, with that of nothing.
        view::keep_hash(self.txn, id, mark.floor, &view::LatticeHash::default())?;
        mark.end(self.txn, id)?;
        self.engine.effects.repaired.insert(id);
        self.engine.effects.databases.insert(id);
        self.engine.databases.remove(&id);
        if open.handles.load(std::sync::atomic::Ordering::Acquire) == 0 {
            self.engine.effects.closed.insert(id);
        } else {
            self.start_database(id)?;
        }
        Ok(Piece::Done)
    }
}
