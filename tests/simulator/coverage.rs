//! How often each operation and fault happened in a run: what never happens is not tested, whatever the number of seeds.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Everything that is counted. A name that is missing here is a panic where it is counted.
const NAMES: [&str; 76] = [
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
    "apply: an anchor",
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
    "a feed passed on in part",
    "meet",
    "meet once",
    "chain",
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
    "compact",
    "compact: something went",
    "compact: the file",
    "fork: a store copied",
    "fork: an older copy said to be the newest",
    "fork: heard of",
    "fork: refused to a forked writer",
    "lost",
    "local writer changed",
    "local writer changed: an indexer's",
    "liar: lengths it never delivers",
    "liar: a false state hash",
    "liar: asked, and refuses",
    "liar: asked, and says nothing",
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
    /// How many seeds had so many steps, and so many devices.
    pub steps: BTreeMap<usize, usize>,
    pub devices: BTreeMap<usize, usize>,
    pub counts: Vec<(&'static str, u64)>,
}

pub fn report() -> Report {
    let mut report = Report { steps: BTreeMap::new(), devices: BTreeMap::new(), counts: Vec::new() };
    for (steps, devices) in &*SIZES.lock().unwrap() {
        *report.steps.entry(*steps).or_default() += 1;
        *report.devices.entry(*devices).or_default() += 1;
    }
    report.counts =
        NAMES.iter().zip(&COUNTS).map(|(name, count)| (*name, count.load(Ordering::Relaxed))).collect();
    report
}

fn median(of: &BTreeMap<usize, usize>) -> usize {
    let mut left = of.values().sum::<usize>() / 2;
    for (value, count) in of {
        if left < *count {
            return *value;
        }
        left -= count;
    }
    0
}

impl Report {
    pub fn seeds(&self) -> usize {
        self.steps.values().sum()
    }

    pub fn median_steps(&self) -> usize {
        median(&self.steps)
    }

    pub fn median_devices(&self) -> usize {
        median(&self.devices)
    }

    pub fn most_devices(&self) -> usize {
        self.devices.keys().max().copied().unwrap_or(0)
    }

    pub fn never(&self) -> Vec<&'static str> {
        self.counts.iter().filter(|(_, count)| *count == 0).map(|(name, _)| *name).collect()
    }

    /// JSON text: `scripts/soak.js` adds up those of many processes.
    pub fn json(&self) -> String {
        let counts: serde_json::Map<_, _> =
            self.counts.iter().map(|(name, count)| ((*name).to_owned(), (*count).into())).collect();
        serde_json::json!({ "steps": self.steps, "devices": self.devices, "counts": counts }).to_string()
    }
}
