use super::encode::{
    ACKNOWLEDGEMENT, DELETE, DIFF, FIRST, GENESIS, GRANT, LATER, LIST, REGISTER, REVOKE, VALUE,
};
use super::{BatchHead, Change, Diff, Entry, EntryError, Genesis, Mode, Op, Place, VERSION};
use crate::codec::limits::{
    MAX_BATCH_ENTRIES, MAX_FEED_LENGTH, MAX_KEY_BYTES, MAX_LINKS, MAX_LIST_BYTES, MAX_NAME_BYTES,
    MAX_VALUE_BYTES,
};
use crate::codec::{DecodeError, Reader};
use crate::types::{Effective, FeedKey, Link, Stamp};

/// Bytes of the shortest link: feed, length, root.
const MIN_LINK: usize = 32 + 1 + 16;

impl<'a> Entry<'a> {
    pub fn decode(block: &'a [u8]) -> Result<Self, EntryError> {
        let mut reader = Reader::new(block);
        match reader.u8("the version")? {
            VERSION => {}
            0 => return Err(DecodeError::UnknownTag { what: "the version", tag: 0 }.into()),
            version => return Err(EntryError::Newer { version }),
        }
        let place = match reader.u8("the kind")? {
            FIRST => Place::First(BatchHead::decode(&mut reader)?),
            LATER => Place::Later { offset: offset(&mut reader)? },
            tag => return Err(DecodeError::UnknownTag { what: "the kind", tag: tag.into() }.into()),
        };
        let op = Op::decode(&mut reader)?;
        reader.finish("the entry")?;
        Ok(Self { place, op })
    }
}

fn offset(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    match reader.length("the offset in the batch", MAX_BATCH_ENTRIES - 1)? {
        0 => Err(DecodeError::Malformed { what: "the offset in the batch" }),
        offset => Ok(offset as u64),
    }
}

impl BatchHead {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let optimistic = reader.bool("the flags")?;
        let timestamp = reader.u64("the timestamp")?;
        let length = reader.length("the batch length", MAX_BATCH_ENTRIES)? as u64;
        if length == 0 {
            return Err(DecodeError::Malformed { what: "the batch length" });
        }
        let count = reader.length("the number of links", MAX_LINKS)?;
        let missing = count.saturating_mul(MIN_LINK).saturating_sub(reader.remaining());
        if missing > 0 {
            return Err(DecodeError::Truncated { what: "the links", missing });
        }
        let mut links: Vec<Link> = Vec::with_capacity(count);
        for _ in 0..count {
            let link = Link {
                feed: FeedKey(reader.array("a link's feed")?),
                length: reader.varint("a link's length")?,
                root: reader.array("a link's root")?,
            };
            let ascending = links.last().is_none_or(|last| last.feed < link.feed);
            if !ascending || link.length == 0 || link.length > MAX_FEED_LENGTH {
                return Err(DecodeError::Malformed { what: "the links" });
            }
            links.push(link);
        }
        Ok(Self { timestamp, length, links, optimistic })
    }
}

impl<'a> Op<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match reader.u8("the op")? {
            GENESIS => Op::Genesis(Genesis::decode(reader)?),
            VALUE => Op::Value(within(reader.rest(), "the value", MAX_VALUE_BYTES)?),
            DIFF => Op::Diff(Diff::decode(reader)?),
            GRANT => Op::Grant {
                database: FeedKey(reader.array("the database")?),
                writer: FeedKey(reader.array("the writer")?),
                indexer: reader.bool("indexer")?,
            },
            REVOKE => Op::Revoke {
                database: FeedKey(reader.array("the database")?),
                writer: FeedKey(reader.array("the writer")?),
                lost: reader.bool("lost")?,
            },
            ACKNOWLEDGEMENT => Op::Acknowledgement,
            tag => return Err(DecodeError::UnknownTag { what: "the op", tag: tag.into() }),
        })
    }
}

impl<'a> Genesis<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            mode: match reader.u8("the mode")? {
                0 => Mode::Merge,
                1 => Mode::Apply,
                tag => return Err(DecodeError::UnknownTag { what: "the mode", tag: tag.into() }),
            },
            key_encoding: reader.text("the key encoding", MAX_NAME_BYTES)?,
            value_encoding: reader.text("the value encoding", MAX_NAME_BYTES)?,
            encrypted: reader
                .bool("encrypted")?
                .then(|| reader.array("the check of the encryption key"))
                .transpose()?,
            open: reader.bool("open")?,
            optimistic: reader.bool("optimistic")?,
        })
    }
}

impl<'a> Diff<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let key = reader.bytes("the key", MAX_KEY_BYTES)?;
        let prev = if reader.bool("prev")? {
            let effective =
                Effective { time: reader.u64("prev's time")?, tick: reader.varint("prev's tick")? };
            Some(Stamp { effective, writer: reader.array("prev's writer")? })
        } else {
            None
        };
        let change = match reader.u8("the change")? {
            LIST => {
                let text = within(reader.rest(), "the list", MAX_LIST_BYTES)?;
                Change::List(
                    std::str::from_utf8(text).map_err(|_| DecodeError::Malformed { what: "the list" })?,
                )
            }
            REGISTER => Change::Register(within(reader.rest(), "the value", MAX_VALUE_BYTES)?),
            DELETE => Change::Delete,
            tag => return Err(DecodeError::UnknownTag { what: "the change", tag: tag.into() }),
        };
        Ok(Self { key, prev, change })
    }
}

fn within<'a>(bytes: &'a [u8], what: &'static str, limit: usize) -> Result<&'a [u8], DecodeError> {
    if bytes.len() <= limit {
        Ok(bytes)
    } else {
        Err(DecodeError::TooLarge { what, found: bytes.len() as u64, limit: limit as u64 })
    }
}
