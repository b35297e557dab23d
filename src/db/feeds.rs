//! Raw feeds: the log below a database, for those who want only that.

use super::engine::Work;
use super::error::{Code, Error, Failure};
use super::events::{Reply, Subscription, Wake};
use super::open::{discovery_key, random};
use super::store::{Shared, Store};
use crate::codec::limits::MAX_KEY_BYTES;
use crate::feed::{self, Appender, FeedRecord, Seed};
use crate::seal;
use crate::store::{Read, Table};
use crate::types::{FeedKey, Hash};
use parking_lot::RwLock;
use std::sync::Arc;

/// Which feed of a store.
#[derive(Clone)]
pub enum FeedChoice {
    /// Anybody's, or an own one that is here.
    Key(FeedKey),
    /// An own one, made on first use.
    Name(String),
    /// An own one with the caller's key pair.
    Secret([u8; 32]),
}

/// One handle on a feed; clones are the same handle.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<RwLock<Option<Arc<Shared>>>>,
    key: FeedKey,
    /// Names it among all handles of the store.
    number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedInfo {
    pub key: FeedKey,
    pub discovery_key: [u8; 32],
    pub writable: bool,
    /// Blocks here, from the first on.
    pub length: u64,
    /// The same, up to the first that is damaged.
    pub contiguous: u64,
    pub byte_length: u64,
    /// The longest signed length known, or what is here if that is more; and its bytes.
    pub signed: u64,
    pub signed_bytes: u64,
}

/// Before a feed's name in `Meta`.
const FEED_NAME: &[u8] = b"feed name ";

impl Store {
    pub fn feed(&self, which: FeedChoice) -> Reply<Feed> {
        let shared = match self.shared() {
            Ok(shared) => shared,
            Err(error) => return Reply::ready(Err(error)),
        };
        let weak = Arc::downgrade(&shared);
        let number = shared.next_number();
        shared.job(move |work| {
            let key = work.open_feed(&which)?;
            // A database's own feed travels with its database.
            if !work.writes_a_database(&key)? {
                work.engine.board.open_raw(key, number);
                work.engine.effects.feeds.insert(key);
            }
            let shared = weak.upgrade().ok_or_else(Error::closed)?;
            Ok(Feed { shared: Arc::new(RwLock::new(Some(shared))), key, number })
        })
    }
}

impl Work<'_, '_> {
    fn open_feed(&mut self, which: &FeedChoice) -> Result<FeedKey, Failure> {
        match which {
            FeedChoice::Key(key) => {
                self.feed_or_new(key)?;
                Ok(*key)
            }
            FeedChoice::Secret(secret) => self.own_feed(Seed::new(*secret)),
            FeedChoice::Name(name) => {
                if name.len() > MAX_KEY_BYTES {
                    return Err(Error::new(Code::Options, "a feed's name has at most 1,900 bytes").into());
                }
                let row = [FEED_NAME, name.as_bytes()].concat();
                if let Some(key) = self.txn.get(Table::Meta, &row)? {
                    return FeedKey::try_from(key).map_err(|error| Failure::damaged(&error));
                }
                let key = self.own_feed(Seed::new(random()?))?;
                self.txn.put(Table::Meta, &row, key.as_bytes())?;
                Ok(key)
            }
        }
    }

    fn own_feed(&mut self, seed: Seed) -> Result<FeedKey, Failure> {
        let key = seed.feed();
        if self.feed(&key)?.is_none_or(|record| record.secret.is_none()) {
            self.feed_to_write(key, seed.into())?;
        }
        Ok(key)
    }

    fn append_raw(&mut self, key: FeedKey, blocks: &[Vec<u8>]) -> Result<(u64, u64), Failure> {
        self.refuse_database_feed(&key)?;
        let record = self.feed(&key)?.ok_or_else(Error::closed)?.clone();
        let mut appender = match self.appenders.remove(&key) {
            Some(open) => open,
            None => Appender::new(self.txn, record)?,
        };
        for block in blocks {
            appender.append(self.txn, block)?;
        }
        let record = appender.record();
        let lengths = (record.length, record.byte_length);
        self.appenders.insert(key, appender);
        Ok(lengths)
    }

