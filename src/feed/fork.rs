use super::record::save;
use super::tree::StoredTree;
use super::{FeedError, FeedRecord, Received};
use crate::codec::Reader;
use crate::merkle::{self, Head, Parting, Side, flat};
use crate::store::{Read, Table, WriteTxn};
use crate::types::FeedKey;

/// The proof that the feed has forked at block `received.start`: made from that block alone with its proof under the
/// other branch's head, and from what is here. Everything received is verified.
///
/// Our branch is shown under `record.head`: blocks beyond it cannot be proved here.
pub fn parting(txn: &impl Read, record: &FeedRecord, received: &Received<'_>) -> Result<Parting, FeedError> {
    let Received { start: common, length, byte_length, signature, ref blocks, ref nodes, .. } = *received;
    let (held, end) = (record.complete(), common.saturating_add(1));
    let Some(ours) = record.head.filter(|_| common < held && blocks.len() == 1) else {
        return Err(FeedError::NotServed { start: common, end, length, held });
    };
    let tree = StoredTree { txn, feed_id: record.id };
    let known = if received.extending { Some(tree.roots(common)?) } else { None };
    let proved = merkle::compute(common, blocks, nodes, known.as_ref(), length)?;
    let theirs = Head { length, byte_length, root: proved.whole.hash(), signature };
    let before = if received.extending { 0 } else { flat::subtrees(0, common).count() };
    let after = nodes.get(before..).unwrap_or_default().to_vec();
    let leaf =
        proved.leaves.first().copied().ok_or(FeedError::NotServed { start: common, end, length, held })?;
    let roots = proved.start.nodes().collect();
    let ours = Side::new(&tree, ours, common)?;
    let parting = Parting { common, roots, sides: [ours, Side { head: theirs, leaf, after }] };
    parting.verify(&record.key)?;
    Ok(parting)
}

/// Keeps the proof of a fork. The first one stays.
pub fn save_parting(txn: &mut WriteTxn<'_>, feed: &FeedKey, parting: &Parting) -> Result<(), FeedError> {
    let mut row = Vec::new();
    parting.encode_into(&mut row);
    Ok(txn.put(Table::Forks, feed.as_bytes(), &row)?)
}

/// The proof that a feed has forked, if it is known to have.
pub fn load_parting(txn: &impl Read, feed: &FeedKey) -> Result<Option<Parting>, FeedError> {
    let Some(row) = txn.get(Table::Forks, feed.as_bytes())? else { return Ok(None) };
    let corrupt = |source| FeedError::CorruptRecord { feed: *feed, source };
    let mut reader = Reader::new(row);
    let parting = Parting::decode(&mut reader).map_err(corrupt)?;
    reader.finish("the proof of a fork").map_err(corrupt)?;
    Ok(Some(parting))
}

/// Notes that the feed has forked. A longer head that was seen but not proved to continue what is here is forgotten,
/// so that this branch can go on past its length.
pub fn mark_forked(txn: &mut WriteTxn<'_>, record: &mut FeedRecord) -> Result<(), FeedError> {
    record.forked = true;
    record.tip = None;
    save(txn, record)
}
