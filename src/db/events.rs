//! What a database reports: bounded queues of events that subscribers drain, and the streams over them.

use super::error::Error;
use crate::types::{FeedKey, Hash};
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

/// Events kept for a subscriber who does not read: beyond this the oldest go, so a forgotten subscription costs little.
const MAX_WAITING_EVENTS: usize = 1_024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// View writes `from` (exclusive) to `to` are published. Neighbouring ones are joined while nobody reads.
    Update {
        from: u64,
        to: u64,
    },
    Writable,
    Unwritable,
    Writer {
        key: FeedKey,
        added: bool,
    },
    PeerAdd {
        key: FeedKey,
    },
    PeerRemove {
        key: FeedKey,
    },
    Drift {
        writer: FeedKey,
        ahead_ms: u64,
    },
    /// The feed's key has signed two histories, which have `length` blocks in common. `proof` is a
    /// [`Parting`](crate::merkle::Parting): anyone who has the key can check it.
    Fork {
        feed: FeedKey,
        length: u64,
        proof: Vec<u8>,
    },
    UpgradeNeeded {
        feed: FeedKey,
    },
    /// A connection has delivered all it announced at first; the number names it.
    Synced {
        peer: u64,
    },
    /// Something arrived or was announced: whoever waits to be flushed looks again.
    Progress,
    /// Apply mode: nothing at or before this length of the sequence can be reordered any more.
    Finalized {
        length: u64,
    },
    /// Apply mode: an entry of `feed` would move what is final, before this length of the sequence: it is not placed. Or,
    /// only after a restore, with the own feed: what had become final here, and nowhere else, is final up to this length
    /// only, since entries that had never left come again after others.
    Moved {
        feed: FeedKey,
        length: u64,
    },
    AccessRequest {
        key: FeedKey,
        user_data: Vec<u8>,
    },
    /// A connection (the number names it) claims another state hash for what this replica has too: one of the two has a
    /// fault, or the other side lies.
    Diverged {
        ours: Hash,
        theirs: Hash,
        peer: u64,
    },
    /// Something failed that nobody waited for.
    Error {
        error: Error,
    },
}

pub type Wake = Arc<dyn Fn() + Send + Sync>;

struct Queue {
    events: Mutex<VecDeque<Event>>,
    waker: AtomicWaker,
    wake: Wake,
}

/// The receiving end. Dropping it ends the subscription.
pub struct Subscription(Arc<Queue>);

impl Subscription {
    /// Events since the last call.
    pub fn take(&self) -> Vec<Event> {
        self.0.events.lock().drain(..).collect()
    }
}

impl futures::Stream for Subscription {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.waker.register(context.waker());
        match self.0.events.lock().pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None => Poll::Pending,
        }
    }
}

/// The sending end: everyone who subscribed and still listens.
#[derive(Default)]
pub(super) struct Subscribers(Mutex<Vec<Weak<Queue>>>);

impl Subscribers {
    pub fn subscribe(&self, wake: Wake) -> Subscription {
        let queue = Arc::new(Queue { events: Mutex::default(), waker: AtomicWaker::new(), wake });
        let mut all = self.0.lock();
        all.retain(|queue| queue.strong_count() > 0);
        all.push(Arc::downgrade(&queue));
        Subscription(queue)
    }

    pub fn is_listened_to(&self) -> bool {
        self.0.lock().iter().any(|queue| queue.strong_count() > 0)
    }

    pub fn send(&self, event: &Event) {
        let listening: Vec<_> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        for queue in listening {
            push(&mut queue.events.lock(), event.clone());
            queue.waker.wake();
            (queue.wake)();
        }
    }
}

fn push(events: &mut VecDeque<Event>, event: Event) {
    match (events.back_mut(), &event) {
        (Some(Event::Progress), Event::Progress) => return,
        (Some(Event::Update { to: last, .. }), Event::Update { to, .. }) => {
            *last = *to;
            return;
        }
        _ => {}
    }
    if events.len() >= MAX_WAITING_EVENTS {
        events.pop_front();
    }
    events.push_back(event);
}

/// A reply that comes after the commit: a future, or [`Reply::wait`] where blocking is allowed.
#[must_use = "a write that nobody waits for may fail unseen"]
pub struct Reply<T>(futures::channel::oneshot::Receiver<Result<T, Error>>);

/// Where a [`Reply`] is given.
pub(super) type Replier<T> = futures::channel::oneshot::Sender<Result<T, Error>>;

impl<T> Reply<T> {
    pub(super) fn channel() -> (Replier<T>, Self) {
        let (sender, receiver) = futures::channel::oneshot::channel();
        (sender, Self(receiver))
    }

    pub(super) fn ready(result: Result<T, Error>) -> Self {
        let (sender, reply) = Self::channel();
        // The receiver is in our hands: it cannot be gone.
        let _ = sender.send(result);
        reply
    }

    pub fn wait(self) -> Result<T, Error> {
        futures::executor::block_on(self)
    }
}

impl<T> Future for Reply<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The sender goes without an answer only when the owner panicked or ended.
        Pin::new(&mut self.0).poll(context).map(|reply| reply.unwrap_or_else(|_| Err(Error::stopped())))
    }
}
