//! Several connections between the same two devices: what is new goes over one of them.
//!
//! Each side says, on each topic, a mark that is its own for as long as its store is open, and another for each topic: who
//! hears the same one on two connections knows that both lead to one store, and learns nothing else. It is a public key, and
//! said with a signature over the connection: nobody can pass on another's, and so get what is pushed to that one. Of the
//! connections that lead to one, the *first* is that whose name (made of the handshake) is the smallest: both sides see
//! the same, and it is the same for all topics. Blocks are pushed over the
//! first; over another the length is told, a tick later: if the first brings nothing, they are asked for there.

use super::{Peer, State};
use crate::db::error::{Code, Error};
use crate::types::FeedKey;
use crate::wire::{CloseReason, Topic, TopicId, TopicKind};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use std::collections::{BTreeMap, BTreeSet};

/// The message that says a side's mark.
pub(super) const MARK: u8 = 5;

/// What a mark's signature is over, before the connection's binding.
const CONTEXT: &[u8; 24] = b"multi-hyperbee 1 mark\0\0\0";

/// A side's name on one topic, while its store is open: an ed25519 public key.
pub(in crate::db) type Mark = [u8; 32];

/// Connections by the mark of their other side; and their own names.
#[derive(Default)]
pub(in crate::db) struct Marks {
    names: BTreeMap<u64, [u8; 32]>,
    marks: BTreeSet<(Mark, u64)>,
}

impl Marks {
    fn put(&mut self, mark: Mark, name: [u8; 32], peer: u64) {
        self.names.insert(peer, name);
        self.marks.insert((mark, peer));
    }

    /// Whether another connection goes before this one.
    fn is_second(&self, mark: &Mark, peer: u64) -> bool {
        let connections = self.marks.range((*mark, 0)..=(*mark, u64::MAX)).map(|(_, peer)| *peer);
        connections.min_by_key(|peer| self.names.get(peer)).is_some_and(|first| first != peer)
    }

    fn take_out(&mut self, mark: &Mark, peer: u64) {
        self.marks.remove(&(*mark, peer));
    }

    pub fn leave(&mut self, peer: u64) {
        if self.names.remove(&peer).is_some() {
            self.marks.retain(|(_, connection)| *connection != peer);
        }
    }
}

/// This store's key on a topic. `secret`: of the opening of the store.
fn key_of(secret: &[u8; 32], topic: &Topic) -> SigningKey {
    let kind = u8::from(topic.kind == TopicKind::Feed);
    let mut hash = blake3::Hasher::new_keyed(secret);
    hash.update(&[kind]).update(topic.key.as_bytes());
    SigningKey::from_bytes(hash.finalize().as_bytes())
}

fn signed(binding: &[u8; 32]) -> Vec<u8> {
    [CONTEXT.as_slice(), binding].concat()
}

/// The mark, if whoever said it has its secret key. `binding`: of this connection, from there to here.
fn read(body: &[u8; 96], binding: &[u8; 32]) -> Option<Mark> {
    let (mark, signature) = body.split_first_chunk::<32>()?;
    let key = VerifyingKey::from_bytes(mark).ok()?;
    key.verify_strict(&signed(binding), &Signature::from_slice(signature).ok()?).ok()?;
    Some(*mark)
}

impl State {
    pub(super) fn say_mark(&mut self, id: TopicId) {
        let role = self.session.role();
        let (Some(shared), Some(shown)) = (&self.shared, self.topics.get(&id)) else { return };
        let key = key_of(&shared.board.secret, &shown.topic);
        let Ok(binding) = self.session.binding(id, role) else { return };
        let signature = key.sign(&signed(&binding)).to_bytes();
        let body = [key.verifying_key().as_bytes().as_slice(), &signature].concat();
        let _ = self.session.access(id, MARK, &body);
    }

    /// Only connections over which blocks are pushed count: a second one that is not live takes nothing from another.
    pub(super) fn heard_mark(&mut self, id: TopicId, bytes: &[u8], peer: &Peer) {
        let Ok(body) = <&[u8; 96]>::try_from(bytes) else { return };
        let is_pushed_to = self.session.remote().is_some_and(|remote| remote.live && remote.download);
        let is_first = self.topics.get(&id).is_some_and(|shown| shown.mark.is_none());
        if !is_pushed_to || !peer.0.live || !is_first {
            return;
        }
        let theirs = self.session.role().other();
        let Ok(binding) = self.session.binding(id, theirs) else { return };
        let Some(mark) = read(body, &binding) else {
            self.session.finish(CloseReason::Protocol);
            self.fail(Error::new(Code::Protocol, "the other side said a mark that is another's"));
            return;
        };
        let name = self.session.name();
        let (Some(shared), Some(shown)) = (&self.shared, self.topics.get_mut(&id)) else { return };
        shown.mark = Some(mark);
        shared.board.marks.lock().put(mark, name, peer.0.id);
    }

