use super::errors::{Result, closed, to_js};
use super::number;
use super::packed::EntryPacker;
use super::value::Form;
use crate::db::{Comparison, History, Scan};
use napi::Env;
use napi::bindgen_prelude::BufferSlice;
use napi_derive::napi;

pub enum Source {
    Scan(Scan),
    History(History),
    Comparison(Comparison),
}

/// A read in progress: entries in packed chunks, pulled. Between calls it holds its version, and no pages.
#[napi]
pub struct NativeCursor {
    source: Option<Source>,
    form: Form,
    version: u64,
}

impl NativeCursor {
    pub fn new(source: Source, form: Form) -> Self {
        let version = if let Source::Scan(scan) = &source { scan.version() } else { 0 };
        Self { source: Some(source), form, version }
    }
}

#[napi]
impl NativeCursor {
    /// The version read at; 0 for a history or a comparison, whose entries come in pairs.
    #[napi(getter, catch_unwind)]
    pub fn version(&self) -> f64 {
        number(self.version)
    }

    /// The next packed entries, possibly none: what one slice of time finds. Null at the end, which also closes.
    #[napi(catch_unwind)]
    pub fn next<'env>(
        &mut self,
        env: &'env Env,
        entries: u32,
        bytes: u32,
    ) -> Result<Option<BufferSlice<'env>>> {
        let (entries, bytes) = (usize::try_from(entries).unwrap_or(1), usize::try_from(bytes).unwrap_or(1));
        let source = self.source.as_mut().ok_or_else(|| closed("this stream"))?;
        let mut packer = EntryPacker::new(self.form);
        let more = match source {
            Source::Scan(scan) => scan.visit(entries, bytes, |row| packer.live(row)),
            Source::History(history) => {
                history.visit(entries, bytes, |seq, key, row| packer.add(seq, key, row))
            }
            Source::Comparison(comparison) => comparison.visit(entries, bytes, |left, right| {
                for row in [left, right] {
                    packer.add(row.map_or(0, |row| row.version), row.map_or(&[], |row| row.key), row);
                }
            }),
        }
        .map_err(to_js)?;
        if packer.is_empty() && !more {
            self.source = None;
            return Ok(None);
        }
        BufferSlice::from_data(env, packer.finish()).map(Some)
    }

    #[napi(catch_unwind)]
    pub fn close(&mut self) {
        self.source = None;
    }
}
