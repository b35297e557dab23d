//! Apply mode: pieces out, results in. One crossing for each.
//!
//! ```text
//! appends  count u32, each: optimistic u8, values u32, value bytes*
//! done     generation u64, count u32, each: outcome u8 (0 applied, 1 rejected), asked u32, (tag u8, writer 32)*,
//!          writes u32, (op u8 (1 put, 2 delete), key bytes, put: value bytes)*
//! step     committed u8 (0 nothing, 1 hidden, 2 published, 3 stale), from u64, to u64, shared u64, appended u32, length u64*,
//!          tag u8 (0 idle, 1 wait: ms u32, 2 piece)
//! piece    generation u64, version u64, clock u64, undone u64, staged u8, count u32, batch*
//! batch    writer 32, seq u64, entries u32, ms since 1970 u64, flags u8 (1 optimistic), links u32, (feed 32, length u64)*,
//!          values u32, (offset u32, value bytes)*
//! sequence count u32, each: index u64, begin u64, end u64, outcome u8 (0 ignored, 1 applied, 2 rejected, 3 silent),
//!          changes u32, (tag u8, writer 32)*, batch
//! tag      0 grant, 1 grant as indexer, 2 revoke, 3 revoke as lost, 4 acknowledged (asked only; nothing is kept of it)
//! ```

use super::database::{NativeDb, version};
use super::errors::{Result, array, feed_key, invalid, to_js};
use super::number;
use super::packed::{Reader, put_bytes, put_length};
use super::promise::promise;
use crate::apply::Outcome;
use crate::causal::Change;
use crate::clock::milliseconds;
use crate::db::{Append, Asked, Committed, Done, DoneBatch, Next, Piece, PieceBatch, SequenceEntry, Step};
use crate::types::FeedKey;
use napi::Env;
use napi::bindgen_prelude::{Buffer, BufferSlice, PromiseRaw};
use napi_derive::napi;

/// What one answer of `sequence` holds at most, unless a single batch is larger.
const MAX_SEQUENCE_BYTES: usize = 8 << 20;

const GRANT: u8 = 0;
const GRANT_INDEXER: u8 = 1;
const REVOKE: u8 = 2;
const REVOKE_LOST: u8 = 3;
const ACKNOWLEDGED: u8 = 4;

#[napi(object)]
pub struct NativeFinality {
    pub length: f64,
    /// Milliseconds since 1970.
    pub timestamp: Option<f64>,
    pub waiting_for: Vec<Buffer>,
    /// Positions in the order now.
    pub placed: f64,
}

fn read_appends(packed: &[u8]) -> Option<Vec<Append>> {
    let mut reader = Reader(packed);
    let count = reader.u32()?;
    let mut appends = Vec::new();
    for _ in 0..count {
        let optimistic = reader.u8()? == 1;
        let count = reader.u32()?;
        let values = (0..count).map(|_| reader.bytes().map(<[u8]>::to_vec)).collect::<Option<_>>()?;
        appends.push(Append { optimistic, values });
    }
    reader.0.is_empty().then_some(appends)
}

fn read_done(packed: &[u8]) -> Option<Done> {
    let mut reader = Reader(packed);
    let generation = reader.u64()?;
    let count = reader.u32()?;
    let mut batches = Vec::new();
    for _ in 0..count {
        let rejected = reader.u8()? == 1;
        let mut asked = Vec::new();
        for _ in 0..reader.u32()? {
            let tag = reader.u8()?;
            let writer = FeedKey(reader.take(32)?.try_into().ok()?);
            match tag {
                GRANT | GRANT_INDEXER => asked.push(Asked::Grant { writer, indexer: tag == GRANT_INDEXER }),
                REVOKE | REVOKE_LOST => asked.push(Asked::Revoke { writer, lost: tag == REVOKE_LOST }),
                ACKNOWLEDGED => {}
                _ => return None,
            }
        }
        let mut writes = Vec::new();
        for _ in 0..reader.u32()? {
            let op = reader.u8()?;
            let key = reader.bytes()?.to_vec();
            writes.push(match op {
                1 => (key, Some(reader.bytes()?.to_vec())),
                2 => (key, None),
                _ => return None,
            });
        }
        batches.push(DoneBatch { rejected, asked, writes });
    }
    reader.0.is_empty().then_some(Done { generation, batches })
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_u32(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
}

fn write_step(step: &Step) -> Vec<u8> {
    let mut out = Vec::new();
    let (tag, moved) = match step.committed {
        Committed::Nothing => (0, [0; 3]),
        Committed::Hidden => (1, [0; 3]),
        Committed::Published { from, to, shared } => (2, [from, to, shared]),
        Committed::Stale => (3, [0; 3]),
    };
    out.push(tag);
    for version in moved {
        put_u64(&mut out, version);
    }
    put_length(&mut out, step.appended.len());
    for length in &step.appended {
        put_u64(&mut out, *length);
    }
    match &step.next {
        Next::Idle => out.push(0),
        Next::Wait(time) => {
            out.push(1);
            put_u32(&mut out, u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1));
        }
        Next::Piece(piece) => {
            out.push(2);
            write_piece(&mut out, piece);
        }
    }
    out
}

