//! Asking to be a writer, invites, and who else may speak on a connection. `docs/design/access.md`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::*;
use multi_hyperbee::db::{
    Access, Code, DatabaseOptions, Db, Event, Invite, InviteOptions, Location, MAX_ACCESS_DATA, Peer,
    PeerEvent, Refusal, Store, StoreOptions, Subscription, Transport,
};
use multi_hyperbee::types::FeedKey;
use multi_hyperbee::wire::{self, Config, Role, Session, Topic, TopicId, TopicKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn local(db: &Db) -> FeedKey {
    db.info().unwrap().local
}

fn key(db: &Db) -> FeedKey {
    db.info().unwrap().key
}

fn writable(db: &Db) -> bool {
    db.status().unwrap().writable
}

fn listen(db: &Db) -> Subscription {
    db.subscribe(Arc::new(|| {})).unwrap()
}

fn requests(events: &Subscription) -> Vec<(FeedKey, Vec<u8>)> {
    let asked = |event| match event {
        Event::AccessRequest { key, user_data } => Some((key, user_data)),
        _ => None,
    };
    events.take().into_iter().filter_map(asked).collect()
}

fn refused(db: &Db) -> Option<Refusal> {
    match db.access().unwrap() {
        Access::Refused(refusal) => Some(refusal),
        _ => None,
    }
}

fn invite(db: &Db, uses: u32) -> Invite {
    let options = InviteOptions { uses: Some(uses), ..InviteOptions::default() };
    db.create_invite(options).wait().unwrap()
}

/// Carries everything there is until both sides have been quiet for a while.
fn settle(wire: &Wire, stores: &[&Store]) {
    let mut quiet = 0;
    while quiet < 5 {
        for store in stores {
            store.settled().wait().unwrap();
        }
        quiet = if wire.carry(usize::MAX) { 0 } else { quiet + 1 };
    }
}

#[test]
fn a_request_is_raised_once_and_accepted_by_a_grant() {
    let (s1, s2) = (memory(), memory());
    let a = create(&s1);
    let b = join(&s2, key(&a));
    let events = listen(&a);
    b.request_access(b"\"phone\"".to_vec(), None).unwrap();
    assert_eq!(b.access().unwrap(), Access::Asked);
    let wire = connect(&a, &b);
    carry_until(&[&wire], || b.access().unwrap() == Access::Heard);
    assert_eq!(requests(&events), [(local(&b), b"\"phone\"".to_vec())]);
    // Repeated on every connection, raised once.
    wire.close();
    let wire = connect(&b, &a);
    settle(&wire, &[&s1, &s2]);
    assert_eq!(requests(&events), []);
    a.add_writer(local(&b), false).wait().unwrap();
    carry_until(&[&wire], || writable(&b));
    assert_eq!(b.access().unwrap(), Access::NotAsked);
    b.request_access(Vec::new(), None).unwrap();
    assert_eq!(b.access().unwrap(), Access::NotAsked);
}

#[test]
fn a_request_made_while_connected_is_rejected_and_may_be_made_again() {
    let (s1, s2) = (memory(), memory());
    let a = create(&s1);
    let b = join(&s2, key(&a));
    let events = listen(&a);
    let wire = connect(&a, &b);
    settle(&wire, &[&s1, &s2]);
    b.request_access(b"1".to_vec(), None).unwrap();
    carry_until(&[&wire], || b.access().unwrap() == Access::Heard);
    assert!(a.reject_access(&local(&b)).unwrap());
    assert!(!a.reject_access(&local(&b)).unwrap());
    carry_until(&[&wire], || refused(&b) == Some(Refusal::Rejected));
    assert_eq!(requests(&events).len(), 1);
    b.request_access(b"2".to_vec(), None).unwrap();
    carry_until(&[&wire], || b.access().unwrap() == Access::Heard);
    assert_eq!(requests(&events), [(local(&b), b"2".to_vec())]);
}

#[test]
fn a_rejection_reaches_whoever_was_away() {
    let (s1, s2) = (memory(), memory());
    let a = create(&s1);
    let b = join(&s2, key(&a));
    b.request_access(Vec::new(), None).unwrap();
    let wire = connect(&a, &b);
    carry_until(&[&wire], || b.access().unwrap() == Access::Heard);
    wire.close();
    assert!(a.reject_access(&local(&b)).unwrap());
    let wire = connect(&a, &b);
    carry_until(&[&wire], || refused(&b) == Some(Refusal::Rejected));
}

#[test]
fn only_an_indexer_hears_a_request_also_one_made_later() {
    let (s1, s2, s3) = (memory(), memory(), memory());
    let a = create(&s1);
    let (b, c) = (join(&s2, key(&a)), join(&s3, key(&a)));
    let events = listen(&b);
    let (ab, bc) = (connect(&a, &b), connect(&b, &c));
    c.request_access(Vec::new(), None).unwrap();
    settle(&ab, &[&s1, &s2]);
    settle(&bc, &[&s2, &s3]);
    assert_eq!((requests(&events), c.access().unwrap()), (Vec::new(), Access::Asked));
    a.add_writer(local(&b), true).wait().unwrap();
    carry_until(&[&ab, &bc], || c.access().unwrap() == Access::Heard);
    assert_eq!(requests(&events).len(), 1);
    b.add_writer(local(&c), false).wait().unwrap();
    carry_until(&[&bc], || writable(&c));
}

#[test]
fn what_is_too_large_is_refused() {
    let (s1, s2) = (memory(), memory());
    let a = create(&s1);
    let b = join(&s2, key(&a));
    let error = b.request_access(vec![0; MAX_ACCESS_DATA + 1], None).unwrap_err();
    assert_eq!(error.code, Code::ValueTooLarge);
    b.request_access(vec![0; MAX_ACCESS_DATA], None).unwrap();
    b.cancel_access().unwrap();
    assert_eq!(b.access().unwrap(), Access::NotAsked);
}

#[test]
fn an_invite_admits_as_often_as_it_says_without_anybody_asked() {
    let (s1, s2, s3) = (memory(), memory(), memory());
    let a = create(&s1);
    let (b, c) = (join(&s2, key(&a)), join(&s3, key(&a)));
    let events = listen(&a);
    let text = invite(&a, 1).to_string();
    b.request_access(Vec::new(), Some(text.parse().unwrap())).unwrap();
    let wire = connect(&b, &a);
    carry_until(&[&wire], || writable(&b));
    assert!(!b.status().unwrap().indexer);
    c.request_access(Vec::new(), Some(text.parse().unwrap())).unwrap();
    let wire = connect(&a, &c);
    carry_until(&[&wire], || refused(&c) == Some(Refusal::Used));
    assert!(!writable(&c));
    assert_eq!(requests(&events), []);
}

#[test]
fn an_invite_for_indexers_makes_one_who_invites_further() {
    let (s1, s2, s3) = (memory(), memory(), memory());
    let a = create(&s1);
    let (b, c) = (join(&s2, key(&a)), join(&s3, key(&a)));
    assert_eq!(b.create_invite(InviteOptions::default()).wait().unwrap_err().code, Code::NotPermitted);
    let options = InviteOptions { indexer: true, ..InviteOptions::default() };
    let invite = a.create_invite(options).wait().unwrap();
    b.request_access(Vec::new(), Some(invite)).unwrap();
    let ab = connect(&a, &b);
    carry_until(&[&ab], || b.status().unwrap().indexer);
    let further = b.create_invite(InviteOptions::default()).wait().unwrap();
    c.request_access(Vec::new(), Some(further)).unwrap();
    // The creator did not issue it and cannot say that it is wrong; its issuer can.
    let ac = connect(&a, &c);
    settle(&ac, &[&s1, &s3]);
    assert_eq!(c.access().unwrap(), Access::Asked);
    let bc = connect(&b, &c);
    carry_until(&[&ab, &ac, &bc], || writable(&c));
}

#[test]
fn an_invite_expires_by_the_issuers_clock() {
    let now = Arc::new(AtomicU64::new(1_000_000));
    let clock = {
        let now = Arc::clone(&now);
        Arc::new(move || Duration::from_millis(now.load(Ordering::Relaxed)))
    };
    let options = StoreOptions { clock: Some(clock), ..StoreOptions::default() };
    let (s1, s2) = (Store::open(&Location::Memory, &options).unwrap(), memory());
    let a = create(&s1);
    let b = join(&s2, key(&a));
    let until = |ms| InviteOptions { expires: Some(Duration::from_millis(ms)), ..InviteOptions::default() };
    assert_eq!(a.create_invite(until(1_000_000)).wait().unwrap_err().code, Code::Options);
    let invite = a.create_invite(until(1_000_001)).wait().unwrap();
    now.store(1_000_001, Ordering::Relaxed);
    b.request_access(Vec::new(), Some(invite)).unwrap();
    let wire = connect(&a, &b);
    carry_until(&[&wire], || refused(&b) == Some(Refusal::Expired));
}

#[test]
fn an_invite_survives_its_issuers_restart_and_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let location = Location::Path(dir.path().to_owned());
    let store = Store::open(&location, &StoreOptions::default()).unwrap();
    let a = create(&store);
    let invite = invite(&a, 1);
    let (s2, s3) = (memory(), memory());
    let (b, c) = (join(&s2, key(&a)), join(&s3, key(&a)));
    a.close().wait().unwrap();
    store.close().wait().unwrap();
    b.request_access(Vec::new(), Some(invite)).unwrap();
    let bc = connect(&b, &c);
    settle(&bc, &[&s2, &s3]);
    assert_eq!(b.access().unwrap(), Access::Asked);
    let store = Store::open(&location, &StoreOptions::default()).unwrap();
    let a = create(&store);
    let wire = connect(&a, &b);
    carry_until(&[&wire], || writable(&b));
}

