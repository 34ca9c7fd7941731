//! What is kept: derived from the manifests that are kept and from work under way, and from nothing that is noted elsewhere.

use super::{Index, Store, error::Result, homes::Home};
use crate::{
    chunk::ChunkId,
    manifest::{Manifest, ManifestId},
};
use ledger::{
    store::disk::{fsync_dir, remove_file},
    units::Height,
};
use std::collections::BTreeSet;

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

/// What a pin keeps.
#[derive(Debug)]
pub(super) struct Pinned {
    ids: BTreeSet<ChunkId>,
    /// The snapshot that is being written.
    written: Option<ManifestId>,
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
        self.pin_all(ids.into_iter().collect(), None)
    }

    /// Keeps the chunks of a snapshot that is being written, and its patch file.
    pub(super) fn pin_written(&self, manifest: &Manifest) -> Pin {
        self.pin_all(manifest.chunk_ids().collect(), Some(manifest.id()))
    }

    fn pin_all(&self, ids: BTreeSet<ChunkId>, written: Option<ManifestId>) -> Pin {
        let mut index = self.index();
        index.pins_made += 1;
        let number = index.pins_made;
        index.pins.insert(number, Pinned { ids, written });
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
        let chunks = self.remove_unneeded()?;
        self.compact()?;
        Ok(Removed { manifests, chunks })
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

    /// Removes the chunks that nothing needs: from the store at once, their files then one by one, as others may put what
    /// was not needed a moment ago.
    fn remove_unneeded(&self) -> Result<u64> {
        let (count, removing) = {
            let mut index = self.index();
            let needed = index.needed();
            let unneeded = index.homes.retain(&needed);
            for (id, home) in &unneeded {
                if matches!(home, Home::Whole { .. }) {
                    index.removing.insert(*id);
                    index.unsynced.remove(id);
                }
            }
            (unneeded.len() as u64, index.removing.clone())
        };
        for id in removing {
            let mut index = self.index();
            if index.removing.contains(&id) {
                remove_file(&self.chunk_path(&id))?;
                index.removing.remove(&id);
            }
        }
        Ok(count)
    }

    /// Removes patch files in which nothing is needed, and writes those anew of which the greater part is not.
    fn compact(&self) -> Result<()> {
        let mut index = self.index();
        let live = index.homes.live_bytes();
        let files: Vec<(ManifestId, u64)> = index
            .homes
            .files
            .iter()
            .filter(|(id, _)| !index.is_being_written(id))
            .map(|(id, file)| (*id, file.len()))
            .collect();
        for (id, len) in files {
            match live.get(&id) {
                None => {
                    remove_file(&index.homes.patch_path(&id))?;
                    index.homes.files.remove(&id);
                }
                Some(live) if *live < len / 2 => index.homes.rewrite(id)?,
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Removes chunks that nothing needs, and no snapshot.
    ///
    /// # Errors
    /// As [`Self::retain`].
    pub fn sweep(&self) -> Result<Removed> {
        self.retain(usize::MAX, &BTreeSet::new())
    }
}

impl Index {
    /// What the manifests, the parts, the sync and work under way need, and what that is patches on.
    fn needed(&self) -> BTreeSet<ChunkId> {
        let kept = self.manifests.values().flat_map(|m| m.chunk_ids());
        let pinned = self.pins.values().flat_map(|pin| pin.ids.iter().copied());
        let target = self.target.iter().flat_map(|target| target.chunk_ids());
        let parts = self
            .parts
            .iter()
            .flat_map(|parts| parts.ids.iter().copied());
        self.homes
            .with_bases(kept.chain(pinned).chain(target).chain(parts))
    }

    /// Whether patches may yet be appended to the file of this snapshot.
    fn is_being_written(&self, id: &ManifestId) -> bool {
        let pinned = self.pins.values().any(|pin| pin.written == Some(*id));
        pinned || self.target.as_ref().is_some_and(|t| t.id() == *id)
    }
}
