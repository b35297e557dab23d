//! The view of any merges, against a `BTreeMap` of all versions: each key's state is the fold of what counts.

use super::bytes::Bytes;
use multi_hyperbee::crdt::{Change, State, parse_object};
use multi_hyperbee::entry::{self, BatchHead, Entry, Op, Place};
use multi_hyperbee::store::{Environment, Location, Options, Read as _, ReadTxn, Table, WriteTxn};
use multi_hyperbee::types::{Effective, FeedKey, Position};
use multi_hyperbee::view::{self, Added, Bounds, HistoryCursor, Removed, ScanCursor, Seen, Space, Writers};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::LazyLock;

const DATABASE: u32 = 1;
const KEYS: [&[u8]; 6] = [b"", b"a", b"a\0", b"ab", b"b", &[0xff; 9]];
const MOST: usize = 24;

static STORE: LazyLock<Environment> =
    LazyLock::new(|| Environment::open(&Location::Memory, &Options::default()).expect("a store in memory"));

/// A diff that was written; its block stands in the store.
struct Written {
    feed: u32,
    key: usize,
    position: Position,
    change: Change,
}

/// The feed's number does not sort like its key.
fn writer(feed: u32) -> FeedKey {
    FeedKey([[9, 1, 5][feed as usize]; 32])
}

/// What should be there.
#[derive(Default)]
struct Model {
    all: Vec<Written>,
    counting: BTreeSet<usize>,
    /// Of each key and version: the state, as it is stored.
    rows: BTreeMap<(usize, u64), Vec<u8>>,
    version: u64,
}

impl Model {
    fn folded(&self, key: usize) -> State {
        let mut changes: Vec<&Written> =
            self.counting.iter().map(|at| &self.all[*at]).filter(|written| written.key == key).collect();
        changes.sort_by_key(|written| written.position);
        let mut state = State::empty();
        for written in changes {
            state.fold(&written.change);
        }
        state
    }

    fn at(&self, key: usize, version: u64) -> Option<&Vec<u8>> {
        self.rows.range((key, 0)..=(key, version)).next_back().map(|(_, state)| state)
    }

    /// Writes a diff against what the key was at some version.
    fn write(&mut self, txn: &mut WriteTxn<'_>, bytes: &mut Bytes<'_>) {
        let (feed, key) = (bytes.below(3) as u32, bytes.below(KEYS.len()));
        let seen = u64::from(bytes.u8()) % (self.version + 1);
        let state = self.at(key, seen).map_or_else(State::empty, |row| State::decode(row).expect("a state"));
        let (text, register);
        let change = match bytes.u8() % 6 {
            0 => entry::Change::Delete,
            1 => {
                register = [bytes.u8()];
                entry::Change::Register(&register)
            }
            _ => {
                let old = state.to_text().and_then(|text| serde_json::from_str(&text).ok());
                let value = match old {
                    Some(old) => bytes.edit(&old, 2),
                    None => bytes.object(2),
                };
                let wanted = parse_object(&value.to_string()).ok();
                let Some(list) = wanted.and_then(|wanted| state.diff_to(&wanted)) else { return };
                text = list.to_text();
                entry::Change::List(&text)
            }
        };
        let mut of_feed = self.all.iter().filter(|written| written.feed == feed);
        let seq = of_feed.clone().count() as u64;
        let last = of_feed.next_back().map_or(Effective::default(), |written| written.position.effective);
        let effective = match u64::from(bytes.u8() % 4) {
            0 if seq > 0 => Effective { time: last.time, tick: last.tick + 1 },
            later => Effective { time: last.time + later, tick: 0 },
        };
        let position = Position { effective, writer: writer(feed), seq };
        let diff = entry::Diff { key: KEYS[key], prev: state.base(), change };
        let change = view::change_of(&diff, position).expect("a change of ours");
        let head = BatchHead { timestamp: effective.time, length: 1, links: Vec::new(), optimistic: false };
        let mut block = Vec::new();
        Entry { place: Place::First(head), op: Op::Diff(diff) }.encode_into(&mut block);
        let place = [&feed.to_be_bytes()[..], &seq.to_be_bytes()].concat();
        txn.put(Table::Blocks, &place, &block).expect("a put");
        self.all.push(Written { feed, key, position, change });
        self.toggle(txn, key, &BTreeSet::from([self.all.len() - 1]));
    }

    /// These count from now on if they did not, and the other way round.
    fn toggle(&mut self, txn: &mut WriteTxn<'_>, key: usize, toggled: &BTreeSet<usize>) {
        let writers: Writers = (0..3).map(|feed| (feed, writer(feed))).collect();
        let (gone, new): (Vec<usize>, Vec<usize>) = toggled.iter().partition(|at| self.counting.contains(at));
        let of = |at: &usize| &self.all[*at];
        let added = new.iter().map(of).map(|w| Added { feed: w.feed, change: w.change.clone() }).collect();
        let removed: Vec<_> =
            gone.iter().map(of).map(|w| Removed { feed: w.feed, position: w.position }).collect();
        self.version += 1;
        let space = Space::plain(DATABASE);
        view::merge(txn, &space, &writers, KEYS[key], added, &removed, self.version, 0, true)
            .expect("a merge");
        txn.put(Table::Log, &view::log_key(DATABASE, self.version), KEYS[key]).expect("a put");
        self.counting = self.counting.symmetric_difference(toggled).copied().collect();
        self.rows.insert((key, self.version), self.folded(key).encode());
    }

