//! One database's part of the view's tables, and the only place where their rows are sealed and opened. Of a plain
//! database a row is named by the user's key and holds the value; of an encrypted one it is named by a keyed hash of
//! the key and holds both, sealed.
//!
//! ```text
//! View    Value, plain: value      sealed: sealed row (seal) of: key length varint ‖ key ‖ value
//! Log     Value: name
//! name    the key, or the first 16 bytes of its keyed hash (seal)
//! ```

use super::ViewError;
use super::keys::KeyIndex;
use super::rows::{PREFIX, log_key, split_view_key, view_key};
use crate::codec::limits::MAX_KEY_BYTES;
use crate::codec::{DecodeError, Reader, put_bytes};
use crate::seal::{BlockSealing, Sealing};
use crate::store::{Read, Table, WriteTxn};
use crate::types::FeedKey;
use std::borrow::Cow;
use std::ops::Bound;
use std::sync::Arc;

/// A database's number in this store, how its rows are sealed, and the keys that ranges over sealed rows go by. Clones
/// share both.
#[derive(Clone, Debug)]
pub struct Space {
    database: u32,
    sealing: Sealing,
    keys: Option<Arc<KeyIndex>>,
}

/// A row by name, opened.
#[derive(Clone, Debug)]
pub struct Opened<'t> {
    bytes: Cow<'t, [u8]>,
    /// Where the key and the value stand in it; a plain row holds no key.
    key: Option<(usize, usize)>,
    value: usize,
}

impl Opened<'_> {
    pub fn value(&self) -> &[u8] {
        self.bytes.get(self.value..).unwrap_or_default()
    }

    /// The user's key, of a row that was found by `name`.
    pub fn key<'a>(&'a self, name: &'a [u8]) -> &'a [u8] {
        match self.key {
            None => name,
            Some((from, to)) => self.bytes.get(from..to).unwrap_or_default(),
        }
    }
}

/// A row of the view, opened.
#[derive(Clone, Debug)]
pub struct Stored<'t> {
    pub version: u64,
    opened: Opened<'t>,
}

impl<'t> Stored<'t> {
    /// A row whose value is known.
    pub(super) fn known(version: u64, value: &'t [u8]) -> Self {
        Self { version, opened: Opened { bytes: Cow::Borrowed(value), key: None, value: 0 } }
    }

    pub fn value(&self) -> &[u8] {
        self.opened.value()
    }

    pub fn key<'a>(&'a self, name: &'a [u8]) -> &'a [u8] {
        self.opened.key(name)
    }
}

impl Space {
    pub fn new(database: u32, sealing: Sealing) -> Self {
        let keys = sealing.is_encrypted().then(Arc::default);
        Self { database, sealing, keys }
    }

    /// A database that is not encrypted.
    pub fn plain(database: u32) -> Self {
        Self::new(database, Sealing::PLAIN)
    }

    pub fn database(&self) -> u32 {
        self.database
    }

    pub fn sealing(&self) -> &Sealing {
        &self.sealing
    }

    pub fn is_encrypted(&self) -> bool {
        self.sealing.is_encrypted()
    }

    pub fn blocks(&self, feed: FeedKey) -> BlockSealing {
        self.sealing.blocks(feed)
    }

    /// The keys in order, where rows do not stand in it.
    pub(super) fn keys(&self) -> Option<&KeyIndex> {
        self.keys.as_deref()
    }

    /// Forgets the keys that ranges go by: rows that they were read from are gone.
    pub fn forget_keys(&self) {
        if let Some(keys) = &self.keys {
            keys.forget();
        }
    }

    /// The same rows for whoever reads all of them, in the order in which they stand.
    pub(super) fn by_rows(&self) -> Self {
        Self { keys: None, ..self.clone() }
    }

