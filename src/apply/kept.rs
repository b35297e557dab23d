//! A state as it is kept: a head, a row for each feed, and what readers see while a wave replays. A commit writes the feeds
//! it has changed, however many there are.
//!
//! ```text
//! Applied     Key: database u32                   Value: AppliedHead
//! Applied     Key: database u32 ‖ 0x01            Value: OpenWave; only while one is open
//! Applied     Key: database u32 ‖ feed 32         Value: AppliedFeed; none of which all is nothing
//! ```

use super::{AppliedState, ApplyError, Final, OpenWave};
use crate::causal::{Cursor, CursorFeed, CursorHead, Membership, Past, Standing, StandingFeed, differing};
use crate::codec::{DecodeError, Reader, put_varint};
use crate::store::{Read, StoreError, Table, WriteTxn};
use crate::types::{Effective, FeedKey, Position};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// What of a state is another than before.
#[derive(Debug, Default)]
pub struct Changed {
    pub feeds: BTreeSet<FeedKey>,
    /// A wave is, or was, open.
    pub wave: bool,
}

/// What is kept once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedHead {
    pub cursor: CursorHead,
    pub version: u64,
    pub clock: u64,
    pub generation: u64,
    pub final_length: u64,
    pub final_at: Option<Position>,
}

/// What is kept of a feed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppliedFeed {
    pub cursor: CursorFeed,
    pub counted: bool,
    /// Where everything is final.
    pub last: StandingFeed,
}

const EVER_INDEXER: u8 = 1;
const COUNTED: u8 = 2;
const TAIL: u8 = 4;
const FINAL: u8 = 8;

impl AppliedHead {
    /// `head of the cursor ‖ version varint ‖ clock varint ‖ generation varint ‖ final length varint ‖ final position`, where
    /// `final position = 0x00 | 0x01 ‖ time u64 ‖ tick varint ‖ writer 32 ‖ seq varint`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        self.cursor.encode_into(out);
        for number in [self.version, self.clock, self.generation, self.final_length] {
            put_varint(out, number);
        }
        out.push(self.final_at.is_some().into());
        if let Some(Position { effective, writer, seq }) = self.final_at {
            out.extend_from_slice(&effective.time.to_be_bytes());
            put_varint(out, effective.tick);
            out.extend_from_slice(writer.as_bytes());
            put_varint(out, seq);
        }
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let cursor = CursorHead::decode(reader)?;
        let version = reader.varint("the version")?;
        let clock = reader.varint("the clock")?;
        let generation = reader.varint("the generation")?;
        let final_length = reader.varint("the final length")?;
        let final_at = if reader.bool("the final position")? {
            let effective = Effective { time: reader.u64("its time")?, tick: reader.varint("its tick")? };
            let writer = FeedKey(reader.array("its writer")?);
            Some(Position { effective, writer, seq: reader.varint("its seq")? })
        } else {
            None
        };
        Ok(Self { cursor, version, clock, generation, final_length, final_at })
    }
}

impl AppliedFeed {
    /// `placed varint ‖ flags u8 ‖ standing in the walk ‖ [in the tail] ‖ [where everything is final]`; flags: 1 ever an indexer,
    /// 2 counts or has counted, 4 and 8: what follows is there, since it is another than in the walk.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let CursorFeed { placed, ever_indexer, walk, tail } = self.cursor;
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        let others =
            [(tail, TAIL), (self.last, FINAL)].map(|(standing, flag)| (standing, flag, standing != walk));
        put_varint(out, placed);
        let flags = others.iter().fold(0, |flags, (_, other, is)| flags | flag(*is, *other));
        out.push(flags | flag(ever_indexer, EVER_INDEXER) | flag(self.counted, COUNTED));
        walk.encode_into(out);
        others.iter().filter(|(.., is)| *is).for_each(|(standing, ..)| standing.encode_into(out));
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let what = "a feed's place in a sequence";
        let placed = reader.varint(what)?;
        let flags = reader.u8(what)?;
        if flags & !(EVER_INDEXER | COUNTED | TAIL | FINAL) != 0 {
            return Err(DecodeError::UnknownTag { what, tag: flags.into() });
        }
        let walk = StandingFeed::decode(reader)?;
        let mut other = |flag: u8| {
            if flags & flag == 0 {
                return Ok(walk);
            }
            let standing = StandingFeed::decode(reader)?;
            if standing == walk { Err(DecodeError::Malformed { what }) } else { Ok(standing) }
        };
        let (tail, last) = (other(TAIL)?, other(FINAL)?);
        let cursor = CursorFeed { placed, ever_indexer: flags & EVER_INDEXER != 0, walk, tail };
        let kept = Self { cursor, counted: flags & COUNTED != 0, last };
        if kept == Self::default() { Err(DecodeError::Malformed { what }) } else { Ok(kept) }
    }
}