    fn check_scan(&self, txn: &ReadTxn, bytes: &mut Bytes<'_>) {
        let version = u64::from(bytes.u8()) % (self.version + 1);
        let mut bound = || match (bytes.u8() % 3, bytes.below(KEYS.len())) {
            (0, _) => Bound::Unbounded,
            (1, key) => Bound::Included(KEYS[key].to_vec()),
            (_, key) => Bound::Excluded(KEYS[key].to_vec()),
        };
        let (from, to) = (bound(), bound());
        let (reverse, step) = (bytes.chance(50), 1 + bytes.below(4));
        let lower = |key: &[u8]| match &from {
            Bound::Included(from) => key >= from.as_slice(),
            Bound::Excluded(from) => key > from.as_slice(),
            Bound::Unbounded => true,
        };
        let upper = |key: &[u8]| match &to {
            Bound::Included(to) => key <= to.as_slice(),
            Bound::Excluded(to) => key < to.as_slice(),
            Bound::Unbounded => true,
        };
        let within = (0..KEYS.len()).filter(|key| lower(KEYS[*key]) && upper(KEYS[*key]));
        let mut expected: Vec<_> = within
            .filter_map(|key| self.at(key, version).map(|state| (KEYS[key].to_vec(), state.clone())))
            .collect();
        if reverse {
            expected.reverse();
        }
        let bounds = Bounds { from: from.clone(), to: to.clone(), reverse };
        let mut cursor = ScanCursor::new(Space::plain(DATABASE), version, bounds);
        let mut found = Vec::new();
        let mut seen = 0;
        while cursor
            .visit(txn, |row| {
                found.push((row.key.to_vec(), row.row.decode_state()?.encode()));
                seen += 1;
                Ok(if seen % step == 0 { Seen::Enough } else { Seen::More })
            })
            .expect("a scan")
        {
            assert!(seen <= KEYS.len(), "a scan without an end");
        }
        assert_eq!(found, expected, "{from:?} to {to:?} at {version}, reverse: {reverse}");
    }

    fn check_history(&self, txn: &ReadTxn, bytes: &mut Bytes<'_>) {
        let (from, to) = (u64::from(bytes.u8() % 8), u64::from(bytes.u8()));
        let (prefix, reverse) = (bytes.pick(&KEYS), bytes.chance(50));
        let to = to.min(self.version);
        let mut expected: Vec<_> = self
            .rows
            .iter()
            .map(|((key, version), state)| (*version, KEYS[*key].to_vec(), state.clone()))
            .collect();
        expected.retain(|(version, key, _)| (from..=to).contains(version) && key.starts_with(prefix));
        expected.sort_unstable();
        if reverse {
            expected.reverse();
        }
        let mut found = Vec::new();
        let mut cursor = HistoryCursor::new(Space::plain(DATABASE), prefix.to_vec(), from, to, reverse);
        let more = cursor.visit(txn, |row| {
            found.push((row.version, row.key.to_vec(), row.row.decode_state()?.encode()));
            Ok(Seen::More)
        });
        assert!(!more.expect("a history"));
        assert_eq!(found, expected);
    }
}

pub fn view(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let mut txn = STORE.write().expect("a transaction");
    let mut model = Model::default();
    for _ in 0..MOST {
        if bytes.is_empty() {
            break;
        }
        if bytes.chance(60) || model.all.is_empty() {
            model.write(&mut txn, &mut bytes);
            continue;
        }
        let key = model.all[bytes.below(model.all.len())].key;
        let mask = u64::from(bytes.u8()) | u64::from(bytes.u8()) << 8;
        let of_key = (0..model.all.len()).filter(|at| model.all[*at].key == key);
        let toggled: BTreeSet<usize> =
            of_key.enumerate().filter(|(nth, _)| mask >> (nth % 16) & 1 == 1).map(|(_, at)| at).collect();
        if !toggled.is_empty() {
            model.toggle(&mut txn, key, &toggled);
        }
    }
    txn.commit().expect("a commit");
    let txn = STORE.read().expect("a transaction");
    let space = Space::plain(DATABASE);
    for ((key, version), state) in &model.rows {
        let row = view::newest(&txn, &space, KEYS[*key], Some(*version)).expect("a read").expect("a row");
        assert_eq!(&row.decode_state().expect("a state").encode(), state, "version {version}");
    }
    for _ in 0..4 {
        model.check_scan(&txn, &mut bytes);
        model.check_history(&txn, &mut bytes);
    }
    drop(txn);
    empty();
}

/// The next input finds a store without rows.
fn empty() {
    let mut txn = STORE.write().expect("a transaction");
    for table in [Table::Blocks, Table::View, Table::Log, Table::Diffs] {
        let rows = txn.range(table, Bound::Unbounded, Bound::Unbounded).expect("a range");
        let keys: Vec<Vec<u8>> = rows.map(|row| row.expect("a row").0.to_vec()).collect();
        for key in keys {
            txn.delete(table, &key).expect("a deletion");
        }
    }
    txn.commit().expect("a commit");
}
