//! Invites: texts that let whoever has one become a writer without the user being asked.
//!
//! ```text
//! invite   version u8 (1) ‖ flags u8 (1: an encryption key follows) ‖ database key 32 ‖ secret 32 ‖ issuer 8
//!          ‖ encryption key 32, by flags ‖ check 4; as z-base-32
//! check    first 4 bytes of blake3 derive_key(CHECK, all before)
//! id       first 16 bytes of blake3 derive_key(ID, secret): names the invite to its issuer
//! proof key  blake3 derive_key(PROOF, secret): all that the issuer keeps of the secret
//! proof    blake3 keyed_hash(proof key, binding 32 ‖ writer 32): the binding is the connection's (`wire`)
//! Invites  Key: database u32 ‖ id 16   Value: proof key 32 ‖ expires u64 (ms since 1970, 0: never) ‖ uses left u32 ‖ indexer bool
//! ```
//!
//! The secret never travels: a proof holds for one writer, one database, one direction of one connection.

use super::access::Answer;
use super::database::Db;
use super::engine::Work;
use super::error::{Code, Error, Failure};
use super::events::Reply;
use super::open::random;
use crate::causal::Control;
use crate::codec::{DecodeError, Reader};
use crate::store::{Read, Table};
use crate::types::FeedKey;
use std::fmt;
use std::ops::Bound;
use std::str::FromStr;
use std::time::Duration;
use zeroize::Zeroizing;

const CHECK: &str = "multi-hyperbee 1 invite check";
const ID: &str = "multi-hyperbee 1 invite id";
const PROOF: &str = "multi-hyperbee 1 invite proof";

const VERSION: u8 = 1;
const WITH_ENCRYPTION_KEY: u8 = 1;

/// Longest text that is looked at: an invite with every field has 176 characters.
const MAX_TEXT: usize = 256;

/// Invites of a database that can be open on one device: a loop that makes them does not fill the store.
const MAX_INVITES: usize = 1_024;

/// Uses left of an invite that anybody may use any number of times.
const UNLIMITED: u32 = u32::MAX;

const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// Names an invite to its issuer.
pub(super) type InviteId = [u8; 16];

/// How to make an invite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InviteOptions {
    /// When it ends, since 1970, by the issuer's clock; none: never.
    pub expires: Option<Duration>,
    /// How many writers it admits; none: any number.
    pub uses: Option<u32>,
    /// Whether it makes indexers.
    pub indexer: bool,
}

/// What the text of an invite says.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    pub key: FeedKey,
    pub encryption_key: Option<[u8; 32]>,
    secret: Zeroizing<[u8; 32]>,
    issuer: [u8; 8],
}

