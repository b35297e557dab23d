//! The process that is killed, and its parent's side of it.

use crate::line::Line;
use crate::{open, support};
use multi_hyperbee::db::Keep;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const DIR: &str = "MULTI_HYPERBEE_CRASH_DIR";

/// What a process has said it wrote.
#[derive(Clone, Default)]
pub struct Acks {
    pub written: Vec<u64>,
    /// Length of its feed as last acknowledged.
    pub length: u64,
    /// Numbers below this may have been used.
    pub reached: u64,
}

pub struct Child {
    process: std::process::Child,
    listener: TcpListener,
    acks: Arc<Mutex<Acks>>,
    reader: JoinHandle<()>,
}

/// A test of this very program, in a process of its own.
pub fn command() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_child_of_another_test", "--nocapture"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

impl Child {
    pub fn start(dir: &Path, name: &str, next: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut process = command()
            .env(DIR, dir)
            .env("MULTI_HYPERBEE_CRASH_NAME", name)
            .env("MULTI_HYPERBEE_CRASH_NEXT", next.to_string())
            .env("MULTI_HYPERBEE_CRASH_PORT", listener.local_addr().unwrap().port().to_string())
            .spawn()
            .unwrap();
        let acks = Arc::new(Mutex::new(Acks { reached: next, ..Acks::default() }));
        let said = BufReader::new(process.stderr.take().unwrap());
        let heard = Arc::clone(&acks);
        let reader = std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                hear(&mut heard.lock().unwrap(), &line);
            }
        });
        Self { process, listener, acks, reader }
    }

    pub fn accept(&self) -> Option<TcpStream> {
        self.listener.accept().ok().map(|(stream, _)| stream)
    }

    pub fn acks(&self) -> Acks {
        self.acks.lock().unwrap().clone()
    }

    pub fn kill(&mut self) {
        // SIGKILL.
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// All that it said before it died.
    pub fn finish(self) -> Acks {
        self.reader.join().unwrap();
        self.acks.lock().unwrap().clone()
    }
}

/// A line that was cut short is no acknowledgement: its end is missing.
fn hear(acks: &mut Acks, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["try", n, "."] => acks.reached = acks.reached.max(n.parse::<u64>().unwrap() + 1),
        ["ack", n, length, "."] => {
            acks.written.push(n.parse().unwrap());
            acks.length = acks.length.max(length.parse().unwrap());
        }
        _ => assert!(!line.contains("panicked"), "{line}"),
    }
}

/// Writes and replicates until it is killed. Does nothing unless it was started for that.
pub fn run() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let variable = |name: &str| std::env::var(format!("MULTI_HYPERBEE_CRASH_{name}")).unwrap();
    let (name, next) = (variable("NAME"), variable("NEXT").parse().unwrap());
    let stream = TcpStream::connect(("127.0.0.1", variable("PORT").parse::<u16>().unwrap())).unwrap();
    let (store, db) = open(Path::new(&dir), None);
    let next = Arc::new(AtomicU64::new(next));
    // Three threads, so that commits are shared.
    for _ in 0..3 {
        let (db, next, name) = (db.clone(), Arc::clone(&next), name.clone());
        std::thread::spawn(move || {
            loop {
                let n = next.fetch_add(1, Ordering::SeqCst);
                eprintln!("try {n} .");
                let own = support::put(&db, &format!("{name} {n}"), &format!(r#"{{"n":{n}}}"#));
                eprintln!("ack {n} {} .", length(&own));
                // A key that both write to, so that late diffs are folded in.
                support::put(&db, "shared", &format!(r#"{{"{name}":{n},"list":[{}]}}"#, n % 7));
            }
        });
    }
    // Old versions go meanwhile, and now and then the file is another.
    let compacting = db.clone();
    std::thread::spawn(move || {
        loop {
            compacting.compact(Some(Keep::Versions(20)), |_| ()).wait().unwrap();
            store.compact(|_| ()).wait().unwrap();
            std::thread::sleep(Duration::from_millis(15));
        }
    });
    let mut line = Line::new(stream, &db, true);
    let started = Instant::now();
    while started.elapsed() < Duration::from_mins(2) {
        line.carry();
        std::thread::sleep(Duration::from_micros(200));
    }
}

fn length(written: &multi_hyperbee::db::Written) -> u64 {
    match written {
        multi_hyperbee::db::Written::Yes { length, .. } => *length,
        _ => 0,
    }
}
