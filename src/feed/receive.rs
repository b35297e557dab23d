use super::tree::StoredTree;
use super::{FeedError, FeedRecord, Fork};
use crate::codec::limits::MAX_BLOCK_BYTES;
use crate::fault::{self, Fault};
use crate::merkle::{self, Head, Node, Proved, flat};
use crate::store::Read;
use crate::types::{FeedKey, Hash};

/// What a peer sent of one feed: consecutive blocks, the head they are proved against, the proof. Nothing of it is
/// trusted. Without blocks it shows a head, and what the root at `start` is under it.
#[derive(Debug, Clone)]
pub struct Received<'a> {
    pub start: u64,
    /// The head's length, byte length and signature. Its root is what blocks and nodes lead to: it need not travel.
    pub length: u64,
    pub byte_length: u64,
    pub signature: [u8; 64],
    pub nodes: Vec<Node>,
    pub blocks: Vec<&'a [u8]>,
    /// The proof leaves out what a receiver of `0 .. start` has ([`merkle::Known::Start`]).
    pub extending: bool,
}

/// Blocks whose place in their feed is proved. Made by [`verify`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBlocks {
    pub(super) key: FeedKey,
    pub(super) head: Head,
    pub(super) start: u64,
    /// Root hash at `start`: what has to be here for the blocks to follow it.
    pub(super) base: Hash,
    pub(super) leaves: Vec<Node>,
    /// The proof's subtrees behind the last block, as far as the head reaches.
    pub(super) after: Vec<Node>,
    /// The blocks, one after the other; the leaves say how long each is.
    pub(super) bytes: Vec<u8>,
}

impl VerifiedBlocks {
    pub fn feed(&self) -> &FeedKey {
        &self.key
    }

    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Index of the first block; what was here already is left out.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Exclusive.
    pub fn end(&self) -> u64 {
        self.start + self.leaves.len() as u64
    }

