//! Numbering of the tree's nodes: in order, leaf `i` at `2i` (Hypercore's flat-tree). A node is also named by its
//! depth (0 for a leaf) and its offset among the nodes of that depth; it covers blocks `offset << depth` up to
//! `(offset + 1) << depth`.
//!
//! Lengths are at most [`MAX_FEED_LENGTH`](crate::codec::limits::MAX_FEED_LENGTH) (2^40), so nothing here overflows.

/// The number of the node at `depth` and `offset`.
pub fn index(depth: u32, offset: u64) -> u64 {
    (offset << (depth + 1)) | ((1 << depth) - 1)
}

/// A leaf has depth 0.
pub fn depth(index: u64) -> u32 {
    index.trailing_ones()
}

/// How many nodes of the same depth stand left of this one. `None` for the one number that names no node, 2^64 - 1.
pub fn offset(index: u64) -> Option<u64> {
    index.checked_shr(depth(index) + 1).or((depth(index) == 63).then_some(0))
}

/// The fewest whole subtrees that cover blocks `from .. to`, left to right, as `(depth, offset)`: at most two of each
/// depth. From 0 they are the full roots of a tree of `to` blocks.
pub fn subtrees(from: u64, to: u64) -> impl Iterator<Item = (u32, u64)> {
    let mut at = from;
    std::iter::from_fn(move || {
        let left = to.checked_sub(at).filter(|left| *left > 0)?;
        // `at` is 0 for the first full root: no alignment limits it.
        let depth = at.trailing_zeros().min(left.ilog2());
        let offset = at >> depth;
        at += 1 << depth;
        Some((depth, offset))
    })
}
