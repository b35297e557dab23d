//! What each message of the peer does.

use super::feeds::{FeedsError, Numbered};
use super::limits::MAX_TOPICS_EVER;
use super::message::{self, Held, Mac, Message, Named, Tag};
use super::requests::Open;
use super::topics::Answered;
use super::{
    CloseReason, Event, FeedState, ProtocolError, RequestId, Role, Session, TopicKind, capability, decode,
};
use crate::types::FeedKey;

impl From<FeedsError> for ProtocolError {
    fn from(error: FeedsError) -> Self {
        match error {
            FeedsError::Unknown { alias } => Self::UnknownFeed { alias },
            FeedsError::Twice { feed } => Self::FeedTwice { feed },
            FeedsError::TooMany { what, limit } => Self::TooMany { what, limit },
        }
    }
}

impl Session {
    pub(super) fn incoming(&mut self, tag: Tag, body: &[u8]) -> Result<(), ProtocolError> {
        match (tag, self.remote.is_some()) {
            (Tag::Hello, true) => Err(ProtocolError::Twice { message: "Hello" }),
            (Tag::Hello, false) => {
                let remote = decode::hello(body, self.role, self.config.version, &self.config.client)?;
                self.remote = Some(remote.clone());
                self.emit(Event::Open(remote));
                Ok(())
            }
            (Tag::Close, _) | (_, true) => self.act(decode::message(tag, body)?),
            (_, false) => Err(ProtocolError::BeforeHello { message: tag.name() }),
        }
    }

    pub(super) fn act(&mut self, message: Message) -> Result<(), ProtocolError> {
        match message {
            Message::Close { code } => self.remote_close(CloseReason::from_code(code)),
            Message::Ping => {
                self.once_read(self.pong, "Ping")?;
                self.pong = self.outbox.push(message::bare(Tag::Pong));
            }
            Message::Pong => {
                if !std::mem::take(&mut self.ping_open) {
                    return Err(ProtocolError::Unasked { message: "Pong" });
                }
                self.emit(Event::Pong);
            }
            Message::Show { macs } => self.on_show(&macs)?,
            Message::Answer { proofs } => self.on_answer(&proofs)?,
            Message::Nudge => {
                self.only_for(Role::Initiator, "Nudge")?;
                self.topics.nudged();
                let is_news = !std::mem::replace(&mut self.owes_end, true);
                self.show();
                // Else it is told already, or when what is shown is answered: a flood of them is one event.
                if is_news {
                    self.note_shown();
                }
            }
            Message::Withdraw { topic } => {
                let (topic, opened) = self.topics.known(topic)?;
                if opened.live {
                    self.topics.close(topic);
                    self.drop_topic(topic);
                    self.emit(Event::TopicClosed { topic });
                }
            }
            Message::WriterProof { topic, feed, signature } => {
                self.on_writer_proof(topic, feed, &signature)?;
            }
            Message::Vector { topic, first_complete, feeds } => {
                self.on_vector(topic, first_complete, &feeds)?;
            }
            Message::Have { alias, held } => {
                let Numbered { feed, live, .. } = self.theirs.numbered(alias)?;
                self.theirs.heard(alias, &held);
                if live {
                    self.emit(Event::Have(state(feed, &held)));
                }
            }
            Message::Request { alias, start, end } => self.on_request(alias, start, end, false)?,
            Message::Ask { alias, start, end } => self.on_request(alias, start, end, true)?,
            Message::Cancel { request } => {
                let id = RequestId(request);
                if !self.serving.was_made(id) {
                    return Err(ProtocolError::UnknownRequest { id });
                }
                // One that is over already has had its last word: the Cancel crossed it.
                if self.serving.remove(id).is_some() {
                    self.end_request(id);
                    self.emit(Event::Cancelled { id });
                }
            }
            Message::Refuse { request } => {
                let id = RequestId(request);
                let Open { alias, next, end, .. } =
                    self.asked.remove(id).ok_or(ProtocolError::UnknownRequest { id })?;
                let feed = self.theirs.numbered(alias)?.feed;
                self.emit(Event::Refused { id, feed, next, end });
            }
            Message::Blocks { alias, blocks } => self.on_blocks(alias, blocks)?,
            Message::Piece { total, offset, bytes } => self.on_piece(total, offset, &bytes)?,
            Message::Access { topic, kind, bytes } => {
                let (topic, opened) = self.topics.known(topic)?;
                if opened.live {
                    self.emit(Event::Access { topic, kind, bytes });
                }
            }
            Message::StateHash { topic, claim } => {
                let (topic, opened) = self.topics.known(topic)?;
                if opened.topic.kind != TopicKind::Database {
                    return Err(ProtocolError::NotForFeeds { message: "StateHash", topic });
                }
                if opened.live {
                    self.emit(Event::StateHash { topic, claim });
                }
            }
            Message::Done => {
                if std::mem::replace(&mut self.heard_done, true) {
                    return Err(ProtocolError::Twice { message: "Done" });
                }
                self.emit(Event::Done);
            }
        }
        Ok(())
    }

