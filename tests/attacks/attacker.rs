//! A session driver that can say anything: it proves a topic as an honest peer does, and from then on writes frames by
//! hand, from docs/protocol.md.

use crate::support::options;
use ed25519_dalek::SigningKey;
use multi_hyperbee::codec::{Reader, put_bytes, put_varint};
use multi_hyperbee::db::{Code, Db, Peer, PeerEvent, Store, Transport};
use multi_hyperbee::merkle::{Head, Node, Roots};
use multi_hyperbee::types::FeedKey;
use multi_hyperbee::wire::{Config, Event, Role, Session, Topic, TopicKind};

const HASH: [u8; 64] = [5; 64];

pub const PING: u8 = 2;
pub const SHOW: u8 = 4;
pub const WITHDRAW: u8 = 7;
pub const VECTOR: u8 = 9;
pub const HAVE: u8 = 10;
pub const REQUEST: u8 = 11;
pub const REFUSE: u8 = 13;
pub const BLOCKS: u8 = 14;
pub const PIECE: u8 = 15;
pub const ACCESS: u8 = 16;
pub const ASK: u8 = 19;

fn attached() -> Transport {
    Transport::Attached { initiator: false, handshake_hash: HASH }
}

pub fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, 1 + body.len() as u64);
    out.push(tag);
    out.extend_from_slice(body);
    out
}

pub fn varints(numbers: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    for number in numbers {
        put_varint(&mut out, *number);
    }
    out
}

/// What is said of a feed.
pub fn held(length: u64) -> Vec<u8> {
    let root = if length == 0 { [0; 16] } else { [0x66; 16] };
    [varints(&[length]), root.to_vec(), varints(&[length])].concat()
}

pub struct Attacker {
    /// The victim's end.
    pub peer: Peer,
    /// What the victim said with which the topic opened.
    pub greeting: Vec<Event>,
    /// What it said since, by type.
    pub heard: Vec<(u8, Vec<u8>)>,
    unread: Vec<u8>,
    error: Option<(Code, String)>,
}

impl Attacker {
    /// Has the transport, and has said nothing.
    pub fn stranger(db: &Db) -> Self {
        Self::over(db.replicate(options(attached())).unwrap())
    }

    /// The same, of all that a store has.
    pub fn stranger_to(store: &Store) -> Self {
        Self::over(store.replicate(options(attached())).unwrap())
    }

    fn over(peer: Peer) -> Self {
        Self { peer, greeting: Vec::new(), heard: Vec::new(), unread: Vec::new(), error: None }
    }

    /// Knows the key: the database's topic is open, as number 0.
    pub fn proved(db: &Db, config: Config) -> Self {
        let topic = Topic { kind: TopicKind::Database, key: db.info().unwrap().key };
        Self::stranger(db).proving(topic, config)
    }

    /// Knows the key of a feed that is open by itself: its topic is open, as number 0.
    pub fn of_feed(store: &Store, key: FeedKey) -> Self {
        Self::stranger_to(store).proving(Topic { kind: TopicKind::Feed, key }, Config::default())
    }

    fn proving(mut self, topic: Topic, config: Config) -> Self {
        let mut session = Session::attached(Role::Initiator, HASH, config);
        session.offer(&[topic]).unwrap();
        self.bytes(&session.pull(9_999).unwrap());
        while let Some(bytes) = self.peer.pull(1 << 16) {
            session.receive(&bytes).unwrap();
        }
        self.greeting = std::iter::from_fn(|| session.event()).collect();
        assert!(self.greeting.iter().any(|event| matches!(event, Event::TopicOpen { .. })));
        self
    }

    /// As [`Attacker::proved`], all was shown, and its first vector, an empty one, has ended: nobody waits for what it may still show.
    pub fn member(db: &Db) -> Self {
        let mut attacker = Self::proved(db, Config::default());
        attacker.say(SHOW, &[0]);
        attacker.say(VECTOR, &[0, 1, 0]);
        attacker
    }

    /// Raw bytes. False: the victim asks to be given no more for now.
    pub fn bytes(&mut self, bytes: &[u8]) -> bool {
        match self.peer.receive(bytes) {
            Ok(ready) => ready,
            Err(error) => {
                self.error.get_or_insert((error.code, error.message));
                true
            }
        }
    }

