//! What a write changes, found without writing anything.

use super::{Expect, Write};
use crate::codec::limits::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use crate::crdt::{ChangeKind, List, State, Value, list_size, parse_object, without_reserved};
use crate::db::engine::Work;
use crate::db::error::{Code, Error, Failure};
use crate::types::Stamp;
use crate::view;
use std::collections::BTreeMap;
use std::fmt;

/// A change of one key, ready to be written.
pub(super) struct Prepared {
    pub key: Vec<u8>,
    pub prev: Option<Stamp>,
    pub kind: ChangeKind,
}

pub(super) enum Outcome {
    Nothing,
    Conflict,
    Change(Prepared),
}

/// What a batch has made of the keys it touched, before any of it is written.
pub(super) type Overlay = BTreeMap<Vec<u8>, Staged>;

pub(super) struct Staged {
    pub state: State,
    /// What puts of this batch have made, by the state they were made from.
    pub made: Vec<(u64, State)>,
    /// The changes as they were asked for, while they may travel so: callers' own diffs, registers and deletes, which
    /// name no element by an id that only this batch's state has.
    pub verbatim: Option<Vec<Prepared>>,
    /// Some of them are callers' own diffs.
    pub own: bool,
}

impl Staged {
    pub fn new(state: State) -> Self {
        Self { state, made: Vec::new(), verbatim: Some(Vec::new()), own: false }
    }

    /// Keeps what a write has asked for; `live`: whether the key was, before it.
    pub fn keep(&mut self, write: &Write, prepared: Prepared, live: bool) {
        let own = matches!(write, Write::Put { diff: Some(_), .. });
        self.own |= own;
        if !own && matches!(write, Write::Put { .. }) {
            self.verbatim = None;
        }
        if let Some(verbatim) = &mut self.verbatim {
            // What the batch's own state says it was made against stands nowhere.
            let prev = match verbatim.first() {
                None => prepared.prev,
                Some(first) if live => first.prev,
                Some(_) => None,
            };
            verbatim.push(Prepared { prev, ..prepared });
        }
    }
}

impl Work<'_, '_> {
    /// The state in the key's newest row. None: it has none, as a key has whose tombstone went; for all that a write looks
    /// at (is it live, what is it made against, what does it hold) a tombstone is as nothing.
    pub(super) fn current(&mut self, id: u32, key: &[u8]) -> Result<Option<(u64, State)>, Failure> {
        let space = self.database(id)?.space.clone();
        Ok(match view::newest(self.txn, &space, key, None)? {
            Some(row) => Some((row.version, row.decode_state()?)),
            None => None,
        })
    }

    /// The state that a change made against `prev` is folded onto. Where a tombstone has gone only what was made against
    /// something needs what was kept in it: anything else starts from empty.
    pub(super) fn state_under(&mut self, id: u32, key: &[u8], prev: Option<Stamp>) -> Result<State, Failure> {
        if prev.is_none() {
            return Ok(self.current(id, key)?.map_or_else(State::empty, |(_, state)| state));
        }
        self.database(id)?;
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        Ok(view::state_now(self.txn, &database.space, &database.writers, key)?.unwrap_or_default())
    }

    /// What a write changes, found without writing anything.
    pub(super) fn prepare(
        &mut self,
        id: u32,
        write: &Write,
        overlay: Option<&Overlay>,
    ) -> Result<Outcome, Failure> {
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
        let named = Named { key, hidden: self.database(id)?.space.is_encrypted() };
        let change = |prev, kind| Outcome::Change(Prepared { key: key.clone(), prev, kind });
        Ok(match write {
            Write::Delete { .. } if !current.is_live() => Outcome::Nothing,
            Write::Delete { .. } => change(current.base(), ChangeKind::Delete),
            Write::Register { value, .. } => {
                named.check_value(value.len())?;
                if current.register() == Some(value) {
                    return Ok(Outcome::Nothing);
                }
                change(current.base(), ChangeKind::Register(value.clone()))
            }
            Write::Put { diff: Some(text), .. } => {
                named.check_value(text.len())?;
                let list =
                    List::parse(text).map_err(|error| named.invalid(&format!("its _diff: {error}")))?;
                change(current.base(), ChangeKind::List(list))
            }
            Write::Put { value, base, .. } => {
                named.check_value(value.len())?;
                let text = std::str::from_utf8(value).map_err(|_| named.invalid("it is not UTF-8"))?;
                let value = parse_object(text).map_err(|error| named.invalid(&error.to_string()))?;
                // Also where a caller's toJSON or codec has put it there.
                let value = without_reserved(value);
                match self.smallest_diff(id, key, &current, staged, *base, &value)? {
                    Some((prev, list)) => change(prev, ChangeKind::List(list)),
                    None => Outcome::Nothing,
                }
            }
            Write::Batch(_) => Outcome::Nothing,
        })
    }

    /// A state whose row was trimmed. What a user's own function has made of diffs is not found by folding them.
    fn find_again(
        &mut self,
        id: u32,
        key: &[u8],
        stamp: Stamp,
        state: u64,
    ) -> Result<Option<State>, Failure> {
        self.database(id)?;
        let Some(database) = self.engine.databases.get(&id) else { return Err(Error::closed().into()) };
        if database.handler.functions.any() || database.handler.epoch > 0 {
            return Ok(None);
        }
        Ok(view::find_again(self.txn, &database.space, &database.writers, key, stamp, state)?)
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
        let space = self.database(id)?.space.clone();
        let kept = view::find_base(self.txn, &space, key, stamp, state)?;
        let read = match kept {
            Some((_, read)) => Some(read),
            None => self.find_again(id, key, stamp, state)?,
        };
        let Some(read) = read else { return Ok(against(current)) };
        let Some(mut best) = against(&read) else { return Ok(None) };
        let mut since = Vec::new();
        for version in self.database(id)?.puts_from.of(key, state) {
            if let Some(row) = view::newest(self.txn, &space, key, Some(version))? {
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
}

/// The one change that makes `wanted` of `current`.
pub(super) fn between(key: Vec<u8>, current: &State, wanted: &State) -> Option<Prepared> {
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

/// A key in a message: of an encrypted database neither it nor anything of its value is shown.
pub(super) struct Named<'k> {
    pub key: &'k [u8],
    pub hidden: bool,
}

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hidden {
            return write!(f, "a key of {} bytes", self.key.len());
        }
        write!(f, "{:?}", String::from_utf8_lossy(self.key))
    }
}

impl Named<'_> {
    fn check_value(&self, length: usize) -> Result<(), Error> {
        if length <= MAX_VALUE_BYTES { Ok(()) } else { Err(self.too_large(length)) }
    }

    pub fn too_large(&self, length: usize) -> Error {
        Error::new(
            Code::ValueTooLarge,
            format!(
                "the value of {self} takes {length} bytes; the most is {MAX_VALUE_BYTES}: split it over several keys"
            ),
        )
    }

    fn invalid(&self, why: &str) -> Error {
        let why = if self.hidden { "it is no JSON object or diff list that can be stored" } else { why };
        Error::new(Code::InvalidValue, format!("the value of {self} cannot be stored: {why}"))
    }
}
