//! One environment per path and process.
//!
//! An entry stands from before the file is opened until after it is closed. While it has no living environment, one
//! is being opened or closed, and whoever else wants the path waits: opening right after closing simply works.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::environment::Shared;

static OPEN: Mutex<BTreeMap<PathBuf, Weak<Shared>>> = Mutex::new(BTreeMap::new());
static CHANGED: Condvar = Condvar::new();

/// What a path is, seen from this process.
pub(super) enum Lookup {
    /// Open already.
    Shared(Arc<Shared>),
    /// Ours to open.
    Claimed(Claim),
}

/// The right to have a path open; given back when dropped.
pub(super) struct Claim {
    path: PathBuf,
    closed: Arc<Signal>,
}

/// Finds the open environment of a path, or claims the path; waits while it is being opened or closed.
pub(super) fn look_up(path: &Path) -> Lookup {
    let mut open = OPEN.lock();
    loop {
        match open.get(path).map(Weak::upgrade) {
            Some(Some(shared)) => {
                // Unlocked first: should this become the last handle, dropping it locks again.
                drop(open);
                return Lookup::Shared(shared);
            }
            Some(None) => CHANGED.wait(&mut open),
            None => break,
        }
    }
    open.insert(path.to_owned(), Weak::new());
    Lookup::Claimed(Claim { path: path.to_owned(), closed: Arc::default() })
}

impl Claim {
    /// Lets others share what was opened under this claim.
    pub(super) fn publish(&self, shared: &Arc<Shared>) {
        OPEN.lock().insert(self.path.clone(), Arc::downgrade(shared));
        CHANGED.notify_all();
    }

    pub(super) fn closed(&self) -> Closed {
        Closed(self.closed.clone())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        OPEN.lock().remove(&self.path);
        CHANGED.notify_all();
        *self.closed.done.lock() = true;
        self.closed.changed.notify_all();
    }
}

#[derive(Default)]
struct Signal {
    done: Mutex<bool>,
    changed: Condvar,
}

/// Tells when an environment is closed: file unmapped, lock released, memory store removed.
#[derive(Clone)]
pub struct Closed(Arc<Signal>);

impl Closed {
    /// Waits until it is closed or the time is over; says whether it is closed.
    pub fn wait(&self, at_most: Duration) -> bool {
        let until = Instant::now().checked_add(at_most);
        let mut done = self.0.done.lock();
        while !*done {
            match until {
                Some(until) => {
                    if self.0.changed.wait_until(&mut done, until).timed_out() {
                        break;
                    }
                }
                None => self.0.changed.wait(&mut done),
            }
        }
        *done
    }
}
