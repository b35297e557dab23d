//! Blocks on their way out, read from the store when the stream takes them.

use super::driver::Serving;
use super::{MAX_OUTGOING, Peer, State};
use crate::db::error::Error;
use crate::feed::{self, FeedError};
use crate::merkle::Known;
use crate::store::ReadTxn;
use crate::types::FeedKey;
use crate::wire::limits::MAX_BLOCKS_PER_MESSAGE;
use crate::wire::{Blocks, Head, ProofNode};

/// Bytes of blocks in one message: others get a turn between two of them.
const MESSAGE_BYTES: u64 = 64 << 10;

/// What became of blocks that are to be sent.
enum Served {
    All,
    /// More of them follow.
    Rest(Serving),
    /// They are an own feed's whose newest block must not leave yet.
    Waits(Serving),
}

impl State {
    /// Pushes blocks. Those that wait already are gone on with: a peer that does not read makes us remember one range of
    /// each feed.
    pub(super) fn serve_push(&mut self, feed: FeedKey, next: u64, end: u64) {
        let continued =
            |serving: &&mut Serving| serving.answer.is_none() && serving.feed == feed && serving.end == next;
        match self.serving.iter_mut().find(continued) {
            Some(serving) => serving.end = end,
            None => self.serving.push_back(Serving { answer: None, feed, next, end, apart: false }),
        }
    }

    /// Reads blocks until enough is queued, a message of each feed in turn.
    pub(super) fn fill(&mut self, wanted: usize, peer: &Peer) {
        let Some(shared) = self.shared.clone() else { return };
        if std::mem::take(&mut self.owes_lengths) {
            for id in self.topics.keys().copied().collect::<Vec<_>>() {
                // Whoever says lengths takes the news: forks among them are said first.
                self.say_forks(id, peer);
                self.say_growth(id, peer);
            }
        }
        let wanted = wanted.min(MAX_OUTGOING);
        if self.serving.is_empty() || self.session.outgoing() >= wanted {
            return;
        }
        let txn = match shared.read() {
            Ok(txn) => txn,
            Err(error) => {
                self.fail(error);
                return;
            }
        };
        let mut waiting = Vec::new();
        while self.session.outgoing() < wanted {
            let Some(serving) = self.serving.pop_front() else { break };
            match self.serve(&txn, serving) {
                Ok(Served::Rest(rest)) => self.serving.push_back(rest),
                Ok(Served::Waits(serving)) => waiting.push(serving),
                Ok(Served::All) => {}
                Err(error) => {
                    self.fail(error);
                    break;
                }
            }
        }
        self.serving.extend(waiting);
        if self.serving.is_empty() {
            self.check_synced(peer);
        }
    }

    /// Sends the next blocks; what is left of it comes back.
    fn serve(&mut self, txn: &ReadTxn, mut serving: Serving) -> Result<Served, Error> {
        let record = feed::load(txn, &serving.feed)?;
        // Whatever is sent of an own feed is proved under its newest head: that one has to have been noted as leaving.
        if record.as_ref().is_some_and(|record| record.secret.is_some() && record.left < record.complete()) {
            return Ok(Served::Waits(serving));
        }
        let served = record.as_ref().filter(|record| serving.next >= record.base());
        let Some((record, head)) =
            served.and_then(|record| Some((record, *record.served_under(serving.end)?)))
        else {
            if let Some(id) = serving.answer {
                let _ = self.session.refuse(id);
            }
            return Ok(Served::All);
        };
        let limit = serving.next.saturating_add(MAX_BLOCKS_PER_MESSAGE as u64);
        let span = (serving.next, serving.end.min(limit));
        let known = if serving.apart { Known::Nothing } else { Known::Start };
        let out = match feed::prove(txn, record, span, MESSAGE_BYTES, &head, known) {
            Ok(out) => out,
            // Damaged here: others may have it whole, and this connection serves what else there is.
            Err(FeedError::Corrupt { .. }) => {
                if let Some(id) = serving.answer {
                    let _ = self.session.refuse(id);
                }
                return Ok(Served::All);
            }
            Err(error) => return Err(error.into()),
        };
        let message = Blocks {
            answer: serving.answer,
            start: out.start,
            extending: if serving.apart { 0 } else { out.start },
            head: Head { length: head.length, byte_length: head.byte_length, signature: head.signature },
            nodes: out.nodes.iter().map(|node| ProofNode { hash: node.hash, bytes: node.bytes }).collect(),
            // Borrowed from the transaction: they are copied once, into the frame they leave in.
            blocks: out.blocks,
        };
        // Refused only when the request was given up meanwhile or the session ends.
        if self.session.send_blocks(serving.feed, &message).is_err() {
            return Ok(Served::All);
        }
        let remote = self.remote.entry(serving.feed).or_default();
        if !serving.apart {
            remote.sent = remote.sent.max(out.end);
        }
        remote.sent_blocks = remote.sent_blocks.saturating_add(message.blocks.len() as u64);
        serving.next = out.end;
        Ok(if serving.next < serving.end { Served::Rest(serving) } else { Served::All })
    }
}
