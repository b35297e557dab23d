//! **What.** Whether all that the other side has announced is here, of one database or of all, and who is told of it: the
//! user of the connection, each database, and the other side, where the connection is not live.
//!
//! **Invariants.** 1. Nothing is told to be delivered before the other side has said all that it says first, and shown all
//! that it offers, nor where there was no room to say all that is here (`growth`). 2. A database is told once for each time
//! its topic opens. 3. After `Done` nothing is asked for.
//!
//! **Not here.** What the other side has yet to say (`watch`), show (`asking`), or bring (`fetch`).

use super::{Peer, PeerEvent, State};
use crate::db::board::{OpenDatabase, PublishedFeed};
use crate::db::events::Event;
use crate::db::raw::RAW;
use crate::wire::{TopicId, TopicKind};
use std::sync::Arc;

impl State {
    /// Whether everything announced (of one database, or of all) is here and in the order.
    pub(super) fn has_delivered(&mut self, database: Option<u32>, peer: &Peer) -> bool {
        self.has_all(database, peer, PublishedFeed::is_up_to)
    }

    /// Whether no more topics will open for what is here now.
    pub(super) fn is_all_shown(&self) -> bool {
        (self.shown_all && !self.session.is_showing()) || self.heard_done
    }

    /// Whether a topic of the database is open, or one of its feeds and no other is to be expected.
    pub(super) fn is_spoken_of_any(&self, open: &OpenDatabase) -> bool {
        if open.id != RAW && self.topic_of(TopicKind::Database, open.info.key).is_some() {
            return true;
        }
        self.watch.unopened.get(&open.id).is_none_or(|until| *until <= self.ticks)
            && open.feeds.read().keys().any(|key| self.topic_of(TopicKind::Feed, *key).is_some())
    }

    /// Whether its own topic has no room for all of a database's feeds.
    pub(super) fn is_full_of(&self, open: &OpenDatabase) -> bool {
        let topic = self.topic_of(TopicKind::Database, open.info.key).filter(|_| open.id != RAW);
        topic.is_some_and(|id| self.full.contains(&id))
    }

    /// Whether the other side has more to say first, of one database or of any.
    fn is_anything_unsaid(&self, database: Option<u32>, peer: &Peer) -> bool {
        let Some(shared) = self.shared.as_ref().filter(|_| !self.watch.unheard.is_empty()) else {
            return false;
        };
        let mut unheard = self.watch.unheard.iter().filter_map(|id| self.topics.get(id));
        let Some(database) = database else {
            return unheard.any(|shown| !self.databases_of(&shown.topic, peer).is_empty());
        };
        let Some(open) = shared.board.database_or_raw(database).filter(|open| peer.is_for(open.id)) else {
            return false;
        };
        let feeds = open.feeds.read();
        unheard.any(|shown| match shown.topic.kind {
            TopicKind::Database => open.id != RAW && shown.topic.key == open.info.key,
            TopicKind::Feed => feeds.contains_key(&shown.topic.key),
        })
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
        if self.is_anything_unsaid(database, peer) {
            return false;
        }
        self.watch.undelivered.iter().all(|key| {
            let length = self.remote.get(key).map_or(0, |remote| remote.length);
            let holders = self.holders(key, peer);
            let mut here = holders.iter().filter(|open| is_meant(open));
            here.all(|open| open.feeds.read().get(key).is_none_or(|feed| enough(feed, length)))
        })
    }

    pub(super) fn check_synced(&mut self, peer: &Peer) {
        self.tell_synced(peer);
        if self.was_synced && peer.0.live {
            return;
        }
        let (shared, is_all) = (!self.topics.is_empty(), self.is_all_shown());
        let may_be_synced = shared && is_all && !self.was_synced && self.full.is_empty();
        if may_be_synced && self.has_delivered(None, peer) {
            self.was_synced = true;
            self.push(PeerEvent::Synced);
        }
        // What waits for a third device does not hold up the end: this connection has brought what it could. If nothing is
        // shared, and all was shown, there is nothing to bring.
        let all = !shared || self.has_all(None, peer, PublishedFeed::has);
        // After that word nothing may be asked for.
        let may_be_done = all && is_all && self.asks.is_empty() && !peer.0.live && !self.said_done;
        if may_be_done && self.topics.values().all(|shown| shown.said_own) {
            self.said_done = true;
            let _ = self.session.done();
        }
        let idle = self.serving.is_empty() && self.unverified == 0;
        if self.said_done && self.heard_done && idle && !self.finished {
            self.finished = true;
            self.push(PeerEvent::Finished);
        }
    }

    /// Tells each database, once, that it has been delivered: later ones join a connection that is under way.
    pub(super) fn tell_synced(&mut self, peer: &Peer) {
        self.look(peer);
        self.sort_touched(peer);
        // Topics that are yet shown may be of more of its feeds.
        if !self.is_all_shown() {
            return;
        }
        for id in std::mem::take(&mut self.watch.databases) {
            let Some(shared) = self.shared.clone() else { return };
            let Some(open) = shared.board.database_or_raw(id) else { continue };
            if self.told_synced.contains(&id)
                || self.is_full_of(&open)
                || !self.is_spoken_of_any(&open)
                || !self.has_delivered(Some(id), peer)
            {
                continue;
            }
            self.told_synced.insert(open.id);
            shared.board.send(open.id, &Event::Synced { peer: peer.0.id });
        }
    }

    /// More of what there is to say about a topic has come: its databases look again, and all when that was the last of it.
    pub(super) fn tell_heard_of(&self, topic: TopicId, peer: &Peer) {
        if self.watch.awaits_nothing() {
            return self.tell_progress(peer);
        }
        let Some(shared) = &self.shared else { return };
        for open in self.databases_of_topic(topic, peer) {
            shared.board.send(open.id, &Event::Progress);
        }
    }

    /// Nothing was committed, and yet all that was announced may be here now: whoever waits for that looks again.
    pub(super) fn tell_progress(&self, peer: &Peer) {
        let Some(shared) = &self.shared else { return };
        for open in self.databases(peer) {
            shared.board.send(open.id, &Event::Progress);
        }
    }
}
