//! How a feed is asked of several peers at once (docs/design/feed.md, F5 to F9), seen by peers that do as each test says.

use crate::attacker::*;
use crate::scene::Scene;
use multi_hyperbee::codec::Reader;
use multi_hyperbee::types::FeedKey;

const CANCEL: u8 = 12;
/// Blocks of the first window asked of anybody, as src/db/windows.rs has it.
const FIRST: u64 = 32;
const SEED: u8 = 8;
/// As src/db/peer has it.
const STALL_PATIENCE: u32 = 10;

/// A feed that the victim wants, of blocks of one size.
struct Feeding {
    scene: Scene,
    blocks: Vec<Vec<u8>>,
    feeds: Vec<FeedKey>,
}

impl Feeding {
    fn new(count: usize, size: usize) -> Self {
        Self::of(&[SEED], count, size)
    }

    /// So many feeds of the same blocks.
    fn of(seeds: &[u8], count: usize, size: usize) -> Self {
        let mut scene = Scene::new();
        let feeds: Vec<FeedKey> = seeds.iter().map(|seed| Feed::new(*seed, Vec::new()).key()).collect();
        for feed in &feeds {
            scene.a.add_writer(*feed, false).wait().unwrap();
        }
        scene.undisturbed();
        let blocks = (0..count).map(|n| vec![u8::try_from(n % 251).unwrap(); size]).collect();
        Self { scene, blocks, feeds }
    }

    /// Who has all of them.
    fn peer(&self) -> Attacker {
        let mut peer = Attacker::member(&self.scene.a);
        let length = self.blocks.len() as u64;
        peer.announce(&self.feeds.iter().map(|feed| (*feed, length)).collect::<Vec<_>>());
        peer
    }

    /// Brings blocks that were asked for by a request, a message of eight at a time. False: the victim asked for a pause.
    fn bring(&self, peer: &mut Attacker, feed: usize, request: usize, (from, to): (u64, u64)) -> bool {
        let seed = SEED + u8::try_from(feed).unwrap();
        let mut ready = true;
        for start in (from..to).step_by(8) {
            let end = usize::try_from(to.min(start + 8)).unwrap();
            let message = Feed::new(seed, self.blocks[..end].to_vec()).from(usize::try_from(start).unwrap());
            ready &= peer.say(BLOCKS, &message.encode(feed as u64, request as u64 + 1));
        }
        self.scene.settle();
        ready
    }

    fn have(&self) -> u64 {
        self.scene.have(&self.feeds[0]).unwrap()
    }

    /// Bytes that a peer has brought and that wait.
    fn waiting(&self, peer: &Attacker) -> u64 {
        let peers = self.scene.a.sync_status().unwrap().peers;
        peers.iter().find(|status| status.id == peer.peer.id()).unwrap().unstored
    }
}

/// What a peer was asked for: feed, from, to; in the order of the requests.
fn requests(peer: &mut Attacker) -> Vec<(u64, u64, u64)> {
    peer.read();
    let of = |body: &Vec<u8>| {
        let mut reader = Reader::new(body);
        let mut next = || reader.varint("a number").unwrap();
        (next(), next(), next())
    };
    peer.heard.iter().filter(|(tag, _)| *tag == REQUEST).map(|(_, body)| of(body)).collect()
}

#[test]
fn f5_f6_one_window_each_until_some_of_it_has_come_then_two_and_none_twice() {
    let feeding = Feeding::new(400, 10 << 10);
    let [mut one, mut two] = [feeding.peer(), feeding.peer()];
    assert_eq!(requests(&mut one), [(0, 0, FIRST)]);
    assert_eq!(requests(&mut two), [(0, FIRST, 2 * FIRST)]);
    // What comes ahead waits, and is asked of nobody else.
    feeding.bring(&mut two, 0, 0, (FIRST, 2 * FIRST));
    assert_eq!(feeding.have(), 0);
    let asked = requests(&mut two);
    assert_eq!((asked.len(), asked[1].1), (3, 2 * FIRST), "two more are on their way: {asked:?}");
    feeding.bring(&mut one, 0, 0, (0, 8));
    assert_eq!((feeding.have(), requests(&mut one).len()), (8, 2));
    feeding.bring(&mut one, 0, 0, (8, FIRST));
    assert_eq!(feeding.have(), 2 * FIRST);
    let mut all = [requests(&mut one), requests(&mut two)].concat();
    all.sort_unstable();
    assert!(all.is_sorted_by(|(_, _, end), (_, start, _)| end <= start), "{all:?}");
}

#[test]
fn f7_the_rest_of_a_window_that_holds_up_others_is_taken_over_its_holder_is_told_and_asked_last() {
    let feeding = Feeding::new(300, 100 << 10);
    let [mut slow, mut fast] = [feeding.peer(), feeding.peer()];
    assert_eq!(requests(&mut slow), [(0, 0, FIRST)]);
    feeding.bring(&mut slow, 0, 0, (0, 1));
    let mut answered = 0;
    let mut most = 0;
    loop {
        let asked = requests(&mut fast);
        let (_, start, end) = asked[answered];
        if start < FIRST {
            assert_eq!((start, end), (1, FIRST));
            break;
        }
        // F7: nothing is asked for that is more than 6 MiB ahead.
        assert!((start - 1) * (100 << 10) < 6 << 20, "{asked:?}");
        feeding.bring(&mut fast, 0, answered, (start, end));
        (answered, most) = (answered + 1, most.max(end));
    }
    assert_eq!(feeding.have(), 1);
    assert!((most - 1) * (100 << 10) >= 6 << 20, "others go as far ahead as they may: {most}");
    let before = requests(&mut slow).len();
    assert_eq!(slow.count(CANCEL), 0);
    feeding.bring(&mut slow, 0, 0, (1, 2));
    slow.read();
    assert_eq!(slow.count(CANCEL), 1, "it is told with what it brings in vain");
    assert_eq!(requests(&mut slow).len(), before, "and asked for nothing while another is at it");
    feeding.bring(&mut fast, 0, answered, (1, FIRST));
    assert_eq!(feeding.have(), most);
    // When the others give up it is asked like anybody.
    for request in answered + 1..requests(&mut fast).len() {
        fast.say(REFUSE, &varints(&[request as u64]));
    }
    feeding.scene.settle();
    let asked = requests(&mut slow);
    assert_eq!((asked.len(), asked[before].1), (before + 1, most), "{asked:?}");
}

