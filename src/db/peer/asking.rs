//! **What.** Whether the other side was asked about all that is offered to it: until it has said which of that it has, it
//! may have more of an own feed than is here (`docs/design.md`, 6a).
//!
//! **Owns.** The flag `fresh` of a connection, which other connections read.
//!
//! **Invariants.** 1. A connection is fresh from its beginning, and again whenever something that may be about an own feed
//! is offered for the first time while it is open, until the other side has answered for it, or [`OWN_FEED_PATIENCE`] ticks
//! have passed. What is offered again because the other side withdrew something was asked about: it could do that in a
//! loop. What was closed here and is opened again is new. 2. What did not answer in that time is not waited for again before it answers.
//!
//! *When the responder knows.* It asks with a Nudge; the initiator shows all that is not open again, and says with a Show of
//! nothing that this was all. The first Show after a Nudge may have been on its way before: then nothing is known yet. There
//! is one on its way at most, so the second one came after. Where the first is the last, the Nudge is said once more.
//!
//! **Not here.** What becomes of what the other side has (`own`), what is offered (`watch`).

use super::{OWN_FEED_PATIENCE, Peer, State};
use crate::db::raw::RAW;
use crate::wire::{Role, Topic, TopicKind};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// What is known of whether the other side was asked.
pub(super) struct Asking {
    /// What is waited for.
    waits: Option<Awaited>,
    /// It did not answer in time, and has not since.
    is_silent: bool,
    /// What it was asked about, for as long as it is held here.
    about: BTreeSet<Topic>,
}

struct Awaited {
    /// The tick until which.
    until: u32,
    /// Shows that have come since, or rounds of ours that were answered; and how many there have to be.
    heard: u32,
    due: u32,
}

impl Default for Asking {
    fn default() -> Self {
        let waits = Some(Awaited { until: OWN_FEED_PATIENCE, heard: 0, due: 1 });
        Self { waits, is_silent: false, about: BTreeSet::new() }
    }
}

impl Asking {
    /// It is not held here any more.
    pub fn forget(&mut self, topic: &Topic) {
        self.about.remove(topic);
    }

    #[cfg(test)]
    pub fn is_about_nothing(&self) -> bool {
        self.about.is_empty()
    }
}

impl State {
    /// Topics are offered: if one may be about an own feed, the other side may have more of that.
    pub(super) fn ask_about(&mut self, topics: &[Topic], peer: &Peer) {
        if self.asking.is_silent {
            return;
        }
        let is_news = |topic: &Topic| !self.asking.about.contains(topic) && self.may_be_own(topic, peer);
        let news: Vec<Topic> = topics.iter().filter(|topic| is_news(topic)).copied().collect();
        if news.is_empty() {
            return;
        }
        self.asking.about.extend(news);
        if self.session.remote().is_none() {
            // It is waited for from the beginning on.
            return;
        }
        let until = self.ticks.saturating_add(OWN_FEED_PATIENCE);
        // Who has said nothing since it was asked for something else has no more time for this.
        let until =
            self.asking.waits.as_ref().filter(|waits| waits.heard == 0).map_or(until, |waits| waits.until);
        let may_have_crossed = self.session.role() == Role::Responder && self.session.was_shown();
        self.asking.waits = Some(Awaited { until, heard: 0, due: if may_have_crossed { 2 } else { 1 } });
        peer.0.fresh.store(true, Ordering::Release);
    }

    fn may_be_own(&self, topic: &Topic, peer: &Peer) -> bool {
        // Whether a feed that is open by itself is an own one may not be published yet.
        topic.kind == TopicKind::Database
            || self.holders(&topic.key, peer).iter().any(|open| {
                open.id == RAW || open.feeds.read().get(&topic.key).is_some_and(|feed| feed.writable)
            })
    }

    /// A round of showing is over.
    pub(super) fn heard_round(&mut self) {
        if let Some(waits) = &mut self.asking.waits {
            waits.heard = waits.heard.saturating_add(1);
        }
    }

    /// All that the initiator offers was shown.
    pub(super) fn heard_all_rounds(&mut self, peer: &Peer) {
        self.asking.is_silent = false;
        if self.asking.waits.as_ref().is_some_and(|waits| waits.heard < waits.due) {
            // It may have been said before what is offered here was.
            let _ = self.session.nudge();
            return;
        }
        self.is_answered_all(peer);
        self.nothing_more_opens();
    }

    /// A tick has passed.
    pub(super) fn wait_for_answer(&mut self, peer: &Peer) {
        if self.asking.waits.as_ref().is_some_and(|waits| waits.until <= self.ticks) {
            self.asking.is_silent = self.session.remote().is_some();
            self.is_answered_all(peer);
        }
    }

    fn is_answered_all(&mut self, peer: &Peer) {
        self.asking.waits = None;
        self.is_heard_news |= peer.0.fresh.swap(false, Ordering::AcqRel);
    }
}
