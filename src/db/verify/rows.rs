//! Every row of every table can be read as what its table holds.

use super::{Damage, Stage, Verifier};
use crate::apply;
use crate::codec::Reader;
use crate::db::admit::InviteRow;
use crate::db::error::Error;
use crate::db::handler;
use crate::db::kept::Kept;
use crate::db::repair::check_mark;
use crate::db::rows::{DatabaseRow, MemberRow, StateRow};
use crate::feed::{self, FeedRecord};
use crate::merkle::Parting;
use crate::order::{self, Witness};
use crate::seal::BlockSealing;
use crate::store::{Read, Table};
use crate::types::FeedKey;
use crate::view::{self, Space};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Why a row cannot be read.
pub type Unreadable = Box<dyn std::error::Error>;

impl Verifier<'_> {
    pub(super) fn rows(&mut self) -> Result<(), Error> {
        let txn = self.snapshot.txn();
        let mut total = 0_u64;
        for table in Table::ALL {
            total = total.saturating_add(txn.entries(table)?);
        }
        let (spaces, kept) = (self.spaces()?, self.kept_sealings()?);
        let records = feed::each(txn)?.into_iter().filter_map(|(_, record)| record.ok());
        let feeds: BTreeMap<u32, FeedRecord> = records.map(|record| (record.id, record)).collect();
        for table in Table::ALL {
            for row in txn.range(table, Bound::Unbounded, Bound::Unbounded)? {
                let (key, value) = row?;
                let checked = match table {
                    Table::Kept => Kept::check(key, value, sealing_of(&kept, key)),
                    Table::Members => check_member(&feeds, key, value),
                    Table::Parts => check_part(&feeds, key, value),
                    Table::Covers => check_cover(txn, &feeds, key, value),
                    Table::Meta => check_numbers(txn, &feeds, key, value),
                    table => check(space_of(&spaces, key).as_ref(), table, key, value),
                };
                if let Err(error) = checked {
                    let mut damage = Damage::new(Stage::Rows, error);
                    damage.table = Some(table.name().to_owned());
                    damage.key = Some(key.to_vec());
                    self.damage(damage);
                }
                self.found.rows += 1;
                if !self.step(Stage::Rows, total) {
                    return Err(Error::closed());
                }
            }
        }
        self.done(Stage::Rows)
    }
}

/// How the rows of the database that this one is of are opened; none: they are sealed, and nobody has the key.
fn space_of(spaces: &BTreeMap<u32, Option<Space>>, key: &[u8]) -> Option<Space> {
    let database = key.first_chunk().copied().map(u32::from_be_bytes).unwrap_or_default();
    spaces.get(&database).cloned().unwrap_or_else(|| Some(Space::plain(database)))
}

/// How the blocks of the feed that this row is of are sealed; none: it is of no database, or nobody has the key.
fn sealing_of<'s>(sealings: &'s BTreeMap<u32, BlockSealing>, key: &[u8]) -> Option<&'s BlockSealing> {
    sealings.get(&key.first_chunk().copied().map(u32::from_be_bytes)?)
}

/// A member's number is its feed's, if that can be read.
fn check_member(feeds: &BTreeMap<u32, FeedRecord>, key: &[u8], value: &[u8]) -> Result<(), Unreadable> {
    let (feed, member) = (MemberRow::feed_of(key)?, MemberRow::decode(value)?);
    match feeds.get(&member.feed) {
        Some(record) if record.key != feed => Err("it has the number of another feed".into()),
        None if feeds.values().any(|record| record.key == feed) => Err("it has the number of no feed".into()),
        _ => Ok(()),
    }
}

/// A part leads to what its feed's key has signed.
fn check_part(feeds: &BTreeMap<u32, FeedRecord>, key: &[u8], value: &[u8]) -> Result<(), Unreadable> {
    let number = key.first_chunk().copied().map_or(0, u32::from_be_bytes);
    let record = feeds.get(&number).ok_or("a part of no feed")?;
    Ok(feed::verify_part(record, key, value)?)
}

