use super::errors::{Result, to_js};
use crate::db::Invite;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

/// What the text of an invite says to who has it.
#[cfg_attr(test, allow(dead_code, reason = "a test build registers no exports"))]
#[napi(object)]
pub struct NativeInvite {
    pub key: Buffer,
    pub encryption_key: Option<Buffer>,
}

#[cfg_attr(test, allow(dead_code, reason = "a test build registers no exports"))]
#[napi(catch_unwind)]
pub fn parse_invite(text: String) -> Result<NativeInvite> {
    let invite: Invite = text.parse().map_err(to_js)?;
    let encryption_key = invite.encryption_key.map(|key| key.as_bytes().to_vec().into());
    Ok(NativeInvite { key: invite.key.0.to_vec().into(), encryption_key })
}
