use super::conflicts::NativeConflict;
use super::cursor::{NativeCursor, Source};
use super::errors::{Result, array, feed_key, invalid, to_js};
use super::event::NativeEvent;
use super::number;
use super::packed::{self, EntryPacker};
use super::peer::{NativePeer, NativePeerOptions};
use super::value::Form;
use super::wake::Wake;
use crate::db::{
    Access, DatabaseOptions, Db, DbStatus, EncryptionKey, Invite, InviteOptions, Range, Subscription,
};
use napi::Env;
use napi::bindgen_prelude::{Buffer, BufferSlice, Function, PromiseRaw};
use napi_derive::napi;
use std::time::Duration;

#[napi(object)]
pub struct NativeDbOptions<'env> {
    pub name: Option<String>,
    pub key: Option<BufferSlice<'env>>,
    pub key_encoding: String,
    pub value_encoding: String,
    pub secret: Option<BufferSlice<'env>>,
    pub encryption_key: Option<BufferSlice<'env>>,
    pub open: bool,
    pub max_drift: f64,
}

impl NativeDbOptions<'_> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and this only reports"
    )]
    pub fn checked(self) -> Result<DatabaseOptions> {
        Ok(DatabaseOptions {
            name: self.name,
            key: self.key.map(|key| feed_key(&key)).transpose()?,
            key_encoding: self.key_encoding,
            value_encoding: self.value_encoding,
            secret: self.secret.map(|secret| array(&secret, "a secret seed")).transpose()?,
            encryption_key: self
                .encryption_key
                .map(|key| array(&key, "an encryption key").map(EncryptionKey::new))
                .transpose()?,
            open: self.open,
            max_drift: Duration::from_millis(self.max_drift as u64),
        })
    }
}

#[napi(object)]
pub struct NativeDbInfo {
    pub name: String,
    pub key: Buffer,
    pub discovery_key: Buffer,
    pub local: Buffer,
    pub key_encoding: String,
    pub value_encoding: String,
    pub encrypted: bool,
}

#[napi(object)]
pub struct NativeRange<'env> {
    pub gt: Option<BufferSlice<'env>>,
    pub gte: Option<BufferSlice<'env>>,
    pub lt: Option<BufferSlice<'env>>,
    pub lte: Option<BufferSlice<'env>>,
    pub reverse: bool,
    pub limit: Option<f64>,
}

impl From<NativeRange<'_>> for Range {
    fn from(range: NativeRange<'_>) -> Self {
        Range {
            gt: bytes(range.gt),
            gte: bytes(range.gte),
            lt: bytes(range.lt),
            lte: bytes(range.lte),
            reverse: range.reverse,
            limit: range.limit.map(version),
        }
    }
}

#[napi(object)]
pub struct NativeMember {
    pub key: Buffer,
    pub length: f64,
    pub counted: f64,
    pub indexer: bool,
    pub granted: bool,
    pub added: bool,
    pub removed_by: Option<Buffer>,
}

#[napi(object)]
pub struct NativeProgress {
    pub key: Buffer,
    pub have: f64,
    pub placed: f64,
    pub want: f64,
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates; JavaScript checked it"
)]
pub(super) fn version(value: f64) -> u64 {
    value as u64
}

pub(super) fn bytes(slice: Option<BufferSlice<'_>>) -> Option<Vec<u8>> {
    slice.map(|slice| slice.to_vec())
}

/// One handle on an open database.
#[napi]
pub struct NativeDb {
    pub(super) db: Db,
    /// Where `get_into` packs, kept so that a read allocates nothing.
    packed: Vec<u8>,
    subscription: Option<(Subscription, Wake)>,
}

impl NativeDb {
    pub fn new(db: Db) -> Self {
        Self { db, packed: Vec::new(), subscription: None }
    }

    fn status(&self) -> DbStatus {
        self.db.status().unwrap_or_default()
    }
}

#[napi]
impl NativeDb {
    #[napi(catch_unwind)]
    pub fn info(&self) -> Result<NativeDbInfo> {
        let info = self.db.info().map_err(to_js)?;
        Ok(NativeDbInfo {
            name: info.name,
            key: info.key.0.to_vec().into(),
            discovery_key: info.discovery_key.to_vec().into(),
            local: info.local.0.to_vec().into(),
            key_encoding: info.key_encoding,
            value_encoding: info.value_encoding,
            encrypted: info.encrypted,
        })
    }

    #[napi(catch_unwind)]
    pub fn version(&self) -> f64 {
        number(self.status().version)
    }

    /// 1: writable, 2: indexer, added up.
    #[napi(catch_unwind)]
    pub fn rights(&self) -> u32 {
        let status = self.status();
        u32::from(status.writable) + 2 * u32::from(status.indexer)
    }

