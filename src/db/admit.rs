//! Issuing invites, and admitting who has one.
//!
//! ```text
//! Invites  Key: database u32 ‖ id 16   Value: proof key 32 ‖ expires u64 (ms since 1970, 0: never) ‖ uses left u32 ‖ indexer bool
//! ```

use super::access::Answer;
use super::database::Db;
use super::engine::Work;
use super::error::{Code, Error, Failure};
use super::events::Reply;
use super::invite::{Claim, Invite, InviteId, proof};
use super::open::random;
use crate::causal::Control;
use crate::codec::{DecodeError, Reader};
use crate::store::{Read, Table};
use crate::types::FeedKey;
use std::ops::Bound;
use std::time::Duration;

/// Invites of a database that can be open on one device: a loop that makes them does not fill the store.
const MAX_INVITES: usize = 1_024;

/// Uses left of an invite that anybody may use any number of times.
const UNLIMITED: u32 = u32::MAX;

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

/// What the issuer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InviteRow {
    proof_key: [u8; 32],
    expires_ms: u64,
    uses: u32,
    indexer: bool,
}

impl InviteRow {
    fn key_of(database: u32, id: &InviteId) -> Vec<u8> {
        [&database.to_be_bytes()[..], id].concat()
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.proof_key.to_vec();
        out.extend_from_slice(&self.expires_ms.to_be_bytes());
        out.extend_from_slice(&self.uses.to_be_bytes());
        out.push(self.indexer.into());
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
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
        let database = self.database(id)?;
        let (local, encryption_key) =
            (database.row.local, database.space.sealing().encryption_key().cloned());
        let invite = Invite::new(key, encryption_key, &local, random()?);
        let proof_key = invite.proof_key();
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
        let database = self.database(id)?;
        if database.membership().get(&writer).is_some() {
            return Ok(Some(Answer::Heard));
        }
        let is_of_writer =
            |control: &Control| matches!(control, Control::Revoke { writer: of, .. } if *of == writer);
        let removed = database.order.controls().iter().any(|batch| batch.controls.iter().any(is_of_writer));
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
