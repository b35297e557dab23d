//! Blocks below their feed's length that are damaged: not here any more, or not to be believed, and wanted from peers.
//!
//! ```text
//! Holes  Key: feed u32 ‖ seq u64      Value: doubt u8 (0: the leaf in the tree is the signed one, 1: it may be damaged too)
//! ```

use super::mend;
use super::{FeedError, FeedRecord, Received};
use crate::codec::{DecodeError, Reader};
use crate::merkle::{self, Head, Node, ProofError};
use crate::store::{Read, Table, WriteTxn, block_key};
use std::ops::Bound;

/// Whether a row of `Holes` can be read.
pub fn check_hole(key: &[u8], row: &[u8]) -> Result<(), DecodeError> {
    decode(key, row).map(drop)
}

fn decode(key: &[u8], row: &[u8]) -> Result<(u32, u64, bool), DecodeError> {
    let mut at = Reader::new(key);
    let (feed, seq) = (at.u32("the feed of a hole")?, at.u64("the seq of a hole")?);
    at.finish("the key of a hole")?;
    let mut reader = Reader::new(row);
    let doubt = reader.bool("the doubt of a hole")?;
    reader.finish("a hole").map(|()| (feed, seq, doubt))
}

pub(super) fn note_hole(
    txn: &mut WriteTxn<'_>,
    record: &FeedRecord,
    seq: u64,
    doubt: bool,
) -> Result<(), FeedError> {
    Ok(txn.put(Table::Holes, &block_key(record.id, seq), &[doubt.into()])?)
}

/// The holes of a feed from `from` on, at most so many, each with whether its leaf is in doubt. A row that cannot be read
/// is in doubt.
pub fn holes(
    txn: &impl Read,
    record: &FeedRecord,
    from: u64,
    most: usize,
) -> Result<Vec<(u64, bool)>, FeedError> {
    let (from, to) = (block_key(record.id, from), block_key(record.id, u64::MAX));
    let mut found = Vec::new();
    for row in txn.range(Table::Holes, Bound::Included(&from), Bound::Included(&to))?.take(most) {
        let (key, row) = row?;
        let seq = key.last_chunk().copied().map_or(0, u64::from_be_bytes);
        found.push((seq, decode(key, row).map_or(true, |(.., doubt)| doubt)));
    }
    Ok(found)
}

/// From `from` on the blocks of a feed are let go of, and so are their holes.
pub(super) fn forget_holes(txn: &mut WriteTxn<'_>, record: &FeedRecord, from: u64) -> Result<(), FeedError> {
    for (seq, _) in holes(txn, record, from, usize::MAX)? {
        txn.delete(Table::Holes, &block_key(record.id, seq))?;
    }
    Ok(())
}

/// Holes that were in doubt, and whose blocks fit their leaves: where either blocks or leaves lead to the signed head, what
/// both say is right.
pub(super) fn forget_right(txn: &mut WriteTxn<'_>, record: &FeedRecord) -> Result<(), FeedError> {
    for (seq, doubt) in holes(&*txn, record, 0, usize::MAX)? {
        let block = txn.get(Table::Blocks, &block_key(record.id, seq))?.map(Node::leaf);
        if doubt && block.is_some() && block == mend::leaf_at(&*txn, record.id, seq)? {
            txn.delete(Table::Holes, &block_key(record.id, seq))?;
        }
    }
    Ok(())
}

/// Blocks here from the first on without a gap.
pub fn contiguous(txn: &impl Read, record: &FeedRecord) -> Result<u64, FeedError> {
    Ok(holes(txn, record, 0, 1)?.first().map_or(record.length, |(seq, _)| (*seq).min(record.length)))
}

