//! Rows that cannot be read, each by itself.

use super::state_of;
use crate::codec::Reader;
use crate::db::engine::Work;
use crate::db::error::{Error, Failure};
use crate::db::rows::{Halt, MemberRow, StateRow};
use crate::db::store::Shared;
use crate::db::verify::{Damage, Stage};
use crate::feed;
use crate::merkle::Parting;
use crate::store::{Read as _, Table};
use crate::types::FeedKey;
use std::collections::BTreeSet;
use std::ops::Bound;

/// Rows mended in one transaction.
const ROWS: usize = 256;

/// What became of a row.
enum Outcome {
    Mended(String),
    /// It follows from others: this database is made anew. What was done at once is said, for that may have to wait.
    Anew(u32, Option<String>),
    Stays,
}

/// Mends what stands alone, and returns which databases have derived rows that are damaged.
pub(super) fn mend(
    shared: &Shared,
    damages: &[Damage],
    done: &mut Vec<String>,
) -> Result<BTreeSet<u32>, Error> {
    let of_rows = damages.iter().filter(|damage| damage.stage == Stage::Rows);
    let rows: Vec<(Table, Vec<u8>)> = of_rows
        .filter_map(|damage| {
            let table = Table::ALL.into_iter().find(|table| Some(table.name()) == damage.table.as_deref())?;
            Some((table, damage.key.clone().unwrap_or_default()))
        })
        .collect();
    let mut anew = BTreeSet::new();
    for rows in rows.chunks(ROWS) {
        let rows = rows.to_vec();
        let outcomes = shared.job(move |work| {
            let mend = |(table, key): &(Table, Vec<u8>)| work.mend_row(*table, key);
            rows.iter().map(mend).collect::<Result<Vec<Outcome>, Failure>>()
        });
        for outcome in outcomes.wait()? {
            match outcome {
                Outcome::Mended(what) => done.push(what),
                Outcome::Anew(id, what) => {
                    anew.insert(id);
                    done.extend(what);
                }
                Outcome::Stays => {}
            }
        }
    }
    Ok(anew)
}

pub(super) fn database_of(key: &[u8]) -> u32 {
    key.first_chunk().copied().map_or(0, u32::from_be_bytes)
}

impl Work<'_, '_> {
    fn mend_row(&mut self, table: Table, key: &[u8]) -> Result<Outcome, Failure> {
        Ok(match table {
            Table::Databases if key.first() == Some(&1) => {
                let id = key.last_chunk().copied().map_or(0, u32::from_be_bytes);
                self.let_go_of(id)?;
                let state = state_of(&*self.txn, id)?;
                self.txn.put(Table::Databases, &StateRow::key_of(id), &state.encode())?;
                let what = format!("the version and the clock of database number {id} are what its log says");
                Outcome::Anew(id, Some(what))
            }
            Table::Members => return self.mend_member(key),
            Table::Invites => {
                self.txn.delete(table, key)?;
                Outcome::Mended("an invite that could not be read was taken out: issue another".into())
            }
            Table::Kept => {
                self.txn.delete(table, key)?;
                Outcome::Mended(
                    "an own block that was to be written again could not be read: it is lost, and was taken out".into(),
                )
            }
            Table::Parts => {
                self.txn.delete(table, key)?;
                Outcome::Mended(
                    "a part of a feed was taken out: it is fetched again when it is wanted".into(),
                )
            }
            Table::Holes => {
                self.txn.put(table, key, &[1])?;
                Outcome::Mended("a row that names a damaged block was written anew".into())
            }
            Table::Covers => return self.mend_cover(key),
            Table::Forks => return self.mend_fork(key),
            Table::Meta => return self.mend_meta(key),
            Table::Pasts
            | Table::Effectives
            | Table::Controls
            | Table::Order
            | Table::Witnesses
            | Table::Diffs
            | Table::View
            | Table::Log
            | Table::Commits
            | Table::Sequence
            | Table::Applied => Outcome::Anew(database_of(key), None),
            Table::Unmerged => {
                // Who merges says so again.
                let is_out = key.len() == 5 && self.txn.delete(table, key)?;
                let what = "which function merges a database could not be read, and was taken out: it says so again \
                            when the database is opened with it";
                Outcome::Anew(database_of(key), is_out.then(|| what.to_owned()))
            }
            // A feed's own are mended with it, a state hash by itself (`hash`); a database's name and keys are in no other
            // place.
            Table::Feeds | Table::Blocks | Table::Tree | Table::Databases | Table::Hashes => Outcome::Stays,
        })
    }

