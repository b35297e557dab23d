//! **What.** The Merkle tree over a feed's blocks: node hashes, the accumulator that grows it, proofs that a range of
//! blocks belongs to a signed head, and the signed head itself.
//!
//! **Owns.** The hashed and signed formats (integers big-endian):
//!
//! ```text
//! leaf      = blake3(0x00 ‖ block length u64 ‖ block)
//! parent    = blake3(0x01 ‖ left bytes u64 ‖ right bytes u64 ‖ left hash 32 ‖ right hash 32)
//! root      = blake3(0x02 ‖ (index u64 ‖ bytes u64 ‖ hash 32) of each full root, left to right)
//! signature = ed25519(blake3("multi-hyperbee feed head v1") ‖ byte length u64 ‖ length u64 ‖ root 32)
//! anchor    = blake3 derive_key("multi-hyperbee 2026 anchor", root 32): the name of a feed of one block with that root,
//!             whose signature is 64 zeros
//! ```
//!
//! Nodes are numbered in order, as in Hypercore's flat-tree: leaf `i` is node `2i`.
//!
//! **Invariants.** 1. The root at a length is a function of the blocks below it, and no two lists of blocks have the
//! same. 2. The nodes of a proof, their number and their order follow from `(start, end, length, known)` alone; any
//! other number is refused before anything is hashed. 3. Nothing recurses, and work is linear in the blocks and nodes
//! given.
//!
//! **Not here.** Where nodes are stored and which head counts (`feed`); how proofs travel (`wire`).

mod anchor;
mod beyond;
pub mod flat;
mod head;
mod node;
mod parting;
mod proof;
mod roots;

pub use anchor::anchor;
pub use beyond::Beyond;
pub use head::{Head, HeadError};
pub use node::Node;
pub use parting::{Parting, PartingError, Side};
pub use proof::{Known, ProofError, Proved, Span, compute, prove, verify};
pub use roots::{Nodes, Roots};
