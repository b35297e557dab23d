//! A user in apply mode: what it appends, and the loop that runs its `apply`, which fails, forgets and is late.

use super::apply_fn::{self, Ask};
use super::coverage::{count, count_if};
use super::random::Random;
use super::replica::Replica;
use multi_hyperbee::db::{Append, Asked, Code, Done, DoneBatch, Error, Next, Piece};
use multi_hyperbee::types::FeedKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

/// Pieces after which whatever is ready must have been applied.
const MOST_PIECES: usize = 10_000;

/// Every anchor that a seed of this process has asked for: none is ever linked, so none is part of an order.
static ANCHORS: Mutex<BTreeSet<FeedKey>> = Mutex::new(BTreeSet::new());

pub fn is_anchor(feed: &FeedKey) -> bool {
    ANCHORS.lock().unwrap().contains(feed)
}

/// How far an answer to a piece goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    All,
    /// As if `apply` failed after so many.
    First(usize),
    Never,
    /// After the next one was handed out.
    Late,
}

pub fn answer(random: &mut Random) -> Answer {
    match random.below(20) {
        0..12 => Answer::All,
        12..17 => Answer::First(random.below(3)),
        17..19 => Answer::Never,
        _ => Answer::Late,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn wrong(error: Error) -> String {
    format!("{error} ({:?})", error.code)
}

fn change(random: &mut Random, feeds: &[FeedKey]) -> String {
    let who = random.pick(feeds);
    match random.below(10) {
        0..3 => format!("add {who} indexer"),
        3..6 => format!("add {who}"),
        _ => format!("rm {who}"),
    }
}

fn command(random: &mut Random, feeds: &[FeedKey]) -> String {
    let key = random.below(5);
    let most = if feeds.is_empty() { 80 } else { 100 };
    match random.below(most) {
        0..60 => format!("mix k{key} {}", random.below(256)),
        60..68 => format!("del k{key}"),
        68..80 => format!("ack k{key}"),
        80..84 => change(random, feeds),
        84..99 => format!("if k{key} {} {}", random.below(2), change(random, feeds)),
        _ => format!("mix k{key} 1 {}", "x".repeat(random.below(100_000))),
    }
}

/// A batch. `feeds`: whom it may be about.
pub fn values(random: &mut Random, feeds: &[FeedKey]) -> Vec<String> {
    let count = if random.chance(3) { random.below(40) } else { random.below(3) };
    (0..=count).map(|_| command(random, feeds)).collect()
}

/// Appends and looks whether what is replied is true.
pub fn act(replica: &mut Replica, values: &[String], answer: Answer) -> Result<(), String> {
    replica.learn_own()?;
    let before = replica.db().status().map_err(wrong)?;
    let known = (replica.ledger.len(), replica.written_loose());
    let is_older = replica.is_mute();
    let length_before = replica.own_length()?;
    let may_refuse = replica.may_miss_own()?;
    let optimistic = !before.writable;
    // Whether the encryption key is the right one is known from the creator's first block on.
    let unsure = replica.is_unsure().map_err(wrong)?;
    let result = append(replica, values, optimistic, answer);
    replica.settle();
    replica.learn_own()?;
    let now = (replica.ledger.len(), replica.written_loose());
    if replica.forks {
        return match result {
            Err(error) if replica.may_be_refused(error.code) => {
                count("fork: refused to a forked writer");
                Ok(())
            }
            result => result.map(drop).map_err(wrong),
        };
    }
    match result {
        Ok(Some(_)) if is_older && replica.cautious && replica.unconfirmed => {
            Err(format!("appended in a backup that nobody has confirmed: {values:?}"))
        }
        Ok(Some(_)) if is_older => {
            if now == known && replica.own_length()? <= length_before {
                Err(format!("{values:?} are nowhere"))
            } else {
                Ok(())
            }
        }
        Ok(Some(length)) => {
            replica.cautious = false;
            count_if(optimistic, "append: by a stranger");
            if optimistic && !replica.optimistic {
                return Err(format!("appended, though not writable: {values:?}"));
            }
            let is_right = now.0 as u64 == length && now.0 == known.0 + values.len();
            if is_right { Ok(()) } else { Err(format!("length {length}; it was {known:?} and is {now:?}")) }
        }
        Ok(None) if now == known => Ok(()),
        Err(error) if now == known => {
            count("append: refused");
            let may_not = !before.writable && (!replica.optimistic || unsure);
            let stranger = error.code == Code::NotWritable && may_not;
            let full = error.code == Code::DiskFull && replica.is_full;
            if stranger || full || error.code == Code::Restored && may_refuse {
                Ok(())
            } else {
                Err(wrong(error))
            }
        }
        other => Err(format!("{other:?}, but the length was {known:?} and is {now:?}")),
    }
}

/// The own feed's length; none: it was given up.
fn append(
    replica: &mut Replica,
    values: &[String],
    optimistic: bool,
    answer: Answer,
) -> Result<Option<u64>, Error> {
    let bytes: Vec<Vec<u8>> = values.iter().map(|value| value.as_bytes().to_vec()).collect();
    let step = replica.db().stage(vec![Append { optimistic, values: bytes.clone() }]).wait()?;
    if let Some(length) = step.appended.last() {
        count("append: applied later");
        return Ok(Some(*length));
    }
    let Next::Piece(mut piece) = step.next else { panic!("{:?}", step.next) };
    assert!(piece.staged && piece.batches.len() == 1, "{piece:?}");
    piece.batches[0].values = (0..).zip(bytes).collect();
    let Some(done) = run(replica, &piece, answer) else {
        count("append: never answered");
        return Ok(None);
    };
    count(if done.batches.is_empty() { "append: its apply failed" } else { "append: applied at once" });
    let step = replica.db().apply_step(false, Some(done)).wait()?;
    Ok(step.appended.last().copied())
}

/// As [`act`], but nobody sees the reply.
pub fn act_unseen(replica: &mut Replica, values: &[String]) {
    let values: Vec<Vec<u8>> = values.iter().map(|value| value.as_bytes().to_vec()).collect();
    let append = Append { optimistic: true, values: values.clone() };
    let Ok(step) = replica.db().stage(vec![append]).wait() else { return };
    if let Next::Piece(mut piece) = step.next {
        piece.batches[0].values = (0..).zip(values).collect();
        let done = run(replica, &piece, Answer::All);
        drop(replica.db().apply_step(false, done));
    }
}

/// Takes one piece, and answers it. False: there is nothing to do now.
pub fn step(replica: &mut Replica, force: bool, answer: Answer) -> Result<bool, String> {
    let mut next = replica.db().apply_step(force, None).wait().map_err(wrong)?.next;
    if let (Next::Piece(_), Some(late)) = (&next, replica.late.take()) {
        // An answer to another piece: nothing may come of it.
        count("apply: answered too late");
        let before = replica.db().status().map_err(wrong)?;
        next = replica.db().apply_step(force, Some(late)).wait().map_err(wrong)?.next;
        let after = replica.db().status().map_err(wrong)?;
        if before != after {
            return Err(format!("a late answer made {after:?} of {before:?}"));
        }
    }
    match next {
        Next::Idle => Ok(false),
        Next::Wait(time) if time <= Duration::from_hours(1) => {
            if force {
                replica.pass(time + Duration::from_millis(1));
            }
            Ok(force)
        }
        Next::Wait(time) => Err(format!("it waits for {time:?}")),
        Next::Piece(piece) => {
            let Some(done) = run(replica, &piece, answer) else { return Ok(true) };
            replica.db().apply_step(force, Some(done)).wait().map_err(wrong)?;
            Ok(true)
        }
    }
}

/// Applies whatever there is, while time passes.
pub fn drain(replica: &mut Replica) -> Result<(), String> {
    replica.settle();
    for _ in 0..MOST_PIECES {
        if !step(replica, true, Answer::All)? {
            return Ok(());
        }
    }
    Err(format!("after {MOST_PIECES} pieces there are more"))
}

pub fn acknowledge(replica: &mut Replica) -> Result<bool, String> {
    let may_refuse = replica.may_miss_own()?;
    let spoke = match replica.db().acknowledge().wait() {
        Err(error) if error.code == Code::Restored && may_refuse || replica.may_be_refused(error.code) => {
            false
        }
        other => other.map_err(wrong)?,
    };
    count(if spoke { "acknowledgement" } else { "acknowledgement: not wanted" });
    replica.settle();
    replica.learn_own()?;
    Ok(spoke)
}

fn run(replica: &mut Replica, piece: &Piece, answer: Answer) -> Option<Done> {
    let limit = match answer {
        Answer::All => usize::MAX,
        Answer::First(count) => count,
        Answer::Never => {
            count("apply: never answered");
            return None;
        }
        Answer::Late => {
            replica.late = run(replica, piece, Answer::All);
            return None;
        }
    };
    count_if(piece.undone > 0, "apply: something was undone");
    let mut overlay: BTreeMap<String, Option<String>> = BTreeMap::new();
    let mut batches = Vec::new();
    for batch in piece.batches.iter().take(limit) {
        let read = |key: &str| {
            let stored = || replica.db().get_entry(key.as_bytes(), Some(piece.version)).unwrap();
            overlay.get(key).cloned().unwrap_or_else(|| stored().map(|entry| text(&entry.value)))
        };
        let values: Vec<String> = batch.values.iter().map(|(_, value)| text(value)).collect();
        let done = apply_fn::apply(&values, batch.optimistic, read);
        count_if(done.is_none(), "apply: a rejected batch");
        if values.iter().any(|value| value.starts_with("del k0") || value.starts_with("ack k2")) {
            count("apply: an anchor");
            let anchor = replica.db().anchor(batch.writer, batch.seq + batch.entries).unwrap();
            ANCHORS.lock().unwrap().insert(anchor);
        }
        let changes = done.as_ref().is_some_and(|done| !done.asks.is_empty());
        batches.push(done_batch(done.as_ref()));
        overlay.extend(done.unwrap_or_default().writes);
        if changes {
            break;
        }
    }
    let is_all = batches.len() == piece.batches.len();
    count(if is_all { "apply: all of a piece" } else { "apply: a part of a piece" });
    Some(Done { generation: piece.generation, batches })
}

fn done_batch(done: Option<&apply_fn::Done>) -> DoneBatch {
    let Some(done) = done else { return DoneBatch { rejected: true, ..DoneBatch::default() } };
    let asked = done.asks.iter().map(|ask| match *ask {
        Ask::Grant(writer, indexer) => Asked::Grant { writer, indexer },
        Ask::Revoke(writer) => Asked::Revoke { writer, lost: false },
        Ask::Lost(writer) => Asked::Revoke { writer, lost: true },
    });
    let bytes = |text: &String| text.as_bytes().to_vec();
    let writes = done.writes.iter().map(|(key, value)| (bytes(key), value.as_ref().map(bytes)));
    DoneBatch { rejected: false, asked: asked.collect(), writes: writes.collect() }
}
