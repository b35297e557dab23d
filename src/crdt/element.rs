use std::fmt;

use crate::types::Dot;

/// Names one array element for good: the dot of the entry that inserted it (the writer by its first eight bytes) and
/// its number `n` in that entry's diff. Text: `<16 hex>-<seq hex>-<n hex>`, lower case, no leading zeros in the last two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElementId {
    pub writer: [u8; 8],
    pub seq: u64,
    pub n: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an element id of the form <16 hex>-<hex>-<hex>")]
pub struct ElementIdError;

impl ElementId {
    pub fn parse(text: &str) -> Result<Self, ElementIdError> {
        let mut parts = text.split('-');
        let (Some(writer), Some(seq), Some(n), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ElementIdError);
        };
        let number = |digits: &str| u64::from_str_radix(digits, 16).map_err(|_| ElementIdError);
        let id = Self {
            writer: number(writer)?.to_be_bytes(),
            seq: number(seq)?,
            n: number(n)?.try_into().map_err(|_| ElementIdError)?,
        };
        // Only the form we print is an id: no signs, upper case or leading zeros.
        if id.to_string() == text { Ok(id) } else { Err(ElementIdError) }
    }
}

impl fmt::Display for ElementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}-{:x}", u64::from_be_bytes(self.writer), self.seq, self.n)
    }
}

/// Gives out the ids of one diff, in the diff's canonical order. What a fold leaves out is counted all the same, so an
/// id depends on the diff alone and never on the state it meets.
pub(super) struct Numbering {
    writer: [u8; 8],
    seq: u64,
    n: u32,
}

impl Numbering {
    pub fn of(dot: &Dot) -> Self {
        Self { writer: dot.writer.prefix(), seq: dot.seq, n: 0 }
    }

    pub fn next(&mut self) -> ElementId {
        let id = ElementId { writer: self.writer, seq: self.seq, n: self.n };
        self.skip(1);
        id
    }

    pub fn skip(&mut self, elements: u32) {
        self.n = self.n.saturating_add(elements);
    }
}
