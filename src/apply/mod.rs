//! **What.** The sequence of an apply-mode database, as it is kept: which batch stands at which index, which versions of
//! the view lie before and after it, what its `apply` changed in who is granted.
//!
//! **Owns.** Tables `Sequence` (index to placement) and `Applied` (a database's [`AppliedState`]).
//!
//! **Invariants.** 1. Rows `0..cursor.index()` are there and no others. 2. The state of the view at version `end` of a
//! row is the state after its batch; at `begin`, before it. 3. Both tables change only together, in one transaction.
//! 4. Of a state a commit writes what it has changed: a head, and a row for each feed that is another.
//!
//! **Not here.** Which batch comes next (`causal`), what is written to the view (`view`, `db`), what `apply` does.

mod check;
mod kept;

pub use check::{Flaw, check, check_row};
pub use kept::{AppliedFeed, AppliedHead, Changed, load, save};

use crate::causal::{Change, Cursor, Membership, Past, Placement, Standing, Turn};
use crate::codec::{DecodeError, Reader, put_varint};
use crate::store::{Read, StoreError, Table, WriteTxn};
use crate::types::{Effective, FeedKey, Position};
use std::collections::BTreeSet;

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a row of the sequence is damaged: {0}")]
    Row(#[from] DecodeError),
    #[error("position {index} of the sequence is missing")]
    Missing { index: u64 },
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its writer is not granted where it stands.
    Ignored,
    Applied,
    /// An optimistic one that `apply` did not acknowledge.
    Rejected,
    /// It says nothing to `apply`: an acknowledgement, the genesis.
    Silent,
}

/// One position of the sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub placement: Placement,
    pub outcome: Outcome,
    /// Its writer was not granted, so it needed an acknowledgement.
    pub optimistic: bool,
    /// The view's version before and after.
    pub begin: u64,
    pub end: u64,
    /// Batches applied before it.
    pub clock: u64,
}

/// What is kept of a sequence beside its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedState {
    pub cursor: Cursor,
    /// Versions given so far: more than are published, while a wave is not through.
    pub version: u64,
    /// Batches applied.
    pub clock: u64,
    /// Changes with every commit that changes the sequence.
    pub generation: u64,
    /// A wave that replays and is not through.
    pub open_wave: Option<OpenWave>,
    /// Feeds of which something counts, or has counted: those a writer links to.
    pub counted: BTreeSet<FeedKey>,
    pub last: Final,
}

/// What readers still see while a wave replays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWave {
    /// The last version of what both orders share.
    pub shared: u64,
    /// What was placed when it began.
    pub placed: Past,
    /// Who was granted then.
    pub members: Membership,
}

/// The part of a sequence that nothing can move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Final {
    pub length: u64,
    /// The state after it.
    pub standing: Standing,
    /// Where its last batch stands.
    pub at: Option<Position>,
}

impl AppliedState {
    pub fn new(creator: FeedKey) -> Self {
        Self {
            cursor: Cursor::new(creator),
            version: 0,
            clock: 0,
            generation: 0,
            open_wave: None,
            counted: BTreeSet::new(),
            last: Final { length: 0, standing: Standing::of_creator(creator), at: None },
        }
    }

    /// What is in the view that readers see.
    pub fn shown(&self) -> &Past {
        self.open_wave.as_ref().map_or_else(|| self.cursor.placed(), |wave| &wave.placed)
    }

    /// Who is granted in the view that readers see.
    pub fn members(&self) -> &Membership {
        self.open_wave.as_ref().map_or_else(|| self.cursor.standing().members(), |wave| &wave.members)
    }
}

const TAKEN: u8 = 4;
const OPTIMISTIC: u8 = 8;

impl Row {
    /// ```text
    /// feed u32 ‖ seq varint ‖ entries varint ‖ time u64 ‖ tick varint ‖ flags u8 ‖ begin varint ‖ writes varint
    ///   ‖ clock varint ‖ changes: count varint, each as `causal` has it
    /// flags = outcome (0 ignored, 1 applied, 2 rejected, 3 silent) + 4 if it ended a step + 8 if it was optimistic
    /// ```
    pub fn encode(&self, feed: u32) -> Vec<u8> {
        let Placement { turn: Turn { at, end }, taken, changes } = &self.placement;
        let mut out = feed.to_be_bytes().to_vec();
        put_varint(&mut out, at.seq);
        put_varint(&mut out, end.saturating_sub(at.seq));
        out.extend_from_slice(&at.effective.time.to_be_bytes());
        put_varint(&mut out, at.effective.tick);
        let outcome = match self.outcome {
            Outcome::Ignored => 0,
            Outcome::Applied => 1,
            Outcome::Rejected => 2,
            Outcome::Silent => 3,
        };
        let optimistic = if self.optimistic { OPTIMISTIC } else { 0 };
        out.push(outcome | optimistic | if *taken { TAKEN } else { 0 });
        put_varint(&mut out, self.begin);
        put_varint(&mut out, self.end.saturating_sub(self.begin));
        put_varint(&mut out, self.clock);
        put_varint(&mut out, changes.len() as u64);
        for change in changes {
            change.encode_into(&mut out);
        }
        out
    }

