//! The packed forms in which many things cross at once. All integers little-endian, as JavaScript's typed views read
//! them fastest; `lib/packed.js` is the other side.
//!
//! ```text
//! writes   count u32, write*
//! write    op u8 (1 put, 2 register, 3 delete, 4 batch)
//!          batch: writes;  else: expect u8 (0 any, 1 seq: u64, 2 absent), key bytes, then
//!          put: value bytes, base text (empty: none), diff bytes (empty: none);  register: value bytes
//! bytes    length u32, bytes
//! written  count u32, each: 0 no | 1 conflict | 2 yes, length u64, version u64 | 3 code bytes, message bytes
//! entries  count u32, each: seq u64, flags u8 (1 register, 2 put, 4 has a value, 8 has a _prevTimestamp), key length u32, value length u32, key, value
//! ```

use super::value::{Form, write_value};
use crate::db::{Error, Expect, Live, LiveRow, Write, Written};
use crate::types::Stamp;

/// A batch holds no batches.
const MAX_DEPTH: u8 = 1;

pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

/// `None`: not what `lib/packed.js` writes.
pub fn read_writes(packed: &[u8]) -> Option<Vec<Write>> {
    let mut reader = Reader(packed);
    let writes = writes(&mut reader, 0)?;
    reader.0.is_empty().then_some(writes)
}

fn writes(reader: &mut Reader<'_>, depth: u8) -> Option<Vec<Write>> {
    let count = reader.u32()?;
    (0..count).map(|_| write(reader, depth)).collect()
}

fn write(reader: &mut Reader<'_>, depth: u8) -> Option<Write> {
    let op = reader.u8()?;
    if op == 4 {
        return if depth < MAX_DEPTH { writes(reader, depth + 1).map(Write::Batch) } else { None };
    }
    let expect = match reader.u8()? {
        0 => Expect::Any,
        1 => Expect::Seq(reader.u64()?),
        2 => Expect::Absent,
        _ => return None,
    };
    let key = reader.bytes()?.to_vec();
    match op {
        1 => {
            let value = reader.bytes()?.to_vec();
            let base = parse_base(reader.text()?);
            let diff = Some(reader.text()?).filter(|text| !text.is_empty()).map(str::to_owned);
            Some(Write::Put { key, value, base, diff, expect })
        }
        2 => Some(Write::Register { key, value: reader.bytes()?.to_vec(), expect }),
        3 => Some(Write::Delete { key, expect }),
        _ => None,
    }
}

/// `<stamp>-<state, 16 hex>`. What is not of this form names no state: a put without a base.
pub fn parse_base(text: &str) -> Option<(Stamp, u64)> {
    let (stamp, state) = text.rsplit_once('-')?;
    if state.len() != 16 {
        return None;
    }
    Some((Stamp::parse(stamp).ok()?, u64::from_str_radix(state, 16).ok()?))
}

pub fn write_results(results: Vec<Result<Written, Error>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + results.len() * 17);
    put_length(&mut out, results.len());
    for result in results {
        match result {
            Ok(Written::No) => out.push(0),
            Ok(Written::Conflict) => out.push(1),
            Ok(Written::Yes { length, version }) => {
                out.push(2);
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(&version.to_le_bytes());
            }
            Err(error) => {
                out.push(3);
                put_bytes(&mut out, error.code.name().as_bytes());
                put_bytes(&mut out, error.message.as_bytes());
            }
        }
    }
    out
}

/// Entries being packed.
pub struct EntryPacker {
    out: Vec<u8>,
    count: u32,
    form: Form,
}

