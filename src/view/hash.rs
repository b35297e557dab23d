//! The state hash: `LtHash` over the live content. Each live key adds the 1,024 16-bit lanes of a 2,048-byte blake3
//! output over `key length ‖ key ‖ kind ‖ value`; taking a value out subtracts them. So it depends on what is live and
//! on nothing else, and is brought forward along the log. (Lewi et al., "Securing Update Propagation with Homomorphic
//! Hashing", 2019.)

use super::ViewError;
use super::rows::{Row, by_name, log_key};
use super::space::Space;
use crate::codec::{DecodeError, Reader, put_bytes};
use crate::crdt::{Live, parse_object};
use crate::store::{Read, StoreError, Table, WriteTxn};
use crate::types::Hash;
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

    fn add(&mut self, keyed: Option<&[u8; 32]>, element: &[u8]) {
        self.each(keyed, element, u16::wrapping_add);
    }

    fn subtract(&mut self, keyed: Option<&[u8; 32]>, element: &[u8]) {
        self.each(keyed, element, u16::wrapping_sub);
    }
}

/// What a live row adds to the hash. Objects count by content: the order of their properties does not.
fn element(key: &[u8], row: &Row<'_>) -> Result<Option<Vec<u8>>, ViewError> {
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

/// Brings `hash`, which is that of version `from`, forward to version `to`.
pub fn advance(
    txn: &impl Read,
    space: &Space,
    hash: &mut LatticeHash,
    from: u64,
    to: u64,
) -> Result<(), ViewError> {
    let database = space.database();
    let (low, high) = (log_key(database, from.saturating_add(1)), log_key(database, to));
    if from >= to {
        return Ok(());
    }
    let keyed = space.sealing().hash_key();
    for (version, row) in (from.saturating_add(1)..).zip(txn.range(
        Table::Log,
        Bound::Included(&low),
        Bound::Included(&high),
    )?) {
        let (_, name) = row?;
        if let Some(before) = by_name(txn, space, name, Some(version - 1))?
            && let Some(element) = element(before.key(name), &before)?
        {
            hash.subtract(keyed, &element);
        }
        if let Some(now) = by_name(txn, space, name, Some(version))?
            && let Some(element) = element(now.key(name), &now)?
        {
            hash.add(keyed, &element);
        }
    }
    Ok(())
}
