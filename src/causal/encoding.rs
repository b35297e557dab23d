//! Bytes shared by the records of this module. A *feed map* is `count varint ‖ (feed 32 ‖ value)*`, feeds strictly
//! ascending; a *position* is `time u64 ‖ tick varint ‖ writer 32 ‖ seq varint`.

use std::collections::BTreeMap;

use crate::codec::limits::MAX_FEED_LENGTH;
use crate::codec::{DecodeError, Reader, put_varint};
use crate::types::{Effective, FeedKey, Position};

pub(super) fn put_map<'a, V: 'a>(
    out: &mut Vec<u8>,
    map: impl ExactSizeIterator<Item = (&'a FeedKey, V)>,
    mut put: impl FnMut(&mut Vec<u8>, V),
) {
    put_varint(out, map.len() as u64);
    for (feed, value) in map {
        out.extend_from_slice(feed.as_bytes());
        put(out, value);
    }
}

/// Reserves nothing: a map cannot be larger than the bytes it is read from.
pub(super) fn map<V>(
    reader: &mut Reader<'_>,
    what: &'static str,
    mut value: impl FnMut(&mut Reader<'_>) -> Result<V, DecodeError>,
) -> Result<BTreeMap<FeedKey, V>, DecodeError> {
    let count = reader.length(what, reader.remaining() / 32)?;
    let mut map = BTreeMap::new();
    for _ in 0..count {
        let feed = FeedKey(reader.array(what)?);
        if map.last_key_value().is_some_and(|(last, _)| *last >= feed) {
            return Err(DecodeError::Malformed { what });
        }
        map.insert(feed, value(reader)?);
    }
    Ok(map)
}

/// A length or seq of a feed.
pub(super) fn place(reader: &mut Reader<'_>, what: &'static str) -> Result<u64, DecodeError> {
    let found = reader.varint(what)?;
    if found > MAX_FEED_LENGTH {
        return Err(DecodeError::TooLarge { what, found, limit: MAX_FEED_LENGTH });
    }
    Ok(found)
}

pub(super) fn put_effective(out: &mut Vec<u8>, effective: Effective) {
    out.extend_from_slice(&effective.time.to_be_bytes());
    put_varint(out, effective.tick);
}

pub(super) fn effective(reader: &mut Reader<'_>) -> Result<Effective, DecodeError> {
    Ok(Effective { time: reader.u64("a position's time")?, tick: reader.varint("a position's tick")? })
}

pub(super) fn put_position(out: &mut Vec<u8>, position: Option<Position>) {
    let Some(position) = position else {
        return out.push(0);
    };
    out.push(1);
    put_effective(out, position.effective);
    out.extend_from_slice(position.writer.as_bytes());
    put_varint(out, position.seq);
}

pub(super) fn position(reader: &mut Reader<'_>) -> Result<Option<Position>, DecodeError> {
    if !reader.bool("whether there is a position")? {
        return Ok(None);
    }
    Ok(Some(Position {
        effective: effective(reader)?,
        writer: FeedKey(reader.array("a position's writer")?),
        seq: place(reader, "a position's seq")?,
    }))
}
