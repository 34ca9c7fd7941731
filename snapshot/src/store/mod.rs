//! The chunk store: whole snapshots on disk, each chunk once.
//!
//! ```text
//! DIR/manifests/ID    one file a snapshot            DIR/sync/target    the manifest of the sync under way
//! DIR/chunks/ID       one file a whole chunk         DIR/damaged/       what was found damaged, for a look
//! DIR/patches/ID      the patches of one snapshot    DIR/parts/ID       the manifest of one of which some chunks are kept
//! ```
//! Names are hashes that this node computed, in hex; no name ever comes from a peer. Each file, and each patch, has a checksum.
//!
//! A chunk is kept whole or as a patch on another that is kept ([`crate::chunk::patch`]), so that writing follows what changed.
//! When the patches on a whole chunk pass half its size it is written whole again: a chain costs at most half as much again
//! as the chunk, to keep and to read.
//!
//! # For, and not for
//! For: keeping snapshots that can be offered and loaded, and the chunks of a sync under way. Not for: recent state (the
//! block log and the tree in memory have it), or several processes at once (the node's folder is locked by the ledger's store).
//!
//! # What always holds
//! - A manifest's file is there only while all its chunks are, and what they are patches on: all that is durable before it is
//!   written, and it is gone durably before any of them is removed. So whatever a crash leaves is whole, or is unneeded and
//!   removed at the next start.
//! - What to keep is derived from the manifests that are kept, from the target of a sync, and from the [`Pin`]s of work
//!   under way; from nothing else.
//! - A damaged file, or one in another's place, is never served: the checksum is checked on each read and the subtree's hash on each load. What is damaged
//!   is set aside, with the manifests that need it, and reported by [`Store::take_damage`].
//!
//! # Cost
//! A whole chunk costs a file; all files of a snapshot are synced together, before its manifest. In memory: some 100 bytes a
//! chunk and patch, and the kept manifests.

mod chunks;
mod disk;
mod error;
mod homes;
mod inspect;
mod load;
mod parts;
mod patches;
mod retention;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod patch_tests;
#[cfg(test)]
mod tests;

pub use error::{Result, StoreError};
pub use inspect::{Inspector, Kept, Unloadable};
pub use parts::KeptParts;
use parts::Parts;
use retention::Pinned;
pub use retention::{Pin, Removed};
pub use writer::{SnapshotReport, write_snapshot};

use crate::{
    chunk::ChunkId,
    manifest::{MANIFEST_BYTES_MAX, Manifest, ManifestId, UntrustedManifest},
};
use disk::{Content, Durable};
use homes::{Home, Homes, hashes_in};
use ledger::{
    store::disk::{TEMPORARY_END, create_dir, fsync_dir, names, remove_file},
    units::Height,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const TARGET: &str = "target";
const FOLDERS: [&str; 6] = ["manifests", "chunks", "patches", "parts", "sync", "damaged"];

/// The store of one folder. Cloning shares it; all methods may be called from any thread.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    index: Mutex<Index>,
}

/// What is on disk. The files change under this lock where a chunk could otherwise go while it is being relied on.
#[derive(Debug, Default)]
struct Index {
    homes: Homes,
    /// Whole chunks whose content is not durable yet.
    unsynced: BTreeSet<ChunkId>,
    /// Chunks that are not in the store any more and whose files are to go.
    removing: BTreeSet<ChunkId>,
    manifests: BTreeMap<(Height, ManifestId), Arc<Manifest>>,
    target: Option<UntrustedManifest>,
    parts: Option<Parts>,
    pins: BTreeMap<u64, Pinned>,
    pins_made: u64,
    damage: Vec<String>,
}

/// Reports of damage kept for [`Store::take_damage`]; more are counted by their files alone.
const DAMAGE_MAX: usize = 1_000;

