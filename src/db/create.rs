//! Databases that a store has not had: their rows, and who writes them.

use super::database::DatabaseOptions;
use super::engine::Work;
use super::error::{Code, Error, Failure};
use super::open::random;
use super::rows::{DatabaseRow, Halt, MemberRow, StateRow, members_of};
use crate::codec::Reader;
use crate::feed::{self, Secret, Seed};
use crate::order;
use crate::store::{Read, Table};
use crate::types::FeedKey;
use std::collections::BTreeMap;
use std::ops::Bound;

const NEXT_DATABASE: &[u8] = b"next database";

impl Work<'_, '_> {
    pub fn create_database(&mut self, options: &DatabaseOptions, name: &str) -> Result<DatabaseRow, Failure> {
        if options.relay.is_some() {
            let key = options.key.ok_or_else(|| {
                Error::new(
                    Code::Options,
                    "a relay needs the key of the database whose feeds it keeps: pass key",
                )
            })?;
            let id = self.next_database()?;
            return self.create_relay(relay_row(id, key, options), name);
        }
        let seed = match options.secret {
            Some(secret) => Seed::new(secret),
            None => Seed::new(random()?),
        };
        let local = seed.feed();
        self.refuse_used(&local)?;
        let local_number = self.feed_to_write(local, Secret::new(seed, options.encryption_key.as_ref())?)?;
        let key = options.key.unwrap_or(local);
        let creator_number = self.feed_or_new(&key)?.id;
        let id = self.next_database()?;
        let row = DatabaseRow {
            id,
            key,
            local,
            key_encoding: options.key_encoding.clone(),
            value_encoding: options.value_encoding.clone(),
            open: options.open,
            check: options.encryption_key.as_ref().map(|encryption| encryption.check(&key)),
            apply: options.apply,
            optimistic: options.apply && options.optimistic,
            relay: false,
        };
        self.txn.put(Table::Databases, &DatabaseRow::key_of(name), &row.encode())?;
        self.txn.put(Table::Databases, &StateRow::key_of(id), &StateRow::default().encode())?;
        for (feed, number) in BTreeMap::from([(key, creator_number), (local, local_number)]) {
            let member = MemberRow {
                feed: number,
                added: false,
                merged: 0,
                until: u64::MAX,
                halt: Halt::None,
                stranger: false,
            };
            self.txn.put(Table::Members, &MemberRow::key_of(id, &feed), &member.encode())?;
        }
        Ok(row)
    }

    /// A join that has not brought anything yet, not even the genesis: it can be made anew with another key.
    pub fn has_nothing(&mut self, row: &DatabaseRow) -> Result<bool, Failure> {
        if row.local == row.key || self.engine.board.database(row.id).is_some() {
            return Ok(false);
        }
        let is_placed = order::order_state(self.txn, row.id, row.key)?.placed().get(&row.key) > 0;
        let has_written = self.feed(&row.local)?.is_some_and(|record| record.length > 0);
        Ok(!is_placed && !has_written)
    }

    /// Its key pair is free again: the caller may have no other. Feeds stay as they are.
    pub fn forget_join(&mut self, row: &DatabaseRow, name: &str) -> Result<(), Failure> {
        self.txn.delete(Table::Databases, &DatabaseRow::key_of(name))?;
        self.txn.delete(Table::Databases, &StateRow::key_of(row.id))?;
        for feed in members_of(self.txn, row.id)?.into_keys() {
            self.txn.delete(Table::Members, &MemberRow::key_of(row.id, &feed))?;
        }
        Ok(())
    }

    /// A feed that this store writes from now on. Returns its number.
    pub fn feed_to_write(&mut self, key: FeedKey, secret: Secret) -> Result<u32, Failure> {
        let record = match self.feed(&key)? {
            Some(record) => {
                let mut record = record.clone();
                record.secret = Some(secret);
                feed::save(self.txn, &record)?;
                record
            }
            None => feed::create(self.txn, key, Some(secret))?,
        };
        let number = record.id;
        self.engine.feeds.insert(key, record);
        self.engine.effects.feeds.insert(key);
        Ok(number)
    }

    /// A key pair writes one feed, and a feed belongs to one database.
    pub fn refuse_used(&self, local: &FeedKey) -> Result<(), Failure> {
        for row in self.txn.range(Table::Databases, Bound::Included(&[0]), Bound::Excluded(&[1]))? {
            let row = DatabaseRow::decode(row?.1).map_err(|error| Failure::damaged(&error))?;
            if row.local == *local && !row.relay {
                return Err(Error::new(
                    Code::Options,
                    "this key pair writes another database of the store: make one per database with deriveKeyPair",
                )
                .into());
            }
        }
        Ok(())
    }

    fn next_database(&mut self) -> Result<u32, Failure> {
        let id = match self.txn.get(Table::Meta, NEXT_DATABASE)? {
            Some(row) => {
                Reader::new(row).u32("the next database").map_err(|error| Failure::damaged(&error))?
            }
            None => 1,
        };
        self.txn.put(Table::Meta, NEXT_DATABASE, &id.saturating_add(1).to_be_bytes())?;
        Ok(id)
    }
}

/// Of a database it never reads a relay knows the key alone.
fn relay_row(id: u32, key: FeedKey, options: &DatabaseOptions) -> DatabaseRow {
    DatabaseRow {
        id,
        key,
        local: key,
        key_encoding: options.key_encoding.clone(),
        value_encoding: options.value_encoding.clone(),
        open: false,
        apply: false,
        optimistic: false,
        relay: true,
        check: None,
    }
}
