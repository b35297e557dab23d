//! A peer that knows the database's key and lies in words that are well formed: lengths it never delivers, roots of
//! histories nobody wrote, hashes of states that are none. It costs who hears it some patience, and nothing else.

use super::coverage::count;
use super::random::Random;
use super::world::{World, text};
use multi_hyperbee::db::{PeerOptions, Transport};
use multi_hyperbee::types::FeedKey;
use multi_hyperbee::wire::{Config, Event, FeedState, Role, Session, StateClaim, Topic, TopicKind};
use std::sync::Arc;

const HANDSHAKE: [u8; 64] = [0x11; 64];

/// Exchanges of all there is to say.
const ROUNDS: usize = 8;

fn claim(feed: FeedKey, random: &mut Random) -> FeedState {
    let length = 1 + random.below(40) as u64;
    let mut root = [0; 16];
    root.copy_from_slice(&random.secret()[..16]);
    FeedState { feed, length, root, signed: length + random.below(3) as u64 }
}

impl World {
    /// A liar meets a device, for as long as it has something to say, and is gone.
    pub fn lie(&mut self, at: usize, random: &mut Random) -> Result<(), String> {
        // Who goes on from an older copy is in nobody's reach who has less; a liar has nothing.
        if self.devices[at].is_older() {
            return Ok(());
        }
        let number = random.below(self.devices[at].replicas.len());
        let feeds: Vec<FeedKey> = self.devices.iter().map(|device| device.replicas[number].local()).collect();
        let replica = &self.devices[at].replicas[number];
        replica.lied_to.set(true);
        let database = Topic { kind: TopicKind::Database, key: replica.database() };
        let victim = replica.db().replicate(PeerOptions {
            transport: Transport::Attached { initiator: false, handshake_hash: HANDSHAKE },
            live: true,
            download: true,
            upload: true,
            user_data: Vec::new(),
            wake: Arc::new(|| {}),
        });
        let victim = victim.map_err(text)?;
        let mut session = Session::attached(Role::Initiator, HANDSHAKE, Config::default());
        session.offer(&[database]).map_err(|error| error.to_string())?;
        for _ in 0..ROUNDS {
            while let Some(bytes) = session.pull(1 << 16) {
                victim.receive(&bytes).map_err(text)?;
            }
            self.devices[at].settle();
            victim.tick();
            while let Some(bytes) = victim.pull(1 << 16) {
                session.receive(&bytes).map_err(|error| format!("to the liar: {error}"))?;
            }
            // Refused by its own session is what this liar may not even say.
            while let Some(event) = session.event() {
                match event {
                    Event::TopicOpen { topic, .. } => {
                        let mine =
                            feeds.iter().filter_map(|feed| random.chance(70).then(|| claim(*feed, random)));
                        let mine: Vec<FeedState> = mine.collect();
                        count("liar: lengths it never delivers");
                        let _ = session.announce(topic, &mine, true);
                        let digest =
                            self.devices[at].replicas[number].db().state_claim().map_err(text)?.digest;
                        count("liar: a false state hash");
                        let _ = session.state_hash(topic, &StateClaim { digest, state: random.secret() });
                    }
                    Event::Request { id, .. } if random.chance(50) => {
                        count("liar: asked, and refuses");
                        let _ = session.refuse(id);
                    }
                    Event::Request { .. } => count("liar: asked, and says nothing"),
                    _ => {}
                }
            }
            if random.chance(30) {
                let _ = session.have(&claim(random.pick(&feeds), random));
            }
        }
        victim.close();
        self.devices[at].settle();
        Ok(())
    }
}
