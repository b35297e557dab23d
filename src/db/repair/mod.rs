//! **What.** What a verification found, mended: feeds (`feed::mend`; the rest comes from peers), rows that stand alone
//! (`rows`), databases made anew from their feeds (`anew`). `docs/design/repair.md`.
//!
//! **Owns.** The rows `repair …` and `history …` of `Meta` (`mark`).
//!
//! **Invariants.** 1. What may be the only copy of something is taken away only if nothing can be read from it. 2. Each step
//! is a transaction of bounded size that leaves what is left to do to be found. 3. While a database is being made anew
//! nothing else places or writes in it.
//!
//! **Not here.** Finding damage (`verify`), holes and who fills them (`feed/holes`, `peer/apart`).

mod anew;
mod hash;
mod mark;
mod rows;

pub(super) use mark::{check_mark, dropped, marked, under_repair};

use super::engine::Work;
use super::error::{Error, Failure};
use super::rows::{DatabaseRow, MemberRow, StateRow};
use super::store::Shared;
use super::verify::{Damage, Found, Report, Stage, VerifyOptions};
use crate::feed::{self, FeedCheck, FeedError, FeedRecord, Flaw};
use crate::store::{Read as _, TREE_PACK, Table};
use crate::types::FeedKey;
use anew::Piece;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// How often everything is gone over: what is mended can show what is behind it. Each time but the last mends something.
const MAX_ROUNDS: usize = 8;

/// Blocks mended in one transaction, and those of the same row of leaves: for each all its bits may be tried.
const BLOCKS: usize = 16;

/// What a repair did, and what is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// What was done, in words.
    pub done: Vec<String>,
    /// Damage that goes when peers are met that have the blocks; a database that waits for some is mended by the next
    /// repair after they have come.
    pub waiting: Vec<Damage>,
    /// Damage that cannot be mended here.
    pub remaining: Vec<Damage>,
}

/// Mends what `first` found, and says what came of it; `pass` goes over everything again.
pub(super) fn repair(
    store: &Weak<Shared>,
    options: &VerifyOptions,
    first: Found,
    mut pass: impl FnMut() -> Result<Found, Error>,
) -> Result<Report, Error> {
    let report = first.report.clone();
    let mut mender = Mender { store, options, done: Vec::new(), waits: BTreeSet::new() };
    let mut found = first;
    for _ in 0..MAX_ROUNDS {
        // A file with damaged pages is not written to.
        if found.report.is_clean() || found.report.stopped_at.is_some() {
            break;
        }
        let before = mender.done.len();
        mender.mend(&found)?;
        if mender.done.len() == before {
            break;
        }
        found = pass()?;
    }
    let (mut waiting, mut remaining) = (Vec::new(), Vec::new());
    for damage in found.report.damages {
        if mender.is_awaited(&damage)? { waiting.push(damage) } else { remaining.push(damage) }
    }
    Ok(Report { repair: Some(Repaired { done: mender.done, waiting, remaining }), ..report })
}

/// Holes of a feed, and whether each is in doubt.
type Holes = BTreeMap<u64, bool>;

/// What became of flaws of a feed.
#[derive(Clone, Copy, Debug, Default)]
struct Became {
    mended: usize,
    /// Blocks that were taken out.
    taken: usize,
    /// Blocks that are here, and believed again only when they come from a peer.
    doubted: usize,
    /// Blocks that were in doubt, and are right.
    cleared: usize,
    /// Blocks beyond what is signed, which are gone.
    beyond: u64,
}

