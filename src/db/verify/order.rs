//! Each database's order: what is kept of every placed batch against what follows from the batch, and what counts against a
//! walk from the beginning.

use super::views::Stored;
use super::{Damage, Stage, Verifier};
use crate::causal::{ControlBatch, LinkRule, OrderState, Readiness, WalkSource as _, resolve};
use crate::db::error::{Error, Failure};
use crate::db::forks::{forked, root_at};
use crate::feed;
use crate::order::{Batches, Placing, order_state, read_blocks};
use crate::store::Table;
use crate::types::FeedKey;
use crate::view::Space;
use std::collections::BTreeMap;

impl Verifier<'_> {
    /// Goes over every placed batch. What it needs of those before it is read from their rows: as each was compared itself,
    /// all are right if all fit.
    pub(super) fn order(&mut self, stored: &Stored, space: &Space) -> Result<(), Error> {
        let Ok(order) = order_state(self.snapshot.txn(), stored.row.id, stored.row.key) else {
            // It has been said, with its row.
            return Ok(());
        };
        match self.compare_order(stored, space, &order) {
            Ok(None) => Ok(()),
            Ok(Some(damage)) => {
                self.say_one(stored, damage);
                Ok(())
            }
            Err(Failure::Store(error)) => Err(error.into()),
            Err(Failure::Refused(_)) if !self.is_open() => Err(Error::closed()),
            Err(Failure::Refused(error)) => {
                self.say_one(stored, Damage::new(Stage::Views, error));
                Ok(())
            }
        }
    }

    fn say_one(&mut self, stored: &Stored, damage: Damage) {
        self.damage(Damage { database: Some(stored.name.clone()), ..damage });
    }

    fn compare_order(
        &mut self,
        stored: &Stored,
        space: &Space,
        order: &OrderState,
    ) -> Result<Option<Damage>, Failure> {
        let txn = self.snapshot.txn();
        let row = &stored.row;
        let batches =
            || Batches { txn, database: row.id, sealing: space.sealing(), numbers: &stored.members };
        let mut forks = BTreeMap::new();
        for feed in stored.members.keys() {
            if let Some(record) = feed::load(txn, feed)?
                && let Some(fork) = forked(txn, Some(space.sealing()), &record)?
            {
                forks.insert(*feed, fork);
            }
        }
        let rule = if row.open || row.apply { LinkRule::All } else { LinkRule::Granted { creator: row.key } };
        let placing = Placing { batches: batches(), order, forks: &forks, root_at };
        let kept: BTreeMap<(FeedKey, u64), &ControlBatch> =
            order.controls().iter().map(|batch| ((batch.writer, batch.seq), batch)).collect();
        let mut controls = 0;
        let flaw = |feed: FeedKey, seq: u64, table: Table, why: &str| {
            let mut damage = Damage::new(Stage::Views, why);
            (damage.feed, damage.seq, damage.table) = (Some(feed), Some(seq), Some(table.name().to_owned()));
            Ok(Some(damage))
        };
        for (feed, member) in &stored.members {
            let (mut seq, placed) = (0, order.placed().get(feed));
            while seq < placed {
                let blocks = read_blocks(txn, &space.blocks(*feed), member.feed, seq, placed);
                let batch = blocks
                    .as_ref()
                    .map_err(|_| ())
                    .and_then(|blocks| blocks.batch(row.key, *feed, seq).map_err(|_| ()));
                let Ok(mut batch) = batch else {
                    return flaw(*feed, seq, Table::Order, "it is placed, and no batch can be read there");
                };
                if row.apply {
                    batch.facts.controls.clear();
                }
                let facts = &batch.facts;
                let Readiness::Ready { mut past, effective, .. } = resolve(facts, rule, &placing)? else {
                    return flaw(*feed, seq, Table::Order, "it is placed, and what it links is not");
                };
                past.raise(*feed, facts.end());
                if batches().past(*feed, facts.end())? != past {
                    return flaw(*feed, seq, Table::Pasts, "what is kept of its past is not what it links");
                }
                if batches().batch(*feed, seq)?.effective != effective {
                    return flaw(
                        *feed,
                        seq,
                        Table::Effectives,
                        "its place is not the one that follows from its past",
                    );
                }
                let control = ControlBatch::of(facts, effective);
                controls += usize::from(control.is_some());
                if kept.get(&(*feed, seq)).copied() != control.as_ref() {
                    return flaw(
                        *feed,
                        seq,
                        Table::Controls,
                        "what is kept of its grants is not what it says",
                    );
                }
                seq = facts.end();
                if !self.step(Stage::Views, 0) {
                    return Err(Error::closed().into());
                }
            }
        }
        if controls != kept.len() {
            return Ok(Some(Damage::new(Stage::Views, "grants are kept that no placed batch says")));
        }
        if order.walk_is_due() {
            return Ok(None);
        }
        let mut anew = order.clone();
        anew.rewalk(&batches())?;
        let why = "what counts is not what follows from the placed batches";
        Ok((anew != *order).then(|| Damage::new(Stage::Views, why)))
    }
}
