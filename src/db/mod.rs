//! **What.** Orchestration: the owner thread and its group commits, databases, peers of a connection, events. This is
//! the Rust API of the project; the Node binding is a thin layer over it.
//!
//! **Owns.** The order in which the stages run inside one transaction, and everything that is in memory only: queues,
//! sessions, subscriptions. All of it is rebuilt from the store.
//!
//! **Invariants.** 1. One thread writes. 2. Everything one operation changes is in one transaction, and its reply
//! comes after that transaction is synced. 3. A failed operation changes nothing. 4. In-memory state is a function of
//! the store: after a failed transaction it is thrown away and read again. 5. No block that is not synced is offered.
//!
//! **Not here.** What a diff does (`crdt`), who counts (`causal`), rows (`view`, `order`, `feed`), bytes on the wire (`wire`).

mod api;
mod error;

pub use api::*;
pub use error::{Code, Error};