/// What a feed is passed on with leads from its tree to the head that covers it.
fn check_cover(
    txn: &impl Read,
    feeds: &BTreeMap<u32, FeedRecord>,
    key: &[u8],
    value: &[u8],
) -> Result<(), Unreadable> {
    let record = feeds.get(&Reader::new(key).u32("the feed of a cover")?).ok_or("a cover of no feed")?;
    Ok(feed::verify_cover(txn, record, key, value)?)
}

/// Numbers that are given next are more than those that were, and names are of feeds that are here.
fn check_numbers(
    txn: &impl Read,
    feeds: &BTreeMap<u32, FeedRecord>,
    key: &[u8],
    value: &[u8],
) -> Result<(), Unreadable> {
    let next = || value.try_into().map(u32::from_be_bytes);
    let (most, next) = match key {
        b"next-feed" => (feeds.last_key_value().map(|(id, _)| *id), next()?),
        b"next database" => {
            let last = txn.last(Table::Databases, Bound::Included(&[1]), Bound::Excluded(&[2]))?;
            (last.and_then(|(key, _)| key.last_chunk().copied()).map(u32::from_be_bytes), next()?)
        }
        key if key.starts_with(b"feed name ") => {
            let named = FeedKey::try_from(value)?;
            let is_here = feeds.values().any(|record| record.key == named);
            return if is_here { Ok(()) } else { Err("it names a feed that is not here".into()) };
        }
        key => return check_mark(key, value).unwrap_or(Ok(())).map_err(Into::into),
    };
    if most.is_some_and(|most| next <= most) {
        Err("it gives a number that was given".into())
    } else {
        Ok(())
    }
}

/// Without a wildcard: a new table says here what its rows are.
pub fn check(space: Option<&Space>, table: Table, key: &[u8], value: &[u8]) -> Result<(), Unreadable> {
    match table {
        Table::Feeds => {
            FeedRecord::decode(FeedKey::try_from(key)?, value)?;
            Ok(())
        }
        // What was compared with its hashes, with its feed.
        Table::Blocks | Table::Tree => Ok(()),
        Table::Meta => check_mark(key, value).unwrap_or(Ok(())).map_err(Into::into),
        Table::Databases => match key.first() {
            Some(0) => DatabaseRow::decode(value).map(|_| ()).map_err(Into::into),
            Some(1) if key.len() == 5 => StateRow::decode(value).map(|_| ()).map_err(Into::into),
            _ => Err("a key of the databases".into()),
        },
        Table::Members => {
            MemberRow::feed_of(key)?;
            MemberRow::decode(value).map(|_| ()).map_err(Into::into)
        }
        Table::Pasts | Table::Effectives | Table::Controls | Table::Order => {
            Ok(order::check_row(table, key, value)?)
        }
        Table::Invites => InviteRow::decode(value).map(|_| ()).map_err(Into::into),
        Table::Diffs | Table::View | Table::Log | Table::Hashes => {
            Ok(view::check_row(space, table, key, value)?)
        }
        Table::Commits if key.len() == 12 && value.len() == 8 => Ok(()),
        Table::Kept => Ok(Kept::decode(key, value).map(drop)?),
        Table::Forks => {
            let mut reader = Reader::new(value);
            Parting::decode(&mut reader)?.verify(&FeedKey::try_from(key)?)?;
            Ok(reader.finish("the proof of a fork")?)
        }
        Table::Sequence | Table::Applied => Ok(apply::check_row(table, key, value)?),
        Table::Witnesses => Ok(Witness::decode(key, value).map(drop)?),
        Table::Unmerged => Ok(handler::check_row(space, key, value).map_err(Error::from)?),
        Table::Parts => Ok(feed::check_part(key, value)?),
        Table::Holes => Ok(feed::check_hole(key, value)?),
        Table::Covers => Ok(feed::check_cover(key, value)?),
        Table::Commits => Err("a row of commits".into()),
    }
}
