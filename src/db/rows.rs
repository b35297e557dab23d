//! Row codecs of the tables that belong to no stage.
//!
//! ```text
//! Databases  Key: 0x00 ‖ name                      Value: id u32 ‖ key 32 ‖ local 32 ‖ key encoding text ‖ value encoding text
//!                                                  ‖ flags u8 (1 open, 2 apply mode, 4 optimistic, 8 encrypted, 16 relay) ‖ [check of the encryption key 16]
//!            Key: 0x01 ‖ database u32              Value: version varint ‖ clock u64
//! Members    Key: database u32 ‖ feed 32           Value: feed u32 ‖ added bool ‖ merged varint ‖ until varint ‖ halt u8
//! Commits    Key: database u32 ‖ version u64       Value: the store's clock u64, at the commit that published the version
//! Meta       Key: "next database"                  Value: u32
//! ```
//!
//! `merged`: with `added` off, how much of the feed `removePeer` found merged. `until`: how much of a feed that only
//! links name is wanted; `u64::MAX` for every other.

use super::error::Failure;
use crate::codec::limits::{MAX_KEY_BYTES, MAX_NAME_BYTES};
use crate::codec::{DecodeError, Reader, put_bytes, put_varint};
use crate::seal::KeyCheck;
use crate::store::{Read, Table};
use crate::types::FeedKey;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Longest name of a database.
pub(super) const MAX_DATABASE_NAME: usize = MAX_KEY_BYTES;

#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing of a database")]
pub(super) struct DatabaseRow {
    pub id: u32,
    pub key: FeedKey,
    pub local: FeedKey,
    pub key_encoding: String,
    pub value_encoding: String,
    pub open: bool,
    /// Tells the encryption key it was made with, if it is encrypted.
    pub check: Option<KeyCheck>,
    /// Values are opaque, and `apply` makes the view of them.
    pub apply: bool,
    /// Apply mode: batches of unknown writers may be acknowledged.
    pub optimistic: bool,
    /// Its feeds are stored and forwarded, never read.
    pub relay: bool,
}

impl DatabaseRow {
    pub fn key_of(name: &str) -> Vec<u8> {
        [&[0], name.as_bytes()].concat()
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.id.to_be_bytes().to_vec();
        out.extend_from_slice(self.key.as_bytes());
        out.extend_from_slice(self.local.as_bytes());
        put_bytes(&mut out, self.key_encoding.as_bytes());
        put_bytes(&mut out, self.value_encoding.as_bytes());
        let flags = [self.open, self.apply, self.optimistic, self.check.is_some(), self.relay];
        out.push(flags.iter().zip(0..).fold(0, |byte, (flag, bit)| byte | u8::from(*flag) << bit));
        out.extend_from_slice(self.check.as_slice().as_flattened());
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let row = Self {
            id: reader.u32("the database's number")?,
            key: FeedKey(reader.array("the database's key")?),
            local: FeedKey(reader.array("the local feed")?),
            key_encoding: reader.text("the key encoding", MAX_NAME_BYTES)?.into(),
            value_encoding: reader.text("the value encoding", MAX_NAME_BYTES)?.into(),
            open: false,
            apply: false,
            optimistic: false,
            relay: false,
            check: None,
        };
        let flags = reader.u8("the flags")?;
        if flags > 31 {
            return Err(DecodeError::UnknownTag { what: "the flags", tag: flags.into() });
        }
        let check = (flags & 8 != 0).then(|| reader.array("the key's check")).transpose()?;
        reader.finish("the database's row")?;
        Ok(Self {
            open: flags & 1 != 0,
            apply: flags & 2 != 0,
            optimistic: flags & 4 != 0,
            relay: flags & 16 != 0,
            check,
            ..row
        })
    }
}

/// What of a database changes with every commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StateRow {
    pub version: u64,
    pub clock: u64,
}

