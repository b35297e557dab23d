//! Bytes that a decoder takes are the bytes that its encoder makes of what it read.

use super::bytes::Bytes;
use multi_hyperbee::crdt::{List, State};
use multi_hyperbee::db::{reread_access, reread_row};
use multi_hyperbee::entry::{Change, Entry, Op};
use multi_hyperbee::store::Table;
use multi_hyperbee::wire;

pub fn entry(bytes: &[u8]) {
    let Ok(entry) = Entry::decode(bytes) else { return };
    let mut out = Vec::new();
    entry.encode_into(&mut out);
    assert_eq!(out, bytes);
    if let Op::Diff(diff) = entry.op
        && let Change::List(text) = diff.change
    {
        let _ = List::parse(text);
    }
}

/// Table, length of the key, key; the rest is the value.
pub fn rows(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let table = Table::ALL[bytes.below(Table::ALL.len())];
    let length = usize::from(bytes.u8());
    let key = bytes.take(length);
    if let Ok(Some(again)) = reread_row(table, key, bytes.0) {
        assert_eq!(again, bytes.0, "{table:?}");
    }
}

/// The values of the view's rows.
pub fn states(bytes: &[u8]) {
    let Ok(state) = State::decode(bytes) else { return };
    // A body's text and its ids are checked against each other only as far as reading needs it: what was read is
    // written in the one form, and stays as it is from then on.
    let once = state.encode();
    assert_eq!(State::decode(&once).as_ref(), Ok(&state));
    let _ = (state.to_text(), state.to_value(), state.register(), state.base());
}

/// A message: tag and body.
pub fn messages(bytes: &[u8]) {
    let Some((tag, body)) = bytes.split_first() else { return };
    if let Ok(Some(frame)) = wire::reread(*tag, body) {
        assert!(frame.ends_with(bytes), "another form");
        assert!(frame.len() <= bytes.len() + 10);
    }
}

pub fn access(bytes: &[u8]) {
    let Some((kind, body)) = bytes.split_first() else { return };
    if let Ok(again) = reread_access(kind & 1 == 1, body) {
        assert_eq!(again, body);
    }
}
