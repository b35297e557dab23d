//! A store with one apply-mode database, its clock, and whoever runs its `apply`; and what must hold of it at any time.

use super::apply_fn::{self, Ask};
use super::naive::{self, Batch, Fate, View};
use multi_hyperbee::apply::Outcome;
use multi_hyperbee::db::{
    Append, Asked, Code, DatabaseOptions, Db, Done, DoneBatch, Location, Next, Piece, PieceBatch, Range,
    SequenceEntry, Store, StoreOptions, WallClock,
};
use multi_hyperbee::types::FeedKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How far an answer to a piece goes.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    All,
    /// As if `apply` failed after so many.
    First(u8),
    /// It is never answered.
    Never,
    /// It is answered after the next one was handed out.
    Late,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub applications: u64,
    pub undos: u64,
}

pub struct Device {
    directory: tempfile::TempDir,
    pub clock: Arc<AtomicU64>,
    options: DatabaseOptions,
    open: Option<(Store, Db)>,
    /// What was final, as (writer, seq).
    last: Vec<(FeedKey, u64)>,
    snapshots: BTreeMap<u64, View>,
    version: u64,
    pub counts: Counts,
    /// What one application takes, in ms.
    pub cost: u64,
    late: Option<Done>,
}

pub fn options(key: Option<FeedKey>) -> DatabaseOptions {
    let encoding = || "binary".to_owned();
    let (key_encoding, value_encoding) = (encoding(), encoding());
    DatabaseOptions {
        key,
        key_encoding,
        value_encoding,
        apply: true,
        optimistic: key.is_none(),
        ..crate::support::database()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

impl Device {
    /// `now`: its clock, in ms since 1970.
    pub fn new(key: Option<FeedKey>, now: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicU64::new(now));
        let (last, snapshots) = (Vec::new(), BTreeMap::new());
        let (options, counts) = (options(key), Counts::default());
        let mut device = Self {
            directory,
            clock,
            options,
            open: None,
            last,
            snapshots,
            version: 0,
            counts,
            cost: 0,
            late: None,
        };
        device.reopen();
        device.options.key = Some(device.db().info().unwrap().key);
        device.options.optimistic = device.db().info().unwrap().optimistic;
        device
    }

    pub fn db(&self) -> &Db {
        &self.open.as_ref().unwrap().1
    }

    pub fn local(&self) -> FeedKey {
        self.db().info().unwrap().local
    }

    pub fn reopen(&mut self) {
        self.late = None;
        if let Some((store, db)) = self.open.take() {
            db.close().wait().unwrap();
            store.close().wait().unwrap();
        }
        let clock = Arc::clone(&self.clock);
        let clock: WallClock = Arc::new(move || Duration::from_millis(clock.load(Ordering::Relaxed)));
        let location = Location::Path(self.directory.path().to_owned());
        let store =
            Store::open(&location, &StoreOptions { clock: Some(clock), ..Default::default() }).unwrap();
        let mut options = self.options.clone();
        options.name = Some("db".into());
        let db = store.database(options).wait().unwrap();
        assert!(db.claim_apply().unwrap());
        self.open = Some((store, db));
    }

    pub fn pass(&self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    /// Appends one batch, applied at once where that can be and `answer` says so. None: it may not.
    pub fn append(&mut self, values: &[String], optimistic: bool, answer: Answer) -> Option<u64> {
        let bytes: Vec<Vec<u8>> = values.iter().map(|value| value.as_bytes().to_vec()).collect();
        let step = match self.db().stage(vec![Append { optimistic, values: bytes.clone() }]).wait() {
            Ok(step) => step,
            Err(error) => {
                assert!(matches!(error.code, Code::NotWritable | Code::Restored), "{error:?}");
                return None;
            }
        };
        if let Some(length) = step.appended.last() {
            return Some(*length);
        }
        let Next::Piece(mut piece) = step.next else { panic!("{:?}", step.next) };
        assert!(piece.staged && piece.batches.len() == 1);
        piece.batches[0].values = (0..).zip(bytes).collect();
        let done = self.run(&piece, answer)?;
        let step = self.db().apply_step(false, Some(done)).wait().unwrap();
        Some(*step.appended.last().unwrap())
    }

    /// Takes one piece, and answers it. False: there is nothing to do now.
    pub fn step(&mut self, force: bool, answer: Answer) -> bool {
        let mut next = self.db().apply_step(force, None).wait().unwrap().next;
        if let (Next::Piece(_), Some(late)) = (&next, self.late.take()) {
            // An answer to another piece: nothing may come of it.
            next = self.db().apply_step(force, Some(late)).wait().unwrap().next;
        }
        match next {
            Next::Idle => false,
            Next::Wait(time) => {
                assert!(time <= Duration::from_hours(1), "{time:?}");
                false
            }
            Next::Piece(piece) => {
                let Some(done) = self.run(&piece, answer) else { return true };
                self.db().apply_step(force, Some(done)).wait().unwrap();
                true
            }
        }
    }

    /// Applies whatever there is, while time passes.
    pub fn drain(&mut self) {
        for _ in 0..10_000 {
            let step = self.db().apply_step(true, None).wait().unwrap();
            match step.next {
                Next::Idle => return,
                Next::Wait(time) => self.pass(u64::try_from(time.as_millis()).unwrap() + 1),
                Next::Piece(piece) => {
                    let done = self.run(&piece, Answer::All).unwrap();
                    self.db().apply_step(true, Some(done)).wait().unwrap();
                }
            }
        }
        panic!("this never ends")
    }

    pub fn run(&mut self, piece: &Piece, answer: Answer) -> Option<Done> {
        let limit = match answer {
            Answer::All => usize::MAX,
            Answer::First(count) => usize::from(count),
            Answer::Never => return None,
            Answer::Late => {
                self.late = self.run(piece, Answer::All);
                return None;
            }
        };
        self.counts.undos += u64::from(piece.undone > 0);
        let mut overlay: BTreeMap<String, Option<String>> = BTreeMap::new();
        let mut batches = Vec::new();
        for batch in piece.batches.iter().take(limit) {
            self.counts.applications += 1;
            self.pass(self.cost);
            let read = |key: &str| {
                let stored = || self.db().get_entry(key.as_bytes(), Some(piece.version)).unwrap();
                overlay.get(key).cloned().unwrap_or_else(|| stored().map(|entry| text(&entry.value)))
            };
            let values: Vec<String> = batch.values.iter().map(|(_, value)| text(value)).collect();
            let done = apply_fn::apply(&values, batch.optimistic, read);
            let changes = done.as_ref().is_some_and(|done| !done.asks.is_empty());
            batches.push(done_batch(done.as_ref()));
            overlay.extend(done.unwrap_or_default().writes);
            if changes {
                break;
            }
        }
        Some(Done { generation: piece.generation, batches })
    }

    pub fn view_at(&self, version: Option<u64>) -> View {
        let mut scan = self.db().scan(Range::default(), version).unwrap();
        let mut view = View::new();
        while scan
            .visit(100, 1 << 20, |row| {
                let entry = row.to_entry();
                view.insert(text(&entry.key), text(&entry.value));
            })
            .unwrap()
        {}
        view
    }

    pub fn sequence(&self) -> Vec<SequenceEntry> {
        let mut all = Vec::new();
        let keep = |entry: &SequenceEntry| {
            all.push(entry.clone());
            true
        };
        self.db().sequence(0, u64::MAX, keep).unwrap();
        all
    }

    pub fn remember(&mut self) {
        let version = self.db().status().unwrap().version;
        let view = self.view_at(Some(version));
        self.snapshots.insert(version, view);
    }

    /// Versions only grow, what was read at one stays, and what was final stays where it is.
    pub fn check(&mut self) {
        let version = self.db().status().unwrap().version;
        assert!(version >= self.version, "version {} became {version}", self.version);
        self.version = version;
        for (version, view) in &self.snapshots {
            assert_eq!(&self.view_at(Some(*version)), view, "the view at version {version}");
        }
        let length = usize::try_from(self.db().finality().unwrap().length).unwrap();
        let order: Vec<_> =
            self.sequence().iter().map(|entry| (entry.batch.writer, entry.batch.seq)).collect();
        assert!(length >= self.last.len(), "{} were final, and now {length}", self.last.len());
        assert_eq!(order[..self.last.len()], self.last, "what was final moved");
        self.last = order[..length].to_vec();
    }

    /// The whole sequence is what the reference makes of its batches, and so is what is final. `asking`: batches that
    /// are optimistic.
    pub fn check_against_reference(&self, creator: FeedKey, asking: &BTreeSet<(FeedKey, u64)>) {
        let sequence = self.sequence();
        let of = |piece| batch(piece, asking.contains(&(piece.writer, piece.seq)));
        let batches: Vec<Batch> = sequence.iter().map(|entry| of(&entry.batch)).collect();
        let ready = naive::ready(&batches);
        assert!(ready.iter().all(Option::is_some), "something was placed before what it needs");
        let expected = naive::walk(&batches, &ready, creator);
        let order: Vec<usize> = expected.positions.iter().map(|position| position.batch).collect();
        assert_eq!(order, (0..batches.len()).collect::<Vec<_>>(), "the order: {batches:#?}");
        let mut before = View::new();
        let mut granted = BTreeSet::from([creator]);
        for (entry, expected) in sequence.iter().zip(&expected.positions) {
            let outcome = match expected.fate {
                Fate::Ignored => Outcome::Ignored,
                Fate::Applied => Outcome::Applied,
                Fate::Rejected => Outcome::Rejected,
                Fate::Silent => Outcome::Silent,
            };
            assert_eq!(entry.outcome, outcome, "{entry:?}");
            let was_shown = matches!(expected.fate, Fate::Applied | Fate::Rejected);
            let is_stranger = !granted.contains(&entry.batch.writer);
            assert_eq!(entry.batch.optimistic, was_shown && is_stranger, "{entry:?}");
            granted = expected.standing.members.keys().copied().collect();
            assert_eq!(self.view_at(Some(entry.begin)), before, "before {entry:?}");
            assert_eq!(self.view_at(Some(entry.end)), expected.view, "after {entry:?}");
            before.clone_from(&expected.view);
        }
        assert_eq!(self.view_at(None), before);
        let (length, waiting) = naive::finality(&ready, &expected);
        let finality = self.db().finality().unwrap();
        // What was final stays so, whatever a lost indexer says afterwards.
        assert!(finality.length >= length as u64, "{} of {length} are final", finality.length);
        if expected.end.lost.is_empty() {
            assert_eq!(finality.length, length as u64, "{batches:#?}");
            assert_eq!(finality.waiting_for, waiting.into_iter().collect::<Vec<_>>());
        }
    }
}

impl Drop for Device {
    /// Also after a failure: what is tried next needs the room.
    fn drop(&mut self) {
        if let Some((store, db)) = self.open.take() {
            let _ = db.close().wait();
            let _ = store.close().wait();
        }
    }
}

fn done_batch(done: Option<&apply_fn::Done>) -> DoneBatch {
    let Some(done) = done else { return DoneBatch { rejected: true, ..DoneBatch::default() } };
    let asked = done.asks.iter().map(|ask| match *ask {
        Ask::Grant(writer, indexer) => Asked::Grant { writer, indexer },
        Ask::Revoke(writer) => Asked::Revoke { writer, lost: false },
        Ask::Lost(writer) => Asked::Revoke { writer, lost: true },
    });
    let bytes = |text: &String| text.as_bytes().to_vec();
    let writes = done.writes.iter().map(|(key, value)| (bytes(key), value.as_ref().map(bytes)));
    DoneBatch { rejected: false, asked: asked.collect(), writes: writes.collect() }
}

fn batch(piece: &PieceBatch, optimistic: bool) -> Batch {
    let PieceBatch { writer, seq, entries, timestamp, ref links, ref values, .. } = *piece;
    let values = values.iter().map(|(_, value)| text(value)).collect();
    Batch { writer, seq, length: entries, time: timestamp, links: links.clone(), optimistic, values }
}
