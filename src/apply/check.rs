//! A sequence compared with itself and with where its walk stands.

use super::{AppliedState, ApplyError, Outcome, Row, row, row_key};
use crate::causal::{Past, Turn};
use crate::codec::DecodeError;
use crate::store::{Read, Table};
use crate::types::FeedKey;
use std::ops::Bound;

/// What is wrong with a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("position {index} of the sequence is not where the one before it ends")]
    Position { index: u64 },
    #[error("the sequence does not end where its walk stands")]
    End,
}

/// Decodes one row of a table of the sequence, whole.
pub fn check_row(table: Table, key: &[u8], value: &[u8]) -> Result<(), DecodeError> {
    match table {
        Table::Applied => super::kept::check_row(key, value),
        Table::Sequence if key.len() == 12 => Row::decode(value, |_| Some(FeedKey([0; 32]))).map(drop),
        _ => Err(DecodeError::Malformed { what: "a key of the sequence" }),
    }
}

/// Compares the rows of a sequence with each other and with its end: indices without a gap, each feed without a gap,
/// versions that do not fall, as many applied as are counted, each where `stands` says that it does. Returns the first flaw; `visit` says whether to go on.
pub fn check(
    txn: &impl Read,
    database: u32,
    state: &AppliedState,
    writer: impl Fn(u32) -> Option<FeedKey>,
    stands: impl Fn(&Turn) -> bool,
    mut visit: impl FnMut() -> bool,
) -> Result<Option<Flaw>, ApplyError> {
    let mut placed = Past::new();
    let (mut version, mut clock) = (0, 0);
    for index in 0..state.cursor.index() {
        let row = row(txn, database, index, &writer)?;
        let turn = row.placement.turn;
        let follows = turn.at.seq == placed.get(&turn.at.writer)
            && turn.end > turn.at.seq
            && row.begin >= version
            && row.end >= row.begin
            && row.clock == clock
            && stands(&turn);
        if !follows {
            return Ok(Some(Flaw::Position { index }));
        }
        placed.raise(turn.at.writer, turn.end);
        version = row.end;
        clock += u64::from(row.outcome == Outcome::Applied);
        if !visit() {
            return Ok(None);
        }
    }
    let (after, last) = (row_key(database, state.cursor.index()), row_key(database, u64::MAX));
    let is_end = txn.first(Table::Sequence, Bound::Included(&after), Bound::Included(&last))?.is_none()
        && placed == *state.cursor.placed()
        && version <= state.version
        && clock == state.clock
        && state.last.length <= state.cursor.index();
    Ok((!is_end).then_some(Flaw::End))
}
