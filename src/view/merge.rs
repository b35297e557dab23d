//! Merging diffs into a key: the fast path, and the re-fold from the nearest valid base.

use super::rows::{Row, diff_bound, diff_key, split_diff_key, view_key};
use super::space::Space;
use super::{ViewError, newest};
use crate::codec::put_varint;
use crate::crdt::{Change, ChangeKind, List, State};
use crate::entry::{self, Entry, Op};
use crate::fault::{self, Fault};
use crate::store::{Read, Table, WriteTxn, block};
use crate::types::{Effective, FeedKey, Position};
use std::collections::BTreeMap;
use std::ops::Bound;

/// This store's numbers for the feeds of a database.
pub type Writers = BTreeMap<u32, FeedKey>;

/// A diff that counts from now on.
pub struct Added {
    pub feed: u32,
    pub change: Change,
}

/// A diff that counts no more.
#[derive(Clone, Copy, Debug)]
pub struct Removed {
    pub feed: u32,
    pub position: Position,
}

/// What a merge cost and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Diffs folded: as many as were added on the fast path.
    pub folded: u64,
    /// Rows looked at to find a base.
    pub searched: u64,
}

/// What a diff entry does, in terms of folding. `None`: the block is no well-formed diff.
pub fn change_of(diff: &entry::Diff<'_>, position: Position) -> Option<Change> {
    let kind = match diff.change {
        entry::Change::List(text) => ChangeKind::List(List::parse(text).ok()?),
        entry::Change::Register(value) => ChangeKind::Register(value.to_vec()),
        entry::Change::Delete => ChangeKind::Delete,
    };
    Some(Change { position, prev: diff.prev, kind })
}

/// Makes `added` count for `key` and `removed` count no more, and writes the key's new state as `version`. Rows up to
/// version `epoch` were made by another rule than this fold: nothing goes on from them. `trimmed`: tombstones may have gone
/// with old versions.
#[expect(clippy::too_many_arguments, reason = "where, what, and as which version: each a plain value")]
pub fn merge(
    txn: &mut WriteTxn<'_>,
    space: &Space,
    writers: &Writers,
    key: &[u8],
    mut added: Vec<Added>,
    removed: &[Removed],
    version: u64,
    epoch: u64,
    trimmed: bool,
) -> Result<Merged, ViewError> {
    added.sort_by_key(|diff| diff.change.position);
    let version_now = space.newest_version(txn, key)?;
    // What was folded into a tombstone that went is folded again.
    let begins_anew = trimmed && version_now.is_none() && has_diffs(txn, space, key)?;
    update_index(txn, space, key, &added, removed, version)?;
    let mut merged = Merged::default();
    let first = added.iter().map(|diff| diff.change.position).chain(removed.iter().map(|r| r.position)).min();
    let foreign = version_now.is_some_and(|version| version <= epoch);
    // A row of another rule's is not even opened: it may be what is being repaired.
    let current = if foreign { None } else { newest(txn, space, key, None)? };
    let last = current.as_ref().map(|row| row.view().map(|view| view.last)).transpose()?.flatten();
    let is_later = last < first || fault::is(Fault::FoldByArrival);
    let is_whole = !begins_anew || fault::is(Fault::TombstoneDropped);
    let at_end = removed.is_empty() && is_later && !foreign && is_whole;
    let (state, low) = if at_end {
        let mut state = decode(current)?;
        for diff in &added {
            state.fold(&diff.change);
        }
        merged.folded = added.len() as u64;
        (state, None)
    } else {
        (refold(txn, space, writers, key, first, epoch, &mut merged)?, first)
    };
    super::put_row(txn, space, key, version, low, &state.encode())?;
    Ok(merged)
}

/// Whether any diff of the key counts.
fn has_diffs(txn: &impl Read, space: &Space, key: &[u8]) -> Result<bool, ViewError> {
    let (database, name) = (space.database(), space.name(key));
    let (from, to) = (diff_bound(database, &name, 0), diff_bound(database, &name, 0xff));
    Ok(txn.first(Table::Diffs, Bound::Included(&from), Bound::Included(&to))?.is_some())
}

