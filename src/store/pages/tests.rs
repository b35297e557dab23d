//! The walk on sound files, on files with damages of known kinds, and on noise.

use std::fs;
use std::ops::Bound;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;

use super::Walk;
use crate::store::check;
use crate::store::{Environment, Location, Options, Read as _, Table};

fn open(dir: &Path) -> Environment {
    Environment::open(&Location::Path(dir.to_owned()), &Options::default()).unwrap()
}

/// Rows of all three orders, long values, several commits, pages freed, kept and behind the end.
static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let env = open(dir.path());
    for part in 0..6_u32 {
        let mut txn = env.write().unwrap();
        for row in 0..300_u32 {
            let mut key = [&7_u32.to_be_bytes()[..], &vec![b'k'; (row % 90) as usize]].concat();
            key.extend_from_slice(&[row.to_be_bytes(), part.to_be_bytes()].concat());
            txn.put(Table::View, &key, &vec![1; (row % 700) as usize]).unwrap();
            key.extend_from_slice(&[3; 16]);
            txn.put(Table::Diffs, &key, &[2]).unwrap();
            txn.append(Table::Blocks, &[part.to_be_bytes(), row.to_be_bytes()].concat(), &[5; 60]).unwrap();
        }
        for row in 0..4_u32 {
            txn.put(Table::Tree, &[part.to_be_bytes(), row.to_be_bytes()].concat(), &vec![9; 20_000])
                .unwrap();
        }
        txn.commit().unwrap();
        let mut txn = env.write().unwrap();
        for row in (0..300_u32).step_by(3) {
            txn.delete(Table::Blocks, &[part.to_be_bytes(), row.to_be_bytes()].concat()).unwrap();
        }
        txn.delete(Table::Tree, &[part.to_be_bytes(), 1_u32.to_be_bytes()].concat()).unwrap();
        txn.commit().unwrap();
    }
    assert!(env.clone().read().unwrap().entries(Table::Blocks).unwrap() == 1_200);
    close(env);
    fs::read(dir.path().join("data.mdb")).unwrap()
});

fn close(env: Environment) {
    assert!(env.close().wait(Duration::from_secs(10)));
}

fn walk(bytes: &[u8]) -> Option<Walk> {
    check::walk(bytes, Path::new("here"), &mut |_, _| true).ok()
}

fn page_size() -> usize {
    u32::from_ne_bytes(SOUND[40..44].try_into().unwrap()) as usize
}

/// The first page whose flags and table satisfy the search.
fn find(flags: u16, from: usize) -> usize {
    (from..SOUND.len() / page_size())
        .find(|page| SOUND[page * page_size() + 10..][..2] == flags.to_ne_bytes())
        .unwrap()
}

#[test]
fn a_sound_file_has_no_damage_and_its_rows_are_counted() {
    let found = walk(&SOUND).unwrap();
    assert_eq!(found.damages, []);
    // 300 rows for each part, less the keys that are alike; 1,200 blocks; 18 long values; the format.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data.mdb"), &*SOUND).unwrap();
    let env = open(dir.path());
    let txn = env.read().unwrap();
    let rows: u64 = Table::ALL.iter().map(|table| txn.entries(*table).unwrap()).sum();
    assert_eq!(found.rows, rows);
    assert!(found.free > 0 && found.pages > 100 && found.lost == 0, "{found:?}");
}

#[test]
fn a_snapshot_is_walked_while_others_write() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data.mdb"), &*SOUND).unwrap();
    let env = open(dir.path());
    for round in 0..20_u32 {
        let snapshot = env.snapshot().unwrap();
        let rows = Table::ALL.iter().map(|table| snapshot.txn().entries(*table).unwrap()).sum::<u64>();
        for part in 0..5_u32 {
            let mut txn = env.write().unwrap();
            for row in 0..50_u32 {
                let key = [(part + round).to_be_bytes(), (row * 7).to_be_bytes()].concat();
                txn.put(Table::Blocks, &key, &vec![8; (row * round * 9) as usize]).unwrap();
                txn.delete(Table::Blocks, &[part.to_be_bytes(), (row + round).to_be_bytes()].concat())
                    .unwrap();
            }
            txn.commit().unwrap();
        }
        let mut last = (0, 0);
        let found = snapshot
            .walk(&mut |done, total| {
                last = (done, total);
                true
            })
            .unwrap();
        assert_eq!((found.damages.as_slice(), found.rows), (&[][..], rows));
        assert!(last.0 == last.1 && last.0 > 0);
    }
}

