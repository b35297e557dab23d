use super::database::NativeDb;
use super::errors::{Result, array, to_js};
use super::event::NativeEvent;
use super::number;
use super::store::NativeStore;
use super::wake::Wake;
use crate::db::{Error, Peer, PeerOptions, Transport};
use napi::Env;
use napi::bindgen_prelude::BufferSlice;
use napi_derive::napi;

/// One connection: bytes in, bytes out, both synchronous. `wake` says that there is something to pull, or to look at.
#[napi]
pub struct NativePeer {
    peer: Peer,
    wake: Wake,
}

/// `handshake_hash`: the stream is already encrypted, and this is its hash.
#[napi(object)]
#[expect(clippy::struct_excessive_bools, reason = "named fields of an options object, each the user's own")]
pub struct NativePeerOptions<'env> {
    pub initiator: bool,
    pub handshake_hash: Option<BufferSlice<'env>>,
    pub live: bool,
    pub download: bool,
    pub upload: bool,
    pub user_data: Option<BufferSlice<'env>>,
}

impl NativePeer {
    pub fn open(
        wake: Wake,
        options: &NativePeerOptions<'_>,
        replicate: impl FnOnce(PeerOptions) -> std::result::Result<Peer, Error>,
    ) -> Result<Self> {
        let transport = match (&options.handshake_hash, options.initiator) {
            (Some(hash), initiator) => {
                Transport::Attached { initiator, handshake_hash: array(hash, "a handshake hash")? }
            }
            (None, true) => Transport::Initiator,
            (None, false) => Transport::Responder,
        };
        let user_data = options.user_data.as_ref().map(|data| data.to_vec()).unwrap_or_default();
        let (live, download, upload) = (options.live, options.download, options.upload);
        let options = PeerOptions { transport, live, download, upload, user_data, wake: wake.caller() };
        Ok(Self { peer: replicate(options).map_err(to_js)?, wake })
    }
}

impl Drop for NativePeer {
    /// Nobody carries its bytes any more: its thread was ended in the middle, or let it go. A connection that is open holds
    /// its store open.
    fn drop(&mut self) {
        self.peer.close();
    }
}

#[napi]
impl NativePeer {
    #[napi(getter, catch_unwind)]
    pub fn id(&self) -> f64 {
        number(self.peer.id())
    }

    /// False: hold back what comes next until `ready_for_more` after a wake-up.
    #[napi(catch_unwind)]
    pub fn receive(&self, bytes: BufferSlice<'_>) -> Result<bool> {
        self.peer.receive(&bytes).map_err(to_js)
    }

    /// The next bytes to send; null: nothing until the next wake-up.
    #[napi(catch_unwind)]
    pub fn pull<'env>(&self, env: &'env Env, max: u32) -> Result<Option<BufferSlice<'env>>> {
        let bytes = self.peer.pull(usize::try_from(max).unwrap_or(1));
        bytes.map(|bytes| BufferSlice::from_data(env, bytes)).transpose()
    }

    #[napi(catch_unwind)]
    pub fn ready_for_more(&self) -> bool {
        self.peer.ready_for_more()
    }

    #[napi(catch_unwind)]
    pub fn take_events(&self) -> Vec<NativeEvent> {
        self.wake.rearm();
        self.peer.take_events().into_iter().map(NativeEvent::from).collect()
    }

    /// Another database of the same store joins the connection.
    #[napi(catch_unwind)]
    pub fn offer(&self, db: &NativeDb) -> Result<()> {
        self.peer.offer(&db.db).map_err(to_js)
    }

    /// Every database open in the store does.
    #[napi(catch_unwind)]
    pub fn offer_all(&self, store: &NativeStore) -> Result<()> {
        self.peer.offer_all(&store.store).map_err(to_js)
    }

    #[napi(catch_unwind)]
    pub fn tick(&self) {
        self.peer.tick();
    }

    /// The stream below has ended without the other side having said goodbye.
    #[napi(catch_unwind)]
    pub fn ended(&self) {
        self.peer.ended();
    }

    /// Says goodbye; what is queued can still be pulled.
    #[napi(catch_unwind)]
    pub fn close(&self) {
        self.peer.close();
    }
}
