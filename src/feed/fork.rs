use super::record::save;
use super::tree::StoredTree;
use super::{FeedError, FeedRecord, Received};
use crate::merkle::{self, Head, Parting, Side, flat};
use crate::store::{Read, WriteTxn};

/// The proof that the feed has forked at block `received.start`: made from that block alone with its complete proof
/// under the other branch's head, and from what is here. Everything received is verified.
///
/// The block is found by asking for proofs without blocks (the other branch's root at a length) and halving. Our
/// branch is shown under `record.head`: blocks beyond it cannot be proved here.
pub fn parting(txn: &impl Read, record: &FeedRecord, received: &Received<'_>) -> Result<Parting, FeedError> {
    let Received { start: common, length, byte_length, signature, ref blocks, ref nodes, .. } = *received;
    let (held, end) = (record.complete(), common.saturating_add(1));
    let Some(ours) = record.head.filter(|_| common < held && blocks.len() == 1) else {
        return Err(FeedError::NotServed { start: common, end, length, held });
    };
    let proved = merkle::compute(common, blocks, nodes, None, length)?;
    let theirs = Head { length, byte_length, root: proved.whole.hash(), signature };
    let (roots, after) = nodes.split_at_checked(flat::subtrees(0, common).count()).unwrap_or_default();
    let leaf =
        proved.leaves.first().copied().ok_or(FeedError::NotServed { start: common, end, length, held })?;
    let side = Side { head: theirs, leaf, after: after.to_vec() };
    let ours = Side::new(&StoredTree { txn, feed_id: record.id }, ours, common)?;
    let parting = Parting { common, roots: roots.to_vec(), sides: [ours, side] };
    parting.verify(&record.key)?;
    Ok(parting)
}

/// Notes that the feed has forked. A longer head that was seen but not proved to continue what is here is forgotten,
/// so that this branch can go on past its length.
pub fn mark_forked(txn: &mut WriteTxn<'_>, record: &mut FeedRecord) -> Result<(), FeedError> {
    record.forked = true;
    record.tip = None;
    save(txn, record)
}
