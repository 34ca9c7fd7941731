//! Where each chunk is: a file of its own, or a patch on another chunk in a patch file.
//!
//! What always holds: a patch is known here only while what it is a patch on is known. So a chunk that is known can be read,
//! through its [`Chain`], unless the disk is damaged.

use super::{
    disk::{self, Content},
    error::Result,
    patches::{PatchFile, Record},
};
use crate::{
    chunk::{self, ChunkError, ChunkId, VerifiedChunk, patch},
    manifest::{ChunkRef, Manifest, ManifestId},
};
use ledger::{
    hash::Hash,
    store::disk::{TEMPORARY_END, names},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Patches on one whole chunk, one on another: each is a read when the newest is wanted.
pub(super) const CHAIN_MAX: usize = 64;

/// Where one chunk is.
#[derive(Clone, Debug)]
pub(super) enum Home {
    /// In a file of its own, of so many bytes.
    Whole { bytes: u64 },
    /// In a patch file.
    Patch {
        file: Arc<PatchFile>,
        record: Record,
    },
}

/// Where all chunks are.
#[derive(Debug, Default)]
pub(super) struct Homes {
    dir: PathBuf,
    chunks: BTreeMap<ChunkId, Home>,
    /// The patch files, by the manifest that each was written for.
    pub files: BTreeMap<ManifestId, Arc<PatchFile>>,
}

/// What a chunk is made of: patches, the newest first, and a whole chunk.
#[derive(Debug)]
pub(super) struct Chain {
    pub patches: Vec<(Arc<PatchFile>, Record)>,
    whole: ChunkId,
    whole_path: PathBuf,
    /// Bytes of the whole chunk on disk.
    pub whole_bytes: u64,
}

/// A part of a chain that cannot be read.
#[derive(Debug)]
pub(super) struct Broken {
    /// The chunk whose own file or record it is.
    pub id: ChunkId,
    pub path: PathBuf,
    /// What is wrong; nothing if it is gone.
    pub what: Option<String>,
}

impl Homes {
    /// What is in a store's folder, which need not be there. With `repair`, unfinished ends are cut off.
    pub(super) fn scan(dir: &Path, repair: bool) -> Result<Self> {
        let mut homes = Self {
            dir: dir.to_owned(),
            ..Self::default()
        };
        for (name, path) in hashes_in(&dir.join("patches"))? {
            let (file, records) = PatchFile::open(&path, ManifestId(name), repair)?;
            let file = Arc::new(file);
            for record in records {
                let file = Arc::clone(&file);
                homes.put(record.id, Home::Patch { file, record });
            }
            homes.files.insert(ManifestId(name), file);
        }
        // After the patches: what is there both ways stands best by itself.
        for (name, path) in hashes_in(&dir.join("chunks"))? {
            let bytes = disk::len(&path)?;
            homes.put(ChunkId(name), Home::Whole { bytes });
        }
        homes.prune();
        Ok(homes)
    }

    pub(super) fn contains(&self, id: &ChunkId) -> bool {
        self.chunks.contains_key(id)
    }

    pub(super) fn get(&self, id: &ChunkId) -> Option<&Home> {
        self.chunks.get(id)
    }

    pub(super) fn ids(&self) -> BTreeSet<ChunkId> {
        self.chunks.keys().copied().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ChunkId, &Home)> {
        self.chunks.iter()
    }

    pub(super) fn put(&mut self, id: ChunkId, home: Home) {
        self.chunks.insert(id, home);
    }

    /// Forgets a chunk, and all that are patches on it. Says whether it was known.
    pub(super) fn remove(&mut self, id: &ChunkId) -> bool {
        let known = self.chunks.remove(id).is_some();
        if known {
            self.prune();
        }
        known
    }

    /// Forgets chunks that nothing needs: if a patch stays, what it is a patch on stays too.
    pub(super) fn retain(&mut self, needed: &BTreeSet<ChunkId>) -> Vec<(ChunkId, Home)> {
        let (kept, gone) = std::mem::take(&mut self.chunks)
            .into_iter()
            .partition(|(id, _)| needed.contains(id));
        self.chunks = kept;
        Vec::from_iter::<BTreeMap<ChunkId, Home>>(gone)
    }

    /// Writes the patch file of a snapshot anew, with the patches that are known here.
    pub(super) fn rewrite(&mut self, id: ManifestId) -> Result<()> {
        let Some(old) = self.files.get(&id).cloned() else {
            return Ok(());
        };
        let in_file = self.chunks.values().filter_map(|home| match home {
            Home::Patch { file, record } if Arc::ptr_eq(file, &old) => Some(*record),
            _ => None,
        });
        let records: Vec<Record> = in_file.collect();
        let Some((file, records)) = old.rewrite(&records)? else {
            return Ok(());
        };
        let file = Arc::new(file);
        for record in records {
            let file = Arc::clone(&file);
            self.put(record.id, Home::Patch { file, record });
        }
        self.files.insert(id, file);
        Ok(())
    }

    /// Bytes on disk of a chunk's own file or record.
    pub(super) fn own_bytes(&self, id: &ChunkId) -> u64 {
        match self.chunks.get(id) {
            Some(Home::Whole { bytes }) => *bytes,
            Some(Home::Patch { record, .. }) => record.stored_bytes(),
            None => 0,
        }
    }

    /// Bytes of the patches that are known here, in each patch file.
    pub(super) fn live_bytes(&self) -> BTreeMap<ManifestId, u64> {
        let mut live: BTreeMap<ManifestId, u64> = BTreeMap::new();
        for home in self.chunks.values() {
            if let Home::Patch { file, record } = home {
                *live.entry(file.name).or_default() += record.stored_bytes();
            }
        }
        live
    }

    /// Forgets patches on what is not known.
    fn prune(&mut self) {
        loop {
            let lost: Vec<ChunkId> = self
                .chunks
                .iter()
                .filter(|(_, home)| match home {
                    Home::Whole { .. } => false,
                    Home::Patch { record, .. } => !self.contains(&record.base),
                })
                .map(|(id, _)| *id)
                .collect();
            if lost.is_empty() {
                return;
            }
            for id in lost {
                self.chunks.remove(&id);
            }
        }
    }

    /// These, and what they are patches on.
    pub(super) fn with_bases(&self, ids: impl IntoIterator<Item = ChunkId>) -> BTreeSet<ChunkId> {
        let mut all = BTreeSet::new();
        for id in ids {
            let mut next = Some(id);
            while let Some(id) = next.take_if(|id| all.insert(*id)) {
                next = match self.chunks.get(&id) {
                    Some(Home::Patch { record, .. }) => Some(record.base),
                    _ => None,
                };
            }
        }
        all
    }

    /// What a chunk is made of; nothing if it is not known.
    pub(super) fn chain(&self, id: &ChunkId) -> Option<Chain> {
        let (mut patches, mut id) = (Vec::new(), *id);
        loop {
            match self.chunks.get(&id)? {
                Home::Whole { bytes } => {
                    return Some(Chain {
                        patches,
                        whole: id,
                        whole_path: self.chunk_path(&id),
                        whole_bytes: *bytes,
                    });
                }
                Home::Patch { file, record } => {
                    // Patches on each other in a ring: only damage makes one.
                    if patches.len() >= CHAIN_MAX {
                        return None;
                    }
                    patches.push((Arc::clone(file), *record));
                    id = record.base;
                }
            }
        }
    }

    /// Whether a patch of so many bytes may be put on a chunk: when the patches on a whole chunk pass half its size, it is
    /// written whole again. So writing, keeping and reading stay within a small factor of what changed and of the state.
    pub(super) fn takes_patch(&self, base: &ChunkId, bytes: usize) -> bool {
        self.chain(base).is_some_and(|chain| {
            let own = chain
                .patches
                .iter()
                .map(|(_, record)| u64::from(record.len));
            let all = own.sum::<u64>() + bytes as u64;
            chain.patches.len() < CHAIN_MAX && all <= chain.whole_bytes / 2
        })
    }

    pub(super) fn chunk_path(&self, id: &ChunkId) -> PathBuf {
        self.dir.join("chunks").join(id.to_string())
    }

    pub(super) fn patch_path(&self, id: &ManifestId) -> PathBuf {
        self.dir.join("patches").join(id.to_string())
    }
}

impl Chain {
    /// Bytes on disk of all its parts.
    pub(super) fn stored_bytes(&self) -> u64 {
        let patches = self.patches.iter().map(|(_, record)| record.stored_bytes());
        self.whole_bytes + patches.sum::<u64>()
    }

    /// Reads a chunk and verifies it.
    pub(super) fn load(
        &self,
        manifest: &Manifest,
        chunk: &ChunkRef,
    ) -> Result<Result<VerifiedChunk, Broken>> {
        let patches = match read_patches(&self.patches)? {
            Ok(patches) => patches,
            Err(broken) => return Ok(Err(broken)),
        };
        let whole = match self.read_whole()? {
            Ok(whole) => whole,
            Err(broken) => return Ok(Err(broken)),
        };
        match manifest.verify_chain(chunk, &whole, &patches) {
            Ok(verified) => Ok(Ok(verified)),
            // The chunk is sound, and the manifest is none of a state's.
            Err(error @ ChunkError::NotAsListed { .. }) => Err(error.into()),
            Err(error) => Ok(Err(self.wrong(&error))),
        }
    }

    /// The whole chunk at the end.
    pub(super) fn read_whole(&self) -> Result<Result<Vec<u8>, Broken>> {
        let what = match disk::read(&self.whole_path, chunk::ENCODED_BYTES_MAX)? {
            Content::Whole(bytes) => return Ok(Ok(bytes)),
            Content::Missing => None,
            Content::Damaged(what) => Some(what),
        };
        Ok(Err(Broken {
            id: self.whole,
            path: self.whole_path.clone(),
            what,
        }))
    }

    /// What is read whole, checksums and all, and is not the chunk.
    fn wrong(&self, error: &ChunkError) -> Broken {
        let (id, path) = match self.patches.first() {
            Some((file, record)) => (record.id, file.path()),
            None => (self.whole, self.whole_path.as_path()),
        };
        Broken {
            id,
            path: path.to_owned(),
            what: Some(error.to_string()),
        }
    }

    /// One patch that leads from `base` to the chunk, if the chain goes by it and the patch takes at most `plain_max` bytes.
    pub(super) fn patch_from(
        &self,
        base: &ChunkId,
        plain_max: u64,
    ) -> Result<Result<Option<Vec<u8>>, Broken>> {
        let Some(last) = self.patches.iter().position(|(_, r)| r.base == *base) else {
            return Ok(Ok(None));
        };
        let patches = match read_patches(self.patches.get(..=last).unwrap_or_default())? {
            Ok(patches) => patches,
            Err(broken) => return Ok(Err(broken)),
        };
        let composed = patch::compose(&patches, plain_max);
        Ok(composed.map_err(|error| self.wrong(&error)))
    }
}

/// What these records hold.
fn read_patches(records: &[(Arc<PatchFile>, Record)]) -> Result<Result<Vec<Vec<u8>>, Broken>> {
    let mut patches = Vec::with_capacity(records.len());
    for (file, record) in records {
        match file.read(record)? {
            Content::Whole(bytes) => patches.push(bytes),
            Content::Damaged(what) => {
                let (id, path) = (record.id, file.path().to_owned());
                let what = Some(format!("the patch for chunk {id:.8}: {what}"));
                return Ok(Err(Broken { id, path, what }));
            }
            Content::Missing => {}
        }
    }
    Ok(Ok(patches))
}

/// The files of a folder whose names are hashes. Others are not ours, or unfinished.
pub(super) fn hashes_in(folder: &Path) -> Result<Vec<(Hash, PathBuf)>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut hashes = Vec::new();
    for name in names(folder)? {
        if !name.ends_with(TEMPORARY_END)
            && let Ok(hash) = name.parse::<Hash>()
            && hash.to_string() == name
        {
            hashes.push((hash, folder.join(name)));
        }
    }
    Ok(hashes)
}
