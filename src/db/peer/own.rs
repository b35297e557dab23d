//! One's own feeds on a connection: what others have of them comes first, and only then does more of them leave.

use super::{CLAIM_PATIENCE, OWN_FEED_PATIENCE, Peer, State};
use crate::db::board::PublishedFeed;
use crate::types::FeedKey;
use crate::wire::{FeedState, Topic, TopicId, TopicKind};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

impl State {
    /// Brings up to date whether first vectors are awaited. True if none is.
    pub(super) fn note_heard(&mut self, peer: &Peer) -> bool {
        if self.topics.values().all(|shown| shown.heard || !self.may_be_awaited(&shown.topic)) {
            peer.0.unheard.store(false, Ordering::Release);
            self.is_heard_news = true;
        }
        self.has_heard_all()
    }

    fn has_heard_all(&self) -> bool {
        self.topics.values().all(|shown| shown.heard)
    }

    /// Whether a topic's first vector is still worth waiting for: what does not come holds our own blocks back once, and
    /// not for each of them.
    pub(super) fn may_be_awaited(&self, topic: &Topic) -> bool {
        self.awaited.get(topic).is_none_or(|ticks| *ticks < OWN_FEED_PATIENCE)
    }

    /// Nobody waits for what this connection may show: so far it shares nothing.
    pub(super) fn note_nothing_shared(&mut self, peer: &Peer) {
        self.is_heard_news |= peer.0.fresh.swap(false, Ordering::AcqRel);
    }

    /// The own feeds that this connection may speak of: those of which a topic is open.
    fn own_feeds(&self, peer: &Peer) -> Vec<(FeedKey, PublishedFeed)> {
        let topics: BTreeSet<Topic> = self.topics.values().map(|shown| shown.topic).collect();
        let mut own = Vec::new();
        for open in self.databases(peer) {
            let of_database = topics.contains(&Topic { kind: TopicKind::Database, key: open.info.key });
            let is_open =
                |key: &FeedKey| of_database || topics.contains(&Topic { kind: TopicKind::Feed, key: *key });
            let feeds = open.feeds.read();
            let spoken_of = feeds.iter().filter(|(key, feed)| feed.writable && is_open(key));
            own.extend(spoken_of.map(|(key, feed)| (*key, feed.clone())));
        }
        own
    }

    /// An own feed is fetched over another connection: what this one claims cannot come.
    fn is_another_asked(&self, peer: &Peer) -> bool {
        let own = self.own_feeds(peer);
        let Some(shared) = &self.shared else { return false };
        let claims = shared.board.claims.lock();
        own.iter().any(|(key, _)| claims.get(key).is_some_and(|holder| *holder != peer.0.id))
    }

    /// Blocks of a feed came and fitted: a claim to have more of it may be waited for again.
    pub(super) fn note_delivered(&mut self, feed: &FeedKey, peer: &Peer) {
        if self.claimed > 0 && self.own_feeds(peer).iter().any(|(own, _)| own == feed) {
            self.claimed = 0;
        }
    }

    /// Brings up to date whether the other side shows more of an own feed than is here; asks the owner thread to take a
    /// peer that shows no more for a confirmation, where one is needed.
    pub(super) fn note_claims(&mut self, peer: &Peer) {
        self.compare_overtaken(peer);
        let mut claims = false;
        let mut confirming = Vec::new();
        let is_heard = self.has_heard_all();
        for (key, feed) in self.own_feeds(peer) {
            let Some(remote) = self.remote.get_mut(&key) else { continue };
            claims |= !feed.forked && (remote.length > feed.length || remote.contradicts);
            let shows_all = remote.length > 0
                && remote.length <= feed.length
                && remote.signed <= feed.length
                && !remote.contradicts;
            if is_heard
                && feed.unconfirmed
                && shows_all
                && remote.length >= feed.left
                && remote.asked_at != feed.length + 1
            {
                // Once for each length: what is refused is not asked again and again.
                remote.asked_at = feed.length + 1;
                confirming.push((key, remote.length, remote.root));
            }
        }
        // A claim of which nothing came in all that time is none.
        claims &= self.claimed < CLAIM_PATIENCE;
        if peer.0.claims.swap(claims, Ordering::AcqRel) && !claims {
            self.is_heard_news = true;
        }
        let Some(shared) = &self.shared else { return };
        for (key, length, root) in confirming {
            shared.windowed_job(move |work| work.confirm(key, length, root), peer.clone(), |_, _| {});
        }
    }

    /// Where an own feed was shorter than the other side showed it, and is not any more, its own entries may have taken
    /// the place of those: only now the roots can be compared.
    fn compare_overtaken(&mut self, peer: &Peer) {
        for (feed, own) in self.own_feeds(peer) {
            let Some(remote) = self.remote.get_mut(&feed) else { continue };
            if !remote.was_ahead || remote.contradicts || remote.length > own.length {
                continue;
            }
            remote.was_ahead = false;
            let state = FeedState { feed, length: remote.length, root: remote.root, signed: remote.signed };
            if self.contradicts(&state, peer)
                && let Some(remote) = self.remote.get_mut(&feed)
            {
                remote.holds_another_branch();
            }
        }
    }

    /// Own feeds are said once nobody who is connected can surprise us with more of them; what is new of them leaves
    /// when the owner thread has noted that it does.
    pub(super) fn allow_own(&mut self, peer: &Peer) {
        let Some(shared) = self.shared.clone() else { return };
        let own = self.own_feeds(peer);
        *peer.0.own.write() = own.iter().map(|(key, _)| *key).collect();
        let waited = if self.own_allowed { self.waited } else { self.ticks };
        if peer.0.unheard.load(Ordering::Acquire) || !shared.board.own_may_leave(waited) {
            return;
        }
        self.own_allowed = true;
        let waiting: Vec<FeedKey> =
            own.into_iter().filter_map(|(key, feed)| feed.waits_to_leave().then_some(key)).collect();
        if waiting.is_empty() {
            self.waited = 0;
        } else if !std::mem::replace(&mut self.is_noting, true) {
            shared.windowed_job(
                move |work| work.note_leaving(&waiting, waited),
                peer.clone(),
                |peer, _| peer.with_state(|state, _| state.is_noting = false),
            );
        }
    }

    /// A tick has passed: own blocks do not wait for ever.
    pub(super) fn wait_to_leave(&mut self, peer: &Peer) {
        for shown in self.topics.values().filter(|shown| !shown.heard) {
            let ticks = self.awaited.entry(shown.topic).or_default();
            *ticks = ticks.saturating_add(1);
        }
        if peer.0.unheard.load(Ordering::Acquire) {
            self.note_heard(peer);
        }
        if peer.0.claims.load(Ordering::Acquire) && !self.is_another_asked(peer) {
            self.claimed = self.claimed.saturating_add(1);
        }
        if self.ticks >= OWN_FEED_PATIENCE {
            self.note_nothing_shared(peer);
        }
        if self.own_feeds(peer).iter().any(|(_, feed)| feed.waits_to_leave()) {
            self.waited = self.waited.saturating_add(1);
        }
    }

    /// Says once per topic that nothing of the own feeds is held back any more.
    pub(super) fn say_own_said(&mut self, id: TopicId, peer: &Peer) {
        let waiting = self.topic_feeds(id, peer).iter().any(|(_, feed)| feed.waits_to_leave());
        let Some(shown) = self.topics.get_mut(&id) else { return };
        if self.own_allowed && !waiting && !std::mem::replace(&mut shown.said_own, true) {
            let _ = self.session.access(id, super::driver::OWN_FEED_SAID, &[]);
        }
    }
}
