//! What `causal` asks about placed batches, answered from the store.
//!
//! ```text
//! Pasts       Key: database u32 ‖ feed u32 ‖ seq u64      Value: since varint ‖ past (causal)
//! Effectives  Key: database u32 ‖ feed u32 ‖ seq u64      Value: time u64 ‖ tick varint
//! Controls    Key: database u32 ‖ feed u32 ‖ seq u64      Value: control batch (causal)
//! Order       Key: database u32                           Value: head of the order state (causal)
//!             Key: database u32 ‖ feed 32                 Value: what it says of a feed (causal)
//! ```
//!
//! `since`: 0 if the past is all of it; else the row holds only what is not in the past of the feed's rows before it, down
//! to the last that is whole, and `since` counts the feeds in them and in this one.

use super::{OrderError, batch_start};
use crate::causal::{
    ControlBatch, Controls, OrderFeed, OrderHead, OrderState, Past, Placed, PlacedBatch, WalkRule, WalkSource,
};
use crate::codec::{Reader, put_varint};
use crate::seal::Sealing;
use crate::store::{Read, StoreError, Table, WriteTxn};
use crate::types::{Effective, FeedKey, Hash, Link};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// This store's numbers for the feeds of a database.
pub trait Numbers {
    fn number(&self, feed: &FeedKey) -> Option<u32>;
}

fn row_key(database: u32, feed: u32, seq: u64) -> [u8; 16] {
    let mut out = [0; 16];
    let (prefix, tail) = out.split_at_mut(8);
    let (first, second) = prefix.split_at_mut(4);
    first.copy_from_slice(&database.to_be_bytes());
    second.copy_from_slice(&feed.to_be_bytes());
    tail.copy_from_slice(&seq.to_be_bytes());
    out
}

/// A row of `Pasts`.
pub(super) fn read_past(value: &[u8]) -> Result<(u64, Past), OrderError> {
    let mut reader = Reader::new(value);
    let since = reader.varint("a past")?;
    let past = Past::decode(&mut reader)?;
    reader.finish("a past")?;
    Ok((since, past))
}

/// The past of the batch of `feed` that ends at `length`, itself included.
pub fn past_at(
    txn: &impl Read,
    database: u32,
    key: FeedKey,
    feed: u32,
    length: u64,
) -> Result<Past, OrderError> {
    Ok(past_and_since(txn, database, key, feed, length)?.0)
}

/// That past, and how many feeds the rows name that it is put together from since the last whole one.
fn past_and_since(
    txn: &impl Read,
    database: u32,
    key: FeedKey,
    feed: u32,
    length: u64,
) -> Result<(Past, u64), OrderError> {
    let Some(last) = length.checked_sub(1) else { return Ok((Past::new(), 0)) };
    let (from, to) = (row_key(database, feed, 0), row_key(database, feed, last));
    let mut past = Past::from_iter([(key, length)]);
    let mut named = None;
    for row in txn.range_back(Table::Pasts, Bound::Included(&from), Bound::Included(&to))? {
        let (since, added) = read_past(row?.1)?;
        past.join(&added);
        named.get_or_insert(since);
        if since == 0 {
            break;
        }
    }
    Ok((past, named.unwrap_or(0)))
}

/// Keeps the past of the batch at `seq`, of which that of its predecessor is a part: what is new in it, or all of it where
/// what was new since the last whole one is as much. So in the long run as much is written as is new, and no more than
/// twice the past is read.
fn note_past(
    txn: &mut WriteTxn<'_>,
    database: u32,
    key: FeedKey,
    feed: u32,
    seq: u64,
    past: &Past,
) -> Result<(), OrderError> {
    let (before, named) = past_and_since(txn, database, key, feed, seq)?;
    let new: Past = past.iter().filter(|(of, length)| before.get(of) < *length).collect();
    if new.is_empty() {
        return Ok(());
    }
    let since = named.saturating_add(new.len() as u64);
    let (since, kept) = if since >= past.len() as u64 { (0, past) } else { (since, &new) };
    let mut value = Vec::new();
    put_varint(&mut value, since);
    kept.encode_into(&mut value);
    Ok(txn.put(Table::Pasts, &row_key(database, feed, seq), &value)?)
}

