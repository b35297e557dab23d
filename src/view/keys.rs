//! The keys of an encrypted database in order. Its rows are named by hashes, so ranges go by this index of opened keys,
//! in memory: built by opening the newest row of every name, a slice at a time, when the first range is read; brought
//! forward along the log before each use; gone when the database is closed.
//!
//! The newest rows are kept opened beside the keys, up to [`MAX_ROW_BYTES`] of them: a range shows those without looking
//! for them again.
//!
//! The keys take [`MAX_BYTES`] at most. Of a database whose keys need more it holds those of a *window* of the key space,
//! all of them; a range that leaves the window builds the next one, which reads all rows again.

use super::ViewError;
use super::rows::{log_key, split_view_key, view_key};
use super::scan::Bounds;
use super::space::{Space, Stored};
use crate::store::{Read, ReadTxn, Table};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

/// What the keys of one database may take in memory: a million and more of them.
const MAX_BYTES: usize = 128 << 20;

/// What the opened rows of one database may take beside its keys: of a larger one the others are opened when they are
/// read.
const MAX_ROW_BYTES: usize = 64 << 20;

/// What a key costs beside its own bytes: its place in the tree, and what the allocator adds.
const KEY_COST: usize = 64;

/// Rows opened in one step of building, and what they may have together: keeps a step at about a millisecond.
const STEP_ROWS: usize = 512;
const STEP_BYTES: usize = 512 << 10;

/// How often they are, before the window is given up: two ranges that take turns both come on.
const PUT_OFF: u32 = 16;

/// Keys handed out at a time.
const CHUNK: usize = 64;

type Key = Arc<[u8]>;

/// A key, and its newest row's value if that is kept.
pub(super) type Found = (Key, Option<Newest>);

/// The newest row of a key: that of every version that is not before it, as far as the index has come.
#[derive(Clone)]
pub(super) struct Newest {
    pub version: u64,
    pub value: Arc<[u8]>,
}

/// Shared by all readers of a database.
pub(super) struct KeyIndex {
    held: Mutex<Held>,
    max_bytes: usize,
}

/// The next keys of a range. None and not the end: there was something else to do first; ask again.
pub(super) struct Next {
    pub found: Vec<Found>,
    pub is_end: bool,
}

#[derive(Default)]
struct Held {
    /// All keys within `from` and `to` that versions up to `version` wrote.
    keys: BTreeMap<Key, Option<Newest>>,
    bytes: usize,
    row_bytes: usize,
    from: Option<Key>,
    to: Option<Key>,
    version: u64,
    building: Building,
    /// Which end of the window is kept when not all fits.
    reverse: bool,
    /// How often ranges outside the window have been put off, since it was built, in favour of the one it was built for.
    put_off: u32,
}

#[derive(Default, PartialEq, Eq)]
enum Building {
    #[default]
    NotBegun,
    /// The name that was looked at last.
    After(Vec<u8>),
    Done,
}

impl Default for KeyIndex {
    fn default() -> Self {
        Self::with_at_most(MAX_BYTES)
    }
}

impl fmt::Debug for KeyIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyIndex(..)")
    }
}

impl KeyIndex {
    pub fn with_at_most(max_bytes: usize) -> Self {
        Self { held: Mutex::default(), max_bytes }
    }

    /// Forgets all it holds: rows that it was made from are gone.
    pub fn forget(&self) {
        *self.held.lock() = Held::default();
    }

    /// The next keys within `bounds`, of what the transaction sees and perhaps newer ones. It may narrow the bounds where
    /// it has found that no key is.
    pub fn next(&self, txn: &ReadTxn, space: &Space, bounds: &mut Bounds) -> Result<Next, ViewError> {
        let mut held = self.held.lock();
        let ask_again = Next { found: Vec::new(), is_end: false };
        if !held.is_ready(txn, space, self.max_bytes)? {
            return Ok(ask_again);
        }
        if !held.reaches(bounds) {
            held.put_off += 1;
            if held.put_off > PUT_OFF {
                held.restart(bounds);
            }
            return Ok(ask_again);
        }
        held.put_off = PUT_OFF;
        let found = held.within(bounds);
        if !found.is_empty() {
            return Ok(Next { found, is_end: false });
        }
        // Nothing more in the window: the range goes on in the next one, or ends here.
        let edge = if bounds.reverse { held.from.clone() } else { held.to.clone() };
        let Some(edge) = edge.filter(|edge| goes_beyond(bounds, edge)) else {
            return Ok(Next { found, is_end: true });
        };
        if bounds.reverse {
            bounds.to = Bound::Excluded(edge.to_vec());
        } else {
            bounds.from = Bound::Included(edge.to_vec());
        }
        Ok(ask_again)
    }

