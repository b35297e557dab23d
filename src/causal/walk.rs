//! The walk, taken in strides: between two control batches that may act, the state stands still, so all that is taken
//! there can be taken at once, whatever its number. `docs/design/order.md` argues why this is the walk of the design.

use std::collections::{BTreeMap, BTreeSet};

use super::{Control, ControlBatch, Controls, Intervals, Member, Membership, Past};
use crate::types::{Effective, FeedKey, Position};

/// What differs between the modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkRule {
    /// An entry counts if its writer is granted where it stands and it is later than the grant that began that
    /// membership. Indexers grant and revoke. Controls in the tail wait, without effect.
    Merge,
    /// An entry counts if its writer is granted where it stands. Every counted writer grants and revokes. Controls in the
    /// tail work on a copy of the state that lasts to its end.
    Apply,
}

/// Where a placed batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedBatch {
    pub seq: u64,
    /// Exclusive.
    pub end: u64,
    pub effective: Effective,
}

/// What a walk asks about placed batches. Answers are looked up by binary search: a few per control and indexer.
pub trait WalkSource {
    type Error;

    /// The batch that entry `seq` of `feed` belongs to.
    fn batch(&self, feed: FeedKey, seq: u64) -> Result<PlacedBatch, Self::Error>;

    /// The past of the batch of `feed` that ends at `length`, itself included (as [`super::Placed::past`]).
    fn past(&self, feed: FeedKey, length: u64) -> Result<Past, Self::Error>;

    /// How much of feed `of` is in that past.
    fn reach(&self, feed: FeedKey, length: u64, of: FeedKey) -> Result<u64, Self::Error> {
        Ok(self.past(feed, length)?.get(&of))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalkOutcome {
    /// The state at the end of the walk, before the tail.
    pub membership: Membership,
    /// The seqs that count, of every feed that has any; the tail's included.
    pub counted: BTreeMap<FeedKey, Intervals>,
    /// What the walk placed. The rest is the tail.
    pub walked: Past,
    pub last_taken: Option<Position>,
    /// The last batch taken whose step changed the membership.
    pub last_change: Option<Position>,
    /// Every indexer of any state of the walk.
    pub ever_indexer: BTreeSet<FeedKey>,
}

impl WalkOutcome {
    /// The walk over nothing.
    pub fn of_creator(creator: FeedKey) -> Self {
        Self {
            membership: Membership::of_creator(creator),
            counted: BTreeMap::new(),
            walked: Past::new(),
            last_taken: None,
            last_change: None,
            ever_indexer: BTreeSet::from([creator]),
        }
    }
}

impl WalkRule {
    /// Does what stands at `at` count, if `member` is what its writer is there?
    pub(super) fn counts(self, member: Option<Member>, at: Position) -> bool {
        match (self, member) {
            (_, None) => false,
            (Self::Merge, Some(member)) => member.since.is_none_or(|since| at > since),
            (Self::Apply, Some(_)) => true,
        }
    }

    /// May a control of this member act, if it counts?
    pub(super) fn may_act(self, member: Member) -> bool {
        self == Self::Apply || member.indexer
    }
}

/// Walks over everything `placed`, of which `controls` are all the control batches.
///
/// Time: for each control batch that may act, a binary search per indexer; memory: per feed, nothing per entry.
pub fn walk<S: WalkSource>(
    creator: FeedKey,
    rule: WalkRule,
    placed: &Past,
    controls: &Controls,
    source: &S,
) -> Result<WalkOutcome, S::Error> {
    let mut walk = Walk { rule, placed, controls, source, outcome: WalkOutcome::of_creator(creator) };
    while let Some((step, end)) = walk.next_step()? {
        walk.stride(Some(step))?;
        walk.take(step, end)?;
    }
    walk.stride(None)?;
    walk.tail()?;
    Ok(walk.outcome)
}

struct Walk<'a, S> {
    rule: WalkRule,
    placed: &'a Past,
    controls: &'a Controls,
    source: &'a S,
    outcome: WalkOutcome,
}

/// A batch to be taken, and its exclusive end.
type Step = (Position, u64);

impl<S: WalkSource> Walk<'_, S> {
    /// The first batch to be taken that places a control batch which may act; none if no such is left.
    fn next_step(&self) -> Result<Option<Step>, S::Error> {
        let mut first: Option<Step> = None;
        for (writer, member) in self.outcome.membership.iter() {
            if !self.rule.may_act(member) {
                continue;
            }
            // What places a later control of this feed has the first of them in its past: the first one decides.
            let (from, to) = (self.outcome.walked.get(&writer), self.placed.get(&writer));
            let Some(control) = self.controls.range(writer, from, to).next() else { continue };
            if member.indexer && self.may_be_taken(control.position()) {
                first = earlier(first, Some((control.position(), control.end)));
                continue;
            }
            for indexer in self.outcome.membership.indexers() {
                first = earlier(first, self.first_with(indexer, control)?);
            }
        }
        Ok(first)
    }

    fn may_be_taken(&self, at: Position) -> bool {
        self.outcome.last_taken.is_none_or(|last| at > last)
    }

    /// The first batch of `feed` that could be taken and has `control` in its past.
    fn first_with(&self, feed: FeedKey, control: &ControlBatch) -> Result<Option<Step>, S::Error> {
        let to = self.placed.get(&feed);
        let of = control.writer;
        if to == 0 || self.source.reach(feed, to, of)? < control.end {
            return Ok(None);
        }
        let found = self.first(feed, self.outcome.walked.get(&feed), to, |at, batch| {
            Ok(self.may_be_taken(at) && self.source.reach(feed, batch.end, of)? >= control.end)
        })?;
        if found == to {
            return Ok(None);
        }
        let batch = self.source.batch(feed, found)?;
        Ok(Some((position(feed, &batch), batch.end)))
    }

