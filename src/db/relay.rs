//! **What.** Relays: databases whose feeds are stored and forwarded, and never read.
//!
//! **Owns.** Which feeds a relay keeps, and its limits. `docs/design/relay.md`.
//!
//! **Invariants.** 1. Nothing here decodes a block. 2. Feeds and their cost are within the limits; what is announced by
//! others than writers of kept feeds within a tenth of them. 3. A kept feed never gives way.
//!
//! **Not here.** What is said about it on a connection (`peer/relay`); verification (`feed`).

use super::engine::{DatabaseState, Work};
use super::error::{Code, Error, Failure};
use super::rows::{DatabaseRow, Halt, MemberRow};
use crate::feed::{self, FeedRecord, VerifiedBlocks};
use crate::store::{Read, Table};
use crate::types::FeedKey;
use std::ops::Bound;

/// Feeds of one relay: a member that announces without end fills no table.
pub const MAX_RELAY_FEEDS: u64 = 4_096;

/// Cost of all feeds of one relay, if its user says nothing: a member cannot fill the disk.
pub const MAX_RELAY_BYTES: u64 = 16 << 30;

/// The part of both that who only knows the database's key may use: it cannot crowd out members.
const OTHERS_SHARE: u64 = 10;

/// Cost of one feed of those: it is taken out in one transaction.
const MAX_OTHER_FEED: u64 = 64 << 20;

/// What a block costs besides its bytes: a feed of empty blocks takes rows all the same.
const BLOCK_COST: u64 = 128;

/// How much a relay keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    pub feeds: u64,
    /// Bytes of blocks, and some for each block.
    pub bytes: u64,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self { feeds: MAX_RELAY_FEEDS, bytes: MAX_RELAY_BYTES }
    }
}

/// What of the limits is used.
#[derive(Clone, Copy, Debug)]
pub(super) struct RelayState {
    pub limits: RelayLimits,
    /// Cost of kept feeds, and of the others.
    kept: u64,
    others: u64,
}

impl RelayState {
    pub fn new(limits: RelayLimits) -> Self {
        Self { limits, kept: 0, others: 0 }
    }

    fn is_full(&self, more: u64) -> bool {
        self.kept.saturating_add(self.others).saturating_add(more) > self.limits.bytes
    }

    /// Whether it would fit if all other feeds made way.
    fn fits_alone(&self, more: u64) -> bool {
        self.kept.saturating_add(more) <= self.limits.bytes
    }

    fn has_room_for_other(&self, here: u64, more: u64) -> bool {
        !self.is_full(more)
            && self.others.saturating_add(more) <= self.limits.bytes / OTHERS_SHARE
            && here.saturating_add(more) <= MAX_OTHER_FEED
    }

    fn used(&mut self, is_kept: bool) -> &mut u64 {
        if is_kept { &mut self.kept } else { &mut self.others }
    }

    pub fn add(&mut self, is_kept: bool, cost: u64) {
        let used = self.used(is_kept);
        *used = used.saturating_add(cost);
    }

    fn take(&mut self, is_kept: bool, cost: u64) {
        let used = self.used(is_kept);
        *used = used.saturating_sub(cost);
    }
}

/// What so many blocks of so many bytes cost.
fn cost(blocks: u64, bytes: u64) -> u64 {
    blocks.saturating_mul(BLOCK_COST).saturating_add(bytes)
}

pub(super) fn cost_of(record: &FeedRecord) -> u64 {
    cost(record.length, record.byte_length)
}

pub(super) fn refusal() -> Error {
    let message = "this is a relay: it stores and forwards what it cannot read; open the database without relay to \
                   read or write";
    Error::new(Code::Relay, message)
}

impl DatabaseState {
    /// Of a relay: whether the feed is the creator's, or was announced by a writer of a kept one.
    pub fn is_kept(&self, feed: &FeedKey) -> bool {
        *feed == self.row.key || self.members.get(feed).is_some_and(|member| member.added)
    }

