//! Signed heads, golden bytes of every hashed and signed format, and proofs that a feed has forked.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use ed25519_dalek::{Signer as _, SigningKey};
use multi_hyperbee::codec::Reader;
use multi_hyperbee::merkle::{
    Head, HeadError, Node, Nodes, Parting, PartingError, ProofError, Roots, Side, anchor, flat,
};
use multi_hyperbee::types::FeedKey;
use std::collections::BTreeMap;

fn secret() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn feed() -> FeedKey {
    FeedKey(secret().verifying_key().to_bytes())
}

#[derive(Default)]
struct Tree {
    roots: Roots,
    nodes: BTreeMap<u64, Node>,
}

impl Nodes for Tree {
    type Error = ProofError;

    fn node(&self, index: u64) -> Result<Node, ProofError> {
        Ok(self.nodes[&index])
    }
}

impl Tree {
    fn of(blocks: &[&str]) -> Self {
        let mut tree = Self::default();
        for block in blocks {
            tree.roots.push(Node::leaf(block.as_bytes()), |depth, offset, node| {
                tree.nodes.insert(flat::index(depth, offset), *node);
            });
        }
        tree
    }

    fn head(&self) -> Head {
        Head::sign(&secret(), &self.roots)
    }
}

#[test]
fn golden_hashes() {
    let (a, b) = (Node::leaf(b""), Node::leaf(b"hello"));
    assert_eq!(hex::encode(a.hash), "9d15372b1830735a0a2d05214669e3271a754aac46fe303b68bb3046013a0574");
    assert_eq!(hex::encode(b.hash), "d6b1856e50c62e6e947c6900468c85097655f3b56ac659a83ef2d78c8d81ea01");
    assert_eq!(
        hex::encode(Node::parent(&a, &b).hash),
        "dc7aa8f33fd348bffaa0d26e2f5096876d792c4d3e69bbfb43d364942303f381"
    );
    assert_eq!(
        hex::encode(Roots::new().hash()),
        "ab13bedf42e84bae0f7c62c7dd6a8ada571e8829bed6ea558217f0361b5e25d0"
    );
    assert_eq!(
        hex::encode(Tree::of(&["", "hello", "x"]).roots.hash()),
        "e34561ad85a0beddb9412f003f23f88a08b65c7b3d672033bf372e935dbdd6ac"
    );
    let mut bytes = Vec::new();
    b.encode_into(&mut bytes);
    assert_eq!(hex::encode(&bytes), format!("0000000000000005{}", hex::encode(b.hash)));
    assert_eq!(Node::decode(&mut Reader::new(&bytes)), Ok(b));
    for cut in 0..Node::SIZE {
        assert!(Node::decode(&mut Reader::new(&bytes[..cut])).is_err());
    }
}

#[test]
fn golden_head() {
    let head = Tree::of(&["", "hello", "x"]).head();
    let mut bytes = Vec::new();
    head.encode_into(&mut bytes);
    assert_eq!(
        hex::encode(&bytes),
        "00000000000000030000000000000006e34561ad85a0beddb9412f003f23f88a08b65c7b3d672033bf372e935dbdd6ace91f3b003e520ba914c022682eaed88865a025632a146272f4d8af64fd29d6622a5b1c86ca2c88903e6e4c7924a563d81c492183ec017e4ba95c4c6624abba0c"
    );
    assert_eq!(Head::decode(&mut Reader::new(&bytes)), Ok(head));
    for cut in 0..Head::SIZE {
        assert!(Head::decode(&mut Reader::new(&bytes[..cut])).is_err());
    }
}

