//! **What.** How one key's value merges in merge mode: the JSON domain, diff lists and their text, what a put changed
//! (`diff`), and the fold of a key's changes in the shared order. Pure functions of their arguments.
//!
//! **Owns.** The grammar of diff lists, element ids, the row encoding of a fold state (`docs/design/merge.md`).
//!
//! **Invariants.** 1. `fold(base, diff(base, v)) = v` for every value of the domain. 2. An element's id depends on its
//! diff alone, and within an array names one element. 3. A list that parses folds onto every state, and no state gets
//! deeper than [`MAX_JSON_DEPTH`](crate::codec::limits::MAX_JSON_DEPTH). 4. Diffing and folding take time about
//! proportional to the state and the list, times a logarithm or a square root; the quadratic parts are bounded.
//!
//! **Not here.** Which changes count and in which order (`causal`, `order`), which state a put is compared with (`db`),
//! where rows live (`store`), the properties `_objectId`, `_timestamp`, `_prevTimestamp`, `_diff` of a value that was
//! read (callers strip and add them).

mod conflict;
mod diff;
mod element;
mod fold;
mod json;
mod list;
mod located;
mod row;
mod state;
mod tree;

pub use conflict::{Claim, Conflict, Part, conflicts};
pub use element::{ElementId, ElementIdError};
pub use json::{JsonError, Props, Scalar, Value, parse_object};
pub use list::{List, ListError, MAX_BY_VALUE, MAX_LIST_DEPTH, list_size, without_reserved};
pub use row::{Live, StateView};
pub use state::{Change, ChangeKind, Given, State};
