//! Is this a file LMDB may map? Read with plain reads, before anything of it is mapped.
//!
//! LMDB trusts what it maps: a page number read from a damaged file is followed, and a page past the end of the file
//! kills the process. So both meta pages are read here and compared with the file's length first. LMDB has no
//! checksums; damage within its pages is not found here (see the design document).
//!
//! The layout is that of LMDB's data version 1, in the machine's own byte order; a *word* is as wide as a pointer.
//!
//! | at | field | width |
//! |---|---|---|
//! | 0 | page header: number (word), pad 2, flags 2 (`META` = 8), lower 2, upper 2 | word + 8 |
//! | +0 | magic `0xBEEFC0DE` | 4 |
//! | +4 | version | 4 |
//! | +8 | address, map size | 2 words |
//! | | free tree, then main tree: pad 4 (of the free tree: the page size), flags 2, depth 2, branch pages, leaf pages, overflow pages, entries, root (words) | 8 + 5 words each |
//! | | last page, transaction | 2 words |

use std::fs::File;
use std::io;
use std::path::Path;

use super::StoreError;
use super::opened::DATA_FILE;
use super::pages::{self, Source};

const MAGIC: u32 = 0xBEEF_C0DE;
const DATA_VERSION: u32 = 1;
const META_FLAG: u16 = 0x08;

/// Width of LMDB's sizes and page numbers.
pub(super) const WORD: usize = size_of::<usize>();
/// Width of a page's header.
pub(super) const HEADER: usize = WORD + 8;
/// Width of what is said of a tree.
pub(super) const TREE: usize = 8 + 5 * WORD;
const META: usize = 8 + 2 * WORD + 2 * TREE + 2 * WORD;

/// Root of a tree without pages.
pub(super) const NO_PAGE: u64 = if WORD == 8 { u64::MAX } else { u32::MAX as u64 };

/// Flags of the free tree (keys are integers) and of the main tree, as LMDB makes them for us.
const FREE_FLAGS: u16 = 0x08;
const MAIN_FLAGS: u16 = 0;

/// LMDB's own limit: its cursors are no deeper.
const DEEPEST: u16 = 32;

/// Flags of a page within a tree: branch or leaf.
const TREE_PAGE: u16 = 0x03;

/// Smaller pages cannot hold the longest row keys.
const LEAST_PAGE: u32 = 4 << 10;
/// LMDB makes no larger ones.
const LARGEST_PAGE: u32 = 32 << 10;

/// What a meta page says: one committed state.
#[derive(Clone, Copy)]
pub(super) struct Meta {
    pub(super) page_size: u32,
    pub(super) free: Tree,
    pub(super) main: Tree,
    pub(super) last_page: u64,
    pub(super) txn: u64,
    /// The other meta page is that of the commit before.
    follows: bool,
}

/// What is said of a tree: in a meta page of the free and the main one, in the main tree of each table's.
#[derive(Clone, Copy)]
pub(super) struct Tree {
    pub(super) flags: u16,
    pub(super) depth: u16,
    pub(super) branch: u64,
    pub(super) leaf: u64,
    pub(super) overflow: u64,
    pub(super) entries: u64,
    pub(super) root: u64,
}

impl Tree {
    /// Whether depth and root can be those of a tree in a file of so many pages.
    pub(super) fn is_possible(&self, pages: u64) -> bool {
        let Self { depth, root, .. } = *self;
        if root == NO_PAGE { depth == 0 } else { (1..=DEEPEST).contains(&depth) && root >= 2 && root < pages }
    }
}

/// Why a file is refused.
enum Refusal {
    Damaged(String),
    Version(u32),
    Unreadable(io::Error),
}

impl Refusal {
    fn of(self, path: &Path) -> StoreError {
        let path = path.to_owned();
        match self {
            Refusal::Damaged(why) => StoreError::Corrupt { path, why },
            Refusal::Version(found) => StoreError::FormatVersion { path, found, known: DATA_VERSION },
            Refusal::Unreadable(error) => StoreError::Open { path, why: error.to_string() },
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged("the file is cut short".into()),
            _ => Self::Unreadable(error),
        }
    }
}

/// Refuses the data file in `dir` unless its meta pages and length fit together.
pub(super) fn check(dir: &Path) -> Result<(), StoreError> {
    inspect(&dir.join(DATA_FILE)).map_err(|refusal| refusal.of(dir))
}

fn inspect(path: &Path) -> Result<(), Refusal> {
    // Looked at before it is opened: opening a pipe would wait.
    if !path.metadata()?.is_file() {
        return Err(damaged("the data file is not a file"));
    }
    let file = File::open(path)?;
    let meta = current(&file)?;
    check_length(&file, file.metadata()?.len(), &meta)?;
    if meta.follows {
        return Ok(());
    }
    // A disk has lost a commit that it said it had, and may have lost more.
    match pages::walk(&file, &meta, &mut |_, _| true)?.damages.first() {
        None => Ok(()),
        Some(damage) => {
            Err(Refusal::Damaged(format!("a commit is missing from its meta pages, and {damage}")))
        }
    }
}

/// The meta page of the state that LMDB would open.
fn current<S: Source + ?Sized>(file: &S) -> Result<Meta, Refusal> {
    if file.length()? == 0 {
        return Err(damaged("the data file is empty"));
    }
    let first = read_meta(file, 0)?;
    let second = read_meta(file, u64::from(first.page_size))?;
    if first.page_size != second.page_size {
        return Err(damaged("its meta pages disagree about the page size"));
    }
    // LMDB opens the state of the later transaction, the first page's if they are equal.
    let (place, newest, older) = if second.txn > first.txn { (1, second, first) } else { (0, first, second) };
    // It writes even ones into the first and odd ones into the second, and looks for each there, whatever it finds.
    if newest.txn % 2 != place {
        return Err(damaged(
            "its later meta page has the number of a transaction that belongs into the other",
        ));
    }
    let follows = newest.txn == 0 || newest.txn.checked_sub(1) == Some(older.txn);
    Ok(Meta { follows, ..newest })
}

