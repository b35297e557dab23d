//! Cursors over the view at one version, and over its history. A cursor holds no transaction: each call gets one, reads
//! on from the key it had reached, and lets it go, so a scan left half-read pins no pages.

use super::keys::{KeyIndex, Next};
use super::rows::{Row, by_name, log_key, split_view_key, view_key};
use super::space::{Space, Stored};
use super::{ViewError, newest};
use crate::store::{Read, ReadTxn, Table};
use std::ops::{Bound, RangeBounds};

/// Versions of one key that a forward scan steps over before it seeks past the rest: a hot key costs one seek.
const STEPS_BEFORE_SEEK: usize = 8;

/// Runs and seeks of one call to a scan, at most. A scan at an old version may pass over any number of newer rows, and
/// shows its visitor none of them: this keeps the call short all the same.
const RUNS_PER_CALL: usize = 1_024;

/// The same by the index of keys, each run of which is 64 seeks.
const KEY_RUNS_PER_CALL: usize = 16;

/// Versions of other keys that one call to a history passes over, at most.
const PASSED_PER_CALL: usize = 4_096;

/// The keys a scan is after. Bounds are of keys as stored.
#[derive(Clone, Debug)]
pub struct Bounds {
    pub from: Bound<Vec<u8>>,
    pub to: Bound<Vec<u8>>,
    pub reverse: bool,
}

impl Bounds {
    pub(super) fn contain(&self, key: &[u8]) -> bool {
        <(Bound<&[u8]>, Bound<&[u8]>) as RangeBounds<[u8]>>::contains(&self.as_slices(), key)
    }

    /// Goes on after this key.
    pub(super) fn pass(&mut self, key: Vec<u8>) {
        if self.reverse {
            self.to = Bound::Excluded(key);
        } else {
            self.from = Bound::Excluded(key);
        }
    }

    pub(super) fn as_slices(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (as_slice(&self.from), as_slice(&self.to))
    }
}

/// A key with a state at the scan's version; the state may be a tombstone.
pub struct ScanRow<'t> {
    pub key: &'t [u8],
    pub row: Row<'t>,
}

/// What a visitor of rows wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    More,
    Enough,
}

pub struct ScanCursor {
    space: Space,
    version: u64,
    bounds: Bounds,
    done: bool,
}

