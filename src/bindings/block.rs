use super::database::version;
use super::errors::{Result, feed_key, to_js};
use crate::db::{Code, Error};
use crate::entry::{BatchHead, Entry, Op, Place};
use crate::types::Link;
use napi::bindgen_prelude::{Buffer, BufferSlice};
use napi_derive::napi;

#[cfg_attr(test, allow(dead_code, reason = "a test build registers no exports"))]
#[napi(object)]
pub struct NativeLink<'a> {
    pub key: BufferSlice<'a>,
    pub length: f64,
}

/// A block that says a value: a batch of its own.
#[cfg_attr(test, allow(dead_code, reason = "a test build registers no exports"))]
#[napi(catch_unwind)]
pub fn encode_block(value: BufferSlice<'_>, milliseconds: f64, links: Vec<NativeLink<'_>>) -> Result<Buffer> {
    let mut read = Vec::with_capacity(links.len());
    for NativeLink { key, length } in links {
        read.push(Link { feed: feed_key(&key)?, length: version(length), root: [0; 16] });
    }
    read.sort_by_key(|link| link.feed);
    let timestamp = u64::try_from((u128::from(version(milliseconds)) << 32) / 1_000).unwrap_or(u64::MAX);
    let place = Place::First(BatchHead { timestamp, length: 1, links: read, optimistic: false });
    let block = Entry { place, op: Op::Value(&value) }.encode();
    // What is encoded can be decoded: twice the same feed, or more links than a batch may have, cannot.
    match Entry::decode(&block) {
        Ok(_) => Ok(block.into()),
        Err(error) => Err(no_block(format!("value and links cannot be a block: {error}"))),
    }
}

/// The value that a block says; null if it says something else.
#[cfg_attr(test, allow(dead_code, reason = "a test build registers no exports"))]
#[napi(catch_unwind)]
pub fn decode_block(block: BufferSlice<'_>) -> Result<Option<Buffer>> {
    match Entry::decode(&block) {
        Ok(Entry { op: Op::Value(value), .. }) => Ok(Some(value.to_vec().into())),
        Ok(_) => Ok(None),
        Err(error) => Err(no_block(error.to_string())),
    }
}

fn no_block(message: String) -> napi::Error {
    to_js(Error::new(Code::InvalidValue, message))
}
