use super::{After, ArrayList, Cut, Edit, EditKind, Inner, Insert, List, Put, Removal, Sub};
use crate::codec::limits::MAX_JSON_DEPTH;
use crate::crdt::element::ElementId;
use crate::crdt::json::{self, JsonError, Props, Scalar, Value};

/// Nesting of a list's text: each level of the value takes at most three in the text (an edit in arrays of arrays). Bounds recursion.
pub const MAX_LIST_DEPTH: usize = 3 * MAX_JSON_DEPTH + 8;

/// Removals and anchors of one list that go by value: each may compare with every element of an array.
pub const MAX_BY_VALUE: usize = 1_024;

/// Names that a read value carries; as properties of the object itself they cannot be set.
const RESERVED: [&str; 4] = ["_objectId", "_timestamp", "_prevTimestamp", "_diff"];

/// The largest index that every double below it counts exactly.
const MAX_INDEX: f64 = 9_007_199_254_740_991.0;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    #[error("the diff list cannot be read: {0}")]
    Json(#[from] JsonError),
    #[error("the diff list is malformed: {what} must be {expected}")]
    Malformed { what: &'static str, expected: &'static str },
    #[error("the diff list has {name:?} in {what}, which has no such member")]
    Unknown { what: &'static str, name: String },
    #[error("the diff list names the reserved property {name:?}")]
    Reserved { name: String },
    #[error("the diff list would nest the value deeper than {limit} levels")]
    TooDeep { limit: usize },
    #[error("the diff list edits the array element {id} twice in one place")]
    EditedTwice { id: ElementId },
    #[error("the diff list looks for more than {limit} array elements by value")]
    TooManyByValue { limit: usize },
}

impl List {
    /// Reads and checks the text of a list, wholly and without looking at any state: what is an error here is one on
    /// every replica, and what is none cannot nest a value too deep.
    pub fn parse(text: &str) -> Result<Self, ListError> {
        Self::from_value(json::parse(text, MAX_LIST_DEPTH)?)
    }

    pub fn from_value(value: Value) -> Result<Self, ListError> {
        let mut parser = Parser { by_value: 0 };
        let list = parser.list(value, 1)?;
        let names = list.remove.iter().map(String::as_str).chain(list.add.names()).chain(list.cut.names());
        let mut names = names.chain(list.inner.names()).chain(list.put.names());
        let reserved = names.find(|name| RESERVED.contains(name)).map(str::to_owned);
        drop(names);
        match reserved {
            Some(name) => Err(ListError::Reserved { name }),
            None => Ok(list),
        }
    }
}

/// The object without what only a read adds. A list that set any of it would be malformed on every replica.
pub fn without_reserved(value: Value) -> Value {
    match value {
        Value::Object(props) if RESERVED.iter().any(|name| props.contains(name)) => {
            let mut pairs = props.into_pairs();
            pairs.retain(|(name, _)| !RESERVED.contains(&name.as_str()));
            Value::Object(Props::from_pairs(pairs))
        }
        value => value,
    }
}

struct Parser {
    by_value: usize,
}

fn object(value: Value, what: &'static str) -> Result<Vec<(String, Value)>, ListError> {
    match value {
        Value::Object(props) => Ok(props.into_pairs()),
        _ => Err(ListError::Malformed { what, expected: "an object" }),
    }
}

fn array(value: Value, what: &'static str) -> Result<Vec<Value>, ListError> {
    match value {
        Value::Array(items) => Ok(items),
        _ => Err(ListError::Malformed { what, expected: "an array" }),
    }
}

fn unknown<T>(what: &'static str, name: String) -> Result<T, ListError> {
    Err(ListError::Unknown { what, name })
}

fn id(value: &Value, what: &'static str) -> Result<ElementId, ListError> {
    let id = value.as_str().and_then(|text| ElementId::parse(text).ok());
    id.ok_or(ListError::Malformed { what, expected: "an element id" })
}

fn index(value: &Value, what: &'static str) -> Result<u64, ListError> {
    match value {
        Value::Scalar(Scalar::Number(number))
            if (0.0..=MAX_INDEX).contains(number) && number.fract() == 0.0 =>
        {
            // The text of a whole number below 2^53 is its decimal digits.
            number.to_string().parse().map_err(|_| ListError::Malformed { what, expected: "an index" })
        }
        _ => Err(ListError::Malformed { what, expected: "an index" }),
    }
}

/// `value` stands inside a container at `level` (the object itself is level 1).
fn fits(value: &Value, level: usize) -> Result<(), ListError> {
    if level + value.depth() <= MAX_JSON_DEPTH { Ok(()) } else { Err(too_deep()) }
}

fn too_deep() -> ListError {
    ListError::TooDeep { limit: MAX_JSON_DEPTH }
}

fn props<T>(
    value: Value,
    what: &'static str,
    mut read: impl FnMut(Value) -> Result<T, ListError>,
) -> Result<Props<T>, ListError> {
    let pairs = object(value, what)?.into_iter().map(|(name, value)| Ok((name, read(value)?)));
    Ok(Props::from_pairs(pairs.collect::<Result<_, ListError>>()?))
}

impl Parser {
    fn list(&mut self, value: Value, level: usize) -> Result<List, ListError> {
        if level > MAX_JSON_DEPTH {
            return Err(too_deep());
        }
        let mut list = List::default();
        for (name, value) in object(value, "a list")? {
            match name.as_str() {
                "remove" => {
                    list.remove = object(value, "remove")?.into_iter().map(|(name, _)| name).collect();
                }
                "add" => {
                    list.add = props(value, "add", |value| fits(&value, level).map(|()| value))?;
                }
                "list" => list.inner = props(value, "list", |value| self.inner(value, level + 1))?,
                "insert" => {
                    for (name, value) in object(value, "insert")? {
                        match name.as_str() {
                            "add" => list.put = props(value, "insert.add", |v| self.put(v, level + 1))?,
                            "remove" => list.cut = props(value, "insert.remove", |v| self.cut(v))?,
                            _ => return unknown("insert", name),
                        }
                    }
                }
                _ => return unknown("a list", name),
            }
        }
        Ok(list)
    }

    fn inner(&mut self, value: Value, level: usize) -> Result<Inner, ListError> {
        match value {
            Value::Array(edits) => Ok(Inner::Array(self.edits(edits, level)?)),
            list => Ok(Inner::Object(self.list(list, level)?)),
        }
    }

    fn edits(&mut self, edits: Vec<Value>, level: usize) -> Result<Vec<Edit>, ListError> {
        let edits: Vec<Edit> =
            edits.into_iter().map(|edit| self.edit(edit, level)).collect::<Result<_, _>>()?;
        // Else a short list could make a fold go through one long array many times.
        let mut ids: Vec<ElementId> = edits.iter().map(|edit| edit.id).collect();
        ids.sort_unstable();
        match ids.windows(2).find(|pair| pair.first() == pair.last()).and_then(<[ElementId]>::first) {
            Some(id) => Err(ListError::EditedTwice { id: *id }),
            None => Ok(edits),
        }
    }

    /// An edit of an element of an array at `level`.
    fn edit(&mut self, value: Value, level: usize) -> Result<Edit, ListError> {
        let (mut element, mut change) = (None, None);
        for (name, value) in object(value, "an edit")? {
            match name.as_str() {
                "id" => element = Some(id(&value, "an edit's id")?),
                "list" if change.is_none() => change = Some(EditKind::Object(self.list(value, level + 1)?)),
                "array" if change.is_none() => change = Some(EditKind::Array(self.array(value, level + 1)?)),
                _ => return unknown("an edit", name),
            }
        }
        match (element, change) {
            (Some(id), Some(change)) => Ok(Edit { id, change }),
            _ => Err(ListError::Malformed { what: "an edit", expected: "an id and a list or an array" }),
        }
    }

    fn array(&mut self, value: Value, level: usize) -> Result<ArrayList, ListError> {
        if level > MAX_JSON_DEPTH {
            return Err(too_deep());
        }
        let mut list = ArrayList::default();
        for (name, value) in object(value, "an edit's array")? {
            match name.as_str() {
                "remove" => list.remove = self.removals(array(value, "an array's removals")?)?,
                "list" => list.edit = self.edits(array(value, "an array's edits")?, level)?,
                "add" => list.insert = self.inserts(array(value, "an array's inserts")?, level)?,
                _ => return unknown("an edit's array", name),
            }
        }
        Ok(list)
    }

    fn cut(&mut self, value: Value) -> Result<Cut, ListError> {
        match value {
            Value::Array(removals) => Ok(Cut::Array(self.removals(removals)?)),
            Value::Object(subs) => {
                Ok(Cut::Object(props(Value::Object(subs), "insert.remove", |v| Ok(sub(v)))?))
            }
            Value::Scalar(_) => Err(ListError::Malformed {
                what: "insert.remove's property",
                expected: "an object or an array",
            }),
        }
    }

    fn put(&mut self, value: Value, level: usize) -> Result<Put, ListError> {
        if level > MAX_JSON_DEPTH {
            return Err(too_deep());
        }
        match value {
            Value::Array(inserts) => Ok(Put::Array(self.inserts(inserts, level)?)),
            Value::Object(subs) => {
                subs.values().try_for_each(|value| fits(value, level))?;
                Ok(Put::Object(subs))
            }
            Value::Scalar(_) => {
                Err(ListError::Malformed { what: "insert.add's property", expected: "an object or an array" })
            }
        }
    }

    fn removals(&mut self, removals: Vec<Value>) -> Result<Vec<Removal>, ListError> {
        removals.into_iter().map(|removal| self.removal(removal)).collect()
    }

    fn removal(&mut self, value: Value) -> Result<Removal, ListError> {
        let mut removal = Removal { id: None, value: None, index: None };
        for (name, value) in object(value, "a removal")? {
            match name.as_str() {
                "id" => removal.id = Some(id(&value, "a removal's id")?),
                "value" => removal.value = Some(value),
                "index" => removal.index = Some(index(&value, "a removal's index")?),
                _ => return unknown("a removal", name),
            }
        }
        match (&removal.id, &removal.value, &removal.index) {
            (None, None, None) => {
                Err(ListError::Malformed { what: "a removal", expected: "an id, a value or an index" })
            }
            (None, Some(_), _) => self.count_by_value().map(|()| removal),
            _ => Ok(removal),
        }
    }

    fn count_by_value(&mut self) -> Result<(), ListError> {
        self.by_value += 1;
        if self.by_value <= MAX_BY_VALUE {
            Ok(())
        } else {
            Err(ListError::TooManyByValue { limit: MAX_BY_VALUE })
        }
    }

    /// Inserts into an array at `level`.
    fn inserts(&mut self, inserts: Vec<Value>, level: usize) -> Result<Vec<Insert>, ListError> {
        inserts.into_iter().enumerate().map(|(place, insert)| self.insert(insert, place, level)).collect()
    }

    fn insert(&mut self, value: Value, place: usize, level: usize) -> Result<Insert, ListError> {
        let mut inserted = None;
        let mut insert = Insert {
            id: None,
            value: Value::Scalar(Scalar::Null),
            after_id: After::Unsaid,
            before_id: None,
            after: None,
            before: None,
            index: None,
        };
        for (name, value) in object(value, "an insert")? {
            match name.as_str() {
                "id" => insert.id = Some(id(&value, "an insert's id")?),
                "value" => inserted = Some(value),
                "afterId" => insert.after_id = after(&value, place)?,
                "beforeId" => insert.before_id = Some(id(&value, "beforeId")?),
                "after" => insert.after = Some(value),
                "before" => insert.before = Some(value),
                "index" => insert.index = Some(index(&value, "an insert's index")?),
                _ => return unknown("an insert", name),
            }
        }
        for _ in insert.after.iter().chain(&insert.before) {
            self.count_by_value()?;
        }
        insert.value =
            inserted.ok_or(ListError::Malformed { what: "an insert", expected: "given a value" })?;
        fits(&insert.value, level)?;
        Ok(insert)
    }
}

/// The value in a removal inside an object is only a note, unless it is an object with members: then it leads deeper.
fn sub(value: Value) -> Sub {
    match value {
        Value::Scalar(old) => Sub::Gone(old),
        Value::Object(subs) if !subs.is_empty() => {
            let subs = subs.into_pairs().into_iter().map(|(name, value)| (name, sub(value)));
            Sub::Inside(Props::from_pairs(subs.collect()))
        }
        Value::Object(_) | Value::Array(_) => Sub::Gone(Scalar::String(String::new())),
    }
}

/// `afterId` of the insert at `place`; a number may only name an insert before it.
fn after(value: &Value, place: usize) -> Result<After, ListError> {
    match value {
        Value::Scalar(Scalar::Null) => Ok(After::Front),
        Value::Scalar(Scalar::Number(_)) => usize::try_from(index(value, "afterId")?)
            .ok()
            .filter(|own| *own < place)
            .map(After::Own)
            .ok_or(ListError::Malformed { what: "afterId", expected: "the number of an earlier insert" }),
        id_text => id(id_text, "afterId").map(After::Element),
    }
}
