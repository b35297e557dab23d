//! Where replication stands, as plain objects.

use super::database::NativeDb;
use super::errors::{Result, to_js};
use super::number;
use super::store::NativeStore;
use crate::db::{FeedStatus, Idle, PeerFeed, PeerStatus, Reason, SyncStatus};
use crate::types::FeedKey;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

#[napi(object)]
pub struct NativeReason {
    pub code: String,
    pub message: String,
    pub feed: Option<Buffer>,
    pub on: Option<Buffer>,
    pub length: Option<f64>,
    pub peer: Option<f64>,
}

#[napi(object)]
pub struct NativeFeedStatus {
    pub key: Buffer,
    pub have: f64,
    pub placed: f64,
    pub want: f64,
    pub writable: bool,
    pub reason: Option<NativeReason>,
}

#[napi(object)]
pub struct NativePeerFeed {
    pub key: Buffer,
    pub ours: f64,
    pub theirs: f64,
    pub asked: Option<Vec<f64>>,
    pub sending: Option<Vec<f64>>,
    pub received: f64,
    pub sent: f64,
    pub idle: Option<String>,
}

#[napi(object)]
pub struct NativePeerStatus {
    pub id: f64,
    pub open: bool,
    pub synced: bool,
    pub received: f64,
    pub sent: f64,
    pub download_rate: f64,
    pub upload_rate: f64,
    pub unstored: f64,
    pub silent: bool,
    pub feeds: Vec<NativePeerFeed>,
}

#[napi(object)]
pub struct NativeSyncStatus {
    pub synced: bool,
    pub feeds: Vec<NativeFeedStatus>,
    pub unlisted: f64,
    pub peers: Vec<NativePeerStatus>,
    pub reason: Option<NativeReason>,
}

#[napi(object)]
pub struct NativeDatabaseStatus {
    pub name: String,
    pub key: Buffer,
    pub status: NativeSyncStatus,
}

#[napi(object)]
pub struct NativeStoreStatus {
    pub databases: Vec<NativeDatabaseStatus>,
    pub peers: Vec<NativePeerStatus>,
    pub reason: Option<NativeReason>,
}

#[napi]
impl NativeDb {
    #[napi(catch_unwind)]
    pub fn sync_status(&self) -> Result<NativeSyncStatus> {
        self.db.sync_status().map(NativeSyncStatus::from).map_err(to_js)
    }
}

#[napi]
impl NativeStore {
    #[napi(catch_unwind)]
    pub fn status(&self) -> Result<NativeStoreStatus> {
        let status = self.store.status().map_err(to_js)?;
        let database = |(info, status): (crate::db::DbInfo, SyncStatus)| NativeDatabaseStatus {
            name: info.name,
            key: bytes(info.key),
            status: status.into(),
        };
        Ok(NativeStoreStatus {
            databases: status.databases.into_iter().map(database).collect(),
            peers: status.peers.into_iter().map(NativePeerStatus::from).collect(),
            reason: status.reason.map(NativeReason::from),
        })
    }
}

fn bytes(key: FeedKey) -> Buffer {
    key.0.to_vec().into()
}

impl From<SyncStatus> for NativeSyncStatus {
    fn from(status: SyncStatus) -> Self {
        Self {
            synced: status.synced,
            feeds: status.feeds.into_iter().map(NativeFeedStatus::from).collect(),
            unlisted: number(status.unlisted),
            peers: status.peers.into_iter().map(NativePeerStatus::from).collect(),
            reason: status.reason.map(NativeReason::from),
        }
    }
}

impl From<Reason> for NativeReason {
    fn from(reason: Reason) -> Self {
        let Reason { why, message, feed, on, peer } = reason;
        Self {
            code: why.name().to_owned(),
            message,
            feed: feed.map(bytes),
            on: on.map(|(key, _)| bytes(key)),
            length: on.map(|(_, length)| number(length)),
            peer: peer.map(number),
        }
    }
}

impl From<FeedStatus> for NativeFeedStatus {
    fn from(feed: FeedStatus) -> Self {
        Self {
            key: bytes(feed.key),
            have: number(feed.have),
            placed: number(feed.placed),
            want: number(feed.want),
            writable: feed.writable,
            reason: feed.reason.map(NativeReason::from),
        }
    }
}

impl From<PeerFeed> for NativePeerFeed {
    fn from(feed: PeerFeed) -> Self {
        let span = |(from, to)| vec![number(from), number(to)];
        let idle = |idle| match idle {
            Idle::NotDownloading => "not-downloading",
            Idle::NotUploading => "not-uploading",
            Idle::Refused => "refused",
            Idle::Silent => "silent",
        };
        Self {
            key: bytes(feed.key),
            ours: number(feed.ours),
            theirs: number(feed.theirs),
            asked: feed.asked.map(span),
            sending: feed.sending.map(span),
            received: number(feed.received),
            sent: number(feed.sent),
            idle: feed.idle.map(|why| idle(why).to_owned()),
        }
    }
}

impl From<PeerStatus> for NativePeerStatus {
    fn from(peer: PeerStatus) -> Self {
        Self {
            id: number(peer.id),
            open: peer.open,
            synced: peer.synced,
            received: number(peer.received),
            sent: number(peer.sent),
            download_rate: number(peer.download_rate),
            upload_rate: number(peer.upload_rate),
            unstored: number(peer.unstored),
            silent: peer.silent,
            feeds: peer.feeds.into_iter().map(NativePeerFeed::from).collect(),
        }
    }
}
