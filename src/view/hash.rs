//! The state hash: `LtHash` over the live content. Each live key adds the 1,024 16-bit lanes of a 2,048-byte blake3
//! output over `key length ‖ key ‖ kind ‖ value`; taking a value out subtracts them. So it depends on what is live and
//! on nothing else, and is brought forward along the log. (Lewi et al., "Securing Update Propagation with Homomorphic
//! Hashing", 2019.)

use super::ViewError;
use super::rows::{Row, by_name, log_key};
use super::space::Space;
use crate::codec::{DecodeError, Reader, put_bytes};
use crate::crdt::{Live, parse_object};
use crate::fault::{self, Fault};
use crate::store::{Read, StoreError, Table, WriteTxn};
use crate::types::Hash;
use std::collections::BTreeSet;
use std::ops::Bound;

const LANES: usize = 1_024;
const CONTEXT: &str = "multi-hyperbee 2026 state hash element v1";
const DIGEST_CONTEXT: &str = "multi-hyperbee 2026 state hash digest v1";

const OBJECT: u8 = 0;
const REGISTER: u8 = 1;

/// A sum of elements; the empty set is all zeros.
#[derive(Clone, PartialEq, Eq)]
pub struct LatticeHash {
    lanes: Box<[u16; LANES]>,
}

impl Default for LatticeHash {
    fn default() -> Self {
        Self { lanes: Box::new([0; LANES]) }
    }
}

