//! How much a relay keeps: what its feeds cost, and who gives way. `docs/design/relay.md`.

use crate::db::engine::Work;
use crate::db::error::Failure;
use crate::db::rows::{DatabaseRow, Halt, MemberRow};
use crate::db::state::DatabaseState;
use crate::feed::{self, FeedRecord, VerifiedBlocks};
use crate::store::{Read, Table};
use crate::types::FeedKey;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Feeds of one relay: a member that announces without end fills no table. A feed that has forked counts as one, and
/// its two branches, of which there are never more, with it.
pub const MAX_RELAY_FEEDS: u64 = 4_096;

/// Cost of all feeds of one relay, if its user says nothing: a member cannot fill the disk.
pub const MAX_RELAY_BYTES: u64 = 16 << 30;

/// The part of both that who only knows the database's key may use: it cannot crowd out members.
pub(super) const OTHERS_SHARE: u64 = 10;

/// Cost of one feed of those, with its branches: it is taken out in one transaction.
const MAX_OTHER_FEED: u64 = 64 << 20;

/// What a block costs besides its bytes, so that a feed of empty blocks is not free: its row, and what the tree of its
/// feed, and those of two branches if the feed forks behind it, have of it.
const BLOCK_COST: u64 = 192;

/// A block of a branch may be stored twice: with the branch, and in the feed if that holds this one.
const BRANCH_COPIES: u64 = 2;

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
#[derive(Debug)]
pub(in crate::db) struct RelayState {
    pub limits: RelayLimits,
    /// Cost of kept feeds, and of the others.
    kept: u64,
    others: u64,
    /// Of each feed and branch: whether it is a kept one, and its cost.
    counted: BTreeMap<FeedKey, (bool, u64)>,
}

impl RelayState {
    pub fn new(limits: RelayLimits) -> Self {
        Self { limits, kept: 0, others: 0, counted: BTreeMap::new() }
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

    pub fn count(&mut self, feed: FeedKey, is_kept: bool, cost: u64) {
        self.discount(&feed);
        let used = self.used(is_kept);
        *used = used.saturating_add(cost);
        self.counted.insert(feed, (is_kept, cost));
    }

    fn discount(&mut self, feed: &FeedKey) {
        if let Some((is_kept, cost)) = self.counted.remove(feed) {
            let used = self.used(is_kept);
            *used = used.saturating_sub(cost);
        }
    }

    fn cost_of(&self, feeds: &[FeedKey]) -> u64 {
        let costs = feeds.iter().filter_map(|feed| self.counted.get(feed));
        costs.fold(0, |sum, (_, cost)| sum.saturating_add(*cost))
    }
}

/// What so many blocks of so many bytes cost.
fn cost(blocks: u64, bytes: u64) -> u64 {
    blocks.saturating_mul(BLOCK_COST).saturating_add(bytes)
}

impl DatabaseState {
    /// Feeds that make way for kept ones; branches go with their feeds.
    pub(super) fn others(&self) -> impl Iterator<Item = FeedKey> {
        let others =
            |(feed, member): &(&FeedKey, &MemberRow)| !self.is_kept(feed) && member.halt != Halt::Branch;
        self.members.iter().filter(others).map(|(feed, _)| *feed)
    }
}

impl Work<'_, '_> {
    /// What a feed, or the part of a branch that is its own, costs.
    pub(in crate::db) fn relay_cost(&mut self, feed: &FeedKey) -> Result<u64, Failure> {
        let Some(record) = self.feed(feed)?.cloned() else { return Ok(0) };
        let base = record.base();
        let below = if base == 0 { 0 } else { feed::byte_length_at(self.txn, &record, base)? };
        Ok(cost(record.length.saturating_sub(base), record.byte_length.saturating_sub(below)))
    }

    /// A feed, and its branches if it has forked.
    pub(super) fn with_branches(&mut self, feed: &FeedKey) -> Result<Vec<FeedKey>, Failure> {
        let parting = feed::load_parting(self.txn, feed)?;
        let branches = parting.map(|parting| feed::branches(feed, &parting));
        Ok(std::iter::once(*feed).chain(branches.into_iter().flatten()).collect())
    }

    /// Whether blocks of a feed, or a branch, may be stored: always, but where only relays have it and none has room.
    /// Those want no more of it then.
    pub fn has_room(&mut self, record: &FeedRecord, new: &VerifiedBlocks) -> Result<bool, Failure> {
        let more = cost(new.end().saturating_sub(new.start()), new.byte_length() as u64);
        let more = if record.branch.is_some() { more.saturating_mul(BRANCH_COPIES) } else { more };
        let family = self.with_branches(record.signer())?;
        let holders = self.databases_of(&record.key)?;
        let mut has_room = holders.is_empty();
        for id in holders {
            let fits = self.relay_has_room(id, &record.key, &family, more)?;
            has_room |= fits;
            let database = self.database(id)?;
            if !fits && let Some(member) = database.member_mut(&record.key) {
                member.until = record.length;
            }
        }
        Ok(has_room)
    }

