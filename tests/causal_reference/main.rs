//! The order against a reference written from the design document alone: random histories in random delivery orders,
//! and the histories that broke earlier rules, by name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

mod check;
mod history;
mod naive;
mod replica;
mod scenarios;

use naive::Rules;
use proptest::prelude::*;
use replica::Replica;

const WRITERS: u8 = 5;

const MERGE: Rules = Rules { open: false, apply: false };
const OPEN: Rules = Rules { open: true, apply: false };
const APPLY: Rules = Rules { open: true, apply: true };

fn histories(longest: usize) -> impl Strategy<Value = (Vec<history::Act>, Vec<usize>, bool)> {
    let acts = prop::collection::vec(history::act(WRITERS), 1..longest);
    (acts, prop::collection::vec(any::<prop::sample::Index>(), longest), any::<bool>()).prop_map(
        |(acts, order, lazy)| {
            let order = order.iter().map(|index| index.index(1 << 16)).collect();
            (acts, order, lazy)
        },
    )
}

/// Delivers the batches in an order drawn from `order`, feeds not even in sequence, and checks after `every` of them.
fn run(acts: &[history::Act], order: &[usize], lazy: bool, rules: Rules, every: usize) -> Replica {
    let mut left = history::batches(WRITERS, acts);
    let total = left.len();
    let mut here = Vec::new();
    let mut replica = Replica::new(rules);
    for (count, draw) in order.iter().take(total).enumerate() {
        // Mostly near the front, so that much is placed early and little waits for the end.
        let window = if draw % 3 == 0 { left.len() } else { left.len().min(3) };
        let batch = left.remove(draw / 3 % window);
        replica.deliver(&batch, lazy);
        here.push(batch);
        if count % every == 0 || left.is_empty() {
            check::check(&replica, &here, rules);
        }
    }
    replica
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn i3_merge_mode_equals_the_reference_after_every_delivery((acts, order, lazy) in histories(26)) {
        run(&acts, &order, lazy, MERGE, 1);
    }

    #[test]
    fn i3_open_mode_equals_the_reference_after_every_delivery((acts, order, lazy) in histories(26)) {
        run(&acts, &order, lazy, OPEN, 1);
    }

    #[test]
    fn i3_apply_mode_equals_the_reference_after_every_delivery((acts, order, lazy) in histories(26)) {
        run(&acts, &order, lazy, APPLY, 1);
    }
}

proptest! {
    #![proptest_config(config(1_500))]

    #[test]
    fn i1_longer_histories_end_alike_in_any_order((acts, order, lazy) in histories(60)) {
        let rules = [MERGE, OPEN, APPLY][order[0] % 3];
        let one = run(&acts, &order, lazy, rules, usize::MAX);
        let mut turned = order.clone();
        turned.reverse();
        let other = run(&acts, &turned, !lazy, rules, usize::MAX);
        prop_assert_eq!(one.state, other.state);
    }
}
