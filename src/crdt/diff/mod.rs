//! What a put changed: a list that, folded onto the state it was made against, gives the value, exactly. Which old
//! array element a changed one is an edit of is this writer's choice; nobody else repeats it.

mod array;
mod common;
mod pair;

use super::json::{Props, Scalar, Value};
use super::list::{ArrayList, Cut, Inner, List, Put, Sub};
use super::tree::{Element, Node, plain_props};

/// Longer strings are not repeated when they are removed: peers do not need them.
const MAX_OLD_VALUE: usize = 64;

/// From what is live in `old` to `new`.
pub(super) fn diff(old: &Props<Node>, new: &Props<Value>) -> List {
    object(old, &plain_props(old), new)
}

/// `plain` is what is live in `old`, name by name in the same order.
fn object(old: &Props<Node>, plain: &Props<Value>, new: &Props<Value>) -> List {
    let mut list = List::default();
    for (name, place) in plain.names().zip(new.places(plain.names())) {
        if place.is_none() {
            list.remove.push(name.to_owned());
        }
    }
    for ((name, value), place) in new.iter().zip(plain.places(new.names())) {
        let before = place.and_then(|place| Some((old.at(place)?, plain.at(place)?)));
        match before {
            Some((_, plain)) if plain == value => {}
            Some((Node::Object(old), Value::Object(plain))) if value.as_object().is_some() => {
                if let Some(new) = value.as_object() {
                    lower_object(&mut list, name, plain, object(old, plain, new));
                }
            }
            Some((Node::Array(old), Value::Array(plain))) => match value {
                Value::Array(new) => lower_array(&mut list, name, array::diff(old, plain, new)),
                _ => list.add.push(name.to_owned(), value.clone()),
            },
            _ => list.add.push(name.to_owned(), value.clone()),
        }
    }
    list
}

/// Says the changes inside property `name` in the published format as far as it goes (one level), the rest nested.
fn lower_object(list: &mut List, name: &str, plain: &Props<Value>, mut change: List) {
    let gone = std::mem::take(&mut change.remove);
    let added = std::mem::take(&mut change.add);
    if !gone.is_empty() {
        let places = plain.places(gone.iter().map(String::as_str));
        let notes = places.into_iter().map(|place| Sub::Gone(note(place.and_then(|at| plain.at(at)))));
        let subs = gone.into_iter().zip(notes.collect::<Vec<_>>()).collect();
        list.cut.push(name.to_owned(), Cut::Object(Props::from_pairs(subs)));
    }
    if !change.is_empty() {
        list.inner.push(name.to_owned(), Inner::Object(change));
    }
    if !added.is_empty() {
        list.put.push(name.to_owned(), Put::Object(added));
    }
}

fn lower_array(list: &mut List, name: &str, change: ArrayList) {
    if !change.remove.is_empty() {
        list.cut.push(name.to_owned(), Cut::Array(change.remove));
    }
    if !change.edit.is_empty() {
        list.inner.push(name.to_owned(), Inner::Array(change.edit));
    }
    if !change.insert.is_empty() {
        list.put.push(name.to_owned(), Put::Array(change.insert));
    }
}

/// The old value as the published format repeats it, if it is a short one.
fn note(old: Option<&Value>) -> Scalar {
    match old {
        Some(Value::Scalar(scalar)) if is_short(scalar) => scalar.clone(),
        _ => Scalar::String(String::new()),
    }
}

fn is_short(scalar: &Scalar) -> bool {
    !matches!(scalar, Scalar::String(text) if text.len() > MAX_OLD_VALUE)
}

fn live_elements(elements: &[Element]) -> Vec<&Element> {
    super::tree::live(elements).collect()
}
