//! Merging into one key, in any order and with removals, against folding everything that counts from scratch.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use multi_hyperbee::crdt::{Change, State, Value, parse_object};
use multi_hyperbee::entry::{self, BatchHead, Entry, Op, Place};
use multi_hyperbee::seal::{EncryptionKey, Sealing};
use multi_hyperbee::store::{Environment, Location, Options, Table, WriteTxn};
use multi_hyperbee::types::{Effective, FeedKey, Position, Stamp};
use multi_hyperbee::view::{self, Added, Removed, Space, Writers};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const DATABASE: u32 = 1;
const KEY: &[u8] = b"key";

/// One diff as it was written: by whom, where it stands, and the bytes of its block.
struct Written {
    feed: u32,
    position: Position,
    block: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Kind {
    Object(&'static str),
    Register(u8),
    Delete,
}

/// A diff to write: which writer, how much later than its last one, made against which of the states so far.
#[derive(Clone, Debug)]
struct Plan {
    feed: u32,
    later: u64,
    against: prop::sample::Index,
    kind: Kind,
}

/// One wave: which diffs count afterwards that did not, or the other way round.
type Wave = Vec<prop::sample::Index>;

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let objects = vec![
        r"{}",
        r#"{"a":1}"#,
        r#"{"a":2,"l":["x","y"]}"#,
        r#"{"l":["y","x","z"]}"#,
        r#"{"b":{"c":1,"d":[1]}}"#,
        r#"{"b":{"c":2,"d":[1,1]},"a":null}"#,
    ];
    let kind = prop_oneof![
        6 => prop::sample::select(objects).prop_map(Kind::Object),
        1 => (0..3_u8).prop_map(Kind::Register),
        2 => Just(Kind::Delete),
    ];
    let plan = (0..3_u32, 0..4_u64, any::<prop::sample::Index>(), kind)
        .prop_map(|(feed, later, against, kind)| Plan { feed, later, against, kind });
    prop::collection::vec(plan, 1..20)
}

fn waves() -> impl Strategy<Value = Vec<Wave>> {
    prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 1..4), 1..25)
}

/// The feed's number does not sort like its key.
fn writer(feed: u32) -> FeedKey {
    FeedKey([[9, 1, 5][feed as usize]; 32])
}

fn value(text: &str) -> Value {
    parse_object(text).unwrap()
}

/// Writes the planned diffs, each against a state that some replica may have held.
fn written(plans: &[Plan]) -> Vec<Written> {
    let mut states = vec![State::empty()];
    let mut ends: BTreeMap<u32, (Effective, u64)> = BTreeMap::new();
    let mut found = Vec::new();
    for Plan { feed, later, against, kind } in plans {
        let mut state = against.get(&states).clone();
        let (last, seq) = ends.get(feed).copied().unwrap_or_default();
        let effective = match later {
            0 if seq > 0 => Effective { time: last.time, tick: last.tick + 1 },
            later => Effective { time: last.time + later, tick: 0 },
        };
        ends.insert(*feed, (effective, seq + 1));
        let position = Position { effective, writer: writer(*feed), seq };
        let prev: Option<Stamp> = state.base();
        let (text, bytes);
        let change = match kind {
            Kind::Object(wanted) => match state.diff_to(&value(wanted)) {
                None => continue,
                Some(edit) => {
                    text = edit.to_text();
                    entry::Change::List(&text)
                }
            },
            Kind::Register(byte) => {
                bytes = [*byte];
                entry::Change::Register(&bytes)
            }
            Kind::Delete => entry::Change::Delete,
        };
        let place = Place::First(BatchHead {
            timestamp: effective.time,
            length: 1,
            links: Vec::new(),
            optimistic: false,
        });
        let diff = entry::Diff { key: KEY, prev, change };
        let change = view::change_of(&diff, position).unwrap();
        let mut block = Vec::new();
        Entry { place, op: Op::Diff(diff) }.encode_into(&mut block);
        state.fold(&change);
        states.push(state);
        found.push(Written { feed: *feed, position, block });
    }
    found
}

fn change(written: &Written) -> Change {
    match Entry::decode(&written.block).unwrap().op {
        Op::Diff(diff) => view::change_of(&diff, written.position).unwrap(),
        _ => unreachable!(),
    }
}

fn folded(all: &[Written], counting: &BTreeSet<usize>) -> State {
    let mut in_order: Vec<&Written> = counting.iter().map(|n| &all[*n]).collect();
    in_order.sort_by_key(|written| written.position);
    let mut state = State::empty();
    for written in in_order {
        state.fold(&change(written));
    }
    state
}

fn merge(
    txn: &mut WriteTxn<'_>,
    space: &Space,
    all: &[Written],
    toggled: &BTreeSet<usize>,
    counting: &BTreeSet<usize>,
    version: u64,
) {
    let writers: Writers = (0..3).map(|feed| (feed, writer(feed))).collect();
    let (gone, new): (Vec<usize>, Vec<usize>) = toggled.iter().partition(|n| counting.contains(n));
    let added = new.iter().map(|n| Added { feed: all[*n].feed, change: change(&all[*n]) }).collect();
    let removed: Vec<_> =
        gone.iter().map(|n| Removed { feed: all[*n].feed, position: all[*n].position }).collect();
    view::merge(txn, space, &writers, KEY, added, &removed, version, 0).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn invariants_1_and_4_the_newest_row_is_the_fold_of_all_that_counts(plans in plans(), waves in waves(), encrypted: bool) {
        let all = written(&plans);
        prop_assume!(!all.is_empty());
        let key = encrypted.then(|| EncryptionKey::new([7; 32]));
        let space = Space::new(DATABASE, Sealing::new(key.as_ref(), &writer(0)));
        let environment = Environment::open(&Location::Memory, &Options::default()).unwrap();
        let mut txn = environment.write().unwrap();
        for written in &all {
            let key = [&written.feed.to_be_bytes()[..], &written.position.seq.to_be_bytes()].concat();
            let sealing = space.blocks(writer(written.feed));
            let block = sealing.seal(written.position.seq, &written.block, false).unwrap();
            txn.put(Table::Blocks, &key, &block).unwrap();
        }
        let mut counting = BTreeSet::new();
        let mut states = Vec::new();
        for (wave, version) in waves.iter().zip(1..) {
            let toggled: BTreeSet<usize> = wave.iter().map(|index| index.index(all.len())).collect();
            merge(&mut txn, &space, &all, &toggled, &counting, version);
            counting = counting.symmetric_difference(&toggled).copied().collect();
            let found = view::newest(&txn, &space, KEY, None).unwrap().unwrap().decode_state().unwrap();
            let expected = folded(&all, &counting);
            prop_assert_eq!(&found, &expected, "after version {}", version);
            states.push(expected);
        }
        for (state, version) in states.iter().zip(1..) {
            let row = view::newest(&txn, &space, KEY, Some(version)).unwrap().unwrap();
            prop_assert_eq!(&row.decode_state().unwrap(), state, "version {} has changed", version);
            if let Some(last) = state.last() {
                let found = view::find_base(&txn, &space, KEY, last.stamp(), state.id()).unwrap();
                prop_assert_eq!(found.map(|(_, state)| state), Some(state.clone()));
            }
        }
    }
}
