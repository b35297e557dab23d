//! How often each operation and fault happened in a run: what never happens is not tested, whatever the number of seeds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Everything that is counted. A name that is missing here is a panic where it is counted.
const NAMES: [&str; 59] = [
    "seed: merge mode",
    "seed: apply mode",
    "seed: one of each",
    "seed: each its own",
    "seed: strangers may ask",
    "write",
    "write: conflict",
    "write: refused",
    "batch of writes",
    "read",
    "put against what was read",
    "snapshot",
    "check",
    "append: applied at once",
    "append: applied later",
    "append: refused",
    "append: by a stranger",
    "append: its apply failed",
    "append: never answered",
    "apply: all of a piece",
    "apply: a part of a piece",
    "apply: never answered",
    "apply: answered too late",
    "apply: something was undone",
    "apply: a rejected batch",
    "drain",
    "acknowledgement",
    "acknowledgement: not wanted",
    "wake",
    "grant",
    "grant: refused",
    "revoke",
    "add peer",
    "remove peer",
    "connect",
    "carry",
    "bytes: a few at a time",
    "meet",
    "meet once",
    "cut",
    "cut after so many bytes",
    "goodbye",
    "tick",
    "clock: seconds",
    "clock: years",
    "reopen",
    "crash",
    "crash: with an unseen write",
    "crash: in the middle of a commit",
    "full disk",
    "forged: a bit",
    "forged: bytes repeated",
    "forged: bytes left out",
    "forged: bytes made up",
    "backup by hand",
    "backup by the store",
    "restore",
    "resume",
    "partition",
];

static COUNTS: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];

/// Steps and devices of each seed.
static SIZES: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

pub fn count(name: &str) {
    let at = NAMES.iter().position(|known| *known == name);
    COUNTS[at.unwrap_or_else(|| panic!("{name:?} is not in the list"))].fetch_add(1, Ordering::Relaxed);
}

pub fn count_if(is: bool, name: &str) {
    if is {
        count(name);
    }
}

pub fn size(steps: usize, devices: usize) {
    SIZES.lock().unwrap().push((steps, devices));
}

/// What a run of many seeds came to.
pub struct Report {
    pub seeds: usize,
    pub steps: usize,
    pub devices: usize,
    pub most_devices: usize,
    pub counts: Vec<(&'static str, u64)>,
}

fn median(mut of: Vec<usize>) -> usize {
    of.sort_unstable();
    of.get(of.len() / 2).copied().unwrap_or(0)
}

pub fn report() -> Report {
    let sizes = SIZES.lock().unwrap().clone();
    let devices = sizes.iter().map(|(_, devices)| *devices);
    Report {
        seeds: sizes.len(),
        steps: median(sizes.iter().map(|(steps, _)| *steps).collect()),
        most_devices: devices.clone().max().unwrap_or(0),
        devices: median(devices.collect()),
        counts: NAMES
            .iter()
            .zip(&COUNTS)
            .map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
            .collect(),
    }
}

impl Report {
    pub fn never(&self) -> Vec<&'static str> {
        self.counts.iter().filter(|(_, count)| *count == 0).map(|(name, _)| *name).collect()
    }

    /// Lines of JSON text: a soak of many processes adds them up.
    pub fn json(&self) -> String {
        let Self { seeds, steps, devices, most_devices, counts } = self;
        let counts: serde_json::Map<_, _> =
            counts.iter().map(|(name, count)| ((*name).to_owned(), (*count).into())).collect();
        serde_json::json!({
            "seeds": seeds,
            "median steps": steps,
            "median devices": devices,
            "most devices": most_devices,
            "counts": counts,
        })
        .to_string()
    }
}
