//! Everything that is stored of a feed, compared: blocks with the tree, the tree with the signed heads.

use super::mend::leaf_at;
use super::tree::{PACK, StoredTree, tier_length, tiers};
use super::{FeedError, FeedRecord};
use crate::merkle::{Beyond, Head, HeadError, Node, Roots};
use crate::store::{Read, Table, block_key, tree_key};
use std::ops::Bound;

/// Flaws of one feed that are described; the rest is counted.
pub const MAX_FLAWS: usize = 100;

/// Depths per tier of tree rows.
const TIER_DEPTH: u32 = 4;

/// What is wrong with a stored feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The block is not what its signed hash says, or is missing.
    Block { seq: u64 },
    /// The row of tree nodes is not what the blocks say, or is missing.
    Tree { tier: u8, group: u64 },
    /// A signed head's signature is none.
    Signature { length: u64, error: HeadError },
    /// Neither blocks nor tree lead to a signed head: more is damaged than can be told apart.
    Head { length: u64 },
    /// The secret is of another key.
    Secret,
    /// The record's lengths are not those of the blocks, or there are rows beyond them.
    Lengths,
}

/// What was found of one feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedCheck {
    pub blocks: u64,
    pub flaws: Vec<Flaw>,
    /// Flaws beyond those described.
    pub more: u64,
    /// How many are described.
    pub most: usize,
}

impl FeedCheck {
    fn flaw(&mut self, flaw: Flaw) {
        if self.flaws.len() < self.most {
            self.flaws.push(flaw);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }
}

/// A tree grown from leaves, each of its rows compared with the stored one. Its own rows are those of the leaves: where
/// they lead to a signed head, a stored row that differs is damaged.
#[derive(Clone, Default)]
struct Growing {
    roots: Roots,
    rows: Vec<(u64, Vec<u8>)>,
    /// Rows that are stored otherwise.
    differs: Vec<(u8, u64)>,
    /// Whether its roots were those of the longest complete head.
    fits: bool,
}

impl Growing {
    fn push(&mut self, txn: &impl Read, feed: u32, leaf: Node, head: Option<&Head>) -> Result<(), FeedError> {
        let Self { roots, rows, differs, fits } = self;
        let mut full = Vec::new();
        roots.push(leaf, |depth, _, node| {
            let tier = usize::try_from(depth / TIER_DEPTH).unwrap_or(usize::MAX);
            if depth % TIER_DEPTH != 0 {
                return;
            }
            if tier == rows.len() {
                rows.push((0, Vec::new()));
            }
            if let Some((_, nodes)) = rows.get_mut(tier) {
                node.encode_into(nodes);
                if nodes.len() / Node::SIZE >= usize::try_from(PACK).unwrap_or(usize::MAX) {
                    full.push(tier);
                }
            }
        });
        for tier in full {
            if let Some(row) = rows.get_mut(tier) {
                compare(txn, feed, tier, row, differs)?;
                *row = (row.0 + 1, Vec::new());
            }
        }
        *fits |= head.is_some_and(|head| head.length == roots.length() && head.fits(roots));
        Ok(())
    }

