//! Relays: two who never meet, what a relay keeps, who gives way, and that nothing of it is read.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use crate::support::{Wire, carry_until, connect, create, get, join, memory, put};
use multi_hyperbee::db::{Code, DatabaseOptions, Db, RelayLimits, Store, Why};
use multi_hyperbee::types::FeedKey;

fn relay(store: &Store, key: FeedKey, limits: RelayLimits) -> Db {
    let options = DatabaseOptions { key: Some(key), relay: Some(limits), ..DatabaseOptions::default() };
    store.database(options).wait().unwrap()
}

fn key(db: &Db) -> FeedKey {
    db.info().unwrap().key
}

fn local(db: &Db) -> FeedKey {
    db.info().unwrap().local
}

fn have(db: &Db, feed: FeedKey) -> u64 {
    db.progress().unwrap().iter().find(|progress| progress.key == feed).map_or(0, |progress| progress.have)
}

/// Connects a member and a relay until the relay has so much of a feed.
fn bring(member: &Db, relay: &Db, feed: FeedKey, length: u64) {
    let wire = connect(member, relay);
    carry_until(&[&wire], || have(relay, feed) >= length);
    wire.close();
}

/// Carries until nothing has moved for a while.
fn settle(wires: &[&Wire], stores: &[&Store]) {
    let mut still = 0;
    while still < 20 {
        let moved = wires.iter().any(|wire| wire.carry(usize::MAX));
        for store in stores {
            store.settled().wait().unwrap();
        }
        still = if moved { 0 } else { still + 1 };
    }
}

