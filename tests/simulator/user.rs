//! A virtual user: what it writes, and what it must then read.

use super::coverage::{count, count_if};
use super::random::Random;
use super::replica::Replica;
use multi_hyperbee::db::{Code, Expect, Write, Written};
use serde_json::Value;
use std::collections::BTreeMap;

pub fn key(random: &mut Random) -> Vec<u8> {
    match random.below(40) {
        0 => Vec::new(),
        1 => vec![0; 1 + random.below(3)],
        2 => vec![b'k'; 1_900],
        3 => vec![b'k', 0, 0xff],
        _ => format!("k{}", random.below(4)).into_bytes(),
    }
}

fn expect(random: &mut Random) -> Expect {
    match random.below(20) {
        0 => Expect::Absent,
        1 => Expect::Seq(random.below(20) as u64),
        _ => Expect::Any,
    }
}

fn put(replica: &Replica, random: &mut Random) -> Write {
    let any = key(random);
    let expect = expect(random);
    if !replica.seen.is_empty() && random.chance(45) {
        let seen = random.pick(&replica.seen);
        let value = random.edit(&serde_json::from_str(&seen.text).unwrap(), 0).to_string().into_bytes();
        return Write::Put { key: seen.key, value, base: Some(seen.base), diff: None, expect };
    }
    let current = replica.db().get_entry(&any, None).unwrap();
    let value = match current.filter(|entry| !entry.register && random.chance(60)) {
        Some(entry) => random.edit(&serde_json::from_slice(&entry.value).unwrap(), 0),
        None => random.object(),
    };
    let diff = random.chance(4).then(|| {
        let diffs = [
            r#"{"add":{"n":1}}"#,
            r#"{"insert":{"add":{"list":[{"value":"d","index":0}]}}}"#,
            r#"{"insert":{"remove":{"list":[{"index":0}]}}}"#,
            r#"{"insert":{"add":{"list":[{"value":"e","after":"a"}]},"remove":{"list":[{"value":"b"}]}}}"#,
        ];
        random.pick(&diffs).to_owned()
    });
    Write::Put { key: any, value: value.to_string().into_bytes(), base: None, diff, expect }
}

fn one(replica: &Replica, random: &mut Random) -> Write {
    match random.below(100) {
        0..75 => put(replica, random),
        75..90 => Write::Delete { key: key(random), expect: expect(random) },
        _ => Write::Register { key: key(random), value: vec![7; random.below(4)], expect: expect(random) },
    }
}

