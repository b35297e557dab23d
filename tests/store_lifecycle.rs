//! Opening, sharing, locking, closing; and what a store in memory leaves behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use multi_hyperbee::store::{Environment, Location, Options, Read, ReadTxn, StoreError, Table, WriteTxn};

const SOON: Duration = Duration::from_secs(10);
const READ_ONLY: Options = Options { read_only: true, map_size: None };

/// Tells a copy of this test program what to do instead of testing.
const CHILD: &str = "MULTI_HYPERBEE_STORE_CHILD";

fn open(dir: &Path) -> Result<Environment, StoreError> {
    Environment::open(&Location::Path(dir.to_owned()), &Options::default())
}

fn put(env: &Environment, key: &[u8], value: &[u8]) {
    let mut txn = env.write().unwrap();
    txn.put(Table::Log, key, value).unwrap();
    txn.commit().unwrap();
}

/// Runs `a_child_of_another_test` in a process of its own; returns what it prints on standard error.
fn child(role: &str, dir: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_of_another_test", "--nocapture"])
        .env(CHILD, role)
        .env("MULTI_HYPERBEE_STORE_DIR", dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn said(child: std::process::Child) -> String {
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stderr).unwrap()
}

/// Does nothing unless started by `child`.
#[test]
fn a_child_of_another_test() {
    let Ok(role) = std::env::var(CHILD) else { return };
    let dir = std::env::var("MULTI_HYPERBEE_STORE_DIR").unwrap();
    let options = if role == "read" { READ_ONLY } else { Options::default() };
    match Environment::open(&Location::Path(dir.into()), &options) {
        Err(StoreError::Locked { pid, .. }) => eprintln!("locked by {pid:?}"),
        Err(error) => eprintln!("{error}"),
        Ok(env) if role == "die" => {
            put(&env, b"committed", b"1");
            let mut txn = env.write().unwrap();
            txn.put(Table::Log, b"not committed", b"1").unwrap();
            let _held = env.read().unwrap();
            eprintln!("dying");
            std::process::abort();
        }
        Ok(env) => eprintln!("opened with {} rows", env.read().unwrap().entries(Table::Log).unwrap()),
    }
}

#[test]
fn i1_opens_of_one_path_share_one_environment() {
    let dir = tempfile::tempdir().unwrap();
    let env = open(dir.path()).unwrap();
    let made = AtomicUsize::new(0);
    let shared = env.extension(|| made.fetch_add(1, Ordering::SeqCst));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let again = open(&dir.path().join("..").join(dir.path().file_name().unwrap())).unwrap();
                let found = again.extension(|| made.fetch_add(1, Ordering::SeqCst));
                assert!(std::sync::Arc::ptr_eq(&found, &shared));
            });
        }
    });
    assert_eq!(made.load(Ordering::SeqCst), 1);
    put(&env, b"a", b"1");
    assert_eq!(open(dir.path()).unwrap().read().unwrap().get(Table::Log, b"a").unwrap(), Some(&b"1"[..]));
}

#[cfg(unix)]
#[test]
fn i1_a_symbolic_link_is_the_same_path() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real");
    let env = open(&real).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let made = env.extension(|| 7_u8);
    assert!(std::sync::Arc::ptr_eq(&made, &open(&link).unwrap().extension(|| 8_u8)));
}

#[test]
fn i1_many_threads_opening_and_closing_one_path_never_meet_an_error() {
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for thread in 0..6_u32 {
            let dir = dir.path();
            scope.spawn(move || {
                for round in 0..15_u32 {
                    let env = open(dir).unwrap();
                    put(&env, &[thread.to_be_bytes(), round.to_be_bytes()].concat(), b"");
                }
            });
        }
    });
    assert_eq!(open(dir.path()).unwrap().read().unwrap().entries(Table::Log).unwrap(), 90);
}

