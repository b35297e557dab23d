//! Merging into one key, in any order and with removals, against folding everything that counts from scratch.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use multi_hyperbee::crdt::{Change, ChangeKind, State, Value, parse_object};
use multi_hyperbee::entry::{self, BatchHead, Entry, Op, Place};
use multi_hyperbee::seal::{EncryptionKey, Sealing};
use multi_hyperbee::store::{Environment, Location, Options, Table, WriteTxn};
use multi_hyperbee::types::{Effective, FeedKey, Position, Stamp};
use multi_hyperbee::view::{self, Added, Dead, Removed, Space, Writers};
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

/// One diff more or less at a time, and after it, perhaps, all versions before that one go.
fn trimmed_waves() -> impl Strategy<Value = Vec<(Wave, bool)>> {
    let wave = prop::collection::vec(any::<prop::sample::Index>(), 1..3);
    prop::collection::vec((wave, any::<bool>()), 1..25)
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
    view::merge(txn, space, &writers, KEY, added, &removed, version, 0, true).unwrap();
}

/// The blocks of all diffs, as their writers sealed them.
fn put_blocks(txn: &mut WriteTxn<'_>, space: &Space, all: &[Written]) {
    for written in all {
        let key = [&written.feed.to_be_bytes()[..], &written.position.seq.to_be_bytes()].concat();
        let sealing = space.blocks(writer(written.feed));
        let block = sealing.seal(written.position.seq, &written.block, false).unwrap();
        txn.put(Table::Blocks, &key, &block).unwrap();
    }
}

/// A version of another key, so that those before it can go.
fn write_elsewhere(txn: &mut WriteTxn<'_>, space: &Space, version: u64) {
    let effective = Effective { time: version, tick: 0 };
    let position = Position { effective, writer: writer(0), seq: 1_000 + version };
    let elsewhere = Change { position, prev: None, kind: ChangeKind::Register(vec![1]) };
    let writers: Writers = [(0, writer(0))].into();
    let added = vec![Added { feed: 0, change: elsewhere }];
    view::merge(txn, space, &writers, b"key of another", added, &[], version, 0, true).unwrap();
}

fn state_at(txn: &WriteTxn<'_>, space: &Space, version: Option<u64>) -> State {
    let row = view::newest(txn, space, KEY, version).unwrap();
    row.map_or_else(State::empty, |row| row.decode_state().unwrap())
}

/// What a reader sees.
fn seen(state: &State) -> (Option<String>, Option<Vec<u8>>, Option<Position>, u64) {
    let is_live = state.is_live();
    let named = if is_live { (state.last(), state.id()) } else { (None, 0) };
    (state.to_text(), state.register().map(<[u8]>::to_vec), named.0, named.1)
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
        put_blocks(&mut txn, &space, &all);
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

    /// Tombstones go, and all that comes later is folded as if they were there.
    #[test]
    fn a_key_whose_tombstone_went_is_still_the_fold_of_all_that_counts(plans in plans(), waves in trimmed_waves()) {
        let all = written(&plans);
        prop_assume!(!all.is_empty());
        let space = Space::plain(DATABASE);
        let writers: Writers = (0..3).map(|feed| (feed, writer(feed))).collect();
        let environment = Environment::open(&Location::Memory, &Options::default()).unwrap();
        let mut txn = environment.write().unwrap();
        put_blocks(&mut txn, &space, &all);
        let mut counting = BTreeSet::new();
        let mut states = vec![State::empty()];
        let mut floor = 1;
        for (wave, trims) in &waves {
            let version = states.len() as u64;
            let toggled: BTreeSet<usize> = wave.iter().map(|index| index.index(all.len())).collect();
            merge(&mut txn, &space, &all, &toggled, &counting, version);
            counting = counting.symmetric_difference(&toggled).copied().collect();
            let expected = folded(&all, &counting);
            prop_assert_eq!(&state_at(&txn, &space, None), &expected, "after version {}", version);
            write_elsewhere(&mut txn, &space, version + 1);
            states.extend([expected.clone(), expected.clone()]);
            if *trims {
                floor = view::trim(&mut txn, &space, version + 1, u64::MAX, Dead::Fold).unwrap();
                prop_assert_eq!(floor, version + 1);
                let is_there = view::newest(&txn, &space, KEY, None).unwrap().is_some();
                prop_assert_eq!(is_there, expected.is_live(), "tombstones go, and nothing else");
                // What a batch folds onto, and what conflicts are named for.
                let now = view::state_now(&txn, &space, &writers, KEY).unwrap();
                prop_assert_eq!(now.unwrap_or_default(), expected);
            }
            for at in floor..=version + 1 {
                let index = usize::try_from(at).unwrap();
                prop_assert_eq!(seen(&state_at(&txn, &space, Some(at))), seen(&states[index]), "version {}", at);
            }
            let mut flaws = Vec::new();
            view::check_folds(&txn, &space, Some(&writers), |key, flaw| {
                flaws.extend(flaw.filter(|_| key == KEY).map(|flaw| format!("{flaw:?}")));
                true
            })
            .unwrap();
            prop_assert_eq!(flaws, Vec::<String>::new());
        }
    }
}

