//! One open database, in the owner thread's memory.

use super::apply::Ahead;
use super::error::Error;
use super::handler::HandlerRow;
use super::relay::RelayState;
use super::rows::{DatabaseRow, Halt, MemberRow, StateRow};
use super::write::PutsFrom;
use crate::apply::{self, AppliedState};
use crate::causal::{Membership, OrderState, Past};
use crate::clock::Clock;
use crate::entry::Op;
use crate::order::{Batch, Batches, Forked, Numbers};
use crate::types::{Effective, FeedKey};
use crate::view::{Space, Writers};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One open database, as of the last row written.
pub(super) struct DatabaseState {
    pub row: DatabaseRow,
    pub space: Space,
    pub state: StateRow,
    pub clock: Clock,
    pub max_drift: Duration,
    pub members: BTreeMap<FeedKey, MemberRow>,
    pub writers: Writers,
    /// In apply mode: what is ready to be applied.
    pub order: OrderState,
    /// Apply mode: what is applied, in which order.
    pub applied: Option<AppliedState>,
    /// Apply mode: for whom finality waits.
    pub waiting_for: Vec<FeedKey>,
    /// Apply mode: how far it was looked for more that is final.
    pub ahead: Option<Ahead>,
    /// Rows gone over for that.
    #[cfg(test)]
    pub walked: u64,
    /// What the local feed's last batch has in its past, itself included.
    pub own_past: Past,
    /// The effective timestamp of that batch.
    pub own_last: Effective,
    /// What puts of objects that were read have made since.
    pub puts_from: PutsFrom,
    /// Something was placed since the local feed last linked.
    pub links_due: bool,
    /// Feeds that have forked.
    pub forks: BTreeMap<FeedKey, Forked>,
    /// Those of which something was linked that was not known yet.
    pub forks_due: BTreeSet<FeedKey>,
    /// Own blocks wait to be appended again.
    pub again: bool,
    /// Feeds that hold blocks beyond what is placed.
    pub behind: BTreeSet<FeedKey>,
    /// What the next batch of a feed waits for: a feed, and how much of that.
    pub waits: BTreeMap<FeedKey, (FeedKey, u64)>,
    /// The version when the transaction began.
    pub published: u64,
    pub dirty: Dirty,
    /// What of it readers do not see yet.
    pub touched: Touched,
    /// Who merges.
    pub handler: HandlerRow,
    /// Old versions have gone, and tombstones with them.
    pub trimmed: bool,
    /// Of a relay: what of its limits is used.
    pub relay: Option<RelayState>,
}

/// Feeds of which something has changed that is published.
pub(super) enum Touched {
    /// It was just read, or so much has changed that all are looked at.
    All,
    Feeds(BTreeSet<FeedKey>),
}

impl Default for Touched {
    fn default() -> Self {
        Self::Feeds(BTreeSet::new())
    }
}

impl Touched {
    pub fn add<'a>(&mut self, feeds: impl IntoIterator<Item = &'a FeedKey>) {
        if let Self::Feeds(touched) = self {
            touched.extend(feeds);
        }
    }
}

#[derive(Default)]
pub(super) struct Dirty {
    pub state: bool,
    pub order: bool,
    pub applied: Option<apply::Changed>,
    pub row: bool,
    pub members: BTreeSet<FeedKey>,
}

impl DatabaseState {
    /// Puts the state of an apply-mode database, and notes what of it the commit has to write.
    pub fn put_applied(&mut self, state: AppliedState) {
        let changed = self.dirty.applied.get_or_insert_default();
        state.changed_since(self.applied.as_ref(), changed);
        self.applied = Some(state);
        self.dirty.state = true;
    }

    pub fn id(&self) -> u32 {
        self.row.id
    }

    /// Who is granted in the view as readers see it.
    pub fn membership(&self) -> &Membership {
        match &self.applied {
            Some(applied) => applied.members(),
            None => self.order.membership(),
        }
    }

    /// What is in the view as readers see it: of every feed, how much.
    pub fn in_view(&self) -> &Past {
        match &self.applied {
            Some(applied) => applied.shown(),
            None => self.order.placed(),
        }
    }

    pub fn is_writable(&self) -> bool {
        let is_open = self.row.open && !self.must_see_genesis(&self.row.local);
        !self.row.relay && (is_open || self.membership().get(&self.row.local).is_some())
    }

    /// In an encrypted database nothing is opened or written before the genesis has confirmed the key: what does not
    /// open with a wrong key would be taken for damaged.
    pub fn must_see_genesis(&self, feed: &FeedKey) -> bool {
        self.space.is_encrypted() && *feed != self.row.key && self.order.placed().get(&self.row.key) == 0
    }

    /// Whether the creator's feed begins as this database was opened: encrypted with the same key, or not at all.
    pub fn agrees_with_genesis(&self, first: &Batch<'_>) -> Result<(), Error> {
        let check = match first.ops.first() {
            Some(Op::Genesis(genesis)) => genesis.encrypted,
            _ => None,
        };
        super::open::same_key(check, self.row.check, &self.row.key)
    }

    /// What is asked about placed batches.
    pub fn batches<'a, T>(&'a self, txn: &'a T) -> Batches<'a, T, BTreeMap<FeedKey, MemberRow>> {
        Batches { txn, database: self.row.id, sealing: self.space.sealing(), numbers: &self.members }
    }

    pub fn is_indexer(&self) -> bool {
        !self.row.relay && self.membership().is_indexer(&self.row.local)
    }

    /// Whether everything of `feed` counts here whatever the walk says, up to the returned length.
    pub fn counted_by_choice(&self, feed: &FeedKey) -> u64 {
        counted_by_choice(self.row.open, self.members.get(feed))
    }

    /// True if it is another than before.
    pub fn set_halt(&mut self, feed: &FeedKey, halt: Halt) -> bool {
        let is_news = self.members.get(feed).is_some_and(|member| member.halt != halt);
        if is_news && let Some(member) = self.member_mut(feed) {
            member.halt = halt;
        }
        is_news
    }

    pub fn member_mut(&mut self, feed: &FeedKey) -> Option<&mut MemberRow> {
        self.dirty.members.insert(*feed);
        self.members.get_mut(feed)
    }
}

/// Up to which length all of a feed counts here, whatever the walk says. `open`: the database is.
pub(super) fn counted_by_choice(open: bool, member: Option<&MemberRow>) -> u64 {
    match member {
        _ if open => u64::MAX,
        Some(member) if member.added => u64::MAX,
        Some(member) => member.merged,
        None => 0,
    }
}

impl Numbers for BTreeMap<FeedKey, MemberRow> {
    fn number(&self, feed: &FeedKey) -> Option<u32> {
        self.get(feed).map(|member| member.feed)
    }
}
