//! The chunk store: whole snapshots on disk, each chunk once.
//!
//! ```text
//! DIR/manifests/ID    one file a snapshot            DIR/sync/target    the manifest of the sync under way
//! DIR/chunks/ID       one file a chunk               DIR/damaged/       what was found damaged, for a look
//! ```
//! Names are hashes that this node computed, in hex; no name ever comes from a peer. Each file ends in a checksum.
//!
//! # For, and not for
//! For: keeping snapshots that can be offered and loaded, and the chunks of a sync under way. Not for: recent state (the
//! block log and the tree in memory have it), or several processes at once (the node's folder is locked by the ledger's store).
//!
//! # What always holds
//! - A manifest's file is there only while all its chunks are: chunks are durable before it is written, and it is gone
//!   durably before any of them is removed. So whatever a crash leaves is whole, or is an unneeded chunk, removed later.
//! - What to keep is derived from the manifests that are kept, from the target of a sync, and from the [`Pin`]s of work
//!   under way; from nothing else.
//! - A damaged file is never served: the checksum is checked on each read and the subtree's hash on each load. Damaged files
//!   are set aside, with the manifests that need them, and reported by [`Store::take_damage`].
//!
//! # Cost
//! A chunk costs a file and an fsync; folders are synced once a snapshot. In memory: 40 bytes a chunk and the kept manifests.

mod disk;
mod error;
mod inspect;
mod load;
mod retention;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;

pub use error::{Result, StoreError};
pub use inspect::{Inspector, Kept, Unloadable};
pub use retention::{Pin, Removed};
pub use writer::{SnapshotReport, write_snapshot};

