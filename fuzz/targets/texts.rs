//! Texts that are read have one spelling; JSON that is read is what `serde_json` reads.

use multi_hyperbee::crdt::{ElementId, List, State, parse_object};
use multi_hyperbee::db::Invite;
use multi_hyperbee::types::Stamp;
use serde_json::{Map, Value, json};

/// Secret and issuer.
const INVITE_REST: usize = 32 + 8;

pub fn texts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(stamp) = Stamp::parse(text) {
        assert_eq!(stamp.to_string(), text);
    }
    if let Ok(id) = ElementId::parse(text) {
        assert_eq!(id.to_string(), text);
    }
    if let Ok(invite) = text.parse::<Invite>() {
        assert_eq!(invite.to_string(), text.trim().to_ascii_lowercase());
    }
}

/// The text of an invite, whose check nobody finds by chance.
fn with_check(body: &[u8]) -> String {
    let check = blake3::derive_key("multi-hyperbee 1 invite check", body);
    let whole = [body, &check[..4]].concat();
    let bits: Vec<u8> = whole.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let digit = |five: &[u8]| {
        five.iter().chain([0; 4].iter()).take(5).fold(0, |digit, bit| digit << 1 | usize::from(*bit))
    };
    bits.chunks(5).map(|five| char::from(b"ybndrfg8ejkmcpqxot1uwisza345h769"[digit(five)])).collect()
}

/// The body of an invite; its check is made.
pub fn invites(bytes: &[u8]) {
    let text = with_check(bytes);
    // Version, flags, key, secret, issuer; flag 1: and the encryption key.
    let is_one = matches!(bytes, [1, 0, rest @ ..] if rest.len() == 32 + INVITE_REST)
        || matches!(bytes, [1, 1, rest @ ..] if rest.len() == 64 + INVITE_REST);
    let read = text.parse::<Invite>();
    assert_eq!(read.is_ok(), is_one, "{text}");
    if let Ok(invite) = read {
        assert_eq!(invite.to_string(), text);
    }
}

pub fn json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(list) = List::parse(text) {
        assert_eq!(List::parse(&list.to_text()).as_ref(), Ok(&list));
    }
    let Ok(value) = parse_object(text) else { return };
    let again = value.to_text();
    assert_eq!(parse_object(&again).as_ref(), Ok(&value));
    let theirs: Value = serde_json::from_str(text).expect("what we take is JSON");
    let of_ours: Value = serde_json::from_str(&again).expect("what we write is JSON");
    assert_eq!(as_doubles(of_ours), as_doubles(theirs));
    // The first put of it, and reading it back.
    super::diff::leads_to(&State::empty(), &value);
}

/// Numbers are JavaScript's: the nearest double.
fn as_doubles(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, |double| json!(double + 0.0)),
        Value::Array(items) => items.into_iter().map(as_doubles).collect(),
        Value::Object(props) => {
            props.into_iter().map(|(name, value)| (name, as_doubles(value))).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}
