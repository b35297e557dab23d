use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::common::{common, longest_increasing};
use super::{is_short, live_elements, object, pair};
use crate::crdt::element::ElementId;
use crate::crdt::json::{Scalar, Value};
use crate::crdt::list::{After, ArrayList, Edit, EditKind, Insert, Removal};
use crate::crdt::tree::{Element, Node};

/// `plain` is what is live in `elements`, in order.
pub(super) fn diff(elements: &[Element], plain: &[Value], new: &[Value]) -> ArrayList {
    let live = live_elements(elements);
    let matched = Matched::of(plain, new);
    let edit = matched.edited.iter().filter_map(|(i, j)| {
        let (element, old) = (live.get(*i)?, plain.get(*i)?);
        Some(Edit { id: element.id, change: inside(&element.node, old, new.get(*j)?)? })
    });
    let edit = edit.collect();
    let remove = removals(&matched, &live, plain);
    ArrayList { remove, edit, insert: inserts(&matched, &live, new) }
}

/// The change inside an element that stays the same one.
fn inside(node: &Node, plain: &Value, new: &Value) -> Option<EditKind> {
    match (node, plain, new) {
        (Node::Object(old), Value::Object(plain), Value::Object(new)) => {
            Some(EditKind::Object(object(old, plain, new)))
        }
        (Node::Array(old), Value::Array(plain), Value::Array(new)) => {
            Some(EditKind::Array(diff(old, plain, new)))
        }
        _ => None,
    }
}

/// Which old element each new one is.
struct Matched {
    /// By new position: the old one.
    old: Vec<Option<usize>>,
    /// The pairs (old, new) that are not equal.
    edited: Vec<(usize, usize)>,
    /// New positions whose element stays where it is, relative to the others that stay.
    stay: BTreeSet<usize>,
}

impl Matched {
    fn of(plain: &[Value], new: &[Value]) -> Self {
        let head = plain.iter().zip(new).take_while(|(a, b)| a == b).count();
        let (a, b) = (plain.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
        let tail = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
        let a = a.get(..a.len() - tail).unwrap_or_default();
        let b = b.get(..b.len() - tail).unwrap_or_default();
        let (equal, edited) = middle(a, b);
        let mut old = vec![None; new.len()];
        let ends = (0..head).map(|at| (at, at));
        let tails = (0..tail).map(|at| (plain.len() - 1 - at, new.len() - 1 - at));
        let shift = |(i, j): &(usize, usize)| (i + head, j + head);
        for (i, j) in ends.chain(tails).chain(equal.iter().chain(&edited).map(shift)) {
            if let Some(place) = old.get_mut(j) {
                *place = Some(i);
            }
        }
        let pairs: Vec<(usize, usize)> = (0..).zip(&old).filter_map(|(j, i)| i.map(|i| (i, j))).collect();
        let stay = longest_increasing(pairs.iter().map(|(i, _)| *i));
        let stay = stay.into_iter().filter_map(|at| pairs.get(at).map(|(_, j)| *j)).collect();
        Self { old, edited: edited.iter().map(shift).collect(), stay }
    }
}

type Pairs = Vec<(usize, usize)>;

/// Equal pairs and edited ones: first what kept its order, then equals that moved, then edits.
fn middle(a: &[Value], b: &[Value]) -> (Pairs, Pairs) {
    if a.is_empty() || b.is_empty() {
        return (Vec::new(), Vec::new());
    }
    let mut classes: BTreeMap<String, u32> = BTreeMap::new();
    let mut class = |value: &Value| {
        let fresh = u32::try_from(classes.len()).unwrap_or(u32::MAX);
        *classes.entry(value.canonical()).or_insert(fresh)
    };
    let old: Vec<u32> = a.iter().map(&mut class).collect();
    let new: Vec<u32> = b.iter().map(&mut class).collect();
    let mut equal = common(&old, &new);
    let mut free: BTreeMap<u32, VecDeque<usize>> = BTreeMap::new();
    for (i, class) in left(&old, equal.iter().map(|(i, _)| *i)) {
        free.entry(class).or_default().push_back(i);
    }
    let mut rest = Vec::new();
    for (j, class) in left(&new, equal.iter().map(|(_, j)| *j)) {
        match free.get_mut(&class).and_then(VecDeque::pop_front) {
            Some(i) => equal.push((i, j)),
            None => rest.push(j),
        }
    }
    let mut gone: Vec<usize> = free.into_values().flatten().collect();
    gone.sort_unstable();
    let with = |places: Vec<usize>, side| -> Vec<(usize, &Value)> {
        let side: &[Value] = side;
        places.into_iter().filter_map(|place| Some((place, side.get(place)?))).collect()
    };
    let edited = pair::edits(&with(gone, a), &with(rest, b));
    (equal, edited)
}

/// Positions and classes not among `taken`.
fn left(classes: &[u32], taken: impl Iterator<Item = usize>) -> Vec<(usize, u32)> {
    let taken: BTreeSet<usize> = taken.collect();
    (0..).zip(classes.iter().copied()).filter(|(place, _)| !taken.contains(place)).collect()
}

fn removals(matched: &Matched, live: &[&Element], plain: &[Value]) -> Vec<Removal> {
    let kept: BTreeSet<usize> = matched.old.iter().flatten().copied().collect();
    let gone: Vec<usize> = (0..live.len()).filter(|place| !kept.contains(place)).collect();
    // A value says which one only if it is short and there once; then readers of the published format get it.
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    if !gone.is_empty() {
        for value in plain.iter().filter(|value| scalar(value).is_some()) {
            *times.entry(value.canonical()).or_default() += 1;
        }
    }
    let removal = |place: usize| {
        let element = live.get(place)?;
        let value = plain.get(place).filter(|value| scalar(value).is_some_and(is_short));
        let value = value.filter(|value| times.get(&value.canonical()) == Some(&1)).cloned();
        let index = if value.is_none() { Some(place as u64) } else { None };
        Some(Removal { id: Some(element.id), value, index })
    };
    gone.into_iter().filter_map(removal).collect()
}

fn scalar(value: &Value) -> Option<&Scalar> {
    match value {
        Value::Scalar(scalar) => Some(scalar),
        _ => None,
    }
}

/// What is new or moved, in the new order: each behind what stands before it there.
fn inserts(matched: &Matched, live: &[&Element], new: &[Value]) -> Vec<Insert> {
    let id = |j: usize| -> Option<ElementId> {
        let i = matched.old.get(j).copied().flatten()?;
        live.get(i).map(|element| element.id)
    };
    let mut inserts: Vec<Insert> = Vec::new();
    let mut after_id = After::Front;
    let mut stays = matched.stay.iter().copied().peekable();
    for (j, value) in new.iter().enumerate() {
        let own = id(j);
        if stays.next_if_eq(&j).is_some() {
            after_id = own.map_or(After::Front, After::Element);
            continue;
        }
        let before_id = stays.peek().and_then(|next| id(*next));
        let index = Some(j as u64);
        let insert =
            Insert { id: own, value: value.clone(), after_id, before_id, after: None, before: None, index };
        after_id = own.map_or(After::Own(inserts.len()), After::Element);
        inserts.push(insert);
    }
    inserts
}
