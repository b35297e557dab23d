//! Rows, and messages of the layer above a session, read and written again: what `fuzz/` holds against the bytes it made up.

use super::access::{Answer, Request};
use super::admit::InviteRow;
use super::kept::Kept;
use super::rows::{DatabaseRow, MemberRow, StateRow};
use super::verify::{Unreadable, check_row};
use crate::apply::{AppliedFeed, AppliedHead, OpenWave, Row};
use crate::causal::{ControlBatch, OrderFeed, OrderHead, Past};
use crate::codec::{DecodeError, Reader, put_varint};
use crate::feed::FeedRecord;
use crate::merkle::Parting;
use crate::order::Witness;
use crate::store::Table;
use crate::types::FeedKey;
use crate::view::Space;

/// Reads a row as `verify` does, and writes the value of what it read; none where a table has no writer of its own for
/// it. A row has one form: what is written is what was read.
pub fn reread_row(table: Table, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
    check_row(Some(&Space::plain(0)), table, key, value)?;
    let (mut reader, mut out) = (Reader::new(value), Vec::new());
    match table {
        Table::Feeds => out = FeedRecord::decode(FeedKey::try_from(key)?, value)?.encode(),
        Table::Databases if key.first() == Some(&0) => out = DatabaseRow::decode(value)?.encode(),
        Table::Databases => out = StateRow::decode(value)?.encode(),
        Table::Members => out = MemberRow::decode(value)?.encode(),
        Table::Pasts => {
            put_varint(&mut out, reader.varint("a past")?);
            Past::decode(&mut reader)?.encode_into(&mut out);
        }
        Table::Controls => ControlBatch::decode(&mut reader)?.encode_into(&mut out),
        Table::Order if key.len() == 4 => OrderHead::decode(&mut reader)?.encode_into(&mut out),
        Table::Order => OrderFeed::decode(&mut reader)?.encode_into(&mut out),
        Table::Invites => out = InviteRow::decode(value)?.encode(),
        Table::Kept => out = Kept::decode(key, value)?.encode(),
        Table::Forks => Parting::decode(&mut reader)?.encode_into(&mut out),
        Table::Applied => match key.len() {
            4 => AppliedHead::decode(&mut reader)?.encode_into(&mut out),
            5 => OpenWave::decode(&mut reader)?.encode_into(&mut out),
            _ => AppliedFeed::decode(&mut reader)?.encode_into(&mut out),
        },
        Table::Witnesses => out = Witness::decode(key, value)?.value(),
        Table::Sequence => {
            // The writer is named by its number in this store.
            let row = Row::decode(value, |_| Some(FeedKey([0; 32])))?;
            out = row.encode(reader.u32("the writer")?);
        }
        _ => return Ok(None),
    }
    Ok(Some(out))
}

/// The same of a request for access, and of an answer to one.
pub fn reread_access(is_answer: bool, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    if is_answer {
        return Answer::decode(bytes).map(|(ask, answer)| answer.encode(ask));
    }
    Request::decode(bytes).map(|request| request.encode())
}
