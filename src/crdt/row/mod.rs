//! A fold state as bytes:
//!
//! ```text
//! state  = 0x00                                   nothing was folded
//!        | kind ‖ last ‖ prev ‖ id u64 ‖ body
//! kind   = 0x01 live object | 0x02 live register | 0x03 deleted, nothing kept | 0x04 deleted, object kept
//!        | 0x05 deleted, register kept
//! last   = time u64 ‖ tick varint ‖ writer 32 ‖ seq varint
//! prev   = 0x00 | 0x01 ‖ time u64 ‖ tick varint ‖ writer prefix 8
//! body   = nothing (0x03) | the rest (0x02, 0x05) | text bytes ‖ ids (0x01, 0x04)
//! ids    = count varint ‖ (writer prefix 8 ‖ seq varint)* ‖ array*       dots in order of first use
//! array  = count varint ‖ run* ‖ (element's content)*                    arrays in the order they open in the text
//! run    = (length << 1 | removed) varint ‖ dot varint ‖ n varint        elements n, n + 1 … of that dot
//! ```
//!
//! An element's content is what its arrays need, in order; before it, if the element is removed, its own JSON text
//! (the text of the whole shows live elements only).

mod ids;

use crate::codec::{DecodeError, Reader, put_bytes, put_varint};
use crate::crdt::state::{Body, Content, State, Tip};
use crate::crdt::tree::put_props_text;
use crate::types::{Effective, FeedKey, Position, Stamp};

const EMPTY: u8 = 0;
const LIVE_OBJECT: u8 = 1;
const LIVE_REGISTER: u8 = 2;
const DELETED: u8 = 3;
const KEPT_OBJECT: u8 = 4;
const KEPT_REGISTER: u8 = 5;

/// What `get` needs of a state, borrowed from its bytes: nothing is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateView<'a> {
    pub live: Option<Live<'a>>,
    pub last: Option<Position>,
    pub prev: Option<Stamp>,
    pub id: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Live<'a> {
    /// JSON text of an object.
    Object(&'a str),
    Register(&'a [u8]),
}

impl<'a> StateView<'a> {
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (kind, tip) = head(&mut reader)?;
        let live = match kind {
            LIVE_OBJECT => Some(Live::Object(reader.text("a state's text", usize::MAX)?)),
            LIVE_REGISTER => Some(Live::Register(reader.rest())),
            _ => None,
        };
        let last = tip.map(|tip| tip.last);
        Ok(Self { live, last, prev: tip.and_then(|tip| tip.prev), id: tip.map_or(0, |tip| tip.id) })
    }
}

impl State {
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (kind, tip) = head(&mut reader)?;
        let content = match kind {
            EMPTY => Content::Nothing,
            LIVE_OBJECT => Content::Live(Body::Object(ids::decode_object(&mut reader)?)),
            LIVE_REGISTER => Content::Live(Body::Register(reader.rest().to_vec())),
            KEPT_OBJECT => Content::Deleted(Some(Body::Object(ids::decode_object(&mut reader)?))),
            KEPT_REGISTER => Content::Deleted(Some(Body::Register(reader.rest().to_vec()))),
            _ => Content::Deleted(None),
        };
        reader.finish("a state")?;
        Ok(Self { content, tip })
    }

    /// Appends the state's bytes; equal states give equal bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let Some(tip) = self.tip else { return out.push(EMPTY) };
        let (kind, body) = match &self.content {
            Content::Live(body @ Body::Object(_)) => (LIVE_OBJECT, Some(body)),
            Content::Live(body @ Body::Register(_)) => (LIVE_REGISTER, Some(body)),
            Content::Deleted(Some(body @ Body::Object(_))) => (KEPT_OBJECT, Some(body)),
            Content::Deleted(Some(body @ Body::Register(_))) => (KEPT_REGISTER, Some(body)),
            Content::Deleted(None) | Content::Nothing => (DELETED, None),
        };
        out.push(kind);
        put_effective(out, tip.last.effective);
        out.extend_from_slice(tip.last.writer.as_bytes());
        put_varint(out, tip.last.seq);
        match tip.prev {
            None => out.push(0),
            Some(prev) => {
                out.push(1);
                put_effective(out, prev.effective);
                out.extend_from_slice(&prev.writer);
            }
        }
        out.extend_from_slice(&tip.id.to_be_bytes());
        match body {
            None => {}
            Some(Body::Register(bytes)) => out.extend_from_slice(bytes),
            Some(Body::Object(props)) => {
                let mut text = String::new();
                put_props_text(&mut text, props);
                put_bytes(out, text.as_bytes());
                ids::encode_props(out, props);
            }
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }
}

fn put_effective(out: &mut Vec<u8>, effective: Effective) {
    out.extend_from_slice(&effective.time.to_be_bytes());
    put_varint(out, effective.tick);
}

fn effective(reader: &mut Reader<'_>) -> Result<Effective, DecodeError> {
    Ok(Effective { time: reader.u64("a state's time")?, tick: reader.varint("a state's tick")? })
}

/// The kind, and what stands before the body.
fn head(reader: &mut Reader<'_>) -> Result<(u8, Option<Tip>), DecodeError> {
    let kind = reader.u8("a state's kind")?;
    match kind {
        EMPTY => return Ok((kind, None)),
        LIVE_OBJECT..=KEPT_REGISTER => {}
        tag => return Err(DecodeError::UnknownTag { what: "a state's kind", tag: tag.into() }),
    }
    let last = Position {
        effective: effective(reader)?,
        writer: FeedKey(reader.array("a state's writer")?),
        seq: reader.varint("a state's seq")?,
    };
    let prev = if reader.bool("a state's prev")? {
        Some(Stamp { effective: effective(reader)?, writer: reader.array("prev's writer")? })
    } else {
        None
    };
    Ok((kind, Some(Tip { last, prev, id: reader.u64("a state's id")? })))
}
