use std::collections::BTreeMap;

use super::fold_edit;
use super::sequence::{Place, Sequence};
use crate::crdt::element::{ElementId, Numbering};
use crate::crdt::json::Value;
use crate::crdt::list::{After, Edit, Insert, Removal};
use crate::crdt::tree::{Element, Node, elements_in};

fn by_id(elements: &[Element]) -> BTreeMap<ElementId, usize> {
    elements.iter().enumerate().map(|(place, element)| (element.id, place)).collect()
}

/// All removals are looked up before the first takes effect. One that names an id that is not here does nothing.
pub(super) fn remove(elements: &mut [Element], removals: &[Removal]) {
    if removals.is_empty() {
        return;
    }
    let ids = by_id(elements);
    let live: Vec<usize> =
        (0..).zip(elements.iter()).filter(|(_, e)| e.live).map(|(place, _)| place).collect();
    let mut gone = vec![false; elements.len()];
    for removal in removals {
        let place = if let Some(id) = &removal.id {
            ids.get(id).copied()
        } else if let Some(value) = &removal.value {
            let free = |place: &&usize| gone.get(**place) == Some(&false);
            live.iter().filter(free).find(|at| elements.get(**at).is_some_and(|e| e.node.is(value))).copied()
        } else {
            nth(&live, removal.index)
        };
        if let Some(flag) = place.and_then(|place| gone.get_mut(place)) {
            *flag = true;
        }
    }
    for (element, gone) in elements.iter_mut().zip(gone) {
        element.live &= !gone;
    }
}

fn nth(places: &[usize], index: Option<u64>) -> Option<usize> {
    places.get(usize::try_from(index?).ok()?).copied()
}

/// Edits of removed elements stay with them.
pub(super) fn edit(elements: &mut [Element], edits: &[Edit], ids: &mut Numbering) {
    if edits.is_empty() {
        return;
    }
    let known = by_id(elements);
    for edit in edits {
        match known.get(&edit.id).and_then(|place| elements.get_mut(*place)) {
            Some(element) => fold_edit(&mut element.node, &edit.change, ids),
            None => ids.skip(edit.ids()),
        }
    }
}

/// Inserts and moves, in list order.
pub(super) fn insert(elements: &mut Vec<Element>, inserts: &[Insert], ids: &mut Numbering) {
    if inserts.is_empty() {
        return;
    }
    let mut array = Inserting {
        known: by_id(elements),
        order: Sequence::of(elements.iter().map(|element| element.live)),
        slots: std::mem::take(elements),
        own: Vec::with_capacity(inserts.len()),
    };
    for insert in inserts {
        let id = array.insert(insert, ids);
        array.own.push(id);
    }
    let mut slots: Vec<Option<Element>> = array.slots.into_iter().map(Some).collect();
    elements.extend(array.order.slots().filter_map(|slot| slots.get_mut(slot).and_then(Option::take)));
}

struct Inserting {
    /// Every element, wherever it stands; `order` names them by their place here.
    slots: Vec<Element>,
    known: BTreeMap<ElementId, usize>,
    order: Sequence,
    /// What the inserts so far put there.
    own: Vec<ElementId>,
}

impl Inserting {
    fn insert(&mut self, insert: &Insert, ids: &mut Numbering) -> ElementId {
        let id = insert.id.unwrap_or_else(|| ids.next());
        let slot = match self.known.get(&id) {
            // An id stands for one element. That of a new one is taken only if its writer lied in an earlier entry.
            Some(_) if insert.id.is_none() => {
                ids.skip(elements_in(&insert.value));
                return id;
            }
            Some(&slot) => {
                ids.skip(elements_in(&insert.value));
                self.order.remove(slot);
                self.known.remove(&id);
                if let Some(element) = self.slots.get_mut(slot) {
                    element.live = true;
                }
                slot
            }
            None => {
                let node = Node::build(&insert.value, ids);
                self.slots.push(Element { id, live: true, node });
                self.slots.len() - 1
            }
        };
        let place = self.place(insert);
        self.order.insert(slot, place);
        self.known.insert(id, slot);
        id
    }

    /// By ids, then by values, then by index, then the end. The element itself stands nowhere meanwhile.
    fn place(&self, insert: &Insert) -> Place {
        let before = insert.before_id.and_then(|id| self.known.get(&id)).map(|slot| Place::Before(*slot));
        let after = |id: &ElementId| self.known.get(id).map(|slot| Place::After(*slot));
        let by_id = match &insert.after_id {
            After::Unsaid => before,
            After::Front => before.or(Some(Place::Start)),
            After::Own(own) => self.own.get(*own).and_then(after).or(before),
            After::Element(id) => after(id).or(before),
        };
        by_id
            .or_else(|| self.first(insert.after.as_ref()?).map(Place::After))
            .or_else(|| self.first(insert.before.as_ref()?).map(Place::Before))
            .or_else(|| self.order.nth_live(usize::try_from(insert.index?).ok()?).map(Place::Before))
            .unwrap_or(Place::End)
    }

    fn first(&self, value: &Value) -> Option<usize> {
        self.order
            .slots()
            .find(|slot| self.slots.get(*slot).is_some_and(|element| element.live && element.node.is(value)))
    }
}
