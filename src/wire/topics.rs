//! Which topics are offered here, which were shown, which are open.
//!
//! The initiator shows a proof of each topic it offers that is not open, so many at a time. The responder answers those it
//! offers too, with its own proof; each answered topic gets the next number, on both sides alike. What was shown and not
//! answered is shown again when the responder says that it offers more.

use super::capability::{capability, lookup_key, same};
use super::limits::{MAX_TOPICS, MAX_TOPICS_EVER, MAX_TOPICS_SHOWN, MAX_WRITER_PROOFS};
use super::message::Mac;
use super::{CommandError, ProtocolError, Role, Topic, TopicId, TopicKind};
use crate::types::FeedKey;
use std::collections::{BTreeMap, BTreeSet};

/// A topic that has a number.
#[derive(Debug)]
pub struct Opened {
    pub topic: Topic,
    /// Not withdrawn by either side.
    pub live: bool,
    /// This side's first vector has gone out in full.
    pub said_first: bool,
    /// The remote first vector is here in full.
    pub heard_first: bool,
    pub writer_proofs: u32,
}

#[derive(Debug, Default)]
struct Offered {
    open: Option<TopicId>,
    /// What the initiator shows for it, once computed: showing again, at every Nudge, costs next to nothing.
    capability: Option<Box<Mac>>,
}

/// Remote proofs of everything offered, by the beginnings of their tags under a secret key, in order.
#[derive(Debug)]
struct Expected {
    key: [u8; 32],
    tags: Vec<([u8; 8], Topic)>,
}

impl Expected {
    fn tag(key: &[u8; 32], mac: &Mac) -> [u8; 8] {
        let mut tag = [0; 8];
        blake3::Hasher::new_keyed(key).update(mac).finalize_xof().fill(&mut tag);
        tag
    }

    /// Topics that a proof may be of: who does not know the key makes no two tags alike.
    fn of(&self, mac: &Mac) -> impl Iterator<Item = &Topic> {
        let tag = Self::tag(&self.key, mac);
        let first = self.tags.partition_point(|(other, _)| *other < tag);
        self.tags.iter().skip(first).take_while(move |(other, _)| *other == tag).map(|(_, topic)| topic)
    }
}

#[derive(Debug)]
pub struct Topics {
    role: Role,
    handshake_hash: Vec<u8>,
    offered: BTreeMap<Topic, Offered>,
    opened: Vec<Opened>,
    /// Initiator: what the Show that waits for its Answer has shown, in its order.
    shown: Option<Vec<Topic>>,
    /// Initiator: what is to be shown.
    unshown: BTreeSet<Topic>,
    /// Initiator: everything that is not open is to be shown again, when what waits for its Answer has one: a Nudge costs
    /// its sender next to nothing.
    again: bool,
    /// Initiator: after the databases that are shown again, the feeds.
    again_feeds: bool,
    /// Responder: a Nudge is due.
    due: bool,
    /// Responder: remote proofs of everything offered. Rebuilt when the offer changes.
    expected: Option<Expected>,
}

/// A topic the initiator finds answered; `wanted` is false if it was withdrawn meanwhile.
pub struct Accepted {
    pub id: TopicId,
    pub topic: Topic,
    pub wanted: bool,
}

/// What the responder says to a Show, and what it opened.
pub struct Answered {
    pub proofs: Vec<(u64, Mac)>,
    pub opened: Vec<(TopicId, Topic)>,
    /// There are no numbers left for more.
    pub is_full: bool,
}

impl Topics {
    pub fn new(role: Role) -> Self {
        Self {
            role,
            handshake_hash: Vec::new(),
            offered: BTreeMap::new(),
            opened: Vec::new(),
            shown: None,
            unshown: BTreeSet::new(),
            again: false,
            again_feeds: false,
            due: false,
            expected: None,
        }
    }

    pub fn set_handshake_hash(&mut self, hash: Vec<u8>) {
        self.handshake_hash = hash;
        self.expected = None;
    }

    pub fn handshake_hash(&self) -> &[u8] {
        &self.handshake_hash
    }

    pub fn offer(&mut self, topics: &[Topic]) -> Result<(), CommandError> {
        let new = topics.iter().filter(|topic| !self.offered.contains_key(topic)).count();
        if self.offered.len() + new > MAX_TOPICS {
            return Err(CommandError::TooMany { what: "topics offered", limit: MAX_TOPICS });
        }
        for topic in topics {
            if !self.offered.contains_key(topic) {
                self.offered.insert(*topic, Offered::default());
                if self.role == Role::Initiator {
                    self.unshown.insert(*topic);
                }
            }
        }
        if new > 0 {
            self.due = true;
            self.expected = None;
        }
        Ok(())
    }

