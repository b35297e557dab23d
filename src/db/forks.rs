//! Feeds that have forked: which of their two branches counts, alike wherever the same blocks are.
//! `docs/design/feed.md`, *A feed that has forked*.

use super::counting::Pending;
use super::engine::Work;
use super::error::{Error, Failure};
use super::events::Event;
use super::rows::MemberRow;
use super::state::DatabaseState;
use crate::causal::{BatchFacts, WalkSource as _};
use crate::feed::{self, FeedError, FeedRecord, StoredTree};
use crate::merkle::Parting;
use crate::order::{self, Forked, OrderError, Placing, Witness, batch_start, read_blocks};
use crate::seal::Sealing;
use crate::store::Read;
use crate::types::{FeedKey, Hash};
use std::collections::{BTreeMap, BTreeSet};

/// How often what counts is looked at anew in one transaction: each time at least one batch was placed that is earlier
/// evidence than all before. What is left is looked at with the next block.
const MAX_ROUNDS: usize = 16;

impl Work<'_, '_> {
    /// Keeps a proof that a feed has forked and reports it. What counts of the feed follows from now on from what others
    /// have linked of it. The caller has verified the proof.
    pub fn note_fork(&mut self, key: FeedKey, parting: &Parting) -> Result<(), Failure> {
        let Some(mut record) = self.feed(&key)?.cloned() else { return Ok(()) };
        if record.forked || record.branch.is_some() {
            return Ok(());
        }
        feed::save_parting(self.txn, &key, parting)?;
        feed::mark_forked(self.txn, &mut record)?;
        self.engine.feeds.insert(key, record);
        self.engine.effects.feeds.insert(key);
        let mut proof = Vec::new();
        parting.encode_into(&mut proof);
        for id in self.databases_of(&key)? {
            self.event(id, Event::Fork { feed: key, length: parting.common, proof: proof.clone() });
            self.begin_fork(id, key)?;
        }
        self.settle_fork(key)
    }

    /// As [`Work::note_fork`], for a proof that a peer sent of a feed that is here. The error is the sender's.
    pub fn hear_fork(&mut self, key: FeedKey, parting: &Parting) -> Result<Result<(), FeedError>, Failure> {
        self.finish_feed(&key)?;
        if self.feed(&key)?.is_none_or(|record| record.forked) {
            return Ok(Ok(()));
        }
        if let Err(error) = parting.verify(&key) {
            return Ok(Err(error.into()));
        }
        self.note_fork(key, parting).map(Ok)
    }

    /// What a database that was opened has not heard of the forks of its feeds yet.
    pub fn begin_forks(&mut self, id: u32) -> Result<(), Failure> {
        let forked: Vec<FeedKey> = self.database(id)?.forks.keys().copied().collect();
        for key in forked {
            if self.is_unheard(id, &key)? {
                self.begin_fork(id, key)?;
            }
            self.settle_fork(key)?;
        }
        Ok(())
    }

    /// Lets a database know that one of its feeds has forked: no more of it is fetched than what is common, and whoever
    /// has linked beyond that is a witness.
    pub fn begin_fork(&mut self, id: u32, key: FeedKey) -> Result<(), Failure> {
        let common = self.parting(&key)?.common;
        self.refresh_fork(id, key)?;
        let number = self.database(id)?.members.get(&key).map(|member| member.feed);
        let number = number.ok_or(OrderError::Feed { feed: key })?;
        // A writer that has forked too is no witness any more for what it said since.
        let others: Vec<u32> = self.engine.databases.get(&id).map_or_else(Vec::new, |database| {
            database.forks.keys().filter_map(|feed| database.members.get(feed)).map(|m| m.feed).collect()
        });
        for other in others {
            order::forget_witnesses(self.txn, id, other, number, common)?;
        }
        let has_heard_all = self.hear_witnesses(id, key)?;
        if let Some(member) = self.database(id)?.member_mut(&key) {
            // Beyond: not all is heard yet (`is_unheard`). It is not asked for beyond what is common all the same.
            member.until = common.saturating_add(u64::from(!has_heard_all));
        }
        let database = self.database(id)?;
        // Who waited for more of it may wait no longer.
        database.behind.extend(database.members.keys().copied());
        self.engine.effects.databases.insert(id);
        Ok(())
    }

    /// Notes what the batches placed say of a feed that has forked. False: some of them are damaged and not back yet.
    fn hear_witnesses(&mut self, id: u32, key: FeedKey) -> Result<bool, Failure> {
        let mut first_holes: BTreeMap<u32, u64> = BTreeMap::new();
        for (feed, hole) in feed::all_holes(self.txn, usize::MAX)? {
            first_holes.entry(feed).or_insert(hole);
        }
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let (mut seen, mut has_heard_all) = (Vec::new(), true);
        for (feed, placed) in database.order.placed().iter() {
            // Beyond where it has forked a feed is no witness: what is damaged of it there is not missed.
            let Some(member) = database.members.get(&feed).filter(|_| feed != key) else { continue };
            let whole = first_holes.get(&member.feed).map_or(placed, |hole| placed.min(*hole));
            match database.witnesses_of(&*self.txn, feed, whole, key, &mut seen) {
                Ok(heard) => has_heard_all &= heard == placed,
                Err(OrderError::Store(error)) => return Err(error.into()),
                // Damaged, and not known to be yet.
                Err(_) => has_heard_all = false,
            }
        }
        self.note_witnesses(id, &seen)?;
        Ok(has_heard_all)
    }