pub fn write(replica: &Replica, random: &mut Random) -> Write {
    if random.chance(15) {
        return Write::Batch((0..=random.below(6)).map(|_| one(replica, random)).collect());
    }
    if random.chance(2) {
        let value = format!(r#"{{"long":"{}"}}"#, "x".repeat(random.below(100_000))).into_bytes();
        return Write::Put { key: key(random), value, base: None, diff: None, expect: Expect::Any };
    }
    one(replica, random)
}

/// What a key reads as once a write has been made, where that is certain.
#[derive(Clone, Debug, PartialEq)]
enum After {
    Object(Value),
    Register(Vec<u8>),
    Nothing,
    Unsure,
}

fn after(write: &Write, found: &mut BTreeMap<Vec<u8>, After>) {
    match write {
        // Against an older state, or with a list of the caller's, the outcome is the model's business.
        Write::Put { key, base: Some(_), .. } | Write::Put { key, diff: Some(_), .. } => {
            found.insert(key.clone(), After::Unsure);
        }
        Write::Put { key, value, .. } => {
            found.insert(key.clone(), After::Object(serde_json::from_slice(value).unwrap()));
        }
        Write::Register { key, value, .. } => drop(found.insert(key.clone(), After::Register(value.clone()))),
        Write::Delete { key, .. } => drop(found.insert(key.clone(), After::Nothing)),
        Write::Batch(writes) => writes.iter().for_each(|write| after(write, found)),
    }
}

/// Writes and looks whether what is replied is true.
pub fn act(replica: &mut Replica, write: &Write) -> Result<(), String> {
    let wrong = |error: multi_hyperbee::db::Error| format!("{error} ({:?})", error.code);
    let before = replica.db().status().map_err(wrong)?;
    let length_before = replica.own_length()?;
    let may_refuse = replica.may_miss_own()?;
    let result = match replica.db().write(vec![write.clone()]).wait() {
        Ok(mut results) => results.remove(0),
        Err(error) => Err(error),
    };
    replica.settle();
    let status = replica.db().status().map_err(wrong)?;
    count(if matches!(write, Write::Batch(_)) { "batch of writes" } else { "write" });
    count_if(matches!(write, Write::Put { base: Some(_), .. }), "put against what was read");
    count_if(result.is_err(), "write: refused");
    count_if(matches!(result, Ok(Written::Conflict)), "write: conflict");
    let is_older = replica.is_mute();
    let known = (replica.ledger.len(), replica.written_loose());
    replica.learn_own()?;
    if replica.forks {
        return match result {
            Err(error) if replica.may_be_refused(error.code) => {
                count("fork: refused to a forked writer");
                Ok(())
            }
            result => result.map(drop).map_err(wrong),
        };
    }
    let is_refused = matches!(&result, Err(error) if error.code == Code::NotWritable);
    // What it has said of itself may act with this write, and then it would count nowhere.
    let next_counts = !is_refused || !replica.spoke_of_itself() || replica.right_of_next()?.is_some();
    let written = match result {
        Err(error) if error.code == Code::Restored && may_refuse => Written::Conflict,
        Ok(Written::Yes { .. }) if is_older && replica.cautious && replica.unconfirmed => {
            return Err(format!("written in a backup that nobody has confirmed: {write:?}"));
        }
        Ok(Written::Yes { .. }) if is_older => {
            let now = (replica.ledger.len(), replica.written_loose());
            let is_nowhere = now == known && replica.own_length()? <= length_before;
            return if is_nowhere { Err(format!("{write:?} is nowhere")) } else { Ok(()) };
        }
        Err(error) if error.code == Code::DiskFull && replica.is_full => Written::Conflict,
        Err(error) if error.code == Code::NotWritable && (!before.writable || !next_counts) => {
            Written::Conflict
        }
        Err(error) => return Err(format!("{write:?}: {}", wrong(error))),
        Ok(_) if !before.writable => return Err(format!("written, though not writable: {write:?}")),
        Ok(written) => written,
    };
    let known = known.0;
    match written {
        Written::Yes { length, version } => {
            replica.cautious = false;
            let is_right = replica.ledger.len() as u64 == length
                && known != replica.ledger.len()
                && status.version == version;
            if !is_right {
                let length = replica.ledger.len();
                return Err(format!(
                    "{written:?}, but the length was {known} and is {length}, the status {status:?}"
                ));
            }
        }
        _ if replica.ledger.len() != known || status != before => {
            return Err(format!("{written:?}, but the length was {known} and is {}", replica.ledger.len()));
        }
        _ => {}
    }
    // Whoever chose feeds may have merged what no own entry can stand after.
    if written == Written::Conflict || !replica.chosen.is_empty() {
        return Ok(());
    }
    let mut expected = BTreeMap::new();
    after(write, &mut expected);
    for (key, expected) in expected {
        let found = match replica.db().get_entry(&key, None).map_err(wrong)? {
            None => After::Nothing,
            Some(entry) if entry.register => After::Register(entry.value),
            Some(entry) => After::Object(serde_json::from_slice(&entry.value).unwrap()),
        };
        if expected != After::Unsure && found != expected {
            return Err(format!("{key:?} was written as {expected:?} and reads {found:?}, by {write:?}"));
        }
    }
    Ok(())
}
