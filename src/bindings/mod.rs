//! **What.** The Node.js binding: classes over the Rust API, and the packed bytes in which many writes, entries or
//! results cross at once. The JavaScript layer (`lib/`) is the only caller.
//!
//! **Owns.** The packed formats (`packed`), which never leave the process and may change with every build; the text of a
//! value as JavaScript reads it (`value`); wake-ups (`wake`).
//!
//! **Invariants.** 1. No export panics through to the process: every synchronous one catches unwinding. 2. Whatever is
//! queued is queued before the call returns, so calls take effect in their order. 3. A wake-up never holds the event
//! loop; a promise of an accepted write does, until the write is on disk. 4. Nothing relies on exit hooks.
//!
//! **Not here.** Encodings, Node streams, events, option checks: `lib/`.

// `#[napi]` takes arguments as JavaScript hands them over, by value, and generates code that trips pedantic lints.
#![allow(
    clippy::needless_pass_by_value,
    clippy::trivially_copy_pass_by_ref,
    reason = "signatures are napi's"
)]

mod apply;
mod block;
mod compact;
mod conflicts;
mod cursor;
mod database;
mod diffs;
mod errors;
mod event;
mod feed;
mod handler;
mod invite;
mod members;
mod packed;
mod past;
mod peer;
mod promise;
mod status;
mod store;
mod value;
mod verify;
mod wake;

/// Panics are caught at every export and become errors; their text belongs in those, not on the user's terminal.
#[napi_derive::module_init]
fn quiet_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

/// Versions, lengths and milliseconds: what does not fit a double exactly (2^53) does not happen.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn number(value: u64) -> f64 {
    value as f64
}
