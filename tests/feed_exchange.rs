//! Feeds going from one store to another: whole, in pieces, with heads ahead of their blocks.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod feed_support;

use feed_support::{Peer, blocks};
use multi_hyperbee::feed::{self, FeedError, Grown};
use multi_hyperbee::merkle::Known;
use proptest::prelude::*;

fn known(extending: bool) -> Known {
    if extending { Known::Start } else { Known::Nothing }
}

#[derive(Debug, Clone)]
struct Chunk {
    back: u64,
    count: u64,
    /// Of the writer's heads, which one it comes under.
    head: prop::sample::Index,
    extending: bool,
}

fn chunks() -> impl Strategy<Value = Vec<Chunk>> {
    let chunk = (0..20_u64, 0..40_u64, any::<prop::sample::Index>(), any::<bool>())
        .prop_map(|(back, count, head, extending)| Chunk { back, count, head, extending });
    prop::collection::vec(chunk, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn i1_i2_i3_blocks_in_any_pieces_under_any_heads_give_the_same_feed(
        groups in prop::collection::vec(1..40_usize, 1..6),
        chunks in chunks(),
    ) {
        let all = blocks(groups.iter().sum::<usize>() as u64);
        let (mut writer, mut heads, mut at) = (Peer::writer(&[]), Vec::new(), 0);
        for group in groups {
            writer.append(&all[at..at + group]);
            at += group;
            heads.push(writer.head());
        }
        let mut reader = Peer::reader();
        let mut longest = 0;
        for chunk in chunks {
            let head = heads[chunk.head.index(heads.len())];
            let held = reader.record.length;
            let start = held.saturating_sub(chunk.back).min(head.length);
            let end = (start + chunk.count).min(head.length);
            let sent = writer.serve(start, end, &head, known(chunk.extending));
            let grown = reader.receive(&sent).unwrap();
            longest = longest.max(head.length);
            prop_assert_eq!((grown.from, grown.to), (held, held.max(end)));
            prop_assert_eq!(reader.record.signed(), longest);
            let complete = heads.iter().map(|head| head.length).filter(|length| *length <= grown.to);
            prop_assert!(reader.record.complete() <= complete.max().unwrap_or(0));
        }
        let held = reader.record.length;
        let rest = writer.serve(held, writer.record.length, &writer.head(), Known::Start);
        reader.receive(&rest).unwrap();
        let expected = feed::FeedRecord { secret: None, ..writer.record.clone() };
        prop_assert_eq!(&reader.record, &expected);
        // What was received can be passed on.
        let mut third = Peer::reader();
        let whole = reader.serve(0, held.max(1), &reader.head(), Known::Nothing);
        third.receive(&whole).unwrap();
    }
}

#[test]
fn a_head_is_served_only_once_it_is_complete() {
    let mut writer = Peer::writer(&blocks(10));
    let ten = writer.head();
    let mut reader = Peer::reader();
    reader.receive(&writer.serve(0, 10, &ten, Known::Start)).unwrap();
    writer.append(&blocks(10));
    let grown = reader.receive(&writer.serve(10, 15, &writer.head(), Known::Start)).unwrap();
    assert_eq!(grown, Grown { from: 10, to: 15, complete_from: 10, complete_to: 10 });
    assert_eq!((reader.record.cover, reader.record.tip), (Some(writer.head()), None));
    let txn = reader.env.read().unwrap();
    let served = feed::prove(&txn, &reader.record, (0, 15), 100, &writer.head(), Known::Nothing);
    assert!(matches!(served, Err(FeedError::NotServed { held: 10, .. })));
    let served = feed::prove(&txn, &reader.record, (0, 11), 100, &ten, Known::Nothing);
    assert!(matches!(served, Err(FeedError::NotServed { .. })));
    let served = feed::prove(&txn, &reader.record, (3, 2), 100, &ten, Known::Nothing);
    assert!(matches!(served, Err(FeedError::NotServed { .. })));
    drop(txn);
    let grown = reader.receive(&writer.serve(15, 20, &writer.head(), Known::Start)).unwrap();
    assert_eq!(grown, Grown { from: 15, to: 20, complete_from: 10, complete_to: 20 });
}

#[test]
fn a_message_holds_as_much_as_fits_and_at_least_one_block() {
    let writer = Peer::writer(&[vec![1; 50], vec![2; 50], vec![3; 50], vec![]]);
    let txn = writer.env.read().unwrap();
    let end = |max| {
        let out = feed::prove(&txn, &writer.record, (0, 4), max, &writer.head(), Known::Nothing).unwrap();
        assert_eq!(out.blocks.len() as u64, out.end);
        out.end
    };
    assert_eq!([end(0), end(50), end(99), end(100), end(149), end(150)], [1, 1, 1, 2, 2, 4]);
}

#[test]
fn a_head_alone_is_learnt_without_blocks_and_marks_the_own_feed_as_behind() {
    let writer = Peer::writer(&blocks(30));
    let mut reader = Peer::reader();
    let shown = writer.serve(30, 30, &writer.head(), Known::Nothing);
    let grown = reader.receive(&shown).unwrap();
    assert_eq!((grown.from, grown.to), (0, 0));
    assert_eq!(
        (reader.record.tip, reader.record.cover, reader.record.signed()),
        (Some(writer.head()), None, 30)
    );
    // A restored copy of the writer itself.
    let mut restored = Peer::writer(&blocks(12));
    restored.receive(&shown).unwrap();
    let txn = restored.env.read().unwrap();
    let refused = feed::Appender::new(&txn, restored.record.clone()).map(|_| ());
    assert!(matches!(refused, Err(FeedError::Behind { length: 12, signed: 30, .. })));
    drop(txn);
    restored.receive(&writer.serve(12, 30, &writer.head(), Known::Start)).unwrap();
    restored.append(&blocks(1));
    restored.check();
}

#[test]
fn two_peers_deliver_the_same_blocks_at_once() {
    let mut writer = Peer::writer(&blocks(20));
    let twenty = writer.head();
    writer.append(&blocks(20));
    let mut reader = Peer::reader();
    let verified: Vec<_> =
        [(0, 15, &twenty), (0, 20, &twenty), (0, 40, &writer.head()), (0, 3, &writer.head())]
            .iter()
            .map(|(start, end, head)| {
                reader.verify(&writer.serve(*start, *end, head, Known::Nothing)).unwrap()
            })
            .collect();
    // All were verified before any of them was stored.
    let lengths: Vec<_> = [0, 3, 1, 2, 0].iter().map(|i| reader.ingest(&verified[*i]).unwrap().to).collect();
    assert_eq!(lengths, [15, 15, 20, 40, 40]);
    assert_eq!(reader.record.head, writer.record.head);
}

#[test]
fn a_gap_is_not_jumped() {
    let writer = Peer::writer(&blocks(30));
    let mut reader = Peer::reader();
    for known in [Known::Nothing, Known::Start] {
        let sent = writer.serve(5, 10, &writer.head(), known);
        assert!(matches!(reader.receive(&sent), Err(FeedError::Gap { start: 5, length: 0 })));
    }
    // Verified where it fitted, ingested where it does not: another store of the same feed.
    let mut ahead = Peer::reader();
    ahead.receive(&writer.serve(0, 5, &writer.head(), Known::Nothing)).unwrap();
    let verified = ahead.verify(&writer.serve(5, 10, &writer.head(), Known::Nothing)).unwrap();
    assert_eq!((verified.start(), verified.end(), verified.head()), (5, 10, &writer.head()));
    assert!(matches!(reader.ingest(&verified), Err(FeedError::Gap { start: 5, length: 0 })));
}

#[test]
fn a_crash_between_ingest_and_commit_leaves_the_feed_as_it_was() {
    let writer = Peer::writer(&blocks(300));
    let mut reader = Peer::reader();
    reader.receive(&writer.serve(0, 100, &writer.head(), Known::Nothing)).unwrap();
    let verified = reader.verify(&writer.serve(100, 300, &writer.head(), Known::Start)).unwrap();
    let mut txn = reader.env.write().unwrap();
    let mut lost = reader.record.clone();
    feed::ingest(&mut txn, &mut lost, &verified).unwrap();
    assert_eq!(lost.length, 300);
    txn.abort();
    reader.check();
    assert_eq!(reader.ingest(&verified).unwrap().to, 300);
}
