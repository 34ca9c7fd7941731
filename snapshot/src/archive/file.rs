//! Single chunks of an archive on disk.

use super::{Archive, ArchiveError};
use crate::{
    chunk::{self, ChunkError, ChunkId, VerifiedChunk},
    manifest::{ChunkRef, Manifest},
};
use std::{collections::BTreeMap, fs::File, os::unix::fs::FileExt};

/// An archive whose manifest is believed, on disk: any chunk may be read by itself.
#[derive(Debug)]
pub struct ArchiveFile {
    manifest: Manifest,
    file: File,
    /// Of each chunk its number, where it begins, and its length.
    places: BTreeMap<ChunkId, (u64, u64, u32)>,
}

impl ArchiveFile {
    /// Finds where the chunks are, without reading them.
    ///
    /// # Errors
    /// [`ArchiveError::Cut`], [`ArchiveError::Trailing`] and [`ArchiveError::Io`].
    pub fn index(archive: Archive<File>) -> Result<Self, ArchiveError> {
        let (manifest, file, mut offset) = archive.into_parts();
        let end = file.metadata()?.len();
        let count = manifest.chunks().len() as u64;
        let mut places = BTreeMap::new();
        for (index, chunk) in (0..).zip(manifest.chunks()) {
            let cut = ArchiveError::Cut {
                index,
                count,
                offset: end,
            };
            if end.saturating_sub(offset) < 4 {
                return Err(cut);
            }
            let mut len = [0; 4];
            file.read_exact_at(&mut len, offset)?;
            let len = u32::from_be_bytes(len);
            let begin = offset + 4;
            offset = begin + u64::from(len);
            if offset > end {
                return Err(cut);
            }
            places.insert(chunk.id(), (index, begin, len));
        }
        if offset < end {
            return Err(ArchiveError::Trailing(offset));
        }
        Ok(Self {
            manifest,
            file,
            places,
        })
    }

    /// The manifest.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads a chunk and verifies it.
    ///
    /// # Errors
    /// [`ArchiveError::Chunk`] and [`ArchiveError::Io`].
    pub fn load_chunk(&self, chunk: &ChunkRef) -> Result<VerifiedChunk, ArchiveError> {
        let (index, offset, len) = self.places.get(&chunk.id()).copied().unwrap_or_default();
        let wrong = |error| ArchiveError::Chunk {
            index,
            count: self.places.len() as u64,
            offset,
            prefix: chunk.prefix,
            error: Box::new(error),
        };
        let found = usize::try_from(len).unwrap_or(usize::MAX);
        let max = chunk::ENCODED_BYTES_MAX;
        if found > max {
            return Err(wrong(ChunkError::TooLong { found, max }));
        }
        let mut bytes = vec![0; found];
        self.file.read_exact_at(&mut bytes, offset)?;
        self.manifest.verify_chunk(chunk, &bytes).map_err(wrong)
    }
}
