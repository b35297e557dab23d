//! Diff, then fold, gives the wanted value, whatever was there.

use super::bytes::Bytes;
use multi_hyperbee::crdt::{Change, ChangeKind, List, State, Value, parse_object, without_reserved};
use multi_hyperbee::types::{Effective, FeedKey, Position};

pub fn position(time: u64, writer: u8, seq: u64) -> Position {
    Position { effective: Effective { time, tick: 0 }, writer: FeedKey([writer; 32]), seq }
}

/// Edits copy parts of arrays, and copies of copies: a value that has become longer is edited no more, so that what is
/// allocated says something of the code.
const LONGEST_TEXT: usize = 2_048;

/// The state after a put of `value`.
pub fn leads_to(state: &State, value: &Value) -> State {
    let value = &without_reserved(value.clone());
    let mut after = state.clone();
    let Some(list) = state.diff_to(value) else {
        assert_eq!(state.to_value().as_ref(), Some(value), "nothing has changed");
        return after;
    };
    assert_eq!(List::parse(&list.to_text()).as_ref(), Ok(&list), "the list as it travels");
    let time = state.last().map_or(1, |last| last.effective.time + 1);
    let (position, prev) = (position(time, 1, time), state.base());
    after.fold(&Change { position, prev, kind: ChangeKind::List(list) });
    assert_eq!(after.to_value().as_ref(), Some(value));
    assert_eq!(after.diff_to(value), None);
    assert_eq!(State::decode(&after.encode()).as_ref(), Ok(&after));
    after
}

/// Even: texts with zero bytes between. Odd: a value and edits of it.
pub fn diff(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let mut state = State::empty();
    if kind & 1 == 0 {
        for text in rest.split(|byte| *byte == 0).take(4) {
            let value = std::str::from_utf8(text).ok().and_then(|text| parse_object(text).ok());
            state = value.map_or(state.clone(), |value| leads_to(&state, &value));
        }
        return;
    }
    let mut bytes = Bytes(rest);
    let mut value = bytes.object(0);
    for _ in 0..6 {
        let text = value.to_string();
        if let Ok(value) = parse_object(&text) {
            state = leads_to(&state, &value);
        }
        if bytes.is_empty() || text.len() > LONGEST_TEXT {
            return;
        }
        value = bytes.edit(&value, 0);
    }
}
