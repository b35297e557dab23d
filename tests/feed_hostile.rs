//! Peers that lie, and writers that sign two histories.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod feed_support;

use ed25519_dalek::Signer as _;
use feed_support::{Peer, SECRET, Sent, blocks, feed, naive_roots};
use multi_hyperbee::codec::limits::MAX_BLOCK_BYTES;
use multi_hyperbee::feed::{self, FeedError, Fork, Seed};
use multi_hyperbee::merkle::{Head, HeadError, Known, Node, ProofError};
use proptest::prelude::*;

/// A branch that shares the first `common` of `blocks(..)` and goes on with others, `length` in all.
fn branch(common: u64, length: u64) -> Peer {
    let mut all = blocks(common);
    all.extend((common..length).map(|i| format!("other {i}").into_bytes()));
    Peer::writer(&all)
}

fn fork<T: std::fmt::Debug>(result: Result<T, FeedError>) -> Fork {
    match result {
        Err(FeedError::Fork(fork)) => *fork,
        other => panic!("expected a fork, found {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn i4_nothing_damaged_is_stored(
        (held, start, end) in (0..30_u64, 0..30_u64, 0..31_u64),
        extending: bool,
        what in 0..10_usize,
        (which, bit) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let writer = Peer::writer(&blocks(30));
        let mut reader = Peer::reader();
        reader.receive(&writer.serve(0, held, &writer.head(), Known::Nothing)).unwrap();
        let (start, end) = (start.min(held), end.max(start.min(held)));
        let known = if extending { Known::Start } else { Known::Nothing };
        let good = writer.serve(start, end, &writer.head(), known);
        // Without blocks it proves its head alone, and where they would begin says nothing.
        prop_assume!(what != 6 || !good.blocks.is_empty());
        let mut bad = good.clone();
        let flip = |bytes: &mut [u8]| if !bytes.is_empty() {
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        };
        let (count, nodes) = (bad.blocks.len().max(1), bad.nodes.len().max(1));
        match what {
            0 => if let Some(block) = bad.blocks.get_mut(which.index(count)) { flip(block) },
            1 => if let Some(node) = bad.nodes.get_mut(which.index(nodes)) { flip(&mut node.hash) },
            2 => if let Some(node) = bad.nodes.get_mut(which.index(nodes)) { node.bytes ^= 1 << bit.index(64) },
            3 => flip(&mut bad.head.signature),
            4 => bad.head.length ^= 1 << bit.index(64),
            5 => bad.head.byte_length ^= 1 << bit.index(64),
            6 => bad.start ^= 1 << bit.index(64),
            7 => bad.extending ^= true,
            8 => bad.blocks.truncate(bad.blocks.len().saturating_sub(1)),
            _ => if !bad.blocks.is_empty() { bad.blocks.swap(0, which.index(count)) },
        }
        // From 0 on, complete and extending are the same proof.
        let same = (&bad.blocks, &bad.nodes, bad.head, bad.start) == (&good.blocks, &good.nodes, good.head, good.start)
            && (bad.extending == good.extending || start == 0);
        let before = reader.record.clone();
        prop_assert_eq!(reader.receive(&bad).is_ok(), same);
        if !same {
            prop_assert_eq!(&reader.record, &before);
        }
        prop_assert_eq!(reader.receive(&good).unwrap().to, held.max(end));
    }

    #[test]
    fn no_bytes_a_peer_sends_panic(
        (start, length, byte_length, extending) in (0..9_u64, prop_oneof![0..9_u64, any::<u64>()], any::<u64>(), any::<bool>()),
        start_far: bool,
        blocks_sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3), 0..5),
        nodes in 0..90_usize,
    ) {
        let mut reader = Peer::reader();
        let writer = Peer::writer(&blocks(6));
        reader.receive(&writer.serve(0, 4, &writer.head(), Known::Nothing)).unwrap();
        let start = if start_far { u64::MAX - start } else { start };
        let head = Head { length, byte_length, root: [0; 32], signature: [0; 64] };
        let nodes = vec![Node { hash: [1; 32], bytes: u64::MAX / 2 }; nodes];
        let sent = Sent { start, head, nodes, blocks: blocks_sent, extending };
        prop_assert!(reader.receive(&sent).is_err());
    }
}

