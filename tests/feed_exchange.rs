//! Feeds going from one store to another: whole, in pieces, with heads ahead of their blocks.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod feed_support;

use feed_support::{Peer, blocks};
use multi_hyperbee::feed::{self, FeedError, FeedRecord, Grown};
use multi_hyperbee::merkle::{Head, Known, Node};
use multi_hyperbee::store::{Read, Table};
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
            // All that is here can be passed on, from any place on, to who has nothing and to who has what is before it.
            let (here, from) = (reader.record.length, start.min(reader.record.length));
            prop_assert_eq!(reader.record.served(), here);
            if let Some(head) = reader.record.served_under(here).copied() {
                let mut next = Peer::reader();
                let from_complete = from.min(reader.record.complete());
                next.receive(&reader.serve(0, from_complete.max(1).min(here), &head, Known::Nothing)).unwrap();
                let from = next.record.length;
                next.receive(&reader.serve(from, here, &head, known(chunk.extending))).unwrap();
                prop_assert_eq!((next.record.length, next.record.served()), (here, here));
            }
        }
        let held = reader.record.length;
        let rest = writer.serve(held, writer.record.length, &writer.head(), Known::Start);
        reader.receive(&rest).unwrap();
        let expected = FeedRecord { secret: None, ..writer.record.clone() };
        prop_assert_eq!(&reader.record, &expected);
        // What was received can be passed on.
        let mut third = Peer::reader();
        let whole = reader.serve(0, held.max(1), &reader.head(), Known::Nothing);
        third.receive(&whole).unwrap();
    }
}

#[test]
fn what_is_here_of_a_head_is_passed_on_before_all_of_it_is_here() {
    let mut writer = Peer::writer(&blocks(10));
    let ten = writer.head();
    let mut reader = Peer::reader();
    reader.receive(&writer.serve(0, 10, &ten, Known::Start)).unwrap();
    writer.append(&blocks(10));
    let twenty = writer.head();
    let grown = reader.receive(&writer.serve(10, 15, &twenty, Known::Start)).unwrap();
    assert_eq!(grown, Grown { from: 10, to: 15, complete_from: 10, complete_to: 10 });
    assert_eq!((reader.record.cover, reader.record.tip), (Some(twenty), None));
    assert_eq!((reader.record.complete(), reader.record.served()), (10, 15));
    let under = [10, 11, 15, 16].map(|end| reader.record.served_under(end).copied());
    assert_eq!(under, [Some(ten), Some(twenty), Some(twenty), None]);
    let txn = reader.env.read().unwrap();
    let refused = |(start, end), head| {
        let served = feed::prove(&txn, &reader.record, (start, end), 100, head, Known::Nothing);
        matches!(served, Err(FeedError::NotServed { .. }))
    };
    assert!(refused((0, 16), &twenty) && refused((0, 11), &ten) && refused((3, 2), &ten));
    // Not under a head that is merely known to be longer.
    assert!(refused((0, 5), &Head { length: 21, ..twenty }));
    drop(txn);
    // From one to the next, and on.
    let mut third = Peer::reader();
    for (start, end) in [(0, 12), (12, 15)] {
        third.receive(&reader.serve(start, end, &twenty, Known::Start)).unwrap();
    }
    assert_eq!(third.record, FeedRecord { head: None, ..reader.record.clone() });
    let grown = third.receive(&writer.serve(15, 20, &twenty, Known::Start)).unwrap();
    assert_eq!(grown, Grown { from: 15, to: 20, complete_from: 0, complete_to: 20 });
    reader.receive(&third.serve(15, 20, &twenty, Known::Start)).unwrap();
    assert_eq!(reader.record, FeedRecord { secret: None, ..writer.record });
}

#[test]
fn without_its_row_a_cover_is_not_served_under_until_more_comes() {
    let writer = Peer::writer(&blocks(20));
    let mut reader = Peer::reader();
    reader.receive(&writer.serve(0, 7, &writer.head(), Known::Start)).unwrap();
    // As it was stored before there were such rows; and one of another length, and one that cannot be read.
    let key = reader.record.id.to_be_bytes();
    let row = reader.env.read().unwrap().get(Table::Covers, &key).unwrap().unwrap().to_vec();
    let longer = [&8_u64.to_be_bytes()[..], &row[8..]].concat();
    for damaged in [None, Some(&longer[..]), Some(&row[..row.len() - 1]), Some(&row[..row.len() - 40])] {
        let mut txn = reader.env.write().unwrap();
        match damaged {
            None => drop(txn.delete(Table::Covers, &key).unwrap()),
            Some(row) => txn.put(Table::Covers, &key, row).unwrap(),
        }
        txn.commit().unwrap();
        let txn = reader.env.read().unwrap();
        reader.record = feed::load(&txn, &feed_support::feed()).unwrap().unwrap();
        assert_eq!((reader.record.length, reader.record.served(), &reader.record.covered), (7, 0, &None));
        if let Some(row) = damaged {
            assert!(feed::verify_cover(&txn, &reader.record, &key, row).is_err());
        }
    }
    reader.receive(&writer.serve(7, 8, &writer.head(), Known::Start)).unwrap();
    assert_eq!(reader.record.served(), 8);
}

