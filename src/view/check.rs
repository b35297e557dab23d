//! The view compared with what it is folded from.

use super::merge::read_change;
use super::rows::{Row, diff_bound, log_key, split_diff_key, split_key_of_diff, split_view_key, view_key};
use super::space::Space;
use super::{Bounds, LatticeHash, ScanCursor, Seen, ViewError, Writers, floor};
use crate::codec::{DecodeError, Reader};
use crate::crdt::State;
use crate::seal::check_sealed;
use crate::store::{Read, ReadTxn, Rows, StoreError, Table};
use crate::types::{Effective, Position};
use std::iter::Peekable;
use std::ops::Bound;

/// What is wrong with a key.
#[derive(Debug)]
pub enum KeyFlaw {
    /// Its newest row is not the fold of its diffs.
    Fold,
    /// A row of it, or a diff it is made of, cannot be read.
    Unreadable { version: Option<u64>, error: ViewError },
}

/// Decodes one row of a table of the view, whole. Without a space only what shows of a sealed row is looked at.
pub fn check_row(space: Option<&Space>, table: Table, key: &[u8], value: &[u8]) -> Result<(), ViewError> {
    match (table, space) {
        (Table::View, Some(space)) => state_of(space, key, value).map(drop),
        (Table::View, None) => {
            split_view_key(key)?;
            Ok(check_sealed(value)?)
        }
        (table, _) => check_plain_row(table, key, value),
    }
}

/// The state in a row of the view, all of which is decoded.
fn state_of(space: &Space, key: &[u8], value: &[u8]) -> Result<State, ViewError> {
    let stored = space.open(key, value)?;
    let (name, _) = split_view_key(key)?;
    if *space.name(stored.key(name)) != *name {
        return Err(damaged("the key of a sealed row"));
    }
    let row = Row::of(stored)?;
    row.low()?;
    row.view()?;
    row.decode_state()
}

/// Rows that hold nothing of the user's.
fn check_plain_row(table: Table, key: &[u8], value: &[u8]) -> Result<(), ViewError> {
    match table {
        Table::Diffs => {
            split_diff_key(key)?;
            let mut reader = Reader::new(value);
            reader.varint("the version of a diff")?;
            Ok(reader.finish("a row of diffs")?)
        }
        Table::Hashes => {
            let mut reader = Reader::new(value);
            reader.u64("a hash's version")?;
            LatticeHash::from_bytes(reader.rest()).map(drop).ok_or_else(|| damaged("a state hash"))
        }
        _ if key.len() == 12 => Ok(()),
        _ => Err(damaged("a key of the log")),
    }
}

fn damaged(what: &'static str) -> ViewError {
    ViewError::Row(DecodeError::Malformed { what })
}

/// Folds every key of a database anew from its diffs and compares it with its newest row. Without `writers` rows are only
/// read: others than the built-in fold made them. `visit` is called for each key, and says whether to go on.
pub fn check_folds(
    txn: &impl Read,
    space: &Space,
    writers: Option<&Writers>,
    mut visit: impl FnMut(&[u8], Option<KeyFlaw>) -> bool,
) -> Result<(), ViewError> {
    let database = space.database();
    // Where the log cannot be read nothing may be missing: what is wrong with it is said elsewhere.
    let floor = if space.is_encrypted() { 0 } else { floor(txn, database).unwrap_or(0) };
    let (from, to) = (view_key(database, &[], u64::MAX), view_key(next(database), &[], u64::MAX));
    let mut views = txn.range(Table::View, Bound::Included(&from), Bound::Excluded(&to))?.peekable();
    let (from, to) = (diff_bound(database, &[], 0), diff_bound(next(database), &[], 0));
    let mut diffs = txn.range(Table::Diffs, Bound::Included(&from), Bound::Excluded(&to))?.peekable();
    loop {
        let view = peek(&mut views, split_view_key_only)?;
        let diff = if writers.is_some() { peek(&mut diffs, split_key_of_diff)? } else { None };
        let Some(key) = view.into_iter().chain(diff).min() else { return Ok(()) };
        let state =
            if view == Some(key) { newest_state(space, &mut views, key)? } else { Ok(State::empty()) };
        let folded = match writers {
            Some(writers) if diff == Some(key) => Some(fold(txn, space, writers, &mut diffs, key)?),
            Some(_) => Some(Ok((State::empty(), 0))),
            None => None,
        };
        // A tombstone goes with the versions before the floor.
        let may_be_gone = |folded: &State, merged| view != Some(key) && !folded.is_live() && merged < floor;
        let flaw = match (state, folded) {
            (Ok(_), Some(Ok((folded, merged)))) if may_be_gone(&folded, merged) => None,
            (Ok(state), Some(Ok((folded, _)))) => (state != folded).then_some(KeyFlaw::Fold),
            (Ok(_), None) => None,
            (Err(flaw), _) => Some(flaw),
            (_, Some(Err(error))) => Some(KeyFlaw::Unreadable { version: None, error }),
        };
        if !visit(key, flaw) {
            return Ok(());
        }
    }
}

fn next(database: u32) -> u32 {
    database.saturating_add(1)
}

fn split_view_key_only(row: &[u8]) -> Result<&[u8], StoreError> {
    Ok(split_view_key(row)?.0)
}

/// The user's key in the next row, which stays the next.
fn peek<'t>(
    rows: &mut Peekable<Rows<'t>>,
    key_of: impl Fn(&'t [u8]) -> Result<&'t [u8], StoreError>,
) -> Result<Option<&'t [u8]>, ViewError> {
    match rows.peek() {
        None => Ok(None),
        Some(Ok((row, _))) => Ok(Some(key_of(row)?)),
        Some(Err(_)) => match rows.next() {
            Some(Err(error)) => Err(error.into()),
            _ => Ok(None),
        },
    }
}

