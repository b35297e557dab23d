//! A shorter schedule that still fails: steps are left out, many at a time and then fewer.

use super::schedule::Step;
use std::time::{Duration, Instant};

/// Longer than this nobody waits for a shorter list.
const PATIENCE: Duration = Duration::from_mins(1);

/// `fails` runs steps and says how they fail. Returns the steps that are left, and how those fail.
pub fn shrink(
    steps: &[Step],
    failure: &str,
    fails: impl Fn(&[Step]) -> Option<String>,
) -> (Vec<Step>, String) {
    let begin = Instant::now();
    let (mut best, mut failure) = (steps.to_vec(), failure.to_owned());
    let mut size = best.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        let mut any = false;
        while at < best.len() && begin.elapsed() < PATIENCE {
            let mut fewer = best.clone();
            fewer.drain(at..(at + size).min(best.len()));
            match fails(&fewer) {
                Some(how) => {
                    any = true;
                    (best, failure) = (fewer, how);
                }
                None => at += size,
            }
        }
        if size > 1 || !any {
            size /= 2;
        }
    }
    (best, failure)
}
