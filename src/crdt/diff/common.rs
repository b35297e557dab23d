use std::collections::BTreeMap;

/// Pairs of equal elements looked at: bounds the time for arrays of many equal elements.
const MAX_PAIRS: usize = 1 << 21;

/// The positions of a longest strictly increasing subsequence.
pub(super) fn longest_increasing(values: impl ExactSizeIterator<Item = usize>) -> Vec<usize> {
    // tails[l]: the smallest value that ends an increasing subsequence of length l + 1, and its position.
    let mut tails: Vec<(usize, usize)> = Vec::new();
    let mut previous: Vec<Option<usize>> = Vec::with_capacity(values.len());
    for (position, value) in values.enumerate() {
        let length = tails.partition_point(|(tail, _)| *tail < value);
        previous.push(length.checked_sub(1).and_then(|shorter| tails.get(shorter)).map(|(_, at)| *at));
        match tails.get_mut(length) {
            Some(tail) => *tail = (value, position),
            None => tails.push((value, position)),
        }
    }
    let mut chosen = Vec::with_capacity(tails.len());
    let mut next = tails.last().map(|(_, position)| *position);
    while let Some(position) = next {
        chosen.push(position);
        next = previous.get(position).copied().flatten();
    }
    chosen.reverse();
    chosen
}

/// A longest common subsequence of two sequences of classes, as pairs of positions (Hunt and Szymanski 1977: the
/// longest increasing choice among all pairs of equals). Of more than [`MAX_PAIRS`] pairs only those near the
/// diagonal count; then the result is common, but may not be the longest.
pub(super) fn common(old: &[u32], new: &[u32]) -> Vec<(usize, usize)> {
    let mut places: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (place, class) in new.iter().enumerate() {
        places.entry(*class).or_default().push(place);
    }
    let here = |class: &u32| places.get(class).map_or(&[][..], Vec::as_slice);
    let total = old.iter().fold(0, |sum: usize, class| sum.saturating_add(here(class).len()));
    let reach = if total <= MAX_PAIRS { usize::MAX } else { (MAX_PAIRS / old.len().max(1) / 2).max(1) };
    let mut pairs = Vec::with_capacity(total.min(MAX_PAIRS));
    for (place, class) in old.iter().enumerate() {
        let all = here(class);
        let from = all.partition_point(|other| *other < place.saturating_sub(reach));
        let near = all.iter().skip(from).take_while(|other| **other <= place.saturating_add(reach));
        let start = pairs.len();
        pairs.extend(near.map(|other| (place, *other)));
        // Descending, so that no two pairs of one old element increase.
        if let Some(own) = pairs.get_mut(start..) {
            own.reverse();
        }
    }
    let chosen = longest_increasing(pairs.iter().map(|(_, other)| *other));
    chosen.into_iter().filter_map(|position| pairs.get(position).copied()).collect()
}
