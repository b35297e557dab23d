//! Proofs that were tampered with prove nothing that is not so.

use super::bytes::Bytes;
use ed25519_dalek::SigningKey;
use multi_hyperbee::codec::Reader;
use multi_hyperbee::merkle::{
    Head, Known, Node, Nodes, Parting, ProofError, Roots, Side, Span, flat, prove, verify,
};
use multi_hyperbee::types::FeedKey;
use std::collections::BTreeMap;
use std::sync::LazyLock;

const LENGTH: u64 = 23;

/// A feed, with its head at each length.
struct Feed {
    blocks: Vec<Vec<u8>>,
    nodes: BTreeMap<u64, Node>,
    roots: Vec<Roots>,
    heads: Vec<Head>,
}

impl Nodes for Feed {
    type Error = ProofError;

    fn node(&self, index: u64) -> Result<Node, ProofError> {
        Ok(self.nodes[&index])
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

/// The block at `other` is another one.
fn feed(length: u64, other: Option<u64>) -> Feed {
    let mut nodes = BTreeMap::new();
    let (mut roots, mut heads) = (vec![Roots::new()], vec![Head::sign(&key(), &Roots::new())]);
    let block = |seq: u64| {
        vec![if other == Some(seq) { 0xee } else { seq.to_le_bytes()[0] }; 1 + (seq as usize * 7) % 13]
    };
    let blocks: Vec<Vec<u8>> = (0..length).map(block).collect();
    for block in &blocks {
        let mut now = roots[roots.len() - 1].clone();
        now.push(Node::leaf(block), |depth, offset, node| {
            nodes.insert(flat::index(depth, offset), *node);
        });
        heads.push(Head::sign(&key(), &now));
        roots.push(now);
    }
    Feed { blocks, nodes, roots, heads }
}

static FEED: LazyLock<Feed> = LazyLock::new(|| feed(LENGTH, None));

/// What a proof is made of.
struct Proof {
    start: u64,
    blocks: Vec<Vec<u8>>,
    nodes: Vec<Node>,
    roots: Option<Roots>,
    head: Head,
}

fn honest(bytes: &mut Bytes<'_>) -> Proof {
    let length = 1 + bytes.below(LENGTH as usize);
    let end = bytes.below(length + 1);
    let start = bytes.below(end + 1);
    let known = if bytes.chance(50) { Known::Start } else { Known::Nothing };
    let span = Span { start: start as u64, end: end as u64, length: length as u64 };
    Proof {
        start: start as u64,
        blocks: FEED.blocks[start..end].to_vec(),
        nodes: prove(&*FEED, &span, known).expect("the tree has all nodes"),
        roots: (known == Known::Start).then(|| FEED.roots[start].clone()),
        head: FEED.heads[length],
    }
}

fn node(bytes: &mut Bytes<'_>) -> Node {
    match bytes.u8() % 4 {
        0 => Node { hash: [bytes.u8(); 32], bytes: bytes.u64() },
        1 => Node::leaf(bytes.take(3)),
        _ => bytes.pick(&FEED.nodes.values().copied().collect::<Vec<_>>()),
    }
}

fn tamper(proof: &mut Proof, bytes: &mut Bytes<'_>) {
    let at = bytes.below(proof.nodes.len());
    match bytes.u8() % 12 {
        0 => proof.start = bytes.u64(),
        1 => proof.head.length = bytes.u64(),
        2 => proof.head.byte_length = bytes.u64(),
        3 => proof.head = FEED.heads[bytes.below(FEED.heads.len())],
        4 if !proof.nodes.is_empty() => drop(proof.nodes.remove(at)),
        5 => proof.nodes.insert(at, node(bytes)),
        6 if !proof.nodes.is_empty() => proof.nodes[at] = node(bytes),
        7 if !proof.nodes.is_empty() => proof.nodes[at].bytes = bytes.u64(),
        8 => proof.blocks.push(bytes.take(2).to_vec()),
        9 => drop(proof.blocks.pop()),
        10 if !proof.blocks.is_empty() => {
            let block = bytes.below(proof.blocks.len());
            proof.blocks[block] = bytes.pick(&FEED.blocks);
        }
        _ => proof.roots = bytes.chance(80).then(|| bytes.pick(&FEED.roots)),
    }
}

pub fn proofs(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut proof = honest(&mut bytes);
    let is_honest = bytes.is_empty();
    for _ in 0..32 {
        if bytes.is_empty() {
            break;
        }
        tamper(&mut proof, &mut bytes);
    }
    let Proof { start, blocks, nodes, roots, head } = &proof;
    let parts: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
    let proved = verify(*start, &parts, nodes, roots.as_ref(), head);
    assert!(proved.is_ok() || !is_honest, "{proved:?}");
    let Ok(proved) = proved else { return };
    // Its root is one that was signed: all of it is so.
    let (start, end, length) = (*start as usize, *start as usize + blocks.len(), head.length as usize);
    assert_eq!(blocks[..], FEED.blocks[start..end]);
    let is_signed =
        (head.byte_length, head.root) == (FEED.heads[length].byte_length, FEED.heads[length].root);
    assert!(is_signed);
    assert_eq!((&proved.start, &proved.end), (&FEED.roots[start], &FEED.roots[end]));
    assert_eq!(proved.whole, FEED.roots[length]);
}

/// Both histories have the same first five blocks.
static PARTING: LazyLock<Parting> = LazyLock::new(|| {
    let (one, other) = (feed(9, None), feed(12, Some(5)));
    let side =
        |feed: &Feed, length: usize| Side::new(feed, feed.heads[length], 5).expect("the tree has all nodes");
    Parting { common: 5, roots: one.roots[5].nodes().collect(), sides: [side(&one, 9), side(&other, 12)] }
});

/// Even: bytes as they are. Odd: a true proof, with bytes changed.
pub fn parting(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut text = Vec::new();
    PARTING.encode_into(&mut text);
    let feed = FeedKey(key().verifying_key().to_bytes());
    if bytes.u8() & 1 == 0 {
        text = bytes.0.to_vec();
    } else {
        assert_eq!(PARTING.verify(&feed), Ok(()));
        while !bytes.is_empty() {
            let at = usize::from(bytes.u8()) * 256 + usize::from(bytes.u8());
            let length = text.len();
            match bytes.u8() % 8 {
                0 => text.truncate(at % (length + 1)),
                1 => text.insert(at % (length + 1), bytes.u8()),
                _ if length > 0 => text[at % length] ^= bytes.u8(),
                _ => {}
            }
        }
    }
    let mut reader = Reader::new(&text);
    let Ok(read) = Parting::decode(&mut reader) else { return };
    let mut again = Vec::new();
    read.encode_into(&mut again);
    assert_eq!(again, text[..text.len() - reader.remaining()]);
    if read.verify(&feed).is_ok() {
        let swapped =
            Parting { sides: [PARTING.sides[1].clone(), PARTING.sides[0].clone()], ..PARTING.clone() };
        assert!(read == *PARTING || read == swapped, "a proof of what did not happen");
    }
}