    /// A topic is closed.
    pub(super) fn forget_mark(&mut self, id: TopicId, peer: &Peer) {
        let (Some(shared), Some(shown)) = (&self.shared, self.topics.get(&id)) else { return };
        if let Some(mark) = &shown.mark {
            shared.board.marks.lock().take_out(mark, peer.0.id);
        }
    }

    /// Whether blocks of the topic go to the other side over another connection.
    pub(super) fn is_second(&self, id: TopicId, peer: &Peer) -> bool {
        let (Some(shared), Some(shown)) = (&self.shared, self.topics.get(&id)) else { return false };
        shown.mark.as_ref().is_some_and(|mark| shared.board.marks.lock().is_second(mark, peer.0.id))
    }

    /// A tick has passed: tells the lengths of what went over another connection, or is only partly here.
    pub(super) fn say_seconds(&mut self, peer: &Peer) {
        for (id, feeds) in std::mem::take(&mut self.second) {
            for key in feeds {
                self.say_second(id, key, peer);
            }
        }
    }

    fn say_second(&mut self, id: TopicId, key: FeedKey, peer: &Peer) {
        let Some(feed) = self.topic_feed(id, &key, peer) else { return };
        let said = self.spoken.said(id, &key);
        let length = feed.offered();
        if said.is_none_or(|said| said >= length) {
            return;
        }
        let has_left =
            super::growth::state_of(key, &feed).is_none_or(|state| self.session.have(&state) != Ok(false));
        if has_left {
            self.spoken.say(id, key, length);
            self.remote.entry(key).or_default().tell(length, &feed);
        } else {
            self.second.entry(id).or_default().insert(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_topic_and_each_opening_of_a_store_has_another_mark() {
        let topic = |kind, key| Topic { kind, key: FeedKey([key; 32]) };
        let mark_of = |secret: u8, topic| key_of(&[secret; 32], &topic).verifying_key().to_bytes();
        let mark = mark_of(7, topic(TopicKind::Database, 1));
        let others = [
            mark_of(7, topic(TopicKind::Feed, 1)),
            mark_of(7, topic(TopicKind::Database, 2)),
            mark_of(8, topic(TopicKind::Database, 1)),
        ];
        assert!(!others.contains(&mark));
        assert_eq!(mark, mark_of(7, topic(TopicKind::Database, 1)));
    }

    #[test]
    fn a_mark_is_worth_nothing_on_another_connection_or_with_a_changed_byte() {
        let key = key_of(&[7; 32], &Topic { kind: TopicKind::Database, key: FeedKey([1; 32]) });
        let signature = key.sign(&signed(&[3; 32])).to_bytes();
        let mut body = [0; 96];
        body[..32].copy_from_slice(key.verifying_key().as_bytes());
        body[32..].copy_from_slice(&signature);
        assert_eq!(read(&body, &[3; 32]), Some(key.verifying_key().to_bytes()));
        assert_eq!(read(&body, &[4; 32]), None);
        for at in 0..body.len() {
            let mut changed = body;
            changed[at] ^= 1;
            assert_eq!(read(&changed, &[3; 32]), None);
        }
    }

    #[test]
    fn of_connections_to_one_store_one_is_first_until_it_leaves() {
        let mut marks = Marks::default();
        marks.put([1; 32], [9; 32], 5);
        assert!(!marks.is_second(&[1; 32], 5));
        marks.put([1; 32], [3; 32], 6);
        marks.put([2; 32], [1; 32], 7);
        assert_eq!([5, 6].map(|peer| marks.is_second(&[1; 32], peer)), [true, false]);
        marks.leave(6);
        assert!(!marks.is_second(&[1; 32], 5));
        marks.take_out(&[1; 32], 5);
        marks.leave(5);
        marks.leave(7);
        assert!(marks.marks.is_empty() && marks.names.is_empty());
    }
}
