//! Transactions: many readers of what was committed, one writer.

use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::Arc;

use heed::{RoTxn, RwTxn, WithoutTls};
use parking_lot::lock_api::ArcRwLockReadGuard;
use parking_lot::{MutexGuard, RawRwLock};

use super::environment::Shared;
use super::opened::Opened;
use super::rows::{Handle, Rows};
use super::tables::Table;
use super::{Row, StoreError};

/// The shared side of the map lock; while one is held the file stays mapped where it is.
pub(super) type MapGuard = ArcRwLockReadGuard<RawRwLock, Option<Opened>>;

/// Reading, alike in both kinds of transactions. Bounds are row keys in the table's own order.
pub trait Read {
    /// The row of exactly this key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<&[u8]>, StoreError>;

    /// First row within the bounds: one cursor seek.
    fn first(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> Result<Option<Row<'_>>, StoreError>;

    /// Last row within the bounds: one cursor seek.
    fn last(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>)
    -> Result<Option<Row<'_>>, StoreError>;

    /// Rows within the bounds, in order.
    fn range(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Rows<'_>, StoreError>;

    /// Rows within the bounds, last first.
    fn range_back(&self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Rows<'_>, StoreError>;

    /// Number of rows of the table.
    fn entries(&self, table: Table) -> Result<u64, StoreError>;
}

/// A snapshot of what was committed when it was made. Owned, `Send`, and good for any number per thread.
///
/// It keeps the pages it can see from being reused and keeps the file mapped where it is: a long read closes it now
/// and then and goes on by key with a new one. Kept open it makes the file grow, and a growing map waits for it.
pub struct ReadTxn {
    // Dropped in this order: the transaction, then the right to use the map, then (perhaps the last) environment.
    txn: RoTxn<'static, WithoutTls>,
    map: MapGuard,
    _env: Arc<Shared>,
}

/// The write transaction: one at a time, on the thread that began it (LMDB's locks belong to a thread).
///
/// Dropping it aborts. After an error of `put`, `append` or `delete` it can only be aborted.
pub struct WriteTxn<'e> {
    // Dropped in this order: the transaction, then the right to use the map, then the right to write.
    txn: Option<RwTxn<'e>>,
    map: MapGuard,
    full: bool,
    writes: u64,
    bytes: u64,
    _writing: MutexGuard<'e, ()>,
    _owner_thread: PhantomData<*const ()>,
}

fn table(map: &MapGuard, table: Table) -> Result<&Handle<'static>, StoreError> {
    map.as_ref().and_then(|opened| opened.table(table)).ok_or(StoreError::Unmapped)
}

/// Both transactions read in the same words.
macro_rules! read_by {
    ($type:ty, $self:ident => $txn:expr) => {
        impl Read for $type {
            fn get(&$self, table: Table, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
                self::table(&$self.map, table)?.get($txn, key)
            }

            fn first(
                &$self,
                table: Table,
                from: Bound<&[u8]>,
                to: Bound<&[u8]>,
            ) -> Result<Option<Row<'_>>, StoreError> {
                self::table(&$self.map, table)?.first($txn, from, to)
            }

            fn last(
                &$self,
                table: Table,
                from: Bound<&[u8]>,
                to: Bound<&[u8]>,
            ) -> Result<Option<Row<'_>>, StoreError> {
                self::table(&$self.map, table)?.last($txn, from, to)
            }

            fn range(&$self, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Rows<'_>, StoreError> {
                self::table(&$self.map, table)?.range($txn, from, to)
            }

            fn range_back(
                &$self,
                table: Table,
                from: Bound<&[u8]>,
                to: Bound<&[u8]>,
            ) -> Result<Rows<'_>, StoreError> {
                self::table(&$self.map, table)?.range_back($txn, from, to)
            }

            fn entries(&$self, table: Table) -> Result<u64, StoreError> {
                self::table(&$self.map, table)?.entries($txn)
            }
        }
    };
}

read_by!(ReadTxn, self => &self.txn);
read_by!(WriteTxn<'_>, self => self.txn.as_ref().ok_or(StoreError::Unmapped)?);

impl ReadTxn {
    pub(super) fn begin(map: MapGuard, env: Arc<Shared>) -> Result<Self, StoreError> {
        let opened = map.as_ref().ok_or(StoreError::Unmapped)?;
        let txn = opened.env.clone().static_read_txn()?;
        Ok(Self { txn, map, _env: env })
    }
}

impl<'e> WriteTxn<'e> {
    /// # Safety
    ///
    /// `map` must guard a value that lives, unmoved, for `'e`.
    pub(super) unsafe fn begin(map: MapGuard, writing: MutexGuard<'e, ()>) -> Result<Self, StoreError> {
        let opened: *const Opened = map.as_ref().ok_or(StoreError::Unmapped)?;
        // SAFETY: the caller promises that the value stands still for 'e; nothing writes to it (`grow` does) while
        // the guard is held, and the transaction is dropped before the guard.
        let txn = unsafe { &*opened }.env.write_txn()?;
        Ok(Self {
            txn: Some(txn),
            map,
            full: false,
            writes: 0,
            bytes: 0,
            _writing: writing,
            _owner_thread: PhantomData,
        })
    }

    /// Writes a row, replacing what stood there.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.bytes += (key.len() + value.len()) as u64;
        self.change(table, |handle, txn| handle.put(txn, key, value))
    }

    /// As `put`, but quicker and denser when the row comes after all others of the table.
    pub fn append(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.bytes += (key.len() + value.len()) as u64;
        self.change(table, |handle, txn| handle.append(txn, key, value))
    }

    /// Removes a row; says whether there was one.
    pub fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        self.change(table, |handle, txn| handle.delete(txn, key))
    }

    /// Makes all of it durable and visible, or none of it.
    pub fn commit(mut self) -> Result<(), StoreError> {
        let opened = self.map.as_ref().ok_or(StoreError::Unmapped)?;
        let committed = self.txn.take().ok_or(StoreError::Unmapped)?.commit();
        committed.map_err(|error| opened.explain(error.into()))
    }

    /// Leaves everything as it was.
    pub fn abort(self) {
        drop(self);
    }

    /// Rows put, appended and deleted so far.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// Bytes of the rows put and appended so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// True once the map was found full: the transaction can only be aborted.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    fn change<T>(
        &mut self,
        table: Table,
        act: impl FnOnce(&Handle<'static>, &mut RwTxn<'e>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let opened = self.map.as_ref().ok_or(StoreError::Unmapped)?;
        let handle = opened.table(table).ok_or(StoreError::Unmapped)?;
        let result = act(handle, self.txn.as_mut().ok_or(StoreError::Unmapped)?);
        let result = result.map_err(|error| opened.explain(error));
        self.writes += 1;
        self.full |= matches!(result, Err(StoreError::MapFull));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::{ReadTxn, WriteTxn};

    /// Names one function for a type that is not `Send`, and two, which does not compile, for one that is.
    trait Unless<Which> {
        fn not_send() {}
    }
    struct IsSend;
    impl<T: ?Sized> Unless<()> for T {}
    impl<T: ?Sized + Send> Unless<IsSend> for T {}

    #[test]
    fn i5_only_read_transactions_move_between_threads() {
        fn moves<T: Send>() {}
        moves::<ReadTxn>();
        <WriteTxn<'_> as Unless<_>>::not_send();
    }
}
