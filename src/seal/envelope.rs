//! What every sealed record has in common.
//!
//! ```text
//! record     = format u8 ‖ epoch u32 ‖ nonce 24 ‖ ciphertext ‖ tag 16
//! nonce      = first 24 bytes of blake3 keyed(nonce key, place ‖ plaintext)
//! ```
//!
//! XChaCha20-Poly1305. What is associated is the caller's.

use super::SealError;
use crate::codec::{DecodeError, Reader};
use chacha20poly1305::aead::{AeadInPlace as _, KeyInit as _};
use chacha20poly1305::{Key, Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

/// What sealing adds.
pub(super) const OVERHEAD: usize = HEAD + TAG;

const NONCE: usize = 24;
const TAG: usize = 16;
const HEAD: usize = 1 + 4 + NONCE;

/// A cipher and the key of its nonces, for one use in one epoch. Both are wiped when it is dropped.
pub(super) struct Envelope {
    format: u8,
    epoch: u32,
    cipher: XChaCha20Poly1305,
    nonce_key: Zeroizing<[u8; 32]>,
}

impl Envelope {
    pub fn new(format: u8, epoch: u32, key: &[u8; 32], nonce_key: Zeroizing<[u8; 32]>) -> Self {
        Self { format, epoch, cipher: XChaCha20Poly1305::new(Key::from_slice(key)), nonce_key }
    }

    pub fn seal(&self, place: &[&[u8]], associated: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut hasher = blake3::Hasher::new_keyed(&self.nonce_key);
        for part in place {
            hasher.update(part);
        }
        hasher.update(plain);
        let mut nonce = [0; NONCE];
        hasher.finalize_xof().fill(&mut nonce);
        let mut out = Vec::with_capacity(plain.len().saturating_add(OVERHEAD));
        out.push(self.format);
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let text = out.get_mut(HEAD..).unwrap_or_default();
        let nonce = XNonce::from_slice(&nonce);
        let tag = self.cipher.encrypt_in_place_detached(nonce, associated, text);
        out.extend_from_slice(&tag.map_err(|_| SealError::TooLarge)?);
        Ok(out)
    }

    pub fn open(&self, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut reader = Reader::new(sealed);
        let found = epoch(&mut reader, self.format)?;
        if found != self.epoch {
            return Err(SealError::Epoch { expected: self.epoch, found });
        }
        let nonce: [u8; NONCE] = reader.array("nonce")?;
        let (text, tag) = reader.rest().split_last_chunk::<TAG>().ok_or(SealError::Refused)?;
        let mut text = text.to_vec();
        let nonce = XNonce::from_slice(&nonce);
        let opened =
            self.cipher.decrypt_in_place_detached(nonce, associated, &mut text, Tag::from_slice(tag));
        opened.map_err(|_| SealError::Refused)?;
        Ok(text)
    }
}

/// The epoch that a record of this format claims.
pub(super) fn epoch(reader: &mut Reader<'_>, format: u8) -> Result<u32, SealError> {
    match reader.u8("sealed format")? {
        found if found == format => Ok(reader.u32("epoch")?),
        tag => Err(DecodeError::UnknownTag { what: "sealed format", tag: tag.into() }.into()),
    }
}

/// A key for one use: the context names it, the parts say whose.
pub(super) fn derive(context: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    let key = Zeroizing::new(<[u8; 32]>::from(hasher.finalize()));
    zeroize::Zeroize::zeroize(&mut hasher);
    key
}
