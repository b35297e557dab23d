//! A diff list: what one diff says about one object. The grammar of its text is in `docs/design/merge.md`.

mod parse;
mod renumber;
mod touched;
mod write;

pub use parse::{ListError, MAX_BY_VALUE, MAX_LIST_DEPTH, without_reserved};
pub(super) use touched::{Path, Step, Touch, touches};

use super::element::ElementId;
use super::json::{Props, Scalar, Value};
use super::tree::elements_in;

/// A valid diff list, its parts in the order in which they take effect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct List {
    /// `remove`: properties to remove.
    pub(super) remove: Vec<String>,
    /// `add`: properties to set.
    pub(super) add: Props<Value>,
    /// `insert.remove`: what to remove inside properties.
    pub(super) cut: Props<Cut>,
    /// `list`: deeper changes.
    pub(super) inner: Props<Inner>,
    /// `insert.add`: what to add inside properties.
    pub(super) put: Props<Put>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cut {
    Object(Props<Sub>),
    Array(Vec<Removal>),
}

/// A property to remove (with what its old value was, for readers), or the way to one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sub {
    Gone(Scalar),
    Inside(Props<Sub>),
}

/// An array element to remove: by id; else the first with this value; else by index.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Removal {
    pub id: Option<ElementId>,
    pub value: Option<Value>,
    pub index: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Inner {
    Object(List),
    Array(Vec<Edit>),
}

/// A change inside the array element `id`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Edit {
    pub id: ElementId,
    pub change: EditKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum EditKind {
    Object(List),
    Array(ArrayList),
}

/// What a diff says about an array that is itself an array's element.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ArrayList {
    pub remove: Vec<Removal>,
    pub edit: Vec<Edit>,
    pub insert: Vec<Insert>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Put {
    Object(Props<Value>),
    Array(Vec<Insert>),
}

/// An element to insert, or, with an `id`, to move.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Insert {
    pub id: Option<ElementId>,
    pub value: Value,
    pub after_id: After,
    pub before_id: Option<ElementId>,
    pub after: Option<Value>,
    pub before: Option<Value>,
    pub index: Option<u64>,
}

/// What `afterId` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// No `afterId`.
    Unsaid,
    /// `null`: there was nothing before it.
    Front,
    /// A number: the element that this insert of the same array, counted from 0, put there.
    Own(usize),
    Element(ElementId),
}

impl List {
    /// The list of a new object.
    pub(super) fn whole(value: &Props<Value>) -> Self {
        Self { add: value.clone(), ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.add.is_empty()
            && self.cut.is_empty()
            && self.inner.is_empty()
            && self.put.is_empty()
    }

    /// Whether it says more than removals: only then it makes a container where there is none.
    pub(super) fn adds(&self) -> bool {
        !self.add.is_empty() || self.inner.values().any(Inner::adds) || self.put.values().any(Put::adds)
    }

    /// How many ids it takes.
    pub(super) fn ids(&self) -> u32 {
        let added = self.add.values().map(elements_in);
        let inner = self.inner.values().map(Inner::ids);
        sum(added.chain(inner).chain(self.put.values().map(Put::ids)))
    }
}

impl Inner {
    pub fn adds(&self) -> bool {
        match self {
            Self::Object(list) => list.adds(),
            // An edit names an element, so it never makes the array that should hold it.
            Self::Array(_) => false,
        }
    }

    pub fn ids(&self) -> u32 {
        match self {
            Self::Object(list) => list.ids(),
            Self::Array(edits) => sum(edits.iter().map(Edit::ids)),
        }
    }
}

impl Edit {
    pub fn ids(&self) -> u32 {
        match &self.change {
            EditKind::Object(list) => list.ids(),
            EditKind::Array(list) => list.ids(),
        }
    }
}

impl ArrayList {
    pub fn adds(&self) -> bool {
        !self.insert.is_empty()
    }

    pub fn ids(&self) -> u32 {
        sum(self.edit.iter().map(Edit::ids).chain(self.insert.iter().map(Insert::ids)))
    }
}

impl Put {
    pub fn adds(&self) -> bool {
        match self {
            Self::Object(subs) => !subs.is_empty(),
            Self::Array(inserts) => !inserts.is_empty(),
        }
    }

    pub fn ids(&self) -> u32 {
        match self {
            Self::Object(subs) => sum(subs.values().map(elements_in)),
            Self::Array(inserts) => sum(inserts.iter().map(Insert::ids)),
        }
    }
}

impl Insert {
    /// Its own, unless it is a move, and one for every element inside its value.
    pub fn ids(&self) -> u32 {
        elements_in(&self.value).saturating_add(u32::from(self.id.is_none()))
    }

    /// Whether two lists put an element in the same place. A number in `afterId` means something in its own list only.
    pub fn same_place(&self, other: &Self) -> bool {
        let own = matches!(self.after_id, After::Own(_));
        let anchors = |insert: &Self| (insert.after_id, insert.before_id, insert.index);
        !own && anchors(self) == anchors(other) && self.after == other.after && self.before == other.before
    }
}

fn sum(counts: impl Iterator<Item = u32>) -> u32 {
    counts.fold(0, u32::saturating_add)
}

/// How many operations a list has: of several that say what is wanted, the smallest is written.
pub fn list_size(list: &List) -> usize {
    let cut = list.cut.values().map(|cut| match cut {
        Cut::Object(subs) => subs.values().map(sub_size).sum(),
        Cut::Array(removals) => removals.len(),
    });
    let inner = list.inner.values().map(|inner| match inner {
        Inner::Object(list) => list_size(list),
        Inner::Array(edits) => edits.iter().map(edit_size).sum(),
    });
    let put = list.put.values().map(|put| match put {
        Put::Object(subs) => subs.len(),
        Put::Array(inserts) => inserts.len(),
    });
    list.remove.len() + list.add.len() + cut.chain(inner).chain(put).sum::<usize>()
}

fn sub_size(sub: &Sub) -> usize {
    match sub {
        Sub::Gone(_) => 1,
        Sub::Inside(subs) => subs.values().map(sub_size).sum(),
    }
}

fn edit_size(edit: &Edit) -> usize {
    match &edit.change {
        EditKind::Object(list) => list_size(list),
        EditKind::Array(list) => {
            list.remove.len() + list.edit.iter().map(edit_size).sum::<usize>() + list.insert.len()
        }
    }
}
