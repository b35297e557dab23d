//! What a writer that was removed may still say, and who is left when several remove each other.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::device::{Device, meet};
use crate::support::*;
use multi_hyperbee::db::Code;

/// A creator, and a second writer whose first put, `seen`, the creator has.
fn pair(indexer: bool) -> (Device, Device) {
    let creator = Device::new("creator", None);
    let other = Device::new("other", Some(creator.local()));
    creator.at(1);
    creator.db.add_writer(other.local(), indexer).wait().unwrap();
    meet(&creator, &other);
    other.at(10);
    put(&other.db, "seen", "{}");
    meet(&creator, &other);
    (creator, other)
}

fn there(device: &Device, key: &str) -> bool {
    get(&device.db, key).is_some()
}

/// Who may write, as this device sees it.
fn writers(device: &Device) -> Vec<multi_hyperbee::types::FeedKey> {
    device.db.members().unwrap().iter().filter(|member| member.granted).map(|member| member.key).collect()
}

fn agree(devices: &[&Device]) {
    for pair in devices.windows(2) {
        assert_eq!(pair[0].db.state_hash().unwrap(), pair[1].db.state_hash().unwrap());
        assert_eq!(writers(pair[0]), writers(pair[1]));
    }
}

#[test]
fn values_that_a_revoked_writer_backdates_do_not_count() {
    let (creator, other) = pair(false);
    creator.at(100);
    creator.db.remove_writer(other.local(), false).wait().unwrap();
    // It does not know yet, and its clock says that this was long before.
    for seconds in [50, 150] {
        other.at(seconds);
        put(&other.db, &format!("at {seconds}"), "{}");
    }
    let third = Device::new("third", Some(creator.local()));
    meet(&third, &other);
    meet(&creator, &other);
    meet(&third, &creator);
    for device in [&creator, &other, &third] {
        assert!(there(device, "seen"), "{}", device.name);
        assert!(!there(device, "at 50") && !there(device, "at 150"), "{}", device.name);
    }
    let members = creator.db.members().unwrap();
    let of = members.iter().find(|member| member.key == other.local()).unwrap();
    assert_eq!((of.granted, of.length, of.counted), (false, 3, 1), "what does not count is listed");
    agree(&[&creator, &other, &third]);
}

/// `docs/security.md`: the window. What is written in it counts for ever, on every device, grants included.
#[test]
fn a_revoked_indexer_can_speak_between_its_last_entry_and_its_revoke() {
    let (creator, other) = pair(true);
    let friend = Device::new("friend", Some(creator.local()));
    creator.at(100);
    creator.db.remove_writer(other.local(), false).wait().unwrap();
    other.at(60);
    put(&other.db, "in the window", "{}");
    other.db.add_writer(friend.local(), false).wait().unwrap();
    other.at(150);
    put(&other.db, "behind the revoke", "{}");
    meet(&friend, &other);
    friend.at(200);
    put(&friend.db, "by its friend", "{}");
    meet(&creator, &other);
    meet(&creator, &friend);
    meet(&other, &friend);
    for device in [&creator, &other, &friend] {
        assert!(there(device, "seen") && there(device, "in the window"), "{}", device.name);
        assert!(there(device, "by its friend"), "{}", device.name);
        assert!(!there(device, "behind the revoke"), "{}", device.name);
        assert!(!writers(device).contains(&other.local()) && writers(device).contains(&friend.local()));
    }
    agree(&[&creator, &other, &friend]);
    // The advice: whoever it let in can be removed as well.
    creator.at(300);
    creator.db.remove_writer(friend.local(), false).wait().unwrap();
    assert_eq!(writers(&creator), [creator.local()]);
}