#[test]
fn the_row_of_a_cover_has_these_bytes_and_goes_with_it() {
    let writer = Peer::writer(&blocks(7));
    let mut reader = Peer::reader();
    reader.receive(&writer.serve(0, 5, &writer.head(), Known::Start)).unwrap();
    let key = reader.record.id.to_be_bytes();
    let row_of =
        |reader: &Peer| reader.env.read().unwrap().get(Table::Covers, &key).unwrap().map(<[u8]>::to_vec);
    let root = feed_support::naive_roots(&blocks(5)).hash();
    // Of blocks 5 and 6 the leaves, by themselves: 6 is no left child of a pair that is whole.
    let leaf = |seq: usize| Node::leaf(&blocks(7)[seq]).encode();
    let expected = [&5_u64.to_be_bytes()[..], &root, &leaf(5), &leaf(6)].concat();
    assert_eq!(row_of(&reader), Some(expected.clone()));
    for cut in 0..expected.len() {
        let is_shorter = cut >= 40 && (cut - 40) % 40 == 0;
        assert_eq!(feed::check_cover(&key, &expected[..cut]).is_ok(), is_shorter);
    }
    assert!(feed::check_cover(&key[..3], &expected).is_err());
    assert!(
        feed::check_cover(&key, &expected[..40].iter().chain(&[0; 81 * 40]).copied().collect::<Vec<_>>())
            .is_err()
    );
    reader.receive(&writer.serve(5, 7, &writer.head(), Known::Start)).unwrap();
    assert_eq!(row_of(&reader), None);
    // Let go of with everything else.
    let mut reader = Peer::reader();
    reader.receive(&writer.serve(0, 5, &writer.head(), Known::Start)).unwrap();
    let mut txn = reader.env.write().unwrap();
    feed::clear(&mut txn, &mut reader.record).unwrap();
    txn.commit().unwrap();
    assert_eq!(row_of(&reader), None);
}

#[test]
fn a_head_without_blocks_gives_way_to_blocks_of_another_history() {
    let common = blocks(5);
    let history = |tail: &str, count: usize| {
        let mut writer = Peer::writer(&common);
        writer.append(&(0..count).map(|n| format!("{tail}{n}").into_bytes()).collect::<Vec<_>>());
        writer
    };
    let (lost, other) = (history("a", 10), history("b", 12));
    // Five blocks of both, under the head of the one whose blocks nobody has any more.
    let reader = || {
        let mut reader = Peer::reader();
        reader.receive(&lost.serve(0, 5, &lost.head(), Known::Nothing)).unwrap();
        reader
    };
    let mut same_length = Peer::writer(&common);
    same_length.append(&(0..10).map(|n| format!("c{n}").into_bytes()).collect::<Vec<_>>());
    for (writer, cuts) in [(&other, vec![17]), (&other, vec![6, 14, 16, 17]), (&same_length, vec![8, 15])] {
        let mut reader = reader();
        for end in cuts {
            let start = reader.record.length;
            reader.receive(&writer.serve(start, end, &writer.head(), Known::Start)).unwrap();
        }
        assert_eq!(reader.record, FeedRecord { secret: None, ..writer.record.clone() });
        // A block of the other one shows that the feed has forked, to anyone.
        let sent = lost.serve(5, 6, &lost.head(), Known::Start);
        let fork = reader.receive(&sent).unwrap_err();
        assert!(matches!(&fork, FeedError::Fork(fork) if fork.by == 5 && fork.is_exact), "{fork}");
        let txn = reader.env.read().unwrap();
        feed::parting(&txn, &reader.record, &sent.received()).unwrap().verify(&reader.record.key).unwrap();
    }
    // No block, no giving way: a head alone says no more than the one that is known.
    let mut unmoved = reader();
    for start in [0, 5, 9, 15] {
        let refused = unmoved.receive(&same_length.serve(start, start, &same_length.head(), Known::Nothing));
        assert!(matches!(refused, Err(FeedError::Fork(_))));
    }
    // Neither do blocks that are here already.
    let refused = unmoved.receive(&same_length.serve(2, 5, &same_length.head(), Known::Nothing));
    assert!(matches!(refused, Err(FeedError::Fork(_))));
    assert_eq!(unmoved.record.cover, Some(lost.head()));
    // Neither where blocks here are another history's, nor for one's own feed.
    let mut ahead = Peer::reader();
    ahead.receive(&lost.serve(0, 8, &lost.head(), Known::Nothing)).unwrap();
    assert!(matches!(
        ahead.receive(&other.serve(5, 17, &other.head(), Known::Start)),
        Err(FeedError::Fork(_))
    ));
    let mut own = Peer::writer(&common);
    own.receive(&lost.serve(5, 5, &lost.head(), Known::Nothing)).unwrap();
    let refused = own.receive(&other.serve(5, 17, &other.head(), Known::Start));
    assert!(matches!(refused, Err(FeedError::Fork(_))));
    assert_eq!(own.record.tip, Some(lost.head()));
}

#[test]
fn a_fork_is_proved_from_blocks_that_no_complete_head_covers() {
    let common = blocks(3);
    let history = |tail: &str| {
        let mut writer = Peer::writer(&common);
        writer.append(&(0..9).map(|n| format!("{tail}{n}").into_bytes()).collect::<Vec<_>>());
        writer
    };
    let (left, right) = (history("a"), history("b"));
    let (mut reader, mut other) = (Peer::reader(), Peer::reader());
    reader.receive(&left.serve(0, 6, &left.head(), Known::Nothing)).unwrap();
    other.receive(&right.serve(0, 4, &right.head(), Known::Nothing)).unwrap();
    let sent = other.serve(3, 4, &right.head(), Known::Nothing);
    assert!(matches!(reader.verify(&sent), Err(FeedError::Fork(fork)) if fork.is_exact && fork.by == 3));
    let txn = reader.env.read().unwrap();
    let parting = feed::parting(&txn, &reader.record, &sent.received()).unwrap();
    parting.verify(&reader.record.key).unwrap();
    assert_eq!(parting.common, 3);
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
