//! **What.** The feeds of a database as they are committed, and what of that has changed since somebody last looked: so
//! that looking again costs as much as has changed, however many feeds and databases there are.
//!
//! **Invariants.** 1. A feed is in the log of its database once, under the number of its last change; numbers rise over the
//! whole board. 2. A database's last change is no earlier than that of any of its feeds. 3. Both change under the lock of
//! [`Changes`], so whoever has seen number `n` has seen all up to it.
//!
//! **Not here.** What is published, and when (`board`).

use super::rows::Halt;
use crate::feed::FeedRecord;
use crate::merkle::Head;
use crate::types::{FeedKey, Hash};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Deref};

/// The committed state of a feed in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing of a feed, independent of the others")]
pub(super) struct PublishedFeed {
    pub length: u64,
    pub byte_length: u64,
    /// The longest head that is complete here.
    pub head: Option<Head>,
    /// More is passed on than that: the length, and the root there.
    pub partly: Option<(u64, Hash)>,
    /// The longest signed head seen.
    pub tip: u64,
    pub left: u64,
    pub writable: bool,
    pub forked: bool,
    pub unconfirmed: bool,
    pub placed: u64,
    pub added: bool,
    pub granted: bool,
    pub indexer: bool,
    /// How much of it is wanted.
    pub until: u64,
    pub halt: Halt,
    /// What the next batch of it waits for: a feed, and how much of that.
    pub waits: Option<(FeedKey, u64)>,
    /// That is the rest of the batch itself, which is not here.
    pub is_cut: bool,
    pub stranger: bool,
    /// The number of its last change.
    pub(super) changed: u64,
}

impl PublishedFeed {
    pub fn empty() -> Self {
        Self {
            length: 0,
            byte_length: 0,
            head: None,
            partly: None,
            tip: 0,
            left: 0,
            writable: false,
            forked: false,
            unconfirmed: false,
            placed: 0,
            added: false,
            granted: false,
            indexer: false,
            until: u64::MAX,
            halt: Halt::None,
            waits: None,
            is_cut: false,
            stranger: false,
            changed: 0,
        }
    }

    pub fn take(&mut self, record: &FeedRecord) {
        self.length = record.length;
        self.byte_length = record.byte_length;
        self.head.clone_from(&record.head);
        let covered = record.covered.as_ref().filter(|_| record.served() > record.complete());
        self.partly = covered.map(|covered| (record.served(), covered.root));
        self.tip = record.signed().max(record.length);
        self.left = record.left;
        self.writable = record.secret.is_some();
        self.forked = record.forked;
        self.unconfirmed = record.unconfirmed;
    }

    /// What may be shown and served: of an own feed nothing that has not been noted as leaving, and nothing while
    /// there may be more of it elsewhere.
    pub fn offered(&self) -> u64 {
        self.shown().map_or(0, |(length, _)| length)
    }

    /// The same, with the root there.
    pub fn shown(&self) -> Option<(u64, Hash)> {
        if self.is_cautious() || self.waits_to_leave() || self.is_unlinked() {
            return None;
        }
        self.partly.or(self.head.map(|head| (head.length, head.root)))
    }

    /// An anchor that nobody has linked: whoever applies its batch has it, and all of them would fill their topic.
    pub fn is_unlinked(&self) -> bool {
        self.until == 0 && self.head.is_some_and(|head| head.is_unsigned())
    }

    fn complete(&self) -> u64 {
        self.head.as_ref().map_or(0, |head| head.length)
    }

    /// An own feed of which more is here than was noted as leaving, and may leave.
    pub fn waits_to_leave(&self) -> bool {
        self.writable && self.left < self.complete() && !self.is_cautious()
    }

    /// An own feed of which there is, or may be, more elsewhere than here.
    pub fn is_cautious(&self) -> bool {
        self.writable && !self.forked && (self.unconfirmed || self.tip > self.length)
    }

    /// Whether `length`, or all of it that is wanted, is here, as far as it ever can be.
    pub fn has(&self, length: u64) -> bool {
        self.length >= length.min(self.until)
    }

    /// Whether `length`, or all of it that is wanted, is here and in the order, as far as it ever can be: the beginning of a
    /// batch can not, while nobody brings the rest.
    pub fn is_up_to(&self, length: u64) -> bool {
        let wanted = length.min(self.until);
        match self.halt {
            Halt::None => self.length >= wanted && (self.placed >= wanted || self.is_cut),
            Halt::Branch => self.length >= wanted,
            Halt::Frozen | Halt::Newer => true,
        }
    }
}

/// The feeds of a database.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    map: BTreeMap<FeedKey, PublishedFeed>,
    /// Those that this store writes.
    own: BTreeSet<FeedKey>,
    log: BTreeSet<(u64, FeedKey)>,
}

impl Deref for Feeds {
    type Target = BTreeMap<FeedKey, PublishedFeed>;

    fn deref(&self) -> &Self::Target {
        &self.map
    }
}

impl Feeds {
    pub fn own(&self) -> impl Iterator<Item = (&FeedKey, &PublishedFeed)> {
        self.own.iter().filter_map(|key| self.map.get_key_value(key))
    }

    /// Those that have changed after change number `seen`.
    pub fn changed_since(&self, seen: u64) -> impl Iterator<Item = FeedKey> + '_ {
        self.log.range((Bound::Excluded((seen, FeedKey([0xff; 32]))), Bound::Unbounded)).map(|(_, key)| *key)
    }
}