impl EntryPacker {
    pub fn new(form: Form) -> Self {
        Self { out: vec![0; 4], count: 0, form }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn live(&mut self, row: &LiveRow<'_>) {
        self.add(row.version, row.key, Some(row));
    }

    /// What a history shows of one write: no row is a delete.
    pub fn add(&mut self, seq: u64, key: &[u8], row: Option<&LiveRow<'_>>) {
        let flags = match row {
            None => 0,
            Some(row) => FLAG_PUT | FLAG_VALUE | row_flags(row),
        };
        self.count = self.count.saturating_add(1);
        self.out.extend_from_slice(&seq.to_le_bytes());
        self.out.push(flags);
        put_length(&mut self.out, key.len());
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        self.out.extend_from_slice(key);
        let value_at = self.out.len();
        if let Some(row) = row {
            write_value(&mut self.out, row, self.form);
        }
        let length = u32_length(self.out.len() - value_at);
        self.patch(length_at, length);
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.patch(0, self.count);
        self.out
    }

    fn patch(&mut self, at: usize, value: u32) {
        if let Some(place) = self.out.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }
}

const FLAG_REGISTER: u8 = 1;
const FLAG_PUT: u8 = 2;
const FLAG_VALUE: u8 = 4;
const FLAG_PREV: u8 = 8;

/// One entry without its key, as `getInto` gives it: seq u64, flags u8, value.
pub fn write_row(out: &mut Vec<u8>, row: &LiveRow<'_>, form: Form) {
    out.extend_from_slice(&row.version.to_le_bytes());
    out.push(row_flags(row));
    write_value(out, row, form);
}

fn row_flags(row: &LiveRow<'_>) -> u8 {
    let register = if matches!(row.value, Live::Register(_)) { FLAG_REGISTER } else { 0 };
    register | if row.prev.is_some() { FLAG_PREV } else { 0 }
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

pub(super) fn put_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u32_length(length).to_le_bytes());
}

/// Keys, values and counts are far below this (`codec::limits`).
fn u32_length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Code;

    fn bytes(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat()
    }

    fn put() -> Vec<u8> {
        [
            vec![1, 1],
            7_u64.to_le_bytes().to_vec(),
            bytes(b"k"),
            bytes(b"{}"),
            bytes(b""),
            bytes(b"{\"list\":{}}"),
        ]
        .concat()
    }

    #[test]
    fn writes_are_read_as_written() {
        let batch = [vec![4], 1_u32.to_le_bytes().to_vec(), vec![3, 2], bytes(b"d")].concat();
        let packed = [2_u32.to_le_bytes().to_vec(), put(), batch].concat();
        let writes = read_writes(&packed).unwrap();
        let [
            Write::Put { key, value, base: None, diff: Some(diff), expect: Expect::Seq(7) },
            Write::Batch(inner),
        ] = writes.as_slice()
        else {
            panic!("{writes:?}")
        };
        assert_eq!(
            (key.as_slice(), value.as_slice(), diff.as_str()),
            (&b"k"[..], &b"{}"[..], "{\"list\":{}}")
        );
        assert!(matches!(inner.as_slice(), [Write::Delete { expect: Expect::Absent, .. }]));
    }

    #[test]
    fn every_truncation_and_a_nested_batch_fail() {
        let packed = [1_u32.to_le_bytes().to_vec(), put()].concat();
        assert!((0..packed.len()).all(|length| read_writes(&packed[..length]).is_none()));
        assert!(read_writes(&[packed, vec![0]].concat()).is_none());
        let nested =
            [1_u32.to_le_bytes().to_vec(), vec![4], 1_u32.to_le_bytes().to_vec(), vec![4, 0, 0, 0, 0]]
                .concat();
        assert!(read_writes(&nested).is_none());
    }

    #[test]
    fn a_base_is_a_stamp_and_a_state() {
        let stamp = "1970-01-01T00:00:01.000Z-00000000-000000000002-abababababababab";
        assert_eq!(parse_base(&format!("{stamp}-00000000000000ff")).map(|(_, state)| state), Some(255));
        assert_eq!(parse_base(stamp), None);
        assert_eq!(parse_base("yesterday"), None);
    }

    #[test]
    fn results_have_golden_bytes() {
        let results = vec![
            Ok(Written::No),
            Ok(Written::Conflict),
            Ok(Written::Yes { length: 1, version: 2 }),
            Err(Error::new(Code::Closed, "x")),
        ];
        let expected = [
            &[4, 0, 0, 0, 0, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 10, 0, 0, 0][..],
            b"ERR_CLOSED",
            &[1, 0, 0, 0],
            b"x",
        ]
        .concat();
        assert_eq!(write_results(results), expected);
    }
}
