//! Each feed of a database: how far it has come, and why no further.

use super::reason::{Reason, Why};
use super::{FeedStatus, MAX_STRANGERS, SyncStatus};
use crate::db::access::Access;
use crate::db::board::PublishedFeed;
use crate::db::database::Inner;
use crate::db::peer::{Idle, PeerFeed, PeerStatus};
use crate::db::rows::Halt;
use crate::types::FeedKey;
use std::collections::BTreeMap;

/// What all connections say of one feed.
#[derive(Default)]
struct Elsewhere {
    most: u64,
    moving: bool,
    /// Connections that announce more than is here, and why each does not bring it.
    holders: Vec<(u64, Option<Idle>)>,
}

impl Elsewhere {
    fn take(&mut self, peer: u64, feed: &PeerFeed, have: u64) {
        self.most = self.most.max(feed.theirs);
        self.moving |= feed.is_moving();
        if feed.theirs > have {
            self.holders.push((peer, feed.idle));
        }
    }
}

pub(super) fn status(inner: &Inner, arrived: bool, peers: Vec<PeerStatus>) -> SyncStatus {
    let feeds: BTreeMap<FeedKey, PublishedFeed> = BTreeMap::clone(&inner.open.feeds.read());
    let mut elsewhere: BTreeMap<FeedKey, Elsewhere> = BTreeMap::new();
    for peer in &peers {
        for feed in &peer.feeds {
            let have = feeds.get(&feed.key).map_or(0, |here| here.length);
            elsewhere.entry(feed.key).or_default().take(peer.id, feed, have);
        }
    }
    let mut linked: BTreeMap<FeedKey, u64> = BTreeMap::new();
    let waiting = feeds.values().filter(|feed| feed.placed < feed.length);
    for (on, length) in waiting.filter_map(|feed| feed.waits) {
        let most = linked.entry(on).or_default();
        *most = length.max(*most);
    }
    let local = inner.open.local();
    let access = inner.open.access.lock().access();
    let disk = super::disk(&inner.shared);
    let nobody = Elsewhere::default();
    let mut listed: Vec<FeedStatus> = Vec::new();
    // A branch of a forked feed is nobody's feed: what counts of it shows in that feed.
    for (key, here) in feeds.iter().filter(|(_, feed)| feed.halt != Halt::Branch) {
        let there = elsewhere.get(key).unwrap_or(&nobody);
        let is_relay = inner.open.info.relay.is_some();
        let wanted_by_link = if here.until == u64::MAX || is_relay || here.stranger { 0 } else { here.until };
        let linked = linked.get(key).copied().unwrap_or(0).max(wanted_by_link);
        let want = here.tip.max(there.most).max(linked).max(here.length);
        let is_awaited = peers.iter().any(PeerStatus::may_share);
        let seen = Seen { key: *key, here, there, want, peers: peers.len(), is_awaited };
        let mut reason = seen.reason(&feeds);
        if is_relay && here.length >= here.until && here.length < want {
            let what = format!(
                "this relay keeps {} of {want} blocks of {key}: its limits allow no more",
                here.length
            );
            reason = Some(seen.because(Why::RelayFull, what));
        }
        if reason.is_none() && *key == local && !is_relay {
            reason = seen.own_reason(inner, access);
        }
        // Whatever else is the matter: what is missing cannot be stored.
        if here.length < want
            && let Some(disk) = &disk
        {
            reason = Some(disk.clone());
        }
        listed.push(FeedStatus {
            key: *key,
            have: here.length,
            placed: here.placed,
            want,
            writable: here.writable,
            reason,
        });
    }
    let strangers: Vec<_> =
        elsewhere.iter().filter(|(key, there)| !feeds.contains_key(*key) && there.most > 0).collect();
    let unlisted = strangers.len().saturating_sub(MAX_STRANGERS) as u64;
    listed.extend(
        strangers.into_iter().take(MAX_STRANGERS).map(|(key, there)| stranger(inner, *key, there.most)),
    );
    let gravest =
        listed.iter().filter_map(|feed| feed.reason.as_ref()).min_by_key(|reason| reason.why).cloned();
    let reason = disk.or(gravest);
    let is_connected = peers.iter().any(PeerStatus::shares);
    SyncStatus { synced: arrived && is_connected, feeds: listed, unlisted, peers, reason }
}

/// A feed that peers announce and that is none of the database's.
fn stranger(inner: &Inner, key: FeedKey, want: u64) -> FeedStatus {
    if inner.open.info.relay.is_some() {
        let message =
            format!("a peer has {want} blocks of {key}, and this relay has no room for another feed");
        let reason = Some(Reason::of(Why::RelayFull, key, message));
        return FeedStatus { key, have: 0, placed: 0, want, writable: false, reason };
    }
    let message = format!(
        "a peer has {want} blocks of {key}, whose writer nobody granted: they are not fetched. Let an indexer grant it \
         (addWriter), or merge it here alone (addPeer)"
    );
    let reason = Some(Reason::of(Why::NotGranted, key, message));
    FeedStatus { key, have: 0, placed: 0, want, writable: false, reason }
}

