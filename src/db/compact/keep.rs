//! How much of its past a database keeps: what its handles ask for.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// How much of a database's past can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All of it.
    All,
    /// So many of the latest versions, at least one: the newest is always there.
    Versions(u64),
}

impl Keep {
    /// The oldest version that is kept of those up to `newest`; none: all are.
    pub(super) fn floor(self, newest: u64) -> Option<u64> {
        match self {
            Keep::All => None,
            Keep::Versions(versions) => Some(newest.saturating_add(1).saturating_sub(versions.max(1))),
        }
    }

    fn most(self, other: Self) -> Self {
        match (self, other) {
            (Keep::Versions(one), Keep::Versions(two)) => Keep::Versions(one.max(two)),
            _ => Keep::All,
        }
    }
}

/// What each handle of a database that said so wants kept, by its number.
#[derive(Default)]
pub(in crate::db) struct Keepers {
    kept: Mutex<BTreeMap<u64, Keep>>,
    /// Trimming as it goes has met what it cannot read, and was told.
    has_failed: AtomicBool,
}

impl Keepers {
    pub fn add(&self, handle: u64, keep: Keep) {
        self.kept.lock().insert(handle, keep);
    }

    pub fn remove(&self, handle: u64) {
        self.kept.lock().remove(&handle);
    }

    /// Who keeps most decides; all is kept if nobody says anything.
    pub fn keep(&self) -> Keep {
        self.kept.lock().values().copied().reduce(Keep::most).unwrap_or(Keep::All)
    }

    /// Nothing more is trimmed with commits; true the first time.
    pub fn fail(&self) -> bool {
        !self.has_failed.swap(true, Ordering::AcqRel)
    }

    pub fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_most_decides() {
        let keepers = Keepers::default();
        assert_eq!(keepers.keep(), Keep::All);
        keepers.add(1, Keep::Versions(3));
        keepers.add(2, Keep::Versions(5));
        assert_eq!(keepers.keep(), Keep::Versions(5));
        keepers.add(3, Keep::All);
        assert_eq!(keepers.keep(), Keep::All);
        keepers.remove(3);
        keepers.remove(2);
        assert_eq!(keepers.keep(), Keep::Versions(3));
        let floor = |versions, newest| Keep::Versions(versions).floor(newest);
        assert_eq!(
            (floor(1, 7), floor(0, 7), floor(3, 7), floor(9, 7)),
            (Some(7), Some(7), Some(5), Some(0))
        );
        assert_eq!(Keep::All.floor(7), None);
    }
}
