//! Sealed secrets: the seed of a feed's key pair, in the feed's row.
//!
//! ```text
//! sealed secret = 0x83 (format) ‖ epoch u32 ‖ nonce 24 ‖ ciphertext 32 ‖ tag 16
//! associated    = 0x83 ‖ feed 32 ‖ epoch u32
//! secret key    = blake3 derive_key("multi-hyperbee 1 sealed secret key",   encryption key 32 ‖ feed 32 ‖ epoch u32)
//! nonce key     = blake3 derive_key("multi-hyperbee 1 sealed secret nonce", encryption key 32 ‖ feed 32 ‖ epoch u32)
//! nonce         = first 24 bytes of blake3 keyed(nonce key, associated ‖ plaintext)
//! ```

use super::envelope::{Envelope, OVERHEAD, derive};
use super::{EPOCH, EncryptionKey, SealError};
use crate::types::FeedKey;
use zeroize::Zeroizing;

const FORMAT: u8 = 0x83;
const SECRET_KEY: &str = "multi-hyperbee 1 sealed secret key";
const NONCE_KEY: &str = "multi-hyperbee 1 sealed secret nonce";

/// Bytes of a sealed seed.
pub const SEALED_SECRET: usize = 32 + OVERHEAD;

fn envelope(key: &EncryptionKey, feed: &FeedKey) -> (Envelope, Vec<u8>) {
    let epoch = EPOCH.to_be_bytes();
    let parts: [&[u8]; 3] = [key.as_bytes(), feed.as_bytes(), &epoch];
    let envelope = Envelope::new(FORMAT, EPOCH, &derive(SECRET_KEY, &parts), derive(NONCE_KEY, &parts));
    (envelope, [&[FORMAT][..], feed.as_bytes(), &epoch].concat())
}

pub fn seal_secret(
    key: &EncryptionKey,
    feed: &FeedKey,
    seed: &[u8; 32],
) -> Result<[u8; SEALED_SECRET], SealError> {
    let (envelope, associated) = envelope(key, feed);
    let sealed = envelope.seal(&[&associated], &associated, seed)?;
    sealed.try_into().map_err(|_| SealError::TooLarge)
}

pub fn open_secret(
    key: &EncryptionKey,
    feed: &FeedKey,
    sealed: &[u8],
) -> Result<Zeroizing<[u8; 32]>, SealError> {
    let (envelope, associated) = envelope(key, feed);
    let opened = Zeroizing::new(envelope.open(&associated, sealed)?);
    opened.as_slice().try_into().map(Zeroizing::new).map_err(|_| SealError::Refused)
}
