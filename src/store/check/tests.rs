//! The check on damaged bytes: it refuses, and does nothing else.

use std::fs;
use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;

use super::check;
use crate::store::{Environment, Location, Options, Table};

/// A file shorter than its last page: with a free tree that is walked.
static SHORT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let env = Environment::open(&Location::Path(dir.path().to_owned()), &Options::default()).unwrap();
    for part in 0..4_u32 {
        let mut txn = env.write().unwrap();
        for row in 0..500_u32 {
            let key = [part.to_be_bytes(), row.to_be_bytes()].concat();
            txn.put(Table::Blocks, &key, &[0x5a; 200]).unwrap();
        }
        txn.commit().unwrap();
    }
    let mut txn = env.write().unwrap();
    for row in 0..40_u32 {
        txn.put(Table::Tree, &row.to_be_bytes(), &vec![7; 300_000]).unwrap();
    }
    for row in 0..40_u32 {
        txn.delete(Table::Tree, &row.to_be_bytes()).unwrap();
    }
    txn.put(Table::Log, b"after", b"").unwrap();
    txn.commit().unwrap();
    let data = dir.path().join("data.mdb");
    assert!(env.stat().unwrap().file < env.stat().unwrap().used);
    assert!(env.close().wait(Duration::from_secs(10)));
    fs::read(data).unwrap()
});

fn accepts(bytes: &[u8]) -> bool {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data.mdb"), bytes).unwrap();
    check(dir.path()).is_ok()
}

#[test]
fn i2_every_cut_of_a_file_is_refused() {
    assert!(accepts(&SHORT));
    for cut in (0..SHORT.len()).step_by(509).chain([SHORT.len() - 1]) {
        assert!(!accepts(&SHORT[..cut]), "cut at {cut} of {}", SHORT.len());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_check_fail_otherwise_than_by_refusing(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 1..32_usize), 1..12),
        low in any::<bool>(),
    ) {
        let mut bytes = SHORT.clone();
        for (at, byte, length) in damage {
            // Half of the cases keep to the headers, where most of the bytes mean something.
            let reach = if low { 200 } else { bytes.len() };
            let at = at.index(reach);
            let end = (at + length).min(bytes.len());
            bytes[at..end].fill(byte);
        }
        accepts(&bytes);
    }
}