#[test]
fn blocks_of_another_feed_and_heads_of_another_key_are_refused() {
    let writer = Peer::writer(&blocks(8));
    let mut sent = writer.serve(0, 8, &writer.head(), Known::Nothing);
    sent.head = Head::sign(&Seed::new([2; 32]).signing_key(), &naive_roots(&blocks(8)));
    let mut reader = Peer::reader();
    assert!(matches!(reader.receive(&sent), Err(FeedError::Head(HeadError::Signature))));
    let mut other = reader.record.clone();
    other.key = Seed::new([3; 32]).feed();
    let honest = writer.serve(0, 8, &writer.head(), Known::Nothing);
    let txn = reader.env.read().unwrap();
    let verified = feed::verify(&txn, &other, &honest.received());
    assert!(matches!(verified, Err(FeedError::Head(HeadError::Signature))));
    let verified = feed::verify(&txn, &reader.record, &honest.received()).unwrap();
    drop(txn);
    let mut txn = reader.env.write().unwrap();
    let ingested = feed::ingest(&mut txn, &mut other, &verified);
    assert!(matches!(ingested, Err(FeedError::OtherFeed { .. })));
}

#[test]
fn a_proof_for_one_place_proves_no_other() {
    let writer = Peer::writer(&blocks(16));
    let mut reader = Peer::reader();
    reader.receive(&writer.serve(0, 4, &writer.head(), Known::Start)).unwrap();
    let fourth = writer.serve(4, 8, &writer.head(), Known::Nothing);
    for start in (0..4).chain(5..13) {
        let replayed = Sent { start, ..fourth.clone() };
        assert!(reader.receive(&replayed).is_err(), "start {start}");
    }
    reader.receive(&fourth).unwrap();
    reader.receive(&fourth).unwrap();
    assert_eq!(reader.record.length, 8);
}

#[test]
fn limits_are_checked() {
    let writer = Peer::writer(&blocks(2));
    let mut reader = Peer::reader();
    let mut sent = writer.serve(0, 2, &writer.head(), Known::Nothing);
    sent.blocks[1] = vec![0; MAX_BLOCK_BYTES + 1];
    assert!(matches!(reader.receive(&sent), Err(FeedError::BlockTooLarge { .. })));
    let empty = naive_roots(&[]);
    let head = Head::sign(&Seed::new(SECRET).signing_key(), &empty);
    let nothing = Sent { start: 0, head, nodes: vec![], blocks: vec![], extending: false };
    assert!(matches!(reader.receive(&nothing), Err(FeedError::Proof(ProofError::Range { .. }))));
}

#[test]
fn a_known_head_is_not_verified_again() {
    let writer = Peer::writer(&blocks(9));
    let mut reader = Peer::reader();
    // A record that holds an unverified head: it is taken as verified, so nothing looked at the signature again.
    let mut sent = writer.serve(0, 5, &writer.head(), Known::Nothing);
    sent.head.signature = [0; 64];
    assert!(reader.verify(&sent).is_err());
    reader.record.tip = Some(sent.head);
    assert!(reader.verify(&sent).is_ok());
}

#[test]
fn a_fork_is_found_whichever_branch_comes_first_and_however_it_is_shown() {
    let ours = branch(20, 30);
    let mut reader = Peer::reader();
    reader.receive(&ours.serve(0, 30, &ours.head(), Known::Nothing)).unwrap();
    for (common, length) in [(10, 25), (10, 30), (10, 50), (0, 1), (0, 40), (29, 30), (29, 31)] {
        let other = branch(common.min(19), length);
        for (start, end) in [(0, length), (0, 0), (length, length), (common, common + 1), (30, 31), (28, 35)]
        {
            if end > length {
                continue;
            }
            let sent = other.serve(start, end, &other.head(), Known::Nothing);
            // A longer head and a common prefix contradict nothing yet.
            let silent = length > 30 && (end <= common.min(19) || start == length);
            if silent {
                reader.verify(&sent).unwrap();
            } else {
                let fork = fork(reader.verify(&sent));
                assert_eq!(
                    (fork.ours, fork.theirs),
                    (ours.head(), other.head()),
                    "{common} {length} {start} {end}"
                );
                assert!(fork.by >= common.min(19) && fork.by < length.max(30));
            }
        }
    }
}

