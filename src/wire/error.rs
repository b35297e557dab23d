//! Why a session ended, and why a command was not taken.

use super::{RequestId, Role, TopicId, Version};
use crate::codec::DecodeError;
use crate::types::FeedKey;

/// A rule the remote side broke (or a cut stream). The session that returns one is dead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    #[error("the peer speaks protocol version {them}, this side {us}: update the older one")]
    VersionMismatch { us: Version, them: Version },
    #[error("the peer is a {them:?}, this side a {us:?}")]
    ClientMismatch { us: String, them: String },
    #[error("both ends are {role:?}: roles are mixed up, or our own bytes came back")]
    SameRole { role: Role },
    #[error("the Noise handshake failed at message {message}: {reason}")]
    Handshake { message: u8, reason: String },
    #[error("a frame of {found} bytes where Noise needs {expected}")]
    NoiseLength { expected: &'static str, found: usize },
    #[error("a frame does not decrypt: it was changed, repeated, reordered or is not for this connection")]
    Decrypt,
    #[error("a topic was answered with a wrong proof: the peer does not know its key")]
    Auth,
    #[error("the signature that should prove the writer of {feed} on topic {} is wrong", topic.0)]
    WriterProof { topic: TopicId, feed: FeedKey },
    #[error("a message of {found} bytes; the limit is {limit}")]
    FrameTooLarge { found: u64, limit: usize },
    #[error("{message}: {source}")]
    Malformed { message: &'static str, source: DecodeError },
    #[error("message type {tag} is unknown")]
    UnknownMessage { tag: u8 },
    #[error("{message} before Hello")]
    BeforeHello { message: &'static str },
    #[error("{message} came twice")]
    Twice { message: &'static str },
    #[error("{message} is not for a {role:?} to receive")]
    WrongDirection { message: &'static str, role: Role },
    #[error("{message} came again before the answer to the last one was read")]
    Unread { message: &'static str },
    #[error("{message} answers nothing")]
    Unasked { message: &'static str },
    #[error("{message} came after the peer had said Done")]
    AfterDone { message: &'static str },
    #[error("bytes came after Close")]
    AfterClose,
    #[error("the stream ended without Close")]
    Cut,
    #[error("{message} although {side} said it would not {what}")]
    Declined { message: &'static str, side: &'static str, what: &'static str },
    #[error("{message} before any topic was open")]
    Unproved { message: &'static str },
    #[error("topic {topic} was never open")]
    UnknownTopic { topic: u64 },
    #[error("feed number {alias} was never announced")]
    UnknownFeed { alias: u64 },
    #[error("feed {feed} was introduced twice")]
    FeedTwice { feed: FeedKey },
    #[error("topic {} is open for its own feed only; {feed} is another", topic.0)]
    ForeignFeed { topic: TopicId, feed: FeedKey },
    #[error("{message} is about a database; topic {} is a feed's", topic.0)]
    NotForFeeds { message: &'static str, topic: TopicId },
    #[error("{what}: more than {limit}")]
    TooMany { what: &'static str, limit: usize },
    /// Nobody broke a rule: the numbers of this connection are used up.
    #[error("{what}: this connection has had its {limit}; connect again, a new one begins anew")]
    Spent { what: &'static str, limit: usize },
    #[error("the range {start}..{end} is empty, too long, or beyond what was announced ({reach})")]
    Range { start: u64, end: u64, reach: u64 },
    #[error("request {} was never made, or is over", id.0)]
    UnknownRequest { id: RequestId },
    #[error("blocks {start}..{end} do not continue request {} at {next}", id.0)]
    WrongAnswer { id: RequestId, start: u64, end: u64, next: u64 },
    #[error("ask {} was answered without a proof from the beginning: it extends {extending} blocks", id.0)]
    Incomplete { id: RequestId, extending: u64 },
    #[error("pieces of one message do not fit together: offset {offset} of {total} where {expected} was due")]
    Piece { total: u64, offset: u64, expected: u64 },
    #[error("a message in pieces that is not Blocks, or would have fitted into a frame")]
    PiecedMessage,
}

/// What a Close message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// All is said.
    Finished,
    /// The receiver of the Close broke a rule.
    Protocol,
    VersionMismatch,
    ClientMismatch,
    /// No topic in common, or a proof was wrong.
    Auth,
    Timeout,
    /// The sender's store or process is closing.
    ShuttingDown,
    /// The sender has too many connections or too little memory, or the numbers of this connection are used up.
    Busy,
    /// A code this build does not know.
    Other(u8),
}

impl CloseReason {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Finished => 0,
            Self::Protocol => 1,
            Self::VersionMismatch => 2,
            Self::ClientMismatch => 3,
            Self::Auth => 4,
            Self::Timeout => 5,
            Self::ShuttingDown => 6,
            Self::Busy => 7,
            Self::Other(code) => code,
        }
    }

    pub(super) fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Finished,
            1 => Self::Protocol,
            2 => Self::VersionMismatch,
            3 => Self::ClientMismatch,
            4 => Self::Auth,
            5 => Self::Timeout,
            6 => Self::ShuttingDown,
            7 => Self::Busy,
            other => Self::Other(other),
        }
    }
}

impl ProtocolError {
    /// What the peer is told.
    pub fn close_reason(&self) -> CloseReason {
        match self {
            Self::VersionMismatch { .. } => CloseReason::VersionMismatch,
            Self::ClientMismatch { .. } => CloseReason::ClientMismatch,
            Self::Auth | Self::WriterProof { .. } | Self::Handshake { .. } => CloseReason::Auth,
            Self::Spent { .. } => CloseReason::Busy,
            _ => CloseReason::Protocol,
        }
    }
}

/// A command this side may not give now. The session goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("the session is closed")]
    Closed,
    #[error("topic {} is not open", topic.0)]
    TopicNotOpen { topic: TopicId },
    #[error("feed {feed} is not announced on an open topic")]
    UnknownFeed { feed: FeedKey },
    #[error("topic {} is open for its own feed only; {feed} is another", topic.0)]
    ForeignFeed { topic: TopicId, feed: FeedKey },
    #[error("{what} is about a database; topic {} is a feed's", topic.0)]
    NotForFeeds { what: &'static str, topic: TopicId },
    #[error("request {} is over", id.0)]
    UnknownRequest { id: RequestId },
    #[error("{what}: more than {limit}")]
    TooMany { what: &'static str, limit: usize },
    #[error("{what} is {found} bytes; the limit is {limit}")]
    TooLarge { what: &'static str, found: usize, limit: usize },
    #[error("the range {start}..{end} is empty, too long, or beyond what was announced ({reach})")]
    Range { start: u64, end: u64, reach: u64 },
    #[error("blocks {start}..{end} do not continue request {} at {next}", id.0)]
    WrongAnswer { id: RequestId, start: u64, end: u64, next: u64 },
    #[error("blocks that answer ask {} need a proof from the beginning", id.0)]
    Incomplete { id: RequestId },
    #[error("one side declined to {what}")]
    Declined { what: &'static str },
    #[error("{what} was said before")]
    Twice { what: &'static str },
}
