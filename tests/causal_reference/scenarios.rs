//! Histories that broke an earlier rule, and what the order makes of them. A is the creator. Every story is told to
//! replicas that hear it in different orders, each checked against the reference after every delivery.

use std::collections::BTreeSet;

use multi_hyperbee::types::Effective;

use super::check::check;
use super::naive::{Batch, Op, Rules};
use super::replica::{Replica, entries, key};
use super::{APPLY, MERGE, OPEN};

const A: u8 = 0;
const B: u8 = 1;
const C: u8 = 2;
const D: u8 = 3;
const MAX: u64 = u64::MAX;
const ALL: [Rules; 3] = [MERGE, OPEN, APPLY];

fn batch(writer: u8, seq: u64, length: u64, time: u64, links: &[(u8, u64)]) -> Batch {
    Batch { writer, seq, length, time, links: links.to_vec(), ops: Vec::new() }
}

fn one(writer: u8, seq: u64, time: u64, links: &[(u8, u64)]) -> Batch {
    batch(writer, seq, 1, time, links)
}

fn with(mut batch: Batch, ops: &[Op]) -> Batch {
    batch.ops = ops.to_vec();
    batch
}

fn grant(batch: Batch, who: u8, indexer: bool) -> Batch {
    with(batch, &[(0, who, Some(indexer))])
}

fn revoke(batch: Batch, who: u8) -> Batch {
    with(batch, &[(0, who, None)])
}

/// Everybody ends alike; returns one of them.
fn told(rules: Rules, batches: &[Batch]) -> Replica {
    let mut ends = Vec::new();
    for turn in 0..2 * batches.len() {
        let mut order = batches.to_vec();
        order.rotate_left(turn / 2);
        if turn % 2 == 1 {
            order.reverse();
        }
        let mut replica = Replica::new(rules);
        for upto in 1..=order.len() {
            replica.deliver(&order[upto - 1], turn % 3 == 0);
            check(&replica, &order[..upto], rules);
        }
        ends.push(replica);
    }
    assert!(ends.iter().all(|end| end.state == ends[0].state));
    ends.swap_remove(0)
}

fn counted(replica: &Replica) -> BTreeSet<(u8, u64)> {
    entries(replica.state.outcome())
}

fn effective(replica: &Replica, writer: u8, seq: u64) -> (u64, u64) {
    let Effective { time, tick } = replica.place_of(writer, seq).expect("it is placed").effective;
    (time, tick)
}

#[test]
fn a_link_into_the_middle_of_a_batch_waits_for_its_end() {
    for rules in ALL {
        let whole = batch(A, 0, 3, 5, &[]);
        let mut replica = Replica::new(rules);
        replica.deliver(&one(B, 0, 1, &[(A, 1)]), false);
        assert_eq!(replica.place_of(B, 0), None);
        replica.deliver(&whole, false);
        assert_eq!(effective(&replica, B, 0), (5, 1));
        assert_eq!(replica.rows.0[&key(B)][0].read, [(key(A), 3)]);
        told(rules, &[whole, one(B, 0, 1, &[(A, 1)]), one(A, 3, 2, &[(B, 1)])]);
    }
}

#[test]
fn entries_that_link_in_a_circle_or_to_nothing_are_never_placed_and_hold_nobody_up() {
    for rules in ALL {
        let replica = told(
            rules,
            &[
                with(batch(A, 0, 2, 1, &[]), &[(0, B, Some(false)), (1, C, Some(false))]),
                one(B, 0, 5, &[(A, 2), (C, 1)]),
                one(C, 0, 5, &[(A, 2), (B, 1)]),
                one(B, 1, 6, &[]),
                one(D, 0, 6, &[(A, 9)]),
                one(A, 2, 9, &[]),
            ],
        );
        assert_eq!(replica.state.placed().iter().collect::<Vec<_>>(), [(key(A), 3)]);
    }
}

