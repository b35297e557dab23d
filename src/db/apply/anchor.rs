//! Anchors: a feed of one block that names a batch, the same on every replica. Its key follows from the block, so whoever
//! has the block can tell an anchor from any other feed; its secret is no secret, and whatever else it signs is no anchor.
//!
//! ```text
//! block  an acknowledgement, with the batch's timestamp, that links the end of the batch (with its root) and nothing else
//! seed   blake3 derive_key(CONTEXT, database key 32 ‖ block)
//! ```
//!
//! In an encrypted database the block is sealed like every other when it is appended; the seed is of what is in it.

use super::Staged;
use crate::causal::Turn;
use crate::db::conflicts;
use crate::db::database::Inner;
use crate::db::engine::Work;
use crate::db::error::{Error, Failure};
use crate::db::write::encode_batch;
use crate::entry::{BatchHead, Entry, Op, Place};
use crate::feed::{self, Appender, Seed, StoredTree};
use crate::merkle::Node;
use crate::order::{OrderError, batch_start};
use crate::seal::Sealing;
use crate::store::{Read, ReadTxn};
use crate::types::{FeedKey, Hash, Link};

const CONTEXT: &str = "multi-hyperbee 2026 anchor seed v1";

pub(super) struct Anchor {
    pub seed: Seed,
    pub block: Vec<u8>,
}

impl Anchor {
    fn new(database: FeedKey, writer: FeedKey, length: u64, root: Hash, timestamp: u64) -> Self {
        let [root @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = root;
        let links = vec![Link { feed: writer, length, root }];
        let place = Place::First(BatchHead { timestamp, length: 1, links, optimistic: false });
        let block = Entry { place, op: Op::Acknowledgement }.encode();
        let seed = blake3::derive_key(CONTEXT, &[database.as_bytes(), block.as_slice()].concat());
        Self { seed: Seed::new(seed), block }
    }
}

/// The anchor of a batch on disk.
fn stored(
    txn: &impl Read,
    database: FeedKey,
    sealing: &Sealing,
    number: u32,
    writer: FeedKey,
    length: u64,
) -> Result<Anchor, Failure> {
    let (_, head) = batch_start(txn, &sealing.blocks(writer), number, length.saturating_sub(1))?;
    let record = feed::load(txn, &writer)?.ok_or(OrderError::Feed { feed: writer })?;
    let root = feed::root_at(txn, &record, length)?;
    Ok(Anchor::new(database, writer, length, root, head.timestamp))
}

/// The anchor of a batch, which may be staged only.
pub(super) fn of(
    txn: &ReadTxn,
    inner: &Inner,
    staged: &[Staged],
    writer: FeedKey,
    length: u64,
) -> Result<Anchor, Error> {
    let database = inner.open.info.key;
    let (Some(first), true) = (staged.first(), writer == inner.open.local()) else {
        let writers = conflicts::writers(txn, inner.open.id)?;
        let number = writers.iter().find(|(_, feed)| **feed == writer).map(|(number, _)| *number);
        let number = number.ok_or_else(|| Failure::from(OrderError::Feed { feed: writer }))?;
        return Ok(stored(txn, database, inner.open.space.sealing(), number, writer, length)?);
    };
    let record = feed::load(txn, &writer).map_err(Failure::from)?;
    let record = record.ok_or_else(|| Failure::from(OrderError::Feed { feed: writer }))?;
    let mut roots = StoredTree { txn, feed_id: record.id }.roots(first.seq).map_err(Failure::from)?;
    let sealing = inner.open.space.blocks(writer);
    for staged in staged {
        let ops: Vec<Op<'_>> = staged.values.iter().map(|value| Op::Value(value)).collect();
        encode_batch(staged.timestamp, &staged.links, staged.optimistic, &ops, |block, clear| {
            let block = sealing.seal(roots.length(), block, clear)?;
            roots.push(Node::leaf(&block), |_, _, _| {});
            Ok(())
        })?;
        if roots.length() == length {
            return Ok(Anchor::new(database, writer, length, roots.hash(), staged.timestamp));
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
        let (key, sealing) = (database.row.key, database.space.sealing().clone());
        let number = database.members.get(&turn.at.writer).map(|member| member.feed);
        let number = number.ok_or(OrderError::Feed { feed: turn.at.writer })?;
        let Anchor { seed, block } = stored(self.txn, key, &sealing, number, turn.at.writer, turn.end)?;
        let anchor = seed.feed();
        if self.feed(&anchor)?.is_some_and(|record| record.length > 0) {
            // Somebody else has announced it, and it was taken for a stranger's.
            return self.learn(id, anchor, 0);
        }
        let mut record = self.feed_or_new(&anchor)?.clone();
        record.secret = Some(seed.into());
        let mut appender = Appender::new(self.txn, record)?;
        appender.append(self.txn, &sealing.blocks(anchor).seal(0, &block, false)?)?;
        let mut record = appender.finish(self.txn)?;
        // Nobody writes it: what it is is said, and it may be offered at once.
        (record.secret, record.left) = (None, record.length);
        feed::save(self.txn, &record)?;
        self.engine.feeds.insert(anchor, record);
        self.engine.effects.feeds.insert(anchor);
        // Part of the order only where somebody links it.
        self.learn(id, anchor, 0)
    }
}
