//! What is asked for, and what becomes of what arrives.

use super::driver::RemoteFeed;
use super::{MAX_UNVERIFIED, MESSAGE_COST, Peer, State};
use crate::db::error::{Code, Error};
use crate::feed::{self, FeedError, Received};
use crate::merkle::Node;
use crate::types::FeedKey;
use crate::wire::limits::{MAX_REQUEST_BLOCKS, MAX_REQUESTS};
use crate::wire::{Blocks, FeedState, ProofNode, RequestId};

/// What was asked of a feed over this connection and is not stored yet.
#[derive(Default)]
pub(super) struct Inflight {
    pub(super) request: Option<RequestId>,
    /// The tick in which it was asked for, or something of it last came.
    pub(super) asked_at: u32,
    /// It was refused: others may ask first whoever has it.
    pub(super) yields: bool,
    /// What of it has not come: from, to (exclusive).
    asked: (u64, u64),
    /// Messages whose blocks wait for the owner thread.
    storing: u32,
    /// Where the next request begins instead of at the end of what is here.
    again: Option<u64>,
    /// How far back the last request went whose answer was doubted. It doubles, so that a liar is soon found out.
    back: u64,
    /// A doubted answer was followed by a request from block 0 on.
    was_asked_all: bool,
    /// The block in which two branches part, which alone with its proof shows that to others too.
    parts_at: Option<u64>,
}

impl Inflight {
    /// What was asked for and has not come.
    pub fn asked(&self) -> Option<(u64, u64)> {
        self.request.map(|_| self.asked)
    }

    pub fn is_storing(&self) -> bool {
        self.storing > 0
    }

    fn is_idle(&self) -> bool {
        self.request.is_none() && self.storing == 0
    }

    /// What follows `start` fits nothing here: a fork before it, or a lie. Blocks that are here are asked for once more:
    /// under the other branch's head they show where the two part. False: there is nothing further back.
    fn doubt(&mut self, start: u64) -> bool {
        if self.again.is_some_and(|again| again < start) {
            return true;
        }
        if start == 0 || self.was_asked_all {
            return false;
        }
        self.back = self.back.saturating_mul(2).max(1);
        let again = start.saturating_sub(self.back);
        self.was_asked_all = again == 0;
        self.again = Some(again);
        true
    }
}

/// What came of storing blocks.
enum Stored {
    Taken,
    /// They continue what is not here: asked for again from where we are.
    Gap,
    /// They do not continue what is here: a fork, or a lie.
    Doubted,
    /// Signed, and contradicting what is here; the two part behind what came.
    Contradicted,
    /// The two part at this block.
    Parted {
        at: u64,
    },
    /// That is proved, or it is a third history: of this feed nothing more is asked here.
    Forked,
}

