use super::cover::tree_under;
use super::record::save;
use super::tree::StoredTree;
use super::{FeedError, FeedRecord, Received};
use crate::codec::Reader;
use crate::merkle::{self, Head, Parting, PartingError, Side, flat};
use crate::store::{Read, Table, WriteTxn};
use crate::types::FeedKey;

/// The proof that the feed has forked at block `received.start`: made from that block alone with its proof under the
/// other branch's head, and from what is here. Everything received is verified.
///
/// Our branch is shown under `record.head`, or, beyond that, under what covers it.
pub fn parting(txn: &impl Read, record: &FeedRecord, received: &Received<'_>) -> Result<Parting, FeedError> {
    let Received { start: common, length, byte_length, signature, ref blocks, ref nodes, .. } = *received;
    let end = common.saturating_add(1);
    let shows = |head: &Head| blocks.len() == 1 && end <= record.provable_under(head);
    let Some(ours) = record.head.filter(shows).or_else(|| record.cover.filter(shows)) else {
        return Err(FeedError::NotServed { start: common, end, length, held: record.complete() });
    };
    let tree = StoredTree { txn, feed_id: record.id };
    let known = if received.extending { Some(tree.roots(common)?) } else { None };
    let proved = merkle::compute(common, blocks, nodes, known.as_ref(), length)?;
    let theirs = Head { length, byte_length, root: proved.whole.hash(), signature };
    let before = if received.extending { 0 } else { flat::subtrees(0, common).count() };
    let after = nodes.get(before..).unwrap_or_default().to_vec();
    let leaf = proved.leaves.first().copied();
    let leaf = leaf.ok_or(FeedError::NotServed { start: common, end, length, held: record.complete() })?;
    let roots = proved.start.nodes().collect();
    let ours = Side::new(&tree_under(&tree, record, &ours)?, ours, common)?;
    let parting = Parting { common, roots, sides: [ours, Side { head: theirs, leaf, after }] };
    match parting.verify(&record.key) {
        Ok(()) => Ok(parting),
        // Their side was verified, with what is common.
        Err(PartingError::Proof(_)) => {
            Err(FeedError::Corrupt { feed_id: record.id, what: "its tree does not lead to its signed head" })
        }
        Err(error) => Err(error.into()),
    }
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
