//! The state hash of a database, brought forward as far as somebody asks, and this replica's claim: that hash beside the
//! digest of all that the view follows from, both of one commit.
//!
//! Nothing here runs with a commit. `state_hash` works on its caller's thread; a connection that finds the database quiet
//! asks for the claim, which is made at once if little is to do, else on a thread of its own. Both in slices, each on a
//! read transaction of its own; whoever works next goes on where the last one stopped.

use super::board::OpenDatabase;
use super::database::{Db, Inner};
use super::error::{Code, Error, Failure};
use super::events::Event;
use super::repair::under_repair;
use super::rows::{StateRow, members_of};
use super::state::counted_by_choice;
use super::store::Shared;
use crate::causal::{Agreement, FeedStanding, Intervals, WalkRule};
use crate::store::{Read, ReadTxn, Table};
use crate::types::Hash;
use crate::view::{self, LatticeHash, Space};
use crate::wire::StateClaim;
use crate::{apply, entry, feed, order};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// View writes brought forward over on one read transaction: a millisecond or two.
const SLICE: u64 = 100;

/// Feeds up to which a digest is made on the thread of whoever finds the database quiet: each costs a few reads.
const FEEDS_AT_ONCE: usize = 64;

/// View writes after which the hash is worth keeping on disk: so many at most are gone over again after a restart.
const KEEP_AFTER: u64 = 1_000;

/// The same while there is more to go over: keeping it is a commit.
const KEEP_ON_THE_WAY: u64 = 100_000;

/// What an open database knows of its state hash.
#[derive(Default)]
pub(super) struct StateHash {
    reached: Mutex<Reached>,
    /// Commits published since the database was opened, to see whether it is quiet.
    commits: AtomicU64,
    /// The last claim, and the value of `commits` before it was made.
    claim: Mutex<Option<(u64, StateClaim)>>,
    /// A thread is making the claim.
    is_worked_on: AtomicBool,
    /// The view cannot be read: nothing more is claimed.
    has_failed: AtomicBool,
    /// How often it was forgotten: a transaction from before that sees what is not there any more.
    forgotten: AtomicU64,
}

/// The hash of a version.
#[derive(Default)]
struct Reached {
    version: u64,
    hash: LatticeHash,
    /// The version whose hash is on disk; none before that was looked up.
    kept: Option<u64>,
}

