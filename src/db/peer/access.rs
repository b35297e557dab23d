//! Asking to be a writer, over one connection: says what this replica asks, once per connection; answers what the other
//! side asks, if this replica is an indexer. `docs/design/access.md`.
//!
//! Nothing is believed of a side that has not proved on this topic to be who it says: a request is its writer's own, an
//! answer that of an indexer.

use super::{Peer, State};
use crate::db::access::{Answer, Asking, Request};
use crate::db::board::OpenDatabase;
use crate::db::error::{Code, Error};
use crate::db::events::Event as DbEvent;
use crate::db::invite::Claim;
use crate::feed;
use crate::types::FeedKey;
use crate::wire::{CloseReason, Session, TopicId, TopicKind};
use ed25519_dalek::Signer as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Kinds of messages on a database's topic.
pub(super) const REQUEST: u8 = 1;
pub(super) const ANSWER: u8 = 2;

/// New requests looked at per topic, whatever numbers it has had, before time must pass, one a second: each may wake the user or the disk.
pub(super) const MAX_REQUESTS_AT_ONCE: u32 = 16;

/// What was said about access on a topic.
pub(super) struct Talk {
    /// Whom the other side proved to be.
    proved: BTreeSet<FeedKey>,
    /// What it asks, by writer: at most one per proof.
    requests: BTreeMap<FeedKey, Heard>,
    /// How many new requests may be looked at now.
    budget: u32,
    /// Whom this side proved to be.
    own: BTreeSet<FeedKey>,
    /// What this side asked, by database.
    asked: BTreeMap<u32, u64>,
    /// What the other side answered.
    answers: BTreeMap<u64, Answer>,
}

impl Default for Talk {
    fn default() -> Self {
        Self::with_budget(MAX_REQUESTS_AT_ONCE)
    }
}

impl Talk {
    pub fn with_budget(budget: u32) -> Self {
        Self {
            proved: BTreeSet::new(),
            requests: BTreeMap::new(),
            budget,
            own: BTreeSet::new(),
            asked: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }

    pub fn budget(&self) -> u32 {
        self.budget
    }

    /// A second has passed.
    pub fn tick(&mut self) {
        self.budget = MAX_REQUESTS_AT_ONCE.min(self.budget + 1);
    }

    /// Whom the other side has proved to be.
    pub fn proved(&self) -> &BTreeSet<FeedKey> {
        &self.proved
    }

    fn is_silent(&self) -> bool {
        self.requests.is_empty() && self.answers.is_empty()
    }
}

struct Heard {
    request: Arc<Request>,
    stage: Stage,
    said: Option<Answer>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    /// Its invite is with the owner thread.
    Redeeming,
    Redeemed(Answer),
    /// The user decides.
    Raised,
}

impl State {
    pub(super) fn heard_proof(&mut self, topic: TopicId, feed: FeedKey) {
        // The session has counted them: there are at most `MAX_WRITER_PROOFS`.
        if let Some(shown) = self.topics.get_mut(&topic) {
            shown.access.get_or_insert_default().proved.insert(feed);
        }
    }

    pub(super) fn heard_access(&mut self, topic: TopicId, kind: u8, bytes: &[u8]) {
        let Some(shown) = self.topics.get_mut(&topic) else { return };
        if shown.topic.kind != TopicKind::Database {
            return;
        }
        let talk = shown.access.get_or_insert_default();
        let broken = match kind {
            REQUEST => match Request::decode(bytes) {
                Ok(request) if talk.proved.contains(&request.writer) => {
                    let known = talk.requests.get(&request.writer);
                    if known.is_none_or(|known| *known.request != request) {
                        let heard = Heard { request: Arc::new(request), stage: Stage::New, said: None };
                        talk.requests.insert(heard.request.writer, heard);
                    }
                    return;
                }
                Ok(_) => "it asked for a writer that it did not prove to be".to_owned(),
                Err(error) => error.to_string(),
            },
            ANSWER => match Answer::decode(bytes) {
                Ok((ask, answer)) => {
                    // Others are to questions that are not asked any more.
                    if talk.asked.values().any(|asked| *asked == ask) {
                        talk.answers.insert(ask, answer);
                    }
                    return;
                }
                Err(error) => error.to_string(),
            },
            _ => return,
        };
        self.session.finish(CloseReason::Protocol);
        self.fail(Error::new(Code::Protocol, format!("the other side broke a rule of access: {broken}")));
    }

