//! A map that grows under its readers, and a disk that fills.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::ops::Bound;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use multi_hyperbee::store::{Environment, Location, Options, Read, StoreError, Table};

/// Tells a copy of this test program what to do instead of testing.
const CHILD: &str = "MULTI_HYPERBEE_GROWTH_CHILD";
const DIR: &str = "MULTI_HYPERBEE_GROWTH_DIR";

fn small() -> Environment {
    let options = Options { map_size: Some(1 << 20), ..Options::default() };
    Environment::open(&Location::Memory, &options).unwrap()
}

/// Writes `rows` rows of a kibibyte and their number, in one transaction.
fn write(env: &Environment, from: u32, rows: u32) -> Result<(), StoreError> {
    env.write_with(|txn| {
        for row in from..from + rows {
            txn.append(Table::Blocks, &row.to_be_bytes(), &[0x5a; 1_024])?;
        }
        txn.put(Table::Meta, b"rows", &(from + rows).to_be_bytes())
    })
}

fn rows(txn: &impl Read) -> u32 {
    let rows =
        txn.get(Table::Meta, b"rows").unwrap().map_or(0, |row| u32::from_be_bytes(row.try_into().unwrap()));
    assert_eq!(txn.entries(Table::Blocks).unwrap(), u64::from(rows), "all of a transaction or nothing");
    rows
}

#[test]
fn i4_the_map_grows_under_readers_and_nobody_sees_an_error() {
    let env = small();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(Ordering::SeqCst) {
                    let txn = env.read().unwrap();
                    let seen = rows(&txn);
                    assert!(seen >= last);
                    last = seen;
                    let count = txn.range(Table::Blocks, Bound::Unbounded, Bound::Unbounded).unwrap().count();
                    assert_eq!(count, usize::try_from(seen).unwrap());
                }
            });
        }
        for round in 0..16 {
            write(&env, round * 500, 500).unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(rows(&env.read().unwrap()), 8_000);
    assert!(env.stat().unwrap().map >= 8 << 20);
}

#[test]
fn one_transaction_may_need_the_map_doubled_many_times() {
    let env = small();
    let mut runs = 0;
    env.write_with(|txn| {
        runs += 1;
        (0..20_000_u32).try_for_each(|row| txn.append(Table::Blocks, &row.to_be_bytes(), &[1; 1_024]))
    })
    .unwrap();
    assert!(runs > 4, "1 MiB doubled up to 32: {runs} runs");
    assert_eq!(env.read().unwrap().entries(Table::Blocks).unwrap(), 20_000);
}

#[test]
fn a_closure_that_swallows_the_full_map_is_run_again_all_the_same() {
    let env = small();
    env.write_with(|txn| {
        for row in 0..3_000_u32 {
            let _ = txn.put(Table::Blocks, &row.to_be_bytes(), &[1; 1_024]);
        }
        Ok::<_, StoreError>(())
    })
    .unwrap();
    assert_eq!(env.read().unwrap().entries(Table::Blocks).unwrap(), 3_000);
}

#[test]
fn an_error_of_the_closure_aborts_and_is_handed_on() {
    #[derive(Debug)]
    enum Mine {
        No,
        Store,
    }
    impl From<StoreError> for Mine {
        fn from(_: StoreError) -> Self {
            Self::Store
        }
    }
    let env = small();
    let result: Result<(), Mine> = env.write_with(|txn| {
        txn.put(Table::Log, b"a", b"1")?;
        Err(Mine::No)
    });
    assert!(matches!(result, Err(Mine::No)));
    let result: Result<(), Mine> = env.write_with(|txn| Ok(txn.put(Table::Log, b"", b"1")?));
    assert!(matches!(result, Err(Mine::Store)));
    assert_eq!(env.read().unwrap().entries(Table::Log).unwrap(), 0);
}

#[test]
fn i4_growth_is_refused_while_a_write_is_open() {
    let env = small();
    let mut txn = env.write().unwrap();
    let full = (0..2_000_u32).find_map(|row| txn.put(Table::Log, &row.to_be_bytes(), &[1; 1_024]).err());
    assert!(matches!(full, Some(StoreError::MapFull)));
    assert!(matches!(env.grow(), Err(StoreError::WriteInProgress)));
    txn.abort();
    env.grow().unwrap();
    assert_eq!(env.stat().unwrap().map, 2 << 20);
}

