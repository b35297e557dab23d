//! What is asked for, and what becomes of what arrives.

use super::{MAX_UNVERIFIED, MESSAGE_COST, Peer, State};
use crate::db::error::{Code, Error};
use crate::db::store::Shared;
use crate::db::windows::{Arrived, Fetching, Next};
use crate::feed::{self, FeedError, Received};
use crate::merkle::Node;
use crate::types::FeedKey;
use crate::wire::limits::{MAX_REQUEST_BLOCKS, MAX_REQUESTS};
use crate::wire::{Blocks, FeedState, ProofNode, RequestId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An open request.
struct Asked {
    /// What of it has not come: from, to (exclusive).
    rest: (u64, u64),
    /// It was given up: another connection brings it.
    is_cancelled: bool,
    /// The tick in which it was asked for.
    since: u32,
}

/// What may be asked for.
enum Wanted {
    /// What is here or not, alone: the place is searched for in which two branches part.
    Search { from: u64, until: u64 },
    /// What is not here, a part of it.
    More { here: u64, until: u64 },
}

/// What was asked of a feed over this connection and is not stored yet.
#[derive(Default)]
pub(super) struct Inflight {
    requests: BTreeMap<RequestId, Asked>,
    /// The tick in which it was asked for, or something of it last came.
    pub(super) asked_at: u32,
    /// It was refused: others may ask first whoever has it.
    pub(super) yields: bool,
    /// Messages whose blocks wait for what is before them, or for the owner thread.
    storing: u32,
    /// Where the next request begins instead of at the end of what is here.
    pub(super) again: Option<u64>,
    /// How far back the last request went whose answer was doubted. It doubles, so that a liar is soon found out.
    back: u64,
    /// A doubted answer was followed by a request from block 0 on.
    was_asked_all: bool,
    /// The block in which two branches part, which alone with its proof shows that to others too.
    pub(super) parts_at: Option<u64>,
}

impl Inflight {
    /// What was asked for and has not come.
    pub fn asked(&self) -> Option<(u64, u64)> {
        let rests = || self.requests.values().map(|asked| asked.rest);
        Some((rests().map(|(from, _)| from).min()?, rests().map(|(_, to)| to).max()?))
    }

    pub fn is_asked(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Whether something has been asked for since a tick, or longer.
    pub fn is_asked_since(&self, tick: u32) -> bool {
        self.requests.values().any(|asked| asked.since <= tick)
    }

    /// What was asked for is as if it had been asked for now.
    pub fn ask_anew(&mut self, tick: u32) {
        self.requests.values_mut().for_each(|asked| asked.since = tick);
    }

    /// The search for the place where two branches part is over.
    pub fn unsaid(self) -> Self {
        Self { again: None, parts_at: None, back: 0, was_asked_all: false, ..self }
    }

    pub fn is_storing(&self) -> bool {
        self.storing > 0
    }

    fn is_idle(&self) -> bool {
        self.requests.is_empty() && self.storing == 0
    }

    /// What is here has grown: the place where two branches part is searched for anew, from `from` on.
    pub fn search_anew(&mut self, from: u64) {
        (self.again, self.back, self.was_asked_all) = (Some(from), 0, false);
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
    /// That is proved, or it is a third history: of this feed nothing more is asked here. Or it cannot be proved yet.
    Forked,
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
    fn start_over(&self, feed: &FeedKey) {
        let Some(shared) = &self.shared else { return };
        let flushed = shared.board.claims.lock().get_mut(feed).map(Fetching::start_over);
        submit(shared, *feed, flushed.unwrap_or_default());
    }

    /// Ends a search, if nothing of the feed is on its way over this connection; others that wait look again.
    fn release(&mut self, feed: &FeedKey, peer: &Peer) {
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

/// Hands what has come to the owner thread.
pub(super) fn submit(shared: &Arc<Shared>, feed: FeedKey, ready: Vec<Arrived>) {
    for Arrived { peer, blocks, end, bytes } in ready {
        let span = (blocks.start, end);
        let store = Arc::downgrade(shared);
        shared.windowed_job(
            move |work| work.ingest(feed, &received(&blocks)),
            peer,
            move |peer, result| {
                // Also where the connection is over by now.
                let waiting =
                    store.upgrade().filter(|shared| note_stored(shared, &feed, matches!(result, Ok(Ok(())))));
                peer.stored(feed, span, bytes, result);
                if let Some(shared) = waiting {
                    peer.let_others_look(&shared);
                }
            },
        );
    }
}

/// What waited for blocks that were not taken is looked at as it is. True: so must the connections be that were told to
/// wait for them, for nothing is published that would make them look.
fn note_stored(shared: &Arc<Shared>, feed: &FeedKey, was_taken: bool) -> bool {
    let mut claims = shared.board.claims.lock();
    let Some(fetching) = claims.get_mut(feed) else { return false };
    fetching.stored();
    if was_taken {
        return false;
    }
    let (flushed, is_waited_for) = (fetching.start_over(), fetching.take_waiting());
    if fetching.is_over() {
        claims.remove(feed);
    }
    drop(claims);
    submit(shared, *feed, flushed);
    is_waited_for
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
            let here = state.here(&feed, peer).map_or(0, |here| here.length);
            if let Some(remote) = state.remote.get_mut(&feed) {
                remote.inflight.storing = remote.inflight.storing.saturating_sub(1);
                let inflight = &mut remote.inflight;
                match outcome {
                    Ok(Stored::Forked) => remote.stays_unproved(here),
                    // All that is here fits, and asking for more would bring the same again.
                    Ok(Stored::Contradicted) if start >= here => remote.stays_unproved(start),
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
            } else {
                state.start_over(&feed);
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
    fn a_search_that_proved_nothing_begins_anew_when_more_is_here() {
        let mut inflight = Inflight::default();
        while inflight.doubt(6) {
            inflight.again = Some(6);
        }
        inflight.search_anew(6);
        assert!(inflight.doubt(6), "a fork that could not be proved yet is no lie");
        assert_eq!(inflight.again, Some(5));
    }

    #[test]
    fn a_proof_that_stands_on_nothing_of_ours_is_no_fork() {
        assert!(!Inflight::default().doubt(0));
    }
}
