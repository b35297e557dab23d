//! Attacks: a peer that says whatever it likes to a whole store, while two honest devices replicate on. Each attack ends
//! with an error that names the rule, or is ignored where the protocol says so; what it costs stays below the constant that
//! is named next to it; nothing unverified is stored. Which test stands against what: the table of `docs/security.md`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a failing test says so by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod apart;
mod attacker;
mod claims;
mod entries;
mod fetching;
mod flood;
mod forged;
mod handshake;
mod scene;
mod table;
