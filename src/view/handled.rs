//! Keys that somebody else merges: what is read for them, and the row that is written when the value is there.

use super::merge::{Merged, Writers, base_before, decode, key_of_block, read_change, refold, update_index};
use super::rows::{Row, by_name, diff_bound, diff_key, put_low, split_diff_key, split_key_of_diff};
use super::space::Space;
use super::{Added, Removed, ViewError};
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
    space: &Space,
    key: &[u8],
    added: &[Added],
    removed: &[Removed],
    version: u64,
) -> Result<(), ViewError> {
    update_index(txn, space, key, added, removed, version)
}

/// What a key is folded on from if everything at or after `low` may be new, and no row up to version `floor` counts.
pub fn base_of(
    txn: &impl Read,
    space: &Space,
    key: &[u8],
    low: Position,
    floor: u64,
) -> Result<Base, ViewError> {
    let newest = space.newest_version(txn, key)?;
    let is_usable = newest.is_some_and(|version| version > floor);
    let usable = if is_usable { super::newest(txn, space, key, None)? } else { None };
    let bytes = usable.as_ref().map_or(0, Row::size);
    if let Some(row) = &usable
        && let Some(last) = row.view()?.last
        && last >= low
    {
        let (state, last) = base_before(txn, space, key, Some(low), floor, &mut Merged::default())?;
        return Ok(Base { state, last, newest, low: Some(low), bytes });
    }
    let last = usable.as_ref().map(|row| row.view().map(|view| view.last)).transpose()?.flatten();
    Ok(Base { state: decode(usable)?, last, newest, low: None, bytes })
}

/// The key's next changes after `last`, in linear order, each with its feed's number: at least one if there is any, and
/// no more once there are `most` or their blocks have `bytes`. Those of one timestamp come together.
pub fn changes_after(
    txn: &impl Read,
    space: &Space,
    writers: &Writers,
    key: &[u8],
    last: Option<Position>,
    most: usize,
    mut bytes: usize,
) -> Result<Vec<(Change, u32)>, ViewError> {
    let places = places_after(txn, space, writers, key, last, most)?;
    let mut changes = Vec::with_capacity(places.len());
    for (position, feed) in places {
        let (change, length) = read_change(txn, space, feed, position)?;
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
    space: &Space,
    writers: &Writers,
    key: &[u8],
    last: Option<Position>,
    most: usize,
) -> Result<Vec<(Position, u32)>, ViewError> {
    let from = last.map(|last| last.effective).unwrap_or_default();
    let (database, name) = (space.database(), space.name(key));
    let (from, to) = (diff_key(database, &name, from, 0, 0), diff_bound(database, &name, 0xff));
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
    space: &Space,
    key: &[u8],
    version: u64,
    low: Option<Position>,
    state: &[u8],
) -> Result<(), ViewError> {
    let mut value = Vec::with_capacity(state.len() + 1);
    put_low(&mut value, low.as_ref());
    value.extend_from_slice(state);
    space.put(txn, key, version, &value)
}

/// Folds a key anew from what stands before `low`, and writes that as `version`.
pub fn remerge(
    txn: &mut WriteTxn<'_>,
    space: &Space,
    writers: &Writers,
    key: &[u8],
    low: Position,
    version: u64,
    floor: u64,
) -> Result<(), ViewError> {
    let state = refold(txn, space, writers, key, Some(low), floor, &mut Merged::default())?;
    put_row(txn, space, key, version, Some(low), &state.encode())
}

/// A key that has diffs, and what stands for it in rows.
pub struct Named {
    pub name: Vec<u8>,
    pub key: Vec<u8>,
}

/// The first keys by name, at most so many, that have diffs and whose names are not before `from`.
pub fn keys_from(
    txn: &impl Read,
    space: &Space,
    writers: &Writers,
    from: &[u8],
    most: usize,
) -> Result<Vec<Named>, ViewError> {
    let database = space.database();
    let end = diff_bound(database.saturating_add(1), &[], 0);
    let mut next = Bound::Included(diff_bound(database, from, 0));
    let mut keys = Vec::new();
    while keys.len() < most {
        let row = txn.first(Table::Diffs, next.as_ref().map(Vec::as_slice), Bound::Excluded(&end))?;
        let Some((row, _)) = row else { break };
        let name = split_key_of_diff(row)?.to_vec();
        next = Bound::Excluded(diff_bound(database, &name, 0xff));
        keys.push(Named { key: key_of_diffs(txn, space, writers, row, &name)?, name });
    }
    Ok(keys)
}

/// The key that a name stands for: it is said in the key's newest row, or, before there is one, in its diffs.
fn key_of_diffs(
    txn: &impl Read,
    space: &Space,
    writers: &Writers,
    row: &[u8],
    name: &[u8],
) -> Result<Vec<u8>, ViewError> {
    if !space.is_encrypted() {
        return Ok(name.to_vec());
    }
    if let Some(row) = by_name(txn, space, name, None)? {
        return Ok(row.key(name).to_vec());
    }
    let (_, feed, seq) = split_diff_key(row)?;
    let writer = *writers.get(&feed).ok_or(ViewError::Block { feed, seq })?;
    key_of_block(txn, space, feed, writer, seq)
}
