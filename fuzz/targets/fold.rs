//! Folds of any lists, against the naive one.

#[path = "../../tests/naive/fold.rs"]
#[allow(dead_code, reason = "each of its users takes a part")]
mod naive;

use super::bytes::Bytes;
use super::diff::position;
use multi_hyperbee::crdt::{Change, ChangeKind, List, State, parse_object};
use naive::{Key, Kind};
use serde_json::{Map, Value, json};

/// More cost the naive fold too much.
const MOST: u64 = 16;

/// Lists that nobody's diff would be.
struct Lists<'b, 'a> {
    bytes: &'b mut Bytes<'a>,
    ids: Vec<String>,
}

impl Lists<'_, '_> {
    fn props(&mut self, mut value: impl FnMut(&mut Self) -> Value) -> Value {
        let length = self.bytes.below(4);
        let names = ["a", "b", "c", "id"];
        (0..length).map(|_| (self.bytes.pick(&names).to_owned(), value(self))).collect::<Map<_, _>>().into()
    }

    fn id(&mut self) -> Value {
        json!(self.bytes.pick(&self.ids))
    }

    fn list(&mut self, depth: usize) -> Value {
        let (mut list, mut insert) = (Map::new(), Map::new());
        let sections = self.bytes.u8();
        if sections & 1 != 0 {
            list.insert("add".into(), self.props(|s| s.bytes.value(3)));
        }
        if sections & 2 != 0 {
            list.insert("remove".into(), self.props(|_| json!("")));
        }
        if sections & 4 != 0 && depth < 3 {
            list.insert(
                "list".into(),
                self.props(|s| if s.bytes.chance(40) { s.list(depth + 1) } else { s.edits(depth) }),
            );
        }
        if sections & 8 != 0 {
            let put = |s: &mut Self| {
                if s.bytes.chance(60) { s.inserts() } else { s.props(|s| s.bytes.value(3)) }
            };
            insert.insert("add".into(), self.props(put));
        }
        if sections & 16 != 0 {
            let cut = |s: &mut Self| {
                if s.bytes.chance(60) { s.removals() } else { s.props(|_| json!("")) }
            };
            insert.insert("remove".into(), self.props(cut));
        }
        if !insert.is_empty() {
            list.insert("insert".into(), insert.into());
        }
        list.into()
    }

    fn edits(&mut self, depth: usize) -> Value {
        let mut edited: Vec<Value> = Vec::new();
        let mut edits = Vec::new();
        for _ in 0..self.bytes.below(3) {
            let id = self.id();
            if edited.contains(&id) {
                continue;
            }
            edited.push(id.clone());
            edits.push(if self.bytes.chance(50) {
                json!({"id": id, "list": self.list(depth + 1)})
            } else {
                let inner = if depth < 3 { self.edits(depth + 1) } else { json!([]) };
                json!({"id": id, "array": {"remove": self.removals(), "list": inner, "add": self.inserts()}})
            });
        }
        edits.into()
    }

    fn removals(&mut self) -> Value {
        let length = self.bytes.below(4);
        let removal = |s: &mut Self| match s.bytes.below(3) {
            0 => json!({"id": s.id(), "value": s.bytes.value(4)}),
            1 => json!({"value": s.bytes.value(4)}),
            _ => json!({"index": s.bytes.below(5)}),
        };
        (0..length).map(|_| removal(self)).collect()
    }

    fn inserts(&mut self) -> Value {
        let length = self.bytes.below(4);
        let insert = |s: &mut Self, at: usize| {
            let mut insert = json!({"value": s.bytes.value(3)});
            let parts = s.bytes.u8();
            if parts & 1 != 0 {
                insert["id"] = s.id();
            }
            match parts >> 1 & 3 {
                1 => insert["afterId"] = Value::Null,
                2 => insert["afterId"] = s.id(),
                3 if at > 0 => insert["afterId"] = json!(s.bytes.below(at)),
                _ => {}
            }
            if parts & 8 != 0 {
                insert["after"] = s.bytes.value(4);
            }
            if parts & 16 != 0 {
                insert["before"] = s.bytes.value(4);
            }
            if parts & 32 != 0 {
                insert["beforeId"] = s.id();
            }
            if parts & 64 != 0 {
                insert["index"] = json!(s.bytes.below(5));
            }
            insert
        };
        (0..length).map(|at| insert(self, at)).collect()
    }
}

/// A change of any kind, made against the state `base`; none if nothing has changed.
fn kind(bytes: &mut Bytes<'_>, base: &State, ids: Vec<String>) -> Option<ChangeKind> {
    let list = match bytes.u8() % 8 {
        0 => return Some(ChangeKind::Delete),
        1 => {
            let length = bytes.below(4);
            return Some(ChangeKind::Register(bytes.take(length).to_vec()));
        }
        2 => List::parse(&bytes.text(255)).ok()?,
        3..6 => {
            let text = Lists { bytes, ids }.list(0).to_string();
            List::parse(&text).ok()?
        }
        _ => {
            let old = base.to_text().and_then(|text| serde_json::from_str(&text).ok());
            let value = match &old {
                Some(old) => bytes.edit(old, 0),
                None => bytes.object(0),
            };
            // Some of what is made up lies beyond the limits.
            base.diff_to(&parse_object(&value.to_string()).ok()?)?
        }
    };
    assert_eq!(List::parse(&list.to_text()).as_ref(), Ok(&list));
    Some(ChangeKind::List(list))
}

pub fn fold(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let (mut naive, mut states) = (Key::default(), vec![State::empty()]);
    for step in 1..=MOST {
        if bytes.is_empty() {
            return;
        }
        let writer = 1 + u8::try_from(bytes.below(3)).unwrap_or(0);
        let at = position(step, writer, step);
        let base = bytes.pick(&states);
        let mut ids =
            vec![format!("{}-{step:x}-1", format!("{writer:02x}").repeat(8)), "ffffffffffffffff-1-0".into()];
        ids.extend(naive.ids());
        let Some(kind) = kind(&mut bytes, &base, ids) else { continue };
        let mut state = states.last().cloned().unwrap_or_else(State::empty);
        let asked = match &kind {
            ChangeKind::List(list) => {
                Kind::List(serde_json::from_str(&list.to_text()).expect("a list is JSON"))
            }
            ChangeKind::Register(bytes) => Kind::Register(bytes.clone()),
            ChangeKind::Delete => Kind::Delete,
        };
        naive.fold(at, base.base(), &asked);
        state.fold(&Change { position: at, prev: base.base(), kind });
        let object = state.to_text().map(|text| (text.into_bytes(), false));
        let found = object.or_else(|| state.register().map(|bytes| (bytes.to_vec(), true)));
        assert_eq!(found, naive.value(), "step {step}");
        assert_eq!((state.last(), state.prev(), state.id()), (naive.last, naive.prev, naive.id()));
        assert_eq!(State::decode(&state.encode()).as_ref(), Ok(&state));
        states.push(state);
    }
}
