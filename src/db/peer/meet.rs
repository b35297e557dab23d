//! Feeds that a peer announces and a database does not know: some databases take them in.

use super::{Peer, State};
use crate::db::rows::Halt;
use crate::db::strangers::MAX_STRANGERS;
use crate::types::FeedKey;
use crate::wire::{FeedState, TopicId, TopicKind};
use std::collections::BTreeSet;

impl State {
    /// Hands on what was announced on a database's topic, if that database takes such feeds. Who has just joined does not
    /// know whether it does: then some of them are kept until the creator's word is here.
    pub(super) fn meet_strangers(&mut self, id: TopicId, announced: &[FeedState], peer: &Peer) {
        let branches = self.early_branches(id);
        let feeds: Vec<FeedState> =
            announced.iter().filter(|state| !branches.contains(&state.feed)).copied().collect();
        let announced = feeds.as_slice();
        let databases = self.databases_of_topic(id, peer);
        let (Some(shared), Some(shown)) = (&self.shared, self.topics.get(&id)) else { return };
        if shown.topic.kind != TopicKind::Database {
            return;
        }
        for open in &databases {
            if !open.status.read().takes_strangers {
                let is_joining = open.feeds.read().get(&open.info.key).is_none_or(|feed| feed.placed == 0);
                if is_joining && open.info.apply {
                    let unmet = self.unmet.entry(id).or_default();
                    let room = MAX_STRANGERS.saturating_sub(unmet.len());
                    unmet.extend(announced.iter().take(room).map(|state| (state.feed, *state)));
                }
                continue;
            }
            let unknown: BTreeSet<FeedKey> = {
                let feeds = open.feeds.read();
                let is_unknown = |state: &&FeedState| match feeds.get(&state.feed) {
                    None => state.length > 0,
                    Some(feed) => {
                        let is_forked = feed.forked || feed.halt == Halt::Branch;
                        let is_linked_alone = !feed.added && feed.until > 0 && feed.until < state.length;
                        !feed.stranger && !is_forked && is_linked_alone
                    }
                };
                announced.iter().filter(is_unknown).map(|state| state.feed).collect()
            };
            if unknown.is_empty() {
                continue;
            }
            if std::mem::replace(&mut self.is_meeting, true) {
                // As many as may be announced on a topic, each once: jobs do not pile up.
                let is_unknown = |state: &&FeedState| unknown.contains(&state.feed);
                let unmet = announced.iter().filter(is_unknown).map(|state| (state.feed, *state));
                self.unmet.entry(id).or_default().extend(unmet);
                continue;
            }
            let id = open.id;
            shared.windowed_job(
                move |work| work.meet_all(id, &unknown),
                peer.clone(),
                |peer, _| {
                    peer.with_state(|state, peer| {
                        state.is_meeting = false;
                        state.meet_kept(peer);
                    });
                },
            );
        }
    }

    /// What was kept until it was known whether the database takes strangers.
    pub(super) fn meet_kept(&mut self, peer: &Peer) {
        if self.is_meeting {
            return;
        }
        for (id, unmet) in std::mem::take(&mut self.unmet) {
            let unmet: Vec<FeedState> = unmet.into_values().collect();
            self.meet_strangers(id, &unmet, peer);
        }
    }
}
