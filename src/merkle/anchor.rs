use super::{Head, Node, Roots};
use crate::types::{FeedKey, Hash};

const CONTEXT: &str = "multi-hyperbee 2026 anchor";

/// An anchor: the feed that is this block and nothing else, and its head.
///
/// Its name says which block, so nobody has to sign it, and there is no key that could sign anything else.
pub fn anchor(block: &[u8]) -> (FeedKey, Head) {
    let mut roots = Roots::new();
    roots.push(Node::leaf(block), |_, _, _| {});
    let (length, byte_length, root) = (roots.length(), roots.byte_length(), roots.hash());
    (named(&root), Head { length, byte_length, root, signature: Head::UNSIGNED })
}

/// The anchor with this root.
pub(super) fn named(root: &Hash) -> FeedKey {
    FeedKey(blake3::derive_key(CONTEXT, root))
}