/// What has changed on a board, in order, and which databases have which feeds.
#[derive(Debug, Default)]
pub(super) struct Changes {
    now: u64,
    databases: BTreeMap<u64, u32>,
    last: BTreeMap<u32, u64>,
    /// Databases that are open, by the key of their creator's feed.
    keys: BTreeMap<FeedKey, BTreeSet<u32>>,
    /// Databases that have a feed.
    holders: BTreeMap<FeedKey, BTreeSet<u32>>,
}

impl Changes {
    /// A further change of a database; what changes with it bears the number that is handed out.
    pub fn begin(&mut self, database: u32) -> u64 {
        self.now += 1;
        if let Some(before) = self.last.insert(database, self.now) {
            self.databases.remove(&before);
        }
        self.databases.insert(self.now, database);
        self.now
    }

    /// Puts a feed as it is now. `number`: of the change. Nothing if it is as it was.
    pub fn put(
        &mut self,
        database: u32,
        feeds: &mut Feeds,
        key: FeedKey,
        mut feed: PublishedFeed,
        number: u64,
    ) {
        let before = feeds.map.get(&key).map_or(0, |before| before.changed);
        feed.changed = before;
        if feeds.map.get(&key) == Some(&feed) {
            return;
        }
        if before > 0 {
            feeds.log.remove(&(before, key));
        } else {
            self.holders.entry(key).or_default().insert(database);
        }
        feeds.log.insert((number, key));
        if feed.writable {
            feeds.own.insert(key)
        } else {
            feeds.own.remove(&key)
        };
        feed.changed = number;
        feeds.map.insert(key, feed);
    }

    pub fn take_out(&mut self, database: u32, feeds: &mut Feeds, key: &FeedKey) {
        let Some(feed) = feeds.map.remove(key) else { return };
        feeds.log.remove(&(feed.changed, *key));
        feeds.own.remove(key);
        self.forget_holder(database, key);
    }

    fn forget_holder(&mut self, database: u32, key: &FeedKey) {
        if let Some(holders) = self.holders.get_mut(key) {
            holders.remove(&database);
            if holders.is_empty() {
                self.holders.remove(key);
            }
        }
    }

    pub fn open(&mut self, database: u32, key: FeedKey) {
        self.keys.entry(key).or_default().insert(database);
        self.begin(database);
    }

    pub fn close(&mut self, database: u32, key: &FeedKey, feeds: &Feeds) {
        if let Some(last) = self.last.remove(&database) {
            self.databases.remove(&last);
        }
        if let Some(same) = self.keys.get_mut(key) {
            same.remove(&database);
            if same.is_empty() {
                self.keys.remove(key);
            }
        }
        for feed in feeds.map.keys() {
            self.forget_holder(database, feed);
        }
    }

    /// Databases that have changed after change number `seen`, and the number of the last change.
    pub fn since(&self, seen: u64) -> (u64, Vec<u32>) {
        let changed = self.databases.range((Bound::Excluded(seen), Bound::Unbounded));
        (self.now, changed.map(|(_, database)| *database).collect())
    }

    pub fn with_key(&self, key: &FeedKey) -> Vec<u32> {
        self.keys.get(key).into_iter().flatten().copied().collect()
    }

    /// In the order of their numbers; feeds that are open by themselves come first.
    pub fn holders(&self, feed: &FeedKey) -> Vec<u32> {
        self.holders.get(feed).into_iter().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> FeedKey {
        FeedKey([byte; 32])
    }

    fn of_length(length: u64) -> PublishedFeed {
        PublishedFeed { length, ..PublishedFeed::empty() }
    }

    #[test]
    fn i1_whoever_looks_sees_each_change_once_and_nothing_that_is_as_it_was() {
        let (mut changes, mut feeds) = (Changes::default(), Feeds::default());
        changes.open(7, key(1));
        let seen = changes.since(0).0;
        for (feed, length) in [(1, 1), (0xff, 1), (2, 1), (1, 2)] {
            let number = changes.begin(7);
            changes.put(7, &mut feeds, key(feed), of_length(length), number);
        }
        assert_eq!(changes.since(seen).1, [7]);
        assert_eq!(feeds.changed_since(seen).collect::<Vec<_>>(), [0xff, 2, 1].map(key));
        let seen = changes.since(seen).0;
        let number = changes.begin(7);
        changes.put(7, &mut feeds, key(1), of_length(2), number);
        assert_eq!(changes.since(seen).1, [7], "the database may have changed in other ways");
        assert_eq!(feeds.changed_since(seen).count(), 0);
        assert_eq!(feeds.log.len(), feeds.len());
    }

    #[test]
    fn what_is_closed_or_taken_out_is_held_by_nobody() {
        let (mut changes, mut feeds) = (Changes::default(), Feeds::default());
        for database in [7, 3] {
            changes.open(database, key(1));
        }
        let number = changes.begin(7);
        for feed in [1, 2] {
            changes.put(7, &mut feeds, key(feed), of_length(1), number);
        }
        assert_eq!((changes.with_key(&key(1)), changes.holders(&key(2))), (vec![3, 7], vec![7]));
        changes.take_out(7, &mut feeds, &key(2));
        assert_eq!((changes.holders(&key(2)).len(), feeds.len(), feeds.log.len()), (0, 1, 1));
        changes.close(7, &key(1), &feeds);
        assert_eq!((changes.with_key(&key(1)), changes.holders(&key(1)).len()), (vec![3], 0));
        assert_eq!(changes.since(0).1, [3]);
    }
}
