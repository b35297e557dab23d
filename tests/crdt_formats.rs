//! The formats of merge mode: JSON texts, diff lists, element ids, state rows; golden bytes and hostile input.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails here should stop")]

mod crdt_support;

use crdt_support::{Random, delete, plain, position, put};
use multi_hyperbee::crdt::{
    Change, ChangeKind, ElementId, JsonError, List, ListError, MAX_BY_VALUE, State, StateView, parse_object,
};
use proptest::prelude::*;
use serde_json::json;

fn text(json: &str) -> Result<String, JsonError> {
    parse_object(json).map(|value| value.to_text())
}

#[test]
fn json_texts_are_written_as_javascript_writes_them() {
    for (given, written) in [
        (r#"{"a":-0,"b":0.0,"c":1.0,"d":1e3}"#, r#"{"a":0,"b":0,"c":1,"d":1000}"#),
        (
            r#"{"a":1e21,"b":1e20,"c":1e-6,"d":1e-7}"#,
            r#"{"a":1e+21,"b":100000000000000000000,"c":0.000001,"d":1e-7}"#,
        ),
        (r#"{"a":5e-324,"b":1.7976931348623157e308}"#, r#"{"a":5e-324,"b":1.7976931348623157e+308}"#),
        (r#"{"a":9007199254740993,"b":0.1,"c":1e-400}"#, r#"{"a":9007199254740992,"b":0.1,"c":0}"#),
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
        (r#" { "__proto__" : [ 1 , {} , [ ] ] } "#, r#"{"__proto__":[1,{},[]]}"#),
        (
            r#"{"\u00e9\/":"\ud83d\ude00\b\f\n\r\t\u0001\"\\\u007f"}"#,
            "{\"é/\":\"😀\\b\\f\\n\\r\\t\\u0001\\\"\\\\\u{7f}\"}",
        ),
        (r#"{"a":null,"b":true,"c":false,"":""}"#, r#"{"a":null,"b":true,"c":false,"":""}"#),
    ] {
        assert_eq!(text(given).as_deref(), Ok(written));
    }
}

#[test]
fn each_rule_of_the_json_domain_has_its_error() {
    assert_eq!(text("[]"), Err(JsonError::NotAnObject));
    let refused = |given: &str, why: &str| match text(given) {
        Err(JsonError::Malformed { reason }) => assert!(reason.contains(why), "{given}: {reason}"),
        other => panic!("{given}: {other:?}"),
    };
    refused(r#"{"a":"\ud800"}"#, "hex escape");
    refused(r#"{"a":"\ud800\ud800"}"#, "surrogate");
    refused(r#"{"a":"\udc00\ud800"}"#, "surrogate");
    refused(r#"{"a":1e400}"#, "out of range");
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(text(&nested(63)), Ok(nested(63)));
    assert_eq!(text(&nested(64)), Err(JsonError::TooDeep { limit: 64 }));
    assert_eq!(text(&nested(1_000_000)), Err(JsonError::TooDeep { limit: 64 }));
    for bad in
        ["", "{", "{}x", r#"{"a":01}"#, r#"{"a":1.}"#, r#"{"a":.5}"#, r#"{"a":+1}"#, r#"{"a":"#, r#"{"a" 1}"#]
    {
        assert!(matches!(text(bad), Err(JsonError::Malformed { .. })), "{bad}");
    }
    for bad in [
        r#"{"a":1,}"#,
        r#"{"a":[1,]}"#,
        "{a:1}",
        r#"{"a":tru}"#,
        "{\"a\":\"\n\"}",
        r#"{"a":"\x"}"#,
        r#"{"a":"\u12"}"#,
    ] {
        assert!(matches!(text(bad), Err(JsonError::Malformed { .. })), "{bad}");
    }
}

#[test]
fn an_element_id_has_one_text() {
    let id = ElementId { writer: [0xab, 0, 0, 0, 0, 0, 0, 1], seq: 31, n: 0 };
    assert_eq!(id.to_string(), "ab00000000000001-1f-0");
    assert_eq!(ElementId::parse("ab00000000000001-1f-0"), Ok(id));
    for bad in ["", "ab-1f-0", "AB00000000000001-1f-0", "ab00000000000001-01f-0", "ab00000000000001-+1-0"] {
        assert!(ElementId::parse(bad).is_err(), "{bad}");
    }
    for bad in ["ab00000000000001-1f", "ab00000000000001-1f-0-0", "ab00000000000001-1f-100000000"] {
        assert!(ElementId::parse(bad).is_err(), "{bad}");
    }
}

fn refused(list: &serde_json::Value) -> ListError {
    List::parse(&list.to_string()).unwrap_err()
}

#[test]
fn a_malformed_list_is_refused() {
    let insert = |item: serde_json::Value| json!({"insert": {"add": {"l": [item]}}});
    let removal = |item: serde_json::Value| json!({"insert": {"remove": {"l": [item]}}});
    for bad in [
        json!([]),
        json!({"add": []}),
        json!({"insert": {"add": {"p": 1}}}),
        json!({"insert": {"remove": {"p": ""}}}),
        json!({"list": {"p": 1}}),
        json!({"list": {"l": [{"id": "ab00000000000001-0-0"}]}}),
        json!({"list": {"l": [{"list": {}}]}}),
        json!({"list": {"l": [{"id": "ab00000000000001-00-0", "list": {}}]}}),
        insert(json!({"index": 0})),
        insert(json!({"value": 1, "index": -1})),
        insert(json!({"value": 1, "index": 0.5})),
        insert(json!({"value": 1, "index": "0"})),
        insert(json!({"value": 1, "afterId": 0})),
        insert(json!({"value": 1, "beforeId": null})),
        insert(json!({"value": 1, "id": 7})),
        removal(json!({})),
        removal(json!(1)),
    ] {
        assert!(matches!(refused(&bad), ListError::Malformed { .. }), "{bad}");
    }
    for bad in [
        json!({"adds": {}}),
        json!({"insert": {"move": {}}}),
        insert(json!({"value": 1, "afterid": null})),
        removal(json!({"before": 1})),
        json!({"list": {"l": [{"id": "ab00000000000001-0-0", "list": {}, "array": {}}]}}),
    ] {
        assert!(matches!(refused(&bad), ListError::Unknown { .. }), "{bad}");
    }
    for name in ["_objectId", "_timestamp", "_prevTimestamp", "_diff"] {
        for section in ["add", "remove", "list"] {
            let list = json!({section: {name: {}}});
            assert_eq!(refused(&list), ListError::Reserved { name: name.to_owned() }, "{list}");
        }
        assert!(List::parse(&json!({"list": {"p": {"add": {name: 1}}}}).to_string()).is_ok());
    }
    let twice = vec![json!({"id": "ab00000000000001-0-0", "list": {}}); 2];
    assert!(matches!(refused(&json!({"list": {"l": twice}})), ListError::EditedTwice { .. }));
    let many = vec![json!({"after": 1, "value": 1}); MAX_BY_VALUE + 1];
    let many = json!({"insert": {"add": {"l": many}}});
    assert_eq!(refused(&many), ListError::TooManyByValue { limit: MAX_BY_VALUE });
    assert!(matches!(List::parse("{"), Err(ListError::Json(_))));
}

#[test]
fn i3_a_list_that_would_nest_too_deep_is_refused_and_the_deepest_that_fits_folds() {
    let value = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(List::parse(&format!("{{\"add\":{{\"a\":{}}}}}", value(63))).is_ok());
    let add = format!("{{\"add\":{{\"a\":{}}}}}", value(64));
    assert_eq!(List::parse(&add), Err(ListError::TooDeep { limit: 64 }));
    let insert = format!("{{\"insert\":{{\"add\":{{\"a\":[{{\"value\":{}}}]}}}}}}", value(63));
    assert_eq!(List::parse(&insert), Err(ListError::TooDeep { limit: 64 }));
    // An edit at the bottom of the deepest value, through objects and through arrays.
    for (open, close, times) in [("{\"a\":", "}", 63), ("[0,1,", "]", 63), ("[{\"id\":1,\"a\":", "}]", 31)] {
        let deep = |leaf: &str| format!("{{\"a\":{}{leaf}{}}}", open.repeat(times), close.repeat(times));
        let mut state = State::empty();
        for (step, leaf) in (1..).zip(["1", "2"]) {
            let value = serde_json::from_str(&deep(leaf)).unwrap();
            state.fold(&put(position(step, 1, step), &state, &value).unwrap());
        }
        assert_eq!(state.to_text(), Some(deep("2")));
        assert_eq!(State::decode(&state.encode()), Ok(state));
    }
}

#[test]
fn a_generated_list_has_this_text() {
    let mut state = State::empty();
    let base =
        json!({"l": ["a", "b", "c"], "o": {"k": {"x": 1, "y": [1]}}, "e": [{"id": 1, "x": 1}, [1, 2, 3]]});
    state.fold(&put(position(1, 1, 7), &state, &base).unwrap());
    let value = json!({"l": ["c", "a", "new", "newer"], "o": {"k": {"x": 2, "y": [1, 2]}}, "e": [{"id": 1, "x": 2}, [1, 2]]});
    let list = state.diff_to(&parse_object(&value.to_string()).unwrap()).unwrap();
    let golden = concat!(
        r#"{"list":{"o":{"list":{"k":{"insert":{"add":{"y":[{"afterId":"0101010101010101-7-3","index":1,"value":2}]}}}},"#,
        r#""insert":{"add":{"k":{"x":2}}}},"#,
        r#""e":[{"id":"0101010101010101-7-4","list":{"add":{"x":2}}},"#,
        r#"{"id":"0101010101010101-7-5","array":{"remove":[{"id":"0101010101010101-7-8","value":3}]}}]},"#,
        r#""insert":{"add":{"l":[{"id":"0101010101010101-7-2","afterId":null,"beforeId":"0101010101010101-7-0","index":0,"value":"c"},"#,
        r#"{"afterId":"0101010101010101-7-0","index":2,"value":"new"},{"afterId":1,"index":3,"value":"newer"}]},"#,
        r#""remove":{"l":[{"id":"0101010101010101-7-1","value":"b"}]}}}"#,
    );
    assert_eq!(list.to_text(), golden);
    assert_eq!(List::parse(golden), Ok(list));
}

fn golden_state() -> State {
    let mut state = State::empty();
    state.fold(&put(position(1, 1, 7), &state, &json!({"l": ["a", "b", ["c", "e"]]})).unwrap());
    state.fold(&put(position(2, 2, 300), &state, &json!({"l": ["a", "x", ["c", "e", "d"]]})).unwrap());
    state
}

#[test]
fn a_state_has_these_bytes() {
    let state = golden_state();
    let golden = [
        "01",                                                               // a live object
        "0000000000000002 00",                                              // last: time, tick
        "0202020202020202020202020202020202020202020202020202020202020202", // writer
        "ac02",                                                             // seq 300
        "01 0000000000000001 00 0101010101010101",                          // prev
        "3bd65562a3aa355e",                                                 // id
        "1d 7b226c223a5b2261222c2278222c5b2263222c2265222c2264225d5d7d",    // {"l":["a","x",["c","e","d"]]}
        "02 0101010101010101 07 0202020202020202 ac02",                     // dots: 7, 300
        "04",                                                               // runs of l
        "02 00 00",                                                         // "a": live, 7-0
        "02 01 01",                                                         // "x": live, 300-1
        "03 00 01",                                                         // "b": removed, 7-1
        "02 00 02",                                                         // the inner array: live, 7-2
        "03 226222",                                                        // content of "b": its text
        "02 04 00 03 02 01 00", // content of the inner array: "c" 7-3 and "e" 7-4, "d" 300-0
    ];
    assert_eq!(hex::encode(state.encode()), golden.concat().replace(' ', ""));
    assert_eq!(hex::encode(State::empty().encode()), "00");
}

#[test]
fn deleted_states_and_registers_have_rows_too() {
    let live = golden_state();
    let mut deleted = live.clone();
    deleted.fold(&delete(position(3, 1, 8), &live));
    let mut never = State::empty();
    never.fold(&delete(position(3, 1, 8), &never));
    let mut register = State::empty();
    let kind = ChangeKind::Register(b"value".to_vec());
    register.fold(&Change { position: position(1, 1, 1), prev: None, kind });
    let mut kept = register.clone();
    kept.fold(&delete(position(2, 1, 2), &register));
    for (kind, state) in [(1, &live), (2, &register), (3, &never), (4, &deleted), (5, &kept)] {
        let bytes = state.encode();
        assert_eq!((bytes[0], State::decode(&bytes).as_ref()), (kind, Ok(state)));
        assert_eq!(StateView::decode(&bytes).unwrap().live.is_some(), state.is_live());
    }
}

#[test]
fn a_row_whose_ids_do_not_fit_its_text_is_refused() {
    let good = golden_state().encode();
    let runs = good.len() - 24;
    assert_eq!(good[runs], 4);
    for (at, byte) in [(runs, 3), (runs + 1, 4), (runs + 1, 0), (runs + 2, 2), (0, 6), (0, 0), (runs + 13, 4)]
    {
        let mut bad = good.clone();
        bad[at] = byte;
        assert!(State::decode(&bad).is_err(), "{at} {byte}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn json_agrees_with_serde_json(seed: u64) {
        let value = Random::new(seed).object();
        let parsed = parse_object(&value.to_string()).unwrap();
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&parsed.to_text()).unwrap(), value);
    }

    #[test]
    fn any_double_is_written_so_that_it_reads_back(bits: u64) {
        let number = f64::from_bits(bits);
        prop_assume!(number.is_finite());
        let given = format!("{{\"a\":{number:e}}}");
        let written = text(&given).unwrap();
        let back: serde_json::Value = serde_json::from_str(&written).unwrap();
        prop_assert_eq!(back["a"].as_f64(), Some(number));
        prop_assert_eq!(text(&written), Ok(written.clone()));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,60}", json in r#"[\[\]{}:,"\\ua0-9eE.+ -]{0,60}"#) {
        for text in [text, json] {
            let serde = serde_json::from_str::<serde_json::Value>(&text);
            prop_assert_eq!(parse_object(&text).is_ok(), serde.is_ok_and(|value| value.is_object()), "{}", text);
            let _ = List::parse(&text);
        }
    }

    #[test]
    fn no_damaged_row_panics(seed: u64, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut random = Random::new(seed);
        let mut state = State::empty();
        for step in 1..4 {
            let value = match plain(&state) {
                Some(old) => random.edit(&old, 0),
                None => random.object(),
            };
            if let Some(change) = put(position(step, 1, step), &state, &value) {
                state.fold(&change);
            }
        }
        let mut bytes = state.encode();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = StateView::decode(&bytes);
        if let Ok(state) = State::decode(&bytes) {
            prop_assert_eq!(State::decode(&state.encode()), Ok(state));
        }
    }
}
