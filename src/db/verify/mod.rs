//! Whether a store is whole: its pages, its feeds, its rows, its views. On a thread of its own, over one committed
//! state, while everything else goes on.

mod feeds;
mod order;
mod pages;
mod rows;
mod views;

use super::error::{Code, Error};
use super::events::{Replier, Reply};
use super::repair::{Repaired, marked, repair};
use super::store::{Shared, Store};
pub(super) use rows::{Unreadable, check as check_row};

use crate::feed::{FeedCheck, MAX_FLAWS};
use crate::seal::EncryptionKey;
use crate::store::Snapshot;
use crate::types::FeedKey;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Weak};

/// Damages that are described; the rest is counted. Bounds a report.
const MAX_DAMAGES: usize = 1_000;

/// Flaws of one feed that one pass of a repair mends: bounds what it remembers.
const MAX_MENDED: usize = 65_536;

/// Steps between two calls of the progress callback.
const STEPS_PER_CALL: u64 = 256;

/// What a verification is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The file's pages, by plain reads.
    Pages,
    /// Blocks against trees against signed heads.
    Feeds,
    /// Every row of every table.
    Rows,
    /// Each key against the diffs it is folded from, and state hashes against the content.
    Views,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::Pages => "pages",
            Stage::Feeds => "feeds",
            Stage::Rows => "rows",
            Stage::Views => "views",
        }
    }
}

/// How far a verification has come: steps of its stage done, of all there are (0: not known).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub stage: Stage,
    pub done: u64,
    pub total: u64,
}

/// One thing that is damaged, named as exactly as can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub stage: Stage,
    pub page: Option<u64>,
    pub table: Option<String>,
    pub feed: Option<FeedKey>,
    /// Index of a block.
    pub seq: Option<u64>,
    /// Name of a database.
    pub database: Option<String>,
    /// A key as stored.
    pub key: Option<Vec<u8>>,
    pub why: String,
}

impl Damage {
    pub(super) fn new(stage: Stage, why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self { stage, page: None, table: None, feed: None, seq: None, database: None, key: None, why }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut say = |what: &str, which: Option<String>| match which {
            Some(which) => write!(f, "{what} {which}, "),
            None => Ok(()),
        };
        say("page", self.page.map(|page| page.to_string()))?;
        say("table", self.table.clone())?;
        say("feed", self.feed.map(|feed| feed.to_string()))?;
        say("block", self.seq.map(|seq| seq.to_string()))?;
        say("database", self.database.clone())?;
        say("key", self.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned()))?;
        f.write_str(&self.why)
    }
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub pages: u64,
    pub free_pages: u64,
    /// Pages that nothing uses and that are not free: no damage.
    pub lost_pages: u64,
    pub feeds: u64,
    pub blocks: u64,
    pub rows: u64,
    pub databases: u64,
    /// Of the databases, those that are encrypted and not open: what is sealed of them was not opened.
    pub sealed: u64,
    pub keys: u64,
    pub damages: Vec<Damage>,
    /// Damages beyond those described.
    pub more: u64,
    /// With damaged pages nothing is read through the map: the other stages were left out.
    pub stopped_at: Option<Stage>,
    /// What was done about it, if anything was to be.
    pub repair: Option<Repaired>,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.damages.is_empty()
    }
}

/// What a verification does beside looking.
#[derive(Clone, Default)]
pub struct VerifyOptions {
    /// Mends what is found, as far as it can be.
    pub repair: bool,
    /// Opens what is sealed of encrypted databases that are not open.
    pub encryption_key: Option<EncryptionKey>,
}

impl Store {
    /// Checks everything that is stored. `progress` is called on the verifying thread.
    ///
    /// What is committed when it begins is checked; pages freed meanwhile are used again only when it is done, and a map
    /// that is full (which grows without end on 64 bits outside of Windows) waits for it.
    pub fn verify(&self, progress: impl FnMut(Progress) + Send + 'static) -> Reply<Report> {
        self.verify_with(VerifyOptions::default(), progress)
    }

    /// As [`Store::verify`], and mends what it finds if it is to (`docs/design/repair.md`).
    pub fn verify_with(
        &self,
        options: VerifyOptions,
        progress: impl FnMut(Progress) + Send + 'static,
    ) -> Reply<Report> {
        let shared = match self.shared() {
            Ok(shared) => shared,
            Err(error) => return Reply::ready(Err(error)),
        };
        let (replier, reply) = Reply::channel();
        if options.repair && shared.environment().is_ok_and(|environment| environment.is_read_only()) {
            let message = "a store that is opened for reading only is not repaired: open it without readOnly";
            return Reply::ready(Err(Error::new(Code::ReadOnly, message)));
        }
        let begun = begin(&shared);
        let weak = Arc::downgrade(&shared);
        let spawned = std::thread::Builder::new()
            .name("multi-hyperbee verify".into())
            .spawn(move || run(&weak, &options, begun, Box::new(progress), replier));
        match spawned {
            Ok(_) => reply,
            Err(error) => Reply::ready(Err(Error::new(
                Code::StoreOpen,
                format!("no thread to verify the store: {error}; close what is not needed"),
            ))),
        }
    }
}

