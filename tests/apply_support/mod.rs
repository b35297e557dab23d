//! A deterministic `apply` in Rust, standing in for a user's, and the loop that drives it.
//!
//! A value is a text of commands: `put k v`, `del k`, `inc k` (reads), `add <hex> [indexer]`, `rm <hex>`, `lost <hex>`,
//! `ack <hex>`, `anchor`, `fail`.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "each test file uses a part of it"
)]

use multi_hyperbee::db::{
    Append, Asked, Committed, DatabaseOptions, Db, Done, DoneBatch, Next, Piece, PieceBatch, Step, Store,
};
use multi_hyperbee::types::FeedKey;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub fn options(key: Option<FeedKey>) -> DatabaseOptions {
    DatabaseOptions {
        key,
        key_encoding: "binary".into(),
        value_encoding: "binary".into(),
        apply: true,
        ..crate::support::database()
    }
}

pub fn create_apply(store: &Store) -> Applier {
    Applier::new(store.database(options(None)).wait().unwrap())
}

pub fn join_apply(store: &Store, key: FeedKey) -> Applier {
    Applier::new(store.database(options(Some(key))).wait().unwrap())
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub undos: u64,
    pub applies: u64,
    pub pieces: u64,
}

/// A database and whoever runs its `apply`.
pub struct Applier {
    pub db: Db,
    pub counts: RefCell<Counts>,
    /// Batches in the order in which they were last applied here: what `apply` has seen.
    pub fails: RefCell<bool>,
    /// What was anchored, each time it was applied.
    pub anchors: RefCell<Vec<FeedKey>>,
}

type Overlay = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

impl Applier {
    pub fn new(db: Db) -> Self {
        assert!(db.claim_apply().unwrap());
        Self { db, counts: RefCell::default(), fails: RefCell::new(true), anchors: RefCell::default() }
    }

    pub fn local(&self) -> FeedKey {
        self.db.info().unwrap().local
    }

    pub fn get(&self, key: &str) -> Option<String> {
        let entry = self.db.get_entry(key.as_bytes(), None).unwrap()?;
        Some(String::from_utf8(entry.value).unwrap())
    }

    /// Appends, and applies what is staged.
    pub fn append(&self, texts: &[&str]) -> u64 {
        let values = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        self.append_with(values, false).unwrap()
    }

    pub fn append_with(
        &self,
        values: Vec<Vec<u8>>,
        optimistic: bool,
    ) -> Result<u64, multi_hyperbee::db::Error> {
        let step = self.db.stage(vec![Append { optimistic, values: values.clone() }]).wait()?;
        if let Some(length) = step.appended.last() {
            return Ok(*length);
        }
        let Next::Piece(mut piece) = step.next else { panic!("{step:?}") };
        for (batch, values) in piece.batches.iter_mut().zip([values]) {
            batch.values = (0..).zip(values).collect();
        }
        let done = self.run(&piece);
        let step = self.db.apply_step(false, Some(done)).wait()?;
        Ok(*step.appended.last().unwrap())
    }

    /// Applies what is ready until nothing is left to do now. True if something was shown to readers.
    pub fn drain(&self, force: bool) -> bool {
        let mut moved = false;
        let mut done = None;
        for _ in 0..100_000 {
            let Step { committed, next, .. } = self.db.apply_step(force, done.take()).wait().unwrap();
            moved |= matches!(committed, Committed::Published { .. });
            match next {
                Next::Idle => return moved,
                Next::Wait(_) if !force => return moved,
                Next::Wait(time) => std::thread::sleep(time.min(Duration::from_millis(20))),
                Next::Piece(piece) => {
                    let results = self.run(&piece);
                    if results.batches.len() < piece.batches.len() && results.batches.is_empty() {
                        return moved;
                    }
                    done = Some(results);
                }
            }
        }
        panic!("this never ends")
    }

    fn run(&self, piece: &Piece) -> Done {
        let mut counts = self.counts.borrow_mut();
        counts.pieces += 1;
        counts.undos += u64::from(piece.undone > 0);
        let mut overlay = Overlay::new();
        let mut batches = Vec::new();
        for batch in &piece.batches {
            counts.applies += 1;
            let Some(done) = self.apply(piece, batch, &mut overlay) else { break };
            let changes = !done.asked.is_empty();
            batches.push(done);
            if changes {
                break;
            }
        }
        Done { generation: piece.generation, batches }
    }

    fn apply(&self, piece: &Piece, batch: &PieceBatch, overlay: &mut Overlay) -> Option<DoneBatch> {
        let mut writes = Overlay::new();
        let mut asked = Vec::new();
        let mut acknowledged = false;
        let read = |writes: &Overlay, key: &[u8]| -> Option<Vec<u8>> {
            if let Some(value) = writes.get(key).or_else(|| overlay.get(key)) {
                return value.clone();
            }
            self.db.get_entry(key, Some(piece.version)).unwrap().map(|entry| entry.value)
        };
        for (_, value) in &batch.values {
            let text = std::str::from_utf8(value).unwrap();
            let words: Vec<&str> = text.split(' ').collect();
            let feed = || FeedKey(hex::decode(words[1]).unwrap().try_into().unwrap());
            match words[0] {
                "put" => drop(writes.insert(words[1].into(), Some(words[2].into()))),
                "del" => drop(writes.insert(words[1].into(), None)),
                "inc" => {
                    let key = words[1].as_bytes();
                    let number =
                        |bytes: Vec<u8>| std::str::from_utf8(&bytes).unwrap().parse::<u64>().unwrap();
                    let next = read(&writes, key).map_or(0, number) + 1;
                    writes.insert(key.to_vec(), Some(next.to_string().into_bytes()));
                }
                // Everything that stood before shows in the value.
                "log" => {
                    let key = words[1].as_bytes();
                    let mut line = read(&writes, key).unwrap_or_default();
                    line.extend_from_slice(words[2].as_bytes());
                    writes.insert(key.to_vec(), Some(line));
                }
                "add" => {
                    asked.push(Asked::Grant { writer: feed(), indexer: words.get(2) == Some(&"indexer") });
                    acknowledged |= feed() == batch.writer;
                }
                "rm" => asked.push(Asked::Revoke { writer: feed(), lost: false }),
                "lost" => asked.push(Asked::Revoke { writer: feed(), lost: true }),
                "ack" => acknowledged = true,
                "anchor" => {
                    let anchor = self.db.anchor(batch.writer, batch.seq + batch.entries).unwrap();
                    self.anchors.borrow_mut().push(anchor);
                }
                "fail" if *self.fails.borrow() => return None,
                _ => {}
            }
        }
        if batch.optimistic && !acknowledged {
            return Some(DoneBatch { rejected: true, ..DoneBatch::default() });
        }
        overlay.extend(writes.clone());
        Some(DoneBatch { rejected: false, asked, writes: writes.into_iter().collect() })
    }

    /// Key and value of everything live.
    pub fn view(&self) -> Vec<(String, String)> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let mut scan = self.db.scan(multi_hyperbee::db::Range::default(), None).unwrap();
        let mut entries = Vec::new();
        loop {
            let more = scan
                .visit(1_000, 1 << 20, |row| {
                    let entry = row.to_entry();
                    entries.push((text(entry.key), text(entry.value)));
                })
                .unwrap();
            if !more {
                break;
            }
        }
        entries
    }
}

/// Applies on both until neither has anything to do.
pub fn settle(appliers: &[&Applier]) {
    for applier in appliers {
        applier.drain(true);
    }
}

pub fn patience() -> impl Fn() -> bool {
    let start = Instant::now();
    move || start.elapsed() < Duration::from_secs(30)
}