#[test]
fn i1_another_process_is_refused_until_the_store_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let env = open(dir.path()).unwrap();
    put(&env, b"a", b"1");
    let refused = said(child("write", dir.path()));
    // Windows lets nobody read a locked file, so the hint is missing there.
    let hint = if cfg!(windows) { "None".into() } else { format!("Some({})", std::process::id()) };
    assert!(refused.contains(&format!("locked by {hint}")), "{refused}");
    assert!(said(child("read", dir.path())).contains("locked by"));
    assert!(env.close().wait(SOON));
    assert!(said(child("write", dir.path())).contains("opened with 1 rows"));
}

#[test]
fn readers_of_two_processes_share_a_store_that_nobody_writes() {
    let dir = tempfile::tempdir().unwrap();
    assert!(open(dir.path()).unwrap().close().wait(SOON));
    let env = Environment::open(&Location::Path(dir.path().to_owned()), &READ_ONLY).unwrap();
    assert!(matches!(env.write(), Err(StoreError::ReadOnly)));
    assert!(said(child("read", dir.path())).contains("opened with 0 rows"));
    assert!(said(child("write", dir.path())).contains("locked by"));
    let refused = open(dir.path());
    assert!(matches!(refused, Err(StoreError::Open { .. })), "{refused:?}");
}

#[test]
fn a_process_that_died_leaves_what_it_committed_and_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        assert!(said(child("die", dir.path())).contains("dying"));
        let env = open(dir.path()).unwrap();
        let txn = env.read().unwrap();
        assert_eq!(txn.get(Table::Log, b"committed").unwrap(), Some(&b"1"[..]));
        assert_eq!(txn.get(Table::Log, b"not committed").unwrap(), None);
    }
}

#[test]
fn opening_right_after_closing_works() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..30_u64 {
        let env = open(dir.path()).unwrap();
        assert_eq!(env.read().unwrap().entries(Table::Log).unwrap(), round);
        put(&env, &round.to_be_bytes(), b"");
        let _closed = env.close();
    }
}

/// A child has its parent's files open from the fork until it runs its own program.
#[test]
fn a_child_that_is_being_started_holds_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let starting = std::thread::spawn(|| {
        for _ in 0..200 {
            std::process::Command::new("true").status().unwrap();
        }
    });
    while !starting.is_finished() {
        let _closed = open(dir.path()).unwrap().close();
    }
    starting.join().unwrap();
}

#[test]
fn a_read_transaction_keeps_the_store_open() {
    let dir = tempfile::tempdir().unwrap();
    let env = open(dir.path()).unwrap();
    put(&env, b"a", b"1");
    let weak = env.downgrade();
    let read = env.read().unwrap();
    let closed = env.close();
    assert!(!closed.wait(Duration::from_millis(20)));
    assert_eq!(read.get(Table::Log, b"a").unwrap(), Some(&b"1"[..]));
    assert!(weak.upgrade().is_some());
    thread::spawn(move || drop(read)).join().unwrap();
    assert!(closed.wait(SOON));
    assert!(weak.upgrade().is_none());
}

#[test]
fn extensions_are_one_of_a_type_and_a_failed_one_is_not_kept() {
    let env = Environment::open(&Location::Memory, &Options::default()).unwrap();
    assert_eq!(env.try_extension(|| Err::<u32, _>("no")), Err("no"));
    assert_eq!(*env.extension(|| 1_u32), 1);
    assert_eq!(*env.extension(|| 2_u32), 1);
    assert_eq!(*env.extension(|| 2_u64), 2);
}

#[test]
fn read_transactions_are_many_and_move_between_threads() {
    let env = Environment::open(&Location::Memory, &Options::default()).unwrap();
    put(&env, b"a", b"1");
    let here: Vec<ReadTxn> = (0..200).map(|_| env.read().unwrap()).collect();
    put(&env, b"a", b"2");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let own: Vec<ReadTxn> = (0..100).map(|_| env.read().unwrap()).collect();
                for txn in &own {
                    assert_eq!(txn.get(Table::Log, b"a").unwrap(), Some(&b"2"[..]));
                }
            });
        }
        scope.spawn(move || {
            for txn in &here {
                assert_eq!(txn.get(Table::Log, b"a").unwrap(), Some(&b"1"[..]));
            }
        });
    });
}

