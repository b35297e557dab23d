//! Every table of the file, in one place: name, row order, and what a row is.
//!
//! A change of a table's layout is a new name (`blocks-2`) and a numbered migration in its own transaction; a change
//! of the whole is a new `FORMAT`. Integers are big-endian, so that byte order is number order. `database` and `feed`
//! are the store's own short numbers (u32) for a database or a feed's public key, given once and never reused.

/// Format of the whole file, kept in `Table::Meta` under `FORMAT_KEY` as a u32, written by the creating transaction.
pub const FORMAT: u32 = 1;

/// Where the format stands in `Table::Meta`.
pub const FORMAT_KEY: &[u8] = b"format";

/// How the rows of a table are ordered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowOrder {
    /// Byte order of the whole row key.
    Bytes,
    /// By `prefix 4`, then key, then a fixed tail of 8 bytes.
    Tail8,
    /// By `prefix 4`, then key, then a fixed tail of 24 bytes.
    Tail24,
}

/// A table of the store. What a part of a row is, and how it is encoded, stands at the module that owns the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Table {
    /// What concerns the whole store (`store`, `feed`, `db`).
    ///
    /// Key: a name. Value: by name: `format` u32, `next-feed` u32, `next database` u32, `feed name …` key 32,
    /// `repair …` and `history …` (`db/repair`).
    Meta,
    /// What is known of each feed (`feed`).
    ///
    /// Key: public key 32. Value: flags u8 ‖ id u32 ‖ length u64 ‖ byte length u64 ‖ left u64 ‖ heads and seed, by flags.
    Feeds,
    /// Blocks as they travel (`feed`).
    ///
    /// Key: feed u32 ‖ seq u64. Value: the block's bytes.
    Blocks,
    /// Tree nodes, sixteen to a row (`feed`).
    ///
    /// Key: feed u32 ‖ tier u8 ‖ group u64. Value: (hash 32 ‖ bytes u64)*.
    Tree,
    /// The databases of the store, and what of each changes with every commit (`db`).
    ///
    /// Key: 0x00 ‖ name. Value: id u32 ‖ key 32 ‖ local 32 ‖ encodings ‖ flags u8 ‖ check of the encryption key, by flags.
    /// Key: 0x01 ‖ database u32. Value: version varint ‖ clock u64.
    Databases,
    /// Feeds that take part in a database (`db`).
    ///
    /// Key: database u32 ‖ public key 32. Value: feed u32 ‖ added bool ‖ merged varint ‖ until varint ‖ halt u8.
    Members,
    /// Causal pasts of placed batches that read links (`order`).
    ///
    /// Key: database u32 ‖ feed u32 ‖ seq u64. Value: since varint ‖ (public key 32 ‖ length varint)*, counted.
    Pasts,
    /// Effective timestamps of placed batches that are not their own (`order`).
    ///
    /// Key: database u32 ‖ feed u32 ‖ seq u64. Value: time u64 ‖ tick varint.
    Effectives,
    /// Placed batches that grant or revoke (`order`).
    ///
    /// Key: database u32 ‖ feed u32 ‖ seq u64. Value: a control batch of `causal`.
    Controls,
    /// What is placed and what of it counts (`order`).
    ///
    /// Key: database u32. Value: the head of an order state of `causal`.
    /// Key: database u32 ‖ public key 32. Value: what that state says of the feed.
    Order,
    /// Invites that this device has issued (`db`).
    ///
    /// Key: database u32 ‖ invite 16. Value: proof key 32 ‖ expires u64 (ms, 0: never) ‖ uses left u32 ‖ indexer bool.
    Invites,
    /// The diffs of a key, in linear order; they point into blocks (`view`).
    ///
    /// Key: database u32 ‖ name ‖ time u64 ‖ tick 6 ‖ feed u32 ‖ seq 6. Value: version varint.
    Diffs,
    /// The view, all versions; a key's newest version first (`view`). The name is the key, or, of an encrypted database,
    /// what stands for it; its value is sealed then, together with the key.
    ///
    /// Key: database u32 ‖ name ‖ !version u64. Value: low ‖ fold state of `crdt`.
    View,
    /// Which key each version wrote (`view`).
    ///
    /// Key: database u32 ‖ version u64. Value: name.
    Log,
    /// When each published version was committed (`db`).
    ///
    /// Key: database u32 ‖ version u64. Value: clock u64.
    Commits,
    /// The state hash, as far as it was last brought forward (`view`).
    ///
    /// Key: database u32. Value: version u64 ‖ 1,024 lanes u16.
    Hashes,
    /// Own blocks that never left and were taken out for a peer's, to be appended again after those (`db`).
    ///
    /// Key: feed u32 ‖ seq u64, where it stood. Value: time u64 ‖ tick varint ‖ the block's bytes.
    Kept,
    /// Proofs that feeds have forked (`feed`).
    ///
    /// Key: public key 32. Value: a parting of `merkle`.
    Forks,
    /// Which batch stands at which index of an apply-mode database (`apply`).
    ///
    /// Key: database u32 ‖ index u64. Value: feed u32 ‖ seq ‖ entries ‖ effective ‖ flags u8 ‖ begin ‖ writes ‖ changes.
    Sequence,
    /// What else is kept of a sequence (`apply`).
    ///
    /// Key: database u32. Value: an applied state of `apply`.
    Applied,
    /// Who merges instead of the built-in fold, and the keys it has not merged yet (`db`).
    ///
    /// Key: database u32 ‖ 0x00. Value: functions u8 ‖ epoch varint ‖ marked bool ‖ key.
    /// Key: database u32 ‖ 0x01 (waiting) or 0x02 (failed) ‖ key. Value: low position ‖ changes varint.
    Unmerged,
    /// Who has linked a feed that has forked, beyond the common length (`order`).
    ///
    /// Key: database u32 ‖ forked feed u32 ‖ writer u32 ‖ seq u64. Value: time u64 ‖ length varint ‖ root 16.
    Witnesses,
    /// Blocks of feeds that stand apart from their beginning, with their proofs (`feed`).
    ///
    /// Key: feed u32 ‖ start u64. Value: a part of `feed/parts`.
    Parts,
    /// Blocks below their feed's length that are damaged and wanted from peers (`feed`).
    ///
    /// Key: feed u32 ‖ seq u64. Value: doubt u8 (1: of the leaf in the tree too).
    Holes,
    /// What it takes to prove the blocks of a feed that is only partly here under the longer head that covers them
    /// (`feed`).
    ///
    /// Key: feed u32. Value: length u64 ‖ root 32 ‖ (bytes u64 ‖ hash 32)*.
    Covers,
}