#[test]
fn an_invite_of_another_store_or_database_is_refused() {
    let (s1, s2, s3) = (memory(), memory(), memory());
    let a = create(&s1);
    let b = join(&s2, key(&a));
    let other = create(&s3);
    let error = b.request_access(Vec::new(), Some(invite(&other, 1))).unwrap_err();
    assert_eq!(error.code, Code::InvalidKey);
    // Right database and issuer, a secret that it never gave out: a copy of its key pair made it elsewhere.
    let seeded = |store: &Store| {
        let options = DatabaseOptions { secret: Some([7; 32]), ..crate::support::database() };
        store.database(options).wait().unwrap()
    };
    let (s4, s5, s6) = (memory(), memory(), memory());
    let (issuer, copy) = (seeded(&s4), seeded(&s5));
    let joiner = join(&s6, key(&issuer));
    joiner.request_access(Vec::new(), Some(invite(&copy, 1))).unwrap();
    let wire = connect(&issuer, &joiner);
    carry_until(&[&wire], || refused(&joiner) == Some(Refusal::Unknown));
}

#[test]
fn a_writer_that_was_removed_is_the_users_question_even_with_an_invite() {
    let (s1, s2) = (memory(), memory());
    let a = create(&s1);
    let b = join(&s2, key(&a));
    let invite = invite(&a, 5);
    b.request_access(Vec::new(), Some(invite.clone())).unwrap();
    let wire = connect(&a, &b);
    carry_until(&[&wire], || writable(&b));
    a.remove_writer(local(&b), false).wait().unwrap();
    carry_until(&[&wire], || !writable(&b));
    let events = listen(&a);
    b.request_access(Vec::new(), Some(invite)).unwrap();
    carry_until(&[&wire], || b.access().unwrap() == Access::Heard);
    assert_eq!(requests(&events).len(), 1);
    assert!(!writable(&b));
}

