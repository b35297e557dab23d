//! One page of a tree, taken apart.
//!
//! | at | field | width |
//! |---|---|---|
//! | 0 | the page's own number | word |
//! | | pad, flags (branch 1, leaf 2, overflow 4) | 2 each |
//! | | end of the list of nodes, beginning of the nodes; of overflow pages instead: how many | 2 each; 4 |
//! | | where each node stands | 2 each |
//!
//! A node is `lo 2 ‖ hi 2 ‖ flags 2 ‖ key size 2 ‖ key ‖ data`; `lo` and `hi` (swapped on big-endian machines) are the
//! size of a leaf's data, in a branch with `flags` the child's number. Nodes begin at even places and fill the page
//! from its end without a gap.

use crate::store::check::{Fields, HEADER, TREE, Tree, WORD, read_table};

pub(super) const BRANCH: u16 = 0x01;
pub(super) const LEAF: u16 = 0x02;
pub(super) const OVERFLOW: u16 = 0x04;

/// A node whose data stands in overflow pages, and one whose data is a table's root.
const BIG_DATA: u16 = 0x01;
const SUB_DATA: u16 = 0x02;

/// Width of a node before its key.
const NODE: usize = 8;

/// What a leaf's node holds.
pub(in crate::store) enum Leaf<'p> {
    Inline(&'p [u8]),
    /// So many bytes in overflow pages, from this page on.
    Overflow {
        bytes: usize,
        page: u64,
    },
    Table(Tree),
}

pub(super) enum Nodes<'p> {
    /// Keys and children; the first one's key means nothing.
    Branch(Vec<(&'p [u8], u64)>),
    Leaf(Vec<(&'p [u8], Leaf<'p>)>),
}

/// The header's number and flags, and the two that follow.
pub(super) fn header(page: &[u8]) -> (u64, u16, u16, u16) {
    let mut fields = Fields(page);
    let number = fields.word();
    fields.u16();
    (number, fields.u16(), fields.u16(), fields.u16())
}

/// How many overflow pages a header says follow, itself included.
pub(super) fn overflow_pages(page: &[u8]) -> u64 {
    let mut fields = Fields(page);
    fields.skip(WORD + 4);
    u64::from(fields.u32())
}

/// Takes a page of a tree apart, or says what is wrong with it.
pub(super) fn parse(page: &[u8], number: u64) -> Result<Nodes<'_>, &'static str> {
    let (own, flags, lower, upper) = header(page);
    if own != number {
        return Err("the page does not carry its own number");
    }
    let (lower, upper) = (usize::from(lower), usize::from(upper));
    if lower < HEADER || lower > upper || upper > page.len() || lower % 2 != 0 {
        return Err("the page's bounds are impossible");
    }
    let list = page.get(HEADER..lower).unwrap_or_default();
    let places = list.as_chunks::<2>().0.iter().map(|place| usize::from(u16::from_ne_bytes(*place)));
    let mut taken = Vec::with_capacity(list.len() / 2);
    let nodes = match flags {
        BRANCH => Nodes::Branch(places.map(|at| branch(page, at, &mut taken)).collect::<Result<_, _>>()?),
        LEAF => Nodes::Leaf(places.map(|at| leaf(page, at, &mut taken)).collect::<Result<_, _>>()?),
        _ => return Err("the page is neither a branch nor a leaf"),
    };
    taken.sort_unstable();
    let mut end = upper;
    for (at, size) in taken {
        if at != end {
            return Err("the page's nodes overlap, or leave gaps");
        }
        end = at + size;
    }
    if end == page.len() { Ok(nodes) } else { Err("the page's nodes do not fill it") }
}

/// A node's parts: its first three fields, its key, what follows the key.
struct Parts<'p> {
    low: u16,
    high: u16,
    flags: u16,
    key: &'p [u8],
    rest: &'p [u8],
}

fn node(page: &[u8], at: usize) -> Result<Parts<'_>, &'static str> {
    let beyond = "a node lies outside of its page";
    let node = page.get(at..).filter(|node| at.is_multiple_of(2) && node.len() >= NODE).ok_or(beyond)?;
    let mut fields = Fields(node);
    let (first, second) = (fields.u16(), fields.u16());
    let (low, high) = if cfg!(target_endian = "little") { (first, second) } else { (second, first) };
    let (flags, key_size) = (fields.u16(), usize::from(fields.u16()));
    let (key, rest) = fields.0.split_at_checked(key_size).ok_or(beyond)?;
    Ok(Parts { low, high, flags, key, rest })
}

fn branch<'p>(
    page: &'p [u8],
    at: usize,
    taken: &mut Vec<(usize, usize)>,
) -> Result<(&'p [u8], u64), &'static str> {
    let Parts { low, high, flags, key, .. } = node(page, at)?;
    taken.push((at, (NODE + key.len()).next_multiple_of(2)));
    let top = if WORD == 8 { flags } else { 0 };
    Ok((key, u64::from(low) | u64::from(high) << 16 | u64::from(top) << 32))
}

fn leaf<'p>(
    page: &'p [u8],
    at: usize,
    taken: &mut Vec<(usize, usize)>,
) -> Result<(&'p [u8], Leaf<'p>), &'static str> {
    let Parts { low, high, flags, key, rest } = node(page, at)?;
    let bytes = usize::from(low) | usize::from(high) << 16;
    let here = match flags {
        BIG_DATA => WORD,
        _ => bytes,
    };
    let data = rest.get(..here).ok_or("a node's data lies outside of its page")?;
    taken.push((at, (NODE + key.len() + here).next_multiple_of(2)));
    let leaf = match flags {
        0 => Leaf::Inline(data),
        BIG_DATA => Leaf::Overflow { bytes, page: Fields(data).word() },
        SUB_DATA if bytes == TREE => Leaf::Table(read_table(data)),
        _ => return Err("a node has flags it cannot have"),
    };
    Ok((key, leaf))
}