    /// After anything has changed: asks, takes answers, answers.
    pub(super) fn talk_access(&mut self, id: TopicId, peer: &Peer) {
        let Some(shown) = self.topics.get(&id) else { return };
        if shown.topic.kind != TopicKind::Database {
            return;
        }
        let silent = shown.access.as_ref().is_none_or(|talk| talk.is_silent());
        for open in self.databases_of_topic(id, peer) {
            let asking = open.access.lock().asking();
            if let Some(asking) = asking {
                self.ask(id, &open, &asking);
            }
            if !silent {
                self.take_answers(id, &open);
                if open.status.read().indexer {
                    self.answer_all(id, &open, peer);
                }
            }
        }
    }

    fn ask(&mut self, id: TopicId, open: &OpenDatabase, asking: &Asking) {
        let talk = self.topics.get(&id).and_then(|shown| shown.access.as_ref());
        let said = talk.and_then(|talk| talk.asked.get(&open.id));
        if said == Some(&asking.ask) || !self.prove_own(id, open) {
            return;
        }
        let writer = open.local();
        let role = self.session.role();
        let Ok(binding) = self.session.binding(id, role) else { return };
        let claim = asking
            .invite
            .as_ref()
            .map(|invite| Claim { invite: invite.id(), proof: invite.proof(&binding, &writer) });
        let request = Request { ask: asking.ask, writer, claim, user_data: asking.user_data.clone() };
        let sent = self.session.access(id, REQUEST, &request.encode()).is_ok();
        if let Some(shown) = self.topics.get_mut(&id).filter(|_| sent) {
            // An answer to what was asked before is nobody's any more.
            let talk = shown.access.get_or_insert_default();
            let before = talk.asked.insert(open.id, asking.ask);
            before.map(|ask| talk.answers.remove(&ask));
        }
    }

    /// Proves, once per topic, to be the writer of the database's local feed: only who asks, answers, or
    /// speaks to a relay says who it is.
    pub(super) fn prove_own(&mut self, id: TopicId, open: &OpenDatabase) -> bool {
        let (Some(shared), Some(shown)) = (&self.shared, self.topics.get_mut(&id)) else { return false };
        let local = open.local();
        if shown.access.as_ref().is_some_and(|talk| talk.own.contains(&local)) {
            return true;
        }
        let record = shared.read().and_then(|txn| {
            let record = feed::load(&txn, &local).map_err(Error::from)?;
            let Some(mut secret) = record.and_then(|record| record.secret) else { return Ok(None) };
            secret.open(local, open.space.sealing().encryption_key())?;
            Ok(Some(secret.seed(local)?.clone()))
        });
        // A store that cannot be read now is read at the next occasion.
        let Ok(Some(seed)) = record else { return false };
        let proved = prove(&mut self.session, id, local, &seed);
        if proved {
            shown.access.get_or_insert_default().own.insert(local);
        }
        proved
    }

    /// Believes what an indexer says, also if only a later commit tells that it is one.
    fn take_answers(&mut self, id: TopicId, open: &OpenDatabase) {
        let (Some(shared), Some(shown)) = (&self.shared, self.topics.get_mut(&id)) else { return };
        let Some(talk) = &mut shown.access else { return };
        let Some(ask) = talk.asked.get(&open.id) else { return };
        let Some(answer) = talk.answers.get(ask).copied() else { return };
        let feeds = open.feeds.read();
        if !talk.proved.iter().any(|key| feeds.get(key).is_some_and(|feed| feed.indexer)) {
            return;
        }
        drop(feeds);
        talk.answers.remove(ask);
        if open.access.lock().answered(*ask, answer, &talk.proved) {
            shared.board.send(open.id, &DbEvent::Progress);
        }
    }

