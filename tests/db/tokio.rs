//! The Rust API over tokio streams, and its events as streams.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test says so by panicking")]

use crate::support::*;
use futures::StreamExt as _;
use multi_hyperbee::db::{Event, Range, Transport};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_databases_sync_once_over_tcp_and_both_ends_finish() {
    let (s1, s2) = (memory(), memory());
    let a = create(&s1);
    for index in 0..500 {
        put(&a, &format!("k{index}"), r#"{"v":1}"#);
    }
    let b = join(&s2, a.info().unwrap().key);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = {
        let a = a.clone();
        async move {
            let (stream, _) = listener.accept().await.unwrap();
            a.replicate_over(stream, Transport::Responder, false).await
        }
    };
    let client = {
        let b = b.clone();
        async move {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            b.replicate_over(stream, Transport::Initiator, false).await
        }
    };
    let (server, client) = tokio::join!(tokio::spawn(server), tokio::spawn(client));
    server.unwrap().unwrap();
    client.unwrap().unwrap();
    assert_eq!(a.state_hash().unwrap(), b.state_hash().unwrap());
    assert_eq!(get(&b, "k499").as_deref(), Some(r#"{"v":1}"#));
}

#[tokio::test]
async fn events_are_a_stream() {
    let store = memory();
    let db = create(&store);
    let mut events = db.subscribe(Arc::new(|| {})).unwrap();
    put(&db, "k", "{}");
    let updates = async {
        while let Some(event) = events.next().await {
            if let Event::Update { from, to } = event {
                return (from, to);
            }
        }
        unreachable!("the stream of an open database does not end")
    };
    assert_eq!(updates.await, (0, 1));
}

#[tokio::test]
async fn scans_history_and_progress_are_streams() {
    let store = memory();
    let db = create(&store);
    for index in 0..600 {
        put(&db, &format!("k{index:03}"), "{}");
    }
    del(&db, "k000");
    let keys: Vec<_> = db.scan(Range::default(), None).unwrap().into_stream().collect().await;
    assert_eq!(keys.len(), 599);
    assert_eq!(keys[0].as_ref().unwrap().key, b"k001");
    let history: Vec<_> = db.history(1, None, true).unwrap().into_stream().collect().await;
    assert_eq!(history.len(), 601);
    assert!(!history[0].as_ref().unwrap().put);
    let mut progress = Box::pin(db.progress_stream().unwrap());
    assert_eq!(progress.next().await.unwrap()[0].placed, 602);
    put(&db, "more", "{}");
    assert_eq!(progress.next().await.unwrap()[0].placed, 603);
}
