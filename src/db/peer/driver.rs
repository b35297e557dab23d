//! **What.** What the session's events do, and what is done after any of them, or after anything has changed here.
//!
//! **Owns.** The order: what is said, asked and concluded follows from one place, [`State::refresh`].
//!
//! **Invariants.** 1. Events are taken in order, all of them, before anything follows from them. 2. Nothing is said about a
//! topic before its forks are, which tell what the names of its feeds are.
//!
//! **Not here.** What is said of feeds (`growth`, `own`), what is asked for (`fetch`, `apart`), when all is here (`delivered`).

use super::{Peer, PeerEvent, Shown, State};
use crate::db::board::{OpenDatabase, PublishedFeed};
use crate::db::error::{Code, Error};
use crate::types::FeedKey;
use crate::wire::{CloseReason, Event, RequestId, Role, Topic, TopicId};
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
}
