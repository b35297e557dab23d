//! Each database's view against the diffs that count, and its state hash against its content.

use super::{Damage, Stage, Verifier};
use crate::apply::{self, AppliedState};
use crate::causal::{Turn, WalkSource as _};
use crate::db::error::Error;
use crate::db::handler::HandlerRow;
use crate::db::repair;
use crate::db::rows::{DatabaseRow, MemberRow, StateRow};
use crate::db::state::counted_by_choice;
use crate::entry::Op;
use crate::order::{self, Batches, OrderError, read_blocks};
use crate::seal::{BlockSealing, Sealing};
use crate::store::{Read as _, Table};
use crate::types::{FeedKey, Position};
use crate::view::{self, KeyFlaw, Space, ViewError, Writers};
use std::collections::BTreeMap;
use std::ops::Bound;

/// A database as it stands in the snapshot, open or not.
pub(super) struct Stored {
    pub name: String,
    pub row: DatabaseRow,
    version: u64,
    /// The last one given: in apply mode more than are published, while a wave is not through.
    given: u64,
    applied: Option<AppliedState>,
    /// Rows of the view are the built-in fold of their diffs.
    is_folded: bool,
    pub members: BTreeMap<FeedKey, MemberRow>,
}

impl Verifier<'_> {
    pub(super) fn views(&mut self) -> Result<(), Error> {
        let databases = self.databases()?;
        for (name, row) in databases {
            self.found.databases += 1;
            let Some(stored) = self.stored(name, row)? else { continue };
            let space = self.space_of(&stored.row);
            if self.marked.contains(&stored.row.id) {
                let why = "its repair has begun and is not done: call verify({ repair: true }) again";
                self.say(&stored.name, Ok(Some(Damage::new(Stage::Views, why))));
                continue;
            }
            // A relay has placed nothing.
            if stored.row.relay {
                continue;
            }
            if let Some(space) = &space {
                self.folds(&stored, space)?;
                self.order(&stored, space)?;
            }
            if stored.row.apply {
                self.sequence(&stored, space.as_ref());
            } else if let Some(space) = &space {
                let indexed = self.index(&stored, space);
                self.say(&stored.name, indexed.map_err(|error| error.to_string()));
            }
            self.log(&stored);
            match &space {
                Some(space) => self.hash(&stored, space)?,
                None => self.found.sealed += 1,
            }
        }
        self.done(Stage::Views)
    }

    /// Every database of the store, by name. What cannot be read has been said, with its row.
    fn databases(&self) -> Result<Vec<(String, DatabaseRow)>, Error> {
        let rows =
            self.snapshot.txn().range(Table::Databases, Bound::Included(&[0]), Bound::Excluded(&[1]))?;
        let mut databases = Vec::new();
        for row in rows {
            let (key, value) = row?;
            let name = String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
            if let Ok(row) = DatabaseRow::decode(value) {
                databases.push((name, row));
            }
        }
        Ok(databases)
    }

    /// How a database's rows are opened. None: they are sealed, and it is not open, so nobody has the key.
    fn space_of(&self, row: &DatabaseRow) -> Option<Space> {
        if row.check.is_none() {
            return Some(Space::plain(row.id));
        }
        if let Some(open) = self.store.upgrade()?.board.database(row.id) {
            return Some(open.space.clone());
        }
        let key = self.key.filter(|key| Some(key.check(&row.key)) == row.check)?;
        Some(Space::new(row.id, Sealing::new(Some(key), &row.key)))
    }

    pub(super) fn spaces(&self) -> Result<BTreeMap<u32, Option<Space>>, Error> {
        Ok(self.databases()?.into_iter().map(|(_, row)| (row.id, self.space_of(&row))).collect())
    }

    /// How the blocks of each database's local feed are sealed, by the feed's number.
    pub(super) fn kept_sealings(&self) -> Result<BTreeMap<u32, BlockSealing>, Error> {
        let mut sealings = BTreeMap::new();
        for (_, row) in self.databases()? {
            let member = self.snapshot.txn().get(Table::Members, &MemberRow::key_of(row.id, &row.local))?;
            if let (Some(Ok(member)), Some(space)) = (member.map(MemberRow::decode), self.space_of(&row)) {
                sealings.insert(member.feed, space.blocks(row.local));
            }
        }
        Ok(sealings)
    }

    fn say(&mut self, database: &str, outcome: Result<Option<Damage>, String>) {
        let damage = match outcome {
            Ok(None) => return,
            Ok(Some(damage)) => damage,
            Err(why) => Damage::new(Stage::Views, why),
        };
        self.damage(Damage { database: Some(database.to_owned()), ..damage });
    }

    fn stored(&self, name: String, row: DatabaseRow) -> Result<Option<Stored>, Error> {
        let txn = self.snapshot.txn();
        let state = txn.get(Table::Databases, &StateRow::key_of(row.id))?.map(StateRow::decode);
        let Some(Ok(state)) = state else { return Ok(None) };
        let (from, to) =
            (MemberRow::key_of(row.id, &FeedKey([0; 32])), MemberRow::key_of(row.id, &FeedKey([0xff; 32])));
        let mut members = BTreeMap::new();
        for member in txn.range(Table::Members, Bound::Included(&from), Bound::Included(&to))? {
            let (key, value) = member?;
            if let (Ok(feed), Ok(member)) = (MemberRow::feed_of(key), MemberRow::decode(value)) {
                members.insert(feed, member);
            }
        }
        let applied = if row.apply { apply::load(txn, row.id, row.key).ok() } else { None };
        // What cannot be read has been said, with its row.
        let handler = HandlerRow::load(txn, row.id).unwrap_or_default();
        let is_folded = !row.apply && !handler.functions.any() && handler.marking.is_none();
        let given = applied.as_ref().map_or(state.version, |applied| applied.version);
        Ok(Some(Stored { name, row, given, applied, is_folded, version: state.version, members }))
    }

    /// Every key's newest row is the fold of its diffs, where the built-in fold makes it.
    fn folds(&mut self, stored: &Stored, space: &Space) -> Result<(), Error> {
        let txn = self.snapshot.txn();
        let writers: Writers = stored.members.iter().map(|(feed, member)| (member.feed, *feed)).collect();
        view::check_folds(txn, space, stored.is_folded.then_some(&writers), |key, flaw| {
            self.found.keys += 1;
            let why = match flaw {
                None => None,
                Some(KeyFlaw::Fold) => Some("its newest row is not the fold of its diffs".to_owned()),
                Some(KeyFlaw::Unreadable { version: Some(version), error }) => {
                    Some(format!("version {version}: {error}"))
                }
                Some(KeyFlaw::Unreadable { version: None, error }) => Some(error.to_string()),
            };
            if let Some(why) = why {
                let mut damage = Damage::new(Stage::Views, why);
                damage.key = Some(key.to_vec());
                self.say(&stored.name, Ok(Some(damage)));
            }
            self.step(Stage::Views, 0)
        })?;
        Ok(())
    }

    /// In apply mode: the sequence is whole, and what readers see was given.
    fn sequence(&mut self, stored: &Stored, space: Option<&Space>) {
        let Some(state) = &stored.applied else { return };
        let writers: Writers = stored.members.iter().map(|(feed, member)| (member.feed, *feed)).collect();
        let writer = |number| writers.get(&number).copied();
        let (txn, id) = (self.snapshot.txn(), stored.row.id);
        let batches = space.map(|space| {
            let sealing = space.sealing();
            Batches { txn, database: id, sealing, numbers: &stored.members }
        });
        let stands = |turn: &Turn| {
            batches.as_ref().is_none_or(|batches| {
                let batch = batches.batch(turn.at.writer, turn.at.seq);
                batch.is_ok_and(|batch| batch.end == turn.end && batch.effective == turn.at.effective)
            })
        };
        let flaw = apply::check(txn, id, state, writer, stands, || self.step(Stage::Views, 0));
        let damage = flaw.map(|flaw| flaw.map(|flaw| Damage::new(Stage::Views, flaw)));
        self.say(&stored.name, damage.map_err(|error| error.to_string()));
        let is_given = if state.open_wave.is_some() {
            stored.version <= state.version
        } else {
            stored.version == state.version
        };
        if !is_given {
            let why = format!("version {} is shown, and {} were given", stored.version, state.version);
            self.say(&stored.name, Ok(Some(Damage::new(Stage::Views, why))));
        }
    }

    /// Every diff that counts stands in the index of its key, and no others do.
    fn index(&mut self, stored: &Stored, space: &Space) -> Result<Option<Damage>, OrderError> {
        let (txn, id) = (self.snapshot.txn(), stored.row.id);
        let order = order::order_state(txn, id, stored.row.key)?;
        let batches = Batches { txn, database: id, sealing: space.sealing(), numbers: &stored.members };
        let mut counted = 0_u64;
        for (feed, member) in &stored.members {
            let (mut seq, placed) = (0, order.placed().get(feed));
            let chosen = counted_by_choice(stored.row.open, Some(member));
            while seq < placed {
                let batch = batches.batch(*feed, seq)?;
                let unreadable = || OrderError::Block { feed: member.feed, seq };
                let read = read_blocks(txn, &space.blocks(*feed), member.feed, batch.seq, batch.end);
                let blocks = read.map_err(|_| unreadable())?;
                let ops = blocks.batch(stored.row.key, *feed, batch.seq).map_err(|_| unreadable())?.ops;
                for (op, seq) in ops.iter().zip(batch.seq..) {
                    let Op::Diff(diff) = op else { continue };
                    if !(order.counts(feed, seq) || seq < chosen) {
                        continue;
                    }
                    counted += 1;
                    let position = Position { effective: batch.effective, writer: *feed, seq };
                    if !view::is_indexed(txn, space, diff.key, member.feed, position).unwrap_or(false) {
                        let mut damage = Damage::new(
                            Stage::Views,
                            "a diff that counts is missing in the index of its key",
                        );
                        (damage.feed, damage.seq) = (Some(*feed), Some(seq));
                        damage.key = Some(diff.key.to_vec());
                        self.say(&stored.name, Ok(Some(damage)));
                    }
                    if !self.step(Stage::Views, 0) {
                        return Ok(None);
                    }
                }
                seq = batch.end;
            }
        }
        let there = view::count_indexed(txn, id).unwrap_or(0);
        let why = format!("{there} diffs stand in the index, and {counted} count");
        Ok((there != counted).then(|| Damage::new(Stage::Views, why)))
    }

    fn log(&mut self, stored: &Stored) {
        let (txn, id) = (self.snapshot.txn(), stored.row.id);
        let after = repair::dropped(txn, id).unwrap_or_default();
        let log = view::check_log(txn, id, after, stored.given, || self.step(Stage::Views, 0));
        let why = |version| format!("version {version} is missing, in the log or in the view");
        let log = log.map(|gap| gap.map(|version| Damage::new(Stage::Views, why(version))));
        self.say(&stored.name, log.map_err(|error: ViewError| error.to_string()));
    }

    fn hash(&mut self, stored: &Stored, space: &Space) -> Result<(), Error> {
        let (txn, id) = (self.snapshot.txn(), stored.row.id);
        let table = Some(Table::Hashes.name().to_owned());
        let (version, kept) = match view::kept_hash(txn, id) {
            Ok(kept) => kept,
            Err(error) => {
                let damage = Damage { table, ..Damage::new(Stage::Views, error.to_string()) };
                self.say(&stored.name, Ok(Some(damage)));
                return Ok(());
            }
        };
        if !self.is_open() {
            return Err(Error::closed());
        }
        // What was between it and the first version that is there cannot be gone over any more.
        if let Ok(floor) = view::floor(txn, id)
            && version.saturating_add(1) < floor
        {
            let why = format!("the state hash is kept of version {version}, and versions begin with {floor}");
            self.say(&stored.name, Ok(Some(Damage { table, ..Damage::new(Stage::Views, why) })));
            return Ok(());
        }
        let anew = view::hash_anew(txn, space, version, || self.step(Stage::Views, 0));
        if !self.is_open() {
            return Err(Error::closed());
        }
        let why = format!("the state hash kept of version {version} is not that of its content");
        let differs =
            anew.map(|anew| (anew != kept).then(|| Damage { table, ..Damage::new(Stage::Views, why) }));
        self.say(&stored.name, differs.map_err(|error| error.to_string()));
        Ok(())
    }
}
