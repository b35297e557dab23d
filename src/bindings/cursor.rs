use super::errors::{Result, closed, to_js};
use super::number;
use super::packed;
use super::value::Form;
use crate::db::{History, Scan};
use napi::Env;
use napi::bindgen_prelude::BufferSlice;
use napi_derive::napi;

pub enum Source {
    Scan(Scan),
    History(History),
}

/// A read in progress: entries in packed chunks, pulled. It pins nothing between calls.
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
    /// The version read at; 0 for a history.
    #[napi(getter, catch_unwind)]
    pub fn version(&self) -> f64 {
        number(self.version)
    }

    /// The next packed entries; null at the end, which also closes.
    #[napi(catch_unwind)]
    pub fn next<'env>(
        &mut self,
        env: &'env Env,
        entries: u32,
        bytes: u32,
    ) -> Result<Option<BufferSlice<'env>>> {
        let (entries, bytes) = (usize::try_from(entries).unwrap_or(1), usize::try_from(bytes).unwrap_or(1));
        let packed = match self.source.as_mut().ok_or_else(|| closed("this stream"))? {
            Source::Scan(scan) => {
                let found = scan.next(entries, bytes).map_err(to_js)?;
                (!found.is_empty()).then(|| packed::write_entries(&found, self.form))
            }
            Source::History(history) => {
                let found = history.next(entries, bytes).map_err(to_js)?;
                (!found.is_empty()).then(|| packed::write_history(&found, self.form))
            }
        };
        if packed.is_none() {
            self.source = None;
        }
        packed.map(|packed| BufferSlice::from_data(env, packed)).transpose()
    }

    #[napi(catch_unwind)]
    pub fn close(&mut self) {
        self.source = None;
    }
}
