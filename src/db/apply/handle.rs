//! The part of a database's public handle that is apply mode.

use super::{Append, Done, Finality, PieceBatch, Step};
use crate::apply::{self, Outcome};
use crate::causal::Change;
use crate::db::conflicts;
use crate::db::database::{Db, Inner};
use crate::db::error::{Error, Failure};
use crate::db::events::{Event, Reply};
use crate::store::ReadTxn;
use crate::types::FeedKey;

/// A position of the sequence, as it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceEntry {
    pub index: u64,
    /// The view's version before and after it.
    pub begin: u64,
    pub end: u64,
    pub outcome: Outcome,
    /// What its `apply` changed in who is granted.
    pub changes: Vec<Change>,
    pub batch: PieceBatch,
}

impl Db {
    /// From now on this handle runs `apply`; false: another one does.
    pub fn claim_apply(&self) -> Result<bool, Error> {
        let inner = self.whole()?;
        let mut desk = inner.open.apply.lock();
        let own = self.number();
        Ok(*desk.claimed_by.get_or_insert(own) == own)
    }

    /// Lets another handle run `apply`.
    pub fn release_apply(&self) {
        if let Ok(inner) = self.inner() {
            inner.release_apply(self.number());
        }
    }

    /// Commits what `apply` made of the piece handed out last, if anything is said of it, and hands out the next one.
    /// `force`: an undo waits for nothing.
    pub fn apply_step(&self, force: bool, done: Option<Done>) -> Reply<Step> {
        let inner = match self.inner_in_apply() {
            Ok(inner) => inner,
            Err(error) => return Reply::ready(Err(error)),
        };
        let in_flight = inner.open.apply.lock().in_flight.clone();
        let done = done.zip(in_flight);
        self.job(move |work, id| work.apply_step(id, force, done.as_ref()))
    }

    /// Appends batches: staged for `apply` (the step then holds the piece), or on disk alone.
    pub fn stage(&self, appends: Vec<Append>) -> Reply<Step> {
        let holds_claim = match self.inner_in_apply() {
            Ok(inner) => inner.open.apply.lock().claimed_by == Some(self.number()),
            Err(error) => return Reply::ready(Err(error)),
        };
        self.job(move |work, id| work.stage(id, &appends, holds_claim))
    }

    /// Appends an acknowledgement if finality waits for one of this replica; whether it did.
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method's path is not general enough over the work's lifetimes"
    )]
    pub fn acknowledge(&self) -> Reply<bool> {
        match self.inner_in_apply() {
            Ok(_) => self.job(|work, id| work.acknowledge(id)),
            Err(error) => Reply::ready(Err(error)),
        }
    }

    pub fn finality(&self) -> Result<Finality, Error> {
        Ok(self.inner()?.open.finality.lock().clone())
    }

    /// Hands on positions of the sequence from `from` on, at most `limit`, with their values, while `visit` wants more.
    pub fn sequence(
        &self,
        from: u64,
        limit: u64,
        visit: impl FnMut(&SequenceEntry) -> bool,
    ) -> Result<(), Error> {
        self.inner_in_apply()?;
        self.read(|inner, txn| entries(inner, txn, from, limit, visit).map_err(Error::from))
    }

    /// Fetches `feed` as far as `length` at least, though nobody has granted it yet.
    pub fn wakeup(&self, feed: FeedKey, length: u64) -> Reply<()> {
        match self.inner_in_apply() {
            Ok(_) => self.job(move |work, id| {
                work.learn(id, feed, length)?;
                work.place_ready(id)
            }),
            Err(error) => Reply::ready(Err(error)),
        }
    }

    /// Writes another feed from now on: that of the key pair with this seed. It has to be granted like any other.
    pub fn set_local(&self, seed: [u8; 32]) -> Reply<FeedKey> {
        match self.inner_in_apply() {
            Ok(_) => self.job(move |work, id| work.set_local(id, seed)),
            Err(error) => Reply::ready(Err(error)),
        }
    }

    /// The key of the anchor of a batch that `apply` is being shown: of `writer`, ending at `length`.
    pub fn anchor(&self, writer: FeedKey, length: u64) -> Result<FeedKey, Error> {
        let inner = self.inner_in_apply()?;
        let mut desk = inner.open.apply.lock();
        let staged = desk.in_flight.as_ref().map(|in_flight| in_flight.staged.clone()).unwrap_or_default();
        let txn = inner.shared.read()?;
        let anchor = super::anchor::of(&txn, &inner, &staged, writer, length)?;
        desk.anchors.insert((writer, length));
        Ok(anchor.feed)
    }

    fn inner_in_apply(&self) -> Result<Inner, Error> {
        let inner = self.inner()?;
        if inner.open.info.apply { Ok(inner) } else { Err(super::plan::wrong_mode()) }
    }
}

impl Inner {
    pub fn release_apply(&self, handle: u64) {
        let mut desk = self.open.apply.lock();
        if desk.claimed_by == Some(handle) {
            (desk.claimed_by, desk.in_flight, desk.reading) = (None, None, None);
            drop(desk);
            self.open.subscribers.send(&Event::Progress);
        }
    }
}

fn entries(
    inner: &Inner,
    txn: &ReadTxn,
    from: u64,
    limit: u64,
    mut visit: impl FnMut(&SequenceEntry) -> bool,
) -> Result<(), Failure> {
    let open = &inner.open;
    let state = apply::load(txn, open.id, open.info.key)?;
    let writers = conflicts::writers(txn, open.id)?;
    for index in from..state.cursor.index().min(from.saturating_add(limit)) {
        let apply::Row { placement, outcome, optimistic, begin, end, .. } =
            apply::row(txn, open.id, index, |number| writers.get(&number).copied())?;
        let at = placement.turn.at;
        let number = writers.iter().find(|(_, feed)| **feed == at.writer).map(|(number, _)| *number);
        let number = number.ok_or(crate::order::OrderError::Feed { feed: at.writer })?;
        let (batch, _) =
            super::piece::read(txn, open.info.key, &open.space.blocks(at.writer), number, placement.turn)?;
        let batch = PieceBatch { optimistic, ..batch };
        let changes = placement.changes;
        if !visit(&SequenceEntry { index, begin, end, outcome, changes, batch }) {
            break;
        }
    }
    Ok(())
}
