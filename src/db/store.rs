//! A store's public handle: who shares an owner thread, and when it ends.

use super::board::{Board, Wrote};
use super::database::{DatabaseOptions, Db};
use super::engine::{Engine, WallClock, Work};
use super::error::{Code, Error, Failure};
use super::events::{Replier, Reply};
use super::owner::{Job, Owner};
use super::peer::Peer;
use crate::store::{Environment, Location, Options, ReadTxn};
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How to open a store.
#[derive(Clone, Default)]
pub struct StoreOptions {
    pub read_only: bool,
    /// Address space to reserve instead of the default; for tests of its growth.
    pub map_size: Option<usize>,
    /// The wall clock; the system's by default.
    pub clock: Option<WallClock>,
}

/// One handle on a store; clones are the same handle. Handles on one path share one environment and one owner thread.
#[derive(Clone)]
pub struct Store(Arc<RwLock<Option<Arc<Shared>>>>);

pub(super) struct Shared {
    /// Gone once the store is closed: handles that are still about keep no files open.
    environment: RwLock<Option<Environment>>,
    pub board: Arc<Board>,
    pub owner: Owner,
    handles: AtomicUsize,
    next_number: AtomicU64,
}

/// How long `close` waits for reads that are under way.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// What an environment keeps of its owner.
#[derive(Default)]
struct Slot(Mutex<Weak<Shared>>);

impl Store {
    pub fn open(location: &Location, options: &StoreOptions) -> Result<Store, Error> {
        let opening = Options { read_only: options.read_only, map_size: options.map_size };
        let environment = Environment::open(location, &opening)?;
        let slot = environment.extension(Slot::default);
        let mut kept = slot.0.lock();
        let shared = match kept.upgrade() {
            Some(shared) if shared.enter() => shared,
            previous => {
                // Its last handle was closed but it still drains: two owners would not know of each other.
                if let Some(previous) = previous {
                    previous.owner.stop();
                }
                let shared = Arc::new(Shared::start(environment, options)?);
                *kept = Arc::downgrade(&shared);
                shared
            }
        };
        Ok(Store(Arc::new(RwLock::new(Some(shared)))))
    }

    pub(super) fn shared(&self) -> Result<Arc<Shared>, Error> {
        self.0.read().clone().ok_or_else(Error::closed)
    }

    /// Opens a database of this store, making it on first use.
    pub fn database(&self, options: DatabaseOptions) -> Reply<Db> {
        match self.shared() {
            Ok(shared) => Db::open(&shared, options),
            Err(error) => Reply::ready(Err(error)),
        }
    }

    /// What was written since the store was opened.
    pub fn wrote(&self) -> Result<Wrote, Error> {
        Ok(*self.shared()?.board.wrote.lock())
    }

    /// Comes after everything queued before it.
    pub fn settled(&self) -> Reply<()> {
        match self.shared() {
            Ok(shared) => shared.job(|_| Ok(())),
            Err(error) => Reply::ready(Err(error)),
        }
    }

    /// Ends this handle. Everything accepted before is done when the reply comes; after the last handle of the store
    /// its files are closed too. Closing twice is harmless.
    pub fn close(&self) -> Reply<()> {
        let Some(shared) = self.0.write().take() else { return Reply::ready(Ok(())) };
        if !shared.leave() {
            return shared.job(|_| Ok(()));
        }
        let (replier, reply) = Reply::channel();
        // Joining the owner waits for the disk: never on the caller's thread.
        let spawned = std::thread::Builder::new().name("multi-hyperbee close".into()).spawn(move || {
            if let Some(environment) = shared.stop() {
                let closed = environment.closed();
                let slot = environment.extension(Slot::default);
                drop(environment);
                // A read that runs at this moment may hold the files a little longer; who has opened them again does
                // so for good.
                let reopened = slot.0.lock().upgrade().is_some_and(|shared| !shared.is_closed());
                if !reopened {
                    closed.wait(CLOSE_PATIENCE);
                }
            }
            let _ = replier.send(Ok(()));
        });
        match spawned {
            Ok(_) => reply,
            Err(error) => {
                Reply::ready(Err(Error::new(Code::Closed, format!("no thread to close the store: {error}"))))
            }
        }
    }
}

