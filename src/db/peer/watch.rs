//! **What.** What a connection has to look at again: what the board says has changed, what the other side said, what was
//! given up elsewhere. *Touched* is a feed of which something has changed, here or on the other side; each is looked at once
//! and sorted into the sets that the rest goes by: what may be asked for, what is not delivered, what of the own feeds waits
//! or is claimed.
//!
//! **Owns.** Those sets; which topics are open.
//!
//! **Invariants.** 1. A look costs as much as has changed: everything else is as it was. 2. Of a topic that is over nothing is
//! kept but what is allowed once (`kept`).
//!
//! **Not here.** What is offered (`offering`), what follows from the sets (`fetch`, `own`, `delivered`).

use super::offering::DATABASE_TOPICS;
use super::{Peer, Shown, State};
use crate::db::board::{OpenDatabase, PublishedFeed};
use crate::db::raw::RAW;
use crate::types::FeedKey;
use crate::wire::limits::MAX_TOPICS;
use crate::wire::{Topic, TopicId, TopicKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Watch {
    /// Up to which change of the board all is known.
    seen: u64,
    /// Open topics.
    topics: BTreeMap<Topic, TopicId>,
    /// Something was not offered for want of room; and some of what was offered is no more since.
    pub is_cut: bool,
    pub has_room: bool,
    /// Databases whose feeds may be to be shown by themselves: new ones, and those whose topic was closed.
    pub apart_due: BTreeSet<u32>,
    /// Those to be looked at.
    pub due: BTreeSet<TopicId>,
    pub touched: BTreeSet<FeedKey>,
    /// What the other side has more of, as far as it is known, and nothing is on its way of.
    pub wanting: BTreeSet<FeedKey>,
    /// The same, but another connection is at it.
    pub elsewhere: BTreeSet<FeedKey>,
    /// Feeds without a database of which something may be wanted.
    pub apart: BTreeSet<FeedKey>,
    /// The same, but another connection was asked for it.
    pub apart_elsewhere: BTreeSet<FeedKey>,
    /// Feeds of which damaged blocks may be asked for.
    pub holed: BTreeSet<FeedKey>,
    /// Feeds of which not all that was announced is here and in the order.
    pub undelivered: BTreeSet<FeedKey>,
    /// Of the own feeds that an open topic lets this connection speak of: of which something waits to leave; that nobody has
    /// confirmed; of which the other side claims more.
    pub leaving: BTreeSet<FeedKey>,
    pub unconfirmed: BTreeSet<FeedKey>,
    pub claimed: BTreeSet<FeedKey>,
    /// Topics of which the other side has not said everything yet; and of which its first vector is not all here.
    pub unheard: BTreeSet<TopicId>,
    pub unvectored: BTreeSet<TopicId>,
    /// Databases whose own topic has yet to open, as far as is known, or was closed by the other side: until that tick
    /// topics of their feeds alone do not tell that they are delivered.
    pub unopened: BTreeMap<u32, u32>,
    /// Databases that may have been delivered since.
    pub databases: BTreeSet<u32>,
    /// A topic is over: what was to be sent on it may have nobody who waits for it.
    unserved: bool,
    /// How many feeds were looked at so far.
    pub looked: u64,
}

impl Watch {
    /// The other side has said all that it says first, on every topic.
    pub fn awaits_nothing(&self) -> bool {
        self.unheard.is_empty()
    }
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
        self.topics.insert(id, Box::new(shown));
        self.take_used(id);
        self.watch.topics.insert(topic, id);
        self.watch.unheard.insert(id);
        self.watch.unvectored.insert(id);
        self.watch.due.insert(id);
        for open in self.databases_of(&topic, peer) {
            self.touch_own(&topic, &open);
            let Some(shown) = self.topics.get_mut(&id) else { continue };
            match topic.kind {
                TopicKind::Database => {
                    shown.news.extend(open.feeds.read().keys());
                    // There may be more of it than what was told of so far.
                    self.told_synced.remove(&open.id);
                    self.watch.unopened.remove(&open.id);
                    self.watch.databases.insert(open.id);
                }
                TopicKind::Feed => drop(shown.news.insert(topic.key)),
            }
        }
        self.note_topic_said(id, peer);
    }

    /// Own feeds that a topic is about: it begins, or ends, to let them be spoken of.
    fn touch_own(&mut self, topic: &Topic, open: &OpenDatabase) {
        let feeds = open.feeds.read();
        match topic.kind {
            TopicKind::Database => self.watch.touched.extend(feeds.own().map(|(key, _)| *key)),
            TopicKind::Feed => {
                self.watch.touched.insert(topic.key);
            }
        }
    }

    pub(super) fn unwatch_topic(&mut self, id: TopicId, peer: &Peer) {
        let databases = self.databases_of_topic(id, peer);
        self.watch.databases.extend(databases.iter().map(|open| open.id));
        let topic = self.topics.get(&id).map(|shown| shown.topic);
        for open in &databases {
            if let Some(topic) = &topic {
                self.touch_own(topic, open);
            }
        }
        self.forget_mark(id, peer);
        let announced: Vec<FeedKey> = self.spoken.announced(id).copied().collect();
        for feed in self.spoken.forget(id) {
            // What was pushed last may have come too late.
            if let Some(remote) = self.remote.get_mut(&feed) {
                remote.untell();
            }
        }
        for feed in announced {
            // What it said of the feed holds no longer: it does not speak of it.
            if let Some(remote) = self.remote.get_mut(&feed)
                && !self.spoken.is_announced(&feed)
            {
                remote.unsay();
                self.watch.touched.insert(feed);
            }
        }
        self.keep_used(id);
        let compared: Vec<_> = self.compared.range((id, 0)..=(id, u32::MAX)).map(|(row, _)| *row).collect();
        for row in &compared {
            self.compared.remove(row);
        }
        if let Some(shown) = self.topics.remove(&id) {
            self.watch.topics.remove(&shown.topic);
            if shown.topic.kind == TopicKind::Database {
                self.watch.apart_due.extend(databases.iter().map(|open| open.id));
                self.watch.unopened.extend(databases.iter().map(|open| (open.id, u32::MAX)));
            }
        }
        self.second.remove(&id);
        self.full.remove(&id);
        self.unmet.remove(&id);
        self.watch.unserved = true;
        self.watch.unheard.remove(&id);
        self.watch.unvectored.remove(&id);
        self.watch.due.remove(&id);
    }

    /// Withdraws those of these topics that nothing which is open here is about. `database`: it is closed.
    pub(super) fn let_go(&mut self, database: Option<u32>, topics: &[Topic], peer: &Peer) {
        if self.shared.is_none() || self.session.is_closed() {
            return;
        }
        // Who opens it again waits for it again.
        if let Some(id) = database {
            self.told_synced.remove(&id);
            self.watch.unopened.remove(&id);
        }
        for topic in topics {
            if topic.kind == TopicKind::Feed {
                self.watch.touched.insert(topic.key);
            }
            if !self.databases_of(topic, peer).is_empty() {
                continue;
            }
            self.asking.forget(topic);
            if !self.session.offers(topic) {
                continue;
            }
            // Refused only by a session that is closed.
            let _ = self.session.withdraw(topic);
            self.watch.has_room = true;
            if let Some(id) = self.topic_of(topic.kind, topic.key) {
                self.unwatch_topic(id, peer);
            }
            if topic.kind == TopicKind::Database {
                self.kept.forget(&topic.key);
            }
        }
        self.drop_unawaited();
        self.note_heard(peer);
    }

    /// Topics are over: what waits to be sent and was asked for, or pushed, on no other is not sent any more.
    pub(super) fn drop_unawaited(&mut self) {
        if std::mem::take(&mut self.watch.unserved) {
            let session = &self.session;
            self.serving.retain(|serving| session.is_awaited(&serving.feed, serving.answer));
        }
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

    /// A tick has passed: topics on which there may be something to say. Of a feed's that is what waits to be said.
    pub(super) fn unsaid_topics_due(&mut self) {
        let waits = |shown: &Shown| {
            let is_unsaid = !shown.news.is_empty() || !shown.said_own || shown.forks.is_some();
            shown.topic.kind == TopicKind::Database || is_unsaid
        };
        self.watch.due.extend(self.topics.iter().filter(|(_, shown)| waits(shown)).map(|(id, _)| *id));
    }

    /// The open topic of a database, or a feed.
    pub(super) fn topic_of(&self, kind: TopicKind, key: FeedKey) -> Option<TopicId> {
        self.watch.topics.get(&Topic { kind, key }).copied()
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
        let mut offer = Vec::new();
        let mut feeds_apart = Vec::new();
        for open in changed.iter().filter(|open| peer.is_for(open.id)) {
            let feeds: Vec<FeedKey> = open.feeds.read().changed_since(seen).collect();
            self.watch.databases.insert(open.id);
            if open.id != RAW {
                let topic = Topic { kind: TopicKind::Database, key: open.info.key };
                self.topic_changed(topic, &feeds);
                self.note_late(open.id, &topic);
                offer.push(topic);
            }
            for feed in &feeds {
                let topic = Topic { kind: TopicKind::Feed, key: *feed };
                self.topic_changed(topic, &[*feed]);
                self.watch.touched.insert(*feed);
                if open.id == RAW {
                    offer.push(topic);
                }
            }
            if open.id != RAW {
                feeds_apart.push((open, feeds));
            }
        }
        self.offer(&mut offer, MAX_TOPICS, peer);
        if self.is_asking() || self.session.has_events() {
            // What was answered may stand among what is yet to be taken.
            self.watch.apart_due.extend(feeds_apart.iter().map(|(open, _)| open.id));
            return;
        }
        for (open, feeds) in feeds_apart {
            self.add_apart(open, feeds, &mut offer);
        }
        self.offer(&mut offer, DATABASE_TOPICS, peer);
    }

    fn topic_changed(&mut self, topic: Topic, feeds: &[FeedKey]) {
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
            keep(&mut peer.0.own.write(), key, is_own);
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
        self.watch.apart.append(&mut self.watch.apart_elsewhere);
    }
}
