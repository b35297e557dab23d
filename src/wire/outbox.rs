//! Messages waiting to leave, in order, and how much of them has left.

use std::collections::VecDeque;

/// A place in the outgoing byte stream, counted from its begin.
pub type Place = u64;

/// Frames for which room is kept while none waits: what a burst needed is not held for as long as the connection lasts.
const IDLE_FRAMES: usize = 16;

#[derive(Debug, Default)]
pub struct Outbox {
    frames: VecDeque<Vec<u8>>,
    /// Bytes of the first frame that have left.
    offset: usize,
    waiting: usize,
    left: Place,
}

impl Outbox {
    /// Queues a frame and says where it ends.
    pub fn push(&mut self, frame: Vec<u8>) -> Place {
        self.waiting += frame.len();
        self.frames.push_back(frame);
        self.left + self.waiting as u64
    }

    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether everything before `place` has left.
    pub fn has_left(&self, place: Place) -> bool {
        self.left >= place
    }

    /// Takes up to `max` bytes.
    pub fn take(&mut self, max: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(max.min(self.waiting));
        while out.len() < max {
            let Some(frame) = self.frames.front() else { break };
            let rest = frame.get(self.offset..).unwrap_or_default();
            let room = max - out.len();
            if let Some(part) = rest.get(..room).filter(|part| part.len() < rest.len()) {
                out.extend_from_slice(part);
                self.offset += room;
            } else {
                out.extend_from_slice(rest);
                self.offset = 0;
                self.frames.pop_front();
            }
        }
        if self.frames.is_empty() {
            self.frames.shrink_to(IDLE_FRAMES);
        }
        self.waiting -= out.len();
        self.left += out.len() as u64;
        out
    }

    /// Drops what has not begun to leave. The very first frame, the Hello, stays.
    pub fn discard(&mut self) {
        let keep = usize::from(self.offset > 0 || self.left == 0);
        self.frames.truncate(keep);
        self.waiting = self.frames.iter().map(Vec::len).sum::<usize>().saturating_sub(self.offset);
    }
}
