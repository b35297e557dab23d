//! What merge mode promises of diffs and folds, on random histories.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails here should stop")]

mod crdt_support;

use std::collections::BTreeMap;

use crdt_support::{Random, delete, fold, plain, position, put};
use multi_hyperbee::crdt::{Change, ChangeKind, List, Live, State, StateView, list_size, parse_object};
use proptest::prelude::*;
use serde_json::{Value, json};

fn check_row(state: &State) {
    let bytes = state.encode();
    assert_eq!(State::decode(&bytes).as_ref(), Ok(state));
    let view = StateView::decode(&bytes).unwrap();
    assert_eq!((view.id, view.prev), (state.id(), state.prev()));
    assert_eq!(view.last, state.last());
    let text = state.to_text();
    assert_eq!(view.live.is_some(), state.is_live());
    assert_eq!(view.live, text.as_deref().map(Live::Object));
    for cut in 0..bytes.len() {
        assert!(State::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

/// Puts, deletes and creates of one writer, each checked.
fn chain(seed: u64) {
    let mut random = Random::new(seed);
    let mut state = State::empty();
    for step in 1..=random.below(6) as u64 + 1 {
        let at = position(step, 1, step);
        if state.is_live() && random.chance(10) {
            state.fold(&delete(at, &state));
            assert_eq!(plain(&state), None);
            continue;
        }
        let value = match plain(&state) {
            Some(old) if random.chance(80) => random.edit(&old, 0),
            _ => random.object(),
        };
        let Some(change) = put(at, &state, &value) else {
            assert_eq!(plain(&state), Some(value));
            continue;
        };
        let ChangeKind::List(list) = &change.kind else { unreachable!() };
        let published = list.published();
        let mut next = state.clone();
        next.fold(&change);
        assert_eq!(plain(&next).as_ref(), Some(&value), "{}", list.to_text());
        assert_eq!(next.diff_to(&parse_object(&value.to_string()).unwrap()), None);
        // What the published format can say (no moves, no edited elements) says the same without ids.
        if !published.contains("\"id\":\"0101010101010101-") {
            let kind = ChangeKind::List(List::parse(&published).unwrap());
            let mut other = state.clone();
            other.fold(&Change { kind, ..change.clone() });
            assert_eq!(plain(&other), Some(value), "{published}");
        }
        assert!(list_size(list) > 0 || list.is_empty());
        state = next;
        check_row(&state);
    }
}

/// What a user meant by one put: a removal, an insert, a move, or a field set, by the element's name.
#[derive(Clone, Debug)]
enum Meant {
    Gone(String),
    There(String),
    Field(String, &'static str, Value),
    Deep(&'static str, Value),
}

fn element(name: &str) -> Value {
    json!({"id": name, "x": 0, "y": 0})
}

fn name(element: &Value) -> String {
    element["id"].as_str().unwrap().to_owned()
}

/// Two or three replicas edit one list of named elements, see each other's changes now and then, and meet.
fn concurrent(seed: u64) {
    let mut random = Random::new(seed);
    let writers = 2 + random.below(2);
    let base: Vec<Value> = (0..random.below(5)).map(|k| element(&format!("e{k}"))).collect();
    let start = json!({"l": base, "o": {"p": {"a": 0, "b": 0}}});
    let first = put(position(1, 200, 0), &State::empty(), &start).unwrap();
    let mut log = vec![first];
    let mut heard = vec![vec![0_usize]; writers];
    let mut meant: Vec<(u64, u8, Meant)> = Vec::new();
    let (mut time, mut names) = (1, 0);
    for _ in 0..2 + random.below(8) {
        time += 1 + random.below(3) as u64;
        let w = random.below(writers);
        if random.chance(30) {
            let other = heard[random.below(writers)].clone();
            heard[w].extend(other);
            heard[w].sort_unstable();
            heard[w].dedup();
            continue;
        }
        let state = fold(heard[w].iter().map(|index| &log[*index]));
        let old = plain(&state).unwrap();
        let mut new = old.clone();
        let mut moved = Vec::new();
        edit_list(&mut random, &mut new, &mut moved, &mut names, time);
        let writer = u8::try_from(w).unwrap() + 1;
        let Some(change) = put(position(time, writer, time), &state, &new) else { continue };
        heard[w].push(log.len());
        let ChangeKind::List(list) = &change.kind else { unreachable!() };
        let sent: Value = serde_json::from_str(&list.to_text()).unwrap();
        log.push(change);
        let mut mean = |what| meant.push((time, writer, what));
        intents(&old, &new, &mut mean);
        // A move is what the diff says is one: of [a, b] to [b, a] either may be.
        for insert in sent["insert"]["add"]["l"].as_array().unwrap_or(&Vec::new()) {
            if insert.get("id").is_some() {
                mean(Meant::There(name(&insert["value"])));
            }
        }
    }
    let end = plain(&fold(&log)).unwrap();
    check_intents(&base, meant, &end);
}

fn edit_list(random: &mut Random, value: &mut Value, moved: &mut Vec<String>, names: &mut usize, time: u64) {
    for turn in 0..=random.below(2) {
        let list = value["l"].as_array_mut().unwrap();
        match random.below(100) {
            0..25 if !list.is_empty() => drop(list.remove(random.below(list.len()))),
            25..45 if list.len() > 1 => {
                let element = list.remove(random.below(list.len()));
                moved.push(name(&element));
                list.insert(random.below(list.len() + 1), element);
            }
            45..70 if !list.is_empty() => {
                let at = random.below(list.len());
                list[at][random.pick(&["x", "y"])] = json!(format!("{time}-{turn}"));
            }
            _ => {
                *names += 1;
                list.insert(random.below(list.len() + 1), element(&format!("n{names}")));
            }
        }
        if random.chance(40) {
            value["o"]["p"][random.pick(&["a", "b"])] = json!(format!("{time}-{turn}"));
        }
    }
}

fn intents(old: &Value, new: &Value, mean: &mut impl FnMut(Meant)) {
    let by_name = |value: &Value| -> BTreeMap<String, Value> {
        value["l"].as_array().unwrap().iter().map(|element| (name(element), element.clone())).collect()
    };
    let (before, after) = (by_name(old), by_name(new));
    before.keys().filter(|u| !after.contains_key(*u)).for_each(|u| mean(Meant::Gone(u.clone())));
    for (u, element) in &after {
        let blank = self::element(u);
        let was = before.get(u).unwrap_or(&blank);
        if !before.contains_key(u) {
            mean(Meant::There(u.clone()));
        }
        for field in ["x", "y"].into_iter().filter(|field| was[*field] != element[*field]) {
            mean(Meant::Field(u.clone(), field, element[field].clone()));
        }
    }
    for field in ["a", "b"].into_iter().filter(|f| old["o"]["p"][*f] != new["o"]["p"][*f]) {
        mean(Meant::Deep(field, new["o"]["p"][field].clone()));
    }
}

fn check_intents(base: &[Value], mut meant: Vec<(u64, u8, Meant)>, end: &Value) {
    meant.sort_by_key(|(time, writer, _)| (*time, *writer));
    let mut alive: BTreeMap<String, bool> = base.iter().map(|element| (name(element), true)).collect();
    let mut fields: BTreeMap<(String, &str), Value> = BTreeMap::new();
    let mut deep = json!({"a": 0, "b": 0});
    for (_, _, what) in meant {
        match what {
            Meant::Gone(u) => drop(alive.insert(u, false)),
            Meant::There(u) => drop(alive.insert(u, true)),
            Meant::Field(u, field, value) => drop(fields.insert((u, field), value)),
            Meant::Deep(field, value) => deep[field] = value,
        }
    }
    let list = end["l"].as_array().unwrap();
    for (u, alive) in alive {
        let times = list.iter().filter(|element| name(element) == u).count();
        assert_eq!(times, usize::from(alive), "{u} in {end}");
    }
    for element in list {
        for field in ["x", "y"] {
            let want = fields.get(&(name(element), field)).cloned().unwrap_or(json!(0));
            assert_eq!(element[field], want, "{field} of {element}");
        }
    }
    assert_eq!(end["o"]["p"], deep);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn i1_a_fold_of_a_diff_gives_the_value(seed: u64) {
        chain(seed);
    }

    #[test]
    fn concurrent_edits_lose_double_and_revive_nothing(seed: u64) {
        concurrent(seed);
    }

    #[test]
    fn a_state_that_was_stored_folds_on_as_if_it_had_not_been(seed: u64) {
        let mut random = Random::new(seed);
        let (mut kept, mut stored) = (State::empty(), State::empty());
        for step in 1..6 {
            let value = match plain(&kept) {
                Some(old) => random.edit(&old, 0),
                None => random.object(),
            };
            let at = position(step, 1, step);
            let change = match random.below(100) {
                0..15 => delete(at, &kept),
                _ => match put(at, &kept, &value) {
                    Some(change) => change,
                    None => continue,
                },
            };
            kept.fold(&change);
            stored.fold(&change);
            stored = State::decode(&stored.encode()).unwrap();
            prop_assert_eq!(&stored, &kept);
        }
    }
}

fn numbers(range: impl Iterator<Item = usize>) -> Value {
    json!({"l": range.collect::<Vec<_>>()})
}

/// Would take minutes if a step were quadratic.
#[test]
fn i4_arrays_of_ten_thousand_elements_take_no_quadratic_time() {
    const N: usize = 10_000;
    let mut state = State::empty();
    let next = |state: &mut State, time: u64, value: &Value| {
        let change = put(position(time, 1, time), state, value).unwrap();
        state.fold(&change);
        assert_eq!(plain(state).as_ref(), Some(value));
    };
    next(&mut state, 1, &numbers(0..N));
    // All moved, all new, all equal, all objects edited.
    next(&mut state, 2, &numbers((0..N).map(|k| k * 7_919 % N)));
    next(&mut state, 3, &numbers(N..2 * N));
    next(&mut state, 4, &numbers((0..N).map(|k| k % 2)));
    next(&mut state, 5, &numbers((0..N).map(|k| k / 3 % 2)));
    let objects = |x: usize| -> Value {
        json!({"l": (0..N).map(|k| json!({"k": k, "x": x, "y": 0})).collect::<Vec<_>>()})
    };
    next(&mut state, 6, &objects(0));
    next(&mut state, 7, &objects(1));
    let all_first = (0..N).map(|k| json!({"index": 0, "value": k})).collect::<Vec<_>>();
    let list = json!({"insert": {"add": {"l": all_first}}}).to_string();
    let kind = ChangeKind::List(List::parse(&list).unwrap());
    state.fold(&Change { position: position(8, 1, 8), prev: state.base(), kind });
    assert_eq!(plain(&state).unwrap()["l"][0], json!(N - 1));
}
