//! A manifest is what the state makes it, or is refused.

use super::*;
use crate::fixtures::{CHAIN, CUT, certified, keys, manifest, set, sign, tree, tree_of};
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    UntrustedManifest::decode(bytes)?.verify(&CHAIN, &set())
}

#[test]
fn what_is_encoded_is_read_again_at_every_size() {
    for count in [0, 1, 10, 5_000] {
        let tree = tree(count, 1);
        let manifest = manifest(&tree, 7);
        assert_eq!(
            read(&manifest.encode()).unwrap(),
            manifest,
            "{count} entries"
        );
        assert_eq!(manifest.root(), tree.root());
        assert_eq!(manifest.totals(), tree.totals());
        assert!(count < 5_000 || manifest.chunks().len() > 200);
    }
}

#[test]
fn the_id_covers_all_but_the_certificate() {
    let manifest = manifest(&tree(100, 1), 7);
    let (id, bytes) = manifest.forged(|certified, _| {
        certified.certificate = sign(&certified.header, &keys(1)[..3]);
    });
    assert_eq!(id, manifest.id());
    assert_ne!(bytes, manifest.encode());
    assert_eq!(read(&bytes).unwrap().id(), id);
    let (other, _) = manifest.forged(|certified, _| certified.header.time.0 += 1);
    assert_ne!(other, id);
}

/// Flips each bit of each byte. What is not refused outright is another manifest by its id, and so not what was asked for.
#[test]
fn no_changed_byte_passes_for_the_manifest() {
    for count in [1, 40] {
        let manifest = manifest(&tree(count, 1), 7);
        let good = manifest.encode();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            if let Ok(read) = read(&bad) {
                assert_ne!(read.id(), manifest.id(), "byte {at} of {}", good.len());
            }
        }
        for len in 0..good.len() {
            assert!(read(&good[..len]).is_err(), "cut to {len}");
        }
    }
}

#[test]
fn only_the_right_cut_is_a_manifest() {
    let tree = tree(300, 1);
    let manifest = manifest(&tree, 7);
    let cut =
        |bytes_max| -> Vec<ChunkRef> { tree.cut(bytes_max).iter().map(ChunkRef::from).collect() };
    let with = |chunks: Vec<ChunkRef>| read(&manifest.forged(|_, c| *c = chunks).1);
    assert_eq!(with(cut(CUT)).unwrap(), manifest);
    for other in [CUT / 2, CUT * 2, u64::MAX] {
        let error = with(cut(other)).unwrap_err();
        assert!(
            matches!(error, ManifestError::Fold(_)),
            "cut at {other}: {error}"
        );
        assert!(error.is_lie());
    }
    let mut without_last = cut(CUT);
    without_last.pop();
    assert!(matches!(
        with(without_last),
        Err(ManifestError::OtherRoot { .. })
    ));
    let mut swapped = cut(CUT);
    swapped.swap(0, 1);
    assert!(with(swapped).is_err());
    let mut more = cut(CUT);
    more[1].entries += 1;
    assert!(matches!(with(more), Err(ManifestError::OtherRoot { .. })));
}

#[test]
fn numbers_from_outside_are_bounded() {
    let manifest = manifest(&tree(300, 1), 7);
    let chunk = manifest.chunks()[0];
    let (_, many) = manifest.forged(|_, c| *c = vec![chunk; CHUNKS_MAX + 1]);
    assert!(matches!(
        read(&many),
        Err(ManifestError::TooManyChunks { .. })
    ));
    let (_, large) = manifest.forged(|_, c| c[0].bytes = chunk::BYTES_MAX + 1);
    assert!(matches!(
        read(&large),
        Err(ManifestError::ChunkTooLarge { .. })
    ));
    let huge = vec![FORMAT; MANIFEST_BYTES_MAX + 2];
    assert!(matches!(
        read(&huge),
        Err(ManifestError::Codec(CodecError::TooLarge { .. }))
    ));
    assert!(matches!(read(&[9]), Err(ManifestError::Format(9))));
    assert!(matches!(read(&[]), Err(ManifestError::Codec(_))));
}

/// The largest manifest fits into its bound.
#[test]
fn as_many_chunks_as_are_allowed_fit() {
    let manifest = manifest(&tree(300, 1), 7);
    let chunk = manifest.chunks()[0];
    let (_, bytes) = manifest.forged(|_, c| *c = vec![chunk; CHUNKS_MAX]);
    let rest = 256 * (96 + 72) + 1024;
    assert!(
        bytes.len() + rest <= MANIFEST_BYTES_MAX,
        "{} bytes",
        bytes.len()
    );
}

/// Of a single chunk the totals are not under the root: an honest chunk must not be taken for a lie.
#[test]
fn a_lie_about_a_single_chunk_convicts_the_manifest_and_not_the_chunk() {
    let tree = tree_of(&[vec![1; 50], vec![2; 60]]);
    let honest = manifest(&tree, 7);
    assert_eq!(honest.chunks().len(), 1);
    let bytes = chunk::encode(tree.top().unwrap()).unwrap();
    for lie in [-20i64, 20] {
        let (_, forged) = honest.forged(|_, c| c[0].bytes = c[0].bytes.wrapping_add_signed(lie));
        let forged = read(&forged).unwrap();
        let error = forged
            .verify_chunk(&forged.chunks()[0], &bytes)
            .unwrap_err();
        assert!(matches!(error, ChunkError::NotAsListed { .. }), "{error}");
    }
}

#[test]
fn a_state_and_a_header_that_differ_make_no_manifest() {
    let (a, b) = (tree(10, 1), tree(11, 1));
    let error = Manifest::of_tree(&a, certified(&b, 7), set(), CUT).unwrap_err();
    assert!(matches!(error, ManifestError::OtherRoot { .. }), "{error}");
}

/// The format as `docs/formats-snapshot.md` draws it. A change here is a new format.
#[test]
fn the_format_is_pinned() {
    let manifest = manifest(&tree(300, 1), 7);
    let bytes = manifest.encode();
    let chunks = manifest.chunks().len();
    let (header, certificate, validators) = (312, 8 + 4 + 32 + 8 + 4 * 96, 8 + 4 * 72);
    let before_cut = 1 + header + certificate + validators;
    assert_eq!(bytes.len(), before_cut + 8 + 8 + chunks * 82);
    let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!(bytes[0], 1);
    assert_eq!(number(37), 7, "the height");
    assert_eq!(number(before_cut), CUT);
    assert_eq!(number(before_cut + 8), chunks as u64);
    let first = &bytes[before_cut + 16..][..82];
    let chunk = manifest.chunks()[0];
    assert_eq!(first[34..66], chunk.hash.0);
    assert_eq!(first[66..74], chunk.entries.to_be_bytes());
    assert_eq!(first[74..], chunk.bytes.to_be_bytes());
    let pinned = "19008e7d24004ee3290bead0d2bbf14a73a840af8c75cf4ae6077cc16e1274d2";
    assert_eq!(manifest.id().to_string(), pinned);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let mut with_format = vec![FORMAT];
        with_format.extend(&bytes);
        prop_assert!(read(&bytes).is_err() && read(&with_format).is_err());
    }
}
