//! **What.** How a feed is fetched over several connections at once: each is asked for *windows*, ranges of blocks, that are
//! larger the more it brings; what comes before its turn waits until what is before it has come.
//!
//! **Owns.** For each feed that is being fetched: what is asked of whom, and what has come too early. In memory only.
//!
//! **Invariants.** 1. Windows, and what waits, do not overlap: no block is asked of two connections, but the rest of one
//! window of a connection that holds up the others. 2. Nothing is asked for more than [`MAX_AHEAD`] bytes (as far as they
//! can be known) ahead of what is here. 3. No clock: connections are compared by what all of them have brought meanwhile.
//!
//! **Not here.** Which feeds are wanted and how far (`peer/fetch`); verification (`feed`).

use super::peer::Peer;
use crate::wire::Blocks;
use crate::wire::limits::MAX_REQUEST_BLOCKS;
use std::collections::BTreeMap;

/// Windows asked of one connection at a time, of one feed: the second is on its way while the first comes.
pub(super) const MAX_WINDOWS: usize = 2;

/// Bytes of the first window asked of a connection, of which nothing is known yet.
const FIRST_WINDOW: u64 = 512 << 10;

/// Blocks of it while it is not known how large they are.
const FIRST_BLOCKS: u64 = 32;

/// The least bytes of a window: about a message.
const MIN_WINDOW: u64 = 64 << 10;

/// Bytes of the connections' windows together, about: each gets its share. Twice that is less than [`MAX_AHEAD`].
const ALL_WINDOWS: u64 = 2 << 20;

/// What all bring while a window is open, from which on it is late.
const LATE: u64 = 2 << 20;

/// Bytes asked for ahead of what is here. Less than a connection may hold unstored (`MAX_UNVERIFIED`), so that what waits
/// never keeps a connection from bringing what is waited for.
const MAX_AHEAD: u64 = 6 << 20;

/// A message that has come, with all that is needed to store it.
pub(super) struct Arrived {
    pub peer: Peer,
    pub blocks: Blocks,
    pub end: u64,
    pub bytes: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Window {
    holder: u64,
    /// What has not come of it.
    start: u64,
    end: u64,
    /// Bytes that its holder had brought of the feed, and all together, when it was asked for.
    asked_at: (u64, u64),
}

/// What a connection brings of a feed.
#[derive(Default)]
struct Share {
    brought: u64,
    /// Bytes of its next window; 0: nothing is known yet.
    window: u64,
    /// It held up the others: it is asked for nothing while they are at it.
    is_passed_over: bool,
}

/// What is going on with a feed.
#[derive(Default)]
pub(super) struct Fetching {
    /// Only this connection is at it: it looks for where two branches part.
    alone: Option<u64>,
    /// By their starts.
    windows: Vec<Window>,
    held: BTreeMap<u64, Arrived>,
    /// Blocks below are with the owner thread.
    reached: u64,
    /// Messages that the owner thread has.
    storing: u32,
    shares: BTreeMap<u64, Share>,
    /// Bytes that have come.
    came: u64,
    /// Bytes of a block, on average.
    block_bytes: u64,
    /// A connection was told that there is nothing to ask for now.
    waiting: bool,
}

/// What a connection may ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Window(u64, u64),
    /// It has what it can have for now.
    Enough,
    /// Others are at it, or have to bring first what is before it.
    Others,
}