    /// Bytes that the keys take now, and how many they are.
    #[cfg(test)]
    pub fn size(&self) -> (usize, usize) {
        let held = self.held.lock();
        (held.bytes, held.keys.len())
    }
}

/// Whether keys at or beyond the edge of the window, where a range leaves it, may be within the bounds.
fn goes_beyond(bounds: &Bounds, edge: &[u8]) -> bool {
    let (from, to) = bounds.as_slices();
    if bounds.reverse {
        match from {
            Bound::Unbounded => true,
            Bound::Included(from) | Bound::Excluded(from) => from < edge,
        }
    } else {
        match to {
            Bound::Unbounded => true,
            Bound::Included(to) => edge <= to,
            Bound::Excluded(to) => edge < to,
        }
    }
}

impl Newest {
    fn size(&self) -> usize {
        self.value.len()
    }
}

impl Held {
    /// Does a step of what there is to do; true if there was nothing.
    fn is_ready(&mut self, txn: &ReadTxn, space: &Space, max_bytes: usize) -> Result<bool, ViewError> {
        let latest = latest(txn, space)?;
        if self.building != Building::Done && latest < self.version {
            // Begun by a newer transaction, which this one cannot go on for: it does not see all.
            return Ok(false);
        }
        match &self.building {
            Building::Done => {}
            Building::NotBegun => {
                self.version = latest;
                self.build(txn, space, Vec::new(), max_bytes)?;
                return Ok(false);
            }
            Building::After(name) => {
                let after = name.clone();
                self.build(txn, space, after, max_bytes)?;
                return Ok(false);
            }
        }
        if self.version >= latest {
            return Ok(true);
        }
        self.catch_up(txn, space, max_bytes)?;
        Ok(self.version >= latest && self.building == Building::Done)
    }

    /// Opens a row of each of the next names.
    fn build(
        &mut self,
        txn: &ReadTxn,
        space: &Space,
        mut after: Vec<u8>,
        max_bytes: usize,
    ) -> Result<(), ViewError> {
        let database = space.database();
        let end = view_key(database.saturating_add(1), &[], u64::MAX);
        let (mut rows, mut bytes) = (0, 0);
        loop {
            let from = view_key(database, &after, 0);
            let mut again = false;
            let from = if after.is_empty() { view_key(database, &[], u64::MAX) } else { from };
            for row in txn.range(Table::View, Bound::Excluded(&from), Bound::Excluded(&end))? {
                let (row, value) = row?;
                let name = split_view_key(row)?.0;
                if name == after {
                    // Older versions: past them with a seek.
                    again = true;
                    break;
                }
                let stored = space.open(row, value)?;
                self.insert(stored.key(name), &stored, max_bytes);
                after = name.to_vec();
                (rows, bytes) = (rows + 1, bytes + value.len());
                if rows >= STEP_ROWS || bytes >= STEP_BYTES {
                    self.building = Building::After(after);
                    return Ok(());
                }
            }
            if !again {
                self.building = Building::Done;
                return Ok(());
            }
        }
    }

    /// Takes in what was written since.
    fn catch_up(&mut self, txn: &ReadTxn, space: &Space, max_bytes: usize) -> Result<(), ViewError> {
        let (from, to) = (log_key(space.database(), self.version), log_key(space.database(), u64::MAX));
        let rows = txn.range(Table::Log, Bound::Excluded(&from), Bound::Included(&to))?;
        let mut bytes = 0;
        for row in rows.take(STEP_ROWS) {
            let (row, name) = row?;
            let version = row.last_chunk().copied().map(u64::from_be_bytes).unwrap_or_default();
            if version != self.version + 1 {
                // The log has been trimmed meanwhile: only the rows themselves know all keys.
                *self = Self::default();
                return Ok(());
            }
            if let Some(stored) = space.by_name(txn, name, Some(version))? {
                bytes += stored.value().len();
                self.insert(stored.key(name), &stored, max_bytes);
            }
            self.version = version;
            if bytes >= STEP_BYTES {
                break;
            }
        }
        Ok(())
    }

