//! What carries the messages: Noise frames of our own, or a channel that is encrypted already.
//!
//! ```text
//! noise frame = length u16 (big-endian) ‖ Noise message
//! handshake   = 32 bytes → , 96 bytes ← , 64 bytes →   (XX: e / e ee s es / s se, empty payloads)
//! ```

use super::limits::{MAX_NOISE_MESSAGE, NOISE_TAG};
use super::{ProtocolError, Role};
use snow::{HandshakeState, TransportState};

const MAX_PLAIN: usize = MAX_NOISE_MESSAGE - NOISE_TAG;

/// Length of each handshake message of XX with empty payloads.
const HANDSHAKE: [(usize, &str); 3] = [(32, "32 bytes"), (96, "96 bytes"), (64, "64 bytes")];

enum Stage {
    Attached,
    Handshake {
        noise: Box<HandshakeState>,
        /// Handshake messages written and read so far.
        done: u8,
    },
    Open(Box<TransportState>),
    Failed,
}

pub struct Transport {
    stage: Stage,
    /// Of the frame that is arriving: its length field and what follows, never more than one frame.
    partial: Vec<u8>,
    /// Frames ready to leave.
    sealed: Vec<u8>,
}

/// What [`Transport::read`] came to.
pub enum Read {
    /// The input is used up.
    Starved,
    /// Plain bytes were appended.
    Plain,
    /// The handshake is over; its hash.
    Opened(Vec<u8>),
}

impl Transport {
    pub fn attached() -> Self {
        Self { stage: Stage::Attached, partial: Vec::new(), sealed: Vec::new() }
    }

    pub fn noise(handshake: HandshakeState) -> Result<Self, ProtocolError> {
        let stage = Stage::Handshake { noise: Box::new(handshake), done: 0 };
        let mut transport = Self { stage, partial: Vec::new(), sealed: Vec::new() };
        transport.write_handshake()?;
        Ok(transport)
    }

    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Attached | Stage::Open(_))
    }

    pub fn sealed(&self) -> usize {
        self.sealed.len()
    }

    /// Consumes at most one frame of `input`.
    pub fn read(&mut self, input: &mut &[u8], plain: &mut Vec<u8>) -> Result<Read, ProtocolError> {
        if matches!(self.stage, Stage::Attached) {
            let taken = std::mem::take(input);
            plain.extend_from_slice(taken);
            return Ok(if taken.is_empty() { Read::Starved } else { Read::Plain });
        }
        if !self.fill(2, input) {
            return Ok(Read::Starved);
        }
        let length = match self.partial.as_slice() {
            [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        };
        self.check_length(length)?;
        if !self.fill(2 + length, input) {
            return Ok(Read::Starved);
        }
        let frame = std::mem::take(&mut self.partial);
        let message = frame.get(2..).unwrap_or_default();
        let read = self.open_frame(message, plain);
        self.partial = frame;
        self.partial.clear();
        read
    }

    /// Moves input until `partial` has `target` bytes; says whether it has.
    fn fill(&mut self, target: usize, input: &mut &[u8]) -> bool {
        let missing = target.saturating_sub(self.partial.len());
        let (taken, rest) = input.split_at_checked(missing).unwrap_or((*input, &[]));
        self.partial.extend_from_slice(taken);
        *input = rest;
        taken.len() == missing
    }

    /// A wrong length is refused before the bytes it announces are taken.
    fn check_length(&self, found: usize) -> Result<(), ProtocolError> {
        let due = match &self.stage {
            Stage::Handshake { done, .. } => HANDSHAKE.get(usize::from(*done)).copied(),
            _ => None,
        };
        match due {
            Some((length, expected)) if length != found => {
                Err(ProtocolError::NoiseLength { expected, found })
            }
            None if found <= NOISE_TAG => {
                Err(ProtocolError::NoiseLength { expected: "more than 16 bytes", found })
            }
            _ => Ok(()),
        }
    }

    fn open_frame(&mut self, message: &[u8], plain: &mut Vec<u8>) -> Result<Read, ProtocolError> {
        match &mut self.stage {
            Stage::Handshake { noise, done } => {
                *done += 1;
                noise.read_message(message, &mut [0; 64]).map_err(|error| failed(*done, &error))?;
                self.write_handshake()
            }
            Stage::Open(noise) => {
                let before = plain.len();
                plain.resize(before + message.len(), 0);
                let room = plain.get_mut(before..).unwrap_or_default();
                let written = noise.read_message(message, room).map_err(|_| ProtocolError::Decrypt)?;
                plain.truncate(before + written);
                Ok(Read::Plain)
            }
            Stage::Attached | Stage::Failed => Err(ProtocolError::Decrypt),
        }
    }

    /// Writes the next handshake message if it is this side's turn, and goes over to transport at the end.
    fn write_handshake(&mut self) -> Result<Read, ProtocolError> {
        let Stage::Handshake { noise, done } = &mut self.stage else { return Ok(Read::Starved) };
        if noise.is_my_turn() && !noise.is_handshake_finished() {
            let mut message = [0; 96];
            *done += 1;
            let written = noise.write_message(&[], &mut message).map_err(|error| failed(*done, &error))?;
            seal_length(&mut self.sealed, written)?;
            self.sealed.extend_from_slice(message.get(..written).unwrap_or_default());
        }
        if !noise.is_handshake_finished() {
            return Ok(Read::Plain);
        }
        let hash = noise.get_handshake_hash().to_vec();
        match std::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Handshake { noise, done } => {
                let open = noise.into_transport_mode().map_err(|error| failed(done, &error))?;
                self.stage = Stage::Open(Box::new(open));
                Ok(Read::Opened(hash))
            }
            other => {
                self.stage = other;
                Ok(Read::Starved)
            }
        }
    }

    /// Up to `max` bytes for the stream below; `plain` gives up to so many plain bytes.
    pub fn write(
        &mut self,
        max: usize,
        mut plain: impl FnMut(usize) -> Vec<u8>,
    ) -> Result<Vec<u8>, ProtocolError> {
        if matches!(self.stage, Stage::Attached) {
            return Ok(plain(max));
        }
        while let Stage::Open(noise) = &mut self.stage
            && self.sealed.len() < max
        {
            let chunk = plain(MAX_PLAIN);
            if chunk.is_empty() {
                break;
            }
            let length = chunk.len() + NOISE_TAG;
            seal_length(&mut self.sealed, length)?;
            let before = self.sealed.len();
            self.sealed.resize(before + length, 0);
            let room = self.sealed.get_mut(before..).unwrap_or_default();
            noise.write_message(&chunk, room).map_err(|error| failed(0, &error))?;
        }
        let rest = self.sealed.split_off(max.min(self.sealed.len()));
        Ok(std::mem::replace(&mut self.sealed, rest))
    }
}

fn seal_length(out: &mut Vec<u8>, length: usize) -> Result<(), ProtocolError> {
    let length = u16::try_from(length)
        .map_err(|_| ProtocolError::NoiseLength { expected: "at most 65,535 bytes", found: length })?;
    out.extend_from_slice(&length.to_be_bytes());
    Ok(())
}

fn failed(message: u8, error: &snow::Error) -> ProtocolError {
    ProtocolError::Handshake { message, reason: error.to_string() }
}

pub fn role_of(handshake: &HandshakeState) -> Role {
    if handshake.is_initiator() { Role::Initiator } else { Role::Responder }
}
