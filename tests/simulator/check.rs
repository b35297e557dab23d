//! What must hold of a device at any moment, and of all of them once everything has been carried.

use super::apply_user::is_anchor;
use super::check_apply;
use super::links::Links;
use super::model::{Expected, Row, expect};
use super::replica::{Replica, scan};
use super::schedule::Mode;
use multi_hyperbee::db::{Range, StateClaim, ViewEntry};
use multi_hyperbee::types::FeedKey;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

#[expect(clippy::needless_pass_by_value, reason = "both are made where it is called")]
pub fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}\n   found    {found:?}\n   expected {expected:?}"))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub fn text(error: multi_hyperbee::db::Error) -> String {
    format!("{error} ({:?})", error.code)
}

fn row(entry: &ViewEntry) -> Row {
    let value = if entry.register {
        format!("{:?}", entry.value)
    } else {
        String::from_utf8(entry.value.clone()).unwrap()
    };
    Row { value, register: entry.register, stamp: entry.stamp, prev: entry.prev, state: entry.state }
}

/// A replica against the model of what it has.
pub fn replica(replica: &mut Replica, lying: bool) -> Result<(), String> {
    match replica.mode {
        Mode::Merge if replica.is_weak => replica.take_events(lying)?,
        Mode::Apply if replica.is_weak => check_apply::nothing_final_moved(replica)?,
        Mode::Merge => merged(replica, lying)?,
        Mode::Apply => check_apply::replica(replica)?,
    }
    let (version, entries) = scan(replica.db(), None)?;
    same("the version", version, replica.db().status().map_err(text)?.version)?;
    reads(replica, &entries)?;
    for (version, entries) in &replica.snapshots {
        let (_, again) = scan(replica.db(), Some(*version))?;
        same(&format!("version {version}, as it was seen then"), &again, entries)?;
    }
    history(replica, version, &entries)
}

fn merged(replica: &mut Replica, lying: bool) -> Result<(), String> {
    replica.take_events(lying)?;
    let expected = expect(replica.database(), &replica.readable()?, &Links::of(replica)?, &replica.chosen);
    let (_, entries) = scan(replica.db(), None)?;
    let mut found: BTreeMap<_, _> = entries.iter().map(|entry| (entry.key.clone(), row(entry))).collect();
    for (key, row) in &expected.view {
        same(&format!("the key {key:?}"), found.remove(key).as_ref(), Some(row))?;
    }
    same("keys that are not expected", found, BTreeMap::new())?;
    members(replica, &expected)
}

fn members(replica: &Replica, expected: &Expected) -> Result<(), String> {
    for member in replica.db().members().map_err(text)? {
        let key = member.key;
        let counted = expected.counted.iter().filter(|(writer, _)| *writer == key).count() as u64;
        let found = (member.length, member.counted, member.granted, member.indexer, member.added);
        let indexer = expected.writers.get(&key);
        let added = replica.chosen.get(&key) == Some(&u64::MAX);
        let placed = expected.placed.get(&key).copied().unwrap_or(0);
        let expected = (placed, counted, indexer.is_some(), indexer == Some(&true), added);
        same(&format!("{key}: placed, counted, granted, indexer, added"), found, expected)?;
        same("removed by someone, though a writer", member.removed_by.is_some() && member.granted, false)?;
        same("applied", replica.db().applied(&key, placed).map_err(text)?, true)?;
        same("applied beyond", replica.db().applied(&key, placed + 1).map_err(text)?, false)?;
    }
    let status = replica.db().status().map_err(text)?;
    let own = expected.writers.get(&replica.local());
    same("writable, indexer", (status.writable, status.indexer), (own.is_some(), own == Some(&true)))
}

/// Other ways to read the same.
fn reads(replica: &Replica, entries: &[ViewEntry]) -> Result<(), String> {
    for entry in entries {
        let found = replica.db().get_entry(&entry.key, None).map_err(text)?;
        same("get and scan", found.as_ref(), Some(entry))?;
    }
    let reverse = Range { reverse: true, ..Range::default() };
    let mut found =
        replica.db().scan(reverse, None).and_then(|mut scan| scan.next(10_000, 1 << 30)).map_err(text)?;
    found.reverse();
    same("the scan backwards", found.as_slice(), entries)?;
    let Some(middle) = entries.get(entries.len() / 2) else { return Ok(()) };
    let after = Range { gt: Some(middle.key.clone()), ..Range::default() };
    let found =
        replica.db().scan(after, None).and_then(|mut scan| scan.next(10_000, 1 << 30)).map_err(text)?;
    same("the scan after a key", found.as_slice(), &entries[entries.len() / 2 + 1..])
}

