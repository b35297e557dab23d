//! What is known of the other side, feed by feed.

use super::inflight::Inflight;
use crate::db::board::PublishedFeed;
use crate::db::rows::Halt;
use std::collections::BTreeSet;

/// What the other side has of a feed.
#[expect(clippy::struct_excessive_bools, reason = "each is about one thing, independent of the others")]
#[derive(Default)]
pub(super) struct RemoteFeed {
    pub length: u64,
    /// The first half of the root it says it has there, and the longest signed length it has seen.
    pub root: [u8; 16],
    pub signed: u64,
    /// At a length that is here it says another root: it holds another branch.
    pub contradicts: bool,
    /// It was shown longer than it was here.
    pub was_ahead: bool,
    /// The length of an own feed when this peer was last asked to confirm it, plus one.
    pub asked_at: u64,
    /// The most it has announced. `length` is less where it did not give it.
    pub announced: u64,
    /// Where it refused to go on. Of a branch that may have been below where its own blocks begin.
    pub refused_from: Option<u64>,
    /// It holds another branch, which cannot be proved while so few blocks are here: only heads beyond them differ.
    pub unproved_at: Option<u64>,
    /// What it had announced when it refused a block that was asked for alone.
    pub refused_at: u64,
    /// Under this name, of which nothing signed is known here, it has sent what the name has not signed: it may be that of
    /// a branch. Nothing of it is asked for over this connection any more.
    pub is_no_key: bool,
    /// Damaged blocks that it did not give either.
    pub refused_holes: BTreeSet<u64>,
    /// Blocks that came, and that were sent.
    pub received_blocks: u64,
    pub sent_blocks: u64,
    /// How far what we have sent reaches.
    pub sent: u64,
    /// The length it was told last, on whichever topic, and whether the feed was only partly here then.
    pub told: u64,
    pub told_partly: bool,
    pub inflight: Inflight,
}

impl RemoteFeed {
    /// What was asked for under a branch's name before it was known to be one stood below where a branch begins. And what
    /// has come since may show where two branches part.
    pub fn trust_again(&mut self, here: &PublishedFeed) {
        if self.refused_from.take_if(|from| here.halt == Halt::Branch && here.length > *from).is_some() {
            self.length = self.announced;
        }
        if let Some(at) = self.unproved_at.take_if(|at| !here.forked && here.length > *at) {
            self.length = self.announced;
            self.contradicts = true;
            self.inflight.search_anew(at);
        }
    }

    /// It was told, on one topic or on all, how much of the feed is here.
    pub fn tell(&mut self, length: u64, here: &PublishedFeed) {
        self.told = length;
        self.told_partly = here.partly.is_some();
    }

    /// A topic on which it was told of the feed is over. It may open again when less is here: that is told, and what it
    /// grows by.
    pub fn untell(&mut self) {
        (self.sent, self.told, self.told_partly) = (0, 0, false);
    }

    /// It speaks of the feed no more: what it said is as if it had not. What is on its way, was counted, or is done
    /// once, stays.
    pub fn unsay(&mut self) {
        let Self { asked_at, is_no_key, received_blocks, sent_blocks, inflight, .. } = std::mem::take(self);
        let inflight = inflight.unsaid();
        *self = Self { asked_at, is_no_key, received_blocks, sent_blocks, inflight, ..Self::default() };
    }

    /// Nothing that it has tells more than is known: it is asked again once more is here, or it announces more.
    pub fn stays_unproved(&mut self, here: u64) {
        (self.length, self.contradicts) = (0, false);
        self.inflight.parts_at = None;
        self.unproved_at = Some(here);
    }

    /// What it has is asked for again: from there the place where the branches part is searched for.
    pub fn holds_another_branch(&mut self) {
        self.contradicts = true;
        self.inflight.search_anew(self.length.saturating_sub(1));
    }
}
