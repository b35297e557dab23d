//! The value of an entry as JavaScript gets it. An object is delivered as one complete JSON text, the reserved
//! properties written behind the stored ones: JavaScript then parses once and adds nothing, and since the last of equal
//! names wins, no peer's diff can counterfeit them.

use crate::db::ViewEntry;
use std::io::Write as _;

/// How a handle wants its values; the numbers are `lib/entries.js`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Complete objects, `_objectId` being the key as text (hex if it is none).
    Object,
    /// Complete objects, `_objectId` being the key in hex.
    ObjectHex,
    /// The stored bytes.
    Plain,
}

impl From<u32> for Form {
    fn from(number: u32) -> Self {
        match number {
            0 => Form::Object,
            1 => Form::ObjectHex,
            _ => Form::Plain,
        }
    }
}

pub fn write_value(out: &mut Vec<u8>, entry: &ViewEntry, form: Form) {
    let object = if entry.register || form == Form::Plain { None } else { entry.value.strip_suffix(b"}") };
    let Some(properties) = object else {
        out.extend_from_slice(&entry.value);
        return;
    };
    out.extend_from_slice(properties);
    out.extend_from_slice(if properties.len() > 1 { b",\"_objectId\":" } else { b"\"_objectId\":" });
    write_object_id(out, &entry.key, form);
    // Writing to a Vec cannot fail.
    let _ = write!(out, ",\"_timestamp\":\"{}-{:016x}\"", entry.stamp, entry.state);
    if let Some(prev) = entry.prev {
        let _ = write!(out, ",\"_prevTimestamp\":\"{prev}\"");
    }
    out.push(b'}');
}

fn write_object_id(out: &mut Vec<u8>, key: &[u8], form: Form) {
    let text = if form == Form::Object { std::str::from_utf8(key).ok() } else { None };
    if let Some(text) = text {
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

    fn entry(key: &[u8], value: &str, prev: bool) -> ViewEntry {
        let stamp = Stamp { effective: Effective { time: 1 << 32, tick: 2 }, writer: [0xab; 8] };
        let (key, value) = (key.to_vec(), value.as_bytes().to_vec());
        ViewEntry { seq: 1, key, value, register: false, stamp, prev: prev.then_some(stamp), state: 0xff }
    }

    fn text(entry: &ViewEntry, form: Form) -> String {
        let mut out = Vec::new();
        write_value(&mut out, entry, form);
        String::from_utf8(out).unwrap()
    }

    const STAMP: &str = "1970-01-01T00:00:01.000Z-00000000-000000000002-abababababababab";

    #[test]
    fn reserved_properties_stand_last() {
        let expected = format!(
            r#"{{"a":1,"_objectId":"k\"","_timestamp":"{STAMP}-00000000000000ff","_prevTimestamp":"{STAMP}"}}"#
        );
        assert_eq!(text(&entry(b"k\"", r#"{"a":1}"#, true), Form::Object), expected);
    }

    #[test]
    fn an_empty_object_gains_no_comma_and_a_binary_key_is_hex() {
        let expected = format!(r#"{{"_objectId":"ff00","_timestamp":"{STAMP}-00000000000000ff"}}"#);
        assert_eq!(text(&entry(&[0xff, 0], "{}", false), Form::Object), expected);
        assert_eq!(text(&entry(&[0xff, 0], "{}", false), Form::ObjectHex), expected);
    }

    #[test]
    fn plain_values_and_registers_come_as_they_are() {
        assert_eq!(text(&entry(b"k", r#"{"a":1}"#, true), Form::Plain), r#"{"a":1}"#);
        let register = ViewEntry { register: true, ..entry(b"k", "{}", true) };
        assert_eq!(text(&register, Form::Object), "{}");
    }
}
