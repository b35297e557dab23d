//! The session: bytes in, events out; commands in, bytes out.
//!
//! A caller's loop: `receive` what the stream brings, take every `event`, give commands, `pull` while the stream takes
//! more. Hold back `receive` while [`Session::unprocessed`] is high, and block data while [`Session::outgoing`] is.

use super::feeds::Feeds;
use super::limits::{MAX_CLIENT_BYTES, MAX_USER_DATA_BYTES};
use super::message;
use super::outbox::{Outbox, Place};
use super::requests::Requests;
use super::topics::Topics;
use super::transport::{Read, Transport, role_of};
use super::{CloseReason, CommandError, Config, Event, ProtocolError, Remote, Role};
use std::collections::VecDeque;

/// What an event counts besides the bytes it carries.
const EVENT_COST: usize = 64;

/// Events for which room is kept while there are none.
const IDLE_EVENTS: usize = 16;

/// One side of one connection.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says whether one thing that happens once has happened"
)]
pub struct Session {
    pub(super) role: Role,
    pub(super) config: Config,
    transport: Transport,
    pub(super) inbox: Vec<u8>,
    pub(super) outbox: Outbox,
    events: VecDeque<(usize, Event)>,
    unprocessed: usize,
    error: Option<ProtocolError>,
    pub(super) remote: Option<Remote>,
    pub(super) remote_closed: bool,
    pub(super) closing: bool,
    /// Our Hello is queued or sent.
    pub(super) introduced: bool,
    pub(super) topics: Topics,
    /// Initiator: topics opened since everything that is to be shown was last shown.
    pub(super) opening: usize,
    /// Initiator: databases have just opened. What else is to be shown waits until the events that say so are taken: some of
    /// it may be taken back then.
    pub(super) held_back: bool,
    /// Initiator: a Nudge has come, and it was not said since that all was shown.
    pub(super) owes_end: bool,
    /// Feeds announced by us, and by the peer.
    pub(super) ours: Feeds,
    pub(super) theirs: Feeds,
    /// Requests of the peer's, and our own.
    pub(super) serving: Requests,
    pub(super) asked: Requests,
    /// A Blocks message that is arriving in pieces: its length and what is here.
    pub(super) piece: Option<(u64, Vec<u8>)>,
    /// Bytes that came in pieces.
    pub(super) pieced: u64,
    pub(super) said_done: bool,
    pub(super) heard_done: bool,
    pub(super) ping_open: bool,
    pub(super) pong: Place,
    pub(super) answer: Place,
    pub(super) shown: Place,
}

impl Session {
    /// Over a plain byte stream. The handshake state is built by the caller, who has the randomness: [`super::NOISE_PATTERN`],
    /// [`super::PROLOGUE`], a static key made for this connection. Its role is the session's.
    pub fn noise(handshake: snow::HandshakeState, config: Config) -> Result<Self, ProtocolError> {
        let role = role_of(&handshake);
        Ok(Self::new(role, Transport::noise(handshake)?, config))
    }

    /// Over a message channel that is encrypted and authenticated already; `handshake_hash` is that channel's, the
    /// same at both ends. The split of our bytes into the channel's messages means nothing.
    pub fn attached(role: Role, handshake_hash: [u8; 64], config: Config) -> Self {
        let mut session = Self::new(role, Transport::attached(), config);
        session.open(handshake_hash.to_vec());
        session
    }

    fn new(role: Role, transport: Transport, config: Config) -> Self {
        Self {
            role,
            config: within_limits(config),
            transport,
            inbox: Vec::new(),
            outbox: Outbox::default(),
            events: VecDeque::new(),
            unprocessed: 0,
            error: None,
            remote: None,
            remote_closed: false,
            closing: false,
            introduced: false,
            topics: Topics::new(role),
            opening: 0,
            held_back: false,
            owes_end: false,
            ours: Feeds::default(),
            theirs: Feeds::default(),
            serving: Requests::default(),
            asked: Requests::default(),
            piece: None,
            pieced: 0,
            said_done: false,
            heard_done: false,
            ping_open: false,
            pong: 0,
            answer: 0,
            shown: 0,
        }
    }

    /// The transport is ready: says Hello and shows what is offered.
    fn open(&mut self, handshake_hash: Vec<u8>) {
        self.topics.set_handshake_hash(handshake_hash);
        self.outbox.push(message::hello(self.role, &self.config));
        self.introduced = true;
        self.show();
    }

    /// Sends the Show or Nudge that is due.
    pub(super) fn show(&mut self) {
        if !self.introduced || self.closing || self.held_back {
            return;
        }
        if let Some(macs) = self.topics.next_show() {
            self.shown = self.outbox.push(message::show(&macs));
        }
    }

