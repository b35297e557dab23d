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
