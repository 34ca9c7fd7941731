//! The snapshot of which a node keeps some chunks: one that follows spaces has no whole one.
//!
//! At most one is kept: a newer one takes its place when all that is wanted of it is there, and until then the older one stays as
//! it is. So a crash leaves the one or the other.

use super::{
    Store, StoreError,
    disk::{self, Durable},
    error::Result,
    homes::hashes_in,
};
use crate::{
    chunk::ChunkId,
    manifest::{ChunkRef, Manifest, ManifestId},
    scope::Scope,
};
use ledger::{
    state::tree::{Subtree, Tree},
    store::disk::{fsync_dir, remove_file},
};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

/// A snapshot in parts, as the store keeps it.
#[derive(Debug)]
pub(super) struct Parts {
    manifest: Arc<Manifest>,
    /// The chunks that are kept of it.
    pub(super) ids: BTreeSet<ChunkId>,
}

/// What is kept of a snapshot.
#[derive(Clone, Debug)]
pub struct KeptParts {
    /// The snapshot.
    pub manifest: Arc<Manifest>,
    /// Its chunks within the scope, joined; nothing if one of them is missing or damaged.
    pub tree: Option<Tree>,
}

impl Store {
    /// Keeps what `scope` takes of a snapshot, all of which is there, and no longer what was kept of another one, nor a sync's
    /// target.
    ///
    /// # Errors
    /// [`StoreError::NotWhole`]; [`StoreError::Io`], and then what was kept before still is.
    pub fn put_parts(&self, manifest: &Arc<Manifest>, scope: &Scope) -> Result<()> {
        self.sync_chunks()?;
        let chunks = wanted(manifest, scope);
        {
            let mut index = self.index();
            let missing = chunks.iter().filter(|c| !index.homes.contains(&c.id()));
            let missing = missing.count() as u64;
            if missing > 0 {
                let id = manifest.id();
                return Err(StoreError::NotWhole { id, missing });
            }
            disk::write(
                &self.parts_path(&manifest.id()),
                &manifest.encode(),
                Durable::Yes,
            )?;
            fsync_dir(&self.parts_dir())?;
            index.parts = Some(Parts {
                ids: chunks.iter().map(|chunk| chunk.id()).collect(),
                manifest: Arc::clone(manifest),
            });
        }
        self.forget_parts_but(Some(manifest.id()))?;
        self.clear_sync_target()?;
        self.sweep()?;
        Ok(())
    }

    /// What is kept of the snapshot in parts, if there is one: of its chunks those within `scope`, verified. No others are kept
    /// from here on.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn load_parts(&self, scope: &Scope) -> Result<Option<KeptParts>> {
        let Some(manifest) = self.index().parts.as_ref().map(|p| Arc::clone(&p.manifest)) else {
            return Ok(None);
        };
        let chunks = wanted(&manifest, scope);
        if let Some(parts) = &mut self.index().parts {
            parts.ids = chunks.iter().map(|chunk| chunk.id()).collect();
        }
        let read = |chunk: &&ChunkRef| Ok(self.load_chunk(&manifest, chunk)?.into_subtree());
        let subtrees: Result<Vec<Subtree>> = chunks.par_iter().map(read).collect();
        let tree = match subtrees {
            Ok(subtrees) => {
                let tree = Tree::join(&subtrees);
                let id = manifest.id();
                Some(tree.map_err(|source| StoreError::Join { id, source })?)
            }
            Err(error @ StoreError::Io { .. }) => return Err(error),
            Err(_) => None,
        };
        Ok(Some(KeptParts { manifest, tree }))
    }

    /// Keeps nothing any more of a snapshot in parts.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn clear_parts(&self) -> Result<()> {
        self.index().parts = None;
        self.forget_parts_but(None)
    }

    /// At a start: the newest, should a crash have left two.
    pub(super) fn read_parts(&self, index: &mut super::Index) -> Result<()> {
        for (name, path) in hashes_in(&self.parts_dir())? {
            match self.read_manifest_file(&path, ManifestId(name))? {
                Ok(manifest) => {
                    let newest = index.parts.as_ref().map(|parts| parts.manifest.height());
                    if newest.is_none_or(|newest| newest < manifest.height()) {
                        index.parts = Some(Parts {
                            ids: manifest.chunk_ids().collect(),
                            manifest: Arc::new(manifest),
                        });
                    }
                }
                Err(what) => {
                    self.set_aside(index, &path, &what)?;
                }
            }
        }
        Ok(())
    }

    fn forget_parts_but(&self, kept: Option<ManifestId>) -> Result<()> {
        for (name, path) in hashes_in(&self.parts_dir())? {
            if kept != Some(ManifestId(name)) {
                remove_file(&path)?;
            }
        }
        Ok(fsync_dir(&self.parts_dir())?)
    }

    fn parts_dir(&self) -> PathBuf {
        self.shared.dir.join("parts")
    }

    fn parts_path(&self, id: &ManifestId) -> PathBuf {
        self.parts_dir().join(id.to_string())
    }
}

fn wanted<'a>(manifest: &'a Manifest, scope: &Scope) -> Vec<&'a ChunkRef> {
    let chunks = scope.chunks(manifest).into_iter();
    chunks.filter_map(|at| manifest.chunks().get(at)).collect()
}