    /// Bytes of the blocks.
    pub fn byte_length(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn blocks(&self) -> impl Iterator<Item = (&Node, &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.leaves.iter().map_while(move |leaf| {
            let (block, after) = rest.split_at_checked(usize::try_from(leaf.bytes).ok()?)?;
            rest = after;
            Some((leaf, block))
        })
    }
}

/// Verifies limits, proof and signature, and compares the head and the blocks with what is here.
///
/// `Gap`: the blocks start beyond what is here. `Proof` or `Head`: what was sent is not what the feed's key signed; if
/// the proof was extending it may also be a fork, which only a complete proof can show. `Fork`: what was sent is
/// signed, and contradicts what is here.
pub fn verify(
    txn: &impl Read,
    record: &FeedRecord,
    received: &Received<'_>,
) -> Result<VerifiedBlocks, FeedError> {
    let Received { start, blocks, nodes, .. } = received;
    let start = *start;
    if start > record.length && (received.extending || !blocks.is_empty()) {
        return Err(FeedError::Gap { start, length: record.length });
    }
    if let Some(block) = blocks.iter().find(|block| block.len() > MAX_BLOCK_BYTES) {
        return Err(FeedError::BlockTooLarge { found: block.len() as u64, limit: MAX_BLOCK_BYTES as u64 });
    }
    if received.length == 0 {
        return Err(merkle::ProofError::Range { start, end: start, length: 0 }.into());
    }
    let tree = StoredTree { txn, feed_id: record.id };
    let roots = received.extending.then(|| tree.roots(start)).transpose()?;
    let proved = merkle::compute(start, blocks, nodes, roots.as_ref(), received.length)?;
    let Received { length, byte_length, signature, .. } = *received;
    let head = Head { length, byte_length, root: proved.whole.hash(), signature };
    if !head.fits(&proved.whole) {
        return Err(merkle::ProofError::Root { length }.into());
    }
    // A head is verified once, not once for each part of what it covers.
    let is_known = [record.head, record.cover, record.tip].contains(&Some(head));
    if !is_known && !fault::is(Fault::UnverifiedBlock) {
        head.verify(record.signer())?;
    }
    // Blocks first: they tell where exactly two branches part.
    let compared = compare_blocks(&tree, record, start, &proved, &head);
    let end = start.saturating_add(blocks.len() as u64);
    let brings = !blocks.is_empty() && end > record.length;
    match compared.and_then(|()| compare_heads(&tree, record, &head, brings)) {
        // Who else signs another history is told from a damaged tree by what was signed here.
        Err(FeedError::Fork(_)) if !leads_to_head(&tree, record)? => {
            return Err(FeedError::Corrupt {
                feed_id: record.id,
                what: "its tree does not lead to its signed head",
            });
        }
        compared => compared?,
    }
    let after = nodes.len().saturating_sub(flat::subtrees(end, head.length).count());
    let after = nodes.get(after..).unwrap_or_default().to_vec();
    Ok(keep_new(record, start, blocks, proved, head, after))
}

impl FeedRecord {
    /// Whether a head gives way to blocks of another history that continue what is here as well: it is of blocks that are
    /// not here. Of an own feed it does not: that more of it was signed is what keeps it from being appended to. A feed
    /// that has forked, and its branches, keep to the histories that are known.
    pub(super) fn gives_way(&self, head: &Head) -> bool {
        head.length > self.length && self.secret.is_none() && !self.forked && self.branch.is_none()
    }
}

/// Whether our tree is the one that was signed, as far as that was, or that was proved under what covers it.
pub(super) fn leads_to_head<R: Read>(
    tree: &StoredTree<'_, R>,
    record: &FeedRecord,
) -> Result<bool, FeedError> {
    let head = record.head.filter(|head| head.length <= record.length).map(|head| (head.length, head.root));
    let covered = record.covered.as_ref().map(|covered| (record.length, covered.root));
    for (length, root) in head.into_iter().chain(covered) {
        if tree.roots(length)?.hash() != root {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The head against the signed heads we know and against our own tree. `brings`: blocks come with it that are not here,
/// and continue what is.
pub(super) fn compare_heads<R: Read>(
    tree: &StoredTree<'_, R>,
    record: &FeedRecord,
    head: &Head,
    brings: bool,
) -> Result<(), FeedError> {
    let by = head.length.saturating_sub(1);
    for known in [record.head, record.cover, record.tip].iter().flatten() {
        if known.contradicts(head) && !(brings && record.gives_way(known)) {
            return Err(Fork::error(known, head, by));
        }
    }
    match record.covering() {
        Some(ours) if head.length <= record.length && tree.roots(head.length)?.hash() != head.root => {
            Err(Fork::error(ours, head, by))
        }
        _ => Ok(()),
    }
}

/// The proved roots at `start` and the proved leaves against ours, as far as we have any.
fn compare_blocks<R: Read>(
    tree: &StoredTree<'_, R>,
    record: &FeedRecord,
    start: u64,
    proved: &Proved,
    head: &Head,
) -> Result<(), FeedError> {
    let Some(ours) = record.covering().filter(|_| start <= record.length) else {
        return Ok(());
    };
    if tree.roots(start)?.hash() != proved.start.hash() {
        return Err(Fork::error(ours, head, start.saturating_sub(1)));
    }
    for (seq, leaf) in (start..record.length).zip(&proved.leaves) {
        if tree.leaf(seq)? != *leaf {
            return Err(Fork::exactly(ours, head, seq));
        }
    }
    Ok(())
}

/// Leaves out the blocks that are here already.
fn keep_new(
    record: &FeedRecord,
    start: u64,
    blocks: &[&[u8]],
    proved: Proved,
    head: Head,
    after: Vec<Node>,
) -> VerifiedBlocks {
    let here = usize::try_from(record.length.saturating_sub(start)).unwrap_or(usize::MAX).min(blocks.len());
    let Proved { start: mut base, mut leaves, .. } = proved;
    let new = leaves.split_off(here);
    for leaf in leaves {
        base.push(leaf, |_, _, _| ());
    }
    let bytes = blocks.get(here..).unwrap_or_default().concat();
    let (start, base) = (base.length(), base.hash());
    VerifiedBlocks { key: record.key, head, start, base, leaves: new, after, bytes }
}
