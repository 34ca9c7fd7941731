//! Writing a snapshot of a state in memory.
//!
//! The caller gives the thread; the tree is a clone that costs a pointer, and blocks go on meanwhile. A chunk that the store has
//! is not written again, once its file was read and its checksum held. Memory: the list of chunks, and one chunk.

use super::{Store, StoreError, error::Result};
use crate::{
    chunk::{self, ChunkId},
    manifest::{Manifest, ManifestId},
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
/// `certified` is the header of the state's height, `validators` the set that voted on it.
///
/// # Errors
/// [`StoreError::Manifest`] if what was given does not belong together. [`StoreError::Io`]: then there is no such snapshot, and
/// what was written for it is removed again.
pub fn write_snapshot(
    store: &Store,
    tree: &Tree,
    certified: CertifiedHeader,
    validators: ValidatorSet,
    chunk_bytes_max: u64,
) -> Result<SnapshotReport> {
    let (manifest, subtrees) = Manifest::of_tree(tree, certified, validators, chunk_bytes_max)?;
    let pin = store.pin(manifest.chunk_ids());
    let written = write(store, &manifest, subtrees);
    drop(pin);
    if written.is_err() {
        // Gives the space back; if that fails too, the next retention does it. The first error is the one to tell.
        let _ = store.sweep();
    }
    written
}

fn write(store: &Store, manifest: &Manifest, subtrees: Vec<Subtree>) -> Result<SnapshotReport> {
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
        let id = ChunkId(subtree.hash());
        if is_sound(store, &id)? {
            continue;
        }
        let encoded = chunk::encode(&subtree)?;
        store.put_chunk(id, &encoded)?;
        report.new_chunks += 1;
        report.new_bytes += encoded.len() as u64;
    }
    store.put_manifest(manifest)?;
    Ok(report)
}

/// Whether the store has the chunk, undamaged as far as its checksum tells.
fn is_sound(store: &Store, id: &ChunkId) -> Result<bool> {
    if !store.has_chunk(id) {
        return Ok(false);
    }
    match store.get_chunk_bytes(id) {
        Ok(_) => Ok(true),
        Err(StoreError::Damaged { .. } | StoreError::NoChunk(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
