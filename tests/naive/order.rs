//! Apply mode as the design document says it, from scratch over a plain list of batches: slow, direct, and sharing
//! nothing with the code under test but the names of its inputs.

use super::apply_fn::{self, Ask};
use multi_hyperbee::types::FeedKey;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub writer: FeedKey,
    pub seq: u64,
    pub length: u64,
    pub time: u64,
    pub links: Vec<(FeedKey, u64)>,
    pub optimistic: bool,
    /// None: an acknowledgement, or the genesis.
    pub values: Vec<String>,
}

/// (time, tick), writer, seq.
pub type Place = ((u64, u64), FeedKey, u64);

#[derive(Debug, Clone)]
pub struct Ready {
    pub place: Place,
    /// Batches in the causal past, itself not.
    pub past: Set,
}

/// Indices into the list.
#[derive(Debug, Clone, Default)]
pub struct Set(Vec<u64>);

impl Set {
    pub fn has(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    pub fn add(&mut self, index: usize) {
        self.0.resize(self.0.len().max(index / 64 + 1), 0);
        self.0[index / 64] |= 1 << (index % 64);
    }

    fn add_all(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0);
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine |= theirs);
    }
}

/// Per batch of the list: where it stands, or none if it is not ready. The list may hold any set of batches.
pub fn ready(batches: &[Batch]) -> Vec<Option<Ready>> {
    let mut found: Vec<Option<Ready>> = vec![None; batches.len()];
    loop {
        let mut progress = false;
        for index in 0..batches.len() {
            if found[index].is_none() {
                found[index] = try_ready(batches, &found, index);
                progress |= found[index].is_some();
            }
        }
        if !progress {
            return found;
        }
    }
}

fn try_ready(batches: &[Batch], found: &[Option<Ready>], index: usize) -> Option<Ready> {
    let batch = &batches[index];
    let before = (batch.seq > 0).then_some((batch.writer, batch.seq));
    let links = batch.links.iter().copied().filter(|(feed, length)| *feed != batch.writer && *length > 0);
    let mut past = Set::default();
    let mut greatest = None;
    for (feed, length) in before.into_iter().chain(links) {
        let holds = |b: &Batch| b.writer == feed && (b.seq..b.seq + b.length).contains(&(length - 1));
        let before = batches.iter().position(holds)?;
        let ready = found[before].as_ref()?;
        greatest = greatest.max(Some(ready.place.0));
        past.add_all(&ready.past);
        past.add(before);
    }
    let effective = match greatest {
        Some((time, tick)) if batch.time <= time => (time, tick + 1),
        _ => (batch.time, 0),
    };
    Some(Ready { place: (effective, batch.writer, batch.seq), past })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Granted writers: since when, and whether an indexer.
    pub members: BTreeMap<FeedKey, (Option<Place>, bool)>,
    /// How much of a lost writer's feed its declaration had in its past.
    pub lost: BTreeMap<FeedKey, u64>,
}

impl Standing {
    fn indexers(&self) -> BTreeSet<FeedKey> {
        self.members.iter().filter(|(_, (_, indexer))| *indexer).map(|(feed, _)| *feed).collect()
    }

