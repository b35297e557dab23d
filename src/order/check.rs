use super::OrderError;
use crate::causal::{ControlBatch, Controls, OrderState, Past};
use crate::codec::{DecodeError, Reader};
use crate::store::Table;

/// Decodes one row of a table of the order, whole.
pub fn check_row(table: Table, key: &[u8], value: &[u8]) -> Result<(), OrderError> {
    let mut reader = Reader::new(value);
    match table {
        Table::Pasts => drop(Past::decode(&mut reader)?),
        Table::Effectives => {
            reader.u64("an effective time")?;
            reader.varint("a tick")?;
        }
        Table::Controls => drop(ControlBatch::decode(&mut reader)?),
        _ => drop(OrderState::decode(&mut reader, Controls::new())?),
    }
    reader.finish("a row of the order")?;
    let width = if table == Table::Order { 4 } else { 16 };
    if key.len() == width {
        return Ok(());
    }
    Err(DecodeError::Malformed { what: "a key of the order" }.into())
}