impl LatticeHash {
    pub fn digest(&self) -> Hash {
        let mut hasher = blake3::Hasher::new_derive_key(DIGEST_CONTEXT);
        for lane in self.lanes.iter() {
            hasher.update(&lane.to_le_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        self.lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect()
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let mut hash = Self::default();
        if pairs.len() != LANES || !rest.is_empty() {
            return None;
        }
        for (lane, pair) in hash.lanes.iter_mut().zip(pairs) {
            *lane = u16::from_le_bytes(*pair);
        }
        Some(hash)
    }

    fn each(&mut self, keyed: Option<&[u8; 32]>, element: &[u8], change: impl Fn(u16, u16) -> u16) {
        let mut hasher = match keyed {
            None => blake3::Hasher::new_derive_key(CONTEXT),
            Some(key) => blake3::Hasher::new_keyed(key),
        };
        hasher.update(element);
        let mut output = [0_u8; LANES * 2];
        hasher.finalize_xof().fill(&mut output);
        let (pairs, _) = output.as_chunks::<2>();
        for (lane, pair) in self.lanes.iter_mut().zip(pairs) {
            *lane = change(*lane, u16::from_le_bytes(*pair));
        }
    }

    pub(super) fn add(&mut self, keyed: Option<&[u8; 32]>, element: &[u8]) {
        self.each(keyed, element, u16::wrapping_add);
    }

    fn subtract(&mut self, keyed: Option<&[u8; 32]>, element: &[u8]) {
        self.each(keyed, element, u16::wrapping_sub);
    }
}

/// What a live row adds to the hash. Objects count by content: the order of their properties does not.
pub(super) fn element(key: &[u8], row: &Row<'_>) -> Result<Option<Vec<u8>>, ViewError> {
    let view = row.view()?;
    let mut out = Vec::new();
    put_bytes(&mut out, key);
    match view.live {
        Some(Live::Object(text)) => {
            let value = parse_object(text).map_err(|_| DecodeError::Malformed { what: "a state's text" })?;
            out.push(OBJECT);
            out.extend_from_slice(value.canonical().as_bytes());
        }
        Some(Live::Register(value)) => {
            out.push(REGISTER);
            out.extend_from_slice(value);
        }
        None => return Ok(None),
    }
    Ok(Some(out))
}

/// The hash as it was last kept, and its version.
pub fn kept_hash(txn: &impl Read, database: u32) -> Result<(u64, LatticeHash), ViewError> {
    let Some(row) = txn.get(Table::Hashes, &database.to_be_bytes())? else { return Ok(Default::default()) };
    let mut reader = Reader::new(row);
    let version = reader.u64("a hash's version")?;
    let hash =
        LatticeHash::from_bytes(reader.rest()).ok_or(DecodeError::Malformed { what: "a state hash" })?;
    Ok((version, hash))
}

/// Keeps the hash of a version, so that a store opened again goes on from there.
pub fn keep_hash(
    txn: &mut WriteTxn<'_>,
    database: u32,
    version: u64,
    hash: &LatticeHash,
) -> Result<(), StoreError> {
    let row = [&version.to_be_bytes()[..], &hash.to_bytes()].concat();
    txn.put(Table::Hashes, &database.to_be_bytes(), &row)
}

pub(super) fn is_dead(row: &Row<'_>) -> bool {
    row.view().is_ok_and(|view| view.live.is_none())
}

/// Brings `hash`, which is that of version `from`, forward to version `to`, or over `most` versions if that is less.
/// Returns the version reached. After an error the hash is no version's.
pub fn advance(
    txn: &impl Read,
    space: &Space,
    hash: &mut LatticeHash,
    from: u64,
    to: u64,
    most: u64,
) -> Result<u64, ViewError> {
    let to = to.min(from.saturating_add(most));
    if from >= to {
        return Ok(from);
    }
    let keyed = space.sealing().hash_key();
    let (low, high) = (log_key(space.database(), from.saturating_add(1)), log_key(space.database(), to));
    let mut changed = BTreeSet::new();
    for row in txn.range(Table::Log, Bound::Included(&low), Bound::Included(&high))? {
        changed.insert(row?.1);
    }
    // A key that changed often is looked at twice all the same: what it was in between cancels out.
    for name in changed {
        if let Some(before) = by_name(txn, space, name, Some(from))?
            && let Some(element) = element(before.key(name), &before)?
            && !(fault::is(Fault::HashRemembers)
                && by_name(txn, space, name, Some(to))?.is_some_and(|row| is_dead(&row)))
        {
            hash.subtract(keyed, &element);
        }
        if let Some(now) = by_name(txn, space, name, Some(to))?
            && let Some(element) = element(now.key(name), &now)?
        {
            hash.add(keyed, &element);
        }
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(elements: &[&[u8]]) -> [u8; 32] {
        let mut lanes = vec![0_u32; 1_024];
        for element in elements {
            let mut hasher = blake3::Hasher::new_derive_key("multi-hyperbee 2026 state hash element v1");
            let mut bytes = [0; 2_048];
            hasher.update(element).finalize_xof().fill(&mut bytes);
            for (lane, pair) in lanes.iter_mut().zip(bytes.chunks(2)) {
                *lane = (*lane + u32::from(pair[0]) + 256 * u32::from(pair[1])) % 65_536;
            }
        }
        let bytes: Vec<u8> =
            lanes.iter().flat_map(|lane| u16::try_from(*lane).unwrap().to_le_bytes()).collect();
        blake3::derive_key("multi-hyperbee 2026 state hash digest v1", &bytes)
    }

    #[test]
    fn the_hash_is_the_documents_and_what_was_taken_out_leaves_no_trace() {
        // Key length, key, kind, value.
        let (one, two) = (b"\x01k\x00{\"a\":1}", b"\x00\x01\xff");
        let mut hash = LatticeHash::default();
        assert_eq!(hash.digest(), naive(&[]));
        hash.add(None, one);
        hash.add(None, two);
        assert_eq!(hash.digest(), naive(&[two, one]));
        let golden = "5a6d5ee6822ee900073ac9d82e86cd01d2b460d7ad2d9fe0a23a44881675cdd0";
        assert_eq!(hex::encode(hash.digest()), golden);
        assert!(LatticeHash::from_bytes(&hash.to_bytes()) == Some(hash.clone()));
        assert!((0..2_048).all(|cut| LatticeHash::from_bytes(&hash.to_bytes()[..cut]).is_none()));
        hash.subtract(None, one);
        assert_eq!(hash.digest(), naive(&[two]));
        hash.subtract(None, two);
        assert!(hash == LatticeHash::default());
    }
}
