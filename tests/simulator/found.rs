//! What the simulator has found, each as the shortest story that shows it.

use multi_hyperbee::db::{DatabaseOptions, Db, Expect, Location, Store, StoreOptions, Write};

fn store() -> Store {
    Store::open(&Location::Memory, &StoreOptions::default()).unwrap()
}

fn put(key: &str, value: &str) -> Write {
    let (key, value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
    Write::Put { key, value, base: None, diff: None, expect: Expect::Any }
}

fn get(db: &Db, key: &str) -> Option<String> {
    db.get_entry(key.as_bytes(), None).unwrap().map(|entry| String::from_utf8(entry.value).unwrap())
}

#[test]
fn two_puts_of_an_array_in_one_batch_leave_what_the_second_says() {
    let store = store();
    let db = store.database(DatabaseOptions::default()).wait().unwrap();
    let batch = vec![put("k", r#"{"l":[[1]]}"#), put("k", r#"{"l":[[0]]}"#)];
    db.write(vec![Write::Batch(batch)]).wait().unwrap().remove(0).unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"l":[[0]]}"#));
}
