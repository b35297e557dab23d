use std::collections::BTreeMap;

use crate::codec::limits::MAX_JSON_DEPTH;
use crate::codec::{DecodeError, Reader, put_bytes, put_varint};
use crate::crdt::element::ElementId;
use crate::crdt::json::{Props, Value, parse};
use crate::crdt::tree::{Element, Node};

type DotPrefix = ([u8; 8], u64);

/// Appends the ids, and the removed elements, of everything in `props`.
pub(super) fn encode_props(out: &mut Vec<u8>, props: &Props<Node>) {
    let mut writer = Writer { arrays: Vec::new(), dots: Vec::new(), numbers: BTreeMap::new() };
    props.values().for_each(|node| writer.content(node));
    put_varint(out, writer.dots.len() as u64);
    for (prefix, seq) in &writer.dots {
        out.extend_from_slice(prefix);
        put_varint(out, *seq);
    }
    out.extend_from_slice(&writer.arrays);
}

struct Writer {
    arrays: Vec<u8>,
    dots: Vec<DotPrefix>,
    numbers: BTreeMap<DotPrefix, u64>,
}

fn follows(last: &Element, next: &Element) -> bool {
    let same = (last.live, last.id.writer, last.id.seq) == (next.live, next.id.writer, next.id.seq);
    same && last.id.n.checked_add(1) == Some(next.id.n)
}

impl Writer {
    fn content(&mut self, node: &Node) {
        match node {
            Node::Scalar(_) => {}
            Node::Object(props) => props.values().for_each(|node| self.content(node)),
            Node::Array(elements) => self.array(elements),
        }
    }

    fn array(&mut self, elements: &[Element]) {
        let runs: Vec<&[Element]> = elements.chunk_by(follows).collect();
        put_varint(&mut self.arrays, runs.len() as u64);
        for run in runs {
            let Some(first) = run.first() else { continue };
            let fresh = self.dots.len() as u64;
            let dot = (first.id.writer, first.id.seq);
            let number = *self.numbers.entry(dot).or_insert(fresh);
            if number == fresh {
                self.dots.push(dot);
            }
            put_varint(&mut self.arrays, (run.len() as u64) << 1 | u64::from(!first.live));
            put_varint(&mut self.arrays, number);
            put_varint(&mut self.arrays, first.id.n.into());
        }
        for element in elements {
            if !element.live {
                let mut text = String::new();
                element.node.put_text(&mut text);
                put_bytes(&mut self.arrays, text.as_bytes());
            }
            self.content(&element.node);
        }
    }
}

/// Reads an object's text and what belongs to it.
pub(super) fn decode_object(reader: &mut Reader<'_>) -> Result<Props<Node>, DecodeError> {
    let value = json(reader)?;
    let count = reader.length("a state's dots", usize::MAX)?;
    let mut dots: Vec<DotPrefix> = Vec::new();
    for _ in 0..count {
        dots.push((reader.array("a dot's writer")?, reader.varint("a dot's seq")?));
    }
    match (Decoder { reader, dots }).node(value, 1)? {
        Node::Object(props) => Ok(props),
        _ => Err(DecodeError::Malformed { what: "a state's text" }),
    }
}

fn json(reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    let text = reader.text("a value's text", usize::MAX)?;
    parse(text, MAX_JSON_DEPTH).map_err(|_| DecodeError::Malformed { what: "a value's text" })
}

struct Decoder<'r, 'a> {
    reader: &'r mut Reader<'a>,
    dots: Vec<DotPrefix>,
}

struct Run {
    length: u64,
    removed: bool,
    first: ElementId,
}

impl Decoder<'_, '_> {
    /// `level` bounds the recursion through removed elements, which stand in no text that was measured.
    fn node(&mut self, value: Value, level: usize) -> Result<Node, DecodeError> {
        match value {
            Value::Scalar(scalar) => Ok(Node::Scalar(scalar)),
            _ if level > MAX_JSON_DEPTH => Err(DecodeError::Malformed { what: "a state's nesting" }),
            Value::Object(props) => {
                let pairs = props.into_pairs().into_iter();
                let pairs = pairs.map(|(name, value)| Ok((name, self.node(value, level + 1)?)));
                Ok(Node::Object(Props::from_pairs(pairs.collect::<Result<_, DecodeError>>()?)))
            }
            Value::Array(items) => self.array(items, level),
        }
    }

    fn array(&mut self, items: Vec<Value>, level: usize) -> Result<Node, DecodeError> {
        let count = self.reader.length("an array's runs", usize::MAX)?;
        let mut runs = Vec::new();
        let mut live = 0_u64;
        for _ in 0..count {
            let run = self.run()?;
            live = live.saturating_add(if run.removed { 0 } else { run.length });
            runs.push(run);
        }
        if live != items.len() as u64 {
            return Err(DecodeError::Malformed { what: "an array's runs" });
        }
        let mut items = items.into_iter();
        let mut elements = Vec::with_capacity(items.len());
        for run in runs {
            // A live run is no longer than the text's array; each removed element takes bytes that must be there.
            for offset in 0..run.length {
                let n = u32::try_from(u64::from(run.first.n) + offset);
                let n = n.map_err(|_| DecodeError::Malformed { what: "an element's number" })?;
                let value = if run.removed { Some(json(self.reader)?) } else { items.next() };
                let value = value.ok_or(DecodeError::Malformed { what: "an array's runs" })?;
                let node = self.node(value, level + 1)?;
                elements.push(Element { id: ElementId { n, ..run.first }, live: !run.removed, node });
            }
        }
        Ok(Node::Array(elements))
    }

    fn run(&mut self) -> Result<Run, DecodeError> {
        let head = self.reader.varint("a run's length")?;
        let number = self.reader.length("a run's dot", usize::MAX)?;
        let n = self.reader.varint("a run's first number")?;
        let n = u32::try_from(n).map_err(|_| DecodeError::Malformed { what: "an element's number" })?;
        match self.dots.get(number) {
            Some(&(writer, seq)) if head >> 1 > 0 => {
                Ok(Run { length: head >> 1, removed: head & 1 == 1, first: ElementId { writer, seq, n } })
            }
            _ => Err(DecodeError::Malformed { what: "an array's runs" }),
        }
    }
}
