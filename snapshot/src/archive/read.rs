//! Reading an archive from its beginning to its end.

use super::{ArchiveError, FORMAT, HEAD_BYTES, MAGIC};
use crate::{
    chunk::{self, VerifiedChunk},
    manifest::{ChunkRef, MANIFEST_BYTES_MAX, Manifest, ManifestError, UntrustedManifest},
};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::{
    collections::VecDeque,
    io::{self, Read},
};

/// Chunks that are read before they are verified, together.
const TOGETHER: usize = 16;

/// An archive of which only the manifest was read, and nothing is believed.
#[derive(Debug)]
pub struct UnverifiedArchive<R> {
    manifest: UntrustedManifest,
    file: R,
    offset: u64,
}

/// A chunk that was verified, with its bytes.
#[derive(Clone, Debug)]
pub struct VerifiedBytes {
    /// The chunk.
    pub chunk: VerifiedChunk,
    /// Its whole form.
    pub bytes: Vec<u8>,
}

impl<R: Read> UnverifiedArchive<R> {
    /// Reads the manifest.
    ///
    /// # Errors
    /// [`ArchiveError`] if this is no archive, or no manifest is in it.
    pub fn open(mut file: R) -> Result<Self, ArchiveError> {
        let mut head = [0; HEAD_BYTES];
        let found = read_up_to(&mut file, &mut head)?;
        let (magic, rest) = head.split_at(MAGIC.len());
        if found < MAGIC.len() || *magic != MAGIC {
            return Err(ArchiveError::Magic);
        }
        let [format, len @ ..] = *rest.first_chunk::<5>().unwrap_or(&[0; 5]);
        if found < HEAD_BYTES {
            let offset = found as u64;
            return Err(ArchiveError::CutManifest { offset });
        }
        if format != FORMAT {
            return Err(ArchiveError::Format(format));
        }
        let len = u64::from(u32::from_be_bytes(len));
        if len > MANIFEST_BYTES_MAX as u64 {
            return Err(ArchiveError::ManifestLength(len));
        }
        let mut bytes = Vec::new();
        file.by_ref().take(len).read_to_end(&mut bytes)?;
        let offset = (HEAD_BYTES + bytes.len()) as u64;
        if (bytes.len() as u64) < len {
            return Err(ArchiveError::CutManifest { offset });
        }
        Ok(Self {
            manifest: UntrustedManifest::decode(&bytes)?,
            file,
            offset,
        })
    }

    /// Believes the manifest if `verify` does: [`UntrustedManifest::verify`] say, from the genesis's validators.
    ///
    /// # Errors
    /// [`ArchiveError::Manifest`].
    pub fn verify_by(
        self,
        verify: impl FnOnce(UntrustedManifest) -> Result<Manifest, ManifestError>,
    ) -> Result<Archive<R>, ArchiveError> {
        let manifest = verify(self.manifest)?;
        Ok(Archive::new(manifest, self.file, self.offset))
    }
}

/// An archive whose manifest is believed: an iterator over its chunks, each verified, which ends with the file or with the
/// first fault.
#[derive(Debug)]
pub struct Archive<R> {
    manifest: Manifest,
    file: R,
    offset: u64,
    /// The next chunk to read.
    next: usize,
    ready: VecDeque<VerifiedBytes>,
    /// A fault that comes after those that are ready.
    fault: Option<ArchiveError>,
    over: bool,
}

/// A chunk that was read.
struct Unverified {
    index: usize,
    offset: u64,
    chunk: ChunkRef,
    bytes: Vec<u8>,
}

impl<R: Read> Archive<R> {
    const fn new(manifest: Manifest, file: R, offset: u64) -> Self {
        Self {
            manifest,
            file,
            offset,
            next: 0,
            ready: VecDeque::new(),
            fault: None,
            over: false,
        }
    }

    /// The manifest.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes read so far: those of the whole archive once its last chunk was given.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn into_parts(self) -> (Manifest, R, u64) {
        (self.manifest, self.file, self.offset)
    }

    /// Reads some chunks and verifies them.
    fn read_on(&mut self) {
        let mut read = Vec::new();
        while read.len() < TOGETHER && self.fault.is_none() {
            match self.read_chunk() {
                Ok(Some(chunk)) => read.push(chunk),
                Ok(None) => break,
                Err(error) => self.fault = Some(error),
            }
        }
        if read.len() < TOGETHER && self.fault.is_none() {
            self.over = true;
        }
        let count = self.manifest.chunks().len() as u64;
        let verify = |read: &Unverified| {
            let verified = self.manifest.verify_chunk(&read.chunk, &read.bytes);
            verified.map_err(|error| ArchiveError::Chunk {
                index: read.index as u64,
                count,
                offset: read.offset,
                prefix: read.chunk.prefix,
                error: Box::new(error),
            })
        };
        let verified: Vec<Result<VerifiedChunk, ArchiveError>> =
            read.par_iter().map(verify).collect();
        for (read, verified) in read.into_iter().zip(verified) {
            match verified {
                Ok(chunk) => {
                    let bytes = read.bytes;
                    self.ready.push_back(VerifiedBytes { chunk, bytes });
                }
                Err(error) => {
                    self.fault = Some(error);
                    return;
                }
            }
        }
    }

    /// The next chunk, none at the end.
    fn read_chunk(&mut self) -> Result<Option<Unverified>, ArchiveError> {
        let count = self.manifest.chunks().len();
        let Some(chunk) = self.manifest.chunks().get(self.next).copied() else {
            let mut more = [0];
            if read_up_to(&mut self.file, &mut more)? > 0 {
                return Err(ArchiveError::Trailing(self.offset));
            }
            return Ok(None);
        };
        let index = self.next;
        let cut = |offset| ArchiveError::Cut {
            index: index as u64,
            count: count as u64,
            offset,
        };
        let mut len = [0; 4];
        let found = read_up_to(&mut self.file, &mut len)?;
        if found < len.len() {
            return Err(cut(self.offset + found as u64));
        }
        let offset = self.offset + 4;
        let len = u64::from(u32::from_be_bytes(len));
        if len > chunk::ENCODED_BYTES_MAX as u64 {
            return Err(ArchiveError::Chunk {
                index: index as u64,
                count: count as u64,
                offset,
                prefix: chunk.prefix,
                error: Box::new(chunk::ChunkError::TooLong {
                    found: usize::try_from(len).unwrap_or(usize::MAX),
                    max: chunk::ENCODED_BYTES_MAX,
                }),
            });
        }
        let mut bytes = Vec::new();
        self.file.by_ref().take(len).read_to_end(&mut bytes)?;
        self.offset = offset + bytes.len() as u64;
        if (bytes.len() as u64) < len {
            return Err(cut(self.offset));
        }
        self.next += 1;
        Ok(Some(Unverified {
            index,
            offset,
            chunk,
            bytes,
        }))
    }
}

impl<R: Read> Iterator for Archive<R> {
    type Item = Result<VerifiedBytes, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() && self.fault.is_none() && !self.over {
            self.read_on();
        }
        if let Some(ready) = self.ready.pop_front() {
            return Some(Ok(ready));
        }
        let fault = self.fault.take()?;
        self.over = true;
        Some(Err(fault))
    }
}

/// Fills a buffer as far as there is something to read.
fn read_up_to(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
