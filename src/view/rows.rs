//! Row codecs of the view's tables.
//!
//! ```text
//! View    Key: database u32 ‖ name ‖ !version u64         Value: low ‖ fold state (crdt), sealed with the key (`space`)
//!         low = 0x00 | 0x01 ‖ time u64 ‖ tick varint ‖ writer 32 ‖ seq varint
//! Log     Key: database u32 ‖ version u64                 Value: name
//! Diffs   Key: database u32 ‖ name ‖ time u64 ‖ tick 6 ‖ feed u32 ‖ seq 6     Value: version it was merged at, varint
//! ```
//!
//! The name is the key, or stands for it in an encrypted database (`space`).
//!
//! Two writers may share an effective timestamp; `feed` is this store's number for a feed and does not sort like its
//! key. So whoever reads `Diffs` sorts what it read by position.

use super::ViewError;
use super::space::{Space, Stored};
use crate::codec::{DecodeError, Reader, put_varint};
use crate::crdt::{State, StateView};
use crate::store::{Read, StoreError};
use crate::types::{Effective, FeedKey, Position};

/// Bytes after the key in a row of `View`.
pub(super) const VIEW_TAIL: usize = 8;
/// Bytes after the key in a row of `Diffs`.
pub(super) const DIFF_TAIL: usize = 24;
pub(super) const PREFIX: usize = 4;

/// Numbers of 48 bits: ticks and seqs in `Diffs`.
const SIX_BYTES: u64 = 1 << 48;

/// A merge-mode row of the view: a fold state, and what is needed to find a base among the key's rows.
#[derive(Clone, Debug)]
pub struct Row<'t> {
    pub version: u64,
    stored: Stored<'t>,
    /// Where in the value the lowest position stands, if it is there, and the state.
    low: Option<usize>,
    state: usize,
}

impl<'t> Row<'t> {
    pub(super) fn of(stored: Stored<'t>) -> Result<Self, DecodeError> {
        let value = stored.value();
        let mut reader = Reader::new(value);
        let mut low = None;
        if reader.bool("low")? {
            low = Some(value.len() - reader.remaining());
            read_position(&mut reader)?;
        }
        let state = value.len() - reader.remaining();
        Ok(Self { version: stored.version, stored, low, state })
    }

    /// The user's key, of a row that was found by `name`.
    pub(super) fn key<'a>(&'a self, name: &'a [u8]) -> &'a [u8] {
        self.stored.key(name)
    }

    /// The lowest position merged in making this row, where that was not simply the end.
    pub(super) fn low(&self) -> Result<Option<Position>, DecodeError> {
        self.low.map(|low| read_position(&mut Reader::new(self.from(low)))).transpose()
    }

    pub fn view(&self) -> Result<StateView<'_>, ViewError> {
        StateView::decode(self.from(self.state)).map_err(ViewError::Row)
    }

    /// Bytes of the state.
    pub(super) fn size(&self) -> usize {
        self.stored.value().len().saturating_sub(self.state)
    }

    pub fn decode_state(&self) -> Result<State, ViewError> {
        Ok(State::decode(self.from(self.state))?)
    }

    fn from(&self, at: usize) -> &[u8] {
        self.stored.value().get(at..).unwrap_or_default()
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

pub(super) fn view_key(database: u32, name: &[u8], version: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX + name.len() + VIEW_TAIL);
    out.extend_from_slice(&database.to_be_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(&(!version).to_be_bytes());
    out
}

/// The name and the version in a key of `View`.
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

pub(super) fn diff_key(database: u32, name: &[u8], effective: Effective, feed: u32, seq: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX + name.len() + DIFF_TAIL);
    out.extend_from_slice(&database.to_be_bytes());
    out.extend_from_slice(name);
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

/// A bound of the rows of `name` in `Diffs`: `tail` 0 before the first, 0xff behind the last.
pub(super) fn diff_bound(database: u32, name: &[u8], tail: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX + name.len() + DIFF_TAIL);
    out.extend_from_slice(&database.to_be_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(&[tail; DIFF_TAIL]);
    out
}

/// The name in a key of `Diffs`.
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
    space: &Space,
    key: &[u8],
    at: Option<u64>,
) -> Result<Option<Row<'t>>, ViewError> {
    Ok(space.newest(txn, key, at)?.map(Row::of).transpose()?)
}

/// As [`newest`], by the name that stands for the key in rows.
pub(super) fn by_name<'t>(
    txn: &'t impl Read,
    space: &Space,
    name: &[u8],
    at: Option<u64>,
) -> Result<Option<Row<'t>>, ViewError> {
    Ok(space.by_name(txn, name, at)?.map(Row::of).transpose()?)
}