    fn covers(&self, key: &[u8]) -> bool {
        self.from.as_deref().is_none_or(|from| from <= key) && self.to.as_deref().is_none_or(|to| key < to)
    }

    fn insert(&mut self, key: &[u8], row: &Stored<'_>, max_bytes: usize) {
        if !self.covers(key) {
            return;
        }
        let newest = Newest { version: row.version, value: row.value().into() };
        let fits = self.row_bytes.saturating_add(newest.value.len()) <= MAX_ROW_BYTES;
        let newest = fits.then_some(newest);
        self.row_bytes += newest.as_ref().map_or(0, Newest::size);
        match self.keys.entry(key.into()) {
            Entry::Occupied(mut held) => {
                let before = held.insert(newest);
                self.let_go(before.as_ref());
                return;
            }
            Entry::Vacant(place) => {
                place.insert(newest);
            }
        }
        self.bytes += key.len() + KEY_COST;
        while self.bytes > max_bytes && self.keys.len() > 1 {
            // The window gives way at the end that the range comes to last.
            let gone = if self.reverse { self.keys.pop_first() } else { self.keys.pop_last() };
            let Some((gone, newest)) = gone else { return };
            self.let_go(newest.as_ref());
            self.bytes = self.bytes.saturating_sub(gone.len() + KEY_COST);
            if self.reverse {
                // What follows it directly is the first that is still covered.
                self.from = Some([&gone, &[0][..]].concat().into());
            } else {
                self.to = Some(gone);
            }
        }
    }

    fn let_go(&mut self, row: Option<&Newest>) {
        self.row_bytes = self.row_bytes.saturating_sub(row.map_or(0, Newest::size));
    }

    /// Whether the key at which the range begins, and what follows it there, is in the window.
    fn reaches(&self, bounds: &Bounds) -> bool {
        let (from, to) = bounds.as_slices();
        let (low, high) = (self.from.as_deref(), self.to.as_deref());
        if bounds.reverse {
            match to {
                Bound::Unbounded => high.is_none(),
                Bound::Included(key) => {
                    high.is_none_or(|high| key < high) && low.is_none_or(|low| low <= key)
                }
                Bound::Excluded(key) => {
                    high.is_none_or(|high| key <= high) && low.is_none_or(|low| low < key)
                }
            }
        } else {
            match from {
                Bound::Unbounded => low.is_none(),
                Bound::Included(key) | Bound::Excluded(key) => {
                    low.is_none_or(|low| low <= key) && high.is_none_or(|high| key < high)
                }
            }
        }
    }

    /// Begins a window where the range is.
    fn restart(&mut self, bounds: &Bounds) {
        let mut window = Self { reverse: bounds.reverse, ..Self::default() };
        if bounds.reverse {
            window.to = match &bounds.to {
                Bound::Unbounded => None,
                Bound::Included(key) => Some([key, &[0][..]].concat().into()),
                Bound::Excluded(key) => Some(key.as_slice().into()),
            };
        } else {
            window.from = match &bounds.from {
                Bound::Unbounded => None,
                Bound::Included(key) | Bound::Excluded(key) => Some(key.as_slice().into()),
            };
        }
        *self = window;
    }

    fn within(&self, bounds: &Bounds) -> Vec<Found> {
        let (from, to) = bounds.as_slices();
        if is_empty(from, to) {
            return Vec::new();
        }
        let range = self.keys.range::<[u8], _>((from, to));
        if bounds.reverse {
            range.rev().take(CHUNK).map(|(key, newest)| (Key::clone(key), newest.clone())).collect()
        } else {
            range.take(CHUNK).map(|(key, newest)| (Key::clone(key), newest.clone())).collect()
        }
    }
}

/// Whether no key can be within; the tree's own ranges refuse such bounds.
fn is_empty(from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
    match (from, to) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
            from >= to
        }
    }
}

/// The newest version that the transaction sees.
fn latest(txn: &ReadTxn, space: &Space) -> Result<u64, ViewError> {
    let (from, to) = (log_key(space.database(), 0), log_key(space.database(), u64::MAX));
    let row = txn.last(Table::Log, Bound::Included(&from), Bound::Included(&to))?;
    let version = |(row, _): (&[u8], &[u8])| row.last_chunk().copied().map(u64::from_be_bytes);
    Ok(row.and_then(version).unwrap_or_default())
}

#[cfg(test)]
mod tests;
