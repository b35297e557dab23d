//! A connection between two devices: bytes are split anywhere, wait on their way, and may be lost from any one on.

use super::random::Random;
use super::replica::Replica;
use multi_hyperbee::db::{Peer, PeerEvent, PeerOptions, Transport};
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
    finished: [bool; 2],
}

impl Line {
    pub fn new(
        replicas: &[Replica],
        ends: [usize; 2],
        kind: Kind,
        random: &mut Random,
    ) -> Result<Self, String> {
        let plain = random.chance(30);
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
            let open = replicas[at].get();
            // One that offers a single database refuses who has not got it.
            let one = replicas[at].key.is_some() && random.chance(50);
            let peer = if one { open.db.replicate(options) } else { open.store.replicate(options) };
            peers.push(peer.map_err(|error| format!("replicate: {error}"))?);
        }
        let left = (kind == Kind::Weak && random.chance(35)).then(|| random.below(6_000));
        let peers = peers.try_into().map_err(|_| "two peers").unwrap();
        for at in ends {
            replicas[at].settle();
        }
        Ok(Self { ends, peers, ways: Default::default(), left, kind, finished: [false; 2] })
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
    fn deliver(&mut self, replicas: &[Replica], side: usize, most: usize) -> Result<(), String> {
        let count = most.min(self.ways[side].len()).min(self.left.unwrap_or(usize::MAX));
        let bytes: Vec<u8> = self.ways[side].drain(..count).collect();
        if let Some(left) = &mut self.left {
            *left -= count;
        }
        let taken = self.peers[1 - side].receive(&bytes);
        for at in self.ends {
            replicas[at].settle();
        }
        let (from, to) = (self.ends[side], self.ends[1 - side]);
        taken.map_err(|error| format!("{to} refused what {from} sent: {error}"))?;
        self.no_failure()
    }

    fn no_failure(&mut self) -> Result<(), String> {
        for ((peer, at), finished) in self.peers.iter().zip(self.ends).zip(&mut self.finished) {
            for event in peer.take_events() {
                match event {
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

    /// At rest: whether a connection that ends by itself has.
    pub fn must_be_finished(&self) -> Result<(), String> {
        if self.kind != Kind::Once || self.finished == [true; 2] {
            return Ok(());
        }
        Err(format!("the connection {:?} is at rest and not over: {:?}", self.ends, self.finished))
    }

    /// Carries some of what there is, in odd pieces.
    pub fn carry(&mut self, replicas: &[Replica], random: &mut Random) -> Result<(), String> {
        for _ in 0..=random.below(6) {
            let side = random.below(2);
            self.pull(side, 1 + random.below(4_000));
            for _ in 0..=random.below(4) {
                let most = if random.chance(30) { 1 + random.below(40) } else { 1 + random.below(3_000) };
                if !self.ways[side].is_empty() && !self.is_broken() {
                    self.deliver(replicas, side, most)?;
                }
            }
        }
        Ok(())
    }

    /// Carries everything there is now. True if there was anything.
    pub fn carry_all(&mut self, replicas: &[Replica]) -> Result<bool, String> {
        let mut any = false;
        for side in [0, 1] {
            any |= self.pull(side, 64 << 10);
            while !self.ways[side].is_empty() && !self.is_broken() {
                any = true;
                self.deliver(replicas, side, 64 << 10)?;
            }
        }
        Ok(any)
    }

    pub fn tick(&mut self, replicas: &[Replica]) -> Result<(), String> {
        // What is far behind would be hashed on a thread of its own, which no seed decides.
        for at in self.ends {
            replicas[at].db().state_hash().map_err(|error| format!("the state hash of {at}: {error}"))?;
        }
        self.peers.iter().for_each(Peer::tick);
        for at in self.ends {
            replicas[at].settle();
        }
        self.no_failure()
    }

    /// Ends it, as a stream does that breaks, or with a goodbye that may arrive.
    pub fn end(mut self, replicas: &[Replica], random: &mut Random) -> Result<(), String> {
        self.no_failure()?;
        if random.chance(40) {
            let side = random.below(2);
            self.peers[side].close();
            self.pull(side, 64 << 10);
            let bytes: Vec<u8> = self.ways[side].drain(..).collect();
            self.peers[1 - side].receive(&bytes).map_err(|error| format!("at the goodbye: {error}"))?;
        }
        self.peers.iter().for_each(Peer::ended);
        for at in self.ends {
            replicas[at].settle();
        }
        Ok(())
    }
}
