//! Replies of the core as promises. The thread that answers settles the promise itself: a runtime between the two would
//! cost two more switches of threads for each write that somebody waits for.

use super::errors::Result;
use crate::db::{Error, Reply};
use futures::task::{ArcWake, waker};
use napi::bindgen_prelude::{JsValue as _, PromiseRaw, ToNapiValue};
use napi::{Env, JsDeferred};
use parking_lot::Mutex;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

type Resolve<T> = Box<dyn FnOnce(Env) -> Result<T> + Send>;

struct Waiting<A, T: ToNapiValue> {
    reply: Reply<A>,
    convert: Box<dyn FnOnce(std::result::Result<A, Error>) -> Result<T> + Send>,
    promise: JsDeferred<T, Resolve<T>>,
}

/// Polled when it is made and by whoever wakes it; empty once settled.
struct Settling<A, T: ToNapiValue>(Mutex<Option<Waiting<A, T>>>);

impl<A: Send + 'static, T: ToNapiValue + Send + 'static> Settling<A, T> {
    fn poll(self: &Arc<Self>) {
        let mut slot = self.0.lock();
        let Some(waiting) = slot.as_mut() else { return };
        let waker = waker(Arc::clone(self));
        let reply = Pin::new(&mut waiting.reply).poll(&mut Context::from_waker(&waker));
        let Poll::Ready(reply) = reply else { return };
        let Some(Waiting { convert, promise, .. }) = slot.take() else { return };
        drop(slot);
        match convert(reply) {
            Ok(value) => promise.resolve(Box::new(move |_| Ok(value))),
            Err(error) => promise.reject(error),
        }
    }
}

impl<A: Send + 'static, T: ToNapiValue + Send + 'static> ArcWake for Settling<A, T> {
    fn wake_by_ref(this: &Arc<Self>) {
        this.poll();
    }
}

/// A promise of what `convert` makes of the reply. `convert` runs on the thread that answers. The promise holds the
/// event loop until it is settled.
pub fn promise<A: Send + 'static, T: ToNapiValue + Send + 'static>(
    env: &Env,
    reply: Reply<A>,
    convert: impl FnOnce(std::result::Result<A, Error>) -> Result<T> + Send + 'static,
) -> Result<PromiseRaw<'_, T>> {
    let (promise, object) = env.create_deferred::<T, Resolve<T>>()?;
    let raw = PromiseRaw::new(env.raw(), object.raw());
    let waiting = Waiting { reply, convert: Box::new(convert), promise };
    Arc::new(Settling(Mutex::new(Some(waiting)))).poll();
    Ok(raw)
}
