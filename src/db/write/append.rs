//! Batches into the local feed: links, timestamp, blocks, place in the order.

use super::{Written, too_many};
use crate::causal::{self, BatchFacts, LinkRule, Past, Readiness, resolve};
use crate::codec::limits::{MAX_BATCH_ENTRIES, MAX_LINKS};
use crate::db::counting::Pending;
use crate::db::engine::Work;
use crate::db::error::{Code, Error, Failure};
use crate::db::place::Placement;
use crate::db::state::DatabaseState;
use crate::entry::{BatchHead, Entry, Op, Place};
use crate::feed::{self, Appender};
use crate::order::control;
use crate::seal::BlockSealing;
use crate::types::{Effective, FeedKey, Link, Position};

impl Work<'_, '_> {
    /// Grants a writer, for everybody.
    pub fn grant(&mut self, id: u32, writer: FeedKey, indexer: bool) -> Result<Written, Failure> {
        let database = self.must_be_indexer(id)?;
        self.append_control(id, &Op::Grant { database, writer, indexer })
    }

    pub fn revoke(&mut self, id: u32, writer: FeedKey, lost: bool) -> Result<Written, Failure> {
        let database = self.must_be_indexer(id)?;
        self.append_control(id, &Op::Revoke { database, writer, lost })
    }

    /// The database's key, if this replica may grant.
    pub fn must_be_indexer(&mut self, id: u32) -> Result<FeedKey, Failure> {
        let database = self.database(id)?;
        if database.row.apply {
            let message = "in apply mode the apply function grants and revokes: append a value that makes it call \
                           host.addWriter or host.removeWriter";
            return Err(Error::new(Code::Mode, message).into());
        }
        if database.is_indexer() {
            return Ok(database.row.key);
        }
        Err(Error::new(Code::NotPermitted, "only an indexer grants and revokes: ask the database's creator")
            .into())
    }

    fn append_control(&mut self, id: u32, op: &Op<'_>) -> Result<Written, Failure> {
        let appended = self.append(id, std::slice::from_ref(op))?;
        let mut pending = Pending::default();
        self.rewalk_if_due(id, &mut pending)?;
        self.must_have_acted(id, op)?;
        self.merge(id, pending)?;
        Ok(Written::Yes { length: appended.length, version: self.database(id)?.state.version })
    }

    /// What was appended may be what makes an earlier entry of this writer act, that takes its own right: then the writer
    /// is no indexer where this stands, and it has no effect. Of what it says of itself that is so only if it is not what
    /// the writer is now.
    fn must_have_acted(&mut self, id: u32, op: &Op<'_>) -> Result<(), Failure> {
        let database = self.database(id)?;
        let local = database.row.local;
        let right = database.membership().get(&local).map(|member| member.indexer);
        let is_as_said = match op {
            Op::Grant { writer, indexer, .. } if *writer == local => right == Some(*indexer),
            Op::Revoke { writer, .. } if *writer == local => right.is_none(),
            _ => false,
        };
        if is_as_said || right == Some(true) {
            return Ok(());
        }
        let message = format!(
            "this writer, {local}, took its own right to grant before it was granted again, and this entry would make that \
             take effect, so nothing was written: ask an indexer that has met this device since then to call addWriter with \
             its key once more"
        );
        Err(Error::new(Code::NotPermitted, message).into())
    }

