//! Sealed rows, names and secrets: as `docs/design/encryption.md` describes them, and opened by nothing else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use multi_hyperbee::seal::{EncryptionKey, SEALED_SECRET, SealError, Sealing, open_secret, seal_secret};
use multi_hyperbee::types::FeedKey;
use proptest::prelude::*;

const KEY: [u8; 32] = [1; 32];
const DATABASE: FeedKey = FeedKey([2; 32]);

fn sealing(key: u8, database: u8) -> Sealing {
    Sealing::new(Some(&EncryptionKey::new([key; 32])), &FeedKey([database; 32]))
}

fn naive_key(context: &str) -> [u8; 32] {
    blake3::derive_key(context, &[&KEY[..], &DATABASE.0, &[0; 4]].concat())
}

/// Any sealed record, written again from the description.
fn naive_seal(format: u8, contexts: [&str; 2], associated: &[u8], plain: &[u8]) -> Vec<u8> {
    use chacha20poly1305::aead::{AeadInPlace as _, KeyInit as _};
    let [key, nonce_key] = contexts.map(naive_key);
    let nonce = blake3::keyed_hash(&nonce_key, &[associated, plain].concat());
    let nonce = &nonce.as_bytes()[..24];
    let mut text = plain.to_vec();
    let cipher = chacha20poly1305::XChaCha20Poly1305::new(&key.into());
    let tag = cipher.encrypt_in_place_detached(nonce.into(), associated, &mut text).unwrap();
    [&[format, 0, 0, 0, 0][..], nonce, &text, &tag].concat()
}

fn naive_row(table: &str, place: &[u8], plain: &[u8]) -> Vec<u8> {
    let length = [u8::try_from(table.len()).unwrap()];
    let associated = [&[0x82, 0, 0, 0, 0][..], &length, table.as_bytes(), place].concat();
    let contexts = ["multi-hyperbee 1 sealed row key", "multi-hyperbee 1 sealed row nonce"];
    naive_seal(0x82, contexts, &associated, plain)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn rows_are_as_described_and_open_to_themselves(place: Vec<u8>, plain: Vec<u8>) {
        let sealed = sealing(1, 2).seal_row("view-1", &place, &plain).unwrap().into_owned();
        prop_assert_eq!(&sealed, &naive_row("view-1", &place, &plain));
        let opened = sealing(1, 2).open_row("view-1", &place, &sealed).unwrap().into_owned();
        prop_assert_eq!(opened, plain);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        prop_assert!(sealing(1, 2).open_row("view-1", b"place", &bytes).is_err());
        let framed = [&[0x82, 0, 0, 0, 0][..], &bytes].concat();
        prop_assert!(sealing(1, 2).open_row("view-1", b"place", &framed).is_err());
    }

    #[test]
    fn names_are_keyed_hashes(key: Vec<u8>) {
        let expected = blake3::keyed_hash(&naive_key("multi-hyperbee 1 row name"), &key);
        prop_assert_eq!(&*sealing(1, 2).name(&key), &expected.as_bytes()[..16]);
        prop_assert_eq!(&*Sealing::PLAIN.name(&key), &key[..]);
    }
}

#[test]
fn a_row_opens_only_in_its_table_and_place_with_the_key_of_its_database() {
    let sealed = sealing(1, 2).seal_row("view-1", b"place", b"plain").unwrap().into_owned();
    let refused = |sealing: Sealing, table: &str, place: &[u8]| {
        assert_eq!(sealing.open_row(table, place, &sealed), Err(SealError::Refused));
    };
    refused(sealing(1, 2), "view-2", b"place");
    refused(sealing(1, 2), "view-1", b"place2");
    refused(sealing(1, 2), "view-", b"1place");
    refused(sealing(1, 3), "view-1", b"place");
    refused(sealing(3, 2), "view-1", b"place");
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(sealing(1, 2).open_row("view-1", b"place", &changed).is_err(), "byte {at}");
        assert!(sealing(1, 2).open_row("view-1", b"place", &sealed[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn a_secret_is_as_described_and_opens_for_its_feed_only() {
    let key = EncryptionKey::new(KEY);
    let sealed = seal_secret(&key, &DATABASE, &[9; 32]).unwrap();
    let associated = [&[0x83][..], &DATABASE.0, &[0; 4]].concat();
    let contexts = ["multi-hyperbee 1 sealed secret key", "multi-hyperbee 1 sealed secret nonce"];
    assert_eq!(sealed.to_vec(), naive_seal(0x83, contexts, &associated, &[9; 32]));
    assert_eq!(sealed.len(), SEALED_SECRET);
    assert_eq!(*open_secret(&key, &DATABASE, &sealed).unwrap(), [9; 32]);
    assert!(open_secret(&key, &FeedKey([3; 32]), &sealed).is_err());
    assert!(open_secret(&EncryptionKey::new([3; 32]), &DATABASE, &sealed).is_err());
    for at in 0..sealed.len() {
        let mut changed = sealed;
        changed[at] ^= 1;
        assert!(open_secret(&key, &DATABASE, &changed).is_err(), "byte {at}");
    }
}

#[test]
fn a_check_tells_one_key_of_one_database() {
    let derived = blake3::derive_key("multi-hyperbee 1 encryption key check", &[KEY, DATABASE.0].concat());
    assert_eq!(sealing(1, 2).check().unwrap(), derived[..16]);
    assert_ne!(sealing(1, 2).check(), sealing(1, 3).check());
    assert_eq!(Sealing::PLAIN.check(), None);
    let hash = blake3::derive_key("multi-hyperbee 1 state hash", &KEY);
    assert_eq!(sealing(1, 2).hash_key(), Some(&hash));
}
