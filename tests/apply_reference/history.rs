//! Random histories: writers with clocks that lag, lead and lie, that know more or less of each other, and whose
//! batches grant and revoke as the view has it.

use super::naive::Batch;
use multi_hyperbee::types::FeedKey;
use proptest::prelude::*;

#[derive(Debug, Clone)]
pub enum Act {
    /// One device takes over all another one knows.
    Sync(u8, u8),
    Write {
        writer: u8,
        time: Time,
        links: Links,
        optimistic: bool,
        commands: Vec<Command>,
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

#[derive(Debug, Clone)]
pub enum Command {
    /// Nothing that `apply` sees; only where it stands alone.
    Silence,
    Mix(u8, u8),
    Del(u8),
    Ack(u8),
    Change(Change),
    If(u8, bool, Change),
}

#[derive(Debug, Clone)]
pub enum Change {
    Add(u8, bool),
    Remove(u8),
    Lost(u8),
}

pub fn key(writer: u8) -> FeedKey {
    FeedKey([writer; 32])
}

fn change(writers: u8) -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (0..writers, any::<bool>()).prop_map(|(who, indexer)| Change::Add(who, indexer)),
        3 => (0..writers).prop_map(Change::Remove),
        1 => (0..writers).prop_map(Change::Lost),
    ]
}

pub fn command(writers: u8) -> impl Strategy<Value = Command> {
    prop_oneof![
        5 => (0..4_u8, any::<u8>()).prop_map(|(key, n)| Command::Mix(key, n)),
        1 => (0..4_u8).prop_map(Command::Del),
        1 => (0..4_u8).prop_map(Command::Ack),
        3 => change(writers).prop_map(Command::Change),
        4 => (0..4_u8, any::<bool>(), change(writers)).prop_map(|(key, odd, change)| Command::If(key, odd, change)),
    ]
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
    let commands = prop_oneof![
        1 => Just(vec![Command::Silence]),
        5 => prop::collection::vec(command(writers), 1..2),
        3 => prop::collection::vec(command(writers), 2..4),
    ];
    // The creator, who may do things from the start, does them more often.
    let writer = prop_oneof![2 => Just(0_u8), 5 => 0..writers];
    let write = (writer, time, links, prop::bool::weighted(0.1), commands).prop_map(
        |(writer, time, links, optimistic, commands)| Act::Write {
            writer,
            time,
            links,
            optimistic,
            commands,
        },
    );
    let sync = (0..writers, 0..writers).prop_map(|(a, b)| Act::Sync(a, b));
    prop_oneof![3 => write, 2 => sync]
}

fn change_text(change: &Change, key: impl Fn(u8) -> FeedKey) -> String {
    match change {
        Change::Add(who, true) => format!("add {} indexer", key(*who)),
        Change::Add(who, false) => format!("add {}", key(*who)),
        Change::Remove(who) => format!("rm {}", key(*who)),
        Change::Lost(who) => format!("lost {}", key(*who)),
    }
}

pub fn text(command: &Command, key: impl Fn(u8) -> FeedKey) -> Option<String> {
    Some(match command {
        Command::Silence => return None,
        Command::Mix(of, n) => format!("mix k{of} {n}"),
        Command::Del(of) => format!("del k{of}"),
        Command::Ack(of) => format!("ack k{of}"),
        Command::Change(change) => change_text(change, key),
        Command::If(of, odd, change) => format!("if k{of} {} {}", u8::from(*odd), change_text(change, key)),
    })
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
            Act::Write { writer, time, links, optimistic, commands } => {
                let w = usize::from(*writer);
                let others = (0..writers).filter(|f| f != writer);
                let links: Vec<(u8, u64)> = match links {
                    Links::Honest => others.map(|f| (f, known[w][usize::from(f)])).collect(),
                    Links::None => Vec::new(),
                    Links::Any(links) => links.clone(),
                };
                let time = match time {
                    Time::About(skew) => (30 + now as u64).saturating_add_signed(i64::from(*skew)),
                    Time::Exactly(time) => *time,
                };
                let (seq, length) = (known[w][w], commands.len() as u64);
                known[w][w] += length;
                made.push(Batch {
                    writer: key(*writer),
                    seq,
                    length,
                    time,
                    links: links
                        .into_iter()
                        .filter(|(_, length)| *length > 0)
                        .map(|(f, n)| (key(f), n))
                        .collect(),
                    optimistic: *optimistic,
                    values: commands.iter().filter_map(|command| text(command, key)).collect(),
                });
            }
        }
    }
    made
}
