//! Parts of a feed that stand apart from its beginning, for who wants single blocks of a long feed.
//!
//! ```text
//! Parts  Key: feed u32 ‖ start u64
//!        Value: blocks varint ‖ length varint ‖ byte length varint ‖ signature 64 ‖ nodes varint ‖ node 40* ‖ (block bytes)*
//! ```
//!
//! A part is what a peer sent, with its complete proof: whoever reads it verifies it again, so nothing here is trusted.
//! Parts of one feed never overlap. None begins below the feed's length for longer than the transaction that grew it.

use super::receive::compare_heads;
use super::record::save;
use super::tree::StoredTree;
use super::{FeedError, FeedRecord, Received};
use crate::codec::limits::MAX_BLOCK_BYTES;
use crate::codec::{DecodeError, Reader, put_bytes, put_varint};
use crate::merkle::{self, Head, Node, ProofError};
use crate::store::{Read, Table, WriteTxn, block_key};
use std::ops::Bound;

/// Nodes of a complete proof at most: two per depth of the longest feed, and then some.
const MAX_NODES: u64 = 120;

/// A part as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub start: u64,
    length: u64,
    byte_length: u64,
    signature: [u8; 64],
    nodes: Vec<Node>,
    blocks: Vec<Vec<u8>>,
}

impl Part {
    fn end(&self) -> u64 {
        self.start.saturating_add(self.blocks.len() as u64)
    }

    /// As if a peer had just sent it.
    pub fn received(&self) -> Received<'_> {
        Received {
            start: self.start,
            length: self.length,
            byte_length: self.byte_length,
            signature: self.signature,
            nodes: self.nodes.clone(),
            blocks: self.blocks.iter().map(Vec::as_slice).collect(),
            extending: false,
        }
    }

    fn encode(received: &Received<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, received.blocks.len() as u64);
        put_varint(&mut out, received.length);
        put_varint(&mut out, received.byte_length);
        out.extend_from_slice(&received.signature);
        put_varint(&mut out, received.nodes.len() as u64);
        for node in &received.nodes {
            node.encode_into(&mut out);
        }
        for block in &received.blocks {
            put_bytes(&mut out, block);
        }
        out
    }

    fn decode(key: &[u8], row: &[u8]) -> Result<Self, DecodeError> {
        let start = start_of(key)?;
        let mut reader = Reader::new(row);
        let count = reader.varint("the blocks of a part")?;
        let (length, byte_length) = (reader.varint("a head's length")?, reader.varint("a head's bytes")?);
        let signature = reader.array("a head's signature")?;
        let nodes = reader.varint("the nodes of a part")?;
        if nodes > MAX_NODES {
            return Err(DecodeError::UnknownTag { what: "the nodes of a part", tag: nodes });
        }
        let nodes = (0..nodes).map(|_| Node::decode(&mut reader)).collect::<Result<_, _>>()?;
        let mut blocks = Vec::new();
        // Each takes a byte at least: a false count ends with the row.
        for _ in 0..count {
            blocks.push(reader.bytes("a block", MAX_BLOCK_BYTES)?.to_vec());
        }
        reader.finish("a part")?;
        Ok(Self { start, length, byte_length, signature, nodes, blocks })
    }
}

/// Whether a row of `Parts` can be read.
pub fn check_part(key: &[u8], row: &[u8]) -> Result<(), DecodeError> {
    Part::decode(key, row).map(drop)
}

/// Whether a part of a feed is what its key has signed.
pub fn verify_part(record: &FeedRecord, key: &[u8], row: &[u8]) -> Result<(), FeedError> {
    let part = Part::decode(key, row).map_err(|_| corrupt(record))?;
    let head = proved(&part.received())?;
    Ok(head.verify(record.signer())?)
}

fn start_of(key: &[u8]) -> Result<u64, DecodeError> {
    let mut reader = Reader::new(key);
    reader.u32("the feed of a part")?;
    let start = reader.u64("the start of a part")?;
    reader.finish("the key of a part").map(|()| start)
}

fn corrupt(record: &FeedRecord) -> FeedError {
    FeedError::Corrupt { feed_id: record.id, what: "a part of it" }
}

/// Where the part whose start is the last at or before `seq` (or, `next`, the first after it) begins and ends.
fn span(txn: &impl Read, record: &FeedRecord, seq: u64, next: bool) -> Result<Option<(u64, u64)>, FeedError> {
    let (first, at, last) =
        (block_key(record.id, 0), block_key(record.id, seq), block_key(record.id, u64::MAX));
    let row = if next {
        txn.first(Table::Parts, Bound::Excluded(&at), Bound::Included(&last))?
    } else {
        txn.last(Table::Parts, Bound::Included(&first), Bound::Included(&at))?
    };
    let Some((key, row)) = row else { return Ok(None) };
    let start = start_of(key).map_err(|_| corrupt(record))?;
    let count = Reader::new(row).varint("the blocks of a part").map_err(|_| corrupt(record))?;
    Ok(Some((start, start.saturating_add(count))))
}

