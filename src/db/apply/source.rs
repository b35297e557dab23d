//! What the walk asks, answered from the store and from what is staged.

use super::Staged;
use crate::apply::{self, ApplyError};
use crate::causal::{Past, PlacedBatch, Placement, Sequence, WalkSource};
use crate::db::error::Failure;
use crate::db::rows::MemberRow;
use crate::order::Batches;
use crate::store::Read;
use crate::types::{Effective, FeedKey};
use crate::view::Writers;
use std::collections::BTreeMap;

/// Local batches that are staged, as the walk sees them.
pub(super) struct StagedBatches<'a> {
    pub local: FeedKey,
    pub batches: &'a [StagedPlace],
}

/// Where a staged batch will stand.
#[derive(Clone, Debug)]
pub(super) struct StagedPlace {
    pub staged: Staged,
    pub past: Past,
    pub effective: Effective,
}

impl StagedPlace {
    pub fn end(&self) -> u64 {
        self.staged.seq + self.staged.values.len() as u64
    }
}

pub(super) struct Source<'a, T> {
    pub batches: Batches<'a, T, BTreeMap<FeedKey, MemberRow>>,
    pub writers: &'a Writers,
    pub staged: StagedBatches<'a>,
}

impl<T: Read> Source<'_, T> {
    fn staged(&self, feed: FeedKey, seq: u64) -> Option<&StagedPlace> {
        if feed != self.staged.local {
            return None;
        }
        self.staged.batches.iter().find(|place| (place.staged.seq..place.end()).contains(&seq))
    }
}

impl<T: Read> WalkSource for Source<'_, T> {
    type Error = Failure;

    fn batch(&self, feed: FeedKey, seq: u64) -> Result<PlacedBatch, Failure> {
        match self.staged(feed, seq) {
            Some(place) => {
                Ok(PlacedBatch { seq: place.staged.seq, end: place.end(), effective: place.effective })
            }
            None => Ok(self.batches.batch(feed, seq)?),
        }
    }

    fn past(&self, feed: FeedKey, length: u64) -> Result<Past, Failure> {
        match self.staged(feed, length.saturating_sub(1)) {
            Some(place) => {
                let mut past = place.past.clone();
                past.raise(feed, place.end());
                Ok(past)
            }
            None => Ok(self.batches.past(feed, length)?),
        }
    }
}

impl<T: Read> Sequence for Source<'_, T> {
    fn placement(&self, index: u64) -> Result<Placement, Failure> {
        Ok(self.row(index)?.placement)
    }
}

impl<T: Read> Source<'_, T> {
    pub fn row(&self, index: u64) -> Result<apply::Row, ApplyError> {
        apply::row(self.batches.txn, self.batches.database, index, |number| {
            self.writers.get(&number).copied()
        })
    }
}
