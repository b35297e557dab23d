//! What the simulator has found, each as the shortest story that shows it.

use super::schedule::{Setup, Step};
use multi_hyperbee::db::{
    DatabaseOptions, Db, Expect, Location, PeerOptions, Store, StoreOptions, Transport, Write,
};
use std::sync::Arc;
use std::time::Duration;

/// A store whose clock stands at a second.
fn store(second: u64) -> Store {
    let clock = move || Duration::from_secs(second);
    let options = StoreOptions { clock: Some(Arc::new(clock)), ..StoreOptions::default() };
    Store::open(&Location::Memory, &options).unwrap()
}

/// Connects two stores until neither has anything to say.
fn meet(a: &Store, b: &Store) {
    let [a_peer, b_peer] = [(a, true), (b, false)].map(|(store, initiator)| {
        let transport = Transport::Attached { initiator, handshake_hash: [1; 64] };
        let wake = Arc::new(|| {});
        let user_data = Vec::new();
        store
            .replicate(PeerOptions { transport, live: true, download: true, upload: true, user_data, wake })
            .unwrap()
    });
    let mut moved = true;
    while moved {
        moved = false;
        for (from, to) in [(&a_peer, &b_peer), (&b_peer, &a_peer)] {
            while let Some(bytes) = from.pull(1 << 16) {
                moved = true;
                to.receive(&bytes).unwrap();
                // Twice: what is settled may queue more.
                [a, b, a, b].iter().for_each(|store| store.settled().wait().unwrap());
            }
        }
    }
    a_peer.ended();
    b_peer.ended();
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
    let store = store(1);
    let db = store.database(DatabaseOptions::default()).wait().unwrap();
    let batch = vec![put("k", r#"{"l":[[1]]}"#), put("k", r#"{"l":[[0]]}"#)];
    db.write(vec![Write::Batch(batch)]).wait().unwrap().remove(0).unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some(r#"{"l":[[0]]}"#));
}

#[test]
fn who_has_an_own_feed_back_after_a_restore_lets_its_peers_be_flushed() {
    let secrets = vec![[1; 32], [2; 32], [3; 32]];
    let three = Setup {
        devices: 3,
        shared: true,
        lying: false,
        choosing: false,
        encrypted: false,
        secrets,
        maps: vec![None; 3],
    };
    let meet = |a, b| Step::Meet { a, b, once: false };
    let steps = [
        Step::Grant { by: 0, who: 1, indexer: false },
        meet(0, 1),
        Step::Backup { at: 1, made: false },
        Step::Write { at: 1, seed: 1 },
        meet(0, 1),
        meet(1, 2),
        Step::Restore { at: 1 },
    ];
    super::world::run(&three, &steps).unwrap();
}

#[test]
fn a_write_after_a_grant_stands_after_what_the_granted_writer_had_written() {
    let (one, two) = (store(1_000), store(2_000));
    let a = one.database(DatabaseOptions::default()).wait().unwrap();
    let b = two.database(DatabaseOptions::default()).wait().unwrap();
    b.write(vec![put("k", r#"{"from":"b"}"#)]).wait().unwrap().remove(0).unwrap();
    let writer = b.info().unwrap().local;
    // A revoke names the feed, so it is here before the grant lets it be linked.
    a.remove_writer(writer, false).wait().unwrap();
    meet(&one, &two);
    assert!(a.applied(&writer, 2).unwrap());
    a.add_writer(writer, false).wait().unwrap();
    a.write(vec![put("k", "{}")]).wait().unwrap().remove(0).unwrap();
    assert_eq!(get(&a, "k").as_deref(), Some("{}"));
}

#[test]
fn what_is_written_while_a_connection_is_made_has_not_left() {
    let two = Setup {
        devices: 2,
        shared: false,
        lying: false,
        choosing: false,
        encrypted: false,
        secrets: vec![[1; 32], [2; 32]],
        maps: vec![None; 2],
    };
    let steps = [
        Step::AddPeer { at: 0, who: 1 },
        Step::Backup { at: 1, made: false },
        Step::Write { at: 1, seed: 12_449_483_050_646_914_886 },
        Step::Meet { a: 1, b: 0, once: false },
        Step::Restore { at: 1 },
        Step::Connect { a: 1, b: 0, seed: 10_769_333_451_902_035_573 },
        Step::Write { at: 1, seed: 16_430_261_910_162_684_434 },
    ];
    super::world::run(&two, &steps).unwrap();
}
