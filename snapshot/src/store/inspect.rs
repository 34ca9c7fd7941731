//! Looking at a store without touching it: nothing is made, removed, repaired or set aside.
//!
//! For an audit, which may look while the node that owns the folder takes and removes snapshots. So a chunk or a manifest
//! that was there a moment ago may be gone, which is no damage.
//!
//! # Trust
//! None: manifests come out as [`UntrustedManifest`], and each chunk is verified against its verified manifest.

use super::{
    MANIFEST_BYTES_MAX, StoreError, TARGET,
    disk::{self, Content},
    error::Result,
    homes::{Broken, Homes},
    load::join,
};
use crate::{
    chunk::ChunkId,
    manifest::{ChunkRef, Manifest, UntrustedManifest},
};
use ledger::{
    state::tree::{JoinError, Tree},
    store::disk::{TEMPORARY_END, names},
};
use std::path::{Path, PathBuf};

/// Why a snapshot cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Unloadable {
    /// A chunk's file is gone.
    #[error("chunk {0} is not in the store")]
    NoChunk(ChunkId),
    /// A chunk's file is not what was written.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The disk.
    #[error(transparent)]
    Disk(#[from] StoreError),
    /// Verified chunks that make no tree: an error of this program.
    #[error("its chunks do not join ({0}); this is a bug, please report it")]
    Join(JoinError),
}

/// What a store's folder holds.
#[derive(Debug, Default)]
pub struct Kept {
    /// The manifests that can be read, lowest height first.
    pub manifests: Vec<UntrustedManifest>,
    /// What is wrong with the others, each with its file.
    pub unreadable: Vec<String>,
}

/// Looks at the store in one folder.
#[derive(Clone, Debug)]
pub struct Inspector {
    dir: PathBuf,
}

impl Inspector {
    /// Of the store in `dir`, which need not be there.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// The manifests that are there.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn manifests(&self) -> Result<Kept> {
        let folder = self.dir.join("manifests");
        let mut kept = Kept::default();
        if !folder.is_dir() {
            return Ok(kept);
        }
        for name in names(&folder)? {
            if name.ends_with(TEMPORARY_END) {
                continue;
            }
            let path = folder.join(&name);
            let what = match disk::read(&path, MANIFEST_BYTES_MAX)? {
                Content::Missing => continue,
                Content::Damaged(what) => what,
                Content::Whole(bytes) => match UntrustedManifest::decode(&bytes) {
                    Ok(manifest) => {
                        kept.manifests.push(manifest);
                        continue;
                    }
                    Err(error) => error.to_string(),
                },
            };
            kept.unreadable.push(format!("{}: {what}", path.display()));
        }
        kept.manifests
            .sort_by_key(UntrustedManifest::height_claimed);
        Ok(kept)
    }

    /// Whether a snapshot is being fetched, or was when its node ended.
    pub fn is_syncing(&self) -> bool {
        self.dir.join("sync").join(TARGET).exists()
    }

    /// The state that a snapshot shows.
    ///
    /// # Errors
    /// [`Unloadable`].
    pub fn load(&self, manifest: &Manifest) -> Result<Tree, Unloadable> {
        let homes = Homes::scan(&self.dir, false)?;
        let read = |chunk: &ChunkRef| {
            let id = chunk.id();
            let chain = homes.chain(&id).ok_or(Unloadable::NoChunk(id))?;
            match chain.load(manifest, chunk)? {
                Ok(verified) => Ok(verified.into_subtree()),
                Err(Broken { what: None, .. }) => Err(Unloadable::NoChunk(id)),
                Err(Broken {
                    path,
                    what: Some(what),
                    ..
                }) => Err(Unloadable::Damaged { path, what }),
            }
        };
        join(manifest, read, Unloadable::Join)
    }
}
