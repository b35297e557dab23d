//! Whose functions merge: handles with functions stand in a line, and those of the first are asked.

use super::commit::Begun;
use super::round::Round;
use super::rows::{Functions, HandlerRow, Standing, Unmerged};
use crate::db::board::OpenDatabase;
use crate::db::database::{Db, LiveRow};
use crate::db::error::Error;
use crate::db::events::Event;
use crate::db::reads::ViewEntry;
use crate::entry::{Entry, Op};
use crate::store::block;
use crate::types::{FeedKey, Stamp};
use crate::view;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// For [`Db::is_merging`]: any key.
pub const ANY_KEY: &[&[u8]] = &[];

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
        let open = self.whole()?.open;
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
            let space = &inner.open.space;
            let mut waiting = false;
            if keys.is_empty() {
                Unmerged::each(txn, space, Standing::Waiting, |_, _| {
                    waiting = true;
                    Ok(false)
                })?;
            }
            for key in keys {
                waiting |= matches!(Unmerged::of(txn, space, key.as_ref())?, Some((_, Standing::Waiting)));
            }
            Ok(waiting)
        })
    }
}

impl Db {
    /// Whether the key that an entry has changed is still to be merged.
    pub(in crate::db) fn is_merging_entry(&self, writer: &FeedKey, seq: u64) -> Result<bool, Error> {
        if self.inner()?.open.runners.lock().is_empty() {
            return Ok(false);
        }
        let key = self.read(|inner, txn| {
            let Some(feed) = inner.feed_number(txn, writer)? else { return Ok(None) };
            let Some(bytes) = block(txn, feed, seq)? else { return Ok(None) };
            // What does not open waits for nobody.
            let Ok(bytes) = inner.open.space.blocks(*writer).open(seq, bytes) else { return Ok(None) };
            Ok(match Entry::decode(&bytes) {
                Ok(Entry { op: Op::Diff(diff), .. }) => Some(diff.key.to_vec()),
                _ => None,
            })
        })?;
        key.map_or(Ok(false), |key| self.is_merging(&[key]))
    }

    /// The entry of a key as of the state that a `_timestamp` names; the current one where that is not kept.
    pub fn entry_at(&self, key: &[u8], base: Option<(Stamp, u64)>) -> Result<Option<ViewEntry>, Error> {
        self.read(|inner, txn| {
            let found = match base {
                Some((stamp, state)) => view::find_base(txn, &inner.open.space, key, stamp, state)?,
                None => None,
            };
            let version = found.map(|(version, _)| version);
            let Some(row) = view::newest(txn, &inner.open.space, key, version)? else { return Ok(None) };
            Ok(LiveRow::of(row.version, key, &row)?.map(|row| row.to_entry()))
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
        Ok(others || self.db.is_merging(ANY_KEY)?)
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
