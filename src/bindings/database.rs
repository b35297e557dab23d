use super::conflicts::NativeConflict;
use super::cursor::{NativeCursor, Source};
use super::errors::{Result, array, feed_key, invalid, to_js};
use super::event::NativeEvent;
use super::number;
use super::packed::{self, EntryPacker};
use super::peer::{NativePeer, NativePeerOptions};
use super::promise::promise;
use super::value::Form;
use super::wake::Wake;
use crate::db::{DatabaseOptions, Db, DbStats, DbStatus, EncryptionKey, Range, RelayLimits, Subscription};
use napi::Env;
use napi::bindgen_prelude::{Buffer, BufferSlice, Function, PromiseRaw, spawn_blocking};
use napi_derive::napi;
use std::time::Duration;

#[napi(object)]
pub struct NativeDbOptions<'env> {
    pub name: Option<String>,
    pub key: Option<BufferSlice<'env>>,
    pub key_encoding: String,
    pub value_encoding: String,
    pub secret: Option<BufferSlice<'env>>,
    pub encryption_key: Option<BufferSlice<'env>>,
    pub open: bool,
    pub apply: bool,
    pub optimistic: bool,
    /// There: a relay. How many feeds and bytes it keeps.
    pub relay: Option<Vec<f64>>,
    pub max_drift: f64,
    /// Versions that stay readable; 0: all; none: not said.
    pub history: Option<f64>,
}

impl NativeDbOptions<'_> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and this only reports"
    )]
    pub fn checked(self) -> Result<DatabaseOptions> {
        Ok(DatabaseOptions {
            name: self.name,
            key: self.key.map(|key| feed_key(&key)).transpose()?,
            key_encoding: self.key_encoding,
            value_encoding: self.value_encoding,
            secret: self.secret.map(|secret| array(&secret, "a secret seed")).transpose()?,
            encryption_key: self
                .encryption_key
                .map(|key| array(&key, "an encryption key").map(EncryptionKey::new))
                .transpose()?,
            open: self.open,
            apply: self.apply,
            optimistic: self.optimistic,
            relay: self.relay.map(|limits| relay_limits(&limits)),
            max_drift: Duration::from_millis(self.max_drift as u64),
            history: self.history.map(super::compact::keep),
        })
    }
}

/// What is not given is as by default.
fn relay_limits(given: &[f64]) -> RelayLimits {
    let RelayLimits { feeds, bytes } = RelayLimits::default();
    let at = |at: usize, default| given.get(at).map_or(default, |limit| version(*limit));
    RelayLimits { feeds: at(0, feeds), bytes: at(1, bytes) }
}

#[napi(object)]
pub struct NativeDbInfo {
    pub name: String,
    pub key: Buffer,
    pub discovery_key: Buffer,
    pub local: Buffer,
    pub key_encoding: String,
    pub value_encoding: String,
    pub encrypted: bool,
    pub apply: bool,
    pub optimistic: bool,
}

#[napi(object)]
pub struct NativeRange<'env> {
    pub gt: Option<BufferSlice<'env>>,
    pub gte: Option<BufferSlice<'env>>,
    pub lt: Option<BufferSlice<'env>>,
    pub lte: Option<BufferSlice<'env>>,
    pub reverse: bool,
    pub limit: Option<f64>,
}

impl From<NativeRange<'_>> for Range {
    fn from(range: NativeRange<'_>) -> Self {
        Range {
            gt: bytes(range.gt),
            gte: bytes(range.gte),
            lt: bytes(range.lt),
            lte: bytes(range.lte),
            reverse: range.reverse,
            limit: range.limit.map(version),
        }
    }
}

#[napi(object)]
pub struct NativeStats {
    pub merged: f64,
    pub folded: f64,
    pub searched: f64,
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates; JavaScript checked it"
)]
pub(super) fn version(value: f64) -> u64 {
    value as u64
}

pub(super) fn bytes(slice: Option<BufferSlice<'_>>) -> Option<Vec<u8>> {
    slice.map(|slice| slice.to_vec())
}

/// One handle on an open database.
#[napi]
pub struct NativeDb {
    pub(super) db: Db,
    /// Where `get_into` packs, kept so that a read allocates nothing.
    packed: Vec<u8>,
    subscription: Option<(Subscription, Wake)>,
}

impl NativeDb {
    pub fn new(db: Db) -> Self {
        Self { db, packed: Vec::new(), subscription: None }
    }

    fn status(&self) -> DbStatus {
        self.db.status().unwrap_or_default()
    }
}

#[napi]
impl NativeDb {
    #[napi(catch_unwind)]
    pub fn info(&self) -> Result<NativeDbInfo> {
        let info = self.db.info().map_err(to_js)?;
        Ok(NativeDbInfo {
            name: info.name,
            key: info.key.0.to_vec().into(),
            discovery_key: info.discovery_key.to_vec().into(),
            local: info.local.0.to_vec().into(),
            key_encoding: info.key_encoding,
            value_encoding: info.value_encoding,
            encrypted: info.encrypted,
            apply: info.apply,
            optimistic: info.optimistic,
        })
    }

    #[napi(catch_unwind)]
    pub fn version(&self) -> f64 {
        number(self.status().version)
    }

    #[napi(catch_unwind)]
    pub fn stats(&self) -> NativeStats {
        let DbStats { merged, folded, searched } = self.db.stats().unwrap_or_default();
        NativeStats { merged: number(merged), folded: number(folded), searched: number(searched) }
    }

