//! One feed fetched from several peers of different speed. Time is counted in rounds: in each, every connection carries so
//! many bytes each way, and what has come is stored.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failing test says so by panicking"
)]

use crate::support::*;
use multi_hyperbee::db::{Db, Store};

/// Bytes of each value: a message carries sixteen.
const VALUE: usize = 4_000;

/// A connection with a token bucket for each way.
struct Line {
    wire: Wire,
    rate: usize,
    /// What may pass now; less than nothing after a piece that was larger.
    left: [isize; 2],
    /// What was pulled and has not arrived: from `a`, from `b`.
    passed: u64,
}

impl Line {
    fn new(a: &Db, b: &Db, rate: usize) -> Self {
        Self { wire: connect(a, b), rate, left: [0, 0], passed: 0 }
    }

    fn round(&mut self) {
        let Self { wire, rate, left, passed } = self;
        let ways = [(&wire.a, &wire.b), (&wire.b, &wire.a)];
        for ((from, to), left) in ways.into_iter().zip(left) {
            *left = (*left + isize::try_from(*rate).unwrap()).min(isize::try_from(*rate).unwrap());
            while *left > 0 {
                let Some(bytes) = from.pull(4_096) else { break };
                *left -= isize::try_from(bytes.len()).unwrap();
                *passed += bytes.len() as u64;
                to.receive(&bytes).unwrap();
            }
        }
    }
}

struct Net {
    creator: Db,
    stores: Vec<Store>,
    helpers: Vec<Db>,
    reader: Db,
    reader_store: Store,
}

impl Net {
    /// A writer whose feed some others have, and one who has nothing.
    fn new(blocks: usize, helpers: usize) -> Self {
        let creator = create(&memory());
        let value = format!(r#"{{"text":"{}"}}"#, "x".repeat(VALUE));
        for first in (0..blocks).step_by(200) {
            let writes =
                (first..blocks.min(first + 200)).map(|n| put_write(&format!("k{n}"), &value)).collect();
            creator.write(writes).wait().unwrap();
        }
        let key = creator.info().unwrap().key;
        let stores: Vec<Store> = (0..helpers).map(|_| memory()).collect();
        let helpers: Vec<Db> = stores.iter().map(|store| join(store, key)).collect();
        let wires: Vec<Wire> = helpers.iter().map(|helper| connect(&creator, helper)).collect();
        let all: Vec<&Wire> = wires.iter().collect();
        let length = blocks as u64;
        carry_until(&all, || helpers.iter().all(|helper| have(helper) > length));
        wires.iter().for_each(Wire::close);
        let reader_store = memory();
        let reader = join(&reader_store, key);
        Self { creator, stores, helpers, reader, reader_store }
    }

    fn length(&self) -> u64 {
        have(&self.creator)
    }

    /// Rounds until the reader has everything.
    fn rounds(
        &self,
        lines: &mut [Line],
        ticks_every: usize,
        mut at: impl FnMut(usize, &mut [Line]),
    ) -> usize {
        for round in 1..200_000 {
            at(round, lines);
            for line in lines.iter_mut() {
                line.round();
            }
            self.reader_store.settled().wait().unwrap();
            if round % ticks_every == 0 {
                for line in lines.iter() {
                    line.wire.a.tick();
                    line.wire.b.tick();
                }
            }
            if have(&self.reader) == self.length() {
                return round;
            }
        }
        panic!("it never came");
    }

    /// Blocks that came to the reader more than once.
    fn twice(&self) -> u64 {
        let peers = self.reader.sync_status().unwrap().peers;
        let came: u64 = peers.iter().flat_map(|peer| &peer.feeds).map(|feed| feed.received).sum();
        came - self.length()
    }

    fn each(&self) -> Vec<u64> {
        let peers = self.reader.sync_status().unwrap().peers;
        peers.iter().map(|peer| peer.feeds.iter().map(|feed| feed.received).sum()).collect()
    }

    fn lines(&self, rates: &[usize]) -> Vec<Line> {
        self.helpers.iter().zip(rates).map(|(helper, rate)| Line::new(helper, &self.reader, *rate)).collect()
    }

    fn bytes(&self) -> usize {
        usize::try_from(self.length()).unwrap() * VALUE
    }
}

fn have(db: &Db) -> u64 {
    db.progress().unwrap().iter().map(|feed| feed.have).sum()
}

#[test]
fn three_peers_of_different_speed_bring_a_feed_as_fast_as_they_can_together_and_nothing_twice() {
    let net = Net::new(4_000, 3);
    let rates = [32 << 10, 64 << 10, 128 << 10];
    let mut lines = net.lines(&rates);
    let rounds = net.rounds(&mut lines, 50, |_, _| {});
    let ideal = net.bytes() / rates.iter().sum::<usize>();
    println!("{rounds} rounds, ideally {ideal}; {:?} blocks, {} twice", net.each(), net.twice());
    assert_eq!(net.twice(), 0);
    assert!(rounds * 10 <= ideal * 13, "{rounds} rounds, ideally {ideal}");
    assert_eq!(net.stores.len(), 3);
}

#[test]
fn a_slow_peer_does_not_hold_up_a_fast_one() {
    let net = Net::new(4_000, 2);
    let rates = [1 << 10, 128 << 10];
    let mut lines = net.lines(&rates);
    let rounds = net.rounds(&mut lines, 50, |_, _| {});
    let ideal = net.bytes() / rates.iter().sum::<usize>();
    println!("{rounds} rounds, ideally {ideal}; {:?} blocks, {} twice", net.each(), net.twice());
    assert!(rounds * 10 <= ideal * 13, "{rounds} rounds, ideally {ideal}");
    // What was taken over from the slow one: one window of it, the first.
    assert!(net.twice() <= 32, "{}", net.twice());
}

#[test]
fn what_a_peer_that_stops_was_asked_for_is_brought_by_others_and_comes_twice_at_most_once() {
    let net = Net::new(4_000, 3);
    let rates = [64 << 10, 64 << 10, 64 << 10];
    let mut lines = net.lines(&rates);
    let ideal = net.bytes() / rates.iter().sum::<usize>();
    let rounds = net.rounds(&mut lines, 5, |round, lines| {
        if round == ideal / 3 {
            lines[0].rate = 0;
            lines[0].left = [0, 0];
        }
    });
    println!("{rounds} rounds, ideally {ideal}; {:?} blocks", net.each());
    // It comes back, with what was on its way.
    lines[0].rate = rates[0];
    for _ in 0..200 {
        lines[0].round();
    }
    net.reader_store.settled().wait().unwrap();
    // Two windows of a third of four mebibytes each.
    assert!(net.twice() <= (4 << 20) * 2 / 3 / VALUE as u64 + 64, "{}", net.twice());
}
