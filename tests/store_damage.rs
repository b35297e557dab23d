//! Damaged, foreign and newer files are refused with their reason, before they are mapped.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on should stop"
)]

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use multi_hyperbee::store::{Environment, FORMAT, Location, Options, Read, StoreError, Table};

const SOON: Duration = Duration::from_secs(10);

fn open(dir: &Path) -> Result<Environment, StoreError> {
    Environment::open(&Location::Path(dir.to_owned()), &Options::default())
}

fn data(dir: &Path) -> PathBuf {
    dir.join("data.mdb")
}

/// A closed store with enough rows for several levels of pages.
fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let env = open(dir.path()).unwrap();
    for part in 0..4_u32 {
        let mut txn = env.write().unwrap();
        for row in 0..500_u32 {
            let key = [part.to_be_bytes(), row.to_be_bytes()].concat();
            txn.put(Table::Blocks, &key, &[0x5a; 200]).unwrap();
        }
        txn.commit().unwrap();
    }
    assert!(env.close().wait(SOON));
    dir
}

/// Size of the file's pages, which differs between machines.
fn page(dir: &Path) -> u64 {
    let bytes = fs::read(data(dir)).unwrap();
    u64::from(u32::from_ne_bytes(bytes[40..44].try_into().unwrap()))
}

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

fn refused_as_corrupt(dir: &Path) -> String {
    match open(dir) {
        Err(StoreError::Corrupt { path, why }) => {
            assert_eq!(path, dir.canonicalize().unwrap());
            why
        }
        other => panic!("expected Corrupt, got {other:?}"),
    }
}

#[test]
fn an_empty_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(data(dir.path()), b"").unwrap();
    assert!(refused_as_corrupt(dir.path()).contains("empty"));
    // Once it is out of the way the directory is as good as new.
    fs::remove_file(data(dir.path())).unwrap();
    open(dir.path()).unwrap();
}

#[test]
fn i2_a_file_cut_anywhere_is_refused() {
    let dir = filled();
    let whole = fs::read(data(dir.path())).unwrap();
    let page = page(dir.path());
    let pages = whole.len() as u64 / page;
    let mut cuts: Vec<u64> = vec![1, 16, 151, 152, page - 1, page, page + 100, 2 * page - 1, 2 * page];
    cuts.extend([3 * page, pages / 2 * page, pages / 2 * page + 77, whole.len() as u64 - page]);
    cuts.push(whole.len() as u64 - 1);
    for cut in cuts {
        fs::write(data(dir.path()), &whole[..usize::try_from(cut).unwrap()]).unwrap();
        refused_as_corrupt(dir.path());
    }
    fs::write(data(dir.path()), &whole).unwrap();
    let env = open(dir.path()).unwrap();
    assert_eq!(env.read().unwrap().entries(Table::Blocks).unwrap(), 2_000);
}

#[test]
fn i2_a_file_zeroed_from_its_start_is_refused() {
    let dir = filled();
    let whole = fs::read(data(dir.path())).unwrap();
    for zeros in [8, 16, 20, 24, 100, 4096, 8192, whole.len()] {
        let mut bytes = whole.clone();
        bytes[..zeros].fill(0);
        fs::write(data(dir.path()), &bytes).unwrap();
        // The first word of a meta page is its number, zero anyway.
        if zeros > 8 {
            refused_as_corrupt(dir.path());
        }
    }
}

#[test]
fn i2_a_second_meta_page_that_is_not_one_is_refused() {
    let dir = filled();
    overwrite(&data(dir.path()), page(dir.path()), &[0; 4096]);
    refused_as_corrupt(dir.path());
}

#[test]
fn i2_impossible_numbers_in_the_meta_pages_are_refused() {
    let fields: [(&str, u64, &[u8]); 6] = [
        ("magic", 16, &[0xde; 4]),
        ("page size of nothing", 40, &[0; 4]),
        ("page size not a power of two", 40, &[0, 17, 0, 0]),
        ("root of the free tree", 80, &[0xee; 8]),
        ("root of the main tree", 128, &[0xee; 8]),
        ("last page", 136, &[0xff; 8]),
    ];
    for (name, at, bytes) in fields {
        let dir = filled();
        for meta in [0, page(dir.path())] {
            overwrite(&data(dir.path()), meta + at, bytes);
        }
        let why = refused_as_corrupt(dir.path());
        assert!(!why.is_empty(), "{name}");
    }
}

#[test]
fn a_foreign_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for bytes in [b"SQLite format 3\0".repeat(1_000), vec![0xff; 20_000], b"x".to_vec()] {
        fs::write(data(dir.path()), bytes).unwrap();
        refused_as_corrupt(dir.path());
    }
    fs::remove_file(data(dir.path())).unwrap();
    fs::create_dir(data(dir.path())).unwrap();
    refused_as_corrupt(dir.path());
}

#[test]
fn lmdb_files_of_another_version_are_refused() {
    let dir = filled();
    for meta in [0, page(dir.path())] {
        overwrite(&data(dir.path()), meta + 20, &7_u32.to_ne_bytes());
    }
    let refused = open(dir.path());
    assert!(matches!(refused, Err(StoreError::FormatVersion { found: 7, known: 1, .. })), "{refused:?}");
}