    fn answer_all(&mut self, id: TopicId, open: &Arc<OpenDatabase>, peer: &Peer) {
        let Some(talk) = self.topics.get(&id).and_then(|shown| shown.access.as_ref()) else { return };
        for writer in talk.requests.keys().copied().collect::<Vec<_>>() {
            let Some(answer) = self.answer_to(id, writer, open, peer) else { continue };
            let heard = |state: &Self| {
                let heard = state.topics.get(&id)?.access.as_ref()?.requests.get(&writer)?;
                Some((heard.request.ask, heard.said))
            };
            let Some((ask, said)) = heard(self) else { continue };
            if said == Some(answer) || !self.prove_own(id, open) {
                continue;
            }
            let sent = self.session.access(id, ANSWER, &answer.encode(ask)).is_ok();
            if let Some(heard) = self.request_mut(id, &writer).filter(|_| sent) {
                heard.said = Some(answer);
            }
        }
    }

    fn request_mut(&mut self, id: TopicId, writer: &FeedKey) -> Option<&mut Heard> {
        self.topics.get_mut(&id)?.access.as_mut()?.requests.get_mut(writer)
    }

    /// What there is to say now to one who asks.
    fn answer_to(
        &mut self,
        id: TopicId,
        writer: FeedKey,
        open: &Arc<OpenDatabase>,
        peer: &Peer,
    ) -> Option<Answer> {
        let shared = self.shared.clone()?;
        if open.feeds.read().get(&writer).is_some_and(|feed| feed.granted) {
            return Some(Answer::Heard);
        }
        let talk = self.topics.get_mut(&id)?.access.as_mut()?;
        let heard = talk.requests.get_mut(&writer)?;
        match heard.stage {
            Stage::New if talk.budget == 0 => return None,
            Stage::New => talk.budget -= 1,
            Stage::Redeeming => return None,
            Stage::Redeemed(answer) => return Some(answer),
            Stage::Raised => {}
        }
        let request = Arc::clone(&heard.request);
        if heard.stage == Stage::New && request.claim.is_some() {
            heard.stage = Stage::Redeeming;
            self.redeem(id, open, &request, peer);
            return None;
        }
        heard.stage = Stage::Raised;
        let is_connected = |number| shared.board.peers().iter().any(|peer| peer.id() == number);
        let (new, answer) = open.access.lock().raise(&request, peer.id(), is_connected)?;
        if new {
            let user_data = request.user_data.clone();
            shared.board.send(open.id, &DbEvent::AccessRequest { key: writer, user_data });
        }
        Some(answer)
    }

    /// Gives a request's invite to the owner thread, which counts and grants in one transaction.
    fn redeem(&mut self, id: TopicId, open: &Arc<OpenDatabase>, request: &Arc<Request>, peer: &Peer) {
        let theirs = self.session.role().other();
        let (Some(shared), Ok(binding)) = (&self.shared, self.session.binding(id, theirs)) else { return };
        let (database, asked, request) = (open.id, Arc::clone(request), Arc::clone(request));
        let run = move |work: &mut crate::db::engine::Work<'_, '_>| match &asked.claim {
            Some(claim) => work.redeem(database, asked.writer, claim, &binding),
            None => Ok(None),
        };
        shared.windowed_job(run, peer.clone(), move |peer, result| {
            peer.with_state(|state, peer| {
                let Some(heard) = state.request_mut(id, &request.writer) else { return };
                if heard.request.ask != request.ask {
                    return;
                }
                // What failed here (the disk, say) is the user's to decide.
                heard.stage = match result {
                    Ok(Some(answer)) => Stage::Redeemed(answer),
                    Ok(None) | Err(_) => Stage::Raised,
                };
                state.watch.due.insert(id);
                state.refresh(peer);
            });
        });
    }
}

fn prove(session: &mut Session, id: TopicId, feed: FeedKey, secret: &feed::Seed) -> bool {
    let Ok(message) = session.writer_proof_message(id) else { return false };
    let signature = secret.signing_key().sign(&message).to_bytes();
    session.prove_writer(id, feed, &signature).is_ok()
}
