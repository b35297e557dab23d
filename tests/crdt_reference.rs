//! Fold against a naive reference, written from `docs/design/merge.md` alone: plain vectors, linear searches, lists read
//! as JSON with `serde_json`. It shares no function with the code.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails here should stop")]

mod crdt_support;

use crdt_support::{Random, delete, fold, plain, position, put};
use multi_hyperbee::crdt::{Change, ChangeKind, List, State};
use multi_hyperbee::types::{Position, Stamp};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

#[derive(Clone, Debug)]
enum Node {
    Scalar(Value),
    Array(Vec<Element>),
    Object(Vec<(String, Node)>),
}

#[derive(Clone, Debug)]
struct Element {
    id: String,
    live: bool,
    node: Node,
}

struct Ids {
    dot: String,
    n: u64,
}

impl Ids {
    fn next(&mut self) -> String {
        self.n += 1;
        format!("{}-{:x}", self.dot, self.n - 1)
    }
}

fn build(value: &Value, ids: &mut Ids) -> Node {
    match value {
        Value::Array(items) => Node::Array(
            items.iter().map(|v| Element { id: ids.next(), live: true, node: build(v, ids) }).collect(),
        ),
        Value::Object(props) => Node::Object(props.iter().map(|(k, v)| (k.clone(), build(v, ids))).collect()),
        scalar => Node::Scalar(scalar.clone()),
    }
}

fn shown(node: &Node) -> Value {
    match node {
        Node::Scalar(value) => value.clone(),
        Node::Array(elements) => elements.iter().filter(|e| e.live).map(|e| shown(&e.node)).collect(),
        Node::Object(props) => Value::Object(props.iter().map(|(k, v)| (k.clone(), shown(v))).collect()),
    }
}

fn inside(value: &Value) -> u64 {
    match value {
        Value::Array(items) => items.iter().map(|v| 1 + inside(v)).sum(),
        Value::Object(props) => props.values().map(inside).sum(),
        _ => 0,
    }
}

fn members<'v>(value: &'v Value, name: &str) -> Vec<(&'v String, &'v Value)> {
    value.get(name).and_then(Value::as_object).map_or(Vec::new(), |props| props.iter().collect())
}

fn items<'v>(value: &'v Value, name: &str) -> Vec<&'v Value> {
    value.get(name).and_then(Value::as_array).map_or(Vec::new(), |items| items.iter().collect())
}

fn inserts_ids(inserts: &[&Value]) -> u64 {
    inserts.iter().map(|i| u64::from(i.get("id").is_none()) + inside(&i["value"])).sum()
}

fn edit_ids(edit: &Value) -> u64 {
    if let Some(list) = edit.get("list") {
        list_ids(list)
    } else {
        let array = &edit["array"];
        items(array, "list").iter().map(|e| edit_ids(e)).sum::<u64>() + inserts_ids(&items(array, "add"))
    }
}

fn list_ids(list: &Value) -> u64 {
    let add: u64 = members(list, "add").iter().map(|(_, v)| inside(v)).sum();
    let inner: u64 = members(list, "list").iter().map(|(_, v)| inner_ids(v)).sum();
    let insert = list.get("insert").cloned().unwrap_or_default();
    let put: u64 = members(&insert, "add").iter().map(|(_, v)| put_ids(v)).sum();
    add + inner + put
}

fn inner_ids(inner: &Value) -> u64 {
    inner.as_array().map_or_else(|| list_ids(inner), |edits| edits.iter().map(edit_ids).sum())
}

fn put_ids(put: &Value) -> u64 {
    match put {
        Value::Array(inserts) => inserts_ids(&inserts.iter().collect::<Vec<_>>()),
        subs => inside(subs),
    }
}

fn adds(list: &Value) -> bool {
    let insert = list.get("insert").cloned().unwrap_or_default();
    !members(list, "add").is_empty()
        || members(list, "list").iter().any(|(_, v)| v.is_object() && adds(v))
        || members(&insert, "add").iter().any(|(_, v)| **v != json!([]) && **v != json!({}))
}

fn find<'p>(props: &'p mut [(String, Node)], name: &str) -> Option<&'p mut Node> {
    props.iter_mut().find(|(own, _)| own == name).map(|(_, node)| node)
}

fn set(props: &mut Vec<(String, Node)>, name: &str, node: Node) {
    match find(props, name) {
        Some(old) => *old = node,
        None => props.push((name.to_owned(), node)),
    }
}

/// The container for a change inside `name`, made if need be and if the change adds something.
fn open<'p>(props: &'p mut Vec<(String, Node)>, name: &str, array: bool, adds: bool) -> Option<&'p mut Node> {
    let fits = match find(props, name) {
        Some(Node::Array(_)) => array,
        Some(Node::Object(_)) => !array,
        _ => false,
    };
    if !fits && !adds {
        return None;
    }
    if !fits {
        set(props, name, if array { Node::Array(Vec::new()) } else { Node::Object(Vec::new()) });
    }
    find(props, name)
}

