//! Who has linked what of a feed that has forked, beyond the common length: by that it is settled which branch counts.
//!
//! ```text
//! Witnesses  Key: database u32 ‖ forked feed u32 ‖ writer u32 ‖ seq u64    Value: time u64 ‖ length varint ‖ root 16
//! ```
//!
//! seq: of the first entry of the batch; time: its writer's own; length, root: of the link.

use super::OrderError;
use crate::codec::{DecodeError, Reader, put_varint};
use crate::store::{Read, StoreError, Table, WriteTxn};
use crate::types::ShortRoot;
use std::ops::Bound;

/// A batch that links a feed beyond the length at which it has forked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// This store's number for the feed it stands in.
    pub writer: u32,
    pub seq: u64,
    pub time: u64,
    pub length: u64,
    pub root: ShortRoot,
}

fn key(database: u32, feed: u32, writer: u32, seq: u64) -> Vec<u8> {
    let [database, feed, writer] = [database, feed, writer].map(u32::to_be_bytes);
    [&database[..], &feed, &writer, &seq.to_be_bytes()].concat()
}

impl Witness {
    pub fn value(&self) -> Vec<u8> {
        let mut out = self.time.to_be_bytes().to_vec();
        put_varint(&mut out, self.length);
        out.extend_from_slice(&self.root);
        out
    }

    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, DecodeError> {
        let mut at = Reader::new(key);
        at.u32("the database of a witness")?;
        at.u32("the feed of a witness")?;
        let (writer, seq) = (at.u32("the writer of a witness")?, at.u64("the seq of a witness")?);
        at.finish("the key of a witness")?;
        let mut reader = Reader::new(value);
        let time = reader.u64("the time of a witness")?;
        let length = reader.varint("the length of a witness")?;
        let root = reader.array("the root of a witness")?;
        reader.finish("a witness")?;
        Ok(Self { writer, seq, time, length, root })
    }
}

/// True if it is a new one.
pub fn note_witness(
    txn: &mut WriteTxn<'_>,
    database: u32,
    feed: u32,
    witness: &Witness,
) -> Result<bool, StoreError> {
    let (key, value) = (key(database, feed, witness.writer, witness.seq), witness.value());
    let is_new = txn.get(Table::Witnesses, &key)? != Some(value.as_slice());
    if is_new {
        txn.put(Table::Witnesses, &key, &value)?;
    }
    Ok(is_new)
}

/// All of a feed, by writer and seq.
pub fn witnesses(txn: &impl Read, database: u32, feed: u32) -> Result<Vec<Witness>, OrderError> {
    let (from, to) = (key(database, feed, 0, 0), key(database, feed, u32::MAX, u64::MAX));
    let mut found = Vec::new();
    for row in txn.range(Table::Witnesses, Bound::Included(&from), Bound::Included(&to))? {
        let (key, value) = row?;
        found.push(Witness::decode(key, value)?);
    }
    Ok(found)
}

/// Forgets what batches of `writer` from `from` on have linked: they are no longer what they were.
pub fn forget_witnesses(
    txn: &mut WriteTxn<'_>,
    database: u32,
    feed: u32,
    writer: u32,
    from: u64,
) -> Result<(), StoreError> {
    let (from, to) = (key(database, feed, writer, from), key(database, feed, writer, u64::MAX));
    let mut keys = Vec::new();
    for row in txn.range(Table::Witnesses, Bound::Included(&from), Bound::Included(&to))? {
        keys.push(row?.0.to_vec());
    }
    for key in keys {
        txn.delete(Table::Witnesses, &key)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_and_every_truncation_fails() {
        let witness = Witness { writer: 3, seq: 4, time: 5, length: 300, root: [6; 16] };
        let (key, value) = (key(1, 2, witness.writer, witness.seq), witness.value());
        assert_eq!(hex::encode(&key), "0000000100000002000000030000000000000004");
        assert_eq!(hex::encode(&value), format!("0000000000000005ac02{}", "06".repeat(16)));
        assert_eq!(Witness::decode(&key, &value), Ok(witness));
        assert!((0..key.len()).all(|cut| Witness::decode(&key[..cut], &value).is_err()));
        assert!((0..value.len()).all(|cut| Witness::decode(&key, &value[..cut]).is_err()));
    }
}