    /// 1: writable, 2: indexer, added up.
    #[napi(catch_unwind)]
    pub fn rights(&self) -> u32 {
        let status = self.status();
        u32::from(status.writable) + 2 * u32::from(status.indexer)
    }

    #[napi(catch_unwind)]
    pub fn close<'env>(&mut self, env: &'env Env) -> Result<PromiseRaw<'env, ()>> {
        self.subscription = None;
        let reply = self.db.close();
        promise(env, reply, |reply| reply.map_err(to_js))
    }

    /// The entry of the key that stands in `scratch[..key_length]`, packed over it: seq u64, flags u8, value.
    /// -1: none; -2: it does not fit, ask `get_many`.
    #[napi(catch_unwind)]
    pub fn get_into(
        &mut self,
        mut scratch: BufferSlice<'_>,
        key_length: u32,
        form: u32,
        at: Option<f64>,
    ) -> Result<i32> {
        let key = usize::try_from(key_length).ok().and_then(|length| scratch.get(..length));
        let key = key.ok_or_else(|| invalid("the key does not fit its scratch"))?;
        let Self { db, packed, .. } = self;
        packed.clear();
        let found = db
            .get(key, at.map(version), |row| packed::write_row(packed, row, Form::from(form)))
            .map_err(to_js)?;
        if found.is_none() {
            return Ok(-1);
        }
        if let Some(place) = scratch.get_mut(..packed.len()) {
            place.copy_from_slice(packed);
            return Ok(i32::try_from(packed.len()).unwrap_or(-2));
        }
        // One large value is no reason to hold on to so much.
        *packed = Vec::new();
        Ok(-2)
    }

    /// Packed entries of many keys (`count u32`, then `bytes` each), in one crossing: what is absent has no value.
    #[napi(catch_unwind)]
    pub fn get_many<'env>(
        &self,
        env: &'env Env,
        keys: Vec<BufferSlice<'env>>,
        form: u32,
        at: Option<f64>,
    ) -> Result<BufferSlice<'env>> {
        let mut packer = EntryPacker::new(Form::from(form));
        for key in &keys {
            if self.db.get(key, at.map(version), |row| packer.live(row)).map_err(to_js)?.is_none() {
                packer.add(0, &[], None);
            }
        }
        BufferSlice::from_data(env, packer.finish())
    }

    #[napi(catch_unwind)]
    pub fn scan(&self, range: NativeRange<'_>, form: u32, at: Option<f64>) -> Result<NativeCursor> {
        let scan = self.db.scan(range.into(), at.map(version)).map_err(to_js)?;
        Ok(NativeCursor::new(Source::Scan(scan), Form::from(form)))
    }

    /// Entries of versions `from..=to`, of keys that begin with `prefix`.
    #[napi(catch_unwind)]
    pub fn history(
        &self,
        prefix: BufferSlice<'_>,
        from: f64,
        to: Option<f64>,
        reverse: bool,
        form: u32,
    ) -> Result<NativeCursor> {
        let history = self.db.history_of(&prefix, version(from), to.map(version), reverse).map_err(to_js)?;
        Ok(NativeCursor::new(Source::History(history), Form::from(form)))
    }

    #[napi(catch_unwind)]
    pub fn conflicts(&self, key: BufferSlice<'_>) -> Result<Vec<NativeConflict>> {
        let conflicts = self.db.conflicts(&key).map_err(to_js)?;
        Ok(conflicts.into_iter().map(NativeConflict::from).collect())
    }

    /// On a pool thread: it may have a long way to go.
    #[napi(catch_unwind)]
    pub fn state_hash<'env>(&self, env: &'env Env) -> Result<PromiseRaw<'env, Buffer>> {
        let db = self.db.clone();
        env.spawn_future(async move {
            let hash = spawn_blocking(move || db.state_hash()).await;
            let hash = hash.map_err(|error| invalid(format!("the state hash was given up: {error}")))?;
            hash.map(|hash| hash.to_vec().into()).map_err(to_js)
        })
    }

    /// Packed writes in, packed results out. Queued before this returns; the promise holds the event loop.
    #[napi(catch_unwind)]
    pub fn write<'env>(&self, env: &'env Env, writes: BufferSlice<'env>) -> Result<PromiseRaw<'env, Buffer>> {
        let writes = packed::read_writes(&writes).ok_or_else(|| invalid("malformed packed writes"))?;
        let reply = self.db.write(writes);
        promise(env, reply, |reply| Ok(packed::write_results(reply.map_err(to_js)?).into()))
    }

    /// `callback` is called when there are events, once until they are taken.
    #[napi(catch_unwind)]
    pub fn subscribe(&mut self, callback: Function<'_, (), ()>) -> Result<()> {
        let wake = Wake::new(callback)?;
        let subscription = self.db.subscribe(wake.caller()).map_err(to_js)?;
        self.subscription = Some((subscription, wake));
        Ok(())
    }

    #[napi(catch_unwind)]
    pub fn take_events(&self) -> Vec<NativeEvent> {
        let Some((subscription, wake)) = &self.subscription else { return Vec::new() };
        wake.rearm();
        subscription.take().into_iter().map(NativeEvent::from).collect()
    }

    #[napi(catch_unwind)]
    pub fn replicate(
        &self,
        options: NativePeerOptions<'_>,
        wake: Function<'_, (), ()>,
    ) -> Result<NativePeer> {
        NativePeer::open(Wake::new(wake)?, &options, |options| self.db.replicate(options))
    }
}
