//! Bytes read as decisions. When there are no more, every decision is the first choice, and loops end.

use serde_json::{Map, Value, json};

pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// Small, or near a power of two, or anything.
    pub fn u64(&mut self) -> u64 {
        match self.u8() {
            small @ 0..200 => small.into(),
            power @ 200..250 => (1_u64 << (power - 186)).wrapping_add(self.u8().into()).wrapping_sub(2),
            _ => self.take(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
        }
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.u8()) % end.max(1)
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        // Nothing left: no.
        !self.is_empty() && self.below(100) < percent
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// As many as there are, at most `length`.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn text(&mut self, longest: usize) -> String {
        let length = self.below(longest + 1);
        String::from_utf8_lossy(self.take(length)).into_owned()
    }

    pub fn value(&mut self, depth: usize) -> Value {
        match self.u8() % 16 {
            0 => json!(null),
            1 => json!(0),
            2 => json!("a"),
            3 => json!("b"),
            4 => json!(true),
            5 => json!(self.u8()),
            6 => json!(self.text(8)),
            7 => json!(f64::from_bits(self.u64() | self.u64() << 48)),
            8..12 if depth < 6 => {
                let length = self.below(6);
                (0..length).map(|_| self.value(depth + 1)).collect()
            }
            _ if depth < 6 => self.object(depth + 1),
            _ => json!(1),
        }
    }

    pub fn object(&mut self, depth: usize) -> Value {
        let names = ["a", "b", "c", "id", "", "__proto__", "0"];
        let length = self.below(5);
        let mut props = Map::new();
        for _ in 0..length {
            let name = if self.chance(10) { self.text(4) } else { self.pick(&names).to_owned() };
            props.insert(name, self.value(depth));
        }
        Value::Object(props)
    }

    /// The value as somebody changed it.
    pub fn edit(&mut self, value: &Value, depth: usize) -> Value {
        match value {
            Value::Object(props) => {
                let mut out = Map::new();
                for (name, value) in props {
                    match self.u8() % 8 {
                        0 => {}
                        1 => drop(out.insert(name.clone(), self.value(depth + 1))),
                        2..5 => drop(out.insert(name.clone(), self.edit(value, depth + 1))),
                        _ => drop(out.insert(name.clone(), value.clone())),
                    }
                }
                if self.chance(30) {
                    out.insert(self.pick(&["a", "b", "x"]).into(), self.value(depth + 1));
                }
                Value::Object(out)
            }
            Value::Array(items) => {
                let mut out = items.clone();
                let edits = self.below(4);
                for _ in 0..edits {
                    self.edit_array(&mut out, depth);
                }
                Value::Array(out)
            }
            scalar if self.chance(30) => self.value(depth.max(scalar.is_null().into())),
            scalar => scalar.clone(),
        }
    }

    fn edit_array(&mut self, items: &mut Vec<Value>, depth: usize) {
        let at = self.below(items.len());
        match self.u8() % 5 {
            _ if items.is_empty() => items.push(self.value(depth + 1)),
            0 => drop(items.remove(at)),
            1 => {
                let item = items.remove(at);
                items.insert(self.below(items.len() + 1), item);
            }
            2 => items[at] = self.edit(&items[at].clone(), depth + 1),
            3 => items.push(items[at].clone()),
            _ => items.insert(at, self.value(depth + 1)),
        }
    }
}
