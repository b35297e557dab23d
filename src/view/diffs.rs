//! Cursors over the diff index: the diffs of one feed by key, and where those of one key stand in the shared order.

use super::merge::diffs_of;
use super::rows::{diff_bound, diff_key, split_diff_key, split_key_of_diff};
use super::{ViewError, Writers};
use crate::store::{Read, Table};
use crate::types::{Effective, Position};
use std::ops::Bound;

/// A diff as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiffPlace<'t> {
    pub key: &'t [u8],
    pub effective: Effective,
    /// This store's number of its feed.
    pub feed: u32,
    pub seq: u64,
}

/// The keys whose diffs are visited: single ones, then a range.
#[derive(Clone, Debug, Default)]
pub struct DiffKeys {
    /// Each sorts before all that follow.
    pub single: Vec<Vec<u8>>,
    pub from: Vec<u8>,
    /// Included; none: to the last key.
    pub to: Option<Vec<u8>>,
}

type RowBounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// Goes on after the row it had reached, like the cursors over the view: it holds no transaction.
pub struct DiffCursor {
    /// Row bounds still to be visited, the next one last.
    segments: Vec<RowBounds>,
    reverse: bool,
}

impl DiffCursor {
    pub fn new(database: u32, keys: &DiffKeys, reverse: bool) -> Self {
        let whole = |key: &[u8]| {
            let from = Bound::Included(diff_bound(database, key, 0));
            (from, Bound::Included(diff_bound(database, key, 0xff)))
        };
        let mut segments: Vec<_> = keys.single.iter().map(|key| whole(key)).collect();
        let to = match &keys.to {
            Some(key) => Bound::Included(diff_bound(database, key, 0xff)),
            None => Bound::Excluded(diff_bound(database.saturating_add(1), &[], 0)),
        };
        segments.push((Bound::Included(diff_bound(database, &keys.from, 0)), to));
        if !reverse {
            segments.reverse();
        }
        Self { segments, reverse }
    }

    /// Visits rows until the visitor has enough or they end. Returns whether there may be more.
    pub fn visit(
        &mut self,
        txn: &impl Read,
        mut visitor: impl FnMut(DiffPlace<'_>) -> Result<super::Seen, ViewError>,
    ) -> Result<bool, ViewError> {
        while let Some((from, to)) = self.segments.last_mut() {
            let (low, high) = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
            let rows = if self.reverse {
                txn.range_back(Table::Diffs, low, high)?
            } else {
                txn.range(Table::Diffs, low, high)?
            };
            let mut reached = None;
            for row in rows {
                let row = row?.0;
                let (effective, feed, seq) = split_diff_key(row)?;
                if visitor(DiffPlace { key: split_key_of_diff(row)?, effective, feed, seq })?
                    == super::Seen::Enough
                {
                    reached = Some(row.to_vec());
                    break;
                }
            }
            match reached {
                Some(row) if self.reverse => *to = Bound::Excluded(row),
                Some(row) => *from = Bound::Excluded(row),
                None => {
                    self.segments.pop();
                    continue;
                }
            }
            return Ok(true);
        }
        Ok(false)
    }
}

/// The seq below `below` of the feed's last diff of `key` with that timestamp; two puts of a batch share one.
pub fn diff_at(
    txn: &impl Read,
    database: u32,
    key: &[u8],
    effective: Effective,
    feed: u32,
    below: u64,
) -> Result<Option<u64>, ViewError> {
    let (from, to) =
        (diff_key(database, key, effective, feed, 0), diff_key(database, key, effective, feed, below));
    for row in txn.range_back(Table::Diffs, Bound::Included(&from), Bound::Excluded(&to))? {
        let row = row?.0;
        // Longer keys that begin alike stand in between.
        if split_key_of_diff(row)? == key {
            return Ok(Some(split_diff_key(row)?.2));
        }
    }
    Ok(None)
}

/// Where the diffs of `key` that are not before `from` stand, with the numbers of their feeds, in the shared order.
pub fn diff_positions(
    txn: &impl Read,
    database: u32,
    writers: &Writers,
    key: &[u8],
    from: Effective,
) -> Result<Vec<(Position, u32)>, ViewError> {
    let mut found = diffs_of(txn, database, writers, key, from)?;
    found.sort_unstable();
    Ok(found)
}
