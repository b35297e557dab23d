//! Named scenarios of merge mode: the published fixtures, and what concurrent changes of one key come to.
#![allow(clippy::unwrap_used, reason = "a test that fails here should stop")]

use multi_hyperbee::crdt::{Change, ChangeKind, List, State, parse_object};
use multi_hyperbee::types::{Effective, FeedKey, Position, Stamp};

fn position(time: u64, writer: u8) -> Position {
    Position { effective: Effective { time, tick: 0 }, writer: FeedKey([writer; 32]), seq: time }
}

fn change(time: u64, writer: u8, prev: Option<Stamp>, list: &str) -> Change {
    let kind = ChangeKind::List(List::parse(list).unwrap());
    Change { position: position(time, writer), prev, kind }
}

/// What a put of `value` against `base` sends.
fn put(time: u64, writer: u8, base: &State, value: &str) -> Change {
    let list = base.diff_to(&parse_object(value).unwrap()).unwrap();
    change(time, writer, base.base(), &list.to_text())
}

fn del(time: u64, writer: u8, base: &State) -> Change {
    Change { position: position(time, writer), prev: base.base(), kind: ChangeKind::Delete }
}

fn fold(changes: &[&Change]) -> State {
    let mut sorted = changes.to_vec();
    sorted.sort_by_key(|change| change.position);
    let mut state = State::empty();
    for change in sorted {
        state.fold(change);
    }
    state
}

fn text(changes: &[&Change]) -> String {
    fold(changes).to_text().unwrap_or_else(|| "none".to_owned())
}

const OBJECT0: &str = r#"{"firstName":"J","lastName":"S","friends":["Claire","Martha","Jake","Sean"]}"#;
const DIFF0: &str = r#"{"add":{"firstName":"J","lastName":"S","friends":["Claire","Martha","Jake","Sean"]}}"#;
const DIFF1: &str =
    r#"{"add":{"lastName":"Smith","gender":"F","firstName":"Jane","country":{"name":"United States"}}}"#;
const DIFF1_1: &str = r#"{"add":{"nickname":"Jenny"},"insert":{"add":{"friends":[{"after":"Claire","value":"Kate"},{"after":"Martha","value":"Maggie"}],"country":{"code":"US"}}}}"#;
const OBJECT1_1: &str = r#"{"firstName":"Jane","lastName":"Smith","friends":["Claire","Kate","Martha","Maggie","Jake","Sean"],"gender":"F","country":{"name":"United States","code":"US"},"nickname":"Jenny"}"#;
const DIFF2: &str = r#"{"add":{"dateOfBirth":843177600000},"remove":{"gender":""},"insert":{"remove":{"country":{"code":"US"},"friends":[{"value":"Sean"}]}}}"#;
const OBJECT2: &str = r#"{"firstName":"Jane","lastName":"Smith","friends":["Claire","Kate","Martha","Maggie","Jake"],"country":{"name":"United States"},"nickname":"Jenny","dateOfBirth":843177600000}"#;

#[test]
fn the_published_diffs_fold_to_the_published_objects() {
    let d0 = change(1, 1, None, DIFF0);
    let d1 = change(2, 1, Some(d0.position.stamp()), DIFF1);
    let d1_1 = change(3, 2, Some(d1.position.stamp()), DIFF1_1);
    let d2 = change(4, 2, Some(d1_1.position.stamp()), DIFF2);
    assert_eq!(fold(&[&d0]).to_value().unwrap(), parse_object(OBJECT0).unwrap());
    assert_eq!(fold(&[&d0, &d1, &d1_1]).to_value().unwrap(), parse_object(OBJECT1_1).unwrap());
    assert_eq!(fold(&[&d0, &d1, &d1_1, &d2]).to_value().unwrap(), parse_object(OBJECT2).unwrap());
}

#[test]
fn the_generated_diff_is_the_published_one() {
    let base = fold(&[&put(1, 1, &State::empty(), OBJECT1_1)]);
    let list = base.diff_to(&parse_object(OBJECT2).unwrap()).unwrap();
    assert_eq!(parse_object(&list.published()).unwrap(), parse_object(DIFF2).unwrap());
    let whole = State::empty().diff_to(&parse_object(OBJECT0).unwrap()).unwrap();
    assert_eq!(whole.published(), DIFF0);
}

