//! Own blocks that never left, where a peer shows others that this feed's key has signed: the peer's are taken, and
//! ours are appended again after them. Nothing that was acknowledged is lost, and nothing forks.
//!
//! What is appended again names what was renamed with it: the elements of arrays that these blocks had inserted, and the
//! timestamps of the diffs they were made against. The rows meanwhile: `kept`.

use super::counting::{Changes, Pending};
use super::engine::Work;
use super::error::{Code, Error, Failure};
use super::events::Event;
use super::kept::{Kept, KeptRow, Sorted};
use super::rows::{DatabaseRow, MemberRow};
use super::withdraw::Finals;
use crate::causal::WalkSource as _;
use crate::codec::limits::MAX_LIST_BYTES;
use crate::crdt::{ElementId, List};
use crate::entry::{BatchHead, Change, Diff, Entry, Op, Place};
use crate::feed::{self, Appender, FeedRecord};
use crate::seal::{self, BlockSealing};
use crate::store::{Read, Table, block, block_key};
use crate::types::{Effective, FeedKey, Position, Stamp};
use std::collections::BTreeMap;
use std::ops::Bound;

impl Work<'_, '_> {
    /// Whether blocks of the feed with this number wait to be appended again.
    pub fn keeps(&self, number: u32) -> Result<bool, Failure> {
        let (from, to) = (block_key(number, 0), block_key(number, u64::MAX));
        Ok(self.txn.last(Table::Kept, Bound::Included(&from), Bound::Included(&to))?.is_some())
    }

    /// Cuts an own feed back to `length`, what is common to us and a peer, keeping the rest aside. False if that cannot
    /// be done now: some of it has left, or a database that holds it is not open. The databases it was taken out of
    /// have what ceased to count pending.
    pub fn set_aside(
        &mut self,
        key: FeedKey,
        length: u64,
    ) -> Result<Option<BTreeMap<u32, Pending>>, Failure> {
        let Some(record) = self.feed(&key)?.cloned() else { return Ok(None) };
        if record.secret.is_none()
            || record.forked
            || record.left > length
            || !self.is_open_everywhere(&key)?
        {
            return Ok(None);
        }
        let databases = self.databases_of(&key)?;
        self.keep_blocks(&record, length, &databases)?;
        let mut taken_out = BTreeMap::new();
        for id in databases {
            let mut pending = Pending::default();
            self.withdraw(id, key, length, Finals::Go, &mut pending)?;
            self.forget_witness(id, key, length)?;
            self.database(id)?.again |= self.engine_local(id) == Some(key);
            taken_out.insert(id, pending);
        }
        let mut record = record;
        feed::truncate(self.txn, &mut record, length)?;
        self.engine.feeds.insert(key, record);
        Ok(Some(taken_out))
    }

    pub fn engine_local(&self, id: u32) -> Option<FeedKey> {
        let database = self.engine.databases.get(&id).filter(|database| !database.row.relay)?;
        Some(database.row.local)
    }

    fn keep_blocks(&mut self, record: &FeedRecord, from: u64, databases: &[u32]) -> Result<(), Failure> {
        let writes = databases.iter().copied().find(|id| self.engine_local(*id) == Some(record.key));
        let database = writes.and_then(|id| self.engine.databases.get(&id));
        let mut kept = Vec::new();
        for seq in from..record.length {
            let missing = || Failure::damaged(&format!("block {seq} of feed {} is missing", record.key));
            let block = block(self.txn, record.id, seq)?.ok_or_else(missing)?.to_vec();
            let effective = match database {
                Some(state) if seq < state.order.placed().get(&record.key) => {
                    state.batches(&*self.txn).batch(record.key, seq)?.effective
                }
                _ => Effective::default(),
            };
            kept.push(Kept { seq, effective, block });
        }
        for block in kept {
            self.txn.put(Table::Kept, &block_key(record.id, block.seq), &block.encode())?;
        }
        Ok(())
    }

