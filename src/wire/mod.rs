//! **What.** The replication session: a state machine that turns bytes from one peer into events, and commands into
//! bytes for it. It owns what happens on one connection; what to want and what to send is decided above.
//!
//! **Owns.** The protocol of `docs/protocol.md`: the Noise transport, the frames, every message, the capability of a
//! topic, the names that feeds and requests have on this connection, and their limits.
//!
//! **Invariants.** 1. No input panics; each length is checked before memory is reserved for it. 2. What a peer can
//! make a session hold is bounded by the constants of [`limits`], however it splits, repeats or orders its bytes.
//! 3. Nothing but the number of topics is said before a topic is proved by both sides. 4. A proof is worth nothing
//! on another connection, in the other direction, or for another topic. 5. After an error a session is dead: it takes
//! nothing more and says why each time. 6. The same input gives the same output: no clock, no randomness (Noise's own
//! comes inside the handshake state that the caller built).
//!
//! **Not here.** Sockets, timers and scheduling between sessions (`db`), proofs over blocks (`merkle`, `feed`).

mod capability;
mod commands;
mod decode;
mod error;
mod feeds;
mod frames;
#[cfg(test)]
mod golden;
mod incoming;
pub mod limits;
mod message;
mod outbox;
mod requests;
mod reread;
mod session;
#[cfg(test)]
mod spent;
mod topics;
mod transfer;
mod transport;

pub use error::{CloseReason, CommandError, ProtocolError};
#[doc(hidden)]
pub use reread::reread;
pub use session::Session;

use crate::types::{FeedKey, Hash, ShortRoot};

/// The parameters of the Noise handshake the caller builds (`snow::Builder`).
pub const NOISE_PATTERN: &str = "Noise_XX_25519_ChaChaPoly_BLAKE2s";

/// The prologue of that handshake. It names the handshake's own version; the messages' is in [`Version`], so that two
/// builds that differ can still tell each other so.
pub const PROLOGUE: &[u8] = b"multi-hyperbee noise 1";

/// The name a Protomux channel of ours carries.
pub const PROTOCOL_NAME: &str = "multi-hyperbee/1";

/// What this build speaks.
pub const VERSION: Version = Version { major: 1, minor: 0 };

/// What this build calls itself.
pub const CLIENT: &str = "multi-hyperbee";

/// Which end of the connection this is. The capability and every signature differ by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Initiator,
    Responder,
}

impl Role {
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// Version of the messages. Equal `major`s understand each other; both then speak the lower `minor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u64,
    pub minor: u64,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What this side says of itself in its first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub version: Version,
    /// Must be the peer's too. At most [`limits::MAX_CLIENT_BYTES`] bytes.
    pub client: String,
    pub live: bool,
    pub upload: bool,
    pub download: bool,
    /// The application's own; at most [`limits::MAX_USER_DATA_BYTES`] bytes.
    pub user_data: Vec<u8>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: VERSION,
            client: CLIENT.into(),
            live: true,
            upload: true,
            download: true,
            user_data: Vec::new(),
        }
    }
}

/// What a topic's key is the key of: `Database` a database, `Feed` one feed that is merged or held by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicKind {
    Database,
    Feed,
}

/// Something two sides may turn out to share. It opens if both hold it, with the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topic {
    pub kind: TopicKind,
    pub key: FeedKey,
}

/// An open topic's number on this connection; both sides use the same. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicId(pub u32);

/// A request's number on this connection, per direction. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// One component of a vector: what the sender has of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedState {
    pub feed: FeedKey,
    /// Blocks held, from the first on without a gap.
    pub length: u64,
    /// First half of the root hash at `length`; zeros at length 0.
    pub root: ShortRoot,
    /// Length of the longest signed head the sender has seen; at least `length`.
    pub signed: u64,
}

/// A signed head as it travels. The root is not sent: whoever verifies computes it from blocks and nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// 1 to [`crate::codec::limits::MAX_FEED_LENGTH`].
    pub length: u64,
    pub byte_length: u64,
    pub signature: [u8; 64],
}

/// A tree node of a proof: its hash and the bytes of the blocks below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProofNode {
    pub hash: Hash,
    pub bytes: u64,
}

/// Consecutive blocks with their proof: an answer to a request, or a push. What is sent may be borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks<B = Vec<u8>> {
    /// The request this answers, or `None` for a push.
    pub answer: Option<RequestId>,
    /// Index of the first block. `start + blocks.len()` is at most the head's length.
    pub start: u64,
    /// The earlier length the proof starts from, at most the head's length; 0: none.
    pub extending: u64,
    pub head: Head,
    pub nodes: Vec<ProofNode>,
    /// May be empty in a push, which then only shows a head.
    pub blocks: Vec<B>,
}

/// What the view of a replica hashes to. Two of them can be held against each other only if their digests are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateClaim {
    /// Of all that the view follows from.
    pub digest: Hash,
    pub state: Hash,
}

/// What the remote side said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    pub version: Version,
    pub client: String,
    pub live: bool,
    pub upload: bool,
    pub download: bool,
    pub user_data: Vec<u8>,
}

/// What happened on the connection. Everything in it is as the peer claims, unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The remote side said who it is, and it fits. Always the first event.
    Open(Remote),
    /// Both sides proved that they know the topic's key.
    TopicOpen { topic: TopicId, kind: TopicKind, key: FeedKey },
    /// The remote side gave the topic up. Its number is dead; requests for feeds only it held are refused by both.
    TopicClosed { topic: TopicId },
    /// A round of showing topics is over; `opened` of them opened in it (their events came before). `is_all`: all that the
    /// initiator offers was shown; the responder hears that from it.
    Shown { opened: usize, is_all: bool },
    /// The remote side proved (a verified signature for this connection and topic) that it holds `feed`'s secret key.
    WriterProved { topic: TopicId, feed: FeedKey },
    /// Part of the remote vector. `first_complete`: with this, its first vector of this topic is all here (said once).
    Vector { topic: TopicId, feeds: Vec<FeedState>, first_complete: bool },
    /// The remote side's state of one feed changed.
    Have(FeedState),
    /// The remote side wants these blocks; end it with `send_blocks` up to `end`, or `refuse`.
    Request { id: RequestId, feed: FeedKey, start: u64, end: u64, apart: bool },
    /// A request that was open is not wanted any more, and is already refused.
    Cancelled { id: RequestId },
    /// A request of ours ends here: not served, from `next` on.
    Refused { id: RequestId, feed: FeedKey, next: u64, end: u64 },
    /// Unverified blocks. `finished`: they end the request they answer.
    Blocks { feed: FeedKey, blocks: Blocks, finished: bool },
    /// A message of the layer above.
    Access { topic: TopicId, kind: u8, bytes: Vec<u8> },
    /// What the remote side's view of a database hashes to.
    StateHash { topic: TopicId, claim: StateClaim },
    /// The answer to our `ping`.
    Pong,
    /// The remote side will ask for nothing more (`live: false`).
    Done,
    /// The remote side closed. Nothing comes after it.
    Closed(CloseReason),
}
