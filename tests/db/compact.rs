//! Old versions that go: what can still be read is what it was, and what merges later merges as if nothing had gone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::device::{Device, meet};
use crate::support::*;
use multi_hyperbee::db::{Code, CompactStage, DatabaseOptions, Db, Held, Keep, Range, Store};
use parking_lot::Mutex;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn view(db: &Db, at: Option<u64>) -> Map {
    let mut scan = db.scan(Range::default(), at).unwrap();
    let mut map = Map::new();
    while scan
        .visit(7, 1 << 20, |row| {
            let entry = row.to_entry();
            map.insert(entry.key, entry.value);
        })
        .unwrap()
    {}
    map
}

fn compact(db: &Db, versions: u64) -> u64 {
    db.compact(Some(Keep::Versions(versions)), |_| ()).wait().unwrap().oldest
}

fn must_be_clean(store: &Store) {
    let report = store.verify(|_| ()).wait().unwrap();
    assert_eq!(report.damages.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
}

fn version(db: &Db) -> u64 {
    db.status().unwrap().version
}

fn code_of<T>(result: Result<T, multi_hyperbee::db::Error>) -> Code {
    result.err().unwrap().code
}

#[test]
fn i1_i2_versions_from_the_floor_on_are_what_they_were_and_others_are_refused() {
    let store = memory();
    let db = create(&store);
    for n in 0..30 {
        put(&db, &format!("k{}", n % 4), &format!(r#"{{"n":{n}}}"#));
    }
    del(&db, "k0");
    let before: Vec<Map> = (0..=31).map(|at| view(&db, Some(at))).collect();
    let hash = db.state_hash().unwrap();
    assert_eq!((compact(&db, 5), db.oldest_version().unwrap()), (27, 27));
    for at in 27..=31 {
        assert_eq!(view(&db, Some(at)), before[usize::try_from(at).unwrap()], "version {at}");
    }
    assert_eq!(view(&db, Some(0)), Map::new());
    for at in 1..27 {
        assert_eq!(code_of(db.scan(Range::default(), Some(at))), Code::VersionGone);
        assert_eq!(code_of(db.get_entry(b"k1", Some(at))), Code::VersionGone);
        assert_eq!(code_of(db.hold(Some(at))), Code::VersionGone);
        assert_eq!(code_of(db.compare(Some(at), None, Range::default())), Code::VersionGone);
        assert_eq!(code_of(db.history(at, None, false)), Code::VersionGone);
    }
    assert_eq!(code_of(db.version_at(0)), Code::VersionGone, "what was there is not known any more");
    let history = db.history(0, None, false).unwrap().next(100, 1 << 20).unwrap();
    assert_eq!(history.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [27, 28, 29, 30, 31]);
    let back = db.history(0, None, true).unwrap().next(100, 1 << 20).unwrap();
    assert_eq!(back.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [31, 30, 29, 28, 27]);
    assert_eq!(db.state_hash().unwrap(), hash);
    // The empty view is what everything differs from.
    let mut all = 0;
    let mut comparison = db.compare(Some(0), None, Range::default()).unwrap();
    while comparison.visit(10, 1 << 20, |_, right| all += u32::from(right.is_some())).unwrap() {}
    assert_eq!(all, 3);
    must_be_clean(&store);
    assert_eq!(compact(&db, 5), 27, "nothing is left to do");
    assert_eq!(compact(&db, 1), 31);
    assert_eq!(view(&db, None), before[31]);
    must_be_clean(&store);
}

#[test]
fn all_is_kept_unless_somebody_says_otherwise() {
    let store = memory();
    let db = create(&store);
    for n in 0..10 {
        put(&db, "k", &format!(r#"{{"n":{n}}}"#));
    }
    let done = db.compact(None, |_| ()).wait().unwrap();
    assert_eq!((done.versions, done.oldest), (0, 1));
    let options = |keep| DatabaseOptions { history: Some(keep), ..database() };
    let few = store.database(options(Keep::Versions(2))).wait().unwrap();
    let all = store.database(options(Keep::All)).wait().unwrap();
    assert_eq!(db.compact(None, |_| ()).wait().unwrap().oldest, 1, "one of them keeps all");
    all.close().wait().unwrap();
    assert_eq!(db.compact(None, |_| ()).wait().unwrap().oldest, 9);
    few.close().wait().unwrap();
    for n in 0..10 {
        put(&db, "k", &format!(r#"{{"m":{n}}}"#));
    }
    assert_eq!(db.compact(None, |_| ()).wait().unwrap().oldest, 9, "nobody says anything any more");
}

#[test]
fn i4_no_floor_passes_what_is_read() {
    let store = memory();
    let db = create(&store);
    let put_many = |from: u32| {
        for n in from..from + 10 {
            put(&db, &format!("k{}", n % 3), &format!(r#"{{"n":{n}}}"#));
        }
    };
    put_many(0);
    let held = db.hold(None).unwrap();
    assert_eq!(held.version(), 10);
    let then = view(&db, None);
    put_many(10);
    let mut scan = db.scan(Range::default(), Some(15)).unwrap();
    let first = scan.next(1, 1 << 20).unwrap();
    assert_eq!(first.len(), 1);
    put_many(20);
    let mut history = db.history(25, None, false).unwrap();
    let mut comparison = db.compare(Some(21), Some(28), Range::default()).unwrap();
    assert_eq!(compact(&db, 1), 10);
    assert_eq!(view(&db, Some(10)), then);
    drop(held);
    assert_eq!(compact(&db, 1), 15);
    assert_eq!(scan.next(100, 1 << 20).unwrap().len(), 2);
    drop(scan);
    assert_eq!(compact(&db, 1), 21);
    let mut pairs = 0;
    while comparison
        .visit(1, 1 << 20, |left, right| {
            assert!(left.is_some() && right.is_some());
            pairs += 1;
        })
        .unwrap()
    {}
    assert_eq!(pairs, 3);
    drop(comparison);
    assert_eq!(compact(&db, 1), 25);
    // A history gives up what it has passed.
    assert_eq!(history.next(2, 1 << 20).unwrap().len(), 2);
    assert_eq!(compact(&db, 1), 27);
    assert_eq!(history.next(10, 1 << 20).unwrap().len(), 4);
    drop(history);
    assert_eq!(compact(&db, 1), 30);
    must_be_clean(&store);
}

#[test]
fn a_history_that_is_limited_is_trimmed_as_it_grows() {
    let store = memory();
    let options = DatabaseOptions { history: Some(Keep::Versions(10)), ..database() };
    let db = store.database(options).wait().unwrap();
    for n in 0..3_000 {
        put(&db, &format!("k{}", n % 7), &format!(r#"{{"n":{n}}}"#));
        let kept = version(&db) + 1 - db.oldest_version().unwrap().max(1);
        assert!(kept <= 10 + 256 + 1, "{kept} after {n}");
    }
    let batch: Vec<_> = (0..5_000).map(|n| put_write(&format!("b{n}"), "{}")).collect();
    db.write(batch).wait().unwrap();
    for n in 0..20 {
        put(&db, "last", &format!(r#"{{"n":{n}}}"#));
    }
    assert_eq!(version(&db), 8_020);
    assert!(db.oldest_version().unwrap() > 8_020 - 10 - 5_000);
    assert_eq!(db.compact(None, |_| ()).wait().unwrap().oldest, 8_011);
    assert_eq!(view(&db, None).len(), 5_008);
    must_be_clean(&store);
}

#[test]
fn what_goes_is_told_as_it_goes_and_can_be_stopped() {
    let store = memory();
    let db = create(&store);
    for _ in 0..5 {
        let batch: Vec<_> = (0..1_000)
            .map(|n| put_write(&format!("k{n}"), &format!(r#"{{"v":{}}}"#, version(&db))))
            .collect();
        db.write(batch).wait().unwrap();
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let done =
        db.compact(Some(Keep::Versions(1)), move |progress| tell.lock().push(progress)).wait().unwrap();
    assert_eq!((done.versions, done.oldest), (4_999, 5_000));
    let told = told.lock();
    assert!(
        told.len() >= 5 && told.iter().all(|one| one.stage == CompactStage::Versions && one.total == 4_999)
    );
    assert!(told.windows(2).all(|pair| pair[0].done < pair[1].done) && told.last().unwrap().done == 4_999);
    // The next one is stopped where it is: before the file is written anew.
    let (reached, goes_on) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
    let barriers = Arc::new((reached, goes_on));
    let theirs = Arc::clone(&barriers);
    let compaction = store.compact(move |progress| {
        if progress.stage == CompactStage::Copy {
            theirs.0.wait();
            theirs.1.wait();
        }
    });
    barriers.0.wait();
    compaction.stop();
    barriers.1.wait();
    assert_eq!(code_of(compaction.wait()), Code::Aborted);
    put(&db, "after", "{}");
    must_be_clean(&store);
}

#[test]
fn the_file_gets_smaller_and_all_goes_on_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        Store::open(
            &multi_hyperbee::db::Location::Path(dir.path().to_owned()),
            &multi_hyperbee::db::StoreOptions::default(),
        )
        .unwrap()
    };
    let store = open();
    let options = || DatabaseOptions { history: Some(Keep::Versions(1)), ..database() };
    let db = store.database(options()).wait().unwrap();
    let text = "x".repeat(2_000);
    for n in 0..20 {
        let batch: Vec<_> = (0..100)
            .map(|k| put_write(&format!("k{k}"), &format!(r#"{{"n":{n},"t":"{text}{n}"}}"#)))
            .collect();
        db.write(batch).wait().unwrap();
    }
    let mut scan = db.scan(Range::default(), None).unwrap();
    let first = scan.next(1, 1).unwrap();
    let (before, hash) = (view(&db, None), db.state_hash().unwrap());
    let stages = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&stages);
    let done = store.compact(move |progress| tell.lock().push(progress.stage)).wait().unwrap();
    assert!(done.after < done.before, "{done:?}");
    for stage in [CompactStage::Versions, CompactStage::Copy, CompactStage::Pages] {
        assert!(stages.lock().contains(&stage), "{stage:?}");
    }
    assert!(!dir.path().join("multi-hyperbee-compacting").exists());
    assert_eq!(std::fs::metadata(dir.path().join("data.mdb")).unwrap().len(), done.after);
    // A read that was under way goes on, reads and writes too.
    assert_eq!(first.len() + scan.next(1_000, 1 << 30).unwrap().len(), 100);
    assert_eq!((view(&db, None), db.state_hash().unwrap()), (before, hash));
    put(&db, "after", "{}");
    must_be_clean(&store);
    drop(scan);
    db.close().wait().unwrap();
    store.close().wait().unwrap();
    // What a compaction that was cut off leaves is removed.
    std::fs::create_dir(dir.path().join("multi-hyperbee-compacting")).unwrap();
    std::fs::write(dir.path().join("multi-hyperbee-compacting").join("data.mdb"), b"half").unwrap();
    let store = open();
    assert!(!dir.path().join("multi-hyperbee-compacting").exists());
    let db = store.database(options()).wait().unwrap();
    assert_eq!(view(&db, None).len(), 101);
    must_be_clean(&store);
}

#[test]
fn writers_and_readers_go_on_while_the_file_is_written_anew() {
    let store = memory();
    let db = create(&store);
    put(&db, "k", r#"{"n":0}"#);
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let reading = {
        let (db, done) = (db.clone(), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut least = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let n: u64 = get(&db, "k").unwrap()[5..].trim_end_matches('}').parse().unwrap();
                assert!(n >= least);
                least = n;
            }
        })
    };
    let writing = {
        let db = db.clone();
        std::thread::spawn(move || {
            for n in 1..=300 {
                put(&db, "k", &format!(r#"{{"n":{n}}}"#));
            }
        })
    };
    for _ in 0..10 {
        store.compact(|_| ()).wait().unwrap();
    }
    writing.join().unwrap();
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    reading.join().unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"n":300}"#));
    assert_eq!(version(&db), 301);
    must_be_clean(&store);
}

#[test]
fn late_diffs_a_revoke_and_an_added_feed_converge_with_who_never_compacts() {
    let whole = Device::new("whole", None);
    let other = Device::new("other", Some(whole.local()));
    let late = Device::new("late", Some(whole.local()));
    for device in [&other, &late] {
        whole.db.add_writer(device.local(), false).wait().unwrap();
    }
    meet(&whole, &other);
    meet(&whole, &late);
    late.at(5);
    for n in 0..40 {
        put(&late.db, &format!("k{}", n % 5), &format!(r#"{{"late":{n},"l":[{n}]}}"#));
    }
    for n in 0..40 {
        other.at(20 + n);
        put(&other.db, &format!("k{}", n % 5), &format!(r#"{{"other":{n},"l":["x",{n}]}}"#));
        if n % 9 == 8 {
            del(&other.db, "k1");
        }
    }
    compact(&other.db, 1);
    meet(&other, &whole);
    compact(&whole.db, 3);
    // Old diffs of who was away come to replicas that have trimmed.
    meet(&late, &other);
    compact(&other.db, 1);
    meet(&whole, &other);
    let agree = |devices: &[&Device]| {
        for pair in devices.windows(2) {
            assert_eq!(view(&pair[0].db, None), view(&pair[1].db, None));
            assert_eq!(pair[0].db.state_hash().unwrap(), pair[1].db.state_hash().unwrap());
        }
    };
    agree(&[&whole, &other, &late]);
    compact(&whole.db, 1);
    // What counted ceases to.
    whole.at(2);
    whole.db.remove_writer(late.local(), false).wait().unwrap();
    meet(&whole, &other);
    meet(&whole, &late);
    agree(&[&whole, &other, &late]);
    // Another database's old feed is added after both have trimmed.
    let apart = Device::new("apart", None);
    apart.at(1);
    for n in 0..20 {
        put(&apart.db, &format!("k{}", n % 5), &format!(r#"{{"apart":{n}}}"#));
    }
    compact(&apart.db, 1);
    for device in [&other, &whole] {
        compact(&device.db, 1);
        device.db.add_peer(apart.local()).wait().unwrap();
        let wire = connect(&device.db, &apart.db);
        carry_until(&[&wire], || {
            device.db.is_flushed().unwrap() && device.db.applied(&apart.local(), 21).unwrap()
        });
        wire.close();
    }
    agree(&[&whole, &other]);
}

/// What the writer had read is found again by folding: what came meanwhile is not undone.
#[test]
fn a_put_of_what_was_read_before_it_went_changes_only_what_its_writer_changed() {
    let store = memory();
    let db = create(&store);
    let read = |db: &Db| {
        db.get(b"k", None, |row| {
            let multi_hyperbee::db::Live::Object(text) = row.value else { unreachable!() };
            (text.to_owned(), (row.stamp, row.state))
        })
        .unwrap()
        .unwrap()
    };
    put(&db, "k", r#"{"a":1,"b":1,"l":["x","y"]}"#);
    edit(&db, "k", |text| text.replace("\"a\":1", "\"a\":2"));
    let (text, base) = read(&db);
    edit(&db, "k", |text| text.replace("\"b\":1", "\"b\":2"));
    edit(&db, "k", |text| text.replace("\"y\"]", "\"y\",\"z\"]"));
    assert_eq!(compact(&db, 1), 4);
    let value = text.replace("[\"x\"", "[\"w\",\"x\"").into_bytes();
    let write = multi_hyperbee::db::Write::Put {
        key: b"k".to_vec(),
        value,
        base: Some(base),
        diff: None,
        expect: multi_hyperbee::db::Expect::Any,
    };
    db.write(vec![write]).wait().unwrap().remove(0).unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"a":2,"b":2,"l":["w","x","y","z"]}"#));
}

#[derive(Clone, Debug)]
enum Act {
    Put(usize, u8, u16),
    Edit(usize, u8, u8),
    Del(usize, u8),
    Meet(usize, usize),
    Compact(usize, u64),
    Hold(usize),
    Let(usize),
    Jump(usize, u64),
    Grant(usize, bool),
    File(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let who = 0..3_usize;
    let act = prop_oneof![
        4 => (who.clone(), 0..4_u8, any::<u16>()).prop_map(|(a, k, v)| Act::Put(a, k, v)),
        4 => (who.clone(), 0..4_u8, any::<u8>()).prop_map(|(a, k, v)| Act::Edit(a, k, v)),
        2 => (who.clone(), 0..4_u8).prop_map(|(a, k)| Act::Del(a, k)),
        3 => (who.clone(), who.clone()).prop_map(|(a, b)| Act::Meet(a, b)),
        3 => (1..3_usize, 1..6_u64).prop_map(|(a, n)| Act::Compact(a, n)),
        1 => (1..3_usize).prop_map(Act::Hold),
        1 => (1..3_usize).prop_map(Act::Let),
        2 => (who, 0..400_u64).prop_map(|(a, t)| Act::Jump(a, t)),
        1 => (1..3_usize, any::<bool>()).prop_map(|(a, on)| Act::Grant(a, on)),
        1 => (1..3_usize).prop_map(Act::File),
    ];
    proptest::collection::vec(act, 10..50)
}

/// An array's elements moved, removed, inserted, by what a number says.
fn edited(text: &str, by: u8) -> String {
    let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
    let list = value.as_object_mut().unwrap().entry("l").or_insert_with(|| serde_json::json!([]));
    if let Some(list) = list.as_array_mut() {
        match by % 4 {
            0 => list.push(serde_json::json!(by)),
            1 if !list.is_empty() => drop(list.remove(usize::from(by) % list.len())),
            2 if list.len() > 1 => list.rotate_left(1),
            _ => list.insert(0, serde_json::json!({ "id": by, "x": [by] })),
        }
    }
    value.to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The first device never compacts; the others do when it comes to them. Whatever was held stays what it was, and in
    /// the end all are the same.
    #[test]
    fn who_compacts_agrees_with_who_does_not(acts in acts()) {
        let creator = Device::new("creator", None);
        let devices =
            [Device::new("one", Some(creator.local())), Device::new("two", Some(creator.local()))];
        let all = [&creator, &devices[0], &devices[1]];
        for device in &devices {
            creator.db.add_writer(device.local(), false).wait().unwrap();
            meet(&creator, device);
        }
        let mut held: Vec<Vec<(Held, Map)>> = vec![Vec::new(), Vec::new(), Vec::new()];
        for act in &acts {
            match *act {
                Act::Put(a, k, v) => {
                    if all[a].db.status().unwrap().writable {
                        put(&all[a].db, &format!("k{k}"), &format!(r#"{{"v":{v},"l":[1,2,{v}]}}"#));
                    }
                }
                Act::Edit(a, k, by) => {
                    let key = format!("k{k}");
                    if all[a].db.status().unwrap().writable && get(&all[a].db, &key).is_some() {
                        edit(&all[a].db, &key, |text| edited(text, by));
                    }
                }
                Act::Del(a, k) => {
                    if all[a].db.status().unwrap().writable {
                        del(&all[a].db, &format!("k{k}"));
                    }
                }
                Act::Meet(a, b) => if a != b { meet(all[a], all[b]) },
                Act::Compact(a, n) => drop(compact(&all[a].db, n)),
                Act::Hold(a) => held[a].push((all[a].db.hold(None).unwrap(), view(&all[a].db, None))),
                Act::Let(a) => drop(held[a].pop()),
                Act::Jump(a, to) => all[a].at(to),
                Act::Grant(a, true) => drop(creator.db.add_writer(all[a].local(), false).wait().unwrap()),
                Act::Grant(a, false) => drop(creator.db.remove_writer(all[a].local(), false).wait().unwrap()),
                Act::File(a) => drop(all[a].store.compact(|_| ()).wait().unwrap()),
            }
            for (device, held) in all.iter().zip(&held) {
                for (held, then) in held {
                    prop_assert_eq!(&view(&device.db, Some(held.version())), then);
                }
            }
        }
        for _ in 0..2 {
            meet(all[0], all[1]);
            meet(all[1], all[2]);
            meet(all[0], all[2]);
        }
        for device in &all {
            prop_assert_eq!(view(&device.db, None), view(&creator.db, None));
            prop_assert_eq!(device.db.state_hash().unwrap(), creator.db.state_hash().unwrap());
            must_be_clean(&device.store);
        }
    }
}