    /// It may be whole again since its feed was mended. If not, no blocks are lost with it.
    fn mend_cover(&mut self, key: &[u8]) -> Result<Outcome, Failure> {
        self.finish_feeds()?;
        let records = feed::each(&*self.txn)?.into_iter().filter_map(|(_, record)| record.ok());
        let record = records.into_iter().find(|record| record.id.to_be_bytes() == key);
        if let (Some(record), Some(row)) = (&record, self.txn.get(Table::Covers, key)?)
            && feed::verify_cover(&*self.txn, record, key, row).is_ok()
        {
            return Ok(Outcome::Stays);
        }
        self.txn.delete(Table::Covers, key)?;
        if let Some(record) = record {
            self.engine.feeds.remove(&record.key);
            if self.feed(&record.key)?.is_some() {
                self.engine.effects.feeds.insert(record.key);
            }
        }
        Ok(Outcome::Mended(
            "what the last blocks of a feed are passed on with was taken out: they are, once more of it has come"
                .into(),
        ))
    }

    /// Its number is in its feed's record; what was chosen of it is lost.
    fn mend_member(&mut self, key: &[u8]) -> Result<Outcome, Failure> {
        let Ok(feed) = MemberRow::feed_of(key) else { return Ok(Outcome::Stays) };
        let Ok(Some(record)) = feed::load(&*self.txn, &feed) else { return Ok(Outcome::Stays) };
        let id = database_of(key);
        self.let_go_of(id)?;
        let kept = self.txn.get(Table::Members, key)?.and_then(|row| MemberRow::decode(row).ok());
        if let Some(kept) = kept {
            self.txn.put(Table::Members, key, &MemberRow { feed: record.id, ..kept }.encode())?;
            return Ok(Outcome::Mended(format!("the row of feed {feed} in a database has its number again")));
        }
        let member = MemberRow {
            feed: record.id,
            added: false,
            merged: 0,
            until: u64::MAX,
            halt: if record.branch.is_some() { Halt::Branch } else { Halt::None },
            stranger: false,
        };
        self.txn.put(Table::Members, key, &member.encode())?;
        // What counts may hang on what is lost: the database is made anew in the next round if it does.
        let what = format!(
            "the row of feed {feed} in a database was written anew: if it was added with addPeer, add it again"
        );
        Ok(Outcome::Mended(what))
    }

    fn mend_fork(&mut self, key: &[u8]) -> Result<Outcome, Failure> {
        let Ok(feed) = FeedKey::try_from(key) else { return Ok(Outcome::Stays) };
        let row = self.txn.get(Table::Forks, key)?.unwrap_or_default().to_vec();
        let is_right = |row: &[u8]| {
            let mut reader = Reader::new(row);
            let parting = Parting::decode(&mut reader);
            parting.is_ok_and(|parting| parting.verify(&feed).is_ok()) && reader.remaining() == 0
        };
        let Some(mended) = feed::flipped_back(&row, is_right) else { return Ok(Outcome::Stays) };
        self.txn.put(Table::Forks, key, &mended)?;
        Ok(Outcome::Mended(format!(
            "the proof that feed {feed} has forked had a flipped bit, which was turned back"
        )))
    }

    /// Numbers that are given next are more than all that were.
    fn mend_meta(&mut self, key: &[u8]) -> Result<Outcome, Failure> {
        let next = match key {
            b"next-feed" => {
                let records = feed::each(&*self.txn)?;
                if records.iter().any(|(_, record)| record.is_err()) {
                    return Ok(Outcome::Stays);
                }
                records.iter().filter_map(|(_, record)| record.as_ref().ok()).map(|record| record.id).max()
            }
            b"next database" => {
                let rows = self.txn.range(Table::Databases, Bound::Included(&[1]), Bound::Excluded(&[2]))?;
                let mut most = None;
                for row in rows {
                    let id = row?.0.last_chunk().copied().map_or(0, u32::from_be_bytes);
                    most = Some(most.map_or(id, |most: u32| most.max(id)));
                }
                most
            }
            _ => return Ok(Outcome::Stays),
        };
        let next = next.map_or(u32::from(key == b"next database"), |most| most.saturating_add(1));
        self.txn.put(Table::Meta, key, &next.to_be_bytes())?;
        Ok(Outcome::Mended(format!("{} was written anew", String::from_utf8_lossy(key))))
    }
}
