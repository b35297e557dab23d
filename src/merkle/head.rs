use super::{Roots, anchor};
use crate::codec::limits::{MAX_BLOCK_BYTES, MAX_FEED_LENGTH};
use crate::codec::{DecodeError, Reader};
use crate::types::{FeedKey, Hash};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

/// What a writer signs, once per commit: the feed's length in blocks and bytes, and the root of its tree.
///
/// As bytes: `length u64 ‖ byte length u64 ‖ root 32 ‖ signature 64`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    pub length: u64,
    pub byte_length: u64,
    pub root: Hash,
    pub signature: [u8; 64],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    #[error("{length} blocks of {byte_length} bytes are more than a feed can have")]
    Limit { length: u64, byte_length: u64 },
    #[error("the feed's name is no ed25519 key")]
    Key,
    #[error("the head is not signed by its feed's key")]
    Signature,
}

/// Its hash begins every message a feed's key signs here: the signature is valid as nothing else.
const CONTEXT: &[u8] = b"multi-hyperbee feed head v1";

impl Head {
    /// Size of an encoded head.
    pub const SIZE: usize = 16 + 32 + 64;

    /// Stands for the signature of a feed that needs none: an [`anchor`](super::anchor()). As a signature it is refused.
    pub const UNSIGNED: [u8; 64] = [0; 64];

    /// That of an anchor, once it is verified.
    pub fn is_unsigned(&self) -> bool {
        self.signature == Self::UNSIGNED
    }

    pub fn sign(key: &SigningKey, roots: &Roots) -> Self {
        let (length, byte_length, root) = (roots.length(), roots.byte_length(), roots.hash());
        let signature = key.sign(&message(length, byte_length, &root)).to_bytes();
        Self { length, byte_length, root, signature }
    }

    /// Signature and limits. Strict: no key of small order, one form of each signature. An anchor's one block is what its
    /// name says.
    pub fn verify(&self, feed: &FeedKey) -> Result<(), HeadError> {
        self.check()?;
        if self.length == 1 && self.is_unsigned() && anchor::named(&self.root) == *feed {
            return Ok(());
        }
        let key = VerifyingKey::from_bytes(feed.as_bytes()).map_err(|_| HeadError::Key)?;
        let message = message(self.length, self.byte_length, &self.root);
        key.verify_strict(&message, &Signature::from_bytes(&self.signature)).map_err(|_| HeadError::Signature)
    }

    /// The limits alone: the length is one a feed can have, and no block need be larger than a block can be.
    pub fn check(&self) -> Result<(), HeadError> {
        let most = self.length.checked_mul(MAX_BLOCK_BYTES as u64).unwrap_or(u64::MAX - 1);
        if self.length <= MAX_FEED_LENGTH && self.byte_length <= most {
            Ok(())
        } else {
            Err(HeadError::Limit { length: self.length, byte_length: self.byte_length })
        }
    }

    /// Two heads of one length with different roots: the feed has forked. (The root commits to the byte length: a
    /// head with the same root and another byte length is merely false, and no proof leads to it.)
    pub fn contradicts(&self, other: &Self) -> bool {
        self.length == other.length && self.root != other.root
    }

    /// Whether these are the roots the head signs.
    pub fn fits(&self, roots: &Roots) -> bool {
        self.length == roots.length() && self.byte_length == roots.byte_length() && self.root == roots.hash()
    }

    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.length.to_be_bytes());
        out.extend_from_slice(&self.byte_length.to_be_bytes());
        out.extend_from_slice(&self.root);
        out.extend_from_slice(&self.signature);
    }

    /// Reads the form; nothing is verified.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            length: reader.u64("head length")?,
            byte_length: reader.u64("head byte length")?,
            root: reader.array("head root")?,
            signature: reader.array("head signature")?,
        })
    }
}

fn message(length: u64, byte_length: u64, root: &Hash) -> Vec<u8> {
    let mut message = Vec::with_capacity(32 + 8 + 8 + 32);
    message.extend_from_slice(blake3::hash(CONTEXT).as_bytes());
    message.extend_from_slice(&byte_length.to_be_bytes());
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(root);
    message
}
