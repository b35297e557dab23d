//! Every limit of the protocol, each with what it prevents. Exceeding one is an error that names it.

use crate::codec::limits::MAX_BLOCK_BYTES;

/// Largest message, type byte included: a length field cannot make a peer buffer more than this.
pub const MAX_FRAME: usize = 4 << 20;

/// Largest message before the first topic is open (a full Answer is 139,270 bytes): a stranger holds no more than this.
pub const MAX_UNPROVED_FRAME: usize = 144 << 10;

/// Largest message that travels in pieces (only `Blocks` may): one block of the largest size and its proof. It bounds
/// what is held for a message that is not yet whole.
pub const MAX_PIECED: usize = MAX_BLOCK_BYTES + (64 << 10);

/// Bytes in one piece: other messages get a turn between two of them.
pub const MAX_PIECE: usize = 1 << 20;

/// Largest Noise message (Noise's own limit, which the two-byte length cannot exceed).
pub const MAX_NOISE_MESSAGE: usize = 65_535;

/// Length of the tag that ends each Noise transport message.
pub const NOISE_TAG: usize = 16;

/// The name of a client in the first message: a stranger's text stays small.
pub const MAX_CLIENT_BYTES: usize = 64;

/// User data in the first message: a stranger's bytes stay small.
pub const MAX_USER_DATA_BYTES: usize = 4 << 10;

/// Topics in one Show: bounds the capability's work per round. More wait for the next.
pub const MAX_TOPICS_SHOWN: usize = 4_096;

/// Topics one side may offer, and so have open: about 2 KiB each on either side, with one feed, of its own choice.
pub const MAX_TOPICS: usize = 1 << 15;

/// Topics ever opened on one connection: topics opened and given up in a loop leave a bounded trace (56 bytes each).
pub const MAX_TOPICS_EVER: usize = 1 << 17;

/// Proofs of being a writer on one topic: each costs a signature check.
pub const MAX_WRITER_PROOFS: u32 = 16;

/// Feeds in one vector message: one message's events stay small.
pub const MAX_FEEDS_PER_VECTOR: usize = 4_096;

/// Feeds announced on one topic, per direction: one database cannot take the connection's share.
pub const MAX_FEEDS_PER_TOPIC: usize = 1 << 14;

/// Feeds announced on one connection, per direction (a feed on two topics counts twice): bounds the tables of names.
pub const MAX_FEEDS_PER_SESSION: usize = 1 << 16;

/// Requests open at once, per direction: bounds what a peer can make us remember and owe.
pub const MAX_REQUESTS: usize = 256;

/// Blocks asked for by one request: one request cannot occupy the sender for ever.
pub const MAX_REQUEST_BLOCKS: u64 = 1 << 16;

/// Blocks in one message: bounds what empty blocks can cost.
pub const MAX_BLOCKS_PER_MESSAGE: usize = 1 << 13;

/// Nodes in one proof: two paths and the roots of two heads in a tree of depth 40 are below 200.
pub const MAX_PROOF_NODES: usize = 512;

/// A message of the layer above.
pub const MAX_ACCESS_BYTES: usize = 64 << 10;
