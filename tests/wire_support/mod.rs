//! Two sessions in memory over toy feeds (lists of blocks without proofs), and the bytes between them.

use multi_hyperbee::types::FeedKey;
use multi_hyperbee::wire::{
    Blocks, CloseReason, Config, Event, FeedState, Head, NOISE_PATTERN, PROLOGUE, ProtocolError, Role,
    Session, Topic, TopicId, TopicKind,
};
use std::collections::BTreeMap;

pub const HASH: [u8; 64] = [7; 64];
const WINDOW: u64 = 16;

pub fn key(byte: u8) -> FeedKey {
    FeedKey([byte; 32])
}

pub fn database(byte: u8) -> Topic {
    Topic { kind: TopicKind::Database, key: key(byte) }
}

pub fn head(length: u64) -> Head {
    Head { length, byte_length: length * 3, signature: [9; 64] }
}

pub fn attached(role: Role) -> Session {
    Session::attached(role, HASH, Config::default())
}

fn handshake(role: Role, seed: u8) -> snow::HandshakeState {
    let (secret, ephemeral) = ([seed; 32], [seed ^ 0xff; 32]);
    let builder = snow::Builder::new(NOISE_PATTERN.parse().unwrap())
        .prologue(PROLOGUE)
        .unwrap()
        .local_private_key(&secret)
        .unwrap()
        .fixed_ephemeral_key_for_testing_only(&ephemeral);
    match role {
        Role::Initiator => builder.build_initiator().unwrap(),
        Role::Responder => builder.build_responder().unwrap(),
    }
}

/// A Noise session whose keys follow from `seed`: the same seeds give the same bytes.
pub fn noise(role: Role, seed: u8) -> Session {
    Session::noise(handshake(role, seed), Config::default()).unwrap()
}

/// A session with the store above it.
pub struct Peer {
    pub session: Session,
    pub feeds: BTreeMap<FeedKey, Vec<Vec<u8>>>,
    pub topics: Vec<TopicId>,
    /// What each feed has been asked for, up to where.
    asked: BTreeMap<FeedKey, u64>,
    announced: BTreeMap<FeedKey, u64>,
    pub blocks_twice: usize,
    /// Blocks that came before their predecessor.
    pub gaps: usize,
    /// Commands of the toy store that the session refused.
    pub refused: usize,
    pub closed: Option<CloseReason>,
    pub error: Option<ProtocolError>,
    pub seen: Vec<Event>,
}

impl Peer {
    pub fn new(session: Session, feeds: &[(u8, usize)]) -> Self {
        let block = |feed: u8, seq: usize| format!("{feed}/{seq}").into_bytes();
        let feeds = feeds
            .iter()
            .map(|(feed, length)| (key(*feed), (0..*length).map(|seq| block(*feed, seq)).collect()))
            .collect();
        Self {
            session,
            feeds,
            topics: Vec::new(),
            asked: BTreeMap::new(),
            announced: BTreeMap::new(),
            blocks_twice: 0,
            gaps: 0,
            refused: 0,
            closed: None,
            error: None,
            seen: Vec::new(),
        }
    }

    pub fn state(&self, feed: FeedKey) -> FeedState {
        let length = self.feeds.get(&feed).map_or(0, Vec::len) as u64;
        let root = if length == 0 { [0; 16] } else { [feed.0[0]; 16] };
        FeedState { feed, length, root, signed: length }
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        if let Err(error) = self.session.receive(bytes) {
            self.error.get_or_insert(error);
        }
        while let Some(event) = self.session.event() {
            self.seen.push(event.clone());
            if self.error.is_none() && self.closed.is_none() {
                self.act(event);
            }
        }
    }

