//! Sealed rows: what a store keeps of the view of an encrypted database.
//!
//! ```text
//! sealed row  = 0x82 (format) ‖ epoch u32 ‖ nonce 24 ‖ ciphertext ‖ tag 16
//! associated  = 0x82 ‖ epoch u32 ‖ table's name length u8 ‖ table's name ‖ place
//! row key     = blake3 derive_key("multi-hyperbee 1 sealed row key",   encryption key 32 ‖ database 32 ‖ epoch u32)
//! nonce key   = blake3 derive_key("multi-hyperbee 1 sealed row nonce", encryption key 32 ‖ database 32 ‖ epoch u32)
//! name key    = blake3 derive_key("multi-hyperbee 1 row name",         encryption key 32 ‖ database 32 ‖ epoch u32)
//! nonce       = first 24 bytes of blake3 keyed(nonce key, associated ‖ plaintext)
//! name        = first 16 bytes of blake3 keyed(name key, user's key)
//! ```
//!
//! *Place* is the row's key without the store's number of the database, so a row opens only where it was written.

use super::envelope::{self, Envelope, derive};
use super::{EPOCH, EncryptionKey, SealError};
use crate::codec::Reader;
use crate::types::FeedKey;
use zeroize::Zeroizing;

/// First byte of a sealed row.
pub const FORMAT: u8 = 0x82;

/// Bytes of a row's name.
pub const NAME: usize = 16;

const ROW_KEY: &str = "multi-hyperbee 1 sealed row key";
const NONCE_KEY: &str = "multi-hyperbee 1 sealed row nonce";
const NAME_KEY: &str = "multi-hyperbee 1 row name";

/// Seals and opens the rows of one database, and names them. Its keys are wiped when it is dropped.
pub struct RowSealer {
    envelope: Envelope,
    name_key: Zeroizing<[u8; 32]>,
}

impl RowSealer {
    pub fn new(key: &EncryptionKey, database: &FeedKey) -> Self {
        let epoch = EPOCH.to_be_bytes();
        let parts: [&[u8]; 3] = [key.as_bytes(), database.as_bytes(), &epoch];
        let envelope = Envelope::new(FORMAT, EPOCH, &derive(ROW_KEY, &parts), derive(NONCE_KEY, &parts));
        Self { envelope, name_key: derive(NAME_KEY, &parts) }
    }

    /// What stands for a user's key in the keys of rows. Equal keys have equal names; nothing else shows.
    pub fn name(&self, key: &[u8]) -> [u8; NAME] {
        let hash: [u8; 32] = *blake3::keyed_hash(&self.name_key, key).as_bytes();
        let [name @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = hash;
        name
    }

    pub fn seal(&self, table: &str, place: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let associated = associated(table, place);
        self.envelope.seal(&[&associated], &associated, plain)
    }

    pub fn open(&self, table: &str, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.envelope.open(&associated(table, place), sealed)
    }
}

/// Whether this can be a sealed row, as far as can be said without the key.
pub fn check_sealed(row: &[u8]) -> Result<(), SealError> {
    let mut reader = Reader::new(row);
    envelope::epoch(&mut reader, FORMAT)?;
    if row.len() < envelope::OVERHEAD { Err(SealError::Refused) } else { Ok(()) }
}

fn associated(table: &str, place: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(6 + table.len() + place.len());
    out.push(FORMAT);
    out.extend_from_slice(&EPOCH.to_be_bytes());
    // Names of tables are ours, and short.
    out.push(u8::try_from(table.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(table.as_bytes());
    out.extend_from_slice(place);
    out
}