/// A peer that says what it likes, to one database.
struct Hostile {
    session: Session,
    peer: Peer,
    topic: TopicId,
    events: Vec<wire::Event>,
}

impl Hostile {
    fn meet(db: &Db) -> Self {
        let hash = [7; 64];
        let transport = Transport::Attached { initiator: false, handshake_hash: hash };
        let peer = db.replicate(options(transport)).unwrap();
        let mut session = Session::attached(Role::Initiator, hash, Config::default());
        session.offer(&[Topic { kind: TopicKind::Database, key: key(db) }]).unwrap();
        let mut hostile = Self { session, peer, topic: TopicId(0), events: Vec::new() };
        hostile.carry();
        assert!(hostile.events.iter().any(|event| matches!(event, wire::Event::TopicOpen { .. })));
        hostile
    }

    fn carry(&mut self) {
        loop {
            let mut any = false;
            while let Some(bytes) = self.session.pull(1 << 16) {
                any = true;
                let _ = self.peer.receive(&bytes);
            }
            while let Some(bytes) = self.peer.pull(1 << 16) {
                any = true;
                let _ = self.session.receive(&bytes);
            }
            self.events.extend(std::iter::from_fn(|| self.session.event()));
            if !any {
                return;
            }
        }
    }

    fn prove(&mut self, seed: u8) -> FeedKey {
        use ed25519_dalek::Signer as _;
        let secret = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        let feed = FeedKey(secret.verifying_key().to_bytes());
        let message = self.session.writer_proof_message(self.topic).unwrap();
        self.session.prove_writer(self.topic, feed, &secret.sign(&message).to_bytes()).unwrap();
        feed
    }

