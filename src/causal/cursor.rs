//! The walk of apply mode, a batch at a time: grants come from `apply`, so the walk cannot run ahead of it. Going back
//! over what is placed is `divergence`'s.
//! `docs/design/apply.md` has the argument.

use std::collections::{BTreeMap, BTreeSet};

use super::standing::{Change, Standing};
use super::{Control, Member, Past, WalkSource};
use crate::fault::{self, Fault};
use crate::types::{FeedKey, Position};

/// A batch whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    pub at: Position,
    /// Exclusive.
    pub end: u64,
}

/// What is kept of a placed batch: what the walk needs to go back over it, and forward again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    pub turn: Turn,
    /// It ended a step: it is the batch taken.
    pub taken: bool,
    /// What its `apply` changed, in that order.
    pub changes: Vec<Change>,
}

/// The sequence so far, by index.
pub trait Sequence: WalkSource {
    fn placement(&self, index: u64) -> Result<Placement, Self::Error>;
}

/// Where a walk stands: after `index` batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub(super) index: u64,
    pub(super) placed: Past,
    /// The walk's own state.
    pub(super) walk: Standing,
    pub(super) last_taken: Option<Position>,
    /// The batch taken whose past is being placed.
    pub(super) step: Option<Turn>,
    /// Where the tail begins, and the copy of the state that lasts to its end.
    pub(super) tail: Option<(u64, Standing)>,
    /// Every indexer of any state so far, and perhaps more: never shortened.
    pub(super) ever_indexer: BTreeSet<FeedKey>,
}

/// What of a walk need not be kept: it is found again from the cursor.
#[derive(Debug, Default)]
pub struct Plan {
    /// The rest of the step, or of the tail; the next one last.
    queue: Vec<Turn>,
    /// Per indexer, the first batch that may be taken.
    heads: BTreeMap<FeedKey, Turn>,
}

impl Cursor {
    pub fn new(creator: FeedKey) -> Self {
        Self {
            index: 0,
            placed: Past::new(),
            walk: Standing::of_creator(creator),
            last_taken: None,
            step: None,
            tail: None,
            ever_indexer: BTreeSet::from([creator]),
        }
    }

    /// Batches placed.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Of every feed, how much is placed.
    pub fn placed(&self) -> &Past {
        &self.placed
    }

    /// The state where the next batch stands.
    pub fn standing(&self) -> &Standing {
        self.tail.as_ref().map_or(&self.walk, |(_, standing)| standing)
    }

    /// The state at the end of the walk, before the tail.
    pub fn walk(&self) -> &Standing {
        &self.walk
    }

    /// The index at which the tail begins, if there is one.
    pub fn tail_start(&self) -> Option<u64> {
        self.tail.as_ref().map(|(start, _)| *start)
    }

    pub fn last_taken(&self) -> Option<Position> {
        self.last_taken
    }

    /// The step that is not through.
    pub fn open_step(&self) -> Option<Turn> {
        self.step
    }

    pub fn ever_indexer(&self) -> &BTreeSet<FeedKey> {
        &self.ever_indexer
    }

    /// Whose turn it is, of what is `ready`; none if all of it is placed.
    pub fn next<S: WalkSource>(
        &mut self,
        ready: &Past,
        plan: &mut Plan,
        source: &S,
    ) -> Result<Option<Turn>, S::Error> {
        if self.step.is_none() && self.tail.is_none() {
            match self.candidate(ready, plan, source)? {
                Some(step) => self.step = Some(step),
                None if ready.iter().all(|(feed, to)| self.placed.get(&feed) >= to) => return Ok(None),
                None => self.tail = Some((self.index, self.walk.clone())),
            }
        }
        if plan.queue.is_empty() {
            let reach = match self.step {
                Some(step) => source.past(step.at.writer, step.end)?,
                None => ready.clone(),
            };
            plan.queue = self.missing(&reach, source)?;
        }
        Ok(plan.queue.last().copied())
    }

