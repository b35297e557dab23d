//! What no caller of the API can provoke, or not at will: a panic in the owner thread; what was on its way when a fork was
//! heard of.

use super::{
    Code, DatabaseOptions, EncryptionKey, Expect, FeedChoice, Location, Peer, PeerEvent, PeerOptions, Store,
    StoreOptions, Transport, Write,
};
use crate::feed::{self, FeedError, FeedRecord, Received};
use crate::merkle::{Head, Known, Node};
use crate::store::{Table, block_key};
use crate::types::FeedKey;
use std::sync::Arc;

fn memory() -> Store {
    Store::open(&Location::Memory, &StoreOptions::default()).unwrap()
}

fn put() -> Vec<Write> {
    vec![Write::Put {
        key: b"k".to_vec(),
        value: b"{}".to_vec(),
        base: None,
        diff: None,
        expect: Expect::Any,
    }]
}

fn options(transport: Transport) -> PeerOptions {
    let wake = Arc::new(|| {});
    PeerOptions { transport, live: true, download: true, upload: true, user_data: Vec::new(), wake }
}

fn carry(from: &Peer, to: &Peer) {
    while let Some(bytes) = from.pull(1 << 16) {
        let _ = to.receive(&bytes);
    }
}

#[test]
fn a_panic_stops_the_store_and_its_connections_and_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let location = Location::Path(dir.path().to_owned());
    let store = Store::open(&location, &StoreOptions::default()).unwrap();
    let db = store.database(DatabaseOptions::default()).wait().unwrap();
    let key = db.info().unwrap().key;
    db.write(put()).wait().unwrap();
    let other = memory();
    let joined =
        other.database(DatabaseOptions { key: Some(key), ..DatabaseOptions::default() }).wait().unwrap();
    let (there, here) = (
        joined.replicate(options(Transport::Initiator)).unwrap(),
        db.replicate(options(Transport::Responder)).unwrap(),
    );
    carry(&there, &here);
    carry(&here, &there);
    let shared = store.shared().unwrap();
    let before = shared.job(|_| Ok(()));
    let panicked = shared.job(|_| -> Result<(), _> { panic!("as the test wants") });
    let after = shared.job(|_| Ok(()));
    before.wait().ok();
    assert_eq!(panicked.wait().unwrap_err().code, Code::Corrupt);
    assert_eq!(after.wait().unwrap_err().code, Code::Corrupt);
    assert_eq!(db.write(put()).wait().unwrap_err().code, Code::Corrupt);
    assert!(db.get_entry(b"k", None).unwrap().is_some());
    let failed = |event: &PeerEvent| matches!(event, PeerEvent::Failed(error) if error.code == Code::Corrupt);
    // The connections hear of it after the replies.
    let start = std::time::Instant::now();
    while !here.take_events().iter().any(failed) {
        assert!(start.elapsed() < std::time::Duration::from_secs(10));
        std::thread::yield_now();
    }
    carry(&there, &here);
    carry(&here, &there);
    drop(shared);
    db.close().wait().unwrap();
    store.close().wait().unwrap();
    let store = Store::open(&location, &StoreOptions::default()).unwrap();
    let db = store.database(DatabaseOptions::default()).wait().unwrap();
    assert!(db.get_entry(b"k", None).unwrap().is_some());
    db.write(put()).wait().unwrap();
}

#[test]
fn nobody_holds_the_keys_of_an_encrypted_database_when_it_is_closed() {
    fn is_wiped_when_dropped<T: zeroize::ZeroizeOnDrop>() {}
    is_wiped_when_dropped::<zeroize::Zeroizing<[u8; 32]>>();
    is_wiped_when_dropped::<chacha20poly1305::XChaCha20Poly1305>();
    is_wiped_when_dropped::<ed25519_dalek::SigningKey>();
    for closes_store in [false, true] {
        let store = memory();
        let encryption_key = Some(EncryptionKey::new([1; 32]));
        let db = store.database(DatabaseOptions { encryption_key, ..DatabaseOptions::default() });
        let db = db.wait().unwrap();
        let sealing = db.inner().unwrap().open.space.sealing().clone();
        let wake = Arc::new(|| {});
        let events = db.subscribe(wake).unwrap();
        db.write(put()).wait().unwrap().remove(0).unwrap();
        assert!(db.get_entry(b"k", None).unwrap().is_some());
        assert!(db.state_hash().is_ok() && sealing.holders() > 1);
        if closes_store {
            store.close().wait().unwrap();
        } else {
            db.close().wait().unwrap();
        }
        drop((db, events));
        // The owner lets go when it has replied.
        let start = std::time::Instant::now();
        while sealing.holders() > 1 && start.elapsed() < std::time::Duration::from_secs(10) {
            std::thread::yield_now();
        }
        assert_eq!(sealing.holders(), 1, "closes_store: {closes_store}");
    }
}

