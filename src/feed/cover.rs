//! What it takes to prove blocks beyond the last complete head under the longer one that covers them, so that a feed which
//! is only partly here is passed on as far as it is.
//!
//! ```text
//! Covers  Key: feed u32      Value: length u64 ‖ root 32 ‖ node 40*
//! ```
//!
//! `length` is the feed's, `root` that of its tree there; the nodes are the fewest whole subtrees from there to the length
//! of `cover`, so their number follows from both. A row of another length, as of a record that was mended, is none.

use super::tree::StoredTree;
use super::{FeedError, FeedRecord};
use crate::codec::{DecodeError, Reader};
use crate::merkle::{Beyond, Head, Node, Roots, flat};
use crate::store::{Read, Table, WriteTxn};
use crate::types::Hash;

/// What is kept with a cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    /// Of the tree at the length that is here.
    pub root: Hash,
    /// The fewest whole subtrees from there to the cover's length.
    pub(super) nodes: Vec<Node>,
}

/// More nodes than lead from one length to another: two of each depth.
const MAX_NODES: usize = 80;

impl Covered {
    fn encode(&self, length: u64) -> Vec<u8> {
        let mut out = length.to_be_bytes().to_vec();
        out.extend_from_slice(&self.root);
        self.nodes.iter().for_each(|node| node.encode_into(&mut out));
        out
    }

    fn decode(row: &[u8]) -> Result<(u64, Self), DecodeError> {
        let mut reader = Reader::new(row);
        let (length, root) = (reader.u64("a covered length")?, reader.array("a covered root")?);
        let mut nodes = Vec::new();
        while reader.remaining() > 0 {
            if nodes.len() == MAX_NODES {
                let (found, limit) = (row.len() as u64, MAX_NODES as u64);
                return Err(DecodeError::TooLarge { what: "the nodes of a cover", found, limit });
            }
            nodes.push(Node::decode(&mut reader)?);
        }
        Ok((length, Self { root, nodes }))
    }
}

/// Whether a row of `Covers` can be read.
pub fn check_cover(key: &[u8], row: &[u8]) -> Result<(), DecodeError> {
    let mut reader = Reader::new(key);
    reader.u32("the feed of a cover")?;
    reader.finish("the key of a cover")?;
    Covered::decode(row).map(drop)
}

/// Whether a row of `Covers` leads from what is here to the head that covers it.
pub fn verify_cover(txn: &impl Read, record: &FeedRecord, key: &[u8], row: &[u8]) -> Result<(), FeedError> {
    let corrupt = FeedError::Corrupt { feed_id: record.id, what: "what its last blocks are passed on with" };
    let read = check_cover(key, row).and_then(|()| Covered::decode(row));
    let (Ok((length, covered)), Some(cover)) = (read, record.cover) else { return Err(corrupt) };
    let tree = StoredTree { txn, feed_id: record.id };
    let roots = tree.roots(record.length)?;
    let fits = length == record.length
        && covered.root == roots.hash()
        && Beyond::new(&tree, roots, cover.length, &covered.nodes).is_ok_and(|it| cover.fits(it.whole()));
    if fits { Ok(()) } else { Err(corrupt) }
}

/// What is kept with the cover of a record; a row that cannot be read is none.
pub(super) fn load(txn: &impl Read, record: &FeedRecord) -> Result<Option<Covered>, FeedError> {
    let Some(cover) = record.cover else { return Ok(None) };
    let row = txn.get(Table::Covers, &record.id.to_be_bytes())?;
    let kept = row.and_then(|row| Covered::decode(row).ok());
    let kept = kept.filter(|(length, covered)| {
        *length == record.length && covered.nodes.len() == flat::subtrees(*length, cover.length).count()
    });
    Ok(kept.map(|(_, covered)| covered))
}

/// Called with every record that is written: the row is there as long as the record has it.
pub(super) fn save(txn: &mut WriteTxn<'_>, record: &FeedRecord) -> Result<(), FeedError> {
    let key = record.id.to_be_bytes();
    match record.covered.as_ref().filter(|_| record.cover.is_some()) {
        Some(covered) => txn.put(Table::Covers, &key, &covered.encode(record.length))?,
        None if txn.get(Table::Covers, &key)?.is_some() => drop(txn.delete(Table::Covers, &key)?),
        None => {}
    }
    Ok(())
}

/// `to` was made of what `from` has: where it is all of it, it is covered as that is.
pub(super) fn carry_over(to: &mut FeedRecord, from: &FeedRecord) {
    let is_same = to.length == from.length && to.length > to.complete();
    if let (Some(cover), Some(covered), true) = (from.cover, &from.covered, is_same) {
        let others = [to.cover, to.tip];
        let longer = others.iter().flatten().filter(|head| head.length > to.length && **head != cover);
        to.tip = longer.max_by_key(|head| head.length).copied();
        (to.cover, to.covered) = (Some(cover), Some(covered.clone()));
    }
}

impl FeedRecord {
    /// How much of another's feed is passed on: all that is here, if it can be proved under the head that covers it. Of an
    /// own feed what was signed here, as it was.
    pub fn served(&self) -> u64 {
        let is_covered = self.secret.is_none() && self.cover.is_some() && self.covered.is_some();
        if is_covered { self.length.max(self.complete()) } else { self.complete() }
    }

    /// The head under which blocks up to `end` are passed on.
    pub fn served_under(&self, end: u64) -> Option<&Head> {
        if end <= self.complete() {
            return self.head.as_ref();
        }
        self.cover.as_ref().filter(|_| end <= self.served())
    }

    /// How much can be proved under a head.
    pub(super) fn provable_under(&self, head: &Head) -> u64 {
        match self.cover {
            Some(cover) if cover == *head && self.covered.is_some() => self.length,
            _ if head.length <= self.complete() => head.length,
            _ => 0,
        }
    }
}

/// What is kept with a head, if that is the cover: the tree beyond what is here.
pub(super) fn given<'r>(record: &'r FeedRecord, head: &Head) -> &'r [Node] {
    let covered = record.covered.as_ref().filter(|_| record.cover == Some(*head));
    covered.map_or(&[], |covered| &covered.nodes)
}

/// The tree that leads to a head that blocks can be proved under.
pub(super) fn tree_under<'t, R: Read>(
    tree: &'t StoredTree<'t, R>,
    record: &FeedRecord,
    head: &Head,
) -> Result<Beyond<'t, StoredTree<'t, R>>, FeedError> {
    let given = given(record, head);
    // Of a complete head nothing lies beyond: all of its tree is here.
    let (roots, length) =
        if given.is_empty() { (Roots::new(), 0) } else { (tree.roots(record.length)?, head.length) };
    Ok(Beyond::new(tree, roots, length, given)?)
}
