//! Versions that somebody reads: no floor passes them.

use crate::fault::{self, Fault};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Of one open database.
#[derive(Default)]
pub(in crate::db) struct Pins(Mutex<Held>);

#[derive(Default)]
struct Held {
    /// How many hold each version.
    pinned: BTreeMap<u64, usize>,
    /// What a transaction has taken for the floor, committed or not: nothing below it is given out any more.
    floor: u64,
}

/// Keeps a version, and all after it, readable until it is dropped.
pub(in crate::db) struct Pin {
    pins: Arc<Pins>,
    version: u64,
}

impl Held {
    fn lowest(&self) -> Option<u64> {
        let lowest = self.pinned.keys().next().copied();
        lowest.filter(|_| !fault::is(Fault::PinIgnored))
    }
}

impl Pins {
    /// Pins a version; none: it is given up already. Version 0, the empty view, is always there; what came after it may
    /// be gone.
    pub fn hold(self: &Arc<Self>, version: u64) -> Option<Pin> {
        let mut held = self.0.lock();
        if version != 0 && version < held.floor {
            return None;
        }
        *held.pinned.entry(version).or_default() += 1;
        Some(Pin { pins: Arc::clone(self), version })
    }

    /// The lowest that is pinned.
    pub fn lowest(&self) -> Option<u64> {
        self.0.lock().lowest()
    }

    /// Makes `to` the floor, or the lowest that is pinned if that is less.
    pub fn raise(&self, to: u64) -> u64 {
        let mut held = self.0.lock();
        let to = held.lowest().map_or(to, |lowest| to.min(lowest));
        held.floor = held.floor.max(to);
        to
    }

    fn release(&self, version: u64) {
        let mut held = self.0.lock();
        if let Some(count) = held.pinned.get_mut(&version) {
            *count -= 1;
            if *count == 0 {
                held.pinned.remove(&version);
            }
        }
    }
}

impl Pin {
    /// Nothing below `version` is read any more; never goes back.
    pub fn advance(&mut self, version: u64) {
        if version > self.version
            && let Some(pin) = self.pins.hold(version)
        {
            *self = pin;
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.pins.release(self.version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i4_no_floor_passes_a_pin_and_no_pin_is_given_below_a_floor() {
        let pins = Arc::new(Pins::default());
        let (five, also, nine) = (pins.hold(5), pins.hold(5), pins.hold(9));
        assert_eq!((pins.raise(12), pins.lowest()), (5, Some(5)));
        drop(five);
        assert_eq!(pins.raise(12), 5);
        drop(also);
        assert_eq!(pins.raise(12), 9);
        assert!(pins.hold(8).is_none());
        let mut nine = nine.unwrap();
        nine.advance(11);
        assert_eq!((pins.raise(12), pins.lowest()), (11, Some(11)));
        drop(nine);
        assert_eq!((pins.raise(12), pins.lowest()), (12, None));
        assert!(pins.hold(11).is_none());
        // The empty view is always there, and what comes after it stays too.
        let empty = pins.hold(0).unwrap();
        assert_eq!(pins.raise(13), 0);
        drop(empty);
        assert_eq!(pins.raise(13), 13);
    }
}