    fn others(&self) -> impl Iterator<Item = FeedKey> {
        // A forked feed and its branches go together or not at all: they stay.
        let is_forked =
            |feed: &FeedKey, member: &MemberRow| self.forks.contains_key(feed) || member.halt == Halt::Branch;
        self.members
            .iter()
            .filter(move |(feed, member)| !self.is_kept(feed) && !is_forked(feed, member))
            .map(|(feed, _)| *feed)
    }
}

impl Work<'_, '_> {
    /// The row of a new relay: it writes no feed, so the creator's stands for its own.
    pub fn create_relay(&mut self, mut row: DatabaseRow, name: &str) -> Result<DatabaseRow, Failure> {
        let number = self.feed_or_new(&row.key)?.id;
        row.local = row.key;
        self.txn.put(Table::Databases, &DatabaseRow::key_of(name), &row.encode())?;
        let member = new_member(number, true);
        self.txn.put(Table::Members, &MemberRow::key_of(row.id, &row.key), &member.encode())?;
        Ok(row)
    }

    /// A relay wants all of every feed again, whatever it had no room for before.
    pub fn start_relay(&mut self, id: u32) -> Result<(), Failure> {
        let feeds: Vec<FeedKey> = self.database(id)?.members.keys().copied().collect();
        for feed in feeds {
            let database = self.database(id)?;
            let is_forked = database.forks.contains_key(&feed);
            let wants_less = |member: &MemberRow| member.until != u64::MAX && member.halt != Halt::Branch;
            if !is_forked
                && database.members.get(&feed).is_some_and(wants_less)
                && let Some(member) = self.database(id)?.member_mut(&feed)
            {
                member.until = u64::MAX;
            }
        }
        Ok(())
    }

    /// Takes in feeds that a connection announces. `proved`: whom its other side has proved to be.
    pub fn learn_at_relay(&mut self, id: u32, feeds: &[FeedKey], proved: &[FeedKey]) -> Result<(), Failure> {
        let database = self.database(id)?;
        let keeps = proved.iter().any(|writer| database.is_kept(writer));
        for feed in feeds {
            let database = self.database(id)?;
            match database.members.contains_key(feed) {
                true if keeps && !database.is_kept(feed) => self.raise(id, feed)?,
                true => {}
                false => self.admit(id, *feed, keeps)?,
            }
        }
        Ok(())
    }

    /// What was an other feed is kept from now on.
    fn raise(&mut self, id: u32, feed: &FeedKey) -> Result<(), Failure> {
        let cost = self.feed(feed)?.map_or(0, |record| cost_of(record));
        let database = self.database(id)?;
        let is_forked = database.forks.contains_key(feed);
        if let Some(member) = database.member_mut(feed) {
            member.added = true;
            if !is_forked && member.halt != Halt::Branch {
                member.until = u64::MAX;
            }
        }
        if let Some(relay) = &mut database.relay {
            relay.take(false, cost);
            relay.add(true, cost);
        }
        self.engine.effects.feeds.insert(*feed);
        Ok(())
    }

    fn admit(&mut self, id: u32, feed: FeedKey, keeps: bool) -> Result<(), Failure> {
        let database = self.database(id)?;
        let Some(RelayState { limits, .. }) = database.relay else { return Ok(()) };
        let (all, others) = (database.members.len() as u64, database.others().count() as u64);
        if !keeps && (others >= limits.feeds / OTHERS_SHARE || all >= limits.feeds) {
            return Ok(());
        }
        if all >= limits.feeds && !self.make_way(id)? {
            return Ok(());
        }
        let record = self.feed_or_new(&feed)?;
        let (number, cost) = (record.id, cost_of(record));
        let database = self.database(id)?;
        database.members.insert(feed, new_member(number, keeps));
        database.writers.insert(number, feed);
        database.dirty.members.insert(feed);
        if let Some(relay) = &mut database.relay {
            relay.add(keeps, cost);
        }
        self.engine.effects.feeds.insert(feed);
        Ok(())
    }

