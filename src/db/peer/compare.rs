//! Comparing state hashes, over one connection: says what this replica claims of a database that is quiet, and holds
//! what the other side claims against it. `docs/design.md`, *State hash*.
//!
//! A claim is compared only with one of our own whose digest is equal: of each topic the last one heard is kept until our
//! own state comes there. A false claim costs its sender nothing and us one event.

use super::{Peer, State};
use crate::db::board::OpenDatabase;
use crate::db::events::Event as DbEvent;
use crate::db::state_hash::prepare_claim;
use crate::types::{FeedKey, Hash};
use crate::wire::{StateClaim, TopicId, TopicKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Ticks (seconds) between two claims on a topic: a database that is written to every other second is not hashed, and
/// talked about, each time.
const CLAIM_INTERVAL: u32 = 10;

/// What was claimed on a topic.
#[derive(Default)]
pub(super) struct Compared {
    /// The other side's last claim.
    heard: Option<StateClaim>,
    /// The tick of this side's last one.
    said_at: Option<u32>,
}

/// What this side has said.
#[derive(Default)]
pub(super) struct Own {
    /// Commits of the database when it was last looked at, plus one; 0: it was not.
    commits: u64,
    /// The digest that was last said.
    said: Option<ShortDigest>,
    /// The digest for which a difference was last told: hardly ever one is.
    told: Option<Box<ShortDigest>>,
}

/// The half of one of our own digests: enough to know it again.
pub(super) type ShortDigest = [u8; 16];

fn short(digest: &Hash) -> Option<ShortDigest> {
    digest.first_chunk().copied()
}

impl Own {
    pub fn told(&self) -> Option<Box<ShortDigest>> {
        self.told.clone()
    }

    pub fn told_before(&mut self, digest: Box<ShortDigest>) {
        self.told = Some(digest);
    }
}

impl Compared {
    pub fn said_at(&self) -> Option<u32> {
        self.said_at
    }

    pub fn said_before(&mut self, at: Option<u32>) {
        self.said_at = at;
    }

    fn may_say(&self, ticks: u32) -> bool {
        self.said_at.is_none_or(|at| ticks.saturating_sub(at) >= CLAIM_INTERVAL)
    }
}

impl Peer {
    /// A second has passed: databases in which nothing was committed meanwhile are quiet, and their claims are made.
    pub(super) fn prepare_claims(&self) {
        let (shared, quiet) = {
            let mut state = self.0.state.lock();
            let Some(shared) = state.shared.clone() else { return };
            (shared, state.quiet_databases(self))
        };
        for open in quiet {
            prepare_claim(&shared, &open);
        }
    }
}

impl State {
    fn quiet_databases(&mut self, peer: &Peer) -> Vec<Arc<OpenDatabase>> {
        let mut shown = self.shown_databases(peer);
        shown.retain(|(id, open)| {
            // It has no view to compare.
            if open.info.relay.is_some() {
                return false;
            }
            let commits = open.state_hash.commits().saturating_add(1);
            let own = self.compared.entry((*id, open.id)).or_default();
            std::mem::replace(&mut own.commits, commits) == commits
        });
        shown.into_iter().map(|(_, open)| open).collect()
    }

    /// Databases that are spoken of on a topic of their own.
    fn shown_databases(&self, peer: &Peer) -> Vec<(TopicId, Arc<OpenDatabase>)> {
        let of_databases = self.topics.iter().filter(|(_, shown)| shown.topic.kind == TopicKind::Database);
        let ids: BTreeMap<FeedKey, TopicId> =
            of_databases.map(|(id, shown)| (shown.topic.key, *id)).collect();
        let databases = self.databases(peer).into_iter();
        databases.filter_map(|open| Some((*ids.get(&open.info.key)?, open))).collect()
    }

    /// Kept until the next tick, whatever else comes before it: a flood of them is looked at once a second.
    pub(super) fn heard_claim(&mut self, id: TopicId, claim: StateClaim) {
        if let Some(shown) = self.topics.get_mut(&id) {
            shown.compared.heard = Some(claim);
        }
    }

    /// Says what is claimed of databases that are quiet, and compares: what the other side claimed before may be of the
    /// state that ours has come to.
    pub(super) fn compare_claims(&mut self, peer: &Peer) {
        for (id, open) in self.shown_databases(peer) {
            self.say_claim(id, &open);
            self.compare(id, &open, peer);
        }
    }

    fn say_claim(&mut self, id: TopicId, open: &OpenDatabase) {
        let ticks = self.ticks;
        let Some(shown) = self.topics.get_mut(&id).filter(|shown| shown.compared.may_say(ticks)) else {
            return;
        };
        let own = self.compared.entry((id, open.id)).or_default();
        let Some(claim) = open.state_hash.current_claim() else { return };
        if own.said != short(&claim.digest) && self.session.state_hash(id, &claim).is_ok() {
            own.said = short(&claim.digest);
            shown.compared.said_at = Some(ticks);
        }
    }

    /// Tells of a difference, once for each digest.
    fn compare(&mut self, id: TopicId, open: &OpenDatabase, peer: &Peer) {
        let (Some(shared), Some(shown)) = (&self.shared, self.topics.get(&id)) else { return };
        let (Some(theirs), Some(ours)) = (shown.compared.heard, open.state_hash.claim()) else { return };
        if theirs.digest != ours.digest || theirs.state == ours.state {
            return;
        }
        let own = self.compared.entry((id, open.id)).or_default();
        let told = short(&ours.digest).map(Box::new);
        if own.told != told {
            own.told = told;
            let (ours, theirs) = (ours.state, theirs.state);
            shared.board.send(open.id, &DbEvent::Diverged { ours, theirs, peer: peer.0.id });
        }
    }
}
