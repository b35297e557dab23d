//! The messages and how each is written. `docs/protocol.md` has them byte by byte.
//!
//! ```text
//! frame = length varint (1 ..= MAX_FRAME, counts tag and body) ‖ tag u8 ‖ body
//! ```

use super::{Blocks, Config, FeedState, ProofNode, Role, StateClaim, TopicId};
use crate::codec::{bytes_length, put_bytes, put_varint};
use crate::types::{FeedKey, ShortRoot};

/// The first byte of each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    Hello = 0,
    Close = 1,
    Ping = 2,
    Pong = 3,
    Show = 4,
    Answer = 5,
    Nudge = 6,
    Withdraw = 7,
    WriterProof = 8,
    Vector = 9,
    Have = 10,
    Request = 11,
    Cancel = 12,
    Refuse = 13,
    Blocks = 14,
    Piece = 15,
    Access = 16,
    Done = 17,
    StateHash = 18,
    Ask = 19,
}

impl Tag {
    const ALL: [(Self, &'static str); 20] = [
        (Self::Hello, "Hello"),
        (Self::Close, "Close"),
        (Self::Ping, "Ping"),
        (Self::Pong, "Pong"),
        (Self::Show, "Show"),
        (Self::Answer, "Answer"),
        (Self::Nudge, "Nudge"),
        (Self::Withdraw, "Withdraw"),
        (Self::WriterProof, "WriterProof"),
        (Self::Vector, "Vector"),
        (Self::Have, "Have"),
        (Self::Request, "Request"),
        (Self::Cancel, "Cancel"),
        (Self::Refuse, "Refuse"),
        (Self::Blocks, "Blocks"),
        (Self::Piece, "Piece"),
        (Self::Access, "Access"),
        (Self::Done, "Done"),
        (Self::StateHash, "StateHash"),
        (Self::Ask, "Ask"),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(tag, _)| *tag == self).map_or("", |(_, name)| name)
    }
}

impl TryFrom<u8> for Tag {
    type Error = super::ProtocolError;

    fn try_from(byte: u8) -> Result<Self, Self::Error> {
        let known = Self::ALL.get(usize::from(byte)).map(|(tag, _)| *tag);
        known.ok_or(super::ProtocolError::UnknownMessage { tag: byte })
    }
}

pub type Mac = [u8; 32];

/// One entry of a vector: a feed by its number, or by its key the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    New(FeedKey),
    Known(u64),
}

/// What a vector or Have says of a feed, apart from which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub length: u64,
    pub root: ShortRoot,
    pub signed: u64,
}

impl From<&FeedState> for Held {
    fn from(state: &FeedState) -> Self {
        // The one form a state has: a peer refuses any other.
        let root = if state.length == 0 { [0; 16] } else { state.root };
        Self { length: state.length, root, signed: state.signed.max(state.length) }
    }
}

/// A decoded message, apart from Hello (read by itself, since another version's may go on differently).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Close {
        code: u8,
    },
    Ping,
    Pong,
    Show {
        macs: Vec<Mac>,
    },
    Answer {
        proofs: Vec<(u64, Mac)>,
    },
    Nudge,
    Withdraw {
        topic: u64,
    },
    WriterProof {
        topic: u64,
        feed: FeedKey,
        signature: [u8; 64],
    },
    Vector {
        topic: u64,
        first_complete: bool,
        feeds: Vec<(Named, Held)>,
    },
    Have {
        alias: u64,
        held: Held,
    },
    Request {
        alias: u64,
        start: u64,
        end: u64,
    },
    /// A request of who holds nothing below `start`: answered with complete proofs.
    Ask {
        alias: u64,
        start: u64,
        end: u64,
    },
    Cancel {
        request: u64,
    },
    Refuse {
        request: u64,
    },
    Blocks {
        alias: u64,
        blocks: Blocks,
    },
    Piece {
        total: u64,
        offset: u64,
        bytes: Vec<u8>,
    },
    Access {
        topic: u64,
        kind: u8,
        bytes: Vec<u8>,
    },
    Done,
    StateHash {
        topic: u64,
        claim: StateClaim,
    },
}

pub const FLAG_LIVE: u8 = 1;
pub const FLAG_UPLOAD: u8 = 2;
pub const FLAG_DOWNLOAD: u8 = 4;

pub fn frame(tag: Tag, write_body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = vec![tag as u8];
    write_body(&mut body);
    let mut out = Vec::with_capacity(body.len() + 4);
    put_bytes(&mut out, &body);
    out
}

pub fn hello(role: Role, config: &Config) -> Vec<u8> {
    frame(Tag::Hello, |out| {
        put_varint(out, config.version.major);
        put_varint(out, config.version.minor);
        put_bytes(out, config.client.as_bytes());
        out.push(role_byte(role));
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        out.push(
            flag(config.live, FLAG_LIVE)
                | flag(config.upload, FLAG_UPLOAD)
                | flag(config.download, FLAG_DOWNLOAD),
        );
        put_bytes(out, &config.user_data);
    })
}

pub fn role_byte(role: Role) -> u8 {
    match role {
        Role::Initiator => 0,
        Role::Responder => 1,
    }
}

pub fn close(code: u8) -> Vec<u8> {
    frame(Tag::Close, |out| out.push(code))
}

/// A message without a body.
pub fn bare(tag: Tag) -> Vec<u8> {
    frame(tag, |_| {})
}

