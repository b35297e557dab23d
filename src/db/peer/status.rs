//! What a connection is doing, for those who look.

use super::remote::RemoteFeed;
use super::{Peer, State};
use crate::db::board::OpenDatabase;
use crate::types::FeedKey;
use crate::wire::TopicKind;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

/// Ticks (seconds) over which a rate is taken.
const RATE_TICKS: usize = 4;

/// What one connection does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says one thing of a connection, independent of the others"
)]
pub struct PeerStatus {
    /// The connection's number in its store.
    pub id: u64,
    /// The other side has said who it is.
    pub open: bool,
    /// All that was announced over it is here and applied.
    pub synced: bool,
    /// Bytes since it began.
    pub received: u64,
    pub sent: u64,
    /// Bytes a second, over the last seconds.
    pub download_rate: u64,
    pub upload_rate: u64,
    /// Bytes of blocks that have come and are not stored yet.
    pub unstored: u64,
    /// Whether it was asked for something and has been silent since for long.
    pub silent: bool,
    pub feeds: Vec<PeerFeed>,
    /// Feeds looked at so far, because something of them, or of what the connection is about, had changed.
    pub looked: u64,
    /// Something of the database is shared over it.
    shared: bool,
    /// The other side may still say that it has the database.
    fresh: bool,
}

/// What one connection does with one feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerFeed {
    pub key: FeedKey,
    /// Blocks it was told are here.
    pub ours: u64,
    /// Blocks it says it has.
    pub theirs: u64,
    /// Blocks asked for that have not come: from, to (exclusive).
    pub asked: Option<(u64, u64)>,
    /// Blocks still to be sent to it.
    pub sending: Option<(u64, u64)>,
    /// Blocks that have come, and that were sent.
    pub received: u64,
    pub sent: u64,
    /// Why nothing is asked for, or comes, of what it has more.
    pub idle: Option<Idle>,
    storing: bool,
}

/// Why a peer that has more does not bring it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    NotDownloading,
    NotUploading,
    Refused,
    Silent,
}

impl PeerFeed {
    /// Blocks are on their way.
    pub(in crate::db) fn is_moving(&self) -> bool {
        self.storing || (self.asked.is_some() && self.idle.is_none())
    }
}

impl PeerStatus {
    pub(in crate::db) fn shares(&self) -> bool {
        self.shared
    }

    pub(in crate::db) fn may_share(&self) -> bool {
        self.shared || self.fresh
    }
}

/// Bytes that pass, by tick.
#[derive(Default)]
pub(super) struct Meter {
    pub total: u64,
    /// What had passed at the last ticks, one more than there are seconds between them.
    marks: [u64; RATE_TICKS + 1],
    at: usize,
}

impl Meter {
    pub fn count(&mut self, bytes: usize) {
        self.total = self.total.saturating_add(bytes as u64);
    }

    /// A second has passed; whether the rate is another now.
    pub fn tick(&mut self) -> bool {
        let before = self.rate();
        if let Some(mark) = self.marks.get_mut(self.at) {
            *mark = self.total;
        }
        self.at = (self.at + 1) % self.marks.len();
        self.rate() != before
    }

    /// Bytes a second over the last ticks.
    pub fn rate(&self) -> u64 {
        let oldest = self.marks.get(self.at).copied().unwrap_or(0);
        self.total.saturating_sub(oldest) / RATE_TICKS as u64
    }
}

impl Peer {
    /// What this connection does, with the feeds of one database or with all of them.
    pub(in crate::db) fn status(&self, of: Option<&OpenDatabase>) -> PeerStatus {
        self.0.state.lock().status(of, self)
    }
}

