//! A connection between two devices: bytes are split anywhere, wait on their way, and may be lost from any one on.

use super::coverage::{count, count_if};
use super::device::Device;
use super::random::Random;
use multi_hyperbee::db::{Peer, PeerEvent, PeerOptions, Transport};
use multi_hyperbee::types::FeedKey;
use std::collections::VecDeque;
use std::sync::Arc;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Perhaps after some bytes.
    Weak,
    /// When the simulator ends it.
    Whole,
    /// When both sides have what the other had.
    Once,
}

pub struct Line {
    /// The devices at its ends.
    pub ends: [usize; 2],
    peers: [Peer; 2],
    /// Bytes on their way from each end.
    ways: [VecDeque<u8>; 2],
    /// Bytes after which it breaks.
    left: Option<usize>,
    kind: Kind,
    /// Somebody in between forges what is said.
    forger: Option<Random>,
    finished: [bool; 2],
}

impl Line {
    pub fn new(
        devices: &[Device],
        ends: [usize; 2],
        kind: Kind,
        random: &mut Random,
    ) -> Result<Self, String> {
        let plain = random.chance(30);
        // With a turned bit a feed of one database can be announced as a stranger of another in the same store: what it
        // does there is nothing, but it is there.
        let may_mix = ends.into_iter().any(|at| {
            devices[at].replicas.len() > 1 && devices[at].replicas.iter().any(|replica| replica.optimistic)
        });
        // Who forges what a device that was put back is told of its own feed can hide from it that there is more.
        let may_fork = ends.into_iter().any(|at| devices[at].is_older());
        let forger = (plain && kind == Kind::Weak && random.chance(20) && !may_mix && !may_fork)
            .then(|| random.clone());
        if forger.is_some() {
            let replicas = ends.into_iter().flat_map(|at| &devices[at].replicas);
            replicas.for_each(|replica| replica.lied_to.set(true));
        }
        let hash = [u8::try_from(random.below(256)).unwrap(); 64];
        let mut peers = Vec::new();
        for (at, initiator) in ends.into_iter().zip([true, false]) {
            let options = PeerOptions {
                transport: match initiator {
                    _ if plain => Transport::Attached { initiator, handshake_hash: hash },
                    true => Transport::Initiator,
                    false => Transport::Responder,
                },
                live: kind != Kind::Once,
                download: true,
                upload: true,
                user_data: Vec::new(),
                wake: Arc::new(|| {}),
            };
            // One that offers a single database refuses who has not got it; of two, each side might offer another.
            let one = match devices[at].replicas.as_slice() {
                [one] if one.key.is_some() && random.chance(50) => Some(one.db()),
                [_, second] if kind == Kind::Weak && random.chance(20) => Some(second.db()),
                _ => None,
            };
            let peer = match one {
                Some(db) => db.replicate(options),
                None => devices[at].store().replicate(options),
            };
            peers.push(peer.map_err(|error| format!("replicate: {error}"))?);
        }
        let left = (kind == Kind::Weak && random.chance(35)).then(|| random.below(6_000));
        let peers = peers.try_into().map_err(|_| "two peers").unwrap();
        for at in ends {
            devices[at].settle();
        }
        Ok(Self { ends, peers, ways: Default::default(), left, kind, forger, finished: [false; 2] })
    }

    pub fn is_broken(&self) -> bool {
        self.left == Some(0)
    }

    fn pull(&mut self, side: usize, most: usize) -> bool {
        let mut any = false;
        while let Some(bytes) = self.peers[side].pull(most) {
            any = true;
            self.ways[side].extend(bytes);
        }
        any
    }

    /// Delivers the next bytes from one side; errors are the receiver's.
    fn deliver(&mut self, devices: &[Device], side: usize, most: usize) -> Result<(), String> {
        let count = most.min(self.ways[side].len()).min(self.left.unwrap_or(usize::MAX));
        let mut bytes: Vec<u8> = self.ways[side].drain(..count).collect();
        if let Some(random) = &mut self.forger {
            forge(&mut bytes, random);
        }
        if let Some(left) = &mut self.left {
            *left -= count;
        }
        let taken = self.peers[1 - side].receive(&bytes);
        for at in self.ends {
            devices[at].settle();
        }
        let (from, to) = (self.ends[side], self.ends[1 - side]);
        if self.forger.is_some() && taken.is_err() {
            self.left = Some(0);
            return Ok(());
        }
        taken.map_err(|error| format!("{to} refused what {from} sent: {error}"))?;
        self.no_failure()
    }

