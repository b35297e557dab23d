use std::collections::{BTreeMap, BTreeSet};

use super::kept::{OrderFeed, OrderHead};
use super::{
    BatchFacts, ControlBatch, Controls, Intervals, Membership, Past, WalkOutcome, WalkRule, WalkSource, walk,
};
use crate::codec::DecodeError;
use crate::types::{FeedKey, Position};

/// What placing a batch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// All of the batch counts, or none of it; nothing else changed.
    Placed { counts: bool },
    /// It may change what else counts: [`OrderState::rewalk`] is due, and until then `counted` may be wrong.
    WalkDue,
}

/// The walk's outcome, brought forward as batches are placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderState {
    creator: FeedKey,
    rule: WalkRule,
    placed: Past,
    controls: Controls,
    outcome: WalkOutcome,
    due: bool,
    /// Feeds of which something has changed since it was last kept.
    touched: BTreeSet<FeedKey>,
}

impl OrderState {
    /// Of a database of which nothing is placed yet.
    pub fn new(creator: FeedKey, rule: WalkRule) -> Self {
        Self {
            creator,
            rule,
            placed: Past::new(),
            controls: Controls::new(),
            outcome: WalkOutcome::of_creator(creator),
            due: false,
            touched: BTreeSet::from([creator]),
        }
    }

    /// The state that was kept as these parts. `controls`: every control batch that was placed.
    pub fn restore(
        head: OrderHead,
        feeds: BTreeMap<FeedKey, OrderFeed>,
        controls: Controls,
    ) -> Result<Self, DecodeError> {
        let OrderHead { creator, rule, due, last_taken, last_change } = head;
        let mut members = BTreeMap::new();
        let mut state = Self { controls, due, ..Self::new(creator, rule) };
        state.touched.clear();
        let outcome = &mut state.outcome;
        (outcome.last_taken, outcome.last_change) = (last_taken, last_change);
        outcome.ever_indexer.clear();
        for (feed, kept) in feeds {
            state.placed.raise(feed, kept.placed);
            outcome.walked.raise(feed, kept.walked);
            members.extend(kept.member.map(|member| (feed, member)));
            if kept.ever_indexer {
                outcome.ever_indexer.insert(feed);
            }
            if !kept.counted.is_empty() {
                outcome.counted.insert(feed, kept.counted);
            }
        }
        outcome.membership = Membership::of(members)?;
        Ok(state)
    }

    /// What is to be kept of the whole, beside its feeds and controls.
    pub fn head(&self) -> OrderHead {
        OrderHead {
            creator: self.creator,
            rule: self.rule,
            due: self.due,
            last_taken: self.outcome.last_taken,
            last_change: self.outcome.last_change,
        }
    }

    /// What is to be kept of a feed.
    pub fn feed(&self, feed: &FeedKey) -> OrderFeed {
        let outcome = &self.outcome;
        OrderFeed {
            placed: self.placed.get(feed),
            walked: outcome.walked.get(feed),
            member: outcome.membership.get(feed),
            ever_indexer: outcome.ever_indexer.contains(feed),
            counted: outcome.counted.get(feed).cloned().unwrap_or_default(),
        }
    }

    /// Feeds of which something else is to be kept than when this was last asked.
    pub fn take_touched(&mut self) -> BTreeSet<FeedKey> {
        std::mem::take(&mut self.touched)
    }

    pub fn creator(&self) -> FeedKey {
        self.creator
    }

    pub fn rule(&self) -> WalkRule {
        self.rule
    }

    /// As of the last walk and what was placed since; exact unless [`Self::walk_is_due`].
    pub fn outcome(&self) -> &WalkOutcome {
        &self.outcome
    }

    pub fn membership(&self) -> &Membership {
        &self.outcome.membership
    }

    pub fn counts(&self, feed: &FeedKey, seq: u64) -> bool {
        self.outcome.counted.get(feed).is_some_and(|counted| counted.contains(seq))
    }

    /// What is placed: of every feed, how much.
    pub fn placed(&self) -> &Past {
        &self.placed
    }

    pub fn controls(&self) -> &Controls {
        &self.controls
    }

    pub fn walk_is_due(&self) -> bool {
        self.due
    }

