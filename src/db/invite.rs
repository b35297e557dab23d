//! Invites: texts that let whoever has one become a writer without the user being asked.
//!
//! ```text
//! invite   version u8 (1) ‖ flags u8 (1: an encryption key follows) ‖ database key 32 ‖ secret 32 ‖ issuer 8
//!          ‖ encryption key 32, by flags ‖ check 4; as z-base-32
//! check    first 4 bytes of blake3 derive_key(CHECK, all before)
//! id       first 16 bytes of blake3 derive_key(ID, secret): names the invite to its issuer
//! proof key  blake3 derive_key(PROOF, secret): all that the issuer keeps of the secret
//! proof    blake3 keyed_hash(proof key, binding 32 ‖ writer 32): the binding is the connection's (`wire`)
//! ```
//!
//! The secret never travels: a proof holds for one writer, one database, one direction of one connection.

use super::error::{Code, Error};
use crate::codec::Reader;
use crate::seal::EncryptionKey;
use crate::types::FeedKey;
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

const CHECK: &str = "multi-hyperbee 1 invite check";
const ID: &str = "multi-hyperbee 1 invite id";
const PROOF: &str = "multi-hyperbee 1 invite proof";

const VERSION: u8 = 1;
const WITH_ENCRYPTION_KEY: u8 = 1;

/// Longest text that is looked at: an invite with every field has 176 characters.
const MAX_TEXT: usize = 256;

const ALPHABET: &[u8; 32] = b"ybndrfg8ejkmcpqxot1uwisza345h769";

/// Names an invite to its issuer.
pub(super) type InviteId = [u8; 16];

/// What the text of an invite says.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    pub key: FeedKey,
    /// Of an encrypted database: who is let in can read it.
    pub encryption_key: Option<EncryptionKey>,
    secret: Zeroizing<[u8; 32]>,
    issuer: [u8; 8],
}

impl Invite {
    pub(super) fn new(
        key: FeedKey,
        encryption_key: Option<EncryptionKey>,
        issuer: &FeedKey,
        secret: [u8; 32],
    ) -> Self {
        Self { key, encryption_key, secret: Zeroizing::new(secret), issuer: issuer.prefix() }
    }

    pub(super) fn proof_key(&self) -> [u8; 32] {
        blake3::derive_key(PROOF, self.secret.as_slice())
    }

    pub(super) fn id(&self) -> InviteId {
        let [id @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            blake3::derive_key(ID, self.secret.as_slice());
        id
    }

    pub(super) fn proof(&self, binding: &[u8; 32], writer: &FeedKey) -> [u8; 32] {
        *proof(&self.proof_key(), binding, writer).as_bytes()
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
        if let Some(key) = &self.encryption_key {
            out.extend_from_slice(key.as_bytes());
        }
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
                _ => Some(EncryptionKey::new(reader.array("the encryption key").map_err(broken)?)),
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

/// What a claim must hold, by the key that the issuer keeps.
pub(super) fn proof(key: &[u8; 32], binding: &[u8; 32], writer: &FeedKey) -> blake3::Hash {
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

/// An invite as a request names it, and the proof of having it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub invite: InviteId,
    pub proof: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(encryption_key: Option<[u8; 32]>) -> Invite {
        let encryption_key = encryption_key.map(EncryptionKey::new);
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

    const GOLDEN: &str = "yryynyebyryonyebyryonyebyryonyebyryonyebyryonyebyryonyenyebyryonyebyryonyebyryonyebyryonyebyryonyebyryonyebogyadycbogy5ea6c7n";

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
}