    fn finish(&mut self, txn: &impl Read, feed: u32) -> Result<(), FeedError> {
        for (tier, row) in self.rows.iter().enumerate().filter(|(_, row)| !row.1.is_empty()) {
            compare(txn, feed, tier, row, &mut self.differs)?;
        }
        Ok(())
    }
}

fn compare(
    txn: &impl Read,
    feed: u32,
    tier: usize,
    (group, nodes): &(u64, Vec<u8>),
    differs: &mut Vec<(u8, u64)>,
) -> Result<(), FeedError> {
    let tier = u8::try_from(tier).unwrap_or(u8::MAX);
    if txn.get(Table::Tree, &tree_key(feed, tier, *group))? != Some(nodes) && differs.len() <= MAX_FLAWS {
        differs.push((tier, *group));
    }
    Ok(())
}

/// Compares all of a feed. `progress` is called for each block and says whether to go on; stopped, what was found so
/// far comes back. `most` flaws are described.
pub fn check(
    txn: &impl Read,
    record: &FeedRecord,
    most: usize,
    mut progress: impl FnMut() -> bool,
) -> Result<FeedCheck, FeedError> {
    let mut found = FeedCheck { most, ..FeedCheck::default() };
    for head in [record.head, record.cover, record.tip].iter().flatten() {
        if let Err(error) = head.verify(record.signer()) {
            found.flaw(Flaw::Signature { length: head.length, error });
        }
    }
    let secret = record.secret.as_ref().and_then(|secret| secret.seed(record.key).ok());
    if secret.is_some_and(|seed| seed.feed() != record.key) {
        found.flaw(Flaw::Secret);
    }
    // The tree of the blocks, and from the first leaf on that is stored otherwise, that of the stored leaves.
    let (mut blocks, mut leaves): (_, Option<Option<Growing>>) = (Growing::default(), None);
    let mut suspects = Vec::new();
    for seq in 0..record.length {
        let stored = leaf_at(txn, record.id, seq)?;
        if seq < record.base() {
            // What a branch has in common with its feed is compared there; here its tree is believed.
            blocks.push(txn, record.id, stored.unwrap_or(Node::leaf(&[])), record.head.as_ref())?;
            continue;
        }
        let block = txn.get(Table::Blocks, &block_key(record.id, seq))?;
        // A missing block counts as an empty one: its leaf fits nothing that an entry's does.
        let leaf = Node::leaf(block.unwrap_or_default());
        if stored != Some(leaf) || block.is_none() {
            if leaves.is_none() {
                leaves = Some(Some(blocks.clone()));
            }
            if suspects.len() <= most {
                suspects.push(seq);
            }
        }
        if let Some(tree) = &mut leaves {
            // A leaf that is not stored ends the other tree: it leads nowhere.
            match stored.zip(tree.as_mut()) {
                Some((stored, tree)) => tree.push(txn, record.id, stored, record.head.as_ref())?,
                None => *tree = None,
            }
        }
        blocks.push(txn, record.id, leaf, record.head.as_ref())?;
        found.blocks += 1;
        if !progress() {
            return Ok(found);
        }
    }
    blocks.finish(txn, record.id)?;
    let stored = leaves.flatten();
    judge(&mut found, txn, record, &blocks, stored, &suspects)?;
    Ok(found)
}

/// Says what is damaged: what differs from that which leads to the signed head.
fn judge(
    found: &mut FeedCheck,
    txn: &impl Read,
    record: &FeedRecord,
    blocks: &Growing,
    stored: Option<Growing>,
    suspects: &[u64],
) -> Result<(), FeedError> {
    // What leads to the head that covers all that is here is right to its end.
    let is_covered =
        [Some(blocks), stored.as_ref()].into_iter().flatten().any(|tree| covers(txn, record, tree));
    let complete = if is_covered { record.length } else { record.complete() };
    let signed = |tree: &Growing| {
        if is_covered { covers(txn, record, tree) } else { tree.fits || complete == 0 }
    };
    if signed(blocks) {
        // Beyond the last head that speaks for blocks only the tree does: it is believed there.
        let doubted = suspects.iter().any(|seq| *seq >= complete);
        for (tier, group) in blocks.differs.iter().filter(|row| !doubted || ends(row) <= complete) {
            found.flaw(Flaw::Tree { tier: *tier, group: *group });
        }
        for seq in suspects.iter().filter(|seq| **seq >= complete) {
            found.flaw(Flaw::Block { seq: *seq });
        }
    } else if let Some(mut tree) = stored.filter(signed) {
        tree.finish(txn, record.id)?;
        for seq in suspects {
            found.flaw(Flaw::Block { seq: *seq });
        }
        for (tier, group) in tree.differs {
            found.flaw(Flaw::Tree { tier, group });
        }
    } else {
        found.flaw(Flaw::Head { length: complete });
        for seq in suspects {
            found.flaw(Flaw::Block { seq: *seq });
        }
    }
    let lengths = record.length == blocks.roots.length() && record.byte_length == blocks.roots.byte_length();
    let rows = tiers(record.length).map(|tier| tier_length(record.length, tier).div_ceil(PACK)).sum::<u64>();
    let blocks_beyond = (block_key(record.id, record.length), block_key(record.id, u64::MAX));
    let beyond = |table, from: &[u8], to: &[u8]| txn.first(table, Bound::Included(from), Bound::Included(to));
    let extra = beyond(Table::Blocks, &blocks_beyond.0, &blocks_beyond.1)?.is_some();
    let (from, to) = (tree_key(record.id, 0, 0), tree_key(record.id, u8::MAX, u64::MAX));
    let stored_rows = txn.range(Table::Tree, Bound::Included(&from), Bound::Included(&to))?.count();
    let damaged = found.flaws.iter().any(|flaw| matches!(flaw, Flaw::Block { .. } | Flaw::Tree { .. }));
    if extra || (!damaged && (!lengths || u64::try_from(stored_rows).ok() != Some(rows))) {
        found.flaw(Flaw::Lengths);
    }
    Ok(())
}

/// Whether a tree over all that is here leads to the head that covers it.
fn covers(txn: &impl Read, record: &FeedRecord, tree: &Growing) -> bool {
    let Some((cover, covered)) = record.cover.zip(record.covered.as_ref()) else { return false };
    let here = StoredTree { txn, feed_id: record.id };
    tree.roots.length() == record.length
        && Beyond::new(&here, tree.roots.clone(), cover.length, &covered.nodes)
            .is_ok_and(|beyond| cover.fits(beyond.whole()))
}

/// The blocks below a row of nodes end here.
fn ends((tier, group): &(u8, u64)) -> u64 {
    let leaves = PACK.saturating_pow(u32::from(*tier) + 1);
    group.saturating_add(1).saturating_mul(leaves)
}
