//! One seed's randomness (`SplitMix64`), and the values that virtual users write.

use serde_json::{Map, Value, json};

#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    pub fn secret(&mut self) -> [u8; 32] {
        let mut secret = [0; 32];
        secret.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&self.next().to_be_bytes()));
        secret
    }

    fn scalar(&mut self) -> Value {
        self.pick(&[
            json!(null),
            json!(0),
            json!(1),
            json!(false),
            json!(""),
            json!("a"),
            json!("b"),
            json!(1.5),
        ])
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.below(100) {
            _ if depth > 3 => self.scalar(),
            0..45 => self.scalar(),
            45..75 => (0..self.below(5)).map(|_| self.value(depth + 1)).collect(),
            _ => {
                let names = ["a", "b", "id", "__proto__"];
                (0..self.below(4)).map(|_| (self.pick(&names).to_owned(), self.value(depth + 1))).collect()
            }
        }
    }

    pub fn object(&mut self) -> Value {
        let names = ["a", "b", "list", "list", "n", "__proto__"];
        (0..self.below(5)).map(|_| (self.pick(&names).to_owned(), self.value(1))).collect()
    }

    /// Another value, like a person's next edit of it.
    pub fn edit(&mut self, value: &Value, depth: usize) -> Value {
        match value {
            Value::Object(props) => {
                let mut out = Map::new();
                for (name, value) in props {
                    match self.below(100) {
                        0..10 => {}
                        10..20 => drop(out.insert(name.clone(), self.value(depth + 1))),
                        20..60 => drop(out.insert(name.clone(), self.edit(value, depth + 1))),
                        _ => drop(out.insert(name.clone(), value.clone())),
                    }
                }
                if self.chance(30) {
                    out.insert(self.pick(&["a", "b", "list", "x"]).into(), self.value(depth + 1));
                }
                Value::Object(out)
            }
            Value::Array(items) => {
                let mut out = items.clone();
                (0..self.below(4)).for_each(|_| self.edit_array(&mut out, depth));
                Value::Array(out)
            }
            scalar if self.chance(60) => scalar.clone(),
            _ => self.value(depth),
        }
    }

    fn edit_array(&mut self, items: &mut Vec<Value>, depth: usize) {
        let count = items.len();
        match if count == 0 { 99 } else { self.below(100) } {
            0..25 => drop(items.remove(self.below(count))),
            25..50 => {
                let item = items.remove(self.below(count));
                items.insert(self.below(count), item);
            }
            50..70 => {
                let at = self.below(count);
                items[at] = self.edit(&items[at].clone(), depth + 1);
            }
            70..80 => items.push(items[self.below(count)].clone()),
            _ => items.insert(self.below(count + 1), self.value(depth + 1)),
        }
    }
}
