//! One wake-up of JavaScript for any number of reasons: a weak thread-safe function, armed again when JavaScript has
//! come to look. A flood of events costs one crossing per look, and none of it keeps the process alive.

use super::errors::Result;
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

type Callback = ThreadsafeFunction<(), (), (), napi::Status, false, true>;

#[derive(Clone)]
pub struct Wake {
    pending: Arc<AtomicBool>,
    callback: Arc<Callback>,
}

impl Wake {
    pub fn new(callback: Function<'_, (), ()>) -> Result<Self> {
        let callback =
            callback.build_threadsafe_function().weak::<true>().callee_handled::<false>().build()?;
        Ok(Self { pending: Arc::new(AtomicBool::new(false)), callback: Arc::new(callback) })
    }

    /// What the core calls, from any thread.
    pub fn caller(&self) -> Arc<dyn Fn() + Send + Sync> {
        let wake = self.clone();
        Arc::new(move || {
            if !wake.pending.swap(true, Ordering::AcqRel) {
                wake.callback.call((), ThreadsafeFunctionCallMode::NonBlocking);
            }
        })
    }

    /// Called before looking: what happens from here on wakes again.
    pub fn rearm(&self) {
        self.pending.store(false, Ordering::Release);
    }
}