impl Fetching {
    /// The next window for a connection. `here`: how long the feed is here; `until`: what the connection has of it, as far as
    /// it is wanted.
    pub fn next(&mut self, peer: u64, here: u64, until: u64) -> Next {
        if self.alone.is_some_and(|alone| alone != peer) {
            self.waiting = true;
            return Next::Others;
        }
        let own = self.windows.iter().filter(|window| window.holder == peer).count();
        // Who has brought nothing yet is asked for one.
        let has_brought = self.shares.get(&peer).is_some_and(|share| share.brought > 0);
        if own >= if has_brought { MAX_WINDOWS } else { 1 } {
            return Next::Enough;
        }
        let here = here.max(self.reached);
        let is_another_at_it = self.windows.len() > own;
        if is_another_at_it && self.shares.get(&peer).is_some_and(|share| share.is_passed_over) {
            self.waiting = true;
            return Next::Others;
        }
        let Some((start, end)) = self.gap(here, until) else {
            self.waiting = true;
            return Next::Others;
        };
        let block_bytes = self.block_bytes.max(1);
        if (start - here).saturating_mul(block_bytes) >= MAX_AHEAD && is_another_at_it {
            // Who has nothing to do for somebody else's slowness goes on with what that one was asked for.
            return if own == 0 { self.pass_over(peer, until) } else { Next::Enough };
        }
        let share = self.shares.entry(peer).or_default();
        let bytes = if share.window == 0 { FIRST_WINDOW } else { share.window };
        let mut blocks = if self.block_bytes == 0 { FIRST_BLOCKS } else { bytes / block_bytes };
        if is_another_at_it {
            // Towards the end windows get smaller, so that nobody is waited for long.
            let rest = (until - start) / (2 * (1 + self.holders()));
            blocks = blocks.min(rest.max(MIN_WINDOW / block_bytes));
        }
        let end = end.min(start.saturating_add(blocks.clamp(1, MAX_REQUEST_BLOCKS)));
        self.ask(peer, start, end);
        Next::Window(start, end)
    }

    fn ask(&mut self, peer: u64, start: u64, end: u64) {
        let asked_at = (self.shares.entry(peer).or_default().brought, self.came);
        let at = self.windows.partition_point(|window| window.start < start);
        self.windows.insert(at, Window { holder: peer, start, end, asked_at });
    }

    /// Connections that are asked for something.
    fn holders(&self) -> u64 {
        let holders: std::collections::BTreeSet<u64> =
            self.windows.iter().map(|window| window.holder).collect();
        holders.len() as u64
    }

    /// The first blocks that are neither here, nor asked for, nor waiting.
    fn gap(&self, here: u64, until: u64) -> Option<(u64, u64)> {
        let windows = self.windows.iter().map(|window| (window.start, window.end));
        let held = self.held.iter().map(|(start, held)| (*start, held.end));
        let mut taken: Vec<(u64, u64)> = windows.chain(held).collect();
        taken.sort_unstable();
        let mut from = here;
        for (start, end) in taken {
            if start > from {
                return (from < until).then_some((from, start.min(until)));
            }
            from = from.max(end);
        }
        (from < until).then_some((from, until))
    }

    /// Takes the rest of the first window from its holder.
    fn pass_over(&mut self, peer: u64, until: u64) -> Next {
        let is_late = |first: &Window| self.came.saturating_sub(first.asked_at.1) >= LATE;
        let is_other = |first: &Window| first.holder != peer && first.start < until;
        let first = self.windows.first().filter(|first| is_other(first) && is_late(first));
        let Some((holder, start, end)) = first.map(|first| (first.holder, first.start, first.end)) else {
            self.waiting = true;
            return Next::Others;
        };
        self.windows.remove(0);
        self.shares.entry(holder).or_default().is_passed_over = true;
        // What it has not of it is asked of others, or of the holder again.
        let end = end.min(until);
        self.ask(peer, start, end);
        Next::Window(start, end)
    }

    /// A connection has kept others waiting for too long, though something comes now and then: they are asked for the rest.
    pub fn pass_by(&mut self, peer: u64) -> bool {
        let before = self.windows.len();
        if self.waiting {
            self.windows.retain(|window| window.holder != peer);
        }
        let is_passed = self.windows.len() < before;
        if is_passed {
            self.shares.entry(peer).or_default().is_passed_over = true;
            self.waiting = false;
        }
        is_passed
    }

    /// A connection looks for where two branches part, if no other is at the feed.
    pub fn begin_alone(&mut self, peer: u64) -> bool {
        let is_free = self.alone.is_none_or(|alone| alone == peer) && self.windows.is_empty();
        if is_free {
            self.alone = Some(peer);
        } else {
            self.waiting = true;
        }
        is_free
    }

    pub fn is_another(&self, peer: u64) -> bool {
        self.alone.is_some_and(|alone| alone != peer)
            || self.windows.iter().any(|window| window.holder != peer)
    }

