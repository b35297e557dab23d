//! What differs between two versions of the view: keys that were written in between, each with its state at either.

use super::rows::{Row, by_name, log_key};
use super::space::Space;
use super::{Bounds, ScanCursor, Seen, ViewError, newest};
use crate::store::{Read, ReadTxn, Table};
use std::collections::BTreeSet;
use std::ops::Bound;

/// Versions between which the log is read instead of the range: their keys are held in memory, at most 8 MiB of them.
const LOG_AT_MOST: u64 = 4_096;

/// A key with what it was at the older and at the newer version; a state may be a tombstone.
pub struct Compared<'t> {
    pub key: &'t [u8],
    pub old: Option<&'t Row<'t>>,
    pub new: &'t Row<'t>,
}

/// Holds no transaction, like every cursor over the view.
pub struct CompareCursor {
    space: Space,
    old: u64,
    new: u64,
    keys: Keys,
}

enum Keys {
    /// Not read yet: the log is, at the first visit.
    Log(Bounds),
    Listed(std::vec::IntoIter<Vec<u8>>),
    /// Every key of the range: what differs has a row that is newer than the older version.
    Range(ScanCursor),
}

impl CompareCursor {
    /// `old` is at most `new`; the log begins at `floor`.
    pub fn new(space: Space, old: u64, new: u64, floor: u64, bounds: Bounds) -> Self {
        // The log after `old` is whole, or not all of it is there and every key is looked at.
        let keys = if new.saturating_sub(old) <= LOG_AT_MOST && old.saturating_add(1) >= floor {
            Keys::Log(bounds)
        } else {
            Keys::Range(ScanCursor::new(space.clone(), new, bounds))
        };
        Self { space, old, new, keys }
    }

    /// Visits keys in order; `None`: one that was looked at and is the same. Returns whether there may be more.
    pub fn visit(
        &mut self,
        txn: &ReadTxn,
        mut visitor: impl FnMut(Option<&Compared<'_>>) -> Result<Seen, ViewError>,
    ) -> Result<bool, ViewError> {
        let Self { space, old, new, keys } = self;
        if let Keys::Log(bounds) = keys {
            *keys = Keys::Listed(written(txn, space, *old, *new, bounds)?);
        }
        match keys {
            Keys::Range(scan) => scan.visit(txn, |found| {
                if found.row.version <= *old {
                    return visitor(None);
                }
                let before = newest(txn, space, found.key, Some(*old))?;
                visitor(Some(&Compared { key: found.key, old: before.as_ref(), new: &found.row }))
            }),
            Keys::Listed(keys) => {
                for key in keys.by_ref() {
                    let Some(after) = newest(txn, space, &key, Some(*new))? else { continue };
                    let before = newest(txn, space, &key, Some(*old))?;
                    let compared = Compared { key: &key, old: before.as_ref(), new: &after };
                    if visitor(Some(&compared))? == Seen::Enough {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Keys::Log(_) => Ok(false),
        }
    }
}

/// The keys in the bounds that the versions after `old` up to `new` wrote, in order.
fn written(
    txn: &impl Read,
    space: &Space,
    old: u64,
    new: u64,
    bounds: &Bounds,
) -> Result<std::vec::IntoIter<Vec<u8>>, ViewError> {
    let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
    let (from, to) = (log_key(space.database(), old), log_key(space.database(), new));
    for row in txn.range(Table::Log, Bound::Excluded(&from), Bound::Included(&to))? {
        let name = row?.1;
        if !names.insert(name) {
            continue;
        }
        let Some(row) = by_name(txn, space, name, Some(new))? else { continue };
        let key = row.key(name);
        if bounds.contain(key) {
            keys.insert(key.to_vec());
        }
    }
    let mut keys: Vec<_> = keys.into_iter().collect();
    if bounds.reverse {
        keys.reverse();
    }
    Ok(keys.into_iter())
}