impl RemoteFeed {
    /// What it has is asked for again: from there the place where the branches part is searched for.
    pub(super) fn holds_another_branch(&mut self) {
        self.contradicts = true;
        self.inflight.again = Some(self.length.saturating_sub(1));
    }
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
            remote.was_ahead = is_ahead;
            if contradicts && !remote.contradicts {
                remote.holds_another_branch();
            }
        }
        remote.signed = remote.signed.max(state.signed);
        self.watch.touched.insert(state.feed);
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
    /// Asks for what the other side has more of, a feed at a time each, unless another connection is at it.
    pub(super) fn fetch(&mut self, peer: &Peer) {
        let Some(shared) = self.shared.clone() else { return };
        if self.said_done || self.stalled || !self.session.remote().is_some_and(|remote| remote.upload) {
            return;
        }
        while self.session.requests_open() < MAX_REQUESTS
            && let Some(key) = self.watch.wanting.pop_first()
        {
            // What is on its way is looked at again when it has come, what is not wanted when something has changed.
            let Some((from, until)) = self.wanted_of(&key, peer) else { continue };
            if *shared.board.claims.lock().entry(key).or_insert(peer.0.id) != peer.0.id {
                self.watch.elsewhere.insert(key);
                continue;
            }
            let end = until.min(from.saturating_add(MAX_REQUEST_BLOCKS));
            let is_first = self.session.requests_open() == 0;
            match self.session.request(key, from, end) {
                Ok(id) => {
                    if let Some(remote) = self.remote.get_mut(&key) {
                        remote.inflight.request = Some(id);
                        remote.inflight.asked = (from, end);
                        remote.inflight.asked_at = self.ticks;
                    }
                    if is_first {
                        self.heard_at = self.ticks;
                    }
                }
                // Announced on a topic that is closed by now, or the session ends.
                Err(_) => self.release(&key, peer),
            }
        }
    }

    /// What of a feed may be asked for now: from, to (exclusive).
    fn wanted_of(&self, key: &FeedKey, peer: &Peer) -> Option<(u64, u64)> {
        let remote = self.remote.get(key)?;
        let inflight = &remote.inflight;
        if !inflight.is_idle() || inflight.yields {
            return None;
        }
        self.holders(key, peer).iter().find_map(|open| {
            let feeds = open.feeds.read();
            let feed = feeds.get(key)?;
            let until = remote.length.min(feed.until);
            let from = inflight.again.map_or(feed.length, |again| again.min(feed.length));
            let until = inflight.parts_at.map_or(until, |at| at.saturating_add(1));
            // Of a feed that has forked no more is wanted than what its branches have in common.
            let is_doubted = remote.contradicts && !feed.forked;
            let is_wanted = feed.length < until || is_doubted;
            (is_wanted && from < until).then_some((from, until))
        })
    }

    /// Gives a feed up, if nothing of it is on its way over this connection.
    fn release(&mut self, feed: &FeedKey, peer: &Peer) {
        let is_idle = self.remote.get(feed).is_none_or(|remote| remote.inflight.is_idle());
        let Some(shared) = self.shared.as_ref().filter(|_| is_idle) else { return };
        let mut claims = shared.board.claims.lock();
        if claims.get(feed) == Some(&peer.0.id) {
            claims.remove(feed);
            self.released = true;
        }
    }

    /// The other side does not serve a feed from `next` on: it is not asked again before it announces more.
    pub(super) fn refused(&mut self, feed: &FeedKey, next: u64, peer: &Peer) {
        if let Some(remote) = self.remote.get_mut(feed) {
            remote.inflight.request = None;
            remote.inflight.yields = true;
            remote.length = remote.length.min(next);
        }
        self.watch.touched.insert(*feed);
        if self.session.requests_open() == 0 {
            self.is_answered(peer);
        }
        self.release(feed, peer);
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
        remote.inflight.asked.0 = remote.inflight.asked.0.max(end);
        if finished {
            remote.inflight.request = None;
        }
        self.watch.touched.insert(feed);
        let wanted = !self.holders(&feed, peer).is_empty();
        let Some(shared) = self.shared.clone().filter(|_| wanted) else { return self.release(&feed, peer) };
        if let Some(remote) = self.remote.get_mut(&feed) {
            remote.inflight.storing += 1;
        }
        let bytes = cost(&blocks);
        self.unverified += bytes;
        let span = (blocks.start, end);
        shared.windowed_job(
            move |work| work.ingest(feed, &received(&blocks)),
            peer.clone(),
            move |peer, result| peer.stored(feed, span, bytes, result),
        );
    }
}

/// What blocks take while they wait for the owner thread.
pub(super) fn cost(blocks: &Blocks) -> usize {
    let held = blocks.blocks.iter().map(|block| block.len() + size_of::<Vec<u8>>()).sum::<usize>();
    held + blocks.nodes.len() * size_of::<ProofNode>() + MESSAGE_COST
}

pub(super) fn received(blocks: &Blocks) -> Received<'_> {
    Received {
        start: blocks.start,
        length: blocks.head.length,
        byte_length: blocks.head.byte_length,
        signature: blocks.head.signature,
        nodes: blocks.nodes.iter().map(|node| Node { hash: node.hash, bytes: node.bytes }).collect(),
        blocks: blocks.blocks.iter().map(Vec::as_slice).collect(),
        extending: blocks.extending > 0,
    }
}

