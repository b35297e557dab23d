//! What differs between two versions, and which version was there at a time.

use super::compact::Pin;
use super::database::{Db, LiveRow};
use super::error::{Code, Error};
use super::reads::{Chunk, Range, size};
use crate::store::{Read as _, ReadTxn, Table};
use crate::view::{self, CompareCursor, Compared};
use std::ops::Bound;

/// Keys that differ between two versions, in order. Between two calls it holds no transaction.
pub struct Comparison {
    db: Db,
    cursor: CompareCursor,
    left: u64,
    /// The left version is the older one.
    left_is_old: bool,
    /// What it compares stays meanwhile.
    _pins: [Option<Pin>; 2],
}

impl Db {
    /// Keys of the range written between two versions, whichever is newer; `None`: the latest.
    pub fn compare(&self, left: Option<u64>, right: Option<u64>, range: Range) -> Result<Comparison, Error> {
        let (bounds, limit) = range.bounds();
        let inner = self.whole()?;
        let (newest, latest, _) = inner.hold_newest()?;
        let (left, right) = (left.unwrap_or(latest), right.unwrap_or(latest));
        let pins = [inner.hold_to_read(left)?, inner.hold_to_read(right)?];
        drop(newest);
        let (old, new) = (left.min(right), left.max(right));
        let floor = view::floor(&inner.shared.read()?, inner.open.id)?;
        let cursor = CompareCursor::new(inner.open.space.clone(), old, new, floor, bounds);
        Ok(Comparison { db: self.clone(), cursor, left: limit, left_is_old: left < right, _pins: pins })
    }

    /// The last version committed at or before `time` (NTP64); 0 before the first.
    pub fn version_at(&self, time: u64) -> Result<u64, Error> {
        self.read(|inner, txn| {
            let latest = inner.version(txn)?;
            let version = committed_at(txn, inner.open.id, latest, time)?;
            // Before the first commit that is kept there may have been others.
            let oldest = view::floor(txn, inner.open.id)?;
            if version == 0 && oldest > 1 {
                let what = format!(
                    "what was there at that time is not kept any more: the oldest version is {oldest}; keep more \
                     with the option history"
                );
                return Err(Error::new(Code::VersionGone, what));
            }
            Ok(version)
        })
    }
}

/// Commits and their times both ascend, so halving finds the last one in time.
fn committed_at(txn: &ReadTxn, database: u32, latest: u64, time: u64) -> Result<u64, Error> {
    let (mut low, mut high, mut best) = (0, latest, 0);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        let (from, to) = (view::log_key(database, low), view::log_key(database, middle));
        match txn.last(Table::Commits, Bound::Excluded(&from), Bound::Included(&to))? {
            None => low = middle,
            Some((key, clock)) => {
                let version = u64_at_end(key)?;
                if u64_at_end(clock)? <= time {
                    (low, best) = (middle, version);
                } else {
                    high = version.saturating_sub(1);
                }
            }
        }
    }
    Ok(best)
}

fn u64_at_end(bytes: &[u8]) -> Result<u64, Error> {
    let last = bytes.last_chunk().ok_or_else(|| {
        Error::new(Code::Corrupt, "a row of commits is damaged; restore the store from a peer or a backup")
    })?;
    Ok(u64::from_be_bytes(*last))
}

impl Comparison {
    /// Hands on the next keys' entries at the left and at the right version, at most so many. False: that was the
    /// end. A call may find nothing and still not be at the end.
    pub fn visit(
        &mut self,
        max_entries: usize,
        max_bytes: usize,
        mut visitor: impl FnMut(Option<&LiveRow<'_>>, Option<&LiveRow<'_>>),
    ) -> Result<bool, Error> {
        let Self { db, cursor, left, left_is_old, .. } = self;
        if *left == 0 {
            return Ok(false);
        }
        let mut chunk = Chunk::new(max_entries.min(usize::try_from(*left).unwrap_or(usize::MAX)), max_bytes);
        let more = db.read(|_, txn| {
            let more = cursor.visit(txn, |compared| {
                let Some(Compared { key, old, new }) = compared else { return Ok(chunk.passed()) };
                let new = LiveRow::of(new.version, key, new)?;
                let old = old.map(|row| LiveRow::of(row.version, key, row)).transpose()?.flatten();
                if old.is_none() && new.is_none() {
                    return Ok(chunk.passed());
                }
                *left -= 1;
                let bytes = [&old, &new].into_iter().flatten().map(|row| size(row.value)).sum::<usize>();
                if *left_is_old {
                    visitor(old.as_ref(), new.as_ref());
                } else {
                    visitor(new.as_ref(), old.as_ref());
                }
                Ok(chunk.took(key.len() + bytes))
            })?;
            Ok(more)
        })?;
        Ok(more && *left > 0)
    }
}
