//! A version that a caller keeps readable.

use super::Pin;
use crate::db::database::Db;
use crate::db::error::Error;

/// Keeps a version of a database, and all after it, until it is dropped: none of them is trimmed.
pub struct Held {
    version: u64,
    _pin: Pin,
}

impl Held {
    pub fn version(&self) -> u64 {
        self.version
    }
}

impl Db {
    /// Keeps a version readable; none: the newest.
    pub fn hold(&self, version: Option<u64>) -> Result<Held, Error> {
        let (pin, version) = self.whole()?.hold(version)?;
        Ok(Held { version, _pin: pin })
    }
}
