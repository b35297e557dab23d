use super::block::Sealers;
use super::envelope::derive;
use super::{BlockSealing, EPOCH, EncryptionKey, KeyCheck, RowSealer, SealError, block};
use crate::types::FeedKey;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Feeds whose keys are kept derived: a few hundred bytes each.
const MAX_SEALERS: usize = 256;

const HASH_KEY: &str = "multi-hyperbee 1 state hash";

/// How one database is sealed: with its keys, or not at all. Clones share the keys; the last one dropped wipes them.
#[derive(Clone, Default)]
pub struct Sealing(Option<Arc<Keys>>);

struct Keys {
    encryption_key: EncryptionKey,
    check: KeyCheck,
    rows: RowSealer,
    hash: Zeroizing<[u8; 32]>,
    anchors: Arc<block::Sealer>,
    /// Those used so far: deriving the keys of a feed takes as long as opening a block.
    blocks: Mutex<BTreeMap<FeedKey, Arc<block::Sealer>>>,
}

impl Keys {
    fn sealer(&self, feed: FeedKey) -> Arc<block::Sealer> {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sealer) = blocks.get(&feed) {
            return Arc::clone(sealer);
        }
        if blocks.len() >= MAX_SEALERS {
            blocks.clear();
        }
        let sealer = Arc::new(block::Sealer::new(&self.encryption_key, feed, EPOCH));
        blocks.insert(feed, Arc::clone(&sealer));
        sealer
    }
}

impl Sealing {
    /// Of a database that is not encrypted: everything passes as it is.
    pub const PLAIN: Self = Self(None);

    pub fn new(key: Option<&EncryptionKey>, database: &FeedKey) -> Self {
        Self(key.map(|key| {
            Arc::new(Keys {
                check: key.check(database),
                rows: RowSealer::new(key, database),
                // Of no database: databases that merge each other's feeds have one view, and one hash of it.
                hash: derive(HASH_KEY, &[key.as_bytes()]),
                anchors: Arc::new(block::Sealer::of_anchors(key, EPOCH)),
                encryption_key: key.clone(),
                blocks: Mutex::default(),
            })
        }))
    }

    pub fn is_encrypted(&self) -> bool {
        self.0.is_some()
    }

    pub fn encryption_key(&self) -> Option<&EncryptionKey> {
        self.0.as_deref().map(|keys| &keys.encryption_key)
    }

    /// What a genesis says of the key.
    pub fn check(&self) -> Option<KeyCheck> {
        self.0.as_deref().map(|keys| keys.check)
    }

    /// The key of the state hash's elements.
    pub fn hash_key(&self) -> Option<&[u8; 32]> {
        self.0.as_deref().map(|keys| &*keys.hash)
    }

    /// The blocks of one of the database's feeds.
    pub fn blocks(&self, feed: FeedKey) -> BlockSealing {
        let sealers = |keys: &Keys| Sealers { own: keys.sealer(feed), anchors: Arc::clone(&keys.anchors) };
        BlockSealing(self.0.as_deref().map(sealers))
    }

    /// The one block of an anchor, as it travels.
    pub fn seal_anchor<'b>(&self, block: &'b [u8]) -> Result<Cow<'b, [u8]>, SealError> {
        match self.0.as_deref() {
            None => Ok(Cow::Borrowed(block)),
            Some(keys) => keys.anchors.seal(0, block).map(Cow::Owned),
        }
    }

    /// What stands for a user's key in the keys of rows: the key itself, or a keyed hash of it.
    pub fn name<'k>(&self, key: &'k [u8]) -> Cow<'k, [u8]> {
        match self.0.as_deref() {
            None => Cow::Borrowed(key),
            Some(keys) => Cow::Owned(keys.rows.name(key).to_vec()),
        }
    }

    /// A row's value as it is stored at `place` of a table.
    pub fn seal_row<'v>(
        &self,
        table: &str,
        place: &[u8],
        value: &'v [u8],
    ) -> Result<Cow<'v, [u8]>, SealError> {
        match self.0.as_deref() {
            None => Ok(Cow::Borrowed(value)),
            Some(keys) => keys.rows.seal(table, place, value).map(Cow::Owned),
        }
    }

    pub fn open_row<'v>(&self, table: &str, place: &[u8], row: &'v [u8]) -> Result<Cow<'v, [u8]>, SealError> {
        match self.0.as_deref() {
            None => Ok(Cow::Borrowed(row)),
            Some(keys) => keys.rows.open(table, place, row).map(Cow::Owned),
        }
    }
}

#[cfg(test)]
impl Sealing {
    /// Who shares the keys: the last one to let go wipes them.
    pub fn holders(&self) -> usize {
        self.0.as_ref().map_or(0, Arc::strong_count)
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_encrypted() { "Sealing(..)" } else { "Sealing(plain)" })
    }
}
