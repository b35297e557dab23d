//! The page walker, on noise and on sound files with bytes changed.

use super::bytes::Bytes;
use multi_hyperbee::store::{Environment, Location, Options, Read as _, Table, walk_bytes};
use std::fs;
use std::ops::Bound;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

fn open(dir: &Path) -> Option<Environment> {
    Environment::open(&Location::Path(dir.to_owned()), &Options::default()).ok()
}

/// Rows of all orders, long values, free pages.
static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    let env = open(dir.path()).expect("a new store");
    for part in 0..3_u32 {
        let mut txn = env.write().expect("a transaction");
        for row in 0..60_u32 {
            let mut key = [&7_u32.to_be_bytes()[..], &vec![b'k'; (row % 90) as usize]].concat();
            key.extend_from_slice(&[row.to_be_bytes(), part.to_be_bytes()].concat());
            txn.put(Table::View, &key, &vec![1; (row * 11 % 700) as usize]).expect("a put");
            key.extend_from_slice(&[3; 16]);
            txn.put(Table::Diffs, &key, &[2]).expect("a put");
            let place = [part.to_be_bytes(), row.to_be_bytes()].concat();
            txn.append(Table::Blocks, &place, &[5; 60]).expect("an append");
        }
        for row in 0..2_u32 {
            let place = [part.to_be_bytes(), row.to_be_bytes()].concat();
            txn.put(Table::Tree, &place, &[9; 9_000]).expect("a put");
        }
        for row in (0..60_u32).step_by(3) {
            txn.delete(Table::Blocks, &[part.to_be_bytes(), row.to_be_bytes()].concat()).expect("a delete");
        }
        txn.delete(Table::Tree, &[part.to_be_bytes(), 1_u32.to_be_bytes()].concat()).expect("a delete");
        txn.commit().expect("a commit");
    }
    assert!(env.close().wait(Duration::from_secs(10)));
    fs::read(dir.path().join("data.mdb")).expect("the file")
});

/// LMDB itself follows what the walk has found nothing in, and finds as many rows.
fn follow(file: &[u8], rows: u64) {
    let shared = Path::new("/dev/shm");
    let dir = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
    let dir = dir.expect("a directory");
    fs::write(dir.path().join("data.mdb"), file).expect("a file");
    // Another format, or another order of keys, is no damage of pages.
    let Some(env) = open(dir.path()) else { return };
    let snapshot = env.read().expect("a snapshot");
    let mut found = 0;
    for table in Table::ALL {
        let all = snapshot.range(table, Bound::Unbounded, Bound::Unbounded).expect("a range");
        for row in all {
            row.expect("a row");
            found += 1;
        }
    }
    assert_eq!(found, rows);
    drop(snapshot);
    assert!(env.close().wait(Duration::from_secs(10)));
}

/// Even: a file as it is. Odd: a sound one with bytes changed: page, place in it, how many, and they.
pub fn pages(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    if bytes.u8() & 1 == 0 {
        let _ = walk_bytes(bytes.0);
        return;
    }
    let mut file = SOUND.clone();
    let page_size = u32::from_ne_bytes([file[40], file[41], file[42], file[43]]) as usize;
    while !bytes.is_empty() {
        let page = bytes.below(file.len() / page_size) * page_size;
        let place = match bytes.u8() {
            // The header, the list of nodes, and what the meta pages have.
            near @ 0..192 => usize::from(near),
            far => (usize::from(far) * 256 + usize::from(bytes.u8())) % page_size,
        };
        let (flips, length) = (bytes.chance(50), 1 + bytes.below(8));
        for (to, from) in file[page..][..page_size].iter_mut().skip(place).zip(bytes.take(length)) {
            *to = if flips { *to ^ from } else { *from };
        }
    }
    if let Ok(found) = walk_bytes(&file)
        && found.is_clean()
        && file != *SOUND
    {
        follow(&file, found.rows);
    }
}
