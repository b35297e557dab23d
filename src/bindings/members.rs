//! Who takes part in a database: feeds merged by choice, writers, who asks to be one, how far each feed has come.

use super::database::{NativeDb, version};
use super::errors::{Result, feed_key, to_js};
use super::number;
use super::packed;
use super::promise::promise;
use crate::db::{Access, Invite, InviteOptions};
use napi::Env;
use napi::bindgen_prelude::{Buffer, BufferSlice, PromiseRaw};
use napi_derive::napi;
use std::time::Duration;

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

#[napi]
impl NativeDb {
    #[napi(catch_unwind)]
    pub fn add_peer<'env>(&self, env: &'env Env, feed: BufferSlice<'env>) -> Result<PromiseRaw<'env, bool>> {
        let reply = self.db.add_peer(feed_key(&feed)?);
        promise(env, reply, |reply| reply.map_err(to_js))
    }

    #[napi(catch_unwind)]
    pub fn remove_peer<'env>(
        &self,
        env: &'env Env,
        feed: BufferSlice<'env>,
    ) -> Result<PromiseRaw<'env, bool>> {
        let reply = self.db.remove_peer(feed_key(&feed)?);
        promise(env, reply, |reply| reply.map_err(to_js))
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
        promise(env, reply, |reply| Ok(packed::write_results(vec![reply]).into()))
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
        promise(env, reply, |reply| Ok(packed::write_results(vec![reply]).into()))
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
        promise(env, reply, |reply| reply.map(|invite| invite.to_string()).map_err(to_js))
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
}
