//! Cursors of the public API: over the view at one version, and over its history.

use super::compact::Pin;
use super::database::{Db, LiveRow, gone};
use super::error::Error;
use crate::crdt::Live;
use crate::types::Stamp;
use crate::view::{self, Bounds, HistoryCursor, ScanCursor, Seen};
use std::ops::Bound;

/// A live entry, copied out of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewEntry {
    /// The version it was written as.
    pub seq: u64,
    pub key: Vec<u8>,
    /// JSON text of an object, or a register's bytes.
    pub value: Vec<u8>,
    pub register: bool,
    pub stamp: Stamp,
    pub prev: Option<Stamp>,
    /// The state id, the last part of a `_timestamp` that was read.
    pub state: u64,
}

impl LiveRow<'_> {
    pub fn to_entry(&self) -> ViewEntry {
        let (value, register) = match self.value {
            Live::Object(text) => (text.as_bytes(), false),
            Live::Register(bytes) => (bytes, true),
        };
        ViewEntry {
            seq: self.version,
            key: self.key.to_vec(),
            value: value.to_vec(),
            register,
            stamp: self.stamp,
            prev: self.prev,
            state: self.state,
        }
    }
}

impl ViewEntry {
    pub fn row(&self) -> LiveRow<'_> {
        let text = if self.register { None } else { std::str::from_utf8(&self.value).ok() };
        let value = text.map_or(Live::Register(&self.value), Live::Object);
        LiveRow {
            version: self.seq,
            key: &self.key,
            value,
            stamp: self.stamp,
            prev: self.prev,
            state: self.state,
        }
    }
}

/// Keys to scan. `gt` wins over `gte`, `lt` over `lte`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    pub gt: Option<Vec<u8>>,
    pub gte: Option<Vec<u8>>,
    pub lt: Option<Vec<u8>>,
    pub lte: Option<Vec<u8>>,
    pub reverse: bool,
    /// Entries at most; none: all.
    pub limit: Option<u64>,
}

impl Range {
    pub(super) fn bounds(self) -> (Bounds, u64) {
        let from = match (self.gt, self.gte) {
            (Some(key), _) => Bound::Excluded(key),
            (None, Some(key)) => Bound::Included(key),
            (None, None) => Bound::Unbounded,
        };
        let to = match (self.lt, self.lte) {
            (Some(key), _) => Bound::Excluded(key),
            (None, Some(key)) => Bound::Included(key),
            (None, None) => Bound::Unbounded,
        };
        (Bounds { from, to, reverse: self.reverse }, self.limit.unwrap_or(u64::MAX))
    }
}

/// Live entries in key order, at one version. Between two calls it holds no transaction, so it pins no pages.
pub struct Scan {
    db: Db,
    cursor: ScanCursor,
    left: u64,
    /// What it reads stays meanwhile.
    _pin: Option<Pin>,
}

/// One view write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    pub put: bool,
    pub seq: u64,
    pub key: Vec<u8>,
    /// None for a delete.
    pub entry: Option<ViewEntry>,
}

/// View writes by version.
pub struct History {
    db: Db,
    cursor: HistoryCursor,
    /// What it has not come to yet stays meanwhile.
    pin: Pin,
}

impl Db {
    /// The key's live entry, now or as of a version.
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method's path is not general enough over the row's lifetime"
    )]
    pub fn get_entry(&self, key: &[u8], at: Option<u64>) -> Result<Option<ViewEntry>, Error> {
        self.get(key, at, |row| row.to_entry())
    }

    /// Scans at a version; none: the latest.
    pub fn scan(&self, range: Range, at: Option<u64>) -> Result<Scan, Error> {
        let (bounds, left) = range.bounds();
        let inner = self.whole()?;
        let (pin, version) = match at {
            Some(at) => (inner.hold_to_read(at)?, at),
            None => inner.hold_newest().map(|(pin, version, _)| (Some(pin), version))?,
        };
        let cursor = ScanCursor::new(inner.open.space.clone(), version, bounds);
        Ok(Scan { db: self.clone(), cursor, left, _pin: pin })
    }

    /// View writes of versions `from ..= to`; no end: the latest. From 0: from the oldest that is kept.
    pub fn history(&self, from: u64, to: Option<u64>, reverse: bool) -> Result<History, Error> {
        self.history_of(&[], from, to, reverse)
    }

    /// Those of keys that begin with `prefix`. All versions in between are looked at.
    pub fn history_of(
        &self,
        prefix: &[u8],
        from: u64,
        to: Option<u64>,
        reverse: bool,
    ) -> Result<History, Error> {
        let inner = self.whole()?;
        loop {
            let txn = inner.shared.read()?;
            let latest = inner.version(&txn)?;
            let to = to.unwrap_or(latest).min(latest);
            let oldest = view::floor(&txn, inner.open.id)?;
            if (1..oldest).contains(&from) {
                return Err(gone(from, oldest));
            }
            let from = from.max(oldest).max(1);
            // Unless the floor was raised since the transaction began.
            if let Some(pin) = inner.open.pins.hold(from) {
                let space = inner.open.space.clone();
                let cursor = HistoryCursor::new(space, prefix.to_vec(), from, to, reverse);
                return Ok(History { db: self.clone(), cursor, pin });
            }
        }
    }
}

