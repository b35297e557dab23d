//! Text to [`Value`], in one pass. Not `serde_json`: diff lists nest deeper than its fixed limit, and callers are
//! told apart which of the domain's rules a text breaks.

use super::{Props, Scalar, Value};
use crate::codec::limits::MAX_JSON_DEPTH;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("the value is nested deeper than {limit} levels")]
    TooDeep { limit: usize },
    #[error("a string has half of a surrogate pair at byte {at}")]
    LoneSurrogate { at: usize },
    #[error("the number at byte {at} is beyond the range of a double")]
    NumberRange { at: usize },
    #[error("not JSON at byte {at}: expected {expected}")]
    Malformed { at: usize, expected: &'static str },
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
    let mut parser = Parser { text, at: 0, limit };
    parser.space();
    let value = parser.value(0)?;
    parser.space();
    if parser.at == text.len() { Ok(value) } else { Err(parser.expected("the end")) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    limit: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expected(&self, expected: &'static str) -> JsonError {
        JsonError::Malformed { at: self.at, expected }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => Ok(Value::Scalar(Scalar::String(self.string()?))),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Scalar::Bool(true)),
            Some(b'f') => self.word("false", Scalar::Bool(false)),
            Some(b'n') => self.word("null", Scalar::Null),
            _ => Err(self.expected("a value")),
        }
    }

    fn word(&mut self, word: &'static str, scalar: Scalar) -> Result<Value, JsonError> {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            Ok(Value::Scalar(scalar))
        } else {
            Err(self.expected(word))
        }
    }

    fn enter(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth > self.limit {
            return Err(JsonError::TooDeep { limit: self.limit });
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.enter(depth)?;
        let mut items = Vec::new();
        if self.eat(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.space();
            if self.eat(b']') {
                return Ok(Value::Array(items));
            }
            if !self.eat(b',') {
                return Err(self.expected("`,` or `]`"));
            }
            self.space();
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.enter(depth)?;
        let mut pairs = Vec::new();
        if self.eat(b'}') {
            return Ok(Value::Object(Props::default()));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.expected("a property name"));
            }
            let name = self.string()?;
            self.space();
            if !self.eat(b':') {
                return Err(self.expected("`:`"));
            }
            self.space();
            pairs.push((name, self.value(depth)?));
            self.space();
            if self.eat(b'}') {
                return Ok(Value::Object(Props::from_pairs(pairs)));
            }
            if !self.eat(b',') {
                return Err(self.expected("`,` or `}`"));
            }
            self.space();
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            let _sign = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        match text.parse::<f64>() {
            // -0 and 0 are one value.
            Ok(0.0) => Ok(Value::Scalar(Scalar::Number(0.0))),
            Ok(number) if number.is_finite() => Ok(Value::Scalar(Scalar::Number(number))),
            _ => Err(JsonError::NumberRange { at: start }),
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let start = self.at;
            while self.peek().is_some_and(|byte| byte != b'"' && byte != b'\\' && byte >= b' ') {
                self.at += 1;
            }
            out.push_str(self.text.get(start..self.at).unwrap_or_default());
            if self.eat(b'"') {
                return Ok(out);
            }
            if !self.eat(b'\\') {
                return Err(self.expected("`\"`"));
            }
            out.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let char = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.expected("an escape")),
        };
        self.at += 1;
        Ok(char)
    }

    fn unicode(&mut self) -> Result<char, JsonError> {
        let start = self.at.saturating_sub(1);
        let unit = self.unit()?;
        if let Some(char) = char::from_u32(unit) {
            return Ok(char);
        }
        if unit < 0xdc00 && self.eat(b'\\') && self.peek() == Some(b'u') {
            let low = self.unit()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return char::from_u32(code).ok_or(JsonError::LoneSurrogate { at: start });
            }
        }
        Err(JsonError::LoneSurrogate { at: start })
    }

    /// `u` and four hex digits.
    fn unit(&mut self) -> Result<u32, JsonError> {
        self.at += 1;
        let digits = self.text.get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or(self.expected("four hex digits"))?;
        self.at += 4;
        Ok(unit)
    }
}
