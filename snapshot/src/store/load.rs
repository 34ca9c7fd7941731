//! From the chunks on disk to the tree in memory.

use super::{Store, StoreError, error::Result};
use crate::manifest::{ChunkRef, Manifest};
use ledger::state::tree::{Subtree, Tree};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

impl Store {
    /// The state that a snapshot shows: reads its chunks, verifies each, and joins them, on all cores.
    ///
    /// Memory: the tree, and a chunk a thread.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for a chunk that is not what its name says: it is set aside, with the snapshots that need it. Load
    /// an older one, or fetch the chunk.
    pub fn load(&self, manifest: &Manifest) -> Result<Tree> {
        let _pin = self.pin(manifest.chunk_ids());
        let subtrees = manifest
            .chunks()
            .par_iter()
            .map(|chunk| self.load_chunk(manifest, chunk))
            .collect::<Result<Vec<Subtree>>>()?;
        let id = manifest.id();
        let tree = Tree::join(&subtrees).map_err(|source| StoreError::Join { id, source })?;
        // Verified chunks of a verified manifest cannot give another root.
        debug_assert_eq!(tree.root(), manifest.root());
        Ok(tree)
    }

    fn load_chunk(&self, manifest: &Manifest, chunk: &ChunkRef) -> Result<Subtree> {
        let bytes = self.get_chunk_bytes(&chunk.id())?;
        match manifest.verify_chunk(chunk, &bytes) {
            Ok(verified) => Ok(verified.into_subtree()),
            Err(error) => Err(self.damaged_chunk(chunk.id(), error.to_string())?),
        }
    }
}