    /// Appends one batch to the local feed and places it.
    pub fn append(&mut self, id: u32, ops: &[Op<'_>]) -> Result<Appended, Failure> {
        self.append_batch(id, ops, false)
    }

    pub fn append_batch(&mut self, id: u32, ops: &[Op<'_>], optimistic: bool) -> Result<Appended, Failure> {
        if ops.len() > MAX_BATCH_ENTRIES {
            return Err(too_many().into());
        }
        // What refuses to append does so before anything in memory has changed.
        let local = self.database(id)?.row.local;
        self.open_appender(id, local)?;
        self.must_have_placed_own(id, local)?;
        let mut links = self.due_links(id)?;
        while links.len() > MAX_LINKS {
            let rest = links.split_off(MAX_LINKS);
            self.append_linked(id, &[Op::Acknowledgement], links, None, optimistic)?;
            links = rest;
        }
        self.append_linked(id, ops, links, None, optimistic)
    }

    /// `timestamp`: of a batch that had one already.
    pub fn append_linked(
        &mut self,
        id: u32,
        ops: &[Op<'_>],
        mut links: Vec<Link>,
        timestamp: Option<u64>,
        optimistic: bool,
    ) -> Result<Appended, Failure> {
        links.sort_unstable_by_key(|link| link.feed);
        let now = crate::clock::ntp64(self.now());
        let timestamp = match timestamp {
            Some(timestamp) => timestamp,
            None => self.database(id)?.clock.tick(now),
        };
        self.append_at(id, ops, timestamp, links, optimistic)
    }

    /// Appends and places one batch with this timestamp and these links, which ascend by feed.
    pub fn append_at(
        &mut self,
        id: u32,
        ops: &[Op<'_>],
        timestamp: u64,
        links: Vec<Link>,
        optimistic: bool,
    ) -> Result<Appended, Failure> {
        let database = self.database(id)?;
        let (local, key) = (database.row.local, database.row.key);
        let seq = database.order.placed().get(&local);
        let controls = ops.iter().zip(seq..).filter_map(|(op, seq)| control(op, key, seq)).collect();
        let facts = BatchFacts { writer: local, seq, length: ops.len() as u64, timestamp, links, controls };
        let sealing = database.space.blocks(local);
        let number = self.append_blocks(&sealing, &facts, ops, optimistic)?;
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let (past, effective, has_read) =
            self.own_readiness(id, &facts, &database.own_past, database.own_last)?;
        let position = facts.position(effective);
        let length = facts.end();
        let seen = database.witnesses_in(&facts);
        self.note_witnesses(id, &seen)?;
        let database = self.database(id)?;
        database.own_past.clone_from(&past);
        database.own_past.raise(local, length);
        database.own_last = effective;
        let counts = self.place(id, number, Placement { facts, past, effective, has_read })?;
        Ok(Appended { number, position, counts, length })
    }

    pub fn open_appender(&mut self, id: u32, local: FeedKey) -> Result<(), Failure> {
        let key = self.database(id)?.space.sealing().encryption_key().cloned();
        if !self.appenders.contains_key(&local) {
            let mut record = self.feed(&local)?.ok_or_else(Error::stopped)?.clone();
            if let Some(secret) = &mut record.secret {
                secret.open(local, key.as_ref())?;
            }
            let appender = Appender::new(self.txn, record)?;
            self.appenders.insert(local, appender);
        }
        Ok(())
    }

    /// A batch is placed as it is appended, so all before it has to be: an older copy of a store may hold own entries
    /// that wait for what they link to.
    pub fn must_have_placed_own(&mut self, id: u32, local: FeedKey) -> Result<(), Failure> {
        let length = self.appenders.get(&local).map_or(0, Appender::length);
        if self.database(id)?.order.placed().get(&local) == length {
            return Ok(());
        }
        let message = "this device's own feed holds entries that are not in the order yet: connect to a peer that has \
                       what they link to; if there is none, open the database with a new key pair";
        Err(Error::new(Code::Restored, message).into())
    }

    fn append_blocks(
        &mut self,
        sealing: &BlockSealing,
        facts: &BatchFacts,
        ops: &[Op<'_>],
        optimistic: bool,
    ) -> Result<u32, Failure> {
        let appender = self.appenders.get_mut(&facts.writer).ok_or_else(Error::stopped)?;
        let number = appender.record().id;
        encode_batch(facts.timestamp, &facts.links, optimistic, ops, |block, clear| {
            appender.append(self.txn, &sealing.seal(appender.length(), block, clear)?)?;
            Ok(())
        })?;
        Ok(number)
    }

    /// Past and effective timestamp of a batch of the local feed that follows one with `past`, itself in it, and `last`.
    /// Without links both follow from that one.
    pub fn own_readiness(
        &self,
        id: u32,
        facts: &BatchFacts,
        past: &Past,
        last: Effective,
    ) -> Result<(Past, Effective, bool), Failure> {
        if facts.links.is_empty() {
            let effective = if facts.seq == 0 || facts.timestamp > last.time {
                Effective { time: facts.timestamp, tick: 0 }
            } else {
                Effective { time: last.time, tick: last.tick.saturating_add(1) }
            };
            return Ok((past.clone(), effective, false));
        }
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        match resolve(facts, link_rule(database), &database.placing(&*self.txn))? {
            Readiness::Ready { past, effective, read } => Ok((past, effective, !read.is_empty())),
            // What is linked is placed: that is how it came to be linked.
            Readiness::Waits { feed, .. } => {
                Err(Failure::damaged(&format!("feed {feed} was linked before it was placed")))
            }
        }
    }

    /// Links for every feed whose links are read and of which more is placed than the local feed has in its past.
    pub fn due_links(&mut self, id: u32) -> Result<Vec<Link>, Failure> {
        if !std::mem::take(&mut self.database(id)?.links_due) {
            return Ok(Vec::new());
        }
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let DatabaseState { row, order, own_past, applied, .. } = database;
        // Only what the own past does not reach is looked at, and only feeds of which something counts are named: what
        // is named, others have to fetch.
        let counts = |feed: &FeedKey| match applied {
            Some(applied) => applied.counted.contains(feed),
            None => row.open || order.outcome().counted.contains_key(feed),
        };
        let mut candidates = Past::new();
        for (feed, length) in database.in_view().iter() {
            if length > own_past.get(&feed) && counts(&feed) {
                candidates.raise(feed, length);
            }
        }
        let placing = database.placing(&*self.txn);
        let wanted = causal::links(row.local, link_rule(database), &candidates, &placing)?;
        let mut links = Vec::with_capacity(wanted.len());
        for (feed, length) in wanted {
            let Some(record) = self.feed(&feed)?.cloned() else { continue };
            let root = feed::root_at(self.txn, &record, length)?;
            let [a @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = root;
            links.push(Link { feed, length, root: a });
        }
        Ok(links)
    }
}

/// The blocks of a batch, one after another, and whether each stays in clear.
pub(in crate::db) fn encode_batch(
    timestamp: u64,
    links: &[Link],
    optimistic: bool,
    ops: &[Op<'_>],
    mut block_made: impl FnMut(&[u8], bool) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut block = Vec::new();
    for (op, offset) in ops.iter().zip(0..) {
        block.clear();
        let place = if offset == 0 {
            let (length, links) = (ops.len() as u64, links.to_vec());
            Place::First(BatchHead { timestamp, length, links, optimistic })
        } else {
            Place::Later { offset }
        };
        Entry { place, op: op.clone() }.encode_into(&mut block);
        // A genesis is for everyone to read: whoever joins finds out whether it fits.
        block_made(&block, matches!(op, Op::Genesis(_)))?;
    }
    Ok(())
}

/// A batch of the local feed, placed.
pub(in crate::db) struct Appended {
    pub number: u32,
    pub position: Position,
    pub counts: bool,
    pub length: u64,
}

pub(in crate::db) fn link_rule(database: &DatabaseState) -> LinkRule {
    if database.row.open || database.row.apply {
        LinkRule::All
    } else {
        LinkRule::Granted { creator: database.row.key }
    }
}
