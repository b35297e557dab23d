//! The tree and its range proofs against a naive tree written from the format alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "the lengths here are small")]

use ed25519_dalek::SigningKey;
use multi_hyperbee::merkle::{
    Beyond, Head, Known, Node, Nodes, ProofError, Proved, Roots, Span, flat, prove, verify,
};
use proptest::prelude::*;

/// A node by the definition: over blocks `from .. from + blocks.len()`, a power of two of them.
fn naive_node(blocks: &[Vec<u8>]) -> (Vec<u8>, u64) {
    if let [block] = blocks {
        let bytes = [&[0][..], &(block.len() as u64).to_be_bytes(), block].concat();
        return (blake3::hash(&bytes).as_bytes().to_vec(), block.len() as u64);
    }
    let (left, right) = blocks.split_at(blocks.len() / 2);
    let ((left, left_bytes), (right, right_bytes)) = (naive_node(left), naive_node(right));
    let bytes = [&[1][..], &left_bytes.to_be_bytes(), &right_bytes.to_be_bytes(), &left, &right].concat();
    (blake3::hash(&bytes).as_bytes().to_vec(), left_bytes + right_bytes)
}

fn naive_root(blocks: &[Vec<u8>]) -> [u8; 32] {
    let (mut bytes, mut from) = (vec![2], 0);
    while from < blocks.len() {
        let mut size = 1;
        while from + size * 2 <= blocks.len() {
            size *= 2;
        }
        let (hash, length) = naive_node(&blocks[from..from + size]);
        bytes.extend(((from + from + size - 1) as u64).to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(hash);
        from += size;
    }
    *blake3::hash(&bytes).as_bytes()
}

/// Nodes computed from the blocks each time they are asked for: node `index` covers the blocks found by walking down.
struct Naive<'a>(&'a [Vec<u8>]);

impl Nodes for Naive<'_> {
    type Error = ProofError;

    fn node(&self, index: u64) -> Result<Node, ProofError> {
        let (mut from, mut size) = (0_u64, 1_u64 << 10);
        loop {
            let middle = from * 2 + size - 1;
            match index.cmp(&middle) {
                std::cmp::Ordering::Equal => break,
                std::cmp::Ordering::Less => size /= 2,
                std::cmp::Ordering::Greater => {
                    size /= 2;
                    from += size;
                }
            }
        }
        let (hash, bytes) = naive_node(&self.0[from as usize..(from + size) as usize]);
        Ok(Node { hash: hash.try_into().unwrap(), bytes })
    }
}

fn blocks(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| (0..i * 7 % 11).map(|j| (i * 31 + j) as u8).collect()).collect()
}

fn slices(blocks: &[Vec<u8>]) -> Vec<&[u8]> {
    blocks.iter().map(Vec::as_slice).collect()
}

fn roots(blocks: &[Vec<u8>]) -> Roots {
    let mut roots = Roots::new();
    for block in blocks {
        roots.push(Node::leaf(block), |_, _, _| ());
    }
    roots
}

fn head(blocks: &[Vec<u8>]) -> Head {
    Head::sign(&SigningKey::from_bytes(&[7; 32]), &roots(blocks))
}

#[test]
fn i1_the_root_is_the_naive_root_at_every_length() {
    let blocks = blocks(200);
    for length in 0..=blocks.len() {
        let roots = roots(&blocks[..length]);
        assert_eq!(roots.hash(), naive_root(&blocks[..length]), "length {length}");
        assert_eq!(roots.byte_length(), blocks[..length].iter().map(|b| b.len() as u64).sum::<u64>());
        assert_eq!(Roots::load(&Naive(&blocks), length as u64), Ok(roots));
    }
}

