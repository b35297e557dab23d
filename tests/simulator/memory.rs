//! What the user of a replica remembers of its own feed and of what it was told, through backups that were put back; and
//! whether the replica still says so.

use super::replica::Replica;
use super::schedule::Mode;
use multi_hyperbee::db::Event;
use multi_hyperbee::entry::{Entry, Op, Place};
use multi_hyperbee::types::FeedKey;
use std::collections::{BTreeMap, BTreeSet};

/// What was so when a backup was made.
pub struct Kept {
    chosen: BTreeMap<FeedKey, u64>,
    pub snapshots: usize,
    finals: Vec<(FeedKey, u64)>,
    /// A copy of a backup that nobody has confirmed is one too; whether somebody had is not known.
    cautious: bool,
}

/// What a block says, whatever it is called: when it comes again, names of what came with it are others.
fn said(block: &[u8]) -> String {
    let Entry { place, op } = Entry::decode(block).unwrap();
    let when = match place {
        Place::First(head) => format!("{} {} {:?}", head.timestamp, head.length, head.links),
        Place::Later { offset } => format!("{offset}"),
    };
    let what = match op {
        Op::Diff(diff) => format!("{:?} {:?}", diff.key, std::mem::discriminant(&diff.change)),
        other => format!("{other:?}"),
    };
    format!("{when} {what}")
}

/// A writer's own timestamps rise, whatever its clock does.
fn rising(blocks: &[Vec<u8>]) -> Result<(), String> {
    let mut last = 0;
    for block in blocks {
        if let Place::First(head) = Entry::decode(block).unwrap().place {
            if head.timestamp <= last && last < u64::MAX {
                return Err(format!("the timestamp {} follows {last}", head.timestamp));
            }
            last = head.timestamp;
        }
    }
    Ok(())
}

impl Replica {
    /// Hears what was final and is no longer. Events that nobody has read are gone with the process.
    pub fn hear_what_moved(&mut self) {
        self.settle();
        for event in self.get().events.take() {
            self.note_if_moved(&event);
        }
    }

    /// True only after a restore: what was final here alone is so no longer.
    fn note_if_moved(&mut self, event: &Event) -> bool {
        match *event {
            Event::Moved { feed, length } if feed == self.local() && self.restored => {
                self.finals.truncate(usize::try_from(length).unwrap());
                true
            }
            _ => false,
        }
    }

    /// Remembers how it is, for when a backup of now is put back.
    pub fn keep(&mut self) {
        let (chosen, snapshots) = (self.chosen.clone(), self.snapshots.len());
        let (finals, cautious) = (self.finals.clone(), self.cautious);
        self.kept = Some(Kept { chosen, snapshots, finals, cautious });
    }

    /// The files are to be those of a backup: `made` by the store, or by hand.
    pub fn forget(&mut self, made: bool) {
        let Some(Kept { chosen, snapshots, finals, cautious }) = self.kept.take() else { return };
        (self.chosen, self.finals) = (chosen, finals);
        self.snapshots.truncate(snapshots);
        (self.cautious, self.unconfirmed) = (made || cautious, made);
        // What was written in an older copy and never left is lost with it.
        self.loose.clear();
        (self.mute, self.restored) = (Some(0), true);
    }

    pub fn look_what_is_left(&mut self) -> Result<(), String> {
        let here = self.blocks(self.local())?.len();
        self.mute = (here < self.ledger.len()).then_some(here);
        Ok(())
    }

    /// Whether less of the own feed is here than was written.
    pub fn is_mute(&self) -> bool {
        self.mute.is_some()
    }

    /// Whether all that was acknowledged before it was put back is here.
    pub fn has_ledger(&self) -> Result<bool, String> {
        Ok(self.blocks(self.local())?.starts_with(&self.ledger))
    }

    /// Whether it may not meet somebody who knows less of its feed than it has written.
    pub fn is_older(&self) -> bool {
        self.is_mute() || self.cautious
    }

