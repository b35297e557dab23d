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
//! An anchor's name follows from its block as it is sealed: that one is sealed as block 0 of the feed `0 (32 bytes)`, which
//! no key has, and opens where its name says that it is an anchor.
//!
//! Two different blocks at one index (after a restored backup) never share a nonce. The same plaintext at the same place
//! seals to the same bytes; nothing else repeats.

use super::envelope::{self, Envelope, derive};
use super::{EncryptionKey, SealError};
use crate::codec::Reader;
use crate::merkle::anchor;
use crate::types::FeedKey;
use std::borrow::Cow;
use std::sync::Arc;

/// First byte of a sealed block. No entry begins so, and no version of the entry format will.
pub const FORMAT: u8 = 0x81;

/// What sealing adds to a block.
pub const OVERHEAD: usize = envelope::OVERHEAD;

const BLOCK_KEY: &str = "multi-hyperbee 1 sealed block key";
const NONCE_KEY: &str = "multi-hyperbee 1 sealed block nonce";

/// Seals and opens the blocks of one feed in one epoch. Its keys are wiped when it is dropped.
pub struct Sealer {
    feed: FeedKey,
    epoch: u32,
    envelope: Envelope,
}

impl Sealer {
    pub fn new(key: &EncryptionKey, feed: FeedKey, epoch: u32) -> Self {
        let epoch_bytes = epoch.to_be_bytes();
        let parts: [&[u8]; 3] = [key.as_bytes(), feed.as_bytes(), &epoch_bytes];
        let envelope = Envelope::new(FORMAT, epoch, &derive(BLOCK_KEY, &parts), derive(NONCE_KEY, &parts));
        Self { feed, epoch, envelope }
    }

    pub fn seal(&self, seq: u64, block: &[u8]) -> Result<Vec<u8>, SealError> {
        let place: [&[u8]; 2] = [self.feed.as_bytes(), &seq.to_be_bytes()];
        self.envelope.seal(&place, &self.associated(seq), block)
    }

    pub fn open(&self, seq: u64, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.envelope.open(&self.associated(seq), sealed)
    }

    fn associated(&self, seq: u64) -> Vec<u8> {
        [&[FORMAT][..], self.feed.as_bytes(), &seq.to_be_bytes(), &self.epoch.to_be_bytes()].concat()
    }
}

/// The epoch a sealed block claims: which key opens it.
pub fn epoch_of(sealed: &[u8]) -> Result<u32, SealError> {
    envelope::epoch(&mut Reader::new(sealed), FORMAT)
}

/// Whether a block says that it is sealed.
pub fn is_sealed(block: &[u8]) -> bool {
    block.first() == Some(&FORMAT)
}

/// What stands for the feed where an anchor's block is sealed. As a key it is of small order, and refused.
const ANCHORS: FeedKey = FeedKey([0; 32]);

impl Sealer {
    /// Of the blocks of all anchors.
    pub fn of_anchors(key: &EncryptionKey, epoch: u32) -> Self {
        Self::new(key, ANCHORS, epoch)
    }
}

/// The blocks of one feed as its database has them: sealed, or as they are.
pub struct BlockSealing(pub(super) Option<Sealers>);

pub(super) struct Sealers {
    pub own: Arc<Sealer>,
    pub anchors: Arc<Sealer>,
}

impl Sealers {
    fn open(&self, seq: u64, block: &[u8]) -> Result<Vec<u8>, SealError> {
        let is_anchor = seq == 0 && anchor(block).0 == self.own.feed;
        if is_anchor { self.anchors.open(seq, block) } else { self.own.open(seq, block) }
    }
}

impl BlockSealing {
    /// Of a database that is not encrypted.
    pub const PLAIN: Self = Self(None);

    /// A block as it travels. `clear`: it is the genesis, which everyone may read.
    pub fn seal<'b>(&self, seq: u64, block: &'b [u8], clear: bool) -> Result<Cow<'b, [u8]>, SealError> {
        match &self.0 {
            Some(sealers) if !clear => Ok(Cow::Owned(sealers.own.seal(seq, block)?)),
            _ => Ok(Cow::Borrowed(block)),
        }
    }

    /// The entry in a block. Block 0 may be in clear: whoever reads it must find that it is a genesis.
    pub fn open<'b>(&self, seq: u64, block: &'b [u8]) -> Result<Cow<'b, [u8]>, SealError> {
        let is_sealed = is_sealed(block);
        match &self.0 {
            None if is_sealed => Err(SealError::Sealed),
            None => Ok(Cow::Borrowed(block)),
            Some(_) if seq == 0 && !is_sealed => Ok(Cow::Borrowed(block)),
            Some(sealers) => Ok(Cow::Owned(sealers.open(seq, block)?)),
        }
    }

    pub fn is_encrypted(&self) -> bool {
        self.0.is_some()
    }
}
