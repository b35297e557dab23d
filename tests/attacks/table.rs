//! docs/security.md names a test for each attack: each named test exists.

use std::fs;
use std::path::Path;

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn each_test_that_the_table_of_attacks_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let table = page.split("| attack | what stops it | test |").nth(1).unwrap();
    let rows: Vec<_> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 20, "{} attacks", rows.len());
    let mut named = Vec::new();
    for row in rows {
        let cells = cells(row);
        assert_eq!(cells.len(), 3, "{row}");
        // `file`: `name`, `name`; `file`: …
        let quoted: Vec<&str> = cells[2].split('`').skip(1).step_by(2).collect();
        assert!(quoted.len() >= 2, "a file and a test: {row}");
        let mut source = String::new();
        for text in quoted {
            if text.starts_with("tests/") || text.starts_with("src/") || text.starts_with("__test__/") {
                source = fs::read_to_string(root.join(text)).unwrap_or_else(|_| panic!("no file {text}"));
                continue;
            }
            let exists = source.contains(&format!("fn {text}(")) || source.contains(&format!("'{text}'"));
            assert!(exists, "no test {text}: {row}");
            named.push(text.to_owned());
        }
    }
    // And each test here is one that the table names.
    for file in ["apart", "claims", "entries", "flood", "forged", "handshake"] {
        let source = fs::read_to_string(root.join(format!("tests/attacks/{file}.rs"))).unwrap();
        for test in source.split("#[test]\nfn ").skip(1) {
            let name = test.split('(').next().unwrap();
            assert!(named.iter().any(|named| named == name), "docs/security.md does not name {name}");
        }
    }
}