#[test]
fn pushing_reports_each_node_that_becomes_whole_once() {
    let blocks = blocks(100);
    let (mut roots, mut seen) = (Roots::new(), Vec::new());
    for block in &blocks {
        roots.push(Node::leaf(block), |depth, offset, node| {
            let index = flat::index(depth, offset);
            assert_eq!((flat::depth(index), flat::offset(index)), (depth, Some(offset)));
            assert_eq!(Naive(&blocks).node(index).as_ref(), Ok(node));
            seen.push(index);
        });
    }
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    // A whole tree of n leaves has n - 1 parents, and 100 has three full roots (64 + 32 + 4).
    assert_eq!((seen.len(), count), (200 - 3, 200 - 3));
}

#[test]
fn flat_numbering_of_the_ends() {
    assert_eq!((flat::index(0, 3), flat::index(1, 0), flat::index(2, 1)), (6, 1, 11));
    assert_eq!((flat::depth(u64::MAX), flat::offset(u64::MAX)), (64, None));
    assert_eq!((flat::depth(u64::MAX >> 1), flat::offset(u64::MAX >> 1)), (63, Some(0)));
    assert_eq!(flat::subtrees(3, 3).count() + flat::subtrees(4, 3).count(), 0);
    assert_eq!(flat::subtrees(1, 8).collect::<Vec<_>>(), [(0, 1), (1, 1), (2, 1)]);
}

#[test]
fn every_range_of_every_length_up_to_40_is_proved_completely_and_extending() {
    let all = blocks(40);
    for length in 0..=all.len() {
        let (blocks, head) = (&all[..length], head(&all[..length]));
        for start in 0..=length {
            let known = roots(&blocks[..start]);
            for end in start..=length {
                let span = Span { start: start as u64, end: end as u64, length: length as u64 };
                let shown = slices(&blocks[start..end]);
                let complete = prove(&Naive(blocks), &span, Known::Nothing).unwrap();
                let extending = prove(&Naive(blocks), &span, Known::Start).unwrap();
                assert_eq!(span.node_count(Known::Nothing), Ok(complete.len()));
                assert_eq!(complete[complete.len() - extending.len()..], extending);
                let leaves = blocks[start..end].iter().map(|block| Node::leaf(block)).collect();
                let proved =
                    Proved { start: known.clone(), leaves, end: roots(&blocks[..end]), whole: roots(blocks) };
                let (start, known) = (span.start, Some(&known));
                assert_eq!(verify(start, &shown, &complete, None, &head).as_ref(), Ok(&proved));
                assert_eq!(verify(start, &shown, &extending, known, &head).as_ref(), Ok(&proved));
            }
        }
    }
}

/// A naive tree of which no more can be asked for than is whole at a length.
struct Here<'a>(Naive<'a>, u64);

impl Nodes for Here<'_> {
    type Error = ProofError;

    fn node(&self, index: u64) -> Result<Node, ProofError> {
        let (depth, offset) = (flat::depth(index), flat::offset(index).unwrap());
        assert!((offset + 1) << depth <= self.1, "node {index} is not of the first {} blocks", self.1);
        self.0.node(index)
    }
}

