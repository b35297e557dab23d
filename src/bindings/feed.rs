use super::database::version;
use super::errors::{Result, to_js};
use super::number;
use super::promise::promise;
use super::wake::Wake;
use crate::db::{Feed, Subscription};
use napi::Env;
use napi::bindgen_prelude::{Buffer, BufferSlice, Function, PromiseRaw};
use napi_derive::napi;

#[napi(object)]
pub struct NativeFeedInfo {
    pub key: Buffer,
    pub discovery_key: Buffer,
    pub writable: bool,
    pub length: f64,
    pub byte_length: f64,
    pub contiguous: f64,
}

/// A raw feed.
#[napi]
pub struct NativeFeed {
    feed: Feed,
    subscription: Option<(Subscription, Wake)>,
}

impl NativeFeed {
    pub fn new(feed: Feed) -> Self {
        Self { feed, subscription: None }
    }
}

#[napi]
impl NativeFeed {
    #[napi(catch_unwind)]
    pub fn info(&self) -> Result<NativeFeedInfo> {
        let info = self.feed.info().map_err(to_js)?;
        Ok(NativeFeedInfo {
            key: info.key.0.to_vec().into(),
            discovery_key: info.discovery_key.to_vec().into(),
            writable: info.writable,
            length: number(info.signed),
            byte_length: number(info.signed_bytes),
            contiguous: number(info.contiguous),
        })
    }

    #[napi(catch_unwind)]
    pub fn get<'env>(&self, env: &'env Env, seq: i64) -> Result<Option<BufferSlice<'env>>> {
        let Ok(seq) = u64::try_from(seq) else { return Ok(None) };
        let block = self.feed.get(seq).map_err(to_js)?;
        block.map(|block| BufferSlice::from_data(env, block)).transpose()
    }

    #[napi(catch_unwind)]
    pub fn has_all(&self, start: f64, end: f64) -> Result<bool> {
        self.feed.has_all(version(start), version(end)).map_err(to_js)
    }

    #[napi(catch_unwind)]
    pub fn want(&self, start: f64, end: f64) -> Result<()> {
        self.feed.want(version(start), version(end)).map_err(to_js)
    }

    #[napi(catch_unwind)]
    pub fn unwant(&self, start: f64, end: f64) {
        self.feed.unwant(version(start), version(end));
    }

    /// Length and byte length after the append. Queued before this returns.
    #[napi(catch_unwind, ts_return_type = "Promise<[number, number]>")]
    pub fn append<'env>(
        &self,
        env: &'env Env,
        blocks: Vec<BufferSlice<'env>>,
    ) -> Result<PromiseRaw<'env, Vec<f64>>> {
        let reply = self.feed.append(blocks.iter().map(|block| block.to_vec()).collect());
        promise(env, reply, |reply| {
            let (length, byte_length) = reply.map_err(to_js)?;
            Ok(vec![number(length), number(byte_length)])
        })
    }

    #[napi(catch_unwind)]
    pub fn tree_hash(&self, length: Option<i64>) -> Result<Buffer> {
        let length = length.and_then(|length| u64::try_from(length).ok());
        self.feed.tree_hash(length).map(|hash| hash.to_vec().into()).map_err(to_js)
    }

    /// `callback` is called after appends, once until `rearm`.
    #[napi(catch_unwind)]
    pub fn subscribe(&mut self, callback: Function<'_, (), ()>) -> Result<()> {
        let wake = Wake::new(callback)?;
        let subscription = self.feed.subscribe(wake.caller()).map_err(to_js)?;
        self.subscription = Some((subscription, wake));
        Ok(())
    }

    #[napi(catch_unwind)]
    pub fn rearm(&self) {
        if let Some((subscription, wake)) = &self.subscription {
            wake.rearm();
            drop(subscription.take());
        }
    }

    #[napi(catch_unwind)]
    pub fn close(&mut self) {
        self.subscription = None;
        self.feed.close();
    }
}