use crate::{
    chunk::{self, ChunkId},
    manifest::{MANIFEST_BYTES_MAX, Manifest, ManifestId, UntrustedManifest},
};
use disk::Content;
use ledger::{
    hash::Hash,
    store::disk::{TEMPORARY_END, create_dir, fsync_dir, names, remove_file, rename},
    units::Height,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const TARGET: &str = "target";

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
    chunks: BTreeSet<ChunkId>,
    manifests: BTreeMap<(Height, ManifestId), Arc<Manifest>>,
    target: BTreeSet<ChunkId>,
    pins: BTreeMap<u64, BTreeSet<ChunkId>>,
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
        for folder in ["manifests", "chunks", "sync", "damaged"] {
            let folder = dir.join(folder);
            create_dir(&folder)?;
        }
        fsync_dir(dir)?;
        let mut index = store.index();
        for name in store.own_names("chunks")? {
            index.chunks.insert(ChunkId(name));
        }
        for name in store.own_names("manifests")? {
            let id = ManifestId(name);
            match store.read_manifest_file(&store.manifest_path(&id), id)? {
                Ok(manifest) if index.missing(&manifest) == 0 => {
                    index.insert(manifest);
                }
                Ok(manifest) => {
                    let what = format!("{} of its chunks are missing", index.missing(&manifest));
                    store.set_aside(&mut index, &store.manifest_path(&id), &what)?;
                }
                Err(what) => {
                    store.set_aside(&mut index, &store.manifest_path(&id), &what)?;
                }
            }
        }
        for name in names(&dir.join("sync"))? {
            if name != TARGET {
                remove_file(&dir.join("sync").join(name))?;
            }
        }
        drop(index);
        if let Some(target) = store.read_sync_target()? {
            store.index().target = target.chunk_ids().collect();
        }
        Ok(store)
    }

    /// The hashes that are names of files in a folder of ours; temporary files are removed, strange ones left alone.
    fn own_names(&self, folder: &str) -> Result<Vec<Hash>> {
        let folder = self.shared.dir.join(folder);
        let mut hashes = Vec::new();
        for name in names(&folder)? {
            if name.ends_with(TEMPORARY_END) {
                remove_file(&folder.join(&name))?;
            } else if let Ok(hash) = name.parse::<Hash>()
                && hash.to_string() == name
            {
                hashes.push(hash);
            }
        }
        Ok(hashes)
    }

    /// Puts a chunk, whose bytes the caller has verified or made. Pin its id, or [`Self::retain`] may take it for unneeded.
    ///
    /// # Errors
    /// [`StoreError::Io`]; then the chunk is not there.
    pub fn put_chunk(&self, id: ChunkId, bytes: &[u8]) -> Result<()> {
        disk::write(&self.chunk_path(&id), bytes)?;
        self.index().chunks.insert(id);
        Ok(())
    }

    /// Whether a chunk is there, by its name.
    pub fn has_chunk(&self, id: &ChunkId) -> bool {
        self.index().chunks.contains(id)
    }

    /// The ids of all chunks: what a sync need not fetch.
    pub fn chunk_ids(&self) -> BTreeSet<ChunkId> {
        self.index().chunks.clone()
    }

    /// A chunk's bytes as they were put.
    ///
    /// # Errors
    /// [`StoreError::NoChunk`]; [`StoreError::Damaged`] when the checksum does not hold, and the file is set aside then.
    pub fn get_chunk_bytes(&self, id: &ChunkId) -> Result<Vec<u8>> {
        let path = self.chunk_path(id);
        let content = disk::read(&path, chunk::ENCODED_BYTES_MAX)?;
        self.whole(*id, content)
    }

    /// What was read of a chunk; corrects the index if it is not there or damaged.
    fn whole<T>(&self, id: ChunkId, content: Content<T>) -> Result<T> {
        match content {
            Content::Whole(whole) => Ok(whole),
            Content::Missing => {
                self.forget_chunk(id)?;
                Err(StoreError::NoChunk(id))
            }
            Content::Damaged(what) => Err(self.damaged_chunk(id, what)?),
        }
    }

    /// Bytes on disk of the chunks that a snapshot has and no older one that is kept.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn new_bytes(&self, manifest: &Manifest) -> Result<u64> {
        let new: BTreeSet<ChunkId> = {
            let index = self.index();
            let older = index.manifests.range(..(manifest.height(), manifest.id()));
            let old: BTreeSet<ChunkId> = older.flat_map(|(_, m)| m.chunk_ids()).collect();
            manifest
                .chunk_ids()
                .filter(|id| !old.contains(id))
                .collect()
        };
        new.iter().map(|id| disk::len(&self.chunk_path(id))).sum()
    }

    /// Puts the manifest of a snapshot whose chunks are all there: from now on it is offered.
    ///
    /// # Errors
    /// [`StoreError::NotWhole`]; [`StoreError::Io`], and then the manifest is not there.
    pub fn put_manifest(&self, manifest: &Manifest) -> Result<()> {
        let mut index = self.index();
        let missing = index.missing(manifest);
        if missing > 0 {
            let id = manifest.id();
            return Err(StoreError::NotWhole { id, missing });
        }
        fsync_dir(&self.shared.dir.join("chunks"))?;
        let path = self.manifest_path(&manifest.id());
        disk::write(&path, &manifest.encode())?;
        fsync_dir(&self.shared.dir.join("manifests"))?;
        index.insert(manifest.clone());
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
        index.target = manifest.chunk_ids().collect();
        disk::write(&folder.join(TARGET), &manifest.encode())?;
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
        index.target.clear();
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

    /// Sets a damaged chunk aside, with every manifest that needs it, and gives the error to return.
    fn damaged_chunk(&self, id: ChunkId, what: String) -> Result<StoreError> {
        let path = self.chunk_path(&id);
        let mut index = self.index();
        self.drop_manifests_with(&mut index, id, "it needs a damaged chunk")?;
        index.chunks.remove(&id);
        let aside = self.set_aside(&mut index, &path, &what)?;
        Ok(StoreError::Damaged { path, aside, what })
    }

    /// Corrects the index about a chunk whose file is gone.
    fn forget_chunk(&self, id: ChunkId) -> Result<()> {
        let mut index = self.index();
        // Retention may have removed it between a caller's look and its read: then the index knows.
        if index.chunks.remove(&id) {
            let what = format!("{}: it is gone", self.chunk_path(&id).display());
            index.report(what);
            self.drop_manifests_with(&mut index, id, "it needs a chunk that is gone")?;
        }
        Ok(())
    }

    fn drop_manifests_with(&self, index: &mut Index, id: ChunkId, what: &str) -> Result<()> {
        let broken: Vec<(Height, ManifestId)> = index
            .manifests
            .values()
            .filter(|m| m.chunk(&id).is_some())
            .map(|m| (m.height(), m.id()))
            .collect();
        for key in broken {
            index.manifests.remove(&key);
            self.set_aside(index, &self.manifest_path(&key.1), what)?;
        }
        Ok(())
    }

    fn set_aside(&self, index: &mut Index, path: &Path, what: &str) -> Result<PathBuf> {
        let name = path.file_name().unwrap_or_default();
        let aside = self.shared.dir.join("damaged").join(name);
        if path.exists() {
            rename(path, &aside)?;
        }
        let report = format!(
            "{}: {what}; set aside as {}",
            path.display(),
            aside.display()
        );
        index.report(report);
        Ok(aside)
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
        let missing = |id: &ChunkId| !self.chunks.contains(id);
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
