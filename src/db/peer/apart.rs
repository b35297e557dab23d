//! Blocks of feeds without a database, wanted one by one or in ranges, and damaged blocks of any feed: asked for with
//! complete proofs.

use super::remote::RemoteFeed;
use super::{MAX_UNVERIFIED, Peer, State};
use crate::db::error::{Code, Error};
use crate::db::raw::RAW;
use crate::db::store::Shared;
use crate::feed::{self, FeedError};
use crate::store::ReadTxn;
use crate::types::FeedKey;
use crate::wire::limits::MAX_REQUEST_BLOCKS;
use crate::wire::{Blocks, CloseReason, RequestId};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Ranges asked for over one connection at a time: most of its requests are left to whole feeds.
const MAX_ASKS: usize = 64;

/// Damaged blocks of one feed remembered as refused; beyond that it is asked for none of the feed.
const MAX_REFUSED_HOLES: usize = 1_024;

/// What was asked for.
#[derive(Clone, Copy)]
pub(super) struct Ask {
    feed: FeedKey,
    start: u64,
    /// A block below the length here, which is damaged.
    is_hole: bool,
}

impl State {
    /// Asks for what is wanted, the other side announces, and nobody was asked for.
    pub(super) fn ask_wanted(&mut self, peer: &Peer) {
        let Some(shared) = self.shared.clone() else { return };
        let is_able = self.downloads && self.session.remote().is_some_and(|remote| remote.upload);
        if self.said_done || self.stalled || !is_able {
            return;
        }
        let raw = Some(Arc::clone(&shared.board.raw));
        let raw = raw.filter(|raw| peer.is_for(RAW) && !raw.feeds.read().is_empty());
        let known = |feed: &FeedKey| {
            let feeds = raw.as_ref()?.feeds.read();
            let here = feeds.get(feed).filter(|here| !here.forked && !here.writable)?;
            Some((here.length, here.tip))
        };
        let mut work = Vec::new();
        // No more than may be asked for is looked at: with thousands of feeds each answer would look at all of them.
        while work.len() + self.asks.len() < MAX_ASKS
            && let Some(feed) = self.watch.apart.pop_first()
        {
            let may_ask = |remote: &RemoteFeed| !remote.inflight.yields && !remote.is_no_key;
            let Some(remote) = self.remote.get(&feed).filter(|remote| may_ask(remote)) else { continue };
            let Some((length, tip)) = known(&feed).filter(|(length, _)| *length < remote.length) else {
                continue;
            };
            let mut wanted = shared.board.wants.lock().of(&feed);
            if tip.max(length) < remote.length && remote.refused_at < remote.announced {
                // So that its length is known.
                wanted.push((remote.length - 1, remote.length));
            }
            let reach = remote.length;
            work.extend(wanted.into_iter().map(|(start, end)| (feed, start, end.min(reach))));
        }
        let has_holes = shared.board.has_holes.load(Ordering::Acquire);
        if !has_holes {
            self.watch.holed.clear();
        }
        let has_holes = !self.watch.holed.is_empty();
        if work.is_empty() && !has_holes {
            return;
        }
        // What cannot be read now is asked for at the next occasion.
        let Ok(txn) = shared.read() else {
            self.watch.apart.extend(work.iter().map(|(feed, ..)| *feed));
            return;
        };
        if has_holes && self.ask_holes(&txn, &shared, peer).is_err() {
            self.watch.apart.extend(work.iter().map(|(feed, ..)| *feed));
            return;
        }
        for (feed, start, end) in work {
            if self.ask_range(&txn, feed, start, end, peer).is_err() || self.asks.len() >= MAX_ASKS {
                self.watch.apart.insert(feed);
            }
        }
    }

    /// Damaged blocks of any feed may be asked for anew.
    pub(super) fn holes_due(&mut self) {
        if self.shared.as_ref().is_some_and(|shared| shared.board.has_holes.load(Ordering::Acquire)) {
            self.watch.holed.extend(self.remote.keys());
        }
    }