#[test]
fn a_link_to_the_own_feed_says_nothing() {
    for rules in ALL {
        let replica = told(rules, &[one(A, 0, 5, &[(A, 7)]), one(A, 1, 3, &[(A, 1)])]);
        assert_eq!((effective(&replica, A, 0), effective(&replica, A, 1)), ((5, 0), (5, 1)));
    }
}

#[test]
fn after_one_lying_clock_the_order_goes_on_by_what_was_seen() {
    let replica = told(
        MERGE,
        &[
            grant(one(A, 0, 1, &[]), B, false),
            one(B, 0, MAX, &[(A, 1)]),
            one(A, 1, 10, &[(B, 1)]),
            one(A, 2, 11, &[]),
            one(B, 1, MAX, &[(A, 3)]),
            one(A, 3, MAX - 1, &[(B, 2)]),
        ],
    );
    let places = [(B, 0), (A, 1), (A, 2), (B, 1), (A, 3)].map(|(w, s)| effective(&replica, w, s));
    assert_eq!(places, [(MAX, 0), (MAX, 1), (MAX, 2), (MAX, 3), (MAX, 4)]);
    assert_eq!(counted(&replica).len(), 6);
}

#[test]
fn of_two_who_remove_each_other_at_one_time_the_one_first_in_the_order_stays() {
    for rules in ALL {
        let replica = told(
            rules,
            &[
                grant(one(A, 0, 1, &[]), B, true),
                revoke(one(A, 1, 10, &[]), B),
                revoke(one(B, 0, 10, &[(A, 1)]), A),
                one(A, 2, 20, &[(B, 1)]),
            ],
        );
        assert_eq!(counted(&replica), BTreeSet::from([(A, 0), (A, 1), (A, 2)]));
    }
}

#[test]
fn what_a_revoked_writer_granted_is_placed_and_does_not_count_and_nobody_waits_for_ever() {
    // B learns of G's removal last, and has linked U, whom only G granted.
    let (g, u) = (C, D);
    let replica = told(
        MERGE,
        &[
            grant(one(A, 0, 1, &[]), B, false),
            grant(one(A, 1, 2, &[]), g, true),
            revoke(one(A, 2, 12, &[]), g),
            grant(one(g, 0, 13, &[(A, 2)]), u, false),
            one(u, 0, 14, &[(A, 2), (g, 1)]),
            one(B, 0, 15, &[(A, 2), (g, 1), (u, 1)]),
            one(B, 1, 16, &[]),
        ],
    );
    let expected: BTreeSet<_> = [(A, 0), (A, 1), (A, 2), (B, 0), (B, 1)].into();
    assert_eq!(counted(&replica), expected);
    assert_eq!(replica.state.placed().get(&key(u)), 1);
}

#[test]
fn a_link_to_a_feed_no_grant_in_the_past_names_is_ignored() {
    let history =
        [grant(one(A, 0, 1, &[]), B, false), one(B, 0, 5, &[(A, 1), (D, 1)]), one(A, 1, 9, &[(B, 1)])];
    assert_eq!(counted(&told(MERGE, &history)).len(), 3);
    // In open mode it is waited for.
    assert_eq!(counted(&told(OPEN, &history)).len(), 1);
}

#[test]
fn a_private_feed_moves_nothing_for_those_who_have_it() {
    let (l, history) =
        (D, [one(A, 0, 10, &[(D, 1)]), grant(one(A, 1, 11, &[]), B, false), one(B, 0, 20, &[(A, 2)])]);
    let without = told(MERGE, &history);
    let mut all = history.to_vec();
    all.push(one(l, 0, MAX, &[(B, 1)]));
    let having = told(MERGE, &all);
    assert_eq!(effective(&having, A, 0), (10, 0));
    assert_eq!(counted(&having), counted(&without));
}