impl Became {
    /// `gone`: how many blocks fewer there are. A hole that was there before is no news.
    fn of(flaws: &[Flaw], length: u64, gone: u64, before: &Holes, after: &Holes) -> Self {
        let news = |doubt: bool| {
            after.iter().filter(|(seq, now)| **now == doubt && before.get(seq) != Some(now)).count()
        };
        let is_mended = |flaw: &&Flaw| match flaw {
            Flaw::Block { seq } => *seq < length && !after.contains_key(seq),
            Flaw::Head { .. } => !after.values().any(|doubt| *doubt),
            _ => true,
        };
        let is_named =
            |seq: &u64| flaws.iter().any(|flaw| matches!(flaw, Flaw::Block { seq: of } if of == seq));
        let taken = news(false);
        Self {
            mended: flaws.iter().filter(is_mended).count(),
            taken,
            doubted: news(true),
            cleared: before.keys().filter(|seq| !after.contains_key(seq) && !is_named(seq)).count(),
            beyond: gone.saturating_sub(u64::try_from(taken).unwrap_or(u64::MAX)),
        }
    }

    fn said(self, key: FeedKey) -> Vec<String> {
        let Self { mended, taken, doubted, cleared, beyond } = self;
        let all = [
            (mended as u64, format!("{mended} damages of feed {key} were mended from what is whole of it")),
            (
                taken as u64,
                format!("{taken} damaged blocks of feed {key} were taken out, and are asked for at peers"),
            ),
            (
                doubted as u64,
                format!("{doubted} blocks of feed {key} may be damaged, and are asked for at peers"),
            ),
            (cleared as u64, format!("{cleared} blocks of feed {key} that were in doubt are right")),
            (beyond, format!("{beyond} blocks of feed {key} beyond what is signed were taken out")),
        ];
        all.into_iter().filter(|(count, _)| *count > 0).map(|(_, what)| what).collect()
    }
}

struct Mender<'r> {
    store: &'r Weak<Shared>,
    options: &'r VerifyOptions,
    done: Vec<String>,
    /// Databases that are to be made anew once their feeds are whole.
    waits: BTreeSet<String>,
}

