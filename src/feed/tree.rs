//! Tree rows. `Table::Tree`, key `feed u32 ‖ tier u8 ‖ group u64`, value up to 16 nodes of 40 bytes: in tier `t`,
//! nodes `16 * group ..` of depth `4t`, as many as are whole. Nodes of depths between are hashed again when asked
//! for, from at most eight of a row.

use super::FeedError;
use crate::codec::Reader;
use crate::merkle::{Node, Nodes, Roots, flat};
use crate::store::{Read, TREE_PACK, Table, WriteTxn, tree_key};

/// Nodes in a full row.
pub(super) const PACK: u64 = TREE_PACK;
/// Depths per tier: `1 << TIER_DEPTH == PACK`.
const TIER_DEPTH: u32 = 4;
const ROW_BYTES: usize = Node::SIZE * 16;
/// Tiers of the longest feed (2^40 blocks), plus one for the shift not to overflow.
const MAX_TIER: u8 = 10;

/// How many whole nodes of a tier a tree of `length` blocks has.
pub(super) fn tier_length(length: u64, tier: u8) -> u64 {
    length >> (TIER_DEPTH * u32::from(tier))
}

/// The tiers of a tree of `length` blocks that have nodes.
pub(super) fn tiers(length: u64) -> impl Iterator<Item = u8> {
    (0..=MAX_TIER).take_while(move |tier| tier_length(length, *tier) > 0)
}

/// The tree of one feed as it is stored.
pub struct StoredTree<'t, R> {
    pub txn: &'t R,
    pub feed_id: u32,
}

impl<R: Read> StoredTree<'_, R> {
    pub fn roots(&self, length: u64) -> Result<Roots, FeedError> {
        Roots::load(self, length)
    }

    pub fn leaf(&self, seq: u64) -> Result<Node, FeedError> {
        self.node(flat::index(0, seq))
    }

    fn row(&self, tier: u8, group: u64) -> Result<Option<&[u8]>, FeedError> {
        Ok(self.txn.get(Table::Tree, &tree_key(self.feed_id, tier, group))?)
    }

    fn corrupt(&self, what: &'static str) -> FeedError {
        FeedError::Corrupt { feed_id: self.feed_id, what }
    }
}

impl<R: Read> Nodes for StoredTree<'_, R> {
    type Error = FeedError;

    fn node(&self, index: u64) -> Result<Node, FeedError> {
        let depth = flat::depth(index);
        let offset = flat::offset(index).ok_or(self.corrupt("no such node"))?;
        let tier = u8::try_from(depth / TIER_DEPTH).map_err(|_| self.corrupt("no such node"))?;
        let wide = depth % TIER_DEPTH;
        let first = offset << wide;
        let row = self.row(tier, first / PACK)?.ok_or(self.corrupt("a tree row is missing"))?;
        let skip = usize::try_from(first % PACK).unwrap_or(usize::MAX);
        let mut nodes = row
            .chunks_exact(Node::SIZE)
            .skip(skip)
            .take(1 << wide)
            .map(|node| Node::decode(&mut Reader::new(node)).map_err(|_| self.corrupt("a tree row")))
            .collect::<Result<Vec<Node>, _>>()?;
        if nodes.len() != 1 << wide {
            return Err(self.corrupt("a tree row is short"));
        }
        while nodes.len() > 1 {
            nodes = nodes.chunks_exact(2).filter_map(pair).collect();
        }
        nodes.first().copied().ok_or(self.corrupt("a tree row is short"))
    }
}

fn pair(nodes: &[Node]) -> Option<Node> {
    match nodes {
        [left, right] => Some(Node::parent(left, right)),
        _ => None,
    }
}

/// Grows the stored tree. Rows are written when they are full and in `finish`, so a row costs one write for many
/// leaves; a writer that is dropped instead leaves the transaction fit for nothing but abort.
pub(super) struct TreeWriter {
    feed_id: u32,
    roots: Roots,
    /// The last row of each tier, by tier.
    rows: Vec<OpenRow>,
}

#[derive(Default)]
struct OpenRow {
    group: u64,
    nodes: Vec<u8>,
    changed: bool,
}

impl TreeWriter {
    pub(super) fn open(txn: &impl Read, feed_id: u32, length: u64) -> Result<Self, FeedError> {
        let tree = StoredTree { txn, feed_id };
        let roots = tree.roots(length)?;
        let mut rows = Vec::new();
        for tier in tiers(length) {
            let count = tier_length(length, tier);
            let (group, open) = (count / PACK, usize::try_from(count % PACK).unwrap_or(0) * Node::SIZE);
            let nodes = if open == 0 { Some(&[][..]) } else { tree.row(tier, group)? };
            let nodes = nodes.filter(|nodes| nodes.len() == open).ok_or(tree.corrupt("a last tree row"))?;
            rows.push(OpenRow { group, nodes: nodes.to_vec(), changed: false });
        }
        Ok(Self { feed_id, roots, rows })
    }

    pub(super) fn roots(&self) -> &Roots {
        &self.roots
    }

    pub(super) fn push(&mut self, txn: &mut WriteTxn<'_>, leaf: Node) -> Result<(), FeedError> {
        let Self { feed_id, roots, rows } = self;
        // A leaf completes at most one node of each tier above the first.
        let mut full = Vec::new();
        roots.push(leaf, |depth, _, node| {
            if depth % TIER_DEPTH != 0 {
                return;
            }
            let tier = usize::try_from(depth / TIER_DEPTH).unwrap_or(usize::MAX);
            if tier == rows.len() {
                rows.push(OpenRow::default());
            }
            if let Some(row) = rows.get_mut(tier) {
                node.encode_into(&mut row.nodes);
                row.changed = true;
                if row.nodes.len() == ROW_BYTES {
                    full.push(tier);
                }
            }
        });
        for tier in full {
            if let Some(row) = rows.get_mut(tier) {
                row.write(txn, *feed_id, tier)?;
                row.nodes.clear();
                row.group += 1;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self, txn: &mut WriteTxn<'_>) -> Result<Roots, FeedError> {
        for (tier, row) in self.rows.iter_mut().enumerate().filter(|(_, row)| row.changed) {
            row.write(txn, self.feed_id, tier)?;
        }
        Ok(self.roots)
    }
}

impl OpenRow {
    fn write(&mut self, txn: &mut WriteTxn<'_>, feed_id: u32, tier: usize) -> Result<(), FeedError> {
        let tier =
            u8::try_from(tier).map_err(|_| FeedError::Corrupt { feed_id, what: "a tree beyond any feed" })?;
        txn.put(Table::Tree, &tree_key(feed_id, tier, self.group), &self.nodes)?;
        self.changed = false;
        Ok(())
    }
}