/// Damages of which each is one byte or two in a page of a known kind, and what must be said of it.
#[test]
fn each_kind_of_damage_is_named_with_its_page() {
    let (leaf, branch, long) = (find(2, 2), find(1, 2), find(4, 2));
    let cases: [(&str, usize, usize, &[u8], &str); 9] = [
        ("its number", leaf, 0, &[0xff], "own number"),
        ("its flags", leaf, 10, &[1], ""),
        ("no flags", leaf, 10, &[0], "neither"),
        ("lower", leaf, 12, &[0xff, 0xff], "bounds"),
        ("upper", leaf, 14, &[0xff, 0x7f], "bounds"),
        ("a pointer", leaf, 16, &[3, 0], "outside"),
        ("a pointer past the end", leaf, 16, &[0xfe, 0xff], "outside"),
        ("a branch's pointer", branch, 16, &[0, 0], ""),
        ("a long value's length", long, 12, &[77], "first page"),
    ];
    for (name, page, at, bytes, why) in cases {
        let mut file = SOUND.clone();
        file[page * page_size() + at..][..bytes.len()].copy_from_slice(bytes);
        let found = walk(&file).unwrap();
        let first = found.damages.iter().find(|damage| damage.page == page as u64);
        // Pages that are free now may be damaged at will.
        let used = walk_uses(page);
        assert_eq!(first.is_some(), used, "{name}: {:?}", found.damages);
        if let Some(first) = first {
            assert!(first.why.contains(why), "{name}: {first}");
            assert!(first.table.ends_with("-1") || first.table.starts_with("the list"), "{first}");
        }
    }
}

/// Whether noise in the page is seen, so whether the walk visits it.
fn walk_uses(page: usize) -> bool {
    let mut file = SOUND.clone();
    file[page * page_size()..][..page_size()].fill(0xa5);
    // Noise in a root that a meta page names is refused before any walk.
    walk(&file).is_none_or(|found| !found.is_clean())
}

#[test]
fn most_pages_are_looked_at() {
    let pages = SOUND.len() / page_size();
    let used = (2..pages).filter(|page| walk_uses(*page)).count();
    let found = walk(&SOUND).unwrap();
    // Of a long value only the first page has a header.
    assert!(used as u64 >= (found.pages - found.free) / 3, "{used} of {pages}, {} free", found.free);
}

#[test]
fn i1_a_circle_ends() {
    let mut file = SOUND.clone();
    let branch = (2..SOUND.len() / page_size())
        .filter(|page| SOUND[page * page_size() + 10..][..2] == [1, 0])
        .find(|page| walk_uses(*page))
        .unwrap();
    let page = &mut file[branch * page_size()..][..page_size()];
    let node = u16::from_ne_bytes(page[16..18].try_into().unwrap()) as usize;
    page[node..node + 4].copy_from_slice(&u32::try_from(branch).unwrap().to_ne_bytes());
    let found = walk(&file).unwrap();
    assert!(found.damages.iter().any(|damage| damage.why.contains("twice")), "{:?}", found.damages);
}

/// Reads every row through LMDB, as everything above does.
fn read_all(bytes: &[u8]) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data.mdb"), bytes).unwrap();
    let env = open(dir.path());
    let txn = env.read().unwrap();
    let mut rows = 0;
    for table in Table::ALL {
        for row in txn.range(table, Bound::Unbounded, Bound::Unbounded).unwrap() {
            let (key, value) = row.unwrap();
            assert!(key.iter().chain(value).fold(0_u64, |sum, byte| sum + u64::from(*byte)) > 0);
            assert_eq!(txn.get(table, key).unwrap(), Some(value));
            rows += 1;
        }
    }
    drop(txn);
    close(env);
    rows
}

/// Found by fuzzing: LMDB reads a transaction's state from the meta page where its number belongs, whatever stands there.
#[test]
fn i2_a_transaction_in_the_other_ones_meta_page_is_refused() {
    let txn_at = |page: usize| page * page_size() + 144;
    let number = |page: usize| u64::from_ne_bytes(SOUND[txn_at(page)..][..8].try_into().unwrap());
    let (even, odd) = (number(0), number(1));
    assert!((even % 2, odd % 2) == (0, 1) && even.abs_diff(odd) == 1, "{even} {odd}");
    let mut refused = 0;
    for (page, bit) in (0..2).flat_map(|page| (0..64).map(move |bit| (page, bit))) {
        let mut file = SOUND.clone();
        file[txn_at(page)..][..8].copy_from_slice(&(number(page) ^ 1 << bit).to_ne_bytes());
        match walk(&file) {
            None => refused += 1,
            Some(found) => assert_eq!(read_all(&file), found.rows, "page {page}, bit {bit}"),
        }
    }
    assert!(refused > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn i1_no_bytes_make_a_walk_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 1..40_usize), 1..12),
        header in any::<bool>(),
    ) {
        let mut bytes = SOUND.clone();
        for (at, byte, length) in damage {
            // Half of the cases keep to the first bytes of pages, where most of the bytes mean something.
            let at = at.index(bytes.len());
            let at = if header { at / page_size() * page_size() + at % 64 } else { at };
            let end = (at + length).min(bytes.len());
            bytes[at..end].fill(byte);
        }
        walk(&bytes);
    }

    #[test]
    fn i2_what_a_walk_passes_is_what_lmdb_can_read(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u32), 1..4),
        header in any::<bool>(),
    ) {
        let mut bytes = SOUND.clone();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            let at = if header { at / page_size() * page_size() + at % 24 } else { at };
            bytes[at] ^= 1 << bit;
        }
        if let Some(found) = walk(&bytes) && found.is_clean() {
            // A flip in the format's row is for the open to refuse, and none of the other flips may hurt.
            prop_assert_eq!(read_all(&bytes), found.rows);
        }
    }
}