    /// Records that `batch` is placed at `position`; `past` is what [`super::resolve`] said. Costs no walk unless the
    /// verdict says so. Batches are placed in feed order, each once.
    pub fn place(&mut self, batch: &BatchFacts, position: Position, past: &Past) -> Verdict {
        let due = self.due || self.changes_others(batch, position, past);
        self.placed.raise(batch.writer, batch.end());
        self.touched.insert(batch.writer);
        if let Some(control) = ControlBatch::of(batch, position.effective) {
            self.controls.insert(control);
        }
        self.due = due;
        if due {
            return Verdict::WalkDue;
        }
        let member = self.outcome.membership.get(&batch.writer);
        if member.is_some_and(|member| member.indexer) {
            for (feed, length) in past.iter() {
                if self.outcome.walked.raise(feed, length) {
                    self.touched.insert(feed);
                }
            }
            self.outcome.walked.raise(batch.writer, batch.end());
            self.outcome.last_taken = self.outcome.last_taken.max(Some(position));
        }
        let counts = self.rule.counts(member, position);
        if counts {
            self.outcome.counted.entry(batch.writer).or_default().insert(batch.seq, batch.end());
        }
        Verdict::Placed { counts }
    }

    /// Takes the batches of `feed` from `from` on out again, where a batch begins. A walk is due, and whatever has them
    /// in its past has to be taken out with them.
    pub fn withdraw(&mut self, feed: FeedKey, from: u64) {
        self.placed.lower(feed, from);
        self.touched.insert(feed);
        self.controls.cut(feed, from);
        if let Some(counted) = self.outcome.counted.get_mut(&feed) {
            counted.cut(from);
            if counted.is_empty() {
                self.outcome.counted.remove(&feed);
            }
        }
        self.due = true;
    }

    /// Could placing this batch change more than its own verdict?
    ///
    /// Nothing placed has it in its past, so it matters to the walk only if it is itself taken.
    fn changes_others(&self, batch: &BatchFacts, position: Position, past: &Past) -> bool {
        let Self { outcome, controls, placed, .. } = self;
        if self.rule == WalkRule::Apply {
            // Controls in the tail work there: with one about, verdicts depend on places within the tail.
            let pending = || {
                placed
                    .iter()
                    .any(|(feed, to)| controls.range(feed, outcome.walked.get(&feed), to).next().is_some())
            };
            if !batch.controls.is_empty() || pending() {
                return true;
            }
        }
        if !outcome.ever_indexer.contains(&batch.writer) {
            return false;
        }
        // Before the last change the state was another one: it may be taken there, with all that follows.
        if outcome.last_change.is_some_and(|change| position < change) {
            return true;
        }
        // After it, the state stands still unless this batch's step brings a control that may act.
        let acts =
            |feed: FeedKey| outcome.membership.get(&feed).is_some_and(|member| self.rule.may_act(member));
        let brings = |(feed, to): (FeedKey, u64)| {
            acts(feed) && controls.range(feed, outcome.walked.get(&feed), to).next().is_some()
        };
        outcome.membership.is_indexer(&batch.writer)
            && (!batch.controls.is_empty() || past.iter().any(brings))
    }

    /// Walks over everything placed. Returns what counted before, for [`Self::changes_since`].
    pub fn rewalk<S: WalkSource>(&mut self, source: &S) -> Result<BTreeMap<FeedKey, Intervals>, S::Error> {
        let outcome = walk(self.creator, self.rule, &self.placed, &self.controls, source)?;
        let before = std::mem::replace(&mut self.outcome, outcome);
        self.due = false;
        self.touch_changed(&before);
        Ok(before.counted)
    }

    /// A walk looks at every feed; what it finds as it was is not kept anew.
    fn touch_changed(&mut self, before: &WalkOutcome) {
        let after = &self.outcome;
        let mut changed = BTreeSet::new();
        let mut differ = |feed: &FeedKey| {
            let is_same = before.walked.get(feed) == after.walked.get(feed)
                && before.membership.get(feed) == after.membership.get(feed)
                && before.ever_indexer.contains(feed) == after.ever_indexer.contains(feed)
                && before.counted.get(feed) == after.counted.get(feed);
            if !is_same {
                changed.insert(*feed);
            }
        };
        for outcome in [before, after] {
            outcome.walked.iter().for_each(|(feed, _)| differ(&feed));
            outcome.membership.iter().for_each(|(feed, _)| differ(&feed));
            outcome.ever_indexer.iter().for_each(&mut differ);
            outcome.counted.keys().for_each(&mut differ);
        }
        self.touched.append(&mut changed);
    }

    /// What counts now and did not before, or the other way round: `(feed, from, to, counts now)`. Fresh entries that
    /// count are in it too.
    pub fn changes_since(&self, before: &BTreeMap<FeedKey, Intervals>) -> Vec<(FeedKey, u64, u64, bool)> {
        let none = Intervals::new();
        let mut changes = Vec::new();
        for (feed, then) in before {
            let now = self.outcome.counted.get(feed).unwrap_or(&none);
            changes.extend(then.difference(now).map(|(from, to)| (*feed, from, to, false)));
        }
        for (feed, now) in &self.outcome.counted {
            let then = before.get(feed).unwrap_or(&none);
            changes.extend(now.difference(then).map(|(from, to)| (*feed, from, to, true)));
        }
        changes
    }
}
