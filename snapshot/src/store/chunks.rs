//! Chunks in and out of the store, whole or as patches.

use super::{
    Index, Store, StoreError,
    disk::{self, Durable},
    error::Result,
    homes::{Broken, Chain, Home},
    patches::PatchFile,
};
use crate::{
    chunk::{self, ChunkId, VerifiedChunk, patch},
    manifest::{ChunkRef, Manifest, ManifestId},
};
use ledger::{
    state::tree::{Subtree, Tree},
    store::disk::rename,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

impl Store {
    /// Puts a chunk of the snapshot `target`: its bytes, whole or a patch on a chunk that is here, which the caller has
    /// verified or made. A patch too many is not kept as one: the chunk is written whole then. Gives the bytes that it
    /// takes on disk, none if the chunk is there already.
    ///
    /// Pin its id, or [`Self::retain`] may take it for unneeded. Durable when the manifest is put.
    ///
    /// # Errors
    /// [`StoreError::Io`]; then the chunk is not there.
    pub fn put_chunk(&self, target: ManifestId, chunk: &Subtree, bytes: &[u8]) -> Result<u64> {
        let id = ChunkId(chunk.hash());
        let Some(base) = patch::base_of(bytes) else {
            return self.put_whole(id, bytes);
        };
        if let Some(written) = self.put_patch(target, id, base, bytes)? {
            return Ok(written);
        }
        self.put_whole(id, &chunk::encode(chunk)?)
    }

    /// Makes a whole chunk durable that was put. Putting the manifest does that with all; who fetches many files wants less to
    /// be left for the end. Nothing to do for a patch, which shares its file with others.
    ///
    /// # Errors
    /// [`StoreError::Io`]; then it is not durable.
    pub fn sync_chunk(&self, id: &ChunkId) -> Result<()> {
        if !self.index().unsynced.contains(id) {
            return Ok(());
        }
        disk::sync(&self.chunk_path(id))?;
        self.index().unsynced.remove(id);
        Ok(())
    }

    fn put_whole(&self, id: ChunkId, bytes: &[u8]) -> Result<u64> {
        let path = self.chunk_path(&id);
        {
            let mut index = self.index();
            if index.homes.contains(&id) {
                return Ok(0);
            }
            // Its old file is not to be removed any more: it gets a new one.
            index.removing.remove(&id);
        }
        disk::write(&path, bytes, Durable::Later)?;
        let bytes = disk::len(&path)?;
        let mut index = self.index();
        index.homes.put(id, Home::Whole { bytes });
        index.unsynced.insert(id);
        Ok(bytes)
    }

    /// Nothing, if the patch is not taken.
    fn put_patch(
        &self,
        target: ManifestId,
        id: ChunkId,
        base: ChunkId,
        bytes: &[u8],
    ) -> Result<Option<u64>> {
        let mut index = self.index();
        if index.homes.contains(&id) {
            return Ok(Some(0));
        }
        if !index.homes.takes_patch(&base, bytes.len()) {
            return Ok(None);
        }
        let file = index.patch_file(target)?;
        let record = file.append(id, base, bytes)?;
        index.homes.put(id, Home::Patch { file, record });
        Ok(Some(record.stored_bytes()))
    }

    /// Reads one of a snapshot's chunks and verifies it.
    ///
    /// # Errors
    /// [`StoreError::NoChunk`]; [`StoreError::Damaged`] when it is not what its name says: it is set aside then, with the
    /// snapshots that need it.
    pub fn load_chunk(&self, manifest: &Manifest, chunk: &ChunkRef) -> Result<VerifiedChunk> {
        let id = chunk.id();
        let loaded = self.chain(&id)?.load(manifest, chunk)?;
        loaded.map_err(|broken| self.broken(broken, id))
    }

    /// One of a snapshot's chunks for a peer: as a patch on `base`, if the peer has that and a patch is at hand or can be made,
    /// else whole.
    ///
    /// # Errors
    /// As [`Self::load_chunk`].
    pub fn chunk_for_peer(
        &self,
        manifest: &Manifest,
        chunk: &ChunkRef,
        base: Option<ChunkId>,
    ) -> Result<Vec<u8>> {
        let id = chunk.id();
        let chain = self.chain(&id)?;
        if let Some(base) = base {
            let patch = chain.patch_from(&base, chunk.bytes)?;
            if let Some(patch) = patch.map_err(|broken| self.broken(broken, id))? {
                return Ok(patch);
            }
            if let Some(patch) = self.difference(manifest, chunk, base)? {
                return Ok(patch);
            }
        }
        if chain.patches.is_empty() {
            let whole = chain.read_whole()?;
            return whole.map_err(|broken| self.broken(broken, id));
        }
        let chunk = self.load_chunk(manifest, chunk)?;
        Ok(chunk::encode(chunk.subtree())?)
    }

    /// A patch from one kept chunk to another that is not made of it, if it is worth sending.
    fn difference(
        &self,
        manifest: &Manifest,
        chunk: &ChunkRef,
        base: ChunkId,
    ) -> Result<Option<Vec<u8>>> {
        let kept = self.manifests();
        let Some((old, base)) = kept.iter().find_map(|m| Some((m, m.chunk(&base)?))) else {
            return Ok(None);
        };
        let base_tree = Tree::from(self.load_chunk(old, base)?.into_subtree());
        let new = self.load_chunk(manifest, chunk)?;
        let Some(below) = base_tree.subtree(&chunk.prefix) else {
            return Ok(None);
        };
        let plain_max = chunk.bytes / 2;
        Ok(patch::encode(base.id(), &below, new.subtree(), plain_max)?)
    }

    fn chain(&self, id: &ChunkId) -> Result<Chain> {
        let chain = self.index().homes.chain(id);
        chain.ok_or(StoreError::NoChunk(*id))
    }

    /// Corrects the index about what cannot be read, and gives the error to return to who wanted chunk `wanted`.
    pub(super) fn broken(&self, broken: Broken, wanted: ChunkId) -> StoreError {
        let Broken { id, path, what } = broken;
        let corrected = match what {
            None => self.gone(id, &path),
            Some(what) => return self.damaged(id, path, what).unwrap_or_else(|error| error),
        };
        corrected.err().unwrap_or(StoreError::NoChunk(wanted))
    }

    /// Sets a damaged chunk aside, with every manifest that needs it, and gives the error to return.
    fn damaged(&self, id: ChunkId, path: PathBuf, what: String) -> Result<StoreError> {
        let mut index = self.index();
        let is_whole = matches!(index.homes.get(&id), Some(Home::Whole { .. }));
        if !index.homes.remove(&id) {
            return Ok(StoreError::NoChunk(id));
        }
        self.drop_manifests_not_whole(&mut index, "it needs a damaged chunk")?;
        if !is_whole {
            // Others in the file are sound.
            index.report(format!("{}: {what}; it is used no more", path.display()));
            return Ok(StoreError::DamagedPatch { path, what });
        }
        let aside = self.set_aside(&mut index, &path, &what)?;
        Ok(StoreError::Damaged { path, aside, what })
    }

    /// Corrects the index about a chunk whose file is gone.
    fn gone(&self, id: ChunkId, path: &Path) -> Result<()> {
        let mut index = self.index();
        // Retention may have removed it between a caller's look and its read: then the index knows.
        if index.homes.remove(&id) {
            index.report(format!("{}: it is gone", path.display()));
            self.drop_manifests_not_whole(&mut index, "it needs a chunk that is gone")?;
        }
        Ok(())
    }

    fn drop_manifests_not_whole(&self, index: &mut Index, what: &str) -> Result<()> {
        let broken: Vec<_> = index
            .manifests
            .iter()
            .filter(|(_, m)| index.missing(m) > 0)
            .map(|(key, _)| *key)
            .collect();
        for key in broken {
            index.manifests.remove(&key);
            self.set_aside(index, &self.manifest_path(&key.1), what)?;
        }
        Ok(())
    }

    pub(super) fn set_aside(&self, index: &mut Index, path: &Path, what: &str) -> Result<PathBuf> {
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
}

impl Index {
    /// The patch file of a snapshot, made if it is not there.
    fn patch_file(&mut self, target: ManifestId) -> Result<Arc<PatchFile>> {
        if let Some(file) = self.homes.files.get(&target) {
            return Ok(Arc::clone(file));
        }
        let path = self.homes.patch_path(&target);
        let file = Arc::new(PatchFile::create(&path, target)?);
        self.homes.files.insert(target, Arc::clone(&file));
        Ok(file)
    }
}
