//! What is fuzzed: one function for each target, from bytes to nothing. What it finds wrong is a panic. `tests/fuzz.rs`
//! calls them in every `cargo test`, `main.rs` under libFuzzer.

mod bytes;
mod decoders;
mod diff;
mod fold;
mod measure;
mod order;
mod pages;
mod proofs;
mod session;
mod texts;
mod view;

pub struct Target {
    pub name: &'static str,
    function: fn(&[u8]),
    /// How much may be allocated in all for one input: a constant, and so much for each of its bytes. Freed or not, so
    /// it bounds work as well as memory, and is the same on every machine.
    allocates: (u64, u64),
    /// The longest input that makes sense.
    pub longest: usize,
    /// How many made-up inputs `cargo test` tries: fewer of the slow ones.
    #[allow(dead_code, reason = "libFuzzer knows no end")]
    pub inputs: u32,
}

impl Target {
    pub fn run(&self, bytes: &[u8]) {
        let bytes = bytes.get(..self.longest).unwrap_or(bytes);
        let before = measure::allocated();
        (self.function)(bytes);
        let allocated = measure::allocated() - before;
        let limit = self.allocates.0 + self.allocates.1 * bytes.len() as u64;
        assert!(allocated <= limit, "{} bytes of input make {allocated} bytes of memory", bytes.len());
    }
}

const fn target(
    name: &'static str,
    function: fn(&[u8]),
    allocates: (u64, u64),
    longest: usize,
    inputs: u32,
) -> Target {
    Target { name, function, allocates, longest, inputs }
}

const KIB: u64 = 1 << 10;

pub const ALL: [Target; 16] = [
    target("entry", decoders::entry, (KIB, 100), 4_096, 3_000),
    target("rows", decoders::rows, (2 * KIB, 300), 2_048, 3_000),
    target("states", decoders::states, (KIB, 300), 2_048, 3_000),
    target("messages", decoders::messages, (KIB, 100), 4_096, 3_000),
    target("access", decoders::access, (KIB, 100), 1_024, 1_000),
    target("texts", texts::texts, (8 * KIB, 300), 256, 3_000),
    target("invites", texts::invites, (16 * KIB, 100), 256, 3_000),
    target("json", texts::json, (8 * KIB, 2_000), 2_048, 1_500),
    target("proofs", proofs::proofs, (64 * KIB, 200), 1_024, 1_500),
    target("parting", proofs::parting, (64 * KIB, 200), 4_096, 500),
    target("session", session::session, (1 << 20, 16 * KIB), 2_048, 200),
    target("diff", diff::diff, (2 << 20, 8 * KIB), 1_024, 500),
    target("fold", fold::fold, (64 * KIB, 64 * KIB), 1_024, 300),
    target("view", view::view, (1 << 20, 64 * KIB), 512, 100),
    target("order", order::order, (1 << 20, 512 * KIB), 256, 100),
    target("pages", pages::pages, (4 << 20, 100), 16_384, 500),
];
