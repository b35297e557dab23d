//! Relays on a connection: a relay says that it is one; a member proves to it which feed it writes, and what that member
//! announces is kept.

use super::{Peer, State};
use crate::db::board::OpenDatabase;
use crate::types::FeedKey;
use crate::wire::{TopicId, TopicKind};
use std::collections::BTreeMap;

/// The message with which a relay says that it is one: without a body, once per topic of a database.
pub(super) const RELAY: u8 = 4;

/// What was said about relaying on a topic.
#[derive(Default)]
pub(super) struct Relaying {
    said: bool,
    /// The other side has said that it is a relay.
    pub heard: bool,
    /// Feeds given to the owner thread to be kept, and whether the other side was a writer of a kept feed then.
    given: BTreeMap<FeedKey, bool>,
}

impl State {
    /// After anything has changed.
    pub(super) fn talk_relay(&mut self, id: TopicId, peer: &Peer) {
        let Some(shown) = self.topics.get(&id) else { return };
        if shown.topic.kind != TopicKind::Database {
            return;
        }
        let heard = shown.relaying.as_ref().is_some_and(|relaying| relaying.heard);
        for open in self.databases_of_topic(id, peer) {
            if open.info.relay.is_some() {
                self.say_relay(id);
                self.give(id, &open, peer);
            } else if heard {
                self.prove_own(id, &open);
            }
        }
    }

    fn say_relay(&mut self, id: TopicId) {
        let Some(shown) = self.topics.get_mut(&id) else { return };
        if !std::mem::replace(&mut shown.relaying.get_or_insert_default().said, true) {
            let _ = self.session.access(id, RELAY, &[]);
        }
    }

    /// Gives the owner thread what the other side has announced, once, and again when it turns out to be a writer of a
    /// kept feed.
    fn give(&mut self, id: TopicId, open: &OpenDatabase, peer: &Peer) {
        let branches = self.early_branches(id);
        let Some(shown) = self.topics.get_mut(&id) else { return };
        let (given, talk) = (&mut shown.relaying.get_or_insert_default().given, shown.access.as_ref());
        let proved: Vec<FeedKey> = talk.into_iter().flat_map(|talk| talk.proved()).copied().collect();
        let feeds = open.feeds.read();
        let is_kept =
            |feed: &FeedKey| *feed == open.info.key || feeds.get(feed).is_some_and(|feed| feed.added);
        let keeps = proved.iter().any(is_kept);
        let is_news = |feed: &&FeedKey| {
            let is_wanted = !feeds.contains_key(*feed) || (keeps && !is_kept(feed));
            is_wanted && given.get(*feed).is_none_or(|before| keeps && !before)
        };
        let news: Vec<FeedKey> = self.spoken.announced(id).filter(is_news).copied().collect();
        let news: Vec<FeedKey> = news.into_iter().filter(|feed| !branches.contains(feed)).collect();
        drop(feeds);
        if news.is_empty() {
            return;
        }
        given.extend(news.iter().map(|feed| (*feed, keeps)));
        let database = open.id;
        if let Some(shared) = &self.shared {
            let learn = move |work: &mut crate::db::engine::Work<'_, '_>| {
                work.learn_at_relay(database, &news, &proved)
            };
            shared.windowed_job(learn, peer.clone(), |_, _| {});
        }
    }
}