#[test]
fn f7_what_comes_late_and_before_others_were_asked_for_it_is_taken() {
    let feeding = Feeding::new(100, 10 << 10);
    let [mut one, mut two] = [feeding.peer(), feeding.peer()];
    assert_eq!(requests(&mut one), [(0, 0, FIRST)]);
    assert_eq!(requests(&mut two), [(0, FIRST, 2 * FIRST)]);
    for _ in 0..=STALL_PATIENCE {
        one.peer.tick();
    }
    // The other one has its window, so nobody was asked yet.
    assert_eq!(requests(&mut two).len(), 1);
    feeding.bring(&mut one, 0, 0, (0, 8));
    assert_eq!(feeding.have(), 8);
    feeding.bring(&mut two, 0, 0, (FIRST, 2 * FIRST));
    let mut asked = [requests(&mut one), requests(&mut two)].concat();
    asked.sort_unstable();
    // What is left of its window is asked for again, of anybody, and nothing else.
    assert_eq!([asked[0], asked[1]].map(|(_, start, _)| start), [0, 8], "{asked:?}");
    assert!(asked[1..].is_sorted_by(|(_, _, end), (_, start, _)| end <= start), "{asked:?}");
}

#[test]
fn f8_what_waits_of_one_feed_and_another_keeps_no_connection_from_being_read() {
    let feeding = Feeding::of(&[SEED, SEED + 1, SEED + 2], 200, 100 << 10);
    let [mut slow, mut fast] = [feeding.peer(), feeding.peer()];
    let first = requests(&mut slow);
    assert!(first.len() == 3 && first.iter().all(|(_, start, end)| (*start, *end) == (0, FIRST)));
    let mut brought = 0;
    let mut held_back = 0;
    let mut asked = requests(&mut fast);
    while brought < 40 && brought < asked.len() {
        let (feed, start, end) = asked[brought];
        let feed = usize::try_from(feed).unwrap();
        held_back += usize::from(!feeding.bring(&mut fast, feed, brought, (start, end)));
        assert!(fast.peer.ready_for_more(), "it is held back for what waits");
        brought += 1;
        asked = requests(&mut fast);
    }
    assert!(held_back > 0, "so much of both came that it was");
    assert_eq!(fast.failed(), None);
    // And all of it comes in the end.
    for (request, (feed, start, end)) in first.into_iter().enumerate() {
        feeding.bring(&mut slow, usize::try_from(feed).unwrap(), request, (start, end));
    }
    assert!(feeding.have() >= FIRST);
}

#[test]
fn f8_what_waits_for_what_nobody_brings_is_asked_for_again() {
    for refuses in [true, false] {
        let feeding = Feeding::new(FIRST as usize * 2, 10);
        let [mut one, mut two] = [feeding.peer(), feeding.peer()];
        assert_eq!(requests(&mut one), [(0, 0, FIRST)]);
        let asked = requests(&mut two);
        for (request, (_, start, end)) in asked.iter().enumerate() {
            feeding.bring(&mut two, 0, request, (*start, *end));
        }
        let asked = requests(&mut two).len();
        assert!(feeding.waiting(&two) > 0);
        if refuses {
            one.say(REFUSE, &[0]);
        } else {
            // Blocks that are not what the feed's key has signed.
            let lie = Feed::new(SEED + 1, feeding.blocks[..8].to_vec()).whole();
            one.say(BLOCKS, &lie.encode(0, 1));
        }
        feeding.scene.settle();
        assert_eq!(feeding.waiting(&two), 0, "what waited is looked at as it is");
        // Nobody's clock moves on.
        let mut answered = asked;
        for _ in 0..50 {
            feeding.scene.settle();
            let now = requests(&mut two);
            for (request, (_, start, end)) in now.iter().enumerate().skip(answered) {
                feeding.bring(&mut two, 0, request, (*start, *end));
            }
            answered = now.len();
        }
        assert_eq!(feeding.have(), 2 * FIRST, "refuses: {refuses}");
        assert_eq!((one.failed().is_some(), two.failed()), (!refuses, None));
    }
}

#[test]
fn f9_where_two_branches_part_is_searched_for_over_one_connection_alone() {
    let feeding = Feeding::new(10, 10);
    let mut honest = feeding.peer();
    assert_eq!(requests(&mut honest), [(0, 0, 10)]);
    feeding.bring(&mut honest, 0, 0, (0, 10));
    assert_eq!(feeding.have(), 10);
    // Both show another root at the length that is here.
    let [mut one, mut two] = [feeding.peer(), feeding.peer()];
    feeding.scene.settle();
    assert_eq!([requests(&mut one).len(), requests(&mut two).len()], [1, 0]);
    one.peer.ended();
    feeding.scene.settle();
    two.peer.tick();
    assert_eq!(requests(&mut two).len(), 1, "another goes on with it");
    honest.read();
    assert_eq!(honest.failed(), None);
}
