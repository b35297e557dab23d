//! Compaction under way, and versions that are held.

use super::database::{NativeDb, version};
use super::errors::{Result, closed, to_js};
use super::number;
use super::promise::promise;
use super::store::NativeStore;
use super::wake::Wake;
use crate::db::{CompactProgress, Compacted, Compaction, Held, Keep, StoreCompacted};
use napi::Env;
use napi::bindgen_prelude::{Function, PromiseRaw};
use napi_derive::napi;
use parking_lot::Mutex;
use std::sync::Arc;

#[napi(object)]
pub struct NativeCompactProgress {
    pub stage: String,
    pub done: f64,
    pub total: f64,
}

/// Of a database: versions dropped, and the oldest that is kept. Of a store: versions dropped, and the file's length
/// before and after.
#[napi(object)]
pub struct NativeCompacted {
    pub versions: f64,
    pub oldest: Option<f64>,
    pub before: Option<f64>,
    pub after: Option<f64>,
}

enum Running {
    Database(Compaction<Compacted>),
    Store(Compaction<StoreCompacted>),
}

#[napi]
pub struct NativeCompaction {
    running: Running,
    last: Arc<Mutex<Option<CompactProgress>>>,
    wake: Wake,
}

/// A version that stays readable until this is closed or collected.
#[napi]
pub struct NativePin {
    held: Option<Held>,
    version: u64,
}

#[napi]
impl NativePin {
    #[napi(getter, catch_unwind)]
    pub fn version(&self) -> f64 {
        number(self.version)
    }

    #[napi(catch_unwind)]
    pub fn close(&mut self) {
        self.held = None;
    }
}

/// 0: all.
pub(super) fn keep(versions: f64) -> Keep {
    match version(versions) {
        0 => Keep::All,
        versions => Keep::Versions(versions),
    }
}

type Told = Arc<Mutex<Option<CompactProgress>>>;

fn teller(wake: &Wake) -> (Told, impl FnMut(CompactProgress) + Send + use<>) {
    let last = Told::default();
    let (told, tell) = (Arc::clone(&last), wake.caller());
    let progress = move |progress| {
        *told.lock() = Some(progress);
        tell();
    };
    (last, progress)
}

#[napi]
impl NativeDb {
    /// Keeps a version readable; none: the newest.
    #[napi(catch_unwind)]
    pub fn hold(&self, at: Option<f64>) -> Result<NativePin> {
        let held = self.db.hold(at.map(version)).map_err(to_js)?;
        Ok(NativePin { version: held.version(), held: Some(held) })
    }

    /// The oldest version that can be read; 0 or 1: all can.
    #[napi(catch_unwind)]
    pub fn oldest_version(&self) -> Result<f64> {
        self.db.oldest_version().map(number).map_err(to_js)
    }

    /// `versions`: kept this time, 0 for all; none: what the handles say.
    #[napi(catch_unwind)]
    pub fn compact(&self, versions: Option<f64>, wake: Function<'_, (), ()>) -> Result<NativeCompaction> {
        let wake = Wake::new(wake)?;
        let (last, progress) = teller(&wake);
        let running = Running::Database(self.db.compact(versions.map(keep), progress));
        Ok(NativeCompaction { running, last, wake })
    }
}

#[napi]
impl NativeStore {
    #[napi(catch_unwind)]
    pub fn compact(&self, wake: Function<'_, (), ()>) -> Result<NativeCompaction> {
        let wake = Wake::new(wake)?;
        let (last, progress) = teller(&wake);
        Ok(NativeCompaction { running: Running::Store(self.store.compact(progress)), last, wake })
    }
}

#[napi]
impl NativeCompaction {
    /// How far it has come; null before it has begun.
    #[napi(catch_unwind)]
    pub fn progress(&self) -> Option<NativeCompactProgress> {
        self.wake.rearm();
        let CompactProgress { stage, done, total } = (*self.last.lock())?;
        Some(NativeCompactProgress { stage: stage.name().into(), done: number(done), total: number(total) })
    }

    /// Ends it early: what was done stays done.
    #[napi(catch_unwind)]
    pub fn stop(&self) {
        match &self.running {
            Running::Database(compaction) => compaction.stop(),
            Running::Store(compaction) => compaction.stop(),
        }
    }

    /// What it has done; asked for once.
    #[napi(catch_unwind)]
    pub fn report<'env>(&mut self, env: &'env Env) -> Result<PromiseRaw<'env, NativeCompacted>> {
        let gone = || closed("the compaction");
        match &mut self.running {
            Running::Database(compaction) => {
                let reply = compaction.reply().ok_or_else(gone)?;
                promise(env, reply, |reply| reply.map(of_database).map_err(to_js))
            }
            Running::Store(compaction) => {
                let reply = compaction.reply().ok_or_else(gone)?;
                promise(env, reply, |reply| reply.map(of_store).map_err(to_js))
            }
        }
    }
}

fn of_database(Compacted { versions, oldest }: Compacted) -> NativeCompacted {
    NativeCompacted { versions: number(versions), oldest: Some(number(oldest)), before: None, after: None }
}

fn of_store(StoreCompacted { versions, before, after }: StoreCompacted) -> NativeCompacted {
    let (before, after) = (Some(number(before)), Some(number(after)));
    NativeCompacted { versions: number(versions), oldest: None, before, after }
}
