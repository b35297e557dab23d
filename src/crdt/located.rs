//! Finding paths in a folded state, each container indexed once however many paths lead through it.

use super::conflict::{Claim, Part};
use super::element::ElementId;
use super::list::{Path, Step};
use super::state::{Body, Content, State};
use super::tree::{Node, live};
use std::collections::BTreeMap;

pub(super) struct Located<'s> {
    state: &'s State,
    containers: BTreeMap<Path, Children<'s>>,
}

enum Children<'s> {
    None,
    Names(BTreeMap<&'s str, &'s Node>),
    /// Those that are shown.
    Elements(BTreeMap<ElementId, (usize, &'s Node)>),
}

impl<'s> Located<'s> {
    pub fn new(state: &'s State) -> Self {
        Self { state, containers: BTreeMap::new() }
    }

    /// Whether what is shown at `path` is what `claim` says.
    pub fn shows(&mut self, path: &[Step], claim: &Claim) -> bool {
        if path.is_empty() {
            return match claim {
                Claim::Absent | Claim::Deleted => !self.state.is_live(),
                Claim::Register(bytes) => self.state.register() == Some(bytes),
                Claim::Value(_) | Claim::Moved { .. } => false,
            };
        }
        let node = self.child(path).map(|(_, node)| node);
        match claim {
            Claim::Absent | Claim::Deleted => node.is_none(),
            Claim::Value(value) => node.is_some_and(|node| node.is(value)),
            Claim::Register(_) => false,
            Claim::Moved { .. } => node.is_some(),
        }
    }

    pub fn parts(&mut self, path: &[Step]) -> Vec<Part> {
        let mut parts = Vec::with_capacity(path.len());
        for (at, step) in path.iter().enumerate() {
            parts.push(match step {
                Step::Name(name) => Part::Name(name.clone()),
                Step::Element(id) => match self.child(path.get(..=at).unwrap_or_default()) {
                    Some((index, _)) => Part::Index(index),
                    None => Part::Gone(*id),
                },
            });
        }
        parts
    }

    /// What is shown at `path`, and, of an element, its index.
    fn child(&mut self, path: &[Step]) -> Option<(usize, &'s Node)> {
        let (step, above) = path.split_last()?;
        if !self.containers.contains_key(above) {
            let children = self.children(above);
            self.containers.insert(above.to_vec(), children);
        }
        match (self.containers.get(above)?, step) {
            (Children::Names(names), Step::Name(name)) => names.get(name.as_str()).map(|node| (0, *node)),
            (Children::Elements(elements), Step::Element(id)) => elements.get(id).copied(),
            _ => None,
        }
    }

    /// Calls itself once for every step up: no path is longer than a list is deep.
    fn children(&mut self, path: &[Step]) -> Children<'s> {
        if path.is_empty() {
            return match &self.state.content {
                Content::Live(Body::Object(props)) => Children::Names(props.iter().collect()),
                _ => Children::None,
            };
        }
        match self.child(path) {
            Some((_, Node::Object(props))) => Children::Names(props.iter().collect()),
            Some((_, Node::Array(elements))) => {
                let shown = live(elements).enumerate();
                Children::Elements(shown.map(|(index, one)| (one.id, (index, &one.node))).collect())
            }
            _ => Children::None,
        }
    }
}
