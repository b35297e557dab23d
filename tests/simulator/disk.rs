//! The disk under the stores. What of a data file would outlast a power loss is known from the system calls themselves:
//! this program has its own `fdatasync`, `pwrite` and `writev`, which LMDB calls instead of libc's. So a crash goes on
//! from what was synced, and a disk can be full from any write on.

#![cfg_attr(
    not(all(target_os = "linux", target_env = "gnu")),
    allow(dead_code, reason = "no such calls there")
)]

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Of each data file, by inode, the last transaction of which all pages were synced before it was made the current one.
static SYNCED: Mutex<BTreeMap<u64, u64>> = Mutex::new(BTreeMap::new());

/// Data files on full disks, and how many more writes they take.
static FULL: Mutex<BTreeMap<u64, usize>> = Mutex::new(BTreeMap::new());

/// How many are in [`FULL`]: nearly always none.
static ANY_FULL: AtomicUsize = AtomicUsize::new(0);

/// LMDB's layout of a meta page: where the page size and the transaction's number stand, and where the page's own number
/// ends.
const PAGE_SIZE: u64 = 40;
const TRANSACTION: u64 = 144;
const NUMBER: u64 = 8;

fn number<const N: usize>(file: &File, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at).ok().map(|()| bytes)
}

/// Where the two meta pages are, the older first, and the transaction of the newer.
fn metas(file: &File) -> Option<(u64, u64, u64)> {
    let page = u64::from(u32::from_ne_bytes(number(file, PAGE_SIZE)?));
    let [first, second] = [0, page].map(|at| number(file, at + TRANSACTION).map(u64::from_ne_bytes));
    let (first, second) = (first?, second?);
    Some(if second > first { (0, page, second) } else { (page, 0, first) })
}

fn data(dir: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(dir.join("data.mdb")).unwrap()
}

/// From now on the files of this directory are watched; what they hold is on disk.
pub fn begin(dir: &Path) {
    let file = data(dir);
    let (_, _, transaction) = metas(&file).unwrap();
    SYNCED.lock().unwrap().insert(file.metadata().unwrap().ino(), transaction);
}

/// They are about to be removed.
pub fn end(dir: &Path) {
    if let Ok(about) = std::fs::metadata(dir.join("data.mdb")) {
        SYNCED.lock().unwrap().remove(&about.ino());
    }
}

/// Makes `copy` what is left of `dir` after the power went: without the last transaction, if that was not synced.
pub fn lose(dir: &Path, copy: &Path) {
    let ino = data(dir).metadata().unwrap().ino();
    let copy = data(copy);
    let (older, newer, transaction) = metas(&copy).unwrap();
    if SYNCED.lock().unwrap().get(&ino).is_none_or(|synced| transaction <= *synced) {
        return;
    }
    let page = usize::try_from(older.max(newer)).unwrap();
    let mut meta = vec![0; page - usize::try_from(NUMBER).unwrap()];
    copy.read_exact_at(&mut meta, older + NUMBER).unwrap();
    copy.write_all_at(&meta, newer + NUMBER).unwrap();
}

/// After so many more writes there is no room for the files of this directory, until it is emptied again.
pub fn fill(dir: &Path, writes: usize) {
    FULL.lock().unwrap().insert(data(dir).metadata().unwrap().ino(), writes);
    ANY_FULL.fetch_add(1, Ordering::SeqCst);
}

/// True if a write has failed meanwhile.
pub fn empty(dir: &Path) -> bool {
    ANY_FULL.fetch_sub(1, Ordering::SeqCst);
    FULL.lock().unwrap().remove(&data(dir).metadata().unwrap().ino()) == Some(0)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod calls {
    use super::{ANY_FULL, FULL, SYNCED, metas};
    use std::ffi::{c_int, c_void};
    use std::fs::File;
    use std::mem::ManuallyDrop;
    use std::os::fd::FromRawFd;
    use std::os::unix::fs::MetadataExt;
    use std::sync::atomic::Ordering;

    const ENOSPC: c_int = 28;

    unsafe extern "C" {
        fn fsync(file: c_int) -> c_int;
        fn pwrite64(file: c_int, bytes: *const c_void, count: usize, at: i64) -> isize;
        fn pwritev2(file: c_int, parts: *const c_void, count: c_int, at: i64, flags: c_int) -> isize;
        fn __errno_location() -> *mut c_int;
    }

    fn with<T>(file: c_int, act: impl FnOnce(&File) -> T) -> T {
        // SAFETY: the caller of the system call has the descriptor open, and it is not closed here.
        act(&ManuallyDrop::new(unsafe { File::from_raw_fd(file) }))
    }

    fn is_full(file: c_int) -> bool {
        if ANY_FULL.load(Ordering::SeqCst) == 0 {
            return false;
        }
        let Some(ino) = with(file, |file| file.metadata().ok().map(|about| about.ino())) else {
            return false;
        };
        let mut full = FULL.lock().unwrap();
        let Some(left) = full.get_mut(&ino) else { return false };
        if *left > 0 {
            *left -= 1;
            return *left == 0 && refuse();
        }
        refuse()
    }

    fn refuse() -> bool {
        // SAFETY: it is this thread's own `errno`.
        unsafe { *__errno_location() = ENOSPC };
        true
    }

    #[unsafe(no_mangle)]
    extern "C" fn fdatasync(file: c_int) -> c_int {
        with(file, |file| {
            let ino = file.metadata().ok().map(|about| about.ino());
            let mut synced = SYNCED.lock().unwrap();
            // All but the meta page of the next transaction is on disk then; that page is written through.
            if let (Some(known), Some((_, _, now))) = (ino.and_then(|ino| synced.get_mut(&ino)), metas(file))
            {
                *known = now + 1;
            }
        });
        // SAFETY: the caller's own call, passed on.
        unsafe { fsync(file) }
    }

    #[unsafe(no_mangle)]
    extern "C" fn pwrite(file: c_int, bytes: *const c_void, count: usize, at: i64) -> isize {
        // SAFETY: the caller's own call, passed on.
        if is_full(file) { -1 } else { unsafe { pwrite64(file, bytes, count, at) } }
    }

    #[unsafe(no_mangle)]
    extern "C" fn writev(file: c_int, parts: *const c_void, count: c_int) -> isize {
        // SAFETY: the caller's own call, passed on; -1 stands for where the file is at.
        if is_full(file) { -1 } else { unsafe { pwritev2(file, parts, count, -1, 0) } }
    }
}
