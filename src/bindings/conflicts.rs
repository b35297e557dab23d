//! Conflicts as they cross: few and small, so as objects; values as JSON text or bytes.

use crate::db::{Claim, Conflict, Part};
use crate::types::Dot;
use napi::bindgen_prelude::{Buffer, Either};
use napi_derive::napi;

#[napi(object)]
pub struct NativeConflict {
    /// Property names, indexes of elements that are shown, ids of elements that are not.
    pub path: Vec<Either<String, f64>>,
    /// The winner first.
    pub claims: Vec<NativeClaim>,
}

/// What one diff says: neither text nor bytes where that is that there is nothing.
#[napi(object)]
pub struct NativeClaim {
    pub writer: Buffer,
    pub seq: f64,
    pub text: Option<String>,
    pub register: Option<Buffer>,
}

impl From<Conflict> for NativeConflict {
    fn from(conflict: Conflict) -> Self {
        let path = conflict.path.into_iter().map(|part| match part {
            Part::Name(name) => Either::A(name),
            Part::Index(index) => Either::B(super::number(index as u64)),
            Part::Gone(id) => Either::A(id.to_string()),
        });
        Self { path: path.collect(), claims: conflict.claims.into_iter().map(NativeClaim::from).collect() }
    }
}

impl From<(Dot, Claim)> for NativeClaim {
    fn from((dot, claim): (Dot, Claim)) -> Self {
        let (text, register) = match claim {
            Claim::Absent | Claim::Deleted => (None, None),
            Claim::Value(value) | Claim::Moved { value, .. } => (Some(value.to_text()), None),
            Claim::Register(bytes) => (None, Some(bytes.into())),
        };
        Self { writer: dot.writer.0.to_vec().into(), seq: super::number(dot.seq), text, register }
    }
}
