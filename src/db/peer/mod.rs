//! **What.** One connection: the session's events and the store's changes turned into requests, blocks and
//! announcements. Everything here is called, never calls back into its caller: `receive` and `pull` by whoever has the
//! stream, `notify` by the owner thread after a commit, `tick` by whoever has a clock.
//!
//! **Owns.** The state of a connection, in memory only; the session in it.
//!
//! **Invariants.** 1. Nothing is offered that is not synced; of an own feed nothing that was not noted as leaving
//! before, and what was noted is asked of the transaction that is read from. 2. An own feed, or more of it, leaves only
//! once every open connection has said which of what is offered its other side has, their first vectors have come, and what
//! they show more of it is here (or [`OWN_FEED_PATIENCE`], [`CLAIM_PATIENCE`] ticks have passed): what others have of it is
//! learned first. 3. No block is asked for over two connections, but where `db/windows` says so. 4. Blocks are verified and
//! stored by the owner thread, in order; how many wait for it is bounded by [`MAX_UNVERIFIED`]. 5. No lock of another
//! connection is taken while this one's is held.
//!
//! **Not here.** Bytes and limits of the protocol (`wire`), verification (`feed`), what blocks mean (`place`), what other
//! threads and connections call (`others`).

mod access;
mod apart;
mod asking;
mod compare;
mod delivered;
mod driver;
mod fetch;
mod forks;
mod growth;
mod inflight;
mod io;
mod kept;
mod meet;
mod offering;
mod open;
mod others;
mod own;
mod relay;
mod remote;
mod scope;
mod serve;
mod spoken;
mod stall;
mod status;
mod stored;
#[cfg(test)]
mod tests;
mod transport;
mod twice;
mod watch;

pub use status::{Idle, PeerFeed, PeerStatus};
pub use transport::{PeerEvent, PeerOptions, Transport};
pub(super) use twice::Marks;

use super::error::{Code, Error};
use super::events::Wake;
use super::store::Shared;
use crate::types::FeedKey;
use crate::wire::{CloseReason, FeedState, RequestId, Session, Topic, TopicId};
use driver::Serving;
use parking_lot::{Mutex, RwLock};
use remote::RemoteFeed;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Bytes received and not yet stored, above which the caller is asked to hold back: a peer cannot fill our memory with
/// what the disk has not taken.
const MAX_UNVERIFIED: usize = 8 << 20;

/// Bytes queued to be sent, above which no more block data is read from the store.
const MAX_OUTGOING: usize = 256 << 10;

/// Events kept for a caller who does not read them.
const MAX_WAITING_EVENTS: usize = 256;

/// Ticks (seconds) after which an own feed is offered although another open connection has said nothing yet, or not whether
/// it has what was opened here since.
const OWN_FEED_PATIENCE: u32 = 5;

/// Ticks after which it is offered although a connection claims more of it than is here and shows none of that: nobody's
/// claim keeps us silent.
const CLAIM_PATIENCE: u32 = 30;

/// What a received message counts while it waits for the owner thread, besides its blocks and nodes: messages without
/// blocks are not free.
const MESSAGE_COST: usize = 512;

/// Ticks a connection may take to say who it is, once it can. A channel that others share it can open at any time.
const HANDSHAKE_PATIENCE: u32 = 20;

/// One connection; clones are the same.
#[derive(Clone)]
pub struct Peer(Arc<Connection>);