    /// Something has come. What can be stored now is handed out, in order. The second: whether it was asked for, and is
    /// still. `may_wait`: not from who is searched for another branch: nothing would come before it.
    pub fn arrived(&mut self, here: u64, arrived: Arrived, may_wait: bool) -> (Vec<Arrived>, bool) {
        let (start, end, peer) = (arrived.blocks.start, arrived.end, arrived.peer.id());
        let head = &arrived.blocks.head;
        self.block_bytes = (head.byte_length / head.length.max(1)).clamp(1, u64::from(u32::MAX));
        self.came = self.came.saturating_add(arrived.bytes as u64);
        let share = self.shares.entry(peer).or_default();
        share.brought = share.brought.saturating_add(arrived.bytes as u64);
        let is_its = self.progress(peer, start, end);
        let is_wanted = is_its || arrived.blocks.answer.is_none() || self.alone == Some(peer);
        let reached = here.max(self.reached);
        let is_early = start > reached && !(self.windows.is_empty() && self.held.is_empty());
        let mut ready = Vec::new();
        if is_early && may_wait && self.alone.is_none() && !self.held.contains_key(&start) {
            self.held.insert(start, arrived);
        } else {
            if start <= reached {
                self.reached = reached.max(end);
            }
            ready.push(arrived);
        }
        while let Some(first) = self.held.first_entry()
            && *first.key() <= self.reached.max(here)
        {
            let next = first.remove();
            self.reached = self.reached.max(next.end);
            ready.push(next);
        }
        self.storing += u32::try_from(ready.len()).unwrap_or(0);
        (ready, is_wanted)
    }

    /// Counts blocks off the window they were asked for in; what that took says how large the next one is.
    fn progress(&mut self, peer: u64, start: u64, end: u64) -> bool {
        let its = |window: &Window| window.holder == peer && window.start == start && end <= window.end;
        let Some(at) = self.windows.iter().position(its) else { return false };
        let Some(window) = self.windows.get_mut(at) else { return false };
        window.start = end;
        if window.start < window.end {
            return true;
        }
        let (brought, came) = window.asked_at;
        self.windows.remove(at);
        if let Some(share) = self.shares.get_mut(&peer) {
            let own = share.brought.saturating_sub(brought).max(1);
            let all = self.came.saturating_sub(came).max(own);
            share.window = (ALL_WINDOWS.saturating_mul(own) / all).clamp(MIN_WINDOW, ALL_WINDOWS);
            share.is_passed_over = false;
        }
        true
    }

    /// The owner thread is done with a message.
    pub fn stored(&mut self) {
        self.storing = self.storing.saturating_sub(1);
        if self.storing == 0 {
            // From here on what is here says it.
            self.reached = 0;
        }
    }

    /// The owner thread did not take something: what is here says how far it is, and what waits is looked at as it is.
    pub fn start_over(&mut self) -> Vec<Arrived> {
        self.reached = 0;
        self.flush()
    }

    /// All that waits is handed out, to be looked at as it is.
    pub fn flush(&mut self) -> Vec<Arrived> {
        let held: Vec<Arrived> = std::mem::take(&mut self.held).into_values().collect();
        self.storing += u32::try_from(held.len()).unwrap_or(0);
        held
    }

    /// What waits for what nobody is asked for.
    pub fn flush_stranded(&mut self) -> Vec<Arrived> {
        let is_stranded = self.windows.is_empty() && self.storing == 0 && !self.held.is_empty();
        if is_stranded { self.flush() } else { Vec::new() }
    }

    /// A connection is over, silent, or refuses: others may be asked for what it was. True if it was asked for something.
    pub fn give_up(&mut self, peer: u64) -> bool {
        let before = self.windows.len();
        self.windows.retain(|window| window.holder != peer);
        let was_alone = self.alone.take_if(|alone| *alone == peer).is_some();
        was_alone || self.windows.len() < before
    }

    /// A connection is off the board: what it brought ahead of its turn does not outlive it, or who comes and goes could
    /// fill the memory.
    pub fn leave(&mut self, peer: u64) {
        self.give_up(peer);
        self.held.retain(|_, held| held.peer.id() != peer);
        self.shares.remove(&peer);
    }

    /// Whether connections that were told to wait may look again.
    pub fn take_waiting(&mut self) -> bool {
        std::mem::take(&mut self.waiting)
    }

    pub fn is_over(&self) -> bool {
        self.alone.is_none() && self.windows.is_empty() && self.held.is_empty() && self.storing == 0
    }
}

#[cfg(test)]
mod tests;