#[test]
fn the_window_of_a_revoked_indexer_begins_at_its_last_entry() {
    let (creator, other) = pair(true);
    creator.at(100);
    creator.db.remove_writer(other.local(), false).wait().unwrap();
    // Its own feed only goes on: what claims to be older stands behind what it had said.
    other.at(2);
    put(&other.db, "seen", r#"{"again":1}"#);
    meet(&creator, &other);
    assert_eq!(get(&creator.db, "seen").as_deref(), Some(r#"{"again":1}"#));
    agree(&[&creator, &other]);
}

#[test]
fn a_writer_goes_on_until_it_learns_of_its_revoke_and_is_refused_then() {
    let (creator, other) = pair(false);
    creator.at(20);
    creator.db.remove_writer(other.local(), false).wait().unwrap();
    other.at(30);
    put(&other.db, "unaware", "{}");
    assert!(there(&other, "unaware") && other.db.status().unwrap().writable);
    meet(&creator, &other);
    assert!(!there(&other, "unaware") && !there(&creator, "unaware"));
    assert!(!other.db.status().unwrap().writable);
    let refused = other.db.write(vec![put_write("k", "{}")]).wait().unwrap().remove(0).unwrap_err();
    assert_eq!(refused.code, Code::NotWritable);
    agree(&[&creator, &other]);
}

/// Three indexers in a ring each remove the next without knowing of the others: the earliest that still is an indexer
/// where it stands acts.
#[test]
fn of_three_that_remove_each_other_in_a_ring_the_order_says_who_is_left() {
    // Seconds at which creator, second and third remove the next one; who is left.
    for (times, left) in [([20, 30, 40], 2), ([40, 30, 20], 1), ([30, 20, 40], 0), ([20, 40, 30], 2)] {
        let creator = Device::new("creator", None);
        let second = Device::new("second", Some(creator.local()));
        let third = Device::new("third", Some(creator.local()));
        creator.at(1);
        creator.db.add_writer(second.local(), true).wait().unwrap();
        meet(&creator, &second);
        second.at(5);
        second.db.add_writer(third.local(), true).wait().unwrap();
        meet(&second, &third);
        meet(&creator, &second);
        let ring = [&creator, &second, &third];
        for (at, seconds) in times.into_iter().enumerate() {
            ring[at].at(seconds);
            ring[at].db.remove_writer(ring[(at + 1) % 3].local(), false).wait().unwrap();
        }
        meet(&third, &second);
        meet(&creator, &third);
        meet(&second, &creator);
        meet(&third, &second);
        for device in ring {
            assert_eq!(writers(device), [ring[left].local()], "{times:?} at {}", device.name);
        }
        agree(&ring);
    }
}

#[test]
fn the_last_indexer_cannot_leave() {
    let (creator, other) = pair(true);
    let leave = |device: &Device| device.db.remove_writer(device.local(), false).wait().unwrap();
    creator.at(20);
    leave(&creator);
    meet(&creator, &other);
    assert_eq!(writers(&other), [other.local()], "the creator has left the database to the other");
    other.at(30);
    leave(&other);
    other.at(40);
    put(&other.db, "still", "{}");
    meet(&creator, &other);
    for device in [&creator, &other] {
        assert_eq!(writers(device), [other.local()]);
        assert!(there(device, "still"));
    }
    agree(&[&creator, &other]);
}

#[test]
fn who_removed_itself_where_that_takes_effect_with_its_next_write_is_told_that_it_may_not_write() {
    let (creator, other) = pair(true);
    // Three say something that none of the others has seen.
    creator.at(100);
    creator.db.add_writer(other.local(), false).wait().unwrap();
    other.at(110);
    other.db.remove_writer(other.local(), false).wait().unwrap();
    creator.at(120);
    creator.db.add_writer(other.local(), true).wait().unwrap();
    meet(&creator, &other);
    let before = other.db.status().unwrap();
    other.at(130);
    let written = other.db.write(vec![put_write("kept", "{}")]).wait().and_then(|mut all| all.remove(0));
    assert_eq!(written.unwrap_err().code, Code::NotWritable);
    assert_eq!(other.db.status().unwrap().version, before.version);
    // Granted again by who has seen all that, it writes.
    creator.at(140);
    creator.db.add_writer(other.local(), false).wait().unwrap();
    meet(&creator, &other);
    other.at(150);
    put(&other.db, "again", "{}");
    meet(&creator, &other);
    assert!(there(&creator, "again"));
    agree(&[&creator, &other]);
}

#[test]
fn who_took_its_own_right_to_grant_where_that_takes_effect_with_its_next_grant_is_told_what_to_do() {
    let (creator, other) = pair(true);
    let third = Device::new("third", Some(creator.local()));
    creator.at(90);
    creator.db.add_writer(third.local(), true).wait().unwrap();
    meet(&creator, &third);
    // Three say something that none of the others has seen.
    other.at(100);
    other.db.add_writer(creator.local(), false).wait().unwrap();
    creator.at(110);
    creator.db.add_writer(creator.local(), false).wait().unwrap();
    third.at(120);
    third.db.add_writer(creator.local(), true).wait().unwrap();
    meet(&other, &creator);
    meet(&third, &creator);
    let before = creator.db.status().unwrap();
    assert!(before.indexer);
    creator.at(130);
    // Each of them would stand behind its own word of before, which acts then: none would have an effect.
    let refused = [
        creator.db.add_writer(other.local(), false).wait(),
        creator.db.add_writer(creator.local(), true).wait(),
        creator.db.remove_writer(creator.local(), false).wait(),
    ];
    for reply in refused {
        let error = reply.unwrap_err();
        assert_eq!(error.code, Code::NotPermitted);
        assert!(error.message.contains("call addWriter with its key once more"), "{}", error.message);
    }
    assert_eq!(creator.db.status().unwrap(), before);
    // An indexer that has seen all of it does.
    third.at(140);
    meet(&creator, &third);
    third.db.add_writer(creator.local(), true).wait().unwrap();
    meet(&creator, &third);
    creator.at(150);
    creator.db.add_writer(other.local(), true).wait().unwrap();
    meet(&creator, &third);
    meet(&creator, &other);
    meet(&creator, &third);
    for device in [&creator, &other, &third] {
        let members = device.db.members().unwrap();
        assert!(members.iter().all(|member| member.indexer), "at {}: {members:?}", device.name);
    }
    agree(&[&creator, &other, &third]);
}
