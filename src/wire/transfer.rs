//! What the peer's requests, blocks and pieces do.

use super::feeds::Numbered;
use super::limits::{MAX_FRAME, MAX_PIECED, MAX_REQUESTS};
use super::message::Tag;
use super::requests::{AnswerError, Open, is_range};
use super::{Blocks, Event, ProtocolError, Session, decode};

impl Session {
    pub(super) fn on_request(
        &mut self,
        alias: u64,
        start: u64,
        end: u64,
        apart: bool,
    ) -> Result<(), ProtocolError> {
        if self.heard_done {
            return Err(ProtocolError::AfterDone { message: "Request" });
        }
        self.may_come("Request")?;
        let Numbered { feed, reach, live } = self.ours.numbered(alias)?;
        if !is_range(start, end, reach) {
            return Err(ProtocolError::Range { start, end, reach });
        }
        if !self.serving.has_room(&self.outbox) {
            return Err(ProtocolError::TooMany { what: "requests open at once", limit: MAX_REQUESTS });
        }
        let id = self.serving.number(live.then_some(Open { alias, next: start, end, apart }));
        if live {
            self.emit(Event::Request { id, feed, start, end, apart });
        } else {
            self.end_request(id);
        }
        Ok(())
    }

    /// Whether both sides said in their Hello that they would do what this message is part of.
    fn may_come(&self, message: &'static str) -> Result<(), ProtocolError> {
        let Some(remote) = &self.remote else { return Err(ProtocolError::BeforeHello { message }) };
        let declined = |side, what| Err(ProtocolError::Declined { message, side, what });
        let is_request = message == "Request";
        match (is_request, &self.config, remote) {
            (true, us, _) if !us.upload => declined("this side", "upload"),
            (true, _, them) if !them.download => declined("the peer", "download"),
            (false, us, _) if !us.download => declined("this side", "download"),
            (false, _, them) if !them.upload => declined("the peer", "upload"),
            _ => Ok(()),
        }
    }

    pub(super) fn on_blocks(&mut self, alias: u64, blocks: Blocks) -> Result<(), ProtocolError> {
        self.may_come("Blocks")?;
        let Numbered { feed, live, .. } = self.theirs.numbered(alias)?;
        let mut finished = false;
        if let Some(id) = blocks.answer {
            let (start, extending, count) = (blocks.start, blocks.extending, blocks.blocks.len());
            let end = start.saturating_add(count as u64);
            finished =
                self.asked.answer(id, alias, start, extending, count).map_err(|error| match error {
                    AnswerError::Unknown => ProtocolError::UnknownRequest { id },
                    AnswerError::Wrong { next } => ProtocolError::WrongAnswer { id, start, end, next },
                    AnswerError::Incomplete => ProtocolError::Incomplete { id, extending },
                })?;
        }
        self.theirs.reached(alias, blocks.head.length);
        if live {
            self.emit(Event::Blocks { feed, blocks, finished });
        } else if let (true, Some(id)) = (finished, blocks.answer) {
            // Its topic was given up meanwhile. Nothing of it is taken, and nothing more of it comes.
            let start = blocks.start;
            let end = start.saturating_add(blocks.blocks.len() as u64);
            self.emit(Event::Refused { id, feed, next: start, end });
        }
        Ok(())
    }

    pub(super) fn on_piece(&mut self, total: u64, offset: u64, bytes: &[u8]) -> Result<(), ProtocolError> {
        if !self.topics.proved() {
            return Err(ProtocolError::Unproved { message: "Piece" });
        }
        self.may_come("Piece")?;
        if total > MAX_PIECED as u64 {
            return Err(ProtocolError::FrameTooLarge { found: total, limit: MAX_PIECED });
        }
        if total <= MAX_FRAME as u64 {
            return Err(ProtocolError::PiecedMessage);
        }
        let (started, mut here) = self.piece.take().unwrap_or((total, Vec::new()));
        let expected = here.len() as u64;
        let end = offset.saturating_add(bytes.len() as u64);
        if started != total || offset != expected || bytes.is_empty() || end > total {
            return Err(ProtocolError::Piece { total, offset, expected });
        }
        here.extend_from_slice(bytes);
        self.pieced = self.pieced.saturating_add(bytes.len() as u64);
        if end < total {
            self.piece = Some((total, here));
            return Ok(());
        }
        match here.split_first() {
            Some((tag, body)) if *tag == Tag::Blocks as u8 => self.act(decode::message(Tag::Blocks, body)?),
            _ => Err(ProtocolError::PiecedMessage),
        }
    }
}
