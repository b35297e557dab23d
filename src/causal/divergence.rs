//! Back over what is placed, and forward again as far as it stays: where a sequence changes when something joins it.
//! `docs/design/apply.md` has the argument.

use super::cursor::turn;
use super::{Cursor, Past, Placement, Plan, Sequence, Turn, WalkSource};
use crate::types::{FeedKey, Position};

/// Where a sequence begins to be another.
#[derive(Debug, Clone)]
pub struct Divergence {
    /// After what stays.
    pub cursor: Cursor,
    /// Placements that stay, but end a step now, or no more.
    pub retaken: Vec<(u64, bool)>,
}

impl Cursor {
    /// Takes the last placement back.
    fn unplace(&mut self, last: &Placement) {
        self.placed.lower(last.turn.at.writer, last.turn.at.seq);
        self.index -= 1;
        for change in last.changes.iter().rev() {
            self.standing_mut().undo(change);
        }
    }

    /// Goes back to the last place, with at most `index` batches before it, where a step began or the tail.
    pub fn back_to<S: Sequence>(&mut self, index: u64, source: &S) -> Result<(), S::Error> {
        self.leave_tail(source)?;
        while self.index > index || self.step.is_some() {
            self.leave_step(source)?;
        }
        Ok(())
    }

    fn leave_tail<S: Sequence>(&mut self, source: &S) -> Result<(), S::Error> {
        let Some(start) = self.tail_start() else { return Ok(()) };
        while self.index > start {
            let last = source.placement(self.index - 1)?;
            self.unplace(&last);
        }
        self.tail = None;
        Ok(())
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
        cursor.leave_tail(source)?;
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
}
