//! Diffs as they are published: of one feed, by key or by seq, and of one key over all writers. By key only
//! those that count here, as the diff index names them; by seq all that are placed, counted or not.

use super::conflicts::writers;
use super::database::{Db, Inner};
use super::error::{Code, Error, Failure};
use super::handler;
use super::reads::Chunk;
use super::rows::MemberRow;
use crate::crdt::List;
use crate::entry::{Change, Entry, Op};
use crate::order::{Batches, Numbers};
use crate::seal::Sealing;
use crate::store::{Read as _, ReadTxn, Table, block};
use crate::types::{Effective, FeedKey, Position, Stamp};
use crate::view::{self, DiffCursor, DiffKeys, Seen, ViewError, diff_positions};
use std::collections::BTreeSet;

/// A diff of some writer that counts here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffEntry {
    pub key: Vec<u8>,
    /// Whose, and where in its feed.
    pub feed: FeedKey,
    pub seq: u64,
    pub stamp: Stamp,
    /// Stamp of the last diff its writer had seen of the key.
    pub prev: Option<Stamp>,
    pub change: DiffChange,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiffChange {
    /// A list in the published format.
    List(String),
    Register(Vec<u8>),
    Delete,
}

/// Diffs, read on as they are asked for.
pub struct Diffs {
    db: Db,
    source: Source,
}

enum Source {
    /// Of a feed, by key and then timestamp.
    ByKey { number: u32, feed: FeedKey, cursor: DiffCursor },
    /// Of a feed, by seq: `next .. end`.
    BySeq { number: u32, feed: FeedKey, next: u64, end: u64, reverse: bool },
    /// Of a key, in the shared order; the next one last.
    OfKey { key: Vec<u8>, places: Vec<(Position, u32)> },
}

/// Which keys' diffs.
#[derive(Clone, Debug, Default)]
pub struct DiffRange {
    /// Keys that sort before `from`.
    pub single: Vec<Vec<u8>>,
    pub from: Vec<u8>,
    /// Included.
    pub to: Option<Vec<u8>>,
    pub reverse: bool,
}

impl Db {
    /// A feed's diffs that count here, by key and then timestamp.
    pub fn feed_diffs(&self, feed: FeedKey, range: DiffRange) -> Result<Diffs, Error> {
        let DiffRange { single, from, to, reverse } = range;
        self.read(|inner, txn| {
            let number = inner.feed_number(txn, &feed)?.unwrap_or(NO_FEED);
            let unmerged = unmerged_within(inner, txn, &from, to.as_deref())?;
            let keys = DiffKeys { single, from, to, unmerged };
            let cursor = DiffCursor::new(inner.open.space.clone(), &keys, reverse);
            Ok(Diffs { db: self.clone(), source: Source::ByKey { number, feed, cursor } })
        })
    }

    /// The diff of `key` that counts here and has that stamp, of the feed's blocks below `below`.
    pub fn feed_diff(
        &self,
        feed: FeedKey,
        key: &[u8],
        stamp: Stamp,
        below: u64,
    ) -> Result<Option<DiffEntry>, Error> {
        if stamp.writer != feed.prefix() {
            return Ok(None);
        }
        self.read(|inner, txn| {
            let Some(number) = inner.feed_number(txn, &feed)? else { return Ok(None) };
            let seq = view::diff_at(txn, &inner.open.space, key, stamp.effective, number, below)?;
            let Some(seq) = seq else { return Ok(None) };
            let position = Position { effective: stamp.effective, writer: feed, seq };
            Ok(diff_entry(txn, inner.open.space.sealing(), number, position, Some(key))?)
        })
    }

    /// A feed's placed diffs of blocks `from .. to`, by seq, those that do not count included.
    pub fn feed_history(&self, feed: FeedKey, from: u64, to: u64, reverse: bool) -> Result<Diffs, Error> {
        self.read(|inner, txn| {
            let number = inner.feed_number(txn, &feed)?.unwrap_or(NO_FEED);
            let placed = inner.open.feeds.read().get(&feed).map_or(0, |published| published.placed);
            let source = Source::BySeq { number, feed, next: from, end: to.min(placed), reverse };
            Ok(Diffs { db: self.clone(), source })
        })
    }

