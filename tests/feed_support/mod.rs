//! Feeds in memory stores, for the tests of `feed`.
#![allow(dead_code, reason = "each test file uses its part")]

use multi_hyperbee::feed::{self, Appender, FeedError, FeedRecord, Grown, Outgoing, Received, Seed};
use multi_hyperbee::merkle::{Head, Known, Node, Roots};
use multi_hyperbee::store::{Environment, Location, Options, Read, Table};
use multi_hyperbee::types::FeedKey;

pub const SECRET: [u8; 32] = [1; 32];

pub struct Peer {
    pub env: Environment,
    pub record: FeedRecord,
}

pub fn feed() -> FeedKey {
    Seed::new(SECRET).feed()
}

pub fn environment() -> Environment {
    Environment::open(&Location::Memory, &Options::default()).unwrap()
}

impl Peer {
    pub fn new(secret: Option<Seed>) -> Self {
        let env = environment();
        let mut txn = env.write().unwrap();
        let record = feed::create(&mut txn, feed(), secret.map(Into::into)).unwrap();
        txn.commit().unwrap();
        Self { env, record }
    }

    pub fn writer(blocks: &[Vec<u8>]) -> Self {
        let mut peer = Self::new(Some(Seed::new(SECRET)));
        peer.append(blocks);
        peer
    }

    pub fn reader() -> Self {
        Self::new(None)
    }

    pub fn append(&mut self, blocks: &[Vec<u8>]) {
        let mut txn = self.env.write().unwrap();
        let mut appender = Appender::new(&txn, self.record.clone()).unwrap();
        for block in blocks {
            appender.append(&mut txn, block).unwrap();
        }
        self.record = appender.finish(&mut txn).unwrap();
        txn.commit().unwrap();
    }

    pub fn head(&self) -> Head {
        self.record.head.unwrap()
    }

    /// Blocks of this peer as they would arrive at another.
    pub fn serve(&self, start: u64, end: u64, head: &Head, known: Known) -> Sent {
        let txn = self.env.read().unwrap();
        let out = feed::prove(&txn, &self.record, (start, end), u64::MAX, head, known).unwrap();
        Sent::new(&out, known)
    }

    pub fn verify(&self, sent: &Sent) -> Result<feed::VerifiedBlocks, FeedError> {
        feed::verify(&self.env.read().unwrap(), &self.record, &sent.received())
    }

    /// Verifies and ingests, commits only if both went well.
    pub fn receive(&mut self, sent: &Sent) -> Result<Grown, FeedError> {
        let verified = self.verify(sent)?;
        self.ingest(&verified)
    }

    pub fn ingest(&mut self, verified: &feed::VerifiedBlocks) -> Result<Grown, FeedError> {
        let mut txn = self.env.write().unwrap();
        let before = self.record.clone();
        let grown = feed::ingest(&mut txn, &mut self.record, verified);
        if grown.is_ok() {
            txn.commit().unwrap();
        } else {
            assert_eq!(self.record, before, "a refused ingest leaves the record as it was");
            txn.abort();
        }
        self.check();
        grown
    }

    /// The module's invariants, by reading everything back.
    pub fn check(&self) {
        let txn = self.env.read().unwrap();
        let record = feed::load(&txn, &self.record.key).unwrap().unwrap();
        assert_eq!(record, self.record);
        let mut roots = Roots::new();
        let fits = |head: &Option<Head>, roots: &Roots| {
            head.filter(|head| head.length == roots.length()).is_none_or(|head| head.fits(roots))
        };
        for seq in 0..record.length {
            let block = feed::block(&txn, record.id, seq).unwrap().unwrap();
            roots.push(Node::leaf(block), |_, _, _| ());
            assert_eq!(feed::root_at(&txn, &record, seq + 1).unwrap(), roots.hash());
            assert!(fits(&record.head, &roots), "I2: the head is that of the tree");
        }
        assert_eq!(feed::block(&txn, record.id, record.length).unwrap(), None);
        assert_eq!(roots.byte_length(), record.byte_length);
        for head in [record.head, record.cover, record.tip].iter().flatten() {
            head.verify(&record.key).unwrap();
        }
        assert!(record.complete() <= record.length);
        let beyond = |head: Option<Head>| head.is_none_or(|head| head.length > record.length);
        assert!(beyond(record.cover) && beyond(record.tip));
        assert!(record.tip.is_none() || record.tip != record.cover);
        assert_eq!(
            record.cover.is_some(),
            record.length > record.complete(),
            "I3: what is beyond is covered"
        );
        let row = txn.get(Table::Covers, &record.id.to_be_bytes()).unwrap();
        assert_eq!(row.is_some(), record.cover.is_some(), "I12: what is covered can be passed on");
        if let Some(row) = row {
            feed::verify_cover(&txn, &record, &record.id.to_be_bytes(), row).unwrap();
        }
    }
}

/// A message in flight.
#[derive(Clone, Debug)]
pub struct Sent {
    pub start: u64,
    pub head: Head,
    pub nodes: Vec<Node>,
    pub blocks: Vec<Vec<u8>>,
    pub extending: bool,
}

impl Sent {
    pub fn new(out: &Outgoing<'_>, known: Known) -> Self {
        let blocks = out.blocks.iter().map(|block| block.to_vec()).collect();
        let extending = known == Known::Start;
        Self { start: out.start, head: out.head, nodes: out.nodes.clone(), blocks, extending }
    }

    pub fn received(&self) -> Received<'_> {
        Received {
            start: self.start,
            length: self.head.length,
            byte_length: self.head.byte_length,
            signature: self.head.signature,
            nodes: self.nodes.clone(),
            blocks: self.blocks.iter().map(Vec::as_slice).collect(),
            extending: self.extending,
        }
    }
}

pub fn blocks(count: u64) -> Vec<Vec<u8>> {
    (0..count).map(|i| format!("block {i}").repeat(usize::try_from(i % 5).unwrap()).into_bytes()).collect()
}

pub fn naive_roots(blocks: &[Vec<u8>]) -> Roots {
    let mut roots = Roots::new();
    for block in blocks {
        roots.push(Node::leaf(block), |_, _, _| ());
    }
    roots
}
