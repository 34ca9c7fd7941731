//! What is kept: derived from the manifests that are kept and from work under way, and from nothing that is noted elsewhere.

use super::{Store, error::Result};
use crate::{chunk::ChunkId, manifest::ManifestId};
use ledger::{
    store::disk::{fsync_dir, remove_file},
    units::Height,
};
use std::collections::BTreeSet;

/// Chunks that are removed before others get a turn at the store.
const REMOVED_AT_ONCE: usize = 64;

/// What [`Store::retain`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Snapshots.
    pub manifests: u64,
    /// Chunks.
    pub chunks: u64,
}

/// Keeps chunks from being removed while this lives: those of a snapshot being written, fetched or read.
#[derive(Debug)]
pub struct Pin {
    store: Store,
    number: u64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.store.index().pins.remove(&self.number);
    }
}

impl Store {
    /// Keeps these chunks, present or to come, from being removed while the pin lives.
    #[must_use = "the chunks are kept while the pin lives"]
    pub fn pin(&self, ids: impl IntoIterator<Item = ChunkId>) -> Pin {
        let mut index = self.index();
        index.pins_made += 1;
        let number = index.pins_made;
        index.pins.insert(number, ids.into_iter().collect());
        let store = self.clone();
        Pin { store, number }
    }

    /// Keeps the `keep_last` newest snapshots, at least one, and those `in_use`: a peer that is fetching one shall find it
    /// to the end. Removes the others, and the chunks that nothing needs.
    ///
    /// # Errors
    /// `Io`. What is left is whole, and a further call goes on.
    pub fn retain(&self, keep_last: usize, in_use: &BTreeSet<ManifestId>) -> Result<Removed> {
        let manifests = self.remove_old(keep_last, in_use)?;
        let mut chunks = 0;
        loop {
            let removed = self.remove_unneeded()?;
            chunks += removed;
            if removed == 0 {
                return Ok(Removed { manifests, chunks });
            }
        }
    }

    fn remove_old(&self, keep_last: usize, in_use: &BTreeSet<ManifestId>) -> Result<u64> {
        let mut index = self.index();
        let old: Vec<(Height, ManifestId)> = index
            .manifests
            .keys()
            .rev()
            .skip(keep_last.max(1))
            .filter(|(_, id)| !in_use.contains(id))
            .copied()
            .collect();
        for key in &old {
            // Not offered from here on, whether or not the file goes.
            index.manifests.remove(key);
            remove_file(&self.manifest_path(&key.1))?;
        }
        // Also when no manifest went just now: an earlier call may have failed in between.
        fsync_dir(&self.shared.dir.join("manifests"))?;
        Ok(old.len() as u64)
    }

    /// Removes some of the chunks that nothing needs. What is needed is found anew each time: between two calls others may
    /// pin or put what was not needed before.
    fn remove_unneeded(&self) -> Result<u64> {
        let mut index = self.index();
        let needed: BTreeSet<ChunkId> = index
            .manifests
            .values()
            .flat_map(|m| m.chunk_ids())
            .chain(index.pins.values().flatten().copied())
            .chain(index.target.iter().copied())
            .collect();
        let unneeded = index.chunks.difference(&needed).copied();
        let unneeded: Vec<ChunkId> = unneeded.take(REMOVED_AT_ONCE).collect();
        for id in &unneeded {
            index.chunks.remove(id);
            remove_file(&self.chunk_path(id))?;
        }
        Ok(unneeded.len() as u64)
    }

    /// Removes chunks that nothing needs, and no snapshot.
    ///
    /// # Errors
    /// As [`Self::retain`].
    pub fn sweep(&self) -> Result<Removed> {
        self.retain(usize::MAX, &BTreeSet::new())
    }
}
