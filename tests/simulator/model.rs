//! What a replica must show: a function of the blocks it has and the feeds it added, written from the design document
//! alone. Slow and direct; of the code under test it uses entries' bytes and the newtypes, nothing else.

use super::fold::{Key, Kind};
use super::links::Links;
use multi_hyperbee::entry::{BatchHead, Change, Entry, Op, Place};
use multi_hyperbee::types::{Effective, FeedKey, Link, Position, Stamp};
use std::collections::{BTreeMap, BTreeSet};

struct Batch {
    writer: FeedKey,
    seq: u64,
    time: u64,
    links: Vec<(FeedKey, u64)>,
    entries: Vec<Item>,
}

enum Item {
    /// A writer, and what it gets: to be an indexer or not; none: its revoke.
    Control(FeedKey, Option<bool>),
    Diff {
        key: Vec<u8>,
        prev: Option<Stamp>,
        kind: Kind,
    },
    Nothing,
}

type Lengths = BTreeMap<FeedKey, u64>;

struct Ready {
    position: Position,
    /// How much of each feed it has seen.
    past: Lengths,
}

/// A live key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub value: String,
    pub register: bool,
    pub stamp: Stamp,
    pub prev: Option<Stamp>,
    pub state: u64,
}

/// All that a replica shows and that follows from its blocks.
#[derive(Debug, Default)]
pub struct Expected {
    pub view: BTreeMap<Vec<u8>, Row>,
    /// Entries placed, of each feed.
    pub placed: Lengths,
    /// Entries that count by the walk.
    pub counted: BTreeSet<(FeedKey, u64)>,
    /// Granted writers; true: an indexer.
    pub writers: BTreeMap<FeedKey, bool>,
}

/// The right that a writer has where its next batch stands, which has all in its past that counts: what it said of itself
/// may act only then. None: that batch counts nowhere. True: it is an indexer's.
pub fn right_of_next(
    database: FeedKey,
    mut feeds: BTreeMap<FeedKey, Vec<Vec<u8>>>,
    links: &Links,
    writer: FeedKey,
) -> Option<bool> {
    let now = expect(database, &feeds, links, &Lengths::new());
    let counts = |feed: &FeedKey| *feed != writer && now.counted.iter().any(|(of, _)| of == feed);
    let seen = now.placed.iter().filter(|(feed, _)| counts(feed));
    let seen = seen.map(|(feed, length)| Link { feed: *feed, length: *length, root: [0; 16] }).collect();
    let head = BatchHead { timestamp: 0, length: 1, links: seen, optimistic: false };
    let mut block = Vec::new();
    Entry { place: Place::First(head), op: Op::Acknowledgement }.encode_into(&mut block);
    feeds.entry(writer).or_default().push(block);
    expect(database, &feeds, links, &Lengths::new()).writers.get(&writer).copied()
}

/// `chosen`: how much of a feed counts by this replica's own choice.
pub fn expect(
    database: FeedKey,
    feeds: &BTreeMap<FeedKey, Vec<Vec<u8>>>,
    links: &Links,
    chosen: &Lengths,
) -> Expected {
    let batches: Vec<Batch> =
        feeds.iter().flat_map(|(key, blocks)| batches(database, *key, blocks, links)).collect();
    let ready = ready(database, &batches);
    let mut placed = Lengths::new();
    let mut linear = Vec::new();
    for (index, ready) in ready.iter().enumerate() {
        if let Some(ready) = ready {
            let batch = &batches[index];
            let length = placed.entry(batch.writer).or_default();
            *length = (*length).max(batch.seq + batch.entries.len() as u64);
            linear.push((ready.position, index));
        }
    }
    linear.sort_unstable();
    let mut walk = Walk {
        batches: &batches,
        state: BTreeMap::from([(database, (None, true))]),
        counted: BTreeSet::new(),
        done: BTreeSet::new(),
    };
    walk.run(&ready, &linear);
    let counts = |writer: FeedKey, seq: u64| {
        walk.counted.contains(&(writer, seq)) || chosen.get(&writer).is_some_and(|length| seq < *length)
    };
    let mut keys: BTreeMap<&[u8], Key> = BTreeMap::new();
    for (position, index) in &linear {
        for (item, seq) in batches[*index].entries.iter().zip(position.seq..) {
            if let Item::Diff { key, prev, kind } = item
                && counts(position.writer, seq)
            {
                keys.entry(key).or_default().fold(Position { seq, ..*position }, *prev, kind);
            }
        }
    }
    let view = keys.into_iter().filter_map(|(key, state)| {
        let (value, register) = state.value()?;
        let value = if register { format!("{value:?}") } else { String::from_utf8(value).unwrap() };
        let row = Row { value, register, stamp: state.stamp()?, prev: state.prev, state: state.id() };
        Some((key.to_vec(), row))
    });
    Expected {
        view: view.collect(),
        placed,
        writers: walk.state.iter().map(|(writer, (_, indexer))| (*writer, *indexer)).collect(),
        counted: walk.counted,
    }
}

