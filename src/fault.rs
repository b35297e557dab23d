//! **What.** Faults planted on purpose, to test the tests: with the feature `faults` the simulator can switch one on, and
//! must find it (`docs/design/testing.md`). Without the feature [`is`] is the constant `false`, and the compiler leaves
//! out what depends on it.
//!
//! **Invariants.** 1. A build with the Node binding has no faults: the two features together do not compile. 2. Nothing
//! but a call of `plant` switches one on: no variable, no option, no byte from disk or network.
//!
//! **Not here.** What each fault does: one line where it is planted.

/// What goes wrong while it is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// A commit is acknowledged before it is on disk.
    LostSync = 1,
    /// Folding a key anew leaves a diff out.
    DroppedDiff,
    /// Of diffs with one timestamp the order is that of this store's numbers of their feeds, not of their writers.
    WriterIgnored,
    /// A diff that sorts before others is folded behind them.
    FoldByArrival,
    /// Undoing leaves the last key as it was.
    ShortUndo,
    /// What a signature says of received blocks is not looked at.
    UnverifiedBlock,
    /// What an undo writes back takes no versions of its own.
    ReusedVersion,
    /// An entry of a writer that is no indexer is placed where its time says, though no indexer has seen it.
    UnanchoredEarly,
    /// What `apply` made of another state of the sequence is committed.
    StaleAnswer,
    /// A batch is placed though what it links to is not here.
    LinkIgnored,
    /// A revoke takes away nothing.
    RevokeIgnored,
    /// An entry is written with a timestamp that follows the wall clock alone.
    ClockBack,
    /// Finality does not wait for one of those it has not heard.
    EarlyFinal,
    /// A backup does not know that it is one.
    UnmarkedBackup,
    /// What a deleted key held stays in the state hash.
    HashRemembers,
    /// Old versions go though somebody reads them.
    PinIgnored,
    /// What was folded into a tombstone that went with old versions is not folded again.
    TombstoneDropped,
}

#[cfg(all(feature = "faults", feature = "bindings"))]
compile_error!("`faults` is for tests of the Rust library: build with --no-default-features");

#[cfg(feature = "faults")]
static PLANTED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

#[cfg(feature = "faults")]
impl Fault {
    pub const ALL: [Self; 17] = [
        Self::LostSync,
        Self::DroppedDiff,
        Self::WriterIgnored,
        Self::FoldByArrival,
        Self::ShortUndo,
        Self::UnverifiedBlock,
        Self::ReusedVersion,
        Self::UnanchoredEarly,
        Self::StaleAnswer,
        Self::LinkIgnored,
        Self::RevokeIgnored,
        Self::ClockBack,
        Self::EarlyFinal,
        Self::UnmarkedBackup,
        Self::HashRemembers,
        Self::PinIgnored,
        Self::TombstoneDropped,
    ];
}

/// From now on, in all of this process.
#[cfg(feature = "faults")]
pub fn plant(fault: Option<Fault>) {
    PLANTED.store(fault.map_or(0, |fault| fault as u8), std::sync::atomic::Ordering::SeqCst);
}

/// Whether that fault is planted.
#[cfg(feature = "faults")]
pub(crate) fn is(fault: Fault) -> bool {
    PLANTED.load(std::sync::atomic::Ordering::Relaxed) == fault as u8
}

/// Whether that fault is planted: never, in this build.
#[cfg(not(feature = "faults"))]
pub(crate) const fn is(_: Fault) -> bool {
    false
}