    /// What stands for `key` in the keys of rows, of every table that has rows by key.
    pub fn name<'k>(&self, key: &'k [u8]) -> Cow<'k, [u8]> {
        self.sealing.name(key)
    }

    /// Writes a version of a key: its row of the view and of the log.
    pub fn put(
        &self,
        txn: &mut WriteTxn<'_>,
        key: &[u8],
        version: u64,
        value: &[u8],
    ) -> Result<(), ViewError> {
        let name = self.name(key);
        let row = view_key(self.database, &name, version);
        let value = self.seal(Table::View, &row, key, value)?;
        txn.put(Table::View, &row, &value)?;
        txn.append(Table::Log, &log_key(self.database, version), &name)?;
        Ok(())
    }

    /// The value of a row by name: as it is, or sealed together with the key.
    pub fn seal<'v>(
        &self,
        table: Table,
        row: &[u8],
        key: &[u8],
        value: &'v [u8],
    ) -> Result<Cow<'v, [u8]>, ViewError> {
        if !self.is_encrypted() {
            return Ok(Cow::Borrowed(value));
        }
        let mut plain = zeroize::Zeroizing::new(Vec::with_capacity(key.len() + value.len() + 2));
        put_bytes(&mut plain, key);
        plain.extend_from_slice(value);
        Ok(Cow::Owned(self.sealing.seal_row(table.name(), place(row), &plain)?.into_owned()))
    }

    /// The newest row of a name at version `at` (none: now).
    pub fn by_name<'t>(
        &self,
        txn: &'t impl Read,
        name: &[u8],
        at: Option<u64>,
    ) -> Result<Option<Stored<'t>>, ViewError> {
        let from = view_key(self.database, name, at.unwrap_or(u64::MAX));
        let Some((row, value)) = txn.first(Table::View, Bound::Included(&from), Bound::Unbounded)? else {
            return Ok(None);
        };
        // What stands before the tail is the database and the name: another one's row means there is none of this.
        let found = split_view_key(row)?.0;
        if found != name || row.get(..PREFIX) != from.get(..PREFIX) {
            return Ok(None);
        }
        self.open(row, value).map(Some)
    }

    /// The version of a key's newest row, which is not opened.
    pub fn newest_version(&self, txn: &impl Read, key: &[u8]) -> Result<Option<u64>, ViewError> {
        let name = self.name(key);
        let from = view_key(self.database, &name, u64::MAX);
        let row = txn.first(Table::View, Bound::Included(&from), Bound::Unbounded)?;
        let Some((row, _)) = row.filter(|(row, _)| row.get(..PREFIX) == from.get(..PREFIX)) else {
            return Ok(None);
        };
        let (found, version) = split_view_key(row)?;
        Ok((*found == *name).then_some(version))
    }

    /// The newest row of a key at version `at` (none: now).
    pub fn newest<'t>(
        &self,
        txn: &'t impl Read,
        key: &[u8],
        at: Option<u64>,
    ) -> Result<Option<Stored<'t>>, ViewError> {
        let name = self.name(key);
        let found = self.by_name(txn, &name, at)?;
        if found.as_ref().is_some_and(|found| found.key(&name) != key) {
            return Err(DecodeError::Malformed { what: "the key of a sealed row" }.into());
        }
        Ok(found)
    }

    /// A row of the view, as it stands there.
    pub(super) fn open<'t>(&self, row: &[u8], value: &'t [u8]) -> Result<Stored<'t>, ViewError> {
        let version = split_view_key(row)?.1;
        Ok(Stored { version, opened: self.open_row(Table::View, row, value)? })
    }

    /// What [`Self::seal`] made of a value.
    pub fn open_row<'t>(&self, table: Table, row: &[u8], value: &'t [u8]) -> Result<Opened<'t>, ViewError> {
        let bytes = self.sealing.open_row(table.name(), place(row), value)?;
        if !self.is_encrypted() {
            return Ok(Opened { bytes, key: None, value: 0 });
        }
        let mut reader = Reader::new(&bytes);
        let length = reader.bytes("the key of a sealed row", MAX_KEY_BYTES)?.len();
        let value = bytes.len() - reader.remaining();
        Ok(Opened { bytes, key: Some((value - length, value)), value })
    }
}

/// A row's key without the store's number of the database.
fn place(row: &[u8]) -> &[u8] {
    row.get(PREFIX..).unwrap_or_default()
}
