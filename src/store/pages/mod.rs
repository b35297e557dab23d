//! **What.** A reader of LMDB's page format that trusts nothing it reads: plain reads, no map. It walks one committed
//! state of a data file, both the trees of all tables and the list of free pages, and names each page that is damaged.
//!
//! **Owns.** Nothing. The layout is LMDB's data version 1 (`docs/design/store.md` has the bytes).
//!
//! **Invariants.**
//! 1. Whatever the bytes are, a walk ends, without a panic, in memory that the file's length bounds: each page is
//!    visited once, nothing recurses, and no number that is read is used before it is compared with what there is.
//! 2. A state in which a walk finds nothing can be followed by LMDB: each page number it will follow leads to a page of
//!    the right kind within the file, and each node lies within its page.
//!
//! **Not here.** What rows mean, and whether blocks fit their hashes (`db::verify`); the quick look at the meta pages
//! before each opening (`check`).

mod free;
mod page;
mod source;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;
use std::io;

use super::check::{Meta, Tree};
use super::tables::{RowOrder, Table};
pub use source::Source;
use tree::{KeyOrder, Leaf, TreeWalk};

/// Damages that are described; the rest is counted. Keeps a report of a file of noise readable and small.
pub const MAX_DAMAGES: usize = 100;

/// The names of the two trees that are no tables.
const FREE_LIST: &str = "the list of free pages";
const TABLES: &str = "the list of tables";

/// One damaged page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageDamage {
    pub page: u64,
    /// The table it belongs to, as far as that is known.
    pub table: String,
    pub why: String,
}

impl fmt::Display for PageDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {} ({}): {}", self.page, self.table, self.why)
    }
}

/// What a walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// Pages of the state, free ones included.
    pub pages: u64,
    pub free: u64,
    /// Pages that belong to nothing and are not free either: lost to use, and no damage.
    pub lost: u64,
    /// Rows of all tables.
    pub rows: u64,
    pub damages: Vec<PageDamage>,
    /// Damages beyond those described.
    pub more: u64,
}

impl Walk {
    pub fn is_clean(&self) -> bool {
        self.damages.is_empty()
    }

    fn damage(&mut self, damage: PageDamage) {
        if self.damages.len() < MAX_DAMAGES {
            self.damages.push(damage);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }
}

/// What all parts of a walk share.
struct Walker<'s, S: ?Sized> {
    source: &'s S,
    page_size: usize,
    /// Pages of the state.
    pages: u64,
    /// Pages that the file has.
    whole: u64,
    seen: Bits,
    visited: u64,
    /// Nobody wants to know any more.
    stopped: bool,
    found: Walk,
    progress: &'s mut dyn FnMut(u64, u64) -> bool,
}

/// A flag for each page that the file has.
struct Bits(Vec<u64>);

impl Bits {
    fn new(pages: u64) -> Self {
        Self(vec![0; usize::try_from(pages / 64 + 1).unwrap_or(0)])
    }

    /// Sets a flag; false if it was set.
    fn set(&mut self, page: u64) -> bool {
        let Some(word) = usize::try_from(page / 64).ok().and_then(|word| self.0.get_mut(word)) else {
            return false;
        };
        let bit = 1 << (page % 64);
        let was = *word & bit != 0;
        *word |= bit;
        !was
    }
}

