//! A replica of one database, and what its user remembers.

use super::apply_user::is_anchor;
use super::links::Links;
use super::memory::Kept;
use super::random::Random;
use super::schedule::{Mode, Setup};
use multi_hyperbee::db::{
    Code, DatabaseOptions, Db, DbStatus, Done, EncryptionKey, FeedChoice, Held, Range, Store, Subscription,
    ViewEntry,
};
use multi_hyperbee::entry::{Entry, Op};
use multi_hyperbee::types::{FeedKey, Hash, Stamp};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a user read, to be put back changed.
#[derive(Clone)]
pub struct Seen {
    pub key: Vec<u8>,
    pub text: String,
    pub base: (Stamp, u64),
}

#[expect(clippy::struct_excessive_bools, reason = "each is about one thing, independent of the others")]
pub struct Replica {
    pub mode: Mode,
    secret: [u8; 32],
    number: usize,
    /// Strangers may ask.
    pub optimistic: bool,
    encrypted: bool,
    /// The database's key, once known.
    pub key: Option<FeedKey>,
    clock: Arc<AtomicU64>,
    pub open: Option<Open>,
    /// How much of which feeds counts by this replica's own choice.
    pub chosen: BTreeMap<FeedKey, u64>,
    pub seen: Vec<Seen>,
    pub snapshots: Vec<(u64, Vec<ViewEntry>)>,
    /// Apply mode: what was found final, as (writer, seq).
    pub finals: Vec<(FeedKey, u64)>,
    /// Apply mode: an answer that comes too late.
    pub late: Option<Done>,
    /// The own feed's blocks, as acknowledged.
    pub ledger: Vec<Vec<u8>>,
    /// An older copy was restored, whose own feed had so many blocks, and not all of the ledger has come back yet.
    pub mute: Option<usize>,
    /// What was acknowledged there meanwhile: it has to come again, after the ledger.
    pub loose: Vec<Vec<u8>>,
    /// It is out of a backup made by the store, and has not written since.
    pub cautious: bool,
    /// The same, and no peer can have confirmed it before it was put back.
    pub unconfirmed: bool,
    pub kept: Option<Kept>,
    /// Its disk may be full.
    pub is_full: bool,
    /// Somebody forged what it was sent.
    pub lied_to: Cell<bool>,
    /// It was put back once.
    pub restored: bool,
    /// Feeds it wrote before, whole.
    pub past: Vec<(FeedKey, Vec<Vec<u8>>)>,
    /// Its key signs, or may sign, two histories: of its own feed nothing is certain any more.
    pub forks: bool,
    /// Some feed of the database has two histories: what shows is what all agree in, not what the model says.
    pub is_weak: bool,
}

pub struct Open {
    pub store: Store,
    pub db: Db,
    pub local: FeedKey,
    /// Versions that a user holds.
    pub held: Vec<Held>,
    pub events: Subscription,
    /// What the events so far say.
    pub version: u64,
    pub writers: BTreeSet<FeedKey>,
    pub writable: bool,
}

/// What a replica shows: the same before it is closed and after it was opened.
pub type Shown = (DbStatus, Hash, (u64, Vec<ViewEntry>));

pub fn scan(db: &Db, at: Option<u64>) -> Result<(u64, Vec<ViewEntry>), String> {
    let mut scan = db.scan(Range::default(), at).map_err(|error| format!("scan at {at:?}: {error}"))?;
    let mut all = Vec::new();
    loop {
        let some = scan.next(3, 1 << 20).map_err(|error| format!("scan at {at:?}: {error}"))?;
        if some.is_empty() {
            return Ok((scan.version(), all));
        }
        all.extend(some);
    }
}

impl Replica {
    pub fn new(
        setup: &Setup,
        index: usize,
        number: usize,
        mode: Mode,
        key: Option<FeedKey>,
        clock: Arc<AtomicU64>,
    ) -> Self {
        let mut secret = setup.secrets[index];
        secret[31] ^= u8::try_from(number).unwrap();
        Self {
            mode,
            secret,
            number,
            optimistic: setup.optimistic,
            encrypted: setup.encrypted,
            key,
            clock,
            open: None,
            chosen: BTreeMap::new(),
            seen: Vec::new(),
            snapshots: Vec::new(),
            finals: Vec::new(),
            late: None,
            ledger: Vec::new(),
            mute: None,
            loose: Vec::new(),
            cautious: false,
            unconfirmed: false,
            kept: None,
            is_full: false,
            lied_to: Cell::new(false),
            restored: false,
            past: Vec::new(),
            forks: false,
            is_weak: false,
        }
    }

