//! From the chunks on disk to the tree in memory: each is read and verified, and they are joined, on all cores.
//!
//! Memory: the tree, and a chunk a thread.

use super::{Store, StoreError, error::Result};
use crate::manifest::{ChunkRef, Manifest};
use ledger::state::tree::{JoinError, Subtree, Tree};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

impl Store {
    /// The state that a snapshot shows.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for a chunk that is not what its name says: it is set aside, with the snapshots that need it. Load
    /// an older one, or fetch the chunk.
    pub fn load(&self, manifest: &Manifest) -> Result<Tree> {
        let _pin = self.pin(manifest.chunk_ids());
        let id = manifest.id();
        let read = |chunk: &ChunkRef| Ok(self.load_chunk(manifest, chunk)?.into_subtree());
        join(manifest, read, |source| StoreError::Join { id, source })
    }
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