/// The complete batches of a feed.
fn batches(database: FeedKey, writer: FeedKey, blocks: &[Vec<u8>], links: &Links) -> Vec<Batch> {
    let mut found: Vec<Batch> = Vec::new();
    let mut wanted = 0;
    for (block, seq) in blocks.iter().zip(0..) {
        let Entry { place, op } = Entry::decode(block).unwrap();
        if let Place::First(head) = place {
            assert_eq!(wanted, 0, "a batch begins inside a batch");
            wanted = head.length;
            let links = head.links.iter().map(|link| (link.feed, links.length(link))).collect();
            found.push(Batch { writer, seq, time: head.timestamp, links, entries: Vec::new() });
        }
        wanted -= 1;
        found.last_mut().unwrap().entries.push(match op {
            Op::Grant { database: of, writer, indexer } if of == database => {
                Item::Control(writer, Some(indexer))
            }
            Op::Revoke { database: of, writer, .. } if of == database => Item::Control(writer, None),
            Op::Diff(diff) => Item::Diff {
                key: diff.key.to_vec(),
                prev: diff.prev,
                kind: match diff.change {
                    Change::List(text) => Kind::List(serde_json::from_str(text).unwrap()),
                    Change::Register(bytes) => Kind::Register(bytes.to_vec()),
                    Change::Delete => Kind::Delete,
                },
            },
            _ => Item::Nothing,
        });
    }
    if wanted > 0 {
        found.pop();
    }
    found
}

/// Per batch, where it stands, or none if it waits: the least fixpoint.
fn ready(database: FeedKey, batches: &[Batch]) -> Vec<Option<Ready>> {
    let mut found: Vec<Option<Ready>> = batches.iter().map(|_| None).collect();
    loop {
        let mut progress = false;
        for index in 0..batches.len() {
            if found[index].is_none() {
                found[index] = try_ready(database, batches, &found, index);
                progress |= found[index].is_some();
            }
        }
        if !progress {
            return found;
        }
    }
}

fn try_ready(database: FeedKey, batches: &[Batch], found: &[Option<Ready>], index: usize) -> Option<Ready> {
    let batch = &batches[index];
    let mut past = Lengths::new();
    let mut greatest: Option<Effective> = None;
    // Takes over the past of the batch that holds this entry, and that batch to its end.
    let mut follow = |writer: FeedKey, seq: u64, past: &mut Lengths| -> Option<()> {
        let holds = |b: &Batch| b.writer == writer && (b.seq..b.seq + b.entries.len() as u64).contains(&seq);
        let at = batches.iter().position(holds)?;
        let ready = found[at].as_ref()?;
        greatest = greatest.max(Some(ready.position.effective));
        let end = (writer, batches[at].seq + batches[at].entries.len() as u64);
        for (feed, length) in ready.past.iter().map(|(feed, length)| (*feed, *length)).chain([end]) {
            let known = past.entry(feed).or_default();
            *known = length.max(*known);
        }
        Some(())
    };
    if batch.seq > 0 {
        follow(batch.writer, batch.seq - 1, &mut past)?;
    }
    let mut read = BTreeSet::new();
    while let Some((feed, length)) = batch
        .links
        .iter()
        .find(|(feed, _)| !read.contains(feed) && (*feed == database || is_granted_in(batches, &past, *feed)))
    {
        follow(*feed, length - 1, &mut past)?;
        read.insert(*feed);
    }
    let effective = match greatest {
        Some(seen) if batch.time <= seen.time => Effective { time: seen.time, tick: seen.tick + 1 },
        _ => Effective { time: batch.time, tick: 0 },
    };
    Some(Ready { position: Position { effective, writer: batch.writer, seq: batch.seq }, past })
}

fn is_granted_in(batches: &[Batch], past: &Lengths, feed: FeedKey) -> bool {
    let seen = batches.iter().filter(|b| past.get(&b.writer).is_some_and(|length| b.seq < *length));
    seen.flat_map(|b| &b.entries).any(|item| matches!(item, Item::Control(who, Some(_)) if *who == feed))
}

struct Walk<'a> {
    batches: &'a [Batch],
    /// Who is granted, since when, and whether an indexer.
    state: BTreeMap<FeedKey, (Option<Position>, bool)>,
    counted: BTreeSet<(FeedKey, u64)>,
    done: BTreeSet<usize>,
}

impl Walk<'_> {
    fn run(&mut self, ready: &[Option<Ready>], linear: &[(Position, usize)]) {
        let mut last = None;
        while let Some((position, index)) = linear.iter().copied().find(|(position, index)| {
            !self.done.contains(index)
                && Some(*position) > last
                && self.state.get(&position.writer).is_some_and(|(_, indexer)| *indexer)
        }) {
            let past = &ready[index].as_ref().unwrap().past;
            for (before, at) in linear {
                if past.get(&before.writer).is_some_and(|length| before.seq < *length)
                    && !self.done.contains(at)
                {
                    self.place(*before, *at, true);
                }
            }
            self.place(position, index, true);
            last = Some(position);
        }
        for (position, index) in linear {
            if !self.done.contains(index) {
                self.place(*position, *index, false);
            }
        }
    }

    fn place(&mut self, position: Position, index: usize, before_tail: bool) {
        self.done.insert(index);
        for (item, seq) in self.batches[index].entries.iter().zip(position.seq..) {
            let Some((since, indexer)) = self.state.get(&position.writer).copied() else { continue };
            if since.is_some_and(|since| position <= since) {
                continue;
            }
            self.counted.insert((position.writer, seq));
            if let Item::Control(who, right) = item
                && before_tail
                && indexer
            {
                self.change(*who, *right, position);
            }
        }
    }

    fn change(&mut self, who: FeedKey, right: Option<bool>, position: Position) {
        let mut next = self.state.clone();
        match right {
            Some(indexer) => next.entry(who).or_insert((Some(position), indexer)).1 = indexer,
            None => drop(next.remove(&who)),
        }
        // A change that would leave no indexer has no effect.
        if next.values().any(|(_, indexer)| *indexer) {
            self.state = next;
        }
    }
}
