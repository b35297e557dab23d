//! What `check` finds of a feed, mended from what is whole. What is left comes from peers (`holes`).

use super::cover;
use super::holes::{forget_right, note_hole};
use super::record::{each, save};
use super::tree::{PACK, StoredTree, tier_length, tiers};
use super::{FeedError, FeedRecord, Flaw};
use crate::codec::Reader;
use crate::merkle::{Head, Node, Roots};
use crate::store::{Read, Table, WriteTxn, block_key, tree_key};
use crate::types::FeedKey;
use std::ops::Bound;

/// Bytes up to which every single bit is tried: a block of this size costs 32,768 hashes of it, a tenth of a second.
const MAX_TRIED: usize = 4_096;

/// Leaves of one row that may each be either of two: 1,024 ways to put them together.
const MAX_CHOICES: usize = 10;

/// Turns one bit back, if that makes the bytes what they should be.
pub fn flipped_back(bytes: &[u8], is_right: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut tried = bytes.to_vec();
    if bytes.len() > MAX_TRIED {
        return None;
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            if let Some(byte) = tried.get_mut(at) {
                *byte ^= 1 << bit;
            }
            if is_right(&tried) {
                return Some(tried);
            }
            if let Some(byte) = tried.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
    }
    None
}

/// The stored leaf of a block.
pub(super) fn leaf_at(txn: &impl Read, feed: u32, seq: u64) -> Result<Option<Node>, FeedError> {
    let Some(row) = txn.get(Table::Tree, &tree_key(feed, 0, seq / PACK))? else { return Ok(None) };
    let at = usize::try_from(seq % PACK).unwrap_or(usize::MAX);
    let node = row.chunks_exact(Node::SIZE).nth(at);
    Ok(node.and_then(|node| Node::decode(&mut Reader::new(node)).ok()))
}

/// Writes the leaf of a block into its row; leaves before it that are missing are empty ones, until they come too.
pub(super) fn put_leaf(
    txn: &mut WriteTxn<'_>,
    record: &FeedRecord,
    seq: u64,
    leaf: Node,
) -> Result<(), FeedError> {
    let key = tree_key(record.id, 0, seq / PACK);
    let mut row = txn.get(Table::Tree, &key)?.map(<[u8]>::to_vec).unwrap_or_default();
    let length = usize::try_from(record.length.saturating_sub(seq / PACK * PACK).min(PACK)).unwrap_or(0);
    row.resize(length * Node::SIZE, 0);
    let at = usize::try_from(seq % PACK).unwrap_or(usize::MAX).saturating_mul(Node::SIZE);
    if let Some(place) = row.get_mut(at..at.saturating_add(Node::SIZE)) {
        place.copy_from_slice(&leaf.encode());
    }
    Ok(txn.put(Table::Tree, &key, &row)?)
}

/// Writes every row above the leaves anew from them, if they lead to the longest complete head. False: they do not, and
/// nothing is written.
pub fn tree_of_leaves(txn: &mut WriteTxn<'_>, record: &FeedRecord) -> Result<bool, FeedError> {
    let mut roots = Roots::new();
    for seq in 0..record.complete() {
        let Some(leaf) = leaf_at(&*txn, record.id, seq)? else { return Ok(false) };
        roots.push(leaf, |_, _, _| ());
    }
    if record.complete() > 0 && !record.head.is_some_and(|head| head.fits(&roots)) {
        return Ok(false);
    }
    for tier in tiers(record.length).filter(|tier| *tier > 0) {
        for group in 0..tier_length(record.length, tier).div_ceil(PACK) {
            row_of_lower(txn, record, tier, group)?;
        }
    }
    Ok(true)
}

