//! What is asked for of what the other side has, and to whom what arrives is handed.

use super::inflight::{Asked, Inflight};
use super::stored::{cost, submit};
use super::{MAX_UNVERIFIED, Peer, State};
use crate::db::windows::{Arrived, Fetching, Next};
use crate::feed;
use crate::types::FeedKey;
use crate::wire::limits::{MAX_REQUEST_BLOCKS, MAX_REQUESTS};
use crate::wire::{Blocks, FeedState, RequestId};

/// What may be asked for.
enum Wanted {
    /// What is here or not, alone: the place is searched for in which two branches part.
    Search { from: u64, until: u64 },
    /// What is not here, a part of it.
    More { here: u64, until: u64 },
}

impl State {
    /// What the other side says it has of a feed, against what is here.
    pub(super) fn heard(&mut self, state: &FeedState, peer: &Peer) {
        let contradicts = self.contradicts(state, peer);
        let is_ahead = self.here(&state.feed, peer).is_some_and(|feed| feed.length < state.length);
        let remote = self.remote.entry(state.feed).or_default();
        remote.announced = remote.announced.max(state.length);
        if state.length >= remote.length {
            (remote.length, remote.root) = (state.length, state.root);
            remote.refused_holes.clear();
            remote.was_ahead = is_ahead;
            if contradicts && !remote.contradicts {
                remote.holds_another_branch();
            }
        }
        remote.signed = remote.signed.max(state.signed);
        self.watch.touched.insert(state.feed);
        self.watch.holed.insert(state.feed);
    }

    /// Whether it shows another root than ours at a length that is here.
    pub(super) fn contradicts(&self, state: &FeedState, peer: &Peer) -> bool {
        let Some(shared) = self.shared.as_ref().filter(|_| state.length > 0) else { return false };
        let Some(feed) =
            self.here(&state.feed, peer).filter(|feed| !feed.forked && feed.length >= state.length)
        else {
            return false;
        };
        if let Some(head) = feed.head.filter(|head| head.length == state.length) {
            return !head.root.starts_with(&state.root);
        }
        let root = || {
            let txn = shared.read().ok()?;
            let record = feed::load(&txn, &state.feed).ok()??;
            feed::root_at(&txn, &record, state.length).ok()
        };
        // What cannot be read, or has been cut back meanwhile, contradicts nothing.
        root().is_some_and(|root| !root.starts_with(&state.root))
    }
}

impl State {
    /// Asks for what the other side has more of: one window of each feed first, then a second one.
    pub(super) fn fetch(&mut self, peer: &Peer) {
        if self.said_done || self.stalled || !self.session.remote().is_some_and(|remote| remote.upload) {
            return;
        }
        let mut asked = Vec::new();
        while self.session.requests_open() < MAX_REQUESTS
            && let Some(key) = self.watch.wanting.pop_first()
        {
            // What is on its way is looked at again when it has come, what is not wanted when something has changed.
            if self.ask_next(key, peer) {
                asked.push(key);
            }
        }
        for key in asked {
            if self.session.requests_open() < MAX_REQUESTS {
                self.ask_next(key, peer);
            }
        }
    }

    /// Asks for some of a feed. False: there is nothing to ask for now.
    fn ask_next(&mut self, key: FeedKey, peer: &Peer) -> bool {
        let (Some(shared), Some(wanted)) = (self.shared.clone(), self.wanted_of(&key, peer)) else {
            return false;
        };
        let next = {
            let mut claims = shared.board.claims.lock();
            let fetching = claims.entry(key).or_default();
            match wanted {
                Wanted::Search { from, until } if fetching.begin_alone(peer.0.id) => {
                    Next::Window(from, until.min(from.saturating_add(MAX_REQUEST_BLOCKS)))
                }
                Wanted::Search { .. } => Next::Others,
                Wanted::More { here, until } => fetching.next(peer.0.id, here, until),
            }
        };
        let (from, end) = match next {
            Next::Window(from, end) => (from, end),
            Next::Enough => return false,
            Next::Others => {
                self.watch.elsewhere.insert(key);
                return false;
            }
        };
        let is_first = self.session.requests_open() == 0;
        let Ok(id) = self.session.request(key, from, end) else {
            // Announced on a topic that is closed by now, or the session ends.
            self.give_up(&key, peer);
            return false;
        };
        if let Some(remote) = self.remote.get_mut(&key) {
            remote
                .inflight
                .requests
                .insert(id, Asked { rest: (from, end), is_cancelled: false, since: self.ticks });
            remote.inflight.asked_at = self.ticks;
        }
        if is_first {
            self.heard_at = self.ticks;
        }
        true
    }

    fn wanted_of(&self, key: &FeedKey, peer: &Peer) -> Option<Wanted> {
        let remote = self.remote.get(key)?;
        let inflight = &remote.inflight;
        if inflight.yields {
            return None;
        }
        self.holders(key, peer).iter().find_map(|open| {
            let feeds = open.feeds.read();
            let feed = feeds.get(key)?;
            let until = remote.length.min(feed.until);
            let from = inflight.again.map_or(feed.length, |again| again.min(feed.length));
            // Of a feed that has forked no more is wanted than what its branches have in common.
            let is_doubted = remote.contradicts && !feed.forked;
            if is_doubted || inflight.parts_at.is_some() || from < feed.length {
                let until = inflight.parts_at.map_or(until, |at| at.saturating_add(1));
                let is_wanted = is_doubted || feed.length < until;
                return (inflight.is_idle() && is_wanted && from < until)
                    .then_some(Wanted::Search { from, until });
            }
            (feed.length < until).then_some(Wanted::More { here: feed.length, until })
        })
    }

