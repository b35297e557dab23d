//! How a connection is begun: its options, what carries it, and what can be wrong with the other side.

use crate::db::error::{Code, Error, Mismatch};
use crate::db::events::Wake;
use crate::wire::{self, Config, ProtocolError, Role, Session};

/// How to replicate.
pub struct PeerOptions {
    pub transport: Transport,
    /// Go on after both sides have everything.
    pub live: bool,
    pub download: bool,
    pub upload: bool,
    pub user_data: Vec<u8>,
    /// Called, from any thread, when there is something to pull or an event to take.
    pub wake: Wake,
}

/// What carries the bytes.
pub enum Transport {
    /// A plain byte stream: Noise, as the side that speaks first.
    Initiator,
    Responder,
    /// A channel that is encrypted already; its handshake hash binds our proofs to it.
    Attached {
        initiator: bool,
        handshake_hash: [u8; 64],
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// The other side has said who it is.
    Open {
        user_data: Vec<u8>,
    },
    /// What the other side has is known.
    RemoteFeeds,
    /// All it had at first is here and in the view.
    Synced,
    /// `live: false`, and neither side wants anything more.
    Finished,
    Closed,
    Failed(Error),
}

pub(super) fn noise(role: Role, config: Config) -> Result<Session, Error> {
    let failed = |error: snow::Error| Error::new(Code::Protocol, format!("no Noise handshake: {error}"));
    let params = wire::NOISE_PATTERN.parse().map_err(failed)?;
    let builder = snow::Builder::new(params).prologue(wire::PROLOGUE).map_err(failed)?;
    let keys = builder.generate_keypair().map_err(failed)?;
    let builder = builder.local_private_key(&keys.private).map_err(failed)?;
    let handshake = match role {
        Role::Initiator => builder.build_initiator(),
        Role::Responder => builder.build_responder(),
    };
    Ok(Session::noise(handshake.map_err(failed)?, config)?)
}

impl From<ProtocolError> for Error {
    fn from(error: ProtocolError) -> Self {
        let code = match &error {
            ProtocolError::VersionMismatch { .. } => Code::VersionMismatch,
            ProtocolError::ClientMismatch { .. } => Code::ClientMismatch,
            ProtocolError::Auth
            | ProtocolError::WriterProof { .. }
            | ProtocolError::Handshake { .. }
            | ProtocolError::SameRole { .. } => Code::Auth,
            _ => Code::Protocol,
        };
        let message = error.to_string();
        let mismatch = match error {
            ProtocolError::VersionMismatch { us, them } => {
                Some(Mismatch { us: us.to_string(), them: them.to_string() })
            }
            ProtocolError::ClientMismatch { us, them } => Some(Mismatch { us, them }),
            _ => None,
        };
        Error { mismatch, ..Error::new(code, message) }
    }
}