impl Invite {
    pub(super) fn id(&self) -> InviteId {
        let [id @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            blake3::derive_key(ID, self.secret.as_slice());
        id
    }

    pub(super) fn proof(&self, binding: &[u8; 32], writer: &FeedKey) -> [u8; 32] {
        *proof(&blake3::derive_key(PROOF, self.secret.as_slice()), binding, writer).as_bytes()
    }

    pub(super) fn is_of(&self, issuer: &FeedKey) -> bool {
        self.issuer == issuer.prefix()
    }

    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let flags = if self.encryption_key.is_some() { WITH_ENCRYPTION_KEY } else { 0 };
        let mut out = Zeroizing::new(Vec::with_capacity(110));
        out.extend_from_slice(&[VERSION, flags]);
        out.extend_from_slice(self.key.as_bytes());
        out.extend_from_slice(self.secret.as_slice());
        out.extend_from_slice(&self.issuer);
        out.extend_from_slice(self.encryption_key.as_slice().as_flattened());
        let check = check(&out);
        out.extend_from_slice(&check);
        out
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, InviteError> {
        let broken = |_| InviteError::Broken;
        let mut reader = Reader::new(bytes);
        if reader.u8("version").map_err(broken)? != VERSION {
            return Err(InviteError::Newer);
        }
        let flags = reader.u8("flags").map_err(broken)?;
        if flags > WITH_ENCRYPTION_KEY {
            return Err(InviteError::Newer);
        }
        let invite = Self {
            key: FeedKey(reader.array("the key").map_err(broken)?),
            secret: Zeroizing::new(reader.array("the secret").map_err(broken)?),
            issuer: reader.array("the issuer").map_err(broken)?,
            encryption_key: match flags {
                0 => None,
                _ => Some(reader.array("the encryption key").map_err(broken)?),
            },
        };
        let found: [u8; 4] = reader.array("the check").map_err(broken)?;
        reader.finish("an invite").map_err(broken)?;
        let body = bytes.len().checked_sub(found.len()).and_then(|length| bytes.get(..length));
        if body.is_some_and(|body| check(body) == found) { Ok(invite) } else { Err(InviteError::Broken) }
    }
}

fn check(body: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = blake3::derive_key(CHECK, body);
    [a, b, c, d]
}

fn proof(key: &[u8; 32], binding: &[u8; 32], writer: &FeedKey) -> blake3::Hash {
    blake3::keyed_hash(key, [*binding, writer.0].as_flattened())
}

/// Says whose it is, and not the secret.
impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invite").field("key", &self.key).finish_non_exhaustive()
    }
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        let (mut held, mut bits) = (0_u32, 0);
        let digit = |f: &mut fmt::Formatter<'_>, value: u32| match ALPHABET.get((value & 31) as usize) {
            Some(digit) => f.write_char(char::from(*digit)),
            None => Ok(()),
        };
        for byte in self.to_bytes().iter() {
            held = (held << 8 | u32::from(*byte)) & 0xffff;
            bits += 8;
            while bits >= 5 {
                bits -= 5;
                digit(f, held >> bits)?;
            }
        }
        if bits > 0 { digit(f, held << (5 - bits)) } else { Ok(()) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum InviteError {
    #[error("this is not an invite, or not all of one: copy it again")]
    Broken,
    #[error("this invite was made by a newer version: update the package")]
    Newer,
}

impl FromStr for Invite {
    type Err = Error;

    /// Capitals and white space around it do not matter.
    fn from_str(text: &str) -> Result<Self, Error> {
        decode(text)
            .and_then(|bytes| Self::from_bytes(&bytes))
            .map_err(|error| Error::new(Code::Options, error.to_string()))
    }
}

fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, InviteError> {
    let text = text.trim();
    if text.len() > MAX_TEXT {
        return Err(InviteError::Broken);
    }
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut held, mut bits) = (0_u32, 0);
    for digit in text.bytes() {
        let digit = digit.to_ascii_lowercase();
        let value = ALPHABET.iter().position(|known| *known == digit).ok_or(InviteError::Broken)?;
        held = held << 5 | u32::try_from(value).unwrap_or(0);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits).to_be_bytes()[3]);
            held &= (1 << bits) - 1;
        }
    }
    // One invite has one spelling.
    if held == 0 && bits < 5 { Ok(out) } else { Err(InviteError::Broken) }
}

/// What the issuer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InviteRow {
    proof_key: [u8; 32],
    expires_ms: u64,
    uses: u32,
    indexer: bool,
}

impl InviteRow {
    fn key_of(database: u32, id: &InviteId) -> Vec<u8> {
        [&database.to_be_bytes()[..], id].concat()
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = self.proof_key.to_vec();
        out.extend_from_slice(&self.expires_ms.to_be_bytes());
        out.extend_from_slice(&self.uses.to_be_bytes());
        out.push(self.indexer.into());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let row = Self {
            proof_key: reader.array("the proof key")?,
            expires_ms: reader.u64("the end")?,
            uses: reader.u32("the uses left")?,
            indexer: reader.bool("indexer")?,
        };
        reader.finish("an invite's row").map(|()| row)
    }

    fn has_expired(&self, now: Duration) -> bool {
        self.expires_ms != 0 && u128::from(self.expires_ms) <= now.as_millis()
    }
}

/// An invite as a request names it, and the proof of having it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub invite: InviteId,
    pub proof: [u8; 32],
}

impl Db {
    /// Makes an invite; only an indexer may. This device, and no other, will admit who has it.
    pub fn create_invite(&self, options: InviteOptions) -> Reply<Invite> {
        self.job(move |work, id| work.create_invite(id, options))
    }
}

