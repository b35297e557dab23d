//! Cursors over the diff index: the diffs of one feed by key, and where those of one key stand in the shared order.

use super::keys::Next;
use super::merge::diffs_of;
use super::rows::{diff_bound, diff_key, split_diff_key, split_key_of_diff};
use super::scan::{Bounds, Seen};
use super::space::Space;
use super::{ViewError, Writers};
use crate::store::{Read, ReadTxn, Table};
use crate::types::{Effective, Position};
use std::collections::BTreeSet;
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
    /// Keys in the range that have diffs and no row in the view yet: the index of keys does not have them.
    pub unmerged: BTreeSet<Vec<u8>>,
}

type RowBounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// What is still to be visited.
enum Segment {
    Rows(RowBounds),
    /// The rows of one key.
    Key(Vec<u8>, RowBounds),
    /// Of an encrypted database: of every key in a range, by the index of keys.
    Keys(Bounds),
}

/// Goes on after the row it had reached, like the cursors over the view: it holds no transaction.
pub struct DiffCursor {
    space: Space,
    /// The next one last.
    segments: Vec<Segment>,
    unmerged: BTreeSet<Vec<u8>>,
    reverse: bool,
}

impl DiffCursor {
    pub fn new(space: Space, keys: &DiffKeys, reverse: bool) -> Self {
        let mut segments: Vec<_> = keys.single.iter().map(|key| of_key(&space, key)).collect();
        segments.push(if space.is_encrypted() {
            let to = keys.to.clone().map_or(Bound::Unbounded, Bound::Included);
            Segment::Keys(Bounds { from: Bound::Included(keys.from.clone()), to, reverse })
        } else {
            let database = space.database();
            let to = match &keys.to {
                Some(key) => Bound::Included(diff_bound(database, key, 0xff)),
                None => Bound::Excluded(diff_bound(database.saturating_add(1), &[], 0)),
            };
            Segment::Rows((Bound::Included(diff_bound(database, &keys.from, 0)), to))
        });
        if !reverse {
            segments.reverse();
        }
        Self { space, segments, unmerged: keys.unmerged.clone(), reverse }
    }

    /// Visits rows until the visitor has enough or they end. Returns whether there may be more: it may have visited
    /// none, and still not be at the end.
    pub fn visit(
        &mut self,
        txn: &ReadTxn,
        mut visitor: impl FnMut(DiffPlace<'_>) -> Result<Seen, ViewError>,
    ) -> Result<bool, ViewError> {
        let Self { space, segments, unmerged, reverse } = self;
        while let Some(segment) = segments.last_mut() {
            let more = match segment {
                Segment::Rows(bounds) => visit_rows(txn, bounds, *reverse, None, &mut visitor)?,
                Segment::Key(key, bounds) => visit_rows(txn, bounds, *reverse, Some(key), &mut visitor)?,
                Segment::Keys(bounds) => {
                    let Some(keys) = space.keys() else { return Ok(false) };
                    let Next { found, is_end } = keys.next(txn, space, bounds)?;
                    if let Some((last, _)) = found.last() {
                        bounds.pass(last.to_vec());
                    } else if !is_end {
                        return Ok(true);
                    }
                    if is_end {
                        segments.pop();
                    }
                    let mut keys = take_until(unmerged, found.last().map(|(key, _)| &**key), *reverse);
                    keys.extend(found.iter().map(|(key, _)| key.to_vec()));
                    // The next one last.
                    segments.extend(keys.iter().map(|key| of_key(space, key)));
                    let added = segments.len() - keys.len();
                    if !*reverse && let Some(added) = segments.get_mut(added..) {
                        added.reverse();
                    }
                    continue;
                }
            };
            if more {
                return Ok(true);
            }
            segments.pop();
        }
        Ok(false)
    }
}

/// Takes out those that a range has come to with `last`; none: that was the end.
fn take_until(keys: &mut BTreeSet<Vec<u8>>, last: Option<&[u8]>, reverse: bool) -> BTreeSet<Vec<u8>> {
    let is_reached = |key: &Vec<u8>| {
        last.is_none_or(|last| if reverse { key.as_slice() >= last } else { key.as_slice() <= last })
    };
    let taken = keys.iter().filter(|key| is_reached(key)).cloned().collect();
    keys.retain(|key| !is_reached(key));
    taken
}

fn of_key(space: &Space, key: &[u8]) -> Segment {
    let (database, name) = (space.database(), space.name(key));
    let from = Bound::Included(diff_bound(database, &name, 0));
    Segment::Key(key.to_vec(), (from, Bound::Included(diff_bound(database, &name, 0xff))))
}

/// Visits the rows within the bounds, which it narrows to what is left. `key`: whose they are, if all are of one.
fn visit_rows(
    txn: &ReadTxn,
    (from, to): &mut RowBounds,
    reverse: bool,
    key: Option<&[u8]>,
    visitor: &mut impl FnMut(DiffPlace<'_>) -> Result<Seen, ViewError>,
) -> Result<bool, ViewError> {
    let (low, high) = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
    let rows =
        if reverse { txn.range_back(Table::Diffs, low, high)? } else { txn.range(Table::Diffs, low, high)? };
    for row in rows {
        let row = row?.0;
        let (effective, feed, seq) = split_diff_key(row)?;
        let key = match key {
            Some(key) => key,
            None => split_key_of_diff(row)?,
        };
        if visitor(DiffPlace { key, effective, feed, seq })? == Seen::Enough {
            *(if reverse { to } else { from }) = Bound::Excluded(row.to_vec());
            return Ok(true);
        }
    }
    Ok(false)
}

/// The seq below `below` of the feed's last diff of `key` with that timestamp; two puts of a batch share one.
pub fn diff_at(
    txn: &impl Read,
    space: &Space,
    key: &[u8],
    effective: Effective,
    feed: u32,
    below: u64,
) -> Result<Option<u64>, ViewError> {
    let (database, name) = (space.database(), space.name(key));
    let (from, to) =
        (diff_key(database, &name, effective, feed, 0), diff_key(database, &name, effective, feed, below));
    for row in txn.range_back(Table::Diffs, Bound::Included(&from), Bound::Excluded(&to))? {
        let row = row?.0;
        // Longer keys that begin alike stand in between.
        if *split_key_of_diff(row)? == *name {
            return Ok(Some(split_diff_key(row)?.2));
        }
    }
    Ok(None)
}

/// Where the diffs of `key` that are not before `from` stand, with the numbers of their feeds, in the shared order.
pub fn diff_positions(
    txn: &impl Read,
    space: &Space,
    writers: &Writers,
    key: &[u8],
    from: Effective,
) -> Result<Vec<(Position, u32)>, ViewError> {
    let mut found = diffs_of(txn, space, writers, key, from)?;
    found.sort_unstable();
    Ok(found)
}
