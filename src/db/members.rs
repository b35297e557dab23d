//! Who takes part: this replica's own choice of feeds, and how each known feed counts.

use super::counting::Pending;
use super::database::Inner;
use super::engine::Work;
use super::error::{Code, Error, Failure};
use super::events::Event;
use super::rows::Halt;
use crate::apply::{self, Outcome};
use crate::causal::{Control, ControlBatch, Intervals, OrderState};
use crate::order;
use crate::store::ReadTxn;
use crate::types::FeedKey;
use std::collections::BTreeMap;

/// A feed of a database, as `writers()` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub key: FeedKey,
    /// Entries in the order here.
    pub length: u64,
    /// Entries that count.
    pub counted: u64,
    pub granted: bool,
    pub indexer: bool,
    /// Merged by this replica's own choice.
    pub added: bool,
    /// Who revoked it, if it is not granted any more.
    pub removed_by: Option<FeedKey>,
}

/// How far a feed has come here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedProgress {
    pub key: FeedKey,
    pub have: u64,
    pub placed: u64,
    /// The most that anyone connected, or a signed head, says there is.
    pub want: u64,
    /// More of it is passed on than the last head signs that is complete here.
    pub partly: bool,
}

impl Work<'_, '_> {
    pub fn add_peer(&mut self, id: u32, feed: FeedKey) -> Result<bool, Failure> {
        if self.database(id)?.row.local == feed {
            let message = "this is the local feed's own key: pass another device's db.local.key";
            return Err(Error::new(Code::InvalidKey, message).into());
        }
        self.learn(id, feed, u64::MAX)?;
        if self.database(id)?.members.get(&feed).is_some_and(|member| member.added) {
            return Ok(false);
        }
        let mut pending = Pending::default();
        for (from, to) in self.uncounted(id, &feed)? {
            self.collect(id, feed, from, to, true, &mut pending)?;
        }
        if let Some(member) = self.database(id)?.member_mut(&feed) {
            member.added = true;
            member.until = u64::MAX;
        }
        self.merge(id, pending)?;
        self.place_ready(id)?;
        self.event(id, Event::PeerAdd { key: feed });
        Ok(true)
    }

    pub fn remove_peer(&mut self, id: u32, feed: FeedKey) -> Result<bool, Failure> {
        let database = self.database(id)?;
        let placed = database.order.placed().get(&feed);
        match database.members.get(&feed) {
            Some(member) if member.added => {}
            _ => return Ok(false),
        }
        if let Some(member) = database.member_mut(&feed) {
            member.added = false;
            member.merged = placed;
        }
        self.event(id, Event::PeerRemove { key: feed });
        Ok(true)
    }

    /// What is placed of a feed and does not count by the walk.
    fn uncounted(&mut self, id: u32, feed: &FeedKey) -> Result<Vec<(u64, u64)>, Failure> {
        let order = &self.database(id)?.order;
        let mut placed = Intervals::new();
        placed.insert(0, order.placed().get(feed));
        let none = Intervals::new();
        let counted = order.outcome().counted.get(feed).unwrap_or(&none);
        Ok(placed.difference(counted).collect())
    }
}

/// Everything known of the feeds of a database.
pub(super) fn list(txn: &ReadTxn, inner: &Inner) -> Result<Vec<Member>, Error> {
    let open = &inner.open;
    if open.info.apply {
        return Ok(list_applied(txn, inner)?);
    }
    let order = order::order_state(txn, open.id, open.info.key).map_err(Failure::from)?;
    let feeds = open.feeds.read();
    let member = |(key, feed): (&FeedKey, &super::board::PublishedFeed)| {
        let membership = order.membership().get(key);
        let counted = order.outcome().counted.get(key);
        Member {
            key: *key,
            length: feed.placed,
            counted: counted.map_or(0, |counted| counted.iter().map(|(from, to)| to - from).sum()),
            granted: membership.is_some(),
            indexer: membership.is_some_and(|member| member.indexer),
            added: feed.added,
            removed_by: if membership.is_some() { None } else { last_revoke(&order, key) },
        }
    };
    Ok(feeds.iter().filter(|(_, feed)| feed.halt != Halt::Branch).map(member).collect())
}

/// In apply mode: what the sequence says.
fn list_applied(txn: &ReadTxn, inner: &Inner) -> Result<Vec<Member>, Failure> {
    let open = &inner.open;
    let state = apply::load(txn, open.id, open.info.key)?;
    let writers = super::conflicts::writers(txn, open.id)?;
    let mut counted: BTreeMap<FeedKey, u64> = BTreeMap::new();
    let mut removed_by = BTreeMap::new();
    for index in 0..state.cursor.index() {
        let row = apply::row(txn, open.id, index, |number| writers.get(&number).copied())?;
        let turn = row.placement.turn;
        if matches!(row.outcome, Outcome::Applied | Outcome::Silent) {
            *counted.entry(turn.at.writer).or_default() += turn.end - turn.at.seq;
        }
        for change in row.placement.changes.iter().filter(|change| change.after.is_none()) {
            removed_by.insert(change.feed, turn.at.writer);
        }
    }
    let feeds = open.feeds.read();
    let member = |(key, feed): (&FeedKey, &super::board::PublishedFeed)| {
        let membership = state.members().get(key);
        Member {
            key: *key,
            length: feed.placed,
            counted: counted.get(key).copied().unwrap_or(0),
            granted: membership.is_some(),
            indexer: membership.is_some_and(|member| member.indexer),
            added: false,
            removed_by: if membership.is_some() { None } else { removed_by.get(key).copied() },
        }
    };
    Ok(feeds.iter().filter(|(_, feed)| feed.halt != Halt::Branch).map(member).collect())
}

/// Who wrote the revoke, in force where it stands, that ended the feed's last membership.
fn last_revoke(order: &OrderState, feed: &FeedKey) -> Option<FeedKey> {
    let acts = |batch: &ControlBatch, control: &Control| {
        control.writer() == *feed
            && order.counts(&batch.writer, control.seq())
            && order.outcome().ever_indexer.contains(&batch.writer)
    };
    let in_force = |batch: &&ControlBatch| batch.controls.iter().any(|control| acts(batch, control));
    let mut batches: Vec<&ControlBatch> = order.controls().iter().filter(in_force).collect();
    batches.sort_unstable_by_key(|batch| batch.position());
    let mut granted = *feed == order.creator();
    let mut by = None;
    for batch in batches {
        for control in batch.controls.iter().filter(|control| acts(batch, control)) {
            match control {
                Control::Grant { .. } => granted = true,
                Control::Revoke { .. } if granted => (granted, by) = (false, Some(batch.writer)),
                Control::Revoke { .. } => {}
            }
        }
    }
    by
}

/// Whether every block that is here is in the order.
pub(super) fn is_placed(inner: &Inner) -> bool {
    inner.open.feeds.read().values().all(|feed| feed.is_up_to(feed.length))
}

pub(super) fn progress(inner: &Inner) -> Vec<FeedProgress> {
    let announced = inner.shared.board.announced();
    let feeds = inner.open.feeds.read();
    let feed = |(key, feed): (&FeedKey, &super::board::PublishedFeed)| FeedProgress {
        key: *key,
        have: feed.length,
        placed: feed.placed,
        want: feed.tip.max(announced.get(key).copied().unwrap_or(0).min(feed.until)),
        partly: feed.partly.is_some(),
    };
    feeds.iter().filter(|(_, feed)| feed.halt != Halt::Branch).map(feed).collect()
}
