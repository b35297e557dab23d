//! Branches of a feed that has forked. Each of the two that its proof shows is a feed of its own here, with a name that
//! follows from the proof, verified with the key of the feed it is a branch of. Below the common length it has no blocks,
//! only the tree: what is common stands in the feed itself, which holds one of the branches too.

use super::cover::carry_over;
use super::holes::holes;
use super::record::save;
use super::tree::{StoredTree, TreeWriter};
use super::truncate::cut;
use super::{FeedError, FeedRecord, create, load};
use crate::codec::{DecodeError, Reader};
use crate::merkle::{Head, Node, Parting, Side};
use crate::store::{Read, Table, WriteTxn, block_key};
use crate::types::FeedKey;

const CONTEXT: &str = "multi-hyperbee 2026 branch of a feed v1";

/// What a branch is a branch of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BranchOf {
    /// Whose key signs its heads.
    pub feed: FeedKey,
    /// Blocks below this are those of the feed, and not kept with the branch.
    pub base: u64,
}

impl BranchOf {
    /// `feed 32 ‖ base u64`.
    pub(super) fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.feed.as_bytes());
        out.extend_from_slice(&self.base.to_be_bytes());
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let feed = FeedKey(reader.array("the feed of a branch")?);
        Ok(Self { feed, base: reader.u64("the base of a branch")? })
    }
}

/// The name of the branch of `feed` whose block at `common` is `leaf`: the same for all who hold the proof. No key has
/// it: nothing but a branch can be signed under it.
pub fn branch_key(feed: &FeedKey, common: u64, leaf: &Node) -> FeedKey {
    let mut input = feed.as_bytes().to_vec();
    input.extend_from_slice(&common.to_be_bytes());
    leaf.encode_into(&mut input);
    FeedKey(blake3::derive_key(CONTEXT, &input))
}

/// The branches that a proof shows, in an order that does not depend on which was seen first: by leaf.
pub fn branches(feed: &FeedKey, parting: &Parting) -> [FeedKey; 2] {
    let [a, b] = &parting.sides;
    let (first, second) = if rank(a) <= rank(b) { (a, b) } else { (b, a) };
    [first, second].map(|side| branch_key(feed, parting.common, &side.leaf))
}

fn rank(side: &Side) -> ([u8; 32], u64) {
    (side.leaf.hash, side.leaf.bytes)
}

/// Makes the two branches of `record`, with what is here of either, unless they are here already. `record` reaches to
/// the common length at least. Who heard a branch's name before the proof has an empty feed under it: no key signs it.
pub fn branch_off(txn: &mut WriteTxn<'_>, record: &FeedRecord, parting: &Parting) -> Result<(), FeedError> {
    for side in &parting.sides {
        let key = branch_key(&record.key, parting.common, &side.leaf);
        let branch = match load(txn, &key)? {
            None => create(txn, key, None)?,
            Some(known) if known.branch.is_none() && known.length == 0 => known,
            Some(_) => continue,
        };
        make(txn, record, parting.common, side, branch)?;
    }
    Ok(())
}

fn make(
    txn: &mut WriteTxn<'_>,
    record: &FeedRecord,
    base: u64,
    side: &Side,
    mut branch: FeedRecord,
) -> Result<(), FeedError> {
    branch.branch = Some(BranchOf { feed: record.key, base });
    let mut tree = TreeWriter::open(&*txn, branch.id, 0)?;
    for seq in 0..base {
        let leaf = StoredTree { txn: &*txn, feed_id: record.id }.leaf(seq)?;
        tree.push(txn, leaf)?;
    }
    let roots = tree.finish(txn)?;
    (branch.length, branch.byte_length) = (roots.length(), roots.byte_length());
    let is_here = holds(txn, record, base, &side.leaf)?;
    if is_here {
        extend(txn, &mut branch, record)?;
    }
    // Without blocks of its own the proof is what says that the tree up to here is signed.
    let known =
        if is_here { [record.head, record.cover, Some(side.head)] } else { [None, None, Some(side.head)] };
    settle_heads(&mut branch, &known);
    if is_here {
        carry_over(&mut branch, record);
    }
    save(txn, &branch)
}

