//! **What.** Which topics a connection offers, and when: databases and feeds that are open by themselves at once, feeds of
//! databases by themselves where the other side has not the database, as far as there is room.
//!
//! **Owns.** Of what is kept in [`Watch`](super::watch::Watch): the databases whose feeds are due, whether something was cut
//! off, and which databases may yet open though they were offered late.
//!
//! **Invariants.** 1. The initiator offers no feed that is carried on an open topic of its database. 2. Feeds of databases
//! take no more than [`DATABASE_TOPICS`]. 3. What was cut off is offered when there is room, by going over everything once a
//! second at most.
//!
//! **Not here.** What has changed on the board (`watch`), how topics open (`wire`), whether the other side was asked
//! (`asking`).

use super::{Peer, State};
use crate::db::board::{OpenDatabase, PublishedFeed};
use crate::db::raw::RAW;
use crate::types::FeedKey;
use crate::wire::limits::MAX_TOPICS;
use crate::wire::{Role, Topic, TopicKind};

/// Ticks after which the other side is taken not to have a database that was opened here: it would have shown it.
const ANSWER_PATIENCE: u32 = 5;

/// Topics that are left to databases: those of one database's feeds take not all there are.
pub(super) const DATABASE_TOPICS: usize = MAX_TOPICS / 2;

/// Whether a feed is a database's by this replica's choice alone: who else has the database may hold it apart from it. Of
/// a relay everything is so.
fn is_added_here(open: &OpenDatabase, feed: &PublishedFeed) -> bool {
    feed.added && !feed.granted && open.info.relay.is_none()
}

impl State {
    /// Whether it is not known yet which databases the other side has: only the initiator finds out by asking.
    pub(super) fn is_asking(&self) -> bool {
        self.session.role() == Role::Initiator && self.session.is_showing()
    }

    /// Offers topics that are not offered yet, as long as fewer than so many are.
    pub(super) fn offer(&mut self, topics: &mut Vec<Topic>, limit: usize, peer: &Peer) {
        topics.retain(|topic| !self.session.offers(topic));
        topics.sort_unstable();
        topics.dedup();
        let room = limit.saturating_sub(self.session.offered());
        if topics.len() > room {
            (self.watch.is_cut, self.watch.has_room) = (true, false);
            topics.truncate(room);
        }
        if !topics.is_empty() {
            // Before the other side can answer.
            self.ask_about(topics, peer);
            // Refused only by a session that is closed.
            let _ = self.session.offer(topics);
        }
        topics.clear();
    }

    /// It is known which databases the other side has: of the others the feeds are offered, each by itself. Once for all that
    /// are new or closed together.
    pub(super) fn offer_feeds_apart(&mut self, peer: &Peer) {
        if self.is_asking() {
            return;
        }
        let due = std::mem::take(&mut self.watch.apart_due);
        let Some(shared) = self.shared.clone().filter(|_| !due.is_empty()) else { return };
        let mut offer = Vec::new();
        for open in due.into_iter().filter(|id| peer.is_for(*id)).filter_map(|id| shared.board.database(id)) {
            let feeds: Vec<FeedKey> = open.feeds.read().keys().copied().collect();
            self.add_apart(&open, feeds, &mut offer);
        }
        self.offer(&mut offer, DATABASE_TOPICS, peer);
    }

    /// Those of a database's feeds that are to be shown by themselves.
    pub(super) fn add_apart(&mut self, open: &OpenDatabase, feeds: Vec<FeedKey>, offer: &mut Vec<Topic>) {
        self.watch.looked += feeds.len() as u64;
        let is_whole = self.is_carried_whole(open);
        let here = open.feeds.read();
        let is_apart =
            |key: &FeedKey| !is_whole || here.get(key).is_some_and(|feed| is_added_here(open, feed));
        offer.extend(feeds.into_iter().filter(is_apart).map(|key| Topic { kind: TopicKind::Feed, key }));
    }

