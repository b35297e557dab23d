//! Reads and progress as `futures::Stream`s, for callers of the Rust API.

use super::database::Db;
use super::error::Error;
use super::events::Event;
use super::members::FeedProgress;
use super::reads::{History, HistoryEntry, Scan, ViewEntry};
use futures::{Stream, StreamExt as _, stream};
use std::sync::Arc;

/// Entries and bytes read at once.
const CHUNK_ENTRIES: usize = 256;
const CHUNK_BYTES: usize = 64 << 10;

/// Entries of a cursor, read a chunk at a time; ends after an error.
fn entries<C, T>(
    cursor: C,
    next: impl Fn(&mut C) -> Result<Vec<T>, Error>,
) -> impl Stream<Item = Result<T, Error>> {
    let chunks = stream::unfold(Some(cursor), move |cursor| {
        let read = cursor.and_then(|mut cursor| match next(&mut cursor) {
            Ok(found) if found.is_empty() => None,
            Ok(found) => Some((found.into_iter().map(Ok).collect::<Vec<_>>(), Some(cursor))),
            Err(error) => Some((vec![Err(error)], None)),
        });
        std::future::ready(read)
    });
    chunks.flat_map(stream::iter)
}

impl Scan {
    pub fn into_stream(self) -> impl Stream<Item = Result<ViewEntry, Error>> {
        entries(self, |scan| scan.next(CHUNK_ENTRIES, CHUNK_BYTES))
    }
}

impl History {
    pub fn into_stream(self) -> impl Stream<Item = Result<HistoryEntry, Error>> {
        entries(self, |history| history.next(CHUNK_ENTRIES, CHUNK_BYTES))
    }
}

impl Db {
    /// [`Db::progress`] now, and again whenever it may have changed; ends with the first change after the database was
    /// closed.
    pub fn progress_stream(&self) -> Result<impl Stream<Item = Vec<FeedProgress>> + use<>, Error> {
        let db = self.clone();
        let changes = self.subscribe(Arc::new(|| {}))?;
        let changes = changes.filter(|event| {
            std::future::ready(matches!(event, Event::Progress | Event::Update { .. } | Event::Synced { .. }))
        });
        let begun = stream::once(std::future::ready(Event::Progress));
        Ok(begun.chain(changes).scan((), move |(), _| std::future::ready(db.progress().ok())))
    }
}
