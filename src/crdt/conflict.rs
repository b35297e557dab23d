//! Which concurrent changes say different things about one path (`docs/design/merge.md`, Conflicts).

use super::element::{ElementId, Numbering};
use super::json::Value;
use super::list::{Path, Step, Touch, touches};
use super::located::Located;
use super::state::{Change, ChangeKind, State};
use std::collections::BTreeMap;

/// A path on which the value shown was chosen among several.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    pub path: Vec<Part>,
    /// What won, then what lost, the latest first: the number of the change among those given, and what it said.
    pub claims: Vec<(usize, Claim)>,
}

/// One step of a path as readers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Name(String),
    /// Which of the elements shown.
    Index(usize),
    /// An element that is not shown.
    Gone(ElementId),
}

/// What one change says about a path.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// There is nothing at it.
    Absent,
    /// The object is deleted.
    Deleted,
    Value(Value),
    Register(Vec<u8>),
    /// An element stands at a certain place; it held this.
    Moved {
        value: Value,
        place: Box<MovedTo>,
    },
}

/// The part of a move that says where to; two moves of one change never meet.
#[derive(Clone, Debug, PartialEq)]
pub struct MovedTo(super::list::Insert);

impl MovedTo {
    fn is(&self, other: &Self) -> bool {
        self.0.same_place(&other.0)
    }
}

/// What one change says at a path or, `covers`, at it and everything below.
#[derive(Clone, Debug)]
enum Said {
    Delete,
    Register(Vec<u8>),
    List(Touch),
}

impl Said {
    fn covers(&self) -> bool {
        !matches!(self, Self::List(Touch::Moved(_)))
    }

    /// What it says about the path `rest` below its own.
    fn claim(&self, rest: &[Step]) -> Claim {
        match self {
            Self::Delete => Claim::Deleted,
            Self::Register(bytes) if rest.is_empty() => Claim::Register(bytes.clone()),
            Self::Register(_) | Self::List(Touch::Removed) => Claim::Absent,
            Self::List(Touch::Set(value)) => {
                let below = rest.iter().try_fold(value, |value, step| match (value, step) {
                    (Value::Object(props), Step::Name(name)) => props.get(name),
                    // The elements of an array that is set are new: nobody else's id is among them.
                    _ => None,
                });
                below.map_or(Claim::Absent, |value| Claim::Value(value.clone()))
            }
            Self::List(Touch::Moved(insert)) => {
                Claim::Moved { value: insert.value.clone(), place: Box::new(MovedTo(insert.clone())) }
            }
        }
    }
}

impl Claim {
    fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Moved { place: own, .. }, Self::Moved { place, .. }) => own.is(place),
            _ => self == other,
        }
    }
}

/// The conflicts among `changes`, which stand in their order and were folded to `state`; `saw(a, b)`: change `a` was
/// made with `b` in its past.
pub fn conflicts(changes: &[Change], state: &State, saw: impl Fn(usize, usize) -> bool) -> Vec<Conflict> {
    let said = said(changes, &saw);
    let mut located = Located::new(state);
    let mut found = Vec::new();
    for path in said.keys() {
        let claims = latest(claims_at(&said, path), &saw);
        let shown = claims.iter().position(|(_, claim)| located.shows(path, claim)).unwrap_or(0);
        let Some(winner) = claims.get(shown).cloned() else { continue };
        let losers = claims.into_iter().filter(|(_, claim)| !claim.agrees(&winner.1));
        let claims: Vec<_> = std::iter::once(winner.clone()).chain(losers).collect();
        if claims.len() > 1 {
            found.push(Conflict { path: located.parts(path), claims });
        }
    }
    found
}

type Sayings = BTreeMap<Path, Vec<(usize, Said)>>;

/// Per path who says something about it, latest first, without what somebody saw and said otherwise: at most one of
/// each writer is left, moves apart.
fn said(changes: &[Change], saw: &impl Fn(usize, usize) -> bool) -> Sayings {
    let mut said = Sayings::new();
    for (at, change) in changes.iter().enumerate().rev() {
        // Whoever replaces everything settles, on every path, what he saw.
        if said.get(&Path::new()).is_some_and(|whole| whole.iter().any(|(by, _)| saw(*by, at))) {
            continue;
        }
        let mut say = |path: Path, what: Said| {
            let sayings = said.entry(path).or_default();
            if !sayings.iter().any(|(by, other)| other.covers() == what.covers() && saw(*by, at)) {
                sayings.push((at, what));
            }
        };
        match &change.kind {
            ChangeKind::Delete => say(Path::new(), Said::Delete),
            ChangeKind::Register(bytes) => say(Path::new(), Said::Register(bytes.clone())),
            ChangeKind::List(list) => {
                for (path, touch) in touches(list, &mut Numbering::of(&change.position.dot())) {
                    say(path, Said::List(touch));
                }
            }
        }
    }
    said
}

/// What each change says about `path`, at it or at the nearest path above.
fn claims_at(said: &Sayings, path: &[Step]) -> BTreeMap<usize, Claim> {
    let mut claims = BTreeMap::new();
    for length in (0..=path.len()).rev() {
        let Some((above, rest)) = path.split_at_checked(length) else { continue };
        for (at, what) in said.get(above).into_iter().flatten() {
            if rest.is_empty() || what.covers() {
                claims.entry(*at).or_insert_with(|| what.claim(rest));
            }
        }
    }
    claims
}

/// The claims that no other had seen, the latest first: they are concurrent with each other.
fn latest(claims: BTreeMap<usize, Claim>, saw: &impl Fn(usize, usize) -> bool) -> Vec<(usize, Claim)> {
    let mut latest: Vec<(usize, Claim)> = Vec::new();
    for (at, claim) in claims.into_iter().rev() {
        if !latest.iter().any(|(by, _)| saw(*by, at)) {
            latest.push((at, claim));
        }
    }
    latest
}
