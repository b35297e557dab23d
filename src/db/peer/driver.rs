//! What the session's events do.

use super::{Peer, PeerEvent, Shown, State};
use crate::db::board::{OpenDatabase, PublishedFeed};
use crate::db::error::{Code, Error};
use crate::types::FeedKey;
use crate::wire::{
    CloseReason, CommandError, Event, FeedState, ProtocolError, RequestId, Role, Topic, TopicId,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Blocks on their way out: an answer, or a push.
pub(super) struct Serving {
    pub answer: Option<RequestId>,
    pub feed: FeedKey,
    pub next: u64,
    pub end: u64,
    /// For who holds nothing before it: with complete proofs.
    pub apart: bool,
}

/// The message with which a side says, on a topic, that its own feed is announced too.
pub(super) const OWN_FEED_SAID: u8 = 0;

impl State {
    /// Everything the session has to say, in order.
    pub(super) fn take_events(&mut self, peer: &Peer) {
        let mut any = false;
        while let Some(event) = self.session.event() {
            any = true;
            self.take_event(event, peer);
        }
        if !any {
            // Bytes that come one at a time cost no more than bytes.
            return;
        }
        self.drop_unawaited();
        self.refresh(peer);
        self.check_synced(peer);
    }

    fn take_event(&mut self, event: Event, peer: &Peer) {
        match event {
            Event::Open(remote) => {
                self.push(PeerEvent::Open { user_data: remote.user_data });
                self.look(peer);
                if self.session.role() == Role::Initiator && self.session.offered() == 0 {
                    // There is nothing to show, and that is said too.
                    self.shown(0, true, peer);
                }
            }
            Event::TopicOpen { topic, kind, key } => self.open_topic(topic, Topic { kind, key }, peer),
            Event::TopicClosed { topic } => {
                self.unwatch_topic(topic, peer);
                self.note_heard(peer);
            }
            Event::Shown { opened, is_all } => self.shown(opened, is_all, peer),
            Event::Vector { topic, feeds, first_complete } => {
                for feed in &feeds {
                    self.heard(feed, peer);
                }
                if self.topics.contains_key(&topic) {
                    for feed in &feeds {
                        self.spoken.hear(topic, feed.feed);
                    }
                }
                self.watch.due.insert(topic);
                self.meet_strangers(topic, &feeds, peer);
                if first_complete {
                    self.heard_all(topic, peer);
                    self.tell_heard_of(topic, peer);
                }
            }
            Event::Have(feed) => {
                self.heard(&feed, peer);
                // It names no topic: it is said on those on which the feed was announced.
                for topic in self.spoken.topics_of(&feed.feed) {
                    self.watch.due.insert(topic);
                    self.meet_strangers(topic, std::slice::from_ref(&feed), peer);
                }
            }
            Event::Request { id, feed, start, end, apart } => {
                self.serving.push_back(Serving { answer: Some(id), feed, next: start, end, apart });
            }
            Event::Cancelled { id } => self.serving.retain(|serving| serving.answer != Some(id)),
            Event::Refused { id, feed, next, .. } => {
                if !self.ask_refused(id, next, peer) {
                    self.refused(id, &feed, next, peer);
                }
            }
            Event::Blocks { feed, blocks, finished } => {
                if let Some(blocks) = self.received_apart(feed, blocks, finished, peer) {
                    self.received(feed, blocks, finished, peer);
                }
            }
            Event::Access { topic, kind: OWN_FEED_SAID, .. } => {
                if let Some(shown) = self.topics.get_mut(&topic) {
                    shown.heard_own = true;
                }
                self.note_topic_said(topic, peer);
                self.tell_heard_of(topic, peer);
            }
            Event::Access { topic, kind: super::relay::RELAY, .. } => {
                if let Some(shown) = self.topics.get_mut(&topic) {
                    shown.relaying.get_or_insert_default().heard = true;
                }
                self.watch.due.insert(topic);
            }
            Event::Access { topic, kind: super::forks::FORK, bytes } => {
                self.watch.due.insert(topic);
                self.heard_fork(topic, &bytes, peer);
            }
            Event::Access { topic, kind: super::twice::MARK, bytes } => self.heard_mark(topic, &bytes, peer),
            Event::WriterProved { topic, feed } => {
                self.watch.due.insert(topic);
                self.heard_proof(topic, feed);
            }
            Event::Access { topic, kind, bytes } => {
                self.watch.due.insert(topic);
                self.heard_access(topic, kind, &bytes);
            }
            Event::StateHash { topic, claim } => self.heard_claim(topic, claim),
            Event::Pong => {}
            Event::Done => self.heard_done = true,
            Event::Closed(reason) => self.closed(reason),
        }
    }

    /// More of what there is to say about a topic has come: its databases look again, and all when that was the last of it.
    fn tell_heard_of(&self, topic: TopicId, peer: &Peer) {
        if self.watch.awaits_nothing() {
            return self.tell_progress(peer);
        }
        let Some(shared) = &self.shared else { return };
        for open in self.databases_of_topic(topic, peer) {
            shared.board.send(open.id, &crate::db::events::Event::Progress);
        }
    }

    /// Nothing was committed, and yet all that was announced may be here now: whoever waits for that looks again.
    pub(super) fn tell_progress(&self, peer: &Peer) {
        let Some(shared) = &self.shared else { return };
        for open in self.databases(peer) {
            shared.board.send(open.id, &crate::db::events::Event::Progress);
        }
    }

    fn closed(&mut self, reason: CloseReason) {
        let error = match reason {
            CloseReason::Finished | CloseReason::ShuttingDown => return self.push(PeerEvent::Closed),
            CloseReason::Auth => {
                Error::new(Code::Auth, "the other side does not have this database, or its key differs")
            }
            CloseReason::VersionMismatch => Error::new(
                Code::VersionMismatch,
                "the other side speaks another protocol version: update the older one",
            ),
            CloseReason::ClientMismatch => {
                Error::new(Code::ClientMismatch, "the other side is another kind of program")
            }
            CloseReason::Timeout => Error::new(Code::Timeout, "the other side waited too long"),
            CloseReason::Busy => Error::new(
                Code::Protocol,
                "the other side has no room for more on this connection: connect again, a new one begins anew",
            ),
            CloseReason::Protocol | CloseReason::Other(_) => {
                Error::new(Code::Protocol, format!("the other side ended the connection: {reason:?}"))
            }
        };
        self.fail(error);
    }

    /// Everything was shown. A connection for one database that the other side does not have is over.
    fn shown(&mut self, opened: usize, is_all: bool, peer: &Peer) {
        self.heard_round();
        self.offer_feeds_apart(peer);
        if !is_all || self.is_asking() {
            return;
        }
        if !std::mem::replace(&mut self.shown_all, true) || self.session.owes_end() {
            // The responder does not conclude anything before it hears this.
            let _ = self.session.end_show();
        }
        // Of every topic that is open the first vector is awaited by itself.
        self.heard_all_rounds(peer);
        // One that has it and closes it goes on being waited for.
        if opened == 0
            && !self.session.has_opened()
            && peer.0.scope.read().is_some()
            && self.session.role() == Role::Initiator
        {
            self.session.finish(CloseReason::Auth);
            self.fail(Error::new(
                Code::Auth,
                "the other side does not have this database, or its key differs",
            ));
        }
    }

    /// Databases this connection may speak of.
    pub(super) fn databases(&self, peer: &Peer) -> Vec<Arc<OpenDatabase>> {
        let Some(shared) = &self.shared else { return Vec::new() };
        let databases = shared.board.databases.read();
        let raw = Some(&shared.board.raw).filter(|raw| peer.is_for(raw.id) && !raw.feeds.read().is_empty());
        databases.values().filter(|open| peer.is_for(open.id)).chain(raw).cloned().collect()
    }

    /// Both sides have it: says what is here, but for own feeds, whose state elsewhere is heard first.
    fn open_topic(&mut self, id: TopicId, topic: Topic, peer: &Peer) {
        if self.may_be_awaited(&topic) {
            peer.0.unheard.store(true, Ordering::Release);
        }
        self.watch_topic(
            id,
            Shown {
                topic,
                news: BTreeSet::new(),
                mark: None,
                heard: false,
                heard_own: false,
                said_own: false,
                forks: None,
                access: None,
                relaying: None,
                compared: super::compare::Compared::default(),
            },
            peer,
        );
        self.take_back_feeds(&topic, peer);
        self.say_mark(id);
        // Whoever does not know a fork yet would take the branches' names for feeds.
        self.say_forks(id, peer);
        self.say_growth(id, peer);
        // The announcement ends the first vector, also an empty one.
        let _ = self.session.announce(id, &[], true);
    }

    /// A feed that an open topic lets this side speak of.
    pub(super) fn topic_feed(&self, id: TopicId, feed: &FeedKey, peer: &Peer) -> Option<PublishedFeed> {
        let databases = self.databases_of_topic(id, peer);
        databases.iter().find_map(|open| open.feeds.read().get(feed).cloned())
    }

    fn heard_all(&mut self, topic: TopicId, peer: &Peer) {
        if let Some(shown) = self.topics.get_mut(&topic) {
            shown.heard = true;
            self.watch.unvectored.remove(&topic);
        }
        self.note_topic_said(topic, peer);
        if self.note_heard(peer) {
            self.push(PeerEvent::RemoteFeeds);
        }
    }

    /// After anything has changed: offers, announces, pushes, fetches, and finds out whether all is done.
    pub(super) fn refresh(&mut self, peer: &Peer) {
        if self.shared.is_none() || self.session.is_closed() {
            return;
        }
        self.look(peer);
        self.offer_feeds_apart(peer);
        if self.topics.is_empty() {
            // Nothing is shared, or no longer: what was claimed is claimed no more.
            self.sort_touched(peer);
            self.note_claims(peer);
            return self.check_synced(peer);
        }
        self.meet_kept(peer);
        self.sort_touched(peer);
        self.note_claims(peer);
        self.allow_own(peer);
        for id in std::mem::take(&mut self.watch.due) {
            self.take_early_forks(id, peer);
            self.say_forks(id, peer);
            self.say_growth(id, peer);
            self.say_own_said(id, peer);
            self.talk_access(id, peer);
            self.talk_relay(id, peer);
        }
        self.fetch(peer);
        self.ask_wanted(peer);
        self.check_synced(peer);
    }

    /// Announces what is new of a topic's feeds, pushes what has grown to whoever has all before it, and tells others how
    /// long it is now. Own feeds only if they are allowed.
    pub(super) fn say_growth(&mut self, id: TopicId, peer: &Peer) {
        let databases = self.databases_of_topic(id, peer);
        let Some(shown) = self.topics.get_mut(&id) else { return };
        let mut later = BTreeSet::new();
        let (mut new, mut grown) = (Vec::new(), Vec::new());
        for key in std::mem::take(&mut shown.news) {
            self.watch.looked += 1;
            let feed = databases.iter().find_map(|open| open.feeds.read().get(&key).cloned());
            let Some(feed) = feed else { continue };
            if feed.writable && !self.own_allowed {
                later.insert(key);
                continue;
            }
            let length = feed.offered();
            match self.spoken.said(id, &key) {
                None if length > 0 => {
                    self.spoken.say(id, key, length);
                    self.remote.entry(key).or_default().tell(length, &feed);
                    new.extend(state_of(key, &feed));
                }
                Some(said) if length > said => grown.push((key, said, feed)),
                _ => {}
            }
        }
        if !new.is_empty()
            && let Err(CommandError::TooMany { what, limit }) = self.session.announce(id, &new, false)
        {
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

    /// What cannot be named is not kept silent about: the other side would take it that it has all. A connection that
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

    /// Whether everything announced (of one database, or of all) is here and in the order.
    pub(super) fn has_delivered(&mut self, database: Option<u32>, peer: &Peer) -> bool {
        self.has_all(database, peer, PublishedFeed::is_up_to)
    }

    /// Whether no more topics will open for what is here now.
    pub(super) fn is_all_shown(&self) -> bool {
        (self.shown_all && !self.session.is_showing()) || self.heard_done
    }

    pub(super) fn check_synced(&mut self, peer: &Peer) {
        self.tell_synced(peer);
        if self.was_synced && peer.0.live {
            return;
        }
        let (shared, is_all) = (!self.topics.is_empty(), self.is_all_shown());
        if shared && is_all && !self.was_synced && self.has_delivered(None, peer) {
            self.was_synced = true;
            self.push(PeerEvent::Synced);
        }
        // What waits for a third device does not hold up the end: this connection has brought what it could. If nothing is
        // shared, and all was shown, there is nothing to bring.
        let all = !shared || self.has_all(None, peer, PublishedFeed::has);
        // After that word nothing may be asked for.
        let may_be_done = all && is_all && self.asks.is_empty() && !peer.0.live && !self.said_done;
        if may_be_done && self.topics.values().all(|shown| shown.said_own) {
            self.said_done = true;
            let _ = self.session.done();
        }
        let idle = self.serving.is_empty() && self.unverified == 0;
        if self.said_done && self.heard_done && idle && !self.finished {
            self.finished = true;
            self.push(PeerEvent::Finished);
        }
    }
}

/// What is announced of a feed.
pub(super) fn state_of(key: FeedKey, feed: &PublishedFeed) -> Option<FeedState> {
    let (length, root) = feed.shown().filter(|(length, _)| *length > 0)?;
    let [root @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = root;
    Some(FeedState { feed: key, length, root, signed: feed.tip.max(length) })
}