/// Keeps what the batch at `seq` needs kept: its past if it read links, its effective timestamp if it is not its own.
pub fn note_placed(
    txn: &mut WriteTxn<'_>,
    database: u32,
    (key, feed): (FeedKey, u32),
    seq: u64,
    past: Option<&Past>,
    effective: Option<Effective>,
) -> Result<(), OrderError> {
    if let Some(past) = past {
        note_past(txn, database, key, feed, seq, past)?;
    }
    if let Some(effective) = effective {
        let mut value = effective.time.to_be_bytes().to_vec();
        put_varint(&mut value, effective.tick);
        txn.put(Table::Effectives, &row_key(database, feed, seq), &value)?;
    }
    Ok(())
}

/// Takes out what is kept of the batches of `feed` that begin at or after `from`.
pub fn forget_placed(txn: &mut WriteTxn<'_>, database: u32, feed: u32, from: u64) -> Result<(), StoreError> {
    let (from, to) = (row_key(database, feed, from), row_key(database, feed, u64::MAX));
    for table in [Table::Pasts, Table::Effectives, Table::Controls] {
        let mut keys = Vec::new();
        for row in txn.range(table, Bound::Included(&from), Bound::Included(&to))? {
            keys.push(row?.0.to_vec());
        }
        for key in keys {
            txn.delete(table, &key)?;
        }
    }
    Ok(())
}

/// The order of a database as it was last saved.
pub fn order_state(txn: &impl Read, database: u32, creator: FeedKey) -> Result<OrderState, OrderError> {
    let Some(row) = txn.get(Table::Order, &database.to_be_bytes())? else {
        return Ok(OrderState::new(creator, WalkRule::Merge));
    };
    let mut controls = Controls::new();
    let (from, to) = (row_key(database, 0, 0), row_key(database, u32::MAX, u64::MAX));
    for control in txn.range(Table::Controls, Bound::Included(&from), Bound::Included(&to))? {
        let mut reader = Reader::new(control?.1);
        controls.insert(ControlBatch::decode(&mut reader)?);
        reader.finish("a control batch")?;
    }
    let mut reader = Reader::new(row);
    let head = OrderHead::decode(&mut reader)?;
    reader.finish("the order")?;
    let mut feeds = BTreeMap::new();
    let (from, to) = (order_key(database, &FeedKey([0; 32])), order_key(database, &FeedKey([0xff; 32])));
    for row in txn.range(Table::Order, Bound::Included(&from), Bound::Included(&to))? {
        let (key, value) = row?;
        let (feed, kept) = read_order_feed(key, value)?;
        feeds.insert(feed, kept);
    }
    Ok(OrderState::restore(head, feeds, controls)?)
}

fn order_key(database: u32, feed: &FeedKey) -> Vec<u8> {
    [&database.to_be_bytes()[..], feed.as_bytes()].concat()
}

/// A row of `Order` that is about a feed.
pub(super) fn read_order_feed(key: &[u8], value: &[u8]) -> Result<(FeedKey, OrderFeed), OrderError> {
    let mut reader = Reader::new(key);
    reader.u32("the database")?;
    let feed = FeedKey(reader.array("the feed")?);
    reader.finish("a key of the order")?;
    let mut reader = Reader::new(value);
    let kept = OrderFeed::decode(&mut reader)?;
    reader.finish("the order of a feed")?;
    Ok((feed, kept))
}

/// Keeps a batch that grants or revokes.
pub fn save_control(
    txn: &mut WriteTxn<'_>,
    database: u32,
    feed: u32,
    batch: &ControlBatch,
) -> Result<(), StoreError> {
    let mut row = Vec::new();
    batch.encode_into(&mut row);
    txn.put(Table::Controls, &row_key(database, feed, batch.seq), &row)
}

/// Keeps what has changed since it was last kept. `feeds`: those it has changed for.
pub fn save_order(
    txn: &mut WriteTxn<'_>,
    database: u32,
    state: &OrderState,
    feeds: &BTreeSet<FeedKey>,
) -> Result<(), StoreError> {
    let mut row = Vec::new();
    state.head().encode_into(&mut row);
    txn.put(Table::Order, &database.to_be_bytes(), &row)?;
    for feed in feeds {
        let kept = state.feed(feed);
        if kept.is_nothing() {
            txn.delete(Table::Order, &order_key(database, feed))?;
            continue;
        }
        row.clear();
        kept.encode_into(&mut row);
        txn.put(Table::Order, &order_key(database, feed), &row)?;
    }
    Ok(())
}

/// What the walk asks about placed batches, over a transaction.
pub struct Batches<'a, T, N> {
    pub txn: &'a T,
    pub database: u32,
    pub sealing: &'a Sealing,
    pub numbers: &'a N,
}