impl Reached {
    /// Goes towards `version`, a slice at most, on a transaction that sees it.
    fn advance(&mut self, txn: &ReadTxn, space: &Space, version: u64) -> Result<(), Error> {
        // What was gone through since the hash was kept may have been trimmed: a compaction has kept a later one first.
        if self.kept.is_none() || self.version < view::floor(txn, space.database())? {
            let (version, hash) = view::kept_hash(txn, space.database())?;
            // After a repair the log begins beyond what is kept, and what it begins with is what comes next.
            if self.kept.is_none() || version > self.version {
                (self.version, self.hash, self.kept) = (version, hash, Some(version));
            }
        }
        match view::advance(txn, space, &mut self.hash, self.version, version, SLICE) {
            Ok(reached) => self.version = reached,
            Err(error) => {
                *self = Self::default();
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// What should be kept on disk by now; `is_done`: nothing more is gone over for the time being.
    fn take_unkept(&mut self, is_done: bool) -> Option<(u64, LatticeHash)> {
        let kept = self.kept?;
        let after = if is_done { KEEP_AFTER } else { KEEP_ON_THE_WAY };
        (self.version >= kept.saturating_add(after)).then(|| {
            self.kept = Some(self.version);
            (self.version, self.hash.clone())
        })
    }
}

impl StateHash {
    /// A commit that concerns the database was published.
    pub fn changed(&self) {
        self.commits.fetch_add(1, Ordering::AcqRel);
    }

    /// Rows that it was made from are gone: it is computed from the beginning again.
    pub fn forget(&self) {
        let mut reached = self.reached.lock();
        *reached = Reached::default();
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        drop(reached);
        self.claim.lock().take();
        self.has_failed.store(false, Ordering::Release);
    }

    /// Changes with every commit that concerns the database.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }

    /// The last claim made; it holds of the commit it was made of, whatever has come since.
    pub fn claim(&self) -> Option<StateClaim> {
        self.claim.lock().map(|(_, claim)| claim)
    }

    /// The claim, if it is of what is committed now.
    pub fn current_claim(&self) -> Option<StateClaim> {
        let commits = self.commits();
        self.claim.lock().filter(|(of, _)| *of == commits).map(|(_, claim)| claim)
    }
}

impl Db {
    /// One hash of the live content, alike wherever the content is.
    pub fn state_hash(&self) -> Result<Hash, Error> {
        let Inner { shared, open } = self.whole()?;
        let mut wanted = None;
        loop {
            // Both before the transaction, which then sees no view that is being made anew.
            let forgotten = open.state_hash.forgotten.load(Ordering::Acquire);
            if shared.board.repairing.lock().contains(&open.id) {
                return Err(under_repair());
            }
            let txn = shared.read()?;
            let least = *wanted.get_or_insert(version(&txn, open.id)?);
            let mut reached = open.state_hash.reached.lock();
            if open.state_hash.forgotten.load(Ordering::Acquire) != forgotten {
                wanted = None;
                continue;
            }
            reached.advance(&txn, &open.space, least)?;
            if reached.version >= least {
                let (digest, unkept) = (reached.hash.digest(), reached.take_unkept(true));
                drop((reached, txn));
                keep(&shared, open.id, unkept);
                return Ok(digest);
            }
        }
    }

    /// The state hash beside the digest of all that it follows from: between replicas whose digests are equal the hashes
    /// are equal, or one of them has a fault.
    pub fn state_claim(&self) -> Result<StateClaim, Error> {
        let Inner { shared, open } = self.whole()?;
        loop {
            match step(&shared, &open)? {
                Step::Made(claim) => return Ok(claim),
                Step::More => {}
                Step::Repaired => return Err(under_repair()),
            }
        }
    }
}

/// Sees to it that the claim is of what is committed: at once if little is to do, else soon. Never called with a
/// connection's lock held.
pub(super) fn prepare_claim(shared: &Arc<Shared>, open: &Arc<OpenDatabase>) {
    let state = &open.state_hash;
    if state.current_claim().is_some() || state.has_failed.load(Ordering::Acquire) {
        return;
    }
    let behind = open.status.read().version.saturating_sub(state.reached.lock().version);
    if behind <= SLICE && open.feeds.read().len() <= FEEDS_AT_ONCE {
        match step(shared, open) {
            Ok(Step::Made(_) | Step::Repaired) => return,
            Ok(Step::More) => {}
            Err(error) => return fail(open, error),
        }
    }
    if !state.is_worked_on.swap(true, Ordering::AcqRel) {
        let (weak, theirs) = (Arc::downgrade(shared), Arc::clone(open));
        let spawned = std::thread::Builder::new()
            .name("multi-hyperbee state hash".into())
            .spawn(move || work(&weak, &theirs));
        if spawned.is_err() {
            // No thread now: the next who finds the database quiet tries again.
            state.is_worked_on.store(false, Ordering::Release);
        }
    }
}

/// Makes the claim, until it is made, the database is not quiet any more, or the store closes.
fn work(shared: &Weak<Shared>, open: &OpenDatabase) {
    let begun = open.state_hash.commits();
    while let Some(shared) = shared.upgrade().filter(|shared| !shared.is_closed()) {
        match step(&shared, open) {
            Ok(Step::More) if open.state_hash.commits() == begun => {}
            Ok(_) => break,
            Err(error) => {
                fail(open, error);
                break;
            }
        }
    }
    open.state_hash.is_worked_on.store(false, Ordering::Release);
}

/// A store that is closing has no claim to make; what else fails is told, once.
fn fail(open: &OpenDatabase, error: Error) {
    if error.code != Code::Closed && !open.state_hash.has_failed.swap(true, Ordering::AcqRel) {
        open.subscribers.send(&Event::Error { error });
    }
}

enum Step {
    Made(StateClaim),
    More,
    /// What is being made anew says nothing of itself meanwhile.
    Repaired,
}

/// One slice of making the claim.
fn step(shared: &Arc<Shared>, open: &OpenDatabase) -> Result<Step, Error> {
    // All before the transaction: what is published after this makes the claim one of the past.
    let forgotten = open.state_hash.forgotten.load(Ordering::Acquire);
    if shared.board.repairing.lock().contains(&open.id) {
        return Ok(Step::Repaired);
    }
    let commits = open.state_hash.commits();
    let txn = shared.read()?;
    let version = version(&txn, open.id)?;
    let mut reached = open.state_hash.reached.lock();
    if open.state_hash.forgotten.load(Ordering::Acquire) != forgotten {
        return Ok(Step::More);
    }
    reached.advance(&txn, &open.space, version)?;
    // Somebody may have gone further, on a newer transaction than this: then with one that is newer still.
    let state = (reached.version == version).then(|| reached.hash.digest());
    let unkept = reached.take_unkept(state.is_some());
    drop(reached);
    let Some(state) = state else {
        drop(txn);
        keep(shared, open.id, unkept);
        return Ok(Step::More);
    };
    let claim = StateClaim { digest: digest(&txn, open, &state)?, state };
    *open.state_hash.claim.lock() = Some((commits, claim));
    drop(txn);
    keep(shared, open.id, unkept);
    Ok(Step::Made(claim))
}

/// Of everything that the view follows from. In merge mode what is ready is placed and applied in the commit that
/// brings it, so between two commits nothing waits.
fn digest(txn: &ReadTxn, open: &OpenDatabase, state: &Hash) -> Result<Hash, Error> {
    if open.info.apply {
        return digest_of_applied(txn, open, state);
    }
    let order = order::order_state(txn, open.id, open.info.key).map_err(Failure::from)?;
    let members = members_of(txn, open.id)?;
    let mut agreement = Agreement::new(order.creator(), order.rule(), open.info.open, entry::VERSION);
    for (key, length) in order.placed().iter() {
        let record = feed::load(txn, &key)?;
        let record = record.ok_or_else(|| Failure::from(order::OrderError::Feed { feed: key }))?;
        let mut counts = order.outcome().counted.get(&key).cloned().unwrap_or_default();
        counts.insert(0, counted_by_choice(open.info.open, members.get(&key)).min(length));
        let root = feed::root_at(txn, &record, length)?;
        let forked = record.forked;
        agreement.add(&FeedStanding { feed: key, length, root, counts: &counts, forked });
    }
    Ok(agreement.digest())
}

/// In apply mode: of what is applied. How it counts follows from that and from `apply`, which is what is compared.
fn digest_of_applied(txn: &ReadTxn, open: &OpenDatabase, state: &Hash) -> Result<Hash, Error> {
    let applied = apply::load(txn, open.id, open.info.key)?;
    let mut agreement = Agreement::new(open.info.key, WalkRule::Apply, open.info.open, entry::VERSION);
    let counts = Intervals::new();
    for (key, length) in applied.cursor.placed().iter() {
        let record = feed::load(txn, &key)?;
        let record = record.ok_or_else(|| Failure::from(order::OrderError::Feed { feed: key }))?;
        let root = feed::root_at(txn, &record, length)?;
        agreement.add(&FeedStanding { feed: key, length, root, counts: &counts, forked: record.forked });
    }
    // Readers stay on a state of before until the wave is through: whoever has another, a copy of this store perhaps, has
    // another digest too.
    if applied.open_wave.is_some() {
        let root = *state;
        agreement.add(&FeedStanding {
            feed: open.local(),
            length: u64::MAX,
            root,
            counts: &counts,
            forked: true,
        });
    }
    Ok(agreement.digest())
}

/// The version that a transaction sees.
pub(super) fn version(txn: &ReadTxn, database: u32) -> Result<u64, Error> {
    let row = txn.get(Table::Databases, &StateRow::key_of(database))?;
    Ok(row.map(StateRow::decode).transpose()?.unwrap_or_default().version)
}

/// Queued after the read has ended: a full queue waits for the owner, which may wait for reads to end.
fn keep(shared: &Shared, database: u32, hash: Option<(u64, LatticeHash)>) {
    if let Some((version, hash)) = hash {
        // Nobody needs to know: what is not kept is computed again.
        drop(shared.job(move |work| work.keep_hash(database, version, &hash)));
    }
}
