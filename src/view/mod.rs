//! **What.** The view: the sorted key-value state, every version of it, and the diff index it is folded from.
//!
//! **Owns.** Tables `View` (key, newest version first, to fold state), `Log` (version to key), `Diffs` (key and linear
//! position to where the diff stands in its feed), `Hashes`.
//!
//! **Invariants.** 1. The newest row of a key is the fold of exactly the key's rows in `Diffs`, in linear order; a key
//! without a row has no live value, and that fold says so too. 2. A version is given once: rows are added under new versions and never changed. 3. `Log` has one row per version, from the
//! oldest that can be read on; below it nothing is answered.
//! 4. A row is a *valid base* for a diff that sorts after its last one if no diff that sorts at or before its last one
//! was merged, or taken out, after it; each row keeps the lowest position merged in making it (`low`), which is how
//! this is found out without reading the index. 5. Rows are sealed and opened in `space.rs` only; no row of an encrypted
//! database shows a key or a value.
//!
//! **Not here.** What folding means (`crdt`), which diffs count (`causal`), when to merge (`db`).

mod base;
mod check;
mod compare;
mod diffs;
mod handled;
mod hash;
mod keys;
mod merge;
mod rows;
mod scan;
mod space;
mod sweep;
mod trim;
mod whole;

pub use base::{find_again, find_base};
pub use check::{KeyFlaw, check_folds, check_log, check_row, count_indexed, hash_anew, is_indexed};
pub use compare::{CompareCursor, Compared};
pub use diffs::{DiffCursor, DiffKeys, DiffPlace, diff_at, diff_positions};
pub use handled::{Base, Named, base_of, changes_after, index, keys_from, put_row, remerge};
pub use hash::{LatticeHash, advance, keep_hash, kept_hash};
pub use merge::{Added, Merged, Removed, Writers, change_of, latest_changes, merge, state_now};
pub use rows::{Row, log_key, newest, put_position, read_position};
pub use scan::{Bounds, HistoryCursor, HistoryRow, ScanCursor, ScanRow, Seen};
pub use space::{Opened, Space, Stored};
pub use sweep::{sweep, sweep_log};
pub use trim::{Dead, floor, trim};
pub use whole::{all_keys, write_back, write_whole, written_between};

use crate::codec::DecodeError;
use crate::seal::SealError;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a row of the view is damaged: {0}")]
    Row(#[from] DecodeError),
    #[error("a row of the view is damaged: {0}")]
    Sealed(#[from] SealError),
    #[error("the diff index names block {seq} of feed {feed}, which is not a diff that can be read")]
    Block { feed: u32, seq: u64 },
}