impl OpenWave {
    /// `shared varint ‖ past ‖ membership`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        put_varint(out, self.shared);
        self.placed.encode_into(out);
        self.members.encode_into(out);
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let shared = reader.varint("a wave's version")?;
        Ok(Self { shared, placed: Past::decode(reader)?, members: Membership::decode(reader)? })
    }
}

impl AppliedState {
    fn head(&self) -> AppliedHead {
        AppliedHead {
            cursor: self.cursor.kept_head(),
            version: self.version,
            clock: self.clock,
            generation: self.generation,
            final_length: self.last.length,
            final_at: self.last.at,
        }
    }

    fn feed(&self, feed: &FeedKey) -> AppliedFeed {
        AppliedFeed {
            cursor: self.cursor.kept(feed),
            counted: self.counted.contains(feed),
            last: self.last.standing.feed(feed),
        }
    }

    /// Adds what is another than in `before`; none: than in nothing.
    pub fn changed_since(&self, before: Option<&Self>, out: &mut Changed) {
        let feeds = &mut out.feeds;
        self.cursor.changed_since(before.map(|before| &before.cursor), feeds);
        let before_counted = before.into_iter().flat_map(|before| &before.counted);
        let with_nothing = |feed: &FeedKey| (*feed, ());
        differing(self.counted.iter().map(with_nothing), before_counted.map(with_nothing), feeds);
        self.last.standing.changed_since(before.map(|before| &before.last.standing), feeds);
        out.wave |= self.open_wave.is_some() || before.is_some_and(|before| before.open_wave.is_some());
    }

    fn restore(
        head: &AppliedHead,
        feeds: &BTreeMap<FeedKey, AppliedFeed>,
        open_wave: Option<OpenWave>,
    ) -> Result<Self, DecodeError> {
        let AppliedHead { cursor, version, clock, generation, final_length, final_at } = *head;
        let cursors = feeds.iter().map(|(feed, kept)| (*feed, kept.cursor)).collect();
        let standing = Standing::restore(feeds.iter().map(|(feed, kept)| (*feed, kept.last)))?;
        Ok(Self {
            cursor: Cursor::restore(cursor, &cursors)?,
            version,
            clock,
            generation,
            open_wave,
            counted: feeds.iter().filter(|(_, kept)| kept.counted).map(|(feed, _)| *feed).collect(),
            last: Final { length: final_length, standing, at: final_at },
        })
    }
}

fn wave_key(database: u32) -> Vec<u8> {
    [&database.to_be_bytes()[..], &[1]].concat()
}

fn feed_key(database: u32, feed: &FeedKey) -> Vec<u8> {
    [&database.to_be_bytes()[..], feed.as_bytes()].concat()
}

/// Decodes a whole value with `decode`.
fn whole<T>(
    value: &[u8],
    decode: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut reader = Reader::new(value);
    let decoded = decode(&mut reader)?;
    reader.finish("the state of a sequence").map(|()| decoded)
}

/// Decodes one row, whole.
pub(super) fn check_row(key: &[u8], value: &[u8]) -> Result<(), DecodeError> {
    match (key.len(), key.last()) {
        (4, _) => whole(value, AppliedHead::decode).map(drop),
        (5, Some(1)) => whole(value, OpenWave::decode).map(drop),
        (36, _) => whole(value, AppliedFeed::decode).map(drop),
        _ => Err(DecodeError::Malformed { what: "a key of the sequence" }),
    }
}

pub fn load(txn: &impl Read, database: u32, creator: FeedKey) -> Result<AppliedState, ApplyError> {
    let Some(head) = txn.get(Table::Applied, &database.to_be_bytes())? else {
        return Ok(AppliedState::new(creator));
    };
    let head = whole(head, AppliedHead::decode)?;
    let wave = txn.get(Table::Applied, &wave_key(database))?;
    let open_wave = wave.map(|wave| whole(wave, OpenWave::decode)).transpose()?;
    let mut feeds = BTreeMap::new();
    let (from, to) = (feed_key(database, &FeedKey([0; 32])), feed_key(database, &FeedKey([0xff; 32])));
    for row in txn.range(Table::Applied, Bound::Included(&from), Bound::Included(&to))? {
        let (key, value) = row?;
        if let Some((_, feed)) = key.split_first_chunk::<4>()
            && let Ok(feed) = feed.try_into()
        {
            feeds.insert(FeedKey(feed), whole(value, AppliedFeed::decode)?);
        }
    }
    Ok(AppliedState::restore(&head, &feeds, open_wave)?)
}

