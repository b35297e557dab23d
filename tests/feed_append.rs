//! Appending, the rows that appending leaves, and cutting back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod feed_support;

use feed_support::{Peer, SECRET, blocks, environment, feed, naive_roots};
use multi_hyperbee::feed::{self, Appender, BranchOf, FeedError, FeedRecord, Seed};
use multi_hyperbee::merkle::{Head, Node, Nodes as _, flat};
use multi_hyperbee::store::{Read as _, Table};
use multi_hyperbee::types::FeedKey;
use proptest::prelude::*;
use std::ops::Bound;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn i1_however_appends_are_grouped_the_feed_is_the_same(groups in prop::collection::vec(0..70_u64, 1..10)) {
        let all = blocks(groups.iter().sum());
        let (mut peer, mut at) = (Peer::writer(&[]), 0);
        for group in groups {
            let end = at + usize::try_from(group).unwrap();
            peer.append(&all[at..end]);
            at = end;
        }
        peer.check();
        let roots = naive_roots(&all);
        prop_assert_eq!(peer.record.length, all.len() as u64);
        prop_assert_eq!(peer.record.head.is_none_or(|head| head.fits(&roots)), true);
    }
}

/// Every node of a tree of 600 blocks (three tiers) by recursion over the blocks.
#[test]
fn stored_nodes_are_the_naive_nodes_at_every_depth() {
    fn naive(blocks: &[Vec<u8>]) -> Node {
        if let [block] = blocks {
            return Node::leaf(block);
        }
        let (left, right) = blocks.split_at(blocks.len() / 2);
        Node::parent(&naive(left), &naive(right))
    }
    let all = blocks(600);
    let peer = Peer::writer(&all);
    let txn = peer.env.read().unwrap();
    let tree = feed::StoredTree { txn: &txn, feed_id: peer.record.id };
    for depth in 0..10 {
        let size = 1 << depth;
        for (offset, blocks) in all.chunks(size).enumerate() {
            let node = tree.node(flat::index(depth, offset as u64));
            if blocks.len() == size {
                assert_eq!(node.unwrap(), naive(blocks), "depth {depth} offset {offset}");
            } else {
                assert!(node.is_err(), "a node that is not whole is not there");
            }
        }
    }
    assert!(tree.node(u64::MAX).is_err());
    let rows: Vec<(u8, usize)> = txn
        .range(Table::Tree, Bound::Unbounded, Bound::Unbounded)
        .unwrap()
        .map(|row| row.map(|(key, row)| (key[4], row.len() / Node::SIZE)).unwrap())
        .collect();
    let count = |tier| rows.iter().filter(|row| row.0 == tier).map(|row| row.1).sum::<usize>();
    assert_eq!((rows.len(), count(0), count(1), count(2), count(3)), (38 + 3 + 1, 600, 37, 2, 0));
}

#[test]
fn golden_rows() {
    let peer = Peer::writer(&[b"a".to_vec(), vec![], b"ccc".to_vec()]);
    let txn = peer.env.read().unwrap();
    let rows = |table| -> Vec<(String, String)> {
        let rows = txn.range(table, Bound::Unbounded, Bound::Unbounded).unwrap();
        rows.map(|row| row.map(|(key, row)| (hex::encode(key), hex::encode(row))).unwrap()).collect()
    };
    let row = |key: &str, row: &str| (key.to_string(), row.to_string());
    assert_eq!(
        rows(Table::Blocks),
        [
            row("000000000000000000000000", "61"),
            row("000000000000000000000001", ""),
            row("000000000000000000000002", "636363")
        ]
    );
    assert_eq!(
        rows(Table::Tree),
        [row(
            "00000000000000000000000000",
            "00000000000000014c1b61aed5f4c8288a483410d758c6bbf0195b036201687ff4aa63ed7e3ca02a00000000000000009d15372b1830735a0a2d05214669e3271a754aac46fe303b68bb3046013a057400000000000000039aa77e3cfa7f72d0b5da568c3e3c19838bc36effe9c8c02354cc031e53486446"
        )]
    );
    assert_eq!(
        rows(Table::Feeds),
        [row(
            &peer.record.key.to_string(),
            "090000000000000000000000030000000000000004000000000000000000000000000000030000000000000004edba9a2426dcb4d63d7637a65fbc5485cb3a16b930dd1adb462a5bbce5d35752c74918a1c33cf62be1bade8c81dc1ba5e5b818cc3b3ca8d91b2ea5e9f792bf73cd31a8cf3156fa9e1980d539c1cbb6d9ed6ec656116681cc155d022f25752a080101010101010101010101010101010101010101010101010101010101010101"
        )]
    );
    assert_eq!(txn.get(Table::Meta, b"next-feed").unwrap(), Some(&[0, 0, 0, 1][..]));
}

