//! The owner thread: the only one that opens write transactions.
//!
//! **Ordering.** Jobs run in the order they were queued; a job sees what the ones before it wrote. **Group commit.**
//! Everything that waits when a transaction begins goes into it, up to [`MAX_GROUP`], and shares one sync; replies
//! come after it. **A full queue** blocks the caller of [`Owner::submit`]; what sessions queue is bounded by their own
//! windows and never blocks. **A job that fails** before it wrote anything fails alone; one that fails after it wrote
//! makes the transaction run again without it. **Panic** poisons the store: this and every later job fails.
//! **Shutdown** drains the queue, then the thread ends; [`Owner::stop`] joins it.

use super::board::Wrote;
use super::engine::{Engine, Work};
use super::error::{Code, Error, Failure};
use crate::store::{Environment, StoreError, WriteTxn};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Jobs waiting for the owner: bounds the memory that writers who do not wait for their replies can take.
const MAX_QUEUED: usize = 4_096;

/// Jobs in one transaction: bounds the dirty pages of a commit, and how long the first of them waits.
const MAX_GROUP: usize = 1_024;

/// Rows one transaction may write before it is committed: LMDB keeps its dirty pages in memory.
const MAX_GROUP_ROWS: u64 = 200_000;

/// Something that runs inside a write transaction. `run` may be called again, from the state before, when the
/// transaction had to be repeated; `done` is called once, after the sync or with the reason why there was none.
pub(super) trait Job: Send {
    fn run(&mut self, work: &mut Work<'_, '_>) -> Result<(), Failure>;
    fn done(self: Box<Self>, result: Result<(), Error>);
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Box<dyn Job>>,
    stopping: bool,
    poisoned: bool,
}

struct Inbox {
    queue: Mutex<Queue>,
    arrived: Condvar,
    drained: Condvar,
}

