//! Writing a snapshot of a state in memory.
//!
//! The caller gives the thread; the tree is a clone that costs a pointer, and blocks go on meanwhile. A chunk that the store has
//! is not written again; one of which the snapshot before has an older version is written as what changed since, found by
//! walking both trees past what they share. So the cost follows the changes. Memory: the list of chunks, and one chunk.

use super::{Store, error::Result};
use crate::{
    chunk::{self, ChunkId, patch},
    manifest::{Manifest, ManifestId, Picture},
};
use ledger::{
    block::CertifiedHeader,
    hash::StateRoot,
    state::tree::{Subtree, Totals, Tree},
    units::Height,
    validators::ValidatorSet,
};

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotReport {
    /// The height.
    pub height: Height,
    /// The root of the state.
    pub root: StateRoot,
    /// The manifest's id.
    pub manifest: ManifestId,
    /// Entries of the state.
    pub entries: u64,
    /// Chunks it is made of.
    pub chunks: u64,
    /// Bytes of the entries, uncompressed.
    pub bytes: u64,
    /// Chunks that no earlier snapshot had.
    pub new_chunks: u64,
    /// Bytes of those, as they are stored.
    pub new_bytes: u64,
}

/// Writes the snapshot of a state into the store. When it returns, the snapshot is whole, durable and offered.
///
/// `certified` is the header of the state's height, `validators` the set that voted on it; `before` is an older snapshot of the
/// store, the newest best.
///
/// # Errors
/// [`StoreError::Manifest`](super::StoreError::Manifest) if what was given does not belong together.
/// [`StoreError::Io`](super::StoreError::Io): then there is no such snapshot, and what was written for it is removed again.
pub fn write_snapshot(
    store: &Store,
    tree: &Tree,
    certified: CertifiedHeader,
    validators: ValidatorSet,
    chunk_bytes_max: u64,
    before: Option<&Picture>,
) -> Result<SnapshotReport> {
    let (manifest, subtrees) = Manifest::of_tree(tree, certified, validators, chunk_bytes_max)?;
    let pins = (
        store.pin_written(&manifest),
        before.map(|before| store.pin(before.manifest.chunk_ids())),
    );
    let written = write(store, &manifest, &subtrees, before);
    drop(pins);
    if written.is_err() {
        // Gives the space back; if that fails too, the next retention does it. The first error is the one to tell.
        let _ = store.sweep();
    }
    written
}

fn write(
    store: &Store,
    manifest: &Manifest,
    subtrees: &[Subtree],
    before: Option<&Picture>,
) -> Result<SnapshotReport> {
    let Totals { entries, bytes } = manifest.totals();
    let mut report = SnapshotReport {
        height: manifest.height(),
        root: manifest.root(),
        manifest: manifest.id(),
        entries,
        chunks: subtrees.len() as u64,
        bytes,
        new_chunks: 0,
        new_bytes: 0,
    };
    for subtree in subtrees {
        if store.has_chunk(&ChunkId(subtree.hash())) {
            continue;
        }
        let encoded = match before.map(|before| changed(before, subtree)) {
            Some(Ok(Some(patch))) => patch,
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(None)) | None => chunk::encode(subtree)?,
        };
        report.new_bytes += store.put_chunk(manifest.id(), subtree, &encoded)?;
        report.new_chunks += 1;
    }
    store.put_manifest(manifest)?;
    Ok(report)
}

/// A chunk as what changed since an older snapshot, unless it is new there, or changed so much that it is better written whole.
fn changed(before: &Picture, subtree: &Subtree) -> Result<Option<Vec<u8>>, chunk::ChunkError> {
    let prefix = subtree.prefix();
    let Some((base, old)) = before.base_of(&prefix) else {
        return Ok(None);
    };
    let Some(old) = Tree::from(old).subtree(&prefix) else {
        return Ok(None);
    };
    patch::encode(base, &old, subtree, subtree.totals().bytes / 2)
}