fn fold_list(props: &mut Vec<(String, Node)>, list: &Value, ids: &mut Ids) {
    for (name, _) in members(list, "remove") {
        props.retain(|(own, _)| own != name);
    }
    for (name, value) in members(list, "add") {
        let node = build(value, ids);
        set(props, name, node);
    }
    let insert = list.get("insert").cloned().unwrap_or_default();
    for (name, cut) in members(&insert, "remove") {
        match (find(props, name), cut) {
            (Some(Node::Array(elements)), Value::Array(removals)) => {
                remove(elements, &removals.iter().collect::<Vec<_>>());
            }
            (Some(Node::Object(props)), Value::Object(subs)) => remove_subs(props, subs),
            _ => {}
        }
    }
    for (name, inner) in members(list, "list") {
        match open(props, name, inner.is_array(), inner.is_object() && adds(inner)) {
            Some(Node::Object(props)) => fold_list(props, inner, ids),
            Some(Node::Array(elements)) => {
                inner.as_array().unwrap().iter().for_each(|e| edit(elements, e, ids));
            }
            _ => ids.n += inner_ids(inner),
        }
    }
    for (name, put) in members(&insert, "add") {
        let empty = *put == json!([]) || *put == json!({});
        match open(props, name, put.is_array(), !empty) {
            Some(Node::Object(props)) => {
                for (sub, value) in put.as_object().unwrap() {
                    let node = build(value, ids);
                    set(props, sub, node);
                }
            }
            Some(Node::Array(elements)) => {
                place_all(elements, &put.as_array().unwrap().iter().collect::<Vec<_>>(), ids);
            }
            _ => ids.n += put_ids(put),
        }
    }
}

fn remove_subs(props: &mut Vec<(String, Node)>, subs: &Map<String, Value>) {
    for (name, sub) in subs {
        match sub {
            Value::Object(deeper) if !deeper.is_empty() => {
                if let Some(Node::Object(props)) = find(props, name) {
                    remove_subs(props, deeper);
                }
            }
            _ => props.retain(|(own, _)| own != name),
        }
    }
}

fn remove(elements: &mut [Element], removals: &[&Value]) {
    let before = elements.to_vec();
    let live: Vec<usize> = (0..before.len()).filter(|at| before[*at].live).collect();
    let mut gone: Vec<usize> = Vec::new();
    for removal in removals {
        let at = if let Some(id) = removal.get("id") {
            before.iter().position(|e| e.id == *id)
        } else if let Some(value) = removal.get("value") {
            live.iter().copied().find(|at| !gone.contains(at) && shown(&before[*at].node) == *value)
        } else {
            live.get(usize::try_from(removal["index"].as_u64().unwrap()).unwrap()).copied()
        };
        gone.extend(at);
    }
    for at in gone {
        elements[at].live = false;
    }
}

fn edit(elements: &mut [Element], edit: &Value, ids: &mut Ids) {
    let Some(element) = elements.iter_mut().find(|e| e.id == edit["id"]) else {
        ids.n += edit_ids(edit);
        return;
    };
    // As a change inside a property of that name.
    let mut holder = vec![("it".to_owned(), element.node.clone())];
    let (array, adds) = match edit.get("list") {
        Some(list) => (false, adds(list)),
        None => (true, !items(&edit["array"], "add").is_empty()),
    };
    match open(&mut holder, "it", array, adds) {
        Some(Node::Object(props)) => fold_list(props, &edit["list"], ids),
        Some(Node::Array(inner)) => {
            remove(inner, &items(&edit["array"], "remove"));
            for e in items(&edit["array"], "list") {
                self::edit(inner, e, ids);
            }
            place_all(inner, &items(&edit["array"], "add"), ids);
        }
        _ => ids.n += edit_ids(edit),
    }
    element.node = holder.pop().unwrap().1;
}

fn place_all(elements: &mut Vec<Element>, inserts: &[&Value], ids: &mut Ids) {
    let mut own: Vec<String> = Vec::new();
    for insert in inserts {
        let moved = insert.get("id").map(|id| id.as_str().unwrap().to_owned());
        let id = moved.clone().unwrap_or_else(|| ids.next());
        own.push(id.clone());
        let here = elements.iter().position(|e| e.id == id);
        if here.is_some() {
            ids.n += inside(&insert["value"]);
        }
        let element = match here {
            Some(_) if moved.is_none() => continue,
            Some(at) => Element { live: true, ..elements.remove(at) },
            None => Element { id, live: true, node: build(&insert["value"], ids) },
        };
        let at = place(elements, insert, &own);
        elements.insert(at, element);
    }
}