impl Work<'_, '_> {
    fn create_invite(&mut self, id: u32, options: InviteOptions) -> Result<Invite, Failure> {
        let key = self.must_be_indexer(id)?;
        let expires_ms = options.expires.map_or(0, |at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
        let uses = options.uses.unwrap_or(UNLIMITED);
        let invite = Invite {
            key,
            encryption_key: None,
            secret: Zeroizing::new(random()?),
            issuer: self.database(id)?.row.local.prefix(),
        };
        let proof_key = blake3::derive_key(PROOF, invite.secret.as_slice());
        let row = InviteRow { proof_key, expires_ms, uses, indexer: options.indexer };
        if uses == 0 || (options.expires.is_some() && row.has_expired(self.now())) {
            let message = "this invite could never be used: expires lies in the past, or uses is 0";
            return Err(Error::new(Code::Options, message).into());
        }
        self.make_room(id)?;
        self.txn.put(Table::Invites, &InviteRow::key_of(id, &invite.id()), &row.encode())?;
        Ok(invite)
    }

    /// Invites that are over are kept, to say so, as long as there is room.
    fn make_room(&mut self, id: u32) -> Result<(), Failure> {
        let now = self.now();
        let (from, to) = (InviteRow::key_of(id, &[0; 16]), InviteRow::key_of(id, &[0xff; 16]));
        let (mut all, mut over) = (0, Vec::new());
        for row in self.txn.range(Table::Invites, Bound::Included(&from), Bound::Included(&to))? {
            let (key, value) = row?;
            let row = InviteRow::decode(value).map_err(|error| Failure::damaged(&error))?;
            all += 1;
            if row.uses == 0 || row.has_expired(now) {
                over.push(key.to_vec());
            }
        }
        if all < MAX_INVITES {
            return Ok(());
        }
        if over.is_empty() {
            let message = format!("{MAX_INVITES} invites are open: let some be used or end first");
            return Err(Error::new(Code::Options, message).into());
        }
        for key in over {
            self.txn.delete(Table::Invites, &key)?;
        }
        Ok(())
    }

    /// Admits a writer (proved to be who asks) that has an invite: counted and granted in one transaction. None: this
    /// is for the user to decide.
    pub fn redeem(
        &mut self,
        id: u32,
        writer: FeedKey,
        claim: &Claim,
        binding: &[u8; 32],
    ) -> Result<Option<Answer>, Failure> {
        self.must_be_indexer(id)?;
        let key = InviteRow::key_of(id, &claim.invite);
        let Some(row) = self.txn.get(Table::Invites, &key)? else { return Ok(Some(Answer::Unknown)) };
        let mut row = InviteRow::decode(row).map_err(|error| Failure::damaged(&error))?;
        // Compared in constant time.
        if proof(&row.proof_key, binding, &writer) != blake3::Hash::from_bytes(claim.proof) {
            return Ok(Some(Answer::Unknown));
        }
        let order = &self.database(id)?.order;
        if order.membership().get(&writer).is_some() {
            return Ok(Some(Answer::Heard));
        }
        let removes =
            |control: &Control| matches!(control, Control::Revoke { writer: of, .. } if *of == writer);
        let removed = order.controls().iter().any(|batch| batch.controls.iter().any(removes));
        if row.has_expired(self.now()) {
            return Ok(Some(Answer::Expired));
        }
        if row.uses == 0 {
            return Ok(Some(Answer::Used));
        }
        if removed {
            return Ok(None);
        }
        if row.uses != UNLIMITED {
            row.uses -= 1;
            self.txn.put(Table::Invites, &key, &row.encode())?;
        }
        self.grant(id, writer, row.indexer)?;
        Ok(Some(Answer::Heard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(encryption_key: Option<[u8; 32]>) -> Invite {
        let secret = Zeroizing::new([2; 32]);
        Invite { key: FeedKey([1; 32]), encryption_key, secret, issuer: [3; 8] }
    }

    #[test]
    fn the_text_has_golden_characters_and_says_all() {
        let text = invite(None).to_string();
        assert_eq!(text, GOLDEN);
        assert_eq!(text.parse::<Invite>().unwrap(), invite(None));
        assert_eq!(format!(" {}\n", text.to_uppercase()).parse::<Invite>().unwrap(), invite(None));
        let sealed = invite(Some([4; 32]));
        assert_eq!(sealed.to_string().len(), 176);
        assert_eq!(sealed.to_string().parse::<Invite>().unwrap(), sealed);
    }

    const GOLDEN: &str = "GOLDEN";

    #[test]
    fn no_truncation_and_no_changed_character_is_an_invite() {
        let text = invite(None).to_string();
        for at in 0..text.len() {
            assert!(text[..at].parse::<Invite>().is_err());
            let other = if text.as_bytes()[at] == b'y' { "b" } else { "y" };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert!(changed.parse::<Invite>().is_err(), "{at}");
        }
        for wrong in ["", "é", &format!("{text}y"), &"y".repeat(10_000)] {
            assert_eq!(wrong.parse::<Invite>().unwrap_err().code, Code::Options);
        }
    }

    #[test]
    fn a_proof_is_for_one_writer_and_one_connection() {
        let one = invite(None).proof(&[5; 32], &FeedKey([6; 32]));
        assert_ne!(one, invite(None).proof(&[5; 32], &FeedKey([7; 32])));
        assert_ne!(one, invite(None).proof(&[8; 32], &FeedKey([6; 32])));
    }

    #[test]
    fn rows_have_golden_bytes_and_no_truncation_passes() {
        let row = InviteRow { proof_key: [9; 32], expires_ms: 300, uses: 2, indexer: true };
        let bytes = row.encode();
        assert_eq!(hex::encode(&bytes), format!("{}000000000000012c0000000201", "09".repeat(32)));
        assert_eq!(InviteRow::decode(&bytes), Ok(row));
        assert!((0..bytes.len()).all(|cut| InviteRow::decode(&bytes[..cut]).is_err()));
        assert!(!row.has_expired(Duration::from_millis(299)) && row.has_expired(Duration::from_millis(300)));
    }
}
