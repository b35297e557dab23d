//! What a list touches: the paths whose values it says, as `conflicts` compares them.

use super::{Cut, Edit, EditKind, Inner, Insert, List, Put, Removal, Sub};
use crate::crdt::element::{ElementId, Numbering};
use crate::crdt::json::{Props, Value};
use crate::crdt::tree::elements_in;
use std::collections::BTreeMap;

/// One step down into a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::crdt) enum Step {
    Name(String),
    Element(ElementId),
}

pub(in crate::crdt) type Path = Vec<Step>;

/// What a list says about one path.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::crdt) enum Touch {
    Set(Value),
    Removed,
    /// An element to another place: what it holds is not touched.
    Moved(Insert),
}

/// Everything that a list touches; of several sayings about one path the one that takes effect last. An element that
/// it inserts is a path of its own, which no concurrent list can name; a removal by value or index names none.
pub(in crate::crdt) fn touches(list: &List, ids: &mut Numbering) -> BTreeMap<Path, Touch> {
    let mut walk = Walk { path: Vec::new(), found: BTreeMap::new(), ids };
    walk.list(list);
    walk.found
}

/// Goes through a list as a fold does, so that ids come out the same.
struct Walk<'i> {
    path: Path,
    found: BTreeMap<Path, Touch>,
    ids: &'i mut Numbering,
}

impl Walk<'_> {
    fn inside(&mut self, step: Step, go: impl FnOnce(&mut Self)) {
        self.path.push(step);
        go(self);
        self.path.pop();
    }

    fn touch(&mut self, step: Step, touch: Touch) {
        self.inside(step, |walk| {
            walk.found.insert(walk.path.clone(), touch);
        });
    }

    fn list(&mut self, list: &List) {
        for name in &list.remove {
            self.touch(Step::Name(name.clone()), Touch::Removed);
        }
        self.set(&list.add);
        for (name, cut) in list.cut.iter() {
            self.inside(Step::Name(name.to_owned()), |walk| match cut {
                Cut::Object(subs) => walk.subs(subs),
                Cut::Array(removals) => walk.remove(removals),
            });
        }
        for (name, inner) in list.inner.iter() {
            self.inside(Step::Name(name.to_owned()), |walk| match inner {
                Inner::Object(list) => walk.list(list),
                Inner::Array(edits) => walk.edit(edits),
            });
        }
        for (name, put) in list.put.iter() {
            self.inside(Step::Name(name.to_owned()), |walk| match put {
                Put::Object(subs) => walk.set(subs),
                Put::Array(inserts) => walk.insert(inserts),
            });
        }
    }

    fn set(&mut self, props: &Props<Value>) {
        for (name, value) in props.iter() {
            self.ids.skip(elements_in(value));
            self.touch(Step::Name(name.to_owned()), Touch::Set(value.clone()));
        }
    }

    fn subs(&mut self, subs: &Props<Sub>) {
        for (name, sub) in subs.iter() {
            let step = Step::Name(name.to_owned());
            match sub {
                Sub::Gone(_) => self.touch(step, Touch::Removed),
                Sub::Inside(subs) => self.inside(step, |walk| walk.subs(subs)),
            }
        }
    }

    fn remove(&mut self, removals: &[Removal]) {
        for id in removals.iter().filter_map(|removal| removal.id) {
            self.touch(Step::Element(id), Touch::Removed);
        }
    }

    fn edit(&mut self, edits: &[Edit]) {
        for Edit { id, change } in edits {
            self.inside(Step::Element(*id), |walk| match change {
                EditKind::Object(list) => walk.list(list),
                EditKind::Array(list) => {
                    walk.remove(&list.remove);
                    walk.edit(&list.edit);
                    walk.insert(&list.insert);
                }
            });
        }
    }

    fn insert(&mut self, inserts: &[Insert]) {
        for insert in inserts {
            let (id, touch) = match insert.id {
                Some(id) => (id, Touch::Moved(insert.clone())),
                None => (self.ids.next(), Touch::Set(insert.value.clone())),
            };
            self.ids.skip(elements_in(&insert.value));
            self.touch(Step::Element(id), touch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Dot, FeedKey};

    fn touched(text: &str) -> Vec<(String, String)> {
        let list = List::parse(text).unwrap();
        let dot = Dot { writer: FeedKey([0xab; 32]), seq: 3 };
        let step = |step: &Step| match step {
            Step::Name(name) => name.clone(),
            Step::Element(id) => id.to_string(),
        };
        let show = |touch: Touch| match touch {
            Touch::Set(value) => value.to_text(),
            Touch::Removed => "removed".into(),
            Touch::Moved(_) => "moved".into(),
        };
        touches(&list, &mut Numbering::of(&dot))
            .into_iter()
            .map(|(path, touch)| (path.iter().map(step).collect::<Vec<_>>().join("."), show(touch)))
            .collect()
    }

    fn pairs<const N: usize>(expected: [(&str, &str); N]) -> Vec<(String, String)> {
        expected.map(|(path, touch)| (path.to_owned(), touch.to_owned())).to_vec()
    }

    #[test]
    fn properties_at_any_depth() {
        let text = r#"{"add":{"a":1},"remove":{"b":""},"list":{"c":{"add":{"d":{"e":2}}}},
            "insert":{"add":{"f":{"g":null}},"remove":{"h":{"i":"","j":{"k":""}}}}}"#;
        let expected = pairs([
            ("a", "1"),
            ("b", "removed"),
            ("c.d", r#"{"e":2}"#),
            ("f.g", "null"),
            ("h.i", "removed"),
            ("h.j.k", "removed"),
        ]);
        assert_eq!(touched(text), expected);
    }

    #[test]
    fn elements_by_id_and_new_ones_as_a_fold_numbers_them() {
        let other = "0102030405060708-1-0";
        let text = format!(
            r#"{{"add":{{"z":[[1]]}},"list":{{"a":[{{"id":"{other}","list":{{"add":{{"x":1}}}}}}]}},
            "insert":{{"remove":{{"b":[{{"id":"{other}"}},{{"value":7}}]}},
                "add":{{"c":[{{"value":[5],"index":0}},{{"value":1,"id":"{other}"}},{{"value":6,"index":0}}]}}}}}}"#
        );
        let own = |n: &str| format!("c.abababababababab-3-{n}");
        let expected = pairs([
            (&format!("a.{other}.x"), "1"),
            (&format!("b.{other}"), "removed"),
            (&format!("c.{other}"), "moved"),
            (&own("2"), "[5]"),
            (&own("4"), "6"),
            ("z", "[[1]]"),
        ]);
        assert_eq!(touched(&text), expected);
    }

    #[test]
    fn of_several_sayings_the_last_to_take_effect() {
        assert_eq!(touched(r#"{"remove":{"a":""},"add":{"a":2}}"#), pairs([("a", "2")]));
    }
}