/// The newest state of a key; every row of it is decoded.
fn newest_state(
    space: &Space,
    rows: &mut Peekable<Rows<'_>>,
    key: &[u8],
) -> Result<Result<State, KeyFlaw>, ViewError> {
    let mut newest = None;
    while peek(rows, split_view_key_only)? == Some(key)
        && let Some(row) = rows.next()
    {
        let (row, value) = row?;
        let version = split_view_key(row)?.1;
        let state = state_of(space, row, value)
            .map_err(|error| KeyFlaw::Unreadable { version: Some(version), error });
        match (&newest, state) {
            (None, state) => newest = Some(state),
            (Some(Ok(_)), Err(flaw)) => newest = Some(Err(flaw)),
            (Some(_), _) => {}
        }
    }
    Ok(newest.unwrap_or_else(|| Ok(State::empty())))
}

/// Folds a key's diffs, and says as which version the last of them was merged. Rows stand by effective timestamp; those of
/// one are put in order by writer.
fn fold(
    txn: &impl Read,
    space: &Space,
    writers: &Writers,
    rows: &mut Peekable<Rows<'_>>,
    key: &[u8],
) -> Result<Result<(State, u64), ViewError>, ViewError> {
    let (mut state, mut merged) = (Ok(State::empty()), 0);
    let mut alike: Vec<(Position, u32)> = Vec::new();
    let mut at = Effective::default();
    loop {
        let place = match peek(rows, split_key_of_diff)? {
            Some(found) if found == key => match rows.next() {
                Some(row) => {
                    let (row, value) = row?;
                    merged =
                        merged.max(Reader::new(value).varint("the version of a diff").unwrap_or(u64::MAX));
                    Some(split_diff_key(row)?)
                }
                None => None,
            },
            _ => None,
        };
        if place.is_none_or(|(effective, ..)| effective != at) {
            alike.sort_unstable();
            for (position, feed) in alike.drain(..) {
                state = state.and_then(|mut state: State| {
                    state.fold(&read_change(txn, space, feed, position)?.0);
                    Ok(state)
                });
            }
        }
        let Some((effective, feed, seq)) = place else { return Ok(state.map(|state| (state, merged))) };
        at = effective;
        match writers.get(&feed) {
            Some(writer) => alike.push((Position { effective, writer: *writer, seq }, feed)),
            None => state = state.and(Err(ViewError::Block { feed, seq })),
        }
    }
}

/// Whether a diff stands in the index of its key.
pub fn is_indexed(
    txn: &impl Read,
    space: &Space,
    key: &[u8],
    feed: u32,
    position: Position,
) -> Result<bool, ViewError> {
    let row =
        super::rows::diff_key(space.database(), &space.name(key), position.effective, feed, position.seq);
    Ok(txn.get(Table::Diffs, &row)?.is_some())
}

/// Diffs in the index of a database.
pub fn count_indexed(txn: &impl Read, database: u32) -> Result<u64, ViewError> {
    let (from, to) = (diff_bound(database, &[], 0), diff_bound(next(database), &[], 0));
    let rows = txn.range(Table::Diffs, Bound::Included(&from), Bound::Excluded(&to))?;
    Ok(rows.fold(0, |count, _| count + 1))
}

/// Compares the log with the view: versions without a gap from where it begins (after `after`: what is older may have been
/// trimmed) up to `last`, each with the row it names. Returns the first version that is missing or whose row is.
pub fn check_log(
    txn: &impl Read,
    database: u32,
    after: u64,
    last: u64,
    mut visit: impl FnMut() -> bool,
) -> Result<Option<u64>, ViewError> {
    let (from, to) = (log_key(database, 0), log_key(database, u64::MAX));
    let mut expected = None;
    for row in txn.range(Table::Log, Bound::Included(&from), Bound::Included(&to))? {
        let (row, key) = row?;
        let version = Reader::new(row.get(4..).unwrap_or_default()).u64("a version")?;
        let wanted = expected.unwrap_or(version.max(after.saturating_add(1)));
        if version != wanted || txn.get(Table::View, &view_key(database, key, version))?.is_none() {
            return Ok(Some(wanted));
        }
        expected = Some(version.saturating_add(1));
        if !visit() {
            return Ok(None);
        }
    }
    let reached = expected.map_or(after, |expected| expected - 1);
    Ok((reached != last).then_some(reached.saturating_add(1)))
}

/// The state hash of a version, computed from all of its content and from nothing that was kept.
pub fn hash_anew(
    txn: &ReadTxn,
    space: &Space,
    version: u64,
    mut visit: impl FnMut() -> bool,
) -> Result<LatticeHash, ViewError> {
    let mut hash = LatticeHash::default();
    let bounds = Bounds { from: Bound::Unbounded, to: Bound::Unbounded, reverse: false };
    let mut cursor = ScanCursor::new(space.by_rows(), version, bounds);
    let mut goes_on = true;
    while goes_on {
        let mut is_wanted = true;
        let more = cursor.visit(txn, |found| {
            if let Some(element) = super::hash::element(found.row.key(found.key), &found.row)? {
                hash.add(space.sealing().hash_key(), &element);
            }
            is_wanted = visit();
            Ok(if is_wanted { Seen::More } else { Seen::Enough })
        })?;
        goes_on = more && is_wanted;
    }
    Ok(hash)
}