    /// A database's own feed holds entries, which only its database writes.
    fn refuse_database_feed(&self, key: &FeedKey) -> Result<(), Failure> {
        if self.writes_a_database(key)? {
            let message = "this feed belongs to a database: write with put, del and batch of that database";
            return Err(Error::new(Code::Mode, message).into());
        }
        Ok(())
    }
}

impl Feed {
    fn shared(&self) -> Result<Arc<Shared>, Error> {
        self.shared.read().clone().ok_or_else(|| Error::new(Code::Closed, "the feed is closed"))
    }

    pub fn key(&self) -> FeedKey {
        self.key
    }

    fn with_record<T>(
        &self,
        work: impl FnOnce(&crate::store::ReadTxn, &FeedRecord) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let txn = self.shared()?.read()?;
        let record = feed::load(&txn, &self.key)?.ok_or_else(Error::closed)?;
        work(&txn, &record)
    }

    pub fn info(&self) -> Result<FeedInfo, Error> {
        self.with_record(|txn, record| {
            Ok(FeedInfo {
                contiguous: feed::contiguous(txn, record)?,
                key: self.key,
                discovery_key: discovery_key(&self.key),
                writable: record.secret.is_some(),
                length: record.length,
                byte_length: record.byte_length,
                signed: record.signed().max(record.length),
                signed_bytes: record.longest_bytes(),
            })
        })
    }

    /// The block, if it is here. A sealed one is opened as long as the encrypted database it belongs to is open; else it
    /// is as it travels.
    pub fn get(&self, seq: u64) -> Result<Option<Vec<u8>>, Error> {
        let sealing = self.shared()?.board.sealing_of(&self.key);
        self.with_record(|txn, record| {
            let block = match feed::block(txn, record.id, seq)? {
                Some(block) => Some(block.to_vec()),
                None => feed::apart(txn, record, seq)?,
            };
            // What a branch holds was sealed for its feed.
            let sealing = sealing.blocks(*record.signer());
            match block {
                Some(block) if sealing.is_encrypted() && seal::is_sealed(&block) => {
                    Ok(Some(sealing.open(seq, &block)?.into_owned()))
                }
                block => Ok(block),
            }
        })
    }

    /// Whether all blocks of a range are here.
    pub fn has_all(&self, start: u64, end: u64) -> Result<bool, Error> {
        self.with_record(|txn, record| Ok(feed::gap(txn, record, start, end)?.is_none()))
    }

    /// Blocks `start .. end` are wanted until [`Feed::unwant`]: fetched over any connection of the store whose other side
    /// announces them. Feeds of open databases are fetched by those anyway.
    pub fn want(&self, start: u64, end: u64) -> Result<(), Error> {
        let shared = self.shared()?;
        shared.board.wants.lock().add(self.key, start, end)?;
        for peer in shared.board.peers() {
            peer.look_for_wanted(self.key);
        }
        Ok(())
    }

    /// Takes one [`Feed::want`] of the same range back. What is on its way still comes.
    pub fn unwant(&self, start: u64, end: u64) {
        if let Ok(shared) = self.shared() {
            shared.board.wants.lock().remove(self.key, start, end);
        }
    }

    /// Appends blocks, all in one commit with one signature. Replies with the length and byte length after them.
    pub fn append(&self, blocks: Vec<Vec<u8>>) -> Reply<(u64, u64)> {
        let key = self.key;
        match self.shared() {
            Ok(shared) => shared.job(move |work| work.append_raw(key, &blocks)),
            Err(error) => Reply::ready(Err(error)),
        }
    }

    /// The root hash at a length that is here; none: all of it.
    pub fn tree_hash(&self, length: Option<u64>) -> Result<Hash, Error> {
        self.with_record(|txn, record| Ok(feed::root_at(txn, record, length.unwrap_or(record.length))?))
    }

    /// Events [`Update`](super::Event::Update) with the length after as `to`, for each commit that made the feed grow.
    pub fn subscribe(&self, wake: Wake) -> Result<Subscription, Error> {
        Ok(self.shared()?.board.feed_subscribers(self.key).subscribe(wake))
    }

    pub fn close(&self) {
        let shared = self.shared.write().take();
        if let Some(shared) = shared {
            shared.board.close_raw(&self.key, self.number);
        }
    }
}
