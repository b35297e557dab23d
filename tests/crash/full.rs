//! A disk that fills while a process writes and receives: a file system of some megabytes, and a limit on the length of
//! files.

use crate::child::command;
use crate::{must_be_clean, open, support};
use multi_hyperbee::db::{Code, Db, Store};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DIR: &str = "MULTI_HYPERBEE_FULL_DIR";

/// Writes until it is refused, and says how. Does nothing unless it was started for that.
pub fn run() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let (store, db) = open(Path::new(&dir), None);
    let mut acknowledged = 0;
    let refused = loop {
        match write(&db, acknowledged) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.code, Code::DiskFull, "{refused}");
    assert!(refused.message.contains("nothing committed is lost"), "{refused}");
    // Reading goes on, and what was refused left nothing.
    must_hold(&db, acknowledged);
    must_be_clean(&store, "the full store");
    store.close().wait().unwrap();
    eprintln!("\nacknowledged {acknowledged}");
}

fn write(db: &Db, n: u64) -> Result<(), multi_hyperbee::db::Error> {
    let text = "x".repeat(usize::try_from(n * 37 % 3_000).unwrap());
    let put = support::put_write(&format!("key {n}"), &format!(r#"{{"n":{n},"text":"{text}"}}"#));
    db.write(vec![put]).wait()?.remove(0).map(|_| ())
}

fn must_hold(db: &Db, acknowledged: u64) {
    for n in 0..acknowledged {
        let text = support::get(db, &format!("key {n}")).unwrap();
        assert!(text.starts_with(&format!(r#"{{"n":{n},"#)), "{text}");
    }
    assert_eq!(support::get(db, &format!("key {acknowledged}")), None);
}

/// A file system of a few megabytes, gone when dropped.
struct Small(PathBuf);

impl Small {
    /// None where nothing may be mounted.
    fn mount(dir: &Path, size: &str) -> Option<Self> {
        let dir = dir.to_owned();
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], &dir).then_some(Self(dir))
    }

    fn grow(&self, size: &str) {
        assert!(mount(&["-o", &format!("remount,size={size}")], &self.0));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn mount(options: &[&str], dir: &Path) -> bool {
    let mounted = Command::new("mount").args(options).arg(dir).stderr(Stdio::null()).status();
    mounted.is_ok_and(|status| status.success())
}

/// Runs the writing process under a shell's preparation; returns how many writes were acknowledged.
fn fill(dir: &Path, preparation: &str) -> u64 {
    let program = command();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{preparation} exec \"$0\" \"$@\"")]).arg(program.get_program());
    shell.args(program.get_args()).env(DIR, dir).stdin(Stdio::null()).stdout(Stdio::null());
    let output = shell.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let count = said.lines().find_map(|line| line.strip_prefix("acknowledged ")).unwrap();
    count.parse().unwrap()
}

/// After there is room again: all is there, and it can be written to.
fn must_go_on(dir: &Path, acknowledged: u64) -> (Store, Db) {
    assert!(acknowledged > 100, "{acknowledged}");
    let (store, db) = open(dir, None);
    must_hold(&db, acknowledged);
    must_be_clean(&store, "the store that was full");
    for n in acknowledged..acknowledged + 500 {
        write(&db, n).unwrap();
    }
    must_be_clean(&store, "the store that has room again");
    (store, db)
}

/// A limit on the length of files stands in for the disk; without the signal it is an error of the write.
const LIMIT: &str = "trap '' XFSZ; ulimit -f 6000;";

#[test]
fn at_the_limit_of_a_files_length_nothing_is_lost_and_with_room_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let acknowledged = fill(dir.path(), LIMIT);
    must_go_on(dir.path(), acknowledged).0.close().wait().unwrap();
}

#[test]
fn on_a_full_file_system_nothing_is_lost_and_with_room_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let small = Small::mount(dir.path(), "3m");
    if small.is_none() {
        eprintln!(
            "nothing may be mounted here: a limit on the length of files stands in for the file system"
        );
    }
    let acknowledged = fill(dir.path(), if small.is_some() { "" } else { LIMIT });
    if let Some(small) = &small {
        small.grow("64m");
    }
    let (store, db) = must_go_on(dir.path(), acknowledged);
    // A replica on a disk of its own that is too small for what it receives.
    if let Some(small) = &small {
        small.grow("256m");
        receive_too_much(&db);
    }
    drop(db);
    store.close().wait().unwrap();
}

/// The connection fails, what was received stays, and with room the rest comes.
fn receive_too_much(from: &Db) {
    let dir = tempfile::tempdir().unwrap();
    let small = Small::mount(dir.path(), "1500k").unwrap();
    let (store, db) = open(dir.path(), Some(from.info().unwrap().key));
    let wire = support::connect(from, &db);
    let mut refused = Vec::new();
    support::carry_until(&[&wire], || {
        refused.extend(wire.b.take_events());
        refused.iter().any(|event| matches!(event, multi_hyperbee::db::PeerEvent::Failed(_)))
    });
    assert!(format!("{refused:?}").contains("DiskFull"), "{refused:?}");
    must_be_clean(&store, "the replica without room");
    small.grow("64m");
    let wire = support::connect(from, &db);
    let local = from.info().unwrap().local;
    let length = from.progress().unwrap().iter().find(|feed| feed.key == local).unwrap().placed;
    support::carry_until(&[&wire], || db.applied(&local, length).unwrap());
    assert_eq!(db.state_hash().unwrap(), from.state_hash().unwrap());
    must_be_clean(&store, "the replica that has room again");
    store.close().wait().unwrap();
}