/// One feed, here and elsewhere.
struct Seen<'a> {
    key: FeedKey,
    here: &'a PublishedFeed,
    there: &'a Elsewhere,
    want: u64,
    peers: usize,
    /// One of them has the database, or may still say so.
    is_awaited: bool,
}

impl Seen<'_> {
    fn because(&self, why: Why, message: String) -> Reason {
        Reason::of(why, self.key, message)
    }

    fn reason(&self, feeds: &BTreeMap<FeedKey, PublishedFeed>) -> Option<Reason> {
        let Self { key, here, want, .. } = *self;
        if here.is_cautious() {
            let what = if here.unconfirmed {
                "this device's own feed is out of a backup: connect to a peer that had it, or, if nothing newer exists \
                 anywhere, call store.resume({ mine: true })"
                    .to_owned()
            } else {
                format!(
                    "this device once wrote {} blocks of its own feed and has {}: connect to a peer that has the rest",
                    here.tip, here.length
                )
            };
            return Some(self.because(Why::Restored, what));
        }
        if here.forked {
            let what = format!(
                "the key of {key} has signed two histories: one of them counts, and nothing else that it signs is \
                 taken. Its writer goes on with a new key"
            );
            return Some(self.because(Why::Forked, what));
        }
        match here.halt {
            Halt::Newer => {
                let what = format!(
                    "block {} of {key} is of a newer version of this package: update it here",
                    here.placed
                );
                return Some(self.because(Why::UpgradeNeeded, what));
            }
            Halt::Frozen => {
                let what = format!(
                    "block {} of {key} cannot be read by any version: its feed ends there",
                    here.placed
                );
                return Some(self.because(Why::Unreadable, what));
            }
            Halt::None | Halt::Branch => {}
        }
        if here.length < want {
            return self.missing();
        }
        if here.placed < here.length.min(here.until) {
            return self.waiting(feeds);
        }
        None
    }

    /// Blocks that are not here.
    fn missing(&self) -> Option<Reason> {
        let Self { key, here, there, want, peers, .. } = *self;
        if there.moving {
            return None;
        }
        if there.holders.is_empty() {
            let who = match peers {
                0 => "nobody is connected".to_owned(),
                1 => "the one connected peer does not have them".to_owned(),
                count => format!("none of {count} connected peers has them"),
            };
            let what = format!("blocks {} to {want} of {key} are missing, and {who}", here.length);
            return Some(self.because(Why::NoPeer, what));
        }
        // One that is about to bring it, or may be asked next, is no reason to complain of the others.
        let (peer, idle) = *there.holders.first()?;
        if there.holders.iter().any(|(_, idle)| idle.is_none()) {
            return None;
        }
        let (why, what) = match idle? {
            Idle::NotDownloading => {
                (Why::NotDownloading, "this side does not download over its connections (download: false)")
            }
            Idle::NotUploading => (Why::Choking, "the peer that has them does not upload"),
            Idle::Refused => (Why::Choking, "the peer that announced them refuses them"),
            Idle::Silent => (Why::Choking, "the peer that announced them has been asked and is silent"),
        };
        let what = format!("blocks {} to {want} of {key} are missing: {what}", here.length);
        let peer = (why == Why::Choking).then_some(peer);
        Some(Reason { peer, ..self.because(why, what) })
    }

    /// Blocks that are here and not in the view.
    fn waiting(&self, feeds: &BTreeMap<FeedKey, PublishedFeed>) -> Option<Reason> {
        let Self { key, here, .. } = *self;
        let (on, length) = here.waits?;
        if on == key {
            let what = format!(
                "the batch at block {} of {key} goes on to {length}, and {} are here",
                here.placed, here.length
            );
            return Some(self.because(Why::IncompleteBatch, what));
        }
        let held = feeds.get(&on).map_or(0, |feed| feed.length);
        let what = format!(
            "block {} of {key} builds on {length} blocks of writer {on}, of which {held} are here: connect to a peer \
             that has them",
            here.placed
        );
        Some(Reason { on: Some((on, length)), ..self.because(Why::WaitingForLink, what) })
    }

    /// The local feed, where all of it is here.
    fn own_reason(&self, inner: &Inner, access: Access) -> Option<Reason> {
        let Self { key, here, .. } = *self;
        let is_granted = here.granted || inner.open.info.open;
        let asked = match access {
            Access::Asked => Some("it has asked, and no indexer has heard it yet"),
            Access::Heard => Some("it has asked, and an indexer's user decides"),
            Access::NotAsked | Access::Refused(_) => None,
        };
        if !is_granted && (asked.is_some() || here.length > 0) {
            let how = asked.unwrap_or("ask with requestAccess()");
            let what =
                format!("this device's feed {key} is not granted, so what it writes does not count: {how}");
            return Some(self.because(Why::NotGranted, what));
        }
        if self.is_awaited && here.waits_to_leave() {
            let what =
                "own blocks leave once everybody connected has said what they have of the feed".to_owned();
            return Some(self.because(Why::HeldBack, what));
        }
        None
    }
}