    /// Whether all of a database's feeds that its writers have made part of it are spoken of on its own topic. Topics of theirs are for who has not the database:
    /// the initiator shows them where that is so. The responder waits to be shown them.
    fn is_carried_whole(&self, open: &OpenDatabase) -> bool {
        // Who downloads nothing does not learn which feeds are the database's.
        let learns = self.session.remote().is_some_and(|remote| remote.download);
        let is_open = self.topic_of(TopicKind::Database, open.info.key).is_some();
        self.session.role() == Role::Initiator && learns && is_open
    }

    /// Whether a feed of a database is spoken of on the database's own topic, and need not be shown by itself.
    fn carries(&self, open: &OpenDatabase, key: &FeedKey) -> bool {
        let is_apart = |feed: &PublishedFeed| is_added_here(open, feed);
        open.id != RAW && self.is_carried_whole(open) && !open.feeds.read().get(key).is_some_and(is_apart)
    }

    /// A database's topic has opened: those of its feeds that were offered by themselves and are carried on it are so no
    /// more, but where they are open already.
    pub(super) fn take_back_feeds(&mut self, topic: &Topic, peer: &Peer) {
        if topic.kind != TopicKind::Database || self.session.role() == Role::Responder {
            return;
        }
        for open in self.databases_of(topic, peer) {
            let feeds: Vec<FeedKey> = open.feeds.read().keys().copied().collect();
            for key in feeds {
                let topic = Topic { kind: TopicKind::Feed, key };
                if self.session.offers(&topic)
                    && self.holders(&key, peer).iter().all(|open| self.carries(open, &key))
                {
                    self.session.take_back(&topic);
                    self.watch.has_room = true;
                }
            }
        }
    }

    /// A tick has passed: what there was no room for is offered if there may be now. All is gone over once a second at most,
    /// however much is closed meanwhile.
    pub(super) fn offer_what_was_cut(&mut self, peer: &Peer) {
        if !self.watch.is_cut || !std::mem::take(&mut self.watch.has_room) {
            return;
        }
        self.watch.is_cut = false;
        let mut offer = Vec::new();
        for open in self.databases(peer) {
            if open.id == RAW {
                let feeds = open.feeds.read();
                offer.extend(feeds.keys().map(|key| Topic { kind: TopicKind::Feed, key: *key }));
            } else {
                let topic = Topic { kind: TopicKind::Database, key: open.info.key };
                self.note_late(open.id, &topic);
                offer.push(topic);
                self.watch.apart_due.insert(open.id);
            }
        }
        self.offer(&mut offer, MAX_TOPICS, peer);
        self.offer_feeds_apart(peer);
    }

    /// A database's topic that is offered only now, by who is not told what of it the other side has: that shows it, or not.
    pub(super) fn note_late(&mut self, database: u32, topic: &Topic) {
        let is_asked = self.session.role() == Role::Responder && self.session.remote().is_some();
        if is_asked && !self.session.offers(topic) {
            self.watch.unopened.insert(database, self.ticks.saturating_add(ANSWER_PATIENCE));
        }
    }

    /// A tick has passed: databases that nothing more is expected of may be delivered.
    pub(super) fn unopened_due(&mut self) {
        let due: Vec<u32> = self
            .watch
            .unopened
            .iter()
            .filter(|(_, until)| **until == self.ticks)
            .map(|(id, _)| *id)
            .collect();
        self.watch.databases.extend(due);
    }

    /// The other side has shown all that it offers: databases that are not open now it has not.
    pub(super) fn nothing_more_opens(&mut self) {
        let withdrawn = |until: &u32| *until == u32::MAX;
        let watch = &mut self.watch;
        watch
            .databases
            .extend(watch.unopened.iter().filter(|(_, until)| !withdrawn(until)).map(|(id, _)| *id));
        watch.unopened.retain(|_, until| withdrawn(until));
    }
}
