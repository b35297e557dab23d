//! A merge of the user's own: JavaScript asks for a round, answers its questions, and gives it back. Everything but the
//! beginning and the end of a round is a synchronous call on what is in memory.

use super::database::NativeDb;
use super::diffs::NativeDiff;
use super::errors::{Result, closed, invalid, to_js};
use super::number;
use super::packed::{parse_base, write_row};
use super::promise::promise;
use super::value::Form;
use crate::db::{Candidate, Functions, Question, Round, Runner, ViewEntry};
use napi::Env;
use napi::bindgen_prelude::{Buffer, BufferSlice, PromiseRaw};
use napi_derive::napi;

/// What of a key's diffs is handed to a function, at most.
const MAX_DIFFS: usize = 4_096;
const MAX_DIFF_BYTES: usize = 32 << 20;

/// Either `diff` is there, with `current` (packed as `getInto` does) if there is a value; or `a` and `b` are.
#[napi(object)]
pub struct NativeQuestion {
    pub key: Buffer,
    pub current: Option<Buffer>,
    pub diff: Option<NativeDiff>,
    pub a: Option<NativeCandidate>,
    pub b: Option<NativeCandidate>,
}

#[napi(object)]
pub struct NativeCandidate {
    pub value: Buffer,
    pub timestamp: String,
    pub writer: Buffer,
    pub seq: f64,
}

impl From<Candidate> for NativeCandidate {
    fn from(candidate: Candidate) -> Self {
        let Candidate { value, stamp, writer, seq } = candidate;
        let (timestamp, writer) = (stamp.to_string(), writer.0.to_vec().into());
        Self { value: value.into(), timestamp, writer, seq: number(seq) }
    }
}

fn packed(entry: Option<ViewEntry>, form: u32) -> Option<Buffer> {
    entry.map(|entry| {
        let mut out = Vec::new();
        write_row(&mut out, &entry.row(), Form::from(form));
        out.into()
    })
}

/// A place in the line of those whose functions merge.
#[napi]
pub struct NativeRunner(Option<Runner>);

#[napi]
impl NativeRunner {
    /// Whether there is something to do, and it is this handle's to do.
    #[napi(catch_unwind)]
    pub fn due(&self) -> Result<bool> {
        self.0.as_ref().map_or(Ok(false), |runner| runner.is_due().map_err(to_js))
    }

    /// Null: nothing waits, or another handle merges.
    #[napi(catch_unwind)]
    pub fn round<'env>(&self, env: &'env Env, retry: bool) -> Result<PromiseRaw<'env, Option<NativeRound>>> {
        let round = self.0.as_ref().ok_or_else(|| closed("the database"))?.round(retry);
        env.spawn_future(async move { Ok(round.await.map_err(to_js)?.map(NativeRound)) })
    }

    /// Gives the place up.
    #[napi(catch_unwind)]
    pub fn close(&mut self) {
        self.0 = None;
    }
}

#[napi]
pub struct NativeRound(Round);

#[napi]
impl NativeRound {
    /// The next question; null: the round is ready to be committed.
    #[napi(catch_unwind)]
    pub fn next(&mut self, form: u32) -> Result<Option<NativeQuestion>> {
        Ok(self.0.ask().map_err(to_js)?.map(|question| match question {
            Question::Merge { key, current, diff } => NativeQuestion {
                key: key.into(),
                current: packed(current, form),
                diff: Some(diff.into()),
                a: None,
                b: None,
            },
            Question::Resolve { key, a, b } => NativeQuestion {
                key: key.into(),
                current: None,
                diff: None,
                a: Some(a.into()),
                b: Some(b.into()),
            },
        }))
    }

    /// What the built-in fold makes of the diff that is asked about.
    #[napi(catch_unwind)]
    pub fn merged(&mut self, form: u32) -> Option<Buffer> {
        packed(self.0.merged(), form)
    }

    /// The key's diffs up to the one that is asked about.
    #[napi(catch_unwind)]
    pub fn diffs(&mut self) -> Result<Vec<NativeDiff>> {
        let diffs = self.0.diffs(MAX_DIFFS, MAX_DIFF_BYTES).map_err(to_js)?;
        Ok(diffs.into_iter().map(NativeDiff::from).collect())
    }

    #[napi(catch_unwind)]
    pub fn answer_object(&mut self, text: String) -> Result<()> {
        self.0.answer_object(&text).map_err(to_js)
    }

    #[napi(catch_unwind)]
    pub fn answer_register(&mut self, bytes: BufferSlice<'_>) -> Result<()> {
        self.0.answer_register(bytes.to_vec()).map_err(to_js)
    }

    #[napi(catch_unwind)]
    pub fn choose(&mut self, later: bool) {
        self.0.choose(later);
    }

    #[napi(catch_unwind)]
    pub fn fail(&mut self) {
        self.0.fail();
    }

    /// Commits. Which keys have changed meanwhile, for `again`.
    #[napi(catch_unwind)]
    pub fn commit<'env>(&mut self, env: &'env Env) -> Result<PromiseRaw<'env, Vec<u32>>> {
        let reply = self.0.commit();
        promise(env, reply, |reply| {
            let changed = reply.map_err(to_js)?;
            Ok(changed.into_iter().filter_map(|index| u32::try_from(index).ok()).collect())
        })
    }

    /// Whether there are questions again.
    #[napi(catch_unwind)]
    pub fn again(&mut self, changed: Vec<u32>) -> Result<bool> {
        let changed: Vec<usize> =
            changed.into_iter().filter_map(|index| usize::try_from(index).ok()).collect();
        self.0.again(&changed).map_err(to_js)
    }
}

#[napi]
impl NativeDb {
    #[napi(catch_unwind)]
    pub fn attach(&self, merge: bool, resolve: bool) -> Result<NativeRunner> {
        self.db.attach(Functions { merge, resolve }).map(|runner| NativeRunner(Some(runner))).map_err(to_js)
    }

    /// Whether one of the keys (any, if there are none) is still to be merged by a handle that is there.
    #[napi(catch_unwind)]
    pub fn is_merging(&self, keys: Vec<BufferSlice<'_>>) -> Result<bool> {
        self.db.is_merging(&keys).map_err(to_js)
    }

    /// The entry of the state that `base` names, packed as `getInto` does; the current one where that is not kept.
    #[napi(catch_unwind)]
    pub fn entry_at(&self, key: BufferSlice<'_>, base: String, form: u32) -> Result<Option<Buffer>> {
        if base.len() > 128 {
            return Err(invalid("not a timestamp"));
        }
        Ok(packed(self.db.entry_at(&key, parse_base(&base)).map_err(to_js)?, form))
    }
}
