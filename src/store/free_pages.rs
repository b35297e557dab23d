//! The free pages of an unmapped LMDB file: a walk of its free tree by plain reads.
//!
//! Needed only when a file is shorter than its last page, which is right if all that is missing is free. A leaf's
//! value is a list: count, then page numbers (words); a long one stands in overflow pages. A node is `lo 2 ‖ hi 2 ‖
//! flags 2 ‖ key size 2 ‖ key ‖ data`, `lo` and `hi` swapped on big-endian machines; in a branch, `lo`, `hi` and
//! `flags` are the child's number. Whatever does not fit that is an error, as if the file ended there.

use std::fs::File;
use std::io;

use super::check::{Fields, HEADER, WORD, read_at};

const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
/// A node whose data stands in overflow pages.
const BIG_DATA: u16 = 0x01;

/// Free pages numbered `from` and later, in no order.
pub(super) fn free_from(file: &mut File, root: u64, page_size: u32, from: u64) -> io::Result<Vec<u64>> {
    let page_bytes = usize::try_from(page_size).map_err(|_| cut())?;
    let mut page = vec![0_u8; page_bytes];
    let mut free = Vec::new();
    let mut todo = vec![root];
    // Each page of the file is visited once at most: a damaged tree may have circles.
    let mut left = file.metadata()?.len() / u64::from(page_size);
    while let Some(number) = todo.pop() {
        left = left.checked_sub(1).ok_or_else(cut)?;
        read_at(file, offset(number, page_size)?, &mut page)?;
        let mut header = Fields(&page);
        header.skip(WORD + 2);
        let flags = header.u16();
        let nodes = usize::from(header.u16()).checked_sub(HEADER).ok_or_else(cut)? / 2;
        for index in 0..nodes {
            let at = page.get(HEADER + 2 * index..).ok_or_else(cut)?;
            let node = page.get(usize::from(Fields(at).u16())..).ok_or_else(cut)?;
            match flags & (BRANCH | LEAF) {
                BRANCH => todo.push(child(node)),
                LEAF => read_list(file, node, page_size, from, &mut free)?,
                _ => return Err(cut()),
            }
        }
        if u64::try_from(todo.len()).map_or(true, |todo| todo > left) {
            return Err(cut());
        }
    }
    Ok(free)
}

fn cut() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

fn offset(number: u64, page_size: u32) -> io::Result<u64> {
    number.checked_mul(u64::from(page_size)).ok_or_else(cut)
}

/// The two halves of a node's first field, low first.
fn halves(fields: &mut Fields<'_>) -> (u16, u16) {
    let (first, second) = (fields.u16(), fields.u16());
    if cfg!(target_endian = "little") { (first, second) } else { (second, first) }
}

fn child(node: &[u8]) -> u64 {
    let mut fields = Fields(node);
    let (low, high) = halves(&mut fields);
    let top = if WORD == 8 { fields.u16() } else { 0 };
    u64::from(low) | u64::from(high) << 16 | u64::from(top) << 32
}

fn read_list(file: &mut File, node: &[u8], page_size: u32, from: u64, free: &mut Vec<u64>) -> io::Result<()> {
    let mut fields = Fields(node);
    let (low, high) = halves(&mut fields);
    let bytes = usize::from(low) | usize::from(high) << 16;
    let flags = fields.u16();
    let key = usize::from(fields.u16());
    fields.skip(key);
    if flags & BIG_DATA == 0 {
        return keep(fields.0.get(..bytes).ok_or_else(cut)?, from, free);
    }
    // Read only as much as the file has: the size is the file's own claim.
    let start = offset(fields.word(), page_size)?.checked_add(HEADER as u64).ok_or_else(cut)?;
    let left = file.metadata()?.len().checked_sub(start).ok_or_else(cut)?;
    if u64::try_from(bytes).map_or(true, |bytes| bytes > left) {
        return Err(cut());
    }
    let mut list = vec![0_u8; bytes];
    read_at(file, start, &mut list)?;
    keep(&list, from, free)
}

fn keep(list: &[u8], from: u64, free: &mut Vec<u64>) -> io::Result<()> {
    let mut fields = Fields(list);
    let count = usize::try_from(fields.word()).map_err(|_| cut())?;
    // The list may have room for more than it holds.
    if fields.0.len() / WORD < count {
        return Err(cut());
    }
    for _ in 0..count {
        let number = fields.word();
        if number >= from {
            free.push(number);
        }
    }
    Ok(())
}
