//! What the simulator has found, each as the shortest story that shows it.

use super::schedule::{Mode, Setup, Step};
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

/// Of two devices, from hex.
fn secrets(texts: [&str; 2]) -> Vec<[u8; 32]> {
    texts.map(|text| hex::decode(text).unwrap().try_into().unwrap()).to_vec()
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
    let three = Setup::plain(3);
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
    let two = Setup { shared: false, ..Setup::plain(2) };
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

/// A peer shows four blocks of an own feed of which fewer are here; then so many are written here that they are more.
#[test]
fn what_a_peer_showed_of_an_own_feed_is_compared_once_what_is_written_overtakes_it() {
    let setup = Setup { modes: vec![Mode::Apply], optimistic: true, ..Setup::plain(3) };
    let steps = [
        Step::Grant { by: 0, who: 1, indexer: false },
        Step::Meet { a: 2, b: 0, once: true },
        Step::Backup { at: 1, made: false },
        Step::Append { at: 1, seed: 17_970_122_486_401_067_540 },
        Step::Append { at: 1, seed: 16_122_466_181_330_819_802 },
        Step::Grant { by: 1, who: 1, indexer: false },
        Step::Apply { at: 2, seed: 16_930_459_291_475_728_574 },
        Step::Restore { at: 0 },
        Step::Connect { a: 2, b: 1, seed: 1_620_323_626_637_481_104 },
        Step::Append { at: 1, seed: 9_521_275_265_391_873_725 },
        Step::Carry { seed: 3_618_883_050_042_751_722 },
        Step::Carry { seed: 2_036_232_603_858_082_022 },
        Step::Carry { seed: 9_350_905_211_771_200_791 },
        Step::Append { at: 1, seed: 12_603_345_601_257_306_679 },
    ];
    super::world::run(&setup, &steps).unwrap();
}

/// That a feed has grown names no topic: it is said of the databases on whose topics the feed was announced.
#[test]
fn a_feed_of_one_database_that_grows_is_no_stranger_of_another() {
    let modes = vec![Mode::Merge, Mode::Apply];
    let setup = Setup { modes, optimistic: true, shared: false, ..Setup::plain(3) };
    let steps = [
        Step::AddPeer { at: 2, who: 0 },
        Step::Connect { a: 0, b: 2, seed: 1_572_350_417_254_529_592 },
        Step::Carry { seed: 7_740_306_126_784_326_617 },
        Step::Grant { by: 0, who: 0, indexer: true },
    ];
    super::world::run(&setup, &steps).unwrap();
}

/// After LMDB's last write of a commit has failed the file is mapped anew, which waits for every read transaction: also
/// for the one that is kept for reads to come.
#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn a_disk_that_is_full_at_the_end_of_a_commit_stops_the_store_for_no_longer_than_it_is_full() {
    let (say, done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let dir = super::device::directory();
        let store = Store::open(&Location::Path(dir.path().to_owned()), &StoreOptions::default()).unwrap();
        let db = store.database(DatabaseOptions::default()).wait().unwrap();
        let mut failed = 0;
        for writes in 0..8 {
            db.write(vec![put("k", &format!(r#"{{"n":{writes}}}"#))]).wait().unwrap().remove(0).unwrap();
            super::disk::fill(dir.path(), writes);
            let before = get(&db, "k");
            failed += u32::from(db.write(vec![put("k", r#"{"n":-1}"#)]).wait().is_err());
            let after = get(&db, "k");
            assert!(after == before || after.as_deref() == Some(r#"{"n":-1}"#), "{after:?}");
            super::disk::empty(dir.path());
        }
        say.send(failed).unwrap();
    });
    let failed = done.recv_timeout(Duration::from_secs(30)).expect("it stands still");
    assert!(failed > 2, "{failed}");
}

/// The feed it wrote was granted, the one it writes from now on is not: its user hears that.
#[test]
fn who_writes_another_feed_is_told_that_it_may_not_write_yet() {
    let setup = Setup { modes: vec![Mode::Apply], ..Setup::plain(2) };
    let steps = [
        Step::Grant { by: 0, who: 1, indexer: false },
        Step::Meet { a: 0, b: 1, once: false },
        Step::Check { at: 1 },
        Step::Local { at: 1, seed: 1 },
        Step::Grant { by: 0, who: 1, indexer: false },
        Step::Meet { a: 0, b: 1, once: false },
        Step::Check { at: 1 },
    ];
    super::world::run(&setup, &steps).unwrap();
}

/// What a peer has built on blocks that a copy by hand does not have waits where others stand in their place.
#[test]
fn what_links_the_rest_of_a_feed_waits_for_it_not_for_what_an_older_copy_wrote() {
    let setup = Setup {
        secrets: secrets([
            "a200c98c61906746068982d2f676b3cbaec14172e44783f4268c60d4fb2283ba",
            "14a54cef3a87904cacc0fd32394326c5dbfdf7ac43495fa75ea47dbdffb6d7b6",
        ]),
        lying: true,
        ..Setup::plain(2)
    };
    let steps = [
        Step::Grant { by: 0, who: 1, indexer: false },
        Step::Write { at: 0, seed: 13_144_240_640_995_736_984 },
        Step::Backup { at: 0, made: false },
        Step::Write { at: 0, seed: 1_520_490_086_100_074_594 },
        Step::Grant { by: 0, who: 0, indexer: false },
        Step::Restore { at: 1 },
        Step::Connect { a: 1, b: 0, seed: 4_107_203_741_024_873_351 },
        Step::Write { at: 1, seed: 8_138_152_176_374_376_326 },
        Step::Carry { seed: 5_784_903_234_718_992_126 },
        Step::Carry { seed: 429_701_370_017_192_176 },
        Step::Carry { seed: 16_282_027_464_401_416_793 },
        Step::Write { at: 0, seed: 4_668_553_814_859_129_912 },
        Step::Check { at: 0 },
    ];
    super::world::run(&setup, &steps).unwrap();
}

/// Of two histories one's head is here without its blocks, and the other's blocks do not fit it: nothing can be proved of
/// that, and asking again and again brings nothing else.
#[test]
fn who_shows_blocks_that_contradict_a_head_alone_is_not_asked_for_them_again_and_again() {
    let setup = Setup {
        forking: Some(1),
        maps: vec![Some(65_536), None],
        secrets: secrets([
            "69154ba14b73317af4ce675255b2edcb3262b8e8712a45677e00276f173c7ff8",
            "02f4b0682a3a29496cf9a4f7c2bf7133b7a6c45908b83fe1a917d610f3a0fff7",
        ]),
        ..Setup::plain(2)
    };
    let steps = [
        Step::Grant { by: 0, who: 1, indexer: false },
        Step::Meet { a: 0, b: 1, once: false },
        Step::Write { at: 1, seed: 14_614_763_651_184_628_926 },
        Step::Write { at: 1, seed: 12_424_576_822_190_628_978 },
        Step::Write { at: 1, seed: 7_978_759_095_096_251_078 },
        Step::Fork { at: 1, copied: true },
        Step::Write { at: 0, seed: 8_725_901_352_041_433_476 },
        Step::Connect { a: 0, b: 1, seed: 13_267_018_669_031_418_304 },
        Step::Carry { seed: 17_123_288_106_861_210_867 },
        Step::Carry { seed: 10_634_240_207_093_967_261 },
        Step::Write { at: 2, seed: 2_583_788_456_677_475_703 },
        Step::Write { at: 1, seed: 10_903_536_961_899_455_705 },
        Step::Carry { seed: 6_381_021_062_170_015_868 },
        Step::Meet { a: 0, b: 2, once: false },
    ];
    super::world::run(&setup, &steps).unwrap();
}

/// It takes its own right to grant while another, who has not heard that, grants it anew: what it grants next would make
/// the former act and have no effect, and is refused.
#[test]
fn a_grant_that_would_make_the_writer_s_own_demotion_act_is_refused() {
    let steps = [
        Step::Grant { by: 0, who: 1, indexer: true },
        Step::Meet { a: 0, b: 1, once: false },
        Step::Grant { by: 0, who: 2, indexer: true },
        Step::Meet { a: 0, b: 2, once: false },
        Step::Grant { by: 2, who: 0, indexer: false },
        Step::Grant { by: 0, who: 0, indexer: false },
        Step::Grant { by: 1, who: 0, indexer: true },
        Step::Meet { a: 2, b: 0, once: true },
        Step::Meet { a: 1, b: 0, once: false },
        Step::Grant { by: 0, who: 2, indexer: false },
        Step::Grant { by: 0, who: 0, indexer: true },
        Step::Revoke { by: 0, who: 0 },
        Step::Meet { a: 1, b: 0, once: false },
        Step::Grant { by: 1, who: 0, indexer: true },
        Step::Meet { a: 1, b: 0, once: false },
        Step::Grant { by: 0, who: 2, indexer: true },
    ];
    super::world::run(&Setup::plain(3), &steps).unwrap();
}
