use super::receive::leads_to_head;
use super::record::save;

use super::tree::{PACK, StoredTree, tier_length, tiers};
use super::{FeedError, FeedRecord};
use crate::merkle::{Head, Node, Roots};
use crate::store::{Read, Table, WriteTxn, block_key, tree_key};

/// Cuts one's own feed to `length` blocks and signs that length, so that what is elsewhere can be taken and the
/// blocks cut off here be appended again after it (`docs/design.md`, One feed, one history). Refused if more has
/// left this machine. The caller has copied the blocks before, and knows that `0 .. length` is common to both.
pub fn truncate(txn: &mut WriteTxn<'_>, record: &mut FeedRecord, length: u64) -> Result<(), FeedError> {
    let secret = record.secret.as_ref().ok_or(FeedError::NotWritable { feed: record.key })?;
    let secret = secret.seed(record.key)?.clone();
    if length > record.length {
        return Err(FeedError::Gap { start: length, length: record.length });
    }
    if length < record.left {
        return Err(FeedError::HasLeft { left: record.left, length });
    }
    let roots = cut(txn, record, length)?;
    record.head = (length > 0).then(|| Head::sign(&secret.signing_key(), &roots));
    record.cover = None;
    save(txn, record)
}

/// Ends one's own feed with what is here and forgets what was signed beyond: the user's word that nothing more of it exists
/// anywhere. If something does, that key has signed two histories.
pub fn end_here(txn: &mut WriteTxn<'_>, record: &mut FeedRecord) -> Result<(), FeedError> {
    let secret = record.secret.as_ref().ok_or(FeedError::NotWritable { feed: record.key })?;
    let secret = secret.seed(record.key)?.clone();
    let tree = StoredTree { txn: &*txn, feed_id: record.id };
    // What is signed says what is below it: never over a tree that has changed.
    if !leads_to_head(&tree, record)? {
        let what = "its tree does not lead to its signed head";
        return Err(FeedError::Corrupt { feed_id: record.id, what });
    }
    let roots = tree.roots(record.length)?;
    if record.complete() != record.length {
        record.head = Some(Head::sign(&secret.signing_key(), &roots));
    }
    (record.cover, record.covered, record.tip, record.left) = (None, None, None, record.length);
    save(txn, record)
}

/// Takes away the blocks from `length` on, and the tree over them. Which heads are left the caller says.
pub(super) fn cut(txn: &mut WriteTxn<'_>, record: &mut FeedRecord, length: u64) -> Result<Roots, FeedError> {
    let roots = StoredTree { txn: &*txn, feed_id: record.id }.roots(length)?;
    for tier in tiers(record.length) {
        let (keep, had) = (tier_length(length, tier), tier_length(record.length, tier));
        let key = tree_key(record.id, tier, keep / PACK);
        let kept = usize::try_from(keep % PACK).unwrap_or(0) * Node::SIZE;
        let row = txn.get(Table::Tree, &key)?.and_then(|row| row.get(..kept)).map(<[u8]>::to_vec);
        for group in keep / PACK..had.div_ceil(PACK) {
            txn.delete(Table::Tree, &tree_key(record.id, tier, group))?;
        }
        if let Some(row) = row.filter(|row| !row.is_empty()) {
            txn.put(Table::Tree, &key, &row)?;
        }
    }
    for seq in length..record.length {
        txn.delete(Table::Blocks, &block_key(record.id, seq))?;
    }
    super::holes::forget_holes(txn, record, length)?;
    (record.length, record.byte_length, record.covered) = (length, roots.byte_length(), None);
    Ok(roots)
}