#[test]
fn reading_a_link_does_not_hang_on_a_verdict_that_hangs_on_the_link() {
    // r@12 links u@MAX; whether u is granted hangs on g@13, which is judged by the order in which r stands.
    let (r, u) = (B, C);
    let replica = told(
        MERGE,
        &[
            grant(one(A, 0, 1, &[]), r, true),
            grant(one(A, 1, 13, &[]), u, false),
            with(one(r, 0, 12, &[(A, 1), (u, 1)]), &[(0, A, None)]),
            one(u, 0, MAX, &[]),
        ],
    );
    // The grant of u is not in r's past: r stands at its own time, whatever becomes of u, and A is removed first.
    assert_eq!(effective(&replica, r, 0), (12, 0));
    assert_eq!(counted(&replica), BTreeSet::from([(A, 0), (r, 0)]));
}

#[test]
fn a_link_read_opens_the_next_one() {
    // The grant of D is in C's feed, that of C in B's, that of B in A's; none of the last two counts.
    let replica = told(
        MERGE,
        &[
            grant(one(A, 0, 1, &[]), B, false),
            grant(one(B, 0, 2, &[(A, 1)]), C, false),
            grant(one(C, 0, 3, &[(B, 1), (A, 1)]), D, false),
            one(D, 0, 40, &[]),
            one(A, 1, 5, &[(B, 1), (C, 1), (D, 1)]),
            one(A, 2, 6, &[]),
        ],
    );
    assert_eq!(effective(&replica, A, 1), (40, 1));
    let read = [(key(B), 1), (key(C), 1), (key(D), 1)];
    assert_eq!(replica.rows.0[&key(A)][1].read, read);
    assert_eq!(counted(&replica), BTreeSet::from([(A, 0), (A, 1), (A, 2), (B, 0)]));
}

#[test]
fn a_backdated_grant_by_a_revoked_writer_has_no_effect_unless_it_was_an_indexer() {
    let (m, z) = (B, C);
    for indexer in [false, true] {
        let replica = told(
            MERGE,
            &[
                grant(one(A, 0, 1, &[]), m, indexer),
                one(m, 0, 50, &[(A, 1)]),
                one(A, 1, 90, &[(m, 1)]),
                revoke(one(A, 2, 100, &[]), m),
                grant(one(m, 1, 60, &[]), z, false),
                one(z, 0, 200, &[(m, 2), (A, 1)]),
            ],
        );
        let kept = counted(&replica);
        assert!(kept.contains(&(m, 0)));
        // What an indexer may still say between its last entry and its revoke is the price of that right.
        assert_eq!((kept.contains(&(m, 1)), kept.contains(&(z, 0))), (indexer, indexer));
    }
}

#[test]
fn nothing_leaves_the_database_without_an_indexer() {
    for last in [revoke(one(A, 1, 2, &[]), A), grant(one(A, 1, 2, &[]), A, false)] {
        for rules in ALL {
            let granted = grant(one(A, 0, 1, &[]), B, false);
            let replica = told(
                rules,
                &[granted, last.clone(), grant(one(A, 2, 3, &[]), C, false), one(C, 0, 9, &[(A, 3)])],
            );
            assert!(replica.state.membership().is_indexer(&key(A)));
            assert_eq!(counted(&replica).len(), 4);
        }
    }
}

#[test]
fn a_creator_that_removes_itself_hands_over_and_the_rest_of_its_batch_does_not_count() {
    for rules in ALL {
        let leaving = with(batch(A, 1, 3, 5, &[]), &[(1, A, None), (2, C, Some(true))]);
        let replica = told(
            rules,
            &[grant(one(A, 0, 1, &[]), B, true), leaving, one(A, 4, 7, &[]), one(B, 0, 9, &[(A, 1)])],
        );
        assert_eq!(counted(&replica), BTreeSet::from([(A, 0), (A, 1), (A, 2), (B, 0)]));
        assert_eq!(replica.state.membership().get(&key(C)), None);
    }
}

#[test]
fn promotion_and_demotion_keep_what_was_written_offline() {
    for promoted in [true, false] {
        let replica = told(
            MERGE,
            &[
                grant(one(A, 0, 1, &[]), B, !promoted),
                one(B, 0, 5, &[(A, 1)]),
                one(B, 1, 6, &[]),
                grant(one(A, 1, 10, &[]), B, promoted),
                one(B, 2, 20, &[(A, 2)]),
            ],
        );
        assert_eq!(counted(&replica).len(), 5);
    }
}