/// Keeps what has changed since it was last kept; all of it, if nothing was.
pub fn save(
    txn: &mut WriteTxn<'_>,
    database: u32,
    state: &AppliedState,
    changed: &Changed,
) -> Result<(), StoreError> {
    let mut all = Changed::default();
    let is_new = txn.get(Table::Applied, &database.to_be_bytes())?.is_none();
    if is_new {
        state.changed_since(None, &mut all);
    }
    let changed = if is_new { &all } else { changed };
    let mut row = Vec::new();
    state.head().encode_into(&mut row);
    txn.put(Table::Applied, &database.to_be_bytes(), &row)?;
    for feed in &changed.feeds {
        let (key, kept) = (feed_key(database, feed), state.feed(feed));
        if kept == AppliedFeed::default() {
            txn.delete(Table::Applied, &key)?;
            continue;
        }
        row.clear();
        kept.encode_into(&mut row);
        txn.put(Table::Applied, &key, &row)?;
    }
    if changed.wave {
        match &state.open_wave {
            Some(wave) => {
                row.clear();
                wave.encode_into(&mut row);
                txn.put(Table::Applied, &wave_key(database), &row)?;
            }
            None => drop(txn.delete(Table::Applied, &wave_key(database))?),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{Member, Plan, Turn};

    const ONE: FeedKey = FeedKey([1; 32]);
    const TWO: FeedKey = FeedKey([2; 32]);

    fn position(seq: u64) -> Position {
        Position { effective: Effective { time: 9, tick: 1 }, writer: ONE, seq }
    }

    fn placed() -> AppliedState {
        let mut state = AppliedState::new(ONE);
        state.cursor.place(Turn { at: position(0), end: 1 }, &mut Plan::default());
        (state.version, state.clock, state.generation) = (4, 3, 5);
        state.counted.insert(TWO);
        state.last.at = Some(position(0));
        state
    }

    fn restored(state: &AppliedState) -> AppliedState {
        let mut changed = Changed::default();
        state.changed_since(None, &mut changed);
        let feeds = changed.feeds.iter().map(|feed| (*feed, state.feed(feed))).collect();
        AppliedState::restore(&state.head(), &feeds, state.open_wave.clone()).unwrap()
    }

    #[test]
    fn rows_have_golden_bytes_and_no_truncation_passes() {
        let state = placed();
        let at = format!("01000000000000000901{}00", "01".repeat(32));
        let standing = |since: u64| StandingFeed {
            member: Some(Member { since: Some(position(since)), indexer: false }),
            lost: Some(7),
        };
        let feed = AppliedFeed {
            cursor: CursorFeed {
                placed: 3,
                ever_indexer: true,
                walk: standing(0),
                tail: StandingFeed::default(),
            },
            counted: false,
            last: standing(0),
        };
        let wave =
            OpenWave { shared: 3, placed: state.cursor.placed().clone(), members: state.members().clone() };
        let (mut head, mut row, mut open) = (Vec::new(), Vec::new(), Vec::new());
        state.head().encode_into(&mut head);
        feed.encode_into(&mut row);
        wave.encode_into(&mut open);
        assert_eq!(hex::encode(&head), format!("010000000403050{}{at}", "0"));
        assert_eq!(hex::encode(&row), format!("030505{at}0700"));
        assert_eq!(whole(&head, AppliedHead::decode), Ok(state.head()));
        assert_eq!(whole(&row, AppliedFeed::decode), Ok(feed));
        assert_eq!(whole(&open, OpenWave::decode), Ok(wave));
        let keys = [(vec![0; 4], head), (wave_key(7), open), (feed_key(7, &ONE), row)];
        for (key, value) in keys {
            assert_eq!(check_row(&key, &value), Ok(()));
            assert!((0..value.len()).all(|cut| check_row(&key, &value[..cut]).is_err()));
            assert!(check_row(&key, &[value.as_slice(), &[0]].concat()).is_err());
            assert!(check_row(&[key.as_slice(), &[0]].concat(), &value).is_err());
        }
    }

    #[test]
    fn a_row_has_one_form() {
        // What is as in the walk is not said again, and nothing is no row.
        for bytes in ["00", "000000", "0108" /* final, as in the walk */, "0104"] {
            let bytes = hex::decode(bytes.to_owned() + "0000").unwrap();
            assert!(AppliedFeed::decode(&mut Reader::new(&bytes)).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn i4_what_has_changed_is_all_that_is_another_and_states_come_back() {
        let before = AppliedState::new(ONE);
        let state = placed();
        assert_eq!(restored(&before), before);
        assert_eq!(restored(&state), state);
        let changes = |before: &AppliedState, after: &AppliedState| {
            let mut changed = Changed::default();
            after.changed_since(Some(before), &mut changed);
            (changed.feeds.into_iter().collect::<Vec<_>>(), changed.wave)
        };
        assert_eq!(changes(&before, &state), (vec![ONE, TWO], false));
        assert_eq!(changes(&state, &state), (vec![], false));
        let mut tail = state.clone();
        tail.counted.clear();
        assert_eq!(changes(&state, &tail), (vec![TWO], false));
        let (placed, members) = (state.cursor.placed().clone(), state.members().clone());
        let wave = AppliedState { open_wave: Some(OpenWave { shared: 3, placed, members }), ..state.clone() };
        assert_eq!(restored(&wave), wave);
        assert_eq!((changes(&state, &wave), changes(&wave, &state)), ((vec![], true), (vec![], true)));
    }
}