impl StateRow {
    pub fn key_of(database: u32) -> [u8; 5] {
        let [a, b, c, d] = database.to_be_bytes();
        [1, a, b, c, d]
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(18);
        put_varint(&mut out, self.version);
        out.extend_from_slice(&self.clock.to_be_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let row = Self { version: reader.varint("the version")?, clock: reader.u64("the clock")? };
        reader.finish("the state row").map(|()| row)
    }
}

/// Why nothing more of a feed is placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Halt {
    #[default]
    None,
    /// A block no version could decode.
    Frozen,
    /// A block of a newer version.
    Newer,
    /// It is a branch of a feed that has forked: what counts of it is placed as that feed's.
    Branch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemberRow {
    pub feed: u32,
    pub added: bool,
    pub merged: u64,
    pub until: u64,
    pub halt: Halt,
    /// Known by an announcement alone.
    pub stranger: bool,
}

impl MemberRow {
    pub fn key_of(database: u32, feed: &FeedKey) -> Vec<u8> {
        [&database.to_be_bytes()[..], feed.as_bytes()].concat()
    }

    pub fn feed_of(key: &[u8]) -> Result<FeedKey, DecodeError> {
        let mut reader = Reader::new(key);
        reader.u32("the database")?;
        let feed = FeedKey(reader.array("the feed")?);
        reader.finish("a member's key").map(|()| feed)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.feed.to_be_bytes().to_vec();
        out.push(self.added.into());
        put_varint(&mut out, self.merged);
        put_varint(&mut out, self.until);
        out.push(match self.halt {
            Halt::None => 0,
            Halt::Frozen => 1,
            Halt::Newer => 2,
            Halt::Branch => 3,
        });
        out.push(self.stranger.into());
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let row = Self {
            feed: reader.u32("the feed's number")?,
            added: reader.bool("added")?,
            merged: reader.varint("the merged length")?,
            until: reader.varint("the wanted length")?,
            halt: match reader.u8("halt")? {
                0 => Halt::None,
                1 => Halt::Frozen,
                2 => Halt::Newer,
                3 => Halt::Branch,
                tag => return Err(DecodeError::UnknownTag { what: "halt", tag: tag.into() }),
            },
            stranger: reader.bool("stranger")?,
        };
        reader.finish("a member's row").map(|()| row)
    }
}

/// The members of a database.
pub(super) fn members_of(txn: &impl Read, database: u32) -> Result<BTreeMap<FeedKey, MemberRow>, Failure> {
    let damaged = |error| Failure::damaged(&error);
    let [from, to] = [0, 0xff].map(|byte| MemberRow::key_of(database, &FeedKey([byte; 32])));
    let mut members = BTreeMap::new();
    for member in txn.range(Table::Members, Bound::Included(&from), Bound::Included(&to))? {
        let (key, value) = member?;
        let feed = MemberRow::feed_of(key).map_err(damaged)?;
        members.insert(feed, MemberRow::decode(value).map_err(damaged)?);
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_round_trip_and_no_truncation_passes() {
        let database = DatabaseRow {
            id: 7,
            key: FeedKey([1; 32]),
            local: FeedKey([2; 32]),
            key_encoding: "utf-8".into(),
            value_encoding: "json".into(),
            open: true,
            check: Some([3; 16]),
            apply: false,
            optimistic: true,
            relay: false,
        };
        let bytes = database.encode();
        assert_eq!(DatabaseRow::decode(&bytes), Ok(database));
        assert!((0..bytes.len()).all(|cut| DatabaseRow::decode(&bytes[..cut]).is_err()));

        let state = StateRow { version: 300, clock: 5 };
        assert_eq!(state.encode(), hex::decode("ac020000000000000005").unwrap());
        assert_eq!(StateRow::decode(&state.encode()), Ok(state));

        let member =
            MemberRow { feed: 3, added: true, merged: 0, until: u64::MAX, halt: Halt::Newer, stranger: true };
        let bytes = member.encode();
        assert_eq!(hex::encode(&bytes), "000000030100ffffffffffffffffff010201");
        assert_eq!(MemberRow::decode(&bytes), Ok(member));
        assert!((0..bytes.len()).all(|cut| MemberRow::decode(&bytes[..cut]).is_err()));
    }
}