    fn act(&mut self, event: Event) {
        match event {
            Event::TopicOpen { topic, .. } => {
                self.topics.push(topic);
                let states: Vec<_> = self.feeds.keys().map(|feed| self.state(*feed)).collect();
                self.refused += usize::from(self.session.announce(topic, &states, true).is_err());
            }
            Event::Vector { feeds, .. } => feeds.iter().for_each(|state| self.heard(state)),
            Event::Have(state) => self.heard(&state),
            Event::Request { id, feed, start, end, .. } => {
                let blocks = self.feeds[&feed].clone();
                for first in (start..end).step_by(5) {
                    let last = (first + 5).min(end);
                    let part = blocks.get(first as usize..last as usize).unwrap_or_default().to_vec();
                    let sent = self.session.send_blocks(feed, &toy_blocks(Some(id), first, part));
                    self.refused += usize::from(sent.is_err());
                }
            }
            Event::Blocks { feed, blocks, .. } => self.store(feed, blocks),
            Event::Closed(reason) => self.closed = Some(reason),
            _ => {}
        }
    }

    fn heard(&mut self, state: &FeedState) {
        self.announced.insert(state.feed, state.length);
        self.want(state.feed);
    }

    fn want(&mut self, feed: FeedKey) {
        let ours = self.feeds.entry(feed).or_default().len() as u64;
        let from = *self.asked.get(&feed).unwrap_or(&0).max(&ours);
        let to = self.announced.get(&feed).copied().unwrap_or(0).min(from + WINDOW);
        if from < to {
            self.refused += usize::from(self.session.request(feed, from, to).is_err());
            self.asked.insert(feed, to);
        }
    }

    fn store(&mut self, feed: FeedKey, received: Blocks) {
        let length = {
            let held = self.feeds.entry(feed).or_default();
            for (seq, block) in (received.start as usize..).zip(received.blocks) {
                match seq.cmp(&held.len()) {
                    std::cmp::Ordering::Equal => held.push(block),
                    std::cmp::Ordering::Less => self.blocks_twice += 1,
                    std::cmp::Ordering::Greater => self.gaps += 1,
                }
            }
            held.len() as u64
        };
        if self.asked.get(&feed).is_none_or(|asked| *asked <= length) {
            self.want(feed);
        }
    }
}

pub fn toy_blocks(
    answer: Option<multi_hyperbee::wire::RequestId>,
    start: u64,
    blocks: Vec<Vec<u8>>,
) -> Blocks {
    let length = (start + blocks.len() as u64).max(1);
    Blocks { answer, start, extending: 0, head: head(length.max(100)), nodes: Vec::new(), blocks }
}

/// The chunks one side sent, in order.
pub type Sent = Vec<Vec<u8>>;

/// Moves bytes both ways, cut as `chunk` says, until nothing moves. Returns everything each side sent.
pub fn pump(a: &mut Peer, b: &mut Peer, mut chunk: impl FnMut() -> usize) -> (Sent, Sent) {
    let (mut sent_a, mut sent_b) = (Vec::new(), Vec::new());
    loop {
        let to_b = a.session.pull(chunk());
        let to_a = b.session.pull(chunk());
        if to_a.is_none() && to_b.is_none() {
            return (sent_a, sent_b);
        }
        if let Some(bytes) = to_b {
            b.receive(&bytes);
            sent_a.push(bytes);
        }
        if let Some(bytes) = to_a {
            a.receive(&bytes);
            sent_b.push(bytes);
        }
    }
}

pub fn pump_all(a: &mut Peer, b: &mut Peer) -> (Sent, Sent) {
    pump(a, b, || 64 << 10)
}

/// A pair that shares topic 1, each with feeds the other lacks.
pub fn pair(a: Session, b: Session) -> (Peer, Peer) {
    let mut a = Peer::new(a, &[(1, 40), (2, 3), (3, 0)]);
    let mut b = Peer::new(b, &[(1, 7), (3, 33), (4, 1)]);
    a.session.offer(&[database(1)]).unwrap();
    b.session.offer(&[database(1)]).unwrap();
    (a, b)
}
