use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::crdt::json::{Props, Value};

/// Properties that say which thing an object is.
const IDENTITY: [&str; 4] = ["id", "_id", "key", "_objectId"];

/// Up to this many pairs every old element is compared with every new one.
const MAX_COMPARED: usize = 4_096;

/// Beyond that, each new one is compared with this many old ones around the same rank.
const NEAR: usize = 16;

/// Pairs each changed element with the old one it is an edit of, if any. `old` and `new` are positions and values of
/// elements that equal no element of the other side.
pub(super) fn edits(old: &[(usize, &Value)], new: &[(usize, &Value)]) -> Vec<(usize, usize)> {
    let mut pairs = by_identity(old, new);
    let rest = |side: &[(usize, &Value)]| -> Vec<usize> {
        (0..).zip(side).filter(|(_, (_, value))| identity(value).is_none()).map(|(rank, _)| rank).collect()
    };
    let (old_rest, new_rest) = (rest(old), rest(new));
    let all = old_rest.len().saturating_mul(new_rest.len()) <= MAX_COMPARED;
    let mut candidates = Vec::new();
    for (rank, new_rank) in new_rest.iter().enumerate() {
        let from = if all { 0 } else { rank.saturating_sub(NEAR / 2) };
        let count = if all { old_rest.len() } else { NEAR };
        for old_rank in old_rest.iter().skip(from).take(count) {
            let (Some((i, a)), Some((j, b))) = (old.get(*old_rank), new.get(*new_rank)) else { continue };
            if let Some(agreeing) = likeness(a, b) {
                candidates.push((usize::MAX - agreeing, i.abs_diff(*j), *i, *j));
            }
        }
    }
    candidates.sort_unstable();
    let (mut taken_old, mut taken_new) = (BTreeSet::new(), BTreeSet::new());
    for (_, _, i, j) in candidates {
        if !taken_old.contains(&i) && !taken_new.contains(&j) {
            taken_old.insert(i);
            taken_new.insert(j);
            pairs.push((i, j));
        }
    }
    pairs
}

/// Objects that agree in every property of [`IDENTITY`] that either has, first with first.
fn by_identity(old: &[(usize, &Value)], new: &[(usize, &Value)]) -> Vec<(usize, usize)> {
    let mut known: BTreeMap<String, VecDeque<usize>> = BTreeMap::new();
    for (i, value) in old {
        if let Some(identity) = identity(value) {
            known.entry(identity).or_default().push_back(*i);
        }
    }
    let found = new.iter().filter_map(|(j, value)| {
        let i = known.get_mut(&identity(value)?)?.pop_front()?;
        Some((i, *j))
    });
    found.collect()
}

/// None for what has no identity of its own.
fn identity(value: &Value) -> Option<String> {
    let object = value.as_object()?;
    let own: Vec<(String, Value)> = IDENTITY
        .iter()
        .filter_map(|name| object.get(name).map(|value| ((*name).to_owned(), value.clone())))
        .collect();
    (!own.is_empty()).then(|| Value::Object(Props::from_pairs(own)).canonical())
}

/// In how many parts two values agree, if in more than half.
fn likeness(old: &Value, new: &Value) -> Option<usize> {
    let (agreeing, of) = match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let places = new.places(old.names());
            let both = places.iter().flatten().count();
            let agreeing = old.values().zip(places);
            let agreeing = agreeing.filter(|(value, place)| place.and_then(|at| new.at(at)) == Some(*value));
            (agreeing.count(), old.len() + new.len() - both)
        }
        (Value::Array(old), Value::Array(new)) => {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for item in old {
                *counts.entry(item.canonical()).or_default() += 1;
            }
            let agreeing = new.iter().filter(|item| match counts.get_mut(&item.canonical()) {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    true
                }
                _ => false,
            });
            (agreeing.count(), old.len().max(new.len()))
        }
        _ => return None,
    };
    (agreeing * 2 > of).then_some(agreeing)
}
