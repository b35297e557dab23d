//! Whole values, as apply mode writes them: nothing is folded, and what was undone is written back.

use super::rows::{Row, by_name, put_low, split_view_key, view_key};
use super::space::Space;
use super::{ViewError, log_key, newest};
use crate::crdt::{Change, ChangeKind, Live, State};
use crate::store::{Read, Table, WriteTxn};
use crate::types::Position;
use std::collections::BTreeSet;
use std::ops::Bound;

/// Makes `value` the key's value, or deletes it, as `version`; false if that changes nothing. `position`: of the entry
/// that did it.
pub fn write_whole(
    txn: &mut WriteTxn<'_>,
    space: &Space,
    key: &[u8],
    value: Option<&[u8]>,
    position: Position,
    version: u64,
) -> Result<bool, ViewError> {
    if live(newest(txn, space, key, None)?.as_ref())? == value {
        return Ok(false);
    }
    let mut state = State::empty();
    let kind = value.map_or(ChangeKind::Delete, |value| ChangeKind::Register(value.to_vec()));
    state.fold(&Change { position, prev: None, kind });
    put(txn, space, key, &state, version)?;
    Ok(true)
}

/// The bytes of a live value.
fn live<'r>(row: Option<&'r Row<'_>>) -> Result<Option<&'r [u8]>, ViewError> {
    Ok(written(row)?.map(|(bytes, _)| bytes))
}

/// The bytes of a live value, and where the entry stands that wrote it.
type Written<'r> = (&'r [u8], Option<Position>);

fn written<'r>(row: Option<&'r Row<'_>>) -> Result<Option<Written<'r>>, ViewError> {
    let Some(view) = row.map(Row::view).transpose()? else { return Ok(None) };
    Ok(match view.live {
        Some(Live::Register(bytes)) => Some((bytes, view.last)),
        Some(Live::Object(_)) | None => None,
    })
}

fn put(
    txn: &mut WriteTxn<'_>,
    space: &Space,
    key: &[u8],
    state: &State,
    version: u64,
) -> Result<(), ViewError> {
    let mut row = Vec::new();
    put_low(&mut row, None);
    state.encode_into(&mut row);
    space.put(txn, key, version, &row)
}

/// The keys written after version `from`, up to `to`.
pub fn written_between(
    txn: &impl Read,
    space: &Space,
    from: u64,
    to: u64,
) -> Result<BTreeSet<Vec<u8>>, ViewError> {
    let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
    let (after, last) = (log_key(space.database(), from), log_key(space.database(), to));
    for row in txn.range(Table::Log, Bound::Excluded(&after), Bound::Included(&last))? {
        let (_, name) = row?;
        if names.insert(name)
            && let Some(row) = by_name(txn, space, name, Some(to))?
        {
            keys.insert(row.key(name).to_vec());
        }
    }
    Ok(keys)
}

/// Every key that has a row.
pub fn all_keys(txn: &impl Read, space: &Space) -> Result<BTreeSet<Vec<u8>>, ViewError> {
    let database = space.database();
    let end = view_key(database.saturating_add(1), &[], u64::MAX);
    let mut next = Bound::Included(view_key(database, &[], u64::MAX));
    let mut keys = BTreeSet::new();
    loop {
        let row = txn.first(Table::View, next.as_ref().map(Vec::as_slice), Bound::Excluded(&end))?;
        let Some((row, value)) = row else { return Ok(keys) };
        let name = split_view_key(row)?.0;
        keys.insert(space.open(row, value)?.key(name).to_vec());
        next = Bound::Excluded(view_key(database, name, 0));
    }
}

/// Writes the key's state at version `at` back, as `version`; false if it is the same now.
pub fn write_back(
    txn: &mut WriteTxn<'_>,
    space: &Space,
    key: &[u8],
    at: u64,
    version: u64,
) -> Result<bool, ViewError> {
    let then = newest(txn, space, key, Some(at))?;
    // Which entry wrote a value is part of it: else it would depend on what was undone.
    if written(then.as_ref())? == written(newest(txn, space, key, None)?.as_ref())? {
        return Ok(false);
    }
    let then = then.map_or_else(|| Ok(State::empty()), |row| row.decode_state())?;
    put(txn, space, key, &then, version)?;
    Ok(true)
}
