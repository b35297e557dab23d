//! Random histories: writers with clocks that lag, lead and lie, that know more or less of each other.

use proptest::prelude::*;

use super::naive::{Batch, Op};

#[derive(Debug, Clone)]
pub enum Act {
    /// One device takes over all another one knows.
    Sync(u8, u8),
    Write {
        writer: u8,
        length: u64,
        time: Time,
        links: Links,
        ops: Vec<Op>,
    },
}

#[derive(Debug, Clone)]
pub enum Time {
    /// Now and a skew.
    About(i8),
    Exactly(u64),
}

#[derive(Debug, Clone)]
pub enum Links {
    /// All that is known.
    Honest,
    None,
    /// Any lengths: into the middle of batches, stale, to what does not exist or links back, to the own feed.
    Any(Vec<(u8, u64)>),
}

fn op(writers: u8) -> impl Strategy<Value = (u8, Option<bool>)> {
    (0..writers, prop_oneof![3 => Just(Some(true)), 2 => Just(Some(false)), 3 => Just(None)])
}

pub fn act(writers: u8) -> impl Strategy<Value = Act> {
    let time = prop_oneof![
        6 => (0..4_i8).prop_map(Time::About),
        3 => (-20..20_i8).prop_map(Time::About),
        1 => prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(u64::MAX - 1)].prop_map(Time::Exactly),
    ];
    let any = prop::collection::btree_map(0..writers, 1..7_u64, 0..3);
    let links = prop_oneof![
        6 => Just(Links::Honest),
        1 => Just(Links::None),
        2 => any.prop_map(|links| Links::Any(links.into_iter().collect())),
    ];
    let ops = prop_oneof![
        3 => Just(Vec::new()),
        4 => op(writers).prop_map(|op| vec![op]),
        1 => prop::collection::vec(op(writers), 2..4),
    ];
    // The creator, who may do things, does them more often.
    let writer = prop_oneof![2 => Just(0_u8), 5 => 0..writers];
    let write = (writer, 1..4_u64, time, links, ops).prop_map(|(writer, length, time, links, ops)| {
        let length = length.max(ops.len() as u64);
        // Toward the end of the batch, so that some entries stand before a self-removal.
        let first = length - ops.len() as u64;
        let ops =
            ops.into_iter().enumerate().map(|(i, (who, right))| (first / 2 + i as u64, who, right)).collect();
        Act::Write { writer, length, time, links, ops }
    });
    let sync = (0..writers, 0..writers).prop_map(|(a, b)| Act::Sync(a, b));
    prop_oneof![3 => write, 2 => sync]
}

/// The batches the acts make, in the order they are made.
pub fn batches(writers: u8, acts: &[Act]) -> Vec<Batch> {
    let count = usize::from(writers);
    let mut known = vec![vec![0_u64; count]; count];
    let mut made: Vec<Batch> = Vec::new();
    for (now, act) in acts.iter().enumerate() {
        match act {
            Act::Sync(a, b) => {
                let theirs = known[usize::from(*b)].clone();
                for (mine, length) in known[usize::from(*a)].iter_mut().zip(theirs) {
                    *mine = (*mine).max(length);
                }
            }
            Act::Write { writer, length, time, links, ops } => {
                let w = usize::from(*writer);
                let seq = known[w][w];
                let others = (0..writers).filter(|f| f != writer);
                let links = match links {
                    Links::Honest => others
                        .map(|f| (f, known[w][usize::from(f)]))
                        .filter(|(_, length)| *length > 0)
                        .collect(),
                    Links::None => Vec::new(),
                    Links::Any(links) => links.clone(),
                };
                let time = match time {
                    Time::About(skew) => (30 + now as u64).saturating_add_signed(i64::from(*skew)),
                    Time::Exactly(time) => *time,
                };
                known[w][w] += length;
                made.push(Batch { writer: *writer, seq, length: *length, time, links, ops: ops.clone() });
            }
        }
    }
    made
}
