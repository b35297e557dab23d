//! **What.** Reads Rust source as text and says which paths and names it uses, outside comments, literals and tests.
//!
//! **Owns.** Nothing; every function is pure.
//!
//! **Invariants.** 1. What is commented out, quoted or under `#[cfg(test)]` is not seen. 2. A path is seen however it is
//! written: in place, in a `use`, in nested groups, through `super`.
//!
//! **Not here.** Which of them are allowed (`architecture.rs`). Paths made by macros, and `super` in an inline module,
//! which is read as if it stood outside it.

/// The source as words and single characters: `["use", "std", ":", ":", "fs", ";"]`. Literals are left out.
pub fn words(source: &str) -> Vec<String> {
    let chars: Vec<char> = source.chars().collect();
    let mut words = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let length = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => block_comment(rest),
            ['"', ..] => quoted(rest),
            ['\'', ..] => char_literal(rest),
            [c, ..] if c.is_whitespace() => 1,
            [c, ..] if c.is_alphanumeric() || *c == '_' => {
                let end = rest.iter().position(|c| !c.is_alphanumeric() && *c != '_').unwrap_or(rest.len());
                let word: String = rest[..end].iter().collect();
                if let Some(raw) = raw_string(&word, &rest[end..]) {
                    end + raw
                } else {
                    words.push(word);
                    end
                }
            }
            _ => {
                words.push(rest[0].to_string());
                1
            }
        };
        at += length;
    }
    words
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The length of a character literal, or of the apostrophe of a lifetime or label.
fn char_literal(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', _, more @ ..] => more.iter().position(|c| *c == '\'').map_or(rest.len(), |end| end + 4),
        ['\'', _, '\'', ..] => 3,
        _ => 1,
    }
}

/// The length of `#"…"#` after the prefix of a raw string (`r`, `br`, `cr`).
fn raw_string(prefix: &str, rest: &[char]) -> Option<usize> {
    let hashes = rest.iter().take_while(|c| **c == '#').count();
    if !["r", "br", "cr"].contains(&prefix) || rest.get(hashes) != Some(&'"') {
        return None;
    }
    let mut end: Vec<char> = vec!['"'];
    end.resize(hashes + 1, '#');
    let body = &rest[hashes + 1..];
    let length = body.windows(end.len()).position(|w| w == end.as_slice()).unwrap_or(body.len());
    Some((hashes + 1 + length + end.len()).min(rest.len()))
}

/// The words without the items that stand under `#[cfg(test)]`, and the names of modules left out that are files.
pub fn without_tests(words: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut kept, mut files, mut at) = (Vec::new(), Vec::new(), 0);
    while at < words.len() {
        if !starts_with(&words[at..], &["#", "[", "cfg", "(", "test", ")", "]"]) {
            kept.push(words[at].clone());
            at += 1;
            continue;
        }
        let item = &words[at + 7..];
        let end = item_end(item);
        if let Some(name) = item.iter().position(|w| w == "mod").filter(|_| item[end - 1] == ";") {
            files.push(item[name + 1].clone());
        }
        at += 7 + end;
    }
    (kept, files)
}

/// Where an item ends: at its first `;` or closing brace outside every bracket.
fn item_end(item: &[String]) -> usize {
    let mut depth = 0_i32;
    for (i, word) in item.iter().enumerate() {
        match word.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 && (word == ";" || word == "}") {
            return i + 1;
        }
    }
    item.len()
}

fn starts_with(words: &[String], start: &[&str]) -> bool {
    words.len() >= start.len() && words.iter().zip(start).all(|(a, b)| a == b)
}

/// Every path that begins with one of `roots`, groups expanded: `std::{fs, io::Read}` is two.
pub fn paths(words: &[String], roots: &[&str]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let inner = i >= 2 && words[i - 1] == ":" && words[i - 2] == ":" && i >= 3 && is_name(&words[i - 3]);
        if roots.contains(&word.as_str()) && !inner {
            expand(words, i + 1, vec![word.clone()], &mut found);
        }
    }
    found
}

fn is_name(word: &str) -> bool {
    word.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

/// Follows a path from just behind `path`; returns where it ends.
fn expand(words: &[String], at: usize, mut path: Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    if !starts_with(&words[at..], &[":", ":"]) {
        found.push(path);
        return at;
    }
    let mut at = at + 2;
    match words.get(at).map(String::as_str) {
        Some("{") => {
            at += 1;
            while at < words.len() && words[at] != "}" {
                if is_name(&words[at]) || words[at] == "*" {
                    let mut member = path.clone();
                    member.push(words[at].clone());
                    at = expand(words, at + 1, member, found);
                    if starts_with(&words[at..], &["as"]) {
                        at += 2;
                    }
                } else {
                    at += 1;
                }
            }
            at + 1
        }
        Some(name) if is_name(name) || name == "*" => {
            path.push(name.to_owned());
            expand(words, at + 1, path, found)
        }
        _ => {
            found.push(path);
            at
        }
    }
}