    fn only_for(&self, role: Role, message: &'static str) -> Result<(), ProtocolError> {
        if self.role == role {
            Ok(())
        } else {
            Err(ProtocolError::WrongDirection { message, role: self.role })
        }
    }

    /// A peer asks again only after the last reply; if that has not even left, the peer breaks the rule.
    fn once_read(&self, reply: u64, message: &'static str) -> Result<(), ProtocolError> {
        if self.outbox.has_left(reply) { Ok(()) } else { Err(ProtocolError::Unread { message }) }
    }

    fn on_show(&mut self, macs: &[Mac]) -> Result<(), ProtocolError> {
        self.only_for(Role::Responder, "Show")?;
        self.once_read(self.answer, "Show")?;
        let Answered { proofs, opened, is_full } = self.topics.answer(macs);
        if is_full {
            // Else nothing would open any more, and nobody would know. A new connection begins anew.
            return Err(ProtocolError::Spent { what: "topics ever opened", limit: MAX_TOPICS_EVER });
        }
        self.answer = self.outbox.push(message::answer(&proofs));
        for (id, topic) in &opened {
            self.emit(Event::TopicOpen { topic: *id, kind: topic.kind, key: topic.key });
        }
        self.emit(Event::Shown { opened: opened.len(), is_all: macs.is_empty() });
        Ok(())
    }

    fn on_answer(&mut self, proofs: &[(u64, Mac)]) -> Result<(), ProtocolError> {
        self.only_for(Role::Initiator, "Answer")?;
        // Else a Nudge and an invented Answer, over and over, would queue one Show after another.
        if !self.outbox.has_left(self.shown) {
            return Err(ProtocolError::Unasked { message: "Answer" });
        }
        for accepted in self.topics.accept(proofs)? {
            if accepted.wanted {
                self.opening += 1;
                let (kind, key) = (accepted.topic.kind, accepted.topic.key);
                self.held_back |= kind == TopicKind::Database;
                self.emit(Event::TopicOpen { topic: accepted.id, kind, key });
            } else {
                self.outbox.push(message::numbered(Tag::Withdraw, accepted.id.0.into()));
            }
        }
        self.topics.renew();
        // Nothing is left to be shown, whatever of it might be taken back.
        self.held_back &= self.topics.is_showing();
        if !self.held_back {
            self.note_shown();
            self.show();
        }
        Ok(())
    }

    /// Initiator: tells when all that is offered was shown and answered.
    pub(super) fn note_shown(&mut self) {
        if !self.topics.is_showing() {
            let opened = std::mem::take(&mut self.opening);
            self.emit(Event::Shown { opened, is_all: true });
        }
    }

    /// A topic is over, for whichever side gave it up.
    pub(super) fn drop_topic(&mut self, topic: super::TopicId) {
        self.ours.leave(topic);
        self.theirs.leave(topic);
        let ours = &self.ours;
        let dead = self.serving.drop_dead(|alias| ours.numbered(alias).is_ok_and(|n| n.live));
        for id in dead {
            self.end_request(id);
        }
    }

    /// Says the last word on a request of the peer's that is not (fully) served.
    pub(super) fn end_request(&mut self, id: RequestId) {
        let place = self.outbox.push(message::numbered(Tag::Refuse, id.0));
        self.serving.ended_at(place);
    }

    fn on_writer_proof(
        &mut self,
        topic: u64,
        feed: FeedKey,
        signature: &[u8; 64],
    ) -> Result<(), ProtocolError> {
        let (id, opened) = self.topics.known(topic)?;
        opened.count_writer_proof()?;
        let (topic, live) = (opened.topic, opened.live);
        let signed = capability::writer_message(&topic, self.role.other(), self.topics.handshake_hash());
        if !capability::verify_writer(&feed, &signed, signature) {
            return Err(ProtocolError::WriterProof { topic: id, feed });
        }
        if live {
            self.emit(Event::WriterProved { topic: id, feed });
        }
        Ok(())
    }

    fn on_vector(
        &mut self,
        topic: u64,
        first_complete: bool,
        feeds: &[(Named, Held)],
    ) -> Result<(), ProtocolError> {
        let (id, opened) = self.topics.known(topic)?;
        if first_complete && std::mem::replace(&mut opened.heard_first, true) {
            return Err(ProtocolError::Twice { message: "the end of a first vector" });
        }
        let mut states = Vec::with_capacity(feeds.len());
        for (named, held) in feeds {
            let alias = self.theirs.resolve(*named)?;
            let feed = self.theirs.numbered(alias)?.feed;
            if !opened.admits(&feed) {
                return Err(ProtocolError::ForeignFeed { topic: id, feed });
            }
            self.theirs.heard(alias, held);
            // On a topic that we have just given up, names are learned and nothing else.
            if opened.live {
                self.theirs.join(id, alias)?;
                states.push(state(feed, held));
            }
        }
        if opened.live {
            self.emit(Event::Vector { topic: id, feeds: states, first_complete });
        }
        Ok(())
    }
}

fn state(feed: FeedKey, held: &Held) -> FeedState {
    FeedState { feed, length: held.length, root: held.root, signed: held.signed }
}