struct Connection {
    id: u64,
    /// The databases this connection is for; none: all of the store.
    scope: RwLock<Option<BTreeSet<u32>>>,
    live: bool,
    wake: Wake,
    /// Open, and the other side's first vectors have not all come yet: own feeds wait for it.
    unheard: AtomicBool,
    /// It is not known yet whether the other side has what is offered.
    fresh: AtomicBool,
    /// Own feeds that an open topic lets it speak of: they may leave over it.
    own: RwLock<BTreeSet<FeedKey>>,
    /// The other side says it has more of an own feed, or another one, than is here.
    claims: AtomicBool,
    state: Mutex<State>,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own; they do not exclude each other"
)]
struct State {
    /// Gone once closed: then nothing is read or queued any more.
    shared: Option<Arc<Shared>>,
    session: Session,
    events: VecDeque<PeerEvent>,
    topics: BTreeMap<TopicId, Box<Shown>>,
    spoken: spoken::Spoken,
    /// By topic, and by number: several databases of a store may have the topic's key.
    compared: BTreeMap<(TopicId, u32), compare::Own>,
    /// By database, what was used up on topics that are over.
    kept: kept::Kept,
    remote: BTreeMap<FeedKey, Box<RemoteFeed>>,
    /// Topics that have no room for all of their feeds.
    full: BTreeSet<TopicId>,
    /// Feeds that were refused and may be asked for again when others could have asked.
    yielding: BTreeSet<FeedKey>,
    /// By topic, feeds of which something went over another connection to the same store.
    second: BTreeMap<TopicId, BTreeSet<FeedKey>>,
    /// By topic, feeds announced before it was known whether the database takes in such as it does not know, or while
    /// others are looked at.
    unmet: BTreeMap<TopicId, BTreeMap<FeedKey, FeedState>>,
    watch: watch::Watch,
    serving: VecDeque<Serving>,
    /// Ranges asked for apart from the beginning of their feeds.
    asks: BTreeMap<RequestId, apart::Ask>,
    unverified: usize,
    /// Bytes that came and went.
    received: status::Meter,
    sent: status::Meter,
    /// Whether this side fetches anything over it.
    downloads: bool,
    /// A feed was given up that another connection may go on with.
    released: bool,
    /// All that the initiator offers was shown.
    shown_all: bool,
    /// The tick in which an answer last came, or the first of those that are due was asked for.
    heard_at: u32,
    /// Bytes that had come in pieces at the last tick.
    pieced: u64,
    /// An answer is due and none has come for [`stall::STALL_PATIENCE`]: others may fetch what was asked here.
    stalled: bool,
    ticks: u32,
    /// The other side can speak: bytes have passed, or they are the first.
    has_begun: bool,
    /// Ticks for which it could, and did not say who it is.
    nameless: u32,
    asking: asking::Asking,
    own_allowed: bool,
    /// Ticks for which each topic's first vector was waited for, also if it was withdrawn and opened again.
    awaited: BTreeMap<Topic, u32>,
    /// Ticks for which more of an own feed was claimed and nothing of it delivered.
    claimed: u32,
    /// Lengths wait until the last one said has left.
    owes_lengths: bool,
    /// Announced feeds are being looked at: others wait for that.
    is_meeting: bool,
    /// Ticks that own blocks have waited to leave.
    waited: u32,
    /// The owner was asked to note that own blocks leave.
    is_noting: bool,
    /// The first vectors have just come, or what was claimed: others look again whether they may offer.
    is_heard_news: bool,
    was_synced: bool,
    /// Databases whose subscribers were told that they are synced.
    told_synced: BTreeSet<u32>,
    said_done: bool,
    heard_done: bool,
    finished: bool,
    failed: Option<Error>,
}

/// An open topic.
struct Shown {
    topic: Topic,
    /// Feeds that have changed since they were last looked at for it.
    news: BTreeSet<FeedKey>,
    /// The other side's name on this topic.
    mark: Option<twice::Mark>,
    /// The other side's first vector is all here.
    heard: bool,
    /// The other side has announced its own feed too.
    heard_own: bool,
    said_own: bool,
    /// Nobody has forked, mostly.
    forks: Option<Box<forks::Forks>>,
    /// Nobody has said anything of it, mostly.
    access: Option<Box<access::Talk>>,
    /// Nobody relays, mostly.
    relaying: Option<Box<relay::Relaying>>,
    compared: compare::Compared,
}

