//! The transactions of a round: the one it begins with, and the one that takes its results.

use super::rows::{Functions, HandlerRow, Standing, Unmerged};
use crate::db::engine::Work;
use crate::db::error::{Error, Failure};
use crate::types::{Effective, FeedKey, Position};
use crate::view::{self, Named};
use std::sync::Arc;

/// Keys marked, folded anew or tried again in one transaction: bounds its dirty pages, and how long writes wait for it.
const SLICE: usize = 1_024;

/// Sorts before every diff.
const FIRST: Position =
    Position { effective: Effective { time: 0, tick: 0 }, writer: FeedKey([0; 32]), seq: 0 };

/// What beginning a round came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// Another handle's functions merge.
    NotOurs,
    /// Some of what comes before is done: begin again.
    More,
    Ready,
}

/// What a round has made of a key.
pub(super) struct Outcome {
    pub key: Vec<u8>,
    /// The key's newest row and its count of changes when it was read.
    pub newest: Option<u64>,
    pub changes: u64,
    pub low: Option<Position>,
    /// The state's bytes; none: the functions failed.
    pub state: Option<Arc<[u8]>>,
}

impl Work<'_, '_> {
    /// Sees to it that the functions of the handle `number` are those that are stored, and a slice of what that takes;
    /// with `retry`, that failed keys wait again.
    pub(super) fn begin_round(
        &mut self,
        id: u32,
        number: u64,
        functions: Functions,
        retry: bool,
    ) -> Result<Begun, Failure> {
        if !self.is_runner(id, number) {
            return Ok(Begun::NotOurs);
        }
        let database = self.database(id)?;
        let version = database.state.version;
        if database.handler.functions != functions {
            let row = HandlerRow { functions, epoch: version, marking: Some(Vec::new()) };
            database.handler = row.clone();
            row.save(self.txn, id)?;
            return Ok(Begun::More);
        }
        if database.handler.marking.is_some() {
            self.mark(id)?;
            return Ok(Begun::More);
        }
        if retry && self.try_again(id)? {
            return Ok(Begun::More);
        }
        Ok(Begun::Ready)
    }

    fn is_runner(&self, id: u32, number: u64) -> bool {
        let open = self.engine.board.database(id);
        open.is_some_and(|open| open.runners.lock().first().is_some_and(|(first, _)| *first == number))
    }

    /// Marks the next keys, or folds them anew if the built-in fold merges.
    fn mark(&mut self, id: u32) -> Result<(), Failure> {
        let database = self.database(id)?;
        let space = database.space.clone();
        let HandlerRow { functions, epoch, marking } = database.handler.clone();
        let Some(from) = marking else { return Ok(()) };
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let mut keys = view::keys_from(self.txn, &space, &database.writers, &from, SLICE + 1)?;
        let next = if keys.len() > SLICE { keys.pop().map(|next| next.name) } else { None };
        for Named { key, .. } in keys {
            let newest = space.newest_version(self.txn, &key)?;
            let noted = Unmerged::of(self.txn, &space, &key)?;
            if functions.any() {
                if newest.is_none_or(|version| version <= epoch) {
                    self.note(id, &key, FIRST, noted)?;
                }
                continue;
            }
            if let Some((_, standing)) = noted {
                Unmerged::delete(self.txn, &space, standing, &key)?;
            }
            if newest.is_none_or(|version| version <= epoch) {
                let Some(database) = self.engine.databases.get_mut(&id) else {
                    return Err(Error::closed().into());
                };
                let version = database.state.version + 1;
                view::remerge(self.txn, &space, &database.writers, &key, FIRST, version, epoch)?;
                database.state.version = version;
                database.dirty.state = true;
            }
        }
        let database = self.database(id)?;
        database.handler.marking = next;
        let row = database.handler.clone();
        Ok(row.save(self.txn, id)?)
    }

    /// Lets failed keys wait again, a slice of them. False: there is none.
    fn try_again(&mut self, id: u32) -> Result<bool, Failure> {
        let space = self.database(id)?.space.clone();
        let mut failed = Vec::new();
        Unmerged::each(self.txn, &space, Standing::Failed, |key, row| {
            failed.push((key.to_vec(), row));
            Ok(failed.len() < SLICE)
        })?;
        for (key, row) in &failed {
            Unmerged::delete(self.txn, &space, Standing::Failed, key)?;
            row.put(self.txn, &space, Standing::Waiting, key)?;
        }
        Ok(!failed.is_empty())
    }

    /// Commits what a round has made: of all keys, or none if some have changed since they were read, unless `force`.
    /// Returns those that have.
    pub(super) fn commit_round(
        &mut self,
        id: u32,
        number: u64,
        outcomes: &[Outcome],
        force: bool,
    ) -> Result<Vec<usize>, Failure> {
        if !self.is_runner(id, number) {
            return Err(Error::closed().into());
        }
        let space = self.database(id)?.space.clone();
        let mut changed = Vec::new();
        for (index, Outcome { key, newest, changes, .. }) in outcomes.iter().enumerate() {
            let row = view::newest(self.txn, &space, key, None)?.map(|row| row.version);
            let same = match Unmerged::of(self.txn, &space, key)? {
                Some((noted, Standing::Waiting)) => noted.changes == *changes && row == *newest,
                _ => false,
            };
            if !same {
                changed.push(index);
            }
        }
        if !changed.is_empty() && !force {
            return Ok(changed);
        }
        let fresh = outcomes.iter().enumerate().filter(|(index, _)| !changed.contains(index));
        for (_, Outcome { key, low, state, .. }) in fresh {
            match state {
                Some(state) => self.commit_key(id, key, *low, state)?,
                None => self.fail_key(id, key)?,
            }
        }
        self.engine.effects.databases.insert(id);
        Ok(changed)
    }

    fn commit_key(
        &mut self,
        id: u32,
        key: &[u8],
        low: Option<Position>,
        state: &[u8],
    ) -> Result<(), Failure> {
        let database = self.database(id)?;
        let (space, version) = (database.space.clone(), database.state.version + 1);
        Unmerged::delete(self.txn, &space, Standing::Waiting, key)?;
        view::put_row(self.txn, &space, key, version, low, state)?;
        let database = self.database(id)?;
        database.state.version = version;
        database.dirty.state = true;
        database.puts_from.settle(key, version);
        Ok(())
    }

    fn fail_key(&mut self, id: u32, key: &[u8]) -> Result<(), Failure> {
        let space = self.database(id)?.space.clone();
        if let Some((row, _)) = Unmerged::of(self.txn, &space, key)? {
            Unmerged::delete(self.txn, &space, Standing::Waiting, key)?;
            row.put(self.txn, &space, Standing::Failed, key)?;
        }
        Ok(())
    }
}