#[test]
fn stores_of_a_newer_format_are_refused_and_left_alone() {
    let dir = filled();
    let env = open(dir.path()).unwrap();
    let mut txn = env.write().unwrap();
    txn.put(Table::Meta, b"format", &(FORMAT + 1).to_be_bytes()).unwrap();
    txn.commit().unwrap();
    assert!(env.close().wait(SOON));
    let before = fs::read(data(dir.path())).unwrap();
    for read_only in [false, true] {
        let options = Options { read_only, ..Options::default() };
        let refused = Environment::open(&Location::Path(dir.path().to_owned()), &options);
        assert!(
            matches!(refused, Err(StoreError::FormatVersion { found, known: FORMAT, .. }) if found == FORMAT + 1)
        );
    }
    assert!(before == fs::read(data(dir.path())).unwrap(), "a refused file is not written");
}

#[test]
fn a_store_without_its_format_is_refused() {
    let dir = filled();
    let env = open(dir.path()).unwrap();
    let mut txn = env.write().unwrap();
    assert!(txn.delete(Table::Meta, b"format").unwrap());
    txn.commit().unwrap();
    assert!(env.close().wait(SOON));
    assert!(refused_as_corrupt(dir.path()).contains("format"));
}

#[test]
fn a_file_shorter_than_its_last_page_opens_if_all_that_is_missing_is_free() {
    let dir = filled();
    let env = open(dir.path()).unwrap();
    // Written and removed within one transaction: pages counted, never written.
    let mut txn = env.write().unwrap();
    for row in 0..40_u32 {
        txn.put(Table::Tree, &row.to_be_bytes(), &vec![7; 300_000]).unwrap();
    }
    for row in 0..40_u32 {
        txn.delete(Table::Tree, &row.to_be_bytes()).unwrap();
    }
    txn.put(Table::Log, b"after", b"1").unwrap();
    txn.commit().unwrap();
    let sizes = env.stat().unwrap();
    assert!(sizes.file < sizes.used, "the case this test is about: {sizes:?}");
    assert!(env.close().wait(SOON));

    let env = open(dir.path()).unwrap();
    assert_eq!(env.read().unwrap().get(Table::Log, b"after").unwrap(), Some(&b"1"[..]));
    assert_eq!(env.read().unwrap().entries(Table::Blocks).unwrap(), 2_000);
    let length = fs::metadata(data(dir.path())).unwrap().len();
    assert!(env.close().wait(SOON));
    // One page less, and a page that is used is missing.
    OpenOptions::new()
        .write(true)
        .open(data(dir.path()))
        .unwrap()
        .set_len(length - page(dir.path()))
        .unwrap();
    refused_as_corrupt(dir.path());
}

#[test]
fn i3_a_creation_cut_short_leaves_nothing_in_the_way() {
    let whole = fs::read(data(filled().path())).unwrap();
    for leftover in [&b""[..], &[0; 100], &whole] {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("multi-hyperbee-creating")).unwrap();
        fs::write(dir.path().join("multi-hyperbee-creating/data.mdb"), leftover).unwrap();
        fs::write(dir.path().join("lock"), b"").unwrap();
        let env = open(dir.path()).unwrap();
        assert_eq!(env.read().unwrap().entries(Table::Blocks).unwrap(), 0);
        assert!(!dir.path().join("multi-hyperbee-creating").exists());
    }
}

#[test]
fn paths_that_cannot_hold_a_store_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"text").unwrap();
    for path in [file.clone(), file.join("below")] {
        let refused = open(&path);
        assert!(matches!(refused, Err(StoreError::Open { .. })), "{refused:?}");
    }
    let read_only = Options { read_only: true, ..Options::default() };
    for path in [dir.path().to_owned(), dir.path().join("missing")] {
        let refused = Environment::open(&Location::Path(path), &read_only);
        assert!(matches!(refused, Err(StoreError::Open { .. })), "{refused:?}");
    }
    assert!(!dir.path().join("missing").exists());
}

#[test]
fn a_store_that_was_open_when_the_machine_went_down_is_walked_before_it_is_opened() {
    let dir = filled();
    let (whole, page) = (fs::read(data(dir.path())).unwrap(), page(dir.path()));
    let lock = dir.path().join("lock");
    assert_eq!(fs::read(&lock).unwrap(), b"", "it was closed, and says so");
    // A leaf deep within the file: nothing that is looked at when the store is opened.
    let leaf = (20..whole.len() as u64 / page)
        .find(|number| whole[usize::try_from(number * page + 10).unwrap()..][..2] == 2_u16.to_ne_bytes())
        .unwrap();
    overwrite(&data(dir.path()), leaf * page + 12, &[0xff, 0xff]);
    // Closed before, or killed under this start of the machine: opened as it is.
    assert!(open(dir.path()).unwrap().close().wait(SOON));
    let env = open(dir.path()).unwrap();
    let open_now = fs::read_to_string(&lock).unwrap();
    assert_eq!(open_now.split(' ').next(), Some(std::process::id().to_string().as_str()));
    assert!(env.close().wait(SOON));
    fs::write(&lock, &open_now).unwrap();
    if cfg!(target_os = "linux") {
        assert!(open(dir.path()).unwrap().close().wait(SOON));
    }
    // Another start of the machine: refused, as often as it is tried.
    fs::write(&lock, "77 another-start").unwrap();
    for _ in 0..2 {
        let why = refused_as_corrupt(dir.path());
        assert!(why.contains(&format!("page {leaf} (blocks-1)")), "{why}");
        assert!(fs::read_to_string(&lock).unwrap().ends_with(" another-start"));
    }
    overwrite(&data(dir.path()), 0, &whole);
    let env = open(dir.path()).unwrap();
    assert_eq!(env.read().unwrap().entries(Table::Blocks).unwrap(), 2_000);
}
