//! Opening and closing databases.

use super::board::{DbInfo, OpenDatabase};
use super::database::{DatabaseOptions, Db};
use super::engine::Work;
use super::error::{Code, Error, Failure};
use super::events::Reply;
use super::handler::HandlerRow;
use super::relay::RelayState;
use super::rows::{DatabaseRow, MAX_DATABASE_NAME, StateRow, members_of};
use super::state::{DatabaseState, Dirty, Touched};
use super::store::Shared;
use super::write::PutsFrom;
use crate::causal::Past;
use crate::clock::Clock;
use crate::entry::{Genesis, Mode, Op};
use crate::feed::Seed;
use crate::order::{self, Batches};
use crate::seal::{KeyCheck, Sealing};
use crate::store::{Read, Table};
use crate::types::{Effective, FeedKey};
use crate::view::{self, Space};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const DISCOVERY_CONTEXT: &str = "multi-hyperbee 2026 discovery key v1";

impl Db {
    pub(super) fn open(shared: &Arc<Shared>, options: DatabaseOptions) -> Reply<Db> {
        // The job must not keep the store open once every handle is closed.
        let weak = Arc::downgrade(shared);
        shared.job(move |work| {
            let open = work.open_database(&options)?;
            let shared = weak.upgrade().ok_or_else(Error::closed)?;
            open.handles.fetch_add(1, Ordering::AcqRel);
            Ok(Db::new(shared, open, options.history))
        })
    }
}

