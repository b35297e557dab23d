//! Anchors: a feed of one block that names a batch, the same on every replica. Its name follows from the block
//! ([`merkle::anchor`]): nobody signs it, and nobody can sign more.
//!
//! ```text
//! block  an acknowledgement, with the batch's timestamp, that links the end of the batch (with its root) and nothing else
//! ```
//!
//! It is not part of the order before somebody links it, and nobody is told of it before ([`PublishedFeed::is_unlinked`]):
//! whoever applies its batch has it.
//!
//! [`PublishedFeed::is_unlinked`]: crate::db::published::PublishedFeed::is_unlinked

use super::Staged;
use crate::causal::Turn;
use crate::db::conflicts;
use crate::db::database::Inner;
use crate::db::engine::Work;
use crate::db::error::{Error, Failure};
use crate::db::write::encode_batch;
use crate::entry::{BatchHead, Entry, Op, Place};
use crate::feed::{self, Received, StoredTree};
use crate::merkle::{self, Head, Node};
use crate::order::{OrderError, batch_start};
use crate::seal::{SealError, Sealing};
use crate::store::{Read, ReadTxn};
use crate::types::{FeedKey, Hash, Link};

pub(super) struct Anchor {
    pub feed: FeedKey,
    head: Head,
    /// As it travels.
    block: Vec<u8>,
}

impl Anchor {
    fn new(
        sealing: &Sealing,
        writer: FeedKey,
        length: u64,
        root: Hash,
        timestamp: u64,
    ) -> Result<Self, SealError> {
        let [root @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = root;
        let links = vec![Link { feed: writer, length, root }];
        let place = Place::First(BatchHead { timestamp, length: 1, links, optimistic: false });
        let block = Entry { place, op: Op::Acknowledgement }.encode();
        let block = sealing.seal_anchor(&block)?.into_owned();
        let (feed, head) = merkle::anchor(&block);
        Ok(Self { feed, head, block })
    }

    fn received(&self) -> Received<'_> {
        let Head { length, byte_length, signature, .. } = self.head;
        let (nodes, blocks) = (Vec::new(), vec![self.block.as_slice()]);
        Received { start: 0, length, byte_length, signature, nodes, blocks, extending: false }
    }
}

/// The anchor of a batch on disk.
fn stored(
    txn: &impl Read,
    sealing: &Sealing,
    number: u32,
    writer: FeedKey,
    length: u64,
) -> Result<Anchor, Failure> {
    let (_, head) = batch_start(txn, &sealing.blocks(writer), number, length.saturating_sub(1))?;
    let record = feed::load(txn, &writer)?.ok_or(OrderError::Feed { feed: writer })?;
    let root = feed::root_at(txn, &record, length)?;
    Ok(Anchor::new(sealing, writer, length, root, head.timestamp)?)
}

/// The anchor of a batch, which may be staged only.
pub(super) fn of(
    txn: &ReadTxn,
    inner: &Inner,
    staged: &[Staged],
    writer: FeedKey,
    length: u64,
) -> Result<Anchor, Error> {
    let sealing = inner.open.space.sealing();
    let (Some(first), true) = (staged.first(), writer == inner.open.local()) else {
        let writers = conflicts::writers(txn, inner.open.id)?;
        let number = writers.iter().find(|(_, feed)| **feed == writer).map(|(number, _)| *number);
        let number = number.ok_or_else(|| Failure::from(OrderError::Feed { feed: writer }))?;
        return Ok(stored(txn, sealing, number, writer, length)?);
    };
    let record = feed::load(txn, &writer).map_err(Failure::from)?;
    let record = record.ok_or_else(|| Failure::from(OrderError::Feed { feed: writer }))?;
    let mut roots = StoredTree { txn, feed_id: record.id }.roots(first.seq).map_err(Failure::from)?;
    let blocks = sealing.blocks(writer);
    for staged in staged {
        let ops: Vec<Op<'_>> = staged.values.iter().map(|value| Op::Value(value)).collect();
        encode_batch(staged.timestamp, &staged.links, staged.optimistic, &ops, |block, clear| {
            let block = blocks.seal(roots.length(), block, clear)?;
            roots.push(Node::leaf(&block), |_, _, _| {});
            Ok(())
        })?;
        if roots.length() == length {
            let anchor = Anchor::new(sealing, writer, length, roots.hash(), staged.timestamp);
            return Ok(anchor.map_err(Failure::from)?);
        }
    }
    Err(Error::stopped())
}

impl Work<'_, '_> {
    /// The anchor feed of a batch that was just applied, if its `apply` asked for it.
    pub(super) fn make_anchor(&mut self, id: u32, turn: Turn) -> Result<(), Failure> {
        let open = self.engine.board.database(id).ok_or_else(Error::closed)?;
        if !open.apply.lock().anchors.remove(&(turn.at.writer, turn.end)) {
            return Ok(());
        }
        // Its root is of the tree with all that was appended.
        self.finish_feed(&turn.at.writer)?;
        let database = self.database(id)?;
        let sealing = database.space.sealing().clone();
        let number = database.members.get(&turn.at.writer).map(|member| member.feed);
        let number = number.ok_or(OrderError::Feed { feed: turn.at.writer })?;
        let anchor = stored(self.txn, &sealing, number, turn.at.writer, turn.end)?;
        let mut record = self.feed_or_new(&anchor.feed)?.clone();
        if record.length == 0 {
            let verified = feed::verify(self.txn, &record, &anchor.received())?;
            feed::ingest(self.txn, &mut record, &verified)?;
            self.engine.feeds.insert(anchor.feed, record);
            self.engine.effects.feeds.insert(anchor.feed);
        } else {
            // Nobody announces it, so nobody else can bring back a damaged one.
            feed::fill(self.txn, &record, &anchor.received())?;
        }
        // Part of the order only where somebody links it: who does may have waited for it, also where there was no room for
        // it among the strangers.
        let is_awaited = self.database(id)?.waits.values().any(|(on, _)| *on == anchor.feed);
        self.learn(id, anchor.feed, is_awaited.into())?;
        let database = self.database(id)?;
        if database.members.get(&anchor.feed).is_some_and(|member| member.until > 0) {
            database.behind.insert(anchor.feed);
            self.is_anchor_due = true;
        }
        Ok(())
    }
}