impl Mender<'_> {
    fn shared(&self) -> Result<Arc<Shared>, Error> {
        self.store.upgrade().filter(|shared| !shared.is_closed()).ok_or_else(Error::closed)
    }

    fn mend(&mut self, found: &Found) -> Result<(), Error> {
        for key in &found.unread {
            self.record(*key)?;
        }
        for (key, check) in &found.flawed {
            self.feed(*key, check)?;
        }
        self.hashes(&found.report.damages)?;
        let mut anew = rows::mend(&*self.shared()?, &found.report.damages, &mut self.done)?;
        let flawed: BTreeSet<FeedKey> =
            found.flawed.iter().map(|(key, _)| *key).chain(found.unread.iter().copied()).collect();
        self.waits.clear();
        let databases = self.databases()?;
        for damage in &found.report.damages {
            let is_derived =
                damage.stage == Stage::Views && damage.table.as_deref() != Some(Table::Hashes.name());
            if let Some(name) = damage.database.as_ref().filter(|_| is_derived) {
                anew.extend(databases.get(name).map(|row| row.id));
            }
        }
        anew.extend(self.shared()?.board.repairing.lock().iter().copied());
        for (name, row) in databases.iter().filter(|(_, row)| anew.contains(&row.id) && !row.relay) {
            if self.has_any(row.id, &flawed)? {
                self.waits.insert(name.clone());
            } else {
                self.anew(name, row)?;
            }
        }
        Ok(())
    }

    fn record(&mut self, key: FeedKey) -> Result<(), Error> {
        let mended = self.shared()?.job(move |work| {
            work.finish_feeds()?;
            let row = work.txn.get(Table::Feeds, key.as_bytes())?.unwrap_or_default().to_vec();
            let Some(record) = feed::mended_record(&*work.txn, key, &row)? else { return Ok(false) };
            feed::save(work.txn, &record)?;
            work.engine.feeds.remove(&key);
            Ok(true)
        });
        if mended.wait()? {
            self.done.push(format!("the record of feed {key} had a flipped bit, which was turned back"));
        }
        Ok(())
    }

    fn feed(&mut self, key: FeedKey, check: &FeedCheck) -> Result<(), Error> {
        let (of_record, of_rows): (Vec<_>, Vec<_>) =
            check.flaws.iter().cloned().partition(feed::is_of_record);
        let is_mixed = of_record.iter().any(|flaw| matches!(flaw, Flaw::Head { .. }));
        if !of_record.is_empty() {
            let of = of_record.clone();
            let is_other =
                self.feed_job(key, of, move |work, record| feed::mend_record(work.txn, record, &of_record))?;
            if is_other {
                return Ok(());
            }
        }
        for flaws in parts(&of_rows) {
            let part = flaws.to_vec();
            self.feed_job(key, flaws.to_vec(), move |work, record| {
                feed::mend(work.txn, record, &part, is_mixed)
            })?;
        }
        if is_mixed && check.more == 0 {
            self.feed_job(key, vec![Flaw::Head { length: 0 }], move |work, record| {
                let holes = feed::holes(&*work.txn, record, 0, usize::MAX)?;
                if !holes.iter().any(|(_, doubt)| *doubt) {
                    feed::tree_of_leaves(work.txn, record)?;
                }
                Ok(())
            })?;
        }
        for peer in self.shared()?.board.peers() {
            peer.look_for_holes();
        }
        Ok(())
    }

    /// Mends something of a feed in one transaction, and says what became of it. Returns whether its record is another.
    fn feed_job(
        &mut self,
        key: FeedKey,
        flaws: Vec<Flaw>,
        mend: impl Fn(&mut Work<'_, '_>, &mut FeedRecord) -> Result<(), FeedError> + Send + 'static,
    ) -> Result<bool, Error> {
        let job = move |work: &mut Work<'_, '_>| {
            work.finish_feeds()?;
            work.engine.feeds.remove(&key);
            let Some(mut record) = feed::load(&*work.txn, &key)? else {
                return Ok((Became::default(), false));
            };
            let (old, writes) = (record.clone(), work.writes());
            let blocks = work.txn.entries(Table::Blocks)?;
            let before: Holes = feed::holes(&*work.txn, &old, 0, usize::MAX)?.into_iter().collect();
            mend(work, &mut record)?;
            let after: Holes = feed::holes(&*work.txn, &old, 0, usize::MAX)?.into_iter().collect();
            work.engine.board.has_holes.fetch_or(!after.is_empty(), Ordering::AcqRel);
            work.engine.effects.feeds.insert(key);
            if !before.is_empty() && after.is_empty() {
                work.hear_again(&key)?;
            }
            let gone = blocks.saturating_sub(work.txn.entries(Table::Blocks)?);
            let became = if work.writes() == writes {
                Became::default()
            } else {
                Became::of(&flaws, record.length, gone, &before, &after)
            };
            Ok((became, old != record))
        };
        let (became, is_other) = self.shared()?.job(job).wait()?;
        if became.taken + became.doubted > 0 {
            self.shared()?.board.has_holes.store(true, Ordering::Release);
        }
        self.done.extend(became.said(key));
        Ok(is_other)
    }

    fn anew(&mut self, name: &str, row: &DatabaseRow) -> Result<(), Error> {
        let (id, name_of, row_of) = (row.id, name.to_owned(), row.clone());
        let key = self.options.encryption_key.clone();
        let begun = self.shared()?.job(move |work| {
            if !work.open_to_repair(&name_of, &row_of, key.as_ref()) {
                return Ok(false);
            }
            work.begin_anew(id).map(|()| true)
        });
        if !begun.wait()? {
            return Ok(());
        }
        let made = self.pieces(id);
        if made.is_err()
            && let Some(shared) = self.store.upgrade()
        {
            // If nobody else has it open the store forgets it again: the mark says how to go on.
            drop(shared.job(move |work| {
                work.engine.effects.closed.insert(id);
                Ok(())
            }));
        }
        made?;
        let how =
            if row.apply { "apply runs over it again" } else { "its latest state is there, its past is not" };
        self.done.push(format!("the database {name} was made anew from its feeds: {how}"));
        Ok(())
    }

    /// Makes a database anew that is marked, to the end.
    fn pieces(&self, id: u32) -> Result<(), Error> {
        let mut swept: Option<Vec<u8>> = None;
        loop {
            let from = swept.clone();
            let piece = self.shared()?.job(move |work| work.anew_piece(id, from.as_deref()));
            match piece.wait()? {
                Piece::More(next) => swept = next,
                Piece::Done => return Ok(()),
            }
        }
    }

    /// Every database whose row can be read, by name.
    fn databases(&self) -> Result<BTreeMap<String, DatabaseRow>, Error> {
        let txn = self.shared()?.read()?;
        let mut found = BTreeMap::new();
        for row in txn.range(Table::Databases, Bound::Included(&[0]), Bound::Excluded(&[1]))? {
            let (key, value) = row?;
            let name = String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
            found.extend(DatabaseRow::decode(value).ok().map(|row| (name, row)));
        }
        Ok(found)
    }

    /// Whether one of these feeds is a database's. An anchor that nobody has linked is made again with the view.
    fn has_any(&self, id: u32, feeds: &BTreeSet<FeedKey>) -> Result<bool, Error> {
        let txn = self.shared()?.read()?;
        for feed in feeds {
            let Some(row) = txn.get(Table::Members, &MemberRow::key_of(id, feed))? else { continue };
            let is_linked = MemberRow::decode(row).map_or(true, |member| member.until > 0);
            let is_anchor =
                feed::load(&txn, feed).is_ok_and(|record| record.is_some_and(|it| it.is_anchor()));
            if is_linked || !is_anchor {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether damage goes by what peers send.
    fn is_awaited(&self, damage: &Damage) -> Result<bool, Error> {
        let txn = self.shared()?.read()?;
        if let (Some(feed), Stage::Feeds) = (damage.feed, damage.stage) {
            let Ok(Some(record)) = feed::load(&txn, &feed) else { return Ok(false) };
            let holes = feed::holes(&txn, &record, 0, usize::MAX)?;
            return Ok(match damage.seq {
                Some(seq) => holes.iter().any(|(hole, _)| *hole == seq),
                None => holes.iter().any(|(_, doubt)| *doubt),
            });
        }
        let id = damage.key.as_ref().and_then(|key| key.first_chunk().copied()).map(u32::from_be_bytes);
        let databases = self.databases()?;
        let name = databases.iter().find(|(_, row)| damage.stage == Stage::Rows && Some(row.id) == id);
        let name = damage.database.as_ref().or(name.map(|(name, _)| name));
        Ok(name.is_some_and(|name| self.waits.contains(name)))
    }
}

/// Flaws in parts that a transaction is made of: those of one row of leaves come together.
fn parts(flaws: &[Flaw]) -> Vec<&[Flaw]> {
    let group = |flaw: &Flaw| match flaw {
        Flaw::Block { seq } => Some(seq / TREE_PACK),
        _ => None,
    };
    let (mut parts, mut rest) = (Vec::new(), flaws);
    while let Some(last) = rest.get(..BLOCKS.min(rest.len())).and_then(<[Flaw]>::last) {
        let of_last = group(last);
        let more = rest.iter().skip(BLOCKS).take_while(|flaw| of_last.is_some() && group(flaw) == of_last);
        let (part, others) = rest.split_at(BLOCKS.min(rest.len()) + more.count());
        parts.push(part);
        rest = others;
    }
    parts
}

/// The version and the clock of a database whose row of them cannot be read.
fn state_of(txn: &impl crate::store::Read, id: u32) -> Result<StateRow, Failure> {
    let (from, to) = (crate::view::log_key(id, 0), crate::view::log_key(id, u64::MAX));
    let last = |table| txn.last(table, Bound::Included(&from), Bound::Included(&to));
    let number = |bytes: &[u8]| bytes.last_chunk().copied().map_or(0, u64::from_be_bytes);
    let version = last(Table::Log)?.map_or(0, |(key, _)| number(key));
    let clock = last(Table::Commits)?.map_or(0, |(_, clock)| number(clock));
    Ok(StateRow { version, clock })
}
