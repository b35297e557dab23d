//! Local writes: from what a caller gives to a batch in the local feed, placed and folded.

use super::engine::{DatabaseState, Work};
use super::error::{Code, Error, Failure};
use super::place::{Changes, Pending, Placement};
use crate::causal::{self, BatchFacts, LinkRule, Past, Readiness, resolve};
use crate::codec::limits::{MAX_BATCH_ENTRIES, MAX_KEY_BYTES, MAX_LINKS, MAX_LIST_BYTES, MAX_VALUE_BYTES};
use crate::crdt::{Change, ChangeKind, List, State, Value, list_size, parse_object};
use crate::entry::{self, BatchHead, Entry, Op, Place};
use crate::feed::{self, Appender};
use crate::order::{Batches, Placing, control};
use crate::types::{Effective, FeedKey, Link, Position, Stamp};
use crate::view;
use std::collections::{BTreeMap, VecDeque};

/// One write, as a caller gives it.
#[derive(Clone, Debug)]
pub enum Write {
    /// `value`: JSON text of an object, without the reserved properties. `base`: the state that the `_timestamp` it
    /// carried names. `diff`: the caller's own diff list, instead of a generated one.
    Put {
        key: Vec<u8>,
        value: Vec<u8>,
        base: Option<(Stamp, u64)>,
        diff: Option<String>,
        expect: Expect,
    },
    /// The whole value of a last-writer-wins register.
    Register {
        key: Vec<u8>,
        value: Vec<u8>,
        expect: Expect,
    },
    Delete {
        key: Vec<u8>,
        expect: Expect,
    },
    /// All or nothing, visible at once everywhere.
    Batch(Vec<Write>),
}

/// What must hold of the key, or the write is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Any,
    /// The version its live row was written as.
    Seq(u64),
    Absent,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing changed, so nothing was written.
    No,
    /// What it expected did not hold.
    Conflict,
    /// It is on disk: `length` of the local feed after it, `version` of the view.
    Yes { length: u64, version: u64 },
}

/// States of which it is remembered what puts have made of them, over all keys of a database. What is
/// forgotten costs a larger diff for an object put again long after.
const MAX_REMEMBERED_PUTS: usize = 4_096;

/// Of those made from one state, how many of the latest a put is compared with: putting one object again and again
/// costs no more each time.
const MAX_COMPARED_PUTS: usize = 16;

/// Versions that puts made from one read state, newest last.
#[derive(Default)]
pub(super) struct PutsFrom {
    made: BTreeMap<(Vec<u8>, u64), VecDeque<u64>>,
    /// States in the order in which they were first put from.
    order: VecDeque<(Vec<u8>, u64)>,
}

impl PutsFrom {
    fn of(&self, key: &[u8], state: u64) -> Vec<u64> {
        self.made.get(&(key.to_vec(), state)).map_or_else(Vec::new, |made| made.iter().copied().collect())
    }

    fn note(&mut self, key: &[u8], state: u64, version: u64) {
        let name = (key.to_vec(), state);
        let made = self.made.entry(name.clone()).or_default();
        if made.is_empty() {
            self.order.push_back(name);
        }
        made.push_back(version);
        if made.len() > MAX_COMPARED_PUTS {
            made.pop_front();
        }
        if self.order.len() > MAX_REMEMBERED_PUTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.made.remove(&oldest);
        }
    }

    /// Notes the puts among writes that `version` has made.
    fn note_all(&mut self, writes: &[Write], version: u64) {
        for write in writes {
            if let Write::Put { key, base: Some((_, state)), .. } = write {
                self.note(key, *state, version);
            }
        }
    }
}

/// A change of one key, ready to be written.
struct Prepared {
    key: Vec<u8>,
    prev: Option<Stamp>,
    kind: ChangeKind,
}

enum Outcome {
    Nothing,
    Conflict,
    Change(Prepared),
}

/// What a batch has made of the keys it touched, before any of it is written.
type Overlay = BTreeMap<Vec<u8>, Staged>;

struct Staged {
    state: State,
    /// What puts of this batch have made, by the state they were made from.
    made: Vec<(u64, State)>,
}

impl Work<'_, '_> {
    /// Writes in order. One result for each; only a failure of the store fails them all.
    pub fn write_all(&mut self, id: u32, writes: &[Write]) -> Result<Vec<Result<Written, Error>>, Failure> {
        let mut results = Vec::with_capacity(writes.len());
        for write in writes {
            let before = self.writes();
            results.push(match self.write_one(id, write) {
                Ok(written) => Ok(written),
                Err(Failure::Refused(error)) if self.writes() == before => Err(error),
                Err(failure) => return Err(failure),
            });
        }
        Ok(results)
    }

