//! The walk that finds out what is final, and how far it has looked ahead: `docs/design/apply.md`, *Looking ahead*.

use crate::apply::{AppliedState, Final};
use crate::causal::{Change, Standing};
use crate::db::error::Failure;
use crate::db::state::DatabaseState;
use crate::fault::{self, Fault};
use crate::store::Read;
use crate::types::{FeedKey, Position};
use std::collections::{BTreeMap, BTreeSet};

/// Steps behind the final part that are final too once all that is owed is declared. In memory only: the next commit
/// goes on from there.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::db) struct Ahead {
    /// Of the final part that they are behind.
    length: u64,
    /// Exclusive.
    end: u64,
    /// The state after them, and what leads to it from that after the final part.
    standing: Standing,
    changes: Vec<Change>,
    /// Who has to be declared lost for that.
    owed: BTreeSet<FeedKey>,
    /// Whose word they are final by, and how much of it there was.
    heard: BTreeMap<FeedKey, u64>,
    /// Who was not heard in one of them, but is lost.
    excused: BTreeMap<FeedKey, u64>,
}

impl Ahead {
    fn new(last: &Final) -> Self {
        Self {
            length: last.length,
            end: last.length,
            standing: last.standing.clone(),
            changes: Vec::new(),
            owed: BTreeSet::new(),
            heard: BTreeMap::new(),
            excused: BTreeMap::new(),
        }
    }

    /// Whether a walk from the final part on would come here too, if the rows are the same.
    fn holds(&self, state: &AppliedState) -> bool {
        let (placed, lost) = (state.cursor.placed(), state.cursor.walk().lost());
        self.length == state.last.length
            && self.heard.iter().all(|(feed, length)| placed.get(feed) >= *length)
            && self
                .excused
                .iter()
                .all(|(feed, length)| placed.get(feed) == *length && lost.contains_key(feed))
    }
}

/// A step of the walk that is through.
pub(super) struct WalkStep {
    /// Exclusive.
    pub end: u64,
    pub taken: Position,
}

/// The indexers of the state before a step, but its author.
#[derive(Default)]
struct Indexers {
    heard: Vec<FeedKey>,
    /// Not heard, but declared lost in the walk, there or elsewhere.
    lost: Vec<FeedKey>,
    /// Not heard: they may still speak.
    silent: Vec<FeedKey>,
}

impl DatabaseState {
    /// Rows of the sequence from this index on are others now.
    pub(super) fn rows_change_from(&mut self, index: u64) {
        if self.ahead.as_ref().is_some_and(|ahead| index < ahead.end) {
            self.ahead = None;
        }
    }

    /// The first step that ends after index `from`, before the tail.
    pub(super) fn step_after(
        &self,
        txn: &impl Read,
        state: &AppliedState,
        from: u64,
    ) -> Result<Option<WalkStep>, Failure> {
        let end = state.cursor.tail_start().unwrap_or_else(|| state.cursor.index());
        let source = self.source(txn, &[]);
        for index in from..end {
            let row = source.row(index)?.placement;
            if row.taken {
                return Ok(Some(WalkStep { end: index + 1, taken: row.turn.at }));
            }
        }
        Ok(None)
    }

    /// Who has been heard at or after a step's batch. `said`: where the last batch of a feed stands, as far as asked.
    fn indexers(
        &self,
        txn: &impl Read,
        state: &AppliedState,
        before: &Standing,
        taken: Position,
        said: &mut BTreeMap<FeedKey, Option<Position>>,
    ) -> Result<Indexers, Failure> {
        let mut found = Indexers::default();
        for feed in before.members().indexers().filter(|feed| *feed != taken.writer) {
            let last = match said.get(&feed) {
                Some(last) => *last,
                None => self.last_heard(txn, state.cursor.placed(), feed)?,
            };
            said.insert(feed, last);
            let is_lost = state.cursor.walk().lost().contains_key(&feed);
            match last {
                Some(last) if last >= taken => found.heard.push(feed),
                _ if is_lost => found.lost.push(feed),
                _ => found.silent.push(feed),
            }
        }
        if fault::is(Fault::EarlyFinal) {
            found.silent.pop();
        }
        Ok(found)
    }