/// Puts blocks that a peer sent into the holes they are of. They must have come with a complete proof, and lead to a head
/// that the feed's key has signed; where the leaf in the tree is not in doubt, they must be what it says. Returns how many
/// holes were filled; an error other than the store's is the sender's, and has written nothing.
pub fn fill(
    txn: &mut WriteTxn<'_>,
    record: &FeedRecord,
    received: &Received<'_>,
) -> Result<usize, FeedError> {
    let end = received.start.saturating_add(received.blocks.len() as u64).min(record.length);
    let mut here = holes(txn, record, received.start, received.blocks.len())?;
    here.retain(|(seq, _)| *seq < end);
    if received.extending || here.is_empty() {
        return Ok(0);
    }
    let proved = merkle::compute(received.start, &received.blocks, &received.nodes, None, received.length)?;
    let Received { length, byte_length, signature, .. } = *received;
    let head = Head { length, byte_length, root: proved.whole.hash(), signature };
    if !head.fits(&proved.whole) {
        return Err(ProofError::Root { length }.into());
    }
    if record.head != Some(head) {
        head.verify(record.signer())?;
    }
    let mut filled = Vec::new();
    for (seq, doubt) in here {
        let at = usize::try_from(seq.saturating_sub(received.start)).unwrap_or(usize::MAX);
        let (Some(leaf), Some(block)) = (proved.leaves.get(at), received.blocks.get(at)) else { continue };
        // Another leaf than a signed one is another history: whoever compares them says so.
        if doubt || mend::leaf_at(txn, record.id, seq)? == Some(*leaf) {
            filled.push((seq, doubt, *leaf, *block));
        }
    }
    put_back(txn, record, &filled)?;
    Ok(filled.len())
}

/// Puts into the holes of a feed that has forked what is here of the branch it holds. Returns how many were filled.
pub fn fill_from(
    txn: &mut WriteTxn<'_>,
    record: &FeedRecord,
    branch: &FeedRecord,
) -> Result<usize, FeedError> {
    let mut filled = Vec::new();
    for (seq, doubt) in holes(txn, record, branch.base(), usize::MAX)? {
        let block = txn.get(Table::Blocks, &block_key(branch.id, seq))?.map(<[u8]>::to_vec);
        // The leaf that was verified, not one made of what stands there now.
        let leaf = mend::leaf_at(txn, branch.id, seq)?.filter(|_| seq < branch.length);
        let Some((block, leaf)) = block.zip(leaf) else { continue };
        if Node::leaf(&block) == leaf && (doubt || mend::leaf_at(txn, record.id, seq)? == Some(leaf)) {
            filled.push((seq, doubt, leaf, block));
        }
    }
    put_back(txn, record, &filled)?;
    Ok(filled.len())
}

/// Writes blocks that were proved into their holes: each with its seq, whether its leaf was in doubt, and its leaf.
fn put_back<B: AsRef<[u8]>>(
    txn: &mut WriteTxn<'_>,
    record: &FeedRecord,
    filled: &[(u64, bool, Node, B)],
) -> Result<(), FeedError> {
    for (seq, doubt, leaf, block) in filled {
        txn.put(Table::Blocks, &block_key(record.id, *seq), block.as_ref())?;
        txn.delete(Table::Holes, &block_key(record.id, *seq))?;
        if *doubt {
            mend::put_leaf(txn, record, *seq, *leaf)?;
        }
    }
    let had_doubt = filled.iter().any(|(_, doubt, ..)| *doubt);
    if had_doubt && !holes(txn, record, 0, usize::MAX)?.iter().any(|(_, doubt)| *doubt) {
        mend::tree_of_leaves(txn, record)?;
    }
    Ok(())
}

/// Which holes there are in the whole store, at most so many: by the feed's number.
pub fn all_holes(txn: &impl Read, most: usize) -> Result<Vec<(u32, u64)>, FeedError> {
    let mut found = Vec::new();
    for row in txn.range(Table::Holes, Bound::Unbounded, Bound::Unbounded)?.take(most) {
        let (key, _) = row?;
        let mut at = Reader::new(key);
        if let (Ok(feed), Ok(seq)) = (at.u32("a hole's feed"), at.u64("a hole's seq")) {
            found.push((feed, seq));
        }
    }
    Ok(found)
}
