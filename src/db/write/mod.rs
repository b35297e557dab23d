//! Local writes: from what a caller gives (`prepare`: what it changes) to a batch in the local feed (`append`), placed
//! and folded.

mod append;
mod prepare;

use append::Appended;
pub(super) use append::{encode_batch, link_rule};
use prepare::{Named, Outcome, Overlay, Prepared, Staged, between};

use super::counting::{Changes, Pending};
use super::engine::Work;
use super::error::{Code, Error, Failure};
use crate::codec::limits::{MAX_BATCH_ENTRIES, MAX_LIST_BYTES};
use crate::crdt::{Change, ChangeKind, State};
use crate::entry::{self, Op};
use crate::types::{Effective, FeedKey, Position, Stamp};
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
    /// States put from whose keys are still to be merged: which version those puts make is not known yet.
    waiting: BTreeMap<Vec<u8>, Vec<u64>>,
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

    /// Notes the puts among writes that `version` has made; none: that are still to be merged.
    fn note_all(&mut self, writes: &[Write], version: Option<u64>) {
        for write in writes {
            if let Write::Put { key, base: Some((_, state)), .. } = write {
                match version {
                    Some(version) => self.note(key, *state, version),
                    None if self.waiting.len() < MAX_REMEMBERED_PUTS => {
                        let states = self.waiting.entry(key.clone()).or_default();
                        if states.len() == MAX_COMPARED_PUTS {
                            states.remove(0);
                        }
                        states.push(*state);
                    }
                    None => {}
                }
            }
        }
    }

    /// `version` has made what was put of the key.
    pub fn settle(&mut self, key: &[u8], version: u64) {
        for state in self.waiting.remove(key).unwrap_or_default() {
            self.note(key, state, version);
        }
    }
}

impl Work<'_, '_> {
    /// Writes in order. One result for each; a failure of the store fails them all, and so does a write that makes this
    /// writer's own removal act.
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
        if self.database(id)?.row.apply {
            let message =
                "this database is in apply mode: write with append, its apply function makes the view";
            return Err(Error::new(Code::Mode, message).into());
        }
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

    pub fn must_be_writable(&mut self, id: u32) -> Result<(), Failure> {
        let database = self.database(id)?;
        if database.is_writable() {
            return Ok(());
        }
        let local = database.row.local;
        Err(Error::new(
            Code::NotWritable,
            format!("Not writable: this device's writer {local} has not been granted, or has removed itself; ask a writer to call addWriter with it"),
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
                        None => Staged::new(self.state_under(id, &key, prev)?),
                    };
                    let live = staged.state.is_live();
                    // Only the value is kept of this state, so where it stands does not matter: after everything, each
                    // at a dot of its own, or two of its array elements would be one.
                    let effective = Effective { time: u64::MAX, tick: u64::MAX };
                    let position = Position { effective, writer: FeedKey([0xff; 32]), seq };
                    let change = Change { position, prev, kind };
                    staged.state.fold(&change);
                    staged.keep(write, Prepared { key: key.clone(), prev, kind: change.kind }, live);
                    if let Write::Put { base: Some((_, from)), .. } = write {
                        staged.made.push((*from, staged.state.clone()));
                    }
                    overlay.insert(key, staged);
                }
            }
        }
        let mut changes = Vec::new();
        for (key, Staged { state: wanted, verbatim, own, .. }) in overlay {
            if let (Some(verbatim), true) = (verbatim, own) {
                changes.extend(verbatim);
                continue;
            }
            let current = self.current(id, &key)?.map_or_else(State::empty, |(_, state)| state);
            if let Some(prepared) = between(key, &current, &wanted) {
                changes.push(prepared);
            }
        }
        if changes.is_empty() { Ok(Written::No) } else { self.append_changes(id, changes, writes) }
    }

    /// Writes changes, which `writes` asked for, as one batch of the local feed.
    fn append_changes(
        &mut self,
        id: u32,
        changes: Vec<Prepared>,
        writes: &[Write],
    ) -> Result<Written, Failure> {
        let hidden = self.database(id)?.space.is_encrypted();
        let mut texts = Vec::with_capacity(changes.len());
        for Prepared { key, kind, .. } in &changes {
            let text = if let ChangeKind::List(list) = kind { list.to_text() } else { String::new() };
            if text.len() > MAX_LIST_BYTES {
                return Err(Named { key, hidden }.too_large(text.len()).into());
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
        // What it says may be what makes this writer's own revoke of itself act: then it would count nowhere.
        self.must_be_writable(id)?;
        self.merge(id, pending)?;
        let database = self.database(id)?;
        let version = database.state.version;
        let made = (!database.handler.functions.merge).then_some(version);
        database.puts_from.note_all(writes, made);
        Ok(Written::Yes { length, version })
    }
}

fn too_many() -> Error {
    Error::new(
        Code::BatchTooLarge,
        format!("a batch may hold {MAX_BATCH_ENTRIES} entries: it takes effect in one transaction; split it"),
    )
}
