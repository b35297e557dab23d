//! Sealed blocks: golden bytes, and that nothing but the right key at the right place opens them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use multi_hyperbee::codec::DecodeError;
use multi_hyperbee::seal::block::{OVERHEAD, Sealer, epoch_of};
use multi_hyperbee::seal::{EncryptionKey, SealError};
use multi_hyperbee::types::FeedKey;
use proptest::prelude::*;

const KEY: [u8; 32] = [1; 32];
const FEED: FeedKey = FeedKey([2; 32]);

fn sealer() -> Sealer {
    Sealer::new(&EncryptionKey::new(KEY), FEED, 3)
}

/// The format, written again from its description.
fn naive_seal(seq: u64, block: &[u8]) -> Vec<u8> {
    use chacha20poly1305::aead::{AeadInPlace as _, KeyInit as _};
    let epoch = [0, 0, 0, 3];
    let material = [&KEY[..], &FEED.0, &epoch].concat();
    let key = blake3::derive_key("multi-hyperbee 1 sealed block key", &material);
    let nonce_key = blake3::derive_key("multi-hyperbee 1 sealed block nonce", &material);
    let place = [&FEED.0[..], &seq.to_be_bytes()].concat();
    let nonce = blake3::keyed_hash(&nonce_key, &[&place[..], block].concat());
    let nonce = &nonce.as_bytes()[..24];
    let associated = [&[0x81][..], &place, &epoch].concat();
    let mut text = block.to_vec();
    let cipher = chacha20poly1305::XChaCha20Poly1305::new(&key.into());
    let tag = cipher.encrypt_in_place_detached(nonce.into(), &associated, &mut text).unwrap();
    [&[0x81][..], &epoch, nonce, &text, &tag].concat()
}

#[test]
fn golden_bytes() {
    let sealed = sealer().seal(5, b"hello").unwrap();
    assert_eq!(
        hex::encode(&sealed),
        "8100000003e010e45385aa00de444e24aaa06e77ca08434a4cbd2bfa8b5c4652cd9ccbaf683fe6d277e839113047ea83285e"
    );
    assert_eq!(sealer().open(5, &sealed).unwrap(), b"hello");
    assert_eq!(epoch_of(&sealed), Ok(3));
    assert_eq!(sealed.len(), 5 + OVERHEAD);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_sealed_is_as_described_and_opens_to_itself(seq: u64, block: Vec<u8>) {
        let sealed = sealer().seal(seq, &block).unwrap();
        prop_assert_eq!(&sealed, &naive_seal(seq, &block));
        prop_assert_eq!(sealer().open(seq, &sealed), Ok(block));
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, seq: u64) {
        prop_assert!(sealer().open(seq, &bytes).is_err());
        let framed = [&[0x81, 0, 0, 0, 3][..], &bytes].concat();
        prop_assert!(sealer().open(seq, &framed).is_err());
    }

    #[test]
    fn different_blocks_and_different_places_never_share_a_nonce(a: Vec<u8>, b: Vec<u8>, seq in 0..100_u64, other in 0..100_u64) {
        let nonce = |seq, block: &[u8]| sealer().seal(seq, block).unwrap()[5..29].to_vec();
        let same = (seq, &a) == (other, &b);
        prop_assert_eq!(nonce(seq, &a) == nonce(other, &b), same);
        prop_assert_eq!(nonce(seq, &a) == nonce(seq, &b), a == b);
    }
}

#[test]
fn every_flipped_bit_and_every_truncation_fails() {
    let mut sealed = sealer().seal(5, b"hello").unwrap();
    for bit in 0..sealed.len() * 8 {
        sealed[bit / 8] ^= 1 << (bit % 8);
        assert!(sealer().open(5, &sealed).is_err(), "bit {bit}");
        sealed[bit / 8] ^= 1 << (bit % 8);
    }
    for cut in 0..sealed.len() {
        assert!(sealer().open(5, &sealed[..cut]).is_err(), "cut at {cut}");
    }
    sealed.push(0);
    assert_eq!(sealer().open(5, &sealed), Err(SealError::Refused));
}

#[test]
fn a_block_opens_only_at_its_place_with_its_key() {
    let sealed = sealer().seal(5, b"hello").unwrap();
    assert_eq!(sealer().open(6, &sealed), Err(SealError::Refused));
    let others = [
        Sealer::new(&EncryptionKey::new(KEY), FeedKey([3; 32]), 3),
        Sealer::new(&EncryptionKey::new([9; 32]), FEED, 3),
    ];
    for other in others {
        assert_eq!(other.open(5, &sealed), Err(SealError::Refused));
    }
    let later = Sealer::new(&EncryptionKey::new(KEY), FEED, 4).open(5, &sealed);
    assert_eq!(later, Err(SealError::Epoch { expected: 4, found: 3 }));
    let mut relabelled = sealed.clone();
    relabelled[4] = 4;
    let later = Sealer::new(&EncryptionKey::new(KEY), FEED, 4).open(5, &relabelled);
    assert_eq!(later, Err(SealError::Refused));
    let clear = DecodeError::UnknownTag { what: "sealed format", tag: 1 };
    assert_eq!(epoch_of(b"\x01clear"), Err(SealError::Form(clear)));
}
