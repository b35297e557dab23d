//! The code under test, pure: a cursor over what is kept of a sequence, driven as an engine would.

use super::apply_fn::{self, Ask};
use super::history::key;
use super::naive::{self, Batch, Fate, Place, Ready, View};
use multi_hyperbee::causal::{
    Control, Cursor, Past, PlacedBatch, Placement, Plan, Sequence, Standing, Turn, WalkSource,
};
use multi_hyperbee::types::{Effective, FeedKey, Position};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

/// One position, as an engine keeps it.
#[derive(Debug, Clone)]
struct Kept {
    placement: Placement,
    fate: Fate,
    view: View,
    standing: Standing,
}

#[derive(Debug, Clone)]
struct Row {
    seq: u64,
    end: u64,
    effective: Effective,
    past: Past,
    values: Vec<String>,
    optimistic: bool,
}

#[derive(Default)]
struct Rows {
    feeds: BTreeMap<FeedKey, Vec<Row>>,
    kept: Vec<Kept>,
}

impl Rows {
    fn of(&self, feed: FeedKey, seq: u64) -> &Row {
        self.feeds[&feed]
            .iter()
            .find(|row| (row.seq..row.end).contains(&seq))
            .expect("only what is ready is asked for")
    }
}

impl WalkSource for Rows {
    type Error = Infallible;

    fn batch(&self, feed: FeedKey, seq: u64) -> Result<PlacedBatch, Infallible> {
        let Row { seq, end, effective, .. } = *self.of(feed, seq);
        Ok(PlacedBatch { seq, end, effective })
    }

    fn past(&self, feed: FeedKey, length: u64) -> Result<Past, Infallible> {
        let row = self.of(feed, length - 1);
        assert_eq!(row.end, length, "lengths asked for are ends of batches");
        Ok(row.past.clone())
    }
}

impl Sequence for Rows {
    fn placement(&self, index: u64) -> Result<Placement, Infallible> {
        Ok(self.kept[usize::try_from(index).unwrap()].placement.clone())
    }
}

pub struct Replica {
    here: Vec<Batch>,
    rows: Rows,
    ready: Past,
    cursor: Cursor,
    /// Batches that `apply` was shown.
    pub applications: usize,
}

pub fn place_of(position: Position) -> Place {
    ((position.effective.time, position.effective.tick), position.writer, position.seq)
}

impl Replica {
    pub fn new() -> Self {
        let cursor = Cursor::new(key(0));
        let (here, rows, ready) = (Vec::new(), Rows::default(), Past::new());
        Self { here, rows, ready, cursor, applications: 0 }
    }

    pub fn deliver(&mut self, batch: &Batch) {
        self.here.push(batch.clone());
    }

    /// The kept sequence as (writer, seq).
    pub fn order(&self) -> Vec<(FeedKey, u64)> {
        self.rows
            .kept
            .iter()
            .map(|kept| (kept.placement.turn.at.writer, kept.placement.turn.at.seq))
            .collect()
    }

    pub fn fates(&self) -> Vec<Fate> {
        self.rows.kept.iter().map(|kept| kept.fate).collect()
    }

    pub fn view(&self) -> View {
        self.rows.kept.last().map(|kept| kept.view.clone()).unwrap_or_default()
    }

    pub fn is_granted(&self, feed: FeedKey) -> bool {
        self.cursor.standing().members().get(&feed).is_some()
    }

    /// Places what is ready, up to `budget` batches, against the reference. True if nothing is left.
    pub fn wave(&mut self, budget: usize, resume: bool) -> bool {
        let ready = naive::ready(&self.here);
        self.take_ready(&ready);
        let expected = naive::walk(&self.here, &ready, key(0));
        let order: Vec<(FeedKey, u64)> =
            expected.positions.iter().map(|p| (self.here[p.batch].writer, self.here[p.batch].seq)).collect();
        let before = self.order();
        let Ok(divergence) = self.cursor.divergence(&self.ready, &self.rows);
        let shared = before.iter().zip(&order).take_while(|(a, b)| a == b).count();
        let index = usize::try_from(divergence.cursor.index()).unwrap();
        assert_eq!(index, shared, "where {before:?} becomes {order:?}");
        self.rows.kept.truncate(index);
        for (index, taken) in divergence.retaken {
            self.rows.kept[usize::try_from(index).unwrap()].placement.taken = taken;
        }
        self.cursor = divergence.cursor;
        self.go_on(budget, resume);
        self.check(&expected, &order)
    }

