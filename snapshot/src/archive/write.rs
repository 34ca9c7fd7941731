//! Writing an archive, chunk by chunk.

use super::{ArchiveError, FORMAT, MAGIC};
use crate::{chunk::VerifiedChunk, manifest::Manifest};
use std::io::{self, Write};

/// An archive that is being written.
#[derive(Debug)]
pub struct ArchiveWriter<W> {
    file: W,
    bytes: u64,
}

impl<W: Write> ArchiveWriter<W> {
    /// Writes the head. The chunks of the manifest follow, in its order, one [`Self::put`] each.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn begin(file: W, manifest: &Manifest) -> Result<Self, ArchiveError> {
        let mut writer = Self { file, bytes: 0 };
        writer.write(&MAGIC)?;
        writer.write(&[FORMAT])?;
        writer.write_long(&manifest.encode())?;
        Ok(writer)
    }

    /// Writes the next chunk: `bytes` are the whole of it, as they were verified.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn put(&mut self, chunk: &VerifiedChunk, bytes: &[u8]) -> Result<(), ArchiveError> {
        debug_assert!(
            crate::chunk::patch::base_of(bytes).is_none(),
            "{chunk:?} is whole"
        );
        Ok(self.write_long(bytes)?)
    }

    /// Gives back what was written to, and how many bytes that were.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn finish(mut self) -> Result<(W, u64), ArchiveError> {
        self.file.flush()?;
        Ok((self.file, self.bytes))
    }

    fn write_long(&mut self, bytes: &[u8]) -> io::Result<()> {
        // A manifest has at most 8 MiB, a chunk less.
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.write(&len.to_be_bytes())?;
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}
