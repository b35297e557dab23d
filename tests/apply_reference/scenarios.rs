//! Histories that broke an earlier rule, and what the order makes of them. A is the creator. Every story is told to
//! replicas that hear it in different orders, each checked against the reference after every delivery.

use super::device::{Answer, Device};
use super::history::key;
use super::naive::{Batch, Fate};
use super::replica::Replica;
use super::support::{self, PeerSide};
use multi_hyperbee::types::FeedKey;

const A: u8 = 0;
const B: u8 = 1;
const C: u8 = 2;
const M: u8 = 3;

fn one(writer: u8, seq: u64, time: u64, links: &[(u8, u64)], command: &str) -> Batch {
    let links = links.iter().map(|(feed, length)| (key(*feed), *length)).collect();
    let values = vec![command.to_owned()];
    Batch { writer: key(writer), seq, length: 1, time, links, optimistic: false, values }
}

fn add(who: u8) -> String {
    format!("add {}", key(who))
}

fn add_indexer(who: u8) -> String {
    format!("add {} indexer", key(who))
}

fn remove(who: u8) -> String {
    format!("rm {}", key(who))
}

/// The order everybody comes to, with what became of each.
fn told(batches: &[Batch]) -> Vec<(u8, u64, Fate)> {
    let mut ends = Vec::new();
    for turn in 0..2 * batches.len() {
        let mut order = batches.to_vec();
        order.rotate_left(turn / 2);
        if turn % 2 == 1 {
            order.reverse();
        }
        let mut replica = Replica::new();
        for batch in &order {
            replica.deliver(batch);
            replica.wave(if turn % 3 == 0 { 2 } else { usize::MAX }, turn % 3 == 0);
        }
        assert!(replica.wave(usize::MAX, false));
        let name = |feed: FeedKey| feed.0[0];
        let order = replica.order().into_iter().zip(replica.fates());
        ends.push(order.map(|((feed, seq), fate)| (name(feed), seq, fate)).collect::<Vec<_>>());
    }
    assert!(ends.iter().all(|end| *end == ends[0]));
    ends.swap_remove(0)
}

use Fate::{Applied, Ignored};

#[test]
fn who_comes_back_after_a_week_stands_behind_what_indexers_said() {
    let told =
        told(&[one(A, 0, 10, &[], &add(B)), one(A, 1, 16, &[], "mix k0 1"), one(B, 0, 12, &[], "mix k0 2")]);
    assert_eq!(told, [(A, 0, Applied), (A, 1, Applied), (B, 0, Applied)]);
}

#[test]
fn a_feed_of_which_half_is_linked_stays_in_order() {
    let told = told(&[
        one(A, 0, 10, &[], &add(C)),
        one(C, 0, 18, &[(A, 1)], "mix k0 1"),
        one(C, 1, 19, &[], "mix k0 2"),
        one(A, 1, 24, &[(C, 1)], "mix k0 3"),
    ]);
    assert_eq!(told.iter().map(|(w, s, _)| (*w, *s)).collect::<Vec<_>>(), [(A, 0), (C, 0), (A, 1), (C, 1)]);
}

#[test]
fn of_two_who_remove_each_other_the_first_in_the_order_stays() {
    let told = told(&[
        one(A, 0, 1, &[], &add_indexer(B)),
        one(A, 1, 10, &[], &remove(B)),
        one(B, 0, 10, &[(A, 1)], &remove(A)),
    ]);
    assert_eq!(told, [(A, 0, Applied), (A, 1, Applied), (B, 0, Ignored)]);
}

#[test]
fn a_step_goes_on_though_it_removed_the_writer_it_was_begun_for() {
    let told = told(&[
        one(A, 0, 1, &[], &add_indexer(B)),
        one(A, 1, 2, &[], &add(M)),
        one(M, 0, 20, &[(A, 2)], &remove(B)),
        one(M, 1, 21, &[], "mix k0 1"),
        one(B, 0, 30, &[(M, 2)], "mix k0 2"),
        one(A, 2, 25, &[], "mix k0 3"),
    ]);
    // A's is earlier than B's, so it is taken first; then B's with its past, though M removes B in it.
    assert_eq!(told[2], (A, 2, Applied));
    assert_eq!(told[3..], [(M, 0, Applied), (M, 1, Applied), (B, 0, Ignored)]);
}

#[test]
fn the_last_indexer_cannot_remove_itself() {
    let told = told(&[one(A, 0, 1, &[], &remove(A)), one(A, 1, 2, &[], "mix k0 1")]);
    assert_eq!(told, [(A, 0, Applied), (A, 1, Applied)]);
}

#[test]
fn a_revoked_writer_that_backdates_stands_behind_its_revoke() {
    let told = told(&[
        one(A, 0, 1, &[], &add(M)),
        one(M, 0, 50, &[(A, 1)], "mix k0 1"),
        one(A, 1, 100, &[(M, 1)], &remove(M)),
        one(M, 1, 60, &[], &add(C)),
        one(C, 0, 200, &[(M, 2)], "mix k0 2"),
    ]);
    assert_eq!(told[3..], [(M, 1, Ignored), (C, 0, Ignored)]);
}

#[test]
fn a_clock_at_the_end_of_time_pins_nobody() {
    let told = told(&[
        one(A, 0, u64::MAX, &[], &add_indexer(B)),
        one(B, 0, 5, &[(A, 1)], "mix k0 1"),
        one(A, 1, 6, &[(B, 1)], "mix k0 2"),
        one(B, 1, 0, &[(A, 2)], "mix k0 3"),
    ]);
    assert_eq!(told.iter().map(|(w, s, _)| (*w, *s)).collect::<Vec<_>>(), [(A, 0), (B, 0), (A, 1), (B, 1)]);
}