    fn request(&mut self, ask: u64, writer: FeedKey, rest: &[u8]) {
        let bytes = [&ask.to_be_bytes()[..], writer.as_bytes(), rest].concat();
        self.session.access(self.topic, 1, &bytes).unwrap();
        self.carry();
    }

    fn was_cut_off(&mut self) -> bool {
        self.peer.take_events().iter().any(
            |event| matches!(event, PeerEvent::Failed(error) if matches!(error.code, Code::Protocol | Code::Auth)),
        )
    }
}

#[test]
fn nobody_asks_in_anothers_name() {
    let store = memory();
    let db = create(&store);
    let events = listen(&db);
    let mut hostile = Hostile::meet(&db);
    hostile.prove(1);
    hostile.request(1, FeedKey([9; 32]), &[0, 0]);
    assert!(hostile.was_cut_off());
    assert_eq!(requests(&events), []);
}

#[test]
fn a_malformed_or_oversize_message_ends_the_connection() {
    let store = memory();
    let db = create(&store);
    let events = listen(&db);
    let oversize = [&[0, 0x81, 0x20][..], &[0; MAX_ACCESS_DATA + 1]].concat();
    for rest in [&[][..], &[2], &[0], &[0, 2, 1], &[0, 0, 0], &[1, 0], &oversize] {
        let mut hostile = Hostile::meet(&db);
        let writer = hostile.prove(1);
        hostile.request(1, writer, rest);
        assert!(hostile.was_cut_off(), "{}", rest.len());
    }
    for answer in [&[][..], &[0; 8], &[0, 0, 0, 0, 0, 0, 0, 0, 5], &[0; 10]] {
        let mut hostile = Hostile::meet(&db);
        hostile.session.access(hostile.topic, 2, answer).unwrap();
        hostile.carry();
        assert!(hostile.was_cut_off());
    }
    assert_eq!(requests(&events), []);
}

#[test]
fn a_flood_of_requests_raises_few_events_and_one_per_second_after() {
    let store = memory();
    let db = create(&store);
    let events = listen(&db);
    let mut hostile = Hostile::meet(&db);
    let writer = hostile.prove(1);
    for ask in 0..500 {
        hostile.request(ask, writer, &[0, 0]);
    }
    assert_eq!(requests(&events).len(), 16);
    hostile.peer.tick();
    assert_eq!(requests(&events).len(), 1);
    assert!(!hostile.was_cut_off());
}