/// The first blocks of `from .. end` that are not here, as a range.
pub fn gap(
    txn: &impl Read,
    record: &FeedRecord,
    from: u64,
    end: u64,
) -> Result<Option<(u64, u64)>, FeedError> {
    let mut at = from.max(record.length);
    while let Some((_, after)) = span(txn, record, at, false)?.filter(|(_, after)| *after > at) {
        at = after;
    }
    if at >= end {
        return Ok(None);
    }
    let next = span(txn, record, at, true)?.map_or(end, |(start, _)| start.min(end));
    Ok(Some((at, next)))
}

/// Verifies blocks that stand apart from the beginning, with a complete proof, and stores them; the head they came under
/// is remembered. False: some of them are here, and nothing was stored. An error has written nothing.
pub fn keep_part(
    txn: &mut WriteTxn<'_>,
    record: &mut FeedRecord,
    received: &Received<'_>,
) -> Result<bool, FeedError> {
    let head = verify(txn, record, received)?;
    let end = received.start.saturating_add(received.blocks.len() as u64);
    if gap(txn, record, received.start, end)? != Some((received.start, end)) {
        return Ok(false);
    }
    txn.put(Table::Parts, &block_key(record.id, received.start), &Part::encode(received))?;
    if head.length > record.signed() {
        record.tip = Some(head);
        save(txn, record)?;
    }
    Ok(true)
}

fn verify(txn: &impl Read, record: &FeedRecord, received: &Received<'_>) -> Result<Head, FeedError> {
    let Received { start, length, byte_length, signature, .. } = *received;
    if received.extending || received.blocks.is_empty() || start <= record.length {
        return Err(FeedError::Gap { start, length: record.length });
    }
    if let Some(block) = received.blocks.iter().find(|block| block.len() > MAX_BLOCK_BYTES) {
        return Err(FeedError::BlockTooLarge { found: block.len() as u64, limit: MAX_BLOCK_BYTES as u64 });
    }
    let head = proved(received)?;
    if ![record.head, record.cover, record.tip].contains(&Some(head)) {
        Head { length, byte_length, root: head.root, signature }.verify(record.signer())?;
    }
    compare_heads(&StoredTree { txn, feed_id: record.id }, record, &head, false)?;
    Ok(head)
}

/// The head that the blocks and nodes lead to; its signature is not looked at.
fn proved(received: &Received<'_>) -> Result<Head, FeedError> {
    let Received { start, length, byte_length, signature, .. } = *received;
    let proved = merkle::compute(start, &received.blocks, &received.nodes, None, length)?;
    let head = Head { length, byte_length, root: proved.whole.hash(), signature };
    if head.fits(&proved.whole) { Ok(head) } else { Err(ProofError::Root { length }.into()) }
}

/// A block that stands apart, verified again.
pub fn apart(txn: &impl Read, record: &FeedRecord, seq: u64) -> Result<Option<Vec<u8>>, FeedError> {
    let Some((start, _)) = span(txn, record, seq, false)?.filter(|(_, end)| *end > seq) else {
        return Ok(None);
    };
    let key = block_key(record.id, start);
    let row = txn.get(Table::Parts, &key)?.ok_or(corrupt(record))?;
    let mut part = Part::decode(&key, row).map_err(|_| corrupt(record))?;
    let is_whole = proved(&part.received()).is_ok_and(|head| head.verify(record.signer()).is_ok());
    let at = usize::try_from(seq - start).unwrap_or(usize::MAX);
    if is_whole && at < part.blocks.len() {
        Ok(Some(part.blocks.swap_remove(at)))
    } else {
        Err(corrupt(record))
    }
}

/// Takes out the first part that the feed has reached; who takes it ingests it like what a peer sent, or drops it where
/// all of it is here.
pub fn take_reached(txn: &mut WriteTxn<'_>, record: &FeedRecord) -> Result<Option<Part>, FeedError> {
    let (first, last) = (block_key(record.id, 0), block_key(record.id, record.length));
    while let Some((key, row)) = txn.first(Table::Parts, Bound::Included(&first), Bound::Included(&last))? {
        let (key, part) = (key.to_vec(), Part::decode(key, row));
        txn.delete(Table::Parts, &key)?;
        if let Ok(part) = part
            && part.end() > record.length
        {
            return Ok(Some(part));
        }
    }
    Ok(None)
}

/// Lets go of all parts.
pub(super) fn clear_parts(txn: &mut WriteTxn<'_>, record: &FeedRecord) -> Result<(), FeedError> {
    let (first, last) = (block_key(record.id, 0), block_key(record.id, u64::MAX));
    while let Some((key, _)) = txn.first(Table::Parts, Bound::Included(&first), Bound::Included(&last))? {
        let key = key.to_vec();
        txn.delete(Table::Parts, &key)?;
    }
    Ok(())
}
