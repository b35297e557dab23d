//! One table of the open file: its typed handle, and seeks and scans over it.

use std::ops::Bound;

use heed::types::Bytes;
use heed::{Comparator, Database, PutFlags, RoRange, RoRevRange, RoTxn, RwTxn};

use super::order::{Plain, PrefixTail};
use super::tables::{RowOrder, Table};
use super::{MAX_ROW_KEY, Row, StoreError};

type Db<'e, C> = Database<'e, Bytes, Bytes, C>;
type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// A table's handle; the variant is its row order.
pub(super) enum Handle<'e> {
    Bytes(Db<'e, Plain>),
    Tail8(Db<'e, PrefixTail<8>>),
    Tail24(Db<'e, PrefixTail<24>>),
}

/// Runs the same expression for whichever order the handle has.
macro_rules! each {
    ($handle:expr, $db:ident => $body:expr) => {
        match $handle {
            Handle::Bytes($db) => $body,
            Handle::Tail8($db) => $body,
            Handle::Tail24($db) => $body,
        }
    };
}

impl heed::OnCommit for Handle<'_> {
    type Committed = Handle<'static>;

    fn on_commit(self, token: &heed::CommitToken) -> Handle<'static> {
        match self {
            Handle::Bytes(db) => Handle::Bytes(db.on_commit(token)),
            Handle::Tail8(db) => Handle::Tail8(db.on_commit(token)),
            Handle::Tail24(db) => Handle::Tail24(db.on_commit(token)),
        }
    }
}

impl<'e> Handle<'e> {
    /// Opens a table that should be there.
    pub(super) fn open<T>(
        opener: &heed::DatabaseOpener<'e, T>,
        txn: &RoTxn<'_>,
        table: Table,
    ) -> Result<Option<Self>, heed::Error> {
        let mut options = opener.database_options().types::<Bytes, Bytes>();
        options.name(table.name());
        Ok(match table.order() {
            RowOrder::Bytes => options.key_comparator::<Plain>().open(txn)?.map(Handle::Bytes),
            RowOrder::Tail8 => options.key_comparator::<PrefixTail<8>>().open(txn)?.map(Handle::Tail8),
            RowOrder::Tail24 => options.key_comparator::<PrefixTail<24>>().open(txn)?.map(Handle::Tail24),
        })
    }

    /// Opens a table, making it if it is not there.
    pub(super) fn create<T>(
        opener: &heed::DatabaseOpener<'e, T>,
        txn: &mut RwTxn<'_>,
        table: Table,
    ) -> Result<Self, heed::Error> {
        let mut options = opener.database_options().types::<Bytes, Bytes>();
        options.name(table.name());
        Ok(match table.order() {
            RowOrder::Bytes => Handle::Bytes(options.key_comparator::<Plain>().create(txn)?),
            RowOrder::Tail8 => Handle::Tail8(options.key_comparator::<PrefixTail<8>>().create(txn)?),
            RowOrder::Tail24 => Handle::Tail24(options.key_comparator::<PrefixTail<24>>().create(txn)?),
        })
    }

    pub(super) fn get<'t>(&self, txn: &'t RoTxn<'_>, key: &[u8]) -> Result<Option<&'t [u8]>, StoreError> {
        // LMDB answers an empty key with an error; no row can have one.
        if key.is_empty() {
            return Ok(None);
        }
        Ok(each!(self, db => db.get(txn, key))?)
    }

    pub(super) fn put(&self, txn: &mut RwTxn<'_>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        check_key(key)?;
        Ok(each!(self, db => db.put(txn, key, value))?)
    }

    /// Writes behind the last row without a search and with full pages; elsewhere an ordinary put.
    pub(super) fn append(&self, txn: &mut RwTxn<'_>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        check_key(key)?;
        match each!(self, db => db.put_with_flags(txn, PutFlags::APPEND, key, value)) {
            // Not the last row: LMDB says so before it has changed anything.
            Err(heed::Error::Mdb(heed::MdbError::KeyExist)) => self.put(txn, key, value),
            other => Ok(other?),
        }
    }

    pub(super) fn delete(&self, txn: &mut RwTxn<'_>, key: &[u8]) -> Result<bool, StoreError> {
        if key.is_empty() {
            return Ok(false);
        }
        Ok(each!(self, db => db.delete(txn, key))?)
    }

    pub(super) fn entries(&self, txn: &RoTxn<'_>) -> Result<u64, StoreError> {
        Ok(each!(self, db => db.len(txn))?)
    }

