//! What of the next batches `apply` is shown.

use super::{InFlight, MAX_PIECE_BATCHES, MAX_PIECE_BYTES, MAX_PIECE_ENTRIES, Piece, PieceBatch};
use crate::apply::Outcome;
use crate::causal::{Cursor, Plan, Turn};
use crate::db::engine::Work;
use crate::db::error::{Error, Failure};
use crate::db::state::DatabaseState;
use crate::entry::Op;
use crate::order::{OrderError, read_blocks};
use crate::seal::BlockSealing;
use crate::store::Read;
use crate::types::FeedKey;

/// What a batch needs where it stands.
pub(super) enum Need {
    /// Nothing of `apply`.
    Settled(Outcome),
    Apply(PieceBatch),
}

impl DatabaseState {
    pub(super) fn need(&self, txn: &impl Read, cursor: &Cursor, turn: Turn) -> Result<Need, Failure> {
        let Turn { at, .. } = turn;
        let number = self.members.get(&at.writer).map(|member| member.feed);
        let number = number.ok_or(OrderError::Feed { feed: at.writer })?;
        let (batch, asks) = read(txn, self.row.key, &self.space.blocks(at.writer), number, turn)?;
        let is_granted = self.row.open || cursor.standing().members().get(&at.writer).is_some();
        let is_lost = cursor.standing().lost().contains_key(&at.writer);
        let optimistic = !is_granted && !is_lost && self.row.optimistic && asks;
        if !is_granted && !optimistic {
            return Ok(Need::Settled(Outcome::Ignored));
        }
        if batch.values.is_empty() {
            // A stranger who says nothing is no one whom others would link to.
            return Ok(Need::Settled(if is_granted { Outcome::Silent } else { Outcome::Ignored }));
        }
        Ok(Need::Apply(PieceBatch { optimistic, ..batch }))
    }
}

/// A placed batch as `apply` is shown it, and whether it asks to be heard though its writer may not be granted.
pub(super) fn read(
    txn: &impl Read,
    database: FeedKey,
    sealing: &BlockSealing,
    number: u32,
    turn: Turn,
) -> Result<(PieceBatch, bool), Failure> {
    let Turn { at, end } = turn;
    let unreadable = |_| OrderError::Block { feed: number, seq: at.seq };
    let blocks = read_blocks(txn, sealing, number, at.seq, end).map_err(unreadable)?;
    let batch = blocks.batch(database, at.writer, at.seq).map_err(unreadable)?;
    let value = |(op, offset): (&Op<'_>, u64)| match op {
        Op::Value(value) => Some((offset, value.to_vec())),
        _ => None,
    };
    let read = PieceBatch {
        writer: at.writer,
        seq: at.seq,
        entries: end - at.seq,
        timestamp: batch.facts.timestamp,
        optimistic: false,
        links: batch.facts.links.iter().map(|link| (link.feed, link.length)).collect(),
        values: batch.ops.iter().zip(0..).filter_map(value).collect(),
    };
    Ok((read, batch.optimistic))
}

impl Work<'_, '_> {
    /// The batches of the next piece that need `apply`, as if none of them changed who is granted.
    pub(super) fn hand_out(&mut self, id: u32, in_flight: &InFlight) -> Result<Piece, Failure> {
        self.database(id)?;
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let state = database.applied()?;
        let source = database.source(&*self.txn, &[]);
        let mut cursor = in_flight.start.clone();
        let undone = state.cursor.index() - cursor.index();
        let (version, clock) = if undone == 0 {
            (state.version, state.clock)
        } else {
            let row = source.row(cursor.index())?;
            (row.begin, row.clock)
        };
        let mut plan = Plan::default();
        let mut batches = Vec::new();
        let (mut entries, mut bytes) = (0, 0);
        while entries < MAX_PIECE_ENTRIES && bytes < MAX_PIECE_BYTES {
            if cursor.index() - in_flight.start.index() >= MAX_PIECE_BATCHES {
                break;
            }
            let Some(turn) = cursor.next(&in_flight.ready, &mut plan, &source)? else { break };
            if let Need::Apply(batch) = database.need(&*self.txn, &cursor, turn)? {
                entries += batch.entries;
                bytes += batch.values.iter().map(|(_, value)| value.len()).sum::<usize>();
                batches.push(batch);
            }
            cursor.place(turn, &mut plan);
        }
        Ok(Piece { generation: in_flight.generation, version, clock, undone, staged: false, batches })
    }
}
