//! Whole values, as apply mode writes them: nothing is folded, and what was undone is written back.

use super::rows::{Row, put_low, view_key};
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
    database: u32,
    key: &[u8],
    value: Option<&[u8]>,
    position: Position,
    version: u64,
) -> Result<bool, ViewError> {
    if live(newest(txn, database, key, None)?)? == value {
        return Ok(false);
    }
    let mut state = State::empty();
    let kind = value.map_or(ChangeKind::Delete, |value| ChangeKind::Register(value.to_vec()));
    state.fold(&Change { position, prev: None, kind });
    put(txn, database, key, &state, version)?;
    Ok(true)
}

/// The bytes of a live value.
fn live(row: Option<Row<'_>>) -> Result<Option<&[u8]>, ViewError> {
    Ok(match row.map(|row| row.view()).transpose()?.and_then(|view| view.live) {
        Some(Live::Register(bytes)) => Some(bytes),
        Some(Live::Object(_)) | None => None,
    })
}

fn put(
    txn: &mut WriteTxn<'_>,
    database: u32,
    key: &[u8],
    state: &State,
    version: u64,
) -> Result<(), ViewError> {
    let mut row = Vec::new();
    put_low(&mut row, None);
    state.encode_into(&mut row);
    txn.put(Table::View, &view_key(database, key, version), &row)?;
    txn.append(Table::Log, &log_key(database, version), key)?;
    Ok(())
}

/// The keys written after version `from`, up to `to`.
pub fn written_between(
    txn: &impl Read,
    database: u32,
    from: u64,
    to: u64,
) -> Result<BTreeSet<Vec<u8>>, ViewError> {
    let mut keys = BTreeSet::new();
    let (after, last) = (log_key(database, from), log_key(database, to));
    for row in txn.range(Table::Log, Bound::Excluded(&after), Bound::Included(&last))? {
        let (_, key) = row?;
        if !keys.contains(key) {
            keys.insert(key.to_vec());
        }
    }
    Ok(keys)
}

/// Writes the key's state at version `at` back, as `version`; false if it is the same now.
pub fn write_back(
    txn: &mut WriteTxn<'_>,
    database: u32,
    key: &[u8],
    at: u64,
    version: u64,
) -> Result<bool, ViewError> {
    let then = newest(txn, database, key, Some(at))?;
    if live(then)? == live(newest(txn, database, key, None)?)? {
        return Ok(false);
    }
    let then = then.map_or_else(|| Ok(State::empty()), |row| row.decode_state())?;
    put(txn, database, key, &then, version)?;
    Ok(true)
}
