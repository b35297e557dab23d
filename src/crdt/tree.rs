use super::element::{ElementId, Numbering};
use super::json::{Props, Scalar, Value, put_scalar, put_string};

/// A folded value: as [`Value`], but array elements have ids, and removed ones keep their place and content.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Scalar(Scalar),
    Array(Vec<Element>),
    Object(Props<Node>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Element {
    pub id: ElementId,
    pub live: bool,
    pub node: Node,
}

impl Node {
    /// Gives every array element in `value` its id: an element before what is inside it.
    pub fn build(value: &Value, ids: &mut Numbering) -> Self {
        match value {
            Value::Scalar(scalar) => Self::Scalar(scalar.clone()),
            Value::Array(items) => Self::Array(
                items
                    .iter()
                    .map(|item| Element { id: ids.next(), live: true, node: Self::build(item, ids) })
                    .collect(),
            ),
            Value::Object(props) => {
                let pairs = props.iter().map(|(name, value)| (name.to_owned(), Self::build(value, ids)));
                Self::Object(Props::from_pairs(pairs.collect()))
            }
        }
    }

    pub fn plain(&self) -> Value {
        match self {
            Self::Scalar(scalar) => Value::Scalar(scalar.clone()),
            Self::Array(elements) => {
                Value::Array(live(elements).map(|element| element.node.plain()).collect())
            }
            Self::Object(props) => Value::Object(plain_props(props)),
        }
    }

    /// Whether what is live here equals `value`.
    pub fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Scalar(own), Value::Scalar(other)) => own == other,
            (Self::Array(elements), Value::Array(items)) => {
                let mut own = live(elements);
                items.iter().all(|item| own.next().is_some_and(|element| element.node.is(item)))
                    && own.next().is_none()
            }
            (Self::Object(own), Value::Object(other)) => {
                own.len() == other.len()
                    && own
                        .values()
                        .zip(other.places(own.names()))
                        .all(|(node, place)| place.and_then(|at| other.at(at)).is_some_and(|v| node.is(v)))
            }
            _ => false,
        }
    }

    pub fn put_text(&self, out: &mut String) {
        match self {
            Self::Scalar(scalar) => put_scalar(out, scalar),
            Self::Array(elements) => {
                out.push('[');
                for (place, element) in live(elements).enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    element.node.put_text(out);
                }
                out.push(']');
            }
            Self::Object(props) => put_props_text(out, props),
        }
    }
}

pub(super) fn live(elements: &[Element]) -> impl Iterator<Item = &Element> {
    elements.iter().filter(|element| element.live)
}

pub(super) fn plain_props(props: &Props<Node>) -> Props<Value> {
    Props::from_pairs(props.iter().map(|(name, node)| (name.to_owned(), node.plain())).collect())
}

pub(super) fn put_props_text(out: &mut String, props: &Props<Node>) {
    out.push('{');
    for (place, (name, node)) in props.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        put_string(out, name);
        out.push(':');
        node.put_text(out);
    }
    out.push('}');
}

/// How many array elements a value has, at any depth: how many ids it takes.
pub(super) fn elements_in(value: &Value) -> u32 {
    match value {
        Value::Scalar(_) => 0,
        Value::Array(items) => {
            items.iter().fold(0, |sum: u32, item| sum.saturating_add(1).saturating_add(elements_in(item)))
        }
        Value::Object(props) => {
            props.values().fold(0, |sum: u32, value| sum.saturating_add(elements_in(value)))
        }
    }
}