#[test]
fn read_transactions_beyond_the_limit_are_refused_and_no_others() {
    let env = Environment::open(&Location::Memory, &Options::default()).unwrap();
    let mut held = Vec::new();
    let refused = loop {
        match env.read() {
            Ok(txn) => held.push(txn),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::TooManyReaders { max: 1_024 }), "{refused}");
    assert_eq!(held.len(), 1_024);
    held.pop();
    env.read().unwrap();
}

#[test]
fn memory_stores_are_separate_and_vanish() {
    let one = Environment::open(&Location::Memory, &Options::default()).unwrap();
    let two = Environment::open(&Location::Memory, &Options::default()).unwrap();
    put(&one, b"a", b"1");
    assert_eq!(two.read().unwrap().entries(Table::Log).unwrap(), 0);
    assert_eq!(one.path(), None);
    let dir = one.directory().to_owned();
    assert!(dir.exists());
    assert!(one.close().wait(SOON));
    assert!(!dir.exists());
    let dir = two.directory().to_owned();
    assert!(two.close().wait(SOON));
    assert!(!dir.exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_memory_store_left_by_a_killed_process_is_swept() {
    let base = Environment::open(&Location::Memory, &Options::default()).unwrap();
    let base = base.directory().parent().unwrap().to_owned();
    let left = base.join(format!("multi-hyperbee-memory-{:032x}", std::process::id()));
    fs::create_dir(&left).unwrap();
    fs::write(left.join("removed-when-closed"), b"").unwrap();
    fs::write(left.join("data.mdb"), b"left").unwrap();
    let young = Environment::open(&Location::Memory, &Options::default()).unwrap();
    assert!(left.exists(), "too young to be swept");
    age(&left);
    age(young.directory());
    let _another = Environment::open(&Location::Memory, &Options::default()).unwrap();
    assert!(!left.exists());
    assert!(young.directory().exists(), "in use, so not swept");
}

#[cfg(target_os = "linux")]
fn age(dir: &Path) {
    let hour_ago = std::time::SystemTime::now() - Duration::from_hours(1);
    fs::File::open(dir).unwrap().set_modified(hour_ago).unwrap();
}

/// A user's store that is closed, beside stores in memory: nothing removes it, whatever it is called.
#[cfg(target_os = "linux")]
#[test]
fn a_store_of_a_users_is_never_swept() {
    let base = Environment::open(&Location::Memory, &Options::default()).unwrap();
    let base = base.directory().parent().unwrap().to_owned();
    let id = std::process::id();
    let named = ["multi-hyperbee-", "multi-hyperbee-memory-"].map(|name| format!("{name}{id}"));
    let as_in_memory = format!("multi-hyperbee-memory-{:032x}", u128::from(id) << 32);
    let dirs: Vec<PathBuf> = named.into_iter().chain([as_in_memory]).map(|name| base.join(name)).collect();
    for dir in &dirs {
        let env = open(dir).unwrap();
        put(&env, b"a", b"1");
        assert!(env.close().wait(SOON));
        age(dir);
    }
    let _another = Environment::open(&Location::Memory, &Options::default()).unwrap();
    for dir in &dirs {
        assert_eq!(open(dir).unwrap().read().unwrap().entries(Table::Log).unwrap(), 1, "{}", dir.display());
        fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn what_else_is_in_a_stores_directory_stays() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = ["creating/a", "compacting/a", "memory/a", "a"].map(|name| dir.path().join(name));
    for file in &theirs {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, b"theirs").unwrap();
    }
    for _ in 0..2 {
        let env = open(dir.path()).unwrap();
        put(&env, b"a", b"1");
        assert!(env.close().wait(SOON));
    }
    assert!(theirs.iter().all(|file| fs::read(file).is_ok_and(|found| found == b"theirs")));
}

#[test]
fn a_copy_has_what_was_committed_and_its_mark() {
    let dir = tempfile::tempdir().unwrap();
    let env = Environment::open(&Location::Memory, &Options::default()).unwrap();
    for row in 0..2_000_u32 {
        put(&env, &row.to_be_bytes(), &[7; 50]);
    }
    let mark = |txn: &mut WriteTxn<'_>| txn.put(Table::Meta, b"mark", b"copied");
    let to = dir.path().join("a/copy");
    // A try that was cut short is in nobody's way.
    fs::create_dir_all(to.join("multi-hyperbee-creating/multi-hyperbee-creating")).unwrap();
    let reading = env.read().unwrap();
    let mut writing = env.write().unwrap();
    writing.put(Table::Log, b"not committed", b"").unwrap();
    env.copy(&to, mark).unwrap();
    writing.commit().unwrap();
    drop(reading);

    let copy = open(&to).unwrap();
    let txn = copy.read().unwrap();
    assert_eq!(txn.entries(Table::Log).unwrap(), 2_000);
    assert_eq!(txn.get(Table::Meta, b"mark").unwrap(), Some(&b"copied"[..]));
    assert_eq!(env.read().unwrap().get(Table::Meta, b"mark").unwrap(), None);
    assert!(!to.join("multi-hyperbee-creating").exists());
    assert!(matches!(env.copy(&to, mark), Err(StoreError::Open { .. })), "a store is not written over");
}

#[test]
fn a_copy_that_cannot_be_marked_is_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let env = Environment::open(&Location::Memory, &Options::default()).unwrap();
    put(&env, b"a", b"1");
    let failed = env.copy(dir.path(), |txn: &mut WriteTxn<'_>| txn.put(Table::Meta, b"", b""));
    assert!(matches!(failed, Err(StoreError::KeySize { .. })));
    assert!(!dir.path().join("data.mdb").exists());
    env.copy(dir.path(), |_: &mut WriteTxn<'_>| Ok::<_, StoreError>(())).unwrap();
    assert_eq!(open(dir.path()).unwrap().read().unwrap().entries(Table::Log).unwrap(), 1);
}

#[test]
fn a_store_of_an_earlier_version_is_opened_once_for_writing_before_it_is_for_reading() {
    let dir = tempfile::tempdir().unwrap();
    let env = open(dir.path()).unwrap();
    put(&env, b"a", b"1");
    assert!(env.close().wait(SOON));
    // As if the table had never been made: under its name there is none.
    let data = dir.path().join("data.mdb");
    let mut bytes = fs::read(&data).unwrap();
    let (name, mut found) = (b"covers-1", 0);
    for at in 0..bytes.len() - name.len() {
        let here = bytes.get_mut(at..at + name.len()).unwrap();
        if here == name {
            here.copy_from_slice(b"covers-0");
            found += 1;
        }
    }
    assert!(found > 0);
    fs::write(&data, bytes).unwrap();
    let reading = || Environment::open(&Location::Path(dir.path().to_owned()), &READ_ONLY);
    let refused = reading();
    assert!(matches!(refused, Err(StoreError::Older { table: "covers-1", .. })), "{refused:?}");
    let error = multi_hyperbee::db::Error::from(refused.err().unwrap());
    assert_eq!(error.code, multi_hyperbee::db::Code::FormatVersion);
    assert!(error.message.ends_with("open it once without readOnly, which adds it"), "{}", error.message);

    assert!(open(dir.path()).unwrap().close().wait(SOON));
    let env = reading().unwrap();
    assert_eq!(env.read().unwrap().get(Table::Log, b"a").unwrap(), Some(&b"1"[..]));
    assert_eq!(env.read().unwrap().entries(Table::Covers).unwrap(), 0);
}
