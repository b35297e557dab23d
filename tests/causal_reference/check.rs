//! One replica against the reference, over the batches that have reached it.

use std::collections::BTreeSet;

use multi_hyperbee::types::Position;

use super::naive::{self, Batch, Place, Ready, Rules};
use super::replica::{Replica, entries, key, name};

fn place_of(position: Position) -> Place {
    ((position.effective.time, position.effective.tick), name(position.writer), position.seq)
}

/// Placed alike, with the same past, links read and effective timestamps; the order extends causality.
fn check_placed(replica: &Replica, batches: &[Batch], ready: &[Option<Ready>]) {
    for (batch, ready) in batches.iter().zip(ready) {
        let placed = replica.place_of(batch.writer, batch.seq);
        assert_eq!(placed.map(place_of), ready.as_ref().map(|r| r.place), "{batch:?}");
        let Some(ready) = ready else { continue };
        let row = &replica.rows.0[&key(batch.writer)].iter().find(|row| row.seq == batch.seq).unwrap();
        let mut past = BTreeSet::new();
        for (index, other) in batches.iter().enumerate() {
            if ready.past >> index & 1 == 1 {
                past.extend((other.seq..other.seq + other.length).map(|seq| (other.writer, seq)));
                let before = replica.place_of(other.writer, other.seq);
                assert!(before < placed, "{other:?} is in the past of {batch:?} and stands after it");
            }
        }
        past.extend((batch.seq..batch.seq + batch.length).map(|seq| (batch.writer, seq)));
        let found = row.past.iter().flat_map(|(feed, length)| (0..length).map(move |seq| (name(feed), seq)));
        assert_eq!(found.collect::<BTreeSet<_>>(), past, "the past of {batch:?}");
        let read: BTreeSet<u8> = row.read.iter().map(|(feed, _)| name(*feed)).collect();
        assert_eq!(read, ready.read, "the links read of {batch:?}");
    }
}

pub fn check(replica: &Replica, batches: &[Batch], rules: Rules) {
    let ready = naive::ready(batches)(rules);
    check_placed(replica, batches, &ready);
    let expected = naive::walk(batches, &ready, rules);
    let outcome = replica.walk_from_scratch();
    let state = outcome.membership.iter().map(|(f, m)| (name(f), (m.since.map(place_of), m.indexer)));
    assert_eq!(state.collect::<std::collections::BTreeMap<_, _>>(), expected.state, "membership");
    assert_eq!(entries(&outcome), expected.counted, "what counts");
    let walked: BTreeSet<(u8, u64)> = batches
        .iter()
        .filter(|b| b.seq < outcome.walked.get(&key(b.writer)))
        .map(|b| (b.writer, b.seq))
        .collect();
    assert_eq!(walked, expected.before_tail, "what the walk placed");
    assert_eq!(replica.state.outcome(), &outcome, "brought forward differs from from scratch");
}
