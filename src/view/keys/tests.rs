use super::*;
use crate::seal::{EncryptionKey, Sealing};
use crate::store::{Environment, Location, Options};
use crate::types::FeedKey;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn space() -> Space {
    Space::new(1, Sealing::new(Some(&EncryptionKey::new([7; 32])), &FeedKey([1; 32])))
}

fn write(environment: &Environment, space: &Space, keys: &[Vec<u8>], version: &mut u64) {
    let mut txn = environment.write().unwrap();
    for key in keys {
        *version += 1;
        space.put(&mut txn, key, *version, b"value").unwrap();
    }
    txn.commit().unwrap();
}

/// Asks a few keys at a time, in a turn of each range, until all have ended.
fn ranges(index: &KeyIndex, environment: &Environment, space: &Space, all: &[Bounds]) -> Vec<Vec<Vec<u8>>> {
    let mut found = vec![Vec::new(); all.len()];
    let mut left: Vec<_> = all.iter().cloned().enumerate().collect();
    for _ in 0..100_000 {
        let Some((number, mut bounds)) = (!left.is_empty()).then(|| left.remove(0)) else { return found };
        let txn = environment.read().unwrap();
        let next = index.next(&txn, space, &mut bounds).unwrap();
        for (key, newest) in next.found {
            assert!(newest.is_none_or(|newest| *newest.value == *b"value"));
            bounds.pass(key.to_vec());
            found[number].push(key.to_vec());
        }
        if !next.is_end {
            left.push((number, bounds));
        }
    }
    panic!("the ranges do not come to an end");
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..4_u8, 0..4)
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![Just(Bound::Unbounded), key().prop_map(Bound::Included), key().prop_map(Bound::Excluded),]
}

fn bounds() -> impl Strategy<Value = Bounds> {
    (bound(), bound(), any::<bool>()).prop_map(|(from, to, reverse)| Bounds { from, to, reverse })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn ranges_find_every_key_in_order_however_little_is_held(
        waves in prop::collection::vec((prop::collection::vec(key(), 1..40), prop::collection::vec(bounds(), 1..4)), 1..4),
        max_bytes in prop::sample::select(vec![1, 200, 700, MAX_BYTES]),
    ) {
        let environment = Environment::open(&Location::Memory, &Options::default()).unwrap();
        let (space, index, mut version) = (space(), KeyIndex::with_at_most(max_bytes), 0);
        let mut written = BTreeSet::new();
        for (keys, all) in waves {
            write(&environment, &space, &keys, &mut version);
            written.extend(keys);
            for (bounds, found) in all.iter().zip(ranges(&index, &environment, &space, &all)) {
                let mut expected: Vec<_> = written.iter().filter(|key| bounds.contain(key)).cloned().collect();
                if bounds.reverse {
                    expected.reverse();
                }
                prop_assert_eq!(found, expected, "{:?}", bounds);
                let (bytes, held) = index.size();
                prop_assert!(bytes <= max_bytes || held == 1);
            }
        }
    }
}

#[test]
fn it_is_built_in_steps_and_made_anew_when_the_log_was_trimmed() {
    let environment = Environment::open(&Location::Memory, &Options::default()).unwrap();
    let (space, index, mut version) = (space(), KeyIndex::default(), 0);
    let keys: Vec<_> = (0..STEP_ROWS * 2).map(|n| n.to_be_bytes().to_vec()).collect();
    write(&environment, &space, &keys, &mut version);
    let all = Bounds { from: Bound::Unbounded, to: Bound::Unbounded, reverse: false };
    let txn = environment.read().unwrap();
    let mut steps = 0;
    while index.next(&txn, &space, &mut all.clone()).unwrap().found.is_empty() {
        steps += 1;
    }
    assert_eq!(steps, 3);
    drop(txn);
    write(&environment, &space, &[b"late".to_vec(), b"later".to_vec()], &mut version);
    let mut txn = environment.write().unwrap();
    txn.delete(Table::Log, &log_key(1, version - 1)).unwrap();
    txn.commit().unwrap();
    let found = ranges(&index, &environment, &space, std::slice::from_ref(&all)).remove(0);
    assert_eq!(found.len(), keys.len() + 2);
}