    /// Whether blocks of a feed may be stored: always, but where only relays have it and none has room. Those want no
    /// more of it then.
    pub fn has_room(&mut self, feed: &FeedKey, new: &VerifiedBlocks) -> Result<bool, Failure> {
        let here = self.feed(feed)?.map_or(0, |record| cost_of(record));
        let length = self.feed(feed)?.map_or(0, |record| record.length);
        let more = cost(new.end().saturating_sub(new.start()), new.byte_length() as u64);
        let holders = self.databases_of(feed)?;
        let mut has_room = holders.is_empty();
        for id in holders {
            let is_kept = self.database(id)?.is_kept(feed);
            while let Some(relay) = self.database(id)?.relay
                && is_kept
                && relay.is_full(more)
                && relay.fits_alone(more)
            {
                if !self.make_way(id)? {
                    break;
                }
            }
            let database = self.database(id)?;
            let fits = database.relay.is_none_or(|relay| {
                if is_kept { !relay.is_full(more) } else { relay.has_room_for_other(here, more) }
            });
            has_room |= fits;
            if !fits && let Some(member) = database.member_mut(feed) {
                member.until = length;
            }
        }
        Ok(has_room)
    }

    /// A relay's feed has grown: what it costs now.
    pub fn note_relayed(&mut self, id: u32, feed: &FeedKey, before: u64) -> Result<(), Failure> {
        let after = self.feed(feed)?.map_or(0, |record| cost_of(record));
        let database = self.database(id)?;
        let is_kept = database.is_kept(feed);
        if let Some(relay) = &mut database.relay {
            relay.add(is_kept, after.saturating_sub(before));
        }
        Ok(())
    }

    /// Takes out the largest of the other feeds. False: there is none.
    fn make_way(&mut self, id: u32) -> Result<bool, Failure> {
        let others: Vec<FeedKey> = self.database(id)?.others().collect();
        let mut largest: Option<(u64, FeedKey)> = None;
        for feed in others {
            let cost = self.feed(&feed)?.map_or(0, |record| cost_of(record));
            largest = largest.max(Some((cost, feed)));
        }
        let Some((cost, feed)) = largest else { return Ok(false) };
        let database = self.database(id)?;
        if let Some(member) = database.members.remove(&feed) {
            database.writers.remove(&member.feed);
        }
        database.dirty.members.remove(&feed);
        if let Some(relay) = &mut database.relay {
            relay.take(false, cost);
        }
        self.txn.delete(Table::Members, &MemberRow::key_of(id, &feed))?;
        self.engine.effects.databases.insert(id);
        self.engine.effects.feeds.insert(feed);
        if !self.is_elsewhere(&feed)?
            && let Some(mut record) = self.feed(&feed)?.cloned()
        {
            feed::clear(self.txn, &mut record)?;
            self.engine.feeds.insert(feed, record);
        }
        Ok(true)
    }

    /// Whether this store writes the feed, or another database of it, open or not, has it.
    fn is_elsewhere(&mut self, feed: &FeedKey) -> Result<bool, Failure> {
        if self.feed(feed)?.is_some_and(|record| record.secret.is_some()) {
            return Ok(true);
        }
        for row in self.txn.range(Table::Databases, Bound::Included(&[0]), Bound::Excluded(&[1]))? {
            let row = DatabaseRow::decode(row?.1).map_err(|error| Failure::damaged(&error))?;
            if self.txn.get(Table::Members, &MemberRow::key_of(row.id, feed))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn new_member(feed: u32, is_kept: bool) -> MemberRow {
    MemberRow { feed, added: is_kept, merged: 0, until: u64::MAX, halt: Halt::None, stranger: false }
}
