//! Whose functions merge: handles with functions stand in a line, and those of the first are asked.

use super::commit::Begun;
use super::round::Round;
use super::rows::{Functions, HandlerRow, Standing, Unmerged};
use crate::db::board::OpenDatabase;
use crate::db::database::Db;
use crate::db::error::Error;
use crate::db::events::Event;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Any key.
const NO_KEYS: &[&[u8]] = &[];

/// Numbers of places in lines, never used twice.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A place in a database's line. Dropping it gives the place up: the next in the line takes over.
pub struct Runner {
    db: Db,
    open: Arc<OpenDatabase>,
    number: u64,
    functions: Functions,
}

impl Db {
    /// Takes a place in the line of those whose functions merge. `functions` none: when it is first, the built-in fold
    /// merges from then on.
    pub fn attach(&self, functions: Functions) -> Result<Runner, Error> {
        let open = self.inner()?.open;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        open.runners.lock().push((number, functions));
        Ok(Runner { db: self.clone(), open, number, functions })
    }

    /// Which functions merge, whether or not a handle has them now.
    pub fn functions(&self) -> Result<Functions, Error> {
        self.read(|inner, txn| Ok(HandlerRow::load(txn, inner.open.id)?.functions))
    }

    /// Whether one of `keys` (any, if there are none) has diffs that a handle with functions has still to merge. What
    /// has failed, or what no handle is there for, is not waited for.
    pub fn is_merging(&self, keys: &[impl AsRef<[u8]>]) -> Result<bool, Error> {
        let inner = self.inner()?;
        if inner.open.runners.lock().is_empty() {
            return Ok(false);
        }
        inner.shared.with_read(|txn| {
            let id = inner.open.id;
            let mut waiting = false;
            if keys.is_empty() {
                Unmerged::each(txn, id, Standing::Waiting, |_, _| {
                    waiting = true;
                    Ok(false)
                })?;
            }
            for key in keys {
                waiting |= matches!(Unmerged::of(txn, id, key.as_ref())?, Some((_, Standing::Waiting)));
            }
            Ok(waiting)
        })
    }
}

impl Runner {
    pub fn functions(&self) -> Functions {
        self.functions
    }

    /// Whether this handle's functions merge, and there is something for them.
    pub fn is_due(&self) -> Result<bool, Error> {
        if self.open.runners.lock().first().is_none_or(|(first, _)| *first != self.number) {
            return Ok(false);
        }
        let inner = self.db.inner()?;
        let row = inner.shared.with_read(|txn| Ok(HandlerRow::load(txn, inner.open.id)?))?;
        let others = row.functions != self.functions || row.marking.is_some();
        Ok(others || self.db.is_merging(NO_KEYS)?)
    }

    /// The next round; none: nothing waits, or another handle's functions merge. `retry`: what has failed is tried again.
    pub fn round(&self, retry: bool) -> impl Future<Output = Result<Option<Round>, Error>> + Send + use<> {
        let (db, number, functions) = (self.db.clone(), self.number, self.functions);
        async move {
            loop {
                let begun = db.job(move |work, id| work.begin_round(id, number, functions, retry)).await?;
                match begun {
                    Begun::NotOurs => return Ok(None),
                    Begun::More => {}
                    Begun::Ready => return Round::load(db, number, functions),
                }
            }
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.open.runners.lock().retain(|(number, _)| *number != self.number);
        // The next in the line looks, and so does whoever waits.
        self.open.subscribers.send(&Event::Progress);
    }
}
