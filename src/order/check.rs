use super::OrderError;
use super::placed::{read_order_feed, read_past};
use crate::causal::{ControlBatch, OrderHead};
use crate::codec::{DecodeError, Reader};
use crate::store::Table;

/// Decodes one row of a table of the order, whole.
pub fn check_row(table: Table, key: &[u8], value: &[u8]) -> Result<(), OrderError> {
    if table == Table::Order && key.len() != 4 {
        return read_order_feed(key, value).map(drop);
    }
    let mut reader = Reader::new(value);
    match table {
        Table::Pasts => drop(read_past(reader.rest())?),
        Table::Effectives => {
            reader.u64("an effective time")?;
            reader.varint("a tick")?;
        }
        Table::Controls => drop(ControlBatch::decode(&mut reader)?),
        _ => drop(OrderHead::decode(&mut reader)?),
    }
    reader.finish("a row of the order")?;
    let width = if table == Table::Order { 4 } else { 16 };
    if key.len() == width {
        return Ok(());
    }
    Err(DecodeError::Malformed { what: "a key of the order" }.into())
}