impl State {
    fn status(&mut self, of: Option<&OpenDatabase>, peer: &Peer) -> PeerStatus {
        let is_full = of.map_or(!self.full.is_empty(), |open| self.is_full_of(open));
        let synced = !self.topics.is_empty() && !is_full && self.has_delivered(of.map(|open| open.id), peer);
        let is_for = of.is_none_or(|open| peer.is_for(open.id));
        let keys = if is_for { self.feeds_shown(of) } else { BTreeSet::new() };
        let mut sending: BTreeMap<FeedKey, (u64, u64)> = BTreeMap::new();
        for serving in &self.serving {
            let span = sending.entry(serving.feed).or_insert((serving.next, serving.end));
            *span = (span.0.min(serving.next), span.1.max(serving.end));
        }
        let mut ours: BTreeMap<FeedKey, u64> = BTreeMap::new();
        for (_, key, length) in self.spoken.all_said() {
            let most = ours.entry(*key).or_default();
            *most = length.max(*most);
        }
        let nothing = RemoteFeed::default();
        let feed = |key: FeedKey| {
            let remote = self.remote.get(&key).map_or(&nothing, |remote| &**remote);
            PeerFeed {
                key,
                ours: ours.get(&key).copied().unwrap_or(0),
                theirs: remote.announced.max(remote.length),
                asked: remote.inflight.asked(),
                sending: sending.get(&key).copied(),
                received: remote.received_blocks,
                sent: remote.sent_blocks,
                idle: self.idle(remote),
                storing: remote.inflight.is_storing(),
            }
        };
        PeerStatus {
            id: peer.0.id,
            open: self.session.remote().is_some(),
            synced,
            received: self.received.total,
            sent: self.sent.total,
            download_rate: self.received.rate(),
            upload_rate: self.sent.rate(),
            unstored: self.unverified as u64,
            silent: self.stalled,
            looked: self.watch.looked,
            shared: !keys.is_empty() || (is_for && self.shares(of)),
            fresh: is_for && peer.0.fresh.load(Ordering::Acquire),
            feeds: keys.into_iter().map(feed).collect(),
        }
    }

    /// Whether a topic of the database is open.
    fn shares(&self, of: Option<&OpenDatabase>) -> bool {
        let is_open = |kind, key| self.topic_of(kind, key).is_some();
        of.map_or(!self.topics.is_empty(), |open| {
            is_open(TopicKind::Database, open.info.key) || is_open(TopicKind::Feed, open.info.key)
        })
    }

    /// Feeds that this side or the other has announced on the database's topics.
    fn feeds_shown(&self, of: Option<&OpenDatabase>) -> BTreeSet<FeedKey> {
        let members = of.map(|open| open.feeds.read().keys().copied().collect::<BTreeSet<_>>());
        let of_topic = of.and_then(|open| self.topic_of(TopicKind::Database, open.info.key));
        let is_member = |key: &FeedKey| members.as_ref().is_none_or(|members| members.contains(key));
        let said = self.spoken.all_said().map(|(topic, key, _)| (topic, key));
        let shown = said.chain(self.spoken.all_announced());
        let of_it = shown.filter(|(topic, key)| of_topic == Some(*topic) || is_member(key));
        of_it.map(|(_, key)| *key).collect()
    }

    fn idle(&self, remote: &RemoteFeed) -> Option<Idle> {
        let theirs = self.session.remote()?;
        if !self.downloads {
            Some(Idle::NotDownloading)
        } else if !theirs.upload {
            Some(Idle::NotUploading)
        } else if remote.announced > remote.length {
            Some(Idle::Refused)
        } else if self.stalled {
            Some(Idle::Silent)
        } else {
            None
        }
    }

    /// A second has passed: whoever shows rates looks again if they are others now.
    pub(super) fn measure(&mut self, peer: &Peer) {
        let [received, sent] = [self.received.tick(), self.sent.tick()];
        if received || sent {
            self.tell_progress(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Meter, RATE_TICKS};

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let mut meter = Meter::default();
        for _ in 0..20 {
            meter.count(1_000);
            meter.tick();
        }
        assert_eq!(meter.rate(), 1_000);
        let changes = (0..RATE_TICKS + 5).filter(|_| meter.tick()).count();
        assert_eq!((meter.rate(), meter.total), (0, 20_000));
        assert_eq!(changes, RATE_TICKS);
    }
}
