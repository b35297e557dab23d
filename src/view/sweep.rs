//! Dropping what the view was up to a version.

use super::rows::{log_key, split_view_key};
use crate::store::{Read, StoreError, Table, WriteTxn};
use std::ops::Bound;

/// Takes out rows of the view up to version `floor`, going through at most `most` rows from `from` on (none: the first).
/// Returns where the next call goes on; none: that was all.
pub fn sweep(
    txn: &mut WriteTxn<'_>,
    database: u32,
    from: Option<&[u8]>,
    floor: u64,
    most: usize,
) -> Result<Option<Vec<u8>>, StoreError> {
    let (first, end) = (database.to_be_bytes(), database.saturating_add(1).to_be_bytes());
    let from = from.map_or(Bound::Included(&first[..]), Bound::Excluded);
    let (mut gone, mut last, mut looked) = (Vec::new(), None, 0);
    for row in txn.range(Table::View, from, Bound::Excluded(&end))?.take(most) {
        let (key, _) = row?;
        if split_view_key(key)?.1 <= floor {
            gone.push(key.to_vec());
        }
        last = Some(key.to_vec());
        looked += 1;
    }
    for key in gone {
        txn.delete(Table::View, &key)?;
    }
    Ok(last.filter(|_| looked == most))
}

/// Takes out what the log and the commits say up to version `floor`, at most `most` rows of each. True: that was all.
pub fn sweep_log(txn: &mut WriteTxn<'_>, database: u32, floor: u64, most: usize) -> Result<bool, StoreError> {
    let (from, to) = (log_key(database, 0), log_key(database, floor));
    let mut all = true;
    for table in [Table::Log, Table::Commits] {
        let mut gone = Vec::new();
        for row in txn.range(table, Bound::Included(&from), Bound::Included(&to))?.take(most) {
            gone.push(row?.0.to_vec());
        }
        all &= gone.len() < most;
        for key in gone {
            txn.delete(table, &key)?;
        }
    }
    Ok(all)
}
