//! Apply mode: a replica against the order's definition, over every block it has.

use super::apply_user::drain;
use super::check::{same, text};
use super::links::Links;
use super::naive::{self, Batch, Fate, View};
use super::replica::{Replica, scan};
use multi_hyperbee::apply::Outcome;
use multi_hyperbee::db::SequenceEntry;
use multi_hyperbee::entry::{Entry, Op, Place};
use multi_hyperbee::types::FeedKey;
use std::collections::BTreeMap;

/// Positions whose views are read again in one check: spread over the sequence.
const VIEWS: usize = 5;

/// The complete batches of a feed.
fn batches(writer: FeedKey, blocks: &[Vec<u8>], links: &Links, may_ask: bool) -> Vec<Batch> {
    let mut found: Vec<Batch> = Vec::new();
    let mut wanted = 0;
    for (block, seq) in blocks.iter().zip(0..) {
        let Entry { place, op } = Entry::decode(block).unwrap();
        if let Place::First(head) = place {
            assert_eq!(wanted, 0, "a batch begins inside a batch");
            wanted = head.length;
            found.push(Batch {
                writer,
                seq,
                length: head.length,
                time: head.timestamp,
                links: head.links.iter().map(|link| (link.feed, links.length(link))).collect(),
                optimistic: head.optimistic && may_ask,
                values: Vec::new(),
            });
        }
        wanted -= 1;
        if let Op::Value(value) = op {
            found.last_mut().unwrap().values.push(String::from_utf8(value.to_vec()).unwrap());
        }
    }
    if wanted > 0 {
        found.pop();
    }
    found
}

pub fn sequence(replica: &Replica) -> Result<Vec<SequenceEntry>, String> {
    let mut all = Vec::new();
    let keep = |entry: &SequenceEntry| {
        all.push(entry.clone());
        true
    };
    replica.db().sequence(0, u64::MAX, keep).map_err(|error| format!("the sequence: {error}"))?;
    Ok(all)
}

fn view_at(replica: &Replica, version: Option<u64>) -> Result<View, String> {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ok(scan(replica.db(), version)?.1.into_iter().map(|entry| (text(entry.key), text(entry.value))).collect())
}

/// What was final stays where it is.
fn finals(replica: &mut Replica, sequence: &[SequenceEntry]) -> Result<(), String> {
    let length = usize::try_from(replica.db().finality().map_err(text)?.length).unwrap();
    let order: Vec<_> = sequence.iter().map(|entry| (entry.batch.writer, entry.batch.seq)).collect();
    if !order[..length].starts_with(&replica.finals) {
        let before = &replica.finals;
        return Err(format!("what was final moved\n   before {before:?}\n   now    {:?}", &order[..length]));
    }
    replica.finals = order[..length].to_vec();
    Ok(())
}

/// Where a feed has two histories the walk is not the model's; what was final stays all the same.
pub fn nothing_final_moved(replica: &mut Replica) -> Result<(), String> {
    drain(replica)?;
    replica.take_events(true)?;
    let sequence = sequence(replica)?;
    finals(replica, &sequence)
}

/// A replica that has applied all it can.
pub fn replica(replica: &mut Replica) -> Result<(), String> {
    drain(replica)?;
    // Where less of it is final after a restore, an event says so.
    replica.take_events(true)?;
    let sequence = sequence(replica)?;
    finals(replica, &sequence)?;
    let creator = replica.database();
    let feeds = replica.readable()?;
    let may_ask = replica.optimistic;
    let links = Links::of(replica)?;
    let mut all: Vec<Batch> =
        feeds.iter().flat_map(|(writer, blocks)| batches(*writer, blocks, &links, may_ask)).collect();
    // The reference tries to place them one after the other: the sooner in time, the fewer rounds.
    all.sort_by_key(|batch| (batch.time, batch.writer, batch.seq));
    let ready = naive::ready(&all);
    let expected = naive::walk(&all, &ready, creator);
    let place = |index: usize| (all[index].writer, all[index].seq);
    let found = sequence.iter().map(|entry| ((entry.batch.writer, entry.batch.seq), entry.outcome));
    let wanted = expected.positions.iter().map(|position| (place(position.batch), outcome(position.fate)));
    same("the sequence", found.collect::<Vec<_>>(), wanted.collect())?;
    let skip = sequence.len() / VIEWS + 1;
    let oldest = replica.db().oldest_version().map_err(text)?;
    let is_kept = |version: u64| version == 0 || version >= oldest;
    for (entry, position) in sequence.iter().zip(&expected.positions).rev().step_by(skip) {
        if !is_kept(entry.end) {
            continue;
        }
        same(
            &format!("the view after {entry:?}"),
            view_at(replica, Some(entry.end))?,
            position.view.clone(),
        )?;
    }
    let last = expected.positions.last();
    let view = last.map_or_else(View::new, |last| last.view.clone());
    same("the view", view_at(replica, None)?, view)?;
    let standing = last.map_or(&expected.end, |last| &last.standing);
    let found = replica.db().members().map_err(text)?;
    let found = found.iter().filter(|member| member.granted).map(|member| (member.key, member.indexer));
    let wanted = standing.members.iter().map(|(feed, (_, indexer))| (*feed, *indexer));
    same("the writers, indexers", found.collect::<BTreeMap<_, _>>(), wanted.collect())?;
    let (length, waiting) = naive::finality(&ready, &expected);
    let finality = replica.db().finality().map_err(text)?;
    same("final", finality.length, length as u64)?;
    same("waiting for", finality.waiting_for, waiting.into_iter().collect())
}

fn outcome(fate: Fate) -> Outcome {
    match fate {
        Fate::Ignored => Outcome::Ignored,
        Fate::Applied => Outcome::Applied,
        Fate::Rejected => Outcome::Rejected,
        Fate::Silent => Outcome::Silent,
    }
}

/// With everyone there and nobody asked to speak any more: all that did something is final.
/// `gone`: feeds whose writers write others now. If one of them is an indexer, what waits for it waits for ever.
pub fn quiet(replica: &Replica, gone: &[FeedKey]) -> Result<(), String> {
    let waits_for = replica.db().finality().map_err(text)?.waiting_for;
    if waits_for.iter().any(|feed| gone.contains(feed)) {
        return Ok(());
    }
    let length = usize::try_from(replica.db().finality().map_err(text)?.length).unwrap();
    let sequence = sequence(replica)?;
    let open: Vec<_> = sequence[length..].iter().filter(|entry| entry.outcome == Outcome::Applied).collect();
    same("not final, and nobody is asked to speak", open, Vec::new())
}