    /// The same in a copy of its store, that is not open yet. Both are writers of one feed from now on.
    pub fn fork(&mut self, clock: Arc<AtomicU64>) -> Self {
        (self.forks, self.restored) = (true, true);
        Self {
            key: self.key,
            clock,
            open: None,
            chosen: self.chosen.clone(),
            seen: self.seen.clone(),
            snapshots: self.snapshots.clone(),
            finals: self.finals.clone(),
            late: None,
            ledger: self.ledger.clone(),
            mute: self.mute,
            loose: self.loose.clone(),
            kept: None,
            past: self.past.clone(),
            lied_to: self.lied_to.clone(),
            ..*self
        }
    }

    /// It writes another feed from now on.
    pub fn change_local(&mut self, secret: [u8; 32], local: FeedKey) {
        self.key = Some(self.database());
        self.secret = secret;
        let before = std::mem::replace(&mut self.open.as_mut().unwrap().local, local);
        self.past.push((before, std::mem::take(&mut self.ledger)));
        self.restored = false;
    }

    /// What was put back is taken for the newest, wrongly.
    pub fn is_said_to_be_newest(&mut self) {
        (self.forks, self.mute, self.cautious) = (true, None, false);
        self.loose.clear();
    }

    /// What a writer of two histories may be told instead of being heard.
    pub fn may_be_refused(&self, code: Code) -> bool {
        let is_full = self.is_full && code == Code::DiskFull;
        self.forks && (is_full || matches!(code, Code::Forked | Code::Restored | Code::NotWritable))
    }

