//! **What.** The hybrid logical clock of one store: uhlc's, made pure. The wall clock is an argument of every call.
//!
//! **Owns.** The greatest timestamp issued, restored or followed. The engine persists it ([`Clock::last`]) in the
//! transaction of what it stamped.
//!
//! **Invariants.** 1. `tick` returns more than everything issued, restored or followed before, whatever the wall
//! clock does; only at the very end of NTP64 (2106) it repeats `u64::MAX`, where effective timestamps go on by ticks.
//! 2. A timestamp more than `max_drift` ahead of the **wall clock** is not followed (measured against the logical
//! clock, peers could drag it on in small steps). 3. No input panics or wraps.
//!
//! **Not here.** Effective timestamps (`causal`): they accept every timestamp, drifting or not, for all replicas alike.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU128;
use std::time::Duration;

use uhlc::{HLC, HLCBuilder, ID, NTP64, Timestamp};

#[cfg(test)]
mod tests;

/// From here on uhlc is not asked any more: its additions are unchecked, and it may stand one past what it was shown.
const CEILING: u64 = u64::MAX - 2;

thread_local! {
    /// uhlc takes its wall clock as a bare `fn`, which can carry no value: what it shall read is laid here first.
    static WALL: Cell<u64> = const { Cell::new(0) };
}

fn wall() -> NTP64 {
    NTP64(WALL.with(Cell::get))
}

fn at<T>(now: u64, ask: impl FnOnce() -> T) -> T {
    WALL.with(|cell| cell.set(now));
    ask()
}

/// A timestamp so far ahead of this machine's wall clock that the clock does not follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the timestamp is {ahead:?} ahead of the wall clock, more than maxDrift allows")]
pub struct Drift {
    pub ahead: Duration,
}

pub struct Clock {
    hlc: HLC,
    id: ID,
    /// uhlc stands at this or one past it (below [`CEILING`]); it has no getter of its own.
    last: u64,
}

impl Clock {
    /// `id` tells apart the clocks of one machine in uhlc; it enters no timestamp of ours (the writer's key does).
    pub fn new(id: [u8; 16]) -> Self {
        // uhlc has no id of zeros.
        let id = ID::from(NonZeroU128::new(u128::from_le_bytes(id)).unwrap_or(NonZeroU128::MIN));
        // uhlc's own rejection, set out of the way: drift is judged in `observe`.
        let delta = Duration::new(u32::MAX.into(), 999_999_999);
        let hlc = HLCBuilder::new().with_id(id).with_clock(wall).with_max_delta(delta).build();
        Self { hlc, id, last: 0 }
    }

    /// The timestamp (NTP64) of the next batch; `now` is the wall clock (NTP64).
    #[must_use]
    pub fn tick(&mut self, now: u64) -> u64 {
        self.last = if self.last >= CEILING {
            self.last.saturating_add(1)
        } else {
            at(now, || self.hlc.new_timestamp().get_time().as_u64())
        };
        self.last
    }

    /// Goes on after what was persisted, however far ahead of the wall clock that is.
    pub fn restore(&mut self, last: u64) {
        self.follow(last);
    }

    /// Takes notice of a timestamp received. `Err`: it was not followed; nothing else is wrong with it.
    pub fn observe(&mut self, timestamp: u64, now: u64, max_drift: Duration) -> Result<(), Drift> {
        if timestamp > now.saturating_add(ntp64(max_drift)) {
            return Err(Drift { ahead: NTP64(timestamp - now).to_duration() });
        }
        self.follow(timestamp);
        Ok(())
    }

    /// The greatest timestamp issued, restored or followed; 0 before the first.
    pub fn last(&self) -> u64 {
        self.last
    }

    fn follow(&mut self, timestamp: u64) {
        // Showing uhlc what it has already passed would still move it on by one: a peer repeating itself could run it up.
        if timestamp <= self.last {
            return;
        }
        self.last = timestamp;
        if timestamp < CEILING {
            // With the wall clock at the timestamp itself nothing is ever "too far ahead", even after years of stepping back.
            let shown = Timestamp::new(NTP64(timestamp), self.id);
            let followed = at(timestamp, || self.hlc.update_with_timestamp(&shown));
            debug_assert!(followed.is_ok(), "a timestamp is within any delta of itself");
        }
    }
}

/// The writer's state is copied when a transaction begins and swapped in after it commits.
impl Clone for Clock {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.id.to_le_bytes());
        copy.restore(self.last);
        copy
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("last", &self.last).finish_non_exhaustive()
    }
}

/// A duration since 1970 (or any duration) as NTP64: seconds in the upper 32 bits, binary fraction below. What does
/// not fit (after 2106) is `u64::MAX`; uhlc's own conversion panics there.
pub fn ntp64(duration: Duration) -> u64 {
    match u32::try_from(duration.as_secs()) {
        Ok(seconds) => NTP64::from(Duration::new(seconds.into(), duration.subsec_nanos())).as_u64(),
        Err(_) => u64::MAX,
    }
}

/// An NTP64 timestamp in milliseconds since 1970, rounded down.
pub fn milliseconds(timestamp: u64) -> u64 {
    (timestamp >> 32) * 1_000 + (((timestamp & u64::from(u32::MAX)) * 1_000) >> 32)
}