/// Writes `count` diffs of one writer, each in a version of its own; the last is a delete.
fn many(txn: &mut WriteTxn<'_>, space: &Space, count: usize) -> u64 {
    let one = |n: usize| {
        let seq = n as u64;
        let effective = Effective { time: seq + 1, tick: 0 };
        let head = BatchHead { timestamp: seq + 1, length: 1, links: Vec::new(), optimistic: false };
        let change = if n + 1 == count { entry::Change::Delete } else { entry::Change::Register(b"r") };
        let diff = entry::Diff { key: KEY, prev: None, change };
        let mut block = Vec::new();
        Entry { place: Place::First(head), op: Op::Diff(diff) }.encode_into(&mut block);
        Written { feed: 0, position: Position { effective, writer: writer(0), seq }, block }
    };
    let all: Vec<Written> = (0..count).map(one).collect();
    put_blocks(txn, space, &all);
    for (n, version) in (0..all.len()).zip(1..) {
        merge(txn, space, &all, &[n].into(), &BTreeSet::new(), version);
    }
    count as u64
}

#[test]
fn the_tombstone_of_a_key_with_many_diffs_stays() {
    for (count, stays) in [(64, false), (65, true)] {
        let environment = Environment::open(&Location::Memory, &Options::default()).unwrap();
        let mut txn = environment.write().unwrap();
        let space = Space::plain(DATABASE);
        let last = many(&mut txn, &space, count);
        write_elsewhere(&mut txn, &space, last + 1);
        assert_eq!(view::trim(&mut txn, &space, last, u64::MAX, Dead::Fold).unwrap(), last);
        let is_there = |txn: &WriteTxn<'_>| view::newest(txn, &space, KEY, None).unwrap().is_some();
        assert!(is_there(&txn), "it is what the version says that is kept");
        view::trim(&mut txn, &space, last + 1, u64::MAX, Dead::Fold).unwrap();
        assert_eq!(is_there(&txn), stays, "{count} diffs");
    }
}

/// Only a tombstone may be missing, and only one from before the oldest version.
#[test]
fn a_row_that_is_missing_otherwise_is_found() {
    let environment = Environment::open(&Location::Memory, &Options::default()).unwrap();
    let mut txn = environment.write().unwrap();
    let space = Space::plain(DATABASE);
    let last = many(&mut txn, &space, 3);
    let writers: Writers = (0..3).map(|feed| (feed, writer(feed))).collect();
    let flaws = |txn: &WriteTxn<'_>| {
        let mut flaws = 0;
        view::check_folds(txn, &space, Some(&writers), |key, flaw| {
            flaws += u32::from(key == KEY && flaw.is_some());
            true
        })
        .unwrap();
        flaws
    };
    assert_eq!(flaws(&txn), 0);
    let row = |version: u64| [&DATABASE.to_be_bytes()[..], KEY, &(!version).to_be_bytes()].concat();
    for version in 1..=last {
        assert!(txn.delete(Table::View, &row(version)).unwrap());
    }
    assert_eq!(flaws(&txn), 1, "nothing was trimmed");
    write_elsewhere(&mut txn, &space, last + 1);
    view::trim(&mut txn, &space, last + 1, u64::MAX, Dead::Fold).unwrap();
    assert_eq!(flaws(&txn), 0);
}
