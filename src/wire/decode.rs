//! How each message is read. Counts are checked against their limit and against the bytes that are left before any
//! memory is reserved.

use super::limits::{
    MAX_ACCESS_BYTES, MAX_BLOCKS_PER_MESSAGE, MAX_CLIENT_BYTES, MAX_FEEDS_PER_VECTOR, MAX_PIECE,
    MAX_PROOF_NODES, MAX_TOPICS_SHOWN, MAX_USER_DATA_BYTES,
};
use super::message::{FLAG_DOWNLOAD, FLAG_LIVE, FLAG_UPLOAD, Held, Message, Named, Tag, role_byte};
use super::{Blocks, Head, ProofNode, ProtocolError, Remote, RequestId, Role, StateClaim, Version};
use crate::codec::limits::{MAX_BLOCK_BYTES, MAX_FEED_LENGTH};
use crate::codec::{DecodeError, Reader};
use crate::types::FeedKey;

/// Reads the body of a Hello and holds it against ours. Of another major version only the version is read.
pub fn hello(body: &[u8], role: Role, us: Version, client: &str) -> Result<Remote, ProtocolError> {
    let malformed = |source| ProtocolError::Malformed { message: "Hello", source };
    let mut reader = Reader::new(body);
    let version = version(&mut reader).map_err(malformed)?;
    if version.major != us.major {
        return Err(ProtocolError::VersionMismatch { us, them: version });
    }
    let them = reader.text("the client's name", MAX_CLIENT_BYTES).map_err(malformed)?;
    if them != client {
        return Err(ProtocolError::ClientMismatch { us: client.into(), them: them.into() });
    }
    let their_role = reader.u8("the role").map_err(malformed)?;
    if their_role == role_byte(role) {
        return Err(ProtocolError::SameRole { role });
    }
    rest_of_hello(reader, their_role, version, them).map_err(malformed)
}

fn version(reader: &mut Reader<'_>) -> Result<Version, DecodeError> {
    Ok(Version { major: reader.varint("the major version")?, minor: reader.varint("the minor version")? })
}

fn rest_of_hello(
    mut reader: Reader<'_>,
    role: u8,
    version: Version,
    client: &str,
) -> Result<Remote, DecodeError> {
    if role > 1 {
        return Err(DecodeError::UnknownTag { what: "the role", tag: role.into() });
    }
    let flags = reader.u8("the flags")?;
    if flags & !(FLAG_LIVE | FLAG_UPLOAD | FLAG_DOWNLOAD) != 0 {
        return Err(DecodeError::UnknownTag { what: "the flags", tag: flags.into() });
    }
    let user_data = reader.bytes("user data", MAX_USER_DATA_BYTES)?.to_vec();
    reader.finish("Hello")?;
    Ok(Remote {
        version,
        client: client.into(),
        live: flags & FLAG_LIVE != 0,
        upload: flags & FLAG_UPLOAD != 0,
        download: flags & FLAG_DOWNLOAD != 0,
        user_data,
    })
}

/// Reads the body of any other message.
pub fn message(tag: Tag, body: &[u8]) -> Result<Message, ProtocolError> {
    let mut reader = Reader::new(body);
    let finished = read(tag, &mut reader).and_then(|message| {
        reader.finish(tag.name())?;
        Ok(message)
    });
    finished.map_err(|source| ProtocolError::Malformed { message: tag.name(), source })
}

fn read(tag: Tag, reader: &mut Reader<'_>) -> Result<Message, DecodeError> {
    Ok(match tag {
        // Never reached: the session reads Hello by itself.
        Tag::Hello => return Err(DecodeError::UnknownTag { what: "a later message", tag: 0 }),
        Tag::Close => Message::Close { code: reader.u8("the reason")? },
        Tag::Ping => Message::Ping,
        Tag::Pong => Message::Pong,
        Tag::Show => {
            let count = count(reader, "topics shown", MAX_TOPICS_SHOWN, 32)?;
            Message::Show { macs: repeat(count, || reader.array("a proof"))? }
        }
        Tag::Answer => {
            let count = count(reader, "topics answered", MAX_TOPICS_SHOWN, 33)?;
            Message::Answer {
                proofs: repeat(count, || Ok((reader.varint("a place")?, reader.array("a proof")?)))?,
            }
        }
        Tag::Nudge => Message::Nudge,
        Tag::Withdraw => Message::Withdraw { topic: reader.varint("the topic")? },
        Tag::WriterProof => Message::WriterProof {
            topic: reader.varint("the topic")?,
            feed: FeedKey(reader.array("the feed")?),
            signature: reader.array("the signature")?,
        },
        Tag::Vector => vector(reader)?,
        Tag::Have => Message::Have { alias: reader.varint("the feed")?, held: held(reader)? },
        Tag::Request => Message::Request {
            alias: reader.varint("the feed")?,
            start: reader.varint("the start")?,
            end: reader.varint("the end")?,
        },
        Tag::Ask => Message::Ask {
            alias: reader.varint("the feed")?,
            start: reader.varint("the start")?,
            end: reader.varint("the end")?,
        },
        Tag::Cancel => Message::Cancel { request: reader.varint("the request")? },
        Tag::Refuse => Message::Refuse { request: reader.varint("the request")? },
        Tag::Blocks => Message::Blocks { alias: reader.varint("the feed")?, blocks: blocks(reader)? },
        Tag::Piece => Message::Piece {
            total: reader.varint("the total")?,
            offset: reader.varint("the offset")?,
            bytes: reader.bytes("a piece", MAX_PIECE)?.to_vec(),
        },
        Tag::Access => Message::Access {
            topic: reader.varint("the topic")?,
            kind: reader.u8("the kind")?,
            bytes: reader.bytes("the message", MAX_ACCESS_BYTES)?.to_vec(),
        },
        Tag::Done => Message::Done,
        Tag::StateHash => Message::StateHash {
            topic: reader.varint("the topic")?,
            claim: StateClaim { digest: reader.array("the digest")?, state: reader.array("the state hash")? },
        },
    })
}

