//! Row codecs of `Unmerged`:
//!
//! ```text
//! Key: database u32 ‖ 0x00                Value: functions u8 ‖ epoch varint ‖ 0x00 | 0x01 ‖ key
//! Key: database u32 ‖ 0x01 | 0x02 ‖ key   Value: low position ‖ changes varint          0x01: waiting, 0x02: failed
//! ```

use crate::codec::{DecodeError, Reader, put_varint};
use crate::db::error::Failure;
use crate::seal::check_sealed;
use crate::store::{Read, StoreError, Table, WriteTxn};
use crate::types::Position;
use crate::view::{Space, put_position, read_position};
use std::ops::Bound;

/// Bytes before the name in a row's key.
const TAGGED: usize = 5;

/// Which functions merge instead of the built-in fold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Functions {
    /// Every diff but a delete.
    pub merge: bool,
    /// Registers that had not seen each other.
    pub resolve: bool,
}

impl Functions {
    const MERGE: u8 = 1;
    const RESOLVE: u8 = 2;

    pub fn any(self) -> bool {
        self.merge || self.resolve
    }

    fn bits(self) -> u8 {
        u8::from(self.merge) * Self::MERGE + u8::from(self.resolve) * Self::RESOLVE
    }

    fn from_bits(bits: u8) -> Result<Self, DecodeError> {
        if bits > Self::MERGE | Self::RESOLVE {
            return Err(DecodeError::UnknownTag { what: "functions", tag: bits.into() });
        }
        Ok(Self { merge: bits & Self::MERGE != 0, resolve: bits & Self::RESOLVE != 0 })
    }
}

/// Who merges, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::db) struct HandlerRow {
    pub functions: Functions,
    /// Rows of the view up to this version were made by another rule.
    pub epoch: u64,
    /// Keys whose names are this one or after it are still to be marked, or folded anew.
    pub marking: Option<Vec<u8>>,
}

impl HandlerRow {
    fn key_of(database: u32) -> [u8; 5] {
        let [a, b, c, d] = database.to_be_bytes();
        [a, b, c, d, 0]
    }

    /// The default where there is none: the built-in fold.
    pub fn load(txn: &impl Read, database: u32) -> Result<Self, Failure> {
        let row = txn.get(Table::Unmerged, &Self::key_of(database))?;
        let row = row.map(Self::decode).transpose().map_err(|error| Failure::damaged(&error))?;
        Ok(row.unwrap_or_default())
    }

    pub fn save(&self, txn: &mut WriteTxn<'_>, database: u32) -> Result<(), StoreError> {
        txn.put(Table::Unmerged, &Self::key_of(database), &self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.functions.bits()];
        put_varint(&mut out, self.epoch);
        match &self.marking {
            None => out.push(0),
            Some(key) => {
                out.push(1);
                out.extend_from_slice(key);
            }
        }
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let functions = Functions::from_bits(reader.u8("functions")?)?;
        let epoch = reader.varint("an epoch")?;
        let marking = if reader.bool("marking")? { Some(reader.rest().to_vec()) } else { None };
        if marking.is_none() {
            reader.finish("a handler's row")?;
        }
        Ok(Self { functions, epoch, marking })
    }
}

/// Whether a key is to be asked about, or was and gave no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Waiting,
    Failed,
}

/// A key whose newest row does not hold what its index does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unmerged {
    /// The lowest of what began or ceased to count since that row.
    pub low: Position,
    /// How often that happened.
    pub changes: u64,
}

impl Unmerged {
    fn row_key(database: u32, standing: Standing, name: &[u8]) -> Vec<u8> {
        let tag = match standing {
            Standing::Waiting => 1,
            Standing::Failed => 2,
        };
        [&database.to_be_bytes()[..], &[tag], name].concat()
    }

    /// What is noted of a key, and how it stands.
    pub fn of(txn: &impl Read, space: &Space, key: &[u8]) -> Result<Option<(Self, Standing)>, Failure> {
        let name = space.name(key);
        for standing in [Standing::Waiting, Standing::Failed] {
            let row = Self::row_key(space.database(), standing, &name);
            if let Some(value) = txn.get(Table::Unmerged, &row)? {
                return Ok(Some((Self::read(space, &row, value)?.1, standing)));
            }
        }
        Ok(None)
    }

    /// Calls `found` with each key that stands so and what is noted of it, in the order of their names, until it says
    /// false.
    pub fn each(
        txn: &impl Read,
        space: &Space,
        standing: Standing,
        mut found: impl FnMut(&[u8], Self) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let from = Self::row_key(space.database(), standing, &[]);
        let (tag, prefix) = from.split_last().unwrap_or((&0, &[]));
        let to = [prefix, &[tag + 1]].concat();
        for row in txn.range(Table::Unmerged, Bound::Included(&from), Bound::Excluded(&to))? {
            let (row, value) = row?;
            let (key, noted) = Self::read(space, row, value)?;
            if !found(&key, noted)? {
                break;
            }
        }
        Ok(())
    }

