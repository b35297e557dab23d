//! `conflicts`: the concurrent diffs behind a key's current value.

use super::database::Db;
use super::error::{Error, Failure};
use super::rows::MemberRow;
use crate::causal::Past;
use crate::codec::limits::MAX_KEY_BYTES;
use crate::crdt;
pub use crate::crdt::{Claim, Part};
use crate::order;
use crate::store::{Read, ReadTxn, Table};
use crate::types::{Dot, FeedKey};
use crate::view::{self, Space, Writers};
use std::ops::Bound;

/// The newest diffs of a key that are looked at: bounds the time and memory of one call.
const MAX_DIFFS: usize = 4_096;
/// What their blocks have together: bounds the memory that the diffs take, read.
const MAX_DIFF_BYTES: usize = 32 << 20;

/// A path on which the current value was chosen among concurrent diffs.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    pub path: Vec<Part>,
    /// The winner, then the losers, the latest first: which diff, and what it says about the path.
    pub claims: Vec<(Dot, Claim)>,
}

impl Db {
    /// What concurrent diffs of `key` say differently, by path, unless a diff that had seen them has settled it.
    pub fn conflicts(&self, key: &[u8]) -> Result<Vec<Conflict>, Error> {
        if key.len() > MAX_KEY_BYTES {
            return Ok(Vec::new());
        }
        self.read(|inner, txn| Ok(find(txn, &inner.open.space, key)?))
    }
}

fn find(txn: &ReadTxn, space: &Space, key: &[u8]) -> Result<Vec<Conflict>, Failure> {
    let database = space.database();
    let writers = writers(txn, database)?;
    let Some(state) = view::state_now(txn, space, &writers, key)? else { return Ok(Vec::new()) };
    let latest = view::latest_changes(txn, space, &writers, key, MAX_DIFFS, MAX_DIFF_BYTES)?;
    let dots: Vec<Dot> = latest.iter().map(|(change, _)| change.position.dot()).collect();
    let mut pasts = Vec::with_capacity(latest.len());
    let own: Vec<FeedKey> = {
        let mut own: Vec<_> = dots.iter().map(|dot| dot.writer).collect();
        own.sort_unstable();
        own.dedup();
        own
    };
    for (dot, (_, feed)) in dots.iter().zip(&latest) {
        let past = order::past_at(txn, database, dot.writer, *feed, dot.seq.saturating_add(1))?;
        // A database may have far more writers than a key: only what is asked for is kept.
        pasts.push(own.iter().map(|writer| (*writer, past.get(writer))).collect::<Past>());
    }
    let saw = |later: usize, earlier: usize| match (pasts.get(later), dots.get(earlier)) {
        (Some(past), Some(dot)) => later != earlier && past.contains(*dot),
        _ => false,
    };
    let changes: Vec<_> = latest.into_iter().map(|(change, _)| change).collect();
    let named = |(at, claim): (usize, Claim)| dots.get(at).map(|dot| (*dot, claim));
    let conflicts = crdt::conflicts(&changes, &state, saw).into_iter();
    Ok(conflicts
        .map(|found| Conflict {
            path: found.path,
            claims: found.claims.into_iter().filter_map(named).collect(),
        })
        .collect())
}

/// This store's numbers for the feeds of the database, as this transaction sees them.
pub(super) fn writers(txn: &ReadTxn, database: u32) -> Result<Writers, Failure> {
    let (from, to) =
        (MemberRow::key_of(database, &FeedKey([0; 32])), MemberRow::key_of(database, &FeedKey([0xff; 32])));
    let mut writers = Writers::new();
    for member in txn.range(Table::Members, Bound::Included(&from), Bound::Included(&to))? {
        let (key, value) = member?;
        let damaged = |error| Failure::damaged(&error);
        let feed = MemberRow::feed_of(key).map_err(damaged)?;
        writers.insert(MemberRow::decode(value).map_err(damaged)?.feed, feed);
    }
    Ok(writers)
}
