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
    Entry { place: Place::First(BatchHead { timestamp: 0x1122_3344_5566_7788, length: 2, links }), op }
}

fn examples() -> Vec<(Entry<'static>, &'static str)> {
    let diff = |change| Op::Diff(Diff { key: b"k/1", prev: Some(prev()), change });
    let genesis = Genesis {
        mode: Mode::Merge,
        key_encoding: "utf-8",
        value_encoding: "json",
        encrypted: false,
        open: true,
        optimistic: false,
    };
    let later = |op| Entry { place: Place::Later { offset: 1 }, op };
    vec![
        (later(Op::Genesis(genesis)), ""),
        (first(diff(Change::List("{\"add\":{}}"))), ""),
        (later(diff(Change::Register(b"v"))), ""),
        (later(diff(Change::Delete)), ""),
        (later(Op::Value(b"opaque")), ""),
        (later(Op::Grant { database: key(3), writer: key(4), indexer: true }), ""),
        (later(Op::Revoke { database: key(3), writer: key(4), lost: false }), ""),
        (later(Op::Acknowledgement), ""),
    ]
}

#[test]
fn round_trip_and_every_truncation() {
    for (entry, _) in examples() {
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
        let head = BatchHead { timestamp: 1, length: 1, links };
        let bytes = Entry { place: Place::First(head), op: Op::Acknowledgement }.encode();
        assert!(Entry::decode(&bytes).is_err());
    }
}

proptest! {
    #[test]
    fn whatever_decodes_encodes_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(entry.encode(), bytes);
        }
    }

    #[test]
    fn damaged_entries_never_panic(index in 0_usize..8, at in 0_usize..200, byte: u8) {
        let mut bytes = examples()[index].0.encode();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(entry.encode(), bytes);
        }
    }
}

#[test]
fn print_golden() {
    for (entry, _) in examples() {
        println!("{entry:?}\n  {}", entry.encode().iter().map(|b| format!("{b:02x}")).collect::<String>());
    }
}