/// A message whose body is one number: Withdraw, Cancel, Refuse.
pub fn numbered(tag: Tag, number: u64) -> Vec<u8> {
    frame(tag, |out| put_varint(out, number))
}

pub fn show(macs: &[Mac]) -> Vec<u8> {
    frame(Tag::Show, |out| {
        put_varint(out, macs.len() as u64);
        for mac in macs {
            out.extend_from_slice(mac);
        }
    })
}

pub fn answer(proofs: &[(u64, Mac)]) -> Vec<u8> {
    frame(Tag::Answer, |out| {
        put_varint(out, proofs.len() as u64);
        for (index, mac) in proofs {
            put_varint(out, *index);
            out.extend_from_slice(mac);
        }
    })
}

pub fn writer_proof(topic: TopicId, feed: FeedKey, signature: &[u8; 64]) -> Vec<u8> {
    frame(Tag::WriterProof, |out| {
        put_varint(out, topic.0.into());
        out.extend_from_slice(&feed.0);
        out.extend_from_slice(signature);
    })
}

fn put_held(out: &mut Vec<u8>, held: &Held) {
    put_varint(out, held.length);
    out.extend_from_slice(&held.root);
    put_varint(out, held.signed);
}

pub fn vector(topic: TopicId, first_complete: bool, feeds: &[(Named, Held)]) -> Vec<u8> {
    frame(Tag::Vector, |out| {
        put_varint(out, topic.0.into());
        out.push(u8::from(first_complete));
        put_varint(out, feeds.len() as u64);
        for (named, held) in feeds {
            match named {
                Named::New(key) => {
                    put_varint(out, 0);
                    out.extend_from_slice(&key.0);
                }
                Named::Known(alias) => put_varint(out, alias + 1),
            }
            put_held(out, held);
        }
    })
}

pub fn have(alias: u64, held: &Held) -> Vec<u8> {
    frame(Tag::Have, |out| {
        put_varint(out, alias);
        put_held(out, held);
    })
}

pub fn request(alias: u64, start: u64, end: u64) -> Vec<u8> {
    range(Tag::Request, alias, start, end)
}

pub fn ask(alias: u64, start: u64, end: u64) -> Vec<u8> {
    range(Tag::Ask, alias, start, end)
}

fn range(tag: Tag, alias: u64, start: u64, end: u64) -> Vec<u8> {
    frame(tag, |out| {
        put_varint(out, alias);
        put_varint(out, start);
        put_varint(out, end);
    })
}

/// Tag and body of a Blocks message up to the bytes of its blocks, and how long all of it is: so that those are copied
/// once, to where they leave from.
pub struct BlocksStart {
    start: Vec<u8>,
    pub length: usize,
}

impl BlocksStart {
    pub fn new<B: AsRef<[u8]>>(alias: u64, blocks: &Blocks<B>) -> Self {
        let mut out = Vec::with_capacity(blocks.nodes.len() * 37 + 128);
        out.push(Tag::Blocks as u8);
        put_varint(&mut out, alias);
        put_varint(&mut out, blocks.answer.map_or(0, |id| id.0 + 1));
        put_varint(&mut out, blocks.start);
        put_varint(&mut out, blocks.extending);
        put_varint(&mut out, blocks.head.length);
        put_varint(&mut out, blocks.head.byte_length);
        out.extend_from_slice(&blocks.head.signature);
        put_varint(&mut out, blocks.nodes.len() as u64);
        for ProofNode { hash, bytes } in &blocks.nodes {
            out.extend_from_slice(hash);
            put_varint(&mut out, *bytes);
        }
        put_varint(&mut out, blocks.blocks.len() as u64);
        let length =
            out.len() + blocks.blocks.iter().map(|block| bytes_length(block.as_ref())).sum::<usize>();
        Self { start: out, length }
    }

    /// Tag and body. `blocks`: those it was made of.
    pub fn write<B: AsRef<[u8]>>(&self, blocks: &Blocks<B>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.start);
        for block in &blocks.blocks {
            put_bytes(out, block.as_ref());
        }
    }
}

/// Tag and body of Blocks, without the length: it may have to travel in pieces.
pub fn blocks_body<B: AsRef<[u8]>>(alias: u64, blocks: &Blocks<B>) -> Vec<u8> {
    body_of(&BlocksStart::new(alias, blocks), blocks)
}

pub fn body_of<B: AsRef<[u8]>>(start: &BlocksStart, blocks: &Blocks<B>) -> Vec<u8> {
    let mut out = Vec::with_capacity(start.length);
    start.write(blocks, &mut out);
    debug_assert_eq!(out.len(), start.length, "the length that was announced");
    out
}

pub fn piece(total: u64, offset: u64, bytes: &[u8]) -> Vec<u8> {
    frame(Tag::Piece, |out| {
        put_varint(out, total);
        put_varint(out, offset);
        put_bytes(out, bytes);
    })
}

pub fn access(topic: TopicId, kind: u8, bytes: &[u8]) -> Vec<u8> {
    frame(Tag::Access, |out| {
        put_varint(out, topic.0.into());
        out.push(kind);
        put_bytes(out, bytes);
    })
}

pub fn state_hash(topic: TopicId, claim: &StateClaim) -> Vec<u8> {
    frame(Tag::StateHash, |out| {
        put_varint(out, topic.0.into());
        out.extend_from_slice(&claim.digest);
        out.extend_from_slice(&claim.state);
    })
}
