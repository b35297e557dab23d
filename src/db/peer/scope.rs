//! Which databases of its store a connection carries: more may join while it is under way.

use super::Peer;
use crate::db::database::{Db, Inner};
use crate::db::error::{Code, Error};
use crate::db::store::{Shared, Store};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Peer {
    /// Makes another database of the same store part of this connection. Harmless if it is.
    pub fn offer(&self, db: &Db) -> Result<(), Error> {
        let Inner { shared, open } = db.inner()?;
        self.widen(&shared, |scope| {
            if let Some(scope) = scope {
                scope.insert(open.id);
            }
        })
    }

    /// Makes every open database of the store part of this connection.
    pub fn offer_all(&self, store: &Store) -> Result<(), Error> {
        self.widen(&store.shared()?, |scope| *scope = None)
    }

    fn widen(
        &self,
        owner: &Arc<Shared>,
        widen: impl FnOnce(&mut Option<BTreeSet<u32>>),
    ) -> Result<(), Error> {
        self.with_state(|state, peer| match &state.shared {
            None => Err(Error::new(Code::Closed, "the connection is closed")),
            Some(shared) if !Arc::ptr_eq(shared, owner) => {
                Err(Error::new(Code::Options, "a connection carries the databases of one store"))
            }
            Some(_) => {
                widen(&mut peer.0.scope.write());
                state.look_at_all();
                state.refresh(peer);
                Ok(())
            }
        })
    }

    pub(super) fn is_for(&self, database: u32) -> bool {
        self.0.scope.read().as_ref().is_none_or(|scope| scope.contains(&database))
    }
}
