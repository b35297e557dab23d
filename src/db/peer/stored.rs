//! What becomes of blocks that have come: the owner thread verifies and stores them, and what that says of the other side
//! and of where two branches part.

use super::{MAX_UNVERIFIED, MESSAGE_COST, Peer};
use crate::db::error::{Code, Error};
use crate::db::store::Shared;
use crate::db::windows::Arrived;
use crate::feed::{FeedError, Received};
use crate::merkle::Node;
use crate::types::FeedKey;
use crate::wire::{Blocks, CloseReason, ProofNode};
use std::sync::Arc;

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
                if doubted { Ok(Stored::Doubted) } else { Err((CloseReason::Protocol, refused(&error))) }
            }
            Ok(Err(error)) => Err((CloseReason::Protocol, refused(&error))),
            // Ours, and not the sender's doing.
            Err(error) => Err((CloseReason::ShuttingDown, error)),
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
                Err((reason, error)) => {
                    if state.shared.is_some() {
                        state.session.finish(reason);
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
