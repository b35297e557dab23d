//! What a database says of its past: what differs between versions, which version a time had, and the diffs it was
//! folded from.

use super::cursor::{NativeCursor, Source};
use super::database::{NativeDb, NativeRange, bytes, version};
use super::diffs::{NativeDiff, NativeDiffs};
use super::errors::{Result, feed_key, invalid, to_js};
use super::number;
use super::value::Form;
use crate::db::DiffRange;
use crate::types::{Effective, Stamp};
use napi::bindgen_prelude::BufferSlice;
use napi_derive::napi;

#[napi]
impl NativeDb {
    /// Pairs of entries, left and right, of the keys that differ; one that is absent has no value.
    #[napi(catch_unwind)]
    pub fn compare(
        &self,
        left: Option<f64>,
        right: Option<f64>,
        range: NativeRange<'_>,
        form: u32,
    ) -> Result<NativeCursor> {
        let comparison =
            self.db.compare(left.map(version), right.map(version), range.into()).map_err(to_js)?;
        Ok(NativeCursor::new(Source::Comparison(comparison), Form::from(form)))
    }

    /// The last version committed before the end of that millisecond since 1970.
    #[napi(catch_unwind)]
    pub fn version_at(&self, milliseconds: f64) -> Result<f64> {
        self.db.version_at(end_of(milliseconds)).map(number).map_err(to_js)
    }

    /// How much of a feed is placed and was written before the end of that millisecond.
    #[napi(catch_unwind)]
    pub fn feed_length_at(&self, feed: BufferSlice<'_>, milliseconds: f64) -> Result<f64> {
        self.db.feed_length_at(feed_key(&feed)?, end_of(milliseconds)).map(number).map_err(to_js)
    }

    /// A feed's diffs by key: of the single keys, then of `from ..= to`.
    #[napi(catch_unwind)]
    pub fn feed_diffs(
        &self,
        feed: BufferSlice<'_>,
        single: Vec<BufferSlice<'_>>,
        from: BufferSlice<'_>,
        to: Option<BufferSlice<'_>>,
        reverse: bool,
    ) -> Result<NativeDiffs> {
        let single = single.iter().map(|key| key.to_vec()).collect();
        let range = DiffRange { single, from: from.to_vec(), to: bytes(to), reverse };
        self.db.feed_diffs(feed_key(&feed)?, range).map(NativeDiffs::new).map_err(to_js)
    }

    /// A feed's diff of a key with that timestamp, of the blocks below `below`.
    #[napi(catch_unwind)]
    pub fn feed_diff(
        &self,
        feed: BufferSlice<'_>,
        key: BufferSlice<'_>,
        timestamp: String,
        below: f64,
    ) -> Result<Option<NativeDiff>> {
        let stamp = Stamp::parse(&timestamp).map_err(|_| invalid("not a timestamp"))?;
        let found = self.db.feed_diff(feed_key(&feed)?, &key, stamp, version(below)).map_err(to_js)?;
        Ok(found.map(NativeDiff::from))
    }

    /// A feed's diffs of blocks `from .. to`.
    #[napi(catch_unwind)]
    pub fn feed_history(
        &self,
        feed: BufferSlice<'_>,
        from: f64,
        to: f64,
        reverse: bool,
    ) -> Result<NativeDiffs> {
        let diffs = self.db.feed_history(feed_key(&feed)?, version(from), version(to), reverse);
        diffs.map(NativeDiffs::new).map_err(to_js)
    }

    /// All diffs of a key, in the shared order, from the effective time of `timestamp` on.
    #[napi(catch_unwind)]
    pub fn key_diffs(&self, key: BufferSlice<'_>, timestamp: Option<String>) -> Result<NativeDiffs> {
        let from = match timestamp {
            Some(text) => Stamp::parse(&text).map_err(|_| invalid("not a timestamp"))?.effective,
            None => Effective::default(),
        };
        self.db.key_diffs(&key, from).map(NativeDiffs::new).map_err(to_js)
    }
}

/// The last NTP64 of a millisecond since 1970.
fn end_of(milliseconds: f64) -> u64 {
    let end = version(milliseconds).saturating_add(1);
    u64::try_from((u128::from(end) << 32).div_ceil(1_000)).unwrap_or(u64::MAX).saturating_sub(1)
}
