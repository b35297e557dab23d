//! Texts that must not stand in any file, in whatever form.

use std::path::Path;

/// Every file of a folder.
pub fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(std::fs::read(path).unwrap()) }
    }
    found
}

/// A text in every form in which it might stand somewhere.
pub fn forms(text: &str) -> Vec<Vec<u8>> {
    let bytes = text.as_bytes().to_vec();
    let hex = hex::encode(&bytes);
    let mut forms = vec![
        bytes.clone(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
    ];
    // Wherever the text begins within a group of three bytes, these of its characters in base64 are the same.
    for shift in 0..3 {
        let aligned = &bytes[shift..bytes.len() - (bytes.len() - shift) % 3];
        forms.push(base64(aligned));
    }
    let reversed: Vec<_> = forms.iter().map(|form| form.iter().rev().copied().collect()).collect();
    [forms, reversed].concat()
}

/// Of whole groups of three bytes.
pub fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let number = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        [18, 12, 6, 0].map(|bits| DIGITS[(number >> bits) as usize & 63])
    };
    bytes.chunks_exact(3).flat_map(group).collect()
}

pub fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

pub fn must_show_nothing(folder: &Path, needles: &[&str]) {
    let files = files(folder);
    assert!(files.iter().any(|file| file.len() > 10_000));
    for needle in needles {
        for form in forms(needle) {
            assert!(!files.iter().any(|file| holds(file, &form)), "{needle:?} as {form:?}");
        }
    }
}
