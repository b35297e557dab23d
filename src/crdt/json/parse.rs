//! Text to [`Value`]: `serde_json` reads, this builds the domain's values and bounds how deep they nest.

use super::{Props, Scalar, Value};
use crate::codec::limits::MAX_JSON_DEPTH;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("the value is nested deeper than {limit} levels")]
    TooDeep { limit: usize },
    /// No JSON, half of a surrogate pair, or a number beyond the range of a double; `serde_json` says which and where.
    #[error("not a JSON value: {reason}")]
    Malformed { reason: String },
    #[error("the value is not an object")]
    NotAnObject,
}

/// Reads a stored value: an object, nested at most [`MAX_JSON_DEPTH`] levels.
pub fn parse_object(text: &str) -> Result<Value, JsonError> {
    match parse(text, MAX_JSON_DEPTH)? {
        object @ Value::Object(_) => Ok(object),
        _ => Err(JsonError::NotAnObject),
    }
}

/// Reads any value nested at most `limit` levels; recursion goes no deeper.
pub fn parse(text: &str, limit: usize) -> Result<Value, JsonError> {
    let too_deep = Cell::new(false);
    let mut reader = serde_json::Deserializer::from_str(text);
    // Ours takes its place: diff lists nest deeper than the fixed one.
    reader.disable_recursion_limit();
    let read = Level { left: limit, too_deep: &too_deep }.deserialize(&mut reader);
    read.and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        if too_deep.get() {
            JsonError::TooDeep { limit }
        } else {
            JsonError::Malformed { reason: error.to_string() }
        }
    })
}

/// A value with at most `left` levels.
#[derive(Clone, Copy)]
struct Level<'a> {
    left: usize,
    too_deep: &'a Cell<bool>,
}

impl Level<'_> {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        let left = self.left.checked_sub(1).ok_or_else(|| {
            self.too_deep.set(true);
            E::custom("nested too deep")
        })?;
        Ok(Self { left, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Bool(value)))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "JavaScript's numbers are doubles: the nearest one is meant"
    )]
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Number(value as f64)))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "JavaScript's numbers are doubles: the nearest one is meant"
    )]
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Number(value as f64)))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        match value {
            // -0 and 0 are one value.
            0.0 => Ok(Value::Scalar(Scalar::Number(0.0))),
            value if value.is_finite() => Ok(Value::Scalar(Scalar::Number(value))),
            _ => Err(E::custom("number out of range")),
        }
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::String(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut found = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            found.push(item);
        }
        Ok(Value::Array(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut found = Vec::new();
        while let Some(name) = pairs.next_key()? {
            found.push((name, pairs.next_value_seed(below)?));
        }
        Ok(Value::Object(Props::from_pairs(found)))
    }
}