    /// Takes what the own feed has grown by into the ledger: what was acknowledged is there and never changes, but for
    /// what a restored copy wrote before it had the rest: that comes again after it.
    pub fn learn_own(&mut self) -> Result<(), String> {
        let blocks = self.blocks(self.local())?;
        if self.forks {
            self.ledger = blocks;
            return Ok(());
        }
        let Some(base) = self.mute else {
            if !blocks.starts_with(&self.ledger) {
                let (here, acknowledged) = (blocks.len(), self.ledger.len());
                return Err(format!(
                    "the own feed has {here} blocks, acknowledged were {acknowledged} or others"
                ));
            }
            self.ledger = blocks;
            return if self.restored { Ok(()) } else { rising(&self.ledger) };
        };
        if let Some(rest) = blocks.strip_prefix(self.ledger.as_slice()) {
            let [again, loose] = [rest, &self.loose].map(|blocks| blocks.iter().map(|block| said(block)));
            let (again, loose) = (again.collect::<Vec<_>>(), loose.collect::<Vec<_>>());
            // They come when what they link to is in the order.
            if again.is_empty() && !loose.is_empty() {
                return Ok(());
            }
            if !again.starts_with(&loose) {
                return Err(format!("written before the rest was here: {loose:?}, come again: {again:?}"));
            }
            (self.ledger, self.mute) = (blocks, None);
            self.loose.clear();
            return Ok(());
        }
        if self.ledger.starts_with(&blocks) && (blocks.len() > base || self.loose.is_empty()) {
            if self.loose.is_empty() {
                self.mute = Some(blocks.len());
            }
            return Ok(());
        }
        match blocks.strip_prefix(&self.ledger[..base]) {
            Some(rest) if rest.starts_with(&self.loose) => {
                self.loose = rest.to_vec();
                Ok(())
            }
            _ => Err(format!("of {} blocks written in a restored copy some are gone", self.loose.len())),
        }
    }

    /// How long the own feed is here. What is written while less than the ledger is here may be, by chance and to the
    /// byte, what stood there.
    pub fn own_length(&self) -> Result<usize, String> {
        Ok(self.blocks(self.local())?.len())
    }

    /// Whether a write may be refused for what is, or may be, missing of the own feed: it was put back, and its ledger is
    /// not here, nobody has confirmed it, or some of it waits for what it links to.
    pub fn may_miss_own(&self) -> Result<bool, String> {
        let progress = self.db().progress().map_err(|error| format!("progress: {error}"))?;
        let waits = progress.iter().any(|feed| feed.key == self.local() && feed.placed < feed.have);
        Ok(self.is_mute() || self.cautious || self.restored && waits)
    }

    /// Blocks written here while less than the ledger was.
    pub fn written_loose(&self) -> usize {
        self.loose.len()
    }

    /// Reads the events and checks that they tell what has happened.
    pub fn take_events(&mut self, lying: bool) -> Result<(), String> {
        self.settle();
        let events = self.get().events.take();
        let mut others = Vec::new();
        for event in events {
            if !self.note_if_moved(&event) {
                others.push(event);
            }
        }
        let open = self.open.as_mut().unwrap();
        for event in others {
            match event {
                Event::Update { from, to } if from == open.version && to > from => open.version = to,
                Event::Writable if !open.writable => open.writable = true,
                Event::Unwritable if open.writable => open.writable = false,
                Event::Writer { key, added: true } if open.writers.insert(key) => {}
                Event::Writer { key, added: false } if open.writers.remove(&key) => {}
                Event::Drift { .. } if lying => {}
                // A state hash on its way was changed into another, or who asks for access.
                Event::Diverged { .. } | Event::AccessRequest { .. } if self.lied_to.get() => {}
                Event::Finalized { .. } if self.mode == Mode::Apply => {}
                Event::Fork { .. } if self.is_weak => super::coverage::count("fork: heard of"),
                Event::PeerAdd { .. } | Event::PeerRemove { .. } | Event::Synced { .. } | Event::Progress => {
                }
                other => return Err(format!("the event {other:?} at version {}", open.version)),
            }
        }
        let status = open.db.status().map_err(|error| error.to_string())?;
        if (status.version, status.writable) != (open.version, open.writable) {
            let (version, writable) = (open.version, open.writable);
            return Err(format!(
                "events say version {version}, writable {writable}; the status is {status:?}"
            ));
        }
        let members = open.db.members().map_err(|error| format!("members: {error}"))?;
        let writers: BTreeSet<FeedKey> = members.iter().filter(|m| m.granted).map(|m| m.key).collect();
        if writers != open.writers {
            return Err(format!("events say the writers are {:?}, they are {writers:?}", open.writers));
        }
        Ok(())
    }
}
