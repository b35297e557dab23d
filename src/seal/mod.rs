//! **What.** Sealing: how the blocks and rows of an encrypted database are made unreadable, and read again. A database
//! that is not encrypted passes everything through as it is, so that nobody above has two ways.
//!
//! **Owns.** The formats of a sealed block (`0x81`), a sealed row (`0x82`) and a sealed secret (`0x83`), the keys they are
//! made with, and the row names of an encrypted view.
//!
//! **Invariants.** 1. Every use has a key of its own: blake3 `derive_key` under a context that no other use has.
//! 2. A nonce is a function of place and plaintext: two different plaintexts at one place never share one, and sealing
//! needs no randomness. 3. What is sealed opens only at the place it was sealed for, with its key and epoch. 4. Keys are
//! wiped from memory when the last holder drops them, and are never printed.
//!
//! **Not here.** Which databases are encrypted and who has the key (`db`); which rows hold what (`view`, `feed`).

pub mod block;
mod envelope;
mod key;
mod row;
mod sealing;
mod secret;

pub use block::{BlockSealing, is_sealed};
pub use key::{EncryptionKey, KeyCheck};
pub use row::{RowSealer, check_sealed};
pub use sealing::Sealing;
pub use secret::{SEALED_SECRET, open_secret, seal_secret};

use crate::codec::DecodeError;

/// The only epoch so far; every sealed record says its own, so that keys can be rotated later.
pub const EPOCH: u32 = 0;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("it is not sealed: {0}")]
    Form(#[from] DecodeError),
    #[error("it is sealed in epoch {found}, this key is of epoch {expected}")]
    Epoch { expected: u32, found: u32 },
    /// Changed, moved from another place, or sealed with another key.
    #[error("it does not open with this key")]
    Refused,
    #[error("it is too large to seal")]
    TooLarge,
    #[error("it is sealed, and the database is not encrypted")]
    Sealed,
}
