//! The list of free pages: a tree whose keys are transactions and whose values are lists of pages, `count ‖ page *` in
//! words. A list may have room for more than it holds.

use std::io;

use super::tree::{KeyOrder, Leaf, TreeWalk};
use super::{FREE_LIST, PageDamage, Source, Walker};
use crate::store::check::{Fields, HEADER, Tree, WORD};

impl<S: Source + ?Sized> Walker<'_, S> {
    pub(super) fn free_list(&mut self, tree: &Tree) -> io::Result<()> {
        // Pages behind the file's end: counted by LMDB, never written. All that is missing must be free.
        let mut missing = Vec::new();
        TreeWalk::new(FREE_LIST, KeyOrder::Word, *tree).run(self, |walker, _, _, leaf| {
            let list = match leaf {
                Leaf::Inline(list) => list.to_vec(),
                Leaf::Overflow { bytes, page } => match walker.long_list(bytes, page)? {
                    Some(list) => list,
                    None => return Ok(None),
                },
                Leaf::Table(_) => return Ok(Some("a table in the list of free pages".into())),
            };
            Ok(walker.take_free(&list, &mut missing))
        })?;
        missing.sort_unstable();
        missing.dedup();
        let want = self.pages.saturating_sub(self.whole);
        if u64::try_from(missing.len()).ok() != Some(want) {
            let why = format!("the file is cut short: pages from {} on are missing and not free", self.whole);
            self.found.damage(PageDamage { page: self.whole, table: FREE_LIST.to_owned(), why });
        }
        Ok(())
    }

    /// A list in overflow pages; none if the file does not have it, which the walk of the tree has said already.
    fn long_list(&self, bytes: usize, page: u64) -> io::Result<Option<Vec<u8>>> {
        let page_size = u64::try_from(self.page_size).unwrap_or(u64::MAX);
        let Some(start) = page.checked_mul(page_size).and_then(|start| start.checked_add(HEADER as u64))
        else {
            return Ok(None);
        };
        // Reserved only when the file has it: the size is the file's own claim.
        let left = self.whole.saturating_mul(page_size).saturating_sub(start);
        if u64::try_from(bytes).map_or(true, |bytes| bytes > left) {
            return Ok(None);
        }
        let mut list = vec![0; bytes];
        self.source.read_at(start, &mut list)?;
        Ok(Some(list))
    }

    fn take_free(&mut self, list: &[u8], missing: &mut Vec<u64>) -> Option<String> {
        let mut fields = Fields(list);
        let count = fields.word();
        if u64::try_from(fields.0.len() / WORD).map_or(true, |room| room < count) {
            return Some("a list of free pages that is longer than its row".into());
        }
        for _ in 0..count {
            let page = fields.word();
            if page < 2 || page >= self.pages {
                return Some(format!("page {page}, which does not exist, is listed as free"));
            }
            if page >= self.whole {
                missing.push(page);
            } else if !self.seen.set(page) {
                return Some(format!("page {page} is listed as free twice, or used"));
            }
            self.found.free = self.found.free.saturating_add(1);
        }
        None
    }
}
