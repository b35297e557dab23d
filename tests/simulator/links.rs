//! How far links reach, at a replica that wrote in an older copy before the rest of its feed was back: what others have
//! linked of that rest is not what stands there, and waits (`feed.md`, the table of links).

use super::check::text;
use super::replica::Replica;
use multi_hyperbee::db::FeedChoice;
use multi_hyperbee::types::{FeedKey, Link};
use std::collections::BTreeMap;

pub struct Links {
    own: FeedKey,
    /// How the roots of the own feed begin at each length; nothing if all it has written is where it was.
    roots: BTreeMap<u64, [u8; 16]>,
}

impl Links {
    pub fn of(replica: &Replica) -> Result<Self, String> {
        let (own, mut roots) = (replica.local(), BTreeMap::new());
        if replica.written_loose() > 0 {
            let feed = replica.get().store.feed(FeedChoice::Key(own)).wait().map_err(text)?;
            for length in 1..=feed.info().map_err(text)?.length {
                let root = feed.tree_hash(Some(length)).map_err(text)?;
                roots.insert(length, root[..16].try_into().unwrap());
            }
        }
        Ok(Self { own, roots })
    }

    /// What has to be here for the link; what nobody has, if it is of another history than what is.
    pub fn length(&self, link: &Link) -> u64 {
        let root = self.roots.get(&link.length).filter(|_| link.feed == self.own);
        if root.is_some_and(|root| *root != link.root) { u64::MAX } else { link.length }
    }
}
