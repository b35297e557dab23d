use super::cover::tree_under;
use super::tree::StoredTree;
use super::{FeedError, FeedRecord};
use crate::merkle::{self, Head, Known, Node, ProofError, Span};
use crate::store::{self, Read, Table, block_key};
use crate::types::Hash;

/// Consecutive blocks with their proof, ready to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Outgoing<'t> {
    pub head: Head,
    pub start: u64,
    /// Exclusive.
    pub end: u64,
    pub nodes: Vec<Node>,
    /// Borrowed from the transaction.
    pub blocks: Vec<&'t [u8]>,
}

/// The block as it travels (sealed, in an encrypted database); `None` if it is not here.
pub fn block(txn: &impl Read, feed_id: u32, seq: u64) -> Result<Option<&[u8]>, FeedError> {
    Ok(store::block(txn, feed_id, seq)?)
}

/// Root hash at a length that is here; its first half is what a link carries.
pub fn root_at(txn: &impl Read, record: &FeedRecord, length: u64) -> Result<Hash, FeedError> {
    roots(txn, record, length).map(|roots| roots.hash())
}

/// Bytes of the first `length` blocks, for a length that is here.
pub fn byte_length_at(txn: &impl Read, record: &FeedRecord, length: u64) -> Result<u64, FeedError> {
    roots(txn, record, length).map(|roots| roots.byte_length())
}

fn roots(txn: &impl Read, record: &FeedRecord, length: u64) -> Result<merkle::Roots, FeedError> {
    if length > record.length {
        return Err(FeedError::Gap { start: length, length: record.length });
    }
    StoredTree { txn, feed_id: record.id }.roots(length)
}

/// Blocks `start .. end`, as many as `max_bytes` allow but at least one, with the proof that they are under `against`, a
/// head that is complete here or covers what is. With `start == end` the proof alone: what the root at `start` is under that head.
///
/// Whatever of it has changed since it was stored is found here, and nothing is sent: what is handed out leads to the
/// signed root.
///
/// `Known::Start` leaves out what a receiver that holds all below `start` knows.
pub fn prove<'t>(
    txn: &'t impl Read,
    record: &FeedRecord,
    (start, end): (u64, u64),
    max_bytes: u64,
    against: &Head,
    known: Known,
) -> Result<Outgoing<'t>, FeedError> {
    let (length, held) = (against.length, record.provable_under(against));
    if start > end || end > held || start < record.base() {
        return Err(FeedError::NotServed { start, end, length, held });
    }
    let corrupt = |what| FeedError::Corrupt { feed_id: record.id, what };
    let (mut blocks, mut bytes) = (Vec::new(), 0_u64);
    for seq in start..end {
        // Not compared with its leaf: below, all that goes out is compared with the signed root.
        let block = txn.get(Table::Blocks, &block_key(record.id, seq))?;
        let block = block.ok_or(corrupt("a block is missing"))?;
        bytes = bytes.saturating_add(block.len() as u64);
        if bytes > max_bytes && seq > start {
            break;
        }
        blocks.push(block);
    }
    let end = start + blocks.len() as u64;
    let tree = StoredTree { txn, feed_id: record.id };
    let nodes = merkle::prove(&tree_under(&tree, record, against)?, &Span { start, end, length }, known)?;
    let held = if known == Known::Start { Some(tree.roots(start)?) } else { None };
    match merkle::verify(start, &blocks, &nodes, held.as_ref(), against) {
        Ok(_) => {}
        Err(ProofError::Root { .. }) => {
            return Err(corrupt("blocks or tree nodes that do not lead to the signed root"));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Outgoing { head: *against, start, end, nodes, blocks })
}