/// Writes one row of a tier from the rows of the tier below, or from the blocks.
fn row_of_lower(txn: &mut WriteTxn<'_>, record: &FeedRecord, tier: u8, group: u64) -> Result<(), FeedError> {
    let first = group.saturating_mul(PACK);
    let count = tier_length(record.length, tier).saturating_sub(first).min(PACK);
    let mut row = Vec::new();
    for offset in first..first.saturating_add(count) {
        let node = match tier.checked_sub(1) {
            None => {
                // What a branch has in common with its feed stands there: its leaves are believed.
                let block = txn.get(Table::Blocks, &block_key(record.id, offset))?.map(Node::leaf);
                match block {
                    Some(leaf) => Some(leaf),
                    None => leaf_at(txn, record.id, offset)?,
                }
            }
            Some(lower) => {
                let nodes = txn.get(Table::Tree, &tree_key(record.id, lower, offset))?;
                nodes.and_then(top)
            }
        };
        let missing = FeedError::Corrupt { feed_id: record.id, what: "a tree row that cannot be made anew" };
        node.ok_or(missing)?.encode_into(&mut row);
    }
    Ok(txn.put(Table::Tree, &tree_key(record.id, tier, group), &row)?)
}

/// The node over a full row.
fn top(row: &[u8]) -> Option<Node> {
    let mut nodes: Vec<Node> =
        row.chunks_exact(Node::SIZE).filter_map(|node| Node::decode(&mut Reader::new(node)).ok()).collect();
    if u64::try_from(nodes.len()).ok() != Some(PACK) {
        return None;
    }
    over(&mut nodes)
}

fn over(nodes: &mut Vec<Node>) -> Option<Node> {
    while nodes.len() > 1 {
        let pair = |pair: &[Node]| match pair {
            [left, right] => Some(Node::parent(left, right)),
            _ => None,
        };
        *nodes = nodes.chunks_exact(2).filter_map(pair).collect();
    }
    nodes.first().copied()
}

/// Whether a flaw is one of the record, or of what all of a feed leads to: of no block and no row by itself.
pub fn is_of_record(flaw: &Flaw) -> bool {
    !matches!(flaw, Flaw::Block { .. } | Flaw::Tree { .. })
}

/// Mends a record of which `flaws` say something. What else was found was found by what it said: if it is another now,
/// all is to be looked at again.
pub fn mend_record(txn: &mut WriteTxn<'_>, record: &mut FeedRecord, flaws: &[Flaw]) -> Result<(), FeedError> {
    let row = txn.get(Table::Feeds, record.key.as_bytes())?.unwrap_or_default().to_vec();
    if let Some(mended) = mended_record(&*txn, record.key, &row)? {
        *record = mended;
        return save(txn, record);
    }
    if flaws.iter().any(|flaw| matches!(flaw, Flaw::Signature { .. } | Flaw::Lengths)) {
        mend_from_rows(txn, record)?;
    }
    Ok(())
}

/// Mends blocks and rows, as far as it can be told what is right; what cannot becomes a hole. `is_mixed`: neither blocks
/// nor tree lead to the signed head; then all flaws of a row of leaves are to come together, and `tree_of_leaves` after
/// the last of them, if no hole is in doubt.
pub fn mend(
    txn: &mut WriteTxn<'_>,
    record: &FeedRecord,
    flaws: &[Flaw],
    is_mixed: bool,
) -> Result<(), FeedError> {
    let mut left = Vec::new();
    for flaw in flaws {
        // What was cut off since it was found is no flaw any more.
        let Flaw::Block { seq } = *flaw else { continue };
        if seq >= record.length {
            continue;
        }
        if !mend_block(txn, record, seq)? {
            left.push(seq);
        }
    }
    if is_mixed {
        left = arbitrate(txn, record, &left)?;
    }
    for seq in &left {
        if !is_mixed {
            txn.delete(Table::Blocks, &block_key(record.id, *seq))?;
        }
        note_hole(txn, record, *seq, is_mixed)?;
    }
    // Lowest tier first: each is made from the one below.
    let mut rows: Vec<(u8, u64)> = flaws
        .iter()
        .filter_map(|flaw| match flaw {
            Flaw::Tree { tier, group } if *group < tier_length(record.length, *tier).div_ceil(PACK) => {
                Some((*tier, *group))
            }
            _ => None,
        })
        .collect();
    rows.sort_unstable();
    for (tier, group) in rows {
        row_of_lower(txn, record, tier, group)?;
    }
    if is_mixed { Ok(()) } else { forget_right(txn, record) }
}

