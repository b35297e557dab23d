//! The row of a feed in `Table::Feeds`, under its public key:
//!
//! ```text
//! flags u8 ‖ id u32 ‖ length u64 ‖ byte length u64 ‖ left u64 ‖ [head 112] ‖ [cover 112] ‖ [tip 112] ‖ [seed 32]
//!     ‖ [sealed seed 77] ‖ [branch of: feed 32 ‖ base u64]
//! flags = 1 head | 2 cover | 4 tip | 8 seed | 16 forked | 32 unconfirmed | 64 branch | 128 sealed seed (not with 8)
//! ```
//!
//! Other flags, a missing or trailing byte make it invalid.

use super::cover;
use super::{BranchOf, Covered, FeedError, Secret, Seed};
use crate::codec::{DecodeError, Reader};
use crate::merkle::Head;
use crate::store::{Read, Table, WriteTxn};
use crate::types::FeedKey;
use std::ops::Bound;

/// What is known of one feed. A copy: swap it in only after the transaction that changed it has committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedRecord {
    pub key: FeedKey,
    /// The store's own short name of the feed; never reused.
    pub id: u32,
    /// Blocks here, from the first on without a gap, all verified.
    pub length: u64,
    pub byte_length: u64,
    /// The longest signed head that is complete here; none only while there is none.
    pub head: Option<Head>,
    /// The signed head under which the blocks beyond `head` were verified. There only while there are such blocks.
    pub cover: Option<Head>,
    /// What it takes to prove blocks under `cover`: a row of its own, written and read with the record. There is none with
    /// a cover that was stored before such rows were, or that was never proved over all that is here.
    pub covered: Option<Covered>,
    /// Besides `cover`, the longest signed head seen that is longer than `length`. Not proved to continue what is here.
    pub tip: Option<Head>,
    /// Own feed: blocks below this have been offered to someone, or may have been. Kept for `db`, which owns the rule.
    pub left: u64,
    /// There if this device writes the feed.
    pub secret: Option<Secret>,
    /// A contradiction of two signed heads has been seen.
    pub forked: bool,
    /// An own feed out of a backup: more of it may have been written and sent since. Nothing is appended or offered
    /// before a peer that had it, or the user, has said otherwise.
    pub unconfirmed: bool,
    /// Set if this is no feed of its own but a branch of one.
    pub branch: Option<BranchOf>,
}

const HEAD: u8 = 1;
const COVER: u8 = 2;
const TIP: u8 = 4;
const SEED: u8 = 8;
const FORKED: u8 = 16;
const UNCONFIRMED: u8 = 32;
const BRANCH: u8 = 64;
const SEALED: u8 = 128;
const NEXT_FEED: &[u8] = b"next-feed";

impl FeedRecord {
    /// Length of the last complete head.
    pub fn complete(&self) -> u64 {
        self.head.map_or(0, |head| head.length)
    }

    /// Whose key signs its heads.
    pub fn signer(&self) -> &FeedKey {
        self.branch.as_ref().map_or(&self.key, |of| &of.feed)
    }

    /// Whether it is one block that its name names ([`crate::merkle::anchor()`]): all of it is here.
    pub fn is_anchor(&self) -> bool {
        self.head.is_some_and(|head| head.is_unsigned())
    }

    /// Blocks below this are not here: those of a branch stand in its feed.
    pub fn base(&self) -> u64 {
        self.branch.map_or(0, |of| of.base)
    }

    /// Length of the longest signed head seen.
    pub fn signed(&self) -> u64 {
        [self.head, self.cover, self.tip].iter().flatten().map(|head| head.length).max().unwrap_or(0)
    }

    /// Bytes of the longest signed length seen, or of what is here, if that is more.
    pub fn longest_bytes(&self) -> u64 {
        let heads = [self.head, self.cover, self.tip];
        let longest = heads.iter().flatten().max_by_key(|head| head.length);
        longest.map_or(self.byte_length, |head| head.byte_length.max(self.byte_length))
    }

    /// The signed head that covers all that is here.
    pub fn covering(&self) -> Option<&Head> {
        self.cover.as_ref().or(self.head.as_ref())
    }

    pub fn encode(&self) -> Vec<u8> {
        let flag = |bit, there| if there { bit } else { 0 };
        let sealed = self.secret.as_ref().and_then(Secret::sealed);
        let seed = self.secret.as_ref().and_then(|secret| secret.seed(self.key).ok());
        let seed = seed.filter(|_| sealed.is_none());
        let flags = flag(HEAD, self.head.is_some())
            | flag(COVER, self.cover.is_some())
            | flag(TIP, self.tip.is_some())
            | flag(SEED, seed.is_some())
            | flag(SEALED, sealed.is_some())
            | flag(FORKED, self.forked)
            | flag(UNCONFIRMED, self.unconfirmed)
            | flag(BRANCH, self.branch.is_some());
        let mut out = vec![flags];
        out.extend_from_slice(&self.id.to_be_bytes());
        for number in [self.length, self.byte_length, self.left] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for head in [&self.head, &self.cover, &self.tip].into_iter().flatten() {
            head.encode_into(&mut out);
        }
        if let Some(seed) = seed {
            out.extend_from_slice(seed.as_bytes());
        }
        if let Some(sealed) = sealed {
            out.extend_from_slice(sealed);
        }
        if let Some(of) = &self.branch {
            of.encode_into(&mut out);
        }
        out
    }

