//! Apply mode as the design document says it, from scratch over a plain list of batches: slow, direct, and sharing
//! nothing with the code under test but the names of its inputs. Sets of batches are bit masks over the list.

use super::user::{self, Ask};
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
    pub past: u128,
}

/// Per batch of the list: where it stands, or none if it is not ready. The list may hold any set of batches.
pub fn ready(batches: &[Batch]) -> Vec<Option<Ready>> {
    assert!(batches.len() <= 128);
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
    let mut past = 0;
    let mut greatest = None;
    for (feed, length) in before.into_iter().chain(links) {
        let holds = |b: &Batch| b.writer == feed && (b.seq..b.seq + b.length).contains(&(length - 1));
        let before = batches.iter().position(holds)?;
        let ready = found[before].as_ref()?;
        greatest = greatest.max(Some(ready.place.0));
        past |= ready.past | 1 << before;
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
    placed: u128,
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
    let mut walk = Walk { batches, ready, placed: 0, state, view, positions };
    let mut steps: Vec<Step> = Vec::new();
    let mut last = None;
    // The first in the linear order, later than the last taken, whose writer is an indexer in the present state.
    while let Some((place, index)) = linear.iter().copied().find(|(place, index)| {
        walk.placed >> index & 1 == 0 && Some(*place) > last && walk.state.indexers().contains(&place.1)
    }) {
        let indexers = walk.state.indexers();
        let past = ready[index].as_ref().map_or(0, |r| r.past);
        for (_, i) in &linear {
            if past >> i & 1 == 1 && walk.placed >> i & 1 == 0 {
                walk.place(*i, false);
            }
        }
        walk.place(index, true);
        steps.push(Step { end: walk.positions.len(), taken: place, indexers });
        last = Some(place);
    }
    let end = walk.state.clone();
    for (_, index) in &linear {
        if walk.placed >> index & 1 == 0 {
            walk.place(*index, false);
        }
    }
    Walked { positions: walk.positions, steps, end }
}

impl Walk<'_> {
    fn place(&mut self, index: usize, taken: bool) {
        let batch = &self.batches[index];
        self.placed |= 1 << index;
        let is_granted = self.state.members.contains_key(&batch.writer);
        let asks = batch.optimistic && !self.state.lost.contains_key(&batch.writer);
        let fate = if batch.values.is_empty() && is_granted {
            Fate::Silent
        } else if batch.values.is_empty() || !(is_granted || asks) {
            Fate::Ignored
        } else {
            match user::apply(&batch.values, !is_granted, |key| self.view.get(key).cloned()) {
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

    fn apply(&mut self, index: usize, done: user::Done) {
        for (key, value) in done.writes {
            match value {
                Some(value) => drop(self.view.insert(key, value)),
                None => drop(self.view.remove(&key)),
            }
        }
        let Some(Ready { place, past }) = self.ready[index] else { return };
        let past = past | 1 << index;
        let reach = |who| {
            let of = self.batches.iter().enumerate().filter(|(i, b)| past >> i & 1 == 1 && b.writer == who);
            of.map(|(_, b)| b.seq + b.length).max().unwrap_or(0)
        };
        for ask in done.asks {
            self.state.change(ask, place, reach);
        }
    }
}

/// How many positions nothing can move, and who is waited for in the first step that something can.
pub fn finality(ready: &[Option<Ready>], walked: &Walked) -> (usize, BTreeSet<FeedKey>) {
    let mut length = 0;
    for step in &walked.steps {
        let is_heard = |feed: &FeedKey| {
            ready.iter().flatten().any(|ready| ready.place.1 == *feed && ready.place >= step.taken)
        };
        let missing = step
            .indexers
            .iter()
            .filter(|feed| **feed != step.taken.1 && !walked.end.lost.contains_key(feed) && !is_heard(feed));
        let missing: BTreeSet<FeedKey> = missing.copied().collect();
        if !missing.is_empty() {
            return (length, missing);
        }
        length = step.end;
    }
    if length == walked.positions.len() {
        return (length, BTreeSet::new());
    }
    let indexers = walked.end.indexers().into_iter().filter(|feed| !walked.end.lost.contains_key(feed));
    (length, indexers.collect())
}