fn damaged(why: &str) -> Refusal {
    Refusal::Damaged(why.to_owned())
}

fn read_meta<S: Source + ?Sized>(file: &S, at: u64) -> Result<Meta, Refusal> {
    let mut page = [0_u8; HEADER + META];
    file.read_at(at, &mut page)?;
    let mut fields = Fields(&page);
    fields.word();
    fields.u16();
    if fields.u16() & META_FLAG == 0 {
        return Err(damaged("it does not begin with meta pages"));
    }
    fields.skip(4);
    if fields.u32() != MAGIC {
        return Err(damaged("it is not an LMDB file"));
    }
    match fields.u32() {
        DATA_VERSION => {}
        other => return Err(Refusal::Version(other)),
    }
    fields.skip(2 * WORD);
    let page_size = fields.u32();
    let free = read_tree(&mut fields);
    fields.skip(4);
    let main = read_tree(&mut fields);
    let meta = Meta { page_size, free, main, last_page: fields.word(), txn: fields.word(), follows: true };
    if !page_size.is_power_of_two() || !(LEAST_PAGE..=LARGEST_PAGE).contains(&page_size) {
        return Err(Refusal::Damaged(format!("pages of {page_size} bytes")));
    }
    Ok(meta)
}

/// A tree's fields after its first, which for the free tree is the page size.
fn read_tree(fields: &mut Fields<'_>) -> Tree {
    let (flags, depth) = (fields.u16(), fields.u16());
    let (branch, leaf, overflow) = (fields.word(), fields.word(), fields.word());
    Tree { flags, depth, branch, leaf, overflow, entries: fields.word(), root: fields.word() }
}

/// A table's tree, as it stands in the main tree.
pub(super) fn read_table(data: &[u8]) -> Tree {
    let mut fields = Fields(data);
    fields.skip(4);
    read_tree(&mut fields)
}

fn check_length(file: &File, length: u64, meta: &Meta) -> Result<(), Refusal> {
    let whole = check_trees(file, length, meta)?;
    let pages = meta.last_page.saturating_add(1);
    if whole >= pages {
        return Ok(());
    }
    // Pages that were used and freed within one transaction are counted but never written: at the end of the file
    // they may be missing. All that is missing must be free.
    let walk = pages::walk_free(file, meta)?;
    if walk.is_clean() {
        return Ok(());
    }
    let want = pages.saturating_mul(u64::from(meta.page_size));
    Err(Refusal::Damaged(format!("the file is cut short: {length} bytes of {want}")))
}

/// What the meta page says of its trees is possible. Returns how many whole pages the file has.
fn check_trees<S: Source + ?Sized>(file: &S, length: u64, meta: &Meta) -> Result<u64, Refusal> {
    let page = u64::from(meta.page_size);
    let pages = meta.last_page.checked_add(1).filter(|pages| pages.checked_mul(page).is_some());
    let Some(pages) = pages.filter(|pages| *pages >= 2) else {
        return Err(damaged("its meta pages name an impossible last page"));
    };
    let whole = length / page;
    if meta.free.flags != FREE_FLAGS || meta.main.flags != MAIN_FLAGS {
        return Err(damaged("its trees have flags they cannot have"));
    }
    for tree in [meta.free, meta.main] {
        check_root(file, tree, page, pages.min(whole))?;
    }
    Ok(whole)
}

/// A root lies within the file and its page says that it is one of a tree, and which.
fn check_root<S: Source + ?Sized>(file: &S, tree: Tree, page: u64, pages: u64) -> Result<(), Refusal> {
    if !tree.is_possible(pages) {
        return Err(damaged("the root of a tree lies outside of the file, or its depth is impossible"));
    }
    if tree.root == NO_PAGE {
        return Ok(());
    }
    let mut header = [0_u8; HEADER];
    file.read_at(tree.root.saturating_mul(page), &mut header)?;
    let mut fields = Fields(&header);
    let number = fields.word();
    fields.u16();
    let flags = fields.u16() & TREE_PAGE;
    if number != tree.root || flags == 0 || flags == TREE_PAGE {
        return Err(damaged("the root of a tree is not where it should be"));
    }
    Ok(())
}

/// The state that LMDB would open, its pages walked. The error says why the file is refused before any walk.
pub(super) fn walk<S: Source + ?Sized>(
    file: &S,
    path: &Path,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<pages::Walk, StoreError> {
    let walked = current(file).and_then(|meta| {
        check_trees(file, file.length()?, &meta)?;
        Ok(pages::walk(file, &meta, progress)?)
    });
    walked.map_err(|refusal| refusal.of(path))
}

/// The meta page of the last commit. Right while nothing is committed meanwhile.
pub(super) fn committed(file: &File, path: &Path) -> Result<Meta, StoreError> {
    current(file).map_err(|refusal| refusal.of(path))
}

/// Fields in the machine's own byte order, in sequence; zeros past the end.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk::<N>().unwrap_or((&[0; N], &[]));
        self.0 = rest;
        *field
    }

    pub(super) fn skip(&mut self, bytes: usize) {
        self.0 = self.0.get(bytes..).unwrap_or_default();
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_ne_bytes(self.take())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.take())
    }

    pub(super) fn word(&mut self) -> u64 {
        u64::try_from(usize::from_ne_bytes(self.take())).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
