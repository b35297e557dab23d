//! The message stream cut into messages.

use super::limits::{MAX_FRAME, MAX_UNPROVED_FRAME};
use super::message::Tag;
use super::{ProtocolError, Session};
use crate::codec::{DecodeError, Reader};

/// Room that is kept for the next messages once a large one is through.
const KEPT_BUFFER: usize = 256 << 10;

impl Session {
    /// Acts on every whole message in the inbox and keeps what is left.
    pub(super) fn take_messages(&mut self) -> Result<(), ProtocolError> {
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = Reader::new(&inbox);
        let mut taken = Ok(());
        while let Some(body) = self.next_frame(&mut rest).transpose() {
            taken = body.and_then(|body| self.take_message(body));
            if taken.is_err() || self.remote_closed {
                break;
            }
        }
        let left = rest.remaining();
        if taken.is_ok() && self.remote_closed && left > 0 {
            taken = Err(ProtocolError::AfterClose);
        }
        self.inbox = inbox;
        self.inbox.drain(..self.inbox.len() - left);
        if left == 0 {
            self.inbox.shrink_to(KEPT_BUFFER);
        }
        taken
    }

    /// The next whole frame (tag and body), or nothing if more bytes are needed.
    fn next_frame<'a>(&self, rest: &mut Reader<'a>) -> Result<Option<&'a [u8]>, ProtocolError> {
        let mut reader = rest.clone();
        let found = match reader.varint("a message's length") {
            Ok(found) => found,
            Err(DecodeError::Truncated { .. }) => return Ok(None),
            Err(source) => return Err(ProtocolError::Malformed { message: "a frame", source }),
        };
        let limit = if self.topics.proved() { MAX_FRAME } else { MAX_UNPROVED_FRAME };
        let length = usize::try_from(found).ok().filter(|length| *length <= limit);
        let length = length.ok_or(ProtocolError::FrameTooLarge { found, limit })?;
        match reader.take(length, "a message") {
            Ok(body) => {
                *rest = reader;
                Ok(Some(body))
            }
            Err(_) => Ok(None),
        }
    }

    fn take_message(&mut self, body: &[u8]) -> Result<(), ProtocolError> {
        let mut reader = Reader::new(body);
        let tag =
            reader.u8("a type").map_err(|source| ProtocolError::Malformed { message: "a frame", source })?;
        self.incoming(Tag::try_from(tag)?, reader.rest())
    }
}
