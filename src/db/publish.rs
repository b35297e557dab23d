//! **What.** Shows readers, subscribers and connections what a commit has changed.
//!
//! **Invariants.** 1. Only what is committed is shown. 2. Whatever of a feed changes gets the number of a change of its
//! database, under the lock of the board's changes. 3. Feeds that are taken out are let go by the connections when no lock of
//! the board is held.
//!
//! **Not here.** What is open, and who listens (`board`); the log of changes (`published`).

use super::board::{Board, DbStatus, PublishedFeed, topic_of};
use super::events::Event;
use super::raw::RAW;
use super::rows::MemberRow;
use super::state::{DatabaseState, Touched};
use crate::feed::FeedRecord;
use crate::types::FeedKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

impl Board {
    /// Shows readers what a commit has changed in a database. `grown`: feeds whose records it has changed.
    pub fn publish_database(
        &self,
        state: &mut DatabaseState,
        records: &BTreeMap<FeedKey, FeedRecord>,
        grown: &BTreeSet<FeedKey>,
    ) {
        let Some(open) = self.database(state.id()) else { return };
        let mut changes = self.changes.lock();
        let number = changes.begin(open.id);
        let mut feeds = open.feeds.write();
        let touched = std::mem::take(&mut state.touched);
        let mut publish = |key: &FeedKey, member: &MemberRow| {
            let mut published = feeds.get(key).cloned().unwrap_or_else(PublishedFeed::empty);
            published.placed = state.in_view().get(key);
            published.added = member.added;
            let granted = state.membership().get(key);
            published.granted = granted.is_some();
            published.indexer = granted.is_some_and(|member| member.indexer);
            let common = state.forks.get(key).map_or(u64::MAX, |forked| forked.common);
            published.until = member.until.min(common);
            published.halt = member.halt;
            published.waits = state.waits.get(key).copied();
            published.stranger = member.stranger;
            if let Some(record) = records.get(key) {
                published.take(record);
            }
            if state.row.relay {
                published.placed = published.length;
            }
            let rest = published.waits.filter(|(on, _)| on == key);
            published.is_cut = rest.is_some_and(|(_, end)| end > published.length);
            changes.put(open.id, &mut feeds, *key, published, number);
        };
        match touched {
            Touched::All => state.members.iter().for_each(|(key, member)| publish(key, member)),
            Touched::Feeds(touched) => {
                let touched = touched.union(grown).filter_map(|key| state.members.get_key_value(key));
                touched.for_each(|(key, member)| publish(key, member));
            }
        }
        // What a relay, or who refuses strangers, has taken out.
        let mut gone: Vec<FeedKey> = Vec::new();
        if feeds.len() > state.members.len() {
            gone.extend(feeds.keys().filter(|feed| !state.members.contains_key(feed)));
            for feed in &gone {
                changes.take_out(open.id, &mut feeds, feed);
            }
        }
        drop(changes);
        drop(feeds);
        self.let_go(None, &gone.iter().map(topic_of).collect::<Vec<_>>());
        let is_granted = |writer: &FeedKey| state.membership().get(writer).is_some();
        open.access.lock().settle(state.is_writable(), is_granted);
        *open.status.write() = DbStatus {
            version: state.state.version,
            writable: state.is_writable(),
            indexer: state.is_indexer(),
            takes_strangers: state.takes_strangers(),
            ack_wanted: state.may_acknowledge(open.apply.lock().quiet_at),
        };
        *open.local.write() = state.row.local;
        *open.finality.lock() = state.finality();
        open.written.store(state.applied.as_ref().map_or(0, |applied| applied.version), Ordering::Release);
        open.state_hash.changed();
    }

    /// Shows a feed's growth in databases that are being made anew: nothing else of them is published.
    pub fn publish_growth(&self, record: &FeedRecord) {
        for id in self.repairing.lock().iter() {
            let Some(open) = self.database(*id) else { continue };
            let mut changes = self.changes.lock();
            let mut feeds = open.feeds.write();
            if let Some(mut feed) = feeds.get(&record.key).cloned() {
                feed.take(record);
                let number = changes.begin(*id);
                changes.put(*id, &mut feeds, record.key, feed, number);
            }
        }
    }

    /// Tells those who listen to the feed alone how long it is now.
    pub fn publish_feed(&self, feed: &FeedKey, length: u64) {
        let subscribers = self.listeners.lock().get(feed).cloned();
        if let Some(subscribers) = subscribers {
            subscribers.send(&Event::Update { from: 0, to: length });
        }
    }

    /// Changes feeds that are open by themselves.
    pub fn change_raw(
        &self,
        key: &FeedKey,
        change: impl FnOnce(Option<PublishedFeed>) -> Option<PublishedFeed>,
    ) {
        let mut changes = self.changes.lock();
        let mut feeds = self.raw.feeds.write();
        if let Some(feed) = change(feeds.get(key).cloned()) {
            let number = changes.begin(RAW);
            changes.put(RAW, &mut feeds, *key, feed, number);
        } else {
            changes.take_out(RAW, &mut feeds, key);
            drop((changes, feeds));
            self.let_go(None, &[topic_of(key)]);
        }
    }
}
