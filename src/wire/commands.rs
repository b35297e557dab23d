//! What this side can say. A command that may not be given now is refused and changes nothing.

use super::feeds::FeedsError;
use super::limits::{
    MAX_ACCESS_BYTES, MAX_BLOCKS_PER_MESSAGE, MAX_FEEDS_PER_VECTOR, MAX_FRAME, MAX_PIECE, MAX_PIECED,
    MAX_PROOF_NODES, MAX_REQUESTS,
};
use super::message::{self, BlocksStart, Held, Named, Tag};
use super::requests::{AnswerError, Open, is_range};
use super::{
    Blocks, CommandError, FeedState, RequestId, Role, Session, StateClaim, Topic, TopicId, TopicKind,
    capability, decode,
};
use crate::types::FeedKey;

impl Session {
    /// Topics this side holds, from now on; may be called at any time with more. They open as the peer proves them.
    pub fn offer(&mut self, topics: &[Topic]) -> Result<(), CommandError> {
        self.check_open()?;
        self.topics.offer(topics)?;
        // A responder that is asked for the first time later needs no Nudge: the Show will meet what is offered now.
        if self.introduced && self.was_shown() && self.topics.take_nudge() {
            self.outbox.push(message::bare(Tag::Nudge));
        }
        self.show();
        Ok(())
    }

    pub fn offers(&self, topic: &Topic) -> bool {
        self.topics.offers(topic)
    }

    /// How many topics are offered.
    pub fn offered(&self) -> usize {
        self.topics.offered()
    }

    /// Initiator: not all that is offered was shown, or answered. [`super::Event::Shown`] follows.
    pub fn is_showing(&self) -> bool {
        self.topics.is_showing()
    }

    /// Initiator: says that all that is offered was shown, for now. Nothing if it was not.
    pub fn end_show(&mut self) -> Result<(), CommandError> {
        self.check_open()?;
        if self.introduced && self.topics.end_show() {
            self.owes_end = false;
            self.shown = self.outbox.push(message::show(&[]));
        }
        Ok(())
    }

    /// Initiator: whether the responder has asked since to be told when all is shown.
    pub fn owes_end(&self) -> bool {
        self.owes_end
    }

    /// Responder: asks to be shown again what is not open, and to be told when that was all. Nothing if it was shown
    /// nothing yet: what is shown first is answered with all that is offered by then.
    pub fn nudge(&mut self) -> Result<(), CommandError> {
        self.check_open()?;
        if self.role == Role::Responder && self.was_shown() {
            self.outbox.push(message::bare(Tag::Nudge));
        }
        Ok(())
    }

    /// Responder: whether anything was shown and answered.
    pub fn was_shown(&self) -> bool {
        self.answer > 0
    }

    /// Whether any topic was ever open: both ends hold it, or did.
    pub fn has_opened(&self) -> bool {
        self.topics.proved()
    }

    /// A topic that is not open is offered no more, for now: nothing is said of it, unless it was shown just now.
    pub fn take_back(&mut self, topic: &Topic) {
        self.topics.take_back(topic);
    }

    /// Whether the peer still waits for blocks: for those of a request of its, or (none) for pushed ones of a feed.
    pub fn is_awaited(&self, feed: &FeedKey, request: Option<RequestId>) -> bool {
        match request {
            Some(id) => self.serving.get(id).is_some(),
            None => self.ours.live(feed).is_some(),
        }
    }

    /// This side does not hold `topic` any more. If it was open, its number is dead at once.
    pub fn withdraw(&mut self, topic: &Topic) -> Result<(), CommandError> {
        self.check_open()?;
        if let Some(id) = self.topics.withdraw(topic) {
            self.outbox.push(message::numbered(Tag::Withdraw, id.0.into()));
            self.drop_topic(id);
        }
        Ok(())
    }

    /// What to sign, with a feed's secret key, to prove on this connection to be its writer.
    pub fn writer_proof_message(&mut self, topic: TopicId) -> Result<Vec<u8>, CommandError> {
        let topic = self.topics.live(topic)?.topic;
        Ok(capability::writer_message(&topic, self.role, self.topics.handshake_hash()))
    }

    /// What stands for this connection and topic in a proof that the layer above makes as the side in `sender`.
    pub fn binding(&mut self, topic: TopicId, sender: Role) -> Result<[u8; 32], CommandError> {
        let topic = self.topics.live(topic)?.topic;
        Ok(capability::binding(&topic, sender, self.topics.handshake_hash()))
    }

    /// What both ends, and nobody else, call this connection.
    pub fn name(&self) -> [u8; 32] {
        capability::name(self.topics.handshake_hash())
    }

    pub fn prove_writer(
        &mut self,
        topic: TopicId,
        feed: FeedKey,
        signature: &[u8; 64],
    ) -> Result<(), CommandError> {
        self.check_open()?;
        self.topics.live(topic)?;
        self.outbox.push(message::writer_proof(topic, feed, signature));
        Ok(())
    }

    /// How many more feeds this side can announce on a topic.
    pub fn room_on(&self, topic: TopicId) -> usize {
        self.ours.room_on(topic)
    }

