//! Folding a list onto an object. Each part takes effect in the list's order and counts its ids, used or not.

mod array;
mod sequence;

use super::element::Numbering;
use super::json::Props;
use super::list::{Cut, EditKind, Inner, List, Put, Sub};
use super::tree::Node;

pub(super) fn fold_list(props: &mut Props<Node>, list: &List, ids: &mut Numbering) {
    props.remove_all(list.remove.iter().map(String::as_str));
    let added: Vec<Node> = list.add.values().map(|value| Node::build(value, ids)).collect();
    props.set_all(list.add.names().collect::<Vec<_>>().into_iter(), added.into_iter());
    for (cut, place) in list.cut.values().zip(props.places(list.cut.names())) {
        if let Some(node) = place.and_then(|place| props.at_mut(place)) {
            fold_cut(node, cut);
        }
    }
    let places = props.places(list.inner.names());
    for ((name, inner), place) in list.inner.iter().zip(places) {
        match container(props, name, place, inner.adds(), matches!(inner, Inner::Object(_))) {
            Some(node) => fold_inner(node, inner, ids),
            None => ids.skip(inner.ids()),
        }
    }
    let places = props.places(list.put.names());
    for ((name, put), place) in list.put.iter().zip(places) {
        // Where there is none, it adds nothing, so it takes no ids.
        if let Some(node) = container(props, name, place, put.adds(), matches!(put, Put::Object(_))) {
            fold_put(node, put, ids);
        }
    }
}

/// The container that a change inside `name` is about: the one there, or, if that is gone or of another type and the
/// change adds something, a new one.
fn container<'p>(
    props: &'p mut Props<Node>,
    name: &str,
    place: Option<usize>,
    adds: bool,
    object: bool,
) -> Option<&'p mut Node> {
    let place = match place {
        Some(place) => place,
        None if adds => {
            props.push(name.to_owned(), empty(object));
            props.len() - 1
        }
        None => return None,
    };
    become_container(props.at_mut(place)?, adds, object)
}

fn become_container(node: &mut Node, adds: bool, object: bool) -> Option<&mut Node> {
    match (&*node, object) {
        (Node::Object(_), true) | (Node::Array(_), false) => Some(node),
        _ if adds => {
            *node = empty(object);
            Some(node)
        }
        _ => None,
    }
}

fn empty(object: bool) -> Node {
    if object { Node::Object(Props::default()) } else { Node::Array(Vec::new()) }
}

fn fold_cut(node: &mut Node, cut: &Cut) {
    match (node, cut) {
        (Node::Object(props), Cut::Object(subs)) => fold_subs(props, subs),
        (Node::Array(elements), Cut::Array(removals)) => array::remove(elements, removals),
        _ => {}
    }
}

fn fold_subs(props: &mut Props<Node>, subs: &Props<Sub>) {
    for (sub, place) in subs.values().zip(props.places(subs.names())) {
        if let (Sub::Inside(subs), Some(Node::Object(props))) = (sub, place.and_then(|at| props.at_mut(at))) {
            fold_subs(props, subs);
        }
    }
    props.remove_all(subs.iter().filter(|(_, sub)| matches!(sub, Sub::Gone(_))).map(|(name, _)| name));
}

/// `node` is a container of the kind that `inner` is about.
fn fold_inner(node: &mut Node, inner: &Inner, ids: &mut Numbering) {
    match (node, inner) {
        (Node::Object(props), Inner::Object(list)) => fold_list(props, list, ids),
        (Node::Array(elements), Inner::Array(edits)) => array::edit(elements, edits, ids),
        _ => ids.skip(inner.ids()),
    }
}

fn fold_put(node: &mut Node, put: &Put, ids: &mut Numbering) {
    match (node, put) {
        (Node::Object(props), Put::Object(subs)) => {
            let added: Vec<Node> = subs.values().map(|value| Node::build(value, ids)).collect();
            props.set_all(subs.names().collect::<Vec<_>>().into_iter(), added.into_iter());
        }
        (Node::Array(elements), Put::Array(inserts)) => array::insert(elements, inserts, ids),
        _ => ids.skip(put.ids()),
    }
}

/// A change of what an array element holds.
fn fold_edit(node: &mut Node, change: &EditKind, ids: &mut Numbering) {
    match change {
        EditKind::Object(list) => match become_container(node, list.adds(), true) {
            Some(Node::Object(props)) => fold_list(props, list, ids),
            _ => ids.skip(list.ids()),
        },
        EditKind::Array(list) => match become_container(node, list.adds(), false) {
            Some(Node::Array(elements)) => {
                array::remove(elements, &list.remove);
                array::edit(elements, &list.edit, ids);
                array::insert(elements, &list.insert, ids);
            }
            _ => ids.skip(list.ids()),
        },
    }
}
