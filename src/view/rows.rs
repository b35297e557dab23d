//! Row codecs of the view's tables.
//!
//! ```text
//! View    Key: database u32 ‖ key ‖ !version u64          Value: low ‖ fold state (crdt)
//!         low = 0x00 | 0x01 ‖ time u64 ‖ tick varint ‖ writer 32 ‖ seq varint
//! Log     Key: database u32 ‖ version u64                 Value: key
//! Diffs   Key: database u32 ‖ key ‖ time u64 ‖ tick 6 ‖ feed u32 ‖ seq 6      Value: version it was merged at, varint
//! ```
//!
//! Two writers may share an effective timestamp; `feed` is this store's number for a feed and does not sort like its
//! key. So whoever reads `Diffs` sorts what it read by position.

use super::ViewError;
use crate::codec::{DecodeError, Reader, put_varint};
use crate::crdt::{State, StateView};
use crate::store::{Read, StoreError, Table};
use crate::types::{Effective, FeedKey, Position};
use std::ops::Bound;

/// Bytes after the key in a row of `View`.
pub(super) const VIEW_TAIL: usize = 8;
/// Bytes after the key in a row of `Diffs`.
pub(super) const DIFF_TAIL: usize = 24;
const PREFIX: usize = 4;

/// Numbers of 48 bits: ticks and seqs in `Diffs`.
const SIX_BYTES: u64 = 1 << 48;

/// A row of the view as it stands in the store.
#[derive(Clone, Copy, Debug)]
pub struct Row<'t> {
    pub version: u64,
    low: &'t [u8],
    state: &'t [u8],
}

impl<'t> Row<'t> {
    pub(super) fn decode(version: u64, value: &'t [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value);
        let mut low = &[][..];
        if reader.bool("low")? {
            let before = reader.clone().rest();
            read_position(&mut reader)?;
            low = before.get(..before.len() - reader.remaining()).unwrap_or_default();
        }
        Ok(Self { version, low, state: reader.rest() })
    }

    /// The lowest position merged in making this row, where that was not simply the end.
    pub(super) fn low(&self) -> Result<Option<Position>, DecodeError> {
        if self.low.is_empty() { Ok(None) } else { read_position(&mut Reader::new(self.low)).map(Some) }
    }

    pub fn view(&self) -> Result<StateView<'t>, ViewError> {
        StateView::decode(self.state).map_err(ViewError::Row)
    }

    /// Bytes of the state.
    pub(super) fn size(&self) -> usize {
        self.state.len()
    }

    pub fn decode_state(&self) -> Result<State, ViewError> {
        Ok(State::decode(self.state)?)
    }
}

/// A position: `time u64 ‖ tick varint ‖ writer 32 ‖ seq varint`.
pub fn read_position(reader: &mut Reader<'_>) -> Result<Position, DecodeError> {
    Ok(Position {
        effective: Effective { time: reader.u64("low's time")?, tick: reader.varint("low's tick")? },
        writer: FeedKey(reader.array("low's writer")?),
        seq: reader.varint("low's seq")?,
    })
}

/// What stands before the fold state in a row.
pub(super) fn put_low(out: &mut Vec<u8>, low: Option<&Position>) {
    match low {
        None => out.push(0),
        Some(position) => {
            out.push(1);
            put_position(out, position);
        }
    }
}

/// What [`read_position`] reads.
pub fn put_position(out: &mut Vec<u8>, position: &Position) {
    out.extend_from_slice(&position.effective.time.to_be_bytes());
    put_varint(out, position.effective.tick);
    out.extend_from_slice(position.writer.as_bytes());
    put_varint(out, position.seq);
}

pub(super) fn view_key(database: u32, key: &[u8], version: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX + key.len() + VIEW_TAIL);
    out.extend_from_slice(&database.to_be_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(&(!version).to_be_bytes());
    out
}

/// The user's key and the version in a key of `View`.
pub(super) fn split_view_key(row: &[u8]) -> Result<(&[u8], u64), StoreError> {
    let (key, tail) = split(row, VIEW_TAIL)?;
    let version = tail.try_into().map(u64::from_be_bytes).map_err(|_| damaged())?;
    Ok((key, !version))
}

fn split(row: &[u8], tail: usize) -> Result<(&[u8], &[u8]), StoreError> {
    let end = row.len().checked_sub(tail).ok_or_else(damaged)?;
    let key = row.get(PREFIX..end).ok_or_else(damaged)?;
    Ok((key, row.get(end..).unwrap_or_default()))
}

fn damaged() -> StoreError {
    StoreError::Row { what: "a key of the view" }
}

pub fn log_key(database: u32, version: u64) -> [u8; 12] {
    let mut out = [0; 12];
    let (prefix, rest) = out.split_at_mut(4);
    prefix.copy_from_slice(&database.to_be_bytes());
    rest.copy_from_slice(&version.to_be_bytes());
    out
}

pub(super) fn diff_key(database: u32, key: &[u8], effective: Effective, feed: u32, seq: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX + key.len() + DIFF_TAIL);
    out.extend_from_slice(&database.to_be_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(&effective.time.to_be_bytes());
    put_six(&mut out, effective.tick);
    out.extend_from_slice(&feed.to_be_bytes());
    put_six(&mut out, seq);
    out
}

fn put_six(out: &mut Vec<u8>, value: u64) {
    let [_, _, six @ ..] = value.min(SIX_BYTES - 1).to_be_bytes();
    out.extend_from_slice(&six);
}

/// A bound of the rows of `key` in `Diffs`: `tail` 0 before the first, 0xff behind the last.
pub(super) fn diff_bound(database: u32, key: &[u8], tail: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX + key.len() + DIFF_TAIL);
    out.extend_from_slice(&database.to_be_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(&[tail; DIFF_TAIL]);
    out
}

/// The user's key in a key of `Diffs`.
pub(super) fn split_key_of_diff(row: &[u8]) -> Result<&[u8], StoreError> {
    Ok(split(row, DIFF_TAIL)?.0)
}

/// Where a diff stands: its effective timestamp, its feed's number, its seq.
pub(super) fn split_diff_key(row: &[u8]) -> Result<(Effective, u32, u64), StoreError> {
    let (_, tail) = split(row, DIFF_TAIL)?;
    let mut reader = Reader::new(tail);
    let mut read = || -> Result<_, DecodeError> {
        let time = reader.u64("time")?;
        let tick = six(&mut reader)?;
        let feed = reader.u32("feed")?;
        Ok((Effective { time, tick }, feed, six(&mut reader)?))
    };
    read().map_err(|_| damaged())
}

fn six(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let six: [u8; 6] = reader.array("six bytes")?;
    Ok(six.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
}

/// The newest row of `key` at version `at` (none: now).
pub fn newest<'t>(
    txn: &'t impl Read,
    database: u32,
    key: &[u8],
    at: Option<u64>,
) -> Result<Option<Row<'t>>, ViewError> {
    let from = view_key(database, key, at.unwrap_or(u64::MAX));
    let Some((row, value)) = txn.first(Table::View, Bound::Included(&from), Bound::Unbounded)? else {
        return Ok(None);
    };
    // What stands before the tail is the database and the key: another one's row means there is none of this.
    let (found, version) = split_view_key(row)?;
    if found != key || row.get(..PREFIX) != from.get(..PREFIX) {
        return Ok(None);
    }
    Ok(Some(Row::decode(version, value)?))
}