impl Peer {
    /// The owner thread is done with what was received.
    fn stored(
        &self,
        feed: FeedKey,
        (start, end): (u64, u64),
        bytes: usize,
        result: Result<Result<(), FeedError>, Error>,
    ) {
        let outcome = match result {
            Ok(Ok(())) => Ok(Stored::Taken),
            Ok(Err(FeedError::Gap { .. })) => Ok(Stored::Gap),
            Ok(Err(FeedError::Fork(fork))) if !fork.is_exact => Ok(Stored::Contradicted),
            Ok(Err(FeedError::Forked { .. })) => Ok(Stored::Forked),
            // From that block alone the proof was made.
            Ok(Err(FeedError::Fork(fork))) if fork.by == start && end == start.saturating_add(1) => {
                Ok(Stored::Forked)
            }
            Ok(Err(FeedError::Fork(fork))) => Ok(Stored::Parted { at: fork.by }),
            Ok(Err(error @ (FeedError::Proof(_) | FeedError::Head(_)))) => {
                let doubted = self.with_state(|state, _| {
                    state.remote.get_mut(&feed).is_some_and(|remote| remote.inflight.doubt(start))
                });
                if doubted { Ok(Stored::Doubted) } else { Err(refused(&error)) }
            }
            Ok(Err(error)) => Err(refused(&error)),
            Err(error) => Err(error),
        };
        let mut goes_on = false;
        let failed = self.with_state(|state, peer| {
            let mut is_taken = false;
            let was_full = state.unverified >= MAX_UNVERIFIED;
            state.unverified -= bytes.min(state.unverified);
            goes_on = was_full && state.unverified < MAX_UNVERIFIED;
            if let Some(remote) = state.remote.get_mut(&feed) {
                remote.inflight.storing = remote.inflight.storing.saturating_sub(1);
                let inflight = &mut remote.inflight;
                match outcome {
                    Ok(Stored::Forked) => {
                        (remote.length, remote.contradicts) = (0, false);
                        inflight.parts_at = None;
                    }
                    Ok(Stored::Taken) => {
                        is_taken = true;
                        inflight.again = inflight.again.map(|again| again.max(end));
                        inflight.parts_at = None;
                        remote.contradicts = false;
                    }
                    Ok(Stored::Contradicted) => {
                        inflight.again = Some(inflight.again.map_or(end, |again| again.max(end)));
                        remote.contradicts = true;
                    }
                    Ok(Stored::Parted { at }) => {
                        (inflight.again, inflight.parts_at) = (Some(at), Some(at));
                        remote.contradicts = true;
                    }
                    Ok(Stored::Gap | Stored::Doubted) | Err(_) => {}
                }
            }
            state.watch.touched.insert(feed);
            if is_taken {
                state.note_delivered(&feed, peer);
            }
            state.release(&feed, peer);
            match outcome {
                Ok(_) => {
                    state.refresh(peer);
                    false
                }
                Err(error) => {
                    if state.shared.is_some() {
                        state.session.finish(crate::wire::CloseReason::Protocol);
                        state.fail(error);
                    }
                    true
                }
            }
        });
        if failed {
            self.leave();
        } else if goes_on {
            (self.0.wake)();
        }
        self.hand_over();
        self.tell_heard();
    }
}

fn refused(error: &FeedError) -> Error {
    Error::new(Code::Protocol, format!("the other side sent blocks that are refused: {error}"))
}

#[cfg(test)]
mod tests {
    use super::Inflight;

    #[test]
    fn a_doubted_peer_is_asked_further_and_further_back_and_a_liar_soon_no_more() {
        let mut inflight = Inflight::default();
        let mut asked = Vec::new();
        // It answers truly wherever it is asked again, and lies about what follows block 1,000.
        while inflight.doubt(1_000) {
            asked.push(inflight.again);
            assert!(inflight.doubt(1_001), "what was on its way behind the first lie says nothing new");
            inflight.again = Some(1_000);
        }
        let expected = [999, 998, 996, 992, 984, 968, 936, 872, 744, 488, 0];
        assert_eq!(asked, expected.map(Some));
    }

    #[test]
    fn doubt_upon_doubt_ends_at_block_0_whatever_the_length() {
        for length in 1..300 {
            let (mut inflight, mut start) = (Inflight::default(), length);
            while inflight.doubt(start) {
                start = inflight.again.unwrap();
            }
            assert_eq!(start, 0);
        }
    }

    #[test]
    fn a_proof_that_stands_on_nothing_of_ours_is_no_fork() {
        assert!(!Inflight::default().doubt(0));
    }
}