    /// Asks for blocks that are damaged here, also of own feeds: whoever announces the feed so far may have them whole.
    fn ask_holes(&mut self, txn: &ReadTxn, shared: &Arc<Shared>, peer: &Peer) -> Result<(), FeedError> {
        let mut any = false;
        for feed in std::mem::take(&mut self.watch.holed) {
            let Some(remote) = self.remote.get(&feed) else { continue };
            if remote.inflight.yields || self.asks.len() >= MAX_ASKS {
                self.watch.holed.insert(feed);
                any = true;
                continue;
            }
            let reach = remote.length;
            let Some(record) = feed::load(txn, &feed)? else { continue };
            // Those that it refused stand before others.
            let most = MAX_ASKS + remote.refused_holes.len();
            for (seq, _) in feed::holes(txn, &record, 0, most)? {
                any = true;
                let refused = self.remote.get(&feed).map(|remote| &remote.refused_holes);
                if seq >= reach || refused.is_some_and(|refused| refused.len() >= MAX_REFUSED_HOLES) {
                    break;
                }
                if refused.is_some_and(|refused| refused.contains(&seq)) {
                    continue;
                }
                let end = seq.saturating_add(1);
                let is_free = shared.board.wants.lock().unasked(&feed, seq, end).is_some();
                if !is_free || self.asks.len() >= MAX_ASKS {
                    self.watch.holed.insert(feed);
                    continue;
                }
                let Ok(id) = self.session.ask(feed, seq, end) else { break };
                shared.board.wants.lock().ask(feed, seq, end, peer.0.id);
                self.asks.insert(id, Ask { feed, start: seq, is_hole: true });
                if self.session.requests_open() == 1 {
                    self.heard_at = self.ticks;
                }
            }
        }
        if !any && feed::all_holes(txn, 1)?.is_empty() {
            shared.board.has_holes.store(false, Ordering::Release);
        }
        Ok(())
    }

    fn ask_range(
        &mut self,
        txn: &ReadTxn,
        feed: FeedKey,
        start: u64,
        end: u64,
        peer: &Peer,
    ) -> Result<(), FeedError> {
        let Some(shared) = self.shared.clone() else { return Ok(()) };
        let Some(record) = feed::load(txn, &feed)? else { return Ok(()) };
        let mut from = start;
        while let Some((first, last)) = feed::gap(txn, &record, from, end)?
            && self.asks.len() < MAX_ASKS
        {
            let last = last.min(first.saturating_add(MAX_REQUEST_BLOCKS));
            let free = shared.board.wants.lock().unasked(&feed, first, last);
            if free != Some((first, last)) {
                self.watch.apart_elsewhere.insert(feed);
            }
            let Some((first, last)) = free else {
                from = last;
                continue;
            };
            let is_first = self.session.requests_open() == 0;
            // Announced on a topic that is closed by now, or the session ends.
            let Ok(id) = self.session.ask(feed, first, last) else { return Ok(()) };
            shared.board.wants.lock().ask(feed, first, last, peer.0.id);
            self.asks.insert(id, Ask { feed, start: first, is_hole: false });
            if is_first {
                self.heard_at = self.ticks;
            }
            from = last;
        }
        Ok(())
    }

    /// The other side does not serve what was asked for. False: that was something else.
    pub(super) fn ask_refused(&mut self, id: RequestId, next: u64, peer: &Peer) -> bool {
        let Some(ask) = self.asks.remove(&id) else { return false };
        self.give_up_ask(&ask, next);
        self.end_ask(&ask, peer);
        true
    }

    /// What was asked for does not come from here.
    fn give_up_ask(&mut self, ask: &Ask, next: u64) {
        if !ask.is_hole {
            self.give_up_from(&ask.feed, next);
        } else if let Some(remote) = self.remote.get_mut(&ask.feed)
            && remote.refused_holes.len() < MAX_REFUSED_HOLES
        {
            // A block that is damaged there too, or of which the leaves differ, says nothing about what is behind it.
            remote.refused_holes.insert(ask.start);
        }
    }