#[test]
fn an_edit_that_had_not_seen_the_delete_brings_the_object_back() {
    let create = put(5, 1, &State::empty(), r#"{"x":1,"y":1}"#);
    let base = fold(&[&create]);
    let edit = put(15, 2, &base, r#"{"x":2,"y":1}"#);
    let gone = del(10, 1, &base);
    assert_eq!(text(&[&create, &gone, &edit]), r#"{"x":2,"y":1}"#);
    assert_eq!(text(&[&create, &gone, &del(11, 3, &base), &edit]), r#"{"x":2,"y":1}"#);
    let early = put(8, 2, &base, r#"{"x":2,"y":1}"#);
    assert_eq!(text(&[&create, &early, &gone]), "none");
}

#[test]
fn a_create_that_saw_the_delete_starts_anew() {
    let create = put(5, 1, &State::empty(), r#"{"x":1,"y":1}"#);
    let base = fold(&[&create]);
    let gone = del(10, 1, &base);
    let deleted = fold(&[&create, &gone]);
    assert_eq!((deleted.base(), deleted.is_live()), (None, false));
    let again = put(12, 1, &deleted, r#"{"z":1}"#);
    let edit = put(15, 2, &base, r#"{"x":2,"y":1}"#);
    assert_eq!(text(&[&create, &gone, &again, &edit]), r#"{"z":1,"x":2}"#);
    let second = fold(&[&create, &gone, &again]);
    assert_eq!((second.prev(), second.id()), (None, fold(&[&again]).id()));
    assert_eq!(text(&[&create, &gone, &again, &del(14, 1, &second), &edit]), r#"{"z":1,"x":2}"#);
    let middle = put(11, 2, &base, r#"{"x":2,"y":1}"#);
    assert_eq!(text(&[&create, &gone, &middle, &again]), r#"{"x":2,"y":1,"z":1}"#);
}

#[test]
fn moves_removals_and_inserts_of_one_array_meet() {
    let create = put(5, 1, &State::empty(), r#"{"l":["a","b","c"]}"#);
    let base = fold(&[&create]);
    let at = |time, writer, l: &str| put(time, writer, &base, &format!(r#"{{"l":{l}}}"#));
    let both = |a: Change, b: Change| text(&[&create, &a, &b]);
    let (abxc, cab) = (r#"["a","b","X","c"]"#, r#"["c","a","b"]"#);
    assert_eq!(both(at(8, 2, r#"["a","c"]"#), at(10, 1, abxc)), r#"{"l":["a","X","c"]}"#);
    assert_eq!(both(at(8, 2, cab), at(9, 1, r#"["a","c","b"]"#)), r#"{"l":["a","c","b"]}"#);
    assert_eq!(both(at(8, 2, r#"["a","b"]"#), at(9, 1, cab)), r#"{"l":["c","a","b"]}"#);
    assert_eq!(both(at(8, 1, cab), at(9, 2, r#"["a","b"]"#)), r#"{"l":["a","b"]}"#);
    assert_eq!(both(at(8, 2, cab), at(9, 1, r#"["a","b","c","X"]"#)), r#"{"l":["c","X","a","b"]}"#);
}

#[test]
fn edits_inside_one_element_merge() {
    let create = put(5, 1, &State::empty(), r#"{"l":[{"u":1,"x":1,"y":2},{"u":2}]}"#);
    let base = fold(&[&create]);
    let x = put(8, 2, &base, r#"{"l":[{"u":1,"x":9,"y":2},{"u":2}]}"#);
    let y = put(9, 1, &base, r#"{"l":[{"u":1,"x":1,"y":9},{"u":2}]}"#);
    assert_eq!(text(&[&create, &x, &y]), r#"{"l":[{"u":1,"x":9,"y":9},{"u":2}]}"#);
    let gone = put(8, 2, &base, r#"{"l":[{"u":2}]}"#);
    assert_eq!(text(&[&create, &gone, &y]), r#"{"l":[{"u":2}]}"#);
    // Nothing of the element is left: it is another one, and the edit stays with the removed one.
    let rewrite = put(8, 2, &base, r#"{"l":[{"u":7,"x":7,"y":7},{"u":2}]}"#);
    assert_eq!(text(&[&create, &rewrite, &y]), r#"{"l":[{"u":7,"x":7,"y":7},{"u":2}]}"#);
}

#[test]
fn an_element_with_an_identity_is_edited_however_much_of_it_changed() {
    let create = put(5, 1, &State::empty(), r#"{"l":[{"id":1,"x":1,"y":1},{"id":2,"x":1,"y":1}]}"#);
    let base = fold(&[&create]);
    let a = put(8, 1, &base, r#"{"l":[{"id":1,"x":2,"y":1},{"id":2,"x":1,"y":1}]}"#);
    let b = put(9, 2, &base, r#"{"l":[{"id":1,"x":1,"y":2,"z":5},{"id":2,"x":1,"y":1}]}"#);
    let merged = r#"{"l":[{"id":1,"x":2,"y":2,"z":5},{"id":2,"x":1,"y":1}]}"#;
    assert_eq!(text(&[&create, &a, &b]), merged);
}

#[test]
fn a_deep_edit_meets_a_property_that_is_gone_or_of_another_type() {
    let create = put(5, 1, &State::empty(), r#"{"p":{"a":1,"b":1}}"#);
    let base = fold(&[&create]);
    let edit = put(9, 1, &base, r#"{"p":{"a":2,"b":1}}"#);
    for other in ["{}", r#"{"p":5}"#, r#"{"p":[7]}"#] {
        assert_eq!(text(&[&create, &put(8, 2, &base, other), &edit]), r#"{"p":{"a":2}}"#, "{other}");
    }
    let only_removes = put(9, 1, &base, r#"{"p":{"b":1}}"#);
    assert_eq!(text(&[&create, &put(8, 2, &base, r#"{"p":5}"#), &only_removes]), r#"{"p":5}"#);
}

#[test]
fn concurrent_creates_merge_property_by_property() {
    let a = put(5, 1, &State::empty(), r#"{"p":{"a":1},"q":1}"#);
    let b = put(6, 2, &State::empty(), r#"{"p":{"b":1},"r":1}"#);
    assert_eq!(text(&[&b, &a]), r#"{"p":{"b":1},"q":1,"r":1}"#);
}

#[test]
fn an_id_that_is_not_here_does_nothing() {
    let create = put(5, 1, &State::empty(), r#"{"l":["a","b","c"]}"#);
    let unmerged = put(7, 9, &fold(&[&create]), r#"{"l":["a","b","c","a"]}"#);
    let seen = fold(&[&create, &unmerged]);
    let remove = put(9, 2, &seen, r#"{"l":["a","b","c"]}"#);
    assert_eq!(text(&[&create, &remove]), r#"{"l":["a","b","c"]}"#);
    let moved = put(9, 2, &seen, r#"{"l":["a","a","b","c"]}"#);
    assert_eq!(text(&[&create, &moved]), r#"{"l":["a","a","b","c"]}"#);
}

#[test]
fn equal_elements_are_told_apart() {
    let create = put(5, 1, &State::empty(), r#"{"l":["x","m","x"]}"#);
    let base = fold(&[&create]);
    let first = put(8, 2, &base, r#"{"l":["m","x"]}"#);
    let second = put(9, 1, &base, r#"{"l":["x","m"]}"#);
    assert_eq!(text(&[&create, &first, &second]), r#"{"l":["m"]}"#);
    let a = put(8, 2, &base, r#"{"l":["x","A","m","x"]}"#);
    let b = put(9, 1, &base, r#"{"l":["x","m","x","B"]}"#);
    assert_eq!(text(&[&create, &a, &b]), r#"{"l":["x","A","m","x","B"]}"#);
    assert_eq!(text(&[&create, &first, &b]), r#"{"l":["m","x","B"]}"#);
}

#[test]
fn values_and_indexes_see_live_elements_only() {
    let create = put(1, 1, &State::empty(), r#"{"l":["x","y","z"]}"#);
    let base = fold(&[&create]);
    let gone = put(2, 1, &base, r#"{"l":["y","z"]}"#);
    for (insert, result) in [
        (r#"{"after":"x","value":1}"#, r#"["y","z",1]"#),
        (r#"{"before":"x","index":1,"value":1}"#, r#"["y",1,"z"]"#),
        (r#"{"index":0,"value":1}"#, r#"[1,"y","z"]"#),
        (r#"{"index":9,"value":1}"#, r#"["y","z",1]"#),
        (r#"{"after":"y","before":"y","value":1}"#, r#"["y",1,"z"]"#),
        (r#"{"afterId":null,"value":1}"#, r#"[1,"y","z"]"#),
        (r#"{"afterId":"0101010101010101-1-0","value":1}"#, r#"[1,"y","z"]"#),
        (r#"{"afterId":"0101010101010101-9-0","after":"y","value":1}"#, r#"["y",1,"z"]"#),
    ] {
        let list = format!(r#"{{"insert":{{"add":{{"l":[{insert}]}}}}}}"#);
        assert_eq!(
            text(&[&create, &gone, &change(3, 1, gone.prev, &list)]),
            format!(r#"{{"l":{result}}}"#),
            "{insert}"
        );
    }
    for (removal, result) in [(r#"{"value":"x"}"#, r#"["y","z"]"#), (r#"{"index":0}"#, r#"["z"]"#)] {
        let list = format!(r#"{{"insert":{{"remove":{{"l":[{removal}]}}}}}}"#);
        assert_eq!(text(&[&create, &gone, &change(3, 1, gone.prev, &list)]), format!(r#"{{"l":{result}}}"#));
    }
    // Both name a place before any removal.
    let both = r#"{"insert":{"remove":{"l":[{"index":0},{"index":1}]}}}"#;
    assert_eq!(text(&[&create, &change(3, 1, gone.prev, both)]), r#"{"l":["z"]}"#);
}

#[test]
fn a_register_is_replaced_whole_and_survives_a_delete_it_had_not_seen() {
    let register = |time, writer, prev, bytes: &[u8]| Change {
        position: position(time, writer),
        prev,
        kind: ChangeKind::Register(bytes.to_vec()),
    };
    let a = register(1, 1, None, b"a");
    let base = fold(&[&a]);
    let b = register(5, 2, base.base(), b"b");
    assert_eq!(fold(&[&b, &a]).register(), Some(&b"b"[..]));
    let gone = fold(&[&a, &b, &del(6, 1, &base)]);
    assert_eq!((gone.register(), gone.is_live()), (None, false));
    let list = change(7, 1, None, r#"{"add":{"x":1}}"#);
    assert_eq!(text(&[&a, &b, &list]), r#"{"x":1}"#);
}
