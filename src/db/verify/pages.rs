use super::{Damage, Progress, Stage, Verifier};
use crate::db::error::Error;

impl Verifier<'_> {
    pub(super) fn pages(&mut self) -> Result<(), Error> {
        let Self { snapshot, progress, steps, store, .. } = self;
        let walk = snapshot.walk(&mut |done, total| {
            *steps = done;
            progress(Progress { stage: Stage::Pages, done, total });
            store.upgrade().is_some_and(|shared| !shared.is_closed())
        });
        let walk = match walk {
            Err(_) if !self.is_open() => return Err(Error::closed()),
            walk => walk?,
        };
        (self.found.pages, self.found.free_pages, self.found.lost_pages) = (walk.pages, walk.free, walk.lost);
        for page in walk.damages {
            let mut damage = Damage::new(Stage::Pages, page.why);
            (damage.page, damage.table) = (Some(page.page), Some(page.table));
            self.damage(damage);
        }
        self.found.more = self.found.more.saturating_add(walk.more);
        self.done(Stage::Pages)
    }
}
