//! Local writes: against what a caller had read, in batches, and what is refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::*;
use multi_hyperbee::db::{Code, Db, Expect, Live, Write, Written};
use multi_hyperbee::types::Stamp;

type Base = (Stamp, u64);

/// What a caller reads: the text and the state it names.
fn read(db: &Db, key: &str) -> (String, Base) {
    db.get(key.as_bytes(), None, |row| match row.value {
        Live::Object(text) => (text.to_owned(), (row.stamp, row.state)),
        Live::Register(_) => unreachable!(),
    })
    .unwrap()
    .unwrap()
}

fn put_from(key: &str, value: &str, base: Base) -> Write {
    let (key, value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    Write::Put { key, value, base: Some(base), diff: None, expect: Expect::Any }
}

fn delete(key: &str) -> Write {
    Write::Delete { key: key.as_bytes().to_vec(), expect: Expect::Any }
}

fn register(key: &str, value: &[u8]) -> Write {
    Write::Register { key: key.as_bytes().to_vec(), value: value.to_vec(), expect: Expect::Any }
}

fn write(db: &Db, write: Write) -> Result<Written, Code> {
    db.write(vec![write]).wait().unwrap().remove(0).map_err(|error| error.code)
}

fn length(db: &Db) -> u64 {
    let local = db.info().unwrap().local;
    db.progress().unwrap().iter().find(|feed| feed.key == local).unwrap().have
}

#[test]
fn an_object_put_twice_inserts_its_elements_once() {
    let db = create(&memory());
    put(&db, "k", r#"{"list":["a"]}"#);
    let (_, base) = read(&db, "k");
    write(&db, put_from("k", r#"{"list":["a","b"]}"#, base)).unwrap();
    write(&db, put_from("k", r#"{"list":["a","b","c"]}"#, base)).unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"list":["a","b","c"]}"#));
    assert_eq!(write(&db, put_from("k", r#"{"list":["a","b","c"]}"#, base)), Ok(Written::No));
}

#[test]
fn an_object_put_twice_in_one_batch_inserts_its_elements_once() {
    let db = create(&memory());
    put(&db, "k", r#"{"list":["a"]}"#);
    let (_, base) = read(&db, "k");
    let batch = vec![
        put_from("k", r#"{"list":["a","b"]}"#, base),
        put_write("other", "{}"),
        put_from("k", r#"{"list":["a","b","c"]}"#, base),
    ];
    write(&db, Write::Batch(batch)).unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"list":["a","b","c"]}"#));
}

#[test]
fn elements_inserted_by_two_puts_of_one_batch_are_two() {
    let db = create(&memory());
    put(&db, "k", r#"{"list":["z"]}"#);
    let batch = vec![put_write("k", r#"{"list":["a","z"]}"#), put_write("k", r#"{"list":["a","z","b"]}"#)];
    write(&db, Write::Batch(batch)).unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"list":["a","z","b"]}"#));
}

#[test]
fn an_object_put_in_a_batch_and_again_after_it_inserts_its_elements_once() {
    let db = create(&memory());
    put(&db, "k", r#"{"list":["a"]}"#);
    let (_, base) = read(&db, "k");
    let batch =
        vec![put_from("k", r#"{"list":["a","b"]}"#, base), put_write("other", "{}"), put_write("z", "{}")];
    write(&db, Write::Batch(batch)).unwrap();
    write(&db, put_from("k", r#"{"list":["a","b","c"]}"#, base)).unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"list":["a","b","c"]}"#));
}

#[test]
fn an_object_put_again_and_again_costs_no_more_each_time() {
    let db = create(&memory());
    put(&db, "k", r#"{"n":0,"list":["a"]}"#);
    let (_, base) = read(&db, "k");
    let start = std::time::Instant::now();
    let mut took = Vec::new();
    for round in 0..6 {
        let writes = (0..200)
            .map(|n| put_from("k", &format!(r#"{{"n":{},"list":["a"]}}"#, round * 200 + n + 1), base));
        assert!(db.write(writes.collect()).wait().unwrap().iter().all(Result::is_ok));
        took.push(start.elapsed());
    }
    let between = |n: usize| took[n].saturating_sub(took[n - 1]);
    let (early, late) = (between(1), between(5));
    assert!(
        late < early * 3 + std::time::Duration::from_millis(200),
        "200 puts: first {early:?}, then {late:?}"
    );
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"n":1200,"list":["a"]}"#));
}

#[test]
fn what_was_read_is_put_back_onto_what_came_since() {
    let db = create(&memory());
    put(&db, "k", r#"{"a":1,"b":1}"#);
    let (_, base) = read(&db, "k");
    put(&db, "k", r#"{"a":2,"b":1}"#);
    write(&db, put_from("k", r#"{"a":1,"b":2}"#, base)).unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"a":2,"b":2}"#));
    // Unchanged since it was read: nothing is written, also when the key is gone.
    assert_eq!(write(&db, put_from("k", r#"{"a":1,"b":1}"#, base)), Ok(Written::No));
    del(&db, "k");
    assert_eq!(write(&db, put_from("k", r#"{"a":1,"b":1}"#, base)), Ok(Written::No));
    assert_eq!(get(&db, "k"), None);
    // Edited: the object comes back as it was, with the edit.
    write(&db, put_from("k", r#"{"a":1,"b":3}"#, base)).unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"a":2,"b":3}"#));
}

#[test]
fn a_key_created_again_starts_from_nothing() {
    let db = create(&memory());
    put(&db, "k", r#"{"a":1}"#);
    let (_, base) = read(&db, "k");
    del(&db, "k");
    assert_eq!(del(&db, "k"), Written::No);
    put(&db, "k", r#"{"b":1}"#);
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"b":1}"#));
    let entry = db.get_entry(b"k", None).unwrap().unwrap();
    assert_eq!(entry.prev, None);
    write(&db, put_from("k", r#"{"a":2}"#, base)).unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"b":1,"a":2}"#));
}

#[test]
fn a_batch_reads_its_own_writes_and_sends_one_diff_per_key() {
    let db = create(&memory());
    put(&db, "a", r#"{"x":1}"#);
    put(&db, "b", r#"{"x":1}"#);
    let before = length(&db);
    let batch = vec![
        put_write("a", r#"{"x":2}"#),
        put_write("a", r#"{"x":2,"y":1}"#),
        delete("b"),
        put_write("b", r#"{"z":1}"#),
        put_write("new", "{}"),
        delete("new"),
        register("r", b"one"),
        register("r", b"two"),
    ];
    let version = db.status().unwrap().version;
    assert_eq!(
        write(&db, Write::Batch(batch)),
        Ok(Written::Yes { length: before + 3, version: version + 3 })
    );
    assert_eq!(get(&db, "a").as_deref(), Some(r#"{"x":2,"y":1}"#));
    assert_eq!(get(&db, "b").as_deref(), Some(r#"{"z":1}"#));
    assert_eq!(get(&db, "new"), None);
    assert_eq!(get(&db, "r").as_deref(), Some("register [116, 119, 111]"));
    let nothing = vec![
        put_write("a", r#"{"x":3}"#),
        put_write("a", r#"{"x":2,"y":1}"#),
        put_write("n", "{}"),
        delete("n"),
    ];
    assert_eq!(write(&db, Write::Batch(nothing)), Ok(Written::No));
    assert_eq!(write(&db, Write::Batch(Vec::new())), Ok(Written::No));
    let gone = vec![put_write("a", r#"{"x":3}"#), delete("a")];
    assert!(matches!(write(&db, Write::Batch(gone)), Ok(Written::Yes { .. })));
    assert_eq!(get(&db, "a"), None);
}

#[test]
fn a_register_and_an_object_take_turns_under_one_key() {
    let db = create(&memory());
    put(&db, "k", r#"{"a":1}"#);
    write(&db, register("k", b"")).unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some("register []"));
    assert_eq!(write(&db, register("k", b"")), Ok(Written::No));
    put(&db, "k", r#"{"b":1}"#);
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"b":1}"#));
    let turns = vec![register("k", b"x"), put_write("k", r#"{"c":1}"#), register("l", b"y"), delete("l")];
    write(&db, Write::Batch(turns)).unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"c":1}"#));
    assert_eq!(get(&db, "l"), None);
}

#[test]
fn a_conditional_write_holds_or_conflicts() {
    let db = create(&memory());
    let expecting = |expect| Write::Put {
        key: b"k".to_vec(),
        value: b"{\"a\":1}".to_vec(),
        base: None,
        diff: None,
        expect,
    };
    assert_eq!(write(&db, expecting(Expect::Seq(1))), Ok(Written::Conflict));
    assert!(matches!(write(&db, expecting(Expect::Absent)), Ok(Written::Yes { .. })));
    assert_eq!(write(&db, expecting(Expect::Absent)), Ok(Written::Conflict));
    assert_eq!(write(&db, expecting(Expect::Seq(1))), Ok(Written::No));
    put(&db, "k", r#"{"a":2}"#);
    assert_eq!(write(&db, expecting(Expect::Seq(1))), Ok(Written::Conflict));
    assert!(matches!(write(&db, expecting(Expect::Seq(2))), Ok(Written::Yes { .. })));
    del(&db, "k");
    assert!(matches!(write(&db, expecting(Expect::Absent)), Ok(Written::Yes { .. })));
}

#[test]
fn what_is_wrong_with_one_write_does_not_touch_the_others() {
    let db = create(&memory());
    let deep = format!("{}1{}", r#"{"a":"#.repeat(70), "}".repeat(70));
    let long = "k".repeat(1_901);
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(16 << 20));
    let empty = Write::Put {
        key: b"d".to_vec(),
        value: b"{}".to_vec(),
        base: None,
        diff: Some("[".into()),
        expect: Expect::Any,
    };
    let writes = vec![
        put_write("first", "{}"),
        put_write("k", "[1]"),
        put_write("k", "{"),
        put_write("k", r#"{"a":"\ud800"}"#),
        put_write("k", &deep),
        put_write(&long, "{}"),
        put_write("k", &large),
        empty,
        Write::Batch(vec![put_write("in batch", "{}"), put_write("k", "null")]),
        Write::Batch(vec![Write::Batch(Vec::new())]),
        put_write(&long[1..], "{}"),
        put_write("", "{}"),
        put_write("last", "{}"),
    ];
    let codes: Vec<_> = db
        .write(writes)
        .wait()
        .unwrap()
        .into_iter()
        .map(|result| result.err().map(|error| error.code))
        .collect();
    let bad = Some(Code::InvalidValue);
    let expected = [
        None,
        bad,
        bad,
        bad,
        bad,
        Some(Code::KeyTooLarge),
        Some(Code::ValueTooLarge),
        bad,
        bad,
        Some(Code::Options),
        None,
        None,
        None,
    ];
    assert_eq!(codes, expected);
    assert_eq!(get(&db, "in batch"), None);
    for key in ["first", "last", "", &long[1..]] {
        assert_eq!(get(&db, key).as_deref(), Some("{}"));
    }
    let too_many = (0..=1 << 16).map(|n| put_write(&n.to_string(), "{}")).collect();
    assert_eq!(write(&db, Write::Batch(too_many)), Err(Code::BatchTooLarge));
    assert_eq!(db.status().unwrap().version, 4);
}

/// Found by fuzzing: a list that sets such a property is malformed on every replica, and the feed would have ended there.
#[test]
fn what_only_a_read_adds_is_no_part_of_a_value_however_it_is_written() {
    let (s1, s2) = (memory(), memory());
    let a = create(&s1);
    let text = r#"{"_diff":"x","_timestamp":1,"_prevTimestamp":2,"_objectId":3,"y":{"_diff":4}}"#;
    put(&a, "k", text);
    put(&a, "after", "{}");
    assert_eq!(get(&a, "k").as_deref(), Some(r#"{"y":{"_diff":4}}"#));
    let b = join(&s2, a.info().unwrap().key);
    let wire = connect(&a, &b);
    carry_until(&[&wire], || get(&b, "after").is_some());
    assert_eq!(get(&b, "k"), get(&a, "k"));
    assert_eq!(a.state_hash().unwrap(), b.state_hash().unwrap());
}
