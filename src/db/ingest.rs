//! What peers sent, into feeds and from there into every open database that has them.

use super::counting::Pending;
use super::engine::Work;
use super::error::{Code, Error, Failure};
use crate::feed::{self, FeedError, FeedRecord, Fork, Received, VerifiedBlocks};
use crate::types::FeedKey;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Parts that one commit takes into the feed they stood apart in; the rest comes with the next. Bounds its work.
const MAX_PARTS_AT_ONCE: usize = 64;

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
        match self.fill_holes(&record, received)? {
            Ok(0) => {}
            Ok(_) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        }
        if record.forked || record.branch.is_some() {
            return self.ingest_forked(record, received);
        }
        match feed::verify(self.txn, &record, received) {
            // Only what is proved makes others give way.
            Ok(verified) if !self.has_room(&record, &verified)? => Ok(Ok(())),
            Ok(verified) => {
                let taken = self.take_in(record, &verified, BTreeMap::new())?;
                self.take_in_reached(key)?;
                Ok(taken)
            }
            Err(FeedError::Fork(fork)) => self.contradicted(key, received, fork),
            Err(error) => own_or_theirs(error),
        }
    }

    /// Puts what was sent into the feed's holes, if it has any. What waited for that is placed.
    fn fill_holes(
        &mut self,
        record: &FeedRecord,
        received: &Received<'_>,
    ) -> Result<Result<usize, FeedError>, Failure> {
        if !self.engine.board.has_holes.load(Ordering::Acquire) {
            return Ok(Ok(0));
        }
        let filled = match feed::fill(self.txn, record, received) {
            Ok(filled) => filled,
            Err(error) => return own_or_theirs(error).map(|theirs| theirs.map(|()| 0)),
        };
        if filled > 0 {
            self.engine.effects.feeds.insert(record.key);
            for id in self.databases_of(&record.key)? {
                let database = self.database(id)?;
                database.behind.insert(record.key);
                // Which branch counts may have waited for it.
                database.forks_due.extend(database.forks.keys().copied());
                self.place_ready(id)?;
                self.engine.effects.databases.insert(id);
            }
            self.hear_again(&record.key)?;
        }
        Ok(Ok(filled))
    }

    /// Of a feed that has forked what is common to its branches is taken under its own name, the rest under theirs. A third
    /// history has no name, and is not taken.
    fn ingest_forked(
        &mut self,
        mut record: FeedRecord,
        received: &Received<'_>,
    ) -> Result<Result<(), FeedError>, Failure> {
        let (feed, before) = (*record.signer(), record.clone());
        if record.forked {
            let parting = feed::load_parting(self.txn, &feed)?;
            if parting.is_none_or(|parting| record.length >= parting.common) {
                // It was on its way when the fork was found.
                return Ok(Err(FeedError::Forked { feed }));
            }
            // Whatever branch its head is of: it signs the common part.
            (record.cover, record.covered, record.tip) = (None, None, None);
        } else if !self.wants_branch(&record)? {
            // It was asked for before there was more of it than is kept.
            return Ok(Ok(()));
        }
        let taken = match feed::verify(self.txn, &record, received) {
            Ok(verified) if !self.has_room(&record, &verified)? => return Ok(Ok(())),
            Ok(verified) => {
                if before.forked && verified.end() <= record.length {
                    // What is here stays covered as it was; of a longer head there is nothing to learn.
                    if verified.head().length > record.length {
                        return Ok(Ok(()));
                    }
                    record = before;
                }
                self.take_in(record, &verified, BTreeMap::new())?
            }
            Err(error) => own_or_theirs(error)?,
        };
        match taken {
            Ok(()) => self.settle_fork(feed).map(Ok),
            Err(FeedError::Fork(_)) => Ok(Err(FeedError::Forked { feed })),
            Err(error) => Ok(Err(error)),
        }
    }

    /// What was received is signed and is not what is here. Own blocks that never left make way; else it is a fork.
    fn contradicted(
        &mut self,
        key: FeedKey,
        received: &Received<'_>,
        fork: Box<Fork>,
    ) -> Result<Result<(), FeedError>, Failure> {
        if fork.is_exact
            && let Some(taken_out) = self.set_aside(key, fork.by)?
        {
            let Some(record) = self.feed(&key)?.cloned() else { return Ok(Ok(())) };
            let verified = feed::verify(self.txn, &record, received)?;
            return self.take_in(record, &verified, taken_out);
        }
        let is_alone = fork.is_exact && received.blocks.len() == 1 && received.start == fork.by;
        if let Some(record) = self.feed(&key)?.cloned()
            && is_alone
            // Own blocks that could make way, were every database open that has them, have forked nothing.
            && (record.secret.is_none() || record.left > fork.by)
        {
            match feed::parting(self.txn, &record, received) {
                Ok(parting) => self.note_fork(key, &parting)?,
                // Blocks that no complete head covers cannot be proved to others yet.
                Err(FeedError::NotServed { .. }) => {}
                Err(error) => return own_or_theirs(error),
            }
        }
        Ok(Err(FeedError::Fork(fork)))
    }

    /// Stores what was verified and places what it makes ready. `taken_out`: what has ceased to count to make room.
    fn take_in(
        &mut self,
        mut record: FeedRecord,
        verified: &VerifiedBlocks,
        mut taken_out: BTreeMap<u32, Pending>,
    ) -> Result<Result<(), FeedError>, Failure> {
        let key = record.key;
        let grown = match feed::ingest(self.txn, &mut record, verified) {
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
            self.recount(id, &key)?;
            self.database(id)?.behind.insert(key);
            self.place_ready_with(id, taken_out.remove(&id).unwrap_or_default())?;
            self.bound_strangers(id, &key)?;
            self.append_again(id)?;
            self.engine.effects.databases.insert(id);
            if let Some(open) = self.engine.board.database(id) {
                open.apply.lock().heard_at = Some(self.now());
            }
        }
        self.append_raw_again(key)?;
        self.settle_due()?;
        Ok(Ok(()))
    }

    /// As [`Work::ingest`], for blocks that may stand apart from the beginning of a feed that is open by itself.
    pub fn ingest_apart(
        &mut self,
        key: FeedKey,
        received: &Received<'_>,
    ) -> Result<Result<(), FeedError>, Failure> {
        let Some(mut record) = self.feed(&key)?.cloned().filter(|record| received.start > record.length)
        else {
            return self.ingest(key, received);
        };
        if record.forked || record.secret.is_some() {
            return Ok(Ok(()));
        }
        match feed::keep_part(self.txn, &mut record, received) {
            Ok(_) => {
                self.engine.feeds.insert(key, record);
                self.engine.effects.feeds.insert(key);
                Ok(Ok(()))
            }
            Err(error) => own_or_theirs(error),
        }
    }

    /// Parts that the feed has grown up to become part of it, verified like what a peer sends.
    fn take_in_reached(&mut self, key: FeedKey) -> Result<(), Failure> {
        for _ in 0..MAX_PARTS_AT_ONCE {
            let Some(record) = self.feed(&key)?.cloned() else { break };
            let Some(part) = feed::take_reached(self.txn, &record)? else { break };
            match feed::verify(self.txn, &record, &part.received()) {
                Ok(verified) => drop(self.take_in(record, &verified, BTreeMap::new())?),
                Err(FeedError::Store(error)) => return Err(error.into()),
                // It contradicts what has come since: what it was is asked for again.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Open databases that a feed is part of, as of the last row written.
    pub fn databases_of(&mut self, feed: &FeedKey) -> Result<Vec<u32>, Failure> {
        let mut open: Vec<u32> = self.engine.board.databases.read().keys().copied().collect();
        let repairing = self.engine.board.repairing.lock().clone();
        open.retain(|id| self.repairs == Some(*id) || !repairing.contains(id));
        let mut found = Vec::new();
        for id in open {
            if self.database(id)?.members.contains_key(feed) {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// From now on blocks of these own feeds may leave the machine, unless a peer was met meanwhile that may have more of
    /// one. `waited`: how long they have waited already.
    pub fn note_leaving(&mut self, feeds: &[FeedKey], waited: u32) -> Result<(), Failure> {
        if !self.engine.board.own_may_leave(waited) {
            return Ok(());
        }
        for key in feeds {
            // Closed meanwhile: it leaves over no connection.
            if self.engine.board.holders(key).is_empty() {
                continue;
            }
            let Some(record) = self.feed(key)? else { continue };
            let is_cautious = record.unconfirmed || record.signed() > record.length;
            if record.left >= record.length || is_cautious {
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
        FeedError::Store(error) => Err(error.into()),
        FeedError::Corrupt { .. } | FeedError::CorruptRecord { .. } => Err(Failure::damaged(&error)),
        theirs => Ok(Err(theirs)),
    }
}

impl From<FeedError> for Failure {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Store(error) => error.into(),
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
                        "{error}: this store is older than what it once sent; connect to a peer that has the rest, or call \
                         store.resume({{ mine: true }}) if nobody has it any more (docs/guide.md, Restoring a backup)"
                    ),
                );
            }
            FeedError::Unconfirmed { .. } => {
                return Error::new(
                    Code::Restored,
                    format!(
                        "{error}: connect to a peer that had it, or call store.resume({{ mine: true }}) if nothing newer \
                         than this backup exists anywhere"
                    ),
                );
            }
            FeedError::Forked { .. } => {
                return Error::new(
                    Code::Forked,
                    format!(
                        "{error}: what is here stays readable; go on with a new key pair (docs/guide.md, Restoring a \
                         backup)"
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