impl Shared {
    fn start(environment: Environment, options: &StoreOptions) -> Result<Self, Error> {
        let board = Arc::new(Board::new(super::open::random()?));
        {
            let txn = environment.read()?;
            let holes = crate::feed::all_holes(&txn, 1).map_err(Error::from)?;
            board.has_holes.store(!holes.is_empty(), Ordering::Release);
            *board.repairing.lock() = super::repair::marked(&txn)?;
        }
        let clock = options.clock.clone().unwrap_or_else(|| Arc::new(system_time));
        let engine = Engine::new(environment.clone(), Arc::clone(&board), clock);
        let owner = Owner::spawn(engine)?;
        let environment = RwLock::new(Some(environment));
        Ok(Self { environment, board, owner, handles: AtomicUsize::new(1), next_number: AtomicU64::new(1) })
    }

    /// Counts a handle in, unless the last one has gone.
    fn enter(&self) -> bool {
        self.handles
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |handles| (handles > 0).then_some(handles + 1))
            .is_ok()
    }

    /// Counts a handle out; true if it was the last.
    fn leave(&self) -> bool {
        self.handles.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Whether its last handle is closed.
    pub fn is_closed(&self) -> bool {
        self.handles.load(Ordering::Acquire) == 0
    }

    /// Names a connection or a handle.
    pub fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Ends connections and the owner, and gives the environment out of its hands.
    fn stop(&self) -> Option<Environment> {
        self.board.peers().iter().for_each(super::peer::Peer::close);
        self.owner.stop();
        let environment = self.environment.write().take();
        self.board.reads.lock().take();
        environment
    }

    /// As [`Shared::read`], for reads of microseconds: they share a transaction until the next commit, unless another
    /// thread is at it.
    pub fn with_read<T>(&self, read: impl FnOnce(&ReadTxn) -> Result<T, Error>) -> Result<T, Error> {
        let Some(mut kept) = self.board.reads.try_lock() else { return read(&self.read()?) };
        match &*kept {
            Some(txn) => read(txn),
            None => read(kept.insert(self.read()?)),
        }
    }

    /// What is committed now, until the store is closed.
    pub fn read(&self) -> Result<ReadTxn, Error> {
        let environment = self.environment.read();
        Ok(environment.as_ref().ok_or_else(Error::closed)?.read()?)
    }

    pub fn environment(&self) -> Result<Environment, Error> {
        self.environment.read().clone().ok_or_else(Error::closed)
    }

    /// Queues work for the owner thread and replies with its result.
    pub fn job<T: Send + 'static>(
        &self,
        run: impl FnMut(&mut Work<'_, '_>) -> Result<T, Failure> + Send + 'static,
    ) -> Reply<T> {
        let (replier, reply) = Reply::channel();
        self.owner.submit(Box::new(Task { run, result: None, replier }));
        reply
    }
}

impl Shared {
    /// Queues work of a connection, whose window bounds how much of it waits; `then` is told the result, on the owner
    /// thread.
    pub fn windowed_job<T: Send + 'static>(
        &self,
        run: impl FnMut(&mut Work<'_, '_>) -> Result<T, Failure> + Send + 'static,
        peer: Peer,
        then: impl FnOnce(&Peer, Result<T, Error>) + Send + 'static,
    ) {
        self.owner.submit_windowed(Box::new(PeerTask { run, result: None, peer, then }));
    }
}

/// A closure as a job of a connection.
struct PeerTask<T, F, G> {
    run: F,
    result: Option<T>,
    peer: Peer,
    then: G,
}

impl<T, F, G> Job for PeerTask<T, F, G>
where
    T: Send,
    F: FnMut(&mut Work<'_, '_>) -> Result<T, Failure> + Send,
    G: FnOnce(&Peer, Result<T, Error>) + Send,
{
    fn run(&mut self, work: &mut Work<'_, '_>) -> Result<(), Failure> {
        self.result = Some((self.run)(work)?);
        Ok(())
    }

    fn done(self: Box<Self>, result: Result<(), Error>) {
        let this = *self;
        (this.then)(&this.peer, result.and_then(|()| this.result.ok_or_else(Error::stopped)));
    }
}

fn system_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A closure as a job.
struct Task<T, F> {
    run: F,
    result: Option<T>,
    replier: Replier<T>,
}

impl<T: Send, F: FnMut(&mut Work<'_, '_>) -> Result<T, Failure> + Send> Job for Task<T, F> {
    fn run(&mut self, work: &mut Work<'_, '_>) -> Result<(), Failure> {
        self.result = Some((self.run)(work)?);
        Ok(())
    }

    fn done(self: Box<Self>, result: Result<(), Error>) {
        let Self { result: found, replier, .. } = *self;
        // A caller that no longer listens has chosen not to know.
        let _ = replier.send(result.and_then(|()| found.ok_or_else(Error::stopped)));
    }
}