#[test]
fn every_range_of_what_is_here_is_proved_under_a_longer_head() {
    let all = blocks(20);
    for length in 0..=all.len() {
        let (blocks, head) = (&all[..length], head(&all[..length]));
        for here in 0..=length {
            let tree = Here(Naive(&blocks[..here]), here as u64);
            let nodes = |(depth, offset)| Naive(blocks).node(flat::index(depth, offset)).unwrap();
            let given: Vec<Node> = flat::subtrees(here as u64, length as u64).map(nodes).collect();
            let beyond = Beyond::new(&tree, roots(&blocks[..here]), length as u64, &given).unwrap();
            assert!(head.fits(beyond.whole()));
            for start in 0..=here {
                for end in start..=here {
                    let span = Span { start: start as u64, end: end as u64, length: length as u64 };
                    for known in [Known::Nothing, Known::Start] {
                        let proof = prove(&beyond, &span, known).unwrap();
                        assert_eq!(proof, prove(&Naive(blocks), &span, known).unwrap());
                        let at_start = roots(&blocks[..start]);
                        let known = (known == Known::Start).then_some(&at_start);
                        assert!(
                            verify(span.start, &slices(&blocks[start..end]), &proof, known, &head).is_ok()
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn what_lies_beyond_needs_each_of_its_subtrees_and_a_longer_length() {
    let blocks = blocks(23);
    let tree = Here(Naive(&blocks[..9]), 9);
    let nodes = |(depth, offset)| Naive(&blocks).node(flat::index(depth, offset)).unwrap();
    let given: Vec<Node> = flat::subtrees(9, 23).map(nodes).collect();
    let error = |length, given: &[Node]| Beyond::new(&tree, roots(&blocks[..9]), length, given).err();
    assert_eq!(error(23, &given), None);
    let (expected, found) = (given.len(), given.len() - 1);
    assert_eq!(error(23, &given[1..]), Some(ProofError::NodeCount { expected, found }));
    assert_eq!(error(8, &[]), Some(ProofError::Range { start: 9, end: 9, length: 8 }));
    assert!(matches!(error(u64::MAX, &given), Some(ProofError::Range { .. })));
    let changed: Vec<Node> = given.iter().rev().copied().collect();
    let beyond = Beyond::new(&tree, roots(&blocks[..9]), 23, &changed).unwrap();
    assert!(!head(&blocks).fits(beyond.whole()));
}

#[test]
fn i2_any_other_number_of_nodes_is_refused_before_hashing() {
    let blocks = blocks(23);
    let head = head(&blocks);
    for (start, end) in [(0, 23), (0, 1), (5, 6), (7, 12), (22, 23), (11, 11)] {
        let span = Span { start, end, length: 23 };
        let shown = slices(&blocks[start as usize..end as usize]);
        let nodes = prove(&Naive(&blocks), &span, Known::Nothing).unwrap();
        for cut in 0..nodes.len() {
            let error = ProofError::NodeCount { expected: nodes.len(), found: cut };
            assert_eq!(verify(start, &shown, &nodes[..cut], None, &head), Err(error));
        }
        let more = [nodes.clone(), vec![head_node()]].concat();
        let error = ProofError::NodeCount { expected: nodes.len(), found: nodes.len() + 1 };
        assert_eq!(verify(start, &shown, &more, None, &head), Err(error));
    }
}

fn head_node() -> Node {
    Node { hash: [9; 32], bytes: 1 }
}

#[test]
fn lengths_beyond_any_feed_are_refused() {
    let mut head = head(&blocks(3));
    for length in [(1 << 40) + 1, u64::MAX, 1 << 63] {
        head.length = length;
        assert!(matches!(verify(0, &[&[]], &[], None, &head), Err(ProofError::Range { .. })));
        assert!(head.check().is_err());
    }
    head.length = 1 << 40;
    assert!(matches!(verify(u64::MAX, &[&[]], &[], None, &head), Err(ProofError::Range { .. })));
    assert!(matches!(verify(0, &[&[]], &[], None, &head), Err(ProofError::NodeCount { expected: 40, .. })));
    let two = roots(&blocks(2));
    let error = Err(ProofError::HeldLength { expected: 1, found: 2 });
    head.length = 2;
    assert_eq!(verify(1, &[&[]], &[], Some(&two), &head), error);
}

#[derive(Debug, Clone)]
enum Damage {
    Block { which: usize, bit: usize },
    Longer { which: usize },
    Swap { a: usize, b: usize },
    NodeHash { which: usize, bit: usize },
    NodeBytes { which: usize, bit: usize },
    SwapNodes { a: usize, b: usize },
    Root { bit: usize },
    ByteLength { bit: usize },
    Length { by: u64 },
    Start { by: u64 },
}

fn damage() -> impl Strategy<Value = Damage> {
    let n = 0..64_usize;
    prop_oneof![
        (n.clone(), 0..4096_usize).prop_map(|(which, bit)| Damage::Block { which, bit }),
        n.clone().prop_map(|which| Damage::Longer { which }),
        (n.clone(), n.clone()).prop_map(|(a, b)| Damage::Swap { a, b }),
        (n.clone(), 0..256_usize).prop_map(|(which, bit)| Damage::NodeHash { which, bit }),
        (n.clone(), 0..64_usize).prop_map(|(which, bit)| Damage::NodeBytes { which, bit }),
        (n.clone(), n).prop_map(|(a, b)| Damage::SwapNodes { a, b }),
        (0..256_usize).prop_map(|bit| Damage::Root { bit }),
        (0..64_usize).prop_map(|bit| Damage::ByteLength { bit }),
        (1..40_u64).prop_map(|by| Damage::Length { by }),
        (1..40_u64).prop_map(|by| Damage::Start { by }),
    ]
}

fn flip(bytes: &mut [u8], bit: usize) {
    let bit = bit % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn i1_whatever_is_damaged_the_proof_fails(
        all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 1..50),
        (a, b) in (0..50_usize, 0..50_usize),
        extending: bool,
        damage in damage(),
    ) {
        let (start, end) = (a.min(b) % all.len(), a.max(b).min(all.len()).max(a.min(b) % all.len()));
        let mut head = head(&all);
        let held = roots(&all[..start]);
        let span = Span { start: start as u64, end: end as u64, length: all.len() as u64 };
        let known = if extending { Known::Start } else { Known::Nothing };
        let mut nodes = prove(&Naive(&all), &span, known).unwrap();
        let mut shown = all[start..end].to_vec();
        let (old_nodes, old_shown, old_head, mut at) = (nodes.clone(), shown.clone(), head, span.start);
        let (blocks, count) = (shown.len().max(1), nodes.len().max(1));
        match damage {
            Damage::Block { which, bit } => if let Some(block) = shown.get_mut(which % blocks).filter(|b| !b.is_empty()) { flip(block, bit) },
            Damage::Longer { which } => if let Some(block) = shown.get_mut(which % blocks) { block.push(0) },
            Damage::Swap { a, b } => if !shown.is_empty() { shown.swap(a % blocks, b % blocks) },
            Damage::NodeHash { which, bit } => if let Some(node) = nodes.get_mut(which % count) { flip(&mut node.hash, bit) },
            Damage::NodeBytes { which, bit } => if let Some(node) = nodes.get_mut(which % count) { node.bytes ^= 1 << bit },
            Damage::SwapNodes { a, b } => if !nodes.is_empty() { nodes.swap(a % count, b % count) },
            Damage::Root { bit } => flip(&mut head.root, bit),
            Damage::ByteLength { bit } => head.byte_length ^= 1 << bit,
            Damage::Length { by } => head.length += by,
            Damage::Start { by } => at += by,
        }
        let same = (&nodes, &shown, &head, at) == (&old_nodes, &old_shown, &old_head, span.start);
        let held = extending.then_some(&held);
        prop_assert_eq!(verify(at, &slices(&shown), &nodes, held, &head).is_ok(), same);
        if head != old_head {
            prop_assert!(head.verify(&key()).is_err());
        }
    }

    #[test]
    fn nothing_a_peer_sends_panics(
        start: u64, length in prop_oneof![any::<u64>(), 0..100_u64], byte_length: u64,
        blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3), 0..5),
        nodes in prop::collection::vec(any::<u64>(), 0..130),
    ) {
        let head = Head { length, byte_length, root: [1; 32], signature: [3; 64] };
        let nodes: Vec<Node> = nodes.into_iter().map(|bytes| Node { hash: [5; 32], bytes }).collect();
        prop_assert!(verify(start, &slices(&blocks), &nodes, None, &head).is_err());
        prop_assert!(head.verify(&key()).is_err());
    }
}

fn key() -> multi_hyperbee::types::FeedKey {
    multi_hyperbee::types::FeedKey(SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes())
}
