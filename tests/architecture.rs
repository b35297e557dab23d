//! The layout of `docs/design.md` as a test: imports go down only, LMDB is named in `store` alone and Node in `bindings`
//! alone, and what must be a pure function of its input reads no clock, randomness, thread, file or unordered map.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that finds something unexpected should stop"
)]

#[path = "architecture/scan.rs"]
mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every module of the crate. `lib.rs` only lists them.
const RANKS: &[(u8, &[&str])] = &[
    (0, &["codec", "types", "fault"]),
    (1, &["clock", "merkle", "crdt", "entry", "causal", "seal", "wire"]),
    (2, &["store"]),
    (3, &["feed", "order", "view", "apply"]),
    (4, &["db"]),
    (5, &["bindings"]),
];

/// Up to this rank a module is pure; such modules may use each other, but not in a circle.
const PURE: u8 = 1;

/// Names that only one module may say.
const OWNED: &[(&str, &str)] = &[
    ("heed", "store"),
    ("heed_types", "store"),
    ("lmdb_master_sys", "store"),
    ("napi", "bindings"),
    ("napi_derive", "bindings"),
];

/// Names no pure module says: clocks, randomness, unordered maps, and crates that bring threads or I/O.
const IMPURE_NAMES: &[&str] = &[
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "RandomState",
    "rand",
    "getrandom",
    "OsRng",
    "SysRng",
    "tokio",
    "parking_lot",
];

/// Modules of the standard library no pure module reaches into.
const IMPURE_STD: &[&str] = &["thread", "fs", "net", "io", "env", "process", "os"];

fn rank(module: &str) -> Option<u8> {
    RANKS.iter().find(|(_, modules)| modules.contains(&module)).map(|(rank, _)| *rank)
}

/// One file: where it stands in the module tree (`["store", "tables"]`), and its words without tests.
struct Source {
    file: String,
    module: Vec<String>,
    words: Vec<String>,
}

/// The top-level modules of this crate that a source uses.
fn used(source: &Source) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for path in scan::paths(&source.words, &["crate", "multi_hyperbee", "super"]) {
        let supers = path.iter().take_while(|name| *name == "super").count();
        // So many `super` lead from this file to the root of the crate; fewer stay within its own module.
        let name = if supers == 0 || supers == source.module.len() { path.get(supers.max(1)) } else { None };
        used.extend(name.cloned());
    }
    used
}

fn violations(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    let mut beside: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        let Some(own) = source.module.first() else { continue };
        let Some(own_rank) = rank(own) else {
            found.push(format!("{}: module `{own}` has no rank", source.file));
            continue;
        };
        for (name, owner) in OWNED.iter().filter(|(_, owner)| own != owner) {
            if source.words.iter().any(|word| word == name) {
                found.push(format!("{}: `{name}` is named only under `{owner}`", source.file));
            }
        }
        for other in used(source).iter().filter(|other| *other != own) {
            match rank(other) {
                Some(rank) if rank < own_rank => {}
                Some(rank) if rank == own_rank && rank <= PURE => {
                    beside.entry(own.clone()).or_default().insert(other.clone());
                }
                Some(_) => found.push(format!("{}: `{own}` must not use `{other}`", source.file)),
                None => found.push(format!("{}: `crate::{other}` hides which module is used", source.file)),
            }
        }
        if own_rank <= PURE {
            found.extend(impurities(source));
        }
    }
    found.extend(
        beside
            .keys()
            .filter(|module| reaches(&beside, module))
            .map(|module| format!("`{module}` uses itself through modules of its own rank")),
    );
    found
}

fn impurities(source: &Source) -> Vec<String> {
    let said = source.words.iter().filter(|word| IMPURE_NAMES.contains(&word.as_str())).cloned();
    let reached = scan::paths(&source.words, &["std"]).into_iter().filter(|path| match path.get(1) {
        // What is named in these two is judged by its name; all of them, or a name for the module, cannot be.
        Some(module) if module == "time" || module == "collections" => {
            path.get(2).is_none_or(|name| name == "*")
        }
        Some(module) => IMPURE_STD.contains(&module.as_str()) || module == "*",
        None => false,
    });
    let names: BTreeSet<String> =
        said.chain(reached.map(|path| path[..path.len().min(2)].join("::"))).collect();
    names.into_iter().map(|name| format!("{}: a pure module uses `{name}`", source.file)).collect()
}

fn reaches(uses: &BTreeMap<String, BTreeSet<String>>, start: &str) -> bool {
    let mut seen: BTreeSet<&String> = BTreeSet::new();
    let mut open: Vec<&String> = uses.get(start).into_iter().flatten().collect();
    while let Some(module) = open.pop() {
        if seen.insert(module) {
            open.extend(uses.get(module).into_iter().flatten());
        }
    }
    seen.iter().any(|module| *module == start)
}

