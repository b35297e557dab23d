//! The walk of one tree, in the order of its keys.

use std::cmp::Ordering;
use std::io;

use super::page::{self, Nodes, OVERFLOW, header, overflow_pages, parse};
use super::{PageDamage, Source, Walker};
use crate::store::MAX_ROW_KEY;
use crate::store::check::{Fields, HEADER, NO_PAGE, Tree, WORD};
use crate::store::order::{Plain, PrefixTail};
use crate::store::tables::RowOrder;
use heed::Comparator as _;

pub(super) use page::Leaf;

/// How the keys of a tree are ordered.
#[derive(Clone, Copy)]
pub(super) enum KeyOrder {
    Rows(RowOrder),
    /// Words, as the list of free pages has them.
    Word,
    /// A table of a later version: only that keys stand between the pages' own bounds is left unchecked.
    Unknown,
}

impl KeyOrder {
    fn compare(self, a: &[u8], b: &[u8]) -> Option<Ordering> {
        match self {
            KeyOrder::Rows(RowOrder::Bytes) => Some(Plain::compare(a, b)),
            KeyOrder::Rows(RowOrder::Tail8) => Some(PrefixTail::<8>::compare(a, b)),
            KeyOrder::Rows(RowOrder::Tail24) => Some(PrefixTail::<24>::compare(a, b)),
            KeyOrder::Word => Some(Fields(a).word().cmp(&Fields(b).word())),
            KeyOrder::Unknown => None,
        }
    }

    fn fits(self, key: &[u8]) -> bool {
        match self {
            KeyOrder::Word => key.len() == WORD,
            _ => !key.is_empty() && key.len() <= MAX_ROW_KEY,
        }
    }
}

/// A page still to be visited, with the keys it must stand between.
struct Todo {
    page: u64,
    depth: u16,
    low: Option<Vec<u8>>,
    high: Option<Vec<u8>>,
}

/// Pages and rows of a tree.
#[derive(Default, PartialEq, Eq)]
struct Counts {
    branch: u64,
    leaf: u64,
    overflow: u64,
    entries: u64,
}

pub(super) struct TreeWalk<'n> {
    name: &'n str,
    order: KeyOrder,
    tree: Tree,
    counts: Counts,
    /// Something was not walked, so counts say nothing.
    cut: bool,
}

impl<'n> TreeWalk<'n> {
    pub(super) fn new(name: &'n str, order: KeyOrder, tree: Tree) -> Self {
        Self { name, order, tree, counts: Counts::default(), cut: false }
    }

