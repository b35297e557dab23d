//! One round: keys that wait are read, what is asked about them is handed out one question at a time, and the results
//! are given back together.

use super::commit::Outcome;
use super::key::KeyWork;
use super::resolve::Candidate;
use super::rows::{Functions, HandlerRow, Standing, Unmerged};
use crate::codec::limits::MAX_VALUE_BYTES;
use crate::crdt::{Given, parse_object, without_reserved};
use crate::db::conflicts::writers;
use crate::db::database::{Db, Inner};
use crate::db::diffs::DiffEntry;
use crate::db::error::{Code, Error};
use crate::db::events::Reply;
use crate::db::reads::ViewEntry;
use crate::store::ReadTxn;
use crate::view::{Writers, base_of};
use std::sync::Arc;

/// Keys in one round.
const MAX_KEYS: usize = 1_024;
/// What their states have together before the round: bounds its memory. One key there is always.
const MAX_STATE_BYTES: usize = 16 << 20;
/// How often keys that have changed meanwhile are worked out again before the others are committed without them.
const MAX_ATTEMPTS: u32 = 4;

/// What the user's functions are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// What `diff` makes of `current`.
    Merge { key: Vec<u8>, current: Option<ViewEntry>, diff: DiffEntry },
    /// Which of two stands; `b` is the later.
    Resolve { key: Vec<u8>, a: Candidate, b: Candidate },
}

/// Keys being merged. Nothing of it is in the store before [`Round::commit`].
pub struct Round {
    db: Db,
    number: u64,
    functions: Functions,
    writers: Writers,
    keys: Vec<KeyWork>,
    /// The key that is asked about.
    at: usize,
    attempts: u32,
}

impl Round {
    pub(super) fn load(db: Db, number: u64, functions: Functions) -> Result<Option<Self>, Error> {
        let (writers, keys) = db.read(|inner, txn| {
            let mut keys: Vec<KeyWork> = Vec::new();
            let mut bytes = 0_usize;
            let epoch = HandlerRow::load(txn, inner.open.id)?.epoch;
            Unmerged::each(txn, &inner.open.space, Standing::Waiting, |key, row| {
                let base = base_of(txn, &inner.open.space, key, row.low, epoch)?;
                bytes = bytes.saturating_add(base.bytes);
                keys.push(KeyWork::new(key, row.changes, base));
                Ok(keys.len() < MAX_KEYS && bytes < MAX_STATE_BYTES)
            })?;
            // Rows stand by name, which of an encrypted database is not the order of keys.
            keys.sort_by(|a, b| a.key().cmp(b.key()));
            Ok((writers(txn, inner.open.id)?, keys))
        })?;
        if keys.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { db, number, functions, writers, keys, at: 0, attempts: 0 }))
    }

    /// The next question, which has to be answered; none: the results are complete.
    pub fn ask(&mut self) -> Result<Option<Question>, Error> {
        let Self { db, functions, writers: known, keys, at, .. } = self;
        db.read(|inner, txn| {
            while let Some(key) = keys.get_mut(*at) {
                if let Some(question) = key.next(txn, &inner.open.space, *functions, known)? {
                    return Ok(Some(question));
                }
                *at += 1;
            }
            Ok(None)
        })
    }

    fn current(&mut self) -> Option<&mut KeyWork> {
        self.keys.get_mut(self.at)
    }

    /// What the built-in fold makes of the diff that is asked about.
    pub fn merged(&mut self) -> Option<ViewEntry> {
        self.current().and_then(|key| key.merged())
    }

    /// The diffs of the key that is asked about, up to and with the one asked about: the latest, at most so many that
    /// their blocks have at most `bytes`.
    pub fn diffs(&mut self, most: usize, bytes: usize) -> Result<Vec<DiffEntry>, Error> {
        let Self { db, writers: known, keys, at, .. } = self;
        let Some(key) = keys.get(*at) else { return Ok(Vec::new()) };
        db.read(|inner, txn| Ok(key.diffs(txn, &inner.open.space, known, most, bytes)?))
    }

    /// Answers with JSON text of an object. Refused: the question stands.
    pub fn answer_object(&mut self, text: &str) -> Result<(), Error> {
        let refused = |why: &str| {
            Error::new(Code::InvalidValue, format!("what merge returned cannot be stored: {why}"))
        };
        if text.len() > MAX_VALUE_BYTES {
            return Err(refused(&format!("it takes {} bytes; the most is {MAX_VALUE_BYTES}", text.len())));
        }
        let value = parse_object(text).map_err(|error| refused(&error.to_string()))?;
        self.give(Given::Object(without_reserved(value)));
        Ok(())
    }

    /// Answers with a register's bytes. Refused: the question stands.
    pub fn answer_register(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        if bytes.len() > MAX_VALUE_BYTES {
            let why =
                format!("what merge returned takes {} bytes; the most is {MAX_VALUE_BYTES}", bytes.len());
            return Err(Error::new(Code::InvalidValue, why));
        }
        self.give(Given::Register(bytes));
        Ok(())
    }

    fn give(&mut self, given: Given) {
        if let Some(key) = self.current() {
            key.give(given);
        }
    }

    /// Answers which of two stands.
    pub fn choose(&mut self, later: bool) {
        if let Some(key) = self.current() {
            key.choose(later);
        }
    }

    /// There is no answer: the key keeps its value.
    pub fn fail(&mut self) {
        if let Some(key) = self.current() {
            key.fail();
        }
    }

    /// Commits what is complete. Replies with the keys that have changed meanwhile, for [`Round::again`].
    pub fn commit(&mut self) -> Reply<Vec<usize>> {
        self.attempts += 1;
        let force = self.attempts >= MAX_ATTEMPTS;
        let number = self.number;
        let outcomes: Vec<Outcome> = self.keys.iter().map(KeyWork::outcome).collect();
        let outcomes = Arc::new(outcomes);
        self.db.job(move |work, id| work.commit_round(id, number, &outcomes, force))
    }

    /// Reads anew the keys that have changed. False: the round is over.
    pub fn again(&mut self, changed: &[usize]) -> Result<bool, Error> {
        if changed.is_empty() || self.attempts >= MAX_ATTEMPTS {
            return Ok(false);
        }
        let Self { db, writers: known, keys, at, .. } = self;
        db.read(|inner, txn| {
            *known = writers(txn, inner.open.id)?;
            let epoch = HandlerRow::load(txn, inner.open.id)?.epoch;
            // From the back: keys that need nobody any more go.
            for index in changed.iter().rev() {
                let Some(work) = keys.get_mut(*index) else { continue };
                match read_again(inner, txn, work.key(), epoch)? {
                    Some(fresh) => *work = fresh,
                    None => drop(keys.remove(*index)),
                }
            }
            *at = 0;
            Ok(!keys.is_empty())
        })
    }
}

fn read_again(inner: &Inner, txn: &ReadTxn, key: &[u8], epoch: u64) -> Result<Option<KeyWork>, Error> {
    let space = &inner.open.space;
    let Some((row, Standing::Waiting)) = Unmerged::of(txn, space, key)? else { return Ok(None) };
    Ok(Some(KeyWork::new(key, row.changes, base_of(txn, space, key, row.low, epoch)?)))
}
