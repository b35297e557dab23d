//! One replica against the reference, over the batches that have reached it.

use std::collections::BTreeSet;

use multi_hyperbee::causal::{LinkRule, Placed, Readiness, links, resolve};
use multi_hyperbee::types::Position;

use super::naive::{self, Batch, Place, Ready, Rules};
use super::replica::{Replica, entries, facts, key, name};

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

/// What a writer would link next is read, and brings all it may read into its past; nothing it links was there before.
fn check_links(replica: &Replica) {
    for writer in 0..5 {
        let Ok(links) = links(key(writer), replica.links, replica.state.placed(), &replica.rows);
        let Ok(seq) = Placed::length(&replica.rows, key(writer));
        let mut batch = naive::Batch { writer, seq, length: 1, time: 0, links: Vec::new(), ops: Vec::new() };
        for (feed, length) in &links {
            let Ok(Readiness::Ready { past, .. }) = resolve(&facts(&batch), replica.links, &replica.rows)
            else {
                panic!("placed feeds are linked, and still it waits")
            };
            assert!(past.get(feed) < *length);
            batch.links.push((name(*feed), *length));
        }
        let Ok(Readiness::Ready { past, read, .. }) = resolve(&facts(&batch), replica.links, &replica.rows)
        else {
            panic!("placed feeds are linked, and still it waits")
        };
        assert_eq!(read.len(), links.len(), "a link is not read");
        for (feed, length) in replica.state.placed().iter().filter(|(feed, _)| *feed != key(writer)) {
            let open = match replica.links {
                LinkRule::All => true,
                LinkRule::Granted { creator } => {
                    feed == creator || replica.state.controls().names(&past, feed)
                }
            };
            assert_eq!(past.get(&feed) < length, !open, "{feed:?} is left out");
        }
    }
}

pub fn check(replica: &Replica, batches: &[Batch], rules: Rules) {
    let ready = naive::ready(batches)(rules);
    check_placed(replica, batches, &ready);
    check_links(replica);
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