    /// Moves the final part on as far as everybody has been heard, or was declared lost by something that is final with
    /// it: what only says so in a step that may still move excuses nobody. Notes who is waited for.
    pub(super) fn finalize(&mut self, txn: &impl Read, state: &mut AppliedState) -> Result<(), Failure> {
        let kept = self.ahead.take().filter(|ahead| ahead.holds(state));
        let mut ahead = kept.unwrap_or_else(|| Ahead::new(&state.last));
        #[cfg(test)]
        let from = ahead.end;
        let waiting = self.look_ahead(txn, state, &mut ahead)?;
        #[cfg(test)]
        {
            self.walked += ahead.end - from;
        }
        self.ahead = Some(ahead);
        self.waiting_for = match waiting {
            Some(silent) => silent,
            None if state.cursor.index() == state.last.length => Vec::new(),
            // Nothing stands there, or only what no indexer has spoken after: that needs any of them.
            None => {
                let walk = state.cursor.walk();
                walk.members().indexers().filter(|feed| !walk.lost().contains_key(feed)).collect()
            }
        };
        Ok(())
    }

    /// Goes on from `ahead`. Returns who is waited for, if it stops before the end.
    fn look_ahead(
        &self,
        txn: &impl Read,
        state: &mut AppliedState,
        ahead: &mut Ahead,
    ) -> Result<Option<Vec<FeedKey>>, Failure> {
        let source = self.source(txn, &[]);
        let mut said = BTreeMap::new();
        while let Some(step) = self.step_after(txn, state, ahead.end)? {
            let Indexers { heard, lost, silent } =
                self.indexers(txn, state, &ahead.standing, step.taken, &mut said)?;
            if !silent.is_empty() {
                return Ok(Some(silent));
            }
            let placed = state.cursor.placed();
            ahead.heard.extend(heard.into_iter().map(|feed| (feed, placed.get(&feed))));
            ahead.excused.extend(lost.iter().map(|feed| (*feed, placed.get(feed))));
            ahead.owed.extend(lost);
            for index in ahead.end..step.end {
                for change in source.row(index)?.placement.changes {
                    if change.lost.is_some() {
                        ahead.owed.remove(&change.feed);
                    }
                    ahead.standing.redo(&change);
                    ahead.changes.push(change);
                }
            }
            ahead.end = step.end;
            if ahead.owed.is_empty() {
                ahead.changes.drain(..).for_each(|change| state.last.standing.redo(&change));
                (state.last.length, state.last.at) = (ahead.end, Some(step.taken));
                ahead.length = ahead.end;
                ahead.heard.clear();
                ahead.excused.clear();
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use crate::db::{
        Append, Asked, DatabaseOptions, Db, Done, DoneBatch, Location, Next, Peer, PeerOptions, Store,
        StoreOptions, Transport,
    };
    use crate::types::FeedKey;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    const GRANT: u8 = 1;
    const LOSS: u8 = 2;

    struct Device {
        store: Store,
        db: Db,
    }

    /// What `apply` makes of values: the first byte says what is asked for, the rest for whom.
    fn apply<'a>(values: impl Iterator<Item = &'a Vec<u8>>) -> DoneBatch {
        let asked = values.filter_map(|value| {
            let writer = FeedKey::try_from(value.get(1..)?).ok()?;
            match *value.first()? {
                GRANT => Some(Asked::Grant { writer, indexer: true }),
                LOSS => Some(Asked::Revoke { writer, lost: true }),
                _ => None,
            }
        });
        DoneBatch { asked: asked.collect(), ..DoneBatch::default() }
    }

    impl Device {
        fn new(key: Option<FeedKey>) -> Self {
            let store = Store::open(&Location::Memory, &StoreOptions::default()).unwrap();
            let options = DatabaseOptions {
                key,
                key_encoding: "binary".into(),
                value_encoding: "binary".into(),
                apply: true,
                ..DatabaseOptions::default()
            };
            let db = store.database(options).wait().unwrap();
            assert!(db.claim_apply().unwrap());
            Self { store, db }
        }

        fn local(&self) -> FeedKey {
            self.db.info().unwrap().local
        }

        /// As many batches of these values.
        fn append(&self, count: usize, values: &[Vec<u8>]) {
            let append = Append { optimistic: false, values: values.to_vec() };
            let step = self.db.stage(vec![append; count]).wait().unwrap();
            let Next::Piece(piece) = step.next else { panic!("{step:?}") };
            assert_eq!((piece.staged, piece.batches.len()), (true, count));
            let batches = vec![apply(values.iter()); count];
            let done = Done { generation: piece.generation, batches };
            assert_eq!(self.db.apply_step(false, Some(done)).wait().unwrap().appended.len(), count);
        }

        fn drain(&self) {
            let mut done = None;
            loop {
                match self.db.apply_step(true, done.take()).wait().unwrap().next {
                    Next::Idle => return,
                    Next::Wait(_) => std::thread::sleep(Duration::from_millis(1)),
                    Next::Piece(piece) => {
                        let mut batches = Vec::new();
                        for batch in &piece.batches {
                            batches.push(apply(batch.values.iter().map(|(_, value)| value)));
                            if batches.last().is_some_and(|done| !done.asked.is_empty()) {
                                break;
                            }
                        }
                        done = Some(Done { generation: piece.generation, batches });
                    }
                }
            }
        }

        fn placed(&self) -> u64 {
            self.db.finality().unwrap().placed
        }

        fn walked(&self) -> u64 {
            let id = self.db.inner().unwrap().open.id;
            let job = self.store.shared().unwrap().job(move |work| Ok(work.database(id)?.walked));
            job.wait().unwrap()
        }
    }

    fn peer(device: &Device, transport: Transport) -> Peer {
        let wake = Arc::new(|| {});
        let options =
            PeerOptions { transport, live: true, download: true, upload: true, user_data: Vec::new(), wake };
        device.db.replicate(options).unwrap()
    }

    /// Both have placed as many batches.
    fn meet(a: &Device, b: &Device, count: u64) {
        let (here, there) = (peer(a, Transport::Initiator), peer(b, Transport::Responder));
        let start = Instant::now();
        while a.placed() != count || b.placed() != count {
            assert!(start.elapsed() < Duration::from_mins(1), "{} {}", a.placed(), b.placed());
            for (from, to) in [(&here, &there), (&there, &here)] {
                while let Some(bytes) = from.pull(1 << 16) {
                    to.receive(&bytes).unwrap();
                }
            }
            a.drain();
            b.drain();
        }
        here.close();
        there.close();
    }

    /// What ten commits go over, where so many steps wait for a declaration that waits for another.
    fn walked_with(pending: usize) -> u64 {
        let (a, word) = (Device::new(None), [b"x".to_vec()]);
        let (b, c) = (Device::new(Some(a.local())), Device::new(Some(a.local())));
        let about = |what: u8, whom: &Device| [&[what][..], whom.local().as_bytes()].concat();
        a.append(1, &[about(GRANT, &b), about(GRANT, &c)]);
        for _ in 0..pending / 500 {
            a.append(500, &word);
        }
        let count = 2 + pending as u64;
        meet(&a, &b, count);
        b.append(1, &word);
        meet(&a, &b, count + 1);
        assert_eq!(a.db.finality().unwrap().length, 2);

        let before = a.walked();
        a.append(1, &[about(LOSS, &c)]);
        assert_eq!(a.walked() - before, pending as u64 + 1, "up to what the other has said");
        let finality = a.db.finality().unwrap();
        assert_eq!((finality.length, finality.waiting_for), (2, vec![b.local()]));
        let before = a.walked();
        (0..10).for_each(|_| a.append(1, &word));
        let walked = a.walked() - before;

        meet(&a, &b, count + 12);
        b.append(1, &word);
        meet(&a, &b, count + 13);
        // Who was not there meanwhile finds the same: all but its own last word, which nobody has spoken after.
        assert_eq!(
            (a.db.finality().unwrap().length, b.db.finality().unwrap().length),
            (count + 12, count + 12)
        );
        walked
    }

    #[test]
    fn a_declaration_that_waits_costs_a_commit_nothing_for_what_waits_with_it() {
        assert_eq!(walked_with(500), 0);
        assert_eq!(walked_with(5_000), 0);
    }
}
