//! **What.** The order over the store: reading batches out of blocks, and what is kept of a placed batch so that the
//! next ones can be placed.
//!
//! **Owns.** Tables `Pasts` (causal pasts, a row only where a batch read links), `Effectives` (effective timestamps, a row
//! only where it is not the batch's own time), `Controls` (batches that grant or revoke) and `Order` (a database's
//! [`OrderState`](crate::causal::OrderState)), and `Witnesses` (batches that link a forked feed past the common length).
//!
//! **Invariants.** 1. The past of a placed batch is its nearest `Pasts` row at or before it in its feed, with its own
//! feed raised to its end. 2. A batch without an `Effectives` row has `(own timestamp, 0)`. 3. Both are written in the
//! transaction that places the batch.
//!
//! **Not here.** The rules themselves (`causal`), which feeds there are and what their diffs do (`db`, `view`).

mod batch;
mod check;
mod placed;
mod witness;

pub use batch::{Batch, BatchError, Blocks, batch_start, control, read_blocks};
pub use check::check_row;
pub use placed::{
    Batches, Forked, Numbers, Placing, forget_placed, note_placed, order_state, past_at, save_control,
    save_order,
};
pub use witness::{Witness, forget_witnesses, note_witness, witnesses};

use crate::codec::DecodeError;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a row of the order is damaged: {0}")]
    Row(#[from] DecodeError),
    #[error("feed {feed} is placed but not known")]
    Feed { feed: crate::types::FeedKey },
    #[error("the tree of feed {feed} cannot be read at {length}")]
    Tree { feed: u32, length: u64 },
    #[error("block {seq} of feed {feed}, which is placed, cannot be read again")]
    Block { feed: u32, seq: u64 },
}