#[test]
fn an_extending_proof_of_another_branch_is_refused_and_the_complete_one_shows_the_fork() {
    let mut reader = Peer::reader();
    let ours = branch(10, 20);
    reader.receive(&ours.serve(0, 20, &ours.head(), Known::Start)).unwrap();
    let other = branch(12, 40);
    let extending = reader.receive(&other.serve(20, 40, &other.head(), Known::Start));
    assert!(matches!(
        extending,
        Err(FeedError::Head(HeadError::Signature) | FeedError::Proof(ProofError::Root { .. }))
    ));
    let complete = fork(reader.verify(&other.serve(20, 40, &other.head(), Known::Nothing)));
    assert_eq!(complete.by, 19);
}

#[test]
fn a_head_seen_before_its_blocks_gives_way_to_what_reaches_its_length_but_in_an_own_feed() {
    let (ours, other) = (branch(10, 30), branch(5, 20));
    let mut reader = Peer::reader();
    reader.receive(&other.serve(20, 20, &other.head(), Known::Nothing)).unwrap();
    reader.receive(&ours.serve(0, 15, &ours.head(), Known::Nothing)).unwrap();
    assert_eq!((reader.record.cover, reader.record.tip), (Some(ours.head()), Some(other.head())));
    let mut own = Peer::new(Some(Seed::new(SECRET)));
    own.receive(&other.serve(20, 20, &other.head(), Known::Nothing)).unwrap();
    own.receive(&ours.serve(0, 15, &ours.head(), Known::Nothing)).unwrap();
    let found = fork(own.receive(&ours.serve(15, 30, &ours.head(), Known::Nothing)));
    assert_eq!((found.ours, found.theirs, found.by), (ours.head(), other.head(), 19));
    reader.receive(&ours.serve(15, 25, &ours.head(), Known::Nothing)).unwrap();
    assert_eq!((reader.record.length, reader.record.tip), (25, None));
    let found = fork(reader.receive(&other.serve(0, 20, &other.head(), Known::Nothing)));
    assert!(found.is_exact && found.by == 5, "its blocks show where the two part");

    let mut reader = Peer::reader();
    reader.receive(&ours.serve(0, 15, &ours.head(), Known::Nothing)).unwrap();
    let mut txn = reader.env.write().unwrap();
    feed::mark_forked(&mut txn, &mut reader.record).unwrap();
    txn.commit().unwrap();
    reader.check();
    reader.receive(&ours.serve(15, 25, &ours.head(), Known::Nothing)).unwrap();
    // A longer head of the other branch is no longer taken as this one's.
    let longer = branch(5, 60);
    reader.receive(&longer.serve(60, 60, &longer.head(), Known::Nothing)).unwrap();
    assert_eq!(reader.record.signed(), 30);
    reader.receive(&ours.serve(25, 30, &ours.head(), Known::Nothing)).unwrap();
    assert_eq!((reader.record.complete(), reader.record.forked), (30, true));
}

#[test]
fn blocks_of_two_branches_verified_before_either_was_stored() {
    let (ours, other) = (branch(10, 30), branch(12, 20));
    let mut reader = Peer::reader();
    let first = reader.verify(&ours.serve(0, 25, &ours.head(), Known::Nothing)).unwrap();
    let contradicting: Vec<_> = [(0, 20), (0, 5), (0, 0)]
        .map(|(start, end)| reader.verify(&other.serve(start, end, &other.head(), Known::Nothing)).unwrap())
        .into();
    reader.ingest(&first).unwrap();
    for second in &contradicting {
        assert_eq!(fork(reader.ingest(second)).theirs, other.head());
    }
}

#[test]
fn verified_blocks_do_not_follow_what_they_were_not_verified_to_follow() {
    let (ours, other) = (branch(10, 30), branch(12, 60));
    let [mut reader, mut elsewhere] = [Peer::reader(), Peer::reader()];
    reader.receive(&ours.serve(0, 20, &ours.head(), Known::Nothing)).unwrap();
    elsewhere.receive(&other.serve(0, 20, &other.head(), Known::Nothing)).unwrap();
    for known in [Known::Nothing, Known::Start] {
        let verified = elsewhere.verify(&other.serve(20, 40, &other.head(), known)).unwrap();
        assert_eq!(fork(reader.ingest(&verified)).by, 19);
    }
}

