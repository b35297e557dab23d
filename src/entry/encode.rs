use super::{BatchHead, Change, Diff, Entry, Genesis, Mode, Op, Place, VERSION};
use crate::codec::{put_bytes, put_varint};
use crate::types::Stamp;

pub(super) const FIRST: u8 = 0;
pub(super) const LATER: u8 = 1;

pub(super) const GENESIS: u8 = 0;
pub(super) const VALUE: u8 = 1;
pub(super) const DIFF: u8 = 2;
pub(super) const GRANT: u8 = 3;
pub(super) const REVOKE: u8 = 4;
pub(super) const ACKNOWLEDGEMENT: u8 = 5;

pub(super) const LIST: u8 = 0;
pub(super) const REGISTER: u8 = 1;
pub(super) const DELETE: u8 = 2;

impl Entry<'_> {
    /// Appends the block's bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match &self.place {
            Place::First(head) => head.encode_into(out),
            Place::Later { offset } => {
                out.push(LATER);
                put_varint(out, *offset);
            }
        }
        self.op.encode_into(out);
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }
}

impl BatchHead {
    fn encode_into(&self, out: &mut Vec<u8>) {
        out.push(FIRST);
        out.push(self.optimistic.into());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        put_varint(out, self.length);
        put_varint(out, self.links.len() as u64);
        for link in &self.links {
            out.extend_from_slice(link.feed.as_bytes());
            put_varint(out, link.length);
            out.extend_from_slice(&link.root);
        }
    }
}

impl Op<'_> {
    fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Op::Genesis(genesis) => genesis.encode_into(out),
            Op::Value(value) => {
                out.push(VALUE);
                out.extend_from_slice(value);
            }
            Op::Diff(diff) => diff.encode_into(out),
            Op::Grant { database, writer, indexer } => {
                out.push(GRANT);
                out.extend_from_slice(database.as_bytes());
                out.extend_from_slice(writer.as_bytes());
                out.push((*indexer).into());
            }
            Op::Revoke { database, writer, lost } => {
                out.push(REVOKE);
                out.extend_from_slice(database.as_bytes());
                out.extend_from_slice(writer.as_bytes());
                out.push((*lost).into());
            }
            Op::Acknowledgement => out.push(ACKNOWLEDGEMENT),
        }
    }
}

impl Genesis<'_> {
    fn encode_into(&self, out: &mut Vec<u8>) {
        out.push(GENESIS);
        out.push(match self.mode {
            Mode::Merge => 0,
            Mode::Apply => 1,
        });
        put_bytes(out, self.key_encoding.as_bytes());
        put_bytes(out, self.value_encoding.as_bytes());
        out.push(self.encrypted.is_some().into());
        out.extend_from_slice(self.encrypted.as_slice().as_flattened());
        out.extend([self.open, self.optimistic].map(u8::from));
    }
}

impl Diff<'_> {
    fn encode_into(&self, out: &mut Vec<u8>) {
        out.push(DIFF);
        put_bytes(out, self.key);
        put_prev(out, self.prev);
        match self.change {
            Change::List(text) => {
                out.push(LIST);
                out.extend_from_slice(text.as_bytes());
            }
            Change::Register(value) => {
                out.push(REGISTER);
                out.extend_from_slice(value);
            }
            Change::Delete => out.push(DELETE),
        }
    }
}

fn put_prev(out: &mut Vec<u8>, prev: Option<Stamp>) {
    match prev {
        None => out.push(0),
        Some(stamp) => {
            out.push(1);
            out.extend_from_slice(&stamp.effective.time.to_be_bytes());
            put_varint(out, stamp.effective.tick);
            out.extend_from_slice(&stamp.writer);
        }
    }
}
