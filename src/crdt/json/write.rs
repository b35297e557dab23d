use std::fmt::Write as _;

use super::{Scalar, Value};

/// JavaScript writes numbers outside this range with an exponent.
const PLAIN: std::ops::Range<f64> = 1e-6..1e21;

pub(crate) fn put_value(out: &mut String, value: &Value) {
    put(out, value, false);
}

pub(super) fn put_sorted(out: &mut String, value: &Value) {
    put(out, value, true);
}

fn put(out: &mut String, value: &Value, sorted: bool) {
    match value {
        Value::Scalar(scalar) => put_scalar(out, scalar),
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                put(out, item, sorted);
            }
            out.push(']');
        }
        Value::Object(props) => {
            let mut pairs: Vec<_> = props.iter().collect();
            if sorted {
                pairs.sort_unstable_by_key(|(name, _)| *name);
            }
            out.push('{');
            for (place, (name, value)) in pairs.into_iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                put_string(out, name);
                out.push(':');
                put(out, value, sorted);
            }
            out.push('}');
        }
    }
}

pub(crate) fn put_scalar(out: &mut String, scalar: &Scalar) {
    match scalar {
        Scalar::Null => out.push_str("null"),
        Scalar::Bool(true) => out.push_str("true"),
        Scalar::Bool(false) => out.push_str("false"),
        Scalar::Number(number) => put_number(out, *number),
        Scalar::String(text) => put_string(out, text),
    }
}

/// The text `JSON.stringify` gives: the shortest digits that read back as this double.
fn put_number(out: &mut String, number: f64) {
    if number == 0.0 {
        out.push('0');
    } else if PLAIN.contains(&number.abs()) {
        // Writing to a `String` does not fail.
        let _ = write!(out, "{number}");
    } else {
        let text = format!("{number:e}");
        match text.split_once('e') {
            Some((digits, power)) if !power.starts_with('-') => {
                let _ = write!(out, "{digits}e+{power}");
            }
            _ => out.push_str(&text),
        }
    }
}

pub(crate) fn put_string(out: &mut String, text: &str) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
}