impl Work<'_, '_> {
    fn open_database(&mut self, options: &DatabaseOptions) -> Result<Arc<OpenDatabase>, Failure> {
        let joined =
            |key: FeedKey| if options.relay.is_some() { format!("relay {key}") } else { key.to_string() };
        let default = || options.key.map_or_else(|| "db".to_owned(), joined);
        let name = options.name.clone().unwrap_or_else(default);
        if name.len() > MAX_DATABASE_NAME {
            return Err(Error::new(
                Code::Options,
                format!("a database's name has at most {MAX_DATABASE_NAME} bytes"),
            )
            .into());
        }
        // A relay opens nothing, so the store's key is not its own.
        let keyless = DatabaseOptions { encryption_key: None, ..options.clone() };
        let options = if options.relay.is_some() { &keyless } else { options };
        let row = match self.txn.get(Table::Databases, &DatabaseRow::key_of(&name))? {
            Some(row) => {
                let row = DatabaseRow::decode(row).map_err(|error| Failure::damaged(&error))?;
                agree(&row, options, &name)?;
                let given = options.encryption_key.as_ref().map(|key| key.check(&row.key));
                match same_key(row.check, given, &row.key) {
                    Ok(()) => row,
                    Err(_) if self.has_nothing(&row)? => {
                        self.forget_join(&row, &name)?;
                        self.create_database(options, &name)?
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            None => self.create_database(options, &name)?,
        };
        let id = row.id;
        if let Some(open) = self.engine.board.database(id) {
            // A repair has made it known to the store alone.
            if open.handles.load(Ordering::Acquire) == 0 && self.is_made_anew(id) {
                self.engine.board.open_database(&open);
            }
            return Ok(open);
        }
        let info = DbInfo {
            name,
            key: row.key,
            discovery_key: discovery_key(&row.key),
            local: row.local,
            key_encoding: row.key_encoding,
            value_encoding: row.value_encoding,
            open: row.open,
            encrypted: row.check.is_some(),
            apply: row.apply,
            optimistic: row.optimistic,
            relay: row.relay.then(|| options.relay.unwrap_or_default()),
        };
        let space = Space::new(id, Sealing::new(options.encryption_key.as_ref(), &row.key));
        let open = Arc::new(OpenDatabase::new(id, info, space, options.max_drift));
        self.engine.board.open_database(&open);
        self.engine.effects.opened.insert(id);
        self.engine.effects.databases.insert(id);
        // Readers see what they saw; who called for the repair goes on with it.
        if self.engine.board.repairing.lock().contains(&id) {
            return Ok(open);
        }
        let started = self.start_database(id);
        if started.is_err() {
            self.engine.board.remove_database(id, |_| true);
            self.engine.databases.remove(&id);
        }
        started.map(|()| open)
    }

    pub fn start_database(&mut self, id: u32) -> Result<(), Failure> {
        let members: Vec<FeedKey> = self.database(id)?.members.keys().copied().collect();
        for feed in &members {
            self.feed(feed)?;
        }
        if self.database(id)?.row.relay {
            return self.start_relay(id);
        }
        self.begin_own_feed(id)?;
        self.place_ready(id)?;
        self.begin_forks(id)?;
        self.append_again(id)?;
        // What it wrote as another may have waited for its key.
        members.into_iter().try_for_each(|feed| self.append_raw_again(feed))?;
        self.place_silent(id)
    }

    /// A creator's feed begins with what everyone who joins must agree with.
    fn begin_own_feed(&mut self, id: u32) -> Result<(), Failure> {
        let database = self.database(id)?;
        let row = database.row.clone();
        if row.key != row.local || self.feed(&row.local)?.is_some_and(|record| record.signed() > 0) {
            return Ok(());
        }
        let genesis = Genesis {
            mode: if row.apply { Mode::Apply } else { Mode::Merge },
            key_encoding: &row.key_encoding,
            value_encoding: &row.value_encoding,
            encrypted: row.check,
            open: row.open,
            optimistic: row.optimistic,
        };
        self.append(id, &[Op::Genesis(genesis)]).map(|_| ())
    }

    /// Reads a database's state from the store.
    pub fn load_database(&mut self, id: u32) -> Result<DatabaseState, Failure> {
        let damaged = |error| Failure::damaged(&error);
        let open = self.engine.board.database(id).ok_or_else(Error::closed)?;
        let row = self
            .txn
            .get(Table::Databases, &DatabaseRow::key_of(&open.info.name))?
            .ok_or_else(Error::closed)?;
        let row = DatabaseRow::decode(row).map_err(damaged)?;
        let state = self.txn.get(Table::Databases, &StateRow::key_of(id))?;
        let state = state.map(StateRow::decode).transpose().map_err(damaged)?.unwrap_or_default();
        let members = members_of(self.txn, id)?;
        let writers = members.iter().map(|(feed, member)| (member.feed, *feed)).collect();
        let order = order::order_state(self.txn, id, row.key)?;
        let applied = if row.apply { Some(crate::apply::load(self.txn, id, row.key)?) } else { None };
        let sealing = open.space.sealing();
        let batches = Batches { txn: &*self.txn, database: id, sealing, numbers: &members };
        let (reached, latest) = reach_of(&batches, row.local, order.placed().get(&row.local))?;
        let mut clock = Clock::new(clock_id(&row.local));
        clock.restore(state.clock);
        let mut database = DatabaseState {
            state,
            clock,
            max_drift: open.max_drift,
            writers,
            own_past: reached,
            own_last: latest,
            puts_from: PutsFrom::default(),
            links_due: true,
            again: false,
            forks: BTreeMap::new(),
            forks_due: BTreeSet::new(),
            behind: BTreeSet::new(),
            waits: BTreeMap::new(),
            published: state.version,
            dirty: Dirty::default(),
            touched: Touched::All,
            handler: HandlerRow::load(self.txn, id)?,
            // What cannot be read may say so.
            trimmed: view::floor(self.txn, id).map_or(true, |floor| floor > 1),
            relay: open.info.relay.map(RelayState::new),
            members,
            order,
            space: open.space.clone(),
            applied,
            waiting_for: Vec::new(),
            ahead: None,
            #[cfg(test)]
            walked: 0,
            row,
        };
        // A relay writes nothing: what the creator set aside in the same store is not its to read.
        let own = database.members.get(&database.row.local).filter(|_| !database.row.relay);
        database.again = own.map_or(Ok(false), |own| self.keeps(own.feed))?;
        for feed in database.members.keys().copied().collect::<Vec<_>>() {
            let length = match self.feed(&feed)?.cloned() {
                None => 0,
                Some(record) => {
                    database.forks.extend(
                        super::forks::forked(self.txn, database.reads(), &record)?
                            .map(|forked| (feed, forked)),
                    );
                    record.length
                }
            };
            let is_kept = database.is_kept(&feed);
            let cost = self.relay_cost(&feed)?;
            if let Some(relay) = &mut database.relay {
                relay.count(feed, is_kept, cost);
            }
            // Of a forked feed what is wanted comes as branches.
            let is_forked = database.forks.contains_key(&feed);
            let wanted = if is_forked {
                u64::MAX
            } else {
                database.members.get(&feed).map_or(0, |member| member.until)
            };
            // What is here is placed when it can be, though only a part of it was asked for.
            if wanted > 0 && length > database.order.placed().get(&feed) {
                database.behind.insert(feed);
            }
        }
        self.look_at_final(&mut database)?;
        Ok(database)
    }
}

/// What the batch of a feed that ends at `placed` has in its past, itself included, and when it took effect.
pub(super) fn reach_of<T: Read, N: order::Numbers>(
    batches: &Batches<'_, T, N>,
    feed: FeedKey,
    placed: u64,
) -> Result<(Past, Effective), order::OrderError> {
    use crate::causal::WalkSource as _;
    let Some(last) = placed.checked_sub(1) else { return Ok(Default::default()) };
    Ok((batches.past(feed, placed)?, batches.batch(feed, last)?.effective))
}

/// What a store remembers of a database must be what its caller says, where the caller says it.
fn agree(row: &DatabaseRow, options: &DatabaseOptions, name: &str) -> Result<(), Error> {
    if options.key.is_some_and(|key| key != row.key) {
        let message = format!(
            "the database {name:?} of this store has the key {}: open it without a key, or give this one another name",
            row.key
        );
        return Err(Error::new(Code::InvalidKey, message));
    }
    if row.relay != options.relay.is_some() {
        let (is, how) =
            if row.relay { ("a relay", "with relay: true") } else { ("no relay", "without relay") };
        let message = format!(
            "the database {name:?} of this store is {is}: open it {how}, or give this one another name"
        );
        return Err(Error::new(Code::Options, message));
    }
    if row.relay {
        return Ok(());
    }
    let local = options.secret.map(|secret| Seed::new(secret).feed());
    if local.is_some_and(|local| local != row.local) {
        let message =
            format!("the database {name:?} is written with another key pair, that of {}", row.local);
        return Err(Error::new(Code::Options, message));
    }
    if row.apply != options.apply {
        let (made, how) =
            if row.apply { ("apply", "with an apply function") } else { ("merge", "without one") };
        let message = format!("the database {name:?} was made in {made} mode: open it {how}");
        return Err(Error::new(Code::Options, message));
    }
    if row.key == row.local && row.optimistic != options.optimistic {
        let message = format!(
            "the database {name:?} was made with optimistic: {}: open it with the same",
            row.optimistic
        );
        return Err(Error::new(Code::Options, message));
    }
    let fits = row.key_encoding == options.key_encoding
        && row.value_encoding == options.value_encoding
        && row.open == options.open;
    if fits {
        return Ok(());
    }
    Err(Error::new(
        Code::Options,
        format!(
            "the database {name:?} was made with keyEncoding {:?}, valueEncoding {:?}, writers {:?}: open it with the same",
            row.key_encoding,
            row.value_encoding,
            if row.open { "open" } else { "granted" },
        ),
    ))
}

/// Whether a database that was made with the first key, or none, is opened with the same.
pub(super) fn same_key(
    made: Option<KeyCheck>,
    given: Option<KeyCheck>,
    database: &FeedKey,
) -> Result<(), Error> {
    let message = match (made, given) {
        (None, None) => return Ok(()),
        (Some(made), Some(given)) if made == given => return Ok(()),
        (Some(_), None) => format!("the database {database} is encrypted: open it with its encryptionKey"),
        (None, Some(_)) => format!("the database {database} is not encrypted: open it without encryptionKey"),
        (Some(_), Some(_)) => {
            format!("this is not the encryptionKey that the database {database} was made with")
        }
    };
    Err(Error::new(Code::EncryptionKey, message))
}

/// What swarms are joined under: tells nobody the key.
pub fn discovery_key(key: &FeedKey) -> [u8; 32] {
    blake3::derive_key(DISCOVERY_CONTEXT, key.as_bytes())
}

fn clock_id(local: &FeedKey) -> [u8; 16] {
    let [id @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = local.0;
    // uhlc wants an id that is not zero.
    if id == [0; 16] { [1; 16] } else { id }
}

pub(super) fn random() -> Result<[u8; 32], Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| {
        Error::new(Code::StoreOpen, format!("the system gives no randomness for a key: {error}"))
    })?;
    Ok(seed)
}
