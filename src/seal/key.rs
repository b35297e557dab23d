use super::envelope::derive;
use crate::types::FeedKey;
use std::fmt;
use zeroize::Zeroizing;

const CHECK: &str = "multi-hyperbee 1 encryption key check";

/// Tells whether a key is the one a database was made with, and nothing else about it: what its genesis says in clear.
pub type KeyCheck = [u8; 16];

/// What the user keeps: from it all keys of an encrypted database are derived. Wiped when dropped; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionKey(Zeroizing<[u8; 32]>);

impl EncryptionKey {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Another for each database: databases that share a key cannot be told to.
    pub fn check(&self, database: &FeedKey) -> KeyCheck {
        let derived = derive(CHECK, &[self.as_bytes(), database.as_bytes()]);
        let [check @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *derived;
        check
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(..)")
    }
}
