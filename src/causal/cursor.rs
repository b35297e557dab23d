//! The walk of apply mode, a batch at a time: grants come from `apply`, so the walk cannot run ahead of it.
//! `docs/design/apply.md` has the argument.

use std::collections::{BTreeMap, BTreeSet};

use super::encoding::{map, place, position, put_map, put_position};
use super::standing::{Change, Standing};
use super::{Control, Past, WalkSource};
use crate::codec::{DecodeError, Reader, put_varint};
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
    index: u64,
    placed: Past,
    /// The walk's own state.
    walk: Standing,
    last_taken: Option<Position>,
    /// The batch taken whose past is being placed.
    step: Option<Turn>,
    /// Where the tail begins, and the copy of the state that lasts to its end.
    tail: Option<(u64, Standing)>,
    /// Every indexer of any state so far, and perhaps more: never shortened.
    ever_indexer: BTreeSet<FeedKey>,
}

/// What of a walk need not be kept: it is found again from the cursor.
#[derive(Debug, Default)]
pub struct Plan {
    /// The rest of the step, or of the tail; the next one last.
    queue: Vec<Turn>,
    /// Per indexer, the first batch that may be taken.
    heads: BTreeMap<FeedKey, Turn>,
}

/// Where a sequence begins to be another.
#[derive(Debug, Clone)]
pub struct Divergence {
    /// After what stays.
    pub cursor: Cursor,
    /// Placements that stay, but end a step now, or no more.
    pub retaken: Vec<(u64, bool)>,
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
        for feed in self.walk.members().indexers() {
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

    fn may_take(&self, at: Position) -> bool {
        self.last_taken.is_none_or(|last| at > last)
    }

    /// The first batch of `feed` in `from..to` that may be taken: positions rise in a feed, so it is searched for.
    fn head<S: WalkSource>(
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

    fn standing_mut(&mut self) -> &mut Standing {
        match &mut self.tail {
            Some((_, standing)) => standing,
            None => &mut self.walk,
        }
    }

    fn note_indexer(&mut self, change: &Change) {
        if change.after.is_some_and(|member| member.indexer) {
            self.ever_indexer.insert(change.feed);
        }
    }

    /// Takes the last placement back.
    fn unplace(&mut self, last: &Placement) {
        self.placed.lower(last.turn.at.writer, last.turn.at.seq);
        self.index -= 1;
        for change in last.changes.iter().rev() {
            self.standing_mut().undo(change);
        }
    }

    /// Where the sequence changes when what is `ready` joins what is placed. The cursor is at the end of the sequence.
    ///
    /// First back to a place before which nothing can change, then forward over what stays. Backward: a new batch is in
    /// nobody's past, so it matters where it is taken, or in the tail. Forward: the walk, fed with what is kept.
    pub fn divergence<S: Sequence>(&self, ready: &Past, source: &S) -> Result<Divergence, S::Error> {
        let mut cursor = self.restart(ready, source)?;
        let mut retaken = Vec::new();
        let mut plan = Plan::default();
        while cursor.index < self.index {
            let kept = source.placement(cursor.index)?;
            let before = cursor.clone_if_new_step();
            let next = cursor.next(ready, &mut plan, source)?;
            if next != Some(kept.turn) {
                // The step, or the tail, that was about to begin is chosen again by whoever goes on.
                if let Some(before) = before {
                    cursor = before;
                }
                break;
            }
            let index = cursor.index;
            let taken = cursor.place(kept.turn, &mut plan);
            if taken != kept.taken {
                retaken.push((index, taken));
            }
            for change in &kept.changes {
                cursor.standing_mut().redo(change);
                cursor.note_indexer(change);
            }
        }
        cursor.ever_indexer.extend(&self.ever_indexer);
        Ok(Divergence { cursor, retaken })
    }

    fn clone_if_new_step(&self) -> Option<Self> {
        (self.step.is_none() && self.tail.is_none()).then(|| self.clone())
    }

    fn restart<S: Sequence>(&self, ready: &Past, source: &S) -> Result<Self, S::Error> {
        let mut cursor = self.clone();
        let mut first: Option<Position> = None;
        let mut takeable: Vec<(FeedKey, Turn)> = Vec::new();
        for (feed, to) in ready.iter() {
            let from = self.placed.get(&feed);
            if from >= to {
                continue;
            }
            let head = turn(source, feed, from)?;
            first = Some(first.map_or(head.at, |first| first.min(head.at)));
            if self.ever_indexer.contains(&feed) {
                takeable.push((feed, head));
            }
        }
        let Some(first) = first else { return Ok(cursor) };
        if takeable.is_empty() {
            // Only the tail can change, from where the first of them stands in it.
            while let Some(start) = cursor.tail_start() {
                let Some(last) = cursor.index.checked_sub(1).filter(|last| *last >= start) else { break };
                let last = source.placement(last)?;
                if last.turn.at < first {
                    break;
                }
                cursor.unplace(&last);
            }
            return Ok(cursor);
        }
        if let Some(start) = cursor.tail_start() {
            while cursor.index > start {
                let last = source.placement(cursor.index - 1)?;
                cursor.unplace(&last);
            }
            cursor.tail = None;
        }
        let earliest = takeable.iter().map(|(_, head)| head.at).min();
        let mut best = cursor.clone();
        while let Some(taken) = cursor.step.map(|step| step.at).or(cursor.last_taken) {
            if earliest.is_none_or(|earliest| taken < earliest) {
                break;
            }
            cursor.leave_step(source)?;
            if cursor.is_changed_by(&takeable, taken, ready, source)? {
                best = cursor.clone();
            }
        }
        Ok(best)
    }

    /// Back to before the step that stands last, or is not through.
    fn leave_step<S: Sequence>(&mut self, source: &S) -> Result<(), S::Error> {
        // What is not through has no batch taken yet.
        let mut through = self.step.take().is_some();
        while let Some(last) = self.index.checked_sub(1) {
            let last = source.placement(last)?;
            if last.taken && through {
                self.last_taken = Some(last.turn.at);
                return Ok(());
            }
            through = true;
            self.unplace(&last);
        }
        self.last_taken = None;
        Ok(())
    }

    /// Is one of `takeable` taken here, before the batch at `taken`?
    fn is_changed_by<S: WalkSource>(
        &self,
        takeable: &[(FeedKey, Turn)],
        taken: Position,
        ready: &Past,
        source: &S,
    ) -> Result<bool, S::Error> {
        for (feed, head) in takeable {
            if head.at > taken || !self.walk.members().is_indexer(feed) {
                continue;
            }
            let first = if self.may_take(head.at) {
                Some(*head)
            } else {
                self.head(*feed, head.at.seq, ready.get(feed), source)?
            };
            if first.is_some_and(|first| first.at < taken) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// ```text
    /// index varint ‖ placed past ‖ standing ‖ last taken ‖ step ‖ tail ‖ ever indexer (feed map of nothing)
    /// step = 0x00 | 0x01 ‖ position ‖ end varint      tail = 0x00 | 0x01 ‖ start varint ‖ standing
    /// ```
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        put_varint(out, self.index);
        self.placed.encode_into(out);
        self.walk.encode_into(out);
        put_position(out, self.last_taken);
        put_position(out, self.step.map(|step| step.at));
        if let Some(step) = self.step {
            put_varint(out, step.end);
        }
        out.push(self.tail.is_some().into());
        if let Some((start, standing)) = &self.tail {
            put_varint(out, *start);
            standing.encode_into(out);
        }
        put_map(out, self.ever_indexer.iter().map(|feed| (feed, ())), |_, ()| {});
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let index = reader.varint("the length of the sequence")?;
        let placed = Past::decode(reader)?;
        let walk = Standing::decode(reader)?;
        let last_taken = position(reader)?;
        let step = match position(reader)? {
            Some(at) => Some(Turn { at, end: place(reader, "a step's end")? }),
            None => None,
        };
        let tail = if reader.bool("the tail")? {
            Some((reader.varint("the tail's start")?, Standing::decode(reader)?))
        } else {
            None
        };
        let ever_indexer = map(reader, "past indexers", |_| Ok(()))?.into_keys().collect();
        Ok(Self { index, placed, walk, last_taken, step, tail, ever_indexer })
    }
}

fn turn<S: WalkSource>(source: &S, feed: FeedKey, seq: u64) -> Result<Turn, S::Error> {
    let batch = source.batch(feed, seq)?;
    let at = Position { effective: batch.effective, writer: feed, seq: batch.seq };
    Ok(Turn { at, end: batch.end })
}
