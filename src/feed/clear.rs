use super::record::save;
use super::tree::{PACK, tier_length, tiers};
use super::{FeedError, FeedRecord};
use crate::store::{Table, WriteTxn, block_key, tree_key};

/// Lets go of everything that is here of another's feed, or of a branch: blocks, tree, heads, a proof that it forked. The
/// record stays, empty, with its number. Refused for an own feed, which would be appended to from its beginning.
pub fn clear(txn: &mut WriteTxn<'_>, record: &mut FeedRecord) -> Result<(), FeedError> {
    if record.secret.is_some() {
        return Err(FeedError::HasLeft { left: record.left, length: 0 });
    }
    for seq in record.base()..record.length {
        txn.delete(Table::Blocks, &block_key(record.id, seq))?;
    }
    for tier in tiers(record.length) {
        for group in 0..tier_length(record.length, tier).div_ceil(PACK) {
            txn.delete(Table::Tree, &tree_key(record.id, tier, group))?;
        }
    }
    super::holes::forget_holes(txn, record, 0)?;
    super::parts::clear_parts(txn, record)?;
    txn.delete(Table::Forks, record.key.as_bytes())?;
    (record.length, record.byte_length, record.forked) = (0, 0, false);
    (record.head, record.cover, record.tip, record.branch) = (None, None, None, None);
    record.covered = None;
    save(txn, record)
}