    /// Others may be asked for what this connection was.
    fn give_up(&mut self, feed: &FeedKey, peer: &Peer) {
        let Some(shared) = self.shared.clone() else { return };
        let mut claims = shared.board.claims.lock();
        let Some(fetching) = claims.get_mut(feed) else { return };
        self.released |= fetching.give_up(peer.0.id) | fetching.take_waiting();
        let flushed = fetching.flush();
        if fetching.is_over() {
            claims.remove(feed);
        }
        drop(claims);
        submit(&shared, *feed, flushed);
    }

    /// Something was not taken: what waits is handed over as it is, for it may be waited for in vain.
    pub(super) fn start_over(&self, feed: &FeedKey) {
        let Some(shared) = &self.shared else { return };
        let flushed = shared.board.claims.lock().get_mut(feed).map(Fetching::start_over);
        submit(shared, *feed, flushed.unwrap_or_default());
    }

    /// Ends a search, if nothing of the feed is on its way over this connection; others that wait look again.
    pub(super) fn release(&mut self, feed: &FeedKey, peer: &Peer) {
        let is_idle = self.remote.get(feed).is_none_or(|remote| remote.inflight.is_idle());
        let Some(shared) = &self.shared else { return };
        let mut claims = shared.board.claims.lock();
        let Some(fetching) = claims.get_mut(feed) else { return };
        if is_idle {
            self.released |= fetching.give_up(peer.0.id);
        }
        self.released |= fetching.take_waiting();
        if fetching.is_over() {
            claims.remove(feed);
        }
    }

    /// The other side does not serve a feed from `next` on: it is not asked again before it announces more.
    pub(super) fn refused(&mut self, id: RequestId, feed: &FeedKey, next: u64, peer: &Peer) {
        self.watch.touched.insert(*feed);
        let asked = self.remote.get_mut(feed).and_then(|remote| remote.inflight.requests.remove(&id));
        if self.session.requests_open() == 0 {
            self.is_answered(peer);
        }
        if asked.is_some_and(|asked| asked.is_cancelled) {
            return self.release(feed, peer);
        }
        if let Some(remote) = self.remote.get_mut(feed) {
            remote.inflight.yields = true;
            self.yielding.insert(*feed);
            remote.length = remote.length.min(next);
            remote.refused_from = Some(next);
        }
        self.give_up(feed, peer);
        self.released = true;
    }

    /// Hands blocks to the owner thread, which verifies and stores them.
    pub(super) fn received(&mut self, feed: FeedKey, blocks: Blocks, finished: bool, peer: &Peer) {
        let end = blocks.start.saturating_add(blocks.blocks.len() as u64);
        let is_answer = blocks.answer.is_some();
        if is_answer {
            self.is_answered(peer);
        }
        let remote = self.remote.entry(feed).or_default();
        if is_answer {
            remote.inflight.asked_at = self.ticks;
        }
        remote.length = remote.length.max(end);
        remote.announced = remote.announced.max(end);
        remote.received_blocks = remote.received_blocks.saturating_add(blocks.blocks.len() as u64);
        if let Some(id) = blocks.answer {
            if finished {
                remote.inflight.requests.remove(&id);
            } else if let Some(asked) = remote.inflight.requests.get_mut(&id) {
                asked.rest.0 = end;
            }
        }
        self.watch.touched.insert(feed);
        let Inflight { again, parts_at, .. } = remote.inflight;
        let contradicts = remote.contradicts;
        let is_searched = |here| contradicts || parts_at.is_some() || again.is_some_and(|again| again < here);
        let here = self.here(&feed, peer).map(|here| here.length);
        let Some((shared, here)) = self.shared.clone().zip(here) else { return self.release(&feed, peer) };
        if let Some(remote) = self.remote.get_mut(&feed) {
            remote.inflight.storing += 1;
        }
        let (bytes, answer) = (cost(&blocks), blocks.answer);
        self.unverified += bytes;
        let mut claims = shared.board.claims.lock();
        let fetching = claims.entry(feed).or_default();
        let (mut ready, is_wanted) =
            fetching.arrived(here, Arrived { peer: peer.clone(), blocks, end, bytes }, !is_searched(here));
        if self.unverified >= MAX_UNVERIFIED {
            // What waits must not keep from coming what it waits for.
            ready.extend(fetching.flush());
        }
        self.released |= fetching.take_waiting();
        drop(claims);
        submit(&shared, feed, ready);
        if let (false, false, Some(id)) = (is_wanted, finished, answer) {
            self.cancel(&feed, id);
        }
    }

    /// Another connection brings the rest.
    fn cancel(&mut self, feed: &FeedKey, id: RequestId) {
        let asked = self.remote.get_mut(feed).and_then(|remote| remote.inflight.requests.get_mut(&id));
        if let Some(asked) = asked.filter(|asked| !asked.is_cancelled) {
            asked.is_cancelled = self.session.cancel(id).is_ok();
        }
    }
}