impl Peer {
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Bytes from the other side, split anywhere. False: too much waits for the disk; hold back until `wake` and
    /// [`Peer::ready_for_more`].
    pub fn receive(&self, bytes: &[u8]) -> Result<bool, Error> {
        let mut failed = None;
        let ready = self.with_state(|state, peer| {
            if state.shared.is_none() {
                return true;
            }
            state.received.count(bytes.len());
            state.has_begun = true;
            let taken = state.session.receive(bytes);
            state.take_events(peer);
            if let Err(error) = taken {
                failed = Some(state.fail(error.into()));
            }
            state.unverified < MAX_UNVERIFIED
        });
        self.tell_heard();
        self.hand_over();
        self.leave_if_over();
        failed.map_or(Ok(ready), Err)
    }

    pub fn ready_for_more(&self) -> bool {
        self.0.state.lock().unverified < MAX_UNVERIFIED
    }

    /// The next bytes for the other side, about `max` at most; none: nothing now, `wake` is called when there is.
    /// Wakes nobody but for a new event: who pulls goes on until there is nothing.
    pub fn pull(&self, max: usize) -> Option<Vec<u8>> {
        let mut state = self.0.state.lock();
        let events = state.events.len();
        state.fill(max.max(MAX_OUTGOING), self);
        let bytes = state.session.pull(max);
        state.sent.count(bytes.as_ref().map_or(0, Vec::len));
        state.has_begun |= bytes.is_some();
        let is_news = state.events.len() > events;
        drop(state);
        if is_news {
            (self.0.wake)();
        }
        bytes
    }

    pub fn take_events(&self) -> Vec<PeerEvent> {
        self.0.state.lock().events.drain(..).collect()
    }

    /// The stream below has ended without ours having said goodbye.
    pub fn ended(&self) {
        self.with_state(|state, _| {
            if let Err(error) = state.session.remote_ended() {
                state.fail(error.into());
            }
        });
        self.leave();
    }

    /// A second has passed, by whoever owns a clock.
    pub fn tick(&self) {
        self.prepare_claims();
        self.with_state(|state, peer| {
            state.ticks = state.ticks.saturating_add(1);
            state.topics.values_mut().filter_map(|shown| shown.access.as_mut()).for_each(|talk| talk.tick());
            state.unsaid_topics_due();
            state.unopened_due();
            state.offer_what_was_cut(peer);
            state.say_seconds(peer);
            if state.has_begun && state.session.remote().is_none() {
                state.nameless = state.nameless.saturating_add(1);
                if state.nameless > HANDSHAKE_PATIENCE {
                    let error = Error::new(Code::Timeout, "the other side did not say who it is in time");
                    state.session.finish(CloseReason::Timeout);
                    state.fail(error);
                }
            }
            state.notice_stall(peer);
            state.holes_due();
            state.measure(peer);
            state.wait_to_leave(peer);
            state.refresh(peer);
            state.compare_claims(peer);
        });
        self.tell_heard();
        self.hand_over();
        self.leave_if_over();
    }

    /// Says goodbye; what is queued can still be pulled.
    pub fn close(&self) {
        self.with_state(|state, _| {
            if state.failed.is_none() {
                state.session.finish(CloseReason::Finished);
            }
            state.push(PeerEvent::Closed);
        });
        self.leave();
    }

    /// Whether all that this connection announced of a database is here and placed.
    pub(super) fn has_delivered(&self, database: u32) -> bool {
        self.0.state.lock().has_delivered(Some(database), self)
    }

    /// Works on the state, then wakes the caller if there is something for it.
    fn with_state<T>(&self, work: impl FnOnce(&mut State, &Peer) -> T) -> T {
        let mut state = self.0.state.lock();
        let result = work(&mut state, self);
        let wanted = state.session.outgoing() > 0 || !state.serving.is_empty() || !state.events.is_empty();
        drop(state);
        if wanted {
            (self.0.wake)();
        }
        result
    }
}

impl State {
    fn push(&mut self, event: PeerEvent) {
        if self.events.len() < MAX_WAITING_EVENTS {
            self.events.push_back(event);
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        if self.failed.is_none() {
            self.failed = Some(error.clone());
            self.push(PeerEvent::Failed(error.clone()));
        }
        self.serving.clear();
        error
    }
}