/// A count of things of at least `each` bytes: more than `limit`, or than what is left can hold, is refused.
fn count(
    reader: &mut Reader<'_>,
    what: &'static str,
    limit: usize,
    each: usize,
) -> Result<usize, DecodeError> {
    let count = reader.length(what, limit)?;
    let needed = count.saturating_mul(each);
    if needed > reader.remaining() {
        return Err(DecodeError::Truncated { what, missing: needed - reader.remaining() });
    }
    Ok(count)
}

fn repeat<T>(count: usize, mut one: impl FnMut() -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
    let mut out = Vec::with_capacity(count);
    for _ in 0..count {
        out.push(one()?);
    }
    Ok(out)
}

/// A length of a feed.
fn length(reader: &mut Reader<'_>, what: &'static str) -> Result<u64, DecodeError> {
    let found = reader.varint(what)?;
    if found > MAX_FEED_LENGTH {
        return Err(DecodeError::TooLarge { what, found, limit: MAX_FEED_LENGTH });
    }
    Ok(found)
}

fn held(reader: &mut Reader<'_>) -> Result<Held, DecodeError> {
    let held = Held {
        length: length(reader, "the length held")?,
        root: reader.array("the root")?,
        signed: length(reader, "the length signed")?,
    };
    let consistent = held.signed >= held.length && (held.length > 0 || held.root == [0; 16]);
    if consistent { Ok(held) } else { Err(DecodeError::Malformed { what: "the state of a feed" }) }
}

fn vector(reader: &mut Reader<'_>) -> Result<Message, DecodeError> {
    let topic = reader.varint("the topic")?;
    let first_complete = reader.bool("the flag that ends the first vector")?;
    let count = count(reader, "feeds in a vector", MAX_FEEDS_PER_VECTOR, 19)?;
    let feeds = repeat(count, || {
        let named = match reader.varint("a feed's number")? {
            0 => Named::New(FeedKey(reader.array("a feed's key")?)),
            alias => Named::Known(alias - 1),
        };
        Ok((named, held(reader)?))
    })?;
    Ok(Message::Vector { topic, first_complete, feeds })
}

fn blocks(reader: &mut Reader<'_>) -> Result<Blocks, DecodeError> {
    let answer = reader.varint("the request")?.checked_sub(1).map(RequestId);
    let start = length(reader, "the start")?;
    let extending = length(reader, "the length extended")?;
    let head = Head {
        length: length(reader, "the head's length")?,
        byte_length: reader.varint("the head's byte length")?,
        signature: reader.array("the head's signature")?,
    };
    let nodes = count(reader, "nodes of a proof", MAX_PROOF_NODES, 33)?;
    let nodes = repeat(nodes, || {
        Ok(ProofNode { hash: reader.array("a node")?, bytes: reader.varint("a node's bytes")? })
    })?;
    let count = count(reader, "blocks in a message", MAX_BLOCKS_PER_MESSAGE, 1)?;
    let blocks = repeat(count, || reader.bytes("a block", MAX_BLOCK_BYTES).map(<[u8]>::to_vec))?;
    let read = Blocks { answer, start, extending, head, nodes, blocks };
    if fits(&read) {
        Ok(read)
    } else {
        Err(DecodeError::Malformed { what: "blocks, head and range together" })
    }
}

/// A head is never empty, covers its blocks and what it extends, and an answer brings something.
pub fn fits<B>(blocks: &Blocks<B>) -> bool {
    let end = blocks.start.saturating_add(blocks.blocks.len() as u64);
    blocks.head.length > 0
        && blocks.head.length <= MAX_FEED_LENGTH
        && end <= blocks.head.length
        && blocks.extending <= blocks.head.length
        && !(blocks.answer.is_some() && blocks.blocks.is_empty())
}
