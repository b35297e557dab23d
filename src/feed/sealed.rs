//! Sealed blocks: how the blocks of an encrypted database are stored and travel.
//!
//! ```text
//! sealed block = 0x81 (format) ‖ epoch u32 ‖ nonce 24 ‖ ciphertext ‖ tag 16
//! associated   = 0x81 ‖ feed 32 ‖ seq u64 ‖ epoch u32
//! block key    = blake3 derive_key("multi-hyperbee 1 sealed block key",   encryption key 32 ‖ feed 32 ‖ epoch u32)
//! nonce key    = blake3 derive_key("multi-hyperbee 1 sealed block nonce", encryption key 32 ‖ feed 32 ‖ epoch u32)
//! nonce        = first 24 bytes of blake3 keyed(nonce key, feed 32 ‖ seq u64 ‖ plaintext)
//! ```
//!
//! XChaCha20-Poly1305. The nonce is a function of place and plaintext: two different blocks at one index (after a
//! restored backup) never share one, and sealing needs no randomness. The same plaintext at the same place seals to
//! the same bytes; nothing else repeats.

use crate::codec::{DecodeError, Reader};
use crate::types::FeedKey;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// First byte of a sealed block. No entry begins so, and no version of the entry format will.
pub const FORMAT: u8 = 0x81;

/// What sealing adds to a block.
pub const OVERHEAD: usize = 1 + 4 + NONCE + 16;

const NONCE: usize = 24;
const BLOCK_KEY: &str = "multi-hyperbee 1 sealed block key";
const NONCE_KEY: &str = "multi-hyperbee 1 sealed block nonce";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the block is not sealed: {0}")]
    Form(#[from] DecodeError),
    #[error("the block is sealed in epoch {found}, this key is of epoch {expected}")]
    Epoch { expected: u32, found: u32 },
    /// Changed, moved from another place, or sealed with another key.
    #[error("block {seq} does not open with this key")]
    Refused { seq: u64 },
    #[error("block {seq} is too large to seal")]
    TooLarge { seq: u64 },
}

/// Seals and opens the blocks of one feed in one epoch. Its keys are wiped when it is dropped.
pub struct Sealer {
    feed: FeedKey,
    epoch: u32,
    cipher: XChaCha20Poly1305,
    nonce_key: Zeroizing<[u8; 32]>,
}

impl Sealer {
    pub fn new(encryption_key: &[u8; 32], feed: FeedKey, epoch: u32) -> Self {
        let derive = |context: &str| {
            let mut hasher = blake3::Hasher::new_derive_key(context);
            hasher.update(encryption_key).update(feed.as_bytes()).update(&epoch.to_be_bytes());
            Zeroizing::new(<[u8; 32]>::from(hasher.finalize()))
        };
        let cipher = XChaCha20Poly1305::new(Key::from_slice(derive(BLOCK_KEY).as_slice()));
        Self { feed, epoch, cipher, nonce_key: derive(NONCE_KEY) }
    }

    pub fn seal(&self, seq: u64, block: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut hasher = blake3::Hasher::new_keyed(&self.nonce_key);
        hasher.update(self.feed.as_bytes()).update(&seq.to_be_bytes()).update(block);
        let mut nonce = [0; NONCE];
        hasher.finalize_xof().fill(&mut nonce);
        let aad = self.associated(seq);
        let payload = Payload { msg: block, aad: &aad };
        let sealed = self.cipher.encrypt(XNonce::from_slice(&nonce), payload);
        let sealed = sealed.map_err(|_| SealError::TooLarge { seq })?;
        Ok([&[FORMAT][..], &self.epoch.to_be_bytes(), &nonce, &sealed].concat())
    }

    pub fn open(&self, seq: u64, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut reader = Reader::new(sealed);
        let found = epoch(&mut reader)?;
        if found != self.epoch {
            return Err(SealError::Epoch { expected: self.epoch, found });
        }
        let nonce: [u8; NONCE] = reader.array("nonce")?;
        let aad = self.associated(seq);
        let payload = Payload { msg: reader.rest(), aad: &aad };
        self.cipher.decrypt(XNonce::from_slice(&nonce), payload).map_err(|_| SealError::Refused { seq })
    }

    fn associated(&self, seq: u64) -> Vec<u8> {
        [&[FORMAT][..], self.feed.as_bytes(), &seq.to_be_bytes(), &self.epoch.to_be_bytes()].concat()
    }
}

/// The epoch a sealed block claims: which key opens it.
pub fn epoch_of(sealed: &[u8]) -> Result<u32, SealError> {
    epoch(&mut Reader::new(sealed))
}

fn epoch(reader: &mut Reader<'_>) -> Result<u32, SealError> {
    match reader.u8("sealed block format")? {
        FORMAT => Ok(reader.u32("epoch")?),
        tag => Err(DecodeError::UnknownTag { what: "sealed block format", tag: tag.into() }.into()),
    }
}
