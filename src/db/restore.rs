//! Backups, and when the store that was made of one may write again.

use super::engine::Work;
use super::error::{Code, Error, Failure};
use super::events::{Event, Reply};
use super::store::Store;
use crate::fault::{self, Fault};
use crate::feed::{self, FeedError, FeedRecord, Secret};
use crate::order;
use crate::store::WriteTxn;
use crate::types::FeedKey;
use std::path::PathBuf;

impl Store {
    /// Copies what is committed now into the directory `to`, which holds no store yet. Writing goes on meanwhile. The
    /// copy knows that it is one: its own feeds are not appended to before a peer that had them has said how long they
    /// are, or [`Store::resume`].
    pub fn backup(&self, to: PathBuf) -> Reply<()> {
        let environment = match self.shared().and_then(|shared| shared.environment()) {
            Ok(environment) => environment,
            Err(error) => return Reply::ready(Err(error)),
        };
        let (replier, reply) = Reply::channel();
        // As long as the disk takes: neither the caller's thread nor the owner's, which go on.
        let spawned = std::thread::Builder::new().name("multi-hyperbee backup".into()).spawn(move || {
            let copied = environment.copy(&to, mark_own_feeds);
            drop(environment);
            // A caller that no longer listens has chosen not to know.
            let _ = replier.send(copied.map_err(Error::from));
        });
        match spawned {
            Ok(_) => reply,
            Err(error) => {
                let message = format!("no thread for the backup: {error}");
                Reply::ready(Err(Error::new(Code::StoreOpen, message)))
            }
        }
    }

    /// The user's word that nothing newer than what is here exists anywhere: own feeds may be appended to again, those of
    /// a backup and those of which peers have shown only the beginning of what was signed.
    pub fn resume(&self) -> Reply<()> {
        match self.shared() {
            #[expect(
                clippy::redundant_closure_for_method_calls,
                reason = "the method by its name is of one lifetime, not of all"
            )]
            Ok(shared) => shared.job(|work| work.resume()),
            Err(error) => Reply::ready(Err(error)),
        }
    }
}

/// What may have been sent since is not known: nobody finds the copy without this mark.
fn mark_own_feeds(txn: &mut WriteTxn<'_>) -> Result<(), Failure> {
    for mut record in feed::all(txn)? {
        if record.secret.is_some() {
            record.unconfirmed = !fault::is(Fault::UnmarkedBackup);
            feed::save(txn, &record)?;
        }
    }
    Ok(())
}

impl Work<'_, '_> {
    fn resume(&mut self) -> Result<(), Failure> {
        for FeedRecord { key, unconfirmed, secret, .. } in feed::all(self.txn)? {
            if secret.is_none() {
                continue;
            }
            let ended = self.end_here(key)?;
            if let Err(why) = &ended {
                for id in self.databases_of(&key)? {
                    self.event(id, Event::Error { error: why.clone() });
                }
            }
            if unconfirmed || ended.is_ok_and(|ended| ended) {
                self.confirmed(key)?;
            }
        }
        Ok(())
    }

    /// Where more of an own feed was signed than is here, it ends here from now on. True: it does now. The inner error says
    /// why it cannot; others are not kept back by that.
    fn end_here(&mut self, key: FeedKey) -> Result<Result<bool, Error>, Failure> {
        self.finish_feed(&key)?;
        let Some(mut record) = self.feed(&key)?.cloned() else { return Ok(Ok(false)) };
        if record.forked || record.signed() <= record.length {
            return Ok(Ok(false));
        }
        let refused = |why: &str| {
            let message = format!("feed {key} cannot be ended where it is here: {why}");
            Ok(Err(Error::new(Code::Restored, message)))
        };
        if !record.secret.as_ref().is_some_and(Secret::is_open) || !self.is_open_everywhere(&key)? {
            return refused("open every database of this store that has it, and call resume again");
        }
        for id in self.databases_of(&key)? {
            if self.engine_local(id) != Some(key)
                || self.database(id)?.order.placed().get(&key) == record.length
            {
                continue;
            }
            let sealing = self.database(id)?.space.blocks(key);
            let Some(last) = record.length.checked_sub(1) else { continue };
            // What cannot be read is no batch that could be told to be cut off.
            if let Ok((start, head)) = order::batch_start(self.txn, &sealing, record.id, last)
                && start.saturating_add(head.length) > record.length
            {
                return refused(
                    "the end of a batch is missing, and nothing can follow that; open the database with a new key pair",
                );
            }
        }
        match feed::end_here(self.txn, &mut record) {
            Ok(()) => {}
            Err(FeedError::Store(error)) => return Err(error.into()),
            Err(error) => return Ok(Err(error.into())),
        }
        self.engine.feeds.insert(key, record);
        self.engine.effects.feeds.insert(key);
        Ok(Ok(true))
    }

    /// A peer that had an own feed shows it at `length`: if that is all that had left when the backup was made, and
    /// continues in nothing that is not here, it is taken for all there is.
    pub fn confirm(&mut self, key: FeedKey, length: u64, root: [u8; 16]) -> Result<(), Failure> {
        let Some(record) = self.feed(&key)?.cloned() else { return Ok(()) };
        let knows = length > 0 && length >= record.left && length <= record.length;
        if !record.unconfirmed || !knows || record.signed() > record.length {
            return Ok(());
        }
        if feed::root_at(self.txn, &record, length)?.starts_with(&root) {
            self.confirmed(key)?;
        }
        Ok(())
    }

    fn confirmed(&mut self, key: FeedKey) -> Result<(), Failure> {
        let Some(record) = self.feed(&key)? else { return Ok(()) };
        record.unconfirmed = false;
        let record = record.clone();
        feed::save(self.txn, &record)?;
        self.engine.effects.feeds.insert(key);
        let databases = self.databases_of(&key)?;
        for id in databases {
            self.append_again(id)?;
            self.engine.effects.databases.insert(id);
        }
        self.append_raw_again(key)
    }
}
