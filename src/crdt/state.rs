use super::diff::diff;
use super::element::Numbering;
use super::fold::fold_list;
use super::json::{Props, Value};
use super::list::List;
use super::tree::{Node, plain_props, put_props_text};
use crate::types::{Position, Stamp};

/// Names the hash behind state ids.
const STATE_ID: &str = "multi-hyperbee 2026 merge-mode state id";

/// What one entry does to one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub position: Position,
    /// The stamp of the last diff of the state it was made against; none: against nothing, or a tombstone.
    pub prev: Option<Stamp>,
    pub kind: ChangeKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ChangeKind {
    List(List),
    Register(Vec<u8>),
    Delete,
}

/// A value that was not folded but given, by whoever merges in place of the built-in fold.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// An object.
    Object(Value),
    Register(Vec<u8>),
}

/// The fold of one key's changes in the order of their positions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pub(super) content: Content,
    /// None exactly while nothing was folded.
    pub(super) tip: Option<Tip>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tip {
    pub last: Position,
    pub prev: Option<Stamp>,
    pub id: u64,
}

/// While a value is live, neither what was kept nor the tombstone can be read again; while none is, the last change was
/// a delete (or there was no change), so its stamp is the tombstone's.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Content {
    #[default]
    Nothing,
    Live(Body),
    Deleted(Option<Body>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    Object(Props<Node>),
    Register(Vec<u8>),
}

impl State {
    pub fn empty() -> Self {
        Self::default()
    }

    /// Whether folding `change` starts from empty.
    fn restarts(&self, change: &Change) -> bool {
        let tombstone = self.tip.map(|tip| tip.last.stamp());
        // What was made against something before the tombstone had not seen the delete: it brings that back.
        let unseen = change.prev.zip(tombstone).is_some_and(|(prev, tombstone)| prev < tombstone);
        change.kind != ChangeKind::Delete
            && match self.content {
                Content::Nothing => true,
                Content::Deleted(_) => !unseen,
                Content::Live(_) => false,
            }
    }

    /// What `change` is folded onto: a live state, or nothing where it starts from empty.
    #[must_use]
    pub fn before(&self, change: &Change) -> Self {
        match &self.content {
            Content::Live(body) | Content::Deleted(Some(body)) if !self.restarts(change) => {
                Self { content: Content::Live(body.clone()), tip: self.tip }
            }
            _ => Self::empty(),
        }
    }

    /// Makes `given` of the value that folding `change` has just left. Elements keep their ids as far as the built-in
    /// diff between the two finds them again; new ones get ids after the change's own.
    pub fn correct(&mut self, change: &Change, given: Given) {
        let value = match given {
            Given::Register(bytes) => return self.stand(bytes),
            Given::Object(value) => value,
        };
        let mut props = match std::mem::take(&mut self.content) {
            Content::Live(Body::Object(props)) => props,
            _ => Props::default(),
        };
        let mut ids = Numbering::of(&change.position.dot());
        if let ChangeKind::List(list) = &change.kind {
            ids.skip(list.ids());
        }
        if let Value::Object(wanted) = &value {
            let list = diff(&props, wanted);
            fold_list(&mut props, &list, &mut ids);
        }
        self.content = Content::Live(Body::Object(props));
    }

    /// Another register stands than that of the last change.
    pub fn stand(&mut self, bytes: Vec<u8>) {
        self.content = Content::Live(Body::Register(bytes));
    }

    /// Folds one change on. The caller folds a key's changes in the order of their positions, each once.
    pub fn fold(&mut self, change: &Change) {
        let restarts = self.restarts(change);
        let content = std::mem::take(&mut self.content);
        let body = match content {
            Content::Live(body) => Some(body),
            Content::Deleted(kept) if !restarts => kept,
            Content::Deleted(_) | Content::Nothing => None,
        };
        self.content = match &change.kind {
            ChangeKind::Delete => Content::Deleted(body),
            ChangeKind::Register(bytes) => Content::Live(Body::Register(bytes.clone())),
            ChangeKind::List(list) => {
                // A list on a register starts from the empty object.
                let mut props = match body {
                    Some(Body::Object(props)) => props,
                    Some(Body::Register(_)) | None => Props::default(),
                };
                fold_list(&mut props, list, &mut Numbering::of(&change.position.dot()));
                Content::Live(Body::Object(props))
            }
        };
        let own = dot_hash(&change.position);
        self.tip = Some(match self.tip.filter(|_| !restarts) {
            Some(tip) => {
                Tip { last: change.position, prev: Some(tip.last.stamp()), id: tip.id.wrapping_add(own) }
            }
            None => Tip { last: change.position, prev: None, id: own },
        });
    }

    /// What to write so that this key becomes `value`; none if it is `value`. Where no object is live, all of it.
    pub fn diff_to(&self, value: &Value) -> Option<List> {
        let Value::Object(new) = value else { return None };
        match &self.content {
            Content::Live(Body::Object(old)) => Some(diff(old, new)).filter(|list| !list.is_empty()),
            _ => Some(List::whole(new)),
        }
    }

    /// The position of the last change folded.
    pub fn last(&self) -> Option<Position> {
        self.tip.map(|tip| tip.last)
    }

    /// The stamp of the change before the last, since the fold last started from empty.
    pub fn prev(&self) -> Option<Stamp> {
        self.tip.and_then(|tip| tip.prev)
    }

    /// Names the set of changes folded since the fold last started from empty; 0 for none.
    pub fn id(&self) -> u64 {
        self.tip.map_or(0, |tip| tip.id)
    }

    pub fn is_live(&self) -> bool {
        matches!(self.content, Content::Live(_))
    }

    /// What a change made against this state says in `prev`.
    pub fn base(&self) -> Option<Stamp> {
        self.last().filter(|_| self.is_live()).map(|last| last.stamp())
    }

    /// The live object.
    pub fn to_value(&self) -> Option<Value> {
        match &self.content {
            Content::Live(Body::Object(props)) => Some(Value::Object(plain_props(props))),
            _ => None,
        }
    }

    /// The live object's JSON text.
    pub fn to_text(&self) -> Option<String> {
        match &self.content {
            Content::Live(Body::Object(props)) => {
                let mut out = String::new();
                put_props_text(&mut out, props);
                Some(out)
            }
            _ => None,
        }
    }

    /// The live register's bytes.
    pub fn register(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Live(Body::Register(bytes)) => Some(bytes),
            _ => None,
        }
    }
}

/// A state id is the wrapping sum of these over the changes folded: it does not depend on how they were grouped.
fn dot_hash(position: &Position) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key(STATE_ID);
    hasher.update(position.writer.as_bytes());
    hasher.update(&position.seq.to_be_bytes());
    hasher.update(&position.effective.time.to_be_bytes());
    hasher.update(&position.effective.tick.to_be_bytes());
    hasher.finalize().as_bytes().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}
