//! A list whose entry, and others it names, got other seqs.

use super::{After, ArrayList, Cut, Edit, EditKind, Inner, Insert, List, Put, Removal};
use crate::crdt::element::ElementId;
use crate::crdt::json::Props;

impl List {
    /// The same list, every element that it names named anew.
    #[must_use]
    pub fn renumbered(mut self, name: &impl Fn(ElementId) -> ElementId) -> Self {
        self.cut = map(self.cut, |cut| match cut {
            Cut::Array(removals) => Cut::Array(remove(removals, name)),
            object @ Cut::Object(_) => object,
        });
        self.inner = map(self.inner, |inner| match inner {
            Inner::Object(list) => Inner::Object(list.renumbered(name)),
            Inner::Array(edits) => Inner::Array(edit(edits, name)),
        });
        self.put = map(self.put, |put| match put {
            Put::Array(inserts) => Put::Array(insert(inserts, name)),
            object @ Put::Object(_) => object,
        });
        self
    }
}

fn map<T>(props: Props<T>, each: impl Fn(T) -> T) -> Props<T> {
    Props::from_pairs(props.into_pairs().into_iter().map(|(key, value)| (key, each(value))).collect())
}

fn remove(mut removals: Vec<Removal>, name: &impl Fn(ElementId) -> ElementId) -> Vec<Removal> {
    for removal in &mut removals {
        removal.id = removal.id.map(name);
    }
    removals
}

fn edit(edits: Vec<Edit>, name: &impl Fn(ElementId) -> ElementId) -> Vec<Edit> {
    let change = |kind| match kind {
        EditKind::Object(list) => EditKind::Object(list.renumbered(name)),
        EditKind::Array(ArrayList { remove: removals, edit: edits, insert: inserts }) => {
            EditKind::Array(ArrayList {
                remove: remove(removals, name),
                edit: edit(edits, name),
                insert: insert(inserts, name),
            })
        }
    };
    edits.into_iter().map(|Edit { id, change: kind }| Edit { id: name(id), change: change(kind) }).collect()
}

fn insert(mut inserts: Vec<Insert>, name: &impl Fn(ElementId) -> ElementId) -> Vec<Insert> {
    for insert in &mut inserts {
        insert.id = insert.id.map(name);
        insert.before_id = insert.before_id.map(name);
        if let After::Element(id) = insert.after_id {
            insert.after_id = After::Element(name(id));
        }
    }
    inserts
}
