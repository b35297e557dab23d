use super::{Node, flat};
use crate::types::Hash;

/// Stored nodes of one tree.
pub trait Nodes {
    type Error;

    /// Node `index` (see [`flat`]). Asked only for nodes that are whole at the length in question: one that is
    /// missing is the implementer's error.
    fn node(&self, index: u64) -> Result<Node, Self::Error>;
}

/// The full roots of a tree: all it takes to append to it and to name its root hash. At most one node per binary
/// digit of the length.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Roots {
    length: u64,
    /// Depth and node, deepest first: depths are the set bits of `length`.
    stack: Vec<(u32, Node)>,
}

const ROOT: &[u8] = &[2];

impl Roots {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    pub fn load<N: Nodes>(nodes: &N, length: u64) -> Result<Self, N::Error> {
        let stack = flat::subtrees(0, length)
            .map(|(depth, offset)| Ok((depth, nodes.node(flat::index(depth, offset))?)))
            .collect::<Result<_, _>>()?;
        Ok(Self { length, stack })
    }

    /// In blocks.
    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn byte_length(&self) -> u64 {
        self.stack.iter().fold(0, |sum, (_, node)| sum.saturating_add(node.bytes))
    }

    /// The full roots, left to right.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + '_ {
        self.stack.iter().map(|(_, node)| *node)
    }

    /// The root hash a head signs; a link carries its first half.
    pub fn hash(&self) -> Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(ROOT);
        for ((depth, node), (_, offset)) in self.stack.iter().zip(flat::subtrees(0, self.length)) {
            hasher.update(&flat::index(*depth, offset).to_be_bytes());
            hasher.update(&node.bytes.to_be_bytes()).update(&node.hash);
        }
        hasher.finalize().into()
    }

    /// Appends a leaf and calls `made` with the depth, offset and node of the leaf and of every parent it completes.
    pub fn push(&mut self, leaf: Node, made: impl FnMut(u32, u64, &Node)) {
        self.push_subtree(0, leaf, made);
    }

    /// Appends a whole subtree of `1 << depth` blocks. The length must be a multiple of that, as it is along
    /// [`flat::subtrees`].
    pub(super) fn push_subtree(&mut self, depth: u32, node: Node, mut made: impl FnMut(u32, u64, &Node)) {
        debug_assert_eq!(self.length % (1 << depth), 0, "subtrees are appended where they belong");
        let (mut depth, mut node, mut offset) = (depth, node, self.length >> depth);
        self.length += 1 << depth;
        made(depth, offset, &node);
        while let Some((_, left)) = self.stack.pop_if(|(top, _)| *top == depth) {
            node = Node::parent(&left, &node);
            depth += 1;
            offset >>= 1;
            made(depth, offset, &node);
        }
        self.stack.push((depth, node));
    }
}
