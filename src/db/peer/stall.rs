//! A connection that owes blocks gives way to others: when it says nothing, says other things, or refuses and claims again.

use super::remote::RemoteFeed;
use super::stored::submit;
use super::{Peer, State};

/// Ticks without an answer after which what was asked of a connection may be fetched over another: a peer that announces
/// and does not deliver, whatever else it says, keeps nobody from the feed.
pub(super) const STALL_PATIENCE: u32 = 10;

/// Ticks after which one feed of which nothing came may be fetched over another, though answers about others come: a peer
/// that serves one feed cannot hold another. The same for what was asked for and is not all here, if others wait for it: a
/// block now and then keeps nobody.
const FEED_PATIENCE: u32 = 60;

/// Bytes of messages not yet whole that count, between two ticks, as an answer that goes on: a byte now and then does not.
const MIN_PIECE_PROGRESS: u64 = 1 << 10;

impl State {
    /// Lets others fetch what was asked here and does not come. What comes late is taken all the same.
    pub(super) fn notice_stall(&mut self, peer: &Peer) {
        let pieced = self.session.pieced();
        if pieced.saturating_sub(std::mem::replace(&mut self.pieced, pieced)) >= MIN_PIECE_PROGRESS {
            self.is_answered(peer);
        }
        let Some(shared) = self.shared.clone() else { return };
        let ticks = self.ticks;
        let is_late = |since: u32, patience: u32| ticks.saturating_sub(since) >= patience;
        let is_silent = self.session.requests_open() > 0 && is_late(self.heard_at, STALL_PATIENCE);
        let is_owed = |remote: &RemoteFeed| {
            remote.inflight.is_asked() && is_late(remote.inflight.asked_at, FEED_PATIENCE)
        };
        let oldest = ticks.checked_sub(FEED_PATIENCE);
        let mut stranded = Vec::new();
        let mut is_waited_for = false;
        let mut claims = shared.board.claims.lock();
        claims.retain(|feed, fetching| {
            if is_silent || self.remote.get(feed).is_some_and(|remote| is_owed(remote)) {
                self.released |= fetching.give_up(peer.0.id);
            }
            if let Some(remote) = self.remote.get_mut(feed)
                && oldest.is_some_and(|oldest| remote.inflight.is_asked_since(oldest))
                && fetching.pass_by(peer.0.id)
            {
                remote.inflight.ask_anew(ticks);
                self.released = true;
            }
            stranded.push((*feed, fetching.flush_stranded()));
            let is_over = fetching.is_over();
            // Nobody forgets that others wait without letting them look.
            is_waited_for |= is_over && fetching.take_waiting();
            !is_over
        });
        drop(claims);
        if is_waited_for {
            self.look_elsewhere();
            self.released = true;
        }
        for (feed, flushed) in stranded {
            submit(&shared, feed, flushed);
        }
        if is_silent && !std::mem::replace(&mut self.stalled, true) {
            self.released |= shared.board.wants.lock().give_up(peer.0.id);
            self.tell_progress(peer);
        }
    }

    /// Something came that was asked for.
    pub(super) fn is_answered(&mut self, peer: &Peer) {
        self.heard_at = self.ticks;
        if std::mem::take(&mut self.stalled) {
            self.tell_progress(peer);
        }
    }

    /// What was refused may be asked for again, now that others could have asked.
    pub(super) fn fetch_refused(&mut self, peer: &Peer) {
        let yielded = std::mem::take(&mut self.yielding);
        for feed in &yielded {
            if let Some(remote) = self.remote.get_mut(feed) {
                remote.inflight.yields = false;
            }
        }
        if !yielded.is_empty() {
            self.watch.touched.extend(yielded);
            self.sort_touched(peer);
            self.fetch(peer);
            self.ask_wanted(peer);
        }
    }
}
