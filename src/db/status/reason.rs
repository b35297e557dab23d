//! Why nothing moves.

use crate::db::error::{Code, Error};
use crate::types::FeedKey;

/// Why nothing moves, gravest first. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The disk is full: nothing can be stored.
    DiskFull,
    /// The store could not write for another reason.
    StoreFailed,
    /// A feed of ours has, or may have, more elsewhere than here: out of a backup, or an older copy.
    Restored,
    /// The feed's key has signed two histories.
    Forked,
    /// A block of a newer version of this package.
    UpgradeNeeded,
    /// A block no version could read.
    Unreadable,
    /// An entry links to what is not here.
    WaitingForLink,
    /// The rest of a batch is missing.
    IncompleteBatch,
    /// A peer has it and does not give it.
    Choking,
    /// This side was told not to fetch.
    NotDownloading,
    /// A relay keeps no more of it.
    RelayFull,
    /// Nobody who is connected has it.
    NoPeer,
    /// Its writer is not granted: it is not fetched, or does not count.
    NotGranted,
    /// Own blocks leave only once others have said what they have of the feed.
    HeldBack,
}

impl Why {
    pub fn name(self) -> &'static str {
        match self {
            Why::DiskFull => "disk-full",
            Why::StoreFailed => "store-failed",
            Why::Restored => "restored",
            Why::Forked => "forked",
            Why::UpgradeNeeded => "upgrade-needed",
            Why::Unreadable => "unreadable",
            Why::WaitingForLink => "waiting-for-link",
            Why::IncompleteBatch => "incomplete-batch",
            Why::Choking => "choking",
            Why::NotDownloading => "not-downloading",
            Why::RelayFull => "relay-full",
            Why::NoPeer => "no-peer",
            Why::NotGranted => "not-granted",
            Why::HeldBack => "held-back",
        }
    }
}

/// One reason, with what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub why: Why,
    /// What is the case and what to do.
    pub message: String,
    pub feed: Option<FeedKey>,
    /// The feed that is waited for, and up to which length.
    pub on: Option<(FeedKey, u64)>,
    /// The number of the connection it is about.
    pub peer: Option<u64>,
}

impl Reason {
    pub(super) fn of(why: Why, feed: FeedKey, message: String) -> Self {
        Self { why, message, feed: Some(feed), on: None, peer: None }
    }

    pub(super) fn of_failure(error: &Error) -> Self {
        let why = if error.code == Code::DiskFull { Why::DiskFull } else { Why::StoreFailed };
        let message = format!("nothing could be stored lately: {}", error.message);
        Self { why, message, feed: None, on: None, peer: None }
    }
}