/// When a chunk is full, or enough rows have been looked at for one slice of time.
pub(super) struct Chunk {
    entries: usize,
    bytes: usize,
    /// Rows of deleted keys are work too: a scan over many of them gives way in between.
    looked: usize,
}

/// Rows looked at in one call at most, for each entry asked for.
const LOOKS_PER_ENTRY: usize = 16;

impl Chunk {
    pub fn new(entries: usize, bytes: usize) -> Self {
        Self { entries, bytes, looked: entries.saturating_mul(LOOKS_PER_ENTRY) }
    }

    pub fn took(&mut self, bytes: usize) -> Seen {
        self.entries = self.entries.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        self.passed()
    }

    pub fn passed(&mut self) -> Seen {
        self.looked = self.looked.saturating_sub(1);
        if self.entries == 0 || self.bytes == 0 || self.looked == 0 { Seen::Enough } else { Seen::More }
    }
}

impl Scan {
    /// The version it reads at.
    pub fn version(&self) -> u64 {
        self.cursor.version()
    }

    /// Hands on the next entries, at most so many, and no more once they have reached so many bytes. False: that was
    /// the end. A call may find nothing and still not be at the end.
    pub fn visit(
        &mut self,
        max_entries: usize,
        max_bytes: usize,
        mut visitor: impl FnMut(&LiveRow<'_>),
    ) -> Result<bool, Error> {
        let Self { db, cursor, left, .. } = self;
        let mut chunk = Chunk::new(max_entries.min(usize::try_from(*left).unwrap_or(usize::MAX)), max_bytes);
        if *left == 0 {
            return Ok(false);
        }
        let more = db.read(|inner, txn| {
            inner.must_be_here(cursor.version(), txn)?;
            let more = cursor.visit(txn, |found| {
                Ok(match LiveRow::of(found.row.version, found.key, &found.row)? {
                    None => chunk.passed(),
                    Some(row) => {
                        *left -= 1;
                        visitor(&row);
                        chunk.took(row.key.len() + size(row.value))
                    }
                })
            })?;
            Ok(more)
        })?;
        Ok(more && *left > 0)
    }

    /// The next entries, copied; empty at the end.
    pub fn next(&mut self, max_entries: usize, max_bytes: usize) -> Result<Vec<ViewEntry>, Error> {
        let mut found = Vec::new();
        while self.visit(max_entries, max_bytes, |row| found.push(row.to_entry()))? && found.is_empty() {}
        Ok(found)
    }
}

impl History {
    /// Hands on the next writes. False: that was the end. A call may find nothing and still not be at the end.
    pub fn visit(
        &mut self,
        max_entries: usize,
        max_bytes: usize,
        mut visitor: impl FnMut(u64, &[u8], Option<&LiveRow<'_>>),
    ) -> Result<bool, Error> {
        let Self { db, cursor, pin } = self;
        let mut chunk = Chunk::new(max_entries, max_bytes);
        let more = db.read(|_, txn| {
            let more = cursor.visit(txn, |found| {
                let live = LiveRow::of(found.version, found.key, found.row)?;
                visitor(found.version, found.key, live.as_ref());
                Ok(chunk.took(found.key.len() + live.map_or(0, |row| size(row.value))))
            })?;
            Ok(more)
        })?;
        pin.advance(cursor.lowest());
        Ok(more)
    }

    /// The next entries, copied; empty at the end.
    pub fn next(&mut self, max_entries: usize, max_bytes: usize) -> Result<Vec<HistoryEntry>, Error> {
        let mut found = Vec::new();
        while self.visit(max_entries, max_bytes, |seq, key, live| {
            let entry = live.map(LiveRow::to_entry);
            found.push(HistoryEntry { put: entry.is_some(), seq, key: key.to_vec(), entry });
        })? && found.is_empty()
        {}
        Ok(found)
    }
}

pub(super) fn size(value: Live<'_>) -> usize {
    match value {
        Live::Object(text) => text.len(),
        Live::Register(bytes) => bytes.len(),
    }
}