    pub fn say(&mut self, tag: u8, body: &[u8]) -> bool {
        self.bytes(&frame(tag, body))
    }

    /// Announces feeds; they get the next numbers.
    pub fn announce(&mut self, feeds: &[(FeedKey, u64)]) -> bool {
        let mut body = vec![0, 0];
        put_varint(&mut body, feeds.len() as u64);
        for (feed, length) in feeds {
            body.push(0);
            body.extend_from_slice(feed.as_bytes());
            body.extend_from_slice(&held(*length));
        }
        self.say(VECTOR, &body)
    }

    pub fn have(&mut self, alias: u64, length: u64) -> bool {
        self.say(HAVE, &[varints(&[alias]), held(length)].concat())
    }

    /// Pushes blocks.
    pub fn push(&mut self, alias: u64, message: &Message) -> bool {
        self.say(BLOCKS, &message.encode(alias, 0))
    }

    /// Reads what the victim says.
    pub fn read(&mut self) {
        self.read_after(Vec::new());
    }

    /// As [`Attacker::read`], after bytes that were pulled already.
    pub fn read_after(&mut self, pulled: Vec<u8>) {
        self.unread.extend(pulled);
        while let Some(bytes) = self.peer.pull(1 << 16) {
            self.unread.extend(bytes);
        }
        loop {
            let mut reader = Reader::new(&self.unread);
            let Ok(body) = reader.bytes("a frame", usize::MAX) else { return };
            self.heard.push((body[0], body[1..].to_vec()));
            let rest = reader.rest().to_vec();
            self.unread = rest;
        }
    }

    pub fn count(&self, tag: u8) -> usize {
        self.heard.iter().filter(|(heard, _)| *heard == tag).count()
    }

    /// Why the victim cut it off, if it has.
    pub fn failed(&mut self) -> Option<(Code, String)> {
        for event in self.peer.take_events() {
            if let PeerEvent::Failed(error) = event {
                self.error.get_or_insert((error.code, error.message));
            }
        }
        self.error.clone()
    }
}

/// Blocks as they travel.
#[derive(Clone)]
pub struct Message {
    pub start: u64,
    pub extending: u64,
    pub head: Head,
    pub nodes: Vec<Node>,
    pub blocks: Vec<Vec<u8>>,
}

impl Message {
    /// `answer`: 0 for a push, else the request's number plus one.
    pub fn encode(&self, alias: u64, answer: u64) -> Vec<u8> {
        let Self { start, extending, head, nodes, blocks } = self;
        let mut out = varints(&[alias, answer, *start, *extending, head.length, head.byte_length]);
        out.extend_from_slice(&head.signature);
        put_varint(&mut out, nodes.len() as u64);
        for node in nodes {
            out.extend_from_slice(&node.hash);
            put_varint(&mut out, node.bytes);
        }
        put_varint(&mut out, blocks.len() as u64);
        for block in blocks {
            put_bytes(&mut out, block);
        }
        out
    }
}

/// A feed whose secret key the attacker has.
pub struct Feed {
    secret: SigningKey,
    pub blocks: Vec<Vec<u8>>,
}

impl Feed {
    pub fn new(seed: u8, blocks: Vec<Vec<u8>>) -> Self {
        Self { secret: SigningKey::from_bytes(&[seed; 32]), blocks }
    }

    pub fn key(&self) -> FeedKey {
        FeedKey(self.secret.verifying_key().to_bytes())
    }

    pub fn roots(&self, length: usize) -> Roots {
        let mut roots = Roots::new();
        for block in &self.blocks[..length] {
            roots.push(Node::leaf(block), |_, _, _| ());
        }
        roots
    }

    pub fn head(&self, length: usize) -> Head {
        Head::sign(&self.secret, &self.roots(length))
    }

    /// All of it: from block 0 to the head no node is missing.
    pub fn whole(&self) -> Message {
        let head = self.head(self.blocks.len());
        Message { start: 0, extending: 0, head, nodes: Vec::new(), blocks: self.blocks.clone() }
    }

    /// From `start` on, after what is there already.
    pub fn from(&self, start: usize) -> Message {
        let head = self.head(self.blocks.len());
        let blocks = self.blocks[start..].to_vec();
        Message { start: start as u64, extending: start as u64, head, nodes: Vec::new(), blocks }
    }
}
