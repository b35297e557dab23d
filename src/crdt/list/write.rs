use super::{After, ArrayList, Cut, Edit, EditKind, Inner, Insert, List, Put, Removal, Sub};
use crate::crdt::element::ElementId;
use crate::crdt::json::{Props, Value, put_scalar, put_string, put_value};

/// What the text is for: peers, or readers of the published format, which knows no element ids.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Whole,
    Published,
}

impl List {
    /// The text that travels. `List::parse` gives the same list back.
    pub fn to_text(&self) -> String {
        let mut writer = Writer { out: String::new(), form: Form::Whole };
        writer.list(self);
        writer.out
    }

    /// The text in the published format: without ids of inserts and removals and without `afterId` and `beforeId`.
    /// Moves and changes inside array elements, which that format cannot say, keep the ids that they are about.
    pub fn published(&self) -> String {
        let mut writer = Writer { out: String::new(), form: Form::Published };
        writer.list(self);
        writer.out
    }
}

struct Writer {
    out: String,
    form: Form,
}

/// Puts commas between members.
struct Members(bool);

impl Writer {
    fn open(&mut self, bracket: char) -> Members {
        self.out.push(bracket);
        Members(false)
    }

    fn item(&mut self, members: &mut Members) {
        if members.0 {
            self.out.push(',');
        }
        members.0 = true;
    }

    fn member(&mut self, members: &mut Members, name: &str) {
        self.item(members);
        put_string(&mut self.out, name);
        self.out.push(':');
    }

    fn props<'a, T: 'a>(
        &mut self,
        props: impl Iterator<Item = (&'a str, &'a T)>,
        mut write: impl FnMut(&mut Self, &'a T),
    ) {
        let mut members = self.open('{');
        for (name, value) in props {
            self.member(&mut members, name);
            write(self, value);
        }
        self.out.push('}');
    }

    fn items<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        let mut members = self.open('[');
        for item in items {
            self.item(&mut members);
            write(self, item);
        }
        self.out.push(']');
    }

    fn value(&mut self, value: &Value) {
        put_value(&mut self.out, value);
    }

    fn id(&mut self, id: ElementId) {
        put_string(&mut self.out, &id.to_string());
    }

    fn list(&mut self, list: &List) {
        let mut members = self.open('{');
        if !list.add.is_empty() {
            self.member(&mut members, "add");
            self.props(list.add.iter(), Self::value);
        }
        if !list.remove.is_empty() {
            self.member(&mut members, "remove");
            self.props(list.remove.iter().map(|name| (name.as_str(), &())), |writer, ()| {
                writer.out.push_str("\"\"");
            });
        }
        if !list.inner.is_empty() {
            self.member(&mut members, "list");
            self.props(list.inner.iter(), |writer, inner| match inner {
                Inner::Object(list) => writer.list(list),
                Inner::Array(edits) => writer.items(edits, Self::edit),
            });
        }
        if !list.cut.is_empty() || !list.put.is_empty() {
            self.member(&mut members, "insert");
            self.insides(&list.cut, &list.put);
        }
        self.out.push('}');
    }

    fn insides(&mut self, cut: &Props<Cut>, put: &Props<Put>) {
        let mut members = self.open('{');
        if !put.is_empty() {
            self.member(&mut members, "add");
            self.props(put.iter(), |writer, put| match put {
                Put::Object(subs) => writer.props(subs.iter(), Self::value),
                Put::Array(inserts) => writer.items(inserts, Self::insert),
            });
        }
        if !cut.is_empty() {
            self.member(&mut members, "remove");
            self.props(cut.iter(), |writer, cut| match cut {
                Cut::Object(subs) => writer.props(subs.iter(), Self::sub),
                Cut::Array(removals) => writer.items(removals, Self::removal),
            });
        }
        self.out.push('}');
    }

    fn sub(&mut self, sub: &Sub) {
        match sub {
            Sub::Gone(old) => put_scalar(&mut self.out, old),
            Sub::Inside(subs) => self.props(subs.iter(), Self::sub),
        }
    }

    fn removal(&mut self, removal: &Removal) {
        let mut members = self.open('{');
        let has_published = removal.value.is_some() || removal.index.is_some();
        if let Some(id) = removal.id.filter(|_| self.form == Form::Whole || !has_published) {
            self.member(&mut members, "id");
            self.id(id);
        }
        if let Some(value) = &removal.value {
            self.member(&mut members, "value");
            self.value(value);
        }
        self.index(&mut members, removal.index);
        self.out.push('}');
    }

    fn index(&mut self, members: &mut Members, index: Option<u64>) {
        if let Some(index) = index {
            self.member(members, "index");
            self.out.push_str(&index.to_string());
        }
    }

    fn edit(&mut self, edit: &Edit) {
        let mut members = self.open('{');
        self.member(&mut members, "id");
        self.id(edit.id);
        match &edit.change {
            EditKind::Object(list) => {
                self.member(&mut members, "list");
                self.list(list);
            }
            EditKind::Array(list) => {
                self.member(&mut members, "array");
                self.array(list);
            }
        }
        self.out.push('}');
    }

    fn array(&mut self, list: &ArrayList) {
        let mut members = self.open('{');
        if !list.remove.is_empty() {
            self.member(&mut members, "remove");
            self.items(&list.remove, Self::removal);
        }
        if !list.edit.is_empty() {
            self.member(&mut members, "list");
            self.items(&list.edit, Self::edit);
        }
        if !list.insert.is_empty() {
            self.member(&mut members, "add");
            self.items(&list.insert, Self::insert);
        }
        self.out.push('}');
    }

    fn insert(&mut self, insert: &Insert) {
        let mut members = self.open('{');
        if let Some(id) = insert.id {
            self.member(&mut members, "id");
            self.id(id);
        }
        if self.form == Form::Whole {
            self.anchors(&mut members, insert);
        }
        for (name, value) in [("after", &insert.after), ("before", &insert.before)] {
            if let Some(value) = value {
                self.member(&mut members, name);
                self.value(value);
            }
        }
        self.index(&mut members, insert.index);
        self.member(&mut members, "value");
        self.value(&insert.value);
        self.out.push('}');
    }

    fn anchors(&mut self, members: &mut Members, insert: &Insert) {
        match insert.after_id {
            After::Unsaid => {}
            After::Front => {
                self.member(members, "afterId");
                self.out.push_str("null");
            }
            After::Own(place) => {
                self.member(members, "afterId");
                self.out.push_str(&place.to_string());
            }
            After::Element(id) => {
                self.member(members, "afterId");
                self.id(id);
            }
        }
        if let Some(id) = insert.before_id {
            self.member(members, "beforeId");
            self.id(id);
        }
    }
}