fn place(elements: &[Element], insert: &Value, own: &[String]) -> usize {
    let known = |id: &str| elements.iter().position(|e| e.id == id);
    let before = insert.get("beforeId").and_then(|id| known(id.as_str().unwrap()));
    let after = insert.get("afterId").map(|id| match id {
        Value::Null => None,
        Value::Number(nth) => Some(own[usize::try_from(nth.as_u64().unwrap()).unwrap()].clone()),
        text => Some(text.as_str().unwrap().to_owned()),
    });
    let by_value = |name: &str| {
        let value = insert.get(name)?;
        elements.iter().position(|e| e.live && shown(&e.node) == *value)
    };
    let by_id = match after {
        Some(None) => Some(before.unwrap_or(0)),
        Some(Some(id)) => known(&id).map(|at| at + 1).or(before),
        None => before,
    };
    let by_index = || {
        let index = usize::try_from(insert.get("index")?.as_u64()?).unwrap();
        (0..elements.len()).filter(|at| elements[*at].live).nth(index)
    };
    by_id
        .or_else(|| by_value("after").map(|at| at + 1))
        .or_else(|| by_value("before"))
        .or_else(by_index)
        .unwrap_or(elements.len())
}

#[derive(Clone, Debug)]
enum Body {
    Object(Vec<(String, Node)>),
    Register(Vec<u8>),
}

#[derive(Clone, Debug, Default)]
struct Naive {
    live: Option<Body>,
    kept: Option<Body>,
    tombstone: Option<Stamp>,
    last: Option<Position>,
    prev: Option<Stamp>,
    folded: Vec<Position>,
}

impl Naive {
    fn fold(&mut self, change: &Change, list: Option<&Value>) {
        let stamp = change.position.stamp();
        let mut fresh = false;
        if change.kind == ChangeKind::Delete {
            if self.live.is_some() {
                self.kept = self.live.take();
            }
            self.tombstone = Some(stamp);
        } else {
            let base = self.live.take().or_else(|| match (self.tombstone, change.prev) {
                (Some(tombstone), Some(prev)) if prev < tombstone => self.kept.clone(),
                _ => {
                    fresh = true;
                    None
                }
            });
            self.live = Some(match (&change.kind, base) {
                (ChangeKind::Register(bytes), _) => Body::Register(bytes.clone()),
                (_, base) => {
                    let mut props = if let Some(Body::Object(props)) = base { props } else { Vec::new() };
                    let dot = change.position.dot();
                    let writer = hex::encode(&dot.writer.0[..8]);
                    let mut ids = Ids { dot: format!("{writer}-{:x}", dot.seq), n: 0 };
                    fold_list(&mut props, list.unwrap(), &mut ids);
                    Body::Object(props)
                }
            });
        }
        self.prev = self.last.map(|last| last.stamp());
        self.last = Some(change.position);
        self.folded.push(change.position);
        if fresh {
            self.prev = None;
            self.folded = vec![change.position];
        }
    }

    fn id(&self) -> u64 {
        let hash = |p: &Position| {
            let mut bytes = p.writer.0.to_vec();
            for number in [p.seq, p.effective.time, p.effective.tick] {
                bytes.extend(number.to_be_bytes());
            }
            let hash = blake3::derive_key("multi-hyperbee 2026 merge-mode state id", &bytes);
            u64::from_be_bytes(hash[..8].try_into().unwrap())
        };
        self.folded.iter().map(hash).fold(0, u64::wrapping_add)
    }

    fn agrees(&self, state: &State) {
        let object = match &self.live {
            Some(Body::Object(props)) => Some(shown(&Node::Object(props.clone()))),
            _ => None,
        };
        let register = match &self.live {
            Some(Body::Register(bytes)) => Some(&bytes[..]),
            _ => None,
        };
        // As text: the order of properties is the fold's too.
        assert_eq!(state.to_text(), object.map(|value| value.to_string()));
        assert_eq!(state.register(), register);
        assert_eq!((state.last(), state.prev(), state.id()), (self.last, self.prev, self.id()));
    }
}

fn all_ids(node: &Node, out: &mut Vec<String>) {
    match node {
        Node::Scalar(_) => {}
        Node::Object(props) => props.iter().for_each(|(_, node)| all_ids(node, out)),
        Node::Array(elements) => elements.iter().for_each(|e| {
            out.push(e.id.clone());
            all_ids(&e.node, out);
        }),
    }
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
    let mut naive = Naive::default();
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
        if let Some(Body::Object(props)) = &naive.live {
            all_ids(&Node::Object(props.clone()), &mut ids);
        }
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
        let list = match &change.kind {
            ChangeKind::List(list) => Some(serde_json::from_str(&list.to_text()).unwrap()),
            _ => None,
        };
        naive.fold(&change, list.as_ref());
        state.fold(&change);
        naive.agrees(&state);
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
