//! Blocks that stand apart from a feed's beginning: kept, read, joined with what grows up to them; and what is refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod feed_support;

use feed_support::{Peer, Sent, blocks, feed};
use multi_hyperbee::codec::Reader;
use multi_hyperbee::feed::{self, FeedError};
use multi_hyperbee::merkle::{Known, Node};
use multi_hyperbee::store::{Read as _, Table, block_key};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What came of keeping a part.
fn keep(peer: &mut Peer, sent: &Sent) -> Result<bool, FeedError> {
    let mut txn = peer.env.write().unwrap();
    let before = peer.record.clone();
    let kept = feed::keep_part(&mut txn, &mut peer.record, &sent.received());
    if kept.is_ok() {
        txn.commit().unwrap();
    } else {
        assert_eq!(peer.record, before, "a refused part leaves the record as it was");
        txn.abort();
    }
    peer.check();
    kept
}

/// Takes into the feed what it has grown up to.
fn join(peer: &mut Peer) {
    loop {
        let mut txn = peer.env.write().unwrap();
        let part = feed::take_reached(&mut txn, &peer.record).unwrap();
        let Some(part) = part else {
            txn.commit().unwrap();
            return;
        };
        let verified = feed::verify(&txn, &peer.record, &part.received()).unwrap();
        feed::ingest(&mut txn, &mut peer.record, &verified).unwrap();
        txn.commit().unwrap();
        peer.check();
    }
}

fn read(peer: &Peer, seq: u64) -> Option<Vec<u8>> {
    let txn = peer.env.read().unwrap();
    match feed::block(&txn, peer.record.id, seq).unwrap() {
        Some(block) => Some(block.to_vec()),
        None => feed::apart(&txn, &peer.record, seq).unwrap(),
    }
}

/// The first gap, by looking at each block.
fn naive_gap(here: &BTreeSet<u64>, from: u64, end: u64) -> Option<(u64, u64)> {
    let first = (from..end).find(|seq| !here.contains(seq))?;
    Some((first, (first..end).find(|seq| here.contains(seq)).unwrap_or(end)))
}

