//! What two replicas must agree in before their views can be compared: all that a view follows from, in one digest.
//!
//! ```text
//! digest = blake3 derive_key(CONTEXT, creator 32 ‖ rule u8 (0 merge, 1 apply) ‖ open bool ‖ entry format u8 ‖ feed*)
//! feed   = key 32 ‖ length placed varint, 1 and more ‖ root 32 ‖ counts intervals ‖ forked bool
//! ```
//!
//! Feeds strictly ascending. The genesis, encodings included, is block 0 of the creator's feed, and so below its root.

use super::{Intervals, WalkRule};
use crate::codec::put_varint;
use crate::types::{FeedKey, Hash};

const CONTEXT: &str = "multi-hyperbee 2026 agreement digest v1";

/// The digest in the making.
#[derive(Debug, Clone)]
pub struct Agreement(blake3::Hasher);

/// One feed of which something is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedStanding<'a> {
    pub feed: FeedKey,
    /// How much of it is placed, at least 1.
    pub length: u64,
    /// Its root hash at that length.
    pub root: Hash,
    /// What of it counts: by the walk, and by what this replica has chosen.
    pub counts: &'a Intervals,
    /// Two heads of it that contradict each other are known.
    pub forked: bool,
}

impl Agreement {
    /// `format`: what of the entries' format this build reads at most.
    pub fn new(creator: FeedKey, rule: WalkRule, open: bool, format: u8) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        let rule = match rule {
            WalkRule::Merge => 0,
            WalkRule::Apply => 1,
        };
        hasher.update(creator.as_bytes()).update(&[rule, open.into(), format]);
        Self(hasher)
    }

    /// The next feed. All of which anything is placed come, in ascending order.
    pub fn add(&mut self, standing: &FeedStanding<'_>) {
        let FeedStanding { feed, length, root, counts, forked } = standing;
        let mut out = feed.as_bytes().to_vec();
        put_varint(&mut out, *length);
        out.extend_from_slice(root);
        counts.encode_into(&mut out);
        out.push((*forked).into());
        self.0.update(&out);
    }

    pub fn digest(&self) -> Hash {
        *self.0.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: FeedKey = FeedKey([0xbb; 32]);

    fn counts(intervals: &[(u64, u64)]) -> Intervals {
        let mut counts = Intervals::new();
        for (from, to) in intervals {
            counts.insert(*from, *to);
        }
        counts
    }

    fn digest(rule: WalkRule, open: bool, format: u8, feeds: &[FeedStanding<'_>]) -> Hash {
        let mut agreement = Agreement::new(FeedKey([0xaa; 32]), rule, open, format);
        for feed in feeds {
            agreement.add(feed);
        }
        agreement.digest()
    }

    #[test]
    fn a_digest_is_of_the_documents_bytes() {
        let counts = counts(&[(1, 3), (5, 300)]);
        let feed = FeedStanding { feed: KEY, length: 300, root: [0xcc; 32], counts: &counts, forked: true };
        let bytes = [
            &[0xaa; 32][..],
            &[1, 0, 1],
            &[0xbb; 32],
            &[0xac, 0x02],
            &[0xcc; 32],
            &[2, 1, 2, 2, 0xa7, 0x02],
            &[1],
        ]
        .concat();
        let expected = blake3::derive_key("multi-hyperbee 2026 agreement digest v1", &bytes);
        assert_eq!(digest(WalkRule::Apply, false, 1, &[feed]), expected);
        let fixed = "0d023669eb115548563dcd9dd0f100d738158f256b687c81236f346de6f0ec3b";
        assert_eq!(hex::encode(expected), fixed);
    }

    #[test]
    fn each_part_makes_another_digest() {
        let (some, less) = (counts(&[(0, 3)]), counts(&[(0, 2)]));
        let feed = FeedStanding { feed: KEY, length: 3, root: [1; 32], counts: &some, forked: false };
        let other = FeedStanding { feed: FeedKey([0xcc; 32]), ..feed };
        let mut all = vec![
            digest(WalkRule::Merge, false, 1, &[]),
            digest(WalkRule::Apply, false, 1, &[]),
            digest(WalkRule::Merge, true, 1, &[]),
            digest(WalkRule::Merge, false, 2, &[]),
            Agreement::new(KEY, WalkRule::Merge, false, 1).digest(),
        ];
        let feeds = [
            feed,
            other,
            FeedStanding { length: 4, ..feed },
            FeedStanding { root: [2; 32], ..feed },
            FeedStanding { counts: &less, ..feed },
            FeedStanding { forked: true, ..feed },
        ];
        all.extend(feeds.map(|feed| digest(WalkRule::Merge, false, 1, &[feed])));
        all.push(digest(WalkRule::Merge, false, 1, &[feed, other]));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
