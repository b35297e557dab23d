//! Asking to be a writer: what is asked, who is asked, what became of it. `docs/design/access.md`.
//!
//! ```text
//! request  ask u64 ‖ writer 32 ‖ claim (0x00 | 0x01 ‖ invite 16 ‖ proof 32) ‖ user data bytes
//! answer   ask u64 ‖ answer u8 (0 heard, 1 rejected, 2 unknown invite, 3 expired, 4 used up)
//! ```
//!
//! All of it is in memory: who asks repeats it on every connection, and after a restart the application asks again.

use super::database::{Db, Inner};
use super::error::{Code, Error};
use super::events::Event;
use super::invite::{Claim, Invite};
use super::open::random;
use crate::codec::{DecodeError, Reader, put_bytes};
use crate::types::FeedKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What whoever asks may say about itself: a stranger's bytes stay small.
pub const MAX_ACCESS_DATA: usize = 4 << 10;

/// Requests kept for a database's user: bounds what strangers who know the key make us remember.
const MAX_ACCESS_REQUESTS: usize = 256;

/// A request as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Names this asking: a repetition has the same number, asking again another.
    pub ask: u64,
    pub writer: FeedKey,
    pub claim: Option<Claim>,
    pub user_data: Vec<u8>,
}

impl Request {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.ask.to_be_bytes().to_vec();
        out.extend_from_slice(self.writer.as_bytes());
        out.push(self.claim.is_some().into());
        if let Some(claim) = &self.claim {
            out.extend_from_slice(&claim.invite);
            out.extend_from_slice(&claim.proof);
        }
        put_bytes(&mut out, &self.user_data);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (ask, writer) = (reader.u64("the asking")?, FeedKey(reader.array("the writer")?));
        let claim = if reader.bool("the claim")? {
            Some(Claim { invite: reader.array("the invite")?, proof: reader.array("the proof")? })
        } else {
            None
        };
        let user_data = reader.bytes("the user data", MAX_ACCESS_DATA)?.to_vec();
        reader.finish("a request").map(|()| Self { ask, writer, claim, user_data })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Granted (which the feeds will tell), or waiting for the user.
    Heard,
    Rejected,
    Unknown,
    Expired,
    Used,
}

impl Answer {
    pub fn encode(self, ask: u64) -> Vec<u8> {
        let mut out = ask.to_be_bytes().to_vec();
        out.push(match self {
            Answer::Heard => 0,
            Answer::Rejected => 1,
            Answer::Unknown => 2,
            Answer::Expired => 3,
            Answer::Used => 4,
        });
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<(u64, Self), DecodeError> {
        let mut reader = Reader::new(bytes);
        let ask = reader.u64("the asking")?;
        let answer = match reader.u8("the answer")? {
            0 => Answer::Heard,
            1 => Answer::Rejected,
            2 => Answer::Unknown,
            3 => Answer::Expired,
            4 => Answer::Used,
            tag => return Err(DecodeError::UnknownTag { what: "the answer", tag: tag.into() }),
        };
        reader.finish("an answer").map(|()| (ask, answer))
    }
}

/// Why a request to write was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the request was rejected")]
    Rejected,
    #[error("the device that is said to have issued this invite does not know it")]
    Unknown,
    #[error("the invite has expired")]
    Expired,
    #[error("the invite is used up")]
    Used,
}

/// How far this replica's asking has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Nothing is asked; also once the right to write is here.
    #[default]
    NotAsked,
    /// No indexer has heard it yet.
    Asked,
    /// An indexer has, and its user (or another's) will decide.
    Heard,
    Refused(Refusal),
}

/// What this replica asks.
pub(super) struct Asking {
    pub ask: u64,
    pub user_data: Vec<u8>,
    pub invite: Option<Invite>,
}

/// What others ask.
struct Pending {
    ask: u64,
    /// Order of arrival.
    number: u64,
    /// The connection that brought it last.
    peer: u64,
    rejected: bool,
}

