//! Apply mode against a reference written from the design document alone: the walk that `apply` drives, over random
//! histories in random delivery orders and in pieces; whole stores; and the histories that broke earlier rules, by name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod device;
mod history;
mod naive;
mod replica;
mod scenarios;
mod stores;
#[path = "../support/mod.rs"]
mod support;
mod user;

use proptest::prelude::*;
use replica::Replica;

const WRITERS: u8 = 5;

/// How one batch comes: which of those left, and what is placed before the next comes.
#[derive(Debug, Clone)]
struct Delivery {
    draw: usize,
    /// Batches placed at most; none: all that is ready.
    budget: Option<u8>,
    /// The cursor is encoded and decoded before every batch.
    resume: bool,
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let budget = prop_oneof![4 => Just(None), 2 => (0..5_u8).prop_map(Some)];
    (any::<prop::sample::Index>(), budget, any::<bool>()).prop_map(|(draw, budget, resume)| Delivery {
        draw: draw.index(1 << 16),
        budget,
        resume,
    })
}

fn histories(longest: usize) -> impl Strategy<Value = (Vec<history::Act>, Vec<Delivery>)> {
    (prop::collection::vec(history::act(WRITERS), 1..longest), prop::collection::vec(delivery(), longest))
}

/// Delivers the batches in an order drawn at random, feeds not even in sequence, and checks after each.
fn run(acts: &[history::Act], deliveries: &[Delivery]) -> Replica {
    let mut left = history::batches(WRITERS, acts);
    let total = left.len();
    let mut replica = Replica::new();
    for Delivery { draw, budget, resume } in deliveries.iter().take(total) {
        // Mostly near the front, so that much is placed early and little waits for the end.
        let window = if draw % 3 == 0 { left.len() } else { left.len().min(3) };
        replica.deliver(&left.remove(draw / 3 % window));
        replica.wave(budget.map_or(usize::MAX, usize::from), *resume);
    }
    assert!(replica.wave(usize::MAX, false));
    replica
}

/// `PROPTEST_CASES` makes it more.
fn config(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").map_or(cases, |more| more.parse().unwrap());
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn the_walk_equals_the_reference_after_every_delivery((acts, deliveries) in histories(26)) {
        run(&acts, &deliveries);
    }
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn longer_histories_end_alike_in_any_order((acts, deliveries) in histories(60)) {
        let one = run(&acts, &deliveries);
        let mut turned = deliveries.clone();
        turned.reverse();
        let other = run(&acts, &turned);
        prop_assert_eq!(one.order(), other.order());
        prop_assert_eq!(one.view(), other.view());
    }
}
