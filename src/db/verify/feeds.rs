use super::{Damage, Stage, Verifier};
use crate::db::error::Error;
use crate::feed::{self, Flaw};
use crate::store::{Read as _, Table};

impl Verifier<'_> {
    /// Blocks against trees against signed heads.
    pub(super) fn feeds(&mut self) -> Result<(), Error> {
        let txn = self.snapshot.txn();
        let total = txn.entries(Table::Blocks)?;
        let records = feed::each(txn)?;
        let mut blocks = 0;
        for (key, record) in &records {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let mut damage = Damage::new(Stage::Feeds, error);
                    (damage.feed, damage.table) = (Some(*key), Some(Table::Feeds.name().to_owned()));
                    self.damage(damage);
                    self.unread.push(*key);
                    continue;
                }
            };
            let found = feed::check(txn, record, self.most_flaws, || self.step(Stage::Feeds, total))?;
            blocks += found.blocks;
            if !found.flaws.is_empty() {
                self.flawed.push((record.key, found.clone()));
            }
            for flaw in found.flaws {
                let why = match &flaw {
                    Flaw::Block { .. } => {
                        "the block is missing, or has changed since it was stored".to_owned()
                    }
                    Flaw::Tree { tier, group } => {
                        format!("row {group} of tier {tier} of its tree is missing, or has changed")
                    }
                    Flaw::Signature { length, error } => format!("its head of length {length}: {error}"),
                    Flaw::Head { length } => {
                        format!("neither its blocks nor its tree lead to its signed head of length {length}")
                    }
                    Flaw::Secret => "its secret is that of another key".to_owned(),
                    Flaw::Lengths => "its rows are not those of its length".to_owned(),
                };
                let mut damage = Damage::new(Stage::Feeds, why);
                damage.feed = Some(record.key);
                (damage.table, damage.seq) = match flaw {
                    Flaw::Block { seq } => (Some(Table::Blocks.name().to_owned()), Some(seq)),
                    Flaw::Tree { .. } => (Some(Table::Tree.name().to_owned()), None),
                    _ => (Some(Table::Feeds.name().to_owned()), None),
                };
                self.damage(damage);
            }
            self.found.more = self.found.more.saturating_add(found.more);
        }
        self.found.feeds = u64::try_from(records.len()).unwrap_or(u64::MAX);
        self.found.blocks = blocks;
        // Blocks of no feed.
        if blocks != total && self.found.is_clean() && self.is_open() {
            let mut damage = Damage::new(Stage::Feeds, "there are blocks that belong to no feed");
            damage.table = Some(Table::Blocks.name().to_owned());
            self.damage(damage);
        }
        self.done(Stage::Feeds)
    }
}
