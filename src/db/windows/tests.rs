use super::*;
use crate::db::{Location, PeerOptions, Store, StoreOptions, Transport};
use crate::wire::Head;
use proptest::prelude::*;
use std::sync::Arc;

const LENGTH: u64 = 300;

fn peers() -> (Store, Vec<Peer>) {
    let store = Store::open(&Location::Memory, &StoreOptions::default()).unwrap();
    let peers = (0..3)
        .map(|_| {
            let transport = Transport::Initiator;
            let wake = Arc::new(|| {});
            let options = PeerOptions {
                transport,
                live: true,
                download: true,
                upload: true,
                user_data: Vec::new(),
                wake,
            };
            store.replicate(options).unwrap()
        })
        .collect();
    (store, peers)
}

/// A message of so many blocks of 100 KiB.
fn message(peer: &Peer, start: u64, end: u64) -> Arrived {
    let head = Head { length: LENGTH, byte_length: LENGTH * (100 << 10), signature: [0; 64] };
    let count = usize::try_from(end - start).unwrap();
    let blocks = Blocks {
        answer: None,
        start,
        extending: start,
        head,
        nodes: Vec::new(),
        blocks: vec![Vec::new(); count],
    };
    Arrived { peer: peer.clone(), blocks, end, bytes: count * (100 << 10) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Three connections of any speeds; now and then one gives up. The naive reading: each block is handed out once, in
    /// order, and is asked of one connection at a time.
    #[test]
    fn each_block_is_handed_out_once_and_in_order(
        steps in prop::collection::vec((0..3_usize, 1..6_u64, 0..40_u8), 400..600),
    ) {
        let (_store, peers) = peers();
        let mut fetching = Fetching::default();
        // What each connection was asked for and has not brought, oldest first.
        let mut asked: Vec<Vec<(u64, u64)>> = vec![Vec::new(); 3];
        let mut out = Vec::new();
        let mut here = 0;
        let mut passed_over = 0;
        for (which, blocks, chance) in steps.into_iter().chain((0..2_000).map(|n| (n % 3, 5, 1))) {
            let peer = &peers[which];
            if chance == 0 {
                fetching.give_up(peer.id());
                asked[which].clear();
            }
            while let Next::Window(start, end) = fetching.next(peer.id(), here, LENGTH) {
                prop_assert!(start < end && end <= LENGTH && start >= here);
                for (other, asked) in asked.iter_mut().enumerate() {
                    let before = asked.len();
                    // A window that was taken over is cancelled by its holder.
                    asked.retain(|(from, to)| *to <= start || *from >= end);
                    prop_assert!(before == asked.len() || other != which);
                    passed_over += before - asked.len();
                }
                asked[which].push((start, end));
            }
            prop_assert!(asked[which].len() <= MAX_WINDOWS);
            let Some((start, end)) = asked[which].first().copied() else { continue };
            let to = end.min(start + blocks);
            asked[which][0].0 = to;
            if to == end {
                asked[which].remove(0);
            }
            let (ready, is_its) = fetching.arrived(here, message(peer, start, to), true);
            prop_assert!(is_its);
            for arrived in ready {
                out.extend(arrived.blocks.start..arrived.end);
                fetching.stored();
                here = arrived.end;
            }
        }
        prop_assert_eq!(out, (0..LENGTH).collect::<Vec<_>>());
        prop_assert!(fetching.is_over());
        prop_assert!(passed_over < 20, "{}", passed_over);
    }
}

#[test]
fn what_waits_does_not_outlive_the_connection_that_brought_it() {
    let (_store, peers) = peers();
    let mut fetching = Fetching::default();
    assert_eq!(fetching.next(peers[0].id(), 0, LENGTH), Next::Window(0, 32));
    for start in [100, 200] {
        assert!(fetching.arrived(0, message(&peers[1], start, start + 5), true).0.is_empty());
    }
    assert!(fetching.arrived(0, message(&peers[2], 150, 155), true).0.is_empty());
    fetching.leave(peers[1].id());
    assert_eq!(fetching.held.keys().copied().collect::<Vec<_>>(), [150]);
    fetching.leave(peers[0].id());
    assert_eq!(fetching.flush_stranded().len(), 1);
}

#[test]
fn a_window_is_the_share_of_what_all_bring_and_a_late_one_is_taken_over_once() {
    let (_store, peers) = peers();
    let [slow, fast] = [&peers[0], &peers[1]];
    let mut fetching = Fetching::default();
    assert_eq!(fetching.next(slow.id(), 0, LENGTH), Next::Window(0, 32));
    assert_eq!(fetching.next(slow.id(), 0, LENGTH), Next::Enough);
    let mut windows = Vec::new();
    let mut next = |fetching: &mut Fetching| loop {
        match fetching.next(fast.id(), 0, LENGTH) {
            Next::Window(start, end) => windows.push((start, end)),
            _ => return windows.pop(),
        }
    };
    // Bytes wait for what the slow one was asked for; then it is taken from it, whole.
    while let Some((start, end)) = next(&mut fetching) {
        let (ready, _) = fetching.arrived(0, message(fast, start, end), true);
        if start == 0 {
            assert!(ready.len() > 1, "and all that waited comes with it");
            break;
        }
        assert!(ready.is_empty());
    }
    assert_eq!(fetching.next(slow.id(), 0, LENGTH), Next::Others, "while another is at it");
    let (_, is_wanted) = fetching.arrived(
        0,
        {
            let mut late = message(slow, 0, 1);
            late.blocks.answer = Some(crate::wire::RequestId(0));
            late
        },
        true,
    );
    assert!(!is_wanted, "it is told to stop");
}