#[test]
fn i4_growth_waits_for_a_reader_which_may_open_more_readers_meanwhile() {
    let env = small();
    write(&env, 0, 10).unwrap();
    let held = env.read().unwrap();
    let (grown, is_grown) = mpsc::channel();
    let growing = env.clone();
    let thread = thread::spawn(move || {
        growing.grow().unwrap();
        grown.send(()).unwrap();
    });
    assert!(is_grown.recv_timeout(Duration::from_millis(30)).is_err(), "it moved the map under a reader");
    assert_eq!(rows(&env.read().unwrap()), 10);
    assert_eq!(rows(&held), 10);
    assert!(is_grown.try_recv().is_err());
    drop(held);
    is_grown.recv_timeout(Duration::from_secs(10)).unwrap();
    thread.join().unwrap();
    assert_eq!(rows(&env.read().unwrap()), 10);
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_growth_the_system_refuses_leaves_the_store_as_it_was() {
    let options = Options { map_size: Some(1 << 46), ..Options::default() };
    let env = Environment::open(&Location::Memory, &options).unwrap();
    write(&env, 0, 10).unwrap();
    assert!(matches!(env.grow(), Err(StoreError::NoAddressSpace { .. })));
    assert_eq!(rows(&env.read().unwrap()), 10);
    write(&env, 10, 10).unwrap();
    assert_eq!(rows(&env.read().unwrap()), 20);
    assert_eq!(env.stat().unwrap().map, 1 << 46);
}

/// Runs `a_child_of_another_test` under limits set by the shell; returns what it prints on standard error.
fn limited(role: &str, limits: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("{limits}; exec \"$0\" --exact a_child_of_another_test --nocapture"))
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, role)
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

/// Does nothing unless started by `limited`.
#[test]
fn a_child_of_another_test() {
    let Ok(role) = std::env::var(CHILD) else { return };
    let dir = Location::Path(std::env::var(DIR).unwrap().into());
    let env = Environment::open(&dir, &Options::default()).unwrap();
    if role == "address space" {
        write(&env, 0, 100).unwrap();
        eprintln!("map {}", env.stat().unwrap().map);
        return;
    }
    let mut written = 0;
    let refused = loop {
        match write(&env, written, 100) {
            Ok(()) => written += 100,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::DiskFull(_)), "{refused}");
    assert!(written > 0);
    assert_eq!(rows(&env.read().unwrap()), written, "what was committed is there");
    // Larger than what LMDB keeps in memory before it spills: fails in a put, not in the commit.
    let refused = write(&env, written, 100_000).unwrap_err();
    assert!(matches!(refused, StoreError::DiskFull(_)), "{refused}");
    assert_eq!(rows(&env.read().unwrap()), written);
    // Room can be made, and used; a little at a time, for what is removed is first copied without it.
    for row in 0..written / 2 {
        env.write_with(|txn| txn.delete(Table::Blocks, &row.to_be_bytes()).map(drop)).unwrap();
    }
    env.write_with(|txn| txn.put(Table::Meta, b"rows", &(written - written / 2).to_be_bytes())).unwrap();
    env.write_with(|txn| txn.put(Table::Log, b"again", &vec![1; 100_000]))
        .map_err(|error: StoreError| error)
        .unwrap();
    let closed = env.close();
    assert!(closed.wait(Duration::from_secs(10)));
    let env = Environment::open(&dir, &Options::default()).unwrap();
    assert_eq!(rows(&env.read().unwrap()), written - written / 2);
    assert!(env.read().unwrap().get(Table::Log, b"again").unwrap().is_some());
    eprintln!("usable after {written}");
}

#[cfg(unix)]
#[test]
fn i7_a_full_disk_keeps_what_was_committed_and_the_store_usable() {
    // A limit on the length of files stands in for the disk; ignoring the signal makes it an error of the write.
    let said = limited("disk", "trap '' XFSZ; ulimit -f 4000");
    assert!(said.contains("usable after"), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_with_little_address_space_reserves_less() {
    let said = limited("address space", "ulimit -v 33554432");
    assert!(said.contains(&format!("map {}", 1_u64 << 34)), "a quarter at a time, 16 GiB of 32: {said}");
}
