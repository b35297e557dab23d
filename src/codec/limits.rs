//! Every limit of the formats, each with what it prevents. All are checked before memory is reserved.

/// Longest key a user may write, sub prefix included: with its row prefix and tail it still fits an LMDB key (1,982 bytes).
pub const MAX_KEY_BYTES: usize = 1_900;

/// Largest value: one write cannot fill the memory of every peer that merges it.
pub const MAX_VALUE_BYTES: usize = 16 << 20;

/// Largest text of a diff list: a value of the largest size, as the diff that creates it.
pub const MAX_LIST_BYTES: usize = MAX_VALUE_BYTES + (512 << 10);

/// Largest block: a value, its key, and a full set of links.
pub const MAX_BLOCK_BYTES: usize = MAX_VALUE_BYTES + (1 << 20);

/// Links in one entry; more are taken up by acknowledgements before it. Keeps one entry from costing unbounded lookups.
pub const MAX_LINKS: usize = 1_024;

/// Entries in one batch: a batch takes effect in one transaction, so it must fit in memory.
pub const MAX_BATCH_ENTRIES: usize = 1 << 16;

/// Name of an encoding in a genesis entry.
pub const MAX_NAME_BYTES: usize = 64;

/// Nesting of a stored JSON value: keeps recursion shallow on every replica.
pub const MAX_JSON_DEPTH: usize = 64;

/// A feed of more blocks than this does not exist; keeps index arithmetic far from overflow.
pub const MAX_FEED_LENGTH: u64 = 1 << 40;
