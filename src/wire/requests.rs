//! Requests of one direction: which are open and how far each is answered. Both sides number them alike, from 0 in the
//! order they were sent.

use super::RequestId;
use super::limits::{MAX_REQUEST_BLOCKS, MAX_REQUESTS};
use super::outbox::{Outbox, Place};
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    pub alias: u64,
    /// The next block due.
    pub next: u64,
    pub end: u64,
    /// Its answers prove their blocks to who holds nothing below them.
    pub apart: bool,
}

#[derive(Debug, Default)]
pub struct Requests {
    open: BTreeMap<RequestId, Open>,
    made: u64,
    /// Where, in our outgoing bytes, the last word on each request that is over stands. Until it has left, the peer
    /// counts that request as open, and so do we: refusals cannot pile up behind a peer that does not read.
    ending: VecDeque<Place>,
}

/// Why a range of blocks does not answer a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerError {
    Unknown,
    Wrong {
        next: u64,
    },
    /// The proof stands on what came before, and nothing did.
    Incomplete,
}

pub fn is_range(start: u64, end: u64, reach: u64) -> bool {
    start < end && end <= reach && end - start <= MAX_REQUEST_BLOCKS
}

impl Requests {
    /// Whether one more may be opened.
    pub fn has_room(&mut self, outbox: &Outbox) -> bool {
        while self.ending.front().is_some_and(|place| outbox.has_left(*place)) {
            self.ending.pop_front();
        }
        self.open.len() + self.ending.len() < MAX_REQUESTS
    }

    /// Numbers a request; it is open if `open` is given.
    pub fn number(&mut self, open: Option<Open>) -> RequestId {
        let id = RequestId(self.made);
        self.made += 1;
        if let Some(open) = open {
            self.open.insert(id, open);
        }
        id
    }

    pub fn was_made(&self, id: RequestId) -> bool {
        id.0 < self.made
    }

    pub fn get(&self, id: RequestId) -> Option<&Open> {
        self.open.get(&id)
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// `count` blocks from `start`, proved to who holds the first `extending`, answer request `id`; whether they end it.
    pub fn answer(
        &mut self,
        id: RequestId,
        alias: u64,
        start: u64,
        extending: u64,
        count: usize,
    ) -> Result<bool, AnswerError> {
        let open = self.open.get_mut(&id).ok_or(AnswerError::Unknown)?;
        let end = start.saturating_add(count as u64);
        if open.alias != alias || start != open.next || end > open.end {
            return Err(AnswerError::Wrong { next: open.next });
        }
        if open.apart && extending > 0 {
            return Err(AnswerError::Incomplete);
        }
        open.next = end;
        let finished = end == open.end;
        if finished {
            self.open.remove(&id);
        }
        Ok(finished)
    }

    pub fn remove(&mut self, id: RequestId) -> Option<Open> {
        self.open.remove(&id)
    }

    /// The last word on a request of the peer's stands at `place`.
    pub fn ended_at(&mut self, place: Place) {
        self.ending.push_back(place);
    }

    /// Ends every request for a feed that is not `live`; their numbers.
    pub fn drop_dead(&mut self, live: impl Fn(u64) -> bool) -> Vec<RequestId> {
        let dead: Vec<RequestId> =
            self.open.iter().filter(|(_, open)| !live(open.alias)).map(|(id, _)| *id).collect();
        for id in &dead {
            self.open.remove(id);
        }
        dead
    }
}
