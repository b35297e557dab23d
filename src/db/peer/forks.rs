//! Proofs of forks, from whoever has one to whoever has the feed.

use super::{Peer, State};
use crate::codec::{DecodeError, Reader};
use crate::db::error::{Code, Error};
use crate::feed;
use crate::merkle::Parting;
use crate::types::FeedKey;
use crate::wire::{CloseReason, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// Proofs kept of feeds that are not known here yet, for each topic: bounds what made-up ones can fill.
const MAX_EARLY_FORKS: usize = 64;

/// The message that shows a fork of a feed of the topic: `feed 32 ‖ parting`.
pub(super) const FORK: u8 = 3;

/// What was said of forks on a topic.
#[derive(Default)]
pub(super) struct Forks {
    /// Feeds whose fork was shown on it, or by the other side.
    told: BTreeSet<FeedKey>,
    /// Those whose fork could not be read when it was to be shown.
    untold: BTreeSet<FeedKey>,
    /// Proofs of forks of feeds that are not known here yet.
    early: BTreeMap<FeedKey, Parting>,
}

fn encode(feed: &FeedKey, parting: &Parting) -> Vec<u8> {
    let mut out = feed.as_bytes().to_vec();
    parting.encode_into(&mut out);
    out
}

fn decode(bytes: &[u8]) -> Result<(FeedKey, Parting), DecodeError> {
    let mut reader = Reader::new(bytes);
    let feed = FeedKey(reader.array("a forked feed")?);
    let parting = Parting::decode(&mut reader)?;
    reader.finish("a fork").map(|()| (feed, parting))
}

impl State {
    /// Shows each fork of a feed of the topic once.
    pub(super) fn say_forks(&mut self, id: TopicId, peer: &Peer) {
        let databases = self.databases_of_topic(id, peer);
        let Some(shown) = self.topics.get(&id) else { return };
        let none = Forks::default();
        let forks = shown.forks.as_deref().unwrap_or(&none);
        let is_forked = |key: &FeedKey| {
            databases.iter().any(|open| open.feeds.read().get(key).is_some_and(|feed| feed.forked))
        };
        let untold = shown.news.iter().filter(|key| !forks.told.contains(*key));
        let mut forked: BTreeSet<FeedKey> = untold.filter(|key| is_forked(key)).copied().collect();
        forked.extend(forks.untold.iter().filter(|key| !forks.told.contains(*key)));
        let Some(shared) = self.shared.as_ref().filter(|_| !forked.is_empty()) else { return };
        let Ok(txn) = shared.read() else {
            // The news are taken by who says lengths; these are shown at the next occasion.
            if let Some(shown) = self.topics.get_mut(&id) {
                shown.forks.get_or_insert_default().untold.append(&mut forked);
            }
            return;
        };
        if let Some(shown) = self.topics.get_mut(&id) {
            shown.forks.get_or_insert_default().untold.clear();
        }
        for key in forked {
            if let Some(shown) = self.topics.get_mut(&id) {
                shown.forks.get_or_insert_default().told.insert(key);
            }
            // A row that cannot be read is reported by whoever reads the feed.
            if let Ok(Some(parting)) = feed::load_parting(&txn, &key) {
                let _ = self.session.access(id, FORK, &encode(&key, &parting));
            }
        }
    }

    /// A fork that is not known here is checked, kept and shown on. One proof per feed is looked at: checking costs two
    /// signatures.
    pub(super) fn heard_fork(&mut self, id: TopicId, bytes: &[u8], peer: &Peer) {
        let (key, parting) = match decode(bytes) {
            Ok(found) => found,
            Err(error) => return self.broke_off(CloseReason::Protocol, no_fork(&error.to_string())),
        };
        let here = self.topic_feed(id, &key, peer);
        let Some(shown) = self.topics.get_mut(&id) else { return };
        match here {
            None => {
                let early = &mut shown.forks.get_or_insert_default().early;
                if early.len() < MAX_EARLY_FORKS {
                    early.insert(key, parting);
                }
            }
            Some(feed) if !feed.forked => self.look_at_fork(id, key, parting, peer),
            _ => {}
        }
    }

    /// What was shown before its feed was known.
    pub(super) fn take_early_forks(&mut self, id: TopicId, peer: &Peer) {
        let Some(forks) = self.topics.get(&id).and_then(|shown| shown.forks.as_ref()) else { return };
        let mut known: Vec<FeedKey> = forks.early.keys().copied().collect();
        known.retain(|key| self.topic_feed(id, key, peer).is_some());
        for key in known {
            let forks = self.topics.get_mut(&id).and_then(|shown| shown.forks.as_mut());
            let early = forks.and_then(|forks| forks.early.remove(&key));
            if let Some(parting) = early {
                self.look_at_fork(id, key, parting, peer);
            }
        }
    }

    fn look_at_fork(&mut self, id: TopicId, key: FeedKey, parting: Parting, peer: &Peer) {
        let Some(shown) = self.topics.get_mut(&id) else { return };
        if !shown.forks.get_or_insert_default().told.insert(key) {
            return;
        }
        let Some(shared) = &self.shared else { return };
        shared.windowed_job(
            move |work| work.hear_fork(key, &parting),
            peer.clone(),
            |peer, result| {
                let (reason, error) = match result {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => (CloseReason::Protocol, no_fork(&error.to_string())),
                    // Ours, and not the sender's doing.
                    Err(error) => (CloseReason::ShuttingDown, error),
                };
                peer.with_state(|state, _| state.broke_off(reason, error));
                peer.leave();
            },
        );
    }

    /// The names of branches whose feeds are not known here yet.
    pub(super) fn early_branches(&self, id: TopicId) -> BTreeSet<FeedKey> {
        let forks = self.topics.get(&id).and_then(|shown| shown.forks.as_ref());
        let early = forks.into_iter().flat_map(|forks| &forks.early);
        early.flat_map(|(key, parting)| feed::branches(key, parting)).collect()
    }

    fn broke_off(&mut self, reason: CloseReason, error: Error) {
        self.session.finish(reason);
        self.fail(error);
    }
}

fn no_fork(why: &str) -> Error {
    Error::new(Code::Protocol, format!("the other side showed a fork that is none: {why}"))
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use crate::feed::Seed;
    use crate::merkle::{Head, Node, Parting, Roots, Side};

    #[test]
    fn golden_bytes_and_every_truncation_fails() {
        let key = Seed::new([1; 32]);
        let side = |block: &[u8]| {
            let leaf = Node::leaf(block);
            let mut roots = Roots::new();
            roots.push(leaf, |_, _, _| ());
            Side { head: Head::sign(&key.signing_key(), &roots), leaf, after: Vec::new() }
        };
        let parting = Parting { common: 0, roots: Vec::new(), sides: [side(b"a"), side(b"b")] };
        assert_eq!(parting.verify(&key.feed()), Ok(()));
        let bytes = encode(&key.feed(), &parting);
        let side = |Side { head, leaf, .. }: &Side| {
            let [root, signature, hash] =
                [head.root.to_vec(), head.signature.to_vec(), leaf.hash.to_vec()].map(hex::encode);
            format!("{one}{one}{root}{signature}{one}{hash}", one = "0000000000000001")
        };
        let feed = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
        let [a, b] = &parting.sides;
        assert_eq!(hex::encode(&bytes), format!("{feed}00{}{}", side(a), side(b)));
        assert_eq!(decode(&bytes), Ok((key.feed(), parting)));
        assert!((0..bytes.len()).all(|cut| decode(&bytes[..cut]).is_err()));
        assert!(decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    }
}
