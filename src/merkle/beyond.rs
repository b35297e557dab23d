use super::proof::ProofError;
use super::{Known, Node, Nodes, Roots, Span, flat};
use std::collections::BTreeMap;

/// A tree of which the beginning is here, and beyond that no more than the fewest whole subtrees that lead to a length:
/// enough to prove every range of what is here under that length.
///
/// Of such a proof each subtree ends where the beginning ends or before, or is one of those given, or is over both; and
/// all that are over both are made when those given are appended to what is here. So nothing is looked for: what the
/// appending makes is kept, at most 200 nodes.
pub struct Beyond<'n, N> {
    here: &'n N,
    made: BTreeMap<u64, Node>,
    whole: Roots,
}

impl<'n, N: Nodes> Beyond<'n, N> {
    /// `roots`: those of what is `here`. `given`: the fewest whole subtrees from there to `length`.
    pub fn new(here: &'n N, roots: Roots, length: u64, given: &[Node]) -> Result<Self, ProofError> {
        let (start, found) = (roots.length(), given.len());
        let expected = Span { start, end: start, length }.node_count(Known::Start)?;
        if found != expected {
            return Err(ProofError::NodeCount { expected, found });
        }
        let (mut made, mut whole) = (BTreeMap::new(), roots);
        for ((depth, _), node) in flat::subtrees(start, length).zip(given) {
            whole.push_subtree(depth, *node, |depth, offset, node| {
                made.insert(flat::index(depth, offset), *node);
            });
        }
        Ok(Self { here, made, whole })
    }

    /// The full roots at the length: what a head has to fit.
    pub fn whole(&self) -> &Roots {
        &self.whole
    }
}

impl<N: Nodes> Nodes for Beyond<'_, N> {
    type Error = N::Error;

    fn node(&self, index: u64) -> Result<Node, N::Error> {
        self.made.get(&index).map_or_else(|| self.here.node(index), |node| Ok(*node))
    }
}
