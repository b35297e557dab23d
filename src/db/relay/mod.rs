//! **What.** Relays: databases whose feeds are stored and forwarded, and never read.
//!
//! **Owns.** Which feeds a relay keeps, and its limits. `docs/design/relay.md`.
//!
//! **Invariants.** 1. Nothing here decodes a block. 2. Feeds and their cost, branches included, are within the limits;
//! what is announced by others than writers of kept feeds within a tenth of them. 3. A kept feed never gives way. 4. Of
//! a feed that has forked both branches are wanted alike, and none of their names is ever taken for a feed's.
//!
//! **Not here.** What is said about it on a connection (`peer/relay`); verification (`feed`); the branches (`branches`).

mod room;

pub(super) use room::RelayState;
pub use room::{MAX_RELAY_BYTES, MAX_RELAY_FEEDS, RelayLimits};

use super::engine::Work;
use super::error::{Code, Error, Failure};
use super::rows::{DatabaseRow, Halt, MemberRow};
use super::state::DatabaseState;
use crate::store::Table;
use crate::types::FeedKey;
use room::OTHERS_SHARE;

pub(super) fn refusal() -> Error {
    let message = "this is a relay: it stores and forwards what it cannot read; open the database without relay to \
                   read or write";
    Error::new(Code::Relay, message)
}

impl DatabaseState {
    /// Of a relay: whether the feed is the creator's, or was announced by a writer of a kept one; of a branch, whether
    /// its feed is.
    pub fn is_kept(&self, feed: &FeedKey) -> bool {
        *feed == self.row.key || self.members.get(feed).is_some_and(|member| member.added)
    }

    fn is_branch(&self, feed: &FeedKey) -> bool {
        self.members.get(feed).is_some_and(|member| member.halt == Halt::Branch)
    }
}

impl Work<'_, '_> {
    /// The row of a new relay: it writes no feed, so the creator's stands for its own.
    pub fn create_relay(&mut self, mut row: DatabaseRow, name: &str) -> Result<DatabaseRow, Failure> {
        let number = self.feed_or_new(&row.key)?.id;
        row.local = row.key;
        self.txn.put(Table::Databases, &DatabaseRow::key_of(name), &row.encode())?;
        let member = new_member(number, true);
        self.txn.put(Table::Members, &MemberRow::key_of(row.id, &row.key), &member.encode())?;
        Ok(row)
    }

    /// A relay wants all of every feed again, whatever it had no room for before; of one that has forked, maybe while
    /// it was closed, all of both branches.
    pub fn start_relay(&mut self, id: u32) -> Result<(), Failure> {
        let feeds: Vec<FeedKey> = self.database(id)?.members.keys().copied().collect();
        for feed in feeds {
            let is_here = self.feed(&feed)?.is_some_and(|record| record.branch.is_some());
            let database = self.database(id)?;
            // The name of a branch alone asks for nothing.
            let until = if database.is_branch(&feed) && !is_here { 0 } else { u64::MAX };
            if database.members.get(&feed).is_some_and(|member| member.until != until)
                && let Some(member) = database.member_mut(&feed)
            {
                member.until = until;
            }
        }
        self.begin_forks(id)
    }

    /// Takes in feeds that a connection announces. `proved`: whom its other side has proved to be.
    pub fn learn_at_relay(&mut self, id: u32, feeds: &[FeedKey], proved: &[FeedKey]) -> Result<(), Failure> {
        let database = self.database(id)?;
        let keeps = proved.iter().any(|writer| database.is_kept(writer));
        for feed in feeds {
            let database = self.database(id)?;
            match database.members.contains_key(feed) {
                true if keeps && !database.is_kept(feed) && !database.is_branch(feed) => {
                    self.raise(id, feed)?;
                }
                true => {}
                false => self.admit(id, *feed, keeps)?,
            }
        }
        Ok(())
    }

    /// What was an other feed is kept from now on, and its branches with it.
    fn raise(&mut self, id: u32, feed: &FeedKey) -> Result<(), Failure> {
        for part in self.with_branches(feed)? {
            let is_here = self.feed(&part)?.is_some_and(|record| record.branch.is_some());
            let database = self.database(id)?;
            let is_forked = database.forks.contains_key(&part);
            let is_name = database.is_branch(&part) && !is_here;
            if let Some(member) = database.member_mut(&part) {
                member.added = true;
                if !is_forked && !is_name {
                    member.until = u64::MAX;
                }
            }
            self.engine.effects.feeds.insert(part);
        }
        self.recount(id, feed)
    }

    fn admit(&mut self, id: u32, feed: FeedKey, keeps: bool) -> Result<(), Failure> {
        let database = self.database(id)?;
        let Some(limits) = database.relay.as_ref().map(|relay| relay.limits) else { return Ok(()) };
        let all = database.members.values().filter(|member| member.halt != Halt::Branch).count() as u64;
        let others = database.others().count() as u64;
        if !keeps && (others >= limits.feeds / OTHERS_SHARE || all >= limits.feeds) {
            return Ok(());
        }
        if all >= limits.feeds && !self.make_way(id)? {
            return Ok(());
        }
        let record = self.feed_or_new(&feed)?;
        let (number, is_forked) = (record.id, record.forked);
        let database = self.database(id)?;
        database.members.insert(feed, new_member(number, keeps));
        database.writers.insert(number, feed);
        database.dirty.members.insert(feed);
        self.engine.effects.feeds.insert(feed);
        if is_forked {
            // Another database of this store knows.
            self.begin_fork(id, feed)?;
            self.settle_fork(feed)?;
        }
        self.recount(id, &feed)
    }
}

fn new_member(feed: u32, is_kept: bool) -> MemberRow {
    MemberRow { feed, added: is_kept, merged: 0, until: u64::MAX, halt: Halt::None, stranger: false }
}
