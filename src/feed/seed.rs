use super::FeedError;
use crate::seal::{self, EncryptionKey, SEALED_SECRET, SealError};
use crate::types::FeedKey;
use ed25519_dalek::SigningKey;
use std::fmt;
use zeroize::Zeroizing;

/// The secret from which a feed's key pair is made. Wiped from memory when dropped; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed(Zeroizing<[u8; 32]>);

impl Seed {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The feed this seed writes.
    pub fn feed(&self) -> FeedKey {
        FeedKey(self.signing_key().verifying_key().to_bytes())
    }

    pub fn signing_key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.0)
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// The seed of an own feed as its record has it: in clear, or sealed with the key of the encrypted database that the
/// feed belongs to, and then usable only once it was opened with that key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    seed: Option<Seed>,
    sealed: Option<[u8; SEALED_SECRET]>,
}

impl From<Seed> for Secret {
    fn from(seed: Seed) -> Self {
        Self { seed: Some(seed), sealed: None }
    }
}

impl Secret {
    /// In clear without a key.
    pub fn new(seed: Seed, key: Option<&EncryptionKey>) -> Result<Self, SealError> {
        let sealed = key.map(|key| seal::seal_secret(key, &seed.feed(), seed.as_bytes())).transpose()?;
        Ok(Self { seed: Some(seed), sealed })
    }

    pub(super) fn from_sealed(sealed: [u8; SEALED_SECRET]) -> Self {
        Self { seed: None, sealed: Some(sealed) }
    }

    pub(super) fn sealed(&self) -> Option<&[u8; SEALED_SECRET]> {
        self.sealed.as_ref()
    }

    pub fn is_open(&self) -> bool {
        self.seed.is_some()
    }

    /// Refused while it is sealed.
    pub fn seed(&self, feed: FeedKey) -> Result<&Seed, FeedError> {
        self.seed.as_ref().ok_or(FeedError::Locked { feed })
    }

    /// Opens a sealed one; without a key, or if it is open already, there is nothing to do.
    pub fn open(&mut self, feed: FeedKey, key: Option<&EncryptionKey>) -> Result<(), FeedError> {
        if let (Self { seed: seed @ None, sealed: Some(sealed) }, Some(key)) = (self, key) {
            let opened = seal::open_secret(key, &feed, sealed);
            *seed = Some(Seed(opened.map_err(|_| FeedError::SealedSecret { feed })?));
        }
        Ok(())
    }
}
