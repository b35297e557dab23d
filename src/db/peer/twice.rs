//! Several connections between the same two devices: what is new goes over one of them.
//!
//! Each side says, on each topic, a mark that is its own for as long as its store is open, and another for each topic: who
//! hears the same one on two connections knows that both lead to one store, and learns nothing else. Of the connections that
//! lead to one, the *first* is that whose name (made of the handshake) is the smallest: both sides see
//! the same, and it is the same for all topics. Blocks are pushed over the
//! first; over another the length is told, a tick later: if the first brings nothing, they are asked for there.

use super::{Peer, State};
use crate::types::FeedKey;
use crate::wire::{Topic, TopicId, TopicKind};
use std::collections::{BTreeMap, BTreeSet};

/// The message that says a side's mark.
pub(super) const MARK: u8 = 5;

/// A side's name on one topic, while its store is open.
pub(in crate::db) type Mark = [u8; 16];

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

/// This store's mark on a topic. `secret`: of the opening of the store.
fn mark_of(secret: &[u8; 32], topic: &Topic) -> Mark {
    let kind = u8::from(topic.kind == TopicKind::Feed);
    let mut hash = blake3::Hasher::new_keyed(secret);
    hash.update(&[kind]).update(topic.key.as_bytes());
    let mut mark = Mark::default();
    hash.finalize_xof().fill(&mut mark);
    mark
}

impl State {
    pub(super) fn say_mark(&mut self, id: TopicId) {
        let (Some(shared), Some(shown)) = (&self.shared, self.topics.get(&id)) else { return };
        let mark = mark_of(&shared.board.secret, &shown.topic);
        let _ = self.session.access(id, MARK, &mark);
    }

    /// Only connections over which blocks are pushed count: a second one that is not live takes nothing from another.
    pub(super) fn heard_mark(&mut self, id: TopicId, bytes: &[u8], peer: &Peer) {
        let is_pushed_to = self.session.remote().is_some_and(|remote| remote.live && remote.download);
        let Ok(mark) = Mark::try_from(bytes) else { return };
        let name = self.session.name();
        let (Some(shared), Some(shown)) = (&self.shared, self.topics.get_mut(&id)) else { return };
        if is_pushed_to && peer.0.live && shown.mark.is_none() {
            shown.mark = Some(mark);
            shared.board.marks.lock().put(mark, name, peer.0.id);
        }
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

    /// A tick has passed: tells the lengths of what went over another connection.
    pub(super) fn say_seconds(&mut self, peer: &Peer) {
        let ids = self.topics.iter().filter(|(_, shown)| !shown.second.is_empty());
        for id in ids.map(|(id, _)| *id).collect::<Vec<_>>() {
            let Some(shown) = self.topics.get_mut(&id) else { continue };
            for key in std::mem::take(&mut shown.second) {
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
            super::driver::state_of(key, &feed).is_none_or(|state| self.session.have(&state) != Ok(false));
        if has_left {
            self.spoken.say(id, key, length);
        } else if let Some(shown) = self.topics.get_mut(&id) {
            shown.second.insert(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes_and_other_topics_have_other_marks() {
        let topic = |kind, key| Topic { kind, key: FeedKey([key; 32]) };
        let mark = mark_of(&[7; 32], &topic(TopicKind::Database, 1));
        let others = [
            mark_of(&[7; 32], &topic(TopicKind::Feed, 1)),
            mark_of(&[7; 32], &topic(TopicKind::Database, 2)),
            mark_of(&[8; 32], &topic(TopicKind::Database, 1)),
        ];
        assert!(!others.contains(&mark));
        assert_eq!(mark, mark_of(&[7; 32], &topic(TopicKind::Database, 1)));
    }

    #[test]
    fn of_connections_to_one_store_one_is_first_until_it_leaves() {
        let mut marks = Marks::default();
        marks.put([1; 16], [9; 32], 5);
        assert!(!marks.is_second(&[1; 16], 5));
        marks.put([1; 16], [3; 32], 6);
        marks.put([2; 16], [1; 32], 7);
        assert_eq!([5, 6].map(|peer| marks.is_second(&[1; 16], peer)), [true, false]);
        marks.leave(6);
        assert!(!marks.is_second(&[1; 16], 5));
        marks.take_out(&[1; 16], 5);
        marks.leave(5);
        marks.leave(7);
        assert!(marks.marks.is_empty() && marks.names.is_empty());
    }
}
