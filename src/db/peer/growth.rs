//! **What.** What a connection says of the feeds that are here: announcements of what is new on a topic, pushes of what has
//! grown, and lengths where nothing is pushed.
//!
//! **Invariants.** 1. Of a feed a topic is told the same length once. 2. Pushed is only to who has all before it, and never
//! what is yet to be caught up here, or was told on another topic. 3. Of own feeds nothing is said before it is allowed.
//! 4. What has no number on the connection ends it; what has no room on its topic is left out, and the topic never said to
//! be synced.
//!
//! **Not here.** When own feeds are allowed (`own`), which of several connections is pushed to (`twice`), the blocks
//! themselves (`serve`), what was said (`spoken`).

use super::{Peer, State};
use crate::db::board::{OpenDatabase, PublishedFeed};
use crate::db::error::{Code, Error};
use crate::db::events::Event;
use crate::types::FeedKey;
use crate::wire::limits::MAX_FEEDS_PER_TOPIC;
use crate::wire::{CloseReason, CommandError, FeedState, ProtocolError, TopicId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl State {
    /// Announces what is new of a topic's feeds, pushes what has grown to whoever has all before it, and tells others how
    /// long it is now. Own feeds only if they are allowed.
    pub(super) fn say_growth(&mut self, id: TopicId, peer: &Peer) {
        let databases = self.databases_of_topic(id, peer);
        let Some(shown) = self.topics.get_mut(&id) else { return };
        let mut later = BTreeSet::new();
        let (mut new, mut grown) = (Vec::new(), Vec::new());
        for key in std::mem::take(&mut shown.news) {
            self.watch.looked += 1;
            // Of one of them it may be an anchor that nobody has linked there.
            let found = databases.iter().filter_map(|open| open.feeds.read().get(&key).cloned());
            let Some(feed) = found.reduce(|one, next| if one.is_unlinked() { next } else { one }) else {
                continue;
            };
            if feed.writable && !self.own_allowed {
                later.insert(key);
                continue;
            }
            let length = feed.offered();
            match self.spoken.said(id, &key) {
                None if length > 0 => new.push((key, feed)),
                Some(said) if length > said => grown.push((key, said, feed)),
                _ => {}
            }
        }
        // Own feeds go first: also those that are not allowed yet.
        new.sort_by_key(|(_, feed)| !feed.writable);
        let room = self.session.room_on(id);
        let own = new.iter().filter(|(_, feed)| feed.writable).count();
        let others = room.saturating_sub(own + self.own_to_come(id, &databases, &new));
        let most = room.min(own + others);
        if new.len() > most {
            new.truncate(most);
            self.note_full(id, &databases);
        }
        if let Err((what, limit)) = self.say_new(id, &new) {
            return self.end_spent(what, limit);
        }
        let is_second = !grown.is_empty() && self.is_second(id, peer);
        for (key, before, feed) in grown {
            if !self.say_grown(id, key, before, &feed, is_second) {
                later.insert(key);
            }
        }
        if let Some(shown) = self.topics.get_mut(&id) {
            shown.news.append(&mut later);
        }
    }

    /// Own feeds that are not said now: they are empty, or not allowed yet. Their places are kept, for nobody else can say
    /// them first.
    fn own_to_come(
        &self,
        id: TopicId,
        databases: &[Arc<OpenDatabase>],
        now: &[(FeedKey, PublishedFeed)],
    ) -> usize {
        if now.is_empty() {
            return 0;
        }
        let mut own = BTreeSet::new();
        for open in databases {
            own.extend(open.feeds.read().own().map(|(key, _)| *key));
        }
        own.retain(|key| self.spoken.said(id, key).is_none() && !now.iter().any(|(said, _)| said == key));
        own.len()
    }

    fn say_new(
        &mut self,
        id: TopicId,
        new: &[(FeedKey, PublishedFeed)],
    ) -> Result<(), (&'static str, usize)> {
        let mut states = Vec::with_capacity(new.len());
        for (key, feed) in new {
            let length = feed.offered();
            self.spoken.say(id, *key, length);
            self.remote.entry(*key).or_default().tell(length, feed);
            states.extend(state_of(*key, feed));
        }
        if !states.is_empty()
            && let Err(CommandError::TooMany { what, limit }) = self.session.announce(id, &states, false)
        {
            return Err((what, limit));
        }
        Ok(())
    }

    /// There is no room on the topic for all. A connection that begins anew would have no more: this one goes on with
    /// what there is, and the databases hear of it, once for as long as they are open.
    fn note_full(&mut self, id: TopicId, databases: &[Arc<OpenDatabase>]) {
        self.full.insert(id);
        for open in databases.iter().filter(|open| !open.told_full.swap(true, Ordering::AcqRel)) {
            let message = format!(
                "database {} has more than the {MAX_FEEDS_PER_TOPIC} feeds that a connection can announce of it: the others \
                 are not offered, so peers may miss what is in them, and \"synced\" is not said of it",
                open.info.key
            );
            open.subscribers.send(&Event::Error { error: Error::new(Code::Protocol, message) });
        }
    }

    /// What has no number is not kept silent about: the other side would take it that it has all. A connection that
    /// begins anew has numbers for as many.
    fn end_spent(&mut self, what: &'static str, limit: usize) {
        self.session.finish(CloseReason::Busy);
        self.fail(ProtocolError::Spent { what, limit }.into());
    }

    /// False: the length that was said last has not left yet, so this one is said later.
    fn say_grown(
        &mut self,
        id: TopicId,
        key: FeedKey,
        before: u64,
        feed: &PublishedFeed,
        is_second: bool,
    ) -> bool {
        let length = feed.offered();
        let remote = self.remote.entry(key).or_default();
        // What is being caught up is told of, not pushed: who has all before it is mostly catching up with the same.
        if is_second || feed.partly.is_some() {
            self.second.entry(id).or_default().insert(key);
            return true;
        }
        self.spoken.say(id, key, length);
        let reached = remote.length.max(remote.sent);
        // What was told on another topic is not told again, and not pushed either.
        if reached.max(remote.told) >= length {
            remote.told_partly = false;
            return true;
        }
        if reached >= before
            && !remote.told_partly
            && self.session.remote().is_some_and(|remote| remote.live && remote.download)
        {
            remote.sent = length;
            self.serve_push(key, reached, length);
        } else if let Some(state) = state_of(key, feed) {
            if self.session.have(&state) == Ok(false) {
                self.spoken.say(id, key, before);
                self.owes_lengths = true;
                return false;
            }
            remote.tell(length, feed);
        }
        true
    }
}

/// What is announced of a feed.
pub(super) fn state_of(key: FeedKey, feed: &PublishedFeed) -> Option<FeedState> {
    let (length, root) = feed.shown().filter(|(length, _)| *length > 0)?;
    let [root @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = root;
    Some(FeedState { feed: key, length, root, signed: feed.tip.max(length) })
}
