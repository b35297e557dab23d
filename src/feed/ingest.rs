use super::receive::compare_heads;
use super::record::save;

use super::tree::{StoredTree, TreeWriter};
use super::{Covered, FeedError, FeedRecord, Fork, VerifiedBlocks};
use crate::merkle::{Head, Node, Roots};
use crate::store::{Table, WriteTxn, block_key};

/// What an ingest changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grown {
    /// The length before and after; equal if only a head was learnt, or nothing.
    pub from: u64,
    pub to: u64,
    /// The length of the longest complete head, before and after.
    pub complete_from: u64,
    pub complete_to: u64,
}

/// Stores verified blocks and the head they came under, and saves the record.
///
/// The feed may have grown since they were verified: what is here by now is compared and left out. An error other
/// than the store's comes before anything is written, and leaves `record` as it was.
pub fn ingest(
    txn: &mut WriteTxn<'_>,
    record: &mut FeedRecord,
    verified: &VerifiedBlocks,
) -> Result<Grown, FeedError> {
    if verified.key != record.key {
        return Err(FeedError::OtherFeed { expected: record.key, found: verified.key });
    }
    let new = unseen(txn, record, verified)?;
    let mut next = record.clone();
    let tree = TreeWriter::open(txn, record.id, record.length)?;
    learn(&mut next, tree.roots(), verified, new)?;
    if new > 0 {
        write(txn, record, tree, verified, new)?;
    }
    if next != *record {
        save(txn, &next)?;
    }
    let grown = Grown {
        from: record.length,
        to: next.length,
        complete_from: record.complete(),
        complete_to: next.complete(),
    };
    *record = next;
    Ok(grown)
}

/// How many of the blocks, the last ones, are not here; after comparing those that are.
fn unseen(txn: &WriteTxn<'_>, record: &FeedRecord, verified: &VerifiedBlocks) -> Result<usize, FeedError> {
    let (start, length) = (verified.start, record.length);
    let tree = StoredTree { txn, feed_id: record.id };
    let count = verified.leaves.len();
    compare_heads(&tree, record, &verified.head, count > 0 && verified.end() > length)?;
    if start > length {
        let gap = FeedError::Gap { start, length };
        return if count == 0 { Ok(0) } else { Err(gap) };
    }
    let fork = |by, is_exact| match record.covering() {
        Some(ours) if is_exact => Fork::exactly(ours, &verified.head, by),
        Some(ours) => Fork::error(ours, &verified.head, by),
        None => FeedError::Corrupt { feed_id: record.id, what: "blocks without a head" },
    };
    if tree.roots(start)?.hash() != verified.base {
        return Err(fork(start.saturating_sub(1), false));
    }
    for (seq, leaf) in (start..length).zip(&verified.leaves) {
        if tree.leaf(seq)? != *leaf {
            return Err(fork(seq, true));
        }
    }
    let here = usize::try_from(length - start).unwrap_or(usize::MAX);
    Ok(count.saturating_sub(here))
}

fn last<T>(items: &[T], count: usize) -> &[T] {
    items.get(items.len().saturating_sub(count)..).unwrap_or_default()
}

/// Brings lengths and heads forward in `next`. A known head that the new blocks reach must fit them, or gives way to them.
fn learn(
    next: &mut FeedRecord,
    roots: &Roots,
    verified: &VerifiedBlocks,
    new: usize,
) -> Result<(), FeedError> {
    let head = verified.head;
    // Blocks of one history say more than a head of another whose blocks nobody may have any more.
    let gives_way = |known: &Head| new > 0 && next.gives_way(known);
    let mut waiting = [next.cover, next.tip].map(|known| {
        let is_of_another = |known: &Head| known.contradicts(&head) && gives_way(known);
        known.filter(|known| !is_of_another(known))
    });
    let mut roots = roots.clone();
    for leaf in last(&verified.leaves, new) {
        roots.push(*leaf, |_, _, _| ());
        for waits in &mut waiting {
            let Some(known) = waits.filter(|known| known.length == roots.length()) else { continue };
            if roots.hash() != known.root {
                if !gives_way(&known) {
                    return Err(Fork::error(&head, &known, roots.length().saturating_sub(1)));
                }
                *waits = None;
            }
        }
    }
    [next.cover, next.tip] = waiting;
    (next.length, next.byte_length) = (roots.length(), roots.byte_length());
    let length = next.length;
    let longest = |known: &[Option<Head>]| {
        known.iter().flatten().copied().reduce(|a, b| if b.length > a.length { b } else { a })
    };
    let complete = |known: Option<Head>| known.filter(|known| known.length <= length);
    next.head = longest(&[next.head, complete(next.cover), complete(next.tip), complete(Some(head))]);
    let cover = if new > 0 { Some(head) } else { next.cover };
    let cover = cover.filter(|_| length > next.complete());
    // Once forked, a longer head says nothing of this branch unless blocks show that it continues it.
    let learnt = Some(head).filter(|_| !next.forked || new > 0);
    let waits = |known: Option<Head>| known.filter(|known| known.length > length && Some(*known) != cover);
    next.tip = longest(&[waits(next.tip), waits(next.cover), waits(learnt)]);
    next.cover = cover;
    if new > 0 {
        next.covered = Some(Covered { root: roots.hash(), nodes: verified.after.clone() });
    }
    next.covered.take_if(|_| next.cover.is_none());
    Ok(())
}

fn write(
    txn: &mut WriteTxn<'_>,
    record: &FeedRecord,
    mut tree: TreeWriter,
    verified: &VerifiedBlocks,
    new: usize,
) -> Result<(), FeedError> {
    let seen = verified.leaves.len().saturating_sub(new);
    let news: Vec<(&Node, &[u8])> = verified.blocks().skip(seen).collect();
    for ((leaf, block), seq) in news.into_iter().zip(record.length..) {
        txn.put(Table::Blocks, &block_key(record.id, seq), block)?;
        tree.push(txn, *leaf)?;
    }
    tree.finish(txn)?;
    Ok(())
}