    pub fn put(
        &self,
        txn: &mut WriteTxn<'_>,
        space: &Space,
        standing: Standing,
        key: &[u8],
    ) -> Result<(), Failure> {
        let row = Self::row_key(space.database(), standing, &space.name(key));
        let noted = self.encode();
        let value = space.seal(Table::Unmerged, &row, key, &noted)?;
        Ok(txn.put(Table::Unmerged, &row, &value)?)
    }

    pub fn delete(
        txn: &mut WriteTxn<'_>,
        space: &Space,
        standing: Standing,
        key: &[u8],
    ) -> Result<(), Failure> {
        txn.delete(Table::Unmerged, &Self::row_key(space.database(), standing, &space.name(key)))?;
        Ok(())
    }

    /// The user's key and what is noted of it, in a row.
    fn read(space: &Space, row: &[u8], value: &[u8]) -> Result<(Vec<u8>, Self), Failure> {
        let opened = space.open_row(Table::Unmerged, row, value)?;
        let noted = Self::decode(opened.value()).map_err(|error| Failure::damaged(&error))?;
        Ok((opened.key(row.get(TAGGED..).unwrap_or_default()).to_vec(), noted))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_position(&mut out, &self.low);
        put_varint(&mut out, self.changes);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let unmerged =
            Self { low: read_position(&mut reader)?, changes: reader.varint("a count of changes")? };
        reader.finish("an unmerged key").map(|()| unmerged)
    }
}

/// Calls `found` with each key whose newest row does not hold what its index does, until it says false.
pub(in crate::db) fn each_unmerged(
    txn: &impl Read,
    space: &Space,
    mut found: impl FnMut(&[u8]) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let mut goes_on = true;
    for standing in [Standing::Waiting, Standing::Failed] {
        Unmerged::each(txn, space, standing, |key, _| {
            goes_on = goes_on && found(key)?;
            Ok(goes_on)
        })?;
    }
    Ok(())
}

/// Decodes one row of `Unmerged`, whole. Without a space only what shows of a sealed row is looked at.
pub(in crate::db) fn check_row(space: Option<&Space>, key: &[u8], value: &[u8]) -> Result<(), Failure> {
    let damaged = |error| Failure::damaged(&error);
    match (key.get(4), space) {
        (Some(0), _) if key.len() == TAGGED => HandlerRow::decode(value).map(drop).map_err(damaged),
        (Some(1 | 2), Some(space)) => Unmerged::read(space, key, value).map(drop),
        (Some(1 | 2), None) => check_sealed(value).map_err(|error| Failure::damaged(&error)),
        _ => Err(Failure::damaged(&"a key of the unmerged")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Effective, FeedKey};

    #[test]
    fn rows_have_golden_bytes_and_no_truncation_passes() {
        let effective = Effective { time: 7, tick: 300 };
        let low = Position { effective, writer: FeedKey([9; 32]), seq: 5 };
        let row = Unmerged { low, changes: 2 };
        let bytes = row.encode();
        assert_eq!(hex::encode(&bytes), format!("0000000000000007ac02{}0502", "09".repeat(32)));
        assert_eq!(Unmerged::decode(&bytes), Ok(row));
        assert!((0..bytes.len()).all(|cut| Unmerged::decode(&bytes[..cut]).is_err()));
        assert_eq!(Unmerged::row_key(3, Standing::Waiting, b"k"), [0, 0, 0, 3, 1, b'k']);
        assert_eq!(Unmerged::row_key(3, Standing::Failed, b"k"), [0, 0, 0, 3, 2, b'k']);
    }

    #[test]
    fn who_merges_has_golden_bytes_and_unknown_functions_fail() {
        let functions = Functions { merge: true, resolve: true };
        let row = HandlerRow { functions, epoch: 300, marking: Some(b"k".to_vec()) };
        assert_eq!(hex::encode(row.encode()), "03ac02016b");
        assert_eq!(HandlerRow::decode(&row.encode()), Ok(row.clone()));
        let done = HandlerRow { marking: None, ..row };
        assert_eq!(hex::encode(done.encode()), "03ac0200");
        assert_eq!(HandlerRow::decode(&done.encode()), Ok(done));
        assert!((0..4).all(|cut| HandlerRow::decode(&[3, 0xac, 2, 0][..cut]).is_err()));
        assert!(HandlerRow::decode(&[4, 0, 0]).is_err() && HandlerRow::decode(&[1, 0, 0, 0]).is_err());
    }
}
