//! What a key's value is: its diffs, folded one after another onto plain vectors, written from the design document alone.
//! Lists are read as JSON with `serde_json`; element ids are looked up by linear search.

use multi_hyperbee::types::{Position, Stamp};
use serde::Serialize as _;
use serde_json::ser::{Formatter, Serializer};
use serde_json::{Map, Value, json};
use std::io;

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

/// Ids of array elements: the diff's dot and a count.
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

// How many ids a part of a diff uses up that finds nothing to work on.

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

/// What one diff says.
#[derive(Clone, Debug)]
pub enum Kind {
    List(Value),
    Register(Vec<u8>),
    Delete,
}

/// One key.
#[derive(Default)]
pub struct Key {
    live: Option<Body>,
    kept: Option<Body>,
    tombstone: Option<Stamp>,
    pub last: Option<Position>,
    pub prev: Option<Stamp>,
    folded: Vec<Position>,
}

impl Key {
    pub fn fold(&mut self, position: Position, prev: Option<Stamp>, kind: &Kind) {
        let mut fresh = false;
        if matches!(kind, Kind::Delete) {
            if self.live.is_some() {
                self.kept = self.live.take();
            }
            self.tombstone = Some(position.stamp());
        } else {
            let base = self.live.take().or_else(|| match (self.tombstone, prev) {
                (Some(tombstone), Some(prev)) if prev < tombstone => self.kept.clone(),
                _ => {
                    fresh = true;
                    None
                }
            });
            self.live = Some(match (kind, base) {
                (Kind::Register(bytes), _) => Body::Register(bytes.clone()),
                (Kind::List(list), base) => {
                    let mut props = if let Some(Body::Object(props)) = base { props } else { Vec::new() };
                    let writer: String = position.writer.to_string().chars().take(16).collect();
                    let mut ids = Ids { dot: format!("{writer}-{:x}", position.seq), n: 0 };
                    fold_list(&mut props, list, &mut ids);
                    Body::Object(props)
                }
                (Kind::Delete, _) => unreachable!(),
            });
        }
        self.prev = self.last.map(|last| last.stamp());
        self.last = Some(position);
        self.folded.push(position);
        if fresh {
            self.prev = None;
            self.folded = vec![position];
        }
    }

    /// The live value, as JSON text or a register's bytes, and whether it is a register.
    pub fn value(&self) -> Option<(Vec<u8>, bool)> {
        self.live.as_ref().map(|body| match body {
            Body::Object(props) => (text(&shown(&Node::Object(props.clone()))), false),
            Body::Register(bytes) => (bytes.clone(), true),
        })
    }

    /// Ids of all elements of the live value, removed ones too.
    #[allow(dead_code, reason = "one of the tests that share this asks for them")]
    pub fn ids(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(Body::Object(props)) = &self.live {
            for (_, node) in props {
                all_ids(node, &mut found);
            }
        }
        found
    }

    #[allow(dead_code, reason = "one of the tests that share this asks for it")]
    pub fn stamp(&self) -> Option<Stamp> {
        self.last.map(|last| last.stamp())
    }

    /// The state id: a sum over the diffs folded.
    pub fn id(&self) -> u64 {
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
}

fn all_ids(node: &Node, out: &mut Vec<String>) {
    match node {
        Node::Scalar(_) => {}
        Node::Object(props) => {
            for (_, node) in props {
                all_ids(node, out);
            }
        }
        Node::Array(elements) => {
            for element in elements {
                out.push(element.id.clone());
                all_ids(&element.node, out);
            }
        }
    }
}

/// JSON as JavaScript writes it: `serde_json` gives large and small numbers other exponents.
fn text(value: &Value) -> Vec<u8> {
    struct JavaScript;

    impl Formatter for JavaScript {
        fn write_f64<W: ?Sized + io::Write>(&mut self, out: &mut W, number: f64) -> io::Result<()> {
            let is_plain = number == 0.0 || (1e-6..1e21).contains(&number.abs());
            let text = if is_plain { number.to_string() } else { format!("{number:e}") };
            let is_large = text.contains('e') && !text.contains("e-");
            out.write_all(if is_large { text.replace('e', "e+") } else { text }.as_bytes())
        }
    }

    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut out, JavaScript)).unwrap();
    out
}