#[test]
fn a_grant_that_the_order_takes_back_takes_its_writer_along() {
    // Whether A grants C hangs on k1, which B wrote before; C's entry hangs on the grant.
    let told = told(&[
        one(A, 0, 1, &[], &add_indexer(B)),
        one(A, 1, 20, &[], &format!("if k1 0 {}", add_indexer(C))),
        one(C, 0, 30, &[(A, 2)], "mix k0 1"),
        one(B, 0, 10, &[(A, 1)], "put k1 1"),
    ]);
    assert_eq!(told, [(A, 0, Applied), (B, 0, Applied), (A, 1, Applied), (C, 0, Ignored)]);
}

#[test]
fn in_timestamp_order_a_wave_applies_what_is_new_and_what_is_concurrent() {
    for (n, m) in [(1_u64, 40_u64), (40, 1), (30, 30)] {
        let mut replica = Replica::new();
        replica.deliver(&one(A, 0, 1, &[], &add_indexer(B)));
        for seq in 1..=m {
            replica.deliver(&one(A, seq, 10 + 3 * seq, &[], "mix k0 1"));
        }
        assert!(replica.wave(usize::MAX, false));
        let before = replica.applications;
        for seq in 0..n {
            let link = [(A, 1)];
            replica.deliver(&one(B, seq, 11 + 2 * seq, if seq == 0 { &link } else { &[] }, "mix k0 2"));
        }
        assert!(replica.wave(usize::MAX, false));
        let applied = replica.applications - before;
        assert!(
            applied as u64 <= n + m,
            "{applied} applications for {n} new entries and {m} concurrent ones"
        );
    }
}

/// Carries until `done`.
fn sync(wire: &support::Wire, done: impl Fn() -> bool) {
    support::carry_until(&[wire], done);
}

fn have(device: &Device, feed: FeedKey) -> u64 {
    let progress = device.db().progress().unwrap();
    progress.iter().find(|of| of.key == feed).map_or(0, |of| of.have)
}

fn append(device: &mut Device, text: &str) {
    device.append(&[text.to_owned()], false, Answer::All).unwrap();
}

const START: u64 = 1_700_000_000_000;

#[test]
fn a_writer_that_backdates_each_entry_costs_at_most_half_the_time() {
    let mut a = Device::new(None, START);
    // Its clock stands still, and it takes nothing of what A writes: each of its entries belongs before those.
    let mut b = Device::new(Some(a.local()), START);
    let (ka, kb) = (a.local(), b.local());
    append(&mut a, &format!("add {kb} indexer"));
    let wire = support::connect(a.db(), b.db());
    sync(&wire, || have(&b, ka) == 2);
    b.drain();
    wire.close();
    a.pass(10_000);
    for _ in 0..100 {
        append(&mut a, "mix k0 1");
    }
    let wire = support::connect_with(a.db(), b.db(), &PeerSide { download: false });
    (a.cost, a.counts.applications) = (5, 0);
    let begin = a.clock.load(std::sync::atomic::Ordering::Relaxed);
    for count in 1..=60 {
        append(&mut b, "mix k1 1");
        sync(&wire, || have(&a, kb) == count);
        while a.step(false, Answer::All) {}
        a.pass(260);
        a.check();
    }
    let took = a.clock.load(std::sync::atomic::Ordering::Relaxed) - begin;
    let replaying = a.counts.applications * a.cost;
    // A wave may have just ended.
    assert!(replaying <= took / 2 + 160 * a.cost, "{replaying} of {took} ms");
    assert!(a.counts.undos >= 2, "it is not starved either");
    a.drain();
    b.drain();
    let length = a.sequence().len();
    assert_eq!(length, 2 + 100 + 60);
    assert_eq!(a.sequence()[2].batch.writer, kb);
}

#[test]
fn while_a_wave_is_open_a_writer_keeps_its_rights_and_links_what_its_readers_see() {
    let mut a = Device::new(None, START);
    let (mut b, mut c) = (Device::new(Some(a.local()), START), Device::new(Some(a.local()), START));
    let (ka, kb, kc) = (a.local(), b.local(), c.local());
    append(&mut a, &format!("add {kc} indexer"));
    let wire = support::connect(a.db(), c.db());
    sync(&wire, || have(&c, ka) == 2);
    c.drain();
    wire.close();
    a.pass(10_000);
    append(&mut a, &format!("add {kb}"));
    append(&mut a, "mix k0 1");
    let wire = support::connect(a.db(), b.db());
    sync(&wire, || have(&b, ka) == 4);
    wire.close();
    b.drain();
    assert!(b.db().status().unwrap().writable);
    let before = b.view_at(None);
    // C has not seen the grant of B, and belongs before it.
    append(&mut c, "mix k1 1");
    let wire = support::connect(b.db(), c.db());
    sync(&wire, || have(&b, kc) == 1);
    wire.close();
    assert!(b.step(true, Answer::First(1)));
    assert_eq!(b.view_at(None), before, "readers stay where they were");
    assert!(b.db().status().unwrap().writable);
    append(&mut b, "mix k2 1");
    b.drain();
    b.check();
    let order: Vec<_> = b.sequence().iter().map(|entry| (entry.batch.writer, entry.batch.seq)).collect();
    assert_eq!(order, [(ka, 0), (ka, 1), (kc, 0), (ka, 2), (ka, 3), (kb, 0)]);
    assert_eq!(b.sequence()[5].batch.links, [(ka, 4)]);
    b.check_against_reference(ka, &std::collections::BTreeSet::new());
}
