//! A connection driven over any tokio stream.

use super::{OWN_FEED_PATIENCE, Peer, PeerEvent, PeerOptions, Transport};
use crate::db::database::Db;
use crate::db::error::{Code, Error};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;

/// Bytes moved at once.
const CHUNK: usize = 64 << 10;

/// How often a connection is told that time has passed; [`OWN_FEED_PATIENCE`] counts these.
const TICK: Duration = Duration::from_secs(1);
const _: () = assert!(OWN_FEED_PATIENCE > 0);

/// How long a finished connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

impl Db {
    /// Replicates over `stream` until it ends, both sides are done (`live: false`), or a rule is broken. Dropping the
    /// future ends the connection.
    pub async fn replicate_over(
        &self,
        stream: impl AsyncRead + AsyncWrite,
        transport: Transport,
        live: bool,
    ) -> Result<(), Error> {
        let woken = Arc::new(Notify::new());
        let wake = {
            let woken = Arc::clone(&woken);
            Arc::new(move || woken.notify_one())
        };
        let options =
            PeerOptions { transport, live, download: true, upload: true, user_data: Vec::new(), wake };
        let peer = Guard(self.replicate(options)?);
        drive(&peer.0, stream, &woken).await
    }
}

/// Ends the connection with the future that drives it.
struct Guard(Peer);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn drive(peer: &Peer, stream: impl AsyncRead + AsyncWrite, woken: &Notify) -> Result<(), Error> {
    let (reader, writer) = tokio::io::split(stream);
    tokio::pin!(reader, writer);
    let mut input = vec![0; CHUNK];
    let mut ticks = tokio::time::interval(TICK);
    loop {
        while let Some(bytes) = peer.pull(CHUNK) {
            writer.write_all(&bytes).await.map_err(|error| cut(&error))?;
        }
        writer.flush().await.map_err(|error| cut(&error))?;
        for event in peer.take_events() {
            match event {
                PeerEvent::Failed(error) => return Err(error),
                PeerEvent::Closed => return Ok(()),
                PeerEvent::Finished => {
                    peer.close();
                    return tokio::time::timeout(GOODBYE, say_goodbye(peer, &mut *writer))
                        .await
                        .unwrap_or(Ok(()));
                }
                PeerEvent::Open { .. } | PeerEvent::RemoteFeeds | PeerEvent::Synced => {}
            }
        }
        tokio::select! {
            read = reader.read(&mut input), if peer.ready_for_more() => {
                let length = read.map_err(|error| cut(&error))?;
                if length == 0 {
                    peer.ended();
                } else {
                    peer.receive(input.get(..length).unwrap_or_default())?;
                }
            }
            () = woken.notified() => {}
            _ = ticks.tick() => peer.tick(),
        }
    }
}

async fn say_goodbye(peer: &Peer, writer: &mut (impl AsyncWrite + Unpin)) -> Result<(), Error> {
    while let Some(bytes) = peer.pull(CHUNK) {
        writer.write_all(&bytes).await.map_err(|error| cut(&error))?;
    }
    writer.shutdown().await.map_err(|error| cut(&error))
}

fn cut(error: &std::io::Error) -> Error {
    Error::new(Code::Protocol, format!("the connection was cut: {error}"))
}