    /// What this side has of these feeds. `first_complete` ends this side's first vector of the topic; it may be said
    /// once, also with no feeds.
    pub fn announce(
        &mut self,
        topic: TopicId,
        feeds: &[FeedState],
        first_complete: bool,
    ) -> Result<(), CommandError> {
        self.check_open()?;
        let opened = self.topics.live(topic)?;
        if let Some(state) = feeds.iter().find(|state| !opened.admits(&state.feed)) {
            return Err(CommandError::ForeignFeed { topic, feed: state.feed });
        }
        if first_complete && opened.said_first {
            return Err(CommandError::Twice { what: "the end of the first vector" });
        }
        let keys = feeds.iter().map(|state| state.feed);
        self.ours.check_room(topic, keys).map_err(|error| refused(error, topic))?;
        opened.said_first |= first_complete;
        let mut chunks = feeds.chunks(MAX_FEEDS_PER_VECTOR).peekable();
        if chunks.peek().is_none() && first_complete {
            self.outbox.push(message::vector(topic, true, &[]));
        }
        while let Some(chunk) = chunks.next() {
            let entries = chunk.iter().map(|state| self.enter(topic, state)).collect::<Result<Vec<_>, _>>();
            let entries = entries.map_err(|error| refused(error, topic))?;
            let ends = first_complete && chunks.peek().is_none();
            self.outbox.push(message::vector(topic, ends, &entries));
        }
        Ok(())
    }

    fn enter(&mut self, topic: TopicId, state: &FeedState) -> Result<(Named, Held), FeedsError> {
        let (named, alias) = self.ours.name(state.feed)?;
        let held = Held::from(state);
        self.ours.heard(alias, &held);
        self.ours.join(topic, alias)?;
        Ok((named, held))
    }

    /// A feed announced before has changed. False: the last word on it has not left, and nothing was said; what is new is
    /// said later, so that lengths do not pile up behind a peer that does not read.
    pub fn have(&mut self, state: &FeedState) -> Result<bool, CommandError> {
        self.check_open()?;
        let feed = state.feed;
        let (alias, _) = self.ours.live(&feed).ok_or(CommandError::UnknownFeed { feed })?;
        let Some(last) = self.ours.last_have(alias) else { return Ok(false) };
        if !self.outbox.has_left(*last) {
            return Ok(false);
        }
        let held = Held::from(state);
        *last = self.outbox.push(message::have(alias, &held));
        self.ours.heard(alias, &held);
        Ok(true)
    }

    /// Asks for blocks `start..end` of a feed the peer has announced.
    pub fn request(&mut self, feed: FeedKey, start: u64, end: u64) -> Result<RequestId, CommandError> {
        self.request_range(feed, start, end, false)
    }

    /// As [`Session::request`], of who holds nothing below `start`: each answer proves its blocks to anybody.
    pub fn ask(&mut self, feed: FeedKey, start: u64, end: u64) -> Result<RequestId, CommandError> {
        self.request_range(feed, start, end, true)
    }

    fn request_range(
        &mut self,
        feed: FeedKey,
        start: u64,
        end: u64,
        apart: bool,
    ) -> Result<RequestId, CommandError> {
        self.check_open()?;
        if self.said_done {
            return Err(CommandError::Twice { what: "Done" });
        }
        if !self.config.download || !self.remote.as_ref().is_some_and(|remote| remote.upload) {
            return Err(CommandError::Declined { what: "transfer blocks this way" });
        }
        let (alias, numbered) = self.theirs.live(&feed).ok_or(CommandError::UnknownFeed { feed })?;
        if !is_range(start, end, numbered.reach) {
            return Err(CommandError::Range { start, end, reach: numbered.reach });
        }
        if self.asked.len() >= MAX_REQUESTS {
            return Err(CommandError::TooMany { what: "requests open at once", limit: MAX_REQUESTS });
        }
        let message = if apart { message::ask } else { message::request };
        self.outbox.push(message(alias, start, end));
        Ok(self.asked.number(Some(Open { alias, next: start, end, apart })))
    }

    /// Gives a request up. What is on its way still comes; the last word (`Refused`, or its last blocks) follows.
    pub fn cancel(&mut self, id: RequestId) -> Result<(), CommandError> {
        self.check_open()?;
        self.asked.get(id).ok_or(CommandError::UnknownRequest { id })?;
        self.outbox.push(message::numbered(Tag::Cancel, id.0));
        Ok(())
    }

    /// Requests of ours that are open.
    pub fn requests_open(&self) -> usize {
        self.asked.len()
    }

    /// Ends a request of the peer's that is not (fully) served.
    pub fn refuse(&mut self, id: RequestId) -> Result<(), CommandError> {
        self.check_open()?;
        self.serving.remove(id).ok_or(CommandError::UnknownRequest { id })?;
        self.end_request(id);
        Ok(())
    }