/// Turns a bit of a block back, if that makes it what its leaf says. It may be that already: a peer may have brought it
/// since it was looked at.
fn mend_block(txn: &mut WriteTxn<'_>, record: &FeedRecord, seq: u64) -> Result<bool, FeedError> {
    let key = block_key(record.id, seq);
    let Some(leaf) = leaf_at(txn, record.id, seq)? else { return Ok(false) };
    let Some(block) = txn.get(Table::Blocks, &key)? else { return Ok(false) };
    if Node::leaf(block) == leaf {
        return Ok(true);
    }
    let Some(mended) = flipped_back(block, |block| Node::leaf(block) == leaf) else { return Ok(false) };
    txn.put(Table::Blocks, &key, &mended)?;
    Ok(true)
}

/// Of blocks and leaves that disagree, the node above a full row of leaves says which are right. Returns those of which
/// nothing is known.
fn arbitrate(txn: &mut WriteTxn<'_>, record: &FeedRecord, doubted: &[u64]) -> Result<Vec<u64>, FeedError> {
    let mut left = Vec::new();
    let mut rest = doubted;
    while let Some(group) = rest.first().map(|seq| seq / PACK) {
        let (of_group, others) = rest.split_at(rest.partition_point(|seq| seq / PACK == group));
        rest = others;
        if !arbitrate_group(txn, record, group, of_group)? {
            left.extend_from_slice(of_group);
        }
    }
    Ok(left)
}

fn arbitrate_group(
    txn: &mut WriteTxn<'_>,
    record: &FeedRecord,
    group: u64,
    doubted: &[u64],
) -> Result<bool, FeedError> {
    let above = txn.get(Table::Tree, &tree_key(record.id, 1, group / PACK))?.and_then(|row| {
        let node = row.chunks_exact(Node::SIZE).nth(usize::try_from(group % PACK).ok()?)?;
        Node::decode(&mut Reader::new(node)).ok()
    });
    let Some(above) = above.filter(|_| doubted.len() <= MAX_CHOICES) else { return Ok(false) };
    let first = group.saturating_mul(PACK);
    let mut stored = Vec::new();
    for seq in first..first.saturating_add(PACK) {
        let Some(leaf) = leaf_at(txn, record.id, seq)? else { return Ok(false) };
        stored.push(leaf);
    }
    let mut of_blocks = Vec::new();
    for seq in doubted {
        let block = txn.get(Table::Blocks, &block_key(record.id, *seq))?;
        of_blocks.push(block.map(Node::leaf));
    }
    for choice in 0..1_u32 << doubted.len() {
        let mut leaves = stored.clone();
        let takes = |index: usize| choice >> index & 1 == 1;
        for (index, (seq, leaf)) in doubted.iter().zip(&of_blocks).enumerate() {
            let at = usize::try_from(seq - first).unwrap_or(usize::MAX);
            if let (true, Some(leaf), Some(place)) = (takes(index), leaf, leaves.get_mut(at)) {
                *place = *leaf;
            }
        }
        if over(&mut leaves) != Some(above) {
            continue;
        }
        for (index, (seq, leaf)) in doubted.iter().zip(&of_blocks).enumerate() {
            match leaf {
                Some(leaf) if takes(index) => {
                    put_leaf(txn, record, *seq, *leaf)?;
                    txn.delete(Table::Holes, &block_key(record.id, *seq))?;
                }
                _ => {
                    txn.delete(Table::Blocks, &block_key(record.id, *seq))?;
                    note_hole(txn, record, *seq, false)?;
                }
            }
        }
        return Ok(true);
    }
    Ok(false)
}

/// What can be told of a damaged record from its rows.
fn mend_from_rows(txn: &mut WriteTxn<'_>, record: &mut FeedRecord) -> Result<(), FeedError> {
    let before = record.clone();
    let Ok(roots) = (StoredTree { txn: &*txn, feed_id: record.id }).roots(record.length) else {
        return Ok(());
    };
    let signer = *record.signer();
    let is_signed = |head: Option<Head>| head.is_some_and(|head| head.verify(&signer).is_ok());
    let covers = record.head.is_some_and(|head| head.length == record.length && head.fits(&roots));
    if covers
        && !is_signed(record.head)
        && let Some(secret) = &record.secret
        && let Ok(seed) = secret.seed(record.key)
    {
        // It says what it said.
        record.head = Some(Head::sign(&seed.signing_key(), &roots));
    }
    record.cover = record.cover.filter(|cover| is_signed(Some(*cover)));
    record.tip = record.tip.filter(|tip| is_signed(Some(*tip)));
    if is_signed(record.head) && (covers || record.cover.is_some()) {
        record.byte_length = roots.byte_length();
        cut_beyond(txn, record)?;
    }
    if *record == before { Ok(()) } else { save(txn, record) }
}

