//! Rows: the tables' orders, seeks and scans against a naive model, and what a transaction sees.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;
use std::ops::Bound;

use multi_hyperbee::store::{
    Environment, FORMAT, Location, MAX_ROW_KEY, Options, Read, RowOrder, StoreError, Table,
};
use proptest::prelude::*;

/// `prefix 4 ‖ key ‖ tail`, as the document says it: the tuple a row is compared by.
type Parts = (Vec<u8>, Vec<u8>, Vec<u8>);

fn memory() -> Environment {
    Environment::open(&Location::Memory, &Options::default()).unwrap()
}

fn row((prefix, key, tail): &Parts) -> Vec<u8> {
    [prefix.as_slice(), key, tail].concat()
}

fn tail_width(table: Table) -> usize {
    match table {
        Table::View => 8,
        Table::Diffs => 24,
        _ => 0,
    }
}

/// Rows whose keys are prefixes of one another, empty, or equal, with tails of bytes that also occur in keys.
fn parts(tail: usize) -> impl Strategy<Value = Parts> {
    let byte = || prop::sample::select(vec![0_u8, 1, 0x61, 0xff]);
    (
        prop::collection::vec(prop::sample::select(vec![0_u8, 1]), 4),
        prop::collection::vec(byte(), 0..4),
        prop::collection::vec(byte(), tail),
    )
}

#[derive(Clone, Debug)]
enum Edge {
    Open,
    In(Parts),
    Out(Parts),
}

fn edge(tail: usize) -> impl Strategy<Value = Edge> {
    prop_oneof![
        Just(Edge::Open),
        parts(tail).prop_map(Edge::In),
        parts(tail).prop_map(Edge::Out),
        // A bound may be the prefix alone.
        parts(tail).prop_map(|(prefix, _, _)| Edge::In((prefix, vec![], vec![]))),
    ]
}

fn bytes(edge: &Edge) -> Bound<Vec<u8>> {
    match edge {
        Edge::Open => Bound::Unbounded,
        Edge::In(parts) => Bound::Included(row(parts)),
        Edge::Out(parts) => Bound::Excluded(row(parts)),
    }
}

fn within(parts: &Parts, from: &Edge, to: &Edge) -> bool {
    let above = match from {
        Edge::Open => true,
        Edge::In(edge) => parts >= edge,
        Edge::Out(edge) => parts > edge,
    };
    let below = match to {
        Edge::Open => true,
        Edge::In(edge) => parts <= edge,
        Edge::Out(edge) => parts < edge,
    };
    above && below
}

fn check(table: Table, rows: &[Parts], deleted: &[Parts], edges: &[(Edge, Edge)]) {
    let env = memory();
    let mut model = BTreeMap::new();
    let mut txn = env.write().unwrap();
    for (index, parts) in rows.iter().enumerate() {
        let value = index.to_be_bytes();
        if index % 2 == 0 {
            txn.put(table, &row(parts), &value).unwrap();
        } else {
            txn.append(table, &row(parts), &value).unwrap();
        }
        model.insert(parts.clone(), value.to_vec());
    }
    for parts in deleted {
        assert_eq!(txn.delete(table, &row(parts)).unwrap(), model.remove(parts).is_some());
    }
    // Alike in the transaction that wrote them and after it.
    check_reads(&txn, table, &model, edges);
    txn.commit().unwrap();
    check_reads(&env.read().unwrap(), table, &model, edges);
}

fn check_reads(txn: &impl Read, table: Table, model: &BTreeMap<Parts, Vec<u8>>, edges: &[(Edge, Edge)]) {
    assert_eq!(txn.entries(table).unwrap(), model.len() as u64);
    for (parts, value) in model {
        assert_eq!(txn.get(table, &row(parts)).unwrap(), Some(value.as_slice()));
    }
    for (from, to) in edges {
        let want: Vec<_> = model
            .iter()
            .filter(|(parts, _)| within(parts, from, to))
            .map(|(parts, value)| (row(parts), value.clone()))
            .collect();
        let (from, to) = (bytes(from), bytes(to));
        let (from, to) = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
        let own = |(key, value): (&[u8], &[u8])| (key.to_vec(), value.to_vec());
        let got: Vec<_> = txn.range(table, from, to).unwrap().map(|row| own(row.unwrap())).collect();
        assert_eq!(got, want);
        let mut back: Vec<_> =
            txn.range_back(table, from, to).unwrap().map(|row| own(row.unwrap())).collect();
        back.reverse();
        assert_eq!(back, want);
        assert_eq!(txn.first(table, from, to).unwrap().map(own), want.first().cloned());
        assert_eq!(txn.last(table, from, to).unwrap().map(own), want.last().cloned());
    }
}

