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

/// A table of the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Table {
    /// What concerns the whole store: format, clock, counters of the short numbers, restore mark.
    ///
    /// Key: a name (bytes). Value: by name; `format` is u32.
    Meta,
    /// Heads of feeds.
    ///
    /// Key: `feed u32`. Value: by `feed/`.
    Feeds,
    /// Blocks as they travel.
    ///
    /// Key: `feed u32 ‖ seq u64`. Value: the block's bytes.
    Blocks,
    /// Tree nodes, many leaves to a row.
    ///
    /// Key: `feed u32 ‖ first leaf of the pack u64`. Value: by `feed/`.
    Tree,
    /// The databases of the store.
    ///
    /// Key: `database u32`. Value: by `db/`.
    Databases,
    /// Feeds that take part in a database.
    ///
    /// Key: `database u32 ‖ feed u32`. Value: by `order/`.
    Members,
    /// Position of each placed batch.
    ///
    /// Key: `database u32 ‖ feed u32 ‖ seq u64`. Value: by `order/`.
    Placed,
    /// Causal pasts (version vectors) of batches.
    ///
    /// Key: `database u32 ‖ feed u32 ‖ seq u64`. Value: by `order/`.
    Pasts,
    /// Effective timestamps that differ from the entry's own.
    ///
    /// Key: `database u32 ‖ feed u32 ‖ seq u64`. Value: by `order/`.
    Effectives,
    /// Grants and revokes by position: the input of the walk.
    ///
    /// Key: `database u32 ‖ position u64`. Value: by `order/`.
    Controls,
    /// The linear order.
    ///
    /// Key: `database u32 ‖ position u64`. Value: by `order/`.
    Order,
    /// Merge mode's diffs of a key, in linear order; they point into blocks.
    ///
    /// Key: `database u32 ‖ key ‖ tail 24`. Value: by `view/`.
    Diffs,
    /// The view, all versions; a key's newest version first (the tail is the version's complement).
    ///
    /// Key: `database u32 ‖ key ‖ !version u64`. Value: by `view/`.
    View,
    /// Which key each version wrote.
    ///
    /// Key: `database u32 ‖ version u64`. Value: by `view/`.
    Log,
    /// Published commits: version to the store's clock.
    ///
    /// Key: `database u32 ‖ version u64`. Value: by `view/`.
    Commits,
    /// State hashes.
    ///
    /// Key: `database u32 ‖ …`. Value: by `view/`.
    Hashes,
}

impl Table {
    /// All tables, in the order of their declaration.
    pub const ALL: [Table; 16] = [
        Table::Meta,
        Table::Feeds,
        Table::Blocks,
        Table::Tree,
        Table::Databases,
        Table::Members,
        Table::Placed,
        Table::Pasts,
        Table::Effectives,
        Table::Controls,
        Table::Order,
        Table::Diffs,
        Table::View,
        Table::Log,
        Table::Commits,
        Table::Hashes,
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
            Table::Placed => ("placed-1", RowOrder::Bytes),
            Table::Pasts => ("pasts-1", RowOrder::Bytes),
            Table::Effectives => ("effectives-1", RowOrder::Bytes),
            Table::Controls => ("controls-1", RowOrder::Bytes),
            Table::Order => ("order-1", RowOrder::Bytes),
            Table::Diffs => ("diffs-1", RowOrder::Tail24),
            Table::View => ("view-1", RowOrder::Tail8),
            Table::Log => ("log-1", RowOrder::Bytes),
            Table::Commits => ("commits-1", RowOrder::Bytes),
            Table::Hashes => ("hashes-1", RowOrder::Bytes),
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