    /// Visits every page; hands each row to `each` (with its page), which may say what is wrong with it. Returns the
    /// number of rows.
    pub(super) fn run<'s, S: Source + ?Sized>(
        mut self,
        walker: &mut Walker<'s, S>,
        mut each: impl FnMut(&mut Walker<'s, S>, u64, &[u8], Leaf<'_>) -> io::Result<Option<String>>,
    ) -> io::Result<u64> {
        let mut buffer = vec![0; walker.page_size];
        let mut todo = Vec::new();
        if self.tree.root != NO_PAGE {
            todo.push(Todo { page: self.tree.root, depth: 1, low: None, high: None });
        }
        while let Some(next) = todo.pop() {
            if let Err(why) = walker.visit(next.page) {
                self.damage(walker, next.page, why);
                continue;
            }
            if walker.stopped {
                return Err(io::ErrorKind::Interrupted.into());
            }
            walker.read(next.page, &mut buffer)?;
            match parse(&buffer, next.page) {
                Err(why) => self.damage(walker, next.page, why.into()),
                Ok(Nodes::Branch(children)) => self.branch(walker, &next, &children, &mut todo),
                Ok(Nodes::Leaf(rows)) => self.leaf(walker, &next, rows, &mut each)?,
            }
        }
        let Tree { branch, leaf, overflow, entries, .. } = self.tree;
        let rows = self.counts.entries;
        if !self.cut && self.counts != (Counts { branch, leaf, overflow, entries }) {
            let root = self.tree.root;
            self.damage(walker, root, "the tree has other numbers of pages or rows than it says".into());
        }
        Ok(rows)
    }

    fn damage<S: Source + ?Sized>(&mut self, walker: &mut Walker<'_, S>, page: u64, why: String) {
        self.cut = true;
        walker.found.damage(PageDamage { page, table: self.name.to_owned(), why });
    }

    fn branch<S: Source + ?Sized>(
        &mut self,
        walker: &mut Walker<'_, S>,
        at: &Todo,
        children: &[(&[u8], u64)],
        todo: &mut Vec<Todo>,
    ) {
        self.counts.branch += 1;
        if at.depth >= self.tree.depth {
            return self.damage(walker, at.page, "a branch stands where leaves are".into());
        }
        if children.is_empty() {
            return self.damage(walker, at.page, "a branch without children".into());
        }
        let keys = children.iter().skip(1).map(|(key, _)| *key);
        if !self.is_ordered(at, keys.clone()) {
            return self.damage(walker, at.page, "the page's keys are out of order".into());
        }
        let lows = std::iter::once(at.low.clone()).chain(keys.clone().map(|key| Some(key.to_vec())));
        let highs = keys.map(|key| Some(key.to_vec())).chain(std::iter::once(at.high.clone()));
        let first = todo.len();
        for ((low, high), (_, page)) in lows.zip(highs).zip(children) {
            todo.push(Todo { page: *page, depth: at.depth + 1, low, high });
        }
        // The next to be popped is the leftmost.
        if let Some(new) = todo.get_mut(first..) {
            new.reverse();
        }
    }

    fn leaf<'s, S: Source + ?Sized>(
        &mut self,
        walker: &mut Walker<'s, S>,
        at: &Todo,
        rows: Vec<(&[u8], Leaf<'_>)>,
        each: &mut impl FnMut(&mut Walker<'s, S>, u64, &[u8], Leaf<'_>) -> io::Result<Option<String>>,
    ) -> io::Result<()> {
        self.counts.leaf += 1;
        self.counts.entries += u64::try_from(rows.len()).unwrap_or(u64::MAX);
        if at.depth != self.tree.depth {
            self.damage(walker, at.page, "a leaf stands where branches are".into());
        } else if rows.is_empty() {
            self.damage(walker, at.page, "a leaf without rows".into());
        } else if !self.is_ordered(at, rows.iter().map(|(key, _)| *key)) {
            self.damage(walker, at.page, "the page's keys are out of order".into());
        } else if rows.iter().any(|(key, _)| !self.order.fits(key)) {
            self.damage(walker, at.page, "a key of a length it cannot have".into());
        }
        for (key, leaf) in rows {
            if let Leaf::Overflow { bytes, page } = leaf {
                self.overflow(walker, bytes, page)?;
            }
            if let Some(why) = each(walker, at.page, key, leaf)? {
                self.damage(walker, at.page, why);
            }
        }
        Ok(())
    }

    /// Keys ascend, from `low` on and below `high`.
    fn is_ordered<'k>(&self, at: &Todo, keys: impl Iterator<Item = &'k [u8]>) -> bool {
        let is = |a: &[u8], wanted: &[Ordering], b: &[u8]| {
            self.order.compare(a, b).is_none_or(|order| wanted.contains(&order))
        };
        let mut before: Option<&[u8]> = None;
        for key in keys {
            let after_low =
                at.low.as_deref().is_none_or(|low| is(low, &[Ordering::Less, Ordering::Equal], key));
            let before_high = at.high.as_deref().is_none_or(|high| is(key, &[Ordering::Less], high));
            let ascends = before.is_none_or(|before| is(before, &[Ordering::Less], key));
            if !(after_low && before_high && ascends) {
                return false;
            }
            before = Some(key);
        }
        true
    }

    /// The pages of one long value: only the first has a header.
    fn overflow<S: Source + ?Sized>(
        &mut self,
        walker: &mut Walker<'_, S>,
        bytes: usize,
        first: u64,
    ) -> io::Result<()> {
        let count = (HEADER - 1).saturating_add(bytes) / walker.page_size + 1;
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        for page in first..first.saturating_add(count) {
            if let Err(why) = walker.visit(page) {
                self.damage(walker, page, why);
                return Ok(());
            }
        }
        let mut start = [0; HEADER];
        walker.read(first, &mut start)?;
        let (number, flags, ..) = header(&start);
        if number != first || flags != OVERFLOW || overflow_pages(&start) != count {
            self.damage(walker, first, "a long value's first page is not one".into());
        }
        self.counts.overflow += count;
        Ok(())
    }
}
