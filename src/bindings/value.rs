//! The value of an entry as JavaScript gets it. An object is delivered as one complete JSON text, the reserved
//! properties written behind the stored ones: JavaScript then parses once and adds nothing, and since the last of equal
//! names wins, no peer's diff can counterfeit them.

use crate::db::{Live, LiveRow};
use crate::types::put_state_id;
use std::io::Write as _;

/// How a handle wants its values; the numbers are `lib/entries.js`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Complete objects, `_objectId` being the key as text (hex if it is none).
    Object,
    /// The stored text, and behind it, each of a fixed length, what `_timestamp` and `_prevTimestamp` say: JavaScript,
    /// which has the key, sets the reserved properties itself. Where keys are plain text this is the quickest.
    Stamped,
    /// Complete objects, `_objectId` being the key in hex.
    ObjectHex,
    /// The stored bytes.
    Plain,
    /// Nothing: only the keys are asked for.
    Keys,
}

impl From<u32> for Form {
    fn from(number: u32) -> Self {
        match number {
            0 => Form::Object,
            1 => Form::ObjectHex,
            3 => Form::Stamped,
            4 => Form::Keys,
            _ => Form::Plain,
        }
    }
}

pub fn write_value(out: &mut Vec<u8>, row: &LiveRow<'_>, form: Form) {
    let text = match (row.value, form) {
        (_, Form::Keys) => return,
        (Live::Register(bytes), _) => return out.extend_from_slice(bytes),
        (Live::Object(text), Form::Plain) => return out.extend_from_slice(text.as_bytes()),
        (Live::Object(text), Form::Stamped) => return write_stamped(out, text, row),
        (Live::Object(text), _) => text.strip_suffix('}').unwrap_or(text),
    };
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(if text.len() > 1 { b",\"_objectId\":" } else { b"\"_objectId\":" });
    write_object_id(out, row.key, form);
    out.extend_from_slice(b",\"_timestamp\":\"");
    row.stamp.write_into(out);
    put_state_id(out, row.state);
    if let Some(prev) = row.prev {
        out.extend_from_slice(b"\",\"_prevTimestamp\":\"");
        prev.write_into(out);
    }
    out.push(b'"');
    out.push(b'}');
}

fn write_stamped(out: &mut Vec<u8>, text: &str, row: &LiveRow<'_>) {
    out.extend_from_slice(text.as_bytes());
    row.stamp.write_into(out);
    put_state_id(out, row.state);
    if let Some(prev) = row.prev {
        prev.write_into(out);
    }
}

fn write_object_id(out: &mut Vec<u8>, key: &[u8], form: Form) {
    let text = if form == Form::Object { std::str::from_utf8(key).ok() } else { None };
    if let Some(text) = text {
        // Writing to a Vec cannot fail.
        let _ = serde_json::to_writer(&mut *out, text);
        return;
    }
    out.push(b'"');
    for byte in key {
        let _ = write!(out, "{byte:02x}");
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Effective, Stamp};

    fn row<'t>(key: &'t [u8], value: Live<'t>, prev: bool) -> LiveRow<'t> {
        let stamp = Stamp { effective: Effective { time: 1 << 32, tick: 2 }, writer: [0xab; 8] };
        LiveRow { version: 1, key, value, stamp, prev: prev.then_some(stamp), state: 0xff }
    }

    fn text(row: &LiveRow<'_>, form: Form) -> String {
        let mut out = Vec::new();
        write_value(&mut out, row, form);
        String::from_utf8(out).unwrap()
    }

    const STAMP: &str = "1970-01-01T00:00:01.000Z-00000000-000000000002-abababababababab";

    #[test]
    fn reserved_properties_stand_last() {
        let expected = format!(
            r#"{{"a":1,"_objectId":"k\"","_timestamp":"{STAMP}-00000000000000ff","_prevTimestamp":"{STAMP}"}}"#
        );
        assert_eq!(text(&row(b"k\"", Live::Object(r#"{"a":1}"#), true), Form::Object), expected);
    }

    #[test]
    fn an_empty_object_gains_no_comma_and_a_binary_key_is_hex() {
        let expected = format!(r#"{{"_objectId":"ff00","_timestamp":"{STAMP}-00000000000000ff"}}"#);
        assert_eq!(text(&row(&[0xff, 0], Live::Object("{}"), false), Form::Object), expected);
        assert_eq!(text(&row(&[0xff, 0], Live::Object("{}"), false), Form::ObjectHex), expected);
    }

    #[test]
    fn stamps_stand_behind_the_text() {
        let expected = format!(r#"{{"a":1}}{STAMP}-00000000000000ff{STAMP}"#);
        assert_eq!(text(&row(b"k", Live::Object(r#"{"a":1}"#), true), Form::Stamped), expected);
    }

    #[test]
    fn where_only_keys_are_asked_for_there_is_no_value() {
        assert_eq!(text(&row(b"k", Live::Object(r#"{"a":1}"#), true), Form::Keys), "");
        assert_eq!(text(&row(b"k", Live::Register(b"{}"), true), Form::Keys), "");
    }

    #[test]
    fn plain_values_and_registers_come_as_they_are() {
        assert_eq!(text(&row(b"k", Live::Object(r#"{"a":1}"#), true), Form::Plain), r#"{"a":1}"#);
        assert_eq!(text(&row(b"k", Live::Register(b"{}"), true), Form::Object), "{}");
    }
}
