use std::fmt::Debug;

use proptest::prelude::*;

use super::*;
use crate::codec::{DecodeError, Reader};
use crate::types::Dot;

fn key(byte: u8) -> FeedKey {
    FeedKey([0xa0 | byte; 32])
}

fn at(time: u64, tick: u64, writer: u8, seq: u64) -> Position {
    Position { effective: Effective { time, tick }, writer: key(writer), seq }
}

/// One form: it decodes back, every truncation fails, one more byte is left over.
fn one_form<T: PartialEq + Debug>(
    value: &T,
    encode: impl Fn(&T, &mut Vec<u8>),
    decode: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> String {
    let mut bytes = Vec::new();
    encode(value, &mut bytes);
    let mut reader = Reader::new(&bytes);
    assert_eq!(decode(&mut reader).as_ref(), Ok(value));
    assert_eq!(reader.remaining(), 0);
    for cut in 0..bytes.len() {
        assert!(decode(&mut Reader::new(&bytes[..cut])).is_err(), "cut at {cut}");
    }
    // Keys as one byte and a mark, for reading.
    (1..=9).fold(hex::encode(&bytes), |text, byte: u8| {
        text.replace(&hex::encode(key(byte).0), &format!("<{byte}>"))
    })
}

fn state() -> (OrderState, Past) {
    let mut state = OrderState::new(key(1), WalkRule::Merge);
    let grant = Control::Grant { writer: key(2), indexer: false, seq: 1 };
    let revoke = Control::Revoke { writer: key(9), lost: true, seq: 2 };
    let (writer, seq, length, timestamp) = (key(1), 0, 3, 5);
    let controls = vec![grant, revoke];
    let batch = BatchFacts { writer, seq, length, timestamp, links: Vec::new(), controls };
    assert_eq!(state.place(&batch, at(5, 0, 1, 0), &Past::new()), Verdict::WalkDue);
    assert_eq!(state.rewalk(&OneBatch).map(|before| before.len()), Ok(0));
    (state, Past::from_iter([(key(1), 3)]))
}

struct OneBatch;

impl WalkSource for OneBatch {
    type Error = std::convert::Infallible;

    fn batch(&self, _: FeedKey, _: u64) -> Result<PlacedBatch, Self::Error> {
        Ok(PlacedBatch { seq: 0, end: 3, effective: Effective { time: 5, tick: 0 } })
    }

    fn past(&self, feed: FeedKey, length: u64) -> Result<Past, Self::Error> {
        Ok(Past::from_iter([(feed, length)]))
    }
}

#[test]
fn i4_golden_bytes() {
    let past = Past::from_iter([(key(2), 300), (key(1), 1)]);
    assert_eq!(one_form(&past, Past::encode_into, Past::decode), "02<1>01<2>ac02");

    let mut intervals = Intervals::new();
    intervals.insert(3, 5);
    intervals.insert(9, 300);
    assert_eq!(one_form(&intervals, Intervals::encode_into, Intervals::decode), "02030204a302");

    let mut members = Membership::of_creator(key(1));
    assert!(members.change(&Control::Grant { writer: key(2), indexer: false, seq: 7 }, at(0x1122, 2, 1, 6)));
    let golden = "02<1>0100<2>0001000000000000112202<1>06";
    assert_eq!(one_form(&members, Membership::encode_into, Membership::decode), golden);

    let (state, past) = state();
    assert_eq!(state.placed(), &past);
    let controls = state.controls().clone();
    let batch = controls.iter().next().expect("one was placed").clone();
    let golden = "<1>0003000000000000000500020100<2>0203<9>";
    assert_eq!(one_form(&batch, ControlBatch::encode_into, ControlBatch::decode), golden);

    let head = state.head();
    let golden = concat!("<1>0000", "01000000000000000500<1>00", "01000000000000000500<1>00");
    assert_eq!(one_form(&head, OrderHead::encode_into, OrderHead::decode), golden);
    let kept = |feed| one_form(&state.feed(&key(feed)), OrderFeed::encode_into, OrderFeed::decode);
    assert_eq!(kept(1), "03030700010003");
    assert_eq!(kept(2), "00000101000000000000000500<1>0000");
    assert!(state.feed(&key(9)).is_nothing());
}

#[test]
fn i4_other_forms_fail() {
    let feeds = |bytes: &[u8]| -> Vec<u8> {
        // A byte of 0xf0 and more stands for a whole key.
        bytes.iter().flat_map(|b| if *b >= 0xf0 { vec![*b; 32] } else { vec![*b] }).collect()
    };
    for bad in [
        &[1, 0xf1, 0][..],
        &[2, 0xf2, 1, 0xf1, 1],
        &[2, 0xf1, 1, 0xf1, 2],
        &[9, 0xf1, 1],
        &[1, 0xf1, 0x80, 0],
    ] {
        assert!(Past::decode(&mut Reader::new(&feeds(bad))).is_err(), "{bad:?}");
    }
    for bad in
        [&[1, 0, 0][..], &[2, 0, 1, 0, 1], &[3, 0, 1], &[2, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 1, 1, 1]]
    {
        assert!(Intervals::decode(&mut Reader::new(bad)).is_err(), "{bad:?}");
    }
    // No indexer; a flag of 2.
    for bad in [&[0][..], &[1, 0xf1, 0, 0], &[1, 0xf1, 2, 0]] {
        assert!(Membership::decode(&mut Reader::new(&feeds(bad))).is_err(), "{bad:?}");
    }
    let row =
        |count: u8, controls: &[u8]| [&[0xf1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5, 0, count][..], controls].concat();
    let twice = [1, 0, 0xf2, 1, 0, 0xf2];
    for bad in [row(0, &[]), row(1, &[2, 0, 0xf2]), row(2, &twice), row(1, &[0, 4, 0xf2])] {
        assert!(ControlBatch::decode(&mut Reader::new(&feeds(&bad))).is_err(), "{bad:?}");
    }
    assert!(ControlBatch::decode(&mut Reader::new(&feeds(&row(1, &[1, 3, 0xf2])))).is_ok());
}

/// Two indexers that have linked each other at every thousandth entry; entry `seq` of feed 1 stands at time `2 * seq`, of
/// feed 2 one later.
struct Million {
    asked: std::cell::Cell<u64>,
}

const LONG: u64 = 500_000;

impl WalkSource for Million {
    type Error = std::convert::Infallible;

    fn batch(&self, feed: FeedKey, seq: u64) -> Result<PlacedBatch, Self::Error> {
        self.asked.set(self.asked.get() + 1);
        let time = 2 * seq + u64::from(feed == key(2));
        Ok(PlacedBatch { seq, end: seq + 1, effective: Effective { time, tick: 0 } })
    }

    fn past(&self, feed: FeedKey, length: u64) -> Result<Past, Self::Error> {
        self.asked.set(self.asked.get() + 1);
        let other = if feed == key(1) { key(2) } else { key(1) };
        Ok(Past::from_iter([(feed, length), (other, (length - 1) / 1_000 * 1_000)]))
    }
}

#[test]
fn a_walk_over_a_million_entries_asks_about_few_of_them() {
    let placed = Past::from_iter([(key(1), LONG), (key(2), LONG)]);
    let promote = |seq: u64, indexer| ControlBatch {
        writer: key(1),
        seq,
        end: seq + 1,
        effective: Effective { time: 2 * seq, tick: 0 },
        controls: vec![Control::Grant { writer: key(2), indexer, seq }],
    };
    let controls: Controls = (0..100).map(|nth| promote(1 + nth * 5_000, nth % 2 == 0)).collect();
    let source = Million { asked: std::cell::Cell::new(0) };
    let Ok(outcome) = walk(key(1), WalkRule::Merge, &placed, &controls, &source);
    assert_eq!(outcome.last_change, Some(at(2 * 495_001, 0, 1, 495_001)));
    assert_eq!(outcome.counted[&key(1)].iter().collect::<Vec<_>>(), [(0, LONG)]);
    // From the first grant, at time 2, on.
    assert_eq!(outcome.counted[&key(2)].iter().collect::<Vec<_>>(), [(1, LONG)]);
    assert_eq!(outcome.walked.get(&key(2)), 499_000);
    assert!(source.asked.get() < 100 * 100, "{} questions", source.asked.get());
}

proptest! {
    #[test]
    fn intervals_are_the_set_of_what_was_inserted(
        inserted in prop::collection::vec((0..40_u64, 0..8_u64), 0..12),
        other in prop::collection::vec((0..40_u64, 0..8_u64), 0..12),
    ) {
        let build = |list: &[(u64, u64)]| {
            let mut intervals = Intervals::new();
            let mut set = vec![false; 60];
            for (from, length) in list {
                intervals.insert(*from, from + length);
                (*from..from + length).for_each(|seq| set[usize::try_from(seq).unwrap()] = true);
            }
            (intervals, set)
        };
        let ((a, in_a), (b, in_b)) = (build(&inserted), build(&other));
        let minus = a.difference(&b).fold(Intervals::new(), |mut sum, (from, to)| {
            assert!(from < to);
            sum.insert(from, to);
            sum
        });
        for seq in 0..60 {
            let index = usize::try_from(seq).unwrap();
            prop_assert_eq!(a.contains(seq), in_a[index]);
            prop_assert_eq!(minus.contains(seq), in_a[index] && !in_b[index]);
        }
        let ends: Vec<_> = a.iter().collect();
        prop_assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0));
        one_form(&a, Intervals::encode_into, Intervals::decode);
    }

    #[test]
    fn a_join_is_the_pointwise_maximum(
        a in prop::collection::btree_map(0..6_u8, 1..9_u64, 0..6),
        b in prop::collection::btree_map(0..6_u8, 1..9_u64, 0..6),
    ) {
        let past = |map: &std::collections::BTreeMap<u8, u64>| map.iter().map(|(f, l)| (key(*f), *l)).collect::<Past>();
        let mut joined = past(&a);
        let added = joined.join(&past(&b));
        prop_assert_eq!(added, joined != past(&a));
        for feed in 0..6 {
            let greatest = a.get(&feed).max(b.get(&feed)).copied().unwrap_or(0);
            prop_assert_eq!(joined.get(&key(feed)), greatest);
            let (writer, seq) = (key(feed), greatest);
            let next = Dot { writer, seq };
            prop_assert!(!joined.contains(next));
        }
        one_form(&joined, Past::encode_into, Past::decode);
    }

    #[test]
    fn i4_no_bytes_panic_and_what_decodes_encodes_back(bytes in prop::collection::vec(0..4_u8, 0..200), cut in 0..5_usize) {
        fn back<T>(bytes: &[u8], decode: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>, encode: impl Fn(&T, &mut Vec<u8>)) {
            let mut reader = Reader::new(bytes);
            if let Ok(value) = decode(&mut reader) {
                let mut out = Vec::new();
                encode(&value, &mut out);
                assert_eq!(out, bytes[..bytes.len() - reader.remaining()]);
            }
        }
        let bytes = &bytes[cut.min(bytes.len())..];
        back(bytes, Past::decode, Past::encode_into);
        back(bytes, Intervals::decode, Intervals::encode_into);
        back(bytes, Membership::decode, Membership::encode_into);
        back(bytes, ControlBatch::decode, ControlBatch::encode_into);
        back(bytes, OrderHead::decode, OrderHead::encode_into);
        back(bytes, OrderFeed::decode, OrderFeed::encode_into);
    }
}

