//! A multi-writer, offline-first key-value database: signed feeds, one order, one view on every device.
//!
//! `docs/design.md` is the map. Modules are ranked; imports go down only (`tests/architecture.rs` checks it):
//!
//! | rank | modules | what they are |
//! |---|---|---|
//! | 0 | `codec` `types` `fault` | bytes and newtypes; faults planted for tests |
//! | 1 | `clock` `merkle` `crdt` `entry` `causal` `seal` `wire` | pure and deterministic |
//! | 2 | `store` | LMDB |
//! | 3 | `feed` `order` `view` `apply` | stages over one transaction |
//! | 4 | `db` | orchestration and the Rust API |
//! | 5 | `bindings` | Node.js |

pub mod apply;
pub mod causal;
pub mod clock;
pub mod codec;
pub mod crdt;
pub mod db;
pub mod entry;
#[cfg(feature = "faults")]
pub mod fault;
#[cfg(not(feature = "faults"))]
mod fault;
pub mod feed;
pub mod merkle;
pub mod order;
pub mod seal;
pub mod store;
pub mod types;
pub mod view;
pub mod wire;

#[cfg(feature = "bindings")]
mod bindings;
