//! **What.** Feeds over one transaction: appending to one's own, verifying and ingesting those of others, proving
//! what is held.
//!
//! **Owns.** The rows of `Table::Feeds`, `Table::Blocks`, `Table::Tree`, `Table::Forks`, `Table::Parts`, `Table::Holes`, `Table::Covers`, and the row
//! `next-feed` of `Table::Meta` (`docs/design/feed.md` has the bytes).
//!
//! **Invariants.** 1. Blocks `0 .. length` are here, and the tree over them, and nothing beyond, but for damaged blocks that are noted as holes. 2. `head` is signed by
//! the feed's key and its root is that of the tree at its length, at most `length`. 3. Whatever is held beyond `head`
//! is proved to be what `cover`, a longer signed head, signs. 4. Nothing that a peer sent is stored unless it came
//! through [`verify`]. 5. An error of [`verify`], [`ingest()`] or [`Appender::new`] other than the store's has written
//! nothing.
//!
//! **Not here.** When something may be appended, offered or asked for (`db`); what blocks say (`entry`), and how they
//! are sealed (`seal`); how they travel (`wire`).

mod append;
mod branch;
mod check;
mod clear;
mod cover;
mod error;
mod fork;
mod holes;
mod ingest;
mod mend;
mod parts;
mod receive;
mod record;
mod seed;
mod serve;
mod tree;
mod truncate;

pub use append::Appender;
pub use branch::{BranchOf, adopt, agreed, branch_off, branches, let_go};
pub use check::{FeedCheck, Flaw, MAX_FLAWS, check};
pub use clear::clear;
pub use cover::{Covered, check_cover, verify_cover};
pub use error::{FeedError, Fork};
pub use fork::{load_parting, mark_forked, parting, save_parting};
pub use holes::{all_holes, check_hole, contiguous, fill, fill_from, holes};
pub use ingest::{Grown, ingest};
pub use mend::{flipped_back, is_of_record, mend, mend_record, mended_record, tree_of_leaves};
pub use parts::{Part, apart, check_part, gap, keep_part, take_reached, verify_part};
pub use receive::{Received, VerifiedBlocks, verify};
pub use record::{FeedRecord, all, create, each, load, save};
pub use seed::{Secret, Seed};
pub use serve::{Outgoing, block, byte_length_at, prove, root_at};
pub use tree::StoredTree;
pub use truncate::{end_here, truncate};