#[test]
fn two_members_who_never_meet_sync_through_a_relay_whatever_the_frames_are_cut_into() {
    for size in [1, 7, usize::MAX] {
        let [one, two, middle] = [memory(), memory(), memory()];
        let a = create(&one);
        let b = join(&two, key(&a));
        a.add_writer(local(&b), false).wait().unwrap();
        put(&a, "from a", r#"{"n":1}"#);
        let relay = relay(&middle, key(&a), RelayLimits::default());
        let carry = |wire: &Wire, mut done: Box<dyn FnMut() -> bool + '_>| {
            carry_until(&[], || {
                wire.carry(size);
                done()
            });
            wire.close();
        };
        carry(&connect(&a, &relay), Box::new(|| have(&relay, key(&a)) == 3));
        carry(&connect(&relay, &b), Box::new(|| get(&b, "from a").is_some()));
        put(&b, "from b", r#"{"n":2}"#);
        carry(&connect(&b, &relay), Box::new(|| have(&relay, local(&b)) == 1));
        carry(&connect(&relay, &a), Box::new(|| get(&a, "from b").is_some()));
        assert_eq!(a.state_hash().unwrap(), b.state_hash().unwrap());
    }
}

#[test]
fn a_relay_says_that_it_is_one_to_whoever_reads_or_writes_and_has_no_view() {
    let [one, middle] = [memory(), memory()];
    let a = create(&one);
    put(&a, "k", r#"{"n":1}"#);
    let relay = relay(&middle, key(&a), RelayLimits::default());
    bring(&a, &relay, key(&a), 2);
    let code = |result: Result<(), multi_hyperbee::db::Error>| result.unwrap_err().code;
    assert_eq!(code(relay.get_entry(b"k", None).map(drop)), Code::Relay);
    assert_eq!(code(relay.write(vec![crate::support::put_write("k", "{}")]).wait().map(drop)), Code::Relay);
    assert_eq!(code(relay.add_peer(FeedKey([1; 32])).wait().map(drop)), Code::Relay);
    assert_eq!(code(relay.add_writer(FeedKey([1; 32]), false).wait().map(drop)), Code::Relay);
    assert_eq!(code(relay.members().map(drop)), Code::Relay);
    assert_eq!(code(relay.state_hash().map(drop)), Code::Relay);
    assert_eq!(code(relay.request_access(Vec::new(), None)), Code::Relay);
    assert_eq!((relay.status().unwrap().version, relay.status().unwrap().writable), (0, false));
    let status = relay.sync_status().unwrap();
    assert!(status.reason.is_none() && status.feeds.len() == 1, "{status:?}");
}

#[test]
fn what_no_version_can_read_is_stored_and_forwarded_all_the_same() {
    let [one, two, middle] = [memory(), memory(), memory()];
    let a = create(&one);
    let raw = one.feed(multi_hyperbee::db::FeedChoice::Name("raw".into())).wait().unwrap();
    raw.append(vec![b"\xff nonsense".to_vec(), b"\x81 sealed, perhaps".to_vec()]).wait().unwrap();
    a.add_peer(raw.key()).wait().unwrap();
    let relay = relay(&middle, key(&a), RelayLimits::default());
    bring(&a, &relay, raw.key(), 2);
    let b = join(&two, key(&a));
    b.add_peer(raw.key()).wait().unwrap();
    bring(&relay, &b, raw.key(), 2);
    assert_eq!(have(&b, raw.key()), 2);
}

/// A member, a stranger who knows the key and announces `feeds` feeds of its own choice, and a relay of both.
fn with_stranger(limits: RelayLimits, feeds: usize, bytes: usize) -> ([Store; 3], [Db; 3], Vec<FeedKey>) {
    let [one, two, middle] = [memory(), memory(), memory()];
    let member = create(&one);
    let stranger = join(&two, key(&member));
    let others = (0..feeds)
        .map(|n| {
            let feed = two.feed(multi_hyperbee::db::FeedChoice::Name(n.to_string())).wait().unwrap();
            feed.append(vec![vec![b'x'; bytes]]).wait().unwrap();
            stranger.add_peer(feed.key()).wait().unwrap();
            feed.key()
        })
        .collect();
    let relay = relay(&middle, key(&member), limits);
    ([one, two, middle], [member, stranger, relay], others)
}

#[test]
fn who_only_knows_the_key_has_a_tenth_of_the_feeds_and_gives_way() {
    let limits = RelayLimits { feeds: 30, bytes: 1 << 20 };
    let ([one, two, middle], [member, stranger, relay], others) = with_stranger(limits, 9, 100);
    let wire = connect(&stranger, &relay);
    settle(&[&wire], &[&two, &middle]);
    let kept = |relay: &Db| others.iter().filter(|feed| have(relay, **feed) == 1).count();
    assert_eq!(kept(&relay), 3);
    let full = relay.sync_status().unwrap().feeds.into_iter().filter(|feed| feed.reason.is_some()).count();
    assert_eq!(full, 6);
    assert_eq!(relay.sync_status().unwrap().reason.unwrap().why, Why::RelayFull);
    // A member announces more than there is room for beside them.
    let own: Vec<FeedKey> = (0..28)
        .map(|n| {
            let feed = one.feed(multi_hyperbee::db::FeedChoice::Name(n.to_string())).wait().unwrap();
            feed.append(vec![b"a member's".to_vec()]).wait().unwrap();
            member.add_peer(feed.key()).wait().unwrap();
            feed.key()
        })
        .collect();
    let theirs = connect(&member, &relay);
    settle(&[&wire, &theirs], &[&one, &two, &middle]);
    assert_eq!(own.iter().filter(|feed| have(&relay, **feed) == 1).count(), 28);
    assert_eq!(kept(&relay), 1);
    assert!(relay.progress().unwrap().len() <= 30);
}

#[test]
fn bytes_are_bounded_others_give_way_whole_and_a_larger_relay_goes_on() {
    let limits = RelayLimits { feeds: 1_000, bytes: 135_000 };
    let ([one, two, middle], [member, stranger, relay], others) = with_stranger(limits, 5, 4_000);
    let wire = connect(&stranger, &relay);
    settle(&[&wire], &[&two, &middle]);
    let kept = |relay: &Db| others.iter().filter(|feed| have(relay, **feed) == 1).count();
    assert_eq!(kept(&relay), 3, "three of 4,128 fit into a tenth");
    for n in 0..30 {
        put(&member, &n.to_string(), &format!(r#"{{"text":"{}"}}"#, "x".repeat(4_000)));
    }
    let theirs = connect(&member, &relay);
    settle(&[&wire, &theirs], &[&one, &two, &middle]);
    assert_eq!(have(&relay, key(&member)), 31);
    assert!(kept(&relay) < 3, "others made way");
    for n in 30..40 {
        put(&member, &n.to_string(), &format!(r#"{{"text":"{}"}}"#, "x".repeat(4_000)));
    }
    settle(&[&wire, &theirs], &[&one, &two, &middle]);
    let status = relay.sync_status().unwrap();
    let own = status.feeds.iter().find(|feed| feed.key == key(&member)).unwrap();
    assert!(own.have < 41 && own.want == 41, "{} of {}", own.have, own.want);
    assert_eq!(own.reason.as_ref().unwrap().why, Why::RelayFull);
    // Nothing of what made way is left.
    let report = middle.verify(|_| {}).wait().unwrap();
    assert!(report.damages.is_empty(), "{report:?}");
    wire.close();
    theirs.close();
    relay.close().wait().unwrap();
    let larger = self::relay(&middle, key(&member), RelayLimits::default());
    bring(&member, &larger, key(&member), 41);
}

#[test]
fn a_writer_the_creator_did_not_name_yet_is_an_other_until_a_member_announces_it() {
    let [one, two, middle] = [memory(), memory(), memory()];
    let a = create(&one);
    let b = join(&two, key(&a));
    a.add_writer(local(&b), false).wait().unwrap();
    // Nothing of others fits: what is kept of b is kept because a announced it.
    let relay = relay(&middle, key(&a), RelayLimits { feeds: 9, bytes: 1 << 20 });
    bring(&a, &relay, key(&a), 2);
    bring(&relay, &b, key(&a), 2);
    put(&b, "k", r#"{"n":1}"#);
    let wire = connect(&b, &relay);
    settle(&[&wire], &[&two, &middle]);
    assert_eq!(have(&relay, local(&b)), 0);
    let direct = connect(&a, &b);
    carry_until(&[&direct], || get(&a, "k").is_some());
    direct.close();
    let theirs = connect(&a, &relay);
    carry_until(&[&wire, &theirs], || have(&relay, local(&b)) == 1);
    // And it was raised on b's own connection too.
    put(&b, "k2", r#"{"n":2}"#);
    carry_until(&[&wire, &theirs], || have(&relay, local(&b)) == 2);
}

#[test]
fn a_relay_is_opened_again_as_one_beside_the_database_itself() {
    let [one, middle] = [memory(), memory()];
    let a = create(&one);
    put(&a, "k", r#"{"n":1}"#);
    let relay = relay(&middle, key(&a), RelayLimits::default());
    bring(&a, &relay, key(&a), 2);
    let whole = join(&middle, key(&a));
    assert_eq!(get(&whole, "k").unwrap(), r#"{"n":1}"#, "the blocks are those of the relay");
    relay.close().wait().unwrap();
    let again = self::relay(&middle, key(&a), RelayLimits::default());
    assert_eq!(have(&again, key(&a)), 2);
    let name = again.info().unwrap().name;
    let plain = DatabaseOptions { name: Some(name), key: Some(key(&a)), ..DatabaseOptions::default() };
    let refused = middle.database(plain).wait().map(drop).unwrap_err();
    assert!(refused.code == Code::Options && refused.message.contains("relay: true"), "{refused:?}");
    let keyless = DatabaseOptions { relay: Some(RelayLimits::default()), ..DatabaseOptions::default() };
    assert_eq!(memory().database(keyless).wait().map(drop).unwrap_err().code, Code::Options);
}