#[test]
fn a_writer_that_signs_a_false_byte_length_is_refused() {
    let writer = Peer::writer(&blocks(8));
    let mut sent = writer.serve(0, 8, &writer.head(), Known::Nothing);
    let (length, root) = (sent.head.length, sent.head.root);
    for byte_length in [0, sent.head.byte_length + 1] {
        let context = blake3::hash(b"multi-hyperbee feed head v1");
        let message =
            [&context.as_bytes()[..], &byte_length.to_be_bytes(), &length.to_be_bytes(), &root].concat();
        let signature = Seed::new(SECRET).signing_key().sign(&message).to_bytes();
        sent.head = Head { length, byte_length, root, signature };
        assert_eq!(sent.head.verify(&feed()), Ok(()));
        let refused = Peer::reader().receive(&sent);
        assert!(matches!(refused, Err(FeedError::Proof(ProofError::Root { length: 8 }))));
    }
}

#[test]
fn a_fork_is_proved_with_one_block_of_the_other_branch() {
    let ours = branch(20, 30);
    for (common, length) in [(0, 5), (7, 8), (7, 50), (19, 30)] {
        let other = branch(common, length);
        let one = other.serve(common, common + 1, &other.head(), Known::Nothing);
        let txn = ours.env.read().unwrap();
        let parting = feed::parting(&txn, &ours.record, &one.received()).unwrap();
        assert_eq!((parting.common, parting.sides[0].head), (common, ours.head()));
        assert_eq!(parting.verify(&feed()), Ok(()));
        // The same block is no fork; a block beyond ours proves nothing.
        if common > 0 {
            let before = other.serve(common - 1, common, &other.head(), Known::Nothing);
            assert!(matches!(
                feed::parting(&txn, &ours.record, &before.received()),
                Err(FeedError::Parting(_))
            ));
        }
        let mut far = one.clone();
        far.start = 30;
        assert!(matches!(
            feed::parting(&txn, &ours.record, &far.received()),
            Err(FeedError::NotServed { .. })
        ));
        far.start = u64::MAX;
        assert!(feed::parting(&txn, &ours.record, &far.received()).is_err());
        far.start = common;
        far.nodes.truncate(one.nodes.len().saturating_sub(1));
        assert!(feed::parting(&txn, &ours.record, &far.received()).is_err() || far.nodes == one.nodes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// `Peer::check` (inside `receive` and `ingest`) reads every invariant back after each step.
    #[test]
    fn i1_i2_i3_two_branches_in_any_order_leave_one_of_them(
        (common, first, second) in (0..20_u64, 1..20_u64, 1..20_u64),
        steps in prop::collection::vec((any::<bool>(), 0..40_u64, 0..40_u64, 1..40_u64, any::<bool>(), any::<bool>()), 1..30),
    ) {
        let mut all = blocks(common + first);
        let mut peers = [Peer::writer(&all), Peer::writer(&[])];
        all.truncate(usize::try_from(common).unwrap());
        all.extend((0..second).map(|i| format!("other {i}").into_bytes()));
        peers[1].append(&all);
        let earlier = |which: usize, length: u64| {
            let blocks: Vec<Vec<u8>> = {
                let txn = peers[which].env.read().unwrap();
                (0..length).map(|seq| feed::block(&txn, 0, seq).unwrap().unwrap().to_vec()).collect()
            };
            Head::sign(&Seed::new(SECRET).signing_key(), &naive_roots(&blocks))
        };
        let (mut reader, mut kept) = (Peer::reader(), None);
        for (other, start, end, length, extending, late) in steps {
            let which = usize::from(other);
            let length = length.min(peers[which].record.length);
            let (start, end) = (start.min(length).min(reader.record.length), end.min(length));
            let known = if extending { Known::Start } else { Known::Nothing };
            let sent = peers[which].serve(start, end.max(start), &earlier(which, length), known);
            if late {
                if let Some(verified) = kept.replace(reader.verify(&sent).ok()).flatten() {
                    let _ = reader.ingest(&verified);
                }
            } else {
                let _ = reader.receive(&sent);
            }
        }
        let txn = reader.env.read().unwrap();
        let is_prefix = |peer: &Peer| {
            let theirs = peer.env.read().unwrap();
            (0..reader.record.length).all(|seq| feed::block(&txn, 0, seq).unwrap() == feed::block(&theirs, 0, seq).unwrap())
        };
        prop_assert!(peers.iter().any(is_prefix));
    }
}
