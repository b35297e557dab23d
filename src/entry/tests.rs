use super::*;
use crate::types::Effective;
use proptest::prelude::*;

fn key(byte: u8) -> FeedKey {
    FeedKey([byte; 32])
}

fn prev() -> Stamp {
    Stamp { effective: Effective { time: 0x0102_0304_0506_0708, tick: 300 }, writer: [7; 8] }
}

fn first(op: Op<'_>) -> Entry<'_> {
    let links = vec![
        Link { feed: key(1), length: 5, root: [9; 16] },
        Link { feed: key(2), length: 200, root: [8; 16] },
    ];
    Entry {
        place: Place::First(BatchHead {
            timestamp: 0x1122_3344_5566_7788,
            length: 2,
            links,
            optimistic: false,
        }),
        op,
    }
}

fn examples() -> Vec<Entry<'static>> {
    let diff = |change| Op::Diff(Diff { key: b"k/1", prev: Some(prev()), change });
    let genesis = Genesis {
        mode: Mode::Merge,
        key_encoding: "utf-8",
        value_encoding: "json",
        encrypted: None,
        open: true,
        optimistic: false,
    };
    let later = |op| Entry { place: Place::Later { offset: 1 }, op };
    vec![
        later(Op::Genesis(genesis)),
        first(diff(Change::List("{\"add\":{}}"))),
        later(diff(Change::Register(b"v"))),
        later(diff(Change::Delete)),
        later(Op::Value(b"opaque")),
        later(Op::Grant { database: key(3), writer: key(4), indexer: true }),
        later(Op::Revoke { database: key(3), writer: key(4), lost: false }),
        later(Op::Acknowledgement),
        later(Op::Diff(Diff { key: b"", prev: None, change: Change::Delete })),
        first(Op::Acknowledgement),
    ]
}

/// What stands before the op of an entry that is not its batch's first: version, kind, offset.
const LATER: &str = "01 01 01";
/// Version, kind, flags, timestamp, batch length; then two links, each feed, length and root.
const FIRST: &str = "01 00 00 1122334455667788 02 02 \
    0101010101010101010101010101010101010101010101010101010101010101 05 09090909090909090909090909090909 \
    0202020202020202020202020202020202020202020202020202020202020202 c801 08080808080808080808080808080808";
/// Flag, time, tick (300 as a varint), writer.
const PREV: &str = "01 0102030405060708 ac02 0707070707070707";
const DATABASE_AND_WRITER: &str = "0303030303030303030303030303030303030303030303030303030303030303 \
    0404040404040404040404040404040404040404040404040404040404040404";

#[test]
fn i1_golden_bytes() {
    let expected = [
        format!("{LATER} 00 00 05 7574662d38 04 6a736f6e 00 01 00"),
        format!("{FIRST} 02 03 6b2f31 {PREV} 00 7b22616464223a7b7d7d"),
        format!("{LATER} 02 03 6b2f31 {PREV} 01 76"),
        format!("{LATER} 02 03 6b2f31 {PREV} 02"),
        format!("{LATER} 01 6f7061717565"),
        format!("{LATER} 03 {DATABASE_AND_WRITER} 01"),
        format!("{LATER} 04 {DATABASE_AND_WRITER} 00"),
        format!("{LATER} 05"),
        format!("{LATER} 02 00 00 02"),
        format!("{FIRST} 05"),
    ];
    let examples = examples();
    assert_eq!(examples.len(), expected.len());
    for (entry, expected) in examples.iter().zip(expected) {
        let bytes = bytes(&expected);
        assert_eq!(entry.encode(), bytes, "{entry:?}");
        assert_eq!(Entry::decode(&bytes).as_ref(), Ok(entry));
    }
}

/// Of hex, with spaces between its fields.
fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).flat_map(u8::try_from).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn round_trip_and_every_truncation() {
    for entry in examples() {
        let bytes = entry.encode();
        assert_eq!(Entry::decode(&bytes).as_ref(), Ok(&entry));
        let open_ended = matches!(
            entry.op,
            Op::Value(_) | Op::Diff(Diff { change: Change::List(_) | Change::Register(_), .. })
        );
        for cut in 0..bytes.len() {
            let decoded = Entry::decode(&bytes[..cut]);
            assert!(
                decoded.is_err() || (open_ended && decoded.as_ref() != Ok(&entry)),
                "{entry:?} cut at {cut}"
            );
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_ne!(Entry::decode(&longer).as_ref(), Ok(&entry));
    }
}

#[test]
fn unknown_tags_fail() {
    assert_eq!(Entry::decode(&[2, 0]), Err(EntryError::Newer { version: 2 }));
    for bytes in [&[0, 0][..], &[1, 2], &[1, 1, 1, 6], &[1, 1, 0, 5], &[1, 1, 1, 3], &[]] {
        assert!(matches!(Entry::decode(bytes), Err(EntryError::Invalid(_))), "{bytes:?}");
    }
}

#[test]
fn links_out_of_order_or_empty_fail() {
    for (a, b, length) in [(2, 1, 1), (1, 1, 1), (1, 2, 0)] {
        let links = [a, b].map(|byte| Link { feed: key(byte), length, root: [0; 16] }).to_vec();
        let head = BatchHead { timestamp: 1, length: 1, links, optimistic: false };
        let bytes = Entry { place: Place::First(head), op: Op::Acknowledgement }.encode();
        assert!(Entry::decode(&bytes).is_err());
    }
}

#[test]
fn more_links_than_the_bytes_can_hold_are_refused_before_anything_is_reserved() {
    let head = BatchHead { timestamp: 1, length: 1, links: Vec::new(), optimistic: false };
    let mut bytes = Entry { place: Place::First(head), op: Op::Acknowledgement }.encode();
    let at = bytes.len() - 2;
    assert_eq!(bytes[at], 0);
    bytes[at] = 100;
    let error = DecodeError::Truncated { what: "the links", missing: 4_899 };
    assert_eq!(Entry::decode(&bytes), Err(EntryError::Invalid(error)));
}

proptest! {
    #[test]
    fn whatever_decodes_encodes_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(entry.encode(), bytes);
        }
    }

    #[test]
    fn damaged_entries_never_panic(index in 0_usize..10, at in 0_usize..200, byte: u8) {
        let mut bytes = examples()[index].encode();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(entry.encode(), bytes);
        }
    }
}
