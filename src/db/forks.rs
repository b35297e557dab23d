//! Feeds that have forked: which of their two branches counts, alike wherever the same blocks are.
//! `docs/design/feed.md`, *A feed that has forked*.

use super::engine::{DatabaseState, Work};
use super::error::{Error, Failure};
use super::events::Event;
use super::place::Pending;
use super::rows::{Halt, MemberRow};
use super::withdraw::Finals;
use crate::causal::{BatchFacts, Control, WalkSource as _};
use crate::feed::{self, FeedError, FeedRecord, StoredTree};
use crate::merkle::Parting;
use crate::order::{self, Batches, Forked, OrderError, Placing, Witness, batch_start, read_batch};
use crate::store::Read;
use crate::types::{FeedKey, Hash};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Blocks of a branch that does not count which are fetched though nobody has linked them: what a key that signs two
/// histories can make us store beyond what anybody else vouches for.
const MAX_BRANCH_BLOCKS: u64 = 65_536;

/// The same in bytes.
const MAX_BRANCH_BYTES: u64 = 64 << 20;

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
            let common = self.parting(&key)?.common;
            if self.database(id)?.members.get(&key).is_some_and(|member| member.until > common) {
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
        let mut seen = Vec::new();
        for (feed, from, to) in self.parts_after(id, key, common)? {
            let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
            let Some(member) = database.members.get(&feed).copied() else { continue };
            let batches = Batches { txn: &*self.txn, database: id, numbers: &database.members };
            let mut seq = from;
            while seq < to {
                let placed = batches.batch(feed, seq)?;
                let batch = read_batch(self.txn, database.row.key, feed, member.feed, placed.seq, placed.end)
                    .map_err(|_| OrderError::Block { feed: member.feed, seq: placed.seq })?;
                seen.extend(database.witnesses_in(&batch.facts));
                seq = placed.end;
            }
        }
        self.note_witnesses(id, &seen)?;
        let database = self.database(id)?;
        if let Some(member) = database.member_mut(&key) {
            member.until = common;
        }
        // Who waited for more of it may wait no longer.
        database.behind.extend(database.members.keys().copied());
        self.engine.effects.databases.insert(id);
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

    fn parting(&self, key: &FeedKey) -> Result<Parting, Failure> {
        feed::load_parting(self.txn, key)?.ok_or_else(|| Failure::damaged(&"a fork without its proof"))
    }

    /// How links to a forked feed are read now.
    fn refresh_fork(&mut self, id: u32, key: FeedKey) -> Result<(), Failure> {
        self.feed(&key)?;
        self.database(id)?;
        let Some(record) = self.engine.feeds.get(&key) else { return Ok(()) };
        let forked = forked(self.txn, record)?;
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
        if record.length >= parting.common {
            feed::branch_off(self.txn, &record, &parting)?;
            for id in &databases {
                self.add_branches(*id, &key, &parting)?;
            }
            let mut record = record;
            let chosen = self.choose(&key, &parting, &databases)?;
            if let Some(chosen) = &chosen {
                pending = self.make_hold(&mut record, chosen, &parting, &databases)?;
            }
            for id in &databases {
                self.want_branches(*id, &key, chosen.as_ref().map(|chosen| chosen.key), 0)?;
            }
        }
        for id in databases {
            self.refresh_fork(id, key)?;
            let database = self.database(id)?;
            database.behind.extend(database.members.keys().copied());
            self.place_ready_with(id, pending.remove(&id).unwrap_or_default())?;
            self.engine.effects.databases.insert(id);
        }
        Ok(())
    }

    /// The branches are fetched as feeds of the database are, and nothing of them is placed under their own names.
    fn add_branches(&mut self, id: u32, key: &FeedKey, parting: &Parting) -> Result<(), Failure> {
        for branch in feed::branches(key, parting) {
            let Some(number) = self.feed(&branch)?.map(|record| record.id) else { continue };
            let database = self.database(id)?;
            if let Entry::Vacant(vacant) = database.members.entry(branch) {
                let (added, merged, until, halt) = (false, 0, 0, Halt::Branch);
                vacant.insert(MemberRow { feed: number, added, merged, until, halt });
                database.writers.insert(number, branch);
                database.dirty.members.insert(branch);
                self.engine.effects.feeds.insert(branch);
            }
        }
        Ok(())
    }

    /// How much of the branches is fetched: all of the one that counts; of the other what somebody has linked, and a
    /// bounded rest. `length`: what a batch waits for.
    pub fn want_branches(
        &mut self,
        id: u32,
        key: &FeedKey,
        chosen: Option<FeedKey>,
        length: u64,
    ) -> Result<(), Failure> {
        let parting = self.parting(key)?;
        let number = self.database(id)?.members.get(key).map(|member| member.feed);
        let found = number.map(|number| order::witnesses(self.txn, id, number)).transpose()?;
        let linked = found.iter().flatten().map(|witness| witness.length).max().unwrap_or(0).max(length);
        for branch in feed::branches(key, &parting) {
            let Some(record) = self.feed(&branch)?.cloned() else { continue };
            let base = feed::byte_length_at(self.txn, &record, parting.common)?;
            let is_chosen = match chosen {
                Some(chosen) => chosen == branch,
                // It was settled before, and stays.
                None => {
                    self.database(id)?.members.get(&branch).is_some_and(|member| member.until == u64::MAX)
                }
            };
            let until = if is_chosen {
                u64::MAX
            } else if record.byte_length.saturating_sub(base) < MAX_BRANCH_BYTES {
                linked.max(parting.common.saturating_add(MAX_BRANCH_BLOCKS))
            } else {
                linked.max(record.length)
            };
            let database = self.database(id)?;
            if database.members.get(&branch).is_some_and(|member| member.until != until)
                && let Some(member) = database.member_mut(&branch)
            {
                member.until = until;
                self.engine.effects.databases.insert(id);
            }
        }
        Ok(())
    }

    /// Whether any database wants more of a branch than is here.
    pub fn wants_branch(&mut self, record: &FeedRecord) -> Result<bool, Failure> {
        for id in self.databases_of(&record.key)? {
            let member = self.database(id)?.members.get(&record.key);
            if member.is_some_and(|member| member.until > record.length) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The branch that the first witness has linked, of those of which anything is here: first those who were ever indexers,
    /// then all others, each by their own time. Without a witness, the one whose block at the common length has the lower
    /// hash.
    fn choose(
        &mut self,
        key: &FeedKey,
        parting: &Parting,
        databases: &[u32],
    ) -> Result<Option<FeedRecord>, Failure> {
        let mut here = Vec::new();
        for branch in feed::branches(key, parting) {
            let record = self.feed(&branch)?.cloned();
            here.extend(record.filter(|record| record.length > parting.common));
        }
        let Some(number) = self.feed(key)?.map(|record| record.id) else { return Ok(None) };
        let mut all = Vec::new();
        for id in databases {
            let found = order::witnesses(self.txn, *id, number)?;
            self.database(*id)?;
            let Some(database) = self.engine.databases.get(id) else { return Err(Error::closed().into()) };
            let creator = database.row.key;
            let mut indexers = if database.row.apply {
                database.indexers_made(&*self.txn)?
            } else {
                database.named_indexers()
            };
            indexers.insert(creator);
            for witness in found {
                let Some(writer) = database.writers.get(&witness.writer) else { continue };
                let class = u8::from(!indexers.contains(writer));
                all.push(((class, witness.time, *writer, witness.seq), witness));
            }
        }
        all.sort_unstable_by_key(|(rank, _)| *rank);
        for (_, Witness { length, root, .. }) in all {
            for record in here.iter().filter(|record| length <= record.length) {
                if feed::root_at(self.txn, record, length)?.starts_with(&root) {
                    return Ok(Some(record.clone()));
                }
            }
        }
        Ok(here.into_iter().next())
    }

    /// Makes the feed hold what is here of a branch. If it held the other one, that leaves the order with all that has it
    /// in its past, and what was said of this one is read anew; but nothing that is final.
    fn make_hold(
        &mut self,
        record: &mut FeedRecord,
        branch: &FeedRecord,
        parting: &Parting,
        databases: &[u32],
    ) -> Result<BTreeMap<u32, Pending>, Failure> {
        let (key, common) = (record.key, parting.common);
        let mut leaving = Vec::new();
        let agreed = feed::agreed(self.txn, record, branch)?;
        if agreed < record.length {
            if !self.is_open_everywhere(&key)? {
                return Ok(BTreeMap::new());
            }
            for id in databases {
                let database = self.database(*id)?;
                let number = database.members.get(&key).map(|member| member.feed);
                let number = number.ok_or(OrderError::Feed { feed: key })?;
                let mut first: BTreeMap<u32, u64> = BTreeMap::new();
                for Witness { writer, seq, .. } in order::witnesses(self.txn, *id, number)? {
                    first.entry(writer).and_modify(|first| *first = seq.min(*first)).or_insert(seq);
                }
                let Some(database) = self.engine.databases.get(id) else {
                    return Err(Error::closed().into());
                };
                let mut from: BTreeMap<FeedKey, u64> = BTreeMap::from([(key, common)]);
                from.extend(
                    first.iter().filter_map(|(writer, seq)| Some((*database.writers.get(writer)?, *seq))),
                );
                if database.has_final(&*self.txn, &from)? {
                    return Ok(BTreeMap::new());
                }
                leaving.push((*id, from));
            }
        } else if branch.length <= record.length {
            return Ok(BTreeMap::new());
        }
        let mut taken_out = BTreeMap::new();
        for (id, from) in leaving {
            let mut pending = Pending::default();
            for (feed, length) in from {
                self.withdraw(id, feed, length, Finals::Stay, &mut pending)?;
            }
            taken_out.insert(id, pending);
        }
        feed::adopt(self.txn, record, branch)?;
        self.engine.feeds.insert(key, record.clone());
        self.engine.effects.feeds.insert(key);
        Ok(taken_out)
    }
}

impl DatabaseState {
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

    /// Merge mode: whom the creator has made an indexer, in what nobody doubts of its feed.
    fn named_indexers(&self) -> BTreeSet<FeedKey> {
        let creator = self.row.key;
        let undoubted = self.forks.get(&creator).map_or(u64::MAX, |forked| forked.common);
        let mut found = BTreeSet::new();
        for batch in self.order.controls().iter().filter(|batch| batch.writer == creator) {
            for control in batch.controls.iter().filter(|control| control.seq() < undoubted) {
                if let Control::Grant { writer, indexer: true, .. } = control {
                    found.insert(*writer);
                }
            }
        }
        found
    }

    /// What readiness asks, answered from `txn`.
    pub fn placing<'a, T: Read>(&'a self, txn: &'a T) -> Placing<'a, T, BTreeMap<FeedKey, MemberRow>> {
        let batches = Batches { txn, database: self.row.id, numbers: &self.members };
        Placing { batches, order: &self.order, forks: &self.forks, root_at }
    }
}

fn root_at<T: Read>(txn: &T, feed: u32, length: u64) -> Result<Hash, OrderError> {
    let tree = StoredTree { txn, feed_id: feed };
    tree.roots(length).map(|roots| roots.hash()).map_err(|_| OrderError::Tree { feed, length })
}

/// How links to a feed are read, if it has forked.
pub(super) fn forked(txn: &impl Read, record: &FeedRecord) -> Result<Option<Forked>, Failure> {
    let Some(parting) = feed::load_parting(txn, &record.key)?.filter(|_| record.forked) else {
        return Ok(None);
    };
    let common = parting.common;
    let read_as = match common.checked_sub(1).filter(|last| *last < record.length) {
        None => common,
        // What cannot be read is never placed, on either branch.
        Some(last) => batch_start(txn, record.id, last).map_or(common, |(start, head)| {
            if start.saturating_add(head.length) == common { common } else { start }
        }),
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