    fn take_ready(&mut self, ready: &[Option<Ready>]) {
        self.rows.feeds.clear();
        self.ready = Past::new();
        let mut all: Vec<(&Batch, &Ready)> =
            self.here.iter().zip(ready).filter_map(|(b, r)| Some((b, r.as_ref()?))).collect();
        all.sort_by_key(|(batch, _)| batch.seq);
        for (batch, ready) in all {
            let end = batch.seq + batch.length;
            let inside = self.here.iter().enumerate().filter(|(i, _)| ready.past.has(*i));
            let mut past: Past = inside.map(|(_, b)| (b.writer, b.seq + b.length)).collect();
            past.raise(batch.writer, end);
            self.ready.raise(batch.writer, end);
            let (time, tick) = ready.place.0;
            let (seq, effective) = (batch.seq, Effective { time, tick });
            let (values, optimistic) = (batch.values.clone(), batch.optimistic);
            let row = Row { seq, end, effective, past, values, optimistic };
            self.rows.feeds.entry(batch.writer).or_default().push(row);
        }
    }

    fn go_on(&mut self, budget: usize, resume: bool) {
        let mut plan = Plan::default();
        for _ in 0..budget {
            if resume {
                let mut feeds = BTreeSet::new();
                self.cursor.changed_since(None, &mut feeds);
                let feeds = feeds.iter().map(|feed| (*feed, self.cursor.kept(feed))).collect();
                let again = Cursor::restore(self.cursor.kept_head(), &feeds).unwrap();
                assert_eq!(again, self.cursor);
                plan = Plan::default();
            }
            let Ok(turn) = self.cursor.next(&self.ready, &mut plan, &self.rows);
            let Some(turn) = turn else { return };
            self.place(turn, &mut plan);
        }
    }

    fn place(&mut self, turn: Turn, plan: &mut Plan) {
        let Row { values, optimistic, past, .. } = self.rows.of(turn.at.writer, turn.at.seq).clone();
        let view = self.view();
        let is_granted = self.is_granted(turn.at.writer);
        let may_ask = optimistic && !self.cursor.standing().lost().contains_key(&turn.at.writer);
        let taken = self.cursor.place(turn, plan);
        let (mut changes, mut after) = (Vec::new(), view.clone());
        let fate = if !is_granted && (!may_ask || values.is_empty()) {
            Fate::Ignored
        } else if values.is_empty() {
            Fate::Silent
        } else {
            self.applications += 1;
            match apply_fn::apply(&values, !is_granted, |key| view.get(key).cloned()) {
                None => Fate::Rejected,
                Some(done) => {
                    for ask in done.asks {
                        let seq = turn.at.seq;
                        let (control, promised) = match ask {
                            Ask::Grant(writer, indexer) => (Control::Grant { writer, indexer, seq }, 0),
                            Ask::Revoke(writer) => {
                                (Control::Revoke { writer, lost: false, seq }, past.get(&writer))
                            }
                            Ask::Lost(writer) => {
                                (Control::Revoke { writer, lost: true, seq }, past.get(&writer))
                            }
                        };
                        changes.extend(self.cursor.change(&control, turn.at, promised));
                    }
                    for (key, value) in done.writes {
                        match value {
                            Some(value) => drop(after.insert(key, value)),
                            None => drop(after.remove(&key)),
                        }
                    }
                    Fate::Applied
                }
            }
        };
        let placement = Placement { turn, taken, changes };
        let standing = self.cursor.standing().clone();
        self.rows.kept.push(Kept { placement, fate, view: after, standing });
    }

    fn check(&self, expected: &naive::Walked, order: &[(FeedKey, u64)]) -> bool {
        let kept = &self.rows.kept;
        assert_eq!(self.order(), order[..kept.len()], "the order");
        assert_eq!(self.cursor.index(), kept.len() as u64);
        for (index, (kept, expected)) in kept.iter().zip(&expected.positions).enumerate() {
            assert_eq!(kept.fate, expected.fate, "the outcome at {index}");
            assert_eq!(kept.view, expected.view, "the view after {index}");
            assert_eq!(kept.placement.taken, expected.taken, "whether {index} ends a step");
            assert_eq!(naive_standing(&kept.standing), expected.standing, "who is granted after {index}");
        }
        let is_through = kept.len() == order.len();
        let steps = expected.steps.last().map_or(0, |step| step.end);
        if is_through {
            assert_eq!(naive_standing(self.cursor.walk()), expected.end);
            assert_eq!(self.cursor.last_taken().map(place_of), expected.steps.last().map(|step| step.taken));
            assert!(self.cursor.open_step().is_none());
        }
        let tail = self.cursor.tail_start();
        assert!(tail.is_none_or(|start| start == steps as u64), "the tail begins at {tail:?}, not {steps}");
        assert!(kept.len() <= steps || tail.is_some());
        is_through
    }
}

fn naive_standing(standing: &Standing) -> naive::Standing {
    let members = standing.members().iter().map(|(feed, m)| (feed, (m.since.map(place_of), m.indexer)));
    naive::Standing { members: members.collect(), lost: standing.lost().clone() }
}