    /// Whether a database may not have heard yet what all batches say of a feed that has forked. This is kept: it is heard
    /// when the last hole of a feed is filled, and when the database is opened.
    pub fn is_unheard(&mut self, id: u32, key: &FeedKey) -> Result<bool, Failure> {
        let common = self.parting(key)?.common;
        Ok(self.database(id)?.members.get(key).is_some_and(|member| member.until > common))
    }

    /// Blocks of a feed have come back: what was not heard of forks for want of them is heard, if they were the last.
    pub fn hear_again(&mut self, back: &FeedKey) -> Result<(), Failure> {
        let Some(record) = self.feed(back)?.cloned() else { return Ok(()) };
        if !feed::holes(&*self.txn, &record, 0, 1)?.is_empty() {
            return Ok(());
        }
        for id in self.databases_of(back)? {
            for key in self.database(id)?.forks.keys().copied().collect::<Vec<_>>() {
                if self.is_unheard(id, &key)? {
                    self.begin_fork(id, key)?;
                    self.database(id)?.forks_due.insert(key);
                }
            }
        }
        Ok(())
    }

    /// Keeps what batches say of forked feeds.
    pub fn note_witnesses(&mut self, id: u32, seen: &[(FeedKey, u32, Witness)]) -> Result<(), Failure> {
        for (feed, number, witness) in seen {
            if order::note_witness(self.txn, id, *number, witness)? {
                self.database(id)?.forks_due.insert(*feed);
            }
        }
        Ok(())
    }

    /// Own batches from `from` on make way for others: what they have linked is said again by what comes.
    pub fn forget_witness(&mut self, id: u32, writer: FeedKey, from: u64) -> Result<(), Failure> {
        let database = self.database(id)?;
        let Some(writer) = database.members.get(&writer).map(|member| member.feed) else { return Ok(()) };
        let forked: Vec<u32> = database
            .forks
            .keys()
            .filter_map(|feed| database.members.get(feed))
            .map(|member| member.feed)
            .collect();
        for feed in forked {
            order::forget_witnesses(self.txn, id, feed, writer, from)?;
        }
        Ok(())
    }

    pub fn parting(&self, key: &FeedKey) -> Result<Parting, Failure> {
        feed::load_parting(self.txn, key)?.ok_or_else(|| Failure::damaged(&"a fork without its proof"))
    }

    /// How links to a forked feed are read now.
    fn refresh_fork(&mut self, id: u32, key: FeedKey) -> Result<(), Failure> {
        self.feed(&key)?;
        let sealing = self.database(id)?.reads().cloned();
        let Some(record) = self.engine.feeds.get(&key) else { return Ok(()) };
        let forked = forked(self.txn, sealing.as_ref(), record)?;
        if let (Some(database), Some(forked)) = (self.engine.databases.get_mut(&id), forked) {
            database.forks.insert(key, forked);
        }
        Ok(())
    }

    /// Settles which branch counts, and makes the feed hold it, as often as what that brings changes it.
    pub fn settle_fork(&mut self, key: FeedKey) -> Result<(), Failure> {
        for _ in 0..MAX_ROUNDS {
            self.settle_once(key)?;
            let mut is_due = false;
            for id in self.databases_of(&key)? {
                is_due |= self.database(id)?.forks_due.remove(&key);
            }
            if !is_due {
                break;
            }
        }
        Ok(())
    }

    /// After something was placed: what it has linked may be earlier evidence than all before.
    pub fn settle_due(&mut self) -> Result<(), Failure> {
        let due: BTreeSet<FeedKey> =
            self.engine.databases.values().flat_map(|database| &database.forks_due).copied().collect();
        for key in due {
            self.settle_fork(key)?;
        }
        Ok(())
    }

    fn settle_once(&mut self, key: FeedKey) -> Result<(), Failure> {
        let parting = self.parting(&key)?;
        let Some(record) = self.feed(&key)?.cloned() else { return Ok(()) };
        let databases = self.databases_of(&key)?;
        let mut pending: BTreeMap<u32, Pending> = BTreeMap::new();
        // Their names are known with the proof, before there is anything of them: no announcement makes feeds of them.
        for id in &databases {
            self.add_branches(*id, &key, &parting)?;
        }
        if record.length >= parting.common {
            let mut record = record;
            let is_new = !self.are_made(&key, &parting)?;
            if is_new {
                self.make_room_for_copy(&mut record, parting.common)?;
            }
            feed::branch_off(self.txn, &record, &parting)?;
            for branch in feed::branches(&key, &parting) {
                if self.engine.feeds.get(&branch).is_some_and(|known| known.branch.is_none()) {
                    self.engine.feeds.remove(&branch);
                }
            }
            self.fill_from_branch(&record, &parting)?;
            let chosen = self.choose(&key, &parting, &databases)?;
            if let Some(chosen) = &chosen {
                pending = self.make_hold(&mut record, chosen, &parting, &databases)?;
            }
            for id in &databases {
                match self.database(*id)?.row.relay {
                    true if is_new => self.want_both(*id, &key, &parting)?,
                    true => {}
                    false => self.want_branches(*id, &key, chosen.as_ref().map(|it| it.key), 0)?,
                }
            }
        }
        for id in databases {
            self.refresh_fork(id, key)?;
            let database = self.database(id)?;
            database.behind.extend(database.members.keys().copied());
            self.place_ready_with(id, pending.remove(&id).unwrap_or_default())?;
            self.recount(id, &key)?;
            self.engine.effects.databases.insert(id);
        }
        Ok(())
    }
}