/// Both sides of asking, of one open database.
#[derive(Default)]
pub(super) struct AccessState {
    asking: Option<(Arc<Asking>, Access)>,
    requests: BTreeMap<FeedKey, Pending>,
    arrived: u64,
}

impl AccessState {
    /// How it stands with what this replica asks.
    pub fn access(&self) -> Access {
        self.asking.as_ref().map_or(Access::NotAsked, |(_, state)| *state)
    }

    /// What is still to be asked, or waiting to be answered.
    pub fn asking(&self) -> Option<Arc<Asking>> {
        let (asking, state) = self.asking.as_ref()?;
        matches!(state, Access::Asked | Access::Heard).then(|| Arc::clone(asking))
    }

    /// An indexer's answer to what is asked; true if that is news. `from`: whom the other side proved to be.
    pub fn answered(&mut self, ask: u64, answer: Answer, from: &BTreeSet<FeedKey>) -> bool {
        let Some((asking, state)) = &mut self.asking else { return false };
        if asking.ask != ask || matches!(state, Access::Refused(_)) {
            return false;
        }
        let with_invite = asking.invite.is_some();
        let issuer = |invite: &Invite| from.iter().any(|key| invite.is_of(key));
        let news = match answer {
            Answer::Heard => Access::Heard,
            Answer::Rejected => Access::Refused(Refusal::Rejected),
            // Others than the issuer cannot know it.
            Answer::Unknown if asking.invite.as_ref().is_some_and(issuer) => {
                Access::Refused(Refusal::Unknown)
            }
            Answer::Expired if with_invite => Access::Refused(Refusal::Expired),
            Answer::Used if with_invite => Access::Refused(Refusal::Used),
            Answer::Unknown | Answer::Expired | Answer::Used => return false,
        };
        std::mem::replace(state, news) != news
    }

    /// Notes what somebody asks of the user. Whether that is new, and what to answer; none: there is no room.
    pub fn raise(
        &mut self,
        request: &Request,
        peer: u64,
        is_connected: impl Fn(u64) -> bool,
    ) -> Option<(bool, Answer)> {
        if let Some(known) = self.requests.get_mut(&request.writer) {
            known.peer = peer;
            if known.ask == request.ask {
                return Some((false, if known.rejected { Answer::Rejected } else { Answer::Heard }));
            }
            (known.ask, known.rejected) = (request.ask, false);
            return Some((true, Answer::Heard));
        }
        if self.requests.len() >= MAX_ACCESS_REQUESTS {
            let idle = self.requests.iter().filter(|(_, known)| known.rejected || !is_connected(known.peer));
            let oldest = idle.min_by_key(|(_, known)| known.number).map(|(writer, _)| *writer)?;
            self.requests.remove(&oldest);
        }
        self.arrived += 1;
        let pending = Pending { ask: request.ask, number: self.arrived, peer, rejected: false };
        self.requests.insert(request.writer, pending);
        Some((true, Answer::Heard))
    }

    /// After a commit: what has been granted is not asked any more.
    pub fn settle(&mut self, writable: bool, is_granted: impl Fn(&FeedKey) -> bool) {
        if writable {
            self.asking = None;
        }
        self.requests.retain(|writer, _| !is_granted(writer));
    }
}

