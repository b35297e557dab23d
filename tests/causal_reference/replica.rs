//! The code under test, driven as an engine would: batches arrive in any order, wait, are resolved and placed.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use multi_hyperbee::causal::{
    BatchFacts, Control, LinkRule, OrderFeed, OrderState, Past, Placed, PlacedBatch, Readiness, Verdict,
    WalkOutcome, WalkRule, WalkSource, resolve, walk,
};
use multi_hyperbee::types::{Effective, FeedKey, Link, Position};

use super::naive::{Batch, CREATOR, Rules};

pub fn key(writer: u8) -> FeedKey {
    FeedKey([writer; 32])
}

pub fn name(feed: FeedKey) -> u8 {
    feed.0[0]
}

pub fn facts(batch: &Batch) -> BatchFacts {
    let control = |&(offset, who, right): &(u64, u8, Option<bool>)| match right {
        Some(indexer) => Control::Grant { writer: key(who), indexer, seq: batch.seq + offset },
        None => Control::Revoke { writer: key(who), lost: false, seq: batch.seq + offset },
    };
    BatchFacts {
        writer: key(batch.writer),
        seq: batch.seq,
        length: batch.length,
        timestamp: batch.time,
        links: batch
            .links
            .iter()
            .map(|(f, length)| Link { feed: key(*f), length: *length, root: [0; 16] })
            .collect(),
        controls: batch.ops.iter().map(control).collect(),
    }
}

#[derive(Debug, Clone)]
pub struct Row {
    pub seq: u64,
    pub end: u64,
    pub effective: Effective,
    /// Itself included.
    pub past: Past,
    pub read: Vec<(FeedKey, u64)>,
}

/// What a store would hold: rows per feed, in order, looked up by scanning.
#[derive(Debug, Clone, Default)]
pub struct Rows(pub BTreeMap<FeedKey, Vec<Row>>, BTreeMap<(FeedKey, u64), Vec<FeedKey>>);

impl Rows {
    fn of(&self, feed: FeedKey, seq: u64) -> &Row {
        self.0[&feed]
            .iter()
            .find(|row| row.seq <= seq && seq < row.end)
            .expect("only placed entries are asked for")
    }

    fn ending(&self, feed: FeedKey, length: u64) -> &Row {
        self.0[&feed].iter().find(|row| row.end == length).expect("lengths asked for are ends of batches")
    }
}

impl Placed for Rows {
    type Error = Infallible;

    fn length(&self, feed: FeedKey) -> Result<u64, Infallible> {
        Ok(self.0.get(&feed).and_then(|rows| rows.last()).map_or(0, |row| row.end))
    }

    fn batch_end(&self, feed: FeedKey, length: u64) -> Result<u64, Infallible> {
        Ok(self.of(feed, length - 1).end)
    }

    fn past(&self, feed: FeedKey, length: u64) -> Result<Past, Infallible> {
        Ok(self.ending(feed, length).past.clone())
    }

    fn effective(&self, feed: FeedKey, length: u64) -> Result<Effective, Infallible> {
        Ok(self.ending(feed, length).effective)
    }

    fn names(&self, past: &Past, feed: FeedKey) -> Result<bool, Infallible> {
        Ok(self.1.iter().any(|((writer, seq), named)| *seq < past.get(writer) && named.contains(&feed)))
    }
}

impl WalkSource for Rows {
    type Error = Infallible;

    fn batch(&self, feed: FeedKey, seq: u64) -> Result<PlacedBatch, Infallible> {
        let row = self.of(feed, seq);
        Ok(PlacedBatch { seq: row.seq, end: row.end, effective: row.effective })
    }

    fn past(&self, feed: FeedKey, length: u64) -> Result<Past, Infallible> {
        Placed::past(self, feed, length)
    }
}

pub struct Replica {
    pub links: LinkRule,
    rule: WalkRule,
    waiting: Vec<BatchFacts>,
    pub rows: Rows,
    pub state: OrderState,
    pub walks: usize,
    kept: BTreeMap<FeedKey, OrderFeed>,
}

