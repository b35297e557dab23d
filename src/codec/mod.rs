//! **What.** Reading and writing bytes: a checked reader, variable-length integers, and the limits of the format.
//!
//! **Owns.** The grammar of primitives. A *varint* is LEB128, little-endian groups of seven bits, at most ten bytes,
//! shortest form only. *bytes* are a varint length and that many bytes.
//!
//! **Invariants.** 1. No read goes past the end; each length is checked against what is left and against a limit
//! before anything is allocated. 2. Every value has exactly one encoding.
//!
//! **Not here.** What records mean (`entry`, `wire`, the row codecs of `store`).

pub mod limits;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("the bytes end {missing} short of {what}")]
    Truncated { what: &'static str, missing: usize },
    #[error("{what} is {found}, more than the limit {limit}")]
    TooLarge { what: &'static str, found: u64, limit: u64 },
    #[error("{what} has the unknown tag {tag}")]
    UnknownTag { what: &'static str, tag: u64 },
    #[error("{what} is not in its only valid form")]
    Malformed { what: &'static str },
    #[error("{extra} bytes follow the end of {what}")]
    Trailing { what: &'static str, extra: usize },
}

/// A cursor over bytes that nobody has checked yet.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(DecodeError::Truncated { what, missing: length - self.rest.len() }),
        }
    }

    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let bytes = self.take(N, what)?;
        bytes.try_into().map_err(|_| DecodeError::Malformed { what })
    }

    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    /// A flag: 0 or 1, nothing else.
    pub fn bool(&mut self, what: &'static str) -> Result<bool, DecodeError> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(DecodeError::UnknownTag { what, tag: tag.into() }),
        }
    }

    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_be_bytes)
    }

    pub fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.array(what).map(u64::from_be_bytes)
    }

    pub fn varint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(what)?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return Err(DecodeError::Malformed { what });
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let shortest = shift == 0 || byte != 0;
                return if shortest { Ok(value) } else { Err(DecodeError::Malformed { what }) };
            }
        }
        Err(DecodeError::Malformed { what })
    }

    /// A varint that counts or measures something, refused above `limit`.
    pub fn length(&mut self, what: &'static str, limit: usize) -> Result<usize, DecodeError> {
        let found = self.varint(what)?;
        usize::try_from(found).ok().filter(|length| *length <= limit).ok_or(DecodeError::TooLarge {
            what,
            found,
            limit: limit as u64,
        })
    }

    pub fn bytes(&mut self, what: &'static str, limit: usize) -> Result<&'a [u8], DecodeError> {
        let length = self.length(what, limit)?;
        self.take(length, what)
    }

    pub fn text(&mut self, what: &'static str, limit: usize) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes(what, limit)?).map_err(|_| DecodeError::Malformed { what })
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub fn finish(self, what: &'static str) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(DecodeError::Trailing { what, extra }),
        }
    }
}

/// Appends `value` in its shortest form.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

/// Appends a varint length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// How many bytes [`put_bytes`] appends.
pub fn bytes_length(bytes: &[u8]) -> usize {
    let mut of_length = 1;
    let mut rest = bytes.len() >> 7;
    while rest > 0 {
        rest >>= 7;
        of_length += 1;
    }
    of_length + bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_length_of_bytes_is_known_before_they_are_written(length in 0..40_000_usize) {
            let mut out = Vec::new();
            put_bytes(&mut out, &vec![0; length]);
            prop_assert_eq!(bytes_length(&vec![0; length]), out.len());
        }

        #[test]
        fn varint_round_trips_in_one_form(value: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint("v"), Ok(value));
            prop_assert_eq!(reader.finish("v"), Ok(()));
            for cut in 0..out.len() {
                prop_assert!(Reader::new(&out[..cut]).varint("v").is_err());
            }
        }

        #[test]
        fn whatever_decodes_encodes_back(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.varint("v") {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                prop_assert_eq!(&out[..], &bytes[..bytes.len() - reader.remaining()]);
            }
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_reserved() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        assert!(matches!(Reader::new(&out).bytes("b", 10), Err(DecodeError::TooLarge { limit: 10, .. })));
    }
}