fn full_record() -> FeedRecord {
    let head = |length| Head { length, byte_length: 7, root: [8; 32], signature: [9; 64] };
    FeedRecord {
        key: feed(),
        id: 0x0102_0304,
        length: 5,
        byte_length: 6,
        head: Some(head(4)),
        cover: Some(head(7)),
        covered: None,
        tip: Some(head(8)),
        left: 3,
        secret: Some(Seed::new([10; 32]).into()),
        forked: true,
        unconfirmed: true,
        branch: Some(BranchOf { feed: FeedKey([11; 32]), base: 12 }),
    }
}

#[test]
fn records_round_trip_and_every_truncation_and_unknown_flag_fails() {
    let full = full_record();
    for keep in 0..128_u8 {
        let mut record = full.clone();
        record.head = record.head.filter(|_| keep & 1 != 0);
        record.cover = record.cover.filter(|_| keep & 2 != 0);
        record.tip = record.tip.filter(|_| keep & 4 != 0);
        record.secret = record.secret.filter(|_| keep & 8 != 0);
        record.forked = keep & 16 != 0;
        record.unconfirmed = keep & 32 != 0;
        record.branch = record.branch.filter(|_| keep & 64 != 0);
        let mut row = record.encode();
        assert_eq!(row[0], keep);
        assert_eq!(FeedRecord::decode(feed(), &row).as_ref(), Ok(&record));
        for cut in 0..row.len() {
            assert!(FeedRecord::decode(feed(), &row[..cut]).is_err());
        }
        row.push(0);
        assert!(FeedRecord::decode(feed(), &row).is_err());
    }
    let mut row = full.encode();
    let head = |length: &str| format!("{length}0000000000000007{}{}", "08".repeat(32), "09".repeat(64));
    let heads = ["0000000000000004", "0000000000000007", "0000000000000008"].map(head).concat();
    let numbers = "7f01020304000000000000000500000000000000060000000000000003";
    assert_eq!(
        hex::encode(&row),
        format!("{numbers}{heads}{}{}000000000000000c", "0a".repeat(32), "0b".repeat(32))
    );
    row[0] |= 128;
    assert!(FeedRecord::decode(feed(), &row).is_err());
    assert!(!format!("{full:?}").contains("10, 10"), "a secret is never printed");
}

#[test]
fn several_feeds_are_open_in_one_transaction() {
    let env = environment();
    let mut txn = env.write().unwrap();
    let mut open: Vec<Appender> = (1..4)
        .map(|i| {
            let seed = Seed::new([i; 32]);
            let record = feed::create(&mut txn, seed.feed(), Some(seed.into())).unwrap();
            Appender::new(&txn, record).unwrap()
        })
        .collect();
    for round in 0..40_u64 {
        for (i, appender) in open.iter_mut().enumerate() {
            assert_eq!(appender.append(&mut txn, format!("{i} {round}").as_bytes()).unwrap(), round);
            assert_eq!((appender.length(), appender.record().length), (round + 1, round + 1));
        }
    }
    let roots: Vec<_> = open.iter().map(Appender::root).collect();
    let records: Vec<_> = open.into_iter().map(|appender| appender.finish(&mut txn).unwrap()).collect();
    txn.commit().unwrap();
    let txn = env.read().unwrap();
    for (i, record) in records.iter().enumerate() {
        assert_eq!(record.id, u32::try_from(i).unwrap());
        assert_eq!(feed::load(&txn, &record.key).unwrap().as_ref(), Some(record));
        assert_eq!(record.head.unwrap().verify(&record.key), Ok(()));
        assert_eq!(feed::root_at(&txn, record, 40).unwrap(), roots[i]);
        assert_eq!(feed::block(&txn, record.id, 39).unwrap(), Some(format!("{i} 39").as_bytes()));
    }
    assert_eq!(feed::all(&txn).unwrap().len(), 3);
}

#[test]
fn an_aborted_transaction_leaves_the_feed_as_it_was() {
    let mut peer = Peer::writer(&blocks(20));
    let mut txn = peer.env.write().unwrap();
    let mut appender = Appender::new(&txn, peer.record.clone()).unwrap();
    for block in blocks(30) {
        appender.append(&mut txn, &block).unwrap();
    }
    appender.finish(&mut txn).unwrap();
    txn.abort();
    peer.check();
    peer.append(&[b"next".to_vec()]);
    peer.check();
    assert_eq!(peer.record.length, 21);
}

