//! **What.** A merge of the user's own: which keys it has still to merge, the questions it is asked, and how its answers
//! are committed. `docs/design/handlers.md`.
//!
//! **Owns.** Table `Unmerged`; the line of handles that have functions.
//!
//! **Invariants.** 1. A row newer than the epoch is what the functions make of exactly the diffs that counted when they
//! were asked. 2. A key is unmerged exactly while its diff index holds other diffs than its newest row was made from.
//! 3. The user's code never runs inside a transaction. 4. An answer is committed only if the key has not changed since it
//! was asked for. 5. Only the first handle in the line commits.
//!
//! **Not here.** The functions themselves (`lib/merge-handler.js`), what a diff does by itself (`crdt`).

mod commit;
mod key;
mod resolve;
mod round;
mod rows;
mod runner;
mod unmerged;

pub use resolve::Candidate;
pub use round::{Question, Round};
pub use rows::Functions;
pub(super) use rows::{HandlerRow, check_row, each_unmerged};
pub use runner::{ANY_KEY, Runner};