#[test]
fn sealed_blocks_that_were_set_aside_wait_until_the_database_whose_they_are_is_open() {
    let store = memory();
    let options = DatabaseOptions {
        apply: true,
        encryption_key: Some(EncryptionKey::new([9; 32])),
        ..DatabaseOptions::default()
    };
    let db = store.database(options.clone()).wait().unwrap();
    let (id, old) = (db.inner().unwrap().open.id, db.info().unwrap().local);
    db.set_local([7; 32]).wait().unwrap();
    let feed = store.feed(FeedChoice::Key(old)).wait().unwrap();
    let length = feed.info().unwrap().length;
    let shared = store.shared().unwrap();
    // As when a peer showed another history of the feed that was written before.
    let set_aside = shared.job(move |work| {
        let sealing = work.database(id)?.space.sealing().blocks(old);
        let number = work.feed(&old)?.unwrap().id;
        let mut row = vec![0; 9];
        row.extend_from_slice(&sealing.seal(5, b"what it says", false).unwrap());
        work.txn.put(Table::Kept, &block_key(number, 5), &row)?;
        Ok(())
    });
    set_aside.wait().unwrap();
    db.close().wait().unwrap();
    shared.job(move |work| work.append_raw_again(old)).wait().unwrap();
    assert_eq!(feed.info().unwrap().length, length);
    let db = store.database(options).wait().unwrap();
    assert_eq!(feed.info().unwrap().length, length + 1);
    assert_eq!(feed.get(length).unwrap().as_deref(), Some(b"what it says".as_slice()));
    drop(db);
}

/// Blocks as they were sent, with a complete proof under the longest head there.
struct Sent {
    start: u64,
    head: Head,
    nodes: Vec<Node>,
    blocks: Vec<Vec<u8>>,
}

impl Sent {
    fn of(store: &Store, key: FeedKey, range: (u64, u64)) -> Self {
        let job = move |work: &mut super::engine::Work<'_, '_>| {
            let record = feed::load(&*work.txn, &key)?.unwrap();
            let head = record.head.unwrap();
            let sent = feed::prove(&*work.txn, &record, range, u64::MAX, &head, Known::Nothing)?;
            let blocks = sent.blocks.iter().map(|block| block.to_vec()).collect();
            Ok(Self { start: sent.start, head, nodes: sent.nodes, blocks })
        };
        store.shared().unwrap().job(job).wait().unwrap()
    }

    fn received(&self) -> Received<'_> {
        let Head { length, byte_length, signature, .. } = self.head;
        let (nodes, blocks) = (self.nodes.clone(), self.blocks.iter().map(Vec::as_slice).collect());
        Received { start: self.start, length, byte_length, signature, nodes, blocks, extending: false }
    }

    /// What comes of it elsewhere, and of the feed's record there.
    fn to(self, store: &Store, key: FeedKey) -> (Result<(), FeedError>, FeedRecord) {
        let job = move |work: &mut super::engine::Work<'_, '_>| {
            let taken = work.ingest(key, &self.received())?;
            let record = feed::load(&*work.txn, &key)?.unwrap();
            assert_eq!(work.feed(&key)?, Some(&mut record.clone()));
            Ok((taken, record))
        };
        store.shared().unwrap().job(job).wait().unwrap()
    }
}

#[test]
fn what_was_on_its_way_when_a_fork_was_heard_of_leaves_what_is_here_covered() {
    const COMMON: u64 = 15;
    let [one, two, here] = [memory(), memory(), memory()];
    let feeds = [&one, &two].map(|store| store.feed(FeedChoice::Secret([7; 32])).wait().unwrap());
    let key = feeds[0].key();
    let blocks = |branch: u8| (0..20).map(move |n| vec![if u64::from(n) < COMMON { 0 } else { branch }, n]);
    feeds[0].append(blocks(1).take(5).collect()).wait().unwrap();
    let early = Sent::of(&one, key, (0, 5));
    feeds[0].append(blocks(1).skip(5).collect()).wait().unwrap();
    feeds[1].append(blocks(2).collect()).wait().unwrap();
    let _open = here.feed(FeedChoice::Key(key)).wait().unwrap();
    let (taken, record) = Sent::of(&one, key, (0, 10)).to(&here, key);
    taken.unwrap();
    assert_eq!((record.length, record.complete(), record.served()), (10, 0, 10));
    // Less than what is common is here.
    let other = Sent::of(&two, key, (COMMON, COMMON + 1));
    let parting = one.shared().unwrap().job(move |work| {
        let record = feed::load(&*work.txn, &key)?.unwrap();
        Ok(feed::parting(&*work.txn, &record, &other.received())?)
    });
    let parting = parting.wait().unwrap();
    let told = here.shared().unwrap().job(move |work| work.hear_fork(key, &parting));
    told.wait().unwrap().unwrap();
    let forked = FeedRecord { forked: true, ..record };
    // Blocks that are here already, under a longer head of either history, say nothing new.
    for from in [&one, &two] {
        let (taken, record) = Sent::of(from, key, (0, 5)).to(&here, key);
        taken.unwrap();
        assert_eq!(record, forked);
    }
    // Under a head that is complete here they bring that, and the rest stays covered as it was.
    let head = early.head;
    let (taken, record) = early.to(&here, key);
    taken.unwrap();
    assert_eq!(record, FeedRecord { head: Some(head), ..forked });
    assert_eq!((record.complete(), record.served()), (5, 10));
    // More of what is common comes under the other history's head, and is covered by that.
    let sent = Sent::of(&two, key, (10, 12));
    let head = sent.head;
    let (taken, record) = sent.to(&here, key);
    taken.unwrap();
    assert_eq!((record.length, record.complete(), record.served()), (12, 5, 12));
    assert_eq!(record.cover, Some(head));
    let report = here.verify(|_| ()).wait().unwrap();
    assert!(report.is_clean(), "{:?}", report.damages);
}
