use super::{BatchFacts, Past};
use crate::types::{Effective, FeedKey};

/// Which links are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkRule {
    /// Merge mode: those to the creator's feed, and those to feeds that a grant in the entry's own past names.
    Granted { creator: FeedKey },
    /// Open mode and apply mode: every link.
    All,
}

impl LinkRule {
    /// Is a link to `feed` read, by a batch that has `past` in its past?
    pub(super) fn reads<P: Placed>(self, feed: FeedKey, past: &Past, placed: &P) -> Result<bool, P::Error> {
        match self {
            Self::All => Ok(true),
            Self::Granted { creator } => Ok(feed == creator || placed.names(past, feed)?),
        }
    }
}

/// What readiness asks about what is already placed. All lengths are exclusive ends.
pub trait Placed {
    type Error;

    /// Placed entries of `feed`; always the end of a batch.
    fn length(&self, feed: FeedKey) -> Result<u64, Self::Error>;

    /// The end of the batch that entry `length - 1` of `feed` belongs to. Asked of placed entries only.
    fn batch_end(&self, feed: FeedKey, length: u64) -> Result<u64, Self::Error>;

    /// What a link to `length` of `feed` is read as: shorter only if the feed has forked and no more of it will come, so
    /// that nobody waits. 0: as no link.
    fn read_as(&self, feed: FeedKey, length: u64) -> Result<u64, Self::Error> {
        let _ = feed;
        Ok(length)
    }

    /// The past of the batch of `feed` that ends at `length`, the batch itself included (`feed` to `length`).
    fn past(&self, feed: FeedKey, length: u64) -> Result<Past, Self::Error>;

    /// The effective timestamp of the batch of `feed` that ends at `length`.
    fn effective(&self, feed: FeedKey, length: u64) -> Result<Effective, Self::Error>;

    /// Does a grant for this database in `past`, counted or not, name `feed`? ([`super::Controls::names`] answers.)
    fn names(&self, past: &Past, feed: FeedKey) -> Result<bool, Self::Error>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    Ready {
        /// The causal past: predecessor and read links with theirs, the batch's own entries not included.
        past: Past,
        effective: Effective,
        /// The links read, as the ends of the batches they lead to, ascending by feed.
        read: Vec<(FeedKey, u64)>,
    },
    /// Not ready before `feed` is placed up to `length`; other things may be missing too.
    Waits { feed: FeedKey, length: u64 },
}

/// Is `batch` ready, given what is placed; and if so, what is in its past and where does it stand?
///
/// Reads nothing of what is placed but the batch's own past, so the answer, once `Ready`, is the same on every
/// replica and at every later time. A link to the batch's own feed says nothing and is ignored (no honest writer makes
/// one; letting it wait would let a batch wait for itself). At most one pass over the links per link that a new grant
/// opens.
pub fn resolve<P: Placed>(batch: &BatchFacts, rule: LinkRule, placed: &P) -> Result<Readiness, P::Error> {
    let mut past = Past::new();
    let mut latest: Option<Effective> = None;
    if batch.seq > 0 {
        if placed.length(batch.writer)? < batch.seq {
            return Ok(Readiness::Waits { feed: batch.writer, length: batch.seq });
        }
        past = placed.past(batch.writer, batch.seq)?;
        latest = Some(placed.effective(batch.writer, batch.seq)?);
    }

    let mut read = Vec::new();
    let mut unread: Vec<(FeedKey, u64)> = batch
        .links
        .iter()
        .filter(|link| link.feed != batch.writer && link.length > 0)
        .map(|link| (link.feed, link.length))
        .collect();
    // The least fixpoint: each link read may bring a grant into the past that opens another link.
    loop {
        let mut closed = Vec::new();
        let mut grew = false;
        for (feed, length) in unread {
            if !rule.reads(feed, &past, placed)? {
                closed.push((feed, length));
                continue;
            }
            let length = placed.read_as(feed, length)?;
            if length == 0 {
                continue;
            }
            if placed.length(feed)? < length {
                return Ok(Readiness::Waits { feed, length });
            }
            let end = placed.batch_end(feed, length)?;
            grew |= past.join(&placed.past(feed, end)?);
            latest = latest.max(Some(placed.effective(feed, end)?));
            read.push((feed, end));
        }
        unread = closed;
        if unread.is_empty() || !grew {
            break;
        }
    }
    read.sort_unstable();
    Ok(Readiness::Ready { past, effective: after(batch.timestamp, latest), read })
}

/// The own time if it is later than everything seen, else one tick past the latest seen.
fn after(own: u64, latest: Option<Effective>) -> Effective {
    match latest {
        // A tick counts entries in one chain: it is below the number of blocks that exist, and cannot overflow.
        Some(seen) if own <= seen.time => Effective { time: seen.time, tick: seen.tick.saturating_add(1) },
        _ => Effective { time: own, tick: 0 },
    }
}