proptest! {
    #[test]
    fn what_is_cut_off_is_gone_and_the_rest_is_as_before(
        parts in prop::collection::vec((0..40_u64, 0..6_u64), 0..12),
        from in 0..50_u64,
    ) {
        let mut intervals = Intervals::new();
        for (start, length) in &parts {
            intervals.insert(*start, start + length);
        }
        let mut left = intervals.clone();
        left.cut(from);
        for seq in 0..60 {
            prop_assert_eq!(left.contains(seq), seq < from && intervals.contains(seq));
        }
        one_form(&left, Intervals::encode_into, Intervals::decode);
    }
}

#[test]
fn controls_and_pasts_are_cut() {
    let grant = |seq| ControlBatch {
        writer: key(1),
        seq,
        end: seq + 1,
        effective: Effective { time: seq, tick: 0 },
        controls: vec![Control::Grant { writer: key(2), indexer: false, seq }],
    };
    let all: Controls = [3, 5, 9].map(grant).into_iter().collect();
    let past: Past = [(key(1), 20)].into_iter().collect();
    for (from, left) in [(0, 0), (3, 0), (4, 1), (9, 2), (10, 3)] {
        let mut controls = all.clone();
        controls.cut(key(1), from);
        assert_eq!(controls, [3, 5, 9].map(grant).into_iter().take(left).collect());
        assert_eq!(controls.names(&past, key(2)), left > 0);
        let mut past = past.clone();
        past.lower(key(1), from);
        assert_eq!((past.get(&key(1)), past.is_empty()), (from, from == 0));
    }
}