    /// The other side is not asked for blocks from `next` on again before it announces more.
    fn give_up_from(&mut self, feed: &FeedKey, next: u64) {
        if let Some(remote) = self.remote.get_mut(feed) {
            remote.length = remote.length.min(next);
            remote.refused_at = remote.announced;
            remote.inflight.yields = true;
            self.yielding.insert(*feed);
        }
        self.watch.touched.insert(*feed);
    }

    fn end_ask(&mut self, Ask { feed, start, is_hole }: &Ask, peer: &Peer) {
        if let Some(shared) = &self.shared {
            shared.board.wants.lock().answered(feed, *start, peer.0.id);
        }
        if *is_hole {
            self.watch.holed.insert(*feed);
        }
        // Another range may have waited for this one.
        self.watch.apart.insert(*feed);
        self.watch.touched.insert(*feed);
        self.released = true;
    }

    /// Hands blocks that were asked for apart to the owner thread. They come back if they were not.
    pub(super) fn received_apart(
        &mut self,
        feed: FeedKey,
        blocks: Blocks,
        finished: bool,
        peer: &Peer,
    ) -> Option<Blocks> {
        let Some((id, ask)) = blocks.answer.and_then(|id| Some((id, *self.asks.get(&id)?))) else {
            return Some(blocks);
        };
        if finished {
            self.asks.remove(&id);
        }
        self.is_answered(peer);
        let shared = self.shared.clone()?;
        let remote = self.remote.entry(feed).or_default();
        remote.received_blocks = remote.received_blocks.saturating_add(blocks.blocks.len() as u64);
        let bytes = super::stored::cost(&blocks);
        self.unverified += bytes;
        shared.windowed_job(
            move |work| work.ingest_apart(feed, &super::stored::received(&blocks)),
            peer.clone(),
            move |peer, result| peer.stored_apart(&ask, finished, bytes, result),
        );
        None
    }
}

impl Peer {
    /// The owner thread is done with what was received.
    fn stored_apart(
        &self,
        ask: &Ask,
        finished: bool,
        bytes: usize,
        result: Result<Result<(), FeedError>, Error>,
    ) {
        let is_other_history = matches!(result, Ok(Err(FeedError::Fork(_) | FeedError::Forked { .. })));
        // Whoever knows a feed by a branch's name alone cannot tell that it is one, and asks for it: who has the branch
        // answers with what its feed's key has signed. That is told apart from a lie by nothing, so it may happen once.
        let is_no_key = matches!(result, Ok(Err(FeedError::Head(_))))
            && self.with_state(|state, peer| state.here(&ask.feed, peer).is_none_or(|here| here.tip == 0));
        let failure = match result {
            Ok(Err(FeedError::Head(_))) if is_no_key => None,
            // A contradiction is found by who holds the feed from its beginning; here nothing of it was stored. That the
            // feed has forked may have become known while the answer was on its way: who sent it has done nothing wrong.
            Ok(Ok(()) | Err(FeedError::Fork(_) | FeedError::Forked { .. } | FeedError::Gap { .. })) => None,
            Ok(Err(error)) => {
                let what = format!("the other side sent blocks that are refused: {error}");
                Some((CloseReason::Protocol, Error::new(Code::Protocol, what)))
            }
            // Ours, and not the sender's doing.
            Err(error) => Some((CloseReason::ShuttingDown, error)),
        };
        let failed = failure.is_some();
        let goes_on = self.with_state(|state, peer| {
            let was_full = state.unverified >= MAX_UNVERIFIED;
            state.unverified -= bytes.min(state.unverified);
            if let Some(remote) = state.remote.get_mut(&ask.feed).filter(|_| is_no_key) {
                remote.is_no_key = true;
            }
            if is_other_history || is_no_key {
                // Of another history than what is here, or of either: it is not asked again before it announces more.
                state.give_up_ask(ask, ask.start);
            }
            if finished || failed {
                state.end_ask(ask, peer);
            }
            match failure {
                Some((reason, error)) if state.shared.is_some() => {
                    state.session.finish(reason);
                    state.fail(error);
                }
                _ => state.refresh(peer),
            }
            was_full && state.unverified < MAX_UNVERIFIED
        });
        if failed {
            self.leave();
        } else if goes_on {
            (self.0.wake)();
        }
        self.hand_over();
    }
}
