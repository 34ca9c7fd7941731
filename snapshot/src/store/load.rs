//! From the chunks on disk to the tree in memory: each is read and verified, and they are joined, on all cores.
//!
//! Memory: the tree, and a chunk a thread.

use super::{Content, Store, StoreError, disk, error::Result};
use crate::{
    chunk,
    manifest::{ChunkRef, Manifest},
};
use ledger::state::tree::{JoinError, Subtree, Tree};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::path::Path;

impl Store {
    /// The state that a snapshot shows.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for a chunk that is not what its name says: it is set aside, with the snapshots that need it. Load
    /// an older one, or fetch the chunk.
    pub fn load(&self, manifest: &Manifest) -> Result<Tree> {
        let _pin = self.pin(manifest.chunk_ids());
        let id = manifest.id();
        let read = |chunk: &ChunkRef| {
            let content = read_chunk(&self.chunk_path(&chunk.id()), manifest, chunk)?;
            self.whole(chunk.id(), content)
        };
        join(manifest, read, |source| StoreError::Join { id, source })
    }
}

/// Reads a chunk and verifies it.
pub(super) fn read_chunk(
    path: &Path,
    manifest: &Manifest,
    chunk: &ChunkRef,
) -> Result<Content<Subtree>> {
    Ok(match disk::read(path, chunk::ENCODED_BYTES_MAX)? {
        Content::Whole(bytes) => match manifest.verify_chunk(chunk, &bytes) {
            Ok(verified) => Content::Whole(verified.into_subtree()),
            Err(error) => Content::Damaged(error.to_string()),
        },
        Content::Missing => Content::Missing,
        Content::Damaged(what) => Content::Damaged(what),
    })
}

/// The tree of the chunks that `read` gives.
pub(super) fn join<E: Send>(
    manifest: &Manifest,
    read: impl Fn(&ChunkRef) -> Result<Subtree, E> + Send + Sync,
    failed: impl FnOnce(JoinError) -> E,
) -> Result<Tree, E> {
    let chunks = manifest.chunks().par_iter();
    let subtrees = chunks.map(read).collect::<Result<Vec<Subtree>, E>>()?;
    let tree = Tree::join(&subtrees).map_err(failed)?;
    // Verified chunks of a verified manifest cannot give another root.
    debug_assert_eq!(tree.root(), manifest.root());
    Ok(tree)
}
