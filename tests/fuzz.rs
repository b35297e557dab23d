//! The targets of `fuzz/` over what is kept of earlier runs, and over made-up inputs.
//! `MULTI_HYPERBEE_FUZZ_INPUTS=10` tries ten times as many.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "what a target finds wrong is a panic"
)]

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore, SeedableRng};
use std::path::{Path, PathBuf};
use std::{env, fs};
use targets::{ALL, Target};

fn kept(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn noise(random: &mut SmallRng, longest: usize) -> Vec<u8> {
    // Short ones mostly: a long one fails at its first part as well.
    let most = if random.random_ratio(1, 8) { longest } else { longest.min(64) };
    let mut bytes = vec![0; random.random_range(0..=most)];
    random.fill_bytes(&mut bytes);
    bytes
}

/// An input that is kept, with bytes changed, left out, put in, or of another one behind them.
fn changed(random: &mut SmallRng, kept: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = kept.choose(random).unwrap().clone();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.random()),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => {
                let other = kept.choose(random).unwrap();
                bytes.truncate(at);
                bytes.extend_from_slice(&other[at.min(other.len())..]);
            }
            _ if at < bytes.len() => bytes[at] = random.random(),
            _ => {}
        }
    }
    bytes
}

fn run(name: &str) {
    // The binding, if it is compiled in, has silenced panics.
    drop(std::panic::take_hook());
    let target = ALL.iter().find(|target| target.name == name).unwrap();
    let kept = kept(target);
    assert!(!kept.is_empty(), "nothing is kept in fuzz/corpus/{name}");
    for bytes in &kept {
        target.run(bytes);
    }
    let times = env::var("MULTI_HYPERBEE_FUZZ_INPUTS").map_or(1, |times| times.parse().unwrap());
    let mut random = SmallRng::seed_from_u64(1);
    for _ in 0..target.inputs * times {
        let bytes = if random.random_ratio(1, 3) {
            noise(&mut random, target.longest)
        } else {
            changed(&mut random, &kept)
        };
        let caught = std::panic::catch_unwind(|| target.run(&bytes));
        assert!(caught.is_ok(), "{name} fails on {}", hex::encode(&bytes));
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*

        #[test]
        fn none_is_left_out() {
            assert_eq!(ALL.map(|target| target.name), [$(stringify!($name)),*]);
        }
    };
}

targets!(entry rows states messages access texts invites json proofs parting session diff fold view order pages);
