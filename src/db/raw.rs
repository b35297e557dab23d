//! **What.** Feeds that are open by themselves, without a database: shown on connections of the whole store, and fetched
//! as far as somebody wants.
//!
//! **Owns.** Who has which feed open, and which ranges are wanted: in memory only.
//!
//! **Invariants.** 1. Of a feed nothing is asked for but what is wanted, and the last block announced where no signed
//! length so great is known. 2. A block is asked for over one connection at a time. 3. Wanted ranges are at most
//! [`MAX_WANTS`].
//!
//! **Not here.** How parts are stored (`feed/parts`); asking for them (`peer/apart`).

use super::board::{Board, DbInfo, OpenDatabase, PublishedFeed};
use super::error::{Code, Error};
use crate::feed::FeedRecord;
use crate::types::FeedKey;
use crate::view::Space;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Ranges wanted at once: `get` in a loop without waiting does not fill the memory.
const MAX_WANTS: usize = 16_384;

/// Stands where a database's number would: those begin at 1.
pub(super) const RAW: u32 = 0;

/// The place of feeds without a database among what connections carry. Its key opens no topic.
pub(super) fn place() -> OpenDatabase {
    let key = FeedKey([0; 32]);
    let info = DbInfo {
        name: String::new(),
        key,
        discovery_key: [0; 32],
        local: key,
        key_encoding: String::new(),
        value_encoding: String::new(),
        open: false,
        encrypted: false,
        apply: false,
        optimistic: false,
        relay: None,
    };
    OpenDatabase::new(RAW, info, Space::plain(RAW), Duration::ZERO)
}

/// What is wanted and what is asked for.
#[derive(Default)]
pub(super) struct Wants {
    /// Handles of each feed, by their numbers.
    open: BTreeMap<FeedKey, BTreeSet<u64>>,
    ranges: BTreeMap<(FeedKey, u64, u64), u32>,
    /// Ranges that were asked for: until where, and over which connection.
    asked: BTreeMap<(FeedKey, u64), (u64, u64)>,
}

impl Wants {
    /// Harmless if it is.
    pub fn open(&mut self, feed: FeedKey, handle: u64) {
        self.open.entry(feed).or_default().insert(handle);
    }

    /// True if that was the last handle.
    pub fn close(&mut self, feed: &FeedKey, handle: u64) -> bool {
        let Some(handles) = self.open.get_mut(feed) else { return false };
        handles.remove(&handle);
        let is_last = handles.is_empty();
        if is_last {
            self.open.remove(feed);
            self.ranges.retain(|(of, ..), _| of != feed);
        }
        is_last
    }

    fn is_open(&self, feed: &FeedKey) -> bool {
        self.open.contains_key(feed)
    }

    pub fn add(&mut self, feed: FeedKey, start: u64, end: u64) -> Result<(), Error> {
        if self.ranges.len() >= MAX_WANTS && !self.ranges.contains_key(&(feed, start, end)) {
            let message =
                format!("at most {MAX_WANTS} ranges are waited for at once: ask for whole ranges (download)");
            return Err(Error::new(Code::Options, message));
        }
        *self.ranges.entry((feed, start, end)).or_default() += 1;
        Ok(())
    }

    pub fn remove(&mut self, feed: FeedKey, start: u64, end: u64) {
        let range = (feed, start, end);
        if let Some(count) = self.ranges.get_mut(&range) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.ranges.remove(&range);
            }
        }
    }

    pub fn of(&self, feed: &FeedKey) -> Vec<(u64, u64)> {
        self.ranges
            .range((*feed, 0, 0)..=(*feed, u64::MAX, u64::MAX))
            .map(|((_, start, end), _)| (*start, *end))
            .collect()
    }

    /// The first part of a range that is not asked for yet.
    pub fn unasked(&self, feed: &FeedKey, mut from: u64, mut end: u64) -> Option<(u64, u64)> {
        for ((_, start), (until, _)) in self.asked.range((*feed, 0)..=(*feed, u64::MAX)) {
            if *start <= from {
                from = from.max(*until);
            } else {
                end = end.min((*start).max(from));
                // What is behind is looked at when this has come.
                break;
            }
        }
        (from < end).then_some((from, end))
    }

    pub fn ask(&mut self, feed: FeedKey, start: u64, end: u64, peer: u64) {
        self.asked.insert((feed, start), (end, peer));
    }

    pub fn answered(&mut self, feed: &FeedKey, start: u64, peer: u64) {
        if self.asked.get(&(*feed, start)).is_some_and(|(_, asked)| *asked == peer) {
            self.asked.remove(&(*feed, start));
        }
    }

    /// A connection is over, or silent. True if something had been asked over it.
    pub fn give_up(&mut self, peer: u64) -> bool {
        let before = self.asked.len();
        self.asked.retain(|_, (_, asked)| *asked != peer);
        self.asked.len() < before
    }
}

impl Board {
    /// Shows a feed that is open without a database as it is committed.
    pub fn publish_raw(&self, record: &FeedRecord) {
        if !self.raw.feeds.read().contains_key(&record.key) {
            return;
        }
        self.change_raw(&record.key, |feed| {
            let mut feed = feed?;
            feed.take(record);
            feed.placed = feed.length;
            Some(feed)
        });
    }

    /// From now on connections of the whole store carry the feed. Harmless if they do.
    pub fn open_raw(&self, feed: FeedKey, handle: u64) {
        self.wants.lock().open(feed, handle);
        // Nothing of it is fetched but what is wanted.
        let empty = || PublishedFeed { until: 0, ..PublishedFeed::empty() };
        self.change_raw(&feed, |feed| Some(feed.unwrap_or_else(empty)));
    }

    pub fn close_raw(&self, feed: &FeedKey, handle: u64) {
        if self.wants.lock().close(feed, handle) {
            self.take_off_raw(feed);
            self.notify_peers(true, &BTreeSet::new());
        }
    }

    /// Takes a feed off the board of which a last handle was closed, unless somebody has opened it again meanwhile: who
    /// opens it says so first, and shows it then.
    fn take_off_raw(&self, feed: &FeedKey) {
        self.change_raw(feed, |shown| shown.filter(|_| self.wants.lock().is_open(feed)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_that_is_opened_while_its_last_handle_closes_stays_on_the_board() {
        let (board, feed) = (Board::new([0; 32]), FeedKey([1; 32]));
        let is_shown = || board.raw.feeds.read().contains_key(&feed);
        board.open_raw(feed, 1);
        assert!(board.wants.lock().close(&feed, 1), "the last one");
        board.open_raw(feed, 2);
        board.take_off_raw(&feed);
        assert!(is_shown() && !board.holders(&feed).is_empty());
        board.close_raw(&feed, 2);
        assert!(!is_shown() && board.holders(&feed).is_empty());
    }
}
