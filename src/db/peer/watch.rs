//! What a connection has to look at again: what the board says has changed, what the other side said, what was given up
//! elsewhere. Everything else is as it was, so a look costs as much as has changed.
//!
//! *Touched* is a feed of which something has changed, here or on the other side; each is looked at once and sorted into the
//! sets that the rest goes by: what may be asked for, what is not delivered, what of the own feeds waits or is claimed.

use super::{Peer, Shown, State};
use crate::db::board::{OpenDatabase, PublishedFeed};
use crate::db::raw::RAW;
use crate::types::FeedKey;
use crate::wire::limits::MAX_TOPICS;
use crate::wire::{Topic, TopicId, TopicKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Topics that are left to databases: those of one database's feeds take not all there are.
const DATABASE_TOPICS: usize = MAX_TOPICS / 2;

#[derive(Default)]
pub(super) struct Watch {
    /// Up to which change of the board all is known.
    seen: u64,
    /// Open topics.
    topics: BTreeMap<Topic, TopicId>,
    /// Those to be looked at.
    pub due: BTreeSet<TopicId>,
    pub touched: BTreeSet<FeedKey>,
    /// What the other side has more of, as far as it is known, and nothing is on its way of.
    pub wanting: BTreeSet<FeedKey>,
    /// The same, but another connection is at it.
    pub elsewhere: BTreeSet<FeedKey>,
    /// Feeds without a database of which something may be wanted.
    pub apart: BTreeSet<FeedKey>,
    /// Feeds of which damaged blocks may be asked for.
    pub holed: BTreeSet<FeedKey>,
    /// Feeds of which not all that was announced is here and in the order.
    undelivered: BTreeSet<FeedKey>,
    /// Own feeds that an open topic lets this connection speak of; of those: of which something waits to leave; that nobody has confirmed; of which the other side claims more.
    pub own: BTreeSet<FeedKey>,
    pub leaving: BTreeSet<FeedKey>,
    pub unconfirmed: BTreeSet<FeedKey>,
    pub claimed: BTreeSet<FeedKey>,
    /// Topics of which the other side has not said everything yet.
    unheard: BTreeSet<TopicId>,
    /// Databases that may have been delivered since.
    pub databases: BTreeSet<u32>,
    /// How many feeds were looked at so far.
    pub looked: u64,
}

fn keep(set: &mut BTreeSet<FeedKey>, key: FeedKey, is_in: bool) {
    if is_in {
        set.insert(key);
    } else {
        set.remove(&key);
    }
}

impl State {
    /// Databases that a topic is about and this connection may speak of.
    pub(super) fn databases_of(&self, topic: &Topic, peer: &Peer) -> Vec<Arc<OpenDatabase>> {
        let Some(shared) = &self.shared else { return Vec::new() };
        let mut of = match topic.kind {
            TopicKind::Database => shared.board.with_key(&topic.key),
            TopicKind::Feed => shared.board.holders(&topic.key),
        };
        of.retain(|open| peer.is_for(open.id));
        of
    }

    pub(super) fn databases_of_topic(&self, id: TopicId, peer: &Peer) -> Vec<Arc<OpenDatabase>> {
        self.topics.get(&id).map_or_else(Vec::new, |shown| self.databases_of(&shown.topic, peer))
    }

    /// Databases that have a feed.
    pub(super) fn holders(&self, feed: &FeedKey, peer: &Peer) -> Vec<Arc<OpenDatabase>> {
        self.databases_of(&Topic { kind: TopicKind::Feed, key: *feed }, peer)
    }

    /// A feed as it is here.
    pub(super) fn here(&self, feed: &FeedKey, peer: &Peer) -> Option<PublishedFeed> {
        self.holders(feed, peer).iter().find_map(|open| open.feeds.read().get(feed).cloned())
    }

    pub(super) fn watch_topic(&mut self, id: TopicId, shown: Shown, peer: &Peer) {
        let topic = shown.topic;
        self.topics.insert(id, shown);
        self.watch.topics.insert(topic, id);
        self.watch.unheard.insert(id);
        self.watch.due.insert(id);
        for open in self.databases_of(&topic, peer) {
            self.watch.touched.extend(open.feeds.read().own().map(|(key, _)| *key));
            let Some(shown) = self.topics.get_mut(&id) else { continue };
            match topic.kind {
                TopicKind::Database => shown.news.extend(open.feeds.read().keys()),
                TopicKind::Feed => drop(shown.news.insert(topic.key)),
            }
        }
        self.note_topic_said(id, peer);
    }

    pub(super) fn unwatch_topic(&mut self, id: TopicId, peer: &Peer) {
        let databases = self.databases_of_topic(id, peer);
        self.watch.databases.extend(databases.iter().map(|open| open.id));
        for open in &databases {
            self.watch.touched.extend(open.feeds.read().own().map(|(key, _)| *key));
        }
        self.forget_mark(id, peer);
        if let Some(shown) = self.topics.remove(&id) {
            self.watch.topics.remove(&shown.topic);
        }
        self.watch.unheard.remove(&id);
        self.watch.due.remove(&id);
    }

    /// More of what the other side has to say first about a topic has come.
    pub(super) fn note_topic_said(&mut self, id: TopicId, peer: &Peer) {
        let databases = self.databases_of_topic(id, peer);
        self.watch.databases.extend(databases.iter().map(|open| open.id));
        if self.topics.get(&id).is_some_and(|shown| shown.heard && shown.heard_own) {
            self.watch.unheard.remove(&id);
        }
        self.watch.due.insert(id);
    }

    pub(super) fn all_topics_due(&mut self) {
        self.watch.due.extend(self.topics.keys());
    }

    /// Everything is looked at anew: the connection has become one for more databases.
    pub(super) fn look_at_all(&mut self) {
        self.watch.seen = 0;
    }

    /// Takes in what has changed on the board since the last look; offers what is new there.
    pub(super) fn look(&mut self, peer: &Peer) {
        let Some(shared) = self.shared.clone() else { return };
        let (now, changed) = shared.board.changed_since(self.watch.seen);
        let seen = std::mem::replace(&mut self.watch.seen, now);
        let mut new = Vec::new();
        for open in changed.iter().filter(|open| peer.is_for(open.id)) {
            let feeds: Vec<FeedKey> = open.feeds.read().changed_since(seen).collect();
            self.watch.databases.insert(open.id);
            if open.id != RAW {
                let topic = Topic { kind: TopicKind::Database, key: open.info.key };
                self.topic_changed(topic, &feeds, MAX_TOPICS, &mut new);
            }
            let limit = if open.id == RAW { MAX_TOPICS } else { DATABASE_TOPICS };
            for feed in feeds {
                self.topic_changed(Topic { kind: TopicKind::Feed, key: feed }, &[feed], limit, &mut new);
                self.watch.touched.insert(feed);
            }
        }
        if !new.is_empty() {
            // Refused only by a session that is closed, or with more topics than are ever offered here.
            let _ = self.session.offer(&new);
        }
    }

    fn topic_changed(&mut self, topic: Topic, feeds: &[FeedKey], limit: usize, new: &mut Vec<Topic>) {
        if self.offered.len() < limit && self.offered.insert(topic) {
            new.push(topic);
        }
        if let Some(id) = self.watch.topics.get(&topic)
            && let Some(shown) = self.topics.get_mut(id)
        {
            shown.news.extend(feeds);
            self.watch.due.insert(*id);
        }
    }

    /// Sorts what was touched.
    pub(super) fn sort_touched(&mut self, peer: &Peer) {
        while let Some(key) = self.watch.touched.pop_first() {
            self.watch.looked += 1;
            let holders = self.holders(&key, peer);
            let here: Vec<PublishedFeed> =
                holders.iter().filter_map(|open| open.feeds.read().get(&key).cloned()).collect();
            if let Some(remote) = self.remote.get_mut(&key) {
                for feed in &here {
                    remote.trust_again(feed);
                }
            }
            let remote = self.remote.get(&key);
            let is_wanting = remote.is_some() && !here.is_empty();
            let lacks = |feed: &PublishedFeed, length| !feed.has(length) || !feed.is_up_to(length);
            let is_undelivered =
                remote.is_some_and(|remote| here.iter().any(|feed| lacks(feed, remote.length)));
            let is_spoken_of = self.is_spoken_of(&key, &holders);
            let remote = self.remote.get(&key);
            let own = here.first().filter(|feed| feed.writable && is_spoken_of);
            let is_own = own.is_some();
            let is_claimed = remote.zip(own).is_some_and(|(remote, own)| {
                !own.forked && (remote.length > own.length || remote.contradicts)
            });
            let is_overtaken = remote.zip(own).is_some_and(|(remote, own)| {
                remote.was_ahead && !remote.contradicts && remote.length <= own.length
            });
            let [leaves, unconfirmed] =
                [own.is_some_and(PublishedFeed::waits_to_leave), own.is_some_and(|own| own.unconfirmed)];
            let watch = &mut self.watch;
            watch.databases.extend(holders.iter().map(|open| open.id));
            keep(&mut watch.undelivered, key, is_undelivered);
            keep(&mut watch.own, key, is_own);
            keep(&mut watch.claimed, key, is_claimed);
            keep(&mut watch.leaving, key, leaves);
            keep(&mut watch.unconfirmed, key, unconfirmed);
            keep(&mut watch.wanting, key, is_wanting);
            watch.elsewhere.remove(&key);
            if is_wanting && holders.iter().any(|open| open.id == RAW) {
                watch.apart.insert(key);
            }
            if is_overtaken {
                self.compare_overtaken(&key, peer);
            }
        }
    }

    /// Whether a topic that lets this connection speak of the feed is open.
    fn is_spoken_of(&self, key: &FeedKey, holders: &[Arc<OpenDatabase>]) -> bool {
        let is_open = |kind, key| self.watch.topics.contains_key(&Topic { kind, key });
        is_open(TopicKind::Feed, *key)
            || holders.iter().any(|open| open.id != RAW && is_open(TopicKind::Database, open.info.key))
    }

    /// A feed that another connection was at may be free.
    pub(super) fn look_elsewhere(&mut self) {
        self.watch.wanting.append(&mut self.watch.elsewhere);
        if let Some(shared) = &self.shared {
            let raw = shared.board.raw.feeds.read();
            self.watch.apart.extend(raw.keys().filter(|feed| self.remote.contains_key(*feed)));
        }
    }

    /// Whether everything announced is `enough` here.
    pub(super) fn has_all(
        &mut self,
        database: Option<u32>,
        peer: &Peer,
        enough: impl Fn(&PublishedFeed, u64) -> bool,
    ) -> bool {
        self.look(peer);
        self.sort_touched(peer);
        let is_meant = |open: &Arc<OpenDatabase>| database.is_none_or(|id| id == open.id);
        let mut unheard = self.watch.unheard.iter();
        if unheard.any(|id| self.databases_of_topic(*id, peer).iter().any(is_meant)) {
            return false;
        }
        self.watch.undelivered.iter().all(|key| {
            let length = self.remote.get(key).map_or(0, |remote| remote.length);
            let holders = self.holders(key, peer);
            let mut here = holders.iter().filter(|open| is_meant(open));
            here.all(|open| open.feeds.read().get(key).is_none_or(|feed| enough(feed, length)))
        })
    }
}
