//! Two replicas that are alike, of which one drops old versions and tombstones with them: whatever is written on them or
//! comes to them, they hold the same, write the same bytes, and refuse the same.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::device::{Device, meet};
use crate::support::*;
use multi_hyperbee::db::{
    Conflict, DatabaseOptions, Db, DiffEntry, DiffRange, Diffs, Expect, FeedChoice, Keep, Range, ViewEntry,
    Write, Written,
};
use multi_hyperbee::types::{Effective, FeedKey, Stamp};
use proptest::prelude::*;
use std::collections::BTreeSet;

const KEYS: u8 = 4;

/// Of one batch.
#[derive(Clone, Debug)]
enum Part {
    Put(u8, u8),
    /// What was remembered, changed and put back.
    Old(u8),
    Register(u8, u8),
    Del(u8),
    List(u8, u8),
}

#[derive(Clone, Debug)]
enum Act {
    One(Part),
    Batch(Vec<Part>),
    Edit(u8, u8),
    Remember(u8),
    IfAbsent(u8),
    Theirs(bool, u8, u8),
    Delete(bool, u8),
    /// What others have comes.
    Meet(bool),
    /// What is here goes to others.
    Tell(bool),
    Jump(bool, u64),
    OwnJump(u64),
    Grant(bool),
    Compact(u64),
}

fn parts() -> impl Strategy<Value = Part> {
    prop_oneof![
        3 => (0..KEYS, 0..4_u8).prop_map(|(k, v)| Part::Put(k, v)),
        3 => (0..KEYS).prop_map(Part::Old),
        1 => (0..KEYS, 0..3_u8).prop_map(|(k, v)| Part::Register(k, v)),
        5 => (0..KEYS).prop_map(Part::Del),
        1 => (0..KEYS, 0..4_u8).prop_map(|(k, v)| Part::List(k, v)),
    ]
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        8 => parts().prop_map(Act::One),
        4 => proptest::collection::vec(parts(), 1..5).prop_map(Act::Batch),
        2 => (0..KEYS, any::<u8>()).prop_map(|(k, by)| Act::Edit(k, by)),
        3 => (0..KEYS).prop_map(Act::Remember),
        1 => (0..KEYS).prop_map(Act::IfAbsent),
        3 => (any::<bool>(), 0..KEYS, 0..4_u8).prop_map(|(late, k, v)| Act::Theirs(late, k, v)),
        2 => (any::<bool>(), 0..KEYS).prop_map(|(late, k)| Act::Delete(late, k)),
        2 => any::<bool>().prop_map(Act::Meet),
        1 => any::<bool>().prop_map(Act::Tell),
        1 => (any::<bool>(), 0..60_u64).prop_map(|(late, to)| Act::Jump(late, to)),
        1 => (0..60_u64).prop_map(Act::OwnJump),
        1 => any::<bool>().prop_map(Act::Grant),
        6 => (1..3_u64).prop_map(Act::Compact),
    ];
    proptest::collection::vec(act, 10..60)
}

fn name(key: u8) -> String {
    format!("k{key}")
}

