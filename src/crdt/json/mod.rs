//! The JSON domain: JavaScript's doubles exactly, -0 as 0, `__proto__` an ordinary name, bounded depth.

mod parse;
mod props;
mod write;

pub use parse::{JsonError, parse, parse_object};
pub use props::Props;
pub(crate) use write::{put_scalar, put_string, put_value};

/// A value without parts. A number is finite and never -0.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Null,
    Bool(bool),
    Number(f64),
    String(String),
}

/// A JSON value as a caller gives it. Equality ignores the order of properties.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Scalar(Scalar),
    Array(Vec<Value>),
    Object(Props<Value>),
}

impl Value {
    /// Nesting: 0 for a scalar, 1 for `{}` and `[]`.
    pub fn depth(&self) -> usize {
        match self {
            Self::Scalar(_) => 0,
            Self::Array(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Object(props) => 1 + props.values().map(Self::depth).max().unwrap_or(0),
        }
    }

    pub fn as_object(&self) -> Option<&Props<Value>> {
        match self {
            Self::Object(props) => Some(props),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Scalar(Scalar::String(text)) => Some(text),
            _ => None,
        }
    }

    pub fn to_text(&self) -> String {
        let mut out = String::new();
        put_value(&mut out, self);
        out
    }

    /// The text with properties sorted by name: equal exactly for equal values.
    pub(crate) fn canonical(&self) -> String {
        let mut out = String::new();
        write::put_sorted(&mut out, self);
        out
    }
}
