//! What begins or ceases to count: collected by key, and brought into the view; and who may write with it.

use super::engine::Work;
use super::error::{Error, Failure};
use super::events::Event;
use super::state::DatabaseState;
use crate::causal::WalkSource as _;
use crate::crdt::Change;
use crate::entry::Op;
use crate::order::{Batches, OrderError, read_blocks};
use crate::types::{Effective, FeedKey, Position};
use crate::view::{Added, Removed, ViewError, change_of};
use std::collections::BTreeMap;

/// The diffs of one batch, by key.
pub(super) struct Changes(pub Vec<(Vec<u8>, Change)>);

impl Changes {
    /// Where they stand is said with [`Changes::stand_at`]. `None`: one of the diffs cannot be folded, which makes the
    /// batch no batch.
    pub fn of(ops: &[Op<'_>]) -> Option<Self> {
        let mut changes = Vec::new();
        for (op, seq) in ops.iter().zip(0..) {
            if let Op::Diff(diff) = op {
                let position = Position { effective: Effective::default(), writer: FeedKey([0; 32]), seq };
                changes.push((diff.key.to_vec(), change_of(diff, position)?));
            }
        }
        Some(Self(changes))
    }

    /// Their batch stands at `first`; until now each only knew its offset in it.
    pub fn stand_at(&mut self, first: Position) {
        for (_, change) in &mut self.0 {
            change.position = Position { seq: first.seq + change.position.seq, ..first };
        }
    }
}

/// Diffs that begin or cease to count, by key: each key is folded once however many of its diffs a wave brings.
#[derive(Default)]
pub(super) struct Pending(BTreeMap<Vec<u8>, KeyChanges>);

#[derive(Default)]
struct KeyChanges {
    added: BTreeMap<Position, Added>,
    removed: Vec<Removed>,
}

impl Pending {
    pub fn add(&mut self, feed: u32, changes: Changes) {
        for (key, change) in changes.0 {
            self.0.entry(key).or_default().added.insert(change.position, Added { feed, change });
        }
    }

    /// The opposite: what was only about to be added is forgotten, the rest is taken out.
    pub fn remove(&mut self, feed: u32, changes: Changes) {
        for (key, Change { position, .. }) in changes.0 {
            let changes = self.0.entry(key).or_default();
            if changes.added.remove(&position).is_none() {
                changes.removed.push(Removed { feed, position });
            }
        }
    }
}

impl Work<'_, '_> {
    /// Finds out anew what counts, if a batch was placed that may have changed it.
    pub fn rewalk_if_due(&mut self, id: u32, pending: &mut Pending) -> Result<(), Failure> {
        self.database(id)?;
        let Some(database) = self.engine.databases.get_mut(&id) else { return Err(Error::closed().into()) };
        if !database.order.walk_is_due() {
            return Ok(());
        }
        let before = Rights::of(database);
        let DatabaseState { order, members, space, .. } = database;
        let counted = order.rewalk(&Batches {
            txn: &*self.txn,
            database: id,
            sealing: space.sealing(),
            numbers: members,
        })?;
        database.dirty.order = true;
        let changes = database.order.changes_since(&counted);
        let after = Rights::of(database);
        before.changed_to(&after, |event| self.engine.effects.events.push((id, event)));
        for (feed, from, to, counts) in changes {
            self.collect(id, feed, from, to, counts, pending)?;
        }
        Ok(())
    }

    /// Collects the diffs of `from..to` of a placed feed that begin or cease to count. What counts by this replica's
    /// own choice does so before and after.
    pub fn collect(
        &mut self,
        id: u32,
        feed: FeedKey,
        from: u64,
        to: u64,
        counts: bool,
        pending: &mut Pending,
    ) -> Result<(), Failure> {
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let Some(member) = database.members.get(&feed) else { return Ok(()) };
        if database.row.apply {
            return Ok(());
        }
        let number = member.feed;
        let mut seq = from.max(database.counted_by_choice(&feed));
        let sealing = database.space.blocks(feed);
        let batches = database.batches(&*self.txn);
        while seq < to {
            let placed = batches.batch(feed, seq)?;
            let unreadable = |_| OrderError::Block { feed: number, seq: placed.seq };
            let blocks =
                read_blocks(self.txn, &sealing, number, placed.seq, placed.end).map_err(unreadable)?;
            let batch = blocks.batch(database.row.key, feed, placed.seq).map_err(unreadable)?;
            let position = Position { effective: placed.effective, writer: feed, seq: placed.seq };
            let mut changes = Changes::of(&batch.ops).ok_or(OrderError::Block { feed: number, seq })?;
            changes.stand_at(position);
            changes.0.retain(|(_, change)| (seq..to).contains(&change.position.seq));
            if counts {
                pending.add(number, changes);
            } else {
                pending.remove(number, changes);
            }
            seq = placed.end;
        }
        Ok(())
    }

    /// Brings the view up to date with what is pending, a key at a time.
    pub fn merge(&mut self, id: u32, pending: Pending) -> Result<(), Failure> {
        for (key, KeyChanges { added, removed }) in pending.0 {
            if !added.is_empty() || !removed.is_empty() {
                self.merge_key(id, &key, added.into_values().collect(), &removed)?;
            }
        }
        Ok(())
    }
}

/// Who may write, as subscribers are told of it.
pub(super) struct Rights {
    writable: bool,
    writers: Vec<FeedKey>,
}

impl Rights {
    pub(super) fn of(database: &DatabaseState) -> Self {
        let writers = database.membership().iter().map(|(feed, _)| feed).collect();
        Self { writable: database.is_writable(), writers }
    }

    pub(super) fn changed_to(&self, after: &Self, mut tell: impl FnMut(Event)) {
        // Both ascend.
        let new = after.writers.iter().filter(|key| self.writers.binary_search(key).is_err());
        new.for_each(|key| tell(Event::Writer { key: *key, added: true }));
        let gone = self.writers.iter().filter(|key| after.writers.binary_search(key).is_err());
        gone.for_each(|key| tell(Event::Writer { key: *key, added: false }));
        match (self.writable, after.writable) {
            (false, true) => tell(Event::Writable),
            (true, false) => tell(Event::Unwritable),
            _ => {}
        }
    }
}

impl From<ViewError> for Failure {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::Store(error) => error.into(),
            other => Failure::damaged(&other),
        }
    }
}
