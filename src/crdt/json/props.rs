use std::collections::{BTreeMap, BTreeSet};

/// Below this many names a scan beats building an index.
const SCAN: usize = 8;

/// Properties of an object: names are unique, order is that of insertion and no part of equality.
#[derive(Clone, Debug)]
pub struct Props<T> {
    entries: Vec<(String, T)>,
}

impl<T> Default for Props<T> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<T> Props<T> {
    /// Takes pairs as they were read: of equal names the last value wins, at the first one's place (as in JavaScript).
    pub fn from_pairs(pairs: Vec<(String, T)>) -> Self {
        let unique = {
            let mut names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            names.windows(2).all(|pair| pair.first() != pair.last())
        };
        if unique {
            return Self { entries: pairs };
        }
        let mut places = BTreeMap::new();
        let mut entries: Vec<(String, T)> = Vec::with_capacity(pairs.len());
        for (name, value) in pairs {
            let place = *places.entry(name.clone()).or_insert(entries.len());
            match entries.get_mut(place) {
                Some((_, old)) => *old = value,
                None => entries.push((name, value)),
            }
        }
        Self { entries }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&T> {
        self.entries.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, value)| value)
    }

    pub fn into_pairs(self) -> Vec<(String, T)> {
        self.entries
    }

    /// The caller knows that `name` is not here yet.
    pub(crate) fn push(&mut self, name: String, value: T) {
        self.entries.push((name, value));
    }

    pub(crate) fn at(&self, place: usize) -> Option<&T> {
        self.entries.get(place).map(|(_, value)| value)
    }

    pub(crate) fn at_mut(&mut self, place: usize) -> Option<&mut T> {
        self.entries.get_mut(place).map(|(_, value)| value)
    }

    pub(crate) fn by_name(&self) -> BTreeMap<&str, usize> {
        self.entries.iter().enumerate().map(|(place, (name, _))| (name.as_str(), place)).collect()
    }

    /// Where each of these names is, in their order.
    pub(crate) fn places<'n>(&self, names: impl ExactSizeIterator<Item = &'n str>) -> Vec<Option<usize>> {
        if names.len() <= SCAN {
            return names.map(|name| self.entries.iter().position(|(own, _)| own == name)).collect();
        }
        let index = self.by_name();
        names.map(|name| index.get(name).copied()).collect()
    }

    pub(crate) fn remove_all<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        let names: BTreeSet<&str> = names.collect();
        if !names.is_empty() {
            self.entries.retain(|(name, _)| !names.contains(name.as_str()));
        }
    }

    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    /// Sets each of `values` (as many as `names`, which are unique): in place where the name exists, at the end otherwise.
    pub(crate) fn set_all<'n>(
        &mut self,
        names: impl ExactSizeIterator<Item = &'n str> + Clone,
        values: impl Iterator<Item = T>,
    ) {
        let places = self.places(names.clone());
        for ((name, place), value) in names.zip(places).zip(values) {
            match place.and_then(|place| self.at_mut(place)) {
                Some(old) => *old = value,
                None => self.push(name.to_owned(), value),
            }
        }
    }
}

impl<T: PartialEq> PartialEq for Props<T> {
    fn eq(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        if self.entries.iter().zip(&other.entries).all(|((a, _), (b, _))| a == b) {
            return self.values().eq(other.values());
        }
        let places = other.places(self.names());
        self.values().zip(places).all(|(value, place)| place.and_then(|place| other.at(place)) == Some(value))
    }
}
