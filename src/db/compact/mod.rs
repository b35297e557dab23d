//! Compaction: how much of a database's past is kept (`keep`), which versions are read (`pins`), raising the floor in
//! transactions of a bounded size (`trim`), and the file written anew without what is free (`store`).
//! `docs/design/compaction.md`.

mod held;
mod keep;
mod pins;
mod store;
mod trim;

pub use held::Held;
pub use keep::Keep;
pub(super) use keep::Keepers;
pub(super) use pins::{Pin, Pins};
pub use store::StoreCompacted;
pub use trim::{Compacted, Compaction};

/// What a compaction is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CompactStage {
    /// Old versions go, a database at a time.
    Versions,
    /// The file's rows are copied.
    Copy,
    /// The copy's pages are walked.
    Pages,
    /// The copy's rows are compared with those in use.
    Rows,
}

impl CompactStage {
    pub fn name(self) -> &'static str {
        match self {
            CompactStage::Versions => "versions",
            CompactStage::Copy => "copy",
            CompactStage::Pages => "pages",
            CompactStage::Rows => "rows",
        }
    }
}

/// How far a compaction has come: steps of its stage done, of all there are (0: not known).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactProgress {
    pub stage: CompactStage,
    pub done: u64,
    pub total: u64,
}