    /// No longer offered; the number it had, if it was open.
    pub fn withdraw(&mut self, topic: &Topic) -> Option<TopicId> {
        self.unshown.remove(topic);
        let offered = self.offered.remove(topic)?;
        self.expected = None;
        let id = offered.open?;
        self.close(id);
        Some(id)
    }

    /// The remote side gave topic `id` up: it goes on being offered here, and may open again under a new number.
    pub fn close(&mut self, id: TopicId) {
        if let Some(opened) = self.opened.get_mut(id.0 as usize) {
            opened.live = false;
            if let Some(offered) = self.offered.get_mut(&opened.topic).filter(|o| o.open == Some(id)) {
                offered.open = None;
            }
        }
    }

    /// Initiator: the other side offers more than before, so everything that is not open is shown again.
    pub fn nudged(&mut self) {
        self.again = true;
    }

    /// Initiator: takes in what is to be shown again, if no answer is awaited. Databases are shown first, and feeds once it
    /// is known which of those have opened: they may have become needless.
    pub fn renew(&mut self) {
        if self.shown.is_some() {
            return;
        }
        if std::mem::take(&mut self.again) {
            self.again_feeds = true;
            self.show_again(TopicKind::Database);
        }
        let has_database = self.unshown.first().is_some_and(|topic| topic.kind == TopicKind::Database);
        if !has_database && std::mem::take(&mut self.again_feeds) {
            self.show_again(TopicKind::Feed);
        }
    }

    fn show_again(&mut self, kind: TopicKind) {
        let not_open =
            self.offered.iter().filter(|(topic, offered)| topic.kind == kind && offered.open.is_none());
        self.unshown.extend(not_open.map(|(topic, _)| *topic));
    }

    /// A topic that is not open is offered no more.
    pub fn take_back(&mut self, topic: &Topic) {
        if self.offered.get(topic).is_some_and(|offered| offered.open.is_none()) {
            self.withdraw(topic);
        }
    }

    /// Whether a topic is offered here.
    pub fn offers(&self, topic: &Topic) -> bool {
        self.offered.contains_key(topic)
    }

    pub fn offered(&self) -> usize {
        self.offered.len()
    }

    /// Responder: whether a Nudge has to be sent, once.
    pub fn take_nudge(&mut self) -> bool {
        self.role == Role::Responder && std::mem::take(&mut self.due)
    }

    /// Initiator: the next Show, if there is something to show and no answer is awaited.
    pub fn next_show(&mut self) -> Option<Vec<Mac>> {
        if self.role == Role::Responder || self.shown.is_some() {
            return None;
        }
        self.renew();
        let mut shown = Vec::new();
        let mut macs = Vec::new();
        while macs.len() < MAX_TOPICS_SHOWN
            && let Some(topic) = self.unshown.pop_first()
        {
            let Some(offered) = self.offered.get_mut(&topic).filter(|offered| offered.open.is_none()) else {
                continue;
            };
            let hash = &self.handshake_hash;
            let mac = || Box::new(capability(&topic, Role::Initiator, hash));
            macs.push(**offered.capability.get_or_insert_with(mac));
            shown.push(topic);
        }
        if shown.is_empty() {
            return None;
        }
        self.shown = Some(shown);
        Some(macs)
    }

    /// Initiator: a Show of nothing, if there is nothing to show and no answer is awaited.
    pub fn end_show(&mut self) -> bool {
        let may_end = self.role == Role::Initiator && !self.is_showing();
        if may_end {
            self.shown = Some(Vec::new());
        }
        may_end
    }

    /// Responder: which of the shown proofs are ours, our proofs for them, and the topics now open. The work depends
    /// on how much is shown and offered, not on what matches.
    pub fn answer(&mut self, shown: &[Mac]) -> Answered {
        // Whatever is offered by now is met by this Show: no Nudge for it.
        self.due = false;
        let expected = self.expected.take().unwrap_or_else(|| self.expect());
        let (mut proofs, mut opened, mut is_full) = (Vec::new(), Vec::new(), false);
        for (index, mac) in (0..).zip(shown) {
            let is_it = |topic: &&Topic| same(mac, &capability(topic, Role::Initiator, &self.handshake_hash));
            let Some(topic) = expected.of(mac).find(is_it) else { continue };
            let is_open = self.offered.get(topic).is_none_or(|offered| offered.open.is_some());
            if is_open {
                continue;
            }
            is_full |= self.opened.len() >= MAX_TOPICS_EVER;
            if let Some(id) = self.open(*topic) {
                proofs.push((index, capability(topic, Role::Responder, &self.handshake_hash)));
                opened.push((id, *topic));
            }
        }
        self.expected = Some(expected);
        Answered { proofs, opened, is_full }
    }

