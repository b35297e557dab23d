//! What peers sent, into feeds and from there into every open database that has them.

use super::engine::Work;
use super::error::{Code, Error, Failure};
use super::events::Event;
use crate::feed::{self, FeedError, Received};
use crate::types::FeedKey;

impl Work<'_, '_> {
    /// Verifies and stores blocks of a feed, then places what has become ready. The inner error is the sender's.
    pub fn ingest(
        &mut self,
        key: FeedKey,
        received: &Received<'_>,
    ) -> Result<Result<(), FeedError>, Failure> {
        // Own blocks of this very transaction are part of the feed.
        self.finish_feed(&key)?;
        let Some(record) = self.feed(&key)?.cloned() else { return Ok(Ok(())) };
        let verified = match feed::verify(self.txn, &record, received) {
            Ok(verified) => verified,
            Err(FeedError::Fork(fork)) => {
                self.report_fork(&key, record.length)?;
                return Ok(Err(FeedError::Fork(fork)));
            }
            Err(error) => return own_or_theirs(error),
        };
        let mut record = record;
        let grown = match feed::ingest(self.txn, &mut record, &verified) {
            Ok(grown) => grown,
            Err(error) => return own_or_theirs(error),
        };
        if grown.to > grown.from && record.secret.is_some() && record.left < record.length {
            // What comes back of an own feed had left: it may be offered again.
            record.left = record.length;
            feed::save(self.txn, &record)?;
        }
        self.engine.feeds.insert(key, record);
        self.engine.effects.feeds.insert(key);
        for id in self.databases_of(&key)? {
            self.database(id)?.behind.insert(key);
            self.place_ready(id)?;
            self.engine.effects.databases.insert(id);
            if let Some(open) = self.engine.board.database(id) {
                open.apply.lock().heard_at = Some(self.now());
            }
        }
        Ok(Ok(()))
    }

    /// Open databases that a feed is part of, as of the last row written.
    pub fn databases_of(&mut self, feed: &FeedKey) -> Result<Vec<u32>, Failure> {
        let open: Vec<u32> = self.engine.board.databases.read().keys().copied().collect();
        let mut found = Vec::new();
        for id in open {
            if self.database(id)?.members.contains_key(feed) {
                found.push(id);
            }
        }
        Ok(found)
    }

    fn report_fork(&mut self, feed: &FeedKey, length: u64) -> Result<(), Failure> {
        for id in self.databases_of(feed)? {
            self.event(id, Event::Fork { feed: *feed, length });
        }
        Ok(())
    }

    /// From now on blocks of these own feeds may leave the machine.
    pub fn note_leaving(&mut self, feeds: &[FeedKey]) -> Result<(), Failure> {
        for key in feeds {
            let Some(record) = self.feed(key)? else { continue };
            if record.left >= record.length {
                continue;
            }
            record.left = record.length;
            let record = record.clone();
            feed::save(self.txn, &record)?;
            self.engine.effects.feeds.insert(*key);
            for id in self.databases_of(key)? {
                self.engine.effects.databases.insert(id);
            }
        }
        Ok(())
    }
}

/// A failure of our store is ours; everything else is the sender's doing.
fn own_or_theirs(error: FeedError) -> Result<Result<(), FeedError>, Failure> {
    match error {
        FeedError::Store(error) => Err(Failure::Store(error)),
        FeedError::Corrupt { .. } | FeedError::CorruptRecord { .. } => Err(Failure::damaged(&error)),
        theirs => Ok(Err(theirs)),
    }
}

impl From<FeedError> for Failure {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Store(error) => Failure::Store(error),
            other => Failure::Refused(other.into()),
        }
    }
}

impl From<FeedError> for Error {
    fn from(error: FeedError) -> Self {
        let code = match &error {
            FeedError::Store(_) => return Failure::from(error).into(),
            FeedError::Behind { .. } => {
                return Error::new(
                    Code::Restored,
                    format!(
                        "{error}: this store is older than what it once sent; connect to a peer that has the rest"
                    ),
                );
            }
            FeedError::NotWritable { .. } => Code::NotWritable,
            FeedError::BlockTooLarge { .. } => Code::ValueTooLarge,
            FeedError::Fork(_) => Code::Forked,
            _ => Code::Corrupt,
        };
        Error::new(code, error.to_string())
    }
}