/// The key's state: of its newest row, or, where that went as a tombstone, folded again. None: nothing was written, or
/// it is still to be merged for the first time.
pub fn state_now(
    txn: &impl Read,
    space: &Space,
    writers: &Writers,
    key: &[u8],
) -> Result<Option<State>, ViewError> {
    if let Some(row) = newest(txn, space, key, None)? {
        return row.decode_state().map(Some);
    }
    if !has_diffs(txn, space, key)? {
        return Ok(None);
    }
    let state = refold(txn, space, writers, key, None, 0, &mut Merged::default())?;
    Ok(Some(state).filter(|state| !state.is_live()))
}

pub(super) fn update_index(
    txn: &mut WriteTxn<'_>,
    space: &Space,
    key: &[u8],
    added: &[Added],
    removed: &[Removed],
    version: u64,
) -> Result<(), ViewError> {
    let (database, name) = (space.database(), space.name(key));
    let mut value = Vec::with_capacity(10);
    put_varint(&mut value, version);
    // In this order: what was taken out may come back where it stood.
    for Removed { feed, position } in removed {
        txn.delete(Table::Diffs, &diff_key(database, &name, position.effective, *feed, position.seq))?;
    }
    for Added { feed, change } in added {
        let row = diff_key(database, &name, change.position.effective, *feed, change.position.seq);
        txn.put(Table::Diffs, &row, &value)?;
    }
    Ok(())
}

pub(super) fn decode(row: Option<Row<'_>>) -> Result<State, ViewError> {
    row.map_or_else(|| Ok(State::empty()), |row| row.decode_state())
}

/// Folds everything that counts, from the nearest base before `first`.
pub(super) fn refold(
    txn: &impl Read,
    space: &Space,
    writers: &Writers,
    key: &[u8],
    first: Option<Position>,
    floor: u64,
    merged: &mut Merged,
) -> Result<State, ViewError> {
    let (mut state, last) = base_before(txn, space, key, first, floor, merged)?;
    for (position, feed) in diffs_after(txn, space, writers, key, last)? {
        if fault::is(Fault::DroppedDiff) && position.seq % 5 == 4 {
            continue;
        }
        state.fold(&read_change(txn, space, feed, position)?.0);
        merged.folded += 1;
    }
    Ok(state)
}

/// The change that the diff index points to, and how many bytes its block has.
pub(super) fn read_change(
    txn: &impl Read,
    space: &Space,
    feed: u32,
    position: Position,
) -> Result<(Change, usize), ViewError> {
    let unreadable = || ViewError::Block { feed, seq: position.seq };
    let bytes = block(txn, feed, position.seq)?.ok_or_else(unreadable)?;
    let bytes = space.blocks(position.writer).open(position.seq, bytes).map_err(|_| unreadable())?;
    match Entry::decode(&bytes) {
        Ok(Entry { op: Op::Diff(diff), .. }) => {
            Ok((change_of(&diff, position).ok_or_else(unreadable)?, bytes.len()))
        }
        _ => Err(unreadable()),
    }
}

/// The key that the diff at `seq` is for.
pub(super) fn key_of_block(
    txn: &impl Read,
    space: &Space,
    feed: u32,
    writer: FeedKey,
    seq: u64,
) -> Result<Vec<u8>, ViewError> {
    let unreadable = || ViewError::Block { feed, seq };
    let bytes = block(txn, feed, seq)?.ok_or_else(unreadable)?;
    let bytes = space.blocks(writer).open(seq, bytes).map_err(|_| unreadable())?;
    match Entry::decode(&bytes) {
        Ok(Entry { op: Op::Diff(diff), .. }) => Ok(diff.key.to_vec()),
        _ => Err(unreadable()),
    }
}