/// Whether `leaf` is the one at `seq`.
fn holds(txn: &impl Read, record: &FeedRecord, seq: u64, leaf: &Node) -> Result<bool, FeedError> {
    Ok(record.length > seq && StoredTree { txn, feed_id: record.id }.leaf(seq)? == *leaf)
}

/// Appends what `from` has more of, up to its first hole; both are the same as far as `to` reaches. What is beyond a hole
/// comes from peers, under the name of the branch.
fn extend(txn: &mut WriteTxn<'_>, to: &mut FeedRecord, from: &FeedRecord) -> Result<(), FeedError> {
    let mut tree = TreeWriter::open(&*txn, to.id, to.length)?;
    let hole = holes(&*txn, from, to.length, 1)?.first().map_or(from.length, |(seq, _)| *seq);
    for seq in to.length..from.length.min(hole) {
        let Some(block) = txn.get(Table::Blocks, &block_key(from.id, seq))?.map(<[u8]>::to_vec) else {
            break;
        };
        // The leaf that was verified, not one made of what stands here now.
        let leaf = StoredTree { txn: &*txn, feed_id: from.id }.leaf(seq)?;
        txn.put(Table::Blocks, &block_key(to.id, seq), &block)?;
        tree.push(txn, leaf)?;
    }
    let roots = tree.finish(txn)?;
    (to.length, to.byte_length) = (roots.length(), roots.byte_length());
    Ok(())
}

/// Of heads that are all of this branch: the longest complete one, and if there are blocks beyond it, the longest.
fn settle_heads(record: &mut FeedRecord, known: &[Option<Head>]) {
    let longest =
        |known: &mut dyn Iterator<Item = Head>| known.reduce(|a, b| if b.length > a.length { b } else { a });
    let length = record.length;
    record.head = longest(&mut known.iter().flatten().copied().filter(|head| head.length <= length));
    let beyond = longest(&mut known.iter().flatten().copied().filter(|head| head.length > length));
    record.cover = beyond.filter(|_| length > record.complete());
    record.tip = beyond.filter(|_| record.cover.is_none());
    record.covered = None;
}

/// How much of what `record` holds is of this branch too: the common part, or all.
pub fn agreed(txn: &impl Read, record: &FeedRecord, branch: &FeedRecord) -> Result<u64, FeedError> {
    let base = branch.branch.map_or(0, |of| of.base);
    if record.length <= base {
        return Ok(record.length);
    }
    if branch.length <= base {
        return Ok(base);
    }
    let leaf = StoredTree { txn, feed_id: branch.id }.leaf(base)?;
    Ok(if holds(txn, record, base, &leaf)? { record.length } else { base })
}

/// Lets go of what a feed that has forked holds above `common`: either branch comes again under its own name.
pub fn let_go(txn: &mut WriteTxn<'_>, record: &mut FeedRecord, common: u64) -> Result<(), FeedError> {
    let kept = record.head.filter(|head| head.length <= common);
    cut(txn, record, common)?;
    settle_heads(record, &[kept]);
    save(txn, record)
}

/// Makes a feed that has forked hold what is here of `branch`: beyond what they agree in, its blocks go.
pub fn adopt(txn: &mut WriteTxn<'_>, record: &mut FeedRecord, branch: &FeedRecord) -> Result<(), FeedError> {
    let agreed = agreed(txn, record, branch)?;
    let kept = record.head.filter(|head| head.length <= agreed);
    if agreed < record.length {
        cut(txn, record, agreed)?;
    }
    if record.length < branch.length {
        extend(txn, record, branch)?;
    }
    // A branch of which nothing is here yet: its head covers the common part all the same.
    settle_heads(record, &[kept, branch.head, branch.cover, branch.tip]);
    carry_over(record, branch);
    record.left = record.length;
    save(txn, record)
}
