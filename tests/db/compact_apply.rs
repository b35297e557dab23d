//! Old versions that go in apply mode: what is not final can still be undone, and what `apply` reads is there.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::apply_support::{Applier, create_apply, join_apply};
use crate::support::*;
use multi_hyperbee::db::{Code, Db, Keep, Store};
use proptest::prelude::*;

fn compact(db: &Db, versions: u64) -> u64 {
    db.compact(Some(Keep::Versions(versions)), |_| ()).wait().unwrap().oldest
}

fn must_be_clean(store: &Store) {
    let report = store.verify(|_| ()).wait().unwrap();
    assert_eq!(report.damages.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
}

fn meet(a: &Applier, b: &Applier) {
    let wire = connect(&a.db, &b.db);
    let have = |applier: &Applier| {
        let feeds = applier.db.progress().unwrap();
        feeds.iter().filter(|feed| feed.have > 0).map(|feed| (feed.key, feed.have)).collect::<Vec<_>>()
    };
    carry_until(&[&wire], || {
        a.drain(true);
        b.drain(true);
        a.db.is_flushed().unwrap() && b.db.is_flushed().unwrap() && have(a) == have(b)
    });
    wire.close();
    a.drain(true);
    b.drain(true);
}

#[test]
fn what_is_final_goes_tombstones_too_and_the_view_stays() {
    let store = memory();
    let a = create_apply(&store);
    for n in 0..40 {
        a.append(&[&format!("put k{} v{n}", n % 4)]);
    }
    a.append(&["del k0", "del k1"]);
    a.append(&["put last x"]);
    let (view, hash) = (a.view(), a.db.state_hash().unwrap());
    let newest = a.db.status().unwrap().version;
    assert_eq!(compact(&a.db, 1), newest);
    assert_eq!((a.view(), a.db.state_hash().unwrap()), (view, hash));
    assert_eq!(a.db.get_entry(b"k2", Some(newest - 1)).unwrap_err().code, Code::VersionGone);
    must_be_clean(&store);
    // Neither an old value nor a tombstone is left: what was deleted comes back as new.
    a.append(&["put k0 again"]);
    a.append(&["inc count"]);
    a.append(&["inc count"]);
    assert_eq!((a.get("k0").as_deref(), a.get("count").as_deref()), (Some("again"), Some("2")));
    must_be_clean(&store);
}

#[test]
fn i4_what_is_not_final_can_still_be_undone() {
    let (s1, s2) = (memory(), memory());
    let a = create_apply(&s1);
    let b = join_apply(&s2, a.local());
    a.append(&[&format!("add {} indexer", b.local())]);
    a.append(&["put k first"]);
    meet(&a, &b);
    // Neither has seen the other's: whoever comes to stand behind is applied again.
    for n in 0..6 {
        a.append(&[&format!("log k a{n}")]);
        b.append(&[&format!("log k b{n}")]);
    }
    let newest = b.db.status().unwrap().version;
    for applier in [&a, &b] {
        assert!(compact(&applier.db, 1) < newest, "what is not final stays");
    }
    meet(&a, &b);
    assert_eq!(a.view(), b.view());
    for _ in 0..4 {
        a.db.acknowledge().wait().unwrap();
        b.db.acknowledge().wait().unwrap();
        meet(&a, &b);
    }
    let view = a.view();
    for (applier, store) in [(&a, &s1), (&b, &s2)] {
        // All but an acknowledgement is final now, and that has written nothing.
        assert_eq!(compact(&applier.db, 1), applier.db.status().unwrap().version);
        assert_eq!(applier.view(), view);
        must_be_clean(store);
    }
    assert_eq!(a.db.state_hash().unwrap(), b.db.state_hash().unwrap());
}

#[derive(Clone, Debug)]
enum Act {
    Append(usize, u8, u8),
    Meet(usize, usize),
    Acknowledge(usize),
    Compact(usize, u64),
    File(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let who = 0..3_usize;
    let act = prop_oneof![
        6 => (who.clone(), 0..4_u8, 0..6_u8).prop_map(|(a, k, v)| Act::Append(a, k, v)),
        3 => (who.clone(), who.clone()).prop_map(|(a, b)| Act::Meet(a, b)),
        2 => who.prop_map(Act::Acknowledge),
        3 => (1..3_usize, 1..4_u64).prop_map(|(a, n)| Act::Compact(a, n)),
        1 => (1..3_usize).prop_map(Act::File),
    ];
    proptest::collection::vec(act, 10..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn who_compacts_agrees_with_who_does_not(acts in acts()) {
        let stores = [memory(), memory(), memory()];
        let creator = create_apply(&stores[0]);
        let all = [
            join_apply(&stores[1], creator.local()),
            join_apply(&stores[2], creator.local()),
        ];
        let all = [&creator, &all[0], &all[1]];
        for (applier, indexer) in [(all[1], " indexer"), (all[2], "")] {
            creator.append(&[&format!("add {}{indexer}", applier.local())]);
            meet(&creator, applier);
        }
        for act in &acts {
            match *act {
                Act::Append(a, k, v) => {
                    let text = match v {
                        0 => format!("del k{k}"),
                        1 => format!("inc n{k}"),
                        _ => format!("log k{k} {v}"),
                    };
                    if all[a].db.status().unwrap().writable {
                        all[a].append(&[&text]);
                    }
                }
                Act::Meet(a, b) => if a != b { meet(all[a], all[b]) },
                Act::Acknowledge(a) => {
                    if all[a].db.status().unwrap().writable {
                        all[a].db.acknowledge().wait().unwrap();
                        all[a].drain(true);
                    }
                }
                Act::Compact(a, n) => { compact(&all[a].db, n); }
                Act::File(a) => { stores[a].compact(|_| ()).wait().unwrap(); }
            }
        }
        for _ in 0..2 {
            meet(all[0], all[1]);
            meet(all[1], all[2]);
            meet(all[0], all[2]);
        }
        for (applier, store) in all.iter().zip(&stores) {
            prop_assert_eq!(applier.view(), creator.view());
            prop_assert_eq!(applier.db.state_hash().unwrap(), creator.db.state_hash().unwrap());
            must_be_clean(store);
        }
    }
}