fn write_piece(out: &mut Vec<u8>, piece: &Piece) {
    for field in [piece.generation, piece.version, piece.clock, piece.undone] {
        put_u64(out, field);
    }
    out.push(piece.staged.into());
    put_length(out, piece.batches.len());
    for batch in &piece.batches {
        write_batch(out, batch);
    }
}

fn write_batch(out: &mut Vec<u8>, batch: &PieceBatch) {
    out.extend_from_slice(batch.writer.as_bytes());
    put_u64(out, batch.seq);
    put_u32(out, batch.entries);
    put_u64(out, milliseconds(batch.timestamp));
    out.push(batch.optimistic.into());
    put_length(out, batch.links.len());
    for (feed, length) in &batch.links {
        out.extend_from_slice(feed.as_bytes());
        put_u64(out, *length);
    }
    put_length(out, batch.values.len());
    for (offset, value) in &batch.values {
        put_u32(out, *offset);
        put_bytes(out, value);
    }
}

fn write_entry(out: &mut Vec<u8>, entry: &SequenceEntry) {
    for field in [entry.index, entry.begin, entry.end] {
        put_u64(out, field);
    }
    out.push(match entry.outcome {
        Outcome::Ignored => 0,
        Outcome::Applied => 1,
        Outcome::Rejected => 2,
        Outcome::Silent => 3,
    });
    put_length(out, entry.changes.len());
    for Change { feed, after, lost, .. } in &entry.changes {
        out.push(match (after, lost) {
            (_, Some(_)) => REVOKE_LOST,
            (Some(member), None) if member.indexer => GRANT_INDEXER,
            (Some(_), None) => GRANT,
            (None, None) => REVOKE,
        });
        out.extend_from_slice(feed.as_bytes());
    }
    write_batch(out, &entry.batch);
}

#[napi]
impl NativeDb {
    /// This handle runs `apply` from now on; false: another one does.
    #[napi(catch_unwind)]
    pub fn claim_apply(&self) -> Result<bool> {
        self.db.claim_apply().map_err(to_js)
    }

    #[napi(catch_unwind)]
    pub fn release_apply(&self) {
        self.db.release_apply();
    }

