//! **What.** A connection among the others of its store: what it is told by whoever commits, opens and closes; what it asks
//! of the others, and they of it; how it goes.
//!
//! **Invariants.** 1. The state of one connection is locked at a time: the others are told when this one's is let go. 2. A
//! connection that is over holds nothing that others wait for: it is off the board.
//!
//! **Not here.** What whoever has the stream and the clock calls (`mod`), who is connected (`db/board`).

use super::{CLAIM_PATIENCE, OWN_FEED_PATIENCE, Peer, State};
use crate::db::error::Error;
use crate::db::events::Event;
use crate::db::store::Shared;
use crate::types::FeedKey;
use crate::wire::{CloseReason, Topic};
use std::sync::atomic::Ordering;

impl Peer {
    /// The store has failed.
    pub(in crate::db) fn abort(&self, error: &Error) {
        self.with_state(|state, _| {
            state.session.finish(CloseReason::ShuttingDown);
            state.fail(error.clone());
        });
        self.leave();
    }

    /// A session that is over, for whichever side ended it, holds nothing that others wait for.
    pub(super) fn leave_if_over(&self) {
        let is_over = {
            let state = self.0.state.lock();
            state.shared.is_some() && (state.failed.is_some() || state.session.is_closed())
        };
        if is_over {
            self.leave();
        }
    }

    /// Lets the other connections fetch what this one has given up; what they do not want it may ask for again.
    pub(super) fn hand_over(&self) {
        let shared = {
            let mut state = self.0.state.lock();
            if !std::mem::take(&mut state.released) {
                return;
            }
            state.shared.clone()
        };
        if let Some(shared) = shared {
            self.let_others_look(&shared);
        }
        self.with_state(State::fetch_refused);
    }

    /// What other connections wait for may be asked for.
    pub(super) fn let_others_look(&self, shared: &Shared) {
        for peer in shared.board.peers().iter().filter(|peer| peer.id() != self.id()) {
            peer.with_state(|state, peer| {
                state.look_elsewhere();
                state.fetch(peer);
                state.ask_wanted(peer);
            });
        }
    }

    /// Takes the connection off the board: nothing more is fetched or told.
    pub(super) fn leave(&self) {
        let shared = {
            let mut state = self.0.state.lock();
            state.serving.clear();
            state.shared.take()
        };
        self.0.unheard.store(false, Ordering::Release);
        self.0.claims.store(false, Ordering::Release);
        self.0.fresh.store(false, Ordering::Release);
        if let Some(shared) = shared {
            shared.board.remove_peer(self.0.id);
            // Others may fetch what this one held, and need not wait for it with their own feeds.
            for peer in shared.board.peers() {
                peer.with_state(|state, it| {
                    state.look_elsewhere();
                    // What went over this one may not have arrived.
                    state.say_seconds(it);
                    state.refresh(it);
                });
            }
            // Whoever waits to be flushed waits for this connection no more.
            let ids: Vec<u32> = shared.board.databases.read().keys().copied().collect();
            for id in ids.into_iter().filter(|id| self.is_for(*id)) {
                shared.board.send(id, &Event::Progress);
            }
        }
        (self.0.wake)();
    }

    /// Something was published.
    pub(in crate::db) fn notify(&self) {
        self.with_state(State::refresh);
        self.tell_heard();
        self.leave_if_over();
    }

    /// A database, or feeds, may be held here no more: what nothing that is open is about is withdrawn. What follows from
    /// that is done with the next notice.
    pub(in crate::db) fn let_go(&self, database: Option<u32>, topics: &[Topic]) {
        self.with_state(|state, peer| state.let_go(database, topics, peer));
    }

    /// Damaged blocks were taken out.
    pub(in crate::db) fn look_for_holes(&self) {
        self.with_state(|state, peer| {
            state.holes_due();
            state.ask_wanted(peer);
        });
    }

    /// What is wanted of a feed without a database has changed.
    pub(in crate::db) fn look_for_wanted(&self, feed: FeedKey) {
        self.with_state(|state, peer| {
            state.watch.apart.insert(feed);
            state.ask_wanted(peer);
        });
    }

    /// Whether the other side may yet show more of an own feed, to somebody who has waited for so many ticks.
    pub(in crate::db) fn may_show_more(&self, waited: u32) -> bool {
        let [unheard, fresh] = [&self.0.unheard, &self.0.fresh].map(|flag| flag.load(Ordering::Acquire));
        let claims = self.0.claims.load(Ordering::Acquire);
        ((unheard || fresh) && waited < OWN_FEED_PATIENCE) || (claims && waited < CLAIM_PATIENCE)
    }

    /// Whether an own feed may leave over this connection.
    pub(in crate::db) fn may_carry(&self, feed: &FeedKey) -> bool {
        self.0.own.read().contains(feed)
    }

    /// What the other side says it has.
    pub(in crate::db) fn announced(&self, mut each: impl FnMut(FeedKey, u64)) {
        self.0.state.lock().remote.iter().for_each(|(feed, remote)| each(*feed, remote.length));
    }

    /// When the first vectors are in, or what was claimed, every connection looks again whether own feeds may be offered.
    pub(super) fn tell_heard(&self) {
        let shared = {
            let mut state = self.0.state.lock();
            if self.0.unheard.load(Ordering::Acquire) || !std::mem::take(&mut state.is_heard_news) {
                return;
            }
            state.shared.clone()
        };
        for peer in shared.iter().flat_map(|shared| shared.board.peers()) {
            peer.with_state(State::refresh);
        }
    }
}
