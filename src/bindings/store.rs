use super::database::{NativeDb, NativeDbOptions};
use super::errors::{Result, array, feed_key, to_js};
use super::feed::NativeFeed;
use super::peer::{NativePeer, NativePeerOptions};
use super::promise::promise;
use super::wake::Wake;
use crate::db::{FeedChoice, Location, Store, StoreOptions};
use napi::Env;
use napi::bindgen_prelude::{BufferSlice, Function, PromiseRaw};
use napi_derive::napi;

/// One handle on a store.
#[napi]
pub struct NativeStore {
    pub(super) store: Store,
}

#[napi]
impl NativeStore {
    /// `path` null: a private temporary store.
    #[napi(catch_unwind)]
    pub fn open(env: &Env, path: Option<String>, read_only: bool) -> Result<PromiseRaw<'_, NativeStore>> {
        let location = path.map_or(Location::Memory, |path| Location::Path(path.into()));
        env.spawn_future(async move {
            let opening = napi::bindgen_prelude::spawn_blocking(move || {
                Store::open(&location, &StoreOptions { read_only, ..StoreOptions::default() })
            });
            let store = opening.await.map_err(|error| napi::Error::from_reason(error.to_string()))?;
            Ok(NativeStore { store: store.map_err(to_js)? })
        })
    }

    #[napi(catch_unwind)]
    pub fn close<'env>(&self, env: &'env Env) -> Result<PromiseRaw<'env, ()>> {
        let reply = self.store.close();
        promise(env, reply, |reply| reply.map_err(to_js))
    }

    /// Copies what is committed now into the directory `path`.
    #[napi(catch_unwind)]
    pub fn backup<'env>(&self, env: &'env Env, path: String) -> Result<PromiseRaw<'env, ()>> {
        let reply = self.store.backup(path.into());
        promise(env, reply, |reply| reply.map_err(to_js))
    }

    /// Nothing newer than this store exists anywhere.
    #[napi(catch_unwind)]
    pub fn resume<'env>(&self, env: &'env Env) -> Result<PromiseRaw<'env, ()>> {
        let reply = self.store.resume();
        promise(env, reply, |reply| reply.map_err(to_js))
    }

    #[napi(catch_unwind)]
    pub fn database<'env>(
        &self,
        env: &'env Env,
        options: NativeDbOptions<'env>,
    ) -> Result<PromiseRaw<'env, NativeDb>> {
        let reply = self.store.database(options.checked()?);
        promise(env, reply, |reply| reply.map(NativeDb::new).map_err(to_js))
    }

    /// Exactly one of the three.
    #[napi(catch_unwind)]
    pub fn feed<'env>(
        &self,
        env: &'env Env,
        key: Option<BufferSlice<'env>>,
        name: Option<String>,
        secret: Option<BufferSlice<'env>>,
    ) -> Result<PromiseRaw<'env, NativeFeed>> {
        let choice = match (key, name, secret) {
            (Some(key), ..) => FeedChoice::Key(feed_key(&key)?),
            (None, _, Some(secret)) => FeedChoice::Secret(array(&secret, "a secret seed")?),
            (None, name, None) => FeedChoice::Name(name.unwrap_or_default()),
        };
        let reply = self.store.feed(choice);
        promise(env, reply, |reply| reply.map(NativeFeed::new).map_err(to_js))
    }

    #[napi(catch_unwind)]
    pub fn replicate(
        &self,
        options: NativePeerOptions<'_>,
        wake: Function<'_, (), ()>,
    ) -> Result<NativePeer> {
        NativePeer::open(Wake::new(wake)?, &options, |options| self.store.replicate(options))
    }
}
