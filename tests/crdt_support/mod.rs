//! Random JSON values, edits of them, and changes, for the tests of merge mode.
#![allow(dead_code, reason = "each test binary uses its own part")]

use multi_hyperbee::crdt::{Change, ChangeKind, List, State, parse_object};
use multi_hyperbee::types::{Effective, FeedKey, Position};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

pub struct Random(pub SmallRng);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from.choose(&mut self.0).unwrap().clone()
    }

    fn scalar(&mut self) -> Value {
        let all =
            [json!(null), json!(0), json!(1), json!(false), json!(true), json!(""), json!("a"), json!("b")];
        if self.chance(20) {
            self.pick(&[json!(1.5), json!("ü\u{1f600}\n"), json!(-7)])
        } else {
            self.pick(&all)
        }
    }

    pub fn value(&mut self, depth: usize) -> Value {
        match self.below(100) {
            _ if depth > 3 => self.scalar(),
            0..45 => self.scalar(),
            45..75 => (0..self.below(6)).map(|_| self.value(depth + 1)).collect(),
            _ => {
                let names = ["a", "b", "c", "x", "id", "__proto__"];
                Value::Object(
                    (0..self.below(5)).map(|_| (self.pick(&names).into(), self.value(depth + 1))).collect(),
                )
            }
        }
    }

    pub fn object(&mut self) -> Value {
        let names = ["a", "b", "c", "", "__proto__", "0"];
        let props: Map<_, _> =
            (0..self.below(6)).map(|_| (self.pick(&names).into(), self.value(1))).collect();
        Value::Object(props)
    }

    /// Another value, like a person's next edit of it.
    pub fn edit(&mut self, value: &Value, depth: usize) -> Value {
        match value {
            Value::Object(props) => {
                let mut out = Map::new();
                for (name, value) in props {
                    match self.below(100) {
                        0..10 => {}
                        10..20 => drop(out.insert(name.clone(), self.value(depth + 1))),
                        20..60 => drop(out.insert(name.clone(), self.edit(value, depth + 1))),
                        _ => drop(out.insert(name.clone(), value.clone())),
                    }
                }
                if self.chance(30) {
                    out.insert(self.pick(&["a", "b", "c", "x", "y"]).into(), self.value(depth + 1));
                }
                Value::Object(out)
            }
            Value::Array(items) => {
                let mut out = items.clone();
                for _ in 0..self.below(4) {
                    self.edit_array(&mut out, depth);
                }
                Value::Array(out)
            }
            scalar if self.chance(70) => scalar.clone(),
            _ => self.value(depth),
        }
    }

    fn edit_array(&mut self, items: &mut Vec<Value>, depth: usize) {
        let kind = if items.is_empty() { 99 } else { self.below(100) };
        match kind {
            0..30 => drop(items.remove(self.below(items.len()))),
            30..55 => {
                let item = items.remove(self.below(items.len()));
                items.insert(self.below(items.len() + 1), item);
            }
            55..75 => {
                let at = self.below(items.len());
                items[at] = self.edit(&items[at].clone(), depth + 1);
            }
            75..85 => items.push(items[self.below(items.len())].clone()),
            _ => items.insert(self.below(items.len() + 1), self.value(depth + 1)),
        }
    }
}

pub fn position(time: u64, writer: u8, seq: u64) -> Position {
    Position { effective: Effective { time, tick: 0 }, writer: FeedKey([writer; 32]), seq }
}

/// The change a put of `value` against `base` sends, through its text; none if nothing changed.
pub fn put(position: Position, base: &State, value: &Value) -> Option<Change> {
    let list = base.diff_to(&parse_object(&value.to_string()).unwrap())?;
    assert_eq!(List::parse(&list.to_text()).as_ref(), Ok(&list));
    Some(Change { position, prev: base.base(), kind: ChangeKind::List(list) })
}

pub fn delete(position: Position, base: &State) -> Change {
    Change { position, prev: base.base(), kind: ChangeKind::Delete }
}

pub fn fold<'a>(changes: impl IntoIterator<Item = &'a Change>) -> State {
    let mut changes: Vec<_> = changes.into_iter().collect();
    changes.sort_by_key(|change| change.position);
    let mut state = State::empty();
    for change in changes {
        state.fold(change);
    }
    state
}

pub fn plain(state: &State) -> Option<Value> {
    state.to_text().map(|text| serde_json::from_str(&text).unwrap())
}
