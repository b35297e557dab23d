//! The order of rows: plain bytes, or `prefix 4 ‖ key ‖ fixed tail`.
//!
//! With plain byte order a key that is a prefix of another would have its tail compared with the other's key bytes.
//! Here a row is compared by its prefix, then its key, then its tail, so keys need no escaping and prefixes sort
//! first. Rows shorter than prefix and tail together occur as bounds only (the prefix alone is "before all of it");
//! they are split as far as they reach, which keeps the order total: the split is a function of the row, its parts
//! joined are the row again, and parts are compared as byte strings.

use std::cmp::Ordering;

/// Width of the prefix (a database's number).
pub const PREFIX: usize = 4;

/// Rows ordered by prefix, key, then a tail of `TAIL` bytes.
pub enum PrefixTail<const TAIL: usize> {}

/// Prefix, key and tail of a row; what is too short has an empty key and a short tail.
pub fn split(row: &[u8], tail: usize) -> (&[u8], &[u8], &[u8]) {
    let (prefix, rest) = row.split_at_checked(PREFIX).unwrap_or((row, &[]));
    let (key, tail) = rest.split_at_checked(rest.len().saturating_sub(tail)).unwrap_or((&[], rest));
    (prefix, key, tail)
}

impl<const TAIL: usize> heed::Comparator for PrefixTail<TAIL> {
    fn compare(a: &[u8], b: &[u8]) -> Ordering {
        split(a, TAIL).cmp(&split(b, TAIL))
    }
}

/// Byte order, as LMDB's own comparator has it; named so that bounds can be compared alike.
pub type Plain = heed::DefaultComparator;