impl Table {
    /// All tables, in the order of their declaration.
    pub const ALL: [Table; 25] = [
        Table::Meta,
        Table::Feeds,
        Table::Blocks,
        Table::Tree,
        Table::Databases,
        Table::Members,
        Table::Pasts,
        Table::Effectives,
        Table::Controls,
        Table::Order,
        Table::Invites,
        Table::Diffs,
        Table::View,
        Table::Log,
        Table::Commits,
        Table::Hashes,
        Table::Kept,
        Table::Forks,
        Table::Sequence,
        Table::Applied,
        Table::Unmerged,
        Table::Witnesses,
        Table::Parts,
        Table::Holes,
        Table::Covers,
    ];

    /// Name in the file and order of rows: the one place where either is said.
    pub const fn definition(self) -> (&'static str, RowOrder) {
        match self {
            Table::Meta => ("meta-1", RowOrder::Bytes),
            Table::Feeds => ("feeds-1", RowOrder::Bytes),
            Table::Blocks => ("blocks-1", RowOrder::Bytes),
            Table::Tree => ("tree-1", RowOrder::Bytes),
            Table::Databases => ("databases-1", RowOrder::Bytes),
            Table::Members => ("members-1", RowOrder::Bytes),
            Table::Pasts => ("pasts-1", RowOrder::Bytes),
            Table::Effectives => ("effectives-1", RowOrder::Bytes),
            Table::Controls => ("controls-1", RowOrder::Bytes),
            Table::Order => ("order-1", RowOrder::Bytes),
            Table::Invites => ("invites-1", RowOrder::Bytes),
            Table::Diffs => ("diffs-1", RowOrder::Tail24),
            Table::View => ("view-1", RowOrder::Tail8),
            Table::Log => ("log-1", RowOrder::Bytes),
            Table::Commits => ("commits-1", RowOrder::Bytes),
            Table::Hashes => ("hashes-1", RowOrder::Bytes),
            Table::Kept => ("kept-1", RowOrder::Bytes),
            Table::Forks => ("forks-1", RowOrder::Bytes),
            Table::Sequence => ("sequence-1", RowOrder::Bytes),
            Table::Applied => ("applied-1", RowOrder::Bytes),
            Table::Unmerged => ("unmerged-1", RowOrder::Bytes),
            Table::Witnesses => ("witnesses-1", RowOrder::Bytes),
            Table::Parts => ("parts-1", RowOrder::Bytes),
            Table::Holes => ("holes-1", RowOrder::Bytes),
            Table::Covers => ("covers-1", RowOrder::Bytes),
        }
    }

    /// Versioned name of the table in the file.
    pub const fn name(self) -> &'static str {
        self.definition().0
    }

    /// How its rows are ordered.
    pub const fn order(self) -> RowOrder {
        self.definition().1
    }
}
