//! The simulator: a few devices in one process, on real files, with virtual clocks and connections. One seed decides
//! everything that happens; after it, what was acknowledged must be there, and every view must be what the document
//! says of the blocks it is made of (`docs/design/testing.md`).
//!
//! `MULTI_HYPERBEE_SEEDS=5000` runs as many seeds, `MULTI_HYPERBEE_FIRST_SEED=…` says from which on,
//! `MULTI_HYPERBEE_SEED=17` runs one. Of every fourth seed the databases are encrypted, with
//! `MULTI_HYPERBEE_TEST_ENCRYPTED=1` of all.
#![cfg_attr(feature = "faults", allow(dead_code, unused_imports, reason = "that build runs `planted` alone"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failing test says so by panicking"
)]
#![allow(
    clippy::needless_pass_by_value,
    clippy::match_bool,
    clippy::single_match_else,
    clippy::semicolon_if_nothing_returned,
    clippy::needless_for_each,
    clippy::format_collect,
    clippy::range_minus_one,
    clippy::range_plus_one,
    clippy::unnecessary_lazy_evaluations,
    clippy::match_same_arms,
    clippy::duration_suboptimal_units,
    clippy::collapsible_match,
    clippy::collapsible_if,
    clippy::unnecessary_wraps,
    clippy::doc_markdown,
    reason = "tables of steps and a model read best when each case has one form"
)]

#[path = "../naive/apply_fn.rs"]
mod apply_fn;
mod apply_user;
mod chain;
mod check;
mod check_apply;
mod compaction;
mod coverage;
mod device;
mod disk;
mod faults;
mod finish;
#[path = "../naive/fold.rs"]
mod fold;
mod fork;
#[cfg(not(feature = "faults"))]
mod found;
mod liar;
mod line;
mod links;
mod local;
mod members;
mod memory;
mod model;
#[path = "../naive/order.rs"]
#[allow(dead_code, reason = "the reference is used by other tests too")]
mod naive;
#[cfg(feature = "faults")]
mod planted;
mod random;
mod replica;
mod restore;
mod schedule;
mod shrink;
mod user;
mod world;

use random::Random;
use schedule::{Mode, Setup, Step};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Seeds of an ordinary `cargo test`: about a minute, without optimisation, on two cores.
const SEEDS: u64 = 300;

/// Seeds at once, for each core: a seed mostly waits for its owner threads.
const SEEDS_PER_CORE: usize = 3;

fn of_seed(seed: u64) -> (Setup, Vec<Step>) {
    let mut random = Random::new(seed);
    let mut setup = schedule::setup(&mut random);
    setup.encrypted = seed % 4 == 3 || std::env::var_os("MULTI_HYPERBEE_TEST_ENCRYPTED").is_some();
    let steps = schedule::steps(&setup, &mut random);
    (setup, steps)
}

/// Runs a schedule; a panic is a failure like any other.
fn outcome(setup: &Setup, steps: &[Step]) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| world::run(setup, steps))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(format!("panic: {}", text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?")))
    })
}

fn count_setup(setup: &Setup, steps: usize) {
    coverage::size(steps, setup.devices);
    let has = |mode| setup.has(mode);
    coverage::count(match (has(Mode::Merge), has(Mode::Apply)) {
        (true, true) => "seed: one of each",
        (true, false) => "seed: merge mode",
        _ => "seed: apply mode",
    });
    coverage::count_if(!setup.shared && has(Mode::Merge), "seed: each its own");
    coverage::count_if(setup.optimistic && has(Mode::Apply), "seed: strangers may ask");
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn report(seed: u64, setup: &Setup, steps: &[Step], failure: &str) -> String {
    let shrink::Smaller { setup, steps: fewer, failure } =
        shrink::shrink(setup, steps, failure, |setup, steps| outcome(setup, steps).err());
    let list: Vec<_> = fewer.iter().enumerate().map(|(at, step)| format!("  {at:3} {step:?}\n")).collect();
    let list = list.concat();
    format!(
        "seed {seed} fails; again with:\n  MULTI_HYPERBEE_SEED={seed} cargo test --no-default-features --test simulator\n\
         {setup:?}\n{} of its {} steps are enough, and {} devices:\n{list}{failure}",
        fewer.len(),
        steps.len(),
        setup.devices,
    )
}

#[cfg(not(feature = "faults"))]
#[test]
fn every_seed_ends_as_the_model_says() {
    // The bindings, where they are compiled in, have taken panics' voice.
    drop(std::panic::take_hook());
    let one = number("MULTI_HYPERBEE_SEED");
    let first = one.or_else(|| number("MULTI_HYPERBEE_FIRST_SEED")).unwrap_or(0);
    let count = if one.is_some() { 1 } else { number("MULTI_HYPERBEE_SEEDS").unwrap_or(SEEDS) };
    let threads = std::thread::available_parallelism().map_or(2, usize::from) * SEEDS_PER_CORE;
    let (next, failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    let (setup, steps) = of_seed(seed);
                    count_setup(&setup, steps.len());
                    if let Err(failure) = outcome(&setup, &steps) {
                        failed.store(true, Ordering::Relaxed);
                        failures.lock().unwrap().push(report(seed, &setup, &steps, &failure));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let report = coverage::report();
    if let Some(path) = std::env::var_os("MULTI_HYPERBEE_REPORT") {
        std::fs::write(path, report.json()).unwrap();
    }
    if count >= SEEDS {
        assert_eq!(report.never(), Vec::<&str>::new(), "never happened in {} seeds", report.seeds());
        assert!(report.median_steps() >= 200, "{} steps", report.median_steps());
        assert!(report.median_devices() >= 3, "{} devices", report.median_devices());
        assert_eq!(report.most_devices(), schedule::MOST);
    }
}
