//! What of the view's past goes: rows that no reader from a version on can see. `docs/design/compaction.md` argues why
//! nothing else changes.
//!
//! The oldest version that can be read, the *floor*, is the one the log begins with.

use super::ViewError;
use super::hash::is_dead;
use super::rows::{Row, diff_bound, log_key, view_key};
use super::space::Space;
use crate::codec::Reader;
use crate::store::{Read, Table, WriteTxn};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Diffs of a key up to which its dead row goes where it would be folded again: bounds what the next change of such a key
/// costs.
const MOST_FOLDED_AGAIN: usize = 64;

/// What becomes of a row without a live value that no reader needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dead {
    /// It stays: the fold of the key's diffs may not be what it holds, or only rows say which keys have diffs.
    Stay,
    /// It goes if the key has few diffs: they are folded again where something comes to it. Merge mode.
    Fold,
    /// It goes: values are whole, and no row says the same. Apply mode.
    Go,
}

/// The oldest version that can be read; 0 before anything is written, 1 if nothing was trimmed.
pub fn floor(txn: &impl Read, database: u32) -> Result<u64, ViewError> {
    let (from, to) = (log_key(database, 0), log_key(database, u64::MAX));
    match txn.first(Table::Log, Bound::Included(&from), Bound::Included(&to))? {
        None => Ok(0),
        Some((row, _)) => version_of(row),
    }
}

fn version_of(row: &[u8]) -> Result<u64, ViewError> {
    Ok(Reader::new(row.get(4..).unwrap_or_default()).u64("a version")?)
}

/// Raises the floor to `to`, or by `most` versions if that is less, and takes away what nobody can see from there on.
/// Returns the floor as it is then. Whoever calls this knows that nobody reads below, and that `to` was published.
pub fn trim(txn: &mut WriteTxn<'_>, space: &Space, to: u64, most: u64, dead: Dead) -> Result<u64, ViewError> {
    let database = space.database();
    let from = floor(txn, database)?;
    let to = to.min(from.saturating_add(most));
    if from == 0 || to <= from {
        return Ok(from);
    }
    let mut written = Vec::new();
    let (low, high) = (log_key(database, from), log_key(database, to));
    for row in txn.range(Table::Log, Bound::Included(&low), Bound::Included(&high))? {
        let (row, name) = row?;
        written.push((version_of(row)?, name.to_vec()));
    }
    // All is read before anything is taken away: what cannot be read leaves all as it was.
    let mut gone = Vec::new();
    for (name, version) in written.iter().map(|(version, name)| (name, *version)).collect::<BTreeMap<_, _>>()
    {
        older(txn, database, name, version, &mut gone)?;
        if dead != Dead::Stay && version < to {
            let row = view_key(database, name, version);
            if let Some(value) = txn.get(Table::View, &row)?
                && is_dead(&Row::of(space.open(&row, value)?)?)
                && (dead == Dead::Go || has_few_diffs(txn, database, name)?)
            {
                gone.push(row);
            }
        }
    }
    for row in gone {
        txn.delete(Table::View, &row)?;
    }
    for (version, _) in written.iter().filter(|(version, _)| *version < to) {
        txn.delete(Table::Log, &log_key(database, *version))?;
    }
    Ok(to)
}

fn has_few_diffs(txn: &impl Read, database: u32, name: &[u8]) -> Result<bool, ViewError> {
    let (from, to) = (diff_bound(database, name, 0), diff_bound(database, name, 0xff));
    let diffs = txn.range(Table::Diffs, Bound::Included(&from), Bound::Included(&to))?;
    let mut found = 0;
    for diff in diffs.take(MOST_FOLDED_AGAIN + 1) {
        diff?;
        found += 1;
    }
    Ok(found <= MOST_FOLDED_AGAIN)
}

/// A key's rows below `version`.
fn older(
    txn: &impl Read,
    database: u32,
    name: &[u8],
    version: u64,
    into: &mut Vec<Vec<u8>>,
) -> Result<(), ViewError> {
    let (newer, oldest) = (view_key(database, name, version), view_key(database, name, 0));
    for row in txn.range(Table::View, Bound::Excluded(&newer), Bound::Included(&oldest))? {
        into.push(row?.0.to_vec());
    }
    Ok(())
}
