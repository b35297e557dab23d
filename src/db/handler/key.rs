//! One key of a round: folded diff by diff, stopping at each that is asked about.

use super::commit::Outcome;
use super::resolve::{Candidate, beside};
use super::round::Question;
use super::rows::Functions;
use crate::crdt::{Change, ChangeKind, Given, State, StateView};
use crate::db::conflicts::writers;
use crate::db::database::LiveRow;
use crate::db::diffs::{DiffEntry, diff_entry};
use crate::db::error::Failure;
use crate::db::reads::ViewEntry;
use crate::store::ReadTxn;
use crate::types::{Effective, Position};
use crate::view::{self, Base, Space, ViewError, Writers};
use std::collections::VecDeque;
use std::sync::Arc;

/// Diffs read at once, and what their blocks have together.
const CHUNK_DIFFS: usize = 256;
const CHUNK_BYTES: usize = 8 << 20;

pub(super) struct KeyWork {
    key: Vec<u8>,
    newest: Option<u64>,
    changes: u64,
    low: Option<Position>,
    stage: Stage,
}

enum Stage {
    Folding(Box<Folding>),
    Resolving {
        state: Box<State>,
        stands: Candidate,
        rest: VecDeque<Candidate>,
    },
    /// The state's bytes; none: it failed.
    Done(Option<Arc<[u8]>>),
}

struct Folding {
    state: State,
    last: Option<Position>,
    ready: VecDeque<(Change, u32)>,
    /// What is asked about.
    asked: Option<Change>,
}

impl KeyWork {
    pub fn new(key: &[u8], changes: u64, base: Base) -> Self {
        let Base { state, last, newest, low, .. } = base;
        let folding = Folding { state, last, ready: VecDeque::new(), asked: None };
        Self { key: key.to_vec(), newest, changes, low, stage: Stage::Folding(Box::new(folding)) }
    }

    pub fn key(&self) -> &[u8] {
        &self.key
    }

    pub fn outcome(&self) -> Outcome {
        let state = match &self.stage {
            Stage::Done(state) => state.clone(),
            Stage::Folding(_) | Stage::Resolving { .. } => None,
        };
        let Self { key, newest, changes, low, .. } = self;
        Outcome { key: key.clone(), newest: *newest, changes: *changes, low: *low, state }
    }

    /// Goes on to the next question. None: the key is done.
    pub fn next(
        &mut self,
        txn: &ReadTxn,
        space: &Space,
        functions: Functions,
        known: &mut Writers,
    ) -> Result<Option<Question>, Failure> {
        if let Stage::Folding(folding) = &mut self.stage {
            // A question that was not answered has no answer.
            if folding.asked.is_some() {
                self.fail();
                return Ok(None);
            }
            if let Some(question) = folding.next(txn, space, &self.key, functions, known)? {
                return Ok(Some(question));
            }
            let state = std::mem::take(&mut folding.state);
            let mut rest = VecDeque::new();
            if functions.resolve && state.register().is_some() {
                rest = beside(txn, space, known, &self.key)?.into();
            }
            self.stage = match rest.pop_front() {
                Some(stands) => Stage::Resolving { state: Box::new(state), stands, rest },
                None => Stage::Done(Some(state.encode().into())),
            };
        }
        if let Stage::Resolving { state, stands, rest } = &mut self.stage {
            if let Some(b) = rest.front() {
                return Ok(Some(Question::Resolve {
                    key: self.key.clone(),
                    a: stands.clone(),
                    b: b.clone(),
                }));
            }
            state.stand(std::mem::take(&mut stands.value));
            self.stage = Stage::Done(Some(state.encode().into()));
        }
        Ok(None)
    }

    /// What the built-in fold makes of the diff that is asked about.
    pub fn merged(&self) -> Option<ViewEntry> {
        let Stage::Folding(folding) = &self.stage else { return None };
        let mut state = folding.state.clone();
        state.fold(folding.asked.as_ref()?);
        entry_of(&self.key, &state)
    }

    pub fn diffs(
        &self,
        txn: &ReadTxn,
        space: &Space,
        known: &Writers,
        most: usize,
        mut bytes: usize,
    ) -> Result<Vec<DiffEntry>, Failure> {
        let Stage::Folding(folding) = &self.stage else { return Ok(Vec::new()) };
        let Some(asked) = &folding.asked else { return Ok(Vec::new()) };
        let mut places = view::diff_positions(txn, space, known, &self.key, Effective::default())?;
        places.retain(|(position, _)| *position <= asked.position);
        let mut found = Vec::new();
        for (position, feed) in places.into_iter().rev().take(most) {
            let Some(diff) = diff_entry(txn, space.sealing(), feed, position, Some(&self.key))? else {
                continue;
            };
            let Some(left) = bytes.checked_sub(diff.change.size()) else { break };
            bytes = left;
            found.push(diff);
        }
        found.reverse();
        Ok(found)
    }

    pub fn give(&mut self, given: Given) {
        if let Stage::Folding(folding) = &mut self.stage
            && let Some(change) = folding.asked.take()
        {
            folding.state.fold(&change);
            folding.state.correct(&change, given);
        }
    }

    pub fn choose(&mut self, later: bool) {
        if let Stage::Resolving { stands, rest, .. } = &mut self.stage
            && let Some(b) = rest.pop_front()
            && later
        {
            *stands = b;
        }
    }

    pub fn fail(&mut self) {
        self.stage = Stage::Done(None);
    }
}

impl Folding {
    fn next(
        &mut self,
        txn: &ReadTxn,
        space: &Space,
        key: &[u8],
        functions: Functions,
        known: &mut Writers,
    ) -> Result<Option<Question>, Failure> {
        loop {
            if self.ready.is_empty() {
                self.ready = read(txn, space, key, self.last, known)?.into();
            }
            let Some((change, feed)) = self.ready.pop_front() else { return Ok(None) };
            self.last = Some(change.position);
            let asks = match change.kind {
                ChangeKind::List(_) => functions.merge,
                ChangeKind::Register(_) => functions.merge && !functions.resolve,
                ChangeKind::Delete => false,
            };
            if !asks {
                self.state.fold(&change);
                continue;
            }
            let current = entry_of(key, &self.state.before(&change));
            let diff = diff_entry(txn, space.sealing(), feed, change.position, Some(key))?
                .ok_or(ViewError::Block { feed, seq: change.position.seq })?;
            self.asked = Some(change);
            return Ok(Some(Question::Merge { key: key.to_vec(), current, diff }));
        }
    }
}

/// The next changes. A writer that is not known came after the round was read.
fn read(
    txn: &ReadTxn,
    space: &Space,
    key: &[u8],
    last: Option<Position>,
    known: &mut Writers,
) -> Result<Vec<(Change, u32)>, Failure> {
    match view::changes_after(txn, space, known, key, last, CHUNK_DIFFS, CHUNK_BYTES) {
        Err(ViewError::Block { feed, .. }) if !known.contains_key(&feed) => {
            *known = writers(txn, space.database())?;
            Ok(view::changes_after(txn, space, known, key, last, CHUNK_DIFFS, CHUNK_BYTES)?)
        }
        read => Ok(read?),
    }
}

/// The live value of a state, as a reader would get it.
fn entry_of(key: &[u8], state: &State) -> Option<ViewEntry> {
    let bytes = state.encode();
    let view = StateView::decode(&bytes).ok()?;
    let (value, last) = (view.live?, view.last?);
    let row = LiveRow { version: 0, key, value, stamp: last.stamp(), prev: view.prev, state: view.id };
    Some(row.to_entry())
}
