//! Whole stores and databases, as `src/db` gives them: one program, for each is linked with the whole core.

#[path = "../apply_support/mod.rs"]
mod apply_support;
#[path = "../support/mod.rs"]
mod support;

mod access;
mod again;
mod anchors;
mod apply;
mod compact;
mod compact_apply;
mod concurrent;
mod connections;
mod cost;
mod diverged;
mod encrypted;
mod encrypted_apply;
mod fork;
mod fork_apply;
mod fork_random;
mod fork_relay;
mod handlers;
mod kept;
mod lifecycle;
mod members;
mod own_first;
mod partly;
mod past;
mod peers;
mod reads;
mod relay;
mod repair;
mod restore;
mod revoked;
mod set_local;
mod shown;
mod strangers;
mod tokio;
mod tombstones;
mod topics;
mod topics_bounds;
mod verify;
mod windows;
mod writes;