    /// Time passes for this device, until the world says how late it is.
    pub fn pass(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap();
        let _ = self.clock.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| now.checked_add(micros));
    }

    pub fn get(&self) -> &Open {
        self.open.as_ref().unwrap()
    }

    pub fn db(&self) -> &Db {
        &self.get().db
    }

    pub fn local(&self) -> FeedKey {
        self.get().local
    }

    pub fn database(&self) -> FeedKey {
        self.key.unwrap_or_else(|| self.local())
    }

    pub fn open(&mut self, store: &Store) -> Result<(), String> {
        let is_apply = self.mode == Mode::Apply;
        let options = DatabaseOptions {
            name: Some(format!("db{}", self.number)),
            key: self.key,
            secret: Some(self.secret),
            apply: is_apply,
            optimistic: is_apply && self.optimistic,
            encryption_key: self.encrypted.then(|| EncryptionKey::new([0xe5; 32])),
            ..DatabaseOptions::default()
        };
        let db = store.database(options).wait().map_err(|error| format!("open the database: {error}"))?;
        if is_apply && !db.claim_apply().map_err(|error| error.to_string())? {
            return Err("another handle runs apply".into());
        }
        let events = db.subscribe(Arc::new(|| {})).map_err(|error| error.to_string())?;
        let status = db.status().map_err(|error| error.to_string())?;
        let local = db.info().map_err(|error| error.to_string())?.local;
        let members = db.members().map_err(|error| format!("members: {error}"))?;
        let writers = members.iter().filter(|member| member.granted).map(|member| member.key).collect();
        let (version, writable) = (status.version, status.writable);
        let store = store.clone();
        self.late = None;
        let held = Vec::new();
        self.open = Some(Open { store, db, local, held, events, version, writers, writable });
        Ok(())
    }

    /// Waits for the owner thread to have done all that is queued, and what that queues.
    pub fn settle(&self) {
        for _ in 0..2 {
            // An owner that has stopped shows in the next call whose result is looked at.
            let _ = self.get().store.settled().wait();
        }
    }

    pub fn close(&mut self) -> Result<(), String> {
        let Some(open) = self.open.take() else { return Ok(()) };
        drop(open.events);
        open.db.close().wait().map_err(|error| format!("close the database: {error}"))
    }

    pub fn shown(&mut self) -> Result<Shown, String> {
        let wrong = |error: multi_hyperbee::db::Error| error.to_string();
        self.take_events(true)?;
        let db = self.db();
        // Whether an acknowledgement may be wanted is a hint; that none is, is forgotten.
        let status = |status| DbStatus { ack_wanted: false, ..status };
        Ok((db.status().map(status).map_err(wrong)?, db.state_hash().map_err(wrong)?, scan(db, None)?))
    }

    /// Looks at everything; every other time it holds what it sees.
    pub fn look(&mut self) -> Result<(), String> {
        let (version, entries) = scan(self.db(), None)?;
        if self.snapshots.len().is_multiple_of(2) {
            let held = self.db().hold(Some(version)).map_err(|error| format!("hold {version}: {error}"))?;
            self.open.as_mut().unwrap().held.push(held);
        }
        self.snapshots.push((version, entries));
        Ok(())
    }

    /// Whoever held versions needs them no more.
    pub fn let_go(&mut self) {
        self.open.as_mut().unwrap().held.clear();
    }

    /// Versions below are not kept any more; in a backup they may be.
    pub fn forget_below(&mut self, oldest: u64) {
        let is_kept = |(version, _): &(u64, Vec<ViewEntry>)| *version == 0 || *version >= oldest;
        if let Some(kept) = &mut self.kept {
            kept.snapshots = self.snapshots.iter().take(kept.snapshots).filter(|one| is_kept(one)).count();
        }
        self.snapshots.retain(is_kept);
        // A user who has seen enough lets go.
        let open = self.open.as_mut().unwrap();
        if open.held.len() > 2 {
            open.held.remove(0);
        }
    }

    /// Whether it is encrypted, and nothing of the creator's is here.
    pub fn is_unsure(&self) -> Result<bool, multi_hyperbee::db::Error> {
        let creator = self.database();
        let has_it = self.db().progress()?.iter().any(|feed| feed.key == creator && feed.have > 0);
        Ok(self.encrypted && !has_it)
    }

    /// Blocks of a feed that are here, if it is one of the database's.
    pub fn have(&self, feed: FeedKey) -> Result<u64, String> {
        let feeds = self.db().progress().map_err(|error| format!("progress: {error}"))?;
        Ok(feeds.iter().find(|known| known.key == feed).map_or(0, |known| known.have))
    }

    /// Whether a feed is one of the database's.
    pub fn knows(&self, feed: FeedKey) -> Result<bool, String> {
        let members = self.db().members().map_err(|error| format!("members: {error}"))?;
        Ok(members.iter().any(|member| member.key == feed))
    }

    /// Blocks of a feed that are here.
    pub fn blocks(&self, feed: FeedKey) -> Result<Vec<Vec<u8>>, String> {
        let wrong = |error: multi_hyperbee::db::Error| format!("blocks of {feed}: {error}");
        let feed = self.get().store.feed(FeedChoice::Key(feed)).wait().map_err(wrong)?;
        // Connections have seen that it is open, and ask for its last block: always, or no seed would decide it.
        let _ = self.get().store.settled().wait();
        let length = feed.info().map_err(wrong)?.length;
        (0..length)
            .map(|seq| feed.get(seq).map_err(wrong)?.ok_or_else(|| format!("no block {seq}")))
            .collect()
    }

    /// Blocks of every feed of the database that can be part of its order.
    pub fn feeds(&self) -> Result<BTreeMap<FeedKey, Vec<Vec<u8>>>, String> {
        let members = self.db().members().map_err(|error| format!("members: {error}"))?;
        let feeds = members.iter().map(|member| member.key).filter(|feed| !is_anchor(feed));
        feeds.map(|feed| Ok((feed, self.blocks(feed)?))).collect()
    }

    /// Those of them that may be read: of an encrypted database none before the creator's first block has confirmed the key.
    pub fn readable(&self) -> Result<BTreeMap<FeedKey, Vec<Vec<u8>>>, String> {
        let is_unsure = self.is_unsure().map_err(|error| error.to_string())?;
        if is_unsure { Ok(BTreeMap::new()) } else { self.feeds() }
    }

    /// Whether its feed has a grant or a revoke of itself.
    pub fn spoke_of_itself(&self) -> bool {
        let is_of_itself = |block: &Vec<u8>| match Entry::decode(block).unwrap().op {
            Op::Grant { writer, .. } | Op::Revoke { writer, .. } => writer == self.local(),
            _ => false,
        };
        !self.is_weak && self.ledger.iter().any(is_of_itself)
    }

    /// What the model says of the right that it has where its next batch stands: none, a writer's (false), an indexer's.
    pub fn right_of_next(&self) -> Result<Option<bool>, String> {
        let (feeds, links) = (self.readable()?, Links::of(self)?);
        Ok(super::model::right_of_next(self.database(), feeds, &links, self.local()))
    }

    /// Looks at a key and remembers what was there.
    pub fn read(&mut self, random: &mut Random) -> Result<(), String> {
        let key = super::user::key(random);
        let found = self.db().get_entry(&key, None).map_err(|error| format!("get: {error}"))?;
        if let Some(entry) = found.filter(|entry| !entry.register) {
            let text = String::from_utf8(entry.value).unwrap();
            self.seen.push(Seen { key, text, base: (entry.stamp, entry.state) });
        }
        Ok(())
    }
}
