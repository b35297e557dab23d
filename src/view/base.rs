//! The state a caller had read: what a put is compared with.

use super::merge::{read_change, versions};
use super::rows::{Row, diff_bound, diff_key, split_diff_key, split_key_of_diff, split_view_key, view_key};
use super::space::Space;
use super::{ViewError, Writers, floor};
use crate::codec::Reader;
use crate::crdt::State;
use crate::store::{Read, Table};
use crate::types::{Position, Stamp};
use std::ops::Bound;

/// Diffs of a key up to which a state that no row holds any more is looked for, and how many of the latest arrivals are
/// left out at most: bounds what a put of something read long ago costs.
const MOST_DIFFS: usize = 1_024;
const MOST_LEFT_OUT: usize = 64;

/// The fold state that `(stamp, id)` names, if a row of the key still holds it, and its version.
pub fn find_base(
    txn: &impl Read,
    space: &Space,
    key: &[u8],
    stamp: Stamp,
    id: u64,
) -> Result<Option<(u64, State)>, ViewError> {
    if let Some(found) = made_by(txn, space, key, stamp, id)? {
        return Ok(Some(found));
    }
    for row in versions(txn, space, key, 0)? {
        let row = row?;
        if is_base(&row, stamp, id)? {
            return Ok(Some((row.version, row.decode_state()?)));
        }
    }
    Ok(None)
}

/// As [`find_base`], where that row was trimmed: folds the key's diffs without the latest arrivals, then without those
/// before, until the state is the one that is named. Its id says which diffs it is the fold of.
pub fn find_again(
    txn: &impl Read,
    space: &Space,
    writers: &Writers,
    key: &[u8],
    stamp: Stamp,
    id: u64,
) -> Result<Option<State>, ViewError> {
    if floor(txn, space.database())? <= 1 {
        // Nothing was trimmed: there is no more to look for.
        return Ok(None);
    }
    let Some(mut diffs) = arrivals(txn, space, writers, key)? else { return Ok(None) };
    diffs.sort_unstable();
    let mut changes = Vec::with_capacity(diffs.len());
    for (position, feed, version) in diffs {
        changes.push((read_change(txn, space, feed, position)?.0, version));
    }
    for _ in 0..MOST_LEFT_OUT {
        let Some(last) = changes.iter().map(|(_, version)| *version).max() else { return Ok(None) };
        if changes.last().is_some_and(|(change, _)| change.position.stamp() == stamp) {
            let mut state = State::empty();
            changes.iter().for_each(|(change, _)| state.fold(change));
            if state.id() == id {
                return Ok(Some(state));
            }
        }
        changes.retain(|(_, version)| *version != last);
    }
    Ok(None)
}

/// Where the key's diffs stand, their feeds, and as which version each was merged; none: they are too many.
fn arrivals(
    txn: &impl Read,
    space: &Space,
    writers: &Writers,
    key: &[u8],
) -> Result<Option<Vec<(Position, u32, u64)>>, ViewError> {
    let (database, name) = (space.database(), space.name(key));
    let (from, to) = (diff_bound(database, &name, 0), diff_bound(database, &name, 0xff));
    let mut found = Vec::new();
    for row in txn.range(Table::Diffs, Bound::Included(&from), Bound::Included(&to))? {
        let (row, value) = row?;
        if found.len() == MOST_DIFFS {
            return Ok(None);
        }
        let (effective, feed, seq) = split_diff_key(row)?;
        let writer = *writers.get(&feed).ok_or(ViewError::Block { feed, seq })?;
        let version = Reader::new(value).varint("the version of a diff")?;
        found.push((Position { effective, writer, seq }, feed, version));
    }
    Ok(Some(found))
}

fn is_base(row: &Row<'_>, stamp: Stamp, id: u64) -> Result<bool, ViewError> {
    let view = row.view()?;
    Ok(view.id == id && view.last.is_some_and(|last| last.stamp() == stamp))
}

/// As [`find_base`], where the state was made when its last diff was merged or soon after, as it is but for late diffs:
/// so a key that is written over and over is not searched through.
fn made_by(
    txn: &impl Read,
    space: &Space,
    key: &[u8],
    stamp: Stamp,
    id: u64,
) -> Result<Option<(u64, State)>, ViewError> {
    let (database, name) = (space.database(), space.name(key));
    let at = |feed, seq| diff_key(database, &name, stamp.effective, feed, seq);
    let newest = view_key(database, &name, u64::MAX);
    for row in
        txn.range(Table::Diffs, Bound::Included(&at(0, 0)), Bound::Included(&at(u32::MAX, u64::MAX)))?
    {
        let (row, value) = row?;
        if *split_key_of_diff(row)? != *name {
            continue;
        }
        let merged = Reader::new(value).varint("the version of a diff")?;
        let first = view_key(database, &name, merged);
        for row in txn.range_back(Table::View, Bound::Included(&newest), Bound::Included(&first))? {
            let (row, value) = row?;
            if *split_view_key(row)?.0 != *name {
                continue;
            }
            let row = Row::of(space.open(row, value)?)?;
            if is_base(&row, stamp, id)? {
                return Ok(Some((row.version, row.decode_state()?)));
            }
            if row.view()?.last.is_none_or(|last| last.stamp() != stamp) {
                break;
            }
        }
    }
    Ok(None)
}
