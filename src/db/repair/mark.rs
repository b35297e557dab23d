//! The mark of a database that is being made anew, and what of its past was dropped.
//!
//! ```text
//! Meta  Key: "repair " ‖ database u32     Value: phase u8 (1 to 3) ‖ floor varint ‖ version varint ‖ clock u64
//!       Key: "history " ‖ database u32    Value: version u64
//! ```

use crate::codec::{DecodeError, Reader, put_varint};
use crate::db::error::{Code, Error, Failure};
use crate::store::{Read, StoreError, Table, WriteTxn};
use std::collections::BTreeSet;
use std::ops::Bound;

const REPAIR: &[u8] = b"repair ";
const HISTORY: &[u8] = b"history ";

/// What is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// What is derived is taken out.
    Clear = 1,
    /// Batches are placed again.
    Place = 2,
    /// What the view was before is taken out.
    Sweep = 3,
}

/// How far a database has been made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub phase: Phase,
    /// The last version before.
    pub floor: u64,
    /// The last version given since.
    pub version: u64,
    pub clock: u64,
}

fn key(prefix: &[u8], database: u32) -> Vec<u8> {
    [prefix, &database.to_be_bytes()].concat()
}

impl Mark {
    pub fn load(txn: &impl Read, database: u32) -> Result<Option<Self>, Failure> {
        let row = txn.get(Table::Meta, &key(REPAIR, database))?;
        row.map(Self::decode).transpose().map_err(|error| Failure::damaged(&error))
    }

    fn decode(row: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(row);
        let phase = match reader.u8("a repair's phase")? {
            1 => Phase::Clear,
            2 => Phase::Place,
            3 => Phase::Sweep,
            tag => return Err(DecodeError::UnknownTag { what: "a repair's phase", tag: tag.into() }),
        };
        let (floor, version) = (reader.varint("a repair's floor")?, reader.varint("a repair's version")?);
        let clock = reader.u64("a repair's clock")?;
        reader.finish("a repair").map(|()| Self { phase, floor, version, clock })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![match self.phase {
            Phase::Clear => 1,
            Phase::Place => 2,
            Phase::Sweep => 3,
        }];
        put_varint(&mut out, self.floor);
        put_varint(&mut out, self.version);
        out.extend_from_slice(&self.clock.to_be_bytes());
        out
    }

    pub fn save(&self, txn: &mut WriteTxn<'_>, database: u32) -> Result<(), StoreError> {
        txn.put(Table::Meta, &key(REPAIR, database), &self.encode())
    }

    /// The database is whole, and its past begins after the floor.
    pub fn end(&self, txn: &mut WriteTxn<'_>, database: u32) -> Result<(), StoreError> {
        txn.put(Table::Meta, &key(HISTORY, database), &self.floor.to_be_bytes())?;
        txn.delete(Table::Meta, &key(REPAIR, database)).map(drop)
    }
}

/// The databases that are being made anew.
pub(in crate::db) fn marked(txn: &impl Read) -> Result<BTreeSet<u32>, Error> {
    let mut found = BTreeSet::new();
    let end = [REPAIR, &[0xff; 5]].concat();
    for row in txn.range(Table::Meta, Bound::Included(REPAIR), Bound::Included(&end))? {
        let number = row?.0.strip_prefix(REPAIR).and_then(|number| number.try_into().ok());
        found.extend(number.map(u32::from_be_bytes));
    }
    Ok(found)
}

/// Up to which version a database's past was dropped.
pub(in crate::db) fn dropped(txn: &impl Read, database: u32) -> Result<u64, Error> {
    let row = txn.get(Table::Meta, &key(HISTORY, database))?;
    Ok(row.and_then(|row| row.try_into().ok()).map_or(0, u64::from_be_bytes))
}

/// A row of `Meta` under one of these names; none: another's.
pub(in crate::db) fn check_mark(key: &[u8], row: &[u8]) -> Option<Result<(), DecodeError>> {
    if key.starts_with(REPAIR) {
        return Some(Mark::decode(row).map(drop));
    }
    key.starts_with(HISTORY).then(|| {
        let mut reader = Reader::new(row);
        reader.u64("where a past begins")?;
        reader.finish("where a past begins")
    })
}

/// What a database that is being made anew says to whoever would write.
pub(in crate::db) fn under_repair() -> Error {
    let message = "this database is being repaired: wait for store.verify({ repair: true }), or, if it was interrupted, \
                   call that again";
    Error::new(Code::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_have_golden_bytes_and_no_truncation_passes() {
        let mark = Mark { phase: Phase::Place, floor: 300, version: 301, clock: 5 };
        let bytes = mark.encode();
        assert_eq!(hex::encode(&bytes), "02ac02ad020000000000000005");
        assert_eq!(Mark::decode(&bytes), Ok(mark));
        assert!((0..bytes.len()).all(|cut| Mark::decode(&bytes[..cut]).is_err()));
        assert!(Mark::decode(&[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
