//! **What.** What was asked of a feed over one connection and is not stored yet, and where the search for the place is in
//! which two branches part. Asks for nothing itself (`fetch`), and knows no blocks. In memory only.

use crate::wire::RequestId;
use std::collections::BTreeMap;

/// An open request.
pub(super) struct Asked {
    /// What of it has not come: from, to (exclusive).
    pub rest: (u64, u64),
    /// It was given up: another connection brings it.
    pub is_cancelled: bool,
    /// The tick in which it was asked for.
    pub since: u32,
}

/// What was asked of a feed over this connection and is not stored yet.
#[derive(Default)]
pub(super) struct Inflight {
    pub(super) requests: BTreeMap<RequestId, Asked>,
    /// The tick in which it was asked for, or something of it last came.
    pub(super) asked_at: u32,
    /// It was refused: others may ask first whoever has it.
    pub(super) yields: bool,
    /// Messages whose blocks wait for what is before them, or for the owner thread.
    pub(super) storing: u32,
    /// Where the next request begins instead of at the end of what is here.
    pub(super) again: Option<u64>,
    /// How far back the last request went whose answer was doubted. It doubles, so that a liar is soon found out.
    back: u64,
    /// A doubted answer was followed by a request from block 0 on.
    was_asked_all: bool,
    /// The block in which two branches part, which alone with its proof shows that to others too.
    pub(super) parts_at: Option<u64>,
}

impl Inflight {
    /// What was asked for and has not come.
    pub fn asked(&self) -> Option<(u64, u64)> {
        let rests = || self.requests.values().map(|asked| asked.rest);
        Some((rests().map(|(from, _)| from).min()?, rests().map(|(_, to)| to).max()?))
    }

    pub fn is_asked(&self) -> bool {
        !self.requests.is_empty()
    }

    /// Whether something has been asked for since a tick, or longer.
    pub fn is_asked_since(&self, tick: u32) -> bool {
        self.requests.values().any(|asked| asked.since <= tick)
    }

    /// What was asked for is as if it had been asked for now.
    pub fn ask_anew(&mut self, tick: u32) {
        self.requests.values_mut().for_each(|asked| asked.since = tick);
    }

    /// The search for the place where two branches part is over; what was asked for is still on its way.
    pub fn unsaid(self) -> Self {
        Self { again: None, parts_at: None, back: 0, was_asked_all: false, ..self }
    }

    pub fn is_storing(&self) -> bool {
        self.storing > 0
    }

    pub fn is_idle(&self) -> bool {
        self.requests.is_empty() && self.storing == 0
    }

    /// What is here has grown, or another branch has shown itself: the place where two branches part is searched for anew,
    /// from `from` on.
    pub fn search_anew(&mut self, from: u64) {
        (self.again, self.back, self.was_asked_all) = (Some(from), 0, false);
    }

    /// What follows `start` fits nothing here: a fork before it, or a lie. Blocks that are here are asked for once more:
    /// under the other branch's head they show where the two part. False: there is nothing further back.
    pub fn doubt(&mut self, start: u64) -> bool {
        if self.again.is_some_and(|again| again < start) {
            return true;
        }
        if start == 0 || self.was_asked_all {
            return false;
        }
        self.back = self.back.saturating_mul(2).max(1);
        let again = start.saturating_sub(self.back);
        self.was_asked_all = again == 0;
        self.again = Some(again);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Inflight;

    #[test]
    fn a_doubted_peer_is_asked_further_and_further_back_and_a_liar_soon_no_more() {
        let mut inflight = Inflight::default();
        let mut asked = Vec::new();
        // It answers truly wherever it is asked again, and lies about what follows block 1,000.
        while inflight.doubt(1_000) {
            asked.push(inflight.again);
            assert!(inflight.doubt(1_001), "what was on its way behind the first lie says nothing new");
            inflight.again = Some(1_000);
        }
        let expected = [999, 998, 996, 992, 984, 968, 936, 872, 744, 488, 0];
        assert_eq!(asked, expected.map(Some));
    }

    #[test]
    fn doubt_upon_doubt_ends_at_block_0_whatever_the_length() {
        for length in 1..300 {
            let (mut inflight, mut start) = (Inflight::default(), length);
            while inflight.doubt(start) {
                start = inflight.again.unwrap();
            }
            assert_eq!(start, 0);
        }
    }

    #[test]
    fn a_search_that_proved_nothing_begins_anew_when_more_is_here() {
        let mut inflight = Inflight::default();
        while inflight.doubt(6) {
            inflight.again = Some(6);
        }
        inflight.search_anew(6);
        assert!(inflight.doubt(6), "a fork that could not be proved yet is no lie");
        assert_eq!(inflight.again, Some(5));
    }

    #[test]
    fn a_proof_that_stands_on_nothing_of_ours_is_no_fork() {
        assert!(!Inflight::default().doubt(0));
    }
}