    fn expect(&self) -> Expected {
        let key = lookup_key(self.offered.keys(), &self.handshake_hash);
        let tagged = self.offered.keys().map(|topic| {
            let mac = capability(topic, Role::Initiator, &self.handshake_hash);
            (Expected::tag(&key, &mac), *topic)
        });
        let mut tags: Vec<_> = tagged.collect();
        tags.sort_unstable();
        Expected { key, tags }
    }

    fn open(&mut self, topic: Topic) -> Option<TopicId> {
        let id = TopicId(u32::try_from(self.opened.len()).ok()?);
        if self.opened.len() >= MAX_TOPICS_EVER {
            return None;
        }
        let opened = Opened { topic, live: true, said_first: false, heard_first: false, writer_proofs: 0 };
        self.opened.push(opened);
        self.unshown.remove(&topic);
        if let Some(offered) = self.offered.get_mut(&topic) {
            offered.open = Some(id);
            offered.capability = None;
        }
        Some(id)
    }

    /// Initiator: checks the answer to the last Show and opens what it proves.
    pub fn accept(&mut self, proofs: &[(u64, Mac)]) -> Result<Vec<Accepted>, ProtocolError> {
        let shown = self.shown.take().ok_or(ProtocolError::Unasked { message: "Answer" })?;
        let mut accepted = Vec::with_capacity(proofs.len());
        let mut least = 0;
        for (index, mac) in proofs {
            let place = usize::try_from(*index).ok().filter(|_| *index >= least);
            let topic = place.and_then(|place| shown.get(place));
            let topic = *topic.ok_or(ProtocolError::Unasked { message: "a proof in Answer" })?;
            least = index + 1;
            if !same(mac, &capability(&topic, Role::Responder, &self.handshake_hash)) {
                return Err(ProtocolError::Auth);
            }
            let id = self
                .open(topic)
                .ok_or(ProtocolError::TooMany { what: "topics ever opened", limit: MAX_TOPICS_EVER })?;
            let wanted = self.offered.contains_key(&topic);
            if !wanted {
                self.close(id);
            }
            accepted.push(Accepted { id, topic, wanted });
        }
        Ok(accepted)
    }

    /// Initiator: whether something is yet to be shown, or answered.
    pub fn is_showing(&self) -> bool {
        !self.unshown.is_empty() || self.shown.is_some() || self.again || self.again_feeds
    }

    /// Whether any topic was ever proved here.
    pub fn proved(&self) -> bool {
        !self.opened.is_empty()
    }

    #[cfg(test)]
    pub fn opened(&self) -> usize {
        self.opened.len()
    }

    #[cfg(test)]
    pub fn spend(&mut self, opened: Opened) {
        self.opened.push(opened);
    }

    /// A topic by the number in a message. One that was withdrawn is still known: messages about it may cross.
    pub fn known(&mut self, topic: u64) -> Result<(TopicId, &mut Opened), ProtocolError> {
        let unknown = ProtocolError::UnknownTopic { topic };
        let Ok(id) = u32::try_from(topic) else { return Err(unknown) };
        match self.opened.get_mut(id as usize) {
            Some(opened) => Ok((TopicId(id), opened)),
            None => Err(unknown),
        }
    }

    /// A topic this side may speak about.
    pub fn live(&mut self, topic: TopicId) -> Result<&mut Opened, CommandError> {
        self.opened
            .get_mut(topic.0 as usize)
            .filter(|opened| opened.live)
            .ok_or(CommandError::TopicNotOpen { topic })
    }
}

impl Opened {
    /// On a feed's own topic that feed alone may be spoken of.
    pub fn admits(&self, feed: &FeedKey) -> bool {
        self.topic.kind == TopicKind::Database || self.topic.key == *feed
    }

    pub fn count_writer_proof(&mut self) -> Result<(), ProtocolError> {
        self.writer_proofs += 1;
        if self.writer_proofs > MAX_WRITER_PROOFS {
            let limit = MAX_WRITER_PROOFS as usize;
            return Err(ProtocolError::TooMany { what: "writer proofs on one topic", limit });
        }
        Ok(())
    }
}
