//! Feeds of writers whom nobody has granted, learned because a peer that proved the database's key announced them: where
//! optimistic batches are allowed, and in open mode.
//!
//! **Invariants.** 1. Only announcements and the links of strangers make strangers; whoever is granted, added, asked for
//! (`wakeup`) or linked by anybody else is none any more. 2. Of strangers there are at most [`MAX_STRANGERS`], each is
//! fetched up to [`MAX_STRANGER_BLOCKS`] beyond what `apply` acknowledged of it, and nothing more is asked of any once
//! they hold [`MAX_STRANGER_BYTES`] together. 3. One of whom nothing has come gives way to the next. 4. Which strangers a
//! replica knows changes no view: what is not acknowledged does nothing, and what is acknowledged is linked, and then
//! fetched by everybody.

use super::engine::Work;
use super::error::Failure;
use super::rows::{Halt, MemberRow};
use super::state::DatabaseState;
use crate::store::Table;
use crate::types::FeedKey;
use crate::wire::limits::MAX_FEEDS_PER_TOPIC;
use std::collections::BTreeSet;

/// Feeds of strangers in one database: bounds what announcements make us remember and look through.
pub(super) const MAX_STRANGERS: usize = 256;

/// Blocks of one stranger beyond the last that `apply` acknowledged: bounds what one of them can make us apply in vain.
const MAX_STRANGER_BLOCKS: u64 = 256;

/// Bytes of all strangers of a database: bounds the disk they can fill. What is on its way when it is reached still comes.
const MAX_STRANGER_BYTES: u64 = 64 << 20;

/// Known feeds in a database whose every feed counts, from which on announced ones are not taken any more: bounds what
/// announcements can make us keep. Fewer than can be named on a topic: there is room for writers that are granted later.
/// What is linked is learned without bound, since whoever links it waits for it: who writes blocks can so fill the rest.
const MAX_OPEN_FEEDS: usize = 15_360;
const _: () = assert!(MAX_OPEN_FEEDS + 1_024 <= MAX_FEEDS_PER_TOPIC);

/// The feeds that share a room, and the bytes they hold: counted once for many that are met.
struct Room {
    /// The strangers of a database; of one whose every feed counts all feeds.
    feeds: BTreeSet<FeedKey>,
    bytes: u64,
}

impl DatabaseState {
    pub fn takes_strangers(&self) -> bool {
        self.row.open || self.row.optimistic
    }

    /// Whether it is known as one, or only as far as somebody linked it.
    fn may_be_met(&self, feed: &FeedKey) -> bool {
        self.members.get(feed).is_none_or(|member| {
            let is_linked_alone = member.until > 0 && member.until < u64::MAX && !member.added;
            let is_forked = self.forks.contains_key(feed) || member.halt == Halt::Branch;
            is_linked_alone && !member.stranger && !is_forked
        })
    }

    pub fn is_stranger(&self, feed: &FeedKey) -> bool {
        self.members.get(feed).is_some_and(|member| member.stranger)
    }
}

impl Work<'_, '_> {
    /// Takes in what a peer announced: blocks of it may be here already.
    pub fn meet_all(&mut self, id: u32, feeds: &BTreeSet<FeedKey>) -> Result<(), Failure> {
        let mut room = self.room(id)?;
        feeds.iter().try_for_each(|feed| self.meet_within(id, *feed, &mut room))?;
        self.place_ready(id)
    }

    /// Takes in a feed that a peer announced, while there is room. Harmless if it is known.
    pub fn meet(&mut self, id: u32, feed: FeedKey) -> Result<(), Failure> {
        let mut room = self.room(id)?;
        self.meet_within(id, feed, &mut room)
    }

    fn room(&mut self, id: u32) -> Result<Room, Failure> {
        let database = self.database(id)?;
        let is_open = database.row.open;
        let counts = |feed: &&FeedKey| is_open || database.is_stranger(feed);
        let feeds: BTreeSet<FeedKey> = database.members.keys().filter(counts).copied().collect();
        let bytes = if is_open { 0 } else { self.bytes_of(&feeds)? };
        Ok(Room { feeds, bytes })
    }

