use crate::codec::{DecodeError, Reader};
use crate::types::Hash;

/// A node of the tree: its hash, and how many bytes the blocks below it have.
///
/// As bytes: `bytes u64 ‖ hash 32`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node {
    pub hash: Hash,
    pub bytes: u64,
}

const LEAF: &[u8] = &[0];
const PARENT: &[u8] = &[1];

impl Node {
    /// Size of an encoded node.
    pub const SIZE: usize = 40;

    pub fn leaf(block: &[u8]) -> Self {
        let bytes = block.len() as u64;
        let mut hasher = blake3::Hasher::new();
        hasher.update(LEAF).update(&bytes.to_be_bytes()).update(block);
        Self { hash: hasher.finalize().into(), bytes }
    }

    /// The sum saturates: only false sizes come near, and no head may claim a saturated one ([`super::Head::check`]).
    pub fn parent(left: &Self, right: &Self) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(PARENT).update(&left.bytes.to_be_bytes()).update(&right.bytes.to_be_bytes());
        hasher.update(&left.hash).update(&right.hash);
        Self { hash: hasher.finalize().into(), bytes: left.bytes.saturating_add(right.bytes) }
    }

    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        let (bytes, hash) = out.split_at_mut(8);
        bytes.copy_from_slice(&self.bytes.to_be_bytes());
        hash.copy_from_slice(&self.hash);
        out
    }

    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.encode());
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { bytes: reader.u64("node size")?, hash: reader.array("node hash")? })
    }
}