#[test]
fn a_claim_is_worth_nothing_on_another_connection_or_for_another_writer() {
    let (s1, s2) = (memory(), memory());
    let a = create(&s1);
    let b = join(&s2, key(&a));
    // A reader whom the joiner meets first hears its claim, as the other side of a connection.
    let mut reader = Hostile::meet(&b);
    b.request_access(Vec::new(), Some(invite(&a, 1))).unwrap();
    reader.carry();
    let bytes = reader.events.iter().find_map(|event| match event {
        wire::Event::Access { kind: 1, bytes, .. } => Some(bytes.clone()),
        _ => None,
    });
    let claim = bytes.unwrap()[40..89].to_vec();
    assert_eq!(claim[0], 1);
    // The very same handshake hash and topic, but in the other direction and for another writer.
    let mut thief = Hostile::meet(&a);
    let writer = thief.prove(1);
    thief.request(1, writer, &[&claim[..], &[0]].concat());
    s1.settled().wait().unwrap();
    thief.carry();
    let answers: Vec<_> = thief
        .events
        .iter()
        .filter_map(|event| match event {
            wire::Event::Access { kind: 2, bytes, .. } => Some(bytes.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(answers, [[0, 0, 0, 0, 0, 0, 0, 1, 2]]);
    assert!(a.members().unwrap().iter().all(|member| member.key != writer));
    // It was not used up by this. (Connections that say nothing hold own feeds back: they go first.)
    thief.peer.close();
    reader.peer.close();
    let wire = connect(&a, &b);
    carry_until(&[&wire], || writable(&b));
}

#[test]
fn an_answer_counts_only_from_who_proved_to_be_an_indexer() {
    let (s1, s2) = (memory(), memory());
    let a = create(&s1);
    let b = join(&s2, key(&a));
    let mut reader = Hostile::meet(&b);
    b.request_access(Vec::new(), None).unwrap();
    reader.carry();
    let asked = reader.events.iter().find_map(|event| match event {
        wire::Event::Access { kind: 1, bytes, .. } => Some(bytes[..8].to_vec()),
        _ => None,
    });
    reader.prove(1);
    reader.session.access(reader.topic, 2, &[&asked.unwrap()[..], &[1]].concat()).unwrap();
    reader.carry();
    assert_eq!(b.access().unwrap(), Access::Asked);
    assert!(!reader.was_cut_off());
}

#[test]
fn a_second_database_of_the_store_joins_a_connection() {
    let (s1, s2) = (memory(), memory());
    let named = |store: &Store, name: &str, key| {
        let options = DatabaseOptions { name: Some(name.into()), key, ..crate::support::database() };
        store.database(options).wait().unwrap()
    };
    let (a1, a2) = (named(&s1, "1", None), named(&s1, "2", None));
    let (b1, b2) = (named(&s2, "1", Some(key(&a1))), named(&s2, "2", Some(key(&a2))));
    put(&a1, "k", "{}");
    put(&a2, "k", "{}");
    let synced = listen(&b2);
    let wire = connect(&a1, &b1);
    carry_until(&[&wire], || get(&b1, "k").is_some());
    settle(&wire, &[&s1, &s2]);
    assert_eq!(get(&b2, "k"), None);
    wire.a.offer(&a2).unwrap();
    wire.b.offer(&b2).unwrap();
    wire.b.offer(&b2).unwrap();
    carry_until(&[&wire], || get(&b2, "k").is_some());
    carry_until(&[&wire], || synced.take().iter().any(|event| matches!(event, Event::Synced { .. })));
    put(&a2, "later", "{}");
    carry_until(&[&wire], || get(&b2, "later").is_some());
    let foreign = create(&memory());
    assert_eq!(wire.a.offer(&foreign).unwrap_err().code, Code::Options);
    wire.close();
    assert_eq!(wire.a.offer(&a2).unwrap_err().code, Code::Closed);
}