#[test]
fn a_head_with_any_bit_flipped_is_not_signed() {
    let head = Tree::of(&["", "hello", "x"]).head();
    assert_eq!(head.verify(&feed()), Ok(()));
    let mut bytes = Vec::new();
    head.encode_into(&mut bytes);
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let flipped = Head::decode(&mut Reader::new(&bytes)).unwrap();
        assert!(flipped.verify(&feed()).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn heads_of_other_keys_other_contexts_and_impossible_sizes_are_refused() {
    let head = Tree::of(&["a"]).head();
    let other = FeedKey(SigningKey::from_bytes(&[2; 32]).verifying_key().to_bytes());
    assert_eq!(head.verify(&other), Err(HeadError::Signature));
    // The identity point: a key of small order, for which one signature would fit many messages.
    let mut identity = [0; 32];
    identity[0] = 1;
    let any = Head { signature: [0; 64], ..head };
    let mut forged = any;
    forged.signature[0] = 1;
    assert_eq!(forged.verify(&FeedKey(identity)), Err(HeadError::Signature));
    // The same fields signed without our context, and with another one.
    let fields = [&1_u64.to_be_bytes()[..], &1_u64.to_be_bytes(), &head.root].concat();
    for context in [&[][..], &[0; 32], blake3::hash(b"multi-hyperbee feed head v2").as_bytes()] {
        let signature = secret().sign(&[context, &fields].concat()).to_bytes();
        assert_eq!(Head { signature, ..head }.verify(&feed()), Err(HeadError::Signature));
    }
    let ours = [blake3::hash(b"multi-hyperbee feed head v1").as_bytes(), &fields[..]].concat();
    assert_eq!(head.signature, secret().sign(&ours).to_bytes());
    for (length, byte_length) in
        [(0, 1), (1, u64::MAX), ((1 << 40) + 1, 0), (1 << 40, u64::MAX), (u64::MAX, 5)]
    {
        let limit = Err(HeadError::Limit { length, byte_length });
        assert_eq!(Head { length, byte_length, ..head }.verify(&feed()), limit);
    }
}

#[test]
fn an_anchor_is_its_one_block_and_nothing_can_be_signed_in_its_name() {
    let (name, head) = anchor(b"block");
    assert_eq!(hex::encode(name.0), "560ce20c23fe542a576f8c1436c64f6930c4ce088423b4a268f713259384fad1");
    assert_eq!((head.length, head.byte_length, head.signature), (1, 5, [0; 64]));
    assert_eq!(head.verify(&name), Ok(()));
    // Another block, another length, a signature: none is of the anchor.
    let false_heads = [
        Head { root: anchor(b"blocK").1.root, ..head },
        Head { length: 2, ..head },
        Head { signature: [1; 64], ..head },
        Tree::of(&["block"]).head(),
        Tree::of(&["block", "more"]).head(),
    ];
    for forged in false_heads {
        assert!(matches!(forged.verify(&name), Err(HeadError::Signature | HeadError::Key)), "{forged:?}");
    }
    // And no other feed is one.
    assert_eq!(head.verify(&feed()), Err(HeadError::Signature));
}

fn parting(a: &Tree, b: &Tree, common: u64) -> Parting {
    let roots =
        flat::subtrees(0, common).map(|(depth, offset)| a.nodes[&flat::index(depth, offset)]).collect();
    let side = |tree: &Tree| Side::new(tree, tree.head(), common).unwrap();
    Parting { common, roots, sides: [side(a), side(b)] }
}

#[test]
fn a_fork_is_proved_to_whoever_has_only_the_key() {
    let a = Tree::of(&["1", "2", "3", "4", "5", "6", "7"]);
    for common in 0..7 {
        let mut blocks = vec!["1", "2", "3", "4", "5", "6", "7", "8", "9"];
        blocks[common] = "other";
        for length in common + 1..=blocks.len() {
            let b = Tree::of(&blocks[..length]);
            let proof = parting(&a, &b, common as u64);
            assert_eq!(proof.verify(&feed()), Ok(()));
            assert!(proof.verify(&FeedKey([3; 32])).is_err());
        }
    }
}

#[test]
fn no_fork_is_proved_where_there_is_none() {
    let (a, b) = (Tree::of(&["1", "2", "3", "4", "5"]), Tree::of(&["1", "2", "3"]));
    for common in 0..3 {
        let proof = parting(&a, &b, common);
        assert_eq!(proof.verify(&feed()), Err(PartingError::Same { seq: common }));
        let mut forged = proof.clone();
        forged.sides[1].leaf = Node::leaf(b"x");
        assert_eq!(forged.verify(&feed()), Err(ProofError::Root { length: 3 }.into()));
        let mut forged = proof;
        forged.sides[0].head.length = u64::MAX;
        assert!(matches!(forged.verify(&feed()), Err(PartingError::Head(HeadError::Limit { .. }))));
    }
    let fork = Tree::of(&["1", "x", "3"]);
    let proof = parting(&a, &fork, 1);
    for change in 0..6 {
        let mut forged = proof.clone();
        match change {
            0 => forged.common = 2,
            1 => forged.roots = vec![],
            2 => forged.roots[0].bytes += 1,
            3 => forged.sides[0].after.push(Node::leaf(b"")),
            4 => drop(forged.sides[1].after.pop()),
            _ => forged.common = u64::MAX,
        }
        assert!(forged.verify(&feed()).is_err(), "change {change}");
    }
}