impl Replica {
    pub fn new(rules: Rules) -> Self {
        let rule = if rules.apply { WalkRule::Apply } else { WalkRule::Merge };
        Self {
            links: if rules.open { LinkRule::All } else { LinkRule::Granted { creator: key(CREATOR) } },
            rule,
            waiting: Vec::new(),
            rows: Rows::default(),
            state: OrderState::new(key(CREATOR), rule),
            walks: 0,
            kept: BTreeMap::new(),
        }
    }

    /// A batch arrives; what became ready is placed, each followed by the walk it asks for.
    pub fn deliver(&mut self, batch: &Batch, lazy: bool) {
        self.waiting.push(facts(batch));
        let mut index = 0;
        while index < self.waiting.len() {
            let Ok(readiness) = resolve(&self.waiting[index], self.links, &self.rows);
            match readiness {
                Readiness::Waits { feed, length } => {
                    let Ok(placed) = self.rows.length(feed);
                    assert!(placed < length, "waits for what is there: {feed:?} {length}");
                    index += 1;
                }
                Readiness::Ready { past, effective, read } => {
                    let batch = self.waiting.remove(index);
                    self.place(&batch, past, effective, read, lazy);
                    index = 0;
                }
            }
        }
        self.walk_if_due();
    }

    fn place(
        &mut self,
        batch: &BatchFacts,
        past: Past,
        effective: Effective,
        read: Vec<(FeedKey, u64)>,
        lazy: bool,
    ) {
        let verdict = self.state.place(batch, batch.position(effective), &past);
        self.keep();
        for control in &batch.controls {
            if let Control::Grant { writer, seq, .. } = control {
                self.rows.1.entry((batch.writer, *seq)).or_default().push(*writer);
            }
        }
        let mut whole = past;
        whole.raise(batch.writer, batch.end());
        let row = Row { seq: batch.seq, end: batch.end(), effective, past: whole, read };
        self.rows.0.entry(batch.writer).or_default().push(row);
        match verdict {
            Verdict::Placed { counts } => {
                assert!(!self.state.walk_is_due());
                assert_eq!(counts, self.state.counts(&batch.writer, batch.seq));
            }
            Verdict::WalkDue if lazy => {}
            Verdict::WalkDue => self.walk_if_due(),
        }
    }

    fn walk_if_due(&mut self) {
        if !self.state.walk_is_due() {
            return;
        }
        self.walks += 1;
        let held = entries(self.state.outcome());
        let Ok(before) = self.state.rewalk(&self.rows);
        self.keep();
        let mut now = held;
        for (feed, from, to, counts) in self.state.changes_since(&before) {
            for seq in from..to {
                let fresh =
                    if counts { now.insert((name(feed), seq)) } else { now.remove(&(name(feed), seq)) };
                assert!(fresh, "a change that is none");
            }
        }
        assert_eq!(now, entries(self.state.outcome()), "the changes lead from what counted to what counts");
    }

    /// Keeps what is said to have changed, and that alone; all that is kept gives the state back.
    fn keep(&mut self) {
        for feed in self.state.take_touched() {
            match self.state.feed(&feed) {
                nothing if nothing.is_nothing() => self.kept.remove(&feed),
                kept => self.kept.insert(feed, kept),
            };
        }
        let controls = self.state.controls().clone();
        let restored = OrderState::restore(self.state.head(), self.kept.clone(), controls);
        assert_eq!(restored.as_ref(), Ok(&self.state));
    }

    pub fn walk_from_scratch(&self) -> WalkOutcome {
        let Ok(outcome) =
            walk(key(CREATOR), self.rule, self.state.placed(), self.state.controls(), &self.rows);
        outcome
    }

    pub fn place_of(&self, writer: u8, seq: u64) -> Option<Position> {
        let row = self.rows.0.get(&key(writer))?.iter().find(|row| row.seq == seq)?;
        Some(Position { effective: row.effective, writer: key(writer), seq })
    }
}

pub fn entries(outcome: &WalkOutcome) -> BTreeSet<(u8, u64)> {
    let all = outcome.counted.iter().flat_map(|(feed, counted)| counted.iter().map(|(a, b)| (*feed, a, b)));
    all.flat_map(|(feed, from, to)| (from..to).map(move |seq| (name(feed), seq))).collect()
}