    fn change(&mut self, ask: Ask, place: Place, reach: impl Fn(FeedKey) -> u64) {
        let mut next = self.clone();
        match ask {
            Ask::Grant(who, _) if self.lost.contains_key(&who) => return,
            Ask::Grant(who, indexer) => next.members.entry(who).or_insert((Some(place), indexer)).1 = indexer,
            Ask::Revoke(who) | Ask::Lost(who) => drop(next.members.remove(&who)),
        }
        if let Ask::Lost(who) = ask
            && who != place.1
            && self.indexers().contains(&place.1)
        {
            next.lost.entry(who).or_insert_with(|| reach(who));
        }
        if !next.indexers().is_empty() {
            *self = next;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Ignored,
    Applied,
    Rejected,
    Silent,
}

pub type View = BTreeMap<String, String>;

#[derive(Debug, Clone)]
pub struct Position {
    /// Index in the list.
    pub batch: usize,
    /// It ended a step.
    pub taken: bool,
    pub fate: Fate,
    /// After it.
    pub view: View,
    pub standing: Standing,
}

#[derive(Debug, Clone)]
pub struct Step {
    /// Exclusive.
    pub end: usize,
    pub taken: Place,
    /// Of the state before it.
    pub indexers: BTreeSet<FeedKey>,
}

#[derive(Debug, Clone)]
pub struct Walked {
    pub positions: Vec<Position>,
    pub steps: Vec<Step>,
    /// The state at the end of the walk, before the tail.
    pub end: Standing,
}

struct Walk<'a> {
    batches: &'a [Batch],
    ready: &'a [Option<Ready>],
    placed: Set,
    state: Standing,
    view: View,
    positions: Vec<Position>,
}

pub fn walk(batches: &[Batch], ready: &[Option<Ready>], creator: FeedKey) -> Walked {
    let mut linear: Vec<(Place, usize)> =
        ready.iter().enumerate().filter_map(|(i, r)| r.as_ref().map(|r| (r.place, i))).collect();
    linear.sort_unstable();
    let state = Standing { members: BTreeMap::from([(creator, (None, true))]), lost: BTreeMap::new() };
    let (view, positions) = (View::new(), Vec::new());
    let mut walk = Walk { batches, ready, placed: Set::default(), state, view, positions };
    let mut steps: Vec<Step> = Vec::new();
    let mut last = None;
    // The first in the linear order, later than the last taken, whose writer is an indexer in the present state.
    while let Some((place, index)) = linear.iter().copied().find(|(place, index)| {
        !walk.placed.has(*index) && Some(*place) > last && walk.state.indexers().contains(&place.1)
    }) {
        let indexers = walk.state.indexers();
        let Some(Ready { past, .. }) = &ready[index] else { break };
        for (_, i) in &linear {
            if past.has(*i) && !walk.placed.has(*i) {
                walk.place(*i, false);
            }
        }
        walk.place(index, true);
        steps.push(Step { end: walk.positions.len(), taken: place, indexers });
        last = Some(place);
    }
    let end = walk.state.clone();
    for (_, index) in &linear {
        if !walk.placed.has(*index) {
            walk.place(*index, false);
        }
    }
    Walked { positions: walk.positions, steps, end }
}

impl Walk<'_> {
    fn place(&mut self, index: usize, taken: bool) {
        let batch = &self.batches[index];
        self.placed.add(index);
        let is_granted = self.state.members.contains_key(&batch.writer);
        let asks = batch.optimistic && !self.state.lost.contains_key(&batch.writer);
        let fate = if batch.values.is_empty() && is_granted {
            Fate::Silent
        } else if batch.values.is_empty() || !(is_granted || asks) {
            Fate::Ignored
        } else {
            match apply_fn::apply(&batch.values, !is_granted, |key| self.view.get(key).cloned()) {
                None => Fate::Rejected,
                Some(done) => {
                    self.apply(index, done);
                    Fate::Applied
                }
            }
        };
        let (view, standing) = (self.view.clone(), self.state.clone());
        self.positions.push(Position { batch: index, taken, fate, view, standing });
    }

    fn apply(&mut self, index: usize, done: apply_fn::Done) {
        for (key, value) in done.writes {
            match value {
                Some(value) => drop(self.view.insert(key, value)),
                None => drop(self.view.remove(&key)),
            }
        }
        let Some(Ready { place, past }) = &self.ready[index] else { return };
        let reach = |who| {
            let is_past = |i: usize| i == index || past.has(i);
            let of = self.batches.iter().enumerate().filter(|(i, b)| is_past(*i) && b.writer == who);
            of.map(|(_, b)| b.seq + b.length).max().unwrap_or(0)
        };
        for ask in done.asks {
            self.state.change(ask, *place, reach);
        }
    }
}

/// How many positions nothing can move, and who is waited for behind them. Final are the most steps from the front in
/// each of which every indexer is heard, or declared lost in one of these steps.
pub fn finality(ready: &[Option<Ready>], walked: &Walked) -> (usize, BTreeSet<FeedKey>) {
    let missing = |step: &Step, lost: &BTreeMap<FeedKey, u64>| -> BTreeSet<FeedKey> {
        let is_heard = |feed: &FeedKey| {
            ready.iter().flatten().any(|ready| ready.place.1 == *feed && ready.place >= step.taken)
        };
        let waited = step.indexers.iter().filter(|feed| **feed != step.taken.1);
        waited.filter(|feed| !lost.contains_key(*feed) && !is_heard(feed)).copied().collect()
    };
    let is_final = |steps: &[Step]| {
        let none = BTreeMap::new();
        let lost = steps.last().map_or(&none, |step| &walked.positions[step.end - 1].standing.lost);
        steps.iter().all(|step| missing(step, lost).is_empty())
    };
    let steps = (0..=walked.steps.len()).rev().find(|count| is_final(&walked.steps[..*count])).unwrap();
    let length = steps.checked_sub(1).map_or(0, |last| walked.steps[last].end);
    let mut silent = walked.steps[steps..].iter().map(|step| missing(step, &walked.end.lost));
    if let Some(silent) = silent.find(|silent| !silent.is_empty()) {
        return (length, silent);
    }
    if length == walked.positions.len() {
        return (length, BTreeSet::new());
    }
    let indexers = walked.end.indexers().into_iter().filter(|feed| !walked.end.lost.contains_key(feed));
    (length, indexers.collect())
}
