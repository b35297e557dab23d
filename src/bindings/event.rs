use crate::db::{Event, PeerEvent};
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
    /// Code, space, message, as thrown errors have it.
    pub error: Option<String>,
}

#[expect(clippy::cast_precision_loss, reason = "versions, lengths and milliseconds below 2^53")]
fn number(value: u64) -> Option<f64> {
    Some(value as f64)
}

fn key(bytes: &[u8; 32]) -> Option<Buffer> {
    Some(bytes.to_vec().into())
}

fn of(kind: &str) -> NativeEvent {
    NativeEvent { kind: kind.to_owned(), ..NativeEvent::default() }
}

impl From<Event> for NativeEvent {
    fn from(event: Event) -> Self {
        match event {
            Event::Update { from, to } => Self { from: number(from), to: number(to), ..of("update") },
            Event::Writable => of("writable"),
            Event::Unwritable => of("unwritable"),
            Event::Writer { key: writer, added } => Self { key: key(&writer.0), flag: Some(added), ..of("writer") },
            Event::PeerAdd { key: feed } => Self { key: key(&feed.0), ..of("peer-add") },
            Event::PeerRemove { key: feed } => Self { key: key(&feed.0), ..of("peer-remove") },
            Event::Drift { writer, ahead_ms } => Self { key: key(&writer.0), to: number(ahead_ms), ..of("drift") },
            Event::Fork { feed, length } => Self { key: key(&feed.0), to: number(length), ..of("fork") },
            Event::UpgradeNeeded { feed } => Self { key: key(&feed.0), ..of("upgrade-needed") },
            Event::Synced { peer } => Self { to: number(peer), ..of("synced") },
            Event::Progress => of("progress"),
            Event::AccessRequest { key: asking, user_data } => {
                Self { key: key(&asking.0), data: Some(user_data.into()), ..of("access-request") }
            }
            Event::Error { error } => Self { error: Some(error_text(&error)), ..of("error") },
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
            PeerEvent::Error { error } => Self { error: Some(error_text(&error)), ..of("error") },
        }
    }
}

fn error_text(error: &crate::db::Error) -> String {
    format!("{} {}", error.code.name(), error.message)
}