impl Store {
    /// Opens the store of a folder, which is made if it is not there. Removes what an interrupted write left, and sets aside
    /// manifests that are damaged or not whole.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn open(dir: &Path) -> Result<Self> {
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            index: Mutex::default(),
        });
        let store = Self { shared };
        for folder in FOLDERS {
            create_dir(&dir.join(folder))?;
        }
        fsync_dir(dir)?;
        store.remove_unfinished()?;
        let mut index = store.index();
        index.homes = Homes::scan(dir, true)?;
        for (name, path) in hashes_in(&dir.join("manifests"))? {
            let id = ManifestId(name);
            match store.read_manifest_file(&path, id)? {
                Ok(manifest) if index.missing(&manifest) == 0 => {
                    index.insert(manifest);
                }
                Ok(manifest) => {
                    let what = format!("{} of its chunks are missing", index.missing(&manifest));
                    store.set_aside(&mut index, &path, &what)?;
                }
                Err(what) => {
                    store.set_aside(&mut index, &path, &what)?;
                }
            }
        }
        store.read_parts(&mut index)?;
        drop(index);
        if let Some(target) = store.read_sync_target()? {
            store.index().target = Some(target);
        }
        // What no manifest vouches for may be anything: it was not synced when the power failed.
        store.sweep()?;
        Ok(store)
    }

    /// Removes what was being written; strange files are left alone.
    fn remove_unfinished(&self) -> Result<()> {
        for folder in FOLDERS {
            let folder = self.shared.dir.join(folder);
            for name in names(&folder)? {
                if name.ends_with(TEMPORARY_END) {
                    remove_file(&folder.join(&name))?;
                }
            }
        }
        Ok(())
    }

    /// Whether a chunk is there, by its name.
    pub fn has_chunk(&self, id: &ChunkId) -> bool {
        self.index().homes.contains(id)
    }

    /// The ids of all chunks: what a sync need not fetch, and what patches may be put on.
    pub fn chunk_ids(&self) -> BTreeSet<ChunkId> {
        self.index().homes.ids()
    }

    /// Bytes on disk of the chunks that a snapshot has and no older one that is kept.
    pub fn new_bytes(&self, manifest: &Manifest) -> u64 {
        let index = self.index();
        let older = index.manifests.range(..(manifest.height(), manifest.id()));
        let old: BTreeSet<ChunkId> = older.flat_map(|(_, m)| m.chunk_ids()).collect();
        let new = manifest.chunk_ids().filter(|id| !old.contains(id));
        new.map(|id| index.homes.own_bytes(&id)).sum()
    }

    /// Bytes on disk of all chunks and patches.
    pub fn stored_bytes(&self) -> u64 {
        let index = self.index();
        let whole = index.homes.iter().map(|(_, home)| match home {
            Home::Whole { bytes } => *bytes,
            Home::Patch { .. } => 0,
        });
        let patches = index.homes.files.values().map(|file| file.len());
        whole.sum::<u64>() + patches.sum::<u64>()
    }

    /// Bytes that loading a snapshot reads.
    pub fn read_bytes(&self, manifest: &Manifest) -> u64 {
        let index = self.index();
        let bytes = |id| {
            index
                .homes
                .chain(&id)
                .map_or(0, |chain| chain.stored_bytes())
        };
        manifest.chunk_ids().map(bytes).sum()
    }

    /// Puts the manifest of a snapshot whose chunks are all there: from now on it is offered.
    ///
    /// # Errors
    /// [`StoreError::NotWhole`]; [`StoreError::Io`], and then the manifest is not there.
    pub fn put_manifest(&self, manifest: &Manifest) -> Result<()> {
        self.sync_chunks()?;
        let mut index = self.index();
        let missing = index.missing(manifest);
        if missing > 0 {
            let id = manifest.id();
            return Err(StoreError::NotWhole { id, missing });
        }
        let path = self.manifest_path(&manifest.id());
        disk::write(&path, &manifest.encode(), Durable::Yes)?;
        fsync_dir(&self.shared.dir.join("manifests"))?;
        index.insert(manifest.clone());
        Ok(())
    }

    /// Makes all chunks and patches durable.
    fn sync_chunks(&self) -> Result<()> {
        let (unsynced, files) = {
            let index = self.index();
            let files: Vec<_> = index.homes.files.values().cloned().collect();
            (index.unsynced.clone(), files)
        };
        for id in &unsynced {
            disk::sync(&self.chunk_path(id))?;
        }
        for file in files {
            file.sync()?;
        }
        fsync_dir(&self.shared.dir.join("chunks"))?;
        fsync_dir(&self.shared.dir.join("patches"))?;
        self.index().unsynced.retain(|id| !unsynced.contains(id));
        Ok(())
    }

    /// The whole snapshots, newest first: what may be offered.
    pub fn manifests(&self) -> Vec<Arc<Manifest>> {
        self.index().manifests.values().rev().cloned().collect()
    }

    /// A manifest.
    ///
    /// # Errors
    /// [`StoreError::NoManifest`].
    pub fn read_manifest(&self, id: &ManifestId) -> Result<Arc<Manifest>> {
        self.index()
            .manifests
            .values()
            .find(|m| m.id() == *id)
            .cloned()
            .ok_or(StoreError::NoManifest(*id))
    }

    /// Notes the manifest that a sync goes for: [`Self::retain`] keeps its chunks, and a restart finds it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn set_sync_target(&self, manifest: &Manifest) -> Result<()> {
        let folder = self.shared.dir.join("sync");
        let mut index = self.index();
        index.target = Some(manifest.as_untrusted());
        disk::write(&folder.join(TARGET), &manifest.encode(), Durable::Yes)?;
        Ok(fsync_dir(&folder)?)
    }

    /// The manifest of the sync that was under way, to be verified again. A damaged one is set aside.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn read_sync_target(&self) -> Result<Option<UntrustedManifest>> {
        let path = self.shared.dir.join("sync").join(TARGET);
        let what = match disk::read(&path, MANIFEST_BYTES_MAX)? {
            Content::Missing => return Ok(None),
            Content::Damaged(what) => what,
            Content::Whole(bytes) => match UntrustedManifest::decode(&bytes) {
                Ok(manifest) => return Ok(Some(manifest)),
                Err(error) => error.to_string(),
            },
        };
        self.set_aside(&mut self.index(), &path, &what)?;
        Ok(None)
    }

    /// Forgets the target: the sync is done, or given up.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn clear_sync_target(&self) -> Result<()> {
        let folder = self.shared.dir.join("sync");
        let mut index = self.index();
        remove_file(&folder.join(TARGET))?;
        fsync_dir(&folder)?;
        index.target = None;
        Ok(())
    }

    /// What was found damaged since the last call, for the operator.
    pub fn take_damage(&self) -> Vec<String> {
        std::mem::take(&mut self.index().damage)
    }

    fn read_manifest_file(
        &self,
        path: &Path,
        id: ManifestId,
    ) -> Result<std::result::Result<Manifest, String>> {
        Ok(match disk::read(path, MANIFEST_BYTES_MAX)? {
            Content::Whole(bytes) => UntrustedManifest::decode(&bytes)
                .and_then(|m| m.verify_own(id))
                .map_err(|e| e.to_string()),
            Content::Missing => Err("it is gone".to_owned()),
            Content::Damaged(what) => Err(what),
        })
    }

    fn chunk_path(&self, id: &ChunkId) -> PathBuf {
        self.shared.dir.join("chunks").join(id.to_string())
    }

    fn manifest_path(&self, id: &ManifestId) -> PathBuf {
        self.shared.dir.join("manifests").join(id.to_string())
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // No code that holds the lock leaves the index half changed.
        self.shared
            .index
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn missing(&self, manifest: &Manifest) -> u64 {
        let missing = |id: &ChunkId| !self.homes.contains(id);
        manifest.chunk_ids().filter(missing).count() as u64
    }

    fn insert(&mut self, manifest: Manifest) {
        let key = (manifest.height(), manifest.id());
        self.manifests.insert(key, Arc::new(manifest));
    }

    fn report(&mut self, what: String) {
        if self.damage.len() < DAMAGE_MAX {
            self.damage.push(what);
        }
    }
}
