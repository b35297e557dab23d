use std::collections::BTreeMap;

use super::encoding::{map, position, put_map, put_position};
use super::{
    BatchFacts, ControlBatch, Controls, Intervals, Membership, Past, WalkOutcome, WalkRule, WalkSource, walk,
};
use crate::codec::{DecodeError, Reader};
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
        }
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
        if let Some(control) = ControlBatch::of(batch, position.effective) {
            self.controls.insert(control);
        }
        self.due = due;
        if due {
            return Verdict::WalkDue;
        }
        let member = self.outcome.membership.get(&batch.writer);
        if member.is_some_and(|member| member.indexer) {
            self.outcome.walked.join(past);
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
        Ok(before.counted)
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

    /// Everything but the controls, which are rows of their own ([`ControlBatch::encode_into`]):
    ///
    /// ```text
    /// creator 32 ‖ rule u8 (0 merge, 1 apply) ‖ due bool ‖ placed past ‖ membership ‖ walked past
    ///   ‖ counted (feed map of intervals, none empty) ‖ last taken ‖ last change ‖ ever indexer (feed map of nothing)
    /// last taken, last change = 0x00 | 0x01 ‖ position
    /// ```
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let WalkOutcome { membership, counted, walked, last_taken, last_change, ever_indexer } =
            &self.outcome;
        out.extend_from_slice(self.creator.as_bytes());
        out.push(match self.rule {
            WalkRule::Merge => 0,
            WalkRule::Apply => 1,
        });
        out.push(self.due.into());
        self.placed.encode_into(out);
        membership.encode_into(out);
        walked.encode_into(out);
        put_map(out, counted.iter(), |out, intervals| intervals.encode_into(out));
        put_position(out, *last_taken);
        put_position(out, *last_change);
        put_map(out, ever_indexer.iter().map(|feed| (feed, ())), |_, ()| {});
    }

    /// `controls`: every control batch that was placed.
    pub fn decode(reader: &mut Reader<'_>, controls: Controls) -> Result<Self, DecodeError> {
        let creator = FeedKey(reader.array("the creator")?);
        let rule = match reader.u8("the walk's rule")? {
            0 => WalkRule::Merge,
            1 => WalkRule::Apply,
            tag => return Err(DecodeError::UnknownTag { what: "the walk's rule", tag: tag.into() }),
        };
        let due = reader.bool("whether a walk is due")?;
        let placed = Past::decode(reader)?;
        let outcome = WalkOutcome {
            membership: Membership::decode(reader)?,
            walked: Past::decode(reader)?,
            counted: map(reader, "what counts", |reader| match Intervals::decode(reader)? {
                none if none.is_empty() => Err(DecodeError::Malformed { what: "what counts" }),
                some => Ok(some),
            })?,
            last_taken: position(reader)?,
            last_change: position(reader)?,
            ever_indexer: map(reader, "past indexers", |_| Ok(()))?.into_keys().collect(),
        };
        Ok(Self { creator, rule, placed, controls, outcome, due })
    }
}