/// The root hash of a feed, by its number, at a length that is here. (Trees are `feed`'s.)
pub type RootAt<T> = fn(&T, u32, u64) -> Result<Hash, OrderError>;

/// What readiness asks about them.
pub struct Placing<'a, T, N> {
    pub batches: Batches<'a, T, N>,
    pub order: &'a OrderState,
    pub forks: &'a BTreeMap<FeedKey, Forked>,
    pub root_at: RootAt<T>,
}

/// A feed that has forked, as links to it are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forked {
    /// Blocks below this are the same in both branches.
    pub common: u64,
    /// What a link into the branch that does not count is read as: `common`, or less, if a batch stands across it.
    pub read_as: u64,
    /// Blocks of the one that counts are here up to this.
    pub here: u64,
    /// The other branch: this store's number for it, and how much of it is here.
    pub other: Option<(u32, u64)>,
}

impl<T: Read, N: Numbers> Batches<'_, T, N> {
    fn number(&self, feed: FeedKey) -> Result<u32, OrderError> {
        self.numbers.number(&feed).ok_or(OrderError::Feed { feed })
    }

    /// The effective timestamp of the placed batch that entry `seq` belongs to.
    pub fn effective_of(&self, feed: FeedKey, seq: u64) -> Result<Effective, OrderError> {
        Ok(self.batch(feed, seq)?.effective)
    }

    fn effective_at(&self, feed: u32, start: u64, own: u64) -> Result<Effective, OrderError> {
        match self.txn.get(Table::Effectives, &row_key(self.database, feed, start))? {
            None => Ok(Effective { time: own, tick: 0 }),
            Some(row) => {
                let mut reader = Reader::new(row);
                let effective =
                    Effective { time: reader.u64("an effective time")?, tick: reader.varint("a tick")? };
                reader.finish("an effective timestamp")?;
                Ok(effective)
            }
        }
    }
}

impl<T: Read, N: Numbers> WalkSource for Batches<'_, T, N> {
    type Error = OrderError;

    fn batch(&self, feed: FeedKey, seq: u64) -> Result<PlacedBatch, OrderError> {
        let number = self.number(feed)?;
        let (start, head) = batch_start(self.txn, &self.sealing.blocks(feed), number, seq)?;
        let effective = self.effective_at(number, start, head.timestamp)?;
        Ok(PlacedBatch { seq: start, end: start + head.length, effective })
    }

    fn past(&self, feed: FeedKey, length: u64) -> Result<Past, OrderError> {
        past_at(self.txn, self.database, feed, self.number(feed)?, length)
    }
}

impl<T: Read, N: Numbers> Placing<'_, T, N> {
    fn is_of(&self, number: u32, link: &Link) -> Result<bool, OrderError> {
        Ok((self.root_at)(self.batches.txn, number, link.length)?.starts_with(&link.root))
    }
}

impl<T: Read, N: Numbers> Placed for Placing<'_, T, N> {
    type Error = OrderError;

    fn length(&self, feed: FeedKey) -> Result<u64, OrderError> {
        Ok(self.order.placed().get(&feed))
    }

    /// By its root a link says which history it is of.
    fn read_as(&self, link: &Link) -> Result<Option<u64>, OrderError> {
        let Link { feed, length, .. } = *link;
        let Some(forked) = self.forks.get(&feed) else {
            let is_here = length <= self.length(feed)?;
            return Ok((!is_here || self.is_of(self.batches.number(feed)?, link)?).then_some(length));
        };
        if length <= forked.common {
            return Ok(Some(length));
        }
        if length <= forked.here && self.is_of(self.batches.number(feed)?, link)? {
            return Ok(Some(length));
        }
        match forked.other {
            Some((number, here)) if length <= here && self.is_of(number, link)? => Ok(Some(forked.read_as)),
            _ => Ok(None),
        }
    }

    fn batch_end(&self, feed: FeedKey, length: u64) -> Result<u64, OrderError> {
        Ok(self.batches.batch(feed, length.saturating_sub(1))?.end)
    }

    fn past(&self, feed: FeedKey, length: u64) -> Result<Past, OrderError> {
        self.batches.past(feed, length)
    }

    fn effective(&self, feed: FeedKey, length: u64) -> Result<Effective, OrderError> {
        Ok(self.batches.batch(feed, length.saturating_sub(1))?.effective)
    }

    fn names(&self, past: &Past, feed: FeedKey) -> Result<bool, OrderError> {
        Ok(self.order.controls().names(past, feed))
    }
}
