//! One's own feeds on a connection: what others have of them comes first, and only then does more of them leave.

use super::remote::RemoteFeed;
use super::{CLAIM_PATIENCE, OWN_FEED_PATIENCE, Peer, State};
use crate::db::board::PublishedFeed;
use crate::types::FeedKey;
use crate::wire::{FeedState, Topic, TopicId, TopicKind};
use std::sync::atomic::Ordering;

impl State {
    /// Brings up to date whether first vectors are awaited. True if none is.
    pub(super) fn note_heard(&mut self, peer: &Peer) -> bool {
        let mut unheard = self.watch.unvectored.iter().filter_map(|id| self.topics.get(id));
        if !unheard.any(|shown| self.may_be_awaited(&shown.topic)) {
            peer.0.unheard.store(false, Ordering::Release);
            self.is_heard_news = true;
        }
        self.has_heard_all()
    }

    fn has_heard_all(&self) -> bool {
        self.watch.unvectored.is_empty()
    }

    /// Whether a topic's first vector is still worth waiting for: what does not come holds our own blocks back once, and
    /// not for each of them.
    pub(super) fn may_be_awaited(&self, topic: &Topic) -> bool {
        self.awaited.get(topic).is_none_or(|ticks| *ticks < OWN_FEED_PATIENCE)
    }

    /// An own feed is fetched over another connection: what this one claims cannot come.
    fn is_another_asked(&self, peer: &Peer) -> bool {
        let Some(shared) = &self.shared else { return false };
        let claims = shared.board.claims.lock();
        self.watch
            .claimed
            .iter()
            .any(|key| claims.get(key).is_some_and(|fetching| fetching.is_another(peer.0.id)))
    }

    /// Blocks of a feed came and fitted: a claim to have more of it may be waited for again.
    pub(super) fn note_delivered(&mut self, feed: &FeedKey, peer: &Peer) {
        if self.claimed > 0 && self.here(feed, peer).is_some_and(|feed| feed.writable) {
            self.claimed = 0;
        }
    }

    /// Brings up to date whether the other side shows more of an own feed than is here; asks the owner thread to take a
    /// peer that shows no more for a confirmation, where one is needed.
    pub(super) fn note_claims(&mut self, peer: &Peer) {
        let mut claims = self.watch.claimed.iter().any(|key| !self.holders(key, peer).is_empty());
        let mut confirming = Vec::new();
        let is_heard = !self.watch.unconfirmed.is_empty() && self.has_heard_all();
        for key in self.watch.unconfirmed.clone() {
            let Some(feed) = self.here(&key, peer) else { continue };
            let Some(remote) = self.remote.get_mut(&key) else { continue };
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
    pub(super) fn compare_overtaken(&mut self, feed: &FeedKey, peer: &Peer) {
        let Some(remote) = self.remote.get_mut(feed) else { return };
        remote.was_ahead = false;
        let RemoteFeed { length, root, signed, .. } = **remote;
        let state = FeedState { feed: *feed, length, root, signed };
        if self.contradicts(&state, peer)
            && let Some(remote) = self.remote.get_mut(feed)
        {
            remote.holds_another_branch();
            self.watch.touched.insert(*feed);
        }
    }

    /// Own feeds are said once nobody who is connected can surprise us with more of them; what is new of them leaves
    /// when the owner thread has noted that it does.
    pub(super) fn allow_own(&mut self, peer: &Peer) {
        let Some(shared) = self.shared.clone() else { return };
        let waited = if self.own_allowed { self.waited } else { self.ticks };
        if peer.0.unheard.load(Ordering::Acquire) || !shared.board.own_may_leave(waited) {
            return;
        }
        if !std::mem::replace(&mut self.own_allowed, true) {
            self.all_topics_due();
        }
        let waiting: Vec<FeedKey> = self.watch.leaving.iter().copied().collect();
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

    /// What a database had that was closed is not among what has changed: its own feeds are looked at again.
    fn touch_closed(&mut self, peer: &Peer) {
        let (watch, own) = (&self.watch, peer.0.own.read());
        let all = own.iter().chain(&watch.leaving).chain(&watch.claimed).chain(&watch.unconfirmed);
        let closed: Vec<FeedKey> = all.filter(|key| self.holders(key, peer).is_empty()).copied().collect();
        drop(own);
        if !closed.is_empty() {
            self.watch.touched.extend(closed);
            self.sort_touched(peer);
        }
    }

    /// A tick has passed: own blocks do not wait for ever.
    pub(super) fn wait_to_leave(&mut self, peer: &Peer) {
        self.touch_closed(peer);
        for shown in self.watch.unvectored.iter().filter_map(|id| self.topics.get(id)) {
            let ticks = self.awaited.entry(shown.topic).or_default();
            *ticks = ticks.saturating_add(1);
        }
        if peer.0.unheard.load(Ordering::Acquire) {
            self.note_heard(peer);
        }
        if peer.0.claims.load(Ordering::Acquire) && !self.is_another_asked(peer) {
            self.claimed = self.claimed.saturating_add(1);
        }
        self.wait_for_answer(peer);
        if !self.watch.leaving.is_empty() {
            self.waited = self.waited.saturating_add(1);
        }
    }

    /// Says once per topic that nothing of the own feeds is held back any more.
    pub(super) fn say_own_said(&mut self, id: TopicId, peer: &Peer) {
        if !self.own_allowed || self.topics.get(&id).is_none_or(|shown| shown.said_own) {
            return;
        }
        // Who has not heard it does not take it that it has all. Where the connection is to end, it could not.
        if peer.0.live && self.full.contains(&id) {
            return;
        }
        let databases = self.databases_of_topic(id, peer);
        let Some(shown) = self.topics.get_mut(&id) else { return };
        let waiting = databases.iter().any(|open| {
            let feeds = open.feeds.read();
            match shown.topic.kind {
                TopicKind::Database => feeds.own().any(|(_, feed)| feed.waits_to_leave()),
                TopicKind::Feed => feeds.get(&shown.topic.key).is_some_and(PublishedFeed::waits_to_leave),
            }
        });
        if !waiting && !std::mem::replace(&mut shown.said_own, true) {
            let _ = self.session.access(id, super::driver::OWN_FEED_SAID, &[]);
        }
    }
}