impl Db {
    /// Asks every indexer that connects to be made a writer, until one answers; in place of what was asked before.
    pub fn request_access(&self, user_data: Vec<u8>, invite: Option<Invite>) -> Result<(), Error> {
        let inner = self.whole()?;
        if user_data.len() > MAX_ACCESS_DATA {
            let message = format!("userData has {} bytes; at most {MAX_ACCESS_DATA}", user_data.len());
            return Err(Error::new(Code::ValueTooLarge, message));
        }
        if invite.as_ref().is_some_and(|invite| invite.key != inner.open.info.key) {
            return Err(Error::new(Code::InvalidKey, "this invite is for another database"));
        }
        if inner.open.status.read().writable {
            return Ok(());
        }
        let [ask @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = random()?;
        let asking = Asking { ask: u64::from_be_bytes(ask), user_data, invite };
        inner.open.access.lock().asking = Some((Arc::new(asking), Access::Asked));
        inner.tell_peers();
        Ok(())
    }

    /// Asks no more, if nobody has heard it yet.
    pub fn cancel_access(&self) -> Result<(), Error> {
        let inner = self.inner()?;
        inner.open.access.lock().asking.take_if(|(_, state)| *state == Access::Asked);
        Ok(())
    }

    pub fn access(&self) -> Result<Access, Error> {
        let inner = self.inner()?;
        let access = inner.open.access.lock().access();
        Ok(access)
    }

    /// Rejects what a writer asks. False: it does not ask. To accept is [`Db::add_writer`].
    pub fn reject_access(&self, writer: &FeedKey) -> Result<bool, Error> {
        let inner = self.whole()?;
        let known = match inner.open.access.lock().requests.get_mut(writer) {
            Some(pending) => !std::mem::replace(&mut pending.rejected, true),
            None => false,
        };
        if known {
            inner.tell_peers();
        }
        Ok(known)
    }
}

impl Inner {
    /// Connections look again; so does whoever waits.
    fn tell_peers(&self) {
        self.shared.board.look_again(&BTreeSet::from([self.open.id]));
        self.shared.board.send(self.open.id, &Event::Progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(writer: u8, ask: u64) -> Request {
        Request { ask, writer: FeedKey([writer; 32]), claim: None, user_data: b"hi".to_vec() }
    }

    #[test]
    fn messages_have_golden_bytes_and_no_truncation_passes() {
        let plain = request(0xaa, 5);
        let claimed =
            Request { claim: Some(Claim { invite: [0xbb; 16], proof: [0xcc; 32] }), ..plain.clone() };
        let (aa, bb, cc) = ("aa".repeat(32), "bb".repeat(16), "cc".repeat(32));
        for (request, hex) in [
            (&plain, format!("0000000000000005{aa}00026869")),
            (&claimed, format!("0000000000000005{aa}01{bb}{cc}026869")),
        ] {
            let bytes = request.encode();
            assert_eq!(hex::encode(&bytes), hex);
            assert_eq!(Request::decode(&bytes).as_ref(), Ok(request));
            assert!((0..bytes.len()).all(|cut| Request::decode(&bytes[..cut]).is_err()));
            assert!(Request::decode(&[bytes, vec![0]].concat()).is_err());
        }
        let large = Request { user_data: vec![0; MAX_ACCESS_DATA + 1], ..plain };
        assert!(matches!(Request::decode(&large.encode()), Err(DecodeError::TooLarge { .. })));
        let all = [Answer::Heard, Answer::Rejected, Answer::Unknown, Answer::Expired, Answer::Used];
        for (answer, byte) in all.into_iter().zip(0..) {
            let bytes = answer.encode(7);
            assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 7, byte]);
            assert_eq!(Answer::decode(&bytes), Ok((7, answer)));
            assert!((0..9).all(|cut| Answer::decode(&bytes[..cut]).is_err()));
        }
        assert!(Answer::decode(&[0, 0, 0, 0, 0, 0, 0, 7, 5]).is_err());
    }

    #[test]
    fn a_flood_of_requests_takes_bounded_room_and_what_is_idle_gives_way() {
        let mut state = AccessState::default();
        let writer = |n: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_be_bytes());
            Request { writer: FeedKey(key), ..request(0, 1) }
        };
        for n in 0..MAX_ACCESS_REQUESTS {
            assert_eq!(state.raise(&writer(n), 1, |_| true), Some((true, Answer::Heard)));
        }
        assert_eq!(state.raise(&writer(1_000), 1, |_| true), None);
        assert_eq!(state.raise(&writer(1_000), 2, |peer| peer != 1), Some((true, Answer::Heard)));
        assert_eq!(state.requests.len(), MAX_ACCESS_REQUESTS);
        assert!(!state.requests.contains_key(&writer(0).writer));
        assert_eq!(state.raise(&writer(1_000), 2, |_| true), Some((false, Answer::Heard)));
        state.settle(false, |_| true);
        assert!(state.requests.is_empty());
    }
}
