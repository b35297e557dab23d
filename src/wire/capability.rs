//! Proofs that a side knows a topic's key or holds a feed's secret key, each bound to this connection.
//!
//! ```text
//! capability   = blake3 keyed(derive_key(context of kind and role, topic key), handshake hash)
//! binding      = blake3 derive_key(context, role u8 ‖ kind u8 ‖ topic key 32 ‖ handshake hash)
//! writer proof = ed25519 over WRITER_CONTEXT 32 ‖ role u8 ‖ kind u8 ‖ handshake hash (32 or 64) ‖ topic key 32
//! ```

use super::message::{Mac, role_byte};
use super::{Role, Topic, TopicKind};
use crate::types::FeedKey;
use ed25519_dalek::{Signature, VerifyingKey};

pub const WRITER_CONTEXT: [u8; 32] = *b"multi-hyperbee 1 writer proof\0\0\0";

fn context(kind: TopicKind, role: Role) -> &'static str {
    match (kind, role) {
        (TopicKind::Database, Role::Initiator) => "multi-hyperbee 1 capability database initiator",
        (TopicKind::Database, Role::Responder) => "multi-hyperbee 1 capability database responder",
        (TopicKind::Feed, Role::Initiator) => "multi-hyperbee 1 capability feed initiator",
        (TopicKind::Feed, Role::Responder) => "multi-hyperbee 1 capability feed responder",
    }
}

/// What the side in `role` shows for `topic` on the connection with this handshake hash.
pub fn capability(topic: &Topic, role: Role, handshake_hash: &[u8]) -> Mac {
    let key = blake3::derive_key(context(topic.kind, role), &topic.key.0);
    *blake3::keyed_hash(&key, handshake_hash).as_bytes()
}

/// Equality in constant time.
pub fn same(a: &Mac, b: &Mac) -> bool {
    blake3::Hash::from_bytes(*a) == blake3::Hash::from_bytes(*b)
}

/// A key under which shown proofs are looked up. It depends on every topic offered, so whoever does not know them all
/// cannot steer the lookup, and its timing says nothing about a proof.
pub fn lookup_key<'a>(topics: impl Iterator<Item = &'a Topic>, handshake_hash: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("multi-hyperbee 1 capability lookup");
    hasher.update(handshake_hash);
    for topic in topics {
        hasher.update(&topic.key.0);
    }
    *hasher.finalize().as_bytes()
}

/// A name of the connection that is no secret's and proves nothing.
pub fn name(handshake_hash: &[u8]) -> [u8; 32] {
    blake3::derive_key("multi-hyperbee 1 connection", handshake_hash)
}

/// What a proof of the layer above is made over, so that it holds for this topic, from this side, on this connection
/// only.
pub fn binding(topic: &Topic, role: Role, handshake_hash: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("multi-hyperbee 1 binding");
    hasher.update(&[role_byte(role), kind_byte(topic.kind)]);
    hasher.update(&topic.key.0);
    hasher.update(handshake_hash);
    *hasher.finalize().as_bytes()
}

fn kind_byte(kind: TopicKind) -> u8 {
    match kind {
        TopicKind::Database => 0,
        TopicKind::Feed => 1,
    }
}

/// What a writer in `role` signs.
pub fn writer_message(topic: &Topic, role: Role, handshake_hash: &[u8]) -> Vec<u8> {
    let mut out = WRITER_CONTEXT.to_vec();
    out.push(role_byte(role));
    out.push(kind_byte(topic.kind));
    out.extend_from_slice(handshake_hash);
    out.extend_from_slice(&topic.key.0);
    out
}

pub fn verify_writer(feed: &FeedKey, message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(&feed.0)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}