/// Every version that is kept changed one key, and together they make the view.
fn history(replica: &Replica, version: u64, entries: &[ViewEntry]) -> Result<(), String> {
    let oldest = replica.db().oldest_version().map_err(text)?.max(1);
    let mut history = replica.db().history(0, None, false).map_err(text)?;
    let (mut view, mut next) = (BTreeMap::new(), oldest);
    if oldest > 1 {
        view.extend(scan(replica.db(), Some(oldest))?.1.into_iter().map(|entry| (entry.key.clone(), entry)));
    }
    loop {
        let some = history.next(7, 1 << 20).map_err(text)?;
        if some.is_empty() {
            break;
        }
        for change in some {
            same("the versions in the history", change.seq, next)?;
            next += 1;
            match change.entry {
                Some(entry) => drop(view.insert(change.key, entry)),
                None => drop(view.remove(&change.key)),
            }
        }
    }
    same("the end of the history", next, version + 1)?;
    let replayed: Vec<&ViewEntry> = view.values().collect();
    same("the history replayed", replayed, entries.iter().collect())
}

/// All that was written is everywhere it is wanted; whoever has the same shows the same. `replicas`: of one database,
/// which is `shared` or each has its own.
pub fn all(replicas: &mut [&mut Replica], shared: bool, lying: bool) -> Result<(), String> {
    for (at, found) in replicas.iter_mut().enumerate() {
        replica(found, lying).map_err(|what| format!("at {at}, at rest: {what}"))?;
    }
    let past = replicas.iter().flat_map(|replica| replica.past.iter().map(|(feed, blocks)| (*feed, blocks)));
    let now = replicas.iter().map(|replica| (replica.local(), &replica.ledger));
    let ledgers: BTreeMap<FeedKey, &Vec<Vec<u8>>> = past.chain(now).collect();
    let forked: BTreeSet<FeedKey> =
        replicas.iter().filter(|replica| replica.forks).map(|replica| replica.local()).collect();
    let mut hashes = Vec::new();
    for (at, replica) in replicas.iter().enumerate() {
        for (feed, blocks) in replica.feeds()? {
            // Of a feed whose key was forged on its way there is nothing.
            let Some(ledger) = ledgers.get(&feed) else {
                same(&format!("at {at}: forged: {feed}"), (blocks.len(), replica.lied_to.get()), (0, true))?;
                continue;
            };
            if forked.contains(&feed) {
                let there = replicas[0].blocks(feed)?;
                same(&format!("at 0 and {at}: blocks of {feed}, which forked"), &blocks, &there)?;
                continue;
            }
            same(&format!("at {at}: blocks of {feed}"), &blocks.len(), &ledger.len())?;
            same(&format!("at {at}: blocks of {feed}"), &blocks, ledger)?;
        }
        same(&format!("at {at}: flushed"), replica.db().is_flushed().map_err(text)?, true)?;
        let is_whole = |feed: &FeedKey| !forked.contains(feed) && !is_anchor(feed);
        for feed in replica.db().progress().map_err(text)?.into_iter().filter(|feed| is_whole(&feed.key)) {
            let all = (feed.have, feed.want, feed.placed);
            same(
                &format!("at {at}: {}: here, placed, wanted", feed.key),
                all,
                (feed.have, feed.have, feed.have),
            )?;
        }
        let content = scan(replica.db(), None)?.1;
        let mut rows: BTreeMap<_, _> = content.iter().map(|entry| (entry.key.clone(), row(entry))).collect();
        if replica.mode == Mode::Apply {
            // Where a value was written last is this replica's own past.
            rows.values_mut().for_each(|row| (row.prev, row.state) = (None, 0));
        }
        let claim = replica.db().state_claim().map_err(text)?;
        same(&format!("at {at}: the hash claimed"), claim.state, replica.db().state_hash().map_err(text)?)?;
        hashes.push((rows, claim));
    }
    for (at, (rows, StateClaim { digest, state: hash })) in hashes.iter().enumerate() {
        for (to, (other, StateClaim { digest: their_digest, state: their_hash })) in
            hashes.iter().enumerate().take(at)
        {
            let chosen = !replicas[at].chosen.is_empty() || !replicas[to].chosen.is_empty();
            if shared && !chosen {
                same(&format!("the views of {at} and {to}"), rows, other)?;
                same(&format!("the digests of {at} and {to}"), digest, their_digest)?;
            }
            if digest == their_digest {
                same(&format!("{at} and {to} agree in all: their state hashes"), hash, their_hash)?;
            }
            if rows == other {
                same(&format!("the state hashes of {at} and {to}"), hash, their_hash)?;
            } else if rows.iter().map(content).ne(other.iter().map(content)) {
                same(&format!("{at} and {to} differ and hash alike"), hash == their_hash, false)?;
            }
        }
    }
    Ok(())
}

/// What of a row the state hash is about.
fn content<'a>((key, row): (&'a Vec<u8>, &'a Row)) -> (&'a Vec<u8>, bool, serde_json::Value) {
    let value =
        if row.register { row.value.clone().into() } else { serde_json::from_str(&row.value).unwrap() };
    (key, row.register, value)
}
