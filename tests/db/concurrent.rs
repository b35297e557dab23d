//! The table of docs/guide.md, "At the same time": what a key holds after two writers, neither of whom had seen the
//! other, have changed it. A test per cell: whoever of the two was the earlier, and whosever change arrives first.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::device::{Device, meet};
use crate::support::*;
use multi_hyperbee::db::Write;

/// What one of the two does to the key. `Batch`: an edit of it, and another key, as one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Delete,
    Create,
    Edit,
    Batch,
}
use Act::{Batch, Create, Delete, Edit};

fn perform(device: &Device, act: Act) {
    let (db, name) = (&device.db, device.name);
    match act {
        Delete => drop(del(db, "k")),
        Create => drop(put(db, "k", &format!(r#"{{"x":"{name}","{name}":"new"}}"#))),
        Edit => drop(edit(db, "k", |text| edited(text, name))),
        Batch => {
            let text = edited(&get(db, "k").unwrap(), name);
            let put = |key: &str, value: &str| put_write(key, value);
            let writes = vec![put("k", &text), put(&format!("beside/{name}"), "{}")];
            let written = db.write(vec![Write::Batch(writes)]).wait().unwrap().remove(0);
            written.unwrap();
        }
    }
}

/// `{"x":"old","y":"old"}` with `x` set, and a property of its own.
fn edited(text: &str, name: &str) -> String {
    text.replace(r#""x":"old""#, &format!(r#""x":"{name}""#)).replace('}', &format!(r#","{name}":"new"}}"#))
}

/// The properties of an object, in order of their names: property order is of no account.
fn properties(text: &str) -> Vec<(String, String)> {
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    let object = value.as_object().unwrap();
    let mut all: Vec<_> =
        object.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
    all.sort();
    all
}

/// `first` and `second` in the order of their timestamps; `expected` as the later one's writer would say it.
fn cell(first: Act, second: Act, expected: Option<&str>) {
    for creator_is_first in [true, false] {
        for tie in [false, true] {
            story(first, second, expected, creator_is_first, tie);
        }
    }
}

fn story(first: Act, second: Act, expected: Option<&str>, creator_is_first: bool, tie: bool) {
    let creator = Device::new("creator", None);
    let key = Some(creator.local());
    let joined = Device::new("joined", key);
    let (c, d) = (Device::new("c", key), Device::new("d", key));
    creator.db.add_writer(joined.local(), false).wait().unwrap();
    let present = first != Create && second != Create;
    let object = r#"{"x":"old","y":"old"}"#;
    if present {
        put(&creator.db, "k", object);
    }
    meet(&creator, &joined);
    // Of equal timestamps the lower writer key is the earlier; an entry's own is later than everything it had seen, so
    // for a tie both must have seen equally much.
    let creator_is_first = if tie { creator.local() < joined.local() } else { creator_is_first };
    let (earlier, later) = if creator_is_first { (&creator, &joined) } else { (&joined, &creator) };
    for (device, act, other) in [(earlier, first, second), (later, second, first)] {
        device.at(10);
        // Who does not create the key alone has created it meanwhile, unseen by the other.
        if act != Create && other == Create {
            put(&device.db, "k", object);
        }
    }
    earlier.at(20);
    perform(earlier, first);
    later.at(if tie { 20 } else { 30 });
    perform(later, second);
    meet(&c, earlier);
    meet(&c, later);
    meet(&d, later);
    meet(&d, earlier);
    meet(earlier, later);
    let expected = expected.map(|text| properties(&text.replace('E', earlier.name).replace('L', later.name)));
    for device in [&c, &d, earlier, later] {
        let found = get(&device.db, "k").map(|text| properties(&text));
        assert_eq!(found, expected, "at {}, the earlier being {}", device.name, earlier.name);
        for (writer, act) in [(earlier, first), (later, second)] {
            let beside = get(&device.db, &format!("beside/{}", writer.name));
            assert_eq!(beside.is_some(), act == Batch, "what else the batch wrote");
        }
    }
    let hashes: Vec<_> = [&c, &d, earlier, later].map(|device| device.db.state_hash().unwrap()).into();
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]));
}

/// A line per cell of the table: the earlier, the later, and what is there then; `E` and `L` are what they wrote.
macro_rules! cells {
    ($($name:ident: $first:ident, $second:ident => $expected:expr;)*) => {
        $(#[test] fn $name() { cell($first, $second, $expected); })*
    };
}

cells! {
    a_delete_then_a_delete: Delete, Delete => None;
    a_delete_then_a_create: Delete, Create => Some(r#"{"x":"L","L":"new"}"#);
    a_delete_then_an_edit: Delete, Edit => Some(r#"{"x":"L","y":"old","L":"new"}"#);
    a_delete_then_a_batch: Delete, Batch => Some(r#"{"x":"L","y":"old","L":"new"}"#);
    a_create_then_a_delete: Create, Delete => None;
    a_create_then_a_create: Create, Create => Some(r#"{"x":"L","E":"new","L":"new"}"#);
    a_create_then_an_edit: Create, Edit => Some(r#"{"x":"L","y":"old","E":"new","L":"new"}"#);
    a_create_then_a_batch: Create, Batch => Some(r#"{"x":"L","y":"old","E":"new","L":"new"}"#);
    an_edit_then_a_delete: Edit, Delete => None;
    an_edit_then_a_create: Edit, Create => Some(r#"{"x":"L","y":"old","E":"new","L":"new"}"#);
    an_edit_then_an_edit: Edit, Edit => Some(r#"{"x":"L","y":"old","E":"new","L":"new"}"#);
    an_edit_then_a_batch: Edit, Batch => Some(r#"{"x":"L","y":"old","E":"new","L":"new"}"#);
    a_batch_then_a_delete: Batch, Delete => None;
    a_batch_then_a_create: Batch, Create => Some(r#"{"x":"L","y":"old","E":"new","L":"new"}"#);
    a_batch_then_an_edit: Batch, Edit => Some(r#"{"x":"L","y":"old","E":"new","L":"new"}"#);
    a_batch_then_a_batch: Batch, Batch => Some(r#"{"x":"L","y":"old","E":"new","L":"new"}"#);
}
