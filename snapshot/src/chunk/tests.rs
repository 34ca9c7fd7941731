//! A chunk is the subtree that its id names, or is refused, within the bytes that were proven.

use super::*;
use crate::fixtures::{Random, tree, tree_of};
use ledger::state::entries::Key;
use proptest::prelude::*;

fn whole(tree: &Tree) -> (ChunkRef, Vec<u8>) {
    let top = tree.top().unwrap();
    (ChunkRef::from(top), encode(top).unwrap())
}

#[test]
fn what_is_encoded_is_read_again_at_every_size() {
    for count in [1, 10, 5_000] {
        let tree = tree(count, 1);
        let (chunk, bytes) = whole(&tree);
        let read = verify(&bytes, &chunk).unwrap();
        assert_eq!(read.id(), chunk.id());
        assert!(read.subtree().iter().eq(tree.iter()), "{count} entries");
        assert_eq!(
            encode(read.subtree()).unwrap(),
            bytes,
            "the encoding is deterministic"
        );
        assert!(bytes.len() <= ENCODED_BYTES_MAX);
    }
}

#[test]
fn the_largest_values_pass() {
    let tree = tree_of(&[
        vec![7; 1 << 20],
        vec![],
        (0..1 << 20).map(|i| Random::new(i).next() as u8).collect(),
    ]);
    let (chunk, bytes) = whole(&tree);
    assert_eq!(
        verify(&bytes, &chunk).unwrap().subtree().totals(),
        tree.totals()
    );
    let too_large = tree_of(&vec![vec![0; 1 << 20]; 5]);
    let error = encode(too_large.top().unwrap()).unwrap_err();
    assert!(matches!(error, ChunkError::Promise { .. }), "{error}");
}

/// Flips each bit of each byte, and cuts at each. Some bits mean nothing to zstd: then the subtree is the same.
#[test]
fn a_changed_byte_is_refused_or_changes_nothing() {
    let tree = tree(12, 1);
    let (chunk, good) = whole(&tree);
    let mut harmless = 0;
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            if let Ok(read) = verify(&bad, &chunk) {
                assert_eq!(read.id(), chunk.id());
                assert!(read.subtree().iter().eq(tree.iter()));
                harmless += 1;
            }
        }
    }
    assert!(
        harmless < 16,
        "{harmless} of {} bits changed nothing",
        good.len() * 8
    );
    for len in 0..good.len() {
        assert!(verify(&good[..len], &chunk).is_err(), "cut to {len}");
    }
}

/// A frame that would give a gigabyte; a promise that would have one allocated.
#[test]
fn a_bomb_is_refused_within_the_proven_bytes() {
    let (chunk, good) = whole(&tree(12, 1));
    let bomb = zstd::bulk::compress(&vec![0; 256 << 20], 3).unwrap();
    let with = |promise: u64, frame: &[u8]| {
        let mut bytes = vec![WHOLE];
        bytes.extend(promise.to_be_bytes());
        bytes.extend(frame);
        verify(&bytes, &chunk).unwrap_err()
    };
    assert!(matches!(
        with(chunk.bytes, &bomb),
        ChunkError::Compression(_)
    ));
    for promise in [u64::MAX, 256 << 20, chunk.bytes + 1] {
        let error = with(promise, &bomb);
        assert!(matches!(error, ChunkError::Promise { .. }), "{error}");
    }
    let error = with(chunk.bytes - 1, &good[9..]);
    assert!(matches!(error, ChunkError::Compression(_)), "{error}");
    let long = vec![WHOLE; ENCODED_BYTES_MAX + 1];
    assert!(matches!(
        verify(&long, &chunk),
        Err(ChunkError::TooLong { .. })
    ));
}

#[test]
fn another_subtree_form_or_listing_is_refused() {
    let (chunk, bytes) = whole(&tree(12, 1));
    let (_, other) = whole(&tree(13, 2));
    assert!(verify(&other, &chunk).is_err());
    let mut patch = bytes.clone();
    patch[0] = 2;
    assert_eq!(verify(&patch, &chunk).unwrap_err(), ChunkError::Form(2));
    let entries = chunk.entries + 1;
    let listed = ChunkRef { entries, ..chunk };
    let error = verify(&bytes, &listed).unwrap_err();
    assert!(matches!(error, ChunkError::NotAsListed { .. }), "{error}");
}

/// The format as `docs/formats-snapshot.md` draws it. A change here is a new form.
#[test]
fn the_format_is_pinned() {
    let tree = tree_of(&[b"value".to_vec()]);
    let (chunk, bytes) = whole(&tree);
    assert_eq!(bytes[0], 1);
    assert_eq!(bytes[1..9], chunk.bytes.to_be_bytes());
    let plain = zstd::bulk::decompress(&bytes[9..], 1_000).unwrap();
    let key = Key::Record {
        space: "space0".to_owned(),
        key: vec![0; 8],
    };
    let mut expected = (key.encode().len() as u32).to_be_bytes().to_vec();
    expected.extend(5u32.to_be_bytes());
    expected.extend(key.encode());
    expected.extend(b"value");
    assert_eq!(plain, expected);
}

proptest! {
    #[test]
    fn any_values_come_back(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..60)) {
        let tree = tree_of(&values);
        let (chunk, bytes) = whole(&tree);
        prop_assert!(verify(&bytes, &chunk).unwrap().subtree().iter().eq(tree.iter()));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, plain: Vec<u8>) {
        let (chunk, _) = whole(&tree(12, 1));
        prop_assert!(verify(&bytes, &chunk).is_err());
        let _ = plain::entries(&plain);
    }
}
