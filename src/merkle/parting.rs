//! The proof that a feed has forked: two signed heads and the first block in which they differ.

use super::proof::extend;
use super::{Head, HeadError, Node, Nodes, ProofError, Roots, Span, flat, prove};
use crate::codec::limits::MAX_FEED_LENGTH;
use crate::codec::{DecodeError, Reader, put_varint};
use crate::types::FeedKey;

/// Anyone who knows the feed's key can check it, holding nothing else of the feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parting {
    /// Both branches have the same blocks below this length, and different ones at it.
    pub common: u64,
    /// The full roots at `common`.
    pub roots: Vec<Node>,
    pub sides: [Side; 2],
}

/// One branch: its head, its leaf at `common`, and the subtrees from `common + 1` to the head's length.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Side {
    pub head: Head,
    pub leaf: Node,
    pub after: Vec<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PartingError {
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error(transparent)]
    Proof(#[from] ProofError),
    #[error("both branches have the same block {seq}")]
    Same { seq: u64 },
}

fn nodes(reader: &mut Reader<'_>, from: u64, to: u64) -> Result<Vec<Node>, DecodeError> {
    flat::subtrees(from, to).map(|_| Node::decode(reader)).collect()
}

fn side(reader: &mut Reader<'_>, common: u64) -> Result<Side, DecodeError> {
    let head = Head::decode(reader)?;
    if head.length <= common || head.length > MAX_FEED_LENGTH {
        return Err(DecodeError::Malformed { what: "a branch's length" });
    }
    Ok(Side { head, leaf: Node::decode(reader)?, after: nodes(reader, common + 1, head.length)? })
}

impl Side {
    /// The side of the branch whose tree `nodes` hold, up to the head's length. Needs `common < head.length`.
    pub fn new<N: Nodes>(nodes: &N, head: Head, common: u64) -> Result<Self, N::Error>
    where
        N::Error: From<ProofError>,
    {
        let span = Span { start: common, end: common.saturating_add(1), length: head.length };
        let after = prove(nodes, &span, super::Known::Start)?;
        Ok(Self { head, leaf: nodes.node(flat::index(0, common))?, after })
    }

    fn leads_to_its_head(&self, common: &Roots) -> Result<(), ProofError> {
        let (start, length) = (common.length(), self.head.length);
        let span = Span { start, end: start.saturating_add(1), length };
        let expected = span.node_count(super::Known::Start)?;
        if self.after.len() != expected {
            return Err(ProofError::NodeCount { expected, found: self.after.len() });
        }
        let mut roots = common.clone();
        roots.push(self.leaf, |_, _, _| ());
        let whole = extend(roots, length, &mut self.after.iter().copied());
        if self.head.fits(&whole) { Ok(()) } else { Err(ProofError::Root { length }) }
    }
}

impl Parting {
    /// `common varint ‖ node* ‖ side ‖ side`, `side = head 112 ‖ leaf node ‖ node*`: the full roots at `common`; of each
    /// side the subtrees after the leaf. How many nodes follows from the lengths.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        put_varint(out, self.common);
        self.roots.iter().for_each(|node| node.encode_into(out));
        for Side { head, leaf, after } in &self.sides {
            head.encode_into(out);
            leaf.encode_into(out);
            for node in after {
                node.encode_into(out);
            }
        }
    }

    /// Reads the form; nothing is verified.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let common = reader.varint("the common length")?;
        if common >= MAX_FEED_LENGTH {
            let (what, limit) = ("the common length", MAX_FEED_LENGTH);
            return Err(DecodeError::TooLarge { what, found: common, limit });
        }
        let roots = nodes(reader, 0, common)?;
        Ok(Self { common, roots, sides: [side(reader, common)?, side(reader, common)?] })
    }

    /// Both heads are signed by the feed, and lead to one history below `common` and to different leaves at it.
    pub fn verify(&self, feed: &FeedKey) -> Result<(), PartingError> {
        let [a, b] = &self.sides;
        for head in [&a.head, &b.head] {
            head.verify(feed)?;
        }
        let span = Span { start: self.common, end: self.common, length: a.head.length };
        span.node_count(super::Known::Start)?;
        let expected = flat::subtrees(0, self.common).count();
        if self.roots.len() != expected {
            return Err(ProofError::NodeCount { expected, found: self.roots.len() }.into());
        }
        let common = extend(Roots::new(), self.common, &mut self.roots.iter().copied());
        a.leads_to_its_head(&common)?;
        b.leads_to_its_head(&common)?;
        if a.leaf == b.leaf { Err(PartingError::Same { seq: self.common }) } else { Ok(()) }
    }
}