impl DatabaseState {
    /// How blocks are opened that are read here: at a relay none is.
    pub fn reads(&self) -> Option<&Sealing> {
        Some(self.space.sealing()).filter(|_| !self.row.relay)
    }

    /// What a batch says of feeds that have forked: nothing, if it stands where its own writer has.
    pub fn witnesses_in(&self, facts: &BatchFacts) -> Vec<(FeedKey, u32, Witness)> {
        if self.forks.is_empty()
            || self.forks.get(&facts.writer).is_some_and(|forked| facts.end() > forked.common)
        {
            return Vec::new();
        }
        let Some(writer) = self.members.get(&facts.writer).map(|member| member.feed) else {
            return Vec::new();
        };
        let beyond = facts.links.iter().filter(|link| {
            self.forks
                .get(&link.feed)
                .is_some_and(|forked| link.feed != facts.writer && link.length > forked.common)
        });
        beyond
            .filter_map(|link| {
                let number = self.members.get(&link.feed)?.feed;
                let (seq, time) = (facts.seq, facts.timestamp);
                Some((link.feed, number, Witness { writer, seq, time, length: link.length, root: link.root }))
            })
            .collect()
    }

    /// Adds what the first `whole` entries of a placed feed say of a forked one. Returns how many of them were looked at: a
    /// batch that ends behind them is not.
    fn witnesses_of(
        &self,
        txn: &impl Read,
        feed: FeedKey,
        whole: u64,
        forked: FeedKey,
        seen: &mut Vec<(FeedKey, u32, Witness)>,
    ) -> Result<u64, OrderError> {
        let (Some(member), Some(common)) =
            (self.members.get(&feed), self.forks.get(&forked).map(|forked| forked.common))
        else {
            return Ok(whole);
        };
        let batches = self.batches(txn);
        let sealing = self.space.blocks(feed);
        let mut seq = super::withdraw::first_after(&batches, feed, whole, forked, common)?;
        while seq < whole {
            let placed = batches.batch(feed, seq)?;
            if placed.end > whole {
                break;
            }
            let unreadable = |_| OrderError::Block { feed: member.feed, seq: placed.seq };
            let blocks =
                read_blocks(txn, &sealing, member.feed, placed.seq, placed.end).map_err(unreadable)?;
            let batch = blocks.batch(self.row.key, feed, placed.seq).map_err(unreadable)?;
            seen.extend(self.witnesses_in(&batch.facts));
            seq = placed.end;
        }
        Ok(seq)
    }

    /// What readiness asks, answered from `txn`.
    pub fn placing<'a, T: Read>(&'a self, txn: &'a T) -> Placing<'a, T, BTreeMap<FeedKey, MemberRow>> {
        Placing { batches: self.batches(txn), order: &self.order, forks: &self.forks, root_at }
    }
}

pub(super) fn root_at<T: Read>(txn: &T, feed: u32, length: u64) -> Result<Hash, OrderError> {
    let tree = StoredTree { txn, feed_id: feed };
    tree.roots(length).map(|roots| roots.hash()).map_err(|_| OrderError::Tree { feed, length })
}

/// How links to a feed are read, if it has forked. `sealing`: of who reads links at all.
pub(super) fn forked(
    txn: &impl Read,
    sealing: Option<&Sealing>,
    record: &FeedRecord,
) -> Result<Option<Forked>, Failure> {
    let Some(parting) = feed::load_parting(txn, &record.key)?.filter(|_| record.forked) else {
        return Ok(None);
    };
    let common = parting.common;
    let last = common.checked_sub(1).filter(|last| *last < record.length);
    let read_as = match last.zip(sealing) {
        None => common,
        // What cannot be read is never placed, on either branch.
        Some((last, sealing)) => {
            batch_start(txn, &sealing.blocks(record.key), record.id, last).map_or(common, |(start, head)| {
                if start.saturating_add(head.length) == common { common } else { start }
            })
        }
    };
    let mut other = None;
    for key in feed::branches(&record.key, &parting) {
        if let Some(branch) = feed::load(txn, &key)?
            && feed::agreed(txn, record, &branch)? < record.length
        {
            other = Some((branch.id, branch.length));
        }
    }
    Ok(Some(Forked { common, read_as, here: record.length, other }))
}
