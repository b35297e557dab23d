use super::{errors, number};
use crate::db::{Event, PeerEvent};
use crate::types::FeedKey;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

/// One event of a database or of a feed. Which fields there are depends on `kind`.
#[napi(object)]
#[derive(Default)]
pub struct NativeEvent {
    pub kind: String,
    pub key: Option<Buffer>,
    pub from: Option<f64>,
    pub to: Option<f64>,
    pub flag: Option<bool>,
    pub data: Option<Buffer>,
    /// Code, colon, message, as thrown errors have it.
    pub error: Option<String>,
}

fn bytes(key: FeedKey) -> Buffer {
    key.0.to_vec().into()
}

fn of(kind: &str) -> NativeEvent {
    NativeEvent { kind: kind.to_owned(), ..NativeEvent::default() }
}

impl From<Event> for NativeEvent {
    fn from(event: Event) -> Self {
        match event {
            Event::Update { from, to } => {
                Self { from: Some(number(from)), to: Some(number(to)), ..of("update") }
            }
            Event::Writable => of("writable"),
            Event::Unwritable => of("unwritable"),
            Event::Writer { key: writer, added } => {
                Self { key: Some(bytes(writer)), flag: Some(added), ..of("writer") }
            }
            Event::PeerAdd { key: feed } => Self { key: Some(bytes(feed)), ..of("peer-add") },
            Event::PeerRemove { key: feed } => Self { key: Some(bytes(feed)), ..of("peer-remove") },
            Event::Drift { writer, ahead_ms } => {
                Self { key: Some(bytes(writer)), to: Some(number(ahead_ms)), ..of("drift") }
            }
            Event::Fork { feed, length, proof } => Self {
                key: Some(bytes(feed)),
                to: Some(number(length)),
                data: Some(proof.into()),
                ..of("fork")
            },
            Event::UpgradeNeeded { feed } => Self { key: Some(bytes(feed)), ..of("upgrade-needed") },
            Event::Synced { peer } => Self { to: Some(number(peer)), ..of("synced") },
            Event::Progress => of("progress"),
            Event::Finalized { length } => Self { to: Some(number(length)), ..of("finalized") },
            Event::Moved { feed, length } => {
                Self { key: Some(bytes(feed)), to: Some(number(length)), ..of("moved") }
            }
            Event::AccessRequest { key: asking, user_data } => {
                Self { key: Some(bytes(asking)), data: Some(user_data.into()), ..of("access-request") }
            }
            Event::Diverged { ours, theirs, peer } => Self {
                key: Some(ours.to_vec().into()),
                data: Some(theirs.to_vec().into()),
                to: Some(number(peer)),
                ..of("diverged")
            },
            Event::Error { error } => Self { error: Some(errors::text(&error)), ..of("error") },
        }
    }
}

impl From<PeerEvent> for NativeEvent {
    fn from(event: PeerEvent) -> Self {
        match event {
            PeerEvent::Open { user_data } => Self { data: Some(user_data.into()), ..of("open") },
            PeerEvent::RemoteFeeds => of("remote-feeds"),
            PeerEvent::Synced => of("synced"),
            PeerEvent::Finished => of("finished"),
            PeerEvent::Closed => of("closed"),
            PeerEvent::Failed(error) => Self { error: Some(errors::text(&error)), ..of("error") },
        }
    }
}