    /// Takes every batch of an indexer that comes before `limit`: nothing in their pasts can act.
    fn stride(&mut self, limit: Option<Position>) -> Result<(), S::Error> {
        let mut reach = Past::new();
        let mut last_taken = self.outcome.last_taken;
        for feed in self.outcome.membership.indexers() {
            let (from, placed) = (self.outcome.walked.get(&feed), self.placed.get(&feed));
            let to = match limit {
                None => placed,
                Some(limit) if limit.writer == feed => limit.seq,
                Some(limit) => self.first_later(feed, from, placed, limit)?,
            };
            if from >= to {
                continue;
            }
            let last = position(feed, &self.source.batch(feed, to - 1)?);
            if self.may_be_taken(last) {
                reach.join(&self.source.past(feed, to)?);
                last_taken = last_taken.max(Some(last));
            }
        }
        self.outcome.last_taken = last_taken;
        self.settle(&reach)
    }

    /// Takes one batch: places what of its past is not placed yet, then itself, letting controls act.
    fn take(&mut self, step: Position, end: u64) -> Result<(), S::Error> {
        let past = self.source.past(step.writer, end)?;
        if self.act(&past)? {
            self.outcome.last_change = Some(step);
        }
        self.outcome.last_taken = Some(step);
        self.settle(&past)
    }

    /// Lets the controls act that `reach` adds to what is walked, in linear order. True if any changed the membership.
    fn act(&mut self, reach: &Past) -> Result<bool, S::Error> {
        let mut acting: Vec<&ControlBatch> = Vec::new();
        for (feed, to) in reach.iter() {
            acting.extend(self.controls.range(feed, self.outcome.walked.get(&feed), to));
        }
        acting.sort_unstable_by_key(|batch| batch.position());
        let mut changed = false;
        for batch in acting {
            for control in &batch.controls {
                changed |= self.act_one(batch, control, reach)?;
            }
        }
        Ok(changed)
    }

    fn act_one(&mut self, batch: &ControlBatch, control: &Control, reach: &Past) -> Result<bool, S::Error> {
        let at = batch.position();
        let Some(member) = self.outcome.membership.get(&batch.writer) else { return Ok(false) };
        if !self.rule.may_act(member) || !self.rule.counts(Some(member), at) {
            return Ok(false);
        }
        let about = control.writer();
        let before = self.outcome.membership.get(&about);
        if !self.outcome.membership.change(control, at) {
            return Ok(false);
        }
        if self.outcome.membership.is_indexer(&about) {
            self.outcome.ever_indexer.insert(about);
        }
        // What stands before the control is judged by what its writer was until then: of the control's own batch, the
        // entries up to the control itself.
        let (from, to) = (self.outcome.walked.get(&about), reach.get(&about));
        let upto = if about == batch.writer {
            control.seq().saturating_add(1).min(to)
        } else {
            self.first_later(about, from, to, at)?
        };
        self.judge(about, upto, before)?;
        Ok(true)
    }

    /// Places all of `reach` that is not placed yet, judged by the present membership.
    fn settle(&mut self, reach: &Past) -> Result<(), S::Error> {
        for (feed, to) in reach.iter() {
            self.judge(feed, to, self.outcome.membership.get(&feed))?;
        }
        Ok(())
    }

    /// Places the entries of `feed` up to `to`, its writer being `member` where they stand.
    fn judge(&mut self, feed: FeedKey, to: u64, member: Option<Member>) -> Result<(), S::Error> {
        let from = self.outcome.walked.get(&feed);
        if from >= to {
            return Ok(());
        }
        self.outcome.walked.raise(feed, to);
        let counts_from = match (self.rule, member) {
            (_, None) => return Ok(()),
            (WalkRule::Merge, Some(Member { since: Some(since), .. })) => {
                self.first_later(feed, from, to, since)?
            }
            _ => from,
        };
        if counts_from < to {
            self.outcome.counted.entry(feed).or_default().insert(counts_from, to);
        }
        Ok(())
    }

    /// Judges what the walk did not place, leaving the walk's own state as it is.
    fn tail(&mut self) -> Result<(), S::Error> {
        let walk = self.outcome.clone();
        if self.rule == WalkRule::Apply {
            self.act(self.placed)?;
        }
        self.settle(self.placed)?;
        self.outcome = WalkOutcome { counted: std::mem::take(&mut self.outcome.counted), ..walk };
        Ok(())
    }

    /// The first entry of `feed` in `from..to` whose batch stands later than `than`; `to` if none does.
    fn first_later(&self, feed: FeedKey, from: u64, to: u64, than: Position) -> Result<u64, S::Error> {
        self.first(feed, from, to, |at, _| Ok(at > than))
    }

    /// The first entry of `feed` in `from..to` whose batch passes `test`, which every batch after it passes too; `to` if
    /// none does. `from` need not begin a batch.
    fn first(
        &self,
        feed: FeedKey,
        from: u64,
        to: u64,
        test: impl Fn(Position, &PlacedBatch) -> Result<bool, S::Error>,
    ) -> Result<u64, S::Error> {
        let (mut low, mut high) = (from, to);
        while low < high {
            let batch = self.source.batch(feed, low + (high - low) / 2)?;
            if test(position(feed, &batch), &batch)? {
                high = batch.seq.max(low);
            } else {
                low = batch.end.max(low + 1);
            }
        }
        Ok(low.min(to))
    }
}

fn position(feed: FeedKey, batch: &PlacedBatch) -> Position {
    Position { effective: batch.effective, writer: feed, seq: batch.seq }
}

fn earlier(a: Option<Step>, b: Option<Step>) -> Option<Step> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
