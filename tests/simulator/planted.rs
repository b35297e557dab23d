//! The simulator itself is tested: each fault that is planted is found within so many seeds, and nothing is found
//! without. In this build nothing else runs in the process: a planted fault is everywhere in it.

use super::{of_seed, outcome};
use multi_hyperbee::fault::{Fault, plant};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Seeds within which a fault is found. Most are found by the first few.
const BOUND: u64 = 60;

/// The first seed found to fail, and how.
fn first_that_fails(bound: u64) -> Option<(u64, String)> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from) * super::SEEDS_PER_CORE;
    let (next, is_found, found) = (AtomicU64::new(0), AtomicBool::new(false), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_found.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= bound {
                        break;
                    }
                    let (setup, steps) = of_seed(seed);
                    if let Err(failure) = outcome(&setup, &steps) {
                        is_found.store(true, Ordering::Relaxed);
                        found.lock().unwrap().get_or_insert((seed, failure));
                    }
                }
            });
        }
    });
    found.into_inner().unwrap()
}

#[test]
fn every_planted_fault_is_found() {
    // Owners that panic say so in what fails.
    std::panic::set_hook(Box::new(|_| {}));
    plant(None);
    assert_eq!(first_that_fails(10), None, "without a fault");
    let mut missed = Vec::new();
    let one = std::env::var("MULTI_HYPERBEE_FAULT").ok();
    let wanted = |fault: &Fault| one.as_ref().is_none_or(|one| *one == format!("{fault:?}"));
    for fault in Fault::ALL.into_iter().filter(wanted) {
        plant(Some(fault));
        let begin = Instant::now();
        match first_that_fails(BOUND) {
            Some((seed, failure)) => {
                let how: String = failure.lines().next().unwrap_or_default().chars().take(150).collect();
                eprintln!("{fault:?}: seed {seed}, after {} ms: {how}", begin.elapsed().as_millis());
            }
            None => missed.push(fault),
        }
    }
    plant(None);
    drop(std::panic::take_hook());
    assert_eq!(missed, [], "not found by {BOUND} seeds");
}