    pub fn decode(bytes: &[u8], writer: impl Fn(u32) -> Option<FeedKey>) -> Result<Self, DecodeError> {
        let what = "a position of the sequence";
        let mut reader = Reader::new(bytes);
        let writer = writer(reader.u32(what)?).ok_or(DecodeError::Malformed { what })?;
        let seq = reader.varint(what)?;
        let entries = reader.varint(what)?;
        let effective = Effective { time: reader.u64(what)?, tick: reader.varint(what)? };
        let flags = reader.u8(what)?;
        let outcome = match flags & !(TAKEN | OPTIMISTIC) {
            0 => Outcome::Ignored,
            1 => Outcome::Applied,
            2 => Outcome::Rejected,
            3 => Outcome::Silent,
            tag => return Err(DecodeError::UnknownTag { what, tag: tag.into() }),
        };
        let begin = reader.varint(what)?;
        let end = begin.checked_add(reader.varint(what)?).ok_or(DecodeError::Malformed { what })?;
        let clock = reader.varint(what)?;
        let count = reader.varint(what)?;
        let mut changes = Vec::new();
        for _ in 0..count {
            changes.push(Change::decode(&mut reader)?);
        }
        reader.finish(what)?;
        let last = seq.checked_add(entries).ok_or(DecodeError::Malformed { what })?;
        let turn = Turn { at: Position { effective, writer, seq }, end: last };
        let placement = Placement { turn, taken: flags & TAKEN != 0, changes };
        let optimistic = flags & OPTIMISTIC != 0;
        Ok(Self { placement, outcome, optimistic, begin, end, clock })
    }
}

fn row_key(database: u32, index: u64) -> [u8; 12] {
    let mut out = [0; 12];
    let (prefix, rest) = out.split_at_mut(4);
    prefix.copy_from_slice(&database.to_be_bytes());
    rest.copy_from_slice(&index.to_be_bytes());
    out
}

/// The row at `index`. `writer`: whose feed a number of this store names.
pub fn row(
    txn: &impl Read,
    database: u32,
    index: u64,
    writer: impl Fn(u32) -> Option<FeedKey>,
) -> Result<Row, ApplyError> {
    let row = txn.get(Table::Sequence, &row_key(database, index))?.ok_or(ApplyError::Missing { index })?;
    Ok(Row::decode(row, writer)?)
}

pub fn put_row(
    txn: &mut WriteTxn<'_>,
    database: u32,
    index: u64,
    feed: u32,
    row: &Row,
) -> Result<(), StoreError> {
    txn.put(Table::Sequence, &row_key(database, index), &row.encode(feed))
}

/// Removes the rows `from..to`.
pub fn cut(txn: &mut WriteTxn<'_>, database: u32, from: u64, to: u64) -> Result<(), StoreError> {
    for index in from..to {
        txn.delete(Table::Sequence, &row_key(database, index))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::Member;

    fn position(seq: u64) -> Position {
        Position { effective: Effective { time: 9, tick: 1 }, writer: FeedKey([1; 32]), seq }
    }

    #[test]
    fn rows_have_golden_bytes_and_no_truncation_passes() {
        let since = Some(Member { since: Some(position(2)), indexer: true });
        let change = Change { feed: FeedKey([2; 32]), before: None, after: since, lost: Some(7) };
        let row = Row {
            placement: Placement {
                turn: Turn { at: position(3), end: 5 },
                taken: true,
                changes: vec![change],
            },
            outcome: Outcome::Applied,
            optimistic: true,
            begin: 10,
            end: 12,
            clock: 2,
        };
        let bytes = row.encode(1);
        let golden = "00000001" /* feed */
            .to_owned()
            + "0302"
            + "000000000000000901"
            + "0d"
            + "0a0202"
            + "01";
        assert_eq!(hex::encode(&bytes[..20]), golden);
        let writer = |number| (number == 1).then_some(FeedKey([1; 32]));
        assert_eq!(Row::decode(&bytes, writer), Ok(row));
        assert!((0..bytes.len()).all(|cut| Row::decode(&bytes[..cut], writer).is_err()));
        assert!(Row::decode(&bytes, |_| None).is_err());
    }

    #[test]
    fn a_row_whose_ends_lie_beyond_all_numbers_is_refused() {
        let placement =
            Placement { turn: Turn { at: position(3), end: 5 }, taken: true, changes: Vec::new() };
        let (outcome, optimistic) = (Outcome::Applied, true);
        let row = Row { placement, outcome, optimistic, begin: 10, end: 12, clock: 2 };
        let bytes = row.encode(1);
        // At 4: seq and entries; at 16: where the writes begin, and how many they are.
        for at in [4, 16] {
            assert_eq!(bytes[at + 1], 2);
            let mut far = Vec::new();
            put_varint(&mut far, u64::MAX - 1);
            let other = [&bytes[..at], &far, &bytes[at + 1..]].concat();
            assert!(Row::decode(&other, |_| Some(FeedKey([1; 32]))).is_err(), "at {at}");
        }
    }
}