fn case(table: Table) -> impl Strategy<Value = (Vec<Parts>, Vec<Parts>, Vec<(Edge, Edge)>)> {
    let tail = tail_width(table);
    (
        prop::collection::vec(parts(tail), 0..40),
        prop::collection::vec(parts(tail), 0..8),
        prop::collection::vec((edge(tail), edge(tail)), 1..8),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn i6_view_rows_are_ordered_by_prefix_key_and_tail((rows, deleted, edges) in case(Table::View)) {
        check(Table::View, &rows, &deleted, &edges);
    }

    #[test]
    fn i6_diff_rows_are_ordered_by_prefix_key_and_tail((rows, deleted, edges) in case(Table::Diffs)) {
        check(Table::Diffs, &rows, &deleted, &edges);
    }

    #[test]
    fn i6_other_rows_are_ordered_by_bytes((rows, deleted, edges) in case(Table::Blocks)) {
        // With no tail, the triple (prefix, key, "") orders as its bytes do, all prefixes being four bytes.
        check(Table::Blocks, &rows, &deleted, &edges);
    }
}

#[test]
fn the_longest_keys_fit_and_longer_ones_are_refused() {
    let env = memory();
    let mut txn = env.write().unwrap();
    for (table, tail) in [(Table::View, 8), (Table::Diffs, 24)] {
        let longest = [vec![0; 4], vec![0x61; 1_900], vec![0xff; tail]].concat();
        txn.put(table, &longest, b"value").unwrap();
        let longer = [vec![0; 4], vec![0x61; 1_900], vec![0x61], vec![0; tail]].concat();
        txn.put(table, &longer, b"longer").unwrap();
        let rows: Vec<_> = txn
            .range(table, Bound::Unbounded, Bound::Unbounded)
            .unwrap()
            .map(|row| row.unwrap().0.len())
            .collect();
        assert_eq!(rows, [longest.len(), longer.len()], "a prefix sorts first, whatever its tail");
    }
    txn.put(Table::Meta, &vec![7; MAX_ROW_KEY], b"").unwrap();
    for bytes in [0, MAX_ROW_KEY + 1] {
        let refused = txn.put(Table::Meta, &vec![7; bytes], b"");
        assert!(matches!(refused, Err(StoreError::KeySize { bytes: found, .. }) if found == bytes));
    }
    assert_eq!(txn.get(Table::Meta, b"").unwrap(), None);
    assert!(!txn.delete(Table::Meta, b"").unwrap());
    txn.commit().unwrap();
}

#[test]
fn a_read_sees_what_was_committed_when_it_began() {
    let env = memory();
    let before = env.read().unwrap();
    let mut txn = env.write().unwrap();
    txn.put(Table::Log, b"a", b"1").unwrap();
    assert_eq!(env.read().unwrap().get(Table::Log, b"a").unwrap(), None, "not committed yet");
    txn.commit().unwrap();
    assert_eq!(before.get(Table::Log, b"a").unwrap(), None);
    assert_eq!(env.read().unwrap().get(Table::Log, b"a").unwrap(), Some(&b"1"[..]));

    let mut txn = env.write().unwrap();
    txn.put(Table::Log, b"a", b"2").unwrap();
    txn.put(Table::View, b"a", b"2").unwrap();
    txn.abort();
    let after = env.read().unwrap();
    assert_eq!(after.get(Table::Log, b"a").unwrap(), Some(&b"1"[..]));
    assert_eq!(after.entries(Table::View).unwrap(), 0, "all tables or none");
}

#[test]
fn names_and_orders_of_the_tables_are_the_file_format() {
    let golden = [
        ("meta-1", RowOrder::Bytes),
        ("feeds-1", RowOrder::Bytes),
        ("blocks-1", RowOrder::Bytes),
        ("tree-1", RowOrder::Bytes),
        ("databases-1", RowOrder::Bytes),
        ("members-1", RowOrder::Bytes),
        ("pasts-1", RowOrder::Bytes),
        ("effectives-1", RowOrder::Bytes),
        ("controls-1", RowOrder::Bytes),
        ("order-1", RowOrder::Bytes),
        ("invites-1", RowOrder::Bytes),
        ("diffs-1", RowOrder::Tail24),
        ("view-1", RowOrder::Tail8),
        ("log-1", RowOrder::Bytes),
        ("commits-1", RowOrder::Bytes),
        ("hashes-1", RowOrder::Bytes),
        ("kept-1", RowOrder::Bytes),
        ("forks-1", RowOrder::Bytes),
        ("sequence-1", RowOrder::Bytes),
        ("applied-1", RowOrder::Bytes),
        ("unmerged-1", RowOrder::Bytes),
        ("witnesses-1", RowOrder::Bytes),
        ("parts-1", RowOrder::Bytes),
        ("holes-1", RowOrder::Bytes),
        ("covers-1", RowOrder::Bytes),
    ];
    assert_eq!(Table::ALL.map(Table::definition), golden);
    let env = memory();
    let txn = env.read().unwrap();
    assert_eq!(FORMAT, 1);
    assert_eq!(txn.get(Table::Meta, b"format").unwrap(), Some(&[0, 0, 0, 1][..]));
    for table in Table::ALL {
        assert_eq!(txn.entries(table).unwrap(), u64::from(table == Table::Meta));
    }
}

#[test]
fn tables_do_not_share_rows() {
    let env = memory();
    let mut txn = env.write().unwrap();
    for table in Table::ALL {
        txn.put(table, b"one key", table.name().as_bytes()).unwrap();
    }
    for table in Table::ALL {
        assert_eq!(txn.get(table, b"one key").unwrap(), Some(table.name().as_bytes()));
    }
    txn.commit().unwrap();
}

#[test]
fn an_empty_bound_lies_before_all_rows() {
    let env = memory();
    let mut txn = env.write().unwrap();
    txn.put(Table::View, &[0; 12], b"row").unwrap();
    for empty in [Bound::Included(&b""[..]), Bound::Excluded(&b""[..])] {
        assert!(txn.first(Table::View, empty, Bound::Unbounded).unwrap().is_some());
        assert!(txn.last(Table::View, empty, Bound::Unbounded).unwrap().is_some());
        assert_eq!(txn.range(Table::View, empty, Bound::Unbounded).unwrap().count(), 1);
        assert_eq!(txn.range_back(Table::View, empty, Bound::Unbounded).unwrap().count(), 1);
        assert!(txn.first(Table::View, Bound::Unbounded, empty).unwrap().is_none());
        assert!(txn.last(Table::View, Bound::Unbounded, empty).unwrap().is_none());
        assert_eq!(txn.range(Table::View, Bound::Unbounded, empty).unwrap().count(), 0);
        assert_eq!(txn.range_back(Table::View, Bound::Unbounded, empty).unwrap().count(), 0);
    }
}
