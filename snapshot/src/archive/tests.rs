//! An archive gives the state that was put into it, or says what is wrong with it and where.

use super::*;
use crate::{
    chunk::{self, ChunkError},
    fixtures::{CHAIN, certified_by, keys, set, set_of, tree},
    manifest::{Manifest, ManifestError, UntrustedManifest},
};
use ledger::{
    hash::BlockHash,
    light::{Checkpoint, LightError},
    state::tree::{Subtree, Tree},
    units::Height,
};
use std::fs::File;

const CUT: u64 = crate::fixtures::CUT;

fn by_genesis(claimed: UntrustedManifest) -> Result<Manifest, ManifestError> {
    claimed.verify(&CHAIN, &set())
}

fn archive(tree: &Tree) -> (Manifest, Vec<u8>) {
    let certified = certified_by(tree, 7, &keys(1));
    let (manifest, subtrees) = Manifest::of_tree(tree, certified, set(), CUT).unwrap();
    let mut writer = ArchiveWriter::begin(Vec::new(), &manifest).unwrap();
    for (chunk, subtree) in manifest.chunks().iter().zip(subtrees) {
        let bytes = chunk::encode(&subtree).unwrap();
        let verified = manifest.verify_chunk(chunk, &bytes).unwrap();
        writer.put(&verified, &bytes).unwrap();
    }
    let (file, bytes) = writer.finish().unwrap();
    assert_eq!(file.len() as u64, bytes);
    (manifest, file)
}

fn read(file: &[u8]) -> Result<Tree, ArchiveError> {
    let archive = UnverifiedArchive::open(file)?.verify_by(by_genesis)?;
    let chunks: Result<Vec<Subtree>, _> = archive
        .map(|chunk| chunk.map(|c| c.chunk.into_subtree()))
        .collect();
    Ok(Tree::join(&chunks?).unwrap())
}

#[test]
fn a_state_of_any_size_is_read_as_it_was_written() {
    for count in [0, 1, 10, 2_000] {
        let tree = tree(count, 1);
        let (_, file) = archive(&tree);
        assert!(
            read(&file).unwrap().iter().eq(tree.iter()),
            "{count} entries"
        );
    }
}

#[test]
fn a_changed_byte_is_found_and_its_place_told() {
    let tree = tree(60, 1);
    let (manifest, good) = archive(&tree);
    let chunks_begin = HEAD_BYTES + manifest.encode().len();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x20;
        match read(&bad) {
            // Some bits mean nothing to zstd, and a state may be cut alike at two sizes.
            Ok(read) => assert_eq!(read.root(), tree.root(), "byte {at}"),
            Err(ArchiveError::Magic) => assert!(at < 16, "byte {at}"),
            Err(ArchiveError::Format(_)) => assert_eq!(at, 16),
            Err(ArchiveError::CutManifest { .. } | ArchiveError::ManifestLength(_)) => {
                assert!((17..21).contains(&at), "byte {at}");
            }
            Err(ArchiveError::Manifest(_)) => assert!(at < chunks_begin, "byte {at}"),
            Err(ArchiveError::Chunk { offset, error, .. }) => match *error {
                ChunkError::NotAsListed { .. } => assert!(at < chunks_begin, "byte {at}"),
                _ => assert!(offset <= at as u64 + 4, "byte {at}: chunk at {offset}"),
            },
            Err(ArchiveError::Cut { .. } | ArchiveError::Trailing(_)) => {
                assert!(at >= chunks_begin, "byte {at}");
            }
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
}

#[test]
fn an_archive_that_is_cut_short_or_goes_on_is_refused() {
    let (manifest, good) = archive(&tree(60, 1));
    let chunks_begin = HEAD_BYTES + manifest.encode().len();
    for len in 0..good.len() {
        let error = read(&good[..len]).unwrap_err();
        match &error {
            ArchiveError::Magic => assert!(len < 16),
            ArchiveError::CutManifest { offset } => assert_eq!(*offset, len as u64),
            ArchiveError::Cut { offset, .. } => assert_eq!(*offset, len as u64),
            other => panic!("{len} bytes: {other}"),
        }
        assert_eq!(
            len >= chunks_begin,
            matches!(error, ArchiveError::Cut { .. }),
            "{len}"
        );
    }
    // Chunks are counted from 1, so that the last of them is the one of their number.
    let count = manifest.chunks().len();
    let last = read(&good[..good.len() - 1]).unwrap_err().to_string();
    assert!(
        last.contains(&format!("chunk {count} of {count}")),
        "{last}"
    );
    let longer = [&good[..], &[0]].concat();
    let error = read(&longer).unwrap_err();
    assert!(
        matches!(error, ArchiveError::Trailing(at) if at == good.len() as u64),
        "{error}"
    );
}

#[test]
fn it_is_believed_from_validators_or_from_the_hash_of_its_block() {
    let tree = tree(60, 1);
    let strangers = keys(100);
    let certified = certified_by(&tree, 7, &strangers);
    let (manifest, _) = Manifest::of_tree(&tree, certified, set_of(&strangers), CUT).unwrap();
    let writer = ArchiveWriter::begin(Vec::new(), &manifest).unwrap();
    let (file, _) = writer.finish().unwrap();
    let open = || UnverifiedArchive::open(&file[..]).unwrap();
    let error = open().verify_by(by_genesis).unwrap_err();
    assert!(matches!(error, ArchiveError::Manifest(_)), "{error}");
    let by_block = |hash| {
        let height = Height(7);
        move |m: UntrustedManifest| m.verify_block(Checkpoint { height, hash })
    };
    assert!(open().verify_by(by_block(manifest.block())).is_ok());
    let error = open().verify_by(by_block(BlockHash([9; 32]))).unwrap_err();
    let other = matches!(
        error,
        ArchiveError::Manifest(ManifestError::Light(LightError::OtherBlock { .. }))
    );
    assert!(other, "{error}");
}

#[test]
fn any_chunk_of_a_file_is_read_by_itself() {
    let tree = tree(600, 1);
    let (manifest, bytes) = archive(&tree);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tintype");
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let archive = UnverifiedArchive::open(File::open(&path).unwrap()).unwrap();
        ArchiveFile::index(archive.verify_by(by_genesis).unwrap())
    };
    let file = open(&bytes).unwrap();
    for chunk in manifest.chunks().iter().rev() {
        assert_eq!(file.load_chunk(chunk).unwrap().id(), chunk.id());
    }
    let cut = open(&bytes[..bytes.len() - 1]).unwrap_err();
    assert!(matches!(cut, ArchiveError::Cut { .. }), "{cut}");
    let longer = open(&[&bytes[..], &[0]].concat()).unwrap_err();
    assert!(matches!(longer, ArchiveError::Trailing(_)), "{longer}");
}