#[derive(Debug, Clone)]
enum Step {
    /// Apart, under the writer's head of that number.
    Part { start: u64, count: u64, head: prop::sample::Index },
    /// From where the feed ends here.
    Grow { count: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let part = (0..120_u64, 1..20_u64, any::<prop::sample::Index>())
        .prop_map(|(start, count, head)| Step::Part { start, count, head });
    let grow = (1..30_u64).prop_map(|count| Step::Grow { count });
    prop::collection::vec(prop_oneof![3 => part, 1 => grow], 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_here_is_what_was_kept_whatever_the_order_and_the_heads(steps in steps()) {
        let all = blocks(120);
        let mut writer = Peer::writer(&[]);
        let mut heads = Vec::new();
        for group in all.chunks(30) {
            writer.append(group);
            heads.push(writer.head());
        }
        let mut reader = Peer::reader();
        let (mut here, mut signed) = (BTreeSet::new(), 0);
        for step in steps {
            match step {
                Step::Part { start, count, head } => {
                    let head = heads[head.index(heads.len())];
                    let (start, end) = (start.min(head.length - 1), (start + count).min(head.length));
                    let sent = writer.serve(start, end.max(start + 1), &head, Known::Nothing);
                    let range = start..end.max(start + 1);
                    let kept = keep(&mut reader, &sent);
                    if start <= reader.record.length {
                        let is_gap = matches!(kept, Err(FeedError::Gap { .. }));
                        prop_assert!(is_gap);
                        continue;
                    }
                    let is_new = range.clone().all(|seq| !here.contains(&seq));
                    prop_assert_eq!(kept.unwrap(), is_new);
                    if is_new {
                        here.extend(range);
                        signed = signed.max(head.length);
                    }
                }
                Step::Grow { count } => {
                    let from = reader.record.length;
                    let end = (from + count).min(120);
                    reader.receive(&writer.serve(from, end, &writer.head(), Known::Start)).unwrap();
                    here.extend(0..end);
                    signed = 120;
                    join(&mut reader);
                    let whole = (0..=120).find(|seq| !here.contains(seq)).unwrap();
                    prop_assert_eq!(reader.record.length, whole, "it goes on through what stood apart");
                }
            }
            prop_assert_eq!(reader.record.signed(), signed);
            for seq in 0..121 {
                let expected = here.contains(&seq).then(|| all[usize::try_from(seq).unwrap()].clone());
                prop_assert_eq!(read(&reader, seq), expected);
            }
            let txn = reader.env.read().unwrap();
            for (from, end) in [(0, 120), (7, 50), (60, 61), (119, 120)] {
                prop_assert_eq!(feed::gap(&txn, &reader.record, from, end).unwrap(), naive_gap(&here, from, end));
            }
        }
    }
}

/// A writer of 20 blocks, a reader, and blocks 9 to 11 as they are sent.
fn part() -> (Peer, Peer, Sent) {
    let writer = Peer::writer(&blocks(20));
    let sent = writer.serve(9, 11, &writer.head(), Known::Nothing);
    (writer, Peer::reader(), sent)
}

fn row(peer: &Peer, start: u64) -> Option<Vec<u8>> {
    let txn = peer.env.read().unwrap();
    txn.get(Table::Parts, &block_key(peer.record.id, start)).unwrap().map(<[u8]>::to_vec)
}

#[test]
fn the_bytes_of_a_part_and_no_truncation_of_it_can_be_read() {
    let (_, mut reader, sent) = part();
    assert!(keep(&mut reader, &sent).unwrap());
    let found = row(&reader, 9).unwrap();
    // By hand: counts and lengths are below 128, so each is one byte, but for the head's bytes.
    let bytes = sent.head.byte_length;
    assert!((128..16_384).contains(&bytes));
    let [low, high] = [bytes % 128 + 128, bytes / 128].map(|part| u8::try_from(part).unwrap());
    let mut expected = vec![2, 20, low, high];
    expected.extend_from_slice(&sent.head.signature);
    expected.push(u8::try_from(sent.nodes.len()).unwrap());
    for Node { hash, bytes } in &sent.nodes {
        expected.extend_from_slice(&bytes.to_be_bytes());
        expected.extend_from_slice(hash);
    }
    for block in &sent.blocks {
        expected.push(u8::try_from(block.len()).unwrap());
        expected.extend_from_slice(block);
    }
    assert_eq!(found, expected);
    let key = block_key(reader.record.id, 9);
    feed::check_part(&key, &found).unwrap();
    for cut in 0..found.len() {
        feed::check_part(&key, &found[..cut]).unwrap_err();
    }
    feed::check_part(&key, &[&found[..], &[0]].concat()).unwrap_err();
    feed::check_part(&key[..11], &found).unwrap_err();
    // A count of blocks or nodes that is not there reserves nothing and is refused.
    let endless = [&[0xff, 0xff, 0xff, 0xff, 0x7f][..], &found[1..]].concat();
    feed::check_part(&key, &endless).unwrap_err();
    assert_eq!(Reader::new(&found).varint("blocks").unwrap(), 2);
}

#[test]
fn whatever_of_a_part_is_changed_it_is_refused_and_nothing_is_stored() {
    let (writer, mut reader, sent) = part();
    let changes: [fn(&mut Sent); 8] = [
        |sent| sent.start += 1,
        |sent| sent.blocks[0].push(b'x'),
        |sent| sent.nodes[0].hash[0] ^= 1,
        |sent| sent.nodes[0].bytes += 1,
        |sent| sent.nodes.truncate(sent.nodes.len() - 1),
        |sent| sent.head.length += 1,
        |sent| sent.head.byte_length += 1,
        |sent| sent.head.signature[0] ^= 1,
    ];
    for (n, change) in changes.iter().enumerate() {
        let mut altered = sent.clone();
        change(&mut altered);
        let error = keep(&mut reader, &altered).unwrap_err();
        assert!(matches!(error, FeedError::Proof(_) | FeedError::Head(_)), "{n}: {error}");
    }
    let refused: [fn(&mut Sent); 2] = [|sent| sent.extending = true, |sent| sent.blocks.clear()];
    for change in refused {
        let mut altered = sent.clone();
        change(&mut altered);
        assert!(matches!(keep(&mut reader, &altered), Err(FeedError::Gap { .. })));
    }
    let other = Peer::writer(&blocks(20));
    assert_eq!((feed(), row(&reader, 9)), (other.record.key, None));
    assert_eq!(writer.record.key, reader.record.key);
}

#[test]
fn a_part_of_another_history_is_a_fork_and_is_not_stored() {
    let (writer, mut reader, _) = part();
    reader.receive(&writer.serve(0, 5, &writer.head(), Known::Start)).unwrap();
    let mut branch = blocks(20);
    branch[12] = b"another".to_vec();
    let branch = Peer::writer(&branch);
    let sent = branch.serve(9, 11, &branch.head(), Known::Nothing);
    assert!(matches!(keep(&mut reader, &sent), Err(FeedError::Fork(_))));
    assert_eq!(row(&reader, 9), None);
}

#[test]
fn a_stored_part_that_was_changed_is_never_handed_on() {
    let (_, mut reader, sent) = part();
    keep(&mut reader, &sent).unwrap();
    let whole = row(&reader, 9).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        let mut txn = reader.env.write().unwrap();
        txn.put(Table::Parts, &block_key(reader.record.id, 9), &changed).unwrap();
        txn.commit().unwrap();
        let txn = reader.env.read().unwrap();
        let found = feed::apart(&txn, &reader.record, 10);
        assert!(!matches!(&found, Ok(Some(block)) if *block != sent.blocks[1]), "byte {at}: {found:?}");
    }
}