    fn write_one(&mut self, id: u32, write: &Write) -> Result<Written, Failure> {
        self.must_be_writable(id)?;
        if let Write::Batch(writes) = write {
            return self.write_batch(id, writes);
        }
        let prepared = match self.prepare(id, write, None)? {
            Outcome::Nothing => return Ok(Written::No),
            Outcome::Conflict => return Ok(Written::Conflict),
            Outcome::Change(prepared) => prepared,
        };
        self.append_changes(id, vec![prepared], std::slice::from_ref(write))
    }

    fn must_be_writable(&mut self, id: u32) -> Result<(), Failure> {
        let database = self.database(id)?;
        if database.is_writable() {
            return Ok(());
        }
        let local = database.row.local;
        Err(Error::new(
            Code::NotWritable,
            format!("Not writable: this device's writer {local} has not been granted; ask a writer to call addWriter with it"),
        )
        .into())
    }

    /// Folds each write onto the batch's own state of its key, then writes one change per key.
    fn write_batch(&mut self, id: u32, writes: &[Write]) -> Result<Written, Failure> {
        if writes.len() > MAX_BATCH_ENTRIES {
            return Err(too_many().into());
        }
        let mut overlay = Overlay::new();
        for (write, seq) in writes.iter().zip(0..) {
            match self.prepare(id, write, Some(&overlay))? {
                Outcome::Nothing => {}
                Outcome::Conflict => return Ok(Written::Conflict),
                Outcome::Change(Prepared { key, prev, kind }) => {
                    let mut staged = match overlay.remove(&key) {
                        Some(staged) => staged,
                        None => Staged {
                            state: self.current(id, &key)?.map_or_else(State::empty, |(_, state)| state),
                            made: Vec::new(),
                        },
                    };
                    // Only the value is kept of this state, so where it stands does not matter: after everything, each
                    // at a dot of its own, or two of its array elements would be one.
                    let effective = Effective { time: u64::MAX, tick: u64::MAX };
                    let position = Position { effective, writer: FeedKey([0xff; 32]), seq };
                    staged.state.fold(&Change { position, prev, kind });
                    if let Write::Put { base: Some((_, from)), .. } = write {
                        staged.made.push((*from, staged.state.clone()));
                    }
                    overlay.insert(key, staged);
                }
            }
        }
        let mut changes = Vec::new();
        for (key, Staged { state: wanted, .. }) in overlay {
            let current = self.current(id, &key)?.map_or_else(State::empty, |(_, state)| state);
            if let Some(prepared) = between(key, &current, &wanted) {
                changes.push(prepared);
            }
        }
        if changes.is_empty() { Ok(Written::No) } else { self.append_changes(id, changes, writes) }
    }

    fn current(&mut self, id: u32, key: &[u8]) -> Result<Option<(u64, State)>, Failure> {
        Ok(match view::newest(self.txn, id, key, None)? {
            Some(row) => Some((row.version, row.decode_state()?)),
            None => None,
        })
    }