    /// Makes room for so much more of a feed, as far as others give way. True, too, if this is no relay.
    fn relay_has_room(
        &mut self,
        id: u32,
        feed: &FeedKey,
        family: &[FeedKey],
        more: u64,
    ) -> Result<bool, Failure> {
        let is_kept = self.database(id)?.is_kept(feed);
        while let Some(relay) = &self.database(id)?.relay
            && is_kept
            && relay.is_full(more)
            && relay.fits_alone(more)
        {
            if !self.make_way(id)? {
                break;
            }
        }
        let database = self.database(id)?;
        Ok(database.relay.as_ref().is_none_or(|relay| {
            if is_kept { !relay.is_full(more) } else { relay.has_room_for_other(relay.cost_of(family), more) }
        }))
    }

    /// A feed is about to be copied into a branch from `common` on. Where only relays have it and none has room for
    /// that, what is above is let go instead: it comes again, as a branch, when there is.
    pub fn make_room_for_copy(&mut self, record: &mut FeedRecord, common: u64) -> Result<(), Failure> {
        if record.length <= common || self.is_elsewhere(&record.key)? {
            return Ok(());
        }
        let base = feed::byte_length_at(self.txn, record, common)?;
        let more = cost(record.length - common, record.byte_length.saturating_sub(base));
        for id in self.databases_of(&record.key)? {
            let family = self.with_branches(&record.key)?;
            if self.relay_has_room(id, &record.key, &family, more)? {
                return Ok(());
            }
        }
        feed::let_go(self.txn, record, common)?;
        self.engine.feeds.insert(record.key, record.clone());
        self.engine.effects.feeds.insert(record.key);
        Ok(())
    }

    /// What a feed, and its branches if it has forked, cost now.
    pub fn recount(&mut self, id: u32, feed: &FeedKey) -> Result<(), Failure> {
        if self.database(id)?.relay.is_none() {
            return Ok(());
        }
        for feed in self.with_branches(feed)? {
            let cost = self.relay_cost(&feed)?;
            let database = self.database(id)?;
            let is_kept = database.is_kept(&feed);
            let is_member = database.members.contains_key(&feed);
            if let Some(relay) = database.relay.as_mut().filter(|_| is_member) {
                relay.count(feed, is_kept, cost);
            }
        }
        Ok(())
    }

    /// Takes out the largest of the other feeds, with its branches. False: there is none.
    pub(super) fn make_way(&mut self, id: u32) -> Result<bool, Failure> {
        let others: Vec<FeedKey> = self.database(id)?.others().collect();
        let mut largest: Option<(u64, FeedKey)> = None;
        for feed in others {
            let family = self.with_branches(&feed)?;
            let cost = self.database(id)?.relay.as_ref().map_or(0, |relay| relay.cost_of(&family));
            largest = largest.max(Some((cost, feed)));
        }
        let Some((_, feed)) = largest else { return Ok(false) };
        for feed in self.with_branches(&feed)? {
            self.take_out(id, feed)?;
        }
        self.engine.effects.databases.insert(id);
        Ok(true)
    }

    fn take_out(&mut self, id: u32, feed: FeedKey) -> Result<(), Failure> {
        let database = self.database(id)?;
        if let Some(member) = database.members.remove(&feed) {
            database.writers.remove(&member.feed);
        }
        database.dirty.members.remove(&feed);
        database.forks.remove(&feed);
        database.forks_due.remove(&feed);
        if let Some(relay) = &mut database.relay {
            relay.discount(&feed);
        }
        self.txn.delete(Table::Members, &MemberRow::key_of(id, &feed))?;
        self.engine.effects.feeds.insert(feed);
        if !self.has_member(&feed, |_| true)?
            && let Some(mut record) = self.feed(&feed)?.cloned().filter(|record| record.secret.is_none())
        {
            feed::clear(self.txn, &mut record)?;
            self.engine.feeds.insert(feed, record);
        }
        Ok(())
    }

    /// Whether this store writes the feed, or a database of it that is no relay has it, open or not.
    fn is_elsewhere(&mut self, feed: &FeedKey) -> Result<bool, Failure> {
        let is_own = self.feed(feed)?.is_some_and(|record| record.secret.is_some());
        Ok(is_own || self.has_member(feed, |row| !row.relay)?)
    }

    /// Whether any such database of the store has the feed.
    fn has_member(&self, feed: &FeedKey, is_such: impl Fn(&DatabaseRow) -> bool) -> Result<bool, Failure> {
        for row in self.txn.range(Table::Databases, Bound::Included(&[0]), Bound::Excluded(&[1]))? {
            let row = DatabaseRow::decode(row?.1).map_err(|error| Failure::damaged(&error))?;
            if is_such(&row) && self.txn.get(Table::Members, &MemberRow::key_of(row.id, feed))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
