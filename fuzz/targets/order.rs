//! The order of any batches, delivered in any order, against the naive one.

#[path = "../../tests/causal_reference/check.rs"]
mod check;
#[path = "../../tests/causal_reference/naive.rs"]
mod naive;
#[path = "../../tests/causal_reference/replica.rs"]
#[allow(dead_code, reason = "the tests count walks")]
mod replica;

use super::bytes::Bytes;
use naive::{Batch, Rules};
use replica::Replica;

const WRITERS: u8 = 5;
/// More cost the naive order too much.
const MOST: usize = 32;

/// A writer links what it knows, or anything.
fn batches(bytes: &mut Bytes<'_>) -> Vec<Batch> {
    let count = usize::from(WRITERS);
    let mut known = vec![vec![0_u64; count]; count];
    let mut made: Vec<Batch> = Vec::new();
    let mut now = 30_u64;
    while !bytes.is_empty() && made.len() < MOST {
        now += 1;
        let act = bytes.u8();
        let w = usize::from(act % WRITERS);
        if act & 0x80 != 0 {
            let theirs = known[bytes.below(count)].clone();
            known[w].iter_mut().zip(theirs).for_each(|(mine, length)| *mine = (*mine).max(length));
            continue;
        }
        let writer = act % WRITERS;
        let others = (0..WRITERS).filter(|feed| *feed != writer);
        let shape = bytes.u8();
        let links = match shape & 3 {
            0 => Vec::new(),
            1 => {
                let links = bytes.below(3);
                let mut links: Vec<_> =
                    (0..links).map(|_| (bytes.u8() % WRITERS, 1 + u64::from(bytes.u8() % 7))).collect();
                links.sort_unstable();
                links.dedup_by_key(|(feed, _)| *feed);
                links
            }
            _ => others
                .map(|feed| (feed, known[w][usize::from(feed)]))
                .filter(|(_, length)| *length > 0)
                .collect(),
        };
        let time = match shape >> 2 & 3 {
            0 => now,
            1 => now + 3,
            2 => now.saturating_sub(u64::from(bytes.u8()) % 40),
            _ => bytes.u64(),
        };
        let length = 1 + u64::from(shape >> 4 & 3);
        let count = u64::from(shape >> 6).min(length);
        let ops = (0..count)
            .map(|at| (at, bytes.u8() % WRITERS, [Some(true), Some(false), None][bytes.below(3)]))
            .collect();
        let seq = known[w][w];
        known[w][w] += length;
        made.push(Batch { writer, seq, length, time, links, ops });
    }
    made
}

pub fn order(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let first = bytes.u8();
    let (open, apply) = [(false, false), (true, false), (true, true)][usize::from(first % 3)];
    let (rules, lazy) = (Rules { open, apply }, first & 0x80 != 0);
    let length = bytes.0.len();
    let mut moves = Bytes(bytes.take(length / 5));
    let mut left = batches(&mut bytes);
    let (mut here, mut replica) = (Vec::new(), Replica::new(rules));
    while !left.is_empty() {
        let batch = left.remove(moves.below(left.len()));
        replica.deliver(&batch, lazy);
        here.push(batch);
        if left.is_empty() || here.len() % 6 == 0 {
            check::check(&replica, &here, rules);
        }
    }
}
