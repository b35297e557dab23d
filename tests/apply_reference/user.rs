//! A user's `apply`, deterministic: what a batch does follows from its values and from the view before it. The reference
//! runs it over a map, the tests over what the code under test says the view is.
//!
//! Values are commands: `mix k n` (a number made of n, what k held and what k0 holds), `put k n`, `del k`,
//! `add <feed>`, `add <feed> indexer`, `rm <feed>`, `lost <feed>`, `if k <parity> <command>`, `ack k` (acknowledges
//! the batch if k holds an even number or nothing).

use multi_hyperbee::types::FeedKey;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Grant(FeedKey, bool),
    Revoke(FeedKey),
    Lost(FeedKey),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    pub writes: BTreeMap<String, Option<String>>,
    pub asks: Vec<Ask>,
}

struct Run<R> {
    read: R,
    done: Done,
    acknowledged: bool,
}

/// None: it is rejected.
pub fn apply(values: &[String], optimistic: bool, read: impl Fn(&str) -> Option<String>) -> Option<Done> {
    let mut run = Run { read, done: Done::default(), acknowledged: false };
    for value in values {
        let words: Vec<&str> = value.split(' ').collect();
        run.command(&words);
    }
    (!optimistic || run.acknowledged).then_some(run.done)
}

impl<R: Fn(&str) -> Option<String>> Run<R> {
    fn number(&self, key: &str) -> u64 {
        let text = self.done.writes.get(key).cloned().unwrap_or_else(|| (self.read)(key));
        text.map_or(0, |text| text.parse().unwrap())
    }

    fn command(&mut self, words: &[&str]) {
        let feed = || FeedKey(hex::decode(words[1]).unwrap().try_into().unwrap());
        match words[0] {
            "mix" => {
                let n: u64 = words[2].parse().unwrap();
                let value = (self.number(words[1]) * 31 + self.number("k0") + n) % 1_000_003;
                self.done.writes.insert(words[1].into(), Some(value.to_string()));
            }
            "put" => drop(self.done.writes.insert(words[1].into(), Some(words[2].into()))),
            "del" => drop(self.done.writes.insert(words[1].into(), None)),
            "add" => self.done.asks.push(Ask::Grant(feed(), words.len() > 2)),
            "rm" => self.done.asks.push(Ask::Revoke(feed())),
            "lost" => self.done.asks.push(Ask::Lost(feed())),
            "if" if (self.number(words[1]) % 2).to_string() == words[2] => self.command(&words[3..]),
            "ack" => self.acknowledged |= self.number(words[1]).is_multiple_of(2),
            "if" => {}
            other => panic!("{other} is no command"),
        }
    }
}
