//! A compaction on a thread of its own, which can be ended early.

use crate::db::error::{Code, Error};
use crate::db::events::Reply;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A compaction under way, on a thread of its own.
pub struct Compaction<T> {
    reply: Option<Reply<T>>,
    stop: Arc<AtomicBool>,
}

impl<T: Send + 'static> Compaction<T> {
    pub(super) fn start<B: Send + 'static>(
        begun: Result<B, Error>,
        run: impl FnOnce(B, Arc<AtomicBool>) -> Result<T, Error> + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let begun = match begun {
            Ok(begun) => begun,
            Err(error) => return Self { reply: Some(Reply::ready(Err(error))), stop },
        };
        let (replier, reply) = Reply::channel();
        let theirs = Arc::clone(&stop);
        let spawned = std::thread::Builder::new().name("multi-hyperbee compact".into()).spawn(move || {
            // A caller that no longer listens has chosen not to know.
            let _ = replier.send(run(begun, theirs));
        });
        let reply = match spawned {
            Ok(_) => reply,
            Err(error) => Reply::ready(Err(Error::new(
                Code::StoreOpen,
                format!("no thread to compact: {error}; close what is not needed"),
            ))),
        };
        Self { reply: Some(reply), stop }
    }

    /// Ends it early: what was done stays done.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// What it has done; asked for once.
    pub fn reply(&mut self) -> Option<Reply<T>> {
        self.reply.take()
    }

    pub fn wait(mut self) -> Result<T, Error> {
        self.reply().map_or_else(|| Err(Error::stopped()), Reply::wait)
    }
}

/// Ends what was told to stop.
pub(super) fn go_on(stop: &AtomicBool) -> Result<(), Error> {
    if stop.load(Ordering::Acquire) {
        return Err(Error::new(Code::Aborted, "the compaction was stopped; what it had done stays done"));
    }
    Ok(())
}