/// Walks the state that `meta` names. An error is the source's own: that it cannot be read.
///
/// `progress` is called now and then with pages visited and pages to visit; if it says no, the walk ends with an error.
pub(super) fn walk<S: Source + ?Sized>(
    source: &S,
    meta: &Meta,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> io::Result<Walk> {
    let mut walker = Walker::new(source, meta, progress)?;
    walker.free_list(&meta.free)?;
    walker.tables(&meta.main)?;
    let (visited, pages) = (walker.visited, walker.pages);
    walker.found.lost = pages.saturating_sub(visited).saturating_sub(2).saturating_sub(walker.found.free);
    (walker.progress)(visited, visited);
    Ok(walker.found)
}

/// Walks the list of free pages alone: enough to say whether what a file lacks at its end is free.
pub(super) fn walk_free<S: Source + ?Sized>(source: &S, meta: &Meta) -> io::Result<Walk> {
    let mut progress = |_, _| true;
    let mut walker = Walker::new(source, meta, &mut progress)?;
    walker.free_list(&meta.free)?;
    Ok(walker.found)
}

impl<'s, S: Source + ?Sized> Walker<'s, S> {
    fn new(source: &'s S, meta: &Meta, progress: &'s mut dyn FnMut(u64, u64) -> bool) -> io::Result<Self> {
        let whole = source.length()? / u64::from(meta.page_size);
        let pages = meta.last_page.saturating_add(1);
        let mut seen = Bits::new(whole.min(pages));
        // The meta pages: no tree has them.
        seen.set(0);
        seen.set(1);
        let page_size = usize::try_from(meta.page_size).unwrap_or(usize::MAX);
        let found = Walk { pages, ..Walk::default() };
        Ok(Self { source, page_size, pages, whole, seen, visited: 0, stopped: false, found, progress })
    }
}

impl<S: Source + ?Sized> Walker<'_, S> {
    /// The main tree's rows are the tables: each is walked in turn.
    fn tables(&mut self, main: &Tree) -> io::Result<()> {
        let mut tables = Vec::new();
        TreeWalk::new(TABLES, KeyOrder::Rows(RowOrder::Bytes), *main).run(self, |_, page, key, leaf| {
            let name = String::from_utf8_lossy(key).into_owned();
            match leaf {
                Leaf::Table(tree) => {
                    tables.push((page, name, tree));
                    Ok(None)
                }
                _ => Ok(Some(format!("{name:?} is no table"))),
            }
        })?;
        for table in Table::ALL {
            if !tables.iter().any(|(_, name, _)| name == table.name()) {
                let (page, table) = (main.root, TABLES.to_owned());
                let why = "a table is missing, or cannot be reached".into();
                self.found.damage(PageDamage { page, table, why });
                break;
            }
        }
        for (page, name, tree) in tables {
            let known = Table::ALL.into_iter().find(|table| table.name() == name);
            let order = known.map_or(KeyOrder::Unknown, |table| KeyOrder::Rows(table.order()));
            if tree.flags != 0 || !tree.is_possible(self.pages) {
                let why = "the table's root, depth or flags are impossible".into();
                self.found.damage(PageDamage { page, table: name, why });
                continue;
            }
            let rows = TreeWalk::new(&name, order, tree).run(self, |_, _, _, leaf| {
                Ok(matches!(leaf, Leaf::Table(_)).then(|| "a table within a table".into()))
            })?;
            self.found.rows = self.found.rows.saturating_add(rows);
        }
        Ok(())
    }

    /// Takes a page into the walk. Says why it cannot be one that is used here.
    fn visit(&mut self, page: u64) -> Result<(), String> {
        if page < 2 || page >= self.pages {
            return Err("a page that does not exist is referred to".into());
        }
        if page >= self.whole {
            return Err("the page lies behind the end of the file".into());
        }
        if !self.seen.set(page) {
            return Err("the page is used twice, or free and used".into());
        }
        self.visited = self.visited.saturating_add(1);
        if self.visited.is_multiple_of(1_024) {
            let total = self.pages.saturating_sub(self.found.free).max(self.visited);
            self.stopped |= !(self.progress)(self.visited, total);
        }
        Ok(())
    }

    /// Reads a page that is within the file.
    fn read(&self, page: u64, into: &mut [u8]) -> io::Result<()> {
        let at = page.saturating_mul(u64::try_from(self.page_size).unwrap_or(u64::MAX));
        self.source.read_at(at, into)
    }
}
