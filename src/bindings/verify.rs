use super::errors::{Result, array, closed, to_js};
use super::number;
use super::promise::promise;
use super::store::NativeStore;
use super::wake::Wake;
use crate::db::{Damage, EncryptionKey, Progress, Repaired, Report, VerifyOptions};
use napi::Env;
use napi::bindgen_prelude::{Buffer, BufferSlice, Function, PromiseRaw};
use napi_derive::napi;
use parking_lot::Mutex;
use std::sync::Arc;

#[napi(object)]
pub struct NativeVerifyProgress {
    pub stage: String,
    pub done: f64,
    pub total: f64,
}

#[napi(object)]
pub struct NativeDamage {
    pub stage: String,
    pub page: Option<f64>,
    pub table: Option<String>,
    pub feed: Option<Buffer>,
    pub seq: Option<f64>,
    pub database: Option<String>,
    pub key: Option<Buffer>,
    pub why: String,
}

#[napi(object)]
pub struct NativeReport {
    pub pages: f64,
    pub free_pages: f64,
    pub lost_pages: f64,
    pub feeds: f64,
    pub blocks: f64,
    pub rows: f64,
    pub databases: f64,
    pub sealed: f64,
    pub keys: f64,
    pub damages: Vec<NativeDamage>,
    pub more: f64,
    pub stopped_at: Option<String>,
    pub repair: Option<NativeRepaired>,
}

#[napi(object)]
pub struct NativeRepaired {
    pub done: Vec<String>,
    pub waiting: Vec<NativeDamage>,
    pub remaining: Vec<NativeDamage>,
}

/// A verification under way.
#[napi]
pub struct NativeVerification {
    reply: Option<crate::db::Reply<Report>>,
    last: Arc<Mutex<Option<Progress>>>,
    wake: Wake,
}

#[napi]
impl NativeStore {
    #[napi(catch_unwind)]
    pub fn verify(
        &self,
        repair: bool,
        encryption_key: Option<BufferSlice<'_>>,
        wake: Function<'_, (), ()>,
    ) -> Result<NativeVerification> {
        let key = encryption_key.map(|key| array(&key, "an encryption key")).transpose()?;
        let options = VerifyOptions { repair, encryption_key: key.map(EncryptionKey::new) };
        let wake = Wake::new(wake)?;
        let last: Arc<Mutex<Option<Progress>>> = Arc::default();
        let (told, tell) = (Arc::clone(&last), wake.caller());
        let reply = self.store.verify_with(options, move |progress| {
            *told.lock() = Some(progress);
            tell();
        });
        Ok(NativeVerification { reply: Some(reply), last, wake })
    }
}

#[napi]
impl NativeVerification {
    /// How far it has come; null before it has begun.
    #[napi(catch_unwind)]
    pub fn progress(&self) -> Option<NativeVerifyProgress> {
        self.wake.rearm();
        let progress = (*self.last.lock())?;
        let (done, total) = (number(progress.done), number(progress.total));
        Some(NativeVerifyProgress { stage: progress.stage.name().into(), done, total })
    }

    /// What it found; asked for once.
    #[napi(catch_unwind)]
    pub fn report<'env>(&mut self, env: &'env Env) -> Result<PromiseRaw<'env, NativeReport>> {
        let reply = self.reply.take().ok_or_else(|| closed("the verification"))?;
        promise(env, reply, |reply| reply.map(to_report).map_err(to_js))
    }
}

fn to_report(report: Report) -> NativeReport {
    NativeReport {
        pages: number(report.pages),
        free_pages: number(report.free_pages),
        lost_pages: number(report.lost_pages),
        feeds: number(report.feeds),
        blocks: number(report.blocks),
        rows: number(report.rows),
        databases: number(report.databases),
        sealed: number(report.sealed),
        keys: number(report.keys),
        damages: report.damages.into_iter().map(to_damage).collect(),
        more: number(report.more),
        stopped_at: report.stopped_at.map(|stage| stage.name().into()),
        repair: report.repair.map(|Repaired { done, waiting, remaining }| NativeRepaired {
            done,
            waiting: waiting.into_iter().map(to_damage).collect(),
            remaining: remaining.into_iter().map(to_damage).collect(),
        }),
    }
}

fn to_damage(damage: Damage) -> NativeDamage {
    NativeDamage {
        stage: damage.stage.name().into(),
        page: damage.page.map(number),
        table: damage.table,
        feed: damage.feed.map(|feed| feed.0.to_vec().into()),
        seq: damage.seq.map(number),
        database: damage.database,
        key: damage.key.map(Buffer::from),
        why: damage.why,
    }
}
