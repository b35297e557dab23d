//! **What.** One LMDB file per store, all tables in it, behind read and write transactions over byte rows.
//!
//! **Owns.** The store's directory: `data.mdb` and `lock.mdb` (LMDB's), `lock` (the file lock); the tables' names,
//! row orders and format version (`tables.rs`).
//!
//! **Invariants.**
//! 1. A path is mapped at most once in a process, and by one process, at a time.
//! 2. No file is mapped whose meta pages and length were not found right by plain reads.
//! 3. `data.mdb` never exists without its tables and format: a store is made elsewhere and moved into place.
//! 4. The map moves only while no transaction is open.
//! 5. A write transaction ends on the thread that began it.
//! 6. Rows come in the table's order, which is total.
//! 7. A commit that returned is on disk (except of a memory store), whole; one that failed left nothing.
//!
//! **Not here.** What rows mean (`feed`, `order`, `view`, `db`); who owns writing, and when to commit (`db`).

mod check;
mod compact;
mod copy;
mod environment;
mod error;
mod keys;
mod location;
mod lockfile;
mod opened;
mod order;
mod pages;
mod registry;
mod rows;
mod tables;
mod txn;

use opened::Opened;

pub use compact::{Compacting, FileSizes};
pub use environment::{Environment, Options, Sizes, Snapshot, WeakEnvironment};
pub use error::StoreError;
pub use keys::{TREE_PACK, block, block_key, tree_key};
pub use location::Location;
pub use pages::{PageDamage, Walk};
pub use registry::Closed;
pub use rows::Rows;
pub use tables::{FORMAT, RowOrder, Table};
pub use txn::{Read, ReadTxn, WriteTxn};

/// What a walk finds in a data file that stands in memory. For whoever tries the walk on many files.
#[doc(hidden)]
pub fn walk_bytes(file: &[u8]) -> Result<Walk, StoreError> {
    check::walk(file, std::path::Path::new(""), &mut |_, _| true)
}

/// A row: key and value.
pub type Row<'a> = (&'a [u8], &'a [u8]);

/// Longest row key: what LMDB takes on 4 KiB pages. A user's key of `codec::limits::MAX_KEY_BYTES` fits with its
/// prefix and the longest tail.
pub const MAX_ROW_KEY: usize = 1_982;

/// Read transactions open at once, in all threads; each has a slot in LMDB's lock file.
pub const MAX_READERS: u32 = 1_024;
