use super::errors::{Result, closed, to_js};
use super::number;
use crate::db::{DiffChange, DiffEntry, Diffs};
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

/// A diff as it is published; `lib/diffs.js` makes the object of it.
#[napi(object)]
pub struct NativeDiff {
    pub key: Buffer,
    pub feed: Buffer,
    pub seq: f64,
    pub timestamp: String,
    pub prev: Option<String>,
    /// JSON text of a published list. With neither this nor `register`, it is a delete.
    pub list: Option<String>,
    pub register: Option<Buffer>,
}

impl From<DiffEntry> for NativeDiff {
    fn from(entry: DiffEntry) -> Self {
        let (list, register) = match entry.change {
            DiffChange::List(text) => (Some(text), None),
            DiffChange::Register(bytes) => (None, Some(bytes.into())),
            DiffChange::Delete => (None, None),
        };
        Self {
            key: entry.key.into(),
            feed: entry.feed.0.to_vec().into(),
            seq: number(entry.seq),
            timestamp: entry.stamp.to_string(),
            prev: entry.prev.map(|prev| prev.to_string()),
            list,
            register,
        }
    }
}

/// Diffs being read. It pins nothing between calls.
#[napi]
pub struct NativeDiffs(Option<Diffs>);

impl NativeDiffs {
    pub fn new(diffs: Diffs) -> Self {
        Self(Some(diffs))
    }
}

#[napi]
impl NativeDiffs {
    /// The next diffs, possibly none; null at the end, which also closes.
    #[napi(catch_unwind)]
    pub fn next(&mut self, entries: u32, bytes: u32) -> Result<Option<Vec<NativeDiff>>> {
        let (entries, bytes) = (usize::try_from(entries).unwrap_or(1), usize::try_from(bytes).unwrap_or(1));
        let diffs = self.0.as_mut().ok_or_else(|| closed("this stream"))?;
        let found = diffs.next(entries, bytes).map_err(to_js)?;
        if found.is_none() {
            self.0 = None;
        }
        Ok(found.map(|found| found.into_iter().map(NativeDiff::from).collect()))
    }

    #[napi(catch_unwind)]
    pub fn close(&mut self) {
        self.0 = None;
    }
}