#[test]
fn what_must_not_be_appended_is_refused() {
    let peer = Peer::writer(&blocks(3));
    let mut txn = peer.env.write().unwrap();
    let mut appender = Appender::new(&txn, peer.record.clone()).unwrap();
    let large = vec![0; multi_hyperbee::codec::limits::MAX_BLOCK_BYTES + 1];
    assert!(matches!(appender.append(&mut txn, &large), Err(FeedError::BlockTooLarge { .. })));
    assert_eq!(appender.finish(&mut txn).unwrap(), peer.record, "nothing appended, nothing signed");
    let other = Seed::new([9; 32]);
    let wrong = feed::create(&mut txn, FeedKey([5; 32]), Some(other.clone().into()));
    assert!(matches!(wrong, Err(FeedError::WrongSecret { .. })));
    let twice = feed::create(&mut txn, peer.record.key, None);
    assert!(matches!(twice, Err(FeedError::Exists { .. })));
    let mut record = peer.record.clone();
    record.secret = None;
    assert!(matches!(Appender::new(&txn, record.clone()), Err(FeedError::NotWritable { .. })));
    record.secret = Some(other.into());
    assert!(matches!(Appender::new(&txn, record), Err(FeedError::WrongSecret { .. })));
    let mut record = peer.record.clone();
    record.tip = Some(Head { length: 4, ..peer.head() });
    assert!(matches!(Appender::new(&txn, record), Err(FeedError::Behind { length: 3, signed: 4, .. })));
    assert!(feed::root_at(&txn, &peer.record, 4).is_err());
    assert_eq!(feed::byte_length_at(&txn, &peer.record, 3).unwrap(), peer.record.byte_length);
}

#[test]
fn damaged_rows_are_errors() {
    let peer = Peer::writer(&blocks(40));
    let mut txn = peer.env.write().unwrap();
    for (group, row) in [(0, &[0; 39][..]), (1, &[]), (2, &[0; 41])] {
        let key = [&[0; 5][..], &u64::to_be_bytes(group)].concat();
        txn.put(Table::Tree, &key, row).unwrap();
    }
    let tree = feed::StoredTree { txn: &txn, feed_id: 0 };
    for seq in [0, 20, 33] {
        assert!(matches!(tree.leaf(seq), Err(FeedError::Corrupt { .. })), "leaf {seq}");
    }
    assert!(matches!(Appender::new(&txn, peer.record.clone()), Err(FeedError::Corrupt { .. })));
    txn.put(Table::Feeds, peer.record.key.as_bytes(), b"no record").unwrap();
    assert!(matches!(feed::load(&txn, &peer.record.key), Err(FeedError::CorruptRecord { .. })));
    txn.delete(Table::Blocks, &[0; 12]).unwrap();
    let known = multi_hyperbee::merkle::Known::Nothing;
    let served = feed::prove(&txn, &peer.record, (0, 1), 10, &peer.head(), known);
    assert!(matches!(served, Err(FeedError::Corrupt { .. })));
}

#[test]
fn a_feed_cut_back_is_the_feed_that_was_never_longer() {
    let all = blocks(300);
    for length in [0, 1, 15, 16, 17, 31, 255, 256, 257, 299, 300_usize] {
        let mut peer = Peer::writer(&all);
        let mut txn = peer.env.write().unwrap();
        feed::truncate(&mut txn, &mut peer.record, length as u64).unwrap();
        txn.commit().unwrap();
        peer.check();
        let never = Peer::writer(&all[..length]);
        assert_eq!(peer.record, never.record);
        let rows = |peer: &Peer, table| -> Vec<(Vec<u8>, Vec<u8>)> {
            let txn = peer.env.read().unwrap();
            let rows = txn.range(table, Bound::Unbounded, Bound::Unbounded).unwrap();
            rows.map(|row| row.map(|(key, row)| (key.to_vec(), row.to_vec())).unwrap()).collect()
        };
        assert!(rows(&peer, Table::Tree) == rows(&never, Table::Tree), "tree rows at {length}");
        assert!(rows(&peer, Table::Blocks) == rows(&never, Table::Blocks), "blocks at {length}");
        peer.append(&blocks(40));
        peer.check();
    }
}

#[test]
fn what_has_left_is_not_cut() {
    let mut peer = Peer::writer(&blocks(9));
    peer.record.left = 6;
    let mut txn = peer.env.write().unwrap();
    let cut = feed::truncate(&mut txn, &mut peer.record, 5);
    assert!(matches!(cut, Err(FeedError::HasLeft { left: 6, length: 5 })));
    let cut = feed::truncate(&mut txn, &mut peer.record, 10);
    assert!(matches!(cut, Err(FeedError::Gap { .. })));
    feed::truncate(&mut txn, &mut peer.record, 6).unwrap();
    peer.record.secret = None;
    assert!(feed::truncate(&mut txn, &mut peer.record, 6).is_err());
    assert_eq!(Seed::new(SECRET).feed(), peer.record.key);
}