    /// Takes bytes from the stream, split anywhere. After an error the session is dead: every later call returns the
    /// same error, and what `pull` still gives tells the peer why. Once this side is closing, bytes are dropped.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        if self.closing || bytes.is_empty() {
            return Ok(());
        }
        let taken = self.take(bytes);
        taken.inspect_err(|error| self.fail(error.clone()))
    }

    fn take(&mut self, mut input: &[u8]) -> Result<(), ProtocolError> {
        loop {
            if self.remote_closed {
                return if input.is_empty() { Ok(()) } else { Err(ProtocolError::AfterClose) };
            }
            match self.transport.read(&mut input, &mut self.inbox)? {
                Read::Starved => return Ok(()),
                Read::Opened(hash) => self.open(hash),
                Read::Plain => self.take_messages()?,
            }
        }
    }

    /// The stream below has ended. An end without Close is [`ProtocolError::Cut`].
    pub fn remote_ended(&mut self) -> Result<(), ProtocolError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        if self.remote_closed || self.closing {
            return Ok(());
        }
        self.fail(ProtocolError::Cut);
        Err(ProtocolError::Cut)
    }

    fn fail(&mut self, error: ProtocolError) {
        self.outbox.discard();
        if self.introduced && !self.closing {
            self.outbox.push(message::close(error.close_reason().code()));
        }
        self.closing = true;
        self.inbox = Vec::new();
        self.piece = None;
        self.error = Some(error);
    }

    /// Closes: everything queued still leaves, then a Close with `reason`; nothing more is taken. For an immediate end
    /// drop the session.
    pub fn finish(&mut self, reason: CloseReason) {
        if self.introduced && !self.closing {
            self.outbox.push(message::close(reason.code()));
        }
        self.closing = true;
    }

    /// The next event, oldest first.
    pub fn event(&mut self) -> Option<Event> {
        if self.events.is_empty() && std::mem::take(&mut self.held_back) {
            self.show();
            self.note_shown();
        }
        let Some((cost, event)) = self.events.pop_front() else {
            // What a burst needed is not held for as long as the connection lasts.
            self.events.shrink_to(IDLE_EVENTS);
            return None;
        };
        self.unprocessed -= cost;
        Some(event)
    }

    /// Whether something has happened that is not taken yet.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub(super) fn emit(&mut self, event: Event) {
        let carried = match &event {
            Event::Blocks { blocks, .. } => {
                blocks.blocks.iter().map(|block| block.len() + 24).sum::<usize>() + blocks.nodes.len() * 40
            }
            Event::Vector { feeds, .. } => feeds.len() * size_of::<super::FeedState>(),
            Event::Access { bytes, .. } => bytes.len(),
            _ => 0,
        };
        let cost = carried + EVENT_COST;
        self.unprocessed += cost;
        self.events.push_back((cost, event));
    }

    pub(super) fn remote_close(&mut self, reason: CloseReason) {
        self.remote_closed = true;
        self.emit(Event::Closed(reason));
    }

    /// About how many bytes the events not yet taken occupy.
    pub fn unprocessed(&self) -> usize {
        self.unprocessed
    }

    /// Up to `max` bytes for the stream, or nothing if there is nothing to send now.
    pub fn pull(&mut self, max: usize) -> Option<Vec<u8>> {
        let outbox = &mut self.outbox;
        match self.transport.write(max, |room| outbox.take(room)) {
            Ok(bytes) => (!bytes.is_empty()).then_some(bytes),
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    /// Bytes queued and not yet pulled.
    pub fn outgoing(&self) -> usize {
        self.outbox.waiting() + self.transport.sealed()
    }

    /// Whether the transport is encrypted by now (always, if attached).
    pub fn handshake_done(&self) -> bool {
        self.transport.is_open()
    }

    /// Whether nothing more will come of this session, apart from events and bytes that are still to be taken.
    pub fn is_closed(&self) -> bool {
        self.error.is_some() || self.remote_closed || self.closing
    }

    /// Why the session died, if it did.
    pub fn error(&self) -> Option<&ProtocolError> {
        self.error.as_ref()
    }

    /// Bytes of messages in pieces that have come so far, and of the message that is not whole yet.
    pub fn pieced(&self) -> u64 {
        self.pieced.saturating_add(self.inbox.len() as u64)
    }

    pub fn role(&self) -> Role {
        self.role
    }

    /// What the peer said of itself, once it has.
    pub fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    pub(super) fn check_open(&self) -> Result<(), CommandError> {
        if self.is_closed() { Err(CommandError::Closed) } else { Ok(()) }
    }
}

/// Says where the session stands, and none of its keys or bytes.
impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("role", &self.role)
            .field("handshake_done", &self.handshake_done())
            .field("closed", &self.is_closed())
            .field("outgoing", &self.outgoing())
            .field("unprocessed", &self.unprocessed)
            .finish_non_exhaustive()
    }
}

/// A name or user data beyond the limit is cut: the peer would refuse it.
fn within_limits(mut config: Config) -> Config {
    while config.client.len() > MAX_CLIENT_BYTES {
        config.client.pop();
    }
    config.user_data.truncate(MAX_USER_DATA_BYTES);
    config
}
