//! The two branches of a feed that has forked: how much of them is fetched, which of them counts, and how the feed comes
//! to hold that one. `docs/design/feed.md`, *A feed that has forked*.

use super::counting::Pending;
use super::engine::Work;
use super::error::{Error, Failure};
use super::rows::{Halt, MemberRow};
use super::state::DatabaseState;
use super::withdraw::Finals;
use crate::causal::Control;
use crate::feed::{self, FeedRecord};
use crate::merkle::Parting;
use crate::order::{self, OrderError, Witness};
use crate::types::FeedKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

/// Blocks of a branch that does not count which are fetched though nobody has linked them: what a key that signs two
/// histories can make us store beyond what anybody else vouches for.
const MAX_BRANCH_BLOCKS: u64 = 65_536;

/// The same in bytes.
const MAX_BRANCH_BYTES: u64 = 64 << 20;

impl Work<'_, '_> {
    /// The branches are fetched as feeds of the database are, and nothing of them is placed under their own names. As long
    /// as the feed does not reach to where they begin, they are names of which nothing is asked for.
    pub fn add_branches(&mut self, id: u32, key: &FeedKey, parting: &Parting) -> Result<(), Failure> {
        for branch in feed::branches(key, parting) {
            let record = self.feed_or_new(&branch)?;
            let (number, is_made) = (record.id, record.branch.is_some());
            let database = self.database(id)?;
            // A relay keeps them as it keeps their feed.
            let added = database.row.relay && database.is_kept(key);
            let until = if database.row.relay && is_made { u64::MAX } else { 0 };
            // Its name may have been heard before the proof.
            if database.members.get(&branch).is_none_or(|member| member.halt != Halt::Branch) {
                let (merged, halt, stranger) = (0, Halt::Branch, false);
                let member = MemberRow { feed: number, added, merged, until, halt, stranger };
                database.members.insert(branch, member);
                database.behind.remove(&branch);
                database.writers.insert(number, branch);
                database.dirty.members.insert(branch);
                self.engine.effects.feeds.insert(branch);
            }
        }
        Ok(())
    }

    /// The branches are more than names now: who cannot choose wants all of both.
    pub fn want_both(&mut self, id: u32, key: &FeedKey, parting: &Parting) -> Result<(), Failure> {
        let database = self.database(id)?;
        for branch in feed::branches(key, parting) {
            if let Some(member) = database.member_mut(&branch) {
                member.until = u64::MAX;
            }
        }
        Ok(())
    }

    /// Whether the branches are more than names here.
    pub fn are_made(&mut self, key: &FeedKey, parting: &Parting) -> Result<bool, Failure> {
        for branch in feed::branches(key, parting) {
            if self.feed(&branch)?.is_none_or(|record| record.branch.is_none()) {
                return Ok(false);
            }
        }
        Ok(true)
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
        let database = self.database(id)?;
        let is_stranger = database.is_stranger(key) && !database.row.open;
        let number = self.database(id)?.members.get(key).map(|member| member.feed);
        let found = number.map(|number| order::witnesses(self.txn, id, number)).transpose()?;
        let database = self.database(id)?;
        let vouches = |witness: &&Witness| {
            let writer = database.writers.get(&witness.writer);
            database.row.open || writer.is_some_and(|writer| !database.is_stranger(writer))
        };
        let linked = found.iter().flatten().filter(vouches).map(|witness| witness.length).max();
        let linked = linked.unwrap_or(0).max(length);
        for branch in feed::branches(key, &parting) {
            // Its name may be known before the feed reaches to where it begins.
            let known = self.feed(&branch)?.cloned().filter(|record| record.branch.is_some());
            let Some(record) = known else { continue };
            let base = feed::byte_length_at(self.txn, &record, parting.common)?;
            let is_chosen = match chosen {
                Some(chosen) => chosen == branch,
                // It was settled before, and stays.
                None => {
                    self.database(id)?.members.get(&branch).is_some_and(|member| member.until == u64::MAX)
                }
            };
            // Of a stranger no more is taken for having forked.
            let until = if is_chosen && !is_stranger {
                u64::MAX
            } else if !is_stranger && record.byte_length.saturating_sub(base) < MAX_BRANCH_BYTES {
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
    pub fn choose(
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
            // Which strangers are known differs between replicas: where there may be any, indexers alone decide.
            let all_speak = !database.row.optimistic;
            for witness in found {
                let Some(writer) = database.writers.get(&witness.writer) else { continue };
                let class = u8::from(!indexers.contains(writer));
                if class > 0 && !all_speak {
                    continue;
                }
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
    pub fn make_hold(
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
            // What is behind a hole may be the only copy, and what leaves the order is read once more.
            if !self.is_open_everywhere(&key)? || self.has_any_hole(databases)? {
                return Ok(BTreeMap::new());
            }
            for id in databases {
                if self.is_unheard(*id, &key)? {
                    return Ok(BTreeMap::new());
                }
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
        for id in databases {
            // What could not be read may have been of the other branch.
            let database = self.database(*id)?;
            if database.members.get(&key).is_some_and(|member| member.halt == Halt::Frozen) {
                database.set_halt(&key, Halt::None);
            }
        }
        self.engine.feeds.insert(key, record.clone());
        self.engine.effects.feeds.insert(key);
        Ok(taken_out)
    }

    /// Whether a block of any feed of these databases is damaged and not back yet.
    fn has_any_hole(&mut self, databases: &[u32]) -> Result<bool, Failure> {
        let holed: BTreeSet<u32> =
            feed::all_holes(self.txn, usize::MAX)?.into_iter().map(|(feed, _)| feed).collect();
        for id in databases {
            if self.database(*id)?.members.values().any(|member| holed.contains(&member.feed)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Damaged blocks that have come under the name of the branch that the feed holds.
    pub fn fill_from_branch(&mut self, record: &FeedRecord, parting: &Parting) -> Result<(), Failure> {
        if !self.engine.board.has_holes.load(Ordering::Acquire) {
            return Ok(());
        }
        for key in feed::branches(&record.key, parting) {
            let branch = self.feed(&key)?.cloned().filter(|branch| branch.length > parting.common);
            if let Some(branch) = branch
                && feed::agreed(self.txn, record, &branch)? == record.length
            {
                feed::fill_from(self.txn, record, &branch)?;
            }
        }
        Ok(())
    }
}

impl DatabaseState {
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
}
