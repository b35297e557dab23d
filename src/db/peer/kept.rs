//! **What.** What a connection allows for each database once, however often its topic is withdrawn and opened again: the
//! other side can do that in a loop, and each time the topic gets a new number.
//!
//! **Owns.** How much of that was used when a topic was last over; none where nothing was.
//!
//! **Invariants.** 1. There is a row for a database only while this side offers it, so there are no more than topics.
//! 2. What may be done again after some time may be done again after as long, whether the topic was open meanwhile or not.
//!
//! **Not here.** What is allowed (`access`, `compare`), what is kept of a feed whatever topic is open (`remote`).

use super::State;
use super::access::{MAX_REQUESTS_AT_ONCE, Talk};
use super::compare::ShortDigest;
use crate::types::FeedKey;
use crate::wire::{TopicId, TopicKind};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Kept(BTreeMap<FeedKey, Used>);

struct Used {
    /// The tick in which the topic was over.
    at: u32,
    /// How many new requests could be looked at then.
    budget: u32,
    /// The tick of this side's last claim.
    said_at: Option<u32>,
    /// By database, the digest for which a difference was last told.
    told: Vec<(u32, Box<ShortDigest>)>,
}

impl Kept {
    pub fn forget(&mut self, database: &FeedKey) {
        self.0.remove(database);
    }
}

impl State {
    /// A topic is over.
    pub(super) fn keep_used(&mut self, id: TopicId) {
        let Some(shown) = self.topics.get(&id).filter(|shown| shown.topic.kind == TopicKind::Database) else {
            return;
        };
        let budget = shown.access.as_ref().map_or(MAX_REQUESTS_AT_ONCE, |talk| talk.budget());
        let said_at = shown.compared.said_at();
        let of_topic = self.compared.range((id, 0)..=(id, u32::MAX));
        let told: Vec<_> =
            of_topic.filter_map(|((_, database), own)| Some((*database, own.told()?))).collect();
        if budget < MAX_REQUESTS_AT_ONCE || said_at.is_some() || !told.is_empty() {
            self.kept.0.insert(shown.topic.key, Used { at: self.ticks, budget, said_at, told });
        }
    }

    /// A topic has opened: what was used of it before is used.
    pub(super) fn take_used(&mut self, id: TopicId) {
        let Some(shown) = self.topics.get_mut(&id).filter(|shown| shown.topic.kind == TopicKind::Database)
        else {
            return;
        };
        let Some(used) = self.kept.0.remove(&shown.topic.key) else { return };
        let budget = used.budget.saturating_add(self.ticks.saturating_sub(used.at));
        if budget < MAX_REQUESTS_AT_ONCE {
            shown.access = Some(Box::new(Talk::with_budget(budget)));
        }
        shown.compared.said_before(used.said_at);
        for (database, digest) in used.told {
            self.compared.entry((id, database)).or_default().told_before(digest);
        }
    }
}