/// Takes out rows beyond the length.
fn cut_beyond(txn: &mut WriteTxn<'_>, record: &FeedRecord) -> Result<(), FeedError> {
    let mut gone = Vec::new();
    let (from, to) = (block_key(record.id, record.length), block_key(record.id, u64::MAX));
    for row in txn.range(Table::Blocks, Bound::Included(&from), Bound::Included(&to))? {
        gone.push((Table::Blocks, row?.0.to_vec()));
    }
    let (from, to) = (tree_key(record.id, 0, 0), tree_key(record.id, u8::MAX, u64::MAX));
    for row in txn.range(Table::Tree, Bound::Included(&from), Bound::Included(&to))? {
        let key = row?.0;
        let (tier, group) = (key.get(4).copied().unwrap_or(u8::MAX), key.last_chunk().copied());
        let group = group.map_or(u64::MAX, u64::from_be_bytes);
        if group >= tier_length(record.length, tier.min(63)).div_ceil(PACK) {
            gone.push((Table::Tree, key.to_vec()));
        }
    }
    for (table, key) in gone {
        txn.delete(table, &key)?;
    }
    Ok(())
}

/// The record that a row was before one bit of it was turned: everything in it must fit everything else.
pub fn mended_record(txn: &impl Read, key: FeedKey, row: &[u8]) -> Result<Option<FeedRecord>, FeedError> {
    let is_right = |row: &[u8]| FeedRecord::decode(key, row).is_ok_and(|record| fits(txn, &record));
    if is_right(row) {
        return Ok(None);
    }
    let mut mended = flipped_back(row, is_right).and_then(|row| FeedRecord::decode(key, &row).ok());
    if let Some(record) = &mut mended {
        record.covered = cover::load(txn, record)?;
    }
    Ok(mended)
}

/// Whether a record is what its rows and keys say. The cheap questions come first: it is asked for every bit.
fn fits(txn: &impl Read, record: &FeedRecord) -> bool {
    let there =
        |seq: u64| txn.get(Table::Blocks, &block_key(record.id, seq)).is_ok_and(|block| block.is_some());
    let ends = record
        .length
        .checked_sub(1)
        .is_none_or(|last| last < record.base() || there(last) || is_hole(txn, record, last))
        && !there(record.length);
    if !ends || record.length > crate::codec::limits::MAX_FEED_LENGTH {
        return false;
    }
    let Ok(roots) = StoredTree { txn, feed_id: record.id }.roots(record.length) else { return false };
    if roots.byte_length() != record.byte_length
        || (record.head.is_none() && record.cover.is_none() && record.length > 0)
    {
        return false;
    }
    let is_proved = txn.get(Table::Forks, record.key.as_bytes()).is_ok_and(|proof| proof.is_some());
    if record.forked != is_proved {
        return false;
    }
    if record
        .head
        .is_some_and(|head| head.length > record.length || head.length == record.length && !head.fits(&roots))
    {
        return false;
    }
    let heads = [record.head, record.cover, record.tip];
    let is_secret = record.secret.as_ref().is_none_or(|secret| {
        secret.sealed().is_some() || secret.seed(record.key).is_ok_and(|seed| seed.feed() == record.key)
    });
    is_secret
        && record.cover.is_none_or(|cover| cover.length > record.length)
        && record.left <= record.length
        && is_alone(txn, record)
        && heads.iter().flatten().all(|head| head.verify(record.signer()).is_ok())
}

fn is_hole(txn: &impl Read, record: &FeedRecord, seq: u64) -> bool {
    txn.get(Table::Holes, &block_key(record.id, seq)).is_ok_and(|row| row.is_some())
}

/// No other record has its number.
fn is_alone(txn: &impl Read, record: &FeedRecord) -> bool {
    let is_other = |(key, other): &(FeedKey, Result<FeedRecord, FeedError>)| {
        *key != record.key && other.as_ref().is_ok_and(|other| other.id == record.id)
    };
    each(txn).is_ok_and(|records| !records.iter().any(is_other))
}