/// Every source under a module's file, those that only tests compile left out.
fn read(root: &Path, file: &Path, module: Vec<String>, sources: &mut Vec<Source>) {
    let text = fs::read_to_string(file).unwrap();
    let (words, test_files) = scan::without_tests(&scan::words(&text));
    let is_root = file.file_stem().is_some_and(|stem| stem == "mod" || stem == "lib");
    let folder = if is_root { file.parent().unwrap().to_owned() } else { file.with_extension("") };
    for pair in words.windows(3).filter(|w| w[0] == "mod" && w[2] == ";") {
        let name = &pair[1];
        assert!(!test_files.contains(name), "{}: `{name}` is a module twice", file.display());
        let candidates: [PathBuf; 2] = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
        let child =
            candidates.iter().find(|path| path.exists()).unwrap_or_else(|| panic!("no file for {name}"));
        read(root, child, module.iter().chain([name]).cloned().collect(), sources);
    }
    let file = file.strip_prefix(root).unwrap().display().to_string();
    sources.push(Source { file, module, words });
}

#[test]
fn the_crate_keeps_its_layout() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    read(&root, &root.join("lib.rs"), Vec::new(), &mut sources);
    assert!(sources.iter().any(|source| source.file.contains("codec")), "the scan found no sources");
    let found = violations(&sources);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The violations of a snippet that stands as `src/<module>.rs`, without the file's name.
fn planted(module: &str, text: &str) -> Vec<String> {
    let (words, _) = scan::without_tests(&scan::words(text));
    let module: Vec<String> = module.split("::").map(str::to_owned).collect();
    violations(&[Source { file: "f".to_owned(), module, words }])
}

#[test]
fn a_planted_violation_is_found() {
    for (module, text) in [
        ("store", "use crate::db::Handle;"),
        ("store::tables", "fn f() { crate::view::range() }"),
        ("feed", "use crate::{types::Dot, order::place};"),
        ("order", "use crate::feed;"),
        ("view", "use super::apply::fold;"),
        ("codec", "use crate::entry::Entry;"),
        ("codec", "use {crate::{types::{Dot, Link}, store as s}};"),
        ("store::tables::rows", "use super::super::super::db;"),
        ("causal", "pub fn f(x: multi_hyperbee::store::Store) {}"),
        ("db", "use crate::*;"),
        ("feed", "fn f(env: &heed::Env) {}"),
        ("db", "#[napi] fn f() {}"),
        ("clock", "use std::time::{Duration, Instant};"),
        ("clock", "let t = std::time::SystemTime::now();"),
        ("clock", "use std::time;"),
        ("crdt", "use std::collections::{BTreeMap, HashMap};"),
        ("crdt", "use std::collections::*;"),
        ("wire::session", "use std::{fmt, io::{self, Read}};"),
        ("wire", "std::thread::spawn(f);"),
        ("merkle", "fn f() -> u8 { rand::random() }"),
        ("types", "/* a /* nested */ comment */ use std::fs;"),
        ("types", "const Q: char = '\"'; use std::net::TcpStream; const R: char = '\"';"),
        ("types", "#[cfg(test)] mod tests { fn f() { x[0] } } use std::env;"),
        ("strange", "fn f() {}"),
    ] {
        assert_eq!(planted(module, text).len(), 1, "{module}: {text}: {:?}", planted(module, text));
    }
}

#[test]
fn what_is_allowed_is_not_reported() {
    for (module, text) in [
        ("db", "use crate::{feed::Feed, order, store::Store, types::Dot};"),
        ("causal", "use crate::types::Dot; use crate::entry::Entry; use super::codec::Reader;"),
        ("store::tables", "use super::rows; use super::super::types::Dot; use heed::Env;"),
        ("bindings", "#[napi] fn f(db: crate::db::Db) {}"),
        ("clock", "use std::time::Duration; thread_local! { static NOW: std::cell::Cell<u64> = 0; }"),
        ("crdt", "use std::collections::{BTreeMap, btree_map::Entry}; pub(crate) fn f<'a>(x: &'a str) {}"),
        ("crdt", "// use std::fs;\n/// `HashMap`\nconst S: &str = \"std::fs HashMap \\\" Instant\";"),
        ("crdt", "const S: &str = r#\"a \" std::fs HashMap\"#; const T: &[u8] = br\"rand\";"),
        ("crdt", "#[cfg(test)] mod tests { use std::collections::HashMap; } fn f() {}"),
        ("crdt", "#[cfg(test)]\n#[allow(x, reason = \"y\")]\nmod tests; fn f() -> char { '\\'' }"),
    ] {
        assert_eq!(planted(module, text), Vec::<String>::new(), "{module}: {text}");
    }
}

#[test]
fn pure_modules_may_use_each_other_but_not_in_a_circle() {
    let source = |module: &str, text: &str| Source {
        file: "f".to_owned(),
        module: vec![module.to_owned()],
        words: scan::words(text),
    };
    let one_way = [source("wire", "use crate::merkle::Proof;"), source("merkle", "use crate::entry::Head;")];
    assert!(violations(&one_way).is_empty());
    let circle =
        [one_way, [source("entry", "use crate::wire::Frame;"), source("causal", "use crate::entry::E;")]];
    assert_eq!(violations(circle.as_flattened()).len(), 3);
}

#[test]
fn modules_that_only_tests_compile_are_known_by_name() {
    let words = scan::words("#[cfg(test)] mod tests; #[cfg(test)] pub(crate) mod reference; mod tree;");
    let (kept, files) = scan::without_tests(&words);
    assert_eq!(kept, ["mod", "tree", ";"]);
    assert_eq!(files, ["tests", "reference"]);
}