    #[napi(catch_unwind)]
    pub fn close<'env>(&mut self, env: &'env Env) -> Result<PromiseRaw<'env, ()>> {
        self.subscription = None;
        let reply = self.db.close();
        env.spawn_future(async move { reply.await.map_err(to_js) })
    }

    /// The entry of the key that stands in `scratch[..key_length]`, packed over it: seq u64, flags u8, value.
    /// -1: none; -2: it does not fit, ask `get_many`.
    #[napi(catch_unwind)]
    pub fn get_into(
        &mut self,
        mut scratch: BufferSlice<'_>,
        key_length: u32,
        form: u32,
        at: Option<f64>,
    ) -> Result<i32> {
        let key = usize::try_from(key_length).ok().and_then(|length| scratch.get(..length));
        let key = key.ok_or_else(|| invalid("the key does not fit its scratch"))?;
        let Self { db, packed, .. } = self;
        packed.clear();
        let found = db
            .get(key, at.map(version), |row| packed::write_row(packed, row, Form::from(form)))
            .map_err(to_js)?;
        if found.is_none() {
            return Ok(-1);
        }
        if let Some(place) = scratch.get_mut(..packed.len()) {
            place.copy_from_slice(packed);
            return Ok(i32::try_from(packed.len()).unwrap_or(-2));
        }
        // One large value is no reason to hold on to so much.
        *packed = Vec::new();
        Ok(-2)
    }

    /// Packed entries of many keys (`count u32`, then `bytes` each), in one crossing: what is absent has no value.
    #[napi(catch_unwind)]
    pub fn get_many<'env>(
        &self,
        env: &'env Env,
        keys: Vec<BufferSlice<'env>>,
        form: u32,
        at: Option<f64>,
    ) -> Result<BufferSlice<'env>> {
        let mut packer = EntryPacker::new(Form::from(form));
        for key in &keys {
            if self.db.get(key, at.map(version), |row| packer.live(row)).map_err(to_js)?.is_none() {
                packer.add(0, &[], None);
            }
        }
        BufferSlice::from_data(env, packer.finish())
    }

    #[napi(catch_unwind)]
    pub fn scan(&self, range: NativeRange<'_>, form: u32, at: Option<f64>) -> Result<NativeCursor> {
        let scan = self.db.scan(range.into(), at.map(version)).map_err(to_js)?;
        Ok(NativeCursor::new(Source::Scan(scan), Form::from(form)))
    }

    /// Entries of versions `from..to`.
    #[napi(catch_unwind)]
    pub fn history(&self, from: f64, to: Option<f64>, reverse: bool, form: u32) -> Result<NativeCursor> {
        let history = self.db.history(version(from), to.map(version), reverse).map_err(to_js)?;
        Ok(NativeCursor::new(Source::History(history), Form::from(form)))
    }

    #[napi(catch_unwind)]
    pub fn conflicts(&self, key: BufferSlice<'_>) -> Result<Vec<NativeConflict>> {
        let conflicts = self.db.conflicts(&key).map_err(to_js)?;
        Ok(conflicts.into_iter().map(NativeConflict::from).collect())
    }

    #[napi(catch_unwind)]
    pub fn state_hash(&self) -> Result<Buffer> {
        self.db.state_hash().map(|hash| hash.to_vec().into()).map_err(to_js)
    }

    /// Packed writes in, packed results out. Queued before this returns; the promise holds the event loop.
    #[napi(catch_unwind)]
    pub fn write<'env>(&self, env: &'env Env, writes: BufferSlice<'env>) -> Result<PromiseRaw<'env, Buffer>> {
        let writes = packed::read_writes(&writes).ok_or_else(|| invalid("malformed packed writes"))?;
        let reply = self.db.write(writes);
        env.spawn_future(async move { Ok(packed::write_results(reply.await.map_err(to_js)?).into()) })
    }

    #[napi(catch_unwind)]
    pub fn add_peer<'env>(&self, env: &'env Env, feed: BufferSlice<'env>) -> Result<PromiseRaw<'env, bool>> {
        let reply = self.db.add_peer(feed_key(&feed)?);
        env.spawn_future(async move { reply.await.map_err(to_js) })
    }

    #[napi(catch_unwind)]
    pub fn remove_peer<'env>(
        &self,
        env: &'env Env,
        feed: BufferSlice<'env>,
    ) -> Result<PromiseRaw<'env, bool>> {
        let reply = self.db.remove_peer(feed_key(&feed)?);
        env.spawn_future(async move { reply.await.map_err(to_js) })
    }

    /// One packed result.
    #[napi(catch_unwind)]
    pub fn add_writer<'env>(
        &self,
        env: &'env Env,
        writer: BufferSlice<'env>,
        indexer: bool,
    ) -> Result<PromiseRaw<'env, Buffer>> {
        let reply = self.db.add_writer(feed_key(&writer)?, indexer);
        env.spawn_future(async move { Ok(packed::write_results(vec![reply.await]).into()) })
    }

    /// One packed result.
    #[napi(catch_unwind)]
    pub fn remove_writer<'env>(
        &self,
        env: &'env Env,
        writer: BufferSlice<'env>,
        lost: bool,
    ) -> Result<PromiseRaw<'env, Buffer>> {
        let reply = self.db.remove_writer(feed_key(&writer)?, lost);
        env.spawn_future(async move { Ok(packed::write_results(vec![reply.await]).into()) })
    }

    /// `invite`: its text.
    #[napi(catch_unwind)]
    pub fn request_access(&self, user_data: BufferSlice<'_>, invite: Option<String>) -> Result<()> {
        let invite: Option<Invite> = invite.map(|text| text.parse()).transpose().map_err(to_js)?;
        self.db.request_access(user_data.to_vec(), invite).map_err(to_js)
    }

    #[napi(catch_unwind)]
    pub fn cancel_access(&self) -> Result<()> {
        self.db.cancel_access().map_err(to_js)
    }

    /// `none`, `asked`, `heard`, or why it was refused.
    #[napi(catch_unwind)]
    pub fn access(&self) -> Result<String> {
        Ok(match self.db.access().map_err(to_js)? {
            Access::NotAsked => "none".to_owned(),
            Access::Asked => "asked".to_owned(),
            Access::Heard => "heard".to_owned(),
            Access::Refused(refusal) => refusal.to_string(),
        })
    }

    #[napi(catch_unwind)]
    pub fn reject_access(&self, writer: BufferSlice<'_>) -> Result<bool> {
        self.db.reject_access(&feed_key(&writer)?).map_err(to_js)
    }

    /// `expires`: milliseconds since 1970.
    #[napi(catch_unwind)]
    pub fn create_invite<'env>(
        &self,
        env: &'env Env,
        expires: Option<f64>,
        uses: Option<u32>,
        indexer: bool,
    ) -> Result<PromiseRaw<'env, String>> {
        let expires = expires.map(|at| Duration::from_millis(version(at)));
        let reply = self.db.create_invite(InviteOptions { expires, uses, indexer });
        env.spawn_future(async move { reply.await.map(|invite| invite.to_string()).map_err(to_js) })
    }

    #[napi(catch_unwind)]
    pub fn members(&self) -> Result<Vec<NativeMember>> {
        let members = self.db.members().map_err(to_js)?;
        let member = |member: crate::db::Member| NativeMember {
            key: member.key.0.to_vec().into(),
            length: number(member.length),
            counted: number(member.counted),
            indexer: member.indexer,
            granted: member.granted,
            added: member.added,
            removed_by: member.removed_by.map(|key| key.0.to_vec().into()),
        };
        Ok(members.into_iter().map(member).collect())
    }

    #[napi(catch_unwind)]
    pub fn applied(&self, writer: BufferSlice<'_>, length: f64) -> Result<bool> {
        self.db.applied(&feed_key(&writer)?, version(length)).map_err(to_js)
    }

    #[napi(catch_unwind)]
    pub fn is_flushed(&self) -> Result<bool> {
        self.db.is_flushed().map_err(to_js)
    }

    #[napi(catch_unwind)]
    pub fn progress(&self) -> Result<Vec<NativeProgress>> {
        let feed = |feed: crate::db::FeedProgress| NativeProgress {
            key: feed.key.0.to_vec().into(),
            have: number(feed.have),
            placed: number(feed.placed),
            want: number(feed.want),
        };
        Ok(self.db.progress().map_err(to_js)?.into_iter().map(feed).collect())
    }

    /// `callback` is called when there are events, once until they are taken.
    #[napi(catch_unwind)]
    pub fn subscribe(&mut self, callback: Function<'_, (), ()>) -> Result<()> {
        let wake = Wake::new(callback)?;
        let subscription = self.db.subscribe(wake.caller()).map_err(to_js)?;
        self.subscription = Some((subscription, wake));
        Ok(())
    }

    #[napi(catch_unwind)]
    pub fn take_events(&self) -> Vec<NativeEvent> {
        let Some((subscription, wake)) = &self.subscription else { return Vec::new() };
        wake.rearm();
        subscription.take().into_iter().map(NativeEvent::from).collect()
    }

    #[napi(catch_unwind)]
    pub fn replicate(
        &self,
        options: NativePeerOptions<'_>,
        wake: Function<'_, (), ()>,
    ) -> Result<NativePeer> {
        NativePeer::open(Wake::new(wake)?, &options, |options| self.db.replicate(options))
    }
}
