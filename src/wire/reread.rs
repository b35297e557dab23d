//! Messages read and written again: what `fuzz/` holds against the bytes it made up.

use super::message::{self, Message, Tag};
use super::{ProtocolError, TopicId, decode};
use crate::codec::put_bytes;

/// Reads a message (tag and body) and writes the frame of what it read; none of a topic that no session can have. A
/// message has one form: what is written is what was read.
pub fn reread(tag: u8, body: &[u8]) -> Result<Option<Vec<u8>>, ProtocolError> {
    let tag = Tag::try_from(tag)?;
    let message = decode::message(tag, body)?;
    let topic = |number: u64| u32::try_from(number).map(TopicId).ok();
    Ok(Some(match &message {
        Message::Close { code } => message::close(*code),
        Message::Ping | Message::Pong | Message::Nudge | Message::Done => message::bare(tag),
        Message::Show { macs } => message::show(macs),
        Message::Answer { proofs } => message::answer(proofs),
        Message::Withdraw { topic: number } => message::numbered(tag, *number),
        Message::Cancel { request } | Message::Refuse { request } => message::numbered(tag, *request),
        Message::WriterProof { topic: number, feed, signature } => {
            let Some(topic) = topic(*number) else { return Ok(None) };
            message::writer_proof(topic, *feed, signature)
        }
        Message::Vector { topic: number, first_complete, feeds } => {
            let Some(topic) = topic(*number) else { return Ok(None) };
            message::vector(topic, *first_complete, feeds)
        }
        Message::Have { alias, held } => message::have(*alias, held),
        Message::Request { alias, start, end } => message::request(*alias, *start, *end),
        Message::Ask { alias, start, end } => message::ask(*alias, *start, *end),
        Message::Blocks { alias, blocks } => {
            let mut out = Vec::new();
            put_bytes(&mut out, &message::blocks_body(*alias, blocks));
            out
        }
        Message::Piece { total, offset, bytes } => message::piece(*total, *offset, bytes),
        Message::Access { topic: number, kind, bytes } => {
            let Some(topic) = topic(*number) else { return Ok(None) };
            message::access(topic, *kind, bytes)
        }
        Message::StateHash { topic: number, claim } => {
            let Some(topic) = topic(*number) else { return Ok(None) };
            message::state_hash(topic, claim)
        }
    }))
}