    /// How much of a feed is placed and not later than `time` (NTP64): effective timestamps rise along a feed.
    pub fn feed_length_at(&self, feed: FeedKey, time: u64) -> Result<u64, Error> {
        self.read(|inner, txn| {
            let Some(number) = inner.feed_number(txn, &feed)? else { return Ok(0) };
            let sealing = inner.open.space.sealing();
            let batches = Batches { txn, database: inner.open.id, sealing, numbers: &Only(feed, number) };
            let placed = inner.open.feeds.read().get(&feed).map_or(0, |published| published.placed);
            let (mut low, mut high) = (0, placed);
            while low < high {
                let middle = low + (high - low) / 2;
                if batches.effective_of(feed, middle).map_err(damaged)?.time <= time {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            Ok(low)
        })
    }

    /// All diffs of one key that are not before `from`, in the shared order.
    pub fn key_diffs(&self, key: &[u8], from: Effective) -> Result<Diffs, Error> {
        self.read(|inner, txn| {
            let writers = writers(txn, inner.open.id)?;
            let mut places = diff_positions(txn, &inner.open.space, &writers, key, from)?;
            places.reverse();
            Ok(Diffs { db: self.clone(), source: Source::OfKey { key: key.to_vec(), places } })
        })
    }
}

/// The number of no feed: numbers are given from 0 up.
const NO_FEED: u32 = u32::MAX;

impl Inner {
    pub(super) fn feed_number(&self, txn: &ReadTxn, feed: &FeedKey) -> Result<Option<u32>, Error> {
        let row = txn.get(Table::Members, &MemberRow::key_of(self.open.id, feed))?;
        Ok(row.map(MemberRow::decode).transpose()?.map(|member| member.feed))
    }
}

impl Diffs {
    /// The next diffs, at most so many, and no more once they have reached so many bytes; null at the end.
    pub fn next(&mut self, max_entries: usize, max_bytes: usize) -> Result<Option<Vec<DiffEntry>>, Error> {
        let Self { db, source } = self;
        db.read(|inner, txn| {
            let mut chunk = Chunk::new(max_entries, max_bytes);
            let mut found = Vec::new();
            let more = source.fill(inner, txn, &mut chunk, &mut found)?;
            Ok((more || !found.is_empty()).then_some(found))
        })
    }
}

impl Source {
    fn fill(
        &mut self,
        inner: &Inner,
        txn: &ReadTxn,
        chunk: &mut Chunk,
        found: &mut Vec<DiffEntry>,
    ) -> Result<bool, Error> {
        let sealing = inner.open.space.sealing();
        let mut take = |number, writer, key: Option<&[u8]>, effective, seq| -> Result<Seen, ViewError> {
            let position = Position { effective, writer, seq };
            let Some(entry) = diff_entry(txn, sealing, number, position, key)? else {
                return Ok(chunk.passed());
            };
            let bytes = entry.key.len() + entry.change.size();
            found.push(entry);
            Ok(chunk.took(bytes))
        };
        match self {
            Source::ByKey { number, feed, cursor } => Ok(cursor.visit(txn, |place| {
                if place.feed == *number {
                    take(*number, *feed, Some(place.key), place.effective, place.seq)
                } else {
                    take(NO_FEED, *feed, None, place.effective, place.seq)
                }
            })?),
            Source::OfKey { key, places } => {
                while let Some((position, number)) = places.pop() {
                    if take(number, position.writer, Some(key), position.effective, position.seq)?
                        == Seen::Enough
                    {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Source::BySeq { number, feed, next, end, reverse } => {
                let batches =
                    Batches { txn, database: inner.open.id, sealing, numbers: &Only(*feed, *number) };
                while *next < *end {
                    let seq = if *reverse { *end - 1 } else { *next };
                    let effective = batches.effective_of(*feed, seq).map_err(damaged)?;
                    if *reverse {
                        *end -= 1;
                    } else {
                        *next += 1;
                    }
                    if take(*number, *feed, None, effective, seq)? == Seen::Enough {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

/// The number of a single feed.
struct Only(FeedKey, u32);

impl Numbers for Only {
    fn number(&self, feed: &FeedKey) -> Option<u32> {
        (*feed == self.0).then_some(self.1)
    }
}

/// Keys in a range of an encrypted database that somebody has still to merge for the first time: those of a plain one
/// stand in the order of keys in the index of diffs itself.
fn unmerged_within(
    inner: &Inner,
    txn: &ReadTxn,
    from: &[u8],
    to: Option<&[u8]>,
) -> Result<BTreeSet<Vec<u8>>, Failure> {
    let space = &inner.open.space;
    let mut keys = BTreeSet::new();
    if !space.is_encrypted() {
        return Ok(keys);
    }
    handler::each_unmerged(txn, space, |key| {
        if key >= from && to.is_none_or(|to| key <= to) && view::newest(txn, space, key, None)?.is_none() {
            keys.insert(key.to_vec());
        }
        Ok(true)
    })?;
    Ok(keys)
}

/// The diff that stands there. `None`: none of this key (any, if `key` is), or none that is well-formed.
pub(super) fn diff_entry(
    txn: &ReadTxn,
    sealing: &Sealing,
    number: u32,
    position: Position,
    key: Option<&[u8]>,
) -> Result<Option<DiffEntry>, ViewError> {
    let Some(bytes) = block(txn, number, position.seq)? else { return Ok(None) };
    let Ok(bytes) = sealing.blocks(position.writer).open(position.seq, bytes) else { return Ok(None) };
    let Ok(Entry { op: Op::Diff(diff), .. }) = Entry::decode(&bytes) else { return Ok(None) };
    if key.is_some_and(|key| key != diff.key) {
        return Ok(None);
    }
    let change = match diff.change {
        Change::List(text) => match List::parse(text) {
            Ok(list) => DiffChange::List(list.published()),
            Err(_) => return Ok(None),
        },
        Change::Register(bytes) => DiffChange::Register(bytes.to_vec()),
        Change::Delete => DiffChange::Delete,
    };
    Ok(Some(DiffEntry {
        key: diff.key.to_vec(),
        feed: position.writer,
        seq: position.seq,
        stamp: position.stamp(),
        prev: diff.prev,
        change,
    }))
}

impl DiffChange {
    pub(super) fn size(&self) -> usize {
        match self {
            DiffChange::List(text) => text.len(),
            DiffChange::Register(bytes) => bytes.len(),
            DiffChange::Delete => 0,
        }
    }
}

fn damaged(error: impl std::fmt::Display) -> Error {
    Error::new(Code::Corrupt, format!("{error}; restore the store from a peer or a backup"))
}
