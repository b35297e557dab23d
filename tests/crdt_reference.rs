//! Fold against a naive reference, written from `docs/design/merge.md` alone: plain vectors, linear searches, lists read
//! as JSON with `serde_json`. It shares no function with the code.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails here should stop")]

mod crdt_support;
#[path = "naive/fold.rs"]
mod naive;

use crdt_support::{Random, delete, fold, plain, position, put};
use multi_hyperbee::crdt::{Change, ChangeKind, List, State};
use naive::{Key, Kind};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// What the reference is asked to fold.
fn kind_of(change: &Change) -> Kind {
    match &change.kind {
        ChangeKind::List(list) => Kind::List(serde_json::from_str(&list.to_text()).unwrap()),
        ChangeKind::Register(bytes) => Kind::Register(bytes.clone()),
        ChangeKind::Delete => Kind::Delete,
    }
}

fn agrees(naive: &Key, state: &State) {
    // As text: the order of properties is the fold's too.
    let object = state.to_text().map(|text| (text.into_bytes(), false));
    let found = object.or_else(|| state.register().map(|bytes| (bytes.to_vec(), true)));
    assert_eq!(found, naive.value());
    assert_eq!((state.last(), state.prev(), state.id()), (naive.last, naive.prev, naive.id()));
}

/// A valid list that nobody's diff would be: any section, ids of anywhere, anchors of every kind.
struct Lists<'r> {
    random: &'r mut Random,
    ids: Vec<String>,
}

impl Lists<'_> {
    fn props(&mut self, chance: usize, mut value: impl FnMut(&mut Self) -> Value) -> Value {
        let names = ["a", "b", "c", "x", "id"];
        let names = names.into_iter().filter(|_| self.random.chance(chance)).collect::<Vec<_>>();
        Value::Object(names.into_iter().map(|name| (name.to_owned(), value(self))).collect())
    }

    fn some(&mut self, mut item: impl FnMut(&mut Self, usize) -> Value) -> Value {
        (0..self.random.below(4)).map(|at| item(self, at)).collect()
    }

    fn id(&mut self) -> Value {
        json!(self.random.pick(&self.ids))
    }

    fn list(&mut self, depth: usize) -> Value {
        let mut list = Map::new();
        let mut insert = Map::new();
        if self.random.chance(30) {
            list.insert("add".into(), self.props(20, |s| s.random.value(2)));
        }
        if self.random.chance(30) {
            list.insert("remove".into(), self.props(20, |_| json!("")));
        }
        if self.random.chance(50) && depth < 3 {
            list.insert("list".into(), self.props(40, |s| s.inner(depth)));
        }
        if self.random.chance(60) {
            let put = |s: &mut Self| {
                if s.random.chance(60) { s.inserts() } else { s.props(30, |s| s.random.value(2)) }
            };
            insert.insert("add".into(), self.props(40, put));
        }
        if self.random.chance(60) {
            let sub = |s: &mut Self| if s.random.chance(50) { json!("") } else { s.props(20, |_| json!(1)) };
            let cut = |s: &mut Self| if s.random.chance(60) { s.removals() } else { s.props(30, sub) };
            insert.insert("remove".into(), self.props(40, cut));
        }
        if !insert.is_empty() {
            list.insert("insert".into(), Value::Object(insert));
        }
        Value::Object(list)
    }

    fn inner(&mut self, depth: usize) -> Value {
        if self.random.chance(40) { self.list(depth + 1) } else { self.edits(depth) }
    }

    fn edits(&mut self, depth: usize) -> Value {
        let mut edited = Vec::new();
        let edits = self.some(|s, _| {
            let id = s.id();
            if edited.contains(&id) {
                return Value::Null;
            }
            edited.push(id.clone());
            if s.random.chance(50) {
                return json!({"id": id, "list": s.list(depth + 1)});
            }
            let edits = if depth < 3 { s.edits(depth + 1) } else { json!([]) };
            json!({"id": id, "array": {"remove": s.removals(), "list": edits, "add": s.inserts()}})
        });
        edits.as_array().unwrap().iter().filter(|edit| !edit.is_null()).cloned().collect()
    }

    fn removals(&mut self) -> Value {
        self.some(|s, _| match s.random.below(3) {
            0 => json!({"id": s.id(), "value": s.random.value(3)}),
            1 => json!({"value": s.random.value(3)}),
            _ => json!({"index": s.random.below(5)}),
        })
    }

    fn inserts(&mut self) -> Value {
        self.some(|s, at| {
            let mut insert = json!({"value": s.random.value(2)});
            if s.random.chance(30) {
                insert["id"] = s.id();
            }
            match s.random.below(5) {
                0 => insert["afterId"] = Value::Null,
                1 => insert["afterId"] = s.id(),
                2 if at > 0 => insert["afterId"] = json!(s.random.below(at)),
                _ => {}
            }
            for name in ["after", "before"] {
                if s.random.chance(15) {
                    insert[name] = s.random.value(3);
                }
            }
            if s.random.chance(20) {
                insert["beforeId"] = s.id();
            }
            if s.random.chance(30) {
                insert["index"] = json!(s.random.below(5));
            }
            insert
        })
    }
}

/// Changes made against whatever, folded in order by both.
fn history(seed: u64) {
    let mut random = Random::new(seed);
    let mut naive = Key::default();
    let mut state = State::empty();
    let mut changes: Vec<Change> = Vec::new();
    for step in 1..=2 + random.below(8) as u64 {
        let writer = 1 + u8::try_from(random.below(3)).unwrap();
        let at = position(step, writer, step);
        let known: Vec<&Change> = changes.iter().filter(|_| random.chance(70)).collect();
        let base = fold(known);
        let mut ids = vec![
            "ffffffffffffffff-1-0".to_owned(),
            format!("{}-{step:x}-1", format!("{writer:02x}").repeat(8)),
        ];
        ids.extend(naive.ids());
        let mut change = match random.below(100) {
            0..10 => delete(at, &base),
            10..14 => Change { position: at, prev: base.base(), kind: ChangeKind::Register(vec![writer]) },
            14..50 => {
                let list = Lists { random: &mut random, ids }.list(0);
                let kind = ChangeKind::List(List::parse(&list.to_string()).unwrap());
                Change { position: at, prev: base.base(), kind }
            }
            _ => {
                let value = match plain(&base) {
                    Some(old) => random.edit(&old, 0),
                    None => random.object(),
                };
                let Some(change) = put(at, &base, &value) else { continue };
                change
            }
        };
        if random.chance(10) {
            change.prev = changes.first().map(|change| change.position.stamp());
        }
        naive.fold(change.position, change.prev, &kind_of(&change));
        state.fold(&change);
        agrees(&naive, &state);
        assert_eq!(State::decode(&state.encode()).as_ref(), Ok(&state));
        changes.push(change);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    #[test]
    fn folds_as_the_document_says(seed: u64) {
        history(seed);
    }
}