/// The key's latest changes that count, in linear order, each with its feed's number: at most `most`, and only so many
/// that their blocks together have at most `bytes`.
pub fn latest_changes(
    txn: &impl Read,
    space: &Space,
    writers: &Writers,
    key: &[u8],
    most: usize,
    mut bytes: usize,
) -> Result<Vec<(Change, u32)>, ViewError> {
    let mut latest = Vec::new();
    for (position, feed) in diffs_after(txn, space, writers, key, None)?.into_iter().rev().take(most) {
        let (change, length) = read_change(txn, space, feed, position)?;
        let Some(left) = bytes.checked_sub(length) else { break };
        bytes = left;
        latest.push((change, feed));
    }
    latest.reverse();
    Ok(latest)
}

/// The newest row of the key that is a valid base for everything at or after `first` (invariant 4), of those after
/// version `floor`.
pub(super) fn base_before(
    txn: &impl Read,
    space: &Space,
    key: &[u8],
    first: Option<Position>,
    floor: u64,
    merged: &mut Merged,
) -> Result<(State, Option<Position>), ViewError> {
    let Some(mut lowest) = first else { return Ok((State::empty(), None)) };
    for row in versions(txn, space, key, floor)? {
        let row = row?;
        merged.searched += 1;
        let last = row.view()?.last;
        if last.is_none_or(|last| last < lowest) {
            return Ok((decode(Some(row))?, last));
        }
        // A row without `low` was made by diffs after all that the row before it had: those it does not spoil.
        if let Some(low) = row.low()? {
            lowest = lowest.min(low);
        }
    }
    Ok((State::empty(), None))
}

/// The key's rows after version `floor`, newest first.
pub(super) fn versions<'t, T: Read>(
    txn: &'t T,
    space: &'t Space,
    key: &[u8],
    floor: u64,
) -> Result<impl Iterator<Item = Result<Row<'t>, ViewError>> + use<'t, T>, ViewError> {
    let (database, name) = (space.database(), space.name(key));
    let (from, to) = (view_key(database, &name, u64::MAX), view_key(database, &name, floor));
    let rows = txn.range(Table::View, Bound::Included(&from), Bound::Excluded(&to))?;
    Ok(rows.map(move |row| {
        let (row, value) = row?;
        Ok(Row::of(space.open(row, value)?)?)
    }))
}

/// Where the key's diffs after `last` stand, in linear order.
fn diffs_after(
    txn: &impl Read,
    space: &Space,
    writers: &Writers,
    key: &[u8],
    last: Option<Position>,
) -> Result<Vec<(Position, u32)>, ViewError> {
    let from = last.map(|last| last.effective).unwrap_or_default();
    let mut found = diffs_of(txn, space, writers, key, from)?;
    found.retain(|(position, _)| last.is_none_or(|last| *position > last));
    if fault::is(Fault::WriterIgnored) {
        found.sort_by_key(|(position, feed)| (position.effective, *feed, position.seq));
        return Ok(found);
    }
    found.sort_unstable();
    Ok(found)
}

/// Where the key's diffs at or after `from` stand, and the numbers of their feeds; writers who share a timestamp unsorted.
pub(super) fn diffs_of(
    txn: &impl Read,
    space: &Space,
    writers: &Writers,
    key: &[u8],
    from: Effective,
) -> Result<Vec<(Position, u32)>, ViewError> {
    let (database, name) = (space.database(), space.name(key));
    let (from, to) = (diff_key(database, &name, from, 0, 0), diff_bound(database, &name, 0xff));
    let mut found = Vec::new();
    for row in txn.range(Table::Diffs, Bound::Included(&from), Bound::Included(&to))? {
        let (effective, feed, seq) = split_diff_key(row?.0)?;
        let writer = *writers.get(&feed).ok_or(ViewError::Block { feed, seq })?;
        found.push((Position { effective, writer, seq }, feed));
    }
    Ok(found)
}
