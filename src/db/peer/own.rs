//! One's own feeds on a connection: what others have of them comes first, and only then does more of them leave.

use super::{Peer, State};
use crate::db::board::PublishedFeed;
use crate::types::FeedKey;
use std::sync::atomic::Ordering;

impl State {
    /// Brings up to date whether first vectors are awaited. True if none is.
    pub(super) fn note_heard(&mut self, peer: &Peer) -> bool {
        let heard = self.topics.values().all(|shown| shown.heard);
        if heard {
            peer.0.unheard.store(false, Ordering::Release);
            self.is_heard_news = true;
        }
        heard
    }

    /// Nobody waits for what this connection may show: so far it shares nothing.
    pub(super) fn note_nothing_shared(&mut self, peer: &Peer) {
        self.is_heard_news |= peer.0.fresh.swap(false, Ordering::AcqRel);
    }

    /// The own feeds that this connection may speak of.
    fn own_feeds(&self, peer: &Peer) -> Vec<(FeedKey, PublishedFeed)> {
        let mut own = Vec::new();
        for open in self.databases(peer) {
            let feeds = open.feeds.read();
            own.extend(
                feeds.iter().filter(|(_, feed)| feed.writable).map(|(key, feed)| (*key, feed.clone())),
            );
        }
        own
    }

    /// Brings up to date whether the other side shows more of an own feed than is here; asks the owner thread to take a
    /// peer that shows no more for a confirmation, where one is needed.
    pub(super) fn note_claims(&mut self, peer: &Peer) {
        let mut claims = false;
        let mut confirming = Vec::new();
        for (key, feed) in self.own_feeds(peer) {
            let Some(remote) = self.remote.get_mut(&key) else { continue };
            claims |= !feed.forked && (remote.length > feed.length || remote.contradicts);
            let shows_all = remote.length > 0
                && remote.length <= feed.length
                && remote.signed <= feed.length
                && !remote.contradicts;
            let is_heard = !peer.0.unheard.load(Ordering::Acquire);
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
        if peer.0.claims.swap(claims, Ordering::AcqRel) && !claims {
            self.is_heard_news = true;
        }
        let Some(shared) = &self.shared else { return };
        for (key, length, root) in confirming {
            shared.windowed_job(move |work| work.confirm(key, length, root), peer.clone(), |_, _| {});
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
        self.own_allowed = true;
        let waiting: Vec<FeedKey> = self
            .own_feeds(peer)
            .into_iter()
            .filter_map(|(key, feed)| feed.waits_to_leave().then_some(key))
            .collect();
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
        if self.ticks >= super::OWN_FEED_PATIENCE {
            self.note_nothing_shared(peer);
        }
        if self.own_feeds(peer).iter().any(|(_, feed)| feed.waits_to_leave()) {
            self.waited = self.waited.saturating_add(1);
        }
    }
}