#[test]
fn who_is_granted_again_loses_what_no_indexer_had_seen() {
    let replica = told(
        MERGE,
        &[
            grant(one(A, 0, 1, &[]), B, false),
            one(B, 0, 5, &[(A, 1)]),
            revoke(one(A, 1, 10, &[(B, 1)]), B),
            one(B, 1, 7, &[]),
            one(B, 2, 15, &[]),
            grant(one(A, 2, 20, &[]), B, false),
            one(B, 3, 30, &[(A, 3)]),
        ],
    );
    let expected: BTreeSet<_> = [(A, 0), (A, 1), (A, 2), (B, 0), (B, 3)].into();
    assert_eq!(counted(&replica), expected);
}

#[test]
fn who_is_no_indexer_cannot_reach_behind_what_indexers_have_seen() {
    let replica = told(
        MERGE,
        &[
            grant(one(A, 0, 1, &[]), B, false),
            revoke(one(A, 1, 50, &[]), B),
            // Written at 20 and heard of after the revoke: stands after it.
            one(B, 0, 20, &[(A, 1)]),
            one(A, 2, 60, &[(B, 1)]),
        ],
    );
    assert_eq!(counted(&replica), BTreeSet::from([(A, 0), (A, 1), (A, 2)]));
}

#[test]
fn controls_in_the_tail_wait_in_merge_mode_and_work_there_in_apply_mode() {
    let history = [
        with(batch(A, 0, 2, 1, &[]), &[(0, B, Some(false)), (1, C, Some(false))]),
        revoke(one(B, 0, 10, &[(A, 2)]), C),
        one(C, 0, 20, &[(A, 2)]),
    ];
    assert!(counted(&told(MERGE, &history)).contains(&(C, 0)));
    let replica = told(APPLY, &history);
    assert!(!counted(&replica).contains(&(C, 0)));
    // The walk's own state does not change.
    assert!(replica.state.membership().get(&key(C)).is_some());
}

#[test]
fn a_grant_in_merge_mode_by_who_is_no_indexer_never_works_even_when_seen() {
    let replica = told(
        MERGE,
        &[
            grant(one(A, 0, 1, &[]), B, false),
            grant(one(B, 0, 2, &[(A, 1)]), C, true),
            one(A, 1, 5, &[(B, 1)]),
            one(C, 0, 6, &[(A, 2), (B, 1)]),
        ],
    );
    assert_eq!(counted(&replica), BTreeSet::from([(A, 0), (A, 1), (B, 0)]));
}

#[test]
fn an_indexer_promoted_late_brings_its_skipped_grants_with_its_next_entry() {
    // B grants C before it is an indexer as far as the walk has come; it is placed, by B's next entry, when B is one.
    let replica = told(
        MERGE,
        &[
            grant(one(A, 0, 1, &[]), B, false),
            grant(one(B, 0, 5, &[(A, 1)]), C, false),
            grant(one(A, 1, 10, &[]), B, true),
            one(B, 1, 20, &[(A, 2)]),
            one(C, 0, 30, &[(B, 2), (A, 2)]),
        ],
    );
    assert!(counted(&replica).contains(&(C, 0)));
    assert!(replica.walks > 0);
}

#[test]
fn a_writer_that_removes_the_indexer_that_linked_it() {
    // m stands where it does only because X links it; removing X, it acts there, and X's own entry no longer counts.
    let (x, m) = (B, C);
    for rules in ALL {
        let replica = told(
            rules,
            &[
                with(batch(A, 0, 2, 1, &[]), &[(0, x, Some(true)), (1, m, Some(true))]),
                revoke(one(m, 0, 5, &[(A, 2)]), x),
                one(x, 0, 9, &[(A, 2), (m, 1)]),
                one(A, 2, 20, &[(x, 1), (m, 1)]),
            ],
        );
        assert!(!counted(&replica).contains(&(x, 0)));
    }
}