    fn no_failure(&mut self) -> Result<(), String> {
        for ((peer, at), finished) in self.peers.iter().zip(self.ends).zip(&mut self.finished) {
            for event in peer.take_events() {
                match event {
                    PeerEvent::Failed(_) | PeerEvent::Closed if self.forger.is_some() => self.left = Some(0),
                    PeerEvent::Failed(_) | PeerEvent::Closed => {
                        return Err(format!("the connection {:?} at {at}: {event:?}", self.ends));
                    }
                    PeerEvent::Finished => *finished = true,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Of each feed that an end has, and passes on, in part: the other end, the database, the feed, and how much is there.
    fn parts(&self, devices: &[Device]) -> Result<Vec<(usize, usize, FeedKey, u64)>, String> {
        let mut found = Vec::new();
        for (from, to) in [(self.ends[0], self.ends[1]), (self.ends[1], self.ends[0])] {
            for (number, replica) in devices[from].replicas.iter().enumerate() {
                let feeds = replica.db().progress().map_err(|error| format!("progress: {error}"))?;
                for feed in feeds.iter().filter(|feed| feed.partly) {
                    found.push((to, number, feed.key, devices[to].replicas[number].have(feed.key)?));
                }
            }
        }
        Ok(found)
    }

    /// At rest: whether a connection that ends by itself has.
    pub fn must_be_finished(&self) -> Result<(), String> {
        if self.kind != Kind::Once || self.finished == [true; 2] {
            return Ok(());
        }
        Err(format!("the connection {:?} is at rest and not over: {:?}", self.ends, self.finished))
    }

    /// Carries some of what there is, in odd pieces.
    pub fn carry(&mut self, devices: &[Device], random: &mut Random) -> Result<(), String> {
        self.noting_parts(devices, |line| line.carry_some(devices, random))
    }

    /// Carries everything there is now.
    pub fn carry_whole(&mut self, devices: &[Device]) -> Result<(), String> {
        self.noting_parts(devices, |line| line.carry_all(devices).map(drop))
    }

    /// Counts what goes from an end that has it only in part.
    fn noting_parts(
        &mut self,
        devices: &[Device],
        carry: impl FnOnce(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let parts = self.parts(devices)?;
        carry(self)?;
        for (to, number, feed, had) in parts {
            count_if(devices[to].replicas[number].have(feed)? > had, "a feed passed on in part");
        }
        Ok(())
    }

    fn carry_some(&mut self, devices: &[Device], random: &mut Random) -> Result<(), String> {
        for _ in 0..=random.below(6) {
            let side = random.below(2);
            self.pull(side, 1 + random.below(4_000));
            for _ in 0..=random.below(4) {
                let most = if random.chance(30) { 1 + random.below(40) } else { 1 + random.below(3_000) };
                if !self.ways[side].is_empty() && !self.is_broken() {
                    count_if(most <= 40, "bytes: a few at a time");
                    self.deliver(devices, side, most)?;
                }
            }
        }
        Ok(())
    }

    /// Carries everything there is now. True if there was anything.
    pub fn carry_all(&mut self, devices: &[Device]) -> Result<bool, String> {
        let mut any = false;
        for side in [0, 1] {
            any |= self.pull(side, 64 << 10);
            while !self.ways[side].is_empty() && !self.is_broken() {
                any = true;
                self.deliver(devices, side, 64 << 10)?;
            }
        }
        Ok(any)
    }

    pub fn tick(&mut self, devices: &[Device]) -> Result<(), String> {
        // What is far behind would be hashed on a thread of its own, which no seed decides.
        for at in self.ends {
            for replica in &devices[at].replicas {
                replica.db().state_hash().map_err(|error| format!("the state hash of {at}: {error}"))?;
            }
        }
        self.peers.iter().for_each(Peer::tick);
        for at in self.ends {
            devices[at].settle();
        }
        self.no_failure()
    }

    /// Ends it, as a stream does that breaks, or with a goodbye that may arrive.
    pub fn end(mut self, devices: &[Device], random: &mut Random) -> Result<(), String> {
        self.no_failure()?;
        if self.forger.is_none() && random.chance(40) {
            let side = random.below(2);
            count("goodbye");
            self.peers[side].close();
            self.pull(side, 64 << 10);
            let bytes: Vec<u8> = self.ways[side].drain(..).collect();
            self.peers[1 - side].receive(&bytes).map_err(|error| format!("at the goodbye: {error}"))?;
        }
        self.peers.iter().for_each(Peer::ended);
        for at in self.ends {
            devices[at].settle();
        }
        Ok(())
    }
}

/// Now and then a bit is another, bytes are made up, repeated or left out.
fn forge(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() || !random.chance(12) {
        return;
    }
    let at = random.below(bytes.len());
    let some = at..(at + 1 + random.below(20)).min(bytes.len());
    match random.below(10) {
        0..7 => {
            count("forged: a bit");
            bytes[at] ^= 1 << random.below(8);
        }
        7 => {
            count("forged: bytes repeated");
            bytes.extend_from_within(some);
        }
        8 => {
            count("forged: bytes left out");
            drop(bytes.drain(some));
        }
        _ => {
            count("forged: bytes made up");
            bytes.splice(at..at, random.secret());
        }
    }
}
