//! Errors as they cross: the code, a colon, the message; for a mismatch, a line of JSON after it. `lib/errors.js` takes
//! them apart again, because a promise of napi-rs rejects with a status of its own and would lose the code.

use crate::db::{Code, Error, Mismatch};
use crate::types::FeedKey;

pub type Result<T> = napi::Result<T>;

pub fn to_js(error: Error) -> napi::Error {
    napi::Error::from_reason(text(&error))
}

pub fn text(error: &Error) -> String {
    let said = format!("{}: {}", error.code.name(), error.message);
    // The last line is this JSON and nothing of the message: JSON has no line ends of its own.
    match &error.mismatch {
        Some(Mismatch { us, them }) => format!("{said}\n{}", serde_json::json!({ "us": us, "them": them })),
        None => said,
    }
}

pub fn invalid(message: impl Into<String>) -> napi::Error {
    to_js(Error::new(Code::Options, message))
}

pub fn closed(what: &str) -> napi::Error {
    to_js(Error::new(Code::Closed, format!("{what} is closed")))
}

pub fn feed_key(bytes: &[u8]) -> Result<FeedKey> {
    FeedKey::try_from(bytes).map_err(|error| to_js(Error::new(Code::InvalidKey, error.to_string())))
}

pub fn array<const N: usize>(bytes: &[u8], what: &str) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| invalid(format!("{what} is {N} bytes; this has {}", bytes.len())))
}
