//! Keys that somebody else merges: what is read for them, and the row that is written when the value is there.

use super::merge::{Merged, Writers, base_before, decode, read_change, refold, update_index};
use super::rows::{diff_bound, diff_key, put_low, split_diff_key, split_key_of_diff, view_key};
use super::{Added, Removed, ViewError, log_key, newest};
use crate::crdt::{Change, State};
use crate::store::{Read, Table, WriteTxn};
use crate::types::Position;
use std::ops::Bound;

/// What folding goes on from.
pub struct Base {
    pub state: State,
    /// The last diff it holds.
    pub last: Option<Position>,
    /// The version of the key's newest row, whether or not that is the base.
    pub newest: Option<u64>,
    /// What the next row says in `low`.
    pub low: Option<Position>,
    /// How long the state's row is, about.
    pub bytes: usize,
}

/// Makes `added` count and `removed` count no more, without merging them: their keys' rows stay.
pub fn index(
    txn: &mut WriteTxn<'_>,
    database: u32,
    key: &[u8],
    added: &[Added],
    removed: &[Removed],
    version: u64,
) -> Result<(), ViewError> {
    update_index(txn, database, key, added, removed, version)
}

/// What a key is folded on from if everything at or after `low` may be new, and no row up to version `floor` counts.
pub fn base_of(
    txn: &impl Read,
    database: u32,
    key: &[u8],
    low: Position,
    floor: u64,
) -> Result<Base, ViewError> {
    let row = newest(txn, database, key, None)?;
    let newest = row.map(|row| row.version);
    let bytes = row.map_or(0, |row| row.size());
    let usable = row.filter(|row| row.version > floor);
    if let Some(row) = usable
        && let Some(last) = row.view()?.last
        && last >= low
    {
        let (state, last) = base_before(txn, database, key, Some(low), floor, &mut Merged::default())?;
        return Ok(Base { state, last, newest, low: Some(low), bytes });
    }
    let last = usable.map(|row| row.view().map(|view| view.last)).transpose()?.flatten();
    Ok(Base { state: decode(usable)?, last, newest, low: None, bytes })
}

/// The key's next changes after `last`, in linear order, each with its feed's number: at least one if there is any, and
/// no more once there are `most` or their blocks have `bytes`. Those of one timestamp come together.
pub fn changes_after(
    txn: &impl Read,
    database: u32,
    writers: &Writers,
    key: &[u8],
    last: Option<Position>,
    most: usize,
    mut bytes: usize,
) -> Result<Vec<(Change, u32)>, ViewError> {
    let places = places_after(txn, database, writers, key, last, most)?;
    let mut changes = Vec::with_capacity(places.len());
    for (position, feed) in places {
        let (change, length) = read_change(txn, feed, position)?;
        changes.push((change, feed));
        bytes = bytes.saturating_sub(length);
        if bytes == 0 {
            break;
        }
    }
    Ok(changes)
}

fn places_after(
    txn: &impl Read,
    database: u32,
    writers: &Writers,
    key: &[u8],
    last: Option<Position>,
    most: usize,
) -> Result<Vec<(Position, u32)>, ViewError> {
    let from = last.map(|last| last.effective).unwrap_or_default();
    let (from, to) = (diff_key(database, key, from, 0, 0), diff_bound(database, key, 0xff));
    let mut places: Vec<(Position, u32)> = Vec::new();
    for row in txn.range(Table::Diffs, Bound::Included(&from), Bound::Included(&to))? {
        let (effective, feed, seq) = split_diff_key(row?.0)?;
        // Rows of one timestamp are not in linear order: all of them or none.
        let ends_here = places.last().is_some_and(|(place, _)| place.effective != effective);
        if places.len() >= most && ends_here {
            break;
        }
        let writer = *writers.get(&feed).ok_or(ViewError::Block { feed, seq })?;
        let position = Position { effective, writer, seq };
        if last.is_none_or(|last| position > last) {
            places.push((position, feed));
        }
    }
    places.sort_unstable();
    Ok(places)
}

/// Writes a key's new state as `version`.
pub fn put_row(
    txn: &mut WriteTxn<'_>,
    database: u32,
    key: &[u8],
    version: u64,
    low: Option<Position>,
    state: &[u8],
) -> Result<(), ViewError> {
    let mut value = Vec::with_capacity(state.len() + 1);
    put_low(&mut value, low.as_ref());
    value.extend_from_slice(state);
    txn.put(Table::View, &view_key(database, key, version), &value)?;
    txn.append(Table::Log, &log_key(database, version), key)?;
    Ok(())
}

/// Folds a key anew from what stands before `low`, and writes that as `version`.
pub fn remerge(
    txn: &mut WriteTxn<'_>,
    database: u32,
    writers: &Writers,
    key: &[u8],
    low: Position,
    version: u64,
    floor: u64,
) -> Result<(), ViewError> {
    let state = refold(txn, database, writers, key, Some(low), floor, &mut Merged::default())?;
    put_row(txn, database, key, version, Some(low), &state.encode())
}

/// The first keys, at most so many, that have diffs and are not before `from`.
pub fn keys_from(
    txn: &impl Read,
    database: u32,
    from: &[u8],
    most: usize,
) -> Result<Vec<Vec<u8>>, ViewError> {
    let end = diff_bound(database.saturating_add(1), &[], 0);
    let mut next = Bound::Included(diff_bound(database, from, 0));
    let mut keys = Vec::new();
    while keys.len() < most {
        let row = txn.first(Table::Diffs, next.as_ref().map(Vec::as_slice), Bound::Excluded(&end))?;
        let Some((row, _)) = row else { break };
        let key = split_key_of_diff(row)?.to_vec();
        next = Bound::Excluded(diff_bound(database, &key, 0xff));
        keys.push(key);
    }
    Ok(keys)
}