    /// `flags`: 1 is force. `done`: what was made of the piece handed out last. Answers a packed step.
    #[napi(catch_unwind)]
    pub fn apply_step<'env>(
        &self,
        env: &'env Env,
        flags: u32,
        done: Option<BufferSlice<'env>>,
    ) -> Result<PromiseRaw<'env, Buffer>> {
        let done = done.map(|done| read_done(&done).ok_or_else(|| invalid("malformed results of apply")));
        let reply = self.db.apply_step(flags & 1 != 0, done.transpose()?);
        promise(env, reply, |reply| Ok(write_step(&reply.map_err(to_js)?).into()))
    }

    /// Packed appends in, a packed step out.
    #[napi(catch_unwind)]
    pub fn stage<'env>(
        &self,
        env: &'env Env,
        appends: BufferSlice<'env>,
    ) -> Result<PromiseRaw<'env, Buffer>> {
        let appends = read_appends(&appends).ok_or_else(|| invalid("malformed appends"))?;
        let reply = self.db.stage(appends);
        promise(env, reply, |reply| Ok(write_step(&reply.map_err(to_js)?).into()))
    }

    #[napi(catch_unwind)]
    pub fn acknowledge<'env>(&self, env: &'env Env) -> Result<PromiseRaw<'env, bool>> {
        let reply = self.db.acknowledge();
        promise(env, reply, |reply| reply.map_err(to_js))
    }

    #[napi(catch_unwind)]
    pub fn ack_wanted(&self) -> bool {
        self.db.status().is_ok_and(|status| status.ack_wanted)
    }

    #[napi(catch_unwind)]
    pub fn finality(&self) -> Result<NativeFinality> {
        let finality = self.db.finality().map_err(to_js)?;
        Ok(NativeFinality {
            length: number(finality.length),
            timestamp: finality.timestamp.map(|time| number(milliseconds(time))),
            waiting_for: finality.waiting_for.iter().map(|key| key.0.to_vec().into()).collect(),
            placed: number(finality.placed),
        })
    }

    /// Packed positions from `from` on, at most `limit`.
    #[napi(catch_unwind)]
    pub fn sequence(&self, from: f64, limit: f64) -> Result<Buffer> {
        let mut out = vec![0; 4];
        let mut count: u32 = 0;
        self.db
            .sequence(version(from), version(limit), |entry| {
                write_entry(&mut out, entry);
                count += 1;
                out.len() < MAX_SEQUENCE_BYTES
            })
            .map_err(to_js)?;
        if let Some(place) = out.get_mut(..4) {
            place.copy_from_slice(&count.to_le_bytes());
        }
        Ok(out.into())
    }

    /// Another key pair from now on; the promise gives the new local feed's key.
    #[napi(catch_unwind)]
    pub fn set_local<'env>(&self, env: &'env Env, seed: BufferSlice<'_>) -> Result<PromiseRaw<'env, Buffer>> {
        let reply = self.db.set_local(array(&seed, "a secret seed")?);
        promise(env, reply, |reply| Ok(reply.map_err(to_js)?.0.to_vec().into()))
    }

    /// The key of the anchor of the batch of `writer` that ends at `length`, which is being applied.
    #[napi(catch_unwind)]
    pub fn anchor(&self, writer: BufferSlice<'_>, length: f64) -> Result<Buffer> {
        let key = self.db.anchor(feed_key(&writer)?, version(length)).map_err(to_js)?;
        Ok(key.0.to_vec().into())
    }

    #[napi(catch_unwind)]
    pub fn wakeup<'env>(
        &self,
        env: &'env Env,
        feed: BufferSlice<'_>,
        length: f64,
    ) -> Result<PromiseRaw<'env, ()>> {
        let reply = self.db.wakeup(feed_key(&feed)?, version(length));
        promise(env, reply, |reply| reply.map_err(to_js))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat()
    }

    #[test]
    fn results_are_read_as_written_and_no_truncation_passes() {
        let packed = [
            7_u64.to_le_bytes().to_vec(),
            1_u32.to_le_bytes().to_vec(),
            vec![0],
            2_u32.to_le_bytes().to_vec(),
            [vec![GRANT_INDEXER], vec![9; 32], vec![ACKNOWLEDGED], vec![8; 32]].concat(),
            2_u32.to_le_bytes().to_vec(),
            [vec![1], bytes(b"k"), bytes(b"v"), vec![2], bytes(b"d")].concat(),
        ]
        .concat();
        let asked = vec![Asked::Grant { writer: FeedKey([9; 32]), indexer: true }];
        let writes = vec![(b"k".to_vec(), Some(b"v".to_vec())), (b"d".to_vec(), None)];
        let batch = DoneBatch { rejected: false, asked, writes };
        assert_eq!(read_done(&packed), Some(Done { generation: 7, batches: vec![batch] }));
        assert!((0..packed.len()).all(|cut| read_done(&packed[..cut]).is_none()));
    }

    #[test]
    fn appends_are_read_as_written_and_no_truncation_passes() {
        let packed =
            [1_u32.to_le_bytes().to_vec(), vec![1], 2_u32.to_le_bytes().to_vec(), bytes(b"a"), bytes(b"")];
        let packed = packed.concat();
        let append = Append { optimistic: true, values: vec![b"a".to_vec(), Vec::new()] };
        assert_eq!(read_appends(&packed), Some(vec![append]));
        assert!((0..packed.len()).all(|cut| read_appends(&packed[..cut]).is_none()));
    }
}
