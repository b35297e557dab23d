//! The order as the design document says it, over a plain list of batches: slow, direct, and sharing nothing with the
//! code under test but the names of its inputs. Sets of batches are bit masks over the list.

use std::collections::{BTreeMap, BTreeSet};

/// A grant (`Some(is indexer)`) or revoke (`None`) of a writer, at an offset in its batch.
pub type Op = (u64, u8, Option<bool>);

#[derive(Debug, Clone)]
pub struct Batch {
    pub writer: u8,
    pub seq: u64,
    pub length: u64,
    pub time: u64,
    /// Feed, length.
    pub links: Vec<(u8, u64)>,
    pub ops: Vec<Op>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Every link is read.
    pub open: bool,
    pub apply: bool,
}

/// (time, tick), writer, seq.
pub type Place = ((u64, u64), u8, u64);

pub const CREATOR: u8 = 0;

#[derive(Debug, Clone)]
pub struct Ready {
    pub place: Place,
    /// Batches in the causal past, itself not.
    pub past: u128,
    /// Feeds whose links are read.
    pub read: BTreeSet<u8>,
}

/// Per batch of the list: where it stands, or none if it is not ready. The list may hold any set of batches.
pub fn ready(batches: &[Batch]) -> impl Fn(Rules) -> Vec<Option<Ready>> + '_ {
    move |rules| {
        let mut found: Vec<Option<Ready>> = vec![None; batches.len()];
        loop {
            let mut progress = false;
            for index in 0..batches.len() {
                if found[index].is_none() {
                    found[index] = try_ready(batches, rules, &found, index);
                    progress |= found[index].is_some();
                }
            }
            if !progress {
                return found;
            }
        }
    }
}

/// The batch an entry belongs to, if it is in the list.
fn batch_of(batches: &[Batch], writer: u8, seq: u64) -> Option<usize> {
    batches.iter().position(|b| b.writer == writer && b.seq <= seq && seq < b.seq + b.length)
}

fn try_ready(batches: &[Batch], rules: Rules, found: &[Option<Ready>], index: usize) -> Option<Ready> {
    let batch = &batches[index];
    let mut past = 0_u128;
    let mut greatest: Option<(u64, u64)> = None;
    let mut follow = |before: usize| -> Option<u128> {
        let ready = found[before].as_ref()?;
        greatest = greatest.max(Some(ready.place.0));
        past |= ready.past | 1 << before;
        Some(past)
    };
    let mut seen = 0;
    if batch.seq > 0 {
        seen = follow(batch_of(batches, batch.writer, batch.seq - 1)?)?;
    }
    let mut read = BTreeSet::new();
    loop {
        let open = batch.links.iter().find(|(feed, length)| {
            let named = rules.open || *feed == CREATOR || grants_name(batches, seen, *feed);
            *feed != batch.writer && *length > 0 && !read.contains(feed) && named
        });
        let Some((feed, length)) = open else { break };
        seen = follow(batch_of(batches, *feed, length - 1)?)?;
        read.insert(*feed);
    }
    let effective = match greatest {
        Some((time, tick)) if batch.time <= time => (time, tick + 1),
        _ => (batch.time, 0),
    };
    Some(Ready { place: (effective, batch.writer, batch.seq), past, read })
}

fn members(mask: u128) -> impl Iterator<Item = usize> {
    (0..128).filter(move |index| mask >> index & 1 == 1)
}

fn grants_name(batches: &[Batch], past: u128, feed: u8) -> bool {
    members(past)
        .any(|index| batches[index].ops.iter().any(|(_, who, right)| *who == feed && right.is_some()))
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked {
    /// Entries that count.
    pub counted: BTreeSet<(u8, u64)>,
    /// Granted writers: since when, and whether an indexer.
    pub state: BTreeMap<u8, (Option<Place>, bool)>,
    /// Batches placed before the tail, as first entries.
    pub before_tail: BTreeSet<(u8, u64)>,
}

struct Walk<'a> {
    batches: &'a [Batch],
    rules: Rules,
    state: BTreeMap<u8, (Option<Place>, bool)>,
    counted: BTreeSet<(u8, u64)>,
    placed: u128,
}

pub fn walk(batches: &[Batch], ready: &[Option<Ready>], rules: Rules) -> Walked {
    let mut linear: Vec<(Place, usize)> =
        ready.iter().enumerate().filter_map(|(i, r)| r.as_ref().map(|r| (r.place, i))).collect();
    linear.sort_unstable();
    let state = BTreeMap::from([(CREATOR, (None, true))]);
    let mut walk = Walk { batches, rules, state, counted: BTreeSet::new(), placed: 0 };
    let mut last = None;
    // The first in the linear order, later than the last taken, whose writer is an indexer in the present state.
    while let Some((place, index)) = linear.iter().copied().find(|(place, index)| {
        walk.placed >> index & 1 == 0
            && Some(*place) > last
            && walk.state.get(&place.1).is_some_and(|(_, indexer)| *indexer)
    }) {
        let past = ready[index].as_ref().map_or(0, |r| r.past);
        for (before, i) in &linear {
            if past >> i & 1 == 1 && walk.placed >> i & 1 == 0 {
                walk.place(*before, *i, true);
            }
        }
        walk.place(place, index, true);
        last = Some(place);
    }
    let (state, placed) = (walk.state.clone(), walk.placed);
    for (place, index) in &linear {
        if walk.placed >> index & 1 == 0 {
            walk.place(*place, *index, rules.apply);
        }
    }
    let before_tail = members(placed).map(|i| (batches[i].writer, batches[i].seq)).collect();
    Walked { counted: walk.counted, state, before_tail }
}

impl Walk<'_> {
    fn place(&mut self, place: Place, index: usize, controls_work: bool) {
        let batch = &self.batches[index];
        self.placed |= 1 << index;
        for offset in 0..batch.length {
            let Some((since, indexer)) = self.state.get(&batch.writer).copied() else { continue };
            if !self.rules.apply && since.is_some_and(|since| place <= since) {
                continue;
            }
            self.counted.insert((batch.writer, batch.seq + offset));
            let op = batch.ops.iter().find(|(at, ..)| *at == offset);
            if let Some((_, who, right)) = op
                && controls_work
                && (self.rules.apply || indexer)
            {
                self.change(*who, *right, place);
            }
        }
    }

    fn change(&mut self, who: u8, right: Option<bool>, place: Place) {
        let mut next = self.state.clone();
        match right {
            Some(indexer) => next.entry(who).or_insert((Some(place), indexer)).1 = indexer,
            None => {
                next.remove(&who);
            }
        }
        if next.values().any(|(_, indexer)| *indexer) {
            self.state = next;
        }
    }
}