    /// Answers a request (in order, in one or more messages) or pushes.
    pub fn send_blocks<B: AsRef<[u8]>>(
        &mut self,
        feed: FeedKey,
        blocks: &Blocks<B>,
    ) -> Result<(), CommandError> {
        self.check_open()?;
        let (alias, _) = self.ours.live(&feed).ok_or(CommandError::UnknownFeed { feed })?;
        if !self.config.upload || !self.remote.as_ref().is_some_and(|remote| remote.download) {
            return Err(CommandError::Declined { what: "transfer blocks this way" });
        }
        let start = checked(alias, blocks)?;
        let finished = match blocks.answer {
            None => false,
            Some(id) => self.answer_request(id, alias, blocks)?,
        };
        self.ours.reached(alias, blocks.head.length);
        let place = self.queue_blocks(&start, blocks);
        if finished {
            self.serving.ended_at(place);
        }
        Ok(())
    }

    fn answer_request<B>(
        &mut self,
        id: RequestId,
        alias: u64,
        blocks: &Blocks<B>,
    ) -> Result<bool, CommandError> {
        let (start, count) = (blocks.start, blocks.blocks.len());
        let end = start.saturating_add(count as u64);
        self.serving.answer(id, alias, start, blocks.extending, count).map_err(|error| match error {
            AnswerError::Unknown => CommandError::UnknownRequest { id },
            AnswerError::Wrong { next } => CommandError::WrongAnswer { id, start, end, next },
            AnswerError::Incomplete => CommandError::Incomplete { id },
        })
    }

    /// Queues a Blocks message, in pieces if it is larger than a frame.
    fn queue_blocks<B: AsRef<[u8]>>(&mut self, start: &BlocksStart, blocks: &Blocks<B>) -> u64 {
        if start.length <= MAX_FRAME {
            let mut frame = Vec::with_capacity(start.length + 4);
            crate::codec::put_varint(&mut frame, start.length as u64);
            start.write(blocks, &mut frame);
            return self.outbox.push(frame);
        }
        let body = message::body_of(start, blocks);
        let (mut place, mut offset) = (0, 0);
        for part in body.chunks(MAX_PIECE) {
            place = self.outbox.push(message::piece(body.len() as u64, offset, part));
            offset += part.len() as u64;
        }
        place
    }

    /// A small message of the layer above.
    pub fn access(&mut self, topic: TopicId, kind: u8, bytes: &[u8]) -> Result<(), CommandError> {
        self.check_open()?;
        self.topics.live(topic)?;
        if bytes.len() > MAX_ACCESS_BYTES {
            let (found, limit) = (bytes.len(), MAX_ACCESS_BYTES);
            return Err(CommandError::TooLarge { what: "a message", found, limit });
        }
        self.outbox.push(message::access(topic, kind, bytes));
        Ok(())
    }

    /// What this side's view of a database hashes to.
    pub fn state_hash(&mut self, topic: TopicId, claim: &StateClaim) -> Result<(), CommandError> {
        self.check_open()?;
        if self.topics.live(topic)?.topic.kind != TopicKind::Database {
            return Err(CommandError::NotForFeeds { what: "a state hash", topic });
        }
        self.outbox.push(message::state_hash(topic, claim));
        Ok(())
    }

    /// This side will ask for nothing more (`live: false`).
    pub fn done(&mut self) -> Result<(), CommandError> {
        self.check_open()?;
        if !self.introduced || std::mem::replace(&mut self.said_done, true) {
            return Err(CommandError::Twice { what: "Done" });
        }
        self.outbox.push(message::bare(Tag::Done));
        Ok(())
    }

    /// Asks for a sign of life; nothing is sent while one is still due.
    pub fn ping(&mut self) -> Result<(), CommandError> {
        self.check_open()?;
        if self.introduced && !std::mem::replace(&mut self.ping_open, true) {
            self.outbox.push(message::bare(Tag::Ping));
        }
        Ok(())
    }
}

fn refused(error: FeedsError, topic: TopicId) -> CommandError {
    match error {
        FeedsError::TooMany { what, limit } => CommandError::TooMany { what, limit },
        FeedsError::Twice { feed } => CommandError::UnknownFeed { feed },
        FeedsError::Unknown { .. } => CommandError::TopicNotOpen { topic },
    }
}

/// Holds blocks against the limits the peer will hold them against, and writes what comes before them.
fn checked<B: AsRef<[u8]>>(alias: u64, blocks: &Blocks<B>) -> Result<BlocksStart, CommandError> {
    if blocks.nodes.len() > MAX_PROOF_NODES {
        return Err(CommandError::TooMany { what: "nodes of a proof", limit: MAX_PROOF_NODES });
    }
    if blocks.blocks.len() > MAX_BLOCKS_PER_MESSAGE {
        return Err(CommandError::TooMany { what: "blocks in a message", limit: MAX_BLOCKS_PER_MESSAGE });
    }
    if !decode::fits(blocks) {
        let end = blocks.start.saturating_add(blocks.blocks.len() as u64);
        return Err(CommandError::Range { start: blocks.start, end, reach: blocks.head.length });
    }
    let start = BlocksStart::new(alias, blocks);
    if start.length > MAX_PIECED {
        return Err(CommandError::TooLarge { what: "a message", found: start.length, limit: MAX_PIECED });
    }
    Ok(start)
}
