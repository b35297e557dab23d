//! A shorter schedule that still fails: devices are left out, then steps, many at a time and then fewer.

use super::schedule::{Setup, Step};
use std::time::{Duration, Instant};

/// Longer than this nobody waits for a shorter list.
const PATIENCE: Duration = Duration::from_mins(1);

/// What still fails, and how.
pub struct Smaller {
    pub setup: Setup,
    pub steps: Vec<Step>,
    pub failure: String,
}

/// `fails` runs a schedule and says how it fails.
pub fn shrink(
    setup: &Setup,
    steps: &[Step],
    failure: &str,
    fails: impl Fn(&Setup, &[Step]) -> Option<String>,
) -> Smaller {
    let begin = Instant::now();
    let mut best = Smaller { setup: setup.clone(), steps: steps.to_vec(), failure: failure.to_owned() };
    // The last device, again and again: the others keep their numbers.
    while best.setup.devices > 2 && begin.elapsed() < PATIENCE {
        let mut setup = best.setup.clone();
        setup.devices -= 1;
        let is_about = |step: &Step| step.devices().into_iter().flatten().any(|at| at >= setup.devices);
        let steps: Vec<Step> = best.steps.iter().filter(|step| !is_about(step)).cloned().collect();
        let Some(failure) = fails(&setup, &steps) else { break };
        best = Smaller { setup, steps, failure };
    }
    let mut size = best.steps.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        let mut any = false;
        while at < best.steps.len() && begin.elapsed() < PATIENCE {
            let mut fewer = best.steps.clone();
            fewer.drain(at..(at + size).min(best.steps.len()));
            match fails(&best.setup, &fewer) {
                Some(failure) => {
                    any = true;
                    (best.steps, best.failure) = (fewer, failure);
                }
                None => at += size,
            }
        }
        if size > 1 || !any {
            size /= 2;
        }
    }
    best
}