impl ScanCursor {
    pub fn new(space: Space, version: u64, bounds: Bounds) -> Self {
        Self { space, version, bounds, done: false }
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// Visits rows in order until the visitor has enough, the range ends, or much was passed over; the next call goes
    /// on behind what this one has reached. Returns whether there may be more: it may have visited none, and still not
    /// be at the end.
    pub fn visit(
        &mut self,
        txn: &ReadTxn,
        mut visitor: impl FnMut(&ScanRow<'_>) -> Result<Seen, ViewError>,
    ) -> Result<bool, ViewError> {
        let space = self.space.clone();
        let runs = if space.keys().is_some() { KEY_RUNS_PER_CALL } else { RUNS_PER_CALL };
        for _ in 0..runs {
            if self.done {
                return Ok(false);
            }
            let wanted = if let Some(keys) = space.keys() {
                self.by_keys(txn, keys, &mut visitor)?
            } else if self.bounds.reverse {
                self.step_back(txn, &mut visitor)?
            } else {
                self.run(txn, &mut visitor)?
            };
            if wanted == Seen::Enough {
                return Ok(true);
            }
        }
        Ok(!self.done)
    }

    /// By the index of keys, where rows do not stand in their order.
    fn by_keys(
        &mut self,
        txn: &ReadTxn,
        keys: &KeyIndex,
        visitor: &mut impl FnMut(&ScanRow<'_>) -> Result<Seen, ViewError>,
    ) -> Result<Seen, ViewError> {
        let Next { found, is_end } = keys.next(txn, &self.space, &mut self.bounds)?;
        if found.is_empty() {
            self.done = is_end;
            return Ok(if is_end { Seen::More } else { Seen::Enough });
        }
        let (mut wanted, mut last) = (Seen::More, None);
        for (key, kept) in found {
            let row = match &kept {
                // The index has come at least as far as this scan.
                Some(kept) if kept.version <= self.version => {
                    Some(Row::of(Stored::known(kept.version, &kept.value))?)
                }
                _ => newest(txn, &self.space, &key, Some(self.version))?,
            };
            if let Some(row) = row {
                wanted = visitor(&ScanRow { key: &key, row })?;
                if wanted == Seen::Enough {
                    self.bounds.pass(key.to_vec());
                    return Ok(Seen::Enough);
                }
            }
            last = Some(key);
        }
        if let Some(last) = last {
            self.bounds.pass(last.to_vec());
        }
        Ok(wanted)
    }

    /// Forward, until a seek is cheaper than going on, or the range ends.
    fn run(
        &mut self,
        txn: &impl Read,
        visitor: &mut impl FnMut(&ScanRow<'_>) -> Result<Seen, ViewError>,
    ) -> Result<Seen, ViewError> {
        let (from, to) = (self.lower(), self.upper());
        let mut passed: Option<&[u8]> = None;
        let mut steps = 0;
        for row in txn.range(Table::View, as_slice(&from), as_slice(&to))? {
            let (row, value) = row?;
            let (key, version) = split_view_key(row)?;
            if passed == Some(key) {
                steps += 1;
                if steps > STEPS_BEFORE_SEEK {
                    self.bounds.from = Bound::Excluded(key.to_vec());
                    return Ok(Seen::More);
                }
                continue;
            }
            if version > self.version {
                steps += 1;
                if steps > STEPS_BEFORE_SEEK {
                    self.bounds.from = Bound::Included(key.to_vec());
                    return self.seek_newest(txn, key, visitor);
                }
                continue;
            }
            passed = Some(key);
            steps = 0;
            if visitor(&ScanRow { key, row: Row::of(self.space.open(row, value)?)? })? == Seen::Enough {
                self.bounds.from = Bound::Excluded(key.to_vec());
                return Ok(Seen::Enough);
            }
        }
        self.done = true;
        Ok(Seen::More)
    }

    /// The state of one key whose newer versions are many, then on after it.
    fn seek_newest(
        &mut self,
        txn: &impl Read,
        key: &[u8],
        visitor: &mut impl FnMut(&ScanRow<'_>) -> Result<Seen, ViewError>,
    ) -> Result<Seen, ViewError> {
        self.bounds.from = Bound::Excluded(key.to_vec());
        match by_name(txn, &self.space, key, Some(self.version))? {
            Some(row) => visitor(&ScanRow { key, row }),
            None => Ok(Seen::More),
        }
    }

    /// Backward, one key. Rows of a key stand newest first, so each key is found from its end and then sought.
    fn step_back(
        &mut self,
        txn: &impl Read,
        visitor: &mut impl FnMut(&ScanRow<'_>) -> Result<Seen, ViewError>,
    ) -> Result<Seen, ViewError> {
        let (from, to) = (self.lower(), self.upper());
        let Some((row, _)) = txn.last(Table::View, as_slice(&from), as_slice(&to))? else {
            self.done = true;
            return Ok(Seen::More);
        };
        let key = split_view_key(row)?.0;
        self.bounds.to = Bound::Excluded(key.to_vec());
        match by_name(txn, &self.space, key, Some(self.version))? {
            Some(row) => visitor(&ScanRow { key, row }),
            None => Ok(Seen::More),
        }
    }

    fn lower(&self) -> Bound<Vec<u8>> {
        match &self.bounds.from {
            Bound::Unbounded => Bound::Included(view_key(self.space.database(), &[], u64::MAX)),
            Bound::Included(key) => Bound::Included(view_key(self.space.database(), key, u64::MAX)),
            Bound::Excluded(key) => Bound::Excluded(view_key(self.space.database(), key, 0)),
        }
    }

    fn upper(&self) -> Bound<Vec<u8>> {
        match &self.bounds.to {
            // Databases are numbered from 1 up; the first row of the next one ends this one.
            Bound::Unbounded => {
                Bound::Excluded(view_key(self.space.database().saturating_add(1), &[], u64::MAX))
            }
            Bound::Included(key) => Bound::Included(view_key(self.space.database(), key, 0)),
            Bound::Excluded(key) => Bound::Excluded(view_key(self.space.database(), key, u64::MAX)),
        }
    }
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

/// One view write, as it was.
pub struct HistoryRow<'t> {
    pub version: u64,
    pub key: &'t [u8],
    pub row: &'t Row<'t>,
}

/// Versions in `next ..= last`, or backwards, of keys that begin with `prefix`.
pub struct HistoryCursor {
    space: Space,
    prefix: Vec<u8>,
    next: u64,
    last: u64,
    reverse: bool,
}

impl HistoryCursor {
    /// `from` and `to` are versions, both included, in ascending order.
    pub fn new(space: Space, prefix: Vec<u8>, from: u64, to: u64, reverse: bool) -> Self {
        Self { space, prefix, next: from.max(1), last: to, reverse }
    }

    /// The lowest version it has not visited.
    pub fn lowest(&self) -> u64 {
        self.next
    }

    /// Visits rows until the visitor has enough, they end, or much was passed over. Returns whether there may be more.
    pub fn visit(
        &mut self,
        txn: &impl Read,
        mut visitor: impl FnMut(&HistoryRow<'_>) -> Result<Seen, ViewError>,
    ) -> Result<bool, ViewError> {
        let mut passed = 0;
        while self.next <= self.last {
            let version = if self.reverse { self.last } else { self.next };
            let row = log_key(self.space.database(), version);
            let Some(name) = txn.get(Table::Log, &row)? else { return Ok(false) };
            if self.reverse {
                self.last -= 1;
            } else {
                self.next += 1;
            }
            let Some(row) = by_name(txn, &self.space, name, Some(version))? else { continue };
            let key = row.key(name);
            if !key.starts_with(&self.prefix) {
                passed += 1;
                if passed == PASSED_PER_CALL {
                    return Ok(true);
                }
                continue;
            }
            if visitor(&HistoryRow { version, key, row: &row })? == Seen::Enough {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
