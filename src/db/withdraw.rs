//! The opposite of placing: batches of a feed, and all that has them in its past, leave the order again.

use super::apply::Stays;
use super::counting::{Changes, Pending};
use super::engine::Work;
use super::error::{Error, Failure};
use super::open::reach_of;
use super::state::DatabaseState;
use super::write::PutsFrom;
use crate::causal::{PlacedBatch, WalkSource as _};
use crate::order::{self, Batches, OrderError, read_blocks};
use crate::store::Read;
use crate::types::{FeedKey, Position};

/// What becomes of what was final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finals {
    /// What hangs on batches that leave is final no more.
    Go,
    /// It stays: nothing of it leaves, and whoever was heard comes back.
    Stay,
}

impl Work<'_, '_> {
    /// Takes out of a database's order what it has placed of `feed` from `length` on, and every batch that has any of
    /// that in its past. What of it counted is pending; all of it waits to be placed again.
    ///
    /// Pasts grow along a feed, so of each feed it is a last part, found by halving.
    pub fn withdraw(
        &mut self,
        id: u32,
        feed: FeedKey,
        length: u64,
        finals: Finals,
        pending: &mut Pending,
    ) -> Result<(), Failure> {
        let parts = self.parts_after(id, feed, length)?;
        for (other, from, to) in &parts {
            self.withdraw_part(id, *other, *from, *to, pending)?;
        }
        self.forget_own_end(id)?;
        if self.database(id)?.row.apply {
            let stays: Vec<Stays> = parts.iter().map(|(feed, from, _)| (*feed, *from)).collect();
            self.withdraw_applied(id, feed, &stays, finals)?;
        }
        Ok(())
    }

    /// Of each feed the part that has anything of `feed` from `length` on in its past, that part itself included: feed,
    /// from, to.
    fn parts_after(
        &mut self,
        id: u32,
        feed: FeedKey,
        length: u64,
    ) -> Result<Vec<(FeedKey, u64, u64)>, Failure> {
        self.database(id)?;
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let batches = database.batches(&*self.txn);
        let mut parts = Vec::new();
        for (other, placed) in database.order.placed().iter() {
            let from = first_after(&batches, other, placed, feed, length)?;
            if from < placed {
                parts.push((other, from, placed));
            }
        }
        Ok(parts)
    }

    fn withdraw_part(
        &mut self,
        id: u32,
        feed: FeedKey,
        from: u64,
        to: u64,
        pending: &mut Pending,
    ) -> Result<(), Failure> {
        let Some(database) = self.engine.databases.get_mut(&id) else { return Err(Error::closed().into()) };
        let DatabaseState { row, members, order, space, .. } = &*database;
        let Some(member) = members.get(&feed).copied() else { return Ok(()) };
        let batches = database.batches(&*self.txn);
        let sealing = space.blocks(feed);
        let by_choice = database.counted_by_choice(&feed);
        let mut seq = from;
        while seq < to {
            let placed = batches.batch(feed, seq)?;
            let unreadable = || OrderError::Block { feed: member.feed, seq: placed.seq };
            let blocks = read_blocks(self.txn, &sealing, member.feed, placed.seq, placed.end)
                .map_err(|_| unreadable())?;
            let batch = blocks.batch(row.key, feed, placed.seq).map_err(|_| unreadable())?;
            let ops = if row.apply { &[] } else { batch.ops.as_slice() };
            let mut changes = Changes::of(ops).ok_or_else(unreadable)?;
            changes.stand_at(Position { effective: placed.effective, writer: feed, seq: placed.seq });
            changes.0.retain(|(_, change)| {
                let seq = change.position.seq;
                seq < by_choice || order.counts(&feed, seq)
            });
            pending.remove(member.feed, changes);
            seq = placed.end;
        }
        database.order.withdraw(feed, from);
        database.dirty.order = true;
        database.behind.insert(feed);
        order::forget_placed(self.txn, id, member.feed, from)?;
        Ok(())
    }

    /// What is remembered of the local feed's last batch is found anew.
    fn forget_own_end(&mut self, id: u32) -> Result<(), Failure> {
        let Some(database) = self.engine.databases.get_mut(&id) else { return Err(Error::closed().into()) };
        let batches = database.batches(&*self.txn);
        let local = database.row.local;
        let (past, last) = reach_of(&batches, local, database.order.placed().get(&local))?;
        (database.own_past, database.own_last) = (past, last);
        database.puts_from = PutsFrom::default();
        database.links_due = true;
        Ok(())
    }
}

/// From where on the first `placed` entries of a feed have anything of `feed` from `length` on in their past.
pub(super) fn first_after<T: Read, N: order::Numbers>(
    batches: &Batches<'_, T, N>,
    other: FeedKey,
    placed: u64,
    feed: FeedKey,
    length: u64,
) -> Result<u64, OrderError> {
    let (mut low, mut high) = (0, placed);
    while low < high {
        let PlacedBatch { seq, end, .. } = batches.batch(other, low + (high - low) / 2)?;
        if batches.reach(other, end, feed)? > length {
            high = seq;
        } else {
            low = end;
        }
    }
    Ok(low)
}