fn value(v: u8) -> String {
    format!(r#"{{"v":{v},"l":[1,{v},"x"],"o":{{"p{v}":true}}}}"#)
}

/// What a user had read.
type Read = (String, (Stamp, u64));

fn read(db: &Db, key: u8) -> Option<Read> {
    let entry = db.get_entry(name(key).as_bytes(), None).unwrap().filter(|entry| !entry.register)?;
    Some((String::from_utf8(entry.value).unwrap(), (entry.stamp, entry.state)))
}

fn changed(text: &str, by: u8) -> Vec<u8> {
    let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
    let object = value.as_object_mut().unwrap();
    object.insert(format!("e{}", by % 3), serde_json::json!(by));
    if let Some(list) = object.get_mut("l").and_then(serde_json::Value::as_array_mut) {
        if by.is_multiple_of(2) || list.is_empty() {
            list.insert(0, serde_json::json!(by));
        } else {
            list.pop();
        }
    }
    value.to_string().into_bytes()
}

fn put_against(key: u8, (text, base): &Read, by: u8) -> Write {
    let key = name(key).into_bytes();
    Write::Put { key, value: changed(text, by), base: Some(*base), diff: None, expect: Expect::Any }
}

/// What a key is, what was said about it, and what is said to differ.
type OfKey = (Option<ViewEntry>, Vec<Conflict>, Vec<DiffEntry>);

/// All that can be seen of a replica but the numbers of its versions: how deliveries share commits is not decided here.
#[derive(Debug, PartialEq)]
struct All {
    scan: Vec<ViewEntry>,
    back: Vec<ViewEntry>,
    keys: Vec<OfKey>,
    feeds: Vec<Vec<DiffEntry>>,
    hash: [u8; 32],
}

fn unnumbered(entry: ViewEntry) -> ViewEntry {
    ViewEntry { seq: 0, ..entry }
}

fn drained(mut diffs: Diffs) -> Vec<DiffEntry> {
    let mut all = Vec::new();
    while let Some(more) = diffs.next(100, 1 << 20).unwrap() {
        all.extend(more);
    }
    all
}

fn all(db: &Db, feeds: &[FeedKey]) -> All {
    let scan = |reverse| {
        let mut scan = db.scan(Range { reverse, ..Range::default() }, None).unwrap();
        let mut found = Vec::new();
        while scan.visit(3, 1 << 20, |row| found.push(unnumbered(row.to_entry()))).unwrap() {}
        found
    };
    let of_key = |key: u8| {
        let key = name(key).into_bytes();
        let entry = db.get_entry(&key, None).unwrap().map(unnumbered);
        (entry, db.conflicts(&key).unwrap(), drained(db.key_diffs(&key, Effective::default()).unwrap()))
    };
    All {
        scan: scan(false),
        back: scan(true),
        keys: (0..KEYS).map(of_key).collect(),
        feeds: feeds
            .iter()
            .map(|feed| drained(db.feed_diffs(*feed, DiffRange::default()).unwrap()))
            .collect(),
        hash: db.state_hash().unwrap(),
    }
}

/// The blocks that it has written.
fn blocks(device: &Device) -> Vec<Vec<u8>> {
    let feed = device.store.feed(FeedChoice::Key(device.local())).wait().unwrap();
    let length = feed.info().unwrap().length;
    (0..length).map(|seq| feed.get(seq).unwrap().unwrap()).collect()
}

struct Scene {
    creator: Device,
    late: Device,
    /// One that keeps all, one that does not: the same writer on both.
    twins: [Device; 2],
    remembered: [Option<Read>; KEYS as usize],
    /// What was put from something the first time is compared with what came of that the next time, as long as that is
    /// kept: so nothing is put from twice.
    used: BTreeSet<(u8, u64)>,
    /// What the late one has had a part in, and whether it was ever removed: then what it wrote may have ceased to count.
    /// A state with such a diff is found by who kept its row alone (docs/design/compaction.md).
    of_late: BTreeSet<u8>,
    was_removed: bool,
}

impl Scene {
    fn new() -> Self {
        let creator = Device::of("creator", DatabaseOptions::default());
        let join = |name, secret| {
            let key = Some(creator.local());
            Device::of(name, DatabaseOptions { key, secret, ..DatabaseOptions::default() })
        };
        let late = join("late", None);
        let twin = |name| join(name, Some([7; 32]));
        let twins = [twin("whole"), twin("trims")];
        creator.db.add_writer(late.local(), false).wait().unwrap();
        creator.db.add_writer(twins[0].local(), false).wait().unwrap();
        meet(&creator, &late);
        let remembered = Default::default();
        let (used, of_late, was_removed) = (BTreeSet::new(), BTreeSet::new(), false);
        let scene = Self { creator, late, twins, remembered, used, of_late, was_removed };
        scene.hear(&scene.creator);
        scene
    }

    fn other(&self, late: bool) -> &Device {
        if late { &self.late } else { &self.creator }
    }

    /// What another has comes to both.
    fn hear(&self, other: &Device) {
        for twin in &self.twins {
            meet(twin, other);
        }
    }

    fn write(&mut self, write: &Write) -> [Result<Written, String>; 2] {
        let outcome = |twin: &Device| {
            let result = twin.db.write(vec![write.clone()]).wait().unwrap().remove(0);
            match result.map_err(|error| error.to_string())? {
                Written::Yes { length, .. } => Ok(Written::Yes { length, version: 0 }),
                other => Ok(other),
            }
        };
        [outcome(&self.twins[0]), outcome(&self.twins[1])]
    }

    fn part(&mut self, part: &Part) -> Option<Write> {
        Some(match *part {
            Part::Put(key, v) => put_write(&name(key), &value(v)),
            Part::Old(key) => {
                let read = self.remembered[usize::from(key)].take()?;
                if self.was_removed && self.of_late.contains(&key) {
                    return None;
                }
                self.used.insert((key, read.1.1)).then(|| put_against(key, &read, 7))?
            }
            Part::Register(key, v) => {
                Write::Register { key: name(key).into_bytes(), value: vec![v], expect: Expect::Any }
            }
            Part::Del(key) => Write::Delete { key: name(key).into_bytes(), expect: Expect::Any },
            Part::List(key, v) => Write::Put {
                key: name(key).into_bytes(),
                value: b"{}".to_vec(),
                base: None,
                diff: Some(format!(
                    r#"{{"add":{{"own":{v}}},"insert":{{"add":{{"l":[{{"value":{v}}}]}}}}}}"#
                )),
                expect: Expect::Any,
            },
        })
    }

    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        match act {
            Act::One(part) => {
                let Some(write) = self.part(part) else { return Ok(()) };
                let [whole, trims] = self.write(&write);
                prop_assert_eq!(whole, trims);
            }
            Act::Batch(parts) => {
                let writes: Vec<Write> = parts.iter().filter_map(|part| self.part(part)).collect();
                let [whole, trims] = self.write(&Write::Batch(writes));
                prop_assert_eq!(whole, trims);
            }
            Act::Edit(key, by) => {
                let [one, two] = [0, 1].map(|twin: usize| read(&self.twins[twin].db, *key));
                prop_assert_eq!(&one, &two);
                let Some(read) = one.filter(|(_, base)| self.used.insert((*key, base.1))) else {
                    return Ok(());
                };
                let [whole, trims] = self.write(&put_against(*key, &read, *by));
                prop_assert_eq!(whole, trims);
            }
            Act::Remember(key) => {
                if let Some(read) = read(&self.twins[0].db, *key) {
                    self.remembered[usize::from(*key)] = Some(read);
                }
            }
            Act::IfAbsent(key) => {
                let (key, value) = (name(*key).into_bytes(), b"{\"absent\":1}".to_vec());
                let put = Write::Put { key, value, base: None, diff: None, expect: Expect::Absent };
                let [whole, trims] = self.write(&put);
                prop_assert_eq!(whole, trims);
            }
            Act::Theirs(late, key, v) => {
                if *late {
                    self.of_late.insert(*key);
                }
                let db = &self.other(*late).db;
                if db.status().unwrap().writable {
                    match read(db, *key) {
                        Some(read) if v % 2 == 0 => {
                            drop(db.write(vec![put_against(*key, &read, *v)]).wait().unwrap());
                        }
                        _ => drop(put(db, &name(*key), &value(*v))),
                    }
                }
            }
            Act::Delete(late, key) => {
                if *late {
                    self.of_late.insert(*key);
                }
                let db = &self.other(*late).db;
                if db.status().unwrap().writable {
                    del(db, &name(*key));
                }
            }
            Act::Meet(late) => self.hear(self.other(*late)),
            Act::Tell(late) => {
                meet(&self.twins[0], self.other(*late));
                self.hear(self.other(*late));
            }
            Act::Jump(late, to) => self.other(*late).at(*to),
            Act::OwnJump(to) => self.twins.iter().for_each(|twin| twin.at(*to)),
            Act::Grant(grants) => {
                let late = self.late.local();
                if *grants {
                    self.creator.db.add_writer(late, false).wait().unwrap();
                } else {
                    self.was_removed = true;
                    self.creator.db.remove_writer(late, false).wait().unwrap();
                }
            }
            Act::Compact(versions) => {
                self.twins[1].db.compact(Some(Keep::Versions(*versions)), |_| ()).wait().unwrap();
            }
        }
        Ok(())
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        let feeds = [self.creator.local(), self.late.local(), self.twins[0].local()];
        let [whole, trims] = &self.twins;
        prop_assert_eq!(all(&whole.db, &feeds), all(&trims.db, &feeds));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn who_drops_tombstones_writes_and_shows_what_its_twin_does(acts in acts()) {
        let mut scene = Scene::new();
        for act in &acts {
            scene.act(act)?;
            scene.compare()?;
        }
        let [whole, trims] = &scene.twins;
        prop_assert_eq!(blocks(whole), blocks(trims));
        for device in [whole, trims] {
            let report = device.store.verify(|_| ()).wait().unwrap();
            prop_assert_eq!(report.damages.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
        }
    }
}

fn compacted(db: &Db) {
    put(db, "another", "{}");
    db.compact(Some(Keep::Versions(1)), |_| ()).wait().unwrap();
}

#[test]
fn a_put_that_had_not_seen_the_delete_brings_back_what_was_kept() {
    for in_batch in [false, true] {
        let store = memory();
        let db = store.database(DatabaseOptions::default()).wait().unwrap();
        put(&db, "k0", r#"{"a":1,"l":[1,2]}"#);
        let before = read(&db, 0).unwrap();
        del(&db, "k0");
        compacted(&db);
        assert_eq!(get(&db, "k0"), None);
        let write = put_against(0, &before, 4);
        let write = if in_batch { Write::Batch(vec![write]) } else { write };
        assert!(matches!(db.write(vec![write]).wait().unwrap()[0], Ok(Written::Yes { .. })));
        assert_eq!(get(&db, "k0").as_deref(), Some(r#"{"a":1,"l":[4,1,2],"e1":4}"#), "batch: {in_batch}");
    }
}

/// What is put later begins anew, and a delete of what is not there is none.
#[test]
fn a_put_of_nothing_that_was_read_begins_anew() {
    let store = memory();
    let db = store.database(DatabaseOptions::default()).wait().unwrap();
    put(&db, "k0", r#"{"a":1}"#);
    del(&db, "k0");
    compacted(&db);
    assert_eq!(del(&db, "k0"), Written::No);
    put(&db, "k0", r#"{"b":2}"#);
    let entry = db.get_entry(b"k0", None).unwrap().unwrap();
    assert_eq!((entry.value.as_slice(), entry.prev), (&br#"{"b":2}"#[..], None));
    del(&db, "k0");
    compacted(&db);
    assert_eq!(store.verify(|_| ()).wait().unwrap().damages.len(), 0);
}