    /// The batches of `reach` that are not placed, in linear order, the first one last.
    fn missing<S: WalkSource>(&self, reach: &Past, source: &S) -> Result<Vec<Turn>, S::Error> {
        let mut missing = Vec::new();
        for (feed, to) in reach.iter() {
            let mut seq = self.placed.get(&feed);
            while seq < to {
                let turn = turn(source, feed, seq)?;
                seq = turn.end;
                missing.push(turn);
            }
        }
        missing.sort_unstable_by(|a, b| b.cmp(a));
        Ok(missing)
    }

    /// The first batch in linear order, later than the last taken, whose writer is an indexer.
    fn candidate<S: WalkSource>(
        &self,
        ready: &Past,
        plan: &mut Plan,
        source: &S,
    ) -> Result<Option<Turn>, S::Error> {
        let mut first: Option<Turn> = None;
        let may_lead = |member: Member| member.indexer || fault::is(Fault::UnanchoredEarly);
        for (feed, _) in self.walk.members().iter().filter(|(_, member)| may_lead(*member)) {
            let (from, to) = (self.placed.get(&feed), ready.get(&feed));
            if from >= to {
                continue;
            }
            let known = plan.heads.get(&feed).filter(|head| head.at.seq >= from && self.may_take(head.at));
            let head = match known {
                Some(head) => Some(*head),
                None => self.head(feed, from, to, source)?,
            };
            let Some(head) = head else { continue };
            plan.heads.insert(feed, head);
            if first.is_none_or(|first| head < first) {
                first = Some(head);
            }
        }
        Ok(first)
    }

    pub(super) fn may_take(&self, at: Position) -> bool {
        self.last_taken.is_none_or(|last| at > last)
    }

    /// The first batch of `feed` in `from..to` that may be taken: positions rise in a feed, so it is searched for.
    pub(super) fn head<S: WalkSource>(
        &self,
        feed: FeedKey,
        from: u64,
        to: u64,
        source: &S,
    ) -> Result<Option<Turn>, S::Error> {
        let first = turn(source, feed, from)?;
        if self.may_take(first.at) {
            return Ok(Some(first));
        }
        let (mut low, mut high) = (first.end, to);
        let mut found = None;
        while low < high {
            let middle = turn(source, feed, low + (high - low) / 2)?;
            if self.may_take(middle.at) {
                high = middle.at.seq.max(low);
                found = Some(middle);
            } else {
                low = middle.end.max(low + 1);
            }
        }
        Ok(found)
    }

    /// Puts a batch, which [`Self::next`] named, at its place. True if it ended a step.
    pub fn place(&mut self, turn: Turn, plan: &mut Plan) -> bool {
        plan.queue.pop();
        self.placed.raise(turn.at.writer, turn.end);
        self.index += 1;
        if self.step != Some(turn) {
            return false;
        }
        self.last_taken = Some(turn.at);
        self.step = None;
        true
    }

    /// Lets what `apply` asked for at `at` take effect. `promised`: see [`Standing::change`].
    pub fn change(&mut self, control: &Control, at: Position, promised: u64) -> Option<Change> {
        let change = self.standing_mut().change(control, at, promised)?;
        self.note_indexer(&change);
        Some(change)
    }

    pub(super) fn standing_mut(&mut self) -> &mut Standing {
        match &mut self.tail {
            Some((_, standing)) => standing,
            None => &mut self.walk,
        }
    }

    pub(super) fn note_indexer(&mut self, change: &Change) {
        if change.after.is_some_and(|member| member.indexer) {
            self.ever_indexer.insert(change.feed);
        }
    }
}

pub(super) fn turn<S: WalkSource>(source: &S, feed: FeedKey, seq: u64) -> Result<Turn, S::Error> {
    let batch = source.batch(feed, seq)?;
    let at = Position { effective: batch.effective, writer: feed, seq: batch.seq };
    Ok(Turn { at, end: batch.end })
}
