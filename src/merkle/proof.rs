//! Range proofs. The tree of `length` blocks is cut into: the full roots of `0 .. start`, the leaves of
//! `start .. end`, and the fewest whole subtrees of `end .. length`. Appended one after the other they give the root.
//! A proof holds the first part (unless the verifier has it) and the last; the blocks give the middle.

use super::{Head, Node, Nodes, Roots, flat};
use crate::codec::limits::MAX_FEED_LENGTH;

/// Blocks `start .. end` of a feed of `length` blocks. With `start == end` a proof shows what the root at `start` was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub start: u64,
    pub end: u64,
    pub length: u64,
}

/// What the verifier holds already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    /// Nothing: the proof is *complete*.
    Nothing,
    /// The full roots at `start`: the proof is *extending*, leaves them out, and also shows that the head continues
    /// what is held.
    Start,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("blocks {start} to {end} of {length} are no range of a feed")]
    Range { start: u64, end: u64, length: u64 },
    #[error("the proof needs {expected} nodes and has {found}")]
    NodeCount { expected: usize, found: usize },
    #[error("the roots held are those of length {found}, the range starts at {expected}")]
    HeldLength { expected: u64, found: u64 },
    #[error("blocks and proof do not lead to the signed root at length {length}")]
    Root { length: u64 },
}

/// What blocks and proof nodes lead to, once the root they lead to is found to be signed: true of the feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proved {
    /// The full roots at `start`.
    pub start: Roots,
    /// The leaves of the blocks given.
    pub leaves: Vec<Node>,
    /// The full roots at `end`.
    pub end: Roots,
    /// The full roots at the head's length: what the signature has to fit.
    pub whole: Roots,
}

impl Span {
    fn check(&self) -> Result<(), ProofError> {
        let Self { start, end, length } = *self;
        let fits = start <= end && end <= length && length <= MAX_FEED_LENGTH;
        if fits { Ok(()) } else { Err(ProofError::Range { start, end, length }) }
    }

    /// The nodes of a proof in their order, as `(depth, offset)`; at most 120.
    fn nodes(&self, known: Known) -> impl Iterator<Item = (u32, u64)> {
        let before = match known {
            Known::Nothing => self.start,
            Known::Start => 0,
        };
        flat::subtrees(0, before).chain(flat::subtrees(self.end, self.length))
    }

    /// How many nodes a proof has.
    pub fn node_count(&self, known: Known) -> Result<usize, ProofError> {
        self.check().map(|()| self.nodes(known).count())
    }
}

/// The nodes that prove `span` to a verifier with what is `known`; `nodes` must hold the tree up to `span.length`.
pub fn prove<N: Nodes>(nodes: &N, span: &Span, known: Known) -> Result<Vec<Node>, N::Error>
where
    N::Error: From<ProofError>,
{
    span.check()?;
    span.nodes(known).map(|(depth, offset)| nodes.node(flat::index(depth, offset))).collect()
}

/// Checks that `blocks` stand at `start ..` of the feed whose head this is. The head's signature is checked by
/// [`Head::verify`], not here. With `roots` (those at `start`) the proof is extending, without it complete.
pub fn verify(
    start: u64,
    blocks: &[&[u8]],
    nodes: &[Node],
    roots: Option<&Roots>,
    head: &Head,
) -> Result<Proved, ProofError> {
    let proved = compute(start, blocks, nodes, roots, head.length)?;
    if head.fits(&proved.whole) { Ok(proved) } else { Err(ProofError::Root { length: head.length }) }
}

/// As [`verify`], for a head that travels without its root: computes the root that blocks and nodes lead to. Nothing
/// of it is proved before a signature over that root is verified.
pub fn compute(
    start: u64,
    blocks: &[&[u8]],
    nodes: &[Node],
    roots: Option<&Roots>,
    length: u64,
) -> Result<Proved, ProofError> {
    let end = start.saturating_add(blocks.len() as u64);
    let known = if roots.is_some() { Known::Start } else { Known::Nothing };
    let expected = Span { start, end, length }.node_count(known)?;
    if nodes.len() != expected {
        return Err(ProofError::NodeCount { expected, found: nodes.len() });
    }
    let mut given = nodes.iter().copied();
    let before = match roots {
        Some(roots) if roots.length() == start => roots.clone(),
        Some(roots) => return Err(ProofError::HeldLength { expected: start, found: roots.length() }),
        None => extend(Roots::new(), start, &mut given),
    };
    let leaves: Vec<Node> = blocks.iter().map(|block| Node::leaf(block)).collect();
    let mut after = before.clone();
    for leaf in &leaves {
        after.push(*leaf, |_, _, _| ());
    }
    let whole = extend(after.clone(), length, &mut given);
    Ok(Proved { start: before, leaves, end: after, whole })
}

/// Appends the subtrees that lead from the roots' length to `to`. The nodes were counted before.
pub(super) fn extend(mut roots: Roots, to: u64, given: &mut impl Iterator<Item = Node>) -> Roots {
    for ((depth, _), node) in flat::subtrees(roots.length(), to).zip(given) {
        roots.push_subtree(depth, node, |_, _, _| ());
    }
    roots
}