    /// What a write changes, found without writing anything.
    fn prepare(&mut self, id: u32, write: &Write, overlay: Option<&Overlay>) -> Result<Outcome, Failure> {
        let (key, expect) = match write {
            Write::Put { key, expect, .. }
            | Write::Register { key, expect, .. }
            | Write::Delete { key, expect } => (key, *expect),
            Write::Batch(_) => return Err(Error::new(Code::Options, "a batch cannot hold a batch").into()),
        };
        check_key(key)?;
        let stored = self.current(id, key)?;
        let version = stored.as_ref().map(|(version, _)| *version);
        let live = stored.as_ref().is_some_and(|(_, state)| state.is_live());
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => !live,
            Expect::Seq(seq) => live && version == Some(seq),
        };
        if !holds {
            return Ok(Outcome::Conflict);
        }
        let staged = overlay.and_then(|overlay| overlay.get(key));
        let current = match staged {
            Some(staged) => staged.state.clone(),
            None => stored.map_or_else(State::empty, |(_, state)| state),
        };
        let change = |prev, kind| Outcome::Change(Prepared { key: key.clone(), prev, kind });
        Ok(match write {
            Write::Delete { .. } if !current.is_live() => Outcome::Nothing,
            Write::Delete { .. } => change(current.base(), ChangeKind::Delete),
            Write::Register { value, .. } => {
                check_value(value.len(), key)?;
                if current.register() == Some(value) {
                    return Ok(Outcome::Nothing);
                }
                change(current.base(), ChangeKind::Register(value.clone()))
            }
            Write::Put { diff: Some(text), .. } => {
                check_value(text.len(), key)?;
                let list = List::parse(text).map_err(|error| invalid(key, &format!("its _diff: {error}")))?;
                change(current.base(), ChangeKind::List(list))
            }
            Write::Put { value, base, .. } => {
                check_value(value.len(), key)?;
                let text = std::str::from_utf8(value).map_err(|_| invalid(key, "it is not UTF-8"))?;
                let value = parse_object(text).map_err(|error| invalid(key, &error.to_string()))?;
                match self.smallest_diff(id, key, &current, staged, *base, &value)? {
                    Some((prev, list)) => change(prev, ChangeKind::List(list)),
                    None => Outcome::Nothing,
                }
            }
            Write::Batch(_) => Outcome::Nothing,
        })
    }

    /// The diff against the state that was read, or against one that puts of the same object have made since, if that
    /// is smaller; against the current state if nothing was read or it cannot be found.
    fn smallest_diff(
        &mut self,
        id: u32,
        key: &[u8],
        current: &State,
        staged: Option<&Staged>,
        base: Option<(Stamp, u64)>,
        value: &Value,
    ) -> Result<Option<(Option<Stamp>, List)>, Failure> {
        let against = |state: &State| state.diff_to(value).map(|list| (state.base(), list));
        let Some((stamp, state)) = base else { return Ok(against(current)) };
        if current.id() == state && current.last().is_some_and(|last| last.stamp() == stamp) {
            return Ok(against(current));
        }
        let Some((_, read)) = view::find_base(self.txn, id, key, stamp, state)? else {
            return Ok(against(current));
        };
        let Some(mut best) = against(&read) else { return Ok(None) };
        let mut since = Vec::new();
        for version in self.database(id)?.puts_from.of(key, state) {
            if let Some(row) = view::newest(self.txn, id, key, Some(version))? {
                since.push(row.decode_state()?);
            }
        }
        let in_batch = staged.iter().flat_map(|staged| &staged.made).filter(|(from, _)| *from == state);
        for made in since.iter().chain(in_batch.map(|(_, made)| made)) {
            match against(made) {
                None => return Ok(None),
                Some(found) if list_size(&found.1) <= list_size(&best.1) => best = found,
                Some(_) => {}
            }
        }
        Ok(Some(best))
    }

    /// Writes changes, which `writes` asked for, as one batch of the local feed.
    fn append_changes(
        &mut self,
        id: u32,
        changes: Vec<Prepared>,
        writes: &[Write],
    ) -> Result<Written, Failure> {
        let mut texts = Vec::with_capacity(changes.len());
        for Prepared { key, kind, .. } in &changes {
            let text = if let ChangeKind::List(list) = kind { list.to_text() } else { String::new() };
            if text.len() > MAX_LIST_BYTES {
                return Err(too_large(key, text.len()).into());
            }
            texts.push(text);
        }
        let ops = changes.iter().zip(&texts).map(|(Prepared { key, prev, kind }, text)| {
            let change = match kind {
                ChangeKind::List(_) => entry::Change::List(text),
                ChangeKind::Register(value) => entry::Change::Register(value),
                ChangeKind::Delete => entry::Change::Delete,
            };
            Op::Diff(entry::Diff { key, prev: *prev, change })
        });
        let ops: Vec<Op<'_>> = ops.collect();
        let Appended { number, position, counts, length } = self.append(id, &ops)?;
        let standing = changes.into_iter().zip(position.seq..).map(|(Prepared { key, prev, kind }, seq)| {
            (key, Change { position: Position { seq, ..position }, prev, kind })
        });
        let mut pending = Pending::default();
        if counts {
            pending.add(number, Changes(standing.collect()));
        }
        self.rewalk_if_due(id, &mut pending)?;
        self.merge(id, pending)?;
        let database = self.database(id)?;
        let version = database.state.version;
        database.puts_from.note_all(writes, version);
        Ok(Written::Yes { length, version })
    }

    /// Grants a writer, for everybody.
    pub fn grant(&mut self, id: u32, writer: FeedKey, indexer: bool) -> Result<Written, Failure> {
        let database = self.must_be_indexer(id)?;
        self.append_control(id, &Op::Grant { database, writer, indexer })
    }

    pub fn revoke(&mut self, id: u32, writer: FeedKey, lost: bool) -> Result<Written, Failure> {
        let database = self.must_be_indexer(id)?;
        self.append_control(id, &Op::Revoke { database, writer, lost })
    }

    /// The database's key, if this replica may grant.
    pub fn must_be_indexer(&mut self, id: u32) -> Result<FeedKey, Failure> {
        let database = self.database(id)?;
        if database.is_indexer() {
            return Ok(database.row.key);
        }
        Err(Error::new(Code::NotPermitted, "only an indexer grants and revokes: ask the database's creator")
            .into())
    }

    fn append_control(&mut self, id: u32, op: &Op<'_>) -> Result<Written, Failure> {
        let appended = self.append(id, std::slice::from_ref(op))?;
        let mut pending = Pending::default();
        self.rewalk_if_due(id, &mut pending)?;
        self.merge(id, pending)?;
        Ok(Written::Yes { length: appended.length, version: self.database(id)?.state.version })
    }

    /// Appends one batch to the local feed and places it.
    pub fn append(&mut self, id: u32, ops: &[Op<'_>]) -> Result<Appended, Failure> {
        if ops.len() > MAX_BATCH_ENTRIES {
            return Err(too_many().into());
        }
        // What refuses to append does so before anything in memory has changed.
        let local = self.database(id)?.row.local;
        self.open_appender(local)?;
        self.must_have_placed_own(id, local)?;
        let mut links = self.due_links(id)?;
        while links.len() > MAX_LINKS {
            let rest = links.split_off(MAX_LINKS);
            self.append_linked(id, &[Op::Acknowledgement], links)?;
            links = rest;
        }
        self.append_linked(id, ops, links)
    }

    fn append_linked(&mut self, id: u32, ops: &[Op<'_>], mut links: Vec<Link>) -> Result<Appended, Failure> {
        links.sort_unstable_by_key(|link| link.feed);
        let now = crate::clock::ntp64(self.now());
        let database = self.database(id)?;
        let (local, key) = (database.row.local, database.row.key);
        let timestamp = database.clock.tick(now);
        let seq = database.order.placed().get(&local);
        let controls = ops.iter().zip(seq..).filter_map(|(op, seq)| control(op, key, seq)).collect();
        let facts = BatchFacts { writer: local, seq, length: ops.len() as u64, timestamp, links, controls };
        let number = self.append_blocks(local, &facts, ops)?;
        let (past, effective, has_read) = self.own_readiness(id, &facts)?;
        let position = facts.position(effective);
        let length = facts.end();
        let database = self.database(id)?;
        database.own_past.clone_from(&past);
        database.own_past.raise(local, length);
        database.own_last = effective;
        let counts = self.place(id, number, Placement { facts, past, effective, has_read })?;
        Ok(Appended { number, position, counts, length })
    }

    fn open_appender(&mut self, local: FeedKey) -> Result<(), Failure> {
        if !self.appenders.contains_key(&local) {
            let record = self.feed(&local)?.ok_or_else(Error::stopped)?.clone();
            let appender = Appender::new(self.txn, record)?;
            self.appenders.insert(local, appender);
        }
        Ok(())
    }

    /// A batch is placed as it is appended, so all before it has to be: an older copy of a store may hold own entries
    /// that wait for what they link to.
    fn must_have_placed_own(&mut self, id: u32, local: FeedKey) -> Result<(), Failure> {
        let length = self.appenders.get(&local).map_or(0, Appender::length);
        if self.database(id)?.order.placed().get(&local) == length {
            return Ok(());
        }
        let message = "this device's own feed holds entries that are not in the order yet: connect to a peer that has \
                       what they link to; if there is none, open the database with a new key pair";
        Err(Error::new(Code::Restored, message).into())
    }

    fn append_blocks(&mut self, local: FeedKey, facts: &BatchFacts, ops: &[Op<'_>]) -> Result<u32, Failure> {
        let appender = self.appenders.get_mut(&local).ok_or_else(Error::stopped)?;
        let number = appender.record().id;
        let mut block = Vec::new();
        for (op, offset) in ops.iter().zip(0..) {
            block.clear();
            let place = if offset == 0 {
                let BatchFacts { timestamp, length, links, .. } = facts;
                Place::First(BatchHead { timestamp: *timestamp, length: *length, links: links.clone() })
            } else {
                Place::Later { offset }
            };
            Entry { place, op: op.clone() }.encode_into(&mut block);
            appender.append(self.txn, &block)?;
        }
        Ok(number)
    }

    /// Past and effective timestamp of the batch just appended. Without links both follow from the one before.
    fn own_readiness(&mut self, id: u32, facts: &BatchFacts) -> Result<(Past, Effective, bool), Failure> {
        let database = self.database(id)?;
        if facts.links.is_empty() {
            let last = database.own_last;
            let effective = if facts.seq == 0 || facts.timestamp > last.time {
                Effective { time: facts.timestamp, tick: 0 }
            } else {
                Effective { time: last.time, tick: last.tick.saturating_add(1) }
            };
            return Ok((database.own_past.clone(), effective, false));
        }
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let batches = Batches { txn: &*self.txn, database: id, numbers: &database.members };
        match resolve(facts, link_rule(database), &Placing { batches, order: &database.order })? {
            Readiness::Ready { past, effective, read } => Ok((past, effective, !read.is_empty())),
            // What is linked is placed: that is how it came to be linked.
            Readiness::Waits { feed, .. } => {
                Err(Failure::damaged(&format!("feed {feed} was linked before it was placed")))
            }
        }
    }

    /// Links for every feed whose links are read and of which more is placed than the local feed has in its past.
    fn due_links(&mut self, id: u32) -> Result<Vec<Link>, Failure> {
        if !std::mem::take(&mut self.database(id)?.links_due) {
            return Ok(Vec::new());
        }
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        let DatabaseState { row, order, own_past, .. } = database;
        // Only what the own past does not reach is looked at, and only feeds of which something counts are named: what
        // is named, others have to fetch.
        let counts = |feed: &FeedKey| row.open || order.outcome().counted.contains_key(feed);
        let mut candidates = Past::new();
        for (feed, length) in order.placed().iter() {
            if length > own_past.get(&feed) && counts(&feed) {
                candidates.raise(feed, length);
            }
        }
        let batches = Batches { txn: &*self.txn, database: id, numbers: &database.members };
        let wanted = causal::links(row.local, link_rule(database), &candidates, &Placing { batches, order })?;
        let mut links = Vec::with_capacity(wanted.len());
        for (feed, length) in wanted {
            let Some(record) = self.feed(&feed)?.cloned() else { continue };
            let root = feed::root_at(self.txn, &record, length)?;
            let [a @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = root;
            links.push(Link { feed, length, root: a });
        }
        Ok(links)
    }
}

/// A batch of the local feed, placed.
pub(super) struct Appended {
    number: u32,
    position: Position,
    counts: bool,
    length: u64,
}

pub(super) fn link_rule(database: &DatabaseState) -> LinkRule {
    if database.row.open { LinkRule::All } else { LinkRule::Granted { creator: database.row.key } }
}

/// The one change that makes `wanted` of `current`.
fn between(key: Vec<u8>, current: &State, wanted: &State) -> Option<Prepared> {
    let prev = current.base();
    if let Some(value) = wanted.register() {
        let unchanged = current.register() == Some(value);
        return (!unchanged).then(|| Prepared { key, prev, kind: ChangeKind::Register(value.to_vec()) });
    }
    if let Some(value) = wanted.to_value() {
        let list = current.diff_to(&value);
        return list.map(|list| Prepared { key, prev, kind: ChangeKind::List(list) });
    }
    current.is_live().then_some(Prepared { key, prev, kind: ChangeKind::Delete })
}

fn check_key(key: &[u8]) -> Result<(), Error> {
    if key.len() <= MAX_KEY_BYTES {
        return Ok(());
    }
    Err(Error::new(
        Code::KeyTooLarge,
        format!(
            "the key is {} bytes long, encoded and with its prefix; the most is {MAX_KEY_BYTES}",
            key.len()
        ),
    ))
}

fn check_value(length: usize, key: &[u8]) -> Result<(), Error> {
    if length <= MAX_VALUE_BYTES { Ok(()) } else { Err(too_large(key, length)) }
}

fn too_large(key: &[u8], length: usize) -> Error {
    let key = String::from_utf8_lossy(key);
    Error::new(
        Code::ValueTooLarge,
        format!(
            "the value of {key:?} takes {length} bytes; the most is {MAX_VALUE_BYTES}: split it over several keys"
        ),
    )
}

fn invalid(key: &[u8], why: &str) -> Error {
    Error::new(
        Code::InvalidValue,
        format!("the value of {:?} cannot be stored: {why}", String::from_utf8_lossy(key)),
    )
}

fn too_many() -> Error {
    Error::new(
        Code::BatchTooLarge,
        format!("a batch may hold {MAX_BATCH_ENTRIES} entries: it takes effect in one transaction; split it"),
    )
}
