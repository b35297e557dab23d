//! Keys that more than one stage reads, and the one way to read a block.

use super::{Read, StoreError, Table};
use crate::merkle::Node;

/// Nodes in a full row of `Tree`.
pub const TREE_PACK: u64 = 16;

/// Key of `Blocks`: feed u32 ‖ seq u64.
pub fn block_key(feed: u32, seq: u64) -> [u8; 12] {
    let mut out = [0; 12];
    let (prefix, rest) = out.split_at_mut(4);
    prefix.copy_from_slice(&feed.to_be_bytes());
    rest.copy_from_slice(&seq.to_be_bytes());
    out
}

/// Key of `Tree`: feed u32 ‖ tier u8 ‖ group u64.
pub fn tree_key(feed: u32, tier: u8, group: u64) -> [u8; 13] {
    let mut out = [0; 13];
    let (prefix, rest) = out.split_at_mut(4);
    prefix.copy_from_slice(&feed.to_be_bytes());
    if let Some((first, last)) = rest.split_first_mut() {
        *first = tier;
        last.copy_from_slice(&group.to_be_bytes());
    }
    out
}

/// Block `seq` of the feed that this store numbers `feed`, compared with its leaf in the tree: a block that has changed
/// since it was stored is never handed on. Own blocks of the open transaction have no leaf yet and are not compared.
pub fn block(txn: &impl Read, feed: u32, seq: u64) -> Result<Option<&[u8]>, StoreError> {
    let Some(block) = txn.get(Table::Blocks, &block_key(feed, seq))? else { return Ok(None) };
    match stored_leaf(txn, feed, seq)? {
        Some(leaf) if leaf != Node::leaf(block).encode() => Err(StoreError::Block { feed, seq }),
        _ => Ok(Some(block)),
    }
}

/// The bytes of a block's leaf, as far as they are there.
fn stored_leaf(txn: &impl Read, feed: u32, seq: u64) -> Result<Option<[u8; Node::SIZE]>, StoreError> {
    let row = txn.get(Table::Tree, &tree_key(feed, 0, seq / TREE_PACK))?;
    let leaves = row.map(|row| row.as_chunks().0).unwrap_or_default();
    Ok(usize::try_from(seq % TREE_PACK).ok().and_then(|at| leaves.get(at)).copied())
}
