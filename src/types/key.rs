use std::fmt;

/// A feed's ed25519 public key; it names the feed and its writer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeedKey(pub [u8; 32]);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a feed key is 32 bytes, 64 hex characters or 52 z-base-32 characters; this has {length}")]
pub struct KeyError {
    pub length: usize,
}

impl FeedKey {
    /// The first eight bytes, which stand for the writer in timestamps and element ids.
    pub fn prefix(&self) -> [u8; 8] {
        let (prefixes, _) = self.0.as_chunks::<8>();
        prefixes.first().copied().unwrap_or_default()
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TryFrom<&[u8]> for FeedKey {
    type Error = KeyError;

    fn try_from(bytes: &[u8]) -> Result<Self, KeyError> {
        bytes.try_into().map(Self).map_err(|_| KeyError { length: bytes.len() })
    }
}

impl fmt::Display for FeedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FeedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.prefix().iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