/// The handle on the owner thread.
pub(super) struct Owner {
    inbox: Arc<Inbox>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Owner {
    pub fn spawn(engine: Engine) -> Result<Self, Error> {
        let inbox =
            Arc::new(Inbox { queue: Mutex::default(), arrived: Condvar::new(), drained: Condvar::new() });
        let theirs = Arc::clone(&inbox);
        let thread = std::thread::Builder::new()
            .name("multi-hyperbee owner".into())
            .spawn(move || run(engine, &theirs))
            .map_err(|error| Error::new(Code::StoreOpen, format!("no thread for the store: {error}")))?;
        Ok(Self { inbox, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a job; waits while the queue is full. Never called with a lock held that the owner may want.
    pub fn submit(&self, job: Box<dyn Job>) {
        let mut queue = self.inbox.queue.lock();
        while queue.jobs.len() >= MAX_QUEUED && !queue.poisoned && !queue.stopping {
            self.inbox.drained.wait(&mut queue);
        }
        self.push(queue, job);
    }

    /// Queues a job of a session, whose window bounds how many there are. Never waits. A store that has ended has ended
    /// its sessions: the job is dropped, since its caller holds the lock that its `done` would take.
    pub fn submit_windowed(&self, job: Box<dyn Job>) {
        let queue = self.inbox.queue.lock();
        if !queue.poisoned && !queue.stopping {
            self.push(queue, job);
        }
    }

    fn push(&self, mut queue: parking_lot::MutexGuard<'_, Queue>, job: Box<dyn Job>) {
        let refusal = if queue.poisoned {
            Some(Error::stopped())
        } else if queue.stopping {
            Some(Error::closed())
        } else {
            None
        };
        if let Some(error) = refusal {
            drop(queue);
            return job.done(Err(error));
        }
        queue.jobs.push_back(job);
        self.inbox.arrived.notify_one();
    }

    /// Runs everything queued, then ends the thread and waits for it. Whoever comes second waits too.
    pub fn stop(&self) {
        self.inbox.queue.lock().stopping = true;
        self.inbox.arrived.notify_one();
        self.inbox.drained.notify_all();
        let mut slot = self.thread.lock();
        // A job may hold the last handle: the thread cannot wait for itself, and ends anyway.
        if slot.as_ref().is_some_and(|thread| thread.thread().id() == std::thread::current().id()) {
            return;
        }
        if let Some(thread) = slot.take() {
            // The thread catches panics of jobs; if it still panicked there is nothing left to wait for.
            let _ = thread.join();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(mut engine: Engine, inbox: &Inbox) {
    loop {
        let mut queue = inbox.queue.lock();
        while queue.jobs.is_empty() && !queue.stopping {
            inbox.arrived.wait(&mut queue);
        }
        if queue.jobs.is_empty() {
            return;
        }
        let count = queue.jobs.len().min(MAX_GROUP);
        let group: Vec<_> = queue.jobs.drain(..count).collect();
        drop(queue);
        inbox.drained.notify_all();
        let mut rest = commit_guarded(&mut engine, group, inbox);
        // What did not fit goes before everything that came meanwhile.
        let mut queue = inbox.queue.lock();
        while let Some(job) = rest.pop() {
            queue.jobs.push_front(job);
        }
    }
}

/// Commits a group; a panic poisons the store and fails everything in the queue.
fn commit_guarded(engine: &mut Engine, group: Vec<Box<dyn Job>>, inbox: &Inbox) -> Vec<Box<dyn Job>> {
    if let Ok(rest) = catch_unwind(AssertUnwindSafe(|| commit(engine, group))) {
        return rest;
    }
    let mut queue = inbox.queue.lock();
    queue.poisoned = true;
    let jobs: Vec<_> = queue.jobs.drain(..).collect();
    drop(queue);
    inbox.drained.notify_all();
    for job in jobs {
        job.done(Err(Error::stopped()));
    }
    for peer in engine.board.peers() {
        peer.abort(&Error::stopped());
    }
    Vec::new()
}

enum Attempt {
    /// Committed; the first `ran` jobs were in it.
    Committed {
        ran: usize,
        wrote: Wrote,
        refused: Vec<Option<Error>>,
    },
    /// The job at this index wrote and then failed.
    Spoiled {
        index: usize,
        error: Error,
    },
    MapFull,
    Failed(Error),
}

/// Runs a group until it is committed or has failed. Returns what was too much for one transaction.
pub(super) fn commit(engine: &mut Engine, mut group: Vec<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
    while !group.is_empty() {
        match attempt(engine, &mut group) {
            Attempt::Committed { ran, wrote, refused } => {
                let rest = group.split_off(ran);
                if wrote.rows > 0 {
                    // So it can be.
                    engine.board.failure.lock().take();
                    engine.board.wrote.lock().add(wrote);
                }
                engine.publish();
                for (job, refusal) in group.into_iter().zip(refused) {
                    job.done(refusal.map_or(Ok(()), Err));
                }
                return rest;
            }
            Attempt::Spoiled { index, error } => {
                engine.forget();
                if index < group.len() {
                    group.remove(index).done(Err(error));
                }
            }
            Attempt::MapFull => {
                engine.forget();
                if let Err(error) = grow(engine) {
                    return fail(engine, group, &error.into());
                }
            }
            Attempt::Failed(error) => {
                engine.forget();
                return fail(engine, group, &error);
            }
        }
    }
    Vec::new()
}

/// Growing waits for every read transaction: the one that is kept is let go, and no other is kept meanwhile.
fn grow(engine: &Engine) -> Result<(), StoreError> {
    loop {
        // What writes the file anew keeps others from writing, and waits for reads: so none is held up meanwhile.
        engine.environment().wait_for_writing();
        let mut kept = engine.board.reads.lock();
        kept.take();
        match engine.environment().grow() {
            Err(StoreError::WriteInProgress) => {}
            grown => return grown,
        }
    }
}

fn fail(engine: &Engine, group: Vec<Box<dyn Job>>, error: &Error) -> Vec<Box<dyn Job>> {
    engine.board.failed(error);
    for job in group {
        job.done(Err(error.clone()));
    }
    Vec::new()
}

/// Where the last commit failed, beginning may map the file anew, which waits as growing does.
fn begin<'e>(engine: &Engine, environment: &'e Environment) -> Result<WriteTxn<'e>, StoreError> {
    if !engine.is_suspect {
        return environment.write();
    }
    environment.wait_for_writing();
    let mut kept = engine.board.reads.lock();
    kept.take();
    environment.write()
}

fn attempt(engine: &mut Engine, group: &mut [Box<dyn Job>]) -> Attempt {
    let environment: Environment = engine.environment().clone();
    let mut txn = match begin(engine, &environment) {
        Ok(txn) => txn,
        Err(error) => return Attempt::Failed(error.into()),
    };
    let mut work = Work::new(engine, &mut txn);
    let mut refused = Vec::with_capacity(group.len());
    for (index, job) in group.iter_mut().enumerate() {
        if work.writes() > MAX_GROUP_ROWS {
            break;
        }
        let before = work.writes();
        match job.run(&mut work) {
            Ok(()) => refused.push(None),
            Err(Failure::Store(StoreError::MapFull)) => return Attempt::MapFull,
            Err(Failure::Store(error)) => return Attempt::Failed(error.into()),
            Err(Failure::Refused(error)) if work.writes() == before => refused.push(Some(error)),
            Err(Failure::Refused(error)) => return Attempt::Spoiled { index, error },
        }
    }
    let ran = refused.len();
    let finished = work.finish();
    let wrote = Wrote { commits: 1, rows: txn.writes(), bytes: txn.bytes() };
    match finished.and_then(|()| txn.commit().map_err(Failure::Store)) {
        Ok(()) => Attempt::Committed { ran, wrote, refused },
        Err(Failure::Store(StoreError::MapFull)) => Attempt::MapFull,
        Err(failure) => Attempt::Failed(failure.into()),
    }
}
