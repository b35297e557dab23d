use crate::codec::DecodeError;
use crate::merkle::{Head, HeadError, PartingError, ProofError};
use crate::store::StoreError;
use crate::types::FeedKey;

#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The rows of this feed are damaged: only `verify({ repair })` can help.
    #[error("feed {feed_id} is damaged here: {what}")]
    Corrupt { feed_id: u32, what: &'static str },
    #[error("the record of feed {feed} is damaged: {source}")]
    CorruptRecord { feed: FeedKey, source: DecodeError },
    #[error("feed {feed} is here already")]
    Exists { feed: FeedKey },
    #[error("the secret key of feed {feed} is sealed: open its database with its encryption key")]
    Locked { feed: FeedKey },
    #[error("the sealed secret key of feed {feed} does not open: its row is damaged")]
    SealedSecret { feed: FeedKey },
    #[error("the secret key is not that of feed {feed}")]
    WrongSecret { feed: FeedKey },
    #[error("feed {feed} is another device's: it cannot be appended to here")]
    NotWritable { feed: FeedKey },
    /// A longer head of this own feed is known than its blocks are here.
    #[error("feed {feed} has {length} blocks here and {signed} elsewhere: it cannot be appended to yet")]
    Behind { feed: FeedKey, length: u64, signed: u64 },
    /// This own feed comes out of a backup, and nobody has said yet that it has all there is.
    #[error("feed {feed} comes out of a backup: more of it may have been written since")]
    Unconfirmed { feed: FeedKey },
    #[error("the key of feed {feed} has signed two histories: nothing more of it counts")]
    Forked { feed: FeedKey },
    #[error("a block of {found} bytes; allowed are {limit}")]
    BlockTooLarge { found: u64, limit: u64 },
    #[error("a feed cannot have more than {limit} blocks")]
    FeedTooLong { limit: u64 },
    /// The blocks start beyond what is here, or the proof extends what is not here.
    #[error("blocks from {start} on cannot follow the {length} that are here")]
    Gap { start: u64, length: u64 },
    #[error("head refused: {0}")]
    Head(#[from] HeadError),
    #[error("proof refused: {0}")]
    Proof(#[from] ProofError),
    /// The feed's key has signed two histories.
    #[error("the feed's key has signed two histories, which part at block {} or before", .0.by)]
    Fork(Box<Fork>),
    #[error("no proof of a fork: {0}")]
    Parting(#[from] PartingError),
    #[error("the blocks were verified for feed {found}, not {expected}")]
    OtherFeed { expected: FeedKey, found: FeedKey },
    /// They are not here, or cannot be proved under that head.
    #[error("blocks {start} to {end} of {length} cannot be served: {held} can be proved here")]
    NotServed { start: u64, end: u64, length: u64, held: u64 },
    #[error("{left} blocks have left this machine: the feed cannot be cut to {length}")]
    HasLeft { left: u64, length: u64 },
}

/// Two heads, signed by one key, that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// The head that covers what is here.
    pub ours: Head,
    pub theirs: Head,
    /// The two part at this block or before it.
    pub by: u64,
    /// At this block, and what is before it is common.
    pub is_exact: bool,
}

impl Fork {
    pub(super) fn error(ours: &Head, theirs: &Head, by: u64) -> FeedError {
        FeedError::Fork(Box::new(Self { ours: *ours, theirs: *theirs, by, is_exact: false }))
    }

    /// Both have the same blocks below `at`.
    pub(super) fn exactly(ours: &Head, theirs: &Head, at: u64) -> FeedError {
        FeedError::Fork(Box::new(Self { ours: *ours, theirs: *theirs, by: at, is_exact: true }))
    }
}
