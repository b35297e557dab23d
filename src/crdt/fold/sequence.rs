/// Longest chunk; a longer one is halved.
const CHUNK: usize = 512;

/// Where to insert, in terms of what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Start,
    Before(usize),
    After(usize),
    End,
}

/// An order of slots in chunks, so that an insert, a move and the n-th live slot each cost about the root of the
/// length, not the length. A slot is live once it was inserted here.
pub(super) struct Sequence {
    /// Chunks in order, by their number in `chunks`.
    order: Vec<usize>,
    chunks: Vec<Chunk>,
    /// The chunk each slot is in.
    home: Vec<usize>,
    live: Vec<bool>,
}

#[derive(Default)]
struct Chunk {
    slots: Vec<usize>,
    live: usize,
}

impl Sequence {
    /// Slots 0, 1, 2 … in this order.
    pub fn of(live: impl Iterator<Item = bool>) -> Self {
        let live: Vec<bool> = live.collect();
        let slots: Vec<usize> = (0..live.len()).collect();
        let mut chunks: Vec<Chunk> = slots
            .chunks(CHUNK)
            .zip(live.chunks(CHUNK))
            .map(|(slots, live)| Chunk {
                slots: slots.to_vec(),
                live: live.iter().filter(|live| **live).count(),
            })
            .collect();
        if chunks.is_empty() {
            chunks.push(Chunk::default());
        }
        let home = slots.iter().map(|slot| slot / CHUNK).collect();
        Self { order: (0..chunks.len()).collect(), chunks, home, live }
    }

    pub fn slots(&self) -> impl Iterator<Item = usize> {
        self.order
            .iter()
            .filter_map(|chunk| self.chunks.get(*chunk))
            .flat_map(|chunk| chunk.slots.iter().copied())
    }

    pub fn nth_live(&self, mut index: usize) -> Option<usize> {
        for chunk in self.order.iter().filter_map(|chunk| self.chunks.get(*chunk)) {
            if index < chunk.live {
                let mut live = chunk.slots.iter().filter(|slot| self.live.get(**slot) == Some(&true));
                return live.nth(index).copied();
            }
            index -= chunk.live;
        }
        None
    }

    pub fn remove(&mut self, slot: usize) {
        let Some(chunk) = self.home.get(slot).and_then(|home| self.chunks.get_mut(*home)) else { return };
        let before = chunk.slots.len();
        chunk.slots.retain(|own| *own != slot);
        if chunk.slots.len() < before && self.live.get(slot) == Some(&true) {
            chunk.live -= 1;
        }
    }

    pub fn insert(&mut self, slot: usize, place: Place) {
        let home = match place {
            Place::Start => self.order.first().copied(),
            Place::End => self.order.last().copied(),
            Place::Before(anchor) | Place::After(anchor) => self.home.get(anchor).copied(),
        }
        .unwrap_or(0);
        let Some(chunk) = self.chunks.get_mut(home) else { return };
        let find = |anchor: usize| chunk.slots.iter().position(|own| *own == anchor);
        let at = match place {
            Place::Start => Some(0),
            Place::End => None,
            Place::Before(anchor) => find(anchor),
            Place::After(anchor) => find(anchor).map(|at| at + 1),
        };
        chunk.slots.insert(at.unwrap_or(chunk.slots.len()), slot);
        chunk.live += 1;
        if slot >= self.home.len() {
            self.home.resize(slot + 1, 0);
            self.live.resize(slot + 1, false);
        }
        for (homes, lives) in self.home.get_mut(slot).into_iter().zip(self.live.get_mut(slot)) {
            (*homes, *lives) = (home, true);
        }
        if chunk.slots.len() > CHUNK {
            self.split(home);
        }
    }

    fn split(&mut self, full: usize) {
        let number = self.chunks.len();
        let Some(chunk) = self.chunks.get_mut(full) else { return };
        let slots = chunk.slots.split_off(chunk.slots.len() / 2);
        let live = slots.iter().filter(|slot| self.live.get(**slot) == Some(&true)).count();
        chunk.live -= live;
        for slot in &slots {
            if let Some(home) = self.home.get_mut(*slot) {
                *home = number;
            }
        }
        self.chunks.push(Chunk { slots, live });
        let after = self.order.iter().position(|chunk| *chunk == full).map_or(self.order.len(), |at| at + 1);
        self.order.insert(after, number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn step() -> impl Strategy<Value = (u8, prop::sample::Index, prop::sample::Index)> {
        (0..6_u8, any::<prop::sample::Index>(), any::<prop::sample::Index>())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]

        #[test]
        fn orders_as_a_plain_vector_does(
            start in prop::collection::vec(any::<bool>(), 0..1_500),
            steps in prop::collection::vec(step(), 0..1_500),
        ) {
            let mut sequence = Sequence::of(start.iter().copied());
            let mut plain: Vec<usize> = (0..start.len()).collect();
            let mut live = start;
            for (kind, at, other) in steps {
                // Moves one, or inserts the next.
                let slot = if kind == 0 && !plain.is_empty() {
                    let slot = plain.remove(at.index(plain.len()));
                    sequence.remove(slot);
                    live[slot] = true;
                    slot
                } else {
                    live.push(true);
                    live.len() - 1
                };
                let anchor = (!plain.is_empty()).then(|| other.index(plain.len()));
                let (place, index) = match (kind, anchor) {
                    (1, _) | (_, None) => (Place::Start, 0),
                    (2, _) => (Place::End, plain.len()),
                    (3, Some(anchor)) => (Place::Before(plain[anchor]), anchor),
                    (_, Some(anchor)) => (Place::After(plain[anchor]), anchor + 1),
                };
                sequence.insert(slot, place);
                plain.insert(index, slot);
                let shown: Vec<usize> = plain.iter().copied().filter(|slot| live[*slot]).collect();
                let nth = at.index(shown.len() + 1);
                prop_assert_eq!(sequence.nth_live(nth), shown.get(nth).copied());
            }
            prop_assert_eq!(sequence.slots().collect::<Vec<_>>(), plain);
        }
    }
}