fn begin(shared: &Shared) -> Reply<Snapshot> {
    match shared.environment() {
        // Nothing is committed, and no job is taken.
        Ok(environment) if environment.is_read_only() => {
            Reply::ready(environment.snapshot().map_err(Error::from))
        }
        // Between two commits: what is queued before is in the state that is checked.
        Ok(_) => shared.job(|work| Ok(work.engine.environment().snapshot()?)),
        Err(error) => Reply::ready(Err(error)),
    }
}

fn run(
    store: &Weak<Shared>,
    options: &VerifyOptions,
    begun: Reply<Snapshot>,
    mut progress: Box<dyn FnMut(Progress)>,
    replier: Replier<Report>,
) {
    let mut pass = |begun: Reply<Snapshot>| {
        let snapshot = begun.wait()?;
        Verifier::new(store, options, &snapshot, &mut *progress).all()
    };
    let verified = pass(begun).and_then(|found| {
        if !options.repair {
            return Ok(found.report);
        }
        repair(store, options, found, || {
            let shared = store.upgrade().ok_or_else(Error::closed)?;
            pass(begin(&shared))
        })
    });
    // A caller that no longer listens has chosen not to know.
    let _ = replier.send(verified);
}

/// What one pass over a store has found, as exactly as mending it takes.
pub(super) struct Found {
    pub report: Report,
    /// What is wrong with feeds whose records can be read, and which cannot.
    pub flawed: Vec<(FeedKey, FeedCheck)>,
    pub unread: Vec<FeedKey>,
}

/// A verification under way.
struct Verifier<'s> {
    /// Who closes the store ends it.
    store: &'s Weak<Shared>,
    snapshot: &'s Snapshot,
    key: Option<&'s EncryptionKey>,
    progress: &'s mut dyn FnMut(Progress),
    steps: u64,
    /// Flaws of one feed that are looked for one by one.
    most_flaws: usize,
    /// Databases that are being made anew.
    marked: BTreeSet<u32>,
    found: Report,
    flawed: Vec<(FeedKey, FeedCheck)>,
    unread: Vec<FeedKey>,
}

impl<'s> Verifier<'s> {
    fn new(
        store: &'s Weak<Shared>,
        options: &'s VerifyOptions,
        snapshot: &'s Snapshot,
        progress: &'s mut dyn FnMut(Progress),
    ) -> Self {
        Self {
            store,
            snapshot,
            key: options.encryption_key.as_ref(),
            progress,
            steps: 0,
            most_flaws: if options.repair { MAX_MENDED } else { MAX_FLAWS },
            marked: BTreeSet::new(),
            found: Report::default(),
            flawed: Vec::new(),
            unread: Vec::new(),
        }
    }

    fn all(mut self) -> Result<Found, Error> {
        self.pages()?;
        if self.found.is_clean() {
            self.marked = marked(self.snapshot.txn())?;
            self.feeds()?;
            self.rows()?;
            self.views()?;
        } else {
            self.found.stopped_at = Some(Stage::Pages);
        }
        Ok(Found { report: self.found, flawed: self.flawed, unread: self.unread })
    }

    fn damage(&mut self, damage: Damage) {
        if self.found.damages.len() < MAX_DAMAGES {
            self.found.damages.push(damage);
        } else {
            self.found.more = self.found.more.saturating_add(1);
        }
    }

    /// Counts a step; false once the store is closed.
    fn step(&mut self, stage: Stage, total: u64) -> bool {
        self.steps += 1;
        if !self.steps.is_multiple_of(STEPS_PER_CALL) {
            return true;
        }
        (self.progress)(Progress { stage, done: self.steps, total });
        self.is_open()
    }

    /// Ends a stage.
    fn done(&mut self, stage: Stage) -> Result<(), Error> {
        (self.progress)(Progress { stage, done: self.steps, total: self.steps });
        self.steps = 0;
        if self.is_open() { Ok(()) } else { Err(Error::closed()) }
    }

    fn is_open(&self) -> bool {
        self.store.upgrade().is_some_and(|shared| !shared.is_closed())
    }
}