    fn meet_within(&mut self, id: u32, feed: FeedKey, room: &mut Room) -> Result<(), Failure> {
        let database = self.database(id)?;
        if !database.takes_strangers() || !database.may_be_met(&feed) {
            return Ok(());
        }
        if database.row.open {
            return if room.feeds.len() < MAX_OPEN_FEEDS || room.feeds.contains(&feed) {
                room.feeds.insert(feed);
                self.meet_as(id, feed, u64::MAX)
            } else {
                Ok(())
            };
        }
        if room.bytes >= MAX_STRANGER_BYTES {
            return Ok(());
        }
        if room.feeds.len() >= MAX_STRANGERS {
            let Some(silent) = self.silent_one(&room.feeds)? else { return Ok(()) };
            self.forget_stranger(id, &silent)?;
            room.feeds.remove(&silent);
        }
        room.feeds.insert(feed);
        room.bytes = room.bytes.saturating_add(self.feed(&feed)?.map_or(0, |record| record.byte_length));
        let linked = self.database(id)?.members.get(&feed).map_or(0, |member| member.until);
        self.meet_as(id, feed, linked.saturating_add(MAX_STRANGER_BLOCKS))
    }

    fn meet_as(&mut self, id: u32, feed: FeedKey, until: u64) -> Result<(), Failure> {
        self.learn(id, feed, until)?;
        if let Some(member) = self.database(id)?.member_mut(&feed) {
            member.stranger = true;
        }
        Ok(())
    }

    /// `apply` has acknowledged what a stranger wrote up to `length`: more of it is wanted.
    pub fn hear_more(&mut self, id: u32, feed: FeedKey, length: u64) -> Result<(), Failure> {
        let until = length.saturating_add(MAX_STRANGER_BLOCKS);
        let database = self.database(id)?;
        if database.is_stranger(&feed)
            && !database.forks.contains_key(&feed)
            && let Some(member) = database.member_mut(&feed)
        {
            member.until = member.until.max(until);
        }
        Ok(())
    }

    /// Blocks of a feed were stored: of strangers nothing more is wanted once they fill their room.
    pub fn bound_strangers(&mut self, id: u32, grown: &FeedKey) -> Result<(), Failure> {
        let database = self.database(id)?;
        if database.row.open || !database.is_stranger(grown) {
            return Ok(());
        }
        let strangers: BTreeSet<FeedKey> =
            database.members.keys().filter(|feed| database.is_stranger(feed)).copied().collect();
        if self.bytes_of(&strangers)? < MAX_STRANGER_BYTES {
            return Ok(());
        }
        for feed in strangers {
            let length = self.feed(&feed)?.map_or(0, |record| record.length);
            if let Some(member) = self.database(id)?.member_mut(&feed) {
                member.until = member.until.min(length);
            }
        }
        Ok(())
    }

    fn bytes_of(&mut self, feeds: &BTreeSet<FeedKey>) -> Result<u64, Failure> {
        let mut bytes: u64 = 0;
        for feed in feeds {
            bytes = bytes.saturating_add(self.feed(feed)?.map_or(0, |record| record.byte_length));
        }
        Ok(bytes)
    }

    fn silent_one(&mut self, strangers: &BTreeSet<FeedKey>) -> Result<Option<FeedKey>, Failure> {
        for feed in strangers {
            if self.feed(feed)?.is_none_or(|record| record.length == 0) {
                return Ok(Some(*feed));
            }
        }
        Ok(None)
    }

    fn forget_stranger(&mut self, id: u32, feed: &FeedKey) -> Result<(), Failure> {
        let database = self.database(id)?;
        let Some(member) = database.members.remove(feed) else { return Ok(()) };
        database.writers.remove(&member.feed);
        database.behind.remove(feed);
        database.dirty.members.remove(feed);
        // Readers hear of it with this commit.
        database.dirty.state = true;
        self.txn.delete(Table::Members, &MemberRow::key_of(id, feed))?;
        Ok(())
    }
}