    /// First row within the bounds: one seek, no copy of the bounds where LMDB can take them as they are.
    pub(super) fn first<'t>(
        &self,
        txn: &'t RoTxn<'_>,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Result<Option<Row<'t>>, StoreError> {
        let Some((from, to)) = seekable(from, to) else { return Ok(None) };
        each!(self, db => first(db, txn, from, to))
    }

    /// Last row within the bounds: one seek.
    pub(super) fn last<'t>(
        &self,
        txn: &'t RoTxn<'_>,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Result<Option<Row<'t>>, StoreError> {
        let Some((from, to)) = seekable(from, to) else { return Ok(None) };
        each!(self, db => last(db, txn, from, to))
    }

    pub(super) fn range<'t>(
        &self,
        txn: &'t RoTxn<'_>,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Result<Rows<'t>, StoreError> {
        let Some(bounds) = seekable(from, to) else { return Ok(Rows(Scan::Done)) };
        Ok(Rows(match self {
            Handle::Bytes(db) => Scan::Bytes(db.range(txn, &bounds)?),
            Handle::Tail8(db) => Scan::Tail8(db.range(txn, &bounds)?),
            Handle::Tail24(db) => Scan::Tail24(db.range(txn, &bounds)?),
        }))
    }

    pub(super) fn range_back<'t>(
        &self,
        txn: &'t RoTxn<'_>,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Result<Rows<'t>, StoreError> {
        let Some(bounds) = seekable(from, to) else { return Ok(Rows(Scan::Done)) };
        Ok(Rows(match self {
            Handle::Bytes(db) => Scan::BytesBack(db.rev_range(txn, &bounds)?),
            Handle::Tail8(db) => Scan::Tail8Back(db.rev_range(txn, &bounds)?),
            Handle::Tail24(db) => Scan::Tail24Back(db.rev_range(txn, &bounds)?),
        }))
    }
}

fn check_key(key: &[u8]) -> Result<(), StoreError> {
    if key.is_empty() || key.len() > MAX_ROW_KEY {
        return Err(StoreError::KeySize { bytes: key.len(), max: MAX_ROW_KEY });
    }
    Ok(())
}

/// Bounds LMDB can seek: it takes no empty key, and no row has one. `None`: nothing can be within.
fn seekable<'a>(from: Bound<&'a [u8]>, to: Bound<&'a [u8]>) -> Option<Bounds<'a>> {
    let from = match from {
        Bound::Included([]) | Bound::Excluded([]) => Bound::Unbounded,
        other => other,
    };
    match to {
        Bound::Included([]) | Bound::Excluded([]) => None,
        to => Some((from, to)),
    }
}

fn first<'t, C: Comparator + 'static>(
    db: &Db<'_, C>,
    txn: &'t RoTxn<'_>,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
) -> Result<Option<Row<'t>>, StoreError> {
    let row = match from {
        Bound::Unbounded => db.first(txn)?,
        Bound::Included(key) => db.get_greater_than_or_equal_to(txn, key)?,
        // heed's `get_greater_than` compares as plain bytes, whatever the table's order is; its ranges do not.
        Bound::Excluded(_) => db.range(txn, &(from, Bound::Unbounded))?.next().transpose()?,
    };
    Ok(row.filter(|(key, _)| match to {
        Bound::Unbounded => true,
        Bound::Included(to) => C::compare(key, to).is_le(),
        Bound::Excluded(to) => C::compare(key, to).is_lt(),
    }))
}

fn last<'t, C: Comparator + 'static>(
    db: &Db<'_, C>,
    txn: &'t RoTxn<'_>,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
) -> Result<Option<Row<'t>>, StoreError> {
    let row = match to {
        Bound::Unbounded => db.last(txn)?,
        Bound::Included(key) => db.get_lower_than_or_equal_to(txn, key)?,
        Bound::Excluded(key) => db.get_lower_than(txn, key)?,
    };
    Ok(row.filter(|(key, _)| match from {
        Bound::Unbounded => true,
        Bound::Included(from) => C::compare(key, from).is_ge(),
        Bound::Excluded(from) => C::compare(key, from).is_gt(),
    }))
}

/// Rows of a scan, in order or against it. Ends at the first error, and stays at its end.
pub struct Rows<'t>(Scan<'t>);

enum Scan<'t> {
    Bytes(RoRange<'t, Bytes, Bytes, Plain>),
    Tail8(RoRange<'t, Bytes, Bytes, PrefixTail<8>>),
    Tail24(RoRange<'t, Bytes, Bytes, PrefixTail<24>>),
    BytesBack(RoRevRange<'t, Bytes, Bytes, Plain>),
    Tail8Back(RoRevRange<'t, Bytes, Bytes, PrefixTail<8>>),
    Tail24Back(RoRevRange<'t, Bytes, Bytes, PrefixTail<24>>),
    Done,
}

impl<'t> Iterator for Rows<'t> {
    type Item = Result<Row<'t>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = match &mut self.0 {
            Scan::Bytes(rows) => rows.next(),
            Scan::Tail8(rows) => rows.next(),
            Scan::Tail24(rows) => rows.next(),
            Scan::BytesBack(rows) => rows.next(),
            Scan::Tail8Back(rows) => rows.next(),
            Scan::Tail24Back(rows) => rows.next(),
            Scan::Done => None,
        };
        if !matches!(row, Some(Ok(_))) {
            self.0 = Scan::Done;
        }
        row.map(|row| row.map_err(StoreError::from))
    }
}

impl std::iter::FusedIterator for Rows<'_> {}
