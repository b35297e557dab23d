//! What differs between two versions of the view: keys that were written in between, each with its state at either.

use super::rows::{Row, log_key};
use super::{Bounds, ScanCursor, Seen, ViewError, newest};
use crate::store::{Read, Table};
use std::collections::BTreeSet;
use std::ops::{Bound, RangeBounds};

/// Versions between which the log is read instead of the range: their keys are held in memory, at most 8 MiB of them.
const LOG_AT_MOST: u64 = 4_096;

/// A key with what it was at the older and at the newer version; a state may be a tombstone.
pub struct Compared<'t> {
    pub key: &'t [u8],
    pub old: Option<Row<'t>>,
    pub new: Row<'t>,
}

/// Holds no transaction, like every cursor over the view.
pub struct CompareCursor {
    database: u32,
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
    /// `old` is at most `new`.
    pub fn new(database: u32, old: u64, new: u64, bounds: Bounds) -> Self {
        let keys = if new.saturating_sub(old) <= LOG_AT_MOST {
            Keys::Log(bounds)
        } else {
            Keys::Range(ScanCursor::new(database, new, bounds))
        };
        Self { database, old, new, keys }
    }

    /// Visits keys in order; `None`: one that was looked at and is the same. Returns whether there may be more.
    pub fn visit(
        &mut self,
        txn: &impl Read,
        mut visitor: impl FnMut(Option<&Compared<'_>>) -> Result<Seen, ViewError>,
    ) -> Result<bool, ViewError> {
        let Self { database, old, new, keys } = self;
        if let Keys::Log(bounds) = keys {
            *keys = Keys::Listed(written(txn, *database, *old, *new, bounds)?);
        }
        match keys {
            Keys::Range(scan) => scan.visit(txn, |found| {
                if found.row.version <= *old {
                    return visitor(None);
                }
                let before = newest(txn, *database, found.key, Some(*old))?;
                visitor(Some(&Compared { key: found.key, old: before, new: found.row }))
            }),
            Keys::Listed(keys) => {
                for key in keys.by_ref() {
                    let Some(after) = newest(txn, *database, &key, Some(*new))? else { continue };
                    let before = newest(txn, *database, &key, Some(*old))?;
                    if visitor(Some(&Compared { key: &key, old: before, new: after }))? == Seen::Enough {
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
    database: u32,
    old: u64,
    new: u64,
    bounds: &Bounds,
) -> Result<std::vec::IntoIter<Vec<u8>>, ViewError> {
    let mut keys = BTreeSet::new();
    let (from, to) = (log_key(database, old), log_key(database, new));
    for row in txn.range(Table::Log, Bound::Excluded(&from), Bound::Included(&to))? {
        let key = row?.1;
        let range = (bounds.from.as_ref().map(Vec::as_slice), bounds.to.as_ref().map(Vec::as_slice));
        if <(Bound<&[u8]>, Bound<&[u8]>) as RangeBounds<[u8]>>::contains(&range, key) {
            keys.insert(key.to_vec());
        }
    }
    let mut keys: Vec<_> = keys.into_iter().collect();
    if bounds.reverse {
        keys.reverse();
    }
    Ok(keys.into_iter())
}
