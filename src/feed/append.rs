use super::record::save;

use super::tree::TreeWriter;
use super::{FeedError, FeedRecord};
use crate::codec::limits::{MAX_BLOCK_BYTES, MAX_FEED_LENGTH};
use crate::merkle::{Head, Node};
use crate::store::{Read, Table, WriteTxn, block_key};
use crate::types::Hash;

/// One's own feed, open for any number of appends within one write transaction; several feeds can be open at once.
///
/// Blocks are written as they come; tree rows once per sixteen leaves, record and signature once, in [`finish`].
/// Until then reads of this feed's tree and record do not see the new blocks. An appender that is dropped, or whose
/// call failed, leaves the transaction fit only to be aborted.
///
/// [`finish`]: Appender::finish
pub struct Appender {
    record: FeedRecord,
    tree: TreeWriter,
}

impl Appender {
    /// Refuses a feed without a secret here; one of which a longer head is known than is here, or may exist: to append
    /// then would fork it; and one that has forked, since what is appended to it counts for nobody.
    pub fn new(txn: &impl Read, record: FeedRecord) -> Result<Self, FeedError> {
        let secret = record.secret.as_ref().ok_or(FeedError::NotWritable { feed: record.key })?;
        if secret.seed(record.key)?.feed() != record.key {
            return Err(FeedError::WrongSecret { feed: record.key });
        }
        if record.forked {
            return Err(FeedError::Forked { feed: record.key });
        }
        if record.unconfirmed {
            return Err(FeedError::Unconfirmed { feed: record.key });
        }
        let (length, signed) = (record.length, record.signed());
        if signed > length {
            return Err(FeedError::Behind { feed: record.key, length, signed });
        }
        let tree = TreeWriter::open(txn, record.id, length)?;
        // What is signed next says what was signed before it: never over a tree that has changed since.
        if record.head.is_some_and(|head| head.length == length && head.root != tree.roots().hash()) {
            return Err(FeedError::Corrupt {
                feed_id: record.id,
                what: "its tree does not lead to its signed head",
            });
        }
        Ok(Self { record, tree })
    }

    /// Blocks so far, the new ones included: the index of the next.
    pub fn length(&self) -> u64 {
        self.record.length
    }

    pub fn record(&self) -> &FeedRecord {
        &self.record
    }

    /// Root hash at [`length`](Self::length): what a link to all of this feed carries.
    pub fn root(&self) -> Hash {
        self.tree.roots().hash()
    }

    /// Appends one block and returns its index. A block that is refused changes nothing.
    pub fn append(&mut self, txn: &mut WriteTxn<'_>, block: &[u8]) -> Result<u64, FeedError> {
        let (seq, bytes) = (self.record.length, block.len() as u64);
        if block.len() > MAX_BLOCK_BYTES {
            return Err(FeedError::BlockTooLarge { found: bytes, limit: MAX_BLOCK_BYTES as u64 });
        }
        if seq >= MAX_FEED_LENGTH {
            return Err(FeedError::FeedTooLong { limit: MAX_FEED_LENGTH });
        }
        txn.put(Table::Blocks, &block_key(self.record.id, seq), block)?;
        self.tree.push(txn, Node::leaf(block))?;
        self.record.length += 1;
        self.record.byte_length = self.tree.roots().byte_length();
        Ok(seq)
    }

    /// Writes what is open, signs the new length, saves the record. Without appends nothing is written or signed.
    pub fn finish(self, txn: &mut WriteTxn<'_>) -> Result<FeedRecord, FeedError> {
        let Self { mut record, tree } = self;
        if record.complete() == record.length {
            return Ok(record);
        }
        let roots = tree.finish(txn)?;
        let secret = record.secret.as_ref().ok_or(FeedError::NotWritable { feed: record.key })?;
        record.head = Some(Head::sign(&secret.seed(record.key)?.signing_key(), &roots));
        save(txn, &record)?;
        Ok(record)
    }
}
