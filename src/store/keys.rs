//! Keys that more than one stage reads.

use super::{Read, StoreError, Table};

/// Key of `Blocks`: feed u32 ‖ seq u64.
pub fn block_key(feed: u32, seq: u64) -> [u8; 12] {
    let mut out = [0; 12];
    let (prefix, rest) = out.split_at_mut(4);
    prefix.copy_from_slice(&feed.to_be_bytes());
    rest.copy_from_slice(&seq.to_be_bytes());
    out
}

/// Block `seq` of the feed that this store numbers `feed`.
pub fn block(txn: &impl Read, feed: u32, seq: u64) -> Result<Option<&[u8]>, StoreError> {
    txn.get(Table::Blocks, &block_key(feed, seq))
}
