use crate::seal::SealError;
use crate::store::StoreError;

/// The stable names of `api.md`, Errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Closed,
    NotReady,
    Mode,
    Options,
    NotWritable,
    NotPermitted,
    InvalidKey,
    InvalidValue,
    KeyTooLarge,
    ValueTooLarge,
    BatchTooLarge,
    EncryptionKey,
    StoreOpen,
    StoreLocked,
    ReadOnly,
    Corrupt,
    FormatVersion,
    DiskFull,
    VersionGone,
    Forked,
    Restored,
    Relay,
    Auth,
    Protocol,
    VersionMismatch,
    ClientMismatch,
    Timeout,
    Aborted,
}

impl Code {
    pub fn name(self) -> &'static str {
        match self {
            Code::Closed => "ERR_CLOSED",
            Code::NotReady => "ERR_NOT_READY",
            Code::Mode => "ERR_MODE",
            Code::Options => "ERR_OPTIONS",
            Code::NotWritable => "ERR_NOT_WRITABLE",
            Code::NotPermitted => "ERR_NOT_PERMITTED",
            Code::InvalidKey => "ERR_INVALID_KEY",
            Code::InvalidValue => "ERR_INVALID_VALUE",
            Code::KeyTooLarge => "ERR_KEY_TOO_LARGE",
            Code::ValueTooLarge => "ERR_VALUE_TOO_LARGE",
            Code::BatchTooLarge => "ERR_BATCH_TOO_LARGE",
            Code::EncryptionKey => "ERR_ENCRYPTION_KEY",
            Code::StoreOpen => "ERR_STORE_OPEN",
            Code::StoreLocked => "ERR_STORE_LOCKED",
            Code::ReadOnly => "ERR_READ_ONLY",
            Code::Corrupt => "ERR_CORRUPT",
            Code::FormatVersion => "ERR_FORMAT_VERSION",
            Code::DiskFull => "ERR_DISK_FULL",
            Code::VersionGone => "ERR_VERSION_GONE",
            Code::Forked => "ERR_FORKED",
            Code::Restored => "ERR_RESTORED",
            Code::Relay => "ERR_RELAY",
            Code::Auth => "ERR_AUTH",
            Code::Protocol => "ERR_PROTOCOL",
            Code::VersionMismatch => "ERR_VERSION_MISMATCH",
            Code::ClientMismatch => "ERR_CLIENT_MISMATCH",
            Code::Timeout => "ERR_TIMEOUT",
            Code::Aborted => "ERR_ABORTED",
        }
    }
}

/// What a caller of the API sees: a stable code and a message that says what was wrong and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub code: Code,
    pub message: String,
    pub mismatch: Option<Mismatch>,
}

/// What two sides of a connection differ in, each as it said itself: for [`Code::VersionMismatch`] and
/// [`Code::ClientMismatch`]. `them` is a stranger's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    pub us: String,
    pub them: String,
}

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), mismatch: None }
    }

    pub(super) fn stopped() -> Self {
        Self::new(
            Code::Corrupt,
            "an internal error stopped this store; close it and open it again (nothing acknowledged is lost)",
        )
    }

    pub fn closed() -> Self {
        Self::new(Code::Closed, "the database is closed")
    }
}

/// Why a job did not do its work.
#[derive(Debug)]
pub(super) enum Failure {
    /// The caller's fault or a state of the database: this job alone fails.
    Refused(Error),
    /// The store could not do it: nothing of the transaction happens.
    Store(StoreError),
}

impl Failure {
    /// Rows that cannot be read as what they should be.
    pub fn damaged(what: &dyn std::fmt::Display) -> Self {
        Failure::Refused(Error::new(
            Code::Corrupt,
            format!("{what}; restore the store from a peer or a backup"),
        ))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            // A damaged row is the concern of who reads it: what else is in the transaction goes on.
            StoreError::Block { .. } | StoreError::Row { .. } => Failure::Refused(error.into()),
            other => Failure::Store(other),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let (code, advice) = match &error {
            StoreError::Open { .. } | StoreError::Io { .. } => {
                (Code::StoreOpen, "pass a directory that can be written to")
            }
            StoreError::Locked { .. } => {
                (Code::StoreLocked, "close it there first, or use one process for both")
            }
            StoreError::Corrupt { .. } | StoreError::Row { .. } => {
                (Code::Corrupt, "restore it from a backup, or start anew and replicate from a peer")
            }
            StoreError::Block { .. } => (
                Code::Corrupt,
                "store.verify() says what else is; restore a backup, or start anew and replicate from a peer",
            ),
            StoreError::FormatVersion { .. } => (Code::FormatVersion, "update the package"),
            StoreError::Older { .. } => (Code::FormatVersion, "open it once without readOnly, which adds it"),
            StoreError::DiskFull(_) => {
                (Code::DiskFull, "nothing committed is lost; free some room and try again")
            }
            StoreError::Stopped => (Code::Aborted, "what was done before stays done"),
            StoreError::ReadInProgress => {
                (Code::StoreOpen, "try again when it has ended; nothing has changed")
            }
            StoreError::ReadOnly => (Code::ReadOnly, "open it without readOnly to write"),
            StoreError::NoAddressSpace { .. } | StoreError::TooManyReaders { .. } => {
                (Code::StoreOpen, "close what is not needed")
            }
            _ => (Code::Corrupt, "close the store and open it again"),
        };
        Self::new(code, format!("{error}: {advice}"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Refused(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::Store(error) => error.into(),
        }
    }
}

impl From<SealError> for Error {
    fn from(error: SealError) -> Self {
        Failure::damaged(&error).into()
    }
}

impl From<SealError> for Failure {
    fn from(error: SealError) -> Self {
        Failure::damaged(&error)
    }
}

impl From<crate::codec::DecodeError> for Error {
    fn from(error: crate::codec::DecodeError) -> Self {
        Failure::damaged(&error).into()
    }
}