    /// Whether every database of this store that has placed a feed is open: only then can all of them follow a cut. One
    /// that is being made anew reads the feed meanwhile.
    pub fn is_open_everywhere(&self, feed: &FeedKey) -> Result<bool, Failure> {
        for row in self.txn.range(Table::Databases, Bound::Included(&[0]), Bound::Excluded(&[1]))? {
            let row = DatabaseRow::decode(row?.1).map_err(|error| Failure::damaged(&error))?;
            if row.relay {
                continue;
            }
            let has_it = self.txn.get(Table::Members, &MemberRow::key_of(row.id, feed))?.is_some();
            let is_made_anew = self.repairs != Some(row.id) && self.is_made_anew(row.id);
            if has_it && (is_made_anew || self.engine.board.database(row.id).is_none()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Appends what was set aside of a database's local feed, once all that a peer has shown of it is here and in the
    /// order. Batches stay whole and keep their timestamps and links.
    pub fn append_again(&mut self, id: u32) -> Result<(), Failure> {
        let database = self.database(id)?;
        let (local, placed) = (database.row.local, database.order.placed().get(&database.row.local));
        if !database.again {
            return Ok(());
        }
        self.finish_feed(&local)?;
        let Some(record) = self.feed(&local)?.cloned() else { return Ok(()) };
        let is_whole = record.signed() <= record.length && record.length == placed;
        if !is_whole || record.unconfirmed || record.forked {
            return Ok(());
        }
        let sealing = self.database(id)?.space.blocks(local);
        let mut kept = self.kept(&record)?;
        for (_, block) in &mut kept {
            *block = block.take().and_then(|block| block.opened(&sealing));
        }
        let Sorted { whole, headless, stay } = Sorted::of(kept);
        let mut renamed = Renamed { writer: local.prefix(), ..Renamed::default() };
        let mut pending = Pending::default();
        for batch in &whole {
            let entries = batch.iter().filter_map(|(_, kept)| Entry::decode(&kept.block).ok());
            let (stands, ops): (Vec<Place>, Vec<Op<'_>>) =
                entries.map(|entry| (entry.place, entry.op)).unzip();
            if let (Some((_, first)), Some(Place::First(head))) = (batch.first(), stands.into_iter().next()) {
                self.append_one_again(id, first, head, ops, &mut renamed, &mut pending)?;
            }
        }
        for key in whole.iter().flatten().map(|(key, _)| key).chain(&headless) {
            self.txn.delete(Table::Kept, key)?;
        }
        if stay > 0 {
            let message = format!(
                "{stay} own blocks that were to be written again cannot be read, or are of a batch that is not whole \
                 any more: they stay where they are, unused, and store.verify() names them"
            );
            self.event(id, Event::Error { error: Error::new(Code::Corrupt, message) });
        }
        self.database(id)?.again = false;
        self.rewalk_if_due(id, &mut pending)?;
        self.merge(id, pending)
    }

    fn append_one_again(
        &mut self,
        id: u32,
        first: &Kept,
        head: BatchHead,
        ops: Vec<Op<'_>>,
        renamed: &mut Renamed,
        pending: &mut Pending,
    ) -> Result<(), Failure> {
        // A database begins once.
        if matches!(ops.as_slice(), [Op::Genesis(_)]) {
            return Ok(());
        }
        let local = self.database(id)?.row.local;
        self.open_appender(id, local)?;
        let seq = self.appenders.get(&local).map_or(0, Appender::length);
        for offset in 0..head.length {
            renamed.seqs.insert(first.seq + offset, seq + offset);
        }
        let texts: Vec<Option<String>> = ops.iter().map(|op| renamed.text(op)).collect();
        let ops: Vec<Op<'_>> =
            ops.into_iter().zip(&texts).map(|(op, text)| renamed.op(op, text.as_deref())).collect();
        let appended = self.append_linked(id, &ops, head.links, Some(head.timestamp), head.optimistic)?;
        let stamp = |effective| Stamp { effective, writer: renamed.writer };
        renamed.stamps.insert(stamp(first.effective), stamp(appended.position.effective));
        if appended.counts
            && let Some(mut changes) = Changes::of(&ops)
        {
            changes.stand_at(Position { seq: appended.position.seq, ..appended.position });
            pending.add(appended.number, changes);
        }
        Ok(())
    }

    /// What was set aside of a feed, by the keys of its rows; none for a row that cannot be read.
    fn kept(&self, record: &FeedRecord) -> Result<Vec<KeptRow>, Failure> {
        let (from, to) = (block_key(record.id, 0), block_key(record.id, u64::MAX));
        let mut kept = Vec::new();
        for row in self.txn.range(Table::Kept, Bound::Included(&from), Bound::Included(&to))? {
            let (key, value) = row?;
            kept.push((key.to_vec(), Kept::decode(key, value).ok()));
        }
        Ok(kept)
    }

    /// As [`Work::append_again`], for an own feed that no database writes, or none any more: its blocks say nothing that
    /// could change, but sealed ones are bound to their place. Where that cannot be opened now they stay set aside.
    pub fn append_raw_again(&mut self, key: FeedKey) -> Result<(), Failure> {
        let Some(record) = self.feed(&key)?.cloned().filter(|record| record.secret.is_some()) else {
            return Ok(());
        };
        let is_whole = record.signed() <= record.length && !record.unconfirmed && !record.forked;
        if !is_whole || !self.keeps(record.id)? || self.writes_a_database(&key)? {
            return Ok(());
        }
        let kept = self.kept(&record)?;
        if kept.iter().all(|(_, block)| block.is_none()) {
            return Ok(());
        }
        let Some(sealings) = self.sealings_of(&key)? else { return Ok(()) };
        let mut appender = Appender::new(self.txn, record)?;
        for (row, block) in kept {
            // One that cannot be read stays, for `verify` to name.
            let Some(Kept { seq, block, .. }) = block else { continue };
            let block = sealed_anew(&sealings, seq, appender.length(), block)?;
            appender.append(self.txn, &block)?;
            self.txn.delete(Table::Kept, &row)?;
        }
        self.appenders.insert(key, appender);
        self.finish_feed(&key)?;
        for id in self.databases_of(&key)? {
            self.database(id)?.behind.insert(key);
            self.place_ready(id)?;
            self.engine.effects.databases.insert(id);
        }
        Ok(())
    }

    /// How a feed's blocks may be sealed: by each encrypted database that has the feed. `None`: one of those is not open.
    fn sealings_of(&self, key: &FeedKey) -> Result<Option<Vec<BlockSealing>>, Failure> {
        let mut found = Vec::new();
        for row in self.txn.range(Table::Databases, Bound::Included(&[0]), Bound::Excluded(&[1]))? {
            let row = DatabaseRow::decode(row?.1).map_err(|error| Failure::damaged(&error))?;
            let has_it = self.txn.get(Table::Members, &MemberRow::key_of(row.id, key))?.is_some();
            if row.check.is_none() || !has_it {
                continue;
            }
            match self.engine.board.database(row.id) {
                Some(open) => found.push(open.space.sealing().blocks(*key)),
                None => return Ok(None),
            }
        }
        Ok(Some(found))
    }

    /// Whether a feed is some database's own.
    pub fn writes_a_database(&self, key: &FeedKey) -> Result<bool, Failure> {
        for row in self.txn.range(Table::Databases, Bound::Included(&[0]), Bound::Excluded(&[1]))? {
            let row = DatabaseRow::decode(row?.1).map_err(|error| Failure::damaged(&error))?;
            if row.local == *key && !row.relay {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A block that stood at `seq`, for where it stands now. What none of these has sealed is its user's own and goes as it is.
fn sealed_anew(sealings: &[BlockSealing], seq: u64, now: u64, block: Vec<u8>) -> Result<Vec<u8>, Failure> {
    if seal::is_sealed(&block) {
        for sealing in sealings {
            if let Ok(entry) = sealing.open(seq, &block) {
                let sealed = sealing.seal(now, &entry, false).map_err(|error| Failure::damaged(&error))?;
                return Ok(sealed.into_owned());
            }
        }
    }
    Ok(block)
}

/// What is called otherwise now.
#[derive(Default)]
struct Renamed {
    writer: [u8; 8],
    seqs: BTreeMap<u64, u64>,
    stamps: BTreeMap<Stamp, Stamp>,
}

impl Renamed {
    /// The text of a list whose elements are named anew; none for what names no element.
    fn text(&self, op: &Op<'_>) -> Option<String> {
        let Op::Diff(Diff { change: Change::List(text), .. }) = op else { return None };
        let name = |id: ElementId| match self.seqs.get(&id.seq) {
            Some(seq) if id.writer == self.writer => ElementId { seq: *seq, ..id },
            _ => id,
        };
        let text = List::parse(text).ok()?.renumbered(&name).to_text();
        (text.len() <= MAX_LIST_BYTES).then_some(text)
    }

    fn op<'a>(&self, op: Op<'a>, text: Option<&'a str>) -> Op<'a> {
        let Op::Diff(Diff { key, prev, change }) = op else { return op };
        let prev = prev.map(|stamp| self.stamps.get(&stamp).copied().unwrap_or(stamp));
        Op::Diff(Diff { key, prev, change: text.map_or(change, Change::List) })
    }
}