    /// The record's own row: what is kept with the cover stands in another.
    pub fn decode(key: FeedKey, row: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(row);
        let flags = reader.u8("feed flags")?;
        if flags & (SEED | SEALED) == SEED | SEALED {
            return Err(DecodeError::UnknownTag { what: "feed flags", tag: flags.into() });
        }
        let id = reader.u32("feed id")?;
        let (length, byte_length) = (reader.u64("feed length")?, reader.u64("feed byte length")?);
        let left = reader.u64("length left")?;
        let mut head = |bit| (flags & bit != 0).then(|| Head::decode(&mut reader)).transpose();
        let (head, cover, tip) = (head(HEAD)?, head(COVER)?, head(TIP)?);
        let secret = match flags & (SEED | SEALED) {
            SEED => Some(Seed::new(reader.array("feed seed")?).into()),
            SEALED => Some(Secret::from_sealed(reader.array("sealed feed seed")?)),
            _ => None,
        };
        let branch = (flags & BRANCH != 0).then(|| BranchOf::decode(&mut reader)).transpose()?;
        reader.finish("feed record")?;
        let (forked, unconfirmed) = (flags & FORKED != 0, flags & UNCONFIRMED != 0);
        let empty = Self::empty(key, id, secret);
        Ok(Self { length, byte_length, head, cover, tip, left, forked, unconfirmed, branch, ..empty })
    }

    /// Of a feed of which nothing is known but its key.
    fn empty(key: FeedKey, id: u32, secret: Option<Secret>) -> Self {
        Self {
            key,
            id,
            length: 0,
            byte_length: 0,
            head: None,
            cover: None,
            covered: None,
            tip: None,
            left: 0,
            secret,
            forked: false,
            unconfirmed: false,
            branch: None,
        }
    }
}

pub fn load(txn: &impl Read, key: &FeedKey) -> Result<Option<FeedRecord>, FeedError> {
    let row = txn.get(Table::Feeds, key.as_bytes())?;
    row.map(|row| decode(txn, *key, row)).transpose()
}

fn decode(txn: &impl Read, key: FeedKey, row: &[u8]) -> Result<FeedRecord, FeedError> {
    let record = FeedRecord::decode(key, row);
    let mut record = record.map_err(|source| FeedError::CorruptRecord { feed: key, source })?;
    record.covered = cover::load(txn, &record)?;
    Ok(record)
}

/// Every feed of the store, by key.
pub fn all(txn: &impl Read) -> Result<Vec<FeedRecord>, FeedError> {
    each(txn)?.into_iter().map(|(_, record)| record).collect()
}

/// As [`all`], each by itself: one that cannot be read does not keep the others.
#[expect(clippy::type_complexity, reason = "a key, and what is under it")]
pub fn each(txn: &impl Read) -> Result<Vec<(FeedKey, Result<FeedRecord, FeedError>)>, FeedError> {
    let mut records = Vec::new();
    for row in txn.range(Table::Feeds, Bound::Unbounded, Bound::Unbounded)? {
        let (key, row) = row?;
        let key = FeedKey::try_from(key)
            .map_err(|_| FeedError::Corrupt { feed_id: 0, what: "a feed's row is not named by a key" })?;
        records.push((key, decode(txn, key, row)));
    }
    Ok(records)
}

/// Makes an empty feed, with a fresh id: one's own with its secret, another's without.
pub fn create(txn: &mut WriteTxn<'_>, key: FeedKey, secret: Option<Secret>) -> Result<FeedRecord, FeedError> {
    if let Some(secret) = &secret
        && secret.seed(key)?.feed() != key
    {
        return Err(FeedError::WrongSecret { feed: key });
    }
    if load(txn, &key)?.is_some() {
        return Err(FeedError::Exists { feed: key });
    }
    let corrupt = |what| FeedError::Corrupt { feed_id: 0, what };
    let id = match txn.get(Table::Meta, NEXT_FEED)? {
        None => 0,
        Some(row) => row.try_into().map(u32::from_be_bytes).map_err(|_| corrupt("the next feed's id"))?,
    };
    let next = id.checked_add(1).ok_or(corrupt("feed ids are used up"))?;
    txn.put(Table::Meta, NEXT_FEED, &next.to_be_bytes())?;
    let record = FeedRecord::empty(key, id, secret);
    save(txn, &record)?;
    Ok(record)
}

pub fn save(txn: &mut WriteTxn<'_>, record: &FeedRecord) -> Result<(), FeedError> {
    cover::save(txn, record)?;
    let row = zeroize::Zeroizing::new(record.encode());
    Ok(txn.put(Table::Feeds, record.key.as_bytes(), &row)?)
}
