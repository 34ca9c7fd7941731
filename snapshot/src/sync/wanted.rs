//! A chunk that is asked for, and what tells it from any other bytes.

use crate::{
    chunk::{ChunkError, ChunkId, VerifiedChunk, patch},
    manifest::{ChunkRef, Manifest},
};
use ledger::state::tree::Subtree;
use std::sync::Arc;

/// A chunk of the target. Goes to whichever thread verifies what comes for it.
#[derive(Clone, Debug)]
pub struct WantedChunk {
    pub(super) manifest: Arc<Manifest>,
    pub(super) chunk: ChunkRef,
    /// What an older snapshot at hand has in its place: a patch on that will do as well.
    pub(super) base: Option<(ChunkId, Subtree)>,
}

impl WantedChunk {
    /// Which it is.
    pub const fn id(&self) -> ChunkId {
        self.chunk.id()
    }

    /// A chunk on which a patch will do as well.
    pub fn base(&self) -> Option<ChunkId> {
        self.base.as_ref().map(|(id, _)| *id)
    }

    /// Verifies what came for it: all of it, or a patch on its base.
    ///
    /// # Errors
    /// [`ChunkError::NotAsListed`] convicts the manifest, [`ChunkError::Form`] nobody, and every other the bytes.
    pub fn verify(&self, bytes: &[u8]) -> Result<VerifiedChunk, ChunkError> {
        match (&self.base, patch::base_of(bytes)) {
            (Some((_, base)), Some(_)) => self.manifest.verify_patch(&self.chunk, base, bytes),
            _ => self.manifest.verify_chunk(&self.chunk, bytes),
        }
    }
}
